/* SPDX-License-Identifier: MPL-2.0 */
/* status - the command: how the daemons are. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "c/query_client.h"
#include "cairn/cli.h"
#include "cairn/line.h"
#include "cairn/projection.h"
#include "store/control.h"

static const char help[] =
    "cairn status - how the daemons are\n\n"
    "usage: cairn status [--json] [--control FILE]\n\n"
    "  --control FILE    the writer's control page (RUN/log.control)\n\n"
    "Exit code 4 if the gateway or the publisher does not answer, 1 if the\n"
    "writer is not serving.\n";

#define PING_MS 1000u
#define WRITER_NAME "cairn-writer"

/* What has been found out. */
struct health {
    bool control_there; /* and readable */
    bool writer_alive;
    enum control_state state;
    uint64_t pid, watermark, time_us, started_us;
    uint64_t counters[COUNT_COUNTERS];
    char log_id[UUID_TEXT_LEN + 1];
    bool gateway_there, publisher_there;
    uint64_t publisher_watermark;
};

static const char *
state_name(const struct health *h)
{
    static const char *const names[] = { "stopped",  "recovering", "serving",
                                         "no space", "failed",     "refused" };

    if (!h->control_there)
        return "not started";
    if (!h->writer_alive &&
        (h->state == CONTROL_SERVING || h->state == CONTROL_NO_SPACE ||
         h->state == CONTROL_RECOVERING))
        return "gone";
    return h->state <= CONTROL_REFUSED ? names[h->state] : "unheard-of";
}

/*
 * Whether the pid on the page is still that of a writer: it may have died
 * without a word, with nobody to bury it, and its pid been given to another.
 */
static bool
is_writer(uint64_t pid)
{
    char path[40], line[128] = "";
    const char *name, *end;
    FILE *file;
    bool read;

    if (pid == 0 || (kill((pid_t)pid, 0) < 0 && errno != EPERM))
        return false;
    (void)snprintf(path, sizeof path, "/proc/%" PRIu64 "/stat", pid);
    file = fopen(path, "re");
    if (file == NULL)
        return true; /* hidden from us: it is there, more cannot be told */
    read = fgets(line, sizeof line, file) != NULL;
    (void)fclose(file);
    name = strchr(line, '(');
    end = strrchr(line, ')');
    if (!read || name == NULL || end == NULL)
        return false;
    /* "PID (NAME) STATE ..." */
    return strncmp(name + 1, WRITER_NAME, strlen(WRITER_NAME)) == 0 &&
        strchr("ZX", end[2]) == NULL;
}

static void
look_at_control(const char *path, struct health *h)
{
    struct control *control;

    if (control_open(&sys_real, path, &control, NULL) < 0)
        return;
    h->control_there = true;
    h->state = control_state(control);
    h->pid = control_writer_pid(control);
    h->writer_alive = is_writer(h->pid);
    h->watermark = control_watermark(control);
    h->time_us = control_time_us(control);
    h->started_us = control_started_us(control);
    for (int i = 0; i < COUNT_COUNTERS; i++)
        h->counters[i] = control_counter(control, (enum control_counter)i);
    uuid_format(control_log_id(control), h->log_id);
    control_close(&control);
}

static bool
ping(struct cli *cli, const char *endpoint, uint64_t *ret_watermark)
{
    struct query_client client;
    struct pong pong;
    char name[64];
    struct err err;
    uint32_t ms = cli->timeout_ms == 0 ? PING_MS : cli->timeout_ms;
    int rc = cli_query_open(cli, &client, endpoint, ms, &err);

    if (rc < 0)
        return false;
    rc = query_ping(&client, &pong, name, &err);
    query_client_close(&client);
    *ret_watermark = pong.watermark;
    return rc == 0;
}

/* ---- printing ---------------------------------------------------------- */

