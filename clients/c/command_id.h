/* SPDX-License-Identifier: MPL-2.0 */
/*
 * command_id - ids for new commands: UUIDv7, whose time lets the writer look
 * for a repeated command where it can lie and nowhere else.
 *
 * Random bytes are fetched for many ids at a time: a system call for each was
 * the most expensive part of making a command.
 *
 * Threads: any.  A forked child makes other ids than its parent.
 */
#ifndef CAIRN_CLIENTS_COMMAND_ID_H
#define CAIRN_CLIENTS_COMMAND_ID_H

#include "base/uuid.h"

struct uuid command_id_new(void);

#endif
