/* SPDX-License-Identifier: MPL-2.0 */
#include <stdlib.h>
#include <string.h>

#include "libcairn/impl.h"

/* Copies what the outcome borrows, with a NUL behind the detail. */
static int
keep(struct cairn_outcome *outcome, const struct wire_outcome *wire)
{
    size_t versions_len = wire->version_count * sizeof *wire->versions;
    size_t failures_len = wire->failure_count * sizeof *wire->failures;
    uint8_t *p = malloc(failures_len + versions_len + wire->detail_len + 1);

    if (p == NULL)
        return -ENOMEM;
    outcome->memory = p;
    outcome->wire.failures = (void *)p;
    if (failures_len > 0)
        memcpy(p, wire->failures, failures_len);
    p += failures_len;
    outcome->wire.versions = (void *)p;
    if (versions_len > 0)
        memcpy(p, wire->versions, versions_len);
    p += versions_len;
    outcome->wire.detail = (char *)p;
    if (wire->detail_len > 0)
        memcpy(p, wire->detail, wire->detail_len);
    p[wire->detail_len] = '\0';
    return 0;
}

void
outcome_take(void *arg, uint64_t tag, const struct wire_outcome *wire,
             bool reached)
{
    struct cairn_outcome *outcome = (void *)(uintptr_t)tag;
    struct cairn *c = arg;

    outcome->wire = *wire;
    outcome->done = true;
    outcome->sent = reached;
    if (keep(outcome, wire) < 0) {
        /* What it says still holds; only the details are lost. */
        outcome->wire.version_count = outcome->wire.failure_count = 0;
        outcome->wire.detail = "no memory for the details";
    }
    TAILQ_REMOVE(&c->in_flight, outcome, at);
    if (!outcome->awaited)
        TAILQ_INSERT_TAIL(&c->received, outcome, at);
}

void
cairn_outcome_free(struct cairn_outcome **outcome)
{
    if (*outcome == NULL)
        return;
    free((*outcome)->memory);
    free(*outcome);
    *outcome = NULL;
}

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

uint32_t
cairn_outcome_failure_count(const struct cairn_outcome *outcome)
{
    return outcome->wire.failure_count;
}

uint32_t
cairn_outcome_failure_check(const struct cairn_outcome *outcome, uint32_t index)
{
    return index < outcome->wire.failure_count
        ? outcome->wire.failures[index].check
        : UINT32_MAX;
}

uint64_t
cairn_outcome_failure_actual(const struct cairn_outcome *outcome,
                             uint32_t index)
{
    return index < outcome->wire.failure_count
        ? outcome->wire.failures[index].actual
        : 0;
}

const char *
cairn_outcome_detail(const struct cairn_outcome *outcome)
{
    return outcome->wire.detail;
}
