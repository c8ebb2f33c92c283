/* SPDX-License-Identifier: MPL-2.0 */
#include <stdlib.h>
#include <string.h>

#include "libcairn/impl.h"

/* Copies what the outcome borrows, with a NUL behind the detail. */
static int
keep(struct cairn_outcome *outcome, const struct wire_outcome *wire)
{
    size_t verdicts_len = wire->verdict_count * sizeof *wire->verdicts;
    size_t versions_len = wire->version_count * sizeof *wire->versions;
    uint8_t *p = malloc(verdicts_len + versions_len + wire->records_len +
                        wire->detail_len + 1);

    if (p == NULL)
        return -ENOMEM;
    outcome->memory = p;
    outcome->wire.verdicts = (void *)p;
    if (verdicts_len > 0)
        memcpy(p, wire->verdicts, verdicts_len);
    p += verdicts_len;
    outcome->wire.versions = (void *)p;
    if (versions_len > 0)
        memcpy(p, wire->versions, versions_len);
    p += versions_len;
    outcome->wire.records = p;
    if (wire->records_len > 0)
        memcpy(p, wire->records, wire->records_len);
    p += wire->records_len;
    outcome->wire.detail = (char *)p;
    if (wire->detail_len > 0)
        memcpy(p, wire->detail, wire->detail_len);
    p[wire->detail_len] = '\0';
    return 0;
}

void
outcome_take(void *arg, uint64_t tag, const struct wire_command *command,
             const struct wire_outcome *wire, bool reached)
{
    struct cairn_outcome *outcome = (void *)(uintptr_t)tag;
    struct cairn *c = arg;

    (void)command; /* whoever asked knows it */
    outcome->wire = *wire;
    outcome->done = true;
    outcome->sent = reached;
    if (keep(outcome, wire) < 0) {
        /* What it says still holds; only the details are lost. */
        outcome->wire.version_count = outcome->wire.verdict_count = 0;
        outcome->wire.records_len = 0;
        outcome->wire.detail = "no memory for the details";
    }
    TAILQ_REMOVE(&c->in_flight, outcome, link);
    if (!outcome->awaited)
        TAILQ_INSERT_TAIL(&c->received, outcome, link);
}

void
cairn_outcome_free(struct cairn_outcome **outcome)
{
    if (outcome == NULL || *outcome == NULL)
        return;
    free((*outcome)->memory);
    free((*outcome)->event);
    free(*outcome);
    *outcome = NULL;
}

/* ---- what it says ------------------------------------------------------ */

int
cairn_outcome_code(const struct cairn_outcome *outcome)
{
    return outcome->wire.code;
}

uint64_t
cairn_outcome_tag(const struct cairn_outcome *outcome)
{
    return outcome->tag;
}

int
cairn_outcome_repeated(const struct cairn_outcome *outcome)
{
    return outcome->wire.repeated;
}

int
cairn_outcome_sent(const struct cairn_outcome *outcome)
{
    return outcome->sent;
}

uint64_t
cairn_outcome_first_position(const struct cairn_outcome *outcome)
{
    return outcome->wire.first_position;
}

uint64_t
cairn_outcome_last_position(const struct cairn_outcome *outcome)
{
    return outcome->wire.last_position;
}

uint64_t
cairn_outcome_time(const struct cairn_outcome *outcome)
{
    return outcome->wire.time_us;
}

uint32_t
cairn_outcome_version_count(const struct cairn_outcome *outcome)
{
    return outcome->wire.version_count;
}

uint64_t
cairn_outcome_version(const struct cairn_outcome *outcome, uint32_t index)
{
    return index < outcome->wire.version_count ? outcome->wire.versions[index]
                                               : 0;
}

int
cairn_outcome_dry_run(const struct cairn_outcome *outcome)
{
    return outcome->wire.dry_run;
}

int
cairn_outcome_more(const struct cairn_outcome *outcome)
{
    return outcome->wire.more;
}

uint32_t
cairn_outcome_verdict_count(const struct cairn_outcome *outcome)
{
    return outcome->wire.verdict_count;
}

/* Zeros behind the end. */
static struct wire_verdict
verdict_at(const struct cairn_outcome *outcome, uint32_t index)
{
    return index < outcome->wire.verdict_count
        ? outcome->wire.verdicts[index]
        : (struct wire_verdict){ .check = UINT32_MAX };
}

uint32_t
cairn_outcome_verdict_check(const struct cairn_outcome *outcome, uint32_t index)
{
    return verdict_at(outcome, index).check;
}

int
cairn_outcome_verdict_holds(const struct cairn_outcome *outcome, uint32_t index)
{
    return verdict_at(outcome, index).holds;
}

int
cairn_outcome_verdict_expect(const struct cairn_outcome *outcome,
                             uint32_t index)
{
    return verdict_at(outcome, index).expect;
}

uint64_t
cairn_outcome_verdict_expected(const struct cairn_outcome *outcome,
                               uint32_t index)
{
    return verdict_at(outcome, index).expected;
}

uint64_t
cairn_outcome_verdict_actual(const struct cairn_outcome *outcome,
                             uint32_t index)
{
    return verdict_at(outcome, index).actual;
}

int
cairn_outcome_next_event(struct cairn_outcome *o,
                         const struct cairn_event **ret_event)
{
    while (o->at_record < o->wire.records_len) {
        const uint8_t *data = o->wire.records + o->at_record;
        size_t left = o->wire.records_len - o->at_record;
        enum record_kind kind;
        struct event event;
        uint32_t len;

        if (record_check(data, left, &kind, &len) < 0 ||
            (kind == RECORD_EVENT &&
             event_decode_whole(data, left, &event) < 0))
            return CAIRN_ERR_DAMAGED;
        o->at_record += len;
        if (kind != RECORD_EVENT)
            continue;
        if (o->event == NULL)
            o->event = malloc(sizeof *o->event);
        if (o->event == NULL)
            return CAIRN_ERR_MEMORY;
        event_take(o->event, &event);
        *ret_event = o->event;
        return 1;
    }
    return 0;
}

const char *
cairn_outcome_detail(const struct cairn_outcome *outcome)
{
    return outcome->wire.detail;
}
