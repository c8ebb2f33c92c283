/* SPDX-License-Identifier: MPL-2.0 */
/* read - the commands read and watch: events, from the publisher. */
#include <getopt.h>
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "c/query_client.h"
#include "cairn/cli.h"
#include "cairn/line.h"
#include "cairn/position.h"

#define POLL_MS 2000u /* of one long poll */
#define DATA_SHOWN 100

static const char help_read[] =
    "cairn read - read events\n\n"
    "usage: cairn read [options] [STREAM]\n\n"
    "With STREAM alone positions are versions of that stream; with other\n"
    "filters, or with none, positions of the whole log.\n\n"
    "  --category C --type T --tag G   filters; may be repeated: one of the\n"
    "                    categories, one of the types, all of the tags\n"
    "  --stream S        one more stream\n"
    "  --from POSITION   where to begin: a number, start, end, -100 (the last\n"
    "                    100), or @TIME (@2026-01-31, "
    "@2026-01-31T12:00:00Z,\n"
    "                    or @SECONDS since 1970)\n"
    "  --to POSITION     where to stop: the last to show, a number or "
    "@TIME\n"
    "  --limit N         at most so many events\n"
    "  --backward        newest first\n"
    "  --follow          wait for more at the end\n"
    "  --json            events as lines of JSON, as append reads them\n"
    "  --timeout SECONDS how long to wait for an answer (5)\n";

static const char help_watch[] =
    "cairn watch - show events as they become durable\n\n"
    "usage: cairn watch [options] [STREAM]\n\n"
    "The same as read --follow --from end, with the same options.\n";

struct read_options {
    struct read_request request;
    uint64_t to;         /* position or version; 0: no end */
    uint64_t to_time_us; /* if it is to end at a time */
    bool ends_at_time;
    uint64_t limit; /* 0: none */
    bool follow, any_filter;
};

/* ---- positions --------------------------------------------------------- */

static int
parse_from(const char *text, struct read_request *request)
{
    request->from_kind = READ_FROM_NUMBER;
    if (strcmp(text, "start") == 0) {
        request->from = 1;
        return 0;
    }
    if (strcmp(text, "end") == 0) {
        request->from_kind = READ_FROM_END;
        request->from = 0;
        return 0;
    }
    if (text[0] == '-') {
        request->from_kind = READ_FROM_END;
        return number_parse(text + 1, &request->from) ? 0 : -EINVAL;
    }
    if (text[0] == '@') {
        request->from_kind = READ_FROM_TIME;
        return time_parse(text + 1, &request->from);
    }
    return number_parse(text, &request->from) ? 0 : -EINVAL;
}

/* Backward, "end" is the newest, and so is "-1"; "-n" is n before it. */
static int
turn_backward(struct read_options *o, bool from_given, struct err *err)
{
    struct read_request *r = &o->request;

    r->direction = READ_BACKWARD;
    if (!from_given || (r->from_kind == READ_FROM_END && r->from <= 1)) {
        r->from_kind = READ_FROM_NUMBER;
        r->from = 0;
        return 0;
    }
    if (r->from_kind == READ_FROM_END)
        return err_set(err, -EINVAL,
                       "--backward begins at end, at a number "
                       "or at a time");
    return 0;
}

/* ---- showing ----------------------------------------------------------- */

static void
print_plain(const struct event *e)
{
    char time[32];
    bool text = utf8_valid(e->data.p, e->data.len);

    printf("%8" PRIu64 "  %s  %.*s@%" PRIu64 "  %.*s  ", e->position,
           time_format(e->time_us, time), (int)e->stream.len, e->stream.p,
           e->version, (int)e->type.len, e->type.p);
    if (!text)
        printf("(%u bytes)", e->data.len);
    for (uint32_t i = 0; text && i < e->data.len; i++) {
        unsigned char c = (unsigned char)e->data.p[i];

        /* Cut between characters, not inside one. */
        if (i >= DATA_SHOWN && (c & 0xc0) != 0x80) {
            printf("...");
            break;
        }
        /* No control character, of one byte or two, gets to a terminal. */
        if (c == 0xc2 && (unsigned char)e->data.p[i + 1] < 0xa0) {
            putchar(' ');
            i++;
        } else {
            putchar(c < 0x20 || c == 0x7f ? ' ' : c);
        }
    }
    printf("\n");
}

