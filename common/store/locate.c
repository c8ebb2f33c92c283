/* SPDX-License-Identifier: MPL-2.0 */
#include "store/evlog_impl.h"

#include <errno.h>
#include <inttypes.h>

/*
 * Moves the cursor, which stands before bytes that cannot be read, to the next
 * whole group of its segment, unless that begins above `position`.
 */
static bool
pass_over(struct evlog *log, uint64_t position, struct cursor *cursor)
{
    struct segment *segment;
    struct group_info group;
    uint64_t number = address_segment(cursor->address);

    if (evlog_segment(log, number, &segment, NULL) < 0 ||
        !evlog_find_group(log, segment, address_offset(cursor->address) + 1,
                          &group) ||
        group.first_position > position ||
        group.first_position < cursor->position)
        return false;
    *cursor = (struct cursor){ group.address, group.first_position, 0 };
    return true;
}

/* Walks on over one record; 0 at the end of the data, 1 otherwise. */
static int
extend_by_record(struct evlog *log, uint64_t number, struct cursor *at,
                 struct err *err)
{
    const uint8_t *p;
    size_t left;
    struct commit commit;
    enum record_kind kind;
    uint32_t len;
    int rc = evlog_bytes_at(log, at->address, &p, &left, err);

    if (rc < 0)
        return rc;
    if (left < sizeof(struct record_prefix) ||
        bytes_all_zero(p, sizeof(struct record_prefix)))
        return 0;
    if (record_check(p, left, &kind, &len) < 0)
        return evlog_damaged(log, at->address, err,
                             "checksum mismatch, or no record");
    if (kind == RECORD_COMMIT) {
        if (commit_decode(p, left, &commit) < 0 ||
            commit.first_position != at->position)
            return evlog_damaged(log, at->address, err,
                                 "a commit with another position than its "
                                 "place");
        rc = index_add(&log->entries[number - 1].index, at->position,
                       address_offset(at->address));
        if (rc < 0)
            return err_sys(err, rc, "log %s", log->dir);
        at->position += commit.event_count;
        len = commit.commit_len;
    }
    at->address += len;
    return 1;
}

/*
 * Brings the index of an unsealed segment up to `position`, which is not
 * above the watermark; everything walked over is durable, then.  Damage has
 * no place in the index.
 */
static int
extend_index(struct evlog *log, uint64_t number, uint64_t position,
             struct err *err)
{
    struct cursor at = log->entries[number - 1].indexed;

    if (at.address == ADDRESS_NONE)
        at = (struct cursor){ address_of(number, SECTOR_LEN),
                              log->entries[number - 1].first_position, 0 };
    while (at.position <= position) {
        int rc = extend_by_record(log, number, &at, err);

        if (rc == 0 || rc == -CAIRN_EDAMAGED) {
            if (pass_over(log, position, &at))
                continue;
            if (rc == 0)
                break; /* the next segment goes on */
        }
        if (rc < 0)
            return rc;
    }
    log->entries[number - 1].indexed = at;
    return 0;
}

/*
 * Where to begin walking to reach a position in segment `number`: the last
 * indexed commit that is not above it.
 */
static int
index_start(struct evlog *log, uint64_t number, uint64_t position,
            struct cursor *ret_cursor, struct err *err)
{
    struct evlog_entry *e = &log->entries[number - 1];
    const struct index_entry *found;
    struct segment *segment;
    int rc = evlog_segment(log, number, &segment, err);

    if (rc < 0)
        return rc;
    segment_look_for_footer(segment);
    if (segment->sealed) {
        index_free(&e->index);
        found = index_find(segment->index, segment->end.index_count, position);
    } else {
        rc = extend_index(log, number, position, err);
        if (rc < 0)
            return rc;
        found = index_find(e->index.entries, e->index.count, position);
    }
    *ret_cursor = found == NULL
        ? (struct cursor){ address_of(number, SECTOR_LEN), e->first_position,
                           0 }
        : (struct cursor){ address_of(number, le32_get(found->offset)),
                           le64_get(found->position), 0 };
    return 0;
}

/* Learns of segments that have come into being up to the watermark. */
static int
learn_segments(struct evlog *log, uint64_t watermark, struct err *err)
{
    int rc;

    if (watermark < log->entries[log->count - 1].first_position)
        return 0;
    do {
        struct segment *last;
        struct cursor at;

        rc = evlog_segment(log, log->count, &last, err);
        if (rc < 0)
            return rc;
        segment_look_for_footer(last);
        if (last->sealed) {
            at.position = last->end.last_position + 1;
        } else {
            if (watermark < last->info.first_position)
                return 0;
            rc = extend_index(log, log->count, watermark, err);
            if (rc < 0)
                return rc;
            at = log->entries[log->count - 1].indexed;
        }
        if (at.position > watermark)
            return 0;
        rc = evlog_look_for_segment(log, at.position, err);
    } while (rc > 0);
    return rc;
}

