/* SPDX-License-Identifier: MPL-2.0 */
/* bench - the command: how fast a running pipeline is. */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/uuid.h"
#include "c/query_client.h"
#include "cairn/cli.h"
#include "cairn/feeder.h"
#include "cairn/timings.h"

static const char help[] =
    "cairn bench - how fast a running pipeline is\n\n"
    "usage: cairn bench append [options]     store made-up events\n"
    "       cairn bench read [options]       read the log from its start\n\n"
    "bench append STORES its events, for ever, in streams bench-ID-N.  Each\n"
    "command expects a version of its stream and is answered after the sync.\n"
    "bench read changes nothing.\n\n"
    "  --outstanding N   commands on their way, over all connections (64)\n"
    "  --connections N   each with a thread of its own (1, at most 64)\n"
    "  --size BYTES      of data of an event (256)\n"
    "  --batch N         append: events in a command (1); read: events in an\n"
    "                    answer (1000)\n"
    "  --streams N       that the events go to (1000)\n"
    "  --seconds N       how long (5, at most 3600); an interrupt ends it "
    "early\n"
    "  --json            as one object\n"
    "  --timeout N       seconds that a command may take (5)\n";

#define CONNECTIONS_MAX 64u
#define SECONDS_MAX 3600u
#define READ_BATCH 1000u

struct bench {
    struct cli *cli;
    bool read;
    uint32_t outstanding, connections, size, batch, streams, seconds;
    char prefix[48];
    uint64_t *versions;
};

struct connection {
    struct bench *bench;
    uint32_t number;
    pthread_t thread;
    bool started;
    int rc;
    struct err err;
    struct timings timings;
    uint64_t commits, events, bytes;
    uint16_t refused; /* enum answer_code; 0: none was */
};

/* ---- appending --------------------------------------------------------- */

static void
on_latency(void *arg, double seconds)
{
    timings_add(arg, seconds);
}

static void
append_some(struct connection *c)
{
    struct bench *b = c->bench;
    struct cli_keys keys;
    struct feeder feeder = {
        .endpoint = b->cli->commands,
        .deadline_ms = b->cli->timeout_ms,
        .window = b->outstanding / b->connections,
        .batch = b->batch,
        .data_len = b->size,
        .prefix = b->prefix,
        .stream_first = c->number,
        .stream_step = b->connections,
        .stream_count = b->streams / b->connections,
        .versions = b->versions,
        .seconds = b->seconds,
        .commits_max = UINT64_MAX,
        .stopped = cli_interrupted,
        .on_latency = on_latency,
        .arg = &c->timings,
    };

    c->rc = cli_keys_load(b->cli, &keys, &c->err);
    feeder.keys = keys.given ? &keys.peer : NULL;
    if (c->rc == 0)
        c->rc = feeder_run(&feeder, &c->err);
    explicit_bzero(&keys, sizeof keys);
    c->commits = feeder.accepted;
    c->events = feeder.accepted * b->batch;
    c->bytes = c->events * b->size;
    c->refused = feeder.refused_code;
}

/* ---- reading ----------------------------------------------------------- */

/* Looks at every event of an answer, as whoever reads must. */
static int
count_events(struct connection *c, struct query_result *result)
{
    struct event event;
    int rc;

    while ((rc = query_next(result, &event, &c->err)) > 0) {
        c->events++;
        c->bytes += event.record_len;
    }
    return rc;
}

