/* SPDX-License-Identifier: MPL-2.0 */
/* projection - the command: asks projectors, through their control sockets. */
#include <dirent.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "c/query_client.h"
#include "cairn/cli.h"
#include "cairn/line.h"
#include "cairn/projection.h"

static const char help[] =
    "cairn projection - read models and their projectors\n\n"
    "usage: cairn projection ls\n"
    "       cairn projection info NAME\n"
    "       cairn projection reset NAME\n"
    "       cairn projection wait NAME [POSITION]\n\n"
    "  ls      every projector that has a socket in RUN/projections\n"
    "  reset   take the read model down and build it again from position 1\n"
    "  wait    until the read model has taken POSITION in (a number, or end,\n"
    "          which is the watermark now); exit code 1 if it takes too "
    "long\n\n"
    "  --json, --timeout SECONDS (5; wait: 60)\n";

#define WAIT_TIMEOUT_MS 60000u
#define WAIT_PIECE_MS 2000u /* a projector that starts again has forgotten us */

int
projection_ask(struct cli *cli, const char *name,
               struct projection_request *request, struct projection *ret,
               struct err *err)
{
    char endpoint[CLI_ENDPOINT_LEN];
    struct query_client client;
    char called[256];
    int rc;

    if (snprintf(endpoint, sizeof endpoint, "ipc://%s/projections/%s", cli->run,
                 name) >= (int)sizeof endpoint)
        return err_set(err, -ENAMETOOLONG, "projection '%s'", name);
    rc = cli_query_open(cli, &client, endpoint, cli->timeout_ms, err);
    if (rc < 0)
        return rc;
    rc = query_projection(&client, request, &ret->answer, called, ret->text,
                          err);
    query_client_close(&client);
    (void)snprintf(ret->name, sizeof ret->name, "%s", name);
    return rc;
}

static int
is_socket(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);

    return entry->d_name[0] != '.' &&
        !(len > 5 && strcmp(entry->d_name + len - 5, ".lock") == 0);
}

int
projection_each(struct cli *cli,
                void (*each)(void *arg, const struct projection *projection,
                             const struct err *err),
                void *arg)
{
    struct dirent **names = NULL;
    char path[CLI_ENDPOINT_LEN];
    int count;

    (void)snprintf(path, sizeof path, "%s/projections", cli->run);
    count = scandir(path, &names, is_socket, alphasort);
    for (int i = 0; i < count; i++) {
        struct projection_request request = { .op = PROJECTION_INFO };
        struct projection projection = { 0 };
        struct err err = { 0 };

        if (projection_ask(cli, names[i]->d_name, &request, &projection,
                           &err) == 0)
            err.code = 0;
        each(arg, &projection, &err);
        free(names[i]);
    }
    free(names);
    return count < 0 ? 0 : count;
}

void
projection_print_json(const struct projection *p, const struct err *err)
{
    char time[32];

    printf("{\"name\":");
    json_print_text(stdout, p->name, strlen(p->name));
    if (err != NULL && err->code < 0) {
        printf(",\"state\":\"not reachable\"}");
        return;
    }
    printf(",\"state\":\"%s\",\"checkpoint\":%" PRIu64 ",\"watermark\":%" PRIu64
           ",\"events\":%" PRIu64 ",\"transactions\":%" PRIu64,
           projection_state_name(p->answer.state), p->answer.checkpoint,
           p->answer.watermark, p->answer.events, p->answer.transactions);
    if (p->answer.time_us > 0)
        printf(",\"last_event_time\":\"%s\"",
               time_format(p->answer.time_us, time));
    if (p->text[0] != '\0') {
        printf(",\"reason\":");
        json_print_text(stdout, p->text, strlen(p->text));
    }
    printf("}");
}

void
projection_print(const struct projection *p, const struct err *err)
{
    if (err != NULL && err->code < 0) {
        printf("  %-20s not reachable: a socket is left of it\n", p->name);
        return;
    }
    printf("  %-20s %-12s at %s of %s%s%s\n", p->name,
           projection_state_name(p->answer.state),
           cli_number(p->answer.checkpoint), cli_number(p->answer.watermark),
           p->text[0] != '\0' ? ": " : "", p->text);
}

/* ---- verbs ------------------------------------------------------------- */

struct listing {
    struct cli *cli;
    int count;
};

static void
list_one(void *arg, const struct projection *p, const struct err *err)
{
    struct listing *l = arg;

    if (l->cli->json) {
        printf(l->count++ > 0 ? "," : "");
        projection_print_json(p, err);
    } else {
        projection_print(p, err);
    }
}

static int
list(struct cli *cli)
{
    struct listing l = { .cli = cli };

    if (cli->json)
        printf("[");
    if (projection_each(cli, list_one, &l) == 0 && !cli->json)
        printf("no projector has a socket in %s/projections\n", cli->run);
    if (cli->json)
        printf("]\n");
    return CLI_DONE;
}

