/* SPDX-License-Identifier: MPL-2.0 */
/*
 * floor - what the disk gives at best: a bare loop of pwrite and fdatasync,
 * of which no store that answers after the sync can be faster.
 *
 * The file has no name, so nothing is left of it, and it is filled with zeros
 * beforehand, as a segment of the log is: a sync has no file length or
 * extents to write.
 */
#ifndef CAIRN_CLIENTS_FLOOR_H
#define CAIRN_CLIENTS_FLOOR_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Makes the file in `dir`: a descriptor that the caller closes, or -errno. */
int floor_file(const char *dir, uint64_t len, struct err *err);

/* Writes these bytes at `at` and syncs them: 0, or -errno. */
int floor_sync(int fd, const void *data, size_t len, uint64_t at);

#endif
