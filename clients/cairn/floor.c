/* SPDX-License-Identifier: MPL-2.0 */
/* floor - the command: what the disk gives, and how far an append is from it. */
#include "cairn/floor.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "base/uuid.h"
#include "cairn/cli.h"
#include "cairn/feeder.h"
#include "cairn/timings.h"
#include "wire/protocol.h"

static const char help[] =
    "cairn floor - what the disk gives at best, and how far an append is from "
    "it\n\n"
    "usage: cairn floor [options] [DIR]\n\n"
    "Writes and syncs one block (512 bytes) and 64 KiB again and again, in a\n"
    "file in DIR (.) that is gone afterwards.  If a gateway answers, single\n"
    "appends are timed in turn with that, and STORED, in stream bench-ID of\n"
    "that log, at most 200 of them; --no-append leaves them out.  DIR should\n"
    "be on the disk of the log.\n\n"
    "  --seconds N   how long each of the measurements lasts in all (2, at\n"
    "                most 600)\n"
    "  --no-append   only the disk\n"
    "  --json        as one object\n"
    "  --timeout N   seconds to wait for the gateway (2)\n";

#define FILE_LEN (UINT64_C(16) << 20)
#define FILL_LEN 65536u
#define BLOCK_LEN 512u
#define ROUNDS 5 /* of disk, append, append, disk */
#define APPENDS_MAX 200u
#define SECONDS_MAX 600u

/* ---- the loop ---------------------------------------------------------- */

int
floor_sync(int fd, const void *data, size_t len, uint64_t at)
{
    ssize_t n = pwrite(fd, data, len, (off_t)at);

    if (n != (ssize_t)len)
        return n < 0 ? -errno : -ENOSPC;
    return fdatasync(fd) < 0 ? -errno : 0;
}

int
floor_file(const char *dir, uint64_t len, struct err *err)
{
    static const uint8_t zeros[FILL_LEN];
    char path[4096];
    int fd, rc = 0;

    if (snprintf(path, sizeof path, "%s/.cairn-floor-XXXXXX", dir) >=
        (int)sizeof path)
        return err_sys(err, -ENAMETOOLONG, "%s", dir);
    fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return err_sys(err, -errno, "cannot make a file in %s", dir);
    (void)unlink(path); /* so that nothing is left of it, however we end */
    for (uint64_t at = 0; rc == 0 && at < len; at += sizeof zeros) {
        ssize_t n = pwrite(fd, zeros, sizeof zeros, (off_t)at);

        if (n != (ssize_t)sizeof zeros)
            rc = n < 0 ? -errno : -ENOSPC;
    }
    if (rc == 0 && fsync(fd) < 0)
        rc = -errno;
    if (rc < 0) {
        (void)close(fd);
        return err_sys(err, rc, "cannot fill a file of %s in %s",
                       cli_bytes(len), dir);
    }
    return fd;
}

/* ---- the command ------------------------------------------------------- */

struct floor {
    const char *dir;
    double seconds;
    bool append;
    int fd;
    uint8_t data[FILL_LEN];
    struct timings block, large, alone;
    char prefix[32];
    uint64_t version; /* of the stream */
    uint64_t stored;
    const char *no_append; /* why there are none; NULL: there are */
};

static int
time_syncs(struct floor *f, size_t len, struct timings *timings)
{
    double until = timings_now() + f->seconds / (2 * ROUNDS);
    uint64_t at = timings->count * len % FILE_LEN;
    int rc = 0;

    while (rc == 0 && !cli_interrupted()) {
        double before = timings_now();

        if (before >= until)
            break;
        rc = floor_sync(f->fd, f->data, len, at);
        timings_add(timings, timings_now() - before);
        at = (at + len) % FILE_LEN;
    }
    return rc;
}

static void
on_latency(void *arg, double seconds)
{
    timings_add(arg, seconds);
}

/* Some appends, one after the other; none if nobody takes them. */
static int
time_appends(struct cli *cli, struct floor *f, struct err *err)
{
    struct feeder feeder = {
        .endpoint = cli->commands,
        .deadline_ms = cli->timeout_ms,
        .window = 1,
        .batch = 1,
        .data_len = 256,
        .prefix = f->prefix,
        .stream_step = 1,
        .stream_count = 1,
        .versions = &f->version,
        .seconds = f->seconds / (2 * ROUNDS),
        .commits_max = APPENDS_MAX / (2 * ROUNDS),
        .stopped = cli_interrupted,
        .on_latency = on_latency,
        .arg = &f->alone,
    };
    struct cli_keys keys;
    int rc = cli_keys_load(cli, &keys, err);

    feeder.keys = keys.given ? &keys.peer : NULL;
    if (rc == 0 && f->no_append == NULL)
        rc = feeder_run(&feeder, err);
    explicit_bzero(&keys, sizeof keys);
    f->stored += feeder.accepted;
    if (feeder.refused > 0) {
        f->no_append = feeder.refused_code == ANSWER_UNKNOWN
            ? "the gateway does not answer"
            : answer_name(feeder.refused_code);
        timings_clear(&f->alone);
    }
    return rc;
}

