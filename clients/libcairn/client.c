/* SPDX-License-Identifier: MPL-2.0 */
#include "libcairn/impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "wire/projection.h"

#define DEADLINE_MS_MAX (24u * 3600 * 1000)
#define WAIT_STEP_MS 10000u
#define VERSION_TEXT_(major, minor) #major "." #minor
#define VERSION_TEXT(major, minor) VERSION_TEXT_(major, minor)

const char *
cairn_version(void)
{
    return VERSION_TEXT(CAIRN_VERSION_MAJOR, CAIRN_VERSION_MINOR);
}

const char *
cairn_code_name(int code)
{
    return answer_name((uint16_t)code);
}

int
cairn_new(struct cairn **ret_cairn)
{
    struct cairn *c = calloc(1, sizeof *c);

    if (c == NULL)
        return CAIRN_ERR_MEMORY;
    (void)snprintf(c->run, sizeof c->run, "/run/cairn");
    c->deadline_ms = APPEND_DEADLINE_MS_DEFAULT;
    c->window = APPEND_WINDOW_DEFAULT;
    TAILQ_INIT(&c->in_flight);
    TAILQ_INIT(&c->received);
    *ret_cairn = c;
    return CAIRN_OK;
}

static void
free_list(struct outcome_list *list)
{
    struct cairn_outcome *outcome;

    while ((outcome = TAILQ_FIRST(list)) != NULL) {
        TAILQ_REMOVE(list, outcome, link);
        cairn_outcome_free(&outcome);
    }
}

void
cairn_free(struct cairn **cairn)
{
    struct cairn *c;

    if (cairn == NULL || *cairn == NULL)
        return;
    c = *cairn;
    *cairn = NULL;
    append_client_close(&c->append);
    if (c->query_open)
        query_client_close(&c->query);
    if (c->context != NULL)
        (void)zmq_ctx_term(c->context); /* all its sockets are closed */
    free_list(&c->in_flight);
    free_list(&c->received);
    free(c);
}

const char *
cairn_error(const struct cairn *cairn)
{
    return cairn->err.text;
}

int
client_fail(struct cairn *c, int result, const char *text)
{
    (void)err_set(&c->err, result, "%s", text);
    return result;
}

int
client_result(int code)
{
    if (code >= 0)
        return code;
    switch (-code) {
    case ENOMEM:
        return CAIRN_ERR_MEMORY;
    case CAIRN_EUNREACHABLE:
        return CAIRN_ERR_UNREACHABLE;
    case CAIRN_EREFUSED:
        return CAIRN_ERR_REFUSED;
    case CAIRN_EDAMAGED:
    case CAIRN_ERECORD:
        return CAIRN_ERR_DAMAGED;
    case CAIRN_ECONFIG:
    case CAIRN_EUSAGE:
    case EINVAL:
    case EMSGSIZE:
        return CAIRN_ERR_ARGUMENT;
    default:
        return CAIRN_ERR_SYSTEM;
    }
}

/* ---- options ----------------------------------------------------------- */

static int
set_text(struct cairn *c, char *room, size_t room_len, const char *value)
{
    if (strlen(value) >= room_len)
        return client_fail(c, CAIRN_ERR_ARGUMENT, "the value is too long");
    memcpy(room, value, strlen(value) + 1);
    return CAIRN_OK;
}

static int
set_key(struct cairn *c, char room[KEY_LEN + 1], const char *value)
{
    if (strlen(value) != KEY_LEN)
        return client_fail(c, CAIRN_ERR_ARGUMENT,
                           "a key is 40 characters of Z85");
    return set_text(c, room, KEY_LEN + 1, value);
}

static int
set_number(struct cairn *c, uint64_t *number, uint64_t max, const char *value)
{
    uint64_t n;

    if (!number_parse(value, &n) || n == 0 || n > max)
        return client_fail(c, CAIRN_ERR_ARGUMENT,
                           "not a number of the range that is allowed");
    *number = n;
    return CAIRN_OK;
}

int
cairn_set(struct cairn *c, const char *option, const char *value)
{
    if (c->context != NULL)
        return client_fail(c, CAIRN_ERR_ARGUMENT,
                           "options are set before the first use");
    if (strcmp(option, "run") == 0)
        return set_text(c, c->run, sizeof c->run, value);
    if (strcmp(option, "commands") == 0)
        return set_text(c, c->commands, sizeof c->commands, value);
    if (strcmp(option, "queries") == 0)
        return set_text(c, c->queries, sizeof c->queries, value);
    if (strcmp(option, "projections") == 0)
        return set_text(c, c->projections, sizeof c->projections, value);
    if (strcmp(option, "deadline_ms") == 0)
        return set_number(c, &c->deadline_ms, DEADLINE_MS_MAX, value);
    if (strcmp(option, "window") == 0)
        return set_number(c, &c->window, APPEND_WINDOW_MAX, value);
    if (strcmp(option, "server_key") == 0)
        return set_key(c, c->server_key, value);
    if (strcmp(option, "public_key") == 0)
        return set_key(c, c->public_key, value);
    if (strcmp(option, "secret_key") == 0)
        return set_key(c, c->secret_key, value);
    (void)err_set(&c->err, CAIRN_ERR_ARGUMENT, "there is no option '%s'",
                  option);
    return CAIRN_ERR_ARGUMENT;
}

