/* SPDX-License-Identifier: MPL-2.0 */
/* export - the command: a log as lines of JSON, read from its files. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "cairn/cli.h"
#include "cairn/line.h"
#include "cairn/position.h"
#include "store/backup.h"
#include "store/evlog.h"
#include "store/select.h"

#define SELECTORS_MAX 64u

static const char help[] =
    "cairn export - a log as lines of JSON, nothing left out\n\n"
    "usage: cairn export [options] DIRECTORY\n\n"
    "Reads the files of a log, beside a writer or without one, or a backup; "
    "up\n"
    "to where it is durable.  The lines are those of cairn append, with the\n"
    "command of each, and \"more\":true where the next line belongs to the "
    "same\n"
    "commit; cairn import stores them in another log.  Data and metadata are "
    "the\n"
    "same bytes again; positions, versions and times are told, and not "
    "taken.\n\n"
    "  --stream S --category C --type T --tag G   filters; may be repeated: "
    "one\n"
    "                    of the streams or categories, one of the types, all\n"
    "                    of the tags\n"
    "  --from POSITION   where to begin: a number, start, end, -100 (the last\n"
    "                    100), or @TIME\n"
    "  --to POSITION     where to stop: the last to show, a number or @TIME\n"
    "  --limit N         at most so many events\n"
    "  --control FILE    the writer's control page (RUN/log.control)\n"
    "  --quiet           only say what went wrong\n"
    "  --json            the summary as JSON, too\n";

struct export_options {
    struct selector selectors[SELECTORS_MAX];
    uint32_t selector_count;
    const char *from, *to, *control;
    uint64_t limit;
    bool quiet;
};

struct export_run {
    struct cli *cli;
    const struct export_options *options;
    struct evlog *log;
    uint64_t watermark;
    uint64_t first, last; /* positions to look at */
    struct commit commit; /* of the event in hand; borrowed, record and all */
    uint64_t commit_end;  /* its last position; 0: none yet */
    bool is_open;         /* a line that has no end yet */
    uint64_t open_command_first;
    uint64_t events, commits, first_shown, last_shown;
    uint64_t began_ms;
};

/* ---- where to begin and to end ----------------------------------------- */

static int
find_from(struct export_run *run, struct err *err)
{
    const char *text = run->options->from;
    uint64_t n;

    run->first = 1;
    if (text == NULL || strcmp(text, "start") == 0)
        return 0;
    if (strcmp(text, "end") == 0) {
        run->first = run->watermark + 1;
        return 0;
    }
    if (text[0] == '-' && number_parse(text + 1, &n)) {
        run->first = n >= run->watermark ? 1 : run->watermark - n + 1;
        return 0;
    }
    if (text[0] == '@' && time_parse(text + 1, &n) == 0)
        return evlog_seek_time(run->log, n, run->watermark, &run->first, err);
    if (number_parse(text, &n)) {
        run->first = n == 0 ? 1 : n;
        return 0;
    }
    return err_set(err, -CAIRN_EUSAGE,
                   "--from '%s': it must be a number, start, end, -100 or "
                   "@TIME",
                   text);
}

static int
find_to(struct export_run *run, struct err *err)
{
    const char *text = run->options->to;
    uint64_t n;
    int rc;

    run->last = run->watermark;
    if (text == NULL)
        return 0;
    if (text[0] == '@' && time_parse(text + 1, &n) == 0) {
        rc = evlog_seek_time(run->log, n + 1, run->watermark, &n, err);
        run->last = n - 1;
        return rc;
    }
    if (!number_parse(text, &n) || n == 0)
        return err_set(err, -CAIRN_EUSAGE,
                       "--to '%s': it must be a number from 1 on, or @TIME",
                       text);
    if (n < run->last)
        run->last = n;
    return 0;
}

/* ---- writing ----------------------------------------------------------- */

/* Ends the line that waits for it, if there is one. */
static void
end_line(struct export_run *run, bool more)
{
    if (run->is_open)
        line_print_end(stdout, more);
    run->is_open = false;
}

static void
show(struct export_run *run, const struct event *event)
{
    bool same =
        run->is_open && run->open_command_first == run->commit.first_position;

    end_line(run, same);
    run->commits += !same;
    line_print_part(stdout, event, run->commit.command_id);
    run->is_open = true;
    run->open_command_first = run->commit.first_position;
    if (run->events++ == 0)
        run->first_shown = event->position;
    run->last_shown = event->position;
}

static void
tell_progress(struct export_run *run, uint64_t position)
{
    uint64_t done = position - run->first + 1;
    uint64_t all = run->last - run->first + 1;
    double rate, left = cli_seconds_left(run->began_ms, done, all, &rate);

    cli_progress(run->cli,
                 "export: %3.0f %%, position %s, %s events/s, about %.0f s "
                 "left",
                 100.0 * (double)done / (double)all, cli_number(position),
                 cli_number((uint64_t)rate), left);
}

/* Takes the event at an address; 1 to go on. */
static int
take_event(struct export_run *run, const struct event *event, uint64_t address,
           struct err *err)
{
    const struct export_options *o = run->options;
    int rc;

    if (event->position > run->commit_end) {
        if (cli_interrupted() || ferror(stdout))
            return 0; /* between two commits */
        rc = evlog_commit_at(run->log, address - event->commit_back,
                             &run->commit, err);
        if (rc < 0)
            return rc;
        run->commit_end =
            run->commit.first_position + run->commit.event_count - 1;
    }
    if (selectors_pass(o->selectors, o->selector_count, event))
        show(run, event);
    tell_progress(run, event->position);
    return o->limit == 0 || run->events < o->limit;
}

