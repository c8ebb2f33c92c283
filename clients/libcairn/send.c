/* SPDX-License-Identifier: MPL-2.0 */
#include <stdlib.h>

#include "base/log.h"
#include "libcairn/impl.h"

#define PUMP_MS 1000u

static int
begin(struct cairn *c)
{
    struct append_client_options options;
    int rc = client_begin(c);

    if (rc < 0 || c->append != NULL)
        return rc;
    options = (struct append_client_options){
        .endpoint = c->commands,
        .window = (uint32_t)c->window,
        .deadline_ms = (uint32_t)c->deadline_ms,
        .context = c->context,
        .keys = client_peer(c, c->commands).keys,
    };
    return client_result(
        append_client_open(&options, outcome_take, c, &c->append, &c->err));
}

/* A code of the append client, which has no text. */
static int
failed(struct cairn *c, int rc)
{
    (void)err_sys(&c->err, rc, "sending commands");
    return client_result(rc);
}

static int
queue_outcome(struct cairn *c, const struct cairn_command *command,
              uint64_t tag, bool awaited, struct cairn_outcome **ret_outcome)
{
    struct cairn_outcome *outcome;
    int rc = begin(c);

    if (rc < 0)
        return rc;
    outcome = calloc(1, sizeof *outcome);
    if (outcome == NULL)
        return failed(c, -ENOMEM);
    outcome->tag = tag;
    outcome->awaited = awaited;
    TAILQ_INSERT_TAIL(&c->in_flight, outcome, link);
    rc = command_queue(command, c->append, (uint64_t)(uintptr_t)outcome);
    if (rc < 0) {
        TAILQ_REMOVE(&c->in_flight, outcome, link);
        cairn_outcome_free(&outcome);
        return failed(c, rc);
    }
    *ret_outcome = outcome;
    return CAIRN_OK;
}

int
cairn_append(struct cairn *c, const struct cairn_command *command,
             struct cairn_outcome **ret_outcome)
{
    struct cairn_outcome *outcome;
    int rc = queue_outcome(c, command, 0, true, &outcome);

    if (rc < 0)
        return rc;
    /* Its deadline bounds this. */
    while (rc == 0 && !outcome->done)
        rc = append_client_pump(c->append, PUMP_MS);
    if (rc < 0) {
        outcome->awaited = false; /* it stays in flight, for nobody */
        return failed(c, rc);
    }
    *ret_outcome = outcome;
    return CAIRN_OK;
}

int
cairn_send(struct cairn *c, const struct cairn_command *command, uint64_t tag)
{
    struct cairn_outcome *outcome;
    int rc = queue_outcome(c, command, tag, false, &outcome);

    if (rc == 0)
        c->queued++;
    return rc;
}

int
cairn_receive(struct cairn *c, uint32_t wait_ms,
              struct cairn_outcome **ret_outcome)
{
    uint64_t until = clock_ms() + wait_ms;
    struct cairn_outcome *outcome;
    int rc = 0;

    for (;;) {
        uint64_t now = clock_ms(), left = until > now ? until - now : 0;

        outcome = TAILQ_FIRST(&c->received);
        if (rc < 0 || outcome != NULL || c->queued == 0)
            break;
        rc = append_client_pump(c->append, (uint32_t)left);
        if (rc == 0 && left == 0 && TAILQ_EMPTY(&c->received))
            return 0;
    }
    if (rc < 0)
        return failed(c, rc);
    if (outcome == NULL)
        return 0;
    TAILQ_REMOVE(&c->received, outcome, link);
    c->queued--;
    *ret_outcome = outcome;
    return 1;
}

uint32_t
cairn_in_flight(const struct cairn *cairn)
{
    return cairn->queued;
}