static void
read_some(struct connection *c)
{
    struct bench *b = c->bench;
    struct read_request request = { .from = 1, .event_max = b->batch };
    struct query_client client;
    double until = timings_now() + b->seconds;

    c->rc = cli_query_open(b->cli, &client, b->cli->queries, b->cli->timeout_ms,
                           &c->err);
    if (c->rc < 0)
        return;
    while (c->rc == 0 && !cli_interrupted() && timings_now() < until) {
        struct query_result result;
        double before = timings_now();

        c->rc = query_read(&client, &request, &result, &c->err);
        if (c->rc < 0)
            break;
        timings_add(&c->timings, timings_now() - before);
        c->rc = count_events(c, &result);
        c->commits++;
        request.from = result.answer.at_end ? 1 : result.answer.next;
        if (result.answer.watermark == 0)
            c->rc = err_set(&c->err, -CAIRN_EREFUSED, "the log is empty");
        query_result_free(&result);
    }
    query_client_close(&client);
}

/* ---- both -------------------------------------------------------------- */

static void *
drive(void *arg)
{
    struct connection *c = arg;

    if (c->bench->read)
        read_some(c);
    else
        append_some(c);
    return NULL;
}

static void
print_plain(const struct bench *b, struct connection *all, double took)
{
    const char *what = b->read ? "answers" : "commits";

    printf("%s %s, %s events, %s in %.1f s%s\n", cli_number(all->commits), what,
           cli_number(all->events), cli_bytes(all->bytes), took,
           cli_interrupted() ? " (interrupted)" : "");
    printf("%.0f %s/s, %.0f events/s, %s/s\n\n", (double)all->commits / took,
           what, (double)all->events / took,
           cli_bytes((uint64_t)((double)all->bytes / took)));
    timings_print_head();
    timings_print(b->read ? "request" : "durable append", &all->timings);
    if (!b->read)
        printf("\nthe events are stored in streams %s-0000000 to %s-%07u\n",
               b->prefix, b->prefix, b->streams - 1);
}

static void
print_json(const struct bench *b, struct connection *all, double took)
{
    printf("{\"bench\":\"%s\",\"connections\":%u,\"outstanding\":%u,"
           "\"batch\":%u,\"size\":%u,\"seconds\":%.3f,\"interrupted\":%s,",
           b->read ? "read" : "append", b->connections, b->outstanding,
           b->batch, b->size, took, cli_interrupted() ? "true" : "false");
    printf("\"%s\":%llu,\"events\":%llu,\"bytes\":%llu,"
           "\"events_per_second\":%.1f,",
           b->read ? "answers" : "commits", (unsigned long long)all->commits,
           (unsigned long long)all->events, (unsigned long long)all->bytes,
           (double)all->events / took);
    if (!b->read)
        printf("\"streams\":\"%s-N\",", b->prefix);
    printf("\"latency\":");
    timings_print_json(&all->timings);
    printf("}\n");
}

/* Runs all connections and adds up what they did. */
static int
run_connections(struct bench *b, struct connection *all)
{
    static struct connection connections[CONNECTIONS_MAX];
    int rc = 0;

    for (uint32_t i = 0; i < b->connections; i++) {
        connections[i] = (struct connection){ .bench = b, .number = i };
        connections[i].started = pthread_create(&connections[i].thread, NULL,
                                                drive, &connections[i]) == 0;
        if (!connections[i].started)
            connections[i].rc =
                err_set(&connections[i].err, -EAGAIN, "no more threads");
    }
    for (uint32_t i = 0; i < b->connections; i++) {
        struct connection *c = &connections[i];

        if (c->started)
            (void)pthread_join(c->thread, NULL);
        if (c->rc == 0 && c->refused != 0)
            c->rc = err_set(&c->err,
                            c->refused == ANSWER_UNKNOWN ? -CAIRN_EUNKNOWN
                                                         : -CAIRN_EREFUSED,
                            c->refused == ANSWER_UNKNOWN
                                ? "no answer from %s within the timeout"
                                : "the gateway at %s refused a command: %s",
                            b->cli->commands, answer_name(c->refused));
        if (c->rc < 0 && rc == 0) {
            rc = c->rc;
            all->err = c->err;
        }
        all->commits += c->commits;
        all->events += c->events;
        all->bytes += c->bytes;
        timings_merge(&all->timings, &c->timings);
        timings_clear(&c->timings);
    }
    return rc;
}

