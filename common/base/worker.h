/* SPDX-License-Identifier: MPL-2.0 */
/*
 * worker - a thread that does one task at a time, and says when it is done
 * through a descriptor that a loop can wait for.
 *
 * Threads: all functions belong to the thread that started the worker; the
 * task runs in the worker, and may use its argument until it returns.
 */
#ifndef CAIRN_BASE_WORKER_H
#define CAIRN_BASE_WORKER_H

#include <stdbool.h>

#include "base/err.h"

struct worker;

/* A task returns 0 or negative, and then says why in *err. */
typedef int worker_task(void *arg, struct err *err);

/* Starts the thread under a name of at most 15 characters. */
int worker_start(struct worker **ret_worker, const char *name, struct err *err);

/* Readable when a task is done; for poll(). */
int worker_fd(const struct worker *worker);

/* Gives it a task; it must be idle. */
void worker_give(struct worker *worker, worker_task *task, void *arg);

/* Whether a task has been given and not been taken back. */
bool worker_busy(const struct worker *worker);

/*
 * Takes the result of a finished task: true, with what it returned; false if
 * it is still running, or with `wait`, waits for it.
 */
bool worker_take(struct worker *worker, bool wait, int *ret_rc,
                 struct err *err);

/* Waits for a running task, ends the thread, sets *worker to NULL. */
void worker_stop(struct worker **worker);

#endif