static int
export_all(struct export_run *run, struct err *err)
{
    struct cursor cursor;
    struct event event;
    int rc;

    if (run->first > run->last)
        return 0;
    rc = evlog_seek(run->log, run->first, run->watermark, &cursor, err);
    if (rc < 0)
        return rc;
    while ((rc = evlog_next(run->log, &cursor, run->last, &event, err)) > 0) {
        rc = take_event(run, &event, cursor.address - event.record_len, err);
        if (rc <= 0)
            break;
    }
    end_line(run, false);
    return rc;
}

static void
print_summary(const struct export_run *run)
{
    double seconds = (double)(clock_ms() - run->began_ms) / 1000;

    cli_progress_end(run->cli);
    if (run->options->quiet)
        return;
    if (run->cli->json) {
        fprintf(stderr,
                "{\"events\":%" PRIu64 ",\"commits\":%" PRIu64
                ",\"first_position\":%" PRIu64 ",\"last_position\":%" PRIu64
                "}\n",
                run->events, run->commits, run->first_shown, run->last_shown);
        return;
    }
    fprintf(stderr, "%s events in %s commits exported", cli_number(run->events),
            cli_number(run->commits));
    if (run->events > 0)
        fprintf(stderr, ", positions %s to %s", cli_number(run->first_shown),
                cli_number(run->last_shown));
    fprintf(stderr, ", in %.1f s (%.0f events/s)\n", seconds,
            (double)run->events / (seconds < 0.001 ? 0.001 : seconds));
}

static int
run_export(struct cli *cli, const struct export_options *o, const char *dir)
{
    struct export_run run = { .cli = cli,
                              .options = o,
                              .began_ms = clock_ms() };
    char page[PATH_LEN_MAX];
    struct err err;
    int rc = log_durable_end(&sys_real, dir,
                             cli_control_page(cli, o->control, dir, page),
                             &run.watermark, &err);

    if (rc == 0)
        rc = evlog_open(&sys_real, dir, &run.log, &err);
    if (rc == 0)
        rc = find_from(&run, &err);
    if (rc == 0)
        rc = find_to(&run, &err);
    if (rc == 0)
        rc = export_all(&run, &err);
    evlog_close(&run.log);
    if (rc < 0) {
        cli_progress_end(cli);
        return rc == -CAIRN_EUSAGE ? cli_usage("export", "%s", err.text)
                                   : cli_fail(&err);
    }
    print_summary(&run);
    return cli_interrupted() ? CLI_INTERRUPTED : CLI_DONE;
}

/* ---- options ----------------------------------------------------------- */

enum {
    OPT_FROM = 256,
    OPT_TO,
    OPT_LIMIT,
    OPT_CONTROL,
    OPT_QUIET,
};

static int
add_selector(struct export_options *o, int kind, const char *text)
{
    const char *fault = name_fault(text, strlen(text));

    if (fault != NULL)
        return cli_usage("export", "'%s': it %s", text, fault);
    if (o->selector_count == SELECTORS_MAX)
        return cli_usage("export", "at most %u filters", SELECTORS_MAX);
    o->selectors[o->selector_count++] = (struct selector){
        .kind = (char)kind,
        .text = { text, (uint32_t)strlen(text) },
    };
    return CLI_DONE;
}

static int
take_option(struct cli *cli, struct export_options *o, int c)
{
    switch (c) {
    case 's':
    case 'c':
    case 't':
    case 'g':
        return add_selector(o, c, optarg);
    case OPT_FROM:
        o->from = optarg;
        return CLI_DONE;
    case OPT_TO:
        o->to = optarg;
        return CLI_DONE;
    case OPT_LIMIT:
        if (!number_parse(optarg, &o->limit) || o->limit == 0)
            return cli_usage("export",
                             "--limit '%s': it must be a number from 1 on",
                             optarg);
        return CLI_DONE;
    case OPT_CONTROL:
        o->control = optarg;
        return CLI_DONE;
    case OPT_QUIET:
        o->quiet = true;
        return CLI_DONE;
    default:
        return cli_common_option(cli, c, optarg)
            ? CLI_DONE
            : cli_usage("export", "the options are wrong");
    }
}

int
cli_export(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {
        { "stream", required_argument, NULL, 's' },
        { "category", required_argument, NULL, 'c' },
        { "type", required_argument, NULL, 't' },
        { "tag", required_argument, NULL, 'g' },
        { "from", required_argument, NULL, OPT_FROM },
        { "to", required_argument, NULL, OPT_TO },
        { "limit", required_argument, NULL, OPT_LIMIT },
        { "control", required_argument, NULL, OPT_CONTROL },
        { "quiet", no_argument, NULL, OPT_QUIET },
        CLI_COMMON_OPTIONS,
        { 0 },
    };
    struct export_options o = { .limit = 0 };
    int c, code = CLI_DONE;

    while (code == CLI_DONE &&
           (c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'h') {
            fputs(help, stdout);
            return CLI_DONE;
        }
        code = take_option(cli, &o, c);
    }
    if (code == CLI_DONE && argc - optind != 1)
        code = cli_usage("export", "say: export DIRECTORY");
    if (code != CLI_DONE)
        return code;
    cli_catch_interrupts();
    return run_export(cli, &o, argv[optind]);
}
