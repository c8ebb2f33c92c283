/* SPDX-License-Identifier: MPL-2.0 */
/*
 * commands - what a command must look like, and how it becomes a commit in
 * the layout of the log.
 *
 * Threads: no state.
 */
#ifndef CAIRN_GATEWAY_COMMANDS_H
#define CAIRN_GATEWAY_COMMANDS_H

#include "store/record.h"
#include "wire/append.h"

/* Most that one command may ask for; from the configuration. */
struct command_limits {
    uint32_t events_max, checks_max;
    uint32_t items_max, types_max, tags_max; /* in all its conditions */
    uint32_t data_max, meta_max;             /* bytes, of one event */
    uint32_t commit_max;                     /* bytes, as it lies in the log */
};

#define CONDITION_NAMES_MAX 1024u /* bound of types_max and tags_max */

#define REASON_LEN 256

/*
 * Checks every field: ANSWER_ACCEPTED with the length of the commit, or
 * ANSWER_INVALID or ANSWER_TOO_LARGE with field and reason.
 */
enum answer_code command_check(const struct wire_command *command,
                               const struct command_limits *limits,
                               uint32_t *ret_commit_len,
                               char reason[REASON_LEN]);

/*
 * Writes the unstamped commit of a checked command into `out`, which has room
 * for its length.  Events without an id get one that follows from the command
 * id and their place.
 */
void command_encode(const struct wire_command *command, uint32_t commit_len,
                    uint8_t *out);

#endif
