/* SPDX-License-Identifier: MPL-2.0 */
/* damaged - the part of evlog that reads around what is not whole. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "store/evlog_impl.h"

/* Segments in a row that can be missing; beyond, a number is not believed. */
#define MISSING_MAX UINT64_C(65536)

/* ---- segments ---------------------------------------------------------- */

/* Takes the log's id from the last segment that can be read. */
static int
find_log_id(struct evlog *log, struct err *err)
{
    for (size_t i = log->count; i-- > 0;) {
        struct segment *segment;

        if (segment_open(log->sys, log->dir, log->entries[i].first_position,
                         &segment, err) < 0)
            continue;
        log->id = segment->info.log_id;
        segment_unref(&segment);
        return 0;
    }
    return err_set(err, -ENOENT, "log %s: not one of its segments can be read",
                   log->dir);
}

/*
 * Gives the file that begins at first_position its place behind the others,
 * which its header tells if it can be read, and leaves places for those
 * missing before it.  *behind is the lowest position behind what was placed.
 */
static int
place_entry(struct evlog *log, uint64_t first_position, uint64_t *behind)
{
    uint64_t number = log->count + 1, end = first_position + 1;
    struct segment *segment;
    int rc;

    if (segment_open(log->sys, log->dir, first_position, &segment, NULL) == 0) {
        if (uuid_equal(segment->info.log_id, log->id) &&
            segment->info.number > number &&
            segment->info.number - number <= MISSING_MAX)
            number = segment->info.number;
        if (segment->sealed)
            end = segment->end.last_position + 1;
        segment_unref(&segment);
    }
    while (log->count + 1 < number) {
        rc = evlog_add_entry(log, *behind);
        if (rc < 0)
            return rc;
        log->entries[log->count - 1].missing = true;
    }
    *behind = end;
    return evlog_add_entry(log, first_position);
}

int
evlog_open_damaged(const struct sys *sys, const char *dir,
                   struct evlog **ret_log, struct err *err)
{
    struct evlog *log = NULL;
    struct evlog_entry *found;
    size_t count;
    uint64_t behind = 1;
    int rc = evlog_list(sys, dir, &log, err);

    if (rc == 0)
        rc = find_log_id(log, err);
    if (rc < 0)
        goto fail;
    found = log->entries;
    count = log->count;
    log->entries = NULL;
    log->count = log->capacity = 0;
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = place_entry(log, found[i].first_position, &behind);
    free(found);
    if (rc < 0) {
        (void)err_sys(err, rc, "log %s", dir);
        goto fail;
    }
    *ret_log = log;
    return 0;

fail:
    evlog_close(&log);
    return rc;
}

/* ---- groups ------------------------------------------------------------ */

bool
evlog_find_group(const struct evlog *log, const struct segment *segment,
                 uint64_t offset, struct group_info *ret_group)
{
    offset = (offset + SECTOR_LEN - 1) / SECTOR_LEN * SECTOR_LEN;
    for (; offset < segment->data_end; offset += SECTOR_LEN) {
        const uint8_t *data = segment->data + offset;

        if (group_decode(data, segment->data_end - offset, log->id,
                         address_of(segment->info.number, offset),
                         ret_group) == 0 &&
            group_check_body(data, ret_group) == 0)
            return true;
    }
    return false;
}

/* Whether one position can be read, body and all. */
static bool
is_readable(struct evlog *log, uint64_t position, uint64_t watermark)
{
    struct cursor cursor;
    struct event event;

    return evlog_seek(log, position, watermark, &cursor, NULL) == 0 &&
        evlog_next(log, &cursor, watermark, &event, NULL) > 0;
}

/* The first position above `position` in a whole group of segment `number`. */
static bool
find_position(struct evlog *log, uint64_t number, uint64_t position,
              uint64_t *ret_position)
{
    uint64_t offset = SECTOR_LEN;
    struct segment *segment;
    struct group_info group;

    if (evlog_segment(log, number, &segment, NULL) < 0)
        return false;
    while (evlog_find_group(log, segment, offset, &group)) {
        if (group.first_position > position) {
            *ret_position = group.first_position;
            return true;
        }
        offset = address_offset(group.address) + group.group_len;
    }
    return false;
}

int
evlog_behind_damage(struct evlog *log, uint64_t position, uint64_t watermark,
                    uint64_t *ret_position, struct err *err)
{
    *ret_position = watermark + 1;
    if (position >= watermark)
        return 0;
    if (position == 0)
        return err_set(err, -EINVAL, "there is no position 0");
    if (is_readable(log, position + 1, watermark)) {
        *ret_position = position + 1;
        return 0;
    }
    for (uint64_t n = evlog_segment_of(log, position); n <= log->count; n++)
        if (n > 0 && find_position(log, n, position, ret_position))
            break;
    if (*ret_position > watermark)
        *ret_position = watermark + 1;
    return 0;
}
