/* SPDX-License-Identifier: MPL-2.0 */
/*
 * access - whether a command lies within the rights of its sender.
 *
 * Threads: no state.
 */
#ifndef CAIRN_GATEWAY_ACCESS_H
#define CAIRN_GATEWAY_ACCESS_H

#include "gateway/commands.h"
#include "wire/rights.h"

/*
 * ANSWER_ACCEPTED, or ANSWER_DENIED with the reason.  To append to a stream
 * takes the right to append to it.  To check one takes the right to append to
 * it or to read it, for the answer tells its version; to read it if the command
 * wants to be shown events.  A condition takes the right to read everything.
 */
enum answer_code access_check(const struct principal *principal,
                              const struct wire_command *command,
                              char reason[REASON_LEN]);

/* How many streams a command writes. */
uint32_t command_streams(const struct wire_command *command);

#endif
