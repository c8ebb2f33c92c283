/* SPDX-License-Identifier: MPL-2.0 */
/* append - the command: stores events. */
#include "cairn/append.h"

#include <getopt.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "base/log.h"
#include "base/text.h"
#include "c/command_id.h"
#include "cairn/condition.h"
#include "wire/array.h"

static const char help[] =
    "cairn append - store events\n\n"
    "usage: cairn append [options] STREAM TYPE [DATA]\n"
    "       cairn append [options] < LINES\n\n"
    "With arguments: one event; DATA is stored as it stands ('-': standard\n"
    "input), as JSON if it is JSON, else as text.\n"
    "Without: lines of JSON from standard input, an event each; fields: "
    "stream,\n"
    "type, data (or data_text, data_base64), meta, tags, id, correlation,\n"
    "causation, schema, content_type, expect, checks, fail_if, command, more.  "
    "A\n"
    "line with \"more\":true and the next belong to the same atomic "
    "commit.\n\n"
    "  --expect WHAT     any, none, exists or a version of the stream\n"
    "  --check S=WHAT    the same of another stream; may be repeated\n"
    "  --fail-if QUERY   not if an event matches; may be repeated.  QUERY:\n"
    "                    '[types=X,Y] [tags=a:1,b:2] [or ...] [after=N]', all "
    "of\n"
    "                    the tags and any of the types, behind position N "
    "(0);\n"
    "                    'all [after=N]': any event; or JSON as in lines\n"
    "  --show-conflict N print up to N of the events that were in the way\n"
    "  --dry-run         say what would happen, check by check; store nothing\n"
    "  --explain         the same as --dry-run\n"
    "  --meta JSON       metadata\n"
    "  --tag TAG         may be repeated\n"
    "  --content-type T  of DATA\n"
    "  --schema N        version of the shape of DATA (1)\n"
    "  --command UUID    command id; the same one never takes effect twice\n"
    "  --id UUID --correlation UUID --causation UUID\n"
    "  --keep-going      of lines: go on behind a bad or refused commit\n"
    "  --window N        of lines: commits in flight at most (256)\n"
    "  --timeout SECONDS give a command up after so long (30)\n"
    "  --quiet           of lines: only say what went wrong\n"
    "  --json            outcomes as lines of JSON\n";

static void
show_progress(const struct append_run *run)
{
    double rate,
        left = cli_seconds_left(run->began_ms, run->read_bytes, run->all_bytes,
                                &rate);
    char part[64] = "";

    if (run->all_bytes > 0)
        (void)snprintf(part, sizeof part, ", %.0f %%, %s/s, about %.0f s left",
                       100.0 * (double)run->read_bytes / (double)run->all_bytes,
                       cli_bytes((uint64_t)rate), left);
    cli_progress(run->cli, "%s commits, %s events, %s repeated%s",
                 cli_number(run->commits), cli_number(run->events),
                 cli_number(run->repeated), part);
}

static void
on_outcome(void *arg, uint64_t tag, const struct wire_command *command,
           const struct wire_outcome *o, bool reached)
{
    struct append_run *run = arg;

    if (o->code == ANSWER_ACCEPTED && o->repeated) {
        run->repeated++;
    } else if (o->code == ANSWER_ACCEPTED) {
        run->commits++;
        run->events += o->last_position - o->first_position + 1;
    } else {
        run->conflicts += o->code == ANSWER_CONFLICT;
        run->unknown += o->code == ANSWER_UNKNOWN && reached;
        run->unreachable += o->code == ANSWER_UNKNOWN && !reached;
        run->refused += o->code != ANSWER_CONFLICT && o->code != ANSWER_UNKNOWN;
        run->stop = run->stop || !run->options->keep_going;
    }
    outcome_print(run, command, o, tag, reached);
    if (run->lines)
        show_progress(run);
}

static int
exit_code(const struct append_run *run)
{
    if (run->unknown > 0)
        return CLI_UNKNOWN;
    if (run->unreachable > 0)
        return CLI_UNREACHABLE;
    if (run->refused > 0 || run->bad_lines > 0)
        return CLI_FAILED;
    return run->conflicts > 0 ? CLI_CONFLICT : CLI_DONE;
}

int
append_settle(struct append_run *run)
{
    run->batch_commits = 0;
    run->batch_bytes = 0;
    return append_client_finish(run->client);
}

