/* SPDX-License-Identifier: MPL-2.0 */
/*
 * logfix - a log for a test: an appender without a daemon around it, and
 * commits that are quick to write down.
 *
 * Every function fails the test at once when the store fails where it must
 * not; the reason is printed.
 */
#ifndef CAIRN_TESTS_LOGFIX_H
#define CAIRN_TESTS_LOGFIX_H

#include "store/appender.h"
#include "store/reader.h"

/* Small enough that a test rolls segments, grows tables and so on. */
extern const struct appender_options logfix_small;

struct logfix {
    const struct sys *sys;
    char *dir; /* holds "log" and "control" */
    struct appender_options options;
    struct appender *appender;
    struct recovery_report report;
    struct err err;
};

/* One event of a commit under construction; NULL fields are empty. */
struct event_text {
    const char *stream, *type, *data, *meta;
    const char *tags[8]; /* up to the first NULL */
};

/* An unstamped commit in memory of its own; freed by free(). */
uint8_t *commit_make(struct uuid id, const struct event_text *events,
                     uint32_t event_count, uint32_t *ret_len);

/* Opens the log in a new temporary directory. */
void logfix_open(struct logfix *fix, const struct sys *sys,
                 const struct appender_options *options);

/* Opens again what is there; returns what appender_open() says. */
int logfix_reopen(struct logfix *fix);

/* Closes the appender in good order. */
void logfix_stop(struct logfix *fix);

/* Closes it, and removes the directory. */
void logfix_close(struct logfix *fix);

const char *logfix_dir(const struct logfix *fix);
const char *logfix_control(const struct logfix *fix);

/* Does all jobs that the appender asks for. */
void logfix_jobs(struct logfix *fix);

/*
 * Sends one command, doing jobs and closing groups as it asks; it stays in
 * the open group.
 */
struct append_result logfix_append(struct logfix *fix, struct uuid id,
                                   const struct append_check *checks,
                                   uint32_t check_count,
                                   const struct event_text *events,
                                   uint32_t event_count);

/* The same, as a dry run or with events of a conflict to be shown. */
struct append_result logfix_ask(struct logfix *fix, struct uuid id,
                                const struct append_check *checks,
                                uint32_t check_count,
                                const struct event_text *events,
                                uint32_t event_count, bool dry_run,
                                uint32_t show);

/* Makes the open group durable. */
void logfix_sync(struct logfix *fix);

/* One event with data of `data_len` bytes, accepted or the test fails. */
struct append_result logfix_put(struct logfix *fix, const char *stream,
                                uint32_t data_len);

#endif
