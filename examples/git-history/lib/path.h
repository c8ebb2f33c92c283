/* SPDX-License-Identifier: MPL-2.0 */
/*
 * path - paths as git writes them, and the names that files have in streams.
 *
 * A path in git is any bytes but NUL.  A stream's name is UTF-8 without
 * control characters, of at most 255 bytes, so not every path can be one.
 * The name of a file is
 *
 *   1. its path, if that is valid UTF-8, holds no control character and does
 *      not begin with a double quote;
 *   2. else its path in git's own quotes: "caf\351.txt", quotes included;
 *   3. where that is longer than FILE_NAME_MAX bytes: '/', the first 32
 *      hexadecimal digits of the SHA-256 of the path, '/', and as much of the
 *      end of 1 or 2 as fits, beginning at a whole character.
 *
 * Two paths never get the same name, save for a collision of 128 bits: git's
 * paths do not begin with '/', and what begins with '"' is always quoted.
 * The same path gets the same name whether git had quoted it or not.
 *
 * Units:    lengths are bytes.
 * Threads:  functions without state; any thread.
 */
#ifndef GIT_HISTORY_PATH_H
#define GIT_HISTORY_PATH_H

#include <stddef.h>

#include "base/text.h"

#define PATH_BYTES_MAX 4096u /* of a path, unquoted */
#define PATH_QUOTED_MAX (4u * PATH_BYTES_MAX + 2)

#define FILE_STREAM_PREFIX "file-"
#define FILE_NAME_MAX (NAME_LEN_MAX - (sizeof FILE_STREAM_PREFIX - 1))

/*
 * Takes git's quotes off [text, text + len); a text that does not begin with
 * one is copied.  Writes the path into `path`, which has room for
 * PATH_BYTES_MAX bytes; it ends without a NUL.  Returns NULL, or what is wrong
 * with the text, as a phrase that follows "the path"; then `path` and
 * *ret_len hold nothing of use.
 */
const char *path_unquote(const char *text, size_t len, char *path,
                         size_t *ret_len);

/*
 * Writes the path as git does with core.quotePath on, quotes included, and a
 * NUL.  `quoted` has room for 4 * len + 3 bytes.  Returns the length without
 * the NUL.
 */
size_t path_quote(const char *path, size_t len, char *quoted);

/*
 * Writes the name of the file at `path`, of 1 to PATH_BYTES_MAX bytes, and a
 * NUL.  Returns its length.
 */
size_t path_name(const char *path, size_t len, char name[FILE_NAME_MAX + 1]);

#endif
