/* SPDX-License-Identifier: MPL-2.0 */
/*
 * reads - what becomes of a READ: it is refused, or waits for its turn and is
 * answered, or waits on as a long poll until there is something for it.
 *
 * Whatever comes is answered, but for a client that has gone.
 *
 * Threads: that of the publisher.
 */
#ifndef CAIRN_PUBLISHER_READS_H
#define CAIRN_PUBLISHER_READS_H

#include "publisher/publisher.h"

/* Takes a READ in; borrows all of it.  What is invalid, denied, or above
 * queries.in_flight_max is answered at once, everything else waits. */
void reads_take(struct publisher *p, const struct address *from,
                struct read_request *request);

/* Answers the one whose turn it is; false: none waits. */
bool reads_answer_next(struct publisher *p);

/* Looks at every long poll again: something is new, or time may be up. */
void reads_look_at_polls(struct publisher *p, bool news);

/* The rights have changed: some may not wait any longer for what they asked.
 * `arg` is the publisher. */
void reads_judge(void *arg);

/* Tells all that wait to ask again. */
void reads_stop(struct publisher *p);

#endif
