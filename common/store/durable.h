/* SPDX-License-Identifier: MPL-2.0 */
/*
 * durable - where a log that another process may be writing is durable.
 *
 * Threads: one.
 */
#ifndef CAIRN_STORE_DURABLE_H
#define CAIRN_STORE_DURABLE_H

#include "store/tailscan.h"

/*
 * The end of the last group that is known to be durable.  While a writer holds
 * the lock, the watermark on its control page says so.  If none does, it is
 * what recovery would accept, and no writer can start until that is found out;
 * a page that such a writer has left is not looked at.
 *
 *   -CAIRN_ELOCKED    a writer runs, but control_path is NULL; or it is just
 *                     starting, and has not said yet what is durable
 *   -CAIRN_EOTHERLOG  the page belongs to another log
 *   -CAIRN_EDAMAGED, -CAIRN_EAMBIGUOUS  recovery would refuse the log
 */
int durable_end(struct evlog *log, const char *control_path,
                struct tail *ret_end, struct err *err);

#endif