/* What was not set follows from the directory of the run. */
static int
endpoint_default(struct cairn *c, char endpoint[ENDPOINT_LEN], const char *name)
{
    if (endpoint[0] != '\0')
        return CAIRN_OK;
    if (snprintf(endpoint, ENDPOINT_LEN, "ipc://%s/%s", c->run, name) >=
        ENDPOINT_LEN)
        return client_fail(c, CAIRN_ERR_ARGUMENT, "the path is too long");
    return CAIRN_OK;
}

int
client_begin(struct cairn *c)
{
    int rc;

    if (c->context != NULL)
        return CAIRN_OK;
    rc = endpoint_default(c, c->commands, "commands");
    if (rc == 0)
        rc = endpoint_default(c, c->queries, "queries");
    if (rc == 0)
        rc = endpoint_default(c, c->projections, "projections/");
    if (rc < 0)
        return rc;
    c->keys = (struct peer_keys){ c->server_key, c->public_key, c->secret_key };
    c->context = zmq_ctx_new();
    return c->context == NULL
        ? client_fail(c, CAIRN_ERR_MEMORY, "cannot make a ZeroMQ context")
        : CAIRN_OK;
}

struct peer_options
client_peer(const struct cairn *c, const char *endpoint)
{
    return (struct peer_options){
        .endpoint = endpoint,
        .context = c->context,
        .keys = c->server_key[0] == '\0' ? NULL : &c->keys,
    };
}

/* ---- projections ------------------------------------------------------- */

/* Asks once, in pieces short enough that a lost answer is soon noticed. */
static int
ask_to_wait(struct cairn *c, const char *endpoint, uint64_t position,
            uint32_t wait_ms, struct projection_answer *ret_answer)
{
    struct peer_options peer = client_peer(c, endpoint);
    uint64_t until = clock_ms() + wait_ms;
    char name[256], text[1024] = "";
    struct query_client client;
    int rc = query_client_open_peer(&client, &peer, (uint32_t)c->deadline_ms,
                                    &c->err);

    if (rc < 0)
        return rc;
    for (bool again = true; rc == 0 && again;) {
        uint64_t now = clock_ms(), left = now < until ? until - now : 0;
        struct projection_request request = {
            .position = position,
            .op = PROJECTION_WAIT,
            .wait_ms = (uint32_t)(left < WAIT_STEP_MS ? left : WAIT_STEP_MS),
        };

        rc = query_projection(&client, &request, ret_answer, name, text,
                              &c->err);
        again = ret_answer->code == ANSWER_BUSY &&
            ret_answer->state != PROJECTION_FAILED && clock_ms() < until;
    }
    query_client_close(&client);
    if (rc < 0)
        return rc;
    if (ret_answer->state == PROJECTION_FAILED &&
        ret_answer->code != ANSWER_OK) {
        (void)err_set(&c->err, CAIRN_ERR_REFUSED, "it has stopped: %s", text);
        return -CAIRN_EREFUSED;
    }
    if (ret_answer->code != ANSWER_OK && ret_answer->code != ANSWER_BUSY) {
        (void)err_set(&c->err, CAIRN_ERR_REFUSED, "%s: %s",
                      answer_name(ret_answer->code), text);
        return -CAIRN_EREFUSED;
    }
    return 0;
}

int
cairn_wait(struct cairn *c, const char *name, uint64_t position,
           uint32_t wait_ms, uint64_t *ret_checkpoint)
{
    struct projection_answer answer = { 0 };
    char endpoint[2 * ENDPOINT_LEN];
    int rc = client_begin(c);

    if (rc < 0)
        return rc;
    if (snprintf(endpoint, sizeof endpoint, "%s%s", c->projections, name) >=
        (int)sizeof endpoint)
        return client_fail(c, CAIRN_ERR_ARGUMENT, "the name is too long");
    rc = ask_to_wait(c, endpoint, position, wait_ms, &answer);
    if (rc < 0)
        return client_result(rc);
    if (answer.code == ANSWER_BUSY)
        return client_fail(c, CAIRN_ERR_TIMEOUT,
                           "the projection has not come so far in time");
    if (ret_checkpoint != NULL)
        *ret_checkpoint = answer.checkpoint;
    return CAIRN_OK;
}