static void
print_writer(const struct health *h)
{
    uint64_t groups = h->counters[COUNT_GROUPS];
    char time[32];

    printf("writer      %s", state_name(h));
    if (h->control_there)
        printf(", pid %" PRIu64, h->pid);
    printf(h->control_there && h->state == CONTROL_REFUSED
               ? ": the log is damaged and READ-ONLY; its lines say why, "
                 "doc/RECOVERY.md what to do\n"
               : "\n");
    if (!h->control_there)
        return;
    printf("log         position %s%s%s\n", cli_number(h->watermark),
           h->time_us > 0 ? ", last commit " : "",
           h->time_us > 0 ? time_format(h->time_us, time) : "");
    printf("since start %s commands: %s commits with %s events, %s repeated, "
           "%s conflicts\n",
           cli_number(h->counters[COUNT_COMMANDS]),
           cli_number(h->counters[COUNT_COMMITS]),
           cli_number(h->counters[COUNT_EVENTS]),
           cli_number(h->counters[COUNT_REPEATED]),
           cli_number(h->counters[COUNT_CONFLICTS]));
    if (groups > 0)
        printf("            %s groups, %.1f commits each; %s written for %s "
               "of data\n",
               cli_number(groups),
               (double)h->counters[COUNT_COMMITS] / (double)groups,
               cli_bytes(h->counters[COUNT_BYTES]),
               cli_bytes(h->counters[COUNT_DATA_BYTES]));
    if (h->counters[COUNT_COMMANDS] > 0)
        printf("            %s messages from and to gateways, %.2f for each "
               "command\n",
               cli_number(h->counters[COUNT_MESSAGES]),
               (double)h->counters[COUNT_MESSAGES] /
                   (double)h->counters[COUNT_COMMANDS]);
}

static void
print_one(void *arg, const struct projection *p, const struct err *err)
{
    (void)arg;
    projection_print(p, err);
}

static void
print_plain(struct cli *cli, const struct health *h)
{
    print_writer(h);
    printf("gateway     %s at %s\n",
           h->gateway_there ? "answers" : "DOES NOT ANSWER", cli->commands);
    printf("publisher   %s at %s",
           h->publisher_there ? "answers" : "DOES NOT ANSWER", cli->queries);
    if (h->publisher_there)
        printf(", up to position %s", cli_number(h->publisher_watermark));
    printf("\nprojections\n");
    if (projection_each(cli, print_one, NULL) == 0)
        printf("  none\n");
}

static void
print_one_json(void *arg, const struct projection *p, const struct err *err)
{
    int *count = arg;

    printf((*count)++ > 0 ? "," : "");
    projection_print_json(p, err);
}

static void
print_json(struct cli *cli, const struct health *h)
{
    static const char *const counters[] = {
        "commands",   "repeated",    "conflicts", "commits",
        "events",     "groups",      "syncs",     "bytes",
        "data_bytes", "checkpoints", "messages",
    };
    int count = 0;
    char time[32];

    printf("{\"writer\":{\"state\":\"%s\"", state_name(h));
    if (h->control_there) {
        printf(",\"pid\":%" PRIu64 ",\"log_id\":\"%s\",\"position\":%" PRIu64,
               h->pid, h->log_id, h->watermark);
        if (h->time_us > 0)
            printf(",\"last_commit\":\"%s\"", time_format(h->time_us, time));
        for (size_t i = 0; i < sizeof counters / sizeof *counters; i++)
            printf(",\"%s\":%" PRIu64, counters[i], h->counters[i]);
    }
    printf("},\"gateway\":{\"reachable\":%s},\"publisher\":{\"reachable\":%s",
           h->gateway_there ? "true" : "false",
           h->publisher_there ? "true" : "false");
    if (h->publisher_there)
        printf(",\"position\":%" PRIu64, h->publisher_watermark);
    printf("},\"projections\":[");
    (void)projection_each(cli, print_one_json, &count);
    printf("]}\n");
}

int
cli_status(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {
        { "control", required_argument, NULL, 256 },
        CLI_COMMON_OPTIONS,
        { 0 },
    };
    struct health h = { 0 };
    char control[CLI_ENDPOINT_LEN];
    uint64_t ignored;
    int c;

    (void)snprintf(control, sizeof control, "%s/log.control", cli->run);
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'h') {
            fputs(help, stdout);
            return CLI_DONE;
        }
        if (c == 256)
            (void)snprintf(control, sizeof control, "%s", optarg);
        else if (!cli_common_option(cli, c, optarg))
            return cli_usage("status", "the options are wrong");
    }
    if (optind < argc)
        return cli_usage("status", "it takes no arguments");
    look_at_control(control, &h);
    h.gateway_there = ping(cli, cli->commands, &ignored);
    h.publisher_there = ping(cli, cli->queries, &h.publisher_watermark);
    if (cli->timeout_ms == 0)
        cli->timeout_ms = PING_MS;
    if (cli->json)
        print_json(cli, &h);
    else
        print_plain(cli, &h);
    if (!h.gateway_there || !h.publisher_there)
        return CLI_UNREACHABLE;
    return h.state == CONTROL_SERVING && h.writer_alive ? CLI_DONE : CLI_FAILED;
}
