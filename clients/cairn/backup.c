/* SPDX-License-Identifier: MPL-2.0 */
/* backup - the commands log backup and log restore. */
#include "store/backup.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/text.h"
#include "cairn/cli.h"
#include "cairn/line.h"
#include "cairn/position.h"
#include "store/segment.h"

struct copy_run {
    struct cli *cli;
    const char *what;
    uint64_t began_ms;
};

static int
on_progress(void *arg, uint64_t done, uint64_t all, uint64_t position)
{
    struct copy_run *run = arg;
    double rate, left = cli_seconds_left(run->began_ms, done, all, &rate);

    cli_progress(run->cli, "%s: %3.0f %%, position %s, %s/s, about %.0f s left",
                 run->what, 100.0 * (double)done / (double)all,
                 cli_number(position), cli_bytes((uint64_t)rate), left);
    return cli_interrupted();
}

static void
print_report(const struct cli *cli, const char *what,
             const struct backup_report *r, uint64_t began_ms)
{
    char id[UUID_TEXT_LEN + 1], time[32] = "";

    uuid_format(r->log_id, id);
    if (r->last_position > 0)
        (void)time_format(r->last_time_us, time);
    if (cli->json) {
        printf("{\"log\":\"%s\",\"last_position\":%" PRIu64, id,
               r->last_position);
        if (r->last_position > 0)
            printf(",\"last_time\":\"%s\"", time);
        printf(",\"segments\":%" PRIu64 ",\"copied\":%" PRIu64
               ",\"copied_bytes\":%" PRIu64 "}\n",
               r->segments, r->copied, r->copied_bytes);
        return;
    }
    printf("%s up to position %s%s%s: log %s, %s segments, %s of them written "
           "now (%s) in %.1f s\n",
           what, cli_number(r->last_position), time[0] != '\0' ? ", " : "",
           time, id, cli_number(r->segments), cli_number(r->copied),
           cli_bytes(r->copied_bytes), (double)(clock_ms() - began_ms) / 1000);
}

/* ---- where a copy must not be ------------------------------------------ */

/* Cuts the last name off a whole path; false if there is none. */
static bool
go_up(char *path)
{
    char *slash = strrchr(path, '/');

    if (slash == NULL || strcmp(path, "/") == 0)
        return false;
    slash[slash == path] = '\0';
    return true;
}

/*
 * Whether `inner`, or the directory in which it will be made, is `outer` or
 * lies in it, by whatever names.
 */
static bool
lies_in(const char *inner, const char *outer)
{
    char path[PATH_LEN_MAX], *whole = realpath(inner, NULL);
    struct stat wanted, found;

    if (whole == NULL) {
        (void)snprintf(path, sizeof path, "%s", inner);
        while (strlen(path) > 1 && path[strlen(path) - 1] == '/')
            path[strlen(path) - 1] = '\0';
        whole = realpath(go_up(path) ? path : ".", NULL);
    }
    if (whole == NULL || stat(outer, &wanted) < 0) {
        free(whole);
        return false; /* whoever opens it says what is wrong */
    }
    (void)snprintf(path, sizeof path, "%s", whole);
    free(whole);
    do {
        if (stat(path, &found) == 0 && found.st_dev == wanted.st_dev &&
            found.st_ino == wanted.st_ino)
            return true;
    } while (go_up(path));
    return false;
}

/* ---- the commands ------------------------------------------------------ */

int
cli_log_backup(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {
        { "control", required_argument, NULL, 256 },
        CLI_COMMON_OPTIONS,
        { 0 },
    };
    struct copy_run run = { cli, "backup", clock_ms() };
    const struct backup_events events = { &run, on_progress };
    struct backup_report report;
    char page[PATH_LEN_MAX];
    const char *control = NULL, *dir, *backup;
    struct err err;
    int c, rc;

    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'h')
            return cli_log_help();
        if (c == 256)
            control = optarg;
        else if (!cli_common_option(cli, c, optarg))
            return cli_usage("log", "the options are wrong");
    }
    if (argc - optind != 3)
        return cli_usage("log", "say: log backup DIRECTORY BACKUP");
    dir = argv[optind + 1];
    backup = argv[optind + 2];
    if (lies_in(backup, dir))
        return cli_usage("log",
                         "%s is the log itself, or lies in it: a backup "
                         "belongs elsewhere, on another disk if there is one",
                         backup);
    cli_catch_interrupts();
    control = cli_control_page(cli, control, dir, page);
    rc = log_backup(&sys_real, dir, backup, control, &events, &report, &err);
    cli_progress_end(cli);
    if (rc < 0)
        return cli_fail(&err);
    print_report(cli, "backed up", &report, run.began_ms);
    return CLI_DONE;
}

static int
take_to(const char *text, struct restore_to *to)
{
    if (text[0] == '@') {
        to->kind = RESTORE_TO_TIME;
        return time_parse(text + 1, &to->value);
    }
    to->kind = RESTORE_TO_POSITION;
    return number_parse(text, &to->value) && to->value > 0 ? 0 : -EINVAL;
}

int
cli_log_restore(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {
        { "to", required_argument, NULL, 256 },
        CLI_COMMON_OPTIONS,
        { 0 },
    };
    struct copy_run run = { cli, "restore", clock_ms() };
    const struct backup_events events = { &run, on_progress };
    struct restore_to to = { .kind = RESTORE_ALL };
    struct backup_report report;
    const char *backup, *dir;
    struct err err;
    int c, rc;

    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'h')
            return cli_log_help();
        if (c == 256 && take_to(optarg, &to) < 0)
            return cli_usage("log",
                             "--to '%s': it must be a position, from 1 on, or "
                             "@TIME",
                             optarg);
        if (c != 256 && !cli_common_option(cli, c, optarg))
            return cli_usage("log", "the options are wrong");
    }
    if (argc - optind != 3)
        return cli_usage("log", "say: log restore BACKUP DIRECTORY");
    backup = argv[optind + 1];
    dir = argv[optind + 2];
    if (lies_in(dir, backup))
        return cli_usage("log",
                         "%s is the backup itself, or lies in it: a log "
                         "belongs elsewhere",
                         dir);
    cli_catch_interrupts();
    rc = log_restore(&sys_real, backup, dir, &to, &events, &report, &err);
    cli_progress_end(cli);
    if (rc < 0)
        return cli_fail(&err);
    print_report(cli, "restored", &report, run.began_ms);
    return CLI_DONE;
}
