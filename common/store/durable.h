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
 * The end of the last group that is known to be durable.  With a control page
 * its watermark says so; without one (control_path NULL) no writer may be
 * running, and the end is what recovery would accept.
 *
 *   -CAIRN_ELOCKED    a writer runs, but there is no control page
 *   -CAIRN_EOTHERLOG  the page belongs to another log
 *   -CAIRN_EDAMAGED, -CAIRN_EAMBIGUOUS  recovery would refuse the log
 */
int durable_end(struct evlog *log, const char *control_path,
                struct tail *ret_end, struct err *err);

#endif