static int
run(struct bench *b)
{
    struct connection all = { 0 };
    char id[UUID_TEXT_LEN + 1];
    double began, took;
    int rc;

    uuid_format(uuid_v4(), id);
    (void)snprintf(b->prefix, sizeof b->prefix, "bench-%.8s", id);
    b->versions = calloc(b->streams, sizeof *b->versions);
    if (b->versions == NULL)
        return cli_fail(&(struct err){ .text = "no memory" });
    if (!b->read)
        fprintf(stderr,
                "cairn: storing made-up events in %s for %u s, in streams "
                "%s-N; they stay in the log\n",
                b->cli->commands, b->seconds, b->prefix);
    cli_catch_interrupts();
    (void)zsys_init(); /* czmq must not be woken by several threads at once */
    began = timings_now();
    rc = run_connections(b, &all);
    took = timings_now() - began;
    free(b->versions);
    if (rc < 0)
        rc = cli_fail(&all.err);
    else if (b->cli->json)
        print_json(b, &all, took);
    else
        print_plain(b, &all, took);
    timings_clear(&all.timings);
    return rc;
}

enum {
    OPT_OUTSTANDING = 256,
    OPT_CONNECTIONS,
    OPT_SIZE,
    OPT_BATCH,
    OPT_STREAMS,
    OPT_SECONDS,
};

/* False if there is no such option, or its value is out of bounds. */
static bool
take_option(struct bench *b, int c, const char *value)
{
    const struct {
        int option;
        uint32_t *into, max;
    } numbers[] = {
        { OPT_OUTSTANDING, &b->outstanding, FEEDER_WINDOW_MAX },
        { OPT_CONNECTIONS, &b->connections, CONNECTIONS_MAX },
        { OPT_SIZE, &b->size, FEEDER_DATA_MAX },
        { OPT_BATCH, &b->batch, FEEDER_BATCH_MAX },
        { OPT_STREAMS, &b->streams, FEEDER_STREAMS_MAX },
        { OPT_SECONDS, &b->seconds, SECONDS_MAX },
    };
    uint64_t number;

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (numbers[i].option == c && number_parse(value, &number) &&
            number > 0 && number <= numbers[i].max) {
            *numbers[i].into = (uint32_t)number;
            return true;
        }
    return false;
}

int
cli_bench(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {
        { "outstanding", required_argument, NULL, OPT_OUTSTANDING },
        { "connections", required_argument, NULL, OPT_CONNECTIONS },
        { "size", required_argument, NULL, OPT_SIZE },
        { "batch", required_argument, NULL, OPT_BATCH },
        { "streams", required_argument, NULL, OPT_STREAMS },
        { "seconds", required_argument, NULL, OPT_SECONDS },
        CLI_COMMON_OPTIONS,
        { 0 },
    };
    struct bench b = { .cli = cli,
                       .outstanding = 64,
                       .connections = 1,
                       .size = 256,
                       .streams = 1000,
                       .seconds = 5 };
    int c;

    cli->timeout_ms = CLI_TIMEOUT_MS_DEFAULT;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'h') {
            fputs(help, stdout);
            return CLI_DONE;
        }
        if (!take_option(&b, c, optarg) && !cli_common_option(cli, c, optarg))
            return cli_usage("bench",
                             "an option is wrong, or its number too large");
    }
    if (argc - optind != 1 ||
        (strcmp(argv[optind], "append") != 0 &&
         strcmp(argv[optind], "read") != 0))
        return cli_usage("bench", "say what: append or read");
    b.read = strcmp(argv[optind], "read") == 0;
    if (b.batch == 0)
        b.batch = b.read ? READ_BATCH : 1;
    if (b.connections > b.outstanding || b.connections > b.streams)
        return cli_usage("bench",
                         "there are more connections than commands "
                         "outstanding or streams");
    return run(&b);
}
