/* SPDX-License-Identifier: MPL-2.0 */
/*
 * tmpdir - a directory of its own for each test, gone afterwards.
 *
 * It lies below TMPDIR, or /tmp; tests that sync files may want a disk there.
 */
#ifndef CAIRN_TESTS_TMPDIR_H
#define CAIRN_TESTS_TMPDIR_H

#include <stddef.h>

/* Makes one; fails the test if it cannot.  Freed by tmpdir_remove(). */
char *tmpdir_make(void);

/* Removes it with all that is in it, and sets *path to NULL. */
void tmpdir_remove(char **path);

/* PATH/NAME in a static buffer that the eighth call overwrites. */
const char *tmpdir_path(const char *path, const char *name);

/* Reads or writes a whole file; fails the test if it cannot. */
unsigned char *file_read(const char *path, size_t *ret_len);
void file_write(const char *path, const void *data, size_t len);

#endif
