/* SPDX-License-Identifier: MPL-2.0 */
/*
 * filescan - reads the file of one segment past the page cache, group by
 * group, and checks every byte of it: for those who must know what the device
 * has, and not what a map shows.
 *
 *     filescan_open(), filescan_group() until it returns 0, filescan_rest()
 *
 * Memory:   one piece of the file, or its largest group if that is larger.
 * Errors:   0 or more, or negative; *err names the file and the byte.
 *           -CAIRN_EDAMAGED where bytes are not what they must be.
 * Threads:  one.
 */
#ifndef CAIRN_STORE_FILESCAN_H
#define CAIRN_STORE_FILESCAN_H

#include "store/tailscan.h"

struct filescan {
    const struct sys *sys;
    int fd;
    char path[PATH_LEN_MAX];
    uint64_t file_len;
    uint8_t header[SECTOR_LEN];
    struct segment_info info;
    struct tail tail; /* behind the groups that have been read */
    /* What is in memory of the file. */
    uint8_t *buf; /* aligned to SYS_UNCACHED_UNIT */
    size_t room, len;
    uint64_t start;
};

/*
 * Opens a file and checks the header of the segment in it.  If `before` is
 * not NULL, the segment must follow that end of the log `log_id`, as number
 * `number`.  Closed by filescan_close() if this returns 0.
 */
int filescan_open(struct filescan *scan, const struct sys *sys,
                  const char *path, struct uuid log_id, uint64_t number,
                  const struct tail *before, struct err *err);

void filescan_close(struct filescan *scan);

/*
 * The next group, whole and checked: 1; 0 if there are no more.  *ret_data is
 * borrowed until the next call.
 */
int filescan_group(struct filescan *scan, struct group_info *ret_group,
                   const uint8_t **ret_data, struct err *err);

/*
 * Checks what stands behind the last group: zeros, and the footer if there is
 * one; then 1, and *ret_end and *ret_index, borrowed until the next call, say
 * what is in it.  0 if there is none.
 */
int filescan_rest(struct filescan *scan, struct segment_end *ret_end,
                  const struct index_entry **ret_index, struct err *err);

#endif