int
append_queue(struct append_run *run, struct line_commit *commit, uint64_t line)
{
    struct wire_command command = line_finish(commit);
    int rc;

    if (uuid_is_nil(command.id))
        command.id = command_id_new();
    command.flags = run->options->dry_run ? COMMAND_FLAG_DRY_RUN : 0;
    command.show = run->options->show;
    rc = append_client_queue(run->client, &command, line);
    run->batch_commits++;
    run->batch_bytes += commit->text_len;
    if (rc == 0 && run->options->in_order &&
        (run->batch_commits >= IN_ORDER_COMMITS ||
         run->batch_bytes >= IN_ORDER_BYTES))
        rc = append_settle(run);
    if (rc < 0)
        fprintf(stderr, "cairn: %s\n", err_text(rc));
    line_clear(commit);
    return rc;
}

/* ---- one event --------------------------------------------------------- */

static int
read_input(uint8_t **ret_data, size_t *ret_len)
{
    uint8_t *data = NULL;
    size_t len = 0, room = 0, n;

    do {
        if (bytes_reserve(&data, &room, len + 65536) < 0) {
            free(data);
            return -ENOMEM;
        }
        n = fread(data + len, 1, 65536, stdin);
        len += n;
    } while (n > 0 && len <= LINE_LEN_MAX);
    if (ferror(stdin) || len > LINE_LEN_MAX) {
        free(data);
        return ferror(stdin) ? -EIO : -EMSGSIZE;
    }
    *ret_data = data;
    *ret_len = len;
    return 0;
}

static bool
is_json(const void *data, size_t len)
{
    json_t *value = json_loadb(
        data, len, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL,
        NULL);

    json_decref(value);
    return value != NULL;
}

static int
append_one(struct append_run *run, struct err *err)
{
    struct append_options *o = run->options;
    struct line_event *e = &o->event;
    struct line_commit *commit = &o->commit;
    uint8_t *input = NULL;
    int rc = 0;

    if (e->data != NULL && strcmp(e->data, "-") == 0) {
        rc = read_input(&input, &e->data_len);
        if (rc < 0)
            return err_sys(err, rc, "standard input");
        e->data = input;
    }
    if (e->content_type == NULL)
        e->content_type = e->data == NULL      ? ""
            : is_json(e->data, e->data_len)    ? "application/json"
            : utf8_valid(e->data, e->data_len) ? "text/plain"
                                               : "application/octet-stream";
    commit->command = o->command;
    rc = line_add(commit, e, err);
    free(input);
    if (rc == 0 && o->expect != WIRE_EXPECT_ANY)
        rc = line_add_check(commit, e->stream, strlen(e->stream), o->expect,
                            o->version, err);
    if (rc == 0)
        rc = append_queue(run, commit, 0);
    return rc;
}

/* ---- options ----------------------------------------------------------- */

static int
take_check(struct append_options *o, const char *text, struct err *err)
{
    const char *equals = strrchr(text, '=');
    enum expect expect;
    uint64_t version = 0;

    if (equals == NULL || expect_parse(equals + 1, &expect, &version) < 0)
        return err_set(err, -EINVAL,
                       "--check '%s': it must look like "
                       "STREAM=any|none|exists|VERSION",
                       text);
    return line_add_check(&o->commit, text, (size_t)(equals - text), expect,
                          version, err);
}

static int
take_uuid(const char *option, const char *text, struct uuid *ret_id,
          struct err *err)
{
    if (uuid_parse(text, strlen(text), ret_id) == 0 && !uuid_is_nil(*ret_id))
        return 0;
    return err_set(err, -EINVAL, "--%s '%s': it must be a UUID", option, text);
}

static int
take_number(const char *option, const char *text, uint64_t max,
            uint32_t *ret_number, struct err *err)
{
    uint64_t number;

    if (!number_parse(text, &number) || number > max)
        return err_set(err, -EINVAL,
                       "--%s '%s': it must be a number up to %" PRIu64, option,
                       text, max);
    *ret_number = (uint32_t)number;
    return 0;
}

static int
take_show(struct append_options *o, const char *value, struct err *err)
{
    uint32_t show = 0;
    int rc = take_number("show-conflict", value, UINT16_MAX, &show, err);

    if (rc == 0)
        o->show = (uint16_t)show;
    return rc;
}

enum {
    OPT_EXPECT = 256,
    OPT_CHECK,
    OPT_FAIL_IF,
    OPT_SHOW_CONFLICT,
    OPT_DRY_RUN,
    OPT_META,
    OPT_TAG,
    OPT_CONTENT_TYPE,
    OPT_SCHEMA,
    OPT_COMMAND,
    OPT_ID,
    OPT_CORRELATION,
    OPT_CAUSATION,
    OPT_KEEP_GOING,
    OPT_WINDOW,
    OPT_QUIET,
};

