/* SPDX-License-Identifier: MPL-2.0 */
/*
 * numstat - reads what `git log --numstat` and `git diff --numstat` write.
 *
 *   @HASH SECONDS             a commit: --format='@%H %ct'
 *   ADDED TAB DELETED TAB PATH
 *   - TAB - TAB PATH          a binary file
 *
 * Empty lines mean nothing.  The hash has 40 or 64 digits; the path may be in
 * git's quotes.  Compressed input (gzip) is recognised and read as well.
 *
 * Units:    counts are lines, times seconds since 1970-01-01 UTC.
 * Errors:   0 or 1, or a negative code with a sentence in err that names the
 *           source and the line.
 * Threads:  a reader belongs to one thread at a time.
 */
#ifndef GIT_HISTORY_NUMSTAT_H
#define GIT_HISTORY_NUMSTAT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "path.h"

#define HASH_LEN_MAX 64u /* digits: SHA-256 */

/* The longest path in quotes, two counts and two tabs fit. */
#define NUMSTAT_LINE_MAX 32768u

#define NUMSTAT_COUNT_MAX UINT32_MAX
#define NUMSTAT_TIME_MAX (UINT64_C(1) << 53) /* exact in every JSON reader */

enum numstat_kind {
    NUMSTAT_COMMIT,
    NUMSTAT_FILE,
};

struct numstat_line {
    enum numstat_kind kind;

    /* NUMSTAT_COMMIT */
    char hash[HASH_LEN_MAX + 1];
    uint64_t time_s;

    /* NUMSTAT_FILE */
    bool binary;
    bool rename_like; /* the path holds " => ", as a shortened rename does */
    uint64_t added, deleted; /* 0 if binary */
    char name[FILE_NAME_MAX + 1];
    size_t name_len;
};

struct numstat;

/*
 * Opens `path`, or standard input if it is NULL.  Borrows `path` until
 * numstat_close().
 *
 *   -ENOENT, -EACCES, ...  as open() says
 */
int numstat_open(const char *path, struct numstat **ret_in, struct err *err);

/*
 * Reads the next commit or file.  Returns 1, or 0 at the end.
 *
 *   -CAIRN_ERECORD  the line is not what git writes, or is cut off
 *   -EIO, ...       as read() says
 */
int numstat_next(struct numstat *in, struct numstat_line *ret_line,
                 struct err *err);

/* Says what is wrong with the line read last; returns -CAIRN_ERECORD. */
int numstat_fault(const struct numstat *in, struct err *err, const char *format,
                  ...) __attribute__((format(printf, 3, 4)));

/* Closes the reader and sets *in to NULL.  NULL is fine. */
void numstat_close(struct numstat **in);

#endif