int
evlog_reach_segment(struct evlog *log, uint64_t number, struct err *err)
{
    while (log->count < number) {
        struct segment *last;
        uint64_t first;
        int rc = evlog_segment(log, log->count, &last, err);

        if (rc < 0)
            return rc;
        segment_look_for_footer(last);
        if (!last->sealed) {
            rc = extend_index(log, log->count, UINT64_MAX, err);
            if (rc < 0)
                return rc;
        }
        first = last->sealed ? last->end.last_position + 1
                             : log->entries[log->count - 1].indexed.position;
        rc = evlog_look_for_segment(log, first, err);
        if (rc < 0)
            return rc;
        if (rc == 0)
            return err_set(err, -CAIRN_EDAMAGED,
                           "log %s: something points to segment number "
                           "%" PRIu64 ", but there are %zu",
                           log->dir, number, log->count);
    }
    return 0;
}

uint64_t
evlog_segment_of(const struct evlog *log, uint64_t position)
{
    size_t low = 0, high = log->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (log->entries[middle].first_position <= position)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int
evlog_seek(struct evlog *log, uint64_t position, uint64_t watermark,
           struct cursor *ret_cursor, struct err *err)
{
    bool behind_last = position == watermark + 1;
    struct cursor at;
    uint64_t target = behind_last ? watermark : position;
    int rc;

    if (position == 0 || position > watermark + 1)
        return err_set(err, -EINVAL,
                       "position %" PRIu64 " is not between 1 and the "
                       "watermark %" PRIu64,
                       position, watermark);
    if (target == 0) {
        *ret_cursor = (struct cursor){ address_of(1, SECTOR_LEN), 1, 0 };
        return 0;
    }
    rc = learn_segments(log, target, err);
    if (rc == 0)
        rc = index_start(log, evlog_segment_of(log, target), target, &at, err);
    if (rc < 0)
        return rc;
    for (;;) {
        struct event event;

        rc = evlog_settle(log, &at, &event, err);
        if (rc == -CAIRN_EDAMAGED && pass_over(log, target, &at))
            continue;
        if (rc < 0)
            return rc;
        if (at.position == position)
            break;
        at.address += event.record_len;
        if (at.position++ == target) /* the one behind the last */
            break;
    }
    *ret_cursor = at;
    return 0;
}

/* ---- time -------------------------------------------------------------- */

/* The last segment before which every commit is older than time_us. */
static int
segment_of_time(struct evlog *log, uint64_t time_us, uint64_t *ret_number,
                struct err *err)
{
    uint64_t low = 1, high = log->count;

    while (low < high) {
        uint64_t middle = high - (high - low) / 2;
        struct segment *segment;
        int rc = evlog_segment(log, middle, &segment, err);

        if (rc < 0)
            return rc;
        if (segment->info.prev_time_us < time_us)
            low = middle;
        else
            high = middle - 1;
    }
    *ret_number = low;
    return 0;
}

/* The last index entry of a segment whose commit is older than time_us. */
static int
index_of_time(struct evlog *log, uint64_t number, uint64_t time_us,
              struct cursor *cursor, struct err *err)
{
    struct segment *segment;
    const struct index_entry *entries;
    uint32_t low = 0, high;
    int rc = evlog_segment(log, number, &segment, err);

    if (rc < 0)
        return rc;
    entries = segment->sealed ? segment->index
                              : log->entries[number - 1].index.entries;
    high = segment->sealed ? segment->end.index_count
                           : log->entries[number - 1].index.count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct commit commit;
        uint32_t offset = le32_get(entries[middle].offset);

        if (offset > segment->data_end ||
            commit_decode(segment->data + offset, segment->data_end - offset,
                          &commit) < 0)
            return evlog_damaged(log, address_of(number, offset), err,
                                 "no valid commit, but the index points here");
        if (commit.time_us < time_us) {
            *cursor = (struct cursor){ address_of(number, offset),
                                       commit.first_position, 0 };
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return 0;
}

int
evlog_seek_time(struct evlog *log, uint64_t time_us, uint64_t watermark,
                uint64_t *ret_position, struct err *err)
{
    struct cursor at;
    uint64_t number = 1;
    int rc = 0;

    if (watermark > 0)
        rc = learn_segments(log, watermark, err);
    if (rc == 0)
        rc = segment_of_time(log, time_us, &number, err);
    if (rc < 0)
        return rc;
    at = (struct cursor){ address_of(number, SECTOR_LEN),
                          evlog_segment_first(log, number), 0 };
    if (at.position <= watermark) {
        rc = index_of_time(log, number, time_us, &at, err);
        if (rc < 0)
            return rc;
    }
    while (at.position <= watermark) {
        struct event event;

        rc = evlog_settle(log, &at, &event, err);
        if (rc < 0)
            return rc;
        if (event.time_us >= time_us)
            break;
        at.address += event.record_len;
        at.position++;
    }
    /* The handle may know of more than the caller may see: all that was
     * passed over is older, so nothing up to the watermark is late enough. */
    *ret_position = at.position <= watermark ? at.position : watermark + 1;
    return 0;
}
