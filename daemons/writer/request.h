/* SPDX-License-Identifier: MPL-2.0 */
/*
 * request - a command as the wire brings it, as the store wants it.
 *
 * Threads: one.
 */
#ifndef CAIRN_WRITER_REQUEST_H
#define CAIRN_WRITER_REQUEST_H

#include "store/appender.h"
#include "wire/hop.h"

/* Memory for one request, used again for the next. */
struct request_memory {
    struct append_check *checks;
    struct query_item *items;
    struct span *names;
    uint32_t check_room, item_room, name_room;
};

/*
 * The request of a command; borrows from both until the next call.
 *
 *   -CAIRN_EMESSAGE  the lengths of a condition do not add up
 *   -ENOMEM
 */
int request_make(struct request_memory *memory,
                 const struct submit_command *command,
                 struct append_request *ret_request);

void request_memory_free(struct request_memory *memory);

#endif
