/* SPDX-License-Identifier: MPL-2.0 */
/*
 * log - lines for the person who reads the journal.
 *
 * A line goes to standard error: under systemd with the priority in front that
 * the journal understands (sd-daemon(3)), else with time and name.  Only
 * daemons write lines, once, where an error is handled: what was tried, on
 * what, why it failed, what happens next.
 *
 * Threads: any.  log_open() comes before the first thread.
 */
#ifndef CAIRN_BASE_LOG_H
#define CAIRN_BASE_LOG_H

#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO };

/*
 * Names the process in front of its lines; `name` is borrowed for good.  From
 * now on, SIGBUS does not end the process without a word: a page of a mapped
 * file could not be read.
 */
void log_open(const char *name);

void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * Lets one line of its sort through in `every_ms`, and counts the others: for
 * faults that a peer can cause as often as it likes.
 */
struct log_limit {
    uint64_t every_ms;
    uint64_t next_ms;    /* zero at first */
    uint64_t suppressed; /* since the last line */
};

/* True if a line may be written now; *ret_suppressed came before it. */
int log_limited(struct log_limit *limit, uint64_t *ret_suppressed);

/* Milliseconds of a clock that never goes back. */
uint64_t clock_ms(void);

/* The same, up to a tick of the kernel behind, for a tenth of the price. */
uint64_t clock_rough_ms(void);

#endif