static const struct option long_options[] = {
    { "expect", required_argument, NULL, OPT_EXPECT },
    { "check", required_argument, NULL, OPT_CHECK },
    { "fail-if", required_argument, NULL, OPT_FAIL_IF },
    { "show-conflict", required_argument, NULL, OPT_SHOW_CONFLICT },
    { "dry-run", no_argument, NULL, OPT_DRY_RUN },
    { "explain", no_argument, NULL, OPT_DRY_RUN },
    { "meta", required_argument, NULL, OPT_META },
    { "tag", required_argument, NULL, OPT_TAG },
    { "content-type", required_argument, NULL, OPT_CONTENT_TYPE },
    { "schema", required_argument, NULL, OPT_SCHEMA },
    { "command", required_argument, NULL, OPT_COMMAND },
    { "id", required_argument, NULL, OPT_ID },
    { "correlation", required_argument, NULL, OPT_CORRELATION },
    { "causation", required_argument, NULL, OPT_CAUSATION },
    { "keep-going", no_argument, NULL, OPT_KEEP_GOING },
    { "window", required_argument, NULL, OPT_WINDOW },
    { "quiet", no_argument, NULL, OPT_QUIET },
    CLI_COMMON_OPTIONS,
    { 0 },
};

static int
take_option(struct append_options *o, int c, const char *value, struct err *err)
{
    switch (c) {
    case OPT_EXPECT:
        if (expect_parse(value, &o->expect, &o->version) < 0)
            return err_set(err, -EINVAL,
                           "--expect '%s': it must be any, "
                           "none, exists or a version",
                           value);
        return 0;
    case OPT_CHECK:
        return take_check(o, value, err);
    case OPT_FAIL_IF:
        return condition_from_text(&o->commit, value, err);
    case OPT_SHOW_CONFLICT:
        return take_show(o, value, err);
    case OPT_DRY_RUN:
        o->dry_run = true;
        return 0;
    case OPT_META:
        o->event.meta = value;
        o->event.meta_len = strlen(value);
        return is_json(value, strlen(value))
            ? 0
            : err_set(err, -EINVAL, "--meta: it is not valid JSON");
    case OPT_TAG:
        if (o->event.tag_count == TAGS_MAX)
            return err_set(err, -EINVAL, "--tag: at most %u tags", TAGS_MAX);
        o->tags[o->event.tag_count++] = value;
        return 0;
    case OPT_CONTENT_TYPE:
        o->event.content_type = value;
        return 0;
    case OPT_SCHEMA:
        return take_number("schema", value, UINT32_MAX, &o->event.schema, err);
    case OPT_COMMAND:
        return take_uuid("command", value, &o->command, err);
    case OPT_ID:
        return take_uuid("id", value, &o->event.id, err);
    case OPT_CORRELATION:
        return take_uuid("correlation", value, &o->event.correlation_id, err);
    case OPT_CAUSATION:
        return take_uuid("causation", value, &o->event.causation_id, err);
    case OPT_KEEP_GOING:
        o->keep_going = true;
        return 0;
    case OPT_WINDOW:
        return take_number("window", value, APPEND_WINDOW_MAX, &o->window, err);
    case OPT_QUIET:
        o->quiet = true;
        return 0;
    default:
        return err_set(err, -EINVAL, "what is this option?");
    }
}

static int
run_append(struct append_run *run, int argc, char **argv, struct err *err)
{
    struct append_options *o = run->options;
    struct append_client_options client = {
        .endpoint = run->cli->commands,
        .window = o->window,
        .deadline_ms = run->cli->timeout_ms == 0 ? APPEND_DEADLINE_MS_DEFAULT
                                                 : run->cli->timeout_ms,
    };
    struct cli_keys keys;
    int rc = cli_keys_load(run->cli, &keys, err);

    client.keys = keys.given ? &keys.peer : NULL;
    if (rc == 0)
        rc = append_client_open(&client, on_outcome, run, &run->client, err);
    explicit_bzero(&keys, sizeof keys);
    if (rc < 0)
        return rc;
    if (argc > 0) {
        o->event.stream = argv[0];
        o->event.type = argv[1];
        o->event.data = argc > 2 ? argv[2] : NULL;
        o->event.data_len = argc > 2 ? strlen(argv[2]) : 0;
        rc = append_one(run, err);
    } else {
        struct stat input;

        run->lines = true;
        if (fstat(STDIN_FILENO, &input) == 0 && S_ISREG(input.st_mode))
            run->all_bytes = (uint64_t)input.st_size;
        rc = append_lines(run, err);
    }
    if (append_client_finish(run->client) < 0 && rc == 0)
        rc = err_sys(err, -ENOMEM, "outcomes");
    run->resent = append_client_resent(run->client);
    append_client_close(&run->client);
    return rc;
}

