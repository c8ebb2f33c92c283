/* SPDX-License-Identifier: MPL-2.0 */
/*
 * reader - everything a process needs to read a log that another one writes:
 * the maps, the control page and the version table.
 *
 * It needs no permission to write, takes no locks and never waits.
 *
 * Errors:   0 or more, or negative; *err says which file and what to do.
 * Threads:  a handle belongs to one thread at a time.
 */
#ifndef CAIRN_STORE_READER_H
#define CAIRN_STORE_READER_H

#include "store/control.h"
#include "store/evlog.h"
#include "store/table.h"

struct reader;

/*
 * Opens the log in `dir` and its control page.
 *
 *   -ENOENT           not there yet: the writer has not been started
 *   -EAGAIN           the writer is still reading the log for the first time
 *   -CAIRN_EOTHERLOG  the page belongs to another log
 */
int reader_open(const struct sys *sys, const char *dir,
                const char *control_path, struct reader **ret_reader,
                struct err *err);

/* Closes it and sets *reader to NULL; NULL is fine. */
void reader_close(struct reader **reader);

struct evlog *reader_log(struct reader *reader);
const struct control *reader_control(const struct reader *reader);

/*
 * The highest position that may be shown, in *ret_watermark.
 *
 *   -ESTALE  what was readable has been taken back, or the log is another:
 *            close the reader and forget all that was read
 */
int reader_watermark(struct reader *reader, uint64_t *ret_watermark,
                     struct err *err);

/*
 * The newest event of a stream or tag that is not above the watermark: 1, its
 * address and the event, borrowed as evlog.h says; or 0 if there is none.
 */
int reader_find(struct reader *reader, enum key_kind kind, struct span name,
                uint64_t watermark, uint64_t *ret_address,
                struct event *ret_event, struct err *err);

/*
 * The lowest position of which reader_find() may not know the streams, tags
 * and types; 0: it knows all.  Only a log that the writer refuses has one.
 */
uint64_t reader_index_end(const struct reader *reader);

/* Whether the writer refuses the log, so that it can only be read. */
bool reader_refused(const struct reader *reader);

/* The durable log as a source of events for chain_find(). */
const struct event_source *reader_source(const struct reader *reader);

#endif