/* Whether an event lies behind the end that was asked for. */
static bool
is_behind_end(const struct read_options *o, uint64_t at, uint64_t time_us)
{
    if (o->request.direction == READ_FORWARD)
        return (o->to != 0 && at > o->to) ||
            (o->ends_at_time && time_us > o->to_time_us);
    return at < o->to || (o->ends_at_time && time_us < o->to_time_us);
}

/* Shows a result; 1 to go on, 0 if the end that was asked for is reached. */
static int
show(struct cli *cli, const struct read_options *o, struct query_result *result,
     bool by_version, uint64_t *shown, struct err *err)
{
    struct event event;
    int rc;

    while ((rc = query_next(result, &event, err)) > 0) {
        uint64_t at = by_version ? event.version : event.position;

        if (is_behind_end(o, at, event.time_us))
            return 0;
        if (cli->json)
            line_print(stdout, &event);
        else
            print_plain(&event);
        if (++*shown == o->limit)
            return 0;
    }
    if (rc == 0 && o->follow)
        (void)fflush(stdout); /* main() says so if it fails for good */
    return rc < 0 ? rc : 1;
}

static int
run_read(struct cli *cli, struct read_options *o, struct err *err)
{
    struct read_request *r = &o->request;
    bool by_version =
        r->selector_count == 1 && r->selectors[0].kind == SELECT_STREAM;
    struct query_client client;
    uint64_t shown = 0;
    int rc = cli_query_open(cli, &client, cli->queries, cli->timeout_ms, err);

    while (rc == 0) {
        struct query_result result;
        bool end;

        r->wait_ms = o->follow ? POLL_MS : 0;
        r->event_max = 0;
        if (o->limit > 0 && o->limit - shown < UINT32_MAX)
            r->event_max = (uint32_t)(o->limit - shown);
        rc = query_read(&client, r, &result, err);
        if (rc == -CAIRN_EUNREACHABLE && o->follow && shown > 0) {
            rc = 0; /* it was there, and will be again */
            continue;
        }
        if (rc < 0)
            break;
        end = (result.answer.at_end && !o->follow) ||
            (r->direction == READ_FORWARD && o->to != 0 &&
             result.answer.next > o->to);
        rc = show(cli, o, &result, by_version, &shown, err);
        r->from_kind = READ_FROM_NUMBER;
        r->from = result.answer.next;
        if (by_version && result.answer.stream_version == 0 && shown == 0 &&
            !o->follow && rc > 0)
            rc = err_set(err, -ENOENT, "there is no stream '%.*s'",
                         (int)r->selectors[0].len, r->selectors[0].text);
        query_result_free(&result);
        if (rc <= 0 || end || ferror(stdout) ||
            (r->direction == READ_BACKWARD && r->from == 0))
            break;
        rc = 0;
    }
    query_client_close(&client);
    return rc < 0 ? rc : 0;
}

/* ---- options ----------------------------------------------------------- */

static int
add_selector(struct read_options *o, uint8_t kind, const char *text,
             struct err *err)
{
    const char *fault = name_fault(text, strlen(text));

    if (fault != NULL)
        return err_set(err, -EINVAL, "'%s': it %s", text, fault);
    if (o->request.selector_count == SELECTORS_MAX)
        return err_set(err, -EINVAL, "at most %u filters", SELECTORS_MAX);
    o->request.selectors[o->request.selector_count++] = (struct read_selector){
        .kind = kind,
        .len = (uint16_t)strlen(text),
        .text = text,
    };
    return 0;
}

