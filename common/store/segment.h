/* SPDX-License-Identifier: MPL-2.0 */
/*
 * segment - one file of the log: how it comes into being, how it is opened
 * for reading, how it is sealed.
 *
 * Life: prepared.tmp, allocated and zero-filled (segment_prepare), gets its
 * header and its name (segment_begin), takes groups, gets a footer and becomes
 * read-only (segment_seal).  After a crash at any point of this either the
 * segment is there whole, or it is not there.
 *
 * Threads: a segment may be shared; its reference count is atomic.  The maker
 * functions may run in any thread, one at a time.
 */
#ifndef CAIRN_STORE_SEGMENT_H
#define CAIRN_STORE_SEGMENT_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/err.h"
#include "store/format.h"
#include "store/sys.h"

#define SEGMENT_SUFFIX ".log"
#define SEGMENT_PREPARED "prepared.tmp"

/* Held by whoever writes into the directory. */
#define LOCK_NAME "lock"

/* Stands in a directory while a log is being restored into it: until it has
 * gone, what lies there is no log. */
#define RESTORE_MARKER "restoring"
#define PATH_LEN_MAX 4096u

/* What a segment header says. */
struct segment_info {
    struct uuid log_id;
    uint64_t number, first_position, segment_len, created_us;
    uint64_t prev_group, prev_time_us; /* of what lies before it */
    uint64_t ids_time_max_ms, ids_other_count;
    uint32_t prev_crc;
    uint64_t unknown_compatible; /* feature bits; never encoded */
};

/* What a footer says. */
struct segment_end {
    uint64_t last_position, last_group, last_time_us;
    uint32_t data_end, last_crc, index_count, commit_count;
};

/* A segment mapped for reading. */
struct segment {
    const struct sys *sys;
    atomic_uint refs;
    const uint8_t *data; /* the whole file */
    struct segment_info info;
    uint64_t data_end; /* of the data area, not of the data */
    bool sealed;
    struct segment_end end;          /* if sealed */
    const struct index_entry *index; /* if sealed; in the map */
};

/* Writes DIR/NAME; -ENAMETOOLONG if it does not fit. */
int store_path(char path[PATH_LEN_MAX], const char *dir, const char *name);

/* Says that a restore into `dir` has not finished; -CAIRN_EDAMAGED. */
int restore_unfinished(const char *dir, struct err *err);

/*
 * Takes the lock of a directory; closing the descriptor that is returned
 * releases it.  With SYS_KEEP the lock file is made if need be.
 *
 *   -CAIRN_ELOCKED  another process has it
 *   -ENOENT         with SYS_READ: there is none
 */
int store_lock(const struct sys *sys, const char *dir, enum sys_open how);

/*
 * Makes the name of a directory durable, in the directory above it.  -EACCES
 * if that one cannot be read.
 */
int store_sync_parent(const struct sys *sys, const char *dir);

/*
 * Makes a directory whose name is durable: 0, or 1 if it was there.  Whoever
 * made it then may have ended before that; only if the directory above is out
 * of our reach he has to answer for it.
 */
int store_make_dir(const struct sys *sys, const char *dir);

/* Writes the path of the segment that begins at first_position. */
int segment_path(char path[PATH_LEN_MAX], const char *dir,
                 uint64_t first_position);

/* The first position in a file name; false if it names no segment. */
bool segment_name_parse(const char *name, uint64_t *ret_first_position);

/*
 * Checks a header of SECTOR_LEN bytes against the length of its file.
 *
 *   -CAIRN_ENOTLOG   no magic
 *   -CAIRN_EFORMAT   a newer format, or a feature we do not know
 *   -CAIRN_EDAMAGED  checksum or values wrong
 */
int segment_header_decode(const uint8_t *data, uint64_t file_len,
                          struct segment_info *ret_info, struct err *err);

/* -CAIRN_EFORMAT for a segment with features that only newer writers keep. */
int segment_check_writable(const struct segment_info *info, struct err *err);

void segment_header_encode(uint8_t out[SECTOR_LEN],
                           const struct segment_info *info);

/*
 * Checks the footer area of a segment, `len` bytes at `data`; -CAIRN_ERECORD
 * if there is none, or none that is valid.  *ret_index borrows from data.
 */
int segment_footer_decode(const uint8_t *data, size_t len,
                          const struct segment_info *info,
                          struct segment_end *ret_end,
                          const struct index_entry **ret_index);

/*
 * Makes DIR/prepared.tmp: allocated for real, filled with zeros, synced.  On
 * failure nothing is left of it.
 */
int segment_prepare(const struct sys *sys, const char *dir,
                    uint64_t segment_len, struct err *err);

/*
 * Turns DIR/prepared.tmp into the segment `info`, durably, and returns a
 * descriptor for writing in *ret_fd.
 */
int segment_begin(const struct sys *sys, const char *dir,
                  const struct segment_info *info, int *ret_fd,
                  struct err *err);

/* The footer itself; the index entries stand behind it. */
struct segment_footer segment_footer_encode(const struct segment_info *info,
                                            const struct segment_end *end,
                                            const struct index_entry *index);

/* Writes the footer, syncs it and takes away the permission to write. */
int segment_seal(const struct sys *sys, int fd, const struct segment_info *info,
                 const struct segment_end *end,
                 const struct index_entry *index);

/*
 * Maps a segment read-only.  The header must be valid and say that it begins
 * at first_position; a valid footer makes it sealed.  *ret_segment is released
 * by segment_unref().
 */
int segment_open(const struct sys *sys, const char *dir,
                 uint64_t first_position, struct segment **ret_segment,
                 struct err *err);

/* Looks for a footer again; for a segment that was not sealed when opened. */
void segment_look_for_footer(struct segment *segment);

struct segment *segment_ref(struct segment *segment);

/* Unmaps it with the last reference and sets *segment to NULL; NULL is fine. */
void segment_unref(struct segment **segment);

#endif
