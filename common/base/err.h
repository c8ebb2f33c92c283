/* SPDX-License-Identifier: MPL-2.0 */
/*
 * err - the one list of results, and how a message grows on its way up.
 *
 * A function that can fail returns 0, or a negative code: -errno for what the
 * kernel said, -CAIRN_E... for what we found ourselves.  Where a person will
 * read the reason, the function also takes a `struct err` and writes a whole
 * sentence there; each caller may put its own context in front.
 *
 * Threads: a struct err belongs to whoever made it; there is no global state.
 */
#ifndef CAIRN_BASE_ERR_H
#define CAIRN_BASE_ERR_H

#include <stdarg.h>

/* Every code of our own with its text; ENTRY(name, text). */
#define CAIRN_ERRORS(ENTRY)                                    \
    ENTRY(EDAMAGED, "the log is damaged")                      \
    ENTRY(EAMBIGUOUS, "the end of the log is torn or damaged") \
    ENTRY(EFORMAT, "written by a newer version")               \
    ENTRY(ENOTLOG, "not a log")                                \
    ENTRY(EOTHERLOG, "belongs to another log")                 \
    ENTRY(ELOCKED, "in use by another process")                \
    ENTRY(ERECORD, "not a valid record")                       \
    ENTRY(ETABLE, "the version table is not usable")           \
    ENTRY(EMESSAGE, "not a valid message")                     \
    ENTRY(EVERSION, "another version of the protocol")         \
    ENTRY(ECONFIG, "bad configuration")                        \
    ENTRY(EUSAGE, "bad arguments")                             \
    ENTRY(EUNREACHABLE, "not reachable")                       \
    ENTRY(EUNKNOWN, "outcome unknown")                         \
    ENTRY(ECONFLICT, "conflict")                               \
    ENTRY(EREFUSED, "refused")                                 \
    ENTRY(EPROJECTION, "the projection failed")

enum cairn_error {
    CAIRN_ERROR_BASE = 10000, /* above every errno */
#define CAIRN_ERROR_NAME(name, text) CAIRN_##name,
    CAIRN_ERRORS(CAIRN_ERROR_NAME)
#undef CAIRN_ERROR_NAME
        CAIRN_ERROR_END
};

/* What the process says to systemd and to scripts when it ends. */
enum cairn_exit {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 64,   /* bad arguments */
    EXIT_DAMAGED = 65, /* the log is damaged: a person must decide */
    EXIT_STORAGE = 74, /* a write or sync failed: nothing is acknowledged */
    EXIT_BUSY = 75,    /* lock or endpoint held by another process */
    EXIT_PERMISSION = 77,
    EXIT_CONFIG = 78,
};

#define ERR_TEXT_LEN 1024

struct err {
    int code; /* as returned: 0 or negative */
    char text[ERR_TEXT_LEN];
};

/* The text of a negative code; never NULL. */
const char *err_text(int code);

/* Writes the message and returns `code`.  err may be NULL. */
int err_set(struct err *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same, with ": " and the text of the code behind the message. */
int err_sys(struct err *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts the message and ": " in front of what err says; returns its code. */
int err_wrap(struct err *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The exit code that fits a negative code. */
int err_exit_code(int code);

/*
 * The same for a store that was at work: EXIT_STORAGE for whatever else the
 * kernel says of a write or a sync, for there are many ways to say that a
 * device is sick.
 */
int err_store_exit_code(int code);

#endif
