/* SPDX-License-Identifier: MPL-2.0 */
/*
 * evlog - the log as readers see it: through read-only maps, by position and
 * by address, never above a watermark.
 *
 * Anybody may open a log while the writer appends to it, and needs no
 * permission to write.  Segments are mapped when they are touched, and at most
 * EVLOG_MAPS_MAX at a time.
 *
 * Units:    positions count events from 1; addresses are of store/format.h.
 * Borrows:  an event or range that a call returns lies in a map.  It stays
 *           valid until the next call on the same log, or, where a segment
 *           reference came with it, until that is released.
 * Errors:   0 or more, or negative: -CAIRN_EDAMAGED where the bytes are not
 *           what they must be, -errno where they could not be read.  *err
 *           then names segment and byte.
 * Threads:  a handle belongs to one thread at a time.
 */
#ifndef CAIRN_STORE_EVLOG_H
#define CAIRN_STORE_EVLOG_H

#include "store/record.h"
#include "store/segment.h"

#define EVLOG_MAPS_MAX 1024u /* segments mapped at a time, per handle */

struct evlog;

/* The next record to look at, and the next position to come out of it. */
struct cursor {
    uint64_t address;
    uint64_t position;
    uint64_t checked_to; /* below it the checksum of a group vouches; or 0 */
};

/*
 * Opens the log in `dir`.  Segments must be numbered without a gap; those
 * before the last are not opened until they are read.
 *
 *   -ENOENT          no directory, or no segment in it
 *   -CAIRN_EDAMAGED  a segment is missing
 *   and what segment_open() says of the last one
 */
int evlog_open(const struct sys *sys, const char *dir, struct evlog **ret_log,
               struct err *err);

/*
 * Opens a log of which segments may be missing, or not be readable at all, so
 * that the rest can be read.  Who comes to such a segment gets
 * -CAIRN_EDAMAGED.  -ENOENT if there is not a single one that is readable.
 */
int evlog_open_damaged(const struct sys *sys, const char *dir,
                       struct evlog **ret_log, struct err *err);

/* Closes it and sets *log to NULL; NULL is fine. */
void evlog_close(struct evlog **log);

const struct sys *evlog_sys(const struct evlog *log);
const char *evlog_dir(const struct evlog *log);
struct uuid evlog_id(const struct evlog *log);

/* How many segments are known; see evlog_look_for_segment(). */
uint64_t evlog_segment_count(const struct evlog *log);

/* First position of segment `number`, from 1 to the count. */
uint64_t evlog_segment_first(const struct evlog *log, uint64_t number);

/*
 * Looks whether the segment that begins at first_position has come into
 * being behind the last known one; 1 if so, 0 if not.
 */
int evlog_look_for_segment(struct evlog *log, uint64_t first_position,
                           struct err *err);

/*
 * Learns of the segments up to `number`, which somebody has seen; all that
 * lies before it is durable, then.
 */
int evlog_reach_segment(struct evlog *log, uint64_t number, struct err *err);

/* Segment `number`, mapped.  Borrowed; take a reference to keep it. */
int evlog_segment(struct evlog *log, uint64_t number,
                  struct segment **ret_segment, struct err *err);

/* The event at an address; its head is checked, its body is not. */
int evlog_event_at(struct evlog *log, uint64_t address, struct event *ret_event,
                   struct err *err);

/*
 * The commit at an address; that of an event lies commit_back bytes before
 * the event.
 */
int evlog_commit_at(struct evlog *log, uint64_t address,
                    struct commit *ret_commit, struct err *err);

/* The bytes from an address to the end of its data area; borrowed. */
int evlog_bytes_at(struct evlog *log, uint64_t address, const uint8_t **ret_p,
                   size_t *ret_left, struct err *err);

/*
 * Where `position`, from 1 to the watermark, lies; or for watermark + 1 where
 * it will.  O(log segments) and a walk of at most INDEX_STEP bytes.  Damage on
 * the way is passed over by the next whole group.
 */
int evlog_seek(struct evlog *log, uint64_t position, uint64_t watermark,
               struct cursor *ret_cursor, struct err *err);

/*
 * The event at the cursor, body checked (or with the whole of its group, which
 * is faster for those who go on), and the cursor behind it: 1.  0 if
 * the cursor is above the watermark; then nothing moves.
 */
int evlog_next(struct evlog *log, struct cursor *cursor, uint64_t watermark,
               struct event *ret_event, struct err *err);

/* The same with only its head checked: for those who look for something. */
int evlog_step(struct evlog *log, struct cursor *cursor, uint64_t watermark,
               struct event *ret_event, struct err *err);

/*
 * The next position behind a damaged one that can be read; watermark + 1 if
 * there is none.  Reads a segment, so it is nothing for every day.
 */
int evlog_behind_damage(struct evlog *log, uint64_t position,
                        uint64_t watermark, uint64_t *ret_position,
                        struct err *err);

/* A run of whole records in one segment. */
struct log_range {
    const uint8_t *data;
    size_t len;
    uint32_t event_count;
    struct segment *segment; /* a reference; the caller releases it */
};

/*
 * The records from the cursor on, ending behind an event or a whole group: at
 * most event_max events, and no more than len_max bytes unless a single event
 * is larger.  Of a group there is not room for, nothing is taken if something
 * stands before it.  1, or 0 if the cursor is above the watermark.
 *
 * Heads and bodies are checked, those of a whole group with its checksum
 * alone: who walks over them looks at their bounds, as with all bytes.
 */
int evlog_range(struct evlog *log, struct cursor *cursor, uint64_t watermark,
                size_t len_max, uint32_t event_max, struct log_range *ret_range,
                struct err *err);

/* First position whose commit time is time_us or later; watermark + 1: none. */
int evlog_seek_time(struct evlog *log, uint64_t time_us, uint64_t watermark,
                    uint64_t *ret_position, struct err *err);

#endif