static int
run_rounds(struct cli *cli, struct floor *f, struct err *err)
{
    int rc = 0;

    for (int i = 0; rc == 0 && i < ROUNDS && !cli_interrupted(); i++) {
        cli_progress(cli, "round %d of %d", i + 1, ROUNDS);
        rc = time_syncs(f, BLOCK_LEN, &f->block);
        if (rc == 0)
            rc = time_syncs(f, FILL_LEN, &f->large);
        if (rc < 0)
            break;
        for (int k = 0; k < 2; k++) {
            rc = time_appends(cli, f, err);
            if (rc < 0)
                return rc;
        }
        rc = time_syncs(f, FILL_LEN, &f->large);
        if (rc == 0)
            rc = time_syncs(f, BLOCK_LEN, &f->block);
    }
    cli_progress_end(cli);
    return rc < 0 ? err_sys(err, rc, "cannot write and sync in %s", f->dir) : 0;
}

static void
print_plain(struct floor *f)
{
    double block = timings_quantile(&f->block, 0.5);
    double large = timings_quantile(&f->large, 0.5);

    timings_print_head();
    timings_print("sync of one block", &f->block);
    timings_print("sync of 64 KiB", &f->large);
    if (f->alone.count > 0)
        timings_print("durable append alone", &f->alone);
    printf("\n%.0f bare syncs a second, %s a second in pieces of 64 KiB\n",
           1e6 / block, cli_bytes((uint64_t)(FILL_LEN * 1e6 / large)));
    if (f->alone.count > 0)
        printf("an append alone takes %.2f times a bare sync of one block; "
               "with many\noutstanding they share syncs: see cairn bench "
               "append\n",
               timings_quantile(&f->alone, 0.5) / block);
    if (f->stored > 0)
        printf("%s events were stored in stream %s-0000000\n",
               cli_number(f->stored), f->prefix);
    if (f->no_append != NULL)
        printf("no appends: %s\n", f->no_append);
}

static void
print_json(struct floor *f)
{
    printf("{\"sync_block\":");
    timings_print_json(&f->block);
    printf(",\"sync_64k\":");
    timings_print_json(&f->large);
    if (f->alone.count > 0) {
        printf(",\"append_alone\":");
        timings_print_json(&f->alone);
        printf(",\"append_to_sync\":%.3f",
               timings_quantile(&f->alone, 0.5) /
                   timings_quantile(&f->block, 0.5));
    }
    printf(",\"stored\":%llu,\"interrupted\":%s}\n",
           (unsigned long long)f->stored, cli_interrupted() ? "true" : "false");
}

static int
run(struct cli *cli, struct floor *f)
{
    char id[UUID_TEXT_LEN + 1];
    struct err err;
    int rc;

    if (cli->timeout_ms == 0)
        cli->timeout_ms = 2000;
    uuid_format(uuid_v4(), id);
    (void)snprintf(f->prefix, sizeof f->prefix, "bench-%.8s", id);
    if (!f->append)
        f->no_append = "--no-append";
    memset(f->data, 'x', sizeof f->data);
    f->fd = floor_file(f->dir, FILE_LEN, &err);
    if (f->fd < 0)
        return cli_fail(&err);
    cli_catch_interrupts();
    rc = run_rounds(cli, f, &err);
    (void)close(f->fd);
    if (rc < 0)
        return cli_fail(&err);
    if (f->block.count == 0 || f->large.count == 0) {
        fprintf(stderr, "cairn: interrupted before anything was measured\n");
        return CLI_FAILED;
    }
    if (cli->json)
        print_json(f);
    else
        print_plain(f);
    return CLI_DONE;
}

int
cli_floor(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {
        { "seconds", required_argument, NULL, 256 },
        { "no-append", no_argument, NULL, 257 },
        CLI_COMMON_OPTIONS,
        { 0 },
    };
    static struct floor f = { .dir = ".", .seconds = 2, .append = true };
    uint64_t seconds;
    int c, code;

    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'h') {
            fputs(help, stdout);
            return CLI_DONE;
        }
        if (c == 256 && number_parse(optarg, &seconds) && seconds > 0 &&
            seconds <= SECONDS_MAX)
            f.seconds = (double)seconds;
        else if (c == 257)
            f.append = false;
        else if (!cli_common_option(cli, c, optarg))
            return cli_usage("floor", "the options are wrong");
    }
    if (argc - optind > 1)
        return cli_usage("floor", "one directory at a time");
    if (optind < argc)
        f.dir = argv[optind];
    code = run(cli, &f);
    timings_clear(&f.block);
    timings_clear(&f.large);
    timings_clear(&f.alone);
    return code;
}