enum {
    OPT_CATEGORY = 256,
    OPT_TYPE,
    OPT_TAG,
    OPT_STREAM,
    OPT_FROM,
    OPT_TO,
    OPT_LIMIT,
    OPT_BACKWARD,
    OPT_FOLLOW,
};

static int
take_option(struct read_options *o, int c, const char *value, struct err *err)
{
    uint64_t number = 0;

    switch (c) {
    case OPT_CATEGORY:
        return add_selector(o, SELECT_CATEGORY, value, err);
    case OPT_TYPE:
        return add_selector(o, SELECT_TYPE, value, err);
    case OPT_TAG:
        return add_selector(o, SELECT_TAG, value, err);
    case OPT_STREAM:
        return add_selector(o, SELECT_STREAM, value, err);
    case OPT_FROM:
        return parse_from(value, &o->request) == 0
            ? 0
            : err_set(err, -EINVAL,
                      "--from '%s': it must be a number, start, "
                      "end, -100 or @TIME",
                      value);
    case OPT_TO:
        if (value[0] == '@' && time_parse(value + 1, &o->to_time_us) == 0) {
            o->ends_at_time = true;
            return 0;
        }
        if (number_parse(value, &o->to) && o->to > 0)
            return 0;
        return err_set(err, -EINVAL,
                       "--to '%s': it must be a number from 1 on, or @TIME",
                       value);
    case OPT_LIMIT:
        if (!number_parse(value, &number) || number == 0)
            return err_set(err, -EINVAL,
                           "--limit '%s': it must be a number from 1 on",
                           value);
        o->limit = number;
        return 0;
    case OPT_FOLLOW:
        o->follow = true;
        return 0;
    default:
        return err_set(err, -EINVAL, "what is this option?");
    }
}

static int
read_or_watch(struct cli *cli, int argc, char **argv, bool watch)
{
    static const struct option options[] = {
        { "category", required_argument, NULL, OPT_CATEGORY },
        { "type", required_argument, NULL, OPT_TYPE },
        { "tag", required_argument, NULL, OPT_TAG },
        { "stream", required_argument, NULL, OPT_STREAM },
        { "from", required_argument, NULL, OPT_FROM },
        { "to", required_argument, NULL, OPT_TO },
        { "limit", required_argument, NULL, OPT_LIMIT },
        { "backward", no_argument, NULL, OPT_BACKWARD },
        { "follow", no_argument, NULL, OPT_FOLLOW },
        CLI_COMMON_OPTIONS,
        { 0 },
    };
    const char *name = watch ? "watch" : "read";
    struct read_options o = { .follow = watch };
    bool backward = false, from_given = false;
    struct err err;
    int c, rc = 0;

    cli->timeout_ms = CLI_TIMEOUT_MS_DEFAULT;
    if (watch)
        o.request.from_kind = READ_FROM_END;
    while (rc == 0 && (c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'h') {
            fputs(watch ? help_watch : help_read, stdout);
            return CLI_DONE;
        }
        if (c == '?')
            return cli_usage(name, "the options are wrong");
        backward = backward || c == OPT_BACKWARD;
        from_given = from_given || c == OPT_FROM;
        if (c != OPT_BACKWARD && !cli_common_option(cli, c, optarg))
            rc = take_option(&o, c, optarg, &err);
    }
    for (int i = optind; rc == 0 && i < argc; i++)
        rc = add_selector(&o, SELECT_STREAM, argv[i], &err);
    if (rc == 0 && backward)
        rc = turn_backward(&o, from_given, &err);
    if (rc == 0 && backward && o.follow)
        rc = err_set(&err, -EINVAL,
                     "--backward and --follow do not go "
                     "together");
    if (rc < 0)
        return cli_usage(name, "%s", err.text);
    rc = run_read(cli, &o, &err);
    return rc < 0 ? cli_fail(&err) : CLI_DONE;
}

