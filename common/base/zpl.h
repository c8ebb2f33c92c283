/* SPDX-License-Identifier: MPL-2.0 */
/*
 * zpl - reads ZPL (RFC 4/ZPL of the ZeroMQ project) item by item, with lines.
 *
 * For files whose names and sections are not known beforehand: rights and
 * keys.  It takes less than zconfig does, and guesses nothing: an item is
 * indented by four spaces for each level, at most one level deeper than the
 * one before; its name consists of letters, digits and $-_@.&+/ ; a value
 * stands behind "=", in double or single quotes or as a word without spaces,
 * quotes and '#'.
 *
 * Threads: a struct zpl belongs to one.
 */
#ifndef CAIRN_BASE_ZPL_H
#define CAIRN_BASE_ZPL_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

#define ZPL_NAME_LEN_MAX 127
#define ZPL_VALUE_LEN_MAX 511
#define ZPL_FILE_LEN_MAX (1 << 20)

struct zpl {
    const char *at;     /* what is left of the text */
    const char *origin; /* for messages: the path; borrowed */
    unsigned line;      /* read so far */
    unsigned level;     /* of the last item */
    bool begun;
};

struct zpl_item {
    unsigned line, level; /* level 0: at the margin */
    bool has_value;
    char name[ZPL_NAME_LEN_MAX + 1];
    char value[ZPL_VALUE_LEN_MAX + 1];
};

static inline struct zpl
zpl_begin(const char *text, const char *origin)
{
    return (struct zpl){ .at = text, .origin = origin };
}

/* The next item: 1; 0 at the end; -CAIRN_ECONFIG with file and line. */
int zpl_next(struct zpl *zpl, struct zpl_item *ret_item, struct err *err);

/*
 * Reads a text file whole; the caller frees it.
 *
 *   -CAIRN_ECONFIG  no regular file, one of its mode bits is in `forbidden`
 *                   (then it also has to belong to root or to us), or no text
 *                   of less than ZPL_FILE_LEN_MAX bytes
 *   -errno          it cannot be read
 */
int text_read(const char *path, mode_t forbidden, char **ret_text,
              struct err *err);

#endif