static void
print_summary(struct append_run *run)
{
    double seconds = (double)(clock_ms() - run->began_ms) / 1000;

    cli_progress_end(run->cli);
    if (!run->lines || run->options->quiet)
        return;
    if (seconds < 0.001)
        seconds = 0.001;
    if (run->options->dry_run) {
        fprintf(stderr,
                "dry run: %s commits with %s events would be accepted, %s had "
                "been before; nothing was stored\n",
                cli_number(run->commits), cli_number(run->events),
                cli_number(run->repeated));
        return;
    }
    fprintf(stderr,
            "%s commits with %s events stored, %s repeated, in %.1f s "
            "(%.0f commits/s, %.0f events/s)",
            cli_number(run->commits), cli_number(run->events),
            cli_number(run->repeated), seconds,
            (double)(run->commits + run->repeated) / seconds,
            (double)run->events / seconds);
    if (run->resent > 0)
        fprintf(stderr, "; %s sent again", cli_number(run->resent));
    if (run->conflicts + run->refused + run->bad_lines > 0)
        fprintf(stderr, "; %s conflicts, %s refused, %s bad lines",
                cli_number(run->conflicts), cli_number(run->refused),
                cli_number(run->bad_lines));
    fprintf(stderr, "\n");
}

/* Does it, says how it went, and returns the exit code. */
static int
finish(struct append_run *run, int argc, char **argv)
{
    struct err err;
    int rc = run_append(run, argc, argv, &err);

    print_summary(run);
    line_free(&run->options->commit);
    if (rc == -EINVAL)
        return cli_usage("append", "%s", err.text);
    return rc < 0 ? cli_fail(&err) : exit_code(run);
}

int
cli_append(struct cli *cli, int argc, char **argv)
{
    struct append_options o = {
        .event = { .schema = 1 },
        .window = APPEND_WINDOW_DEFAULT,
    };
    struct append_run run = { .cli = cli,
                              .options = &o,
                              .began_ms = clock_ms() };
    struct err err;
    int c, rc = 0;

    o.event.tags = o.tags;
    while (rc == 0 &&
           (c = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
        if (c == 'h') {
            fputs(help, stdout);
            return CLI_DONE;
        }
        if (c == '?')
            return cli_usage("append", "the options are wrong");
        if (!cli_common_option(cli, c, optarg))
            rc = take_option(&o, c, optarg, &err);
    }
    argc -= optind;
    argv += optind;
    if (rc == 0 && (argc == 1 || argc > 3))
        rc = err_set(&err, -EINVAL,
                     "give STREAM TYPE [DATA], or nothing to "
                     "read lines from standard input");
    if (rc == 0 && o.window == 0)
        rc = err_set(&err, -EINVAL, "--window must be at least 1");
    if (rc < 0) {
        line_free(&o.commit);
        return cli_usage("append", "%s", err.text);
    }
    return finish(&run, argc, argv);
}

static const char help_import[] =
    "cairn import - store exported lines in another log\n\n"
    "usage: cairn import [options] < LINES\n\n"
    "Reads what cairn export has written.  Commits stay whole, and take effect "
    "in\n"
    "the order of the lines; with their ids of commands and events, so that a\n"
    "second import is answered 'repeated' and stores nothing.  Positions and\n"
    "versions follow from the order; times are those of the import.\n\n"
    "  --keep-going      go on behind a bad or refused commit\n"
    "  --timeout SECONDS give a command up after so long (30)\n"
    "  --quiet           only say what went wrong\n"
    "  --json            outcomes as lines of JSON\n";

int
cli_import(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {
        { "keep-going", no_argument, NULL, OPT_KEEP_GOING },
        { "quiet", no_argument, NULL, OPT_QUIET },
        CLI_COMMON_OPTIONS,
        { 0 },
    };
    struct append_options o = {
        .window = APPEND_WINDOW_DEFAULT,
        .in_order = true,
    };
    struct append_run run = { .cli = cli,
                              .options = &o,
                              .began_ms = clock_ms() };
    int c;

    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'h') {
            fputs(help_import, stdout);
            return CLI_DONE;
        }
        if (c == OPT_KEEP_GOING)
            o.keep_going = true;
        else if (c == OPT_QUIET)
            o.quiet = true;
        else if (!cli_common_option(cli, c, optarg))
            return cli_usage("import", "the options are wrong");
    }
    if (argc > optind)
        return cli_usage("import", "it reads lines from standard input");
    return finish(&run, 0, NULL);
}