int
cli_read(struct cli *cli, int argc, char **argv)
{
    return read_or_watch(cli, argc, argv, false);
}

int
cli_watch(struct cli *cli, int argc, char **argv)
{
    return read_or_watch(cli, argc, argv, true);
}

/* ---- stream info ------------------------------------------------------- */

static const char help_stream[] = "cairn stream - what is known of a stream\n\n"
                                  "usage: cairn stream info [--json] STREAM\n\n"
                                  "Exit code 1 if there is no such stream.\n";

/* One event of a stream: the first or the last. */
static int
read_end(struct query_client *client, const char *stream, bool last,
         struct query_result *result, struct event *ret_event, struct err *err)
{
    struct read_request request = {
        .direction = last ? READ_BACKWARD : READ_FORWARD,
        .event_max = 1,
        .selectors = { { .kind = SELECT_STREAM,
                         .len = (uint16_t)strlen(stream),
                         .text = stream } },
        .selector_count = 1,
    };
    int rc = query_read(client, &request, result, err);

    if (rc < 0)
        return rc;
    rc = query_next(result, ret_event, err);
    if (rc > 0)
        return 0;
    query_result_free(result);
    return rc < 0 ? rc
                  : err_set(err, -ENOENT, "there is no stream '%s'", stream);
}

static void
print_stream(const struct cli *cli, const char *name, const struct event *first,
             const struct event *last)
{
    char began[32], ended[32];
    size_t len = strlen(name);

    time_format(first->time_us, began);
    time_format(last->time_us, ended);
    if (cli->json) {
        printf("{\"stream\":");
        json_print_text(stdout, name, len);
        printf(",\"category\":");
        json_print_text(stdout, name, category_len(name, len));
        printf(",\"version\":%" PRIu64 ",\"first_position\":%" PRIu64
               ",\"last_position\":%" PRIu64
               ",\"first_time\":\"%s\",\"last_time\":\"%s\",\"last_type\":",
               last->version, first->position, last->position, began, ended);
        json_print_text(stdout, last->type.p, last->type.len);
        printf("}\n");
        return;
    }
    printf("stream         %s\n"
           "category       %.*s\n"
           "version        %s\n"
           "first event    position %s, %s, %.*s\n"
           "last event     position %s, %s, %.*s\n",
           name, (int)category_len(name, len), name, cli_number(last->version),
           cli_number(first->position), began, (int)first->type.len,
           first->type.p, cli_number(last->position), ended,
           (int)last->type.len, last->type.p);
}

int
cli_stream(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = { CLI_COMMON_OPTIONS, { 0 } };
    struct query_client client;
    struct query_result first_result, last_result;
    struct event first, last;
    struct err err;
    int c, rc;

    cli->timeout_ms = CLI_TIMEOUT_MS_DEFAULT;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'h') {
            fputs(help_stream, stdout);
            return CLI_DONE;
        }
        if (!cli_common_option(cli, c, optarg))
            return cli_usage("stream", "the options are wrong");
    }
    if (argc - optind != 2 || strcmp(argv[optind], "info") != 0 ||
        name_fault(argv[optind + 1], strlen(argv[optind + 1])) != NULL)
        return cli_usage("stream", "say: stream info NAME");
    rc = cli_query_open(cli, &client, cli->queries, cli->timeout_ms, &err);
    if (rc == 0)
        rc = read_end(&client, argv[optind + 1], true, &last_result, &last,
                      &err);
    if (rc == 0) {
        rc = read_end(&client, argv[optind + 1], false, &first_result, &first,
                      &err);
        if (rc == 0) {
            print_stream(cli, argv[optind + 1], &first, &last);
            query_result_free(&first_result);
        }
        query_result_free(&last_result);
    }
    query_client_close(&client);
    return rc < 0 ? cli_fail(&err) : CLI_DONE;
}
