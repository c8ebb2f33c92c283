/* SPDX-License-Identifier: MPL-2.0 */
/*
 * model - what a log must hold, kept in memory beside it, and the check that
 * it does: THE INVARIANT of doc/RECOVERY.md.
 *
 * A commit is *told* when the store has accepted it into a group, and
 * *settled* when that group is: only then a client may hear of it.  After any
 * crash the log must hold every settled commit, and of the others either the
 * whole first group or nothing.
 *
 * What is wrong fails the test, with the seed.
 */
#ifndef CAIRN_TESTS_MODEL_H
#define CAIRN_TESTS_MODEL_H

#include "lib/rng.h"
#include "store/appender.h"

/* An unstamped commit, and what the store has said of it. */
struct model_commit {
    struct uuid id;
    uint8_t *bytes; /* owned by whoever has the struct */
    uint32_t len, event_count;
    uint64_t group, first_position, time_us;
    uint64_t *versions; /* owned likewise */
    uint32_t version_count;
};

struct model_key; /* the events of one key, as found in the log */

struct model {
    struct model_commit *commits; /* in the order of the log */
    size_t count, capacity;
    size_t settled_count;      /* of these, settled */
    struct model_commit *lost; /* told, but not there after a crash */
    size_t lost_count, lost_capacity;
    /* Filled in by model_check(). */
    struct model_key *keys;
    uint32_t key_count, key_capacity;
    uint32_t *slots;
    uint64_t *addresses; /* of all events, by position - 1 */
    size_t address_count, address_capacity;
};

void model_free(struct model *model);
void model_commit_free(struct model_commit *commit);

/* Fails the test, naming the seed. */
void model_fail(const char *format, ...)
    __attribute__((noreturn, format(printf, 1, 2)));

/* The store has accepted it; takes `bytes` over. */
void model_told(struct model *model, uint8_t *bytes, uint32_t len,
                const struct append_result *result);

/* That group is settled. */
void model_settled(struct model *model, uint64_t group);

/* Whether the answer to the same command sent again is the first one. */
void model_check_answer(const struct model_commit *commit,
                        const struct append_result *result);

/* Positions so far: of all commits, and of the settled ones. */
uint64_t model_told_position(const struct model *model);
uint64_t model_settled_position(const struct model *model);

/*
 * The store has been opened again after a crash, and says that its log ends
 * at `position`: settles what is there, and puts what is not into `lost`.
 */
void model_recovered(struct model *model, uint64_t position);

/*
 * Reads the whole log, which must hold exactly the settled commits, through
 * evlog, and looks for every key through a reader.
 */
void model_check(struct model *model, const struct sys *sys, const char *dir,
                 const char *control, struct rng *rng);

/* The log alone: no control page, no table. */
void model_check_log(struct model *model, const struct sys *sys,
                     const char *dir);

/*
 * The same, but a log that is damaged may say so: returns -CAIRN_EDAMAGED or
 * another code of the log, with *err, or 0 if every settled commit is whole.
 */
int model_read_log(struct model *model, const struct sys *sys, const char *dir,
                   struct err *err);

/* The event at a position that has been told, as it was sent; borrowed. */
void model_sent(const struct model *model, uint64_t position,
                struct event *ret_event);

/* Compares one event of the log with the model. */
void model_check_event(const struct model *model, const struct event *event);

#endif