static int
info(struct cli *cli, const char *name, struct err *err)
{
    struct projection_request request = { .op = PROJECTION_INFO };
    struct projection p;
    char time[32] = "-";
    int rc = projection_ask(cli, name, &request, &p, err);

    if (rc < 0)
        return cli_fail(err);
    if (cli->json) {
        projection_print_json(&p, NULL);
        printf("\n");
        return CLI_DONE;
    }
    if (p.answer.time_us > 0)
        time_format(p.answer.time_us, time);
    printf("projection     %s\n"
           "state          %s%s%s\n"
           "checkpoint     %s of %s\n"
           "since start    %s events in %s transactions\n"
           "last event     %s\n",
           p.name, projection_state_name(p.answer.state),
           p.text[0] != '\0' ? ": " : "", p.text,
           cli_number(p.answer.checkpoint), cli_number(p.answer.watermark),
           cli_number(p.answer.events), cli_number(p.answer.transactions),
           time);
    return CLI_DONE;
}

static int
reset(struct cli *cli, const char *name, struct err *err)
{
    struct projection_request request = { .op = PROJECTION_RESET };
    struct projection p;
    int rc = projection_ask(cli, name, &request, &p, err);

    if (rc == 0 && p.answer.code != ANSWER_OK)
        rc = err_set(err, -CAIRN_EREFUSED, "projection %s: %s", name, p.text);
    if (rc < 0)
        return cli_fail(err);
    if (!cli->json)
        printf("projection %s: reset; it is being built again\n", name);
    return CLI_DONE;
}

static int
wait_position(struct cli *cli, const char *text, uint64_t *ret_position,
              struct err *err)
{
    struct query_client client;
    struct pong pong;
    char name[64];
    int rc;

    if (text != NULL && strcmp(text, "end") != 0)
        return number_parse(text, ret_position)
            ? 0
            : err_set(err, -CAIRN_EUSAGE, "'%s': it must be a position, or end",
                      text);
    rc = cli_query_open(cli, &client, cli->queries, cli->timeout_ms, err);
    if (rc < 0)
        return rc;
    rc = query_ping(&client, &pong, name, err);
    query_client_close(&client);
    if (rc == 0)
        *ret_position = pong.watermark;
    return rc;
}

static int
wait_for(struct cli *cli, const char *name, const char *text, struct err *err)
{
    struct projection_request request = { .op = PROJECTION_WAIT };
    struct projection p;
    uint64_t until = clock_ms() + cli->timeout_ms;
    bool again;
    int rc;

    cli->timeout_ms = CLI_TIMEOUT_MS_DEFAULT;
    rc = wait_position(cli, text, &request.position, err);
    do {
        uint64_t now = clock_ms(), left = until > now ? until - now : 0;

        request.wait_ms = left < WAIT_PIECE_MS ? (uint32_t)left : WAIT_PIECE_MS;
        if (rc == 0)
            rc = projection_ask(cli, name, &request, &p, err);
        again = rc == 0 && p.answer.code == ANSWER_BUSY &&
            p.answer.state != PROJECTION_FAILED && left > WAIT_PIECE_MS &&
            clock_ms() >= now + WAIT_PIECE_MS;
    } while (again);
    if (rc == 0 && p.answer.code != ANSWER_OK)
        rc = err_set(err, -ETIMEDOUT,
                     "projection %s is %s at position %" PRIu64
                     " and has not taken %" PRIu64 " in%s%s",
                     name, projection_state_name(p.answer.state),
                     p.answer.checkpoint, request.position,
                     p.text[0] != '\0' ? ": " : "", p.text);
    if (rc < 0)
        return cli_fail(err);
    if (cli->json) {
        projection_print_json(&p, NULL);
        printf("\n");
    } else {
        printf("projection %s: at position %s\n", name,
               cli_number(p.answer.checkpoint));
    }
    return CLI_DONE;
}

int
cli_projection(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = { CLI_COMMON_OPTIONS, { 0 } };
    struct err err;
    const char *verb;
    int c, count;

    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'h') {
            fputs(help, stdout);
            return CLI_DONE;
        }
        if (!cli_common_option(cli, c, optarg))
            return cli_usage("projection", "the options are wrong");
    }
    argv += optind;
    count = argc - optind;
    verb = count > 0 ? argv[0] : "";
    if (cli->timeout_ms == 0)
        cli->timeout_ms = strcmp(verb, "wait") == 0 ? WAIT_TIMEOUT_MS
                                                    : CLI_TIMEOUT_MS_DEFAULT;
    if (strcmp(verb, "ls") == 0 && count == 1)
        return list(cli);
    if (strcmp(verb, "info") == 0 && count == 2)
        return info(cli, argv[1], &err);
    if (strcmp(verb, "reset") == 0 && count == 2)
        return reset(cli, argv[1], &err);
    if (strcmp(verb, "wait") == 0 && (count == 2 || count == 3))
        return wait_for(cli, argv[1], count == 3 ? argv[2] : NULL, &err);
    return cli_usage("projection",
                     "say: projection ls, or info, reset or "
                     "wait and a NAME");
}
