/* SPDX-License-Identifier: MPL-2.0 */
/* group - the part of the appender that makes groups durable. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "store/appender_impl.h"
#include "store/bug.h"

#define NOTE_AHEAD 8u    /* commits: so early their places are asked for */
#define KEYS_TOGETHER 8u /* keys whose slots are asked for together */

int
groups_init(struct appender *ap)
{
    for (int i = 0; i < 2; i++) {
        ap->groups[i].data = aligned_alloc(
            SYS_UNCACHED_UNIT,
            align_up(ap->options.group_len_max, SYS_UNCACHED_UNIT));
        if (ap->groups[i].data == NULL)
            return -ENOMEM;
        id_set_init(&ap->groups[i].ids, ap->id_key);
    }
    ap->open = &ap->groups[0];
    return 0;
}

void
groups_free(struct appender *ap)
{
    for (int i = 0; i < 2; i++) {
        free(ap->groups[i].data);
        overlay_free(&ap->groups[i].overlay);
        id_set_free(&ap->groups[i].ids);
        free(ap->groups[i].prints);
    }
}

/* ---- room -------------------------------------------------------------- */

/* Where the next group begins, and how long its segment is. */
static void
next_start(const struct appender *ap, uint64_t *ret_address,
           uint64_t *ret_segment_len)
{
    *ret_address = ap->tail.address;
    *ret_segment_len = ap->active.info.segment_len;
    if (ap->closed != NULL) {
        *ret_address = ap->closed->address + ap->closed->len;
        if (ap->closed->begins_segment)
            *ret_segment_len = ap->closed->info.segment_len;
    }
}

/* Keys that the version table may have to hold with one commit more. */
static uint64_t
keys_wanted(const struct appender *ap, const struct commit *commit)
{
    return table_key_count(ap->table) + commit->key_max +
        ap->open->overlay.count +
        (ap->closed == NULL ? 0 : ap->closed->overlay.count);
}

/*
 * Makes sure that the version table can take what is in memory and one commit
 * more, for settling must not fail.
 */
static enum append_code
table_reserve(struct appender *ap, const struct commit *commit)
{
    uint64_t keys = keys_wanted(ap, commit);

    if (keys <= table_room(table_slot_count(ap->table)))
        return APPEND_ACCEPTED;
    /* Many of the keys in memory may be old ones: settle them first. */
    if (ap->open->len > 0)
        return APPEND_GROUP_FULL;
    if (ap->closed != NULL)
        return APPEND_NOT_READY;
    /* Then it must grow; and if it is growing already, copying a few slots
     * with every put came too late: there will be no put before it is done. */
    ap->keys_wanted = keys;
    table_copy_all(ap->table);
    return ap->grow_failed ? APPEND_NO_SPACE : APPEND_NOT_READY;
}

/* Gives the empty open group its place. */
static void
group_start(struct appender *ap, uint64_t address, bool begins_segment)
{
    struct group_buf *group = ap->open;
    const struct group_buf *before = ap->closed;

    group->number = (before == NULL ? ap->tail.group : before->number) + 1;
    group->first_position =
        (before == NULL ? ap->tail.position : before->last_position) + 1;
    group->last_position = group->first_position - 1;
    group->address = address;
    group->begins_segment = begins_segment;
    group->data_bytes = 0;
    group->commit_count = 0;
    group->len = sizeof(struct group_header);
    if (begins_segment)
        ap->prepared = false;
}

/* Whether a commit fits into any group at all. */
static bool
fits_a_group(const struct appender *ap, const struct commit *commit)
{
    uint64_t len = sizeof(struct group_header) + (uint64_t)commit->commit_len;
    uint64_t whole = segment_data_end(ap->options.segment_len) - SECTOR_LEN;

    return len <= ap->options.group_len_max && len <= whole;
}

enum append_code
group_foresee(const struct appender *ap, const struct commit *commit)
{
    uint64_t len = sizeof(struct group_header) + (uint64_t)commit->commit_len;
    uint64_t address, segment_len;

    if (!fits_a_group(ap, commit))
        return APPEND_TOO_LARGE;
    if (ap->grow_failed &&
        keys_wanted(ap, commit) > table_room(table_slot_count(ap->table)))
        return APPEND_NO_SPACE;
    next_start(ap, &address, &segment_len);
    if (ap->open->len > 0) {
        address = ap->open->address + align_up(ap->open->len, SECTOR_LEN);
        if (ap->open->begins_segment)
            segment_len = ap->options.segment_len;
    }
    /* What is full now may have been made by then, unless it is known that
     * it cannot. */
    return len > segment_data_end(segment_len) - address_offset(address) &&
            (ap->prepare_failed || ap->seal_failed)
        ? APPEND_NO_SPACE
        : APPEND_ACCEPTED;
}

enum append_code
group_reserve(struct appender *ap, const struct commit *commit)
{
    uint64_t len = sizeof(struct group_header) + (uint64_t)commit->commit_len;
    uint64_t address, segment_len, room;
    enum append_code code;

    next_start(ap, &address, &segment_len);
    if (!fits_a_group(ap, commit))
        return APPEND_TOO_LARGE;
    code = table_reserve(ap, commit);
    if (code != APPEND_ACCEPTED)
        return code;

    if (ap->open->len > 0) {
        segment_len =
            ap->open->begins_segment ? ap->options.segment_len : segment_len;
        room =
            segment_data_end(segment_len) - address_offset(ap->open->address);
        if (room > ap->options.group_len_max)
            room = ap->options.group_len_max;
        return ap->open->len + (uint64_t)commit->commit_len <= room
            ? APPEND_ACCEPTED
            : APPEND_GROUP_FULL;
    }
    room = segment_data_end(segment_len) - address_offset(address);
    if (len <= room) {
        group_start(ap, address, false);
        return APPEND_ACCEPTED;
    }
    if (ap->full.fd >= 0)
        return ap->seal_failed ? APPEND_NO_SPACE : APPEND_NOT_READY;
    if (!ap->prepared)
        return ap->prepare_failed ? APPEND_NO_SPACE : APPEND_NOT_READY;
    group_start(ap, address_of(address_segment(address) + 1, SECTOR_LEN), true);
    return APPEND_ACCEPTED;
}

int
group_note_id(struct group_buf *group, uint32_t print, uint32_t at)
{
    if (group->commit_count == group->print_capacity) {
        uint32_t capacity =
            group->print_capacity == 0 ? 64 : group->print_capacity * 2;
        uint32_t *prints =
            reallocarray(group->prints, capacity, sizeof *prints);

        if (prints == NULL)
            return -ENOMEM;
        group->prints = prints;
        group->print_capacity = capacity;
    }
    group->prints[group->commit_count] = print;
    return id_set_add(&group->ids, print,
                      (uint32_t)address_offset(group->address) + at);
}

/* ---- closing and syncing ----------------------------------------------- */

void
appender_close_group(struct appender *ap)
{
    struct group_buf *group = ap->open;
    uint32_t padded = (uint32_t)align_up(group->len, SECTOR_LEN);

    pad_encode(group->data + group->len, padded - group->len);
    group->len = padded;
    group->spoiled = ap->failed;
    if (group->begins_segment)
        group->info = (struct segment_info){
            .log_id = ap->active.info.log_id,
            .number = ap->active.info.number + 1,
            .first_position = group->first_position,
            .segment_len = ap->options.segment_len,
            .created_us = group->time_us,
            .prev_group = ap->tail.group,
            .prev_time_us = ap->tail.time_us,
            .ids_time_max_ms = ap->id_times.time_max_ms,
            .ids_other_count = ap->id_times.other_count,
            .prev_crc = ap->tail.crc,
        };
    group->fd = group->begins_segment ? -1 : ap->active.fd;
    ap->closed = group;
    ap->open = group == &ap->groups[0] ? &ap->groups[1] : &ap->groups[0];
}

static void
header_encode(const struct appender *ap, struct group_buf *group,
              uint32_t prev_crc)
{
    struct group_info info = {
        .number = group->number,
        .address = group->address,
        .first_position = group->first_position,
        .last_position = group->last_position,
        .group_len = group->len,
        .commit_count = group->commit_count,
        .prev_crc = prev_crc,
        .time_us = group->time_us,
    };

    group_encode(group->data, ap->active.info.log_id, &info);
    group->crc = info.crc;
}

/* Puts the newest event of each key of the group into the table. */
static int note_keys(struct appender *ap, const struct group_buf *group,
                     struct err *err);

/* Writes the open group behind the closed one, which is not synced. */
static int
write_too_early(struct appender *ap, int fd)
{
    struct group_buf *next = ap->open;
    uint32_t len = next->len;
    int rc;

    if (len == 0 || next->begins_segment)
        return 0;
    next->len = (uint32_t)align_up(len, SECTOR_LEN);
    pad_encode(next->data + len, next->len - len);
    header_encode(ap, next, ap->closed->crc);
    rc = sys_call(ap->sys, write, fd, next->data, next->len,
                  address_offset(next->address));
    next->len = len;
    return rc;
}

int
appender_sync(struct appender *ap, struct err *err)
{
    struct group_buf *group = ap->closed;
    int rc;

    if (group->spoiled)
        return err_set(err, -EIO,
                       "log %s: group %" PRIu64 " is not written, for "
                       "something failed while it was made",
                       ap->dir, group->number);
    header_encode(ap, group, ap->tail.crc);
    if (group->begins_segment) {
        rc = segment_begin(ap->sys, ap->dir, &group->info, &group->fd, err);
        if (rc < 0)
            return rc;
    }
    if (BUG(TABLE_BEFORE_SYNC) && note_keys(ap, group, err) < 0)
        return err->code;
    if (BUG(ANSWER_BEFORE_SYNC)) /* of the group before this */
        (void)sys_call(ap->sys, sync, group->fd);
    rc = sys_call(ap->sys, write, group->fd, group->data, group->len,
                  address_offset(group->address));
    if (BUG(NEXT_GROUP_BEFORE_SYNC) && rc == 0)
        rc = write_too_early(ap, group->fd);
    if (!BUG(ANSWER_BEFORE_SYNC) && rc == 0)
        rc = sys_call(ap->sys, sync, group->fd);
    if (rc < 0)
        return err_sys(err, rc,
                       "log %s: cannot make group %" PRIu64 " durable "
                       "(segment number %" PRIu64 ", byte %" PRIu64 ")",
                       ap->dir, group->number, address_segment(group->address),
                       address_offset(group->address));
    return 0;
}

/* ---- settling ---------------------------------------------------------- */

int
growing_add(struct growing *growing, const struct commit *commit,
            uint32_t print, uint64_t offset)
{
    int rc = index_add(&growing->index, commit->first_position, offset);

    if (rc == 0)
        rc = id_set_add(&growing->ids, print, (uint32_t)offset);
    if (rc < 0)
        return rc;
    id_set_note(&growing->ids, commit->command_id, commit->time_us);
    growing->commit_count++;
    return rc;
}

void
growing_free(const struct sys *sys, struct growing *growing)
{
    if (growing->fd >= 0)
        sys_call(sys, close, growing->fd);
    index_free(&growing->index);
    id_set_free(&growing->ids);
    *growing = (struct growing){ .fd = -1 };
}

/* The segment that was growing is full; the group has begun another. */
static int
roll(struct appender *ap, struct group_buf *group, struct err *err)
{
    int rc = evlog_look_for_segment(ap->log, group->first_position, err);

    if (rc == 0)
        rc =
            err_set(err, -CAIRN_EDAMAGED,
                    "log %s: the segment that was just made has gone", ap->dir);
    if (rc < 0)
        return rc;
    if (ap->active.fd >= 0) {
        ap->full = ap->active;
        ap->full_end = ap->tail;
    } else { /* it was sealed when the log was opened */
        growing_free(ap->sys, &ap->active);
    }
    ap->active = (struct growing){ .fd = group->fd, .info = group->info };
    group->fd = -1; /* now it is closed with the segment */
    id_set_init(&ap->active.ids, ap->id_key);
    ap->old_times = ap->id_times;
    return 0;
}

static int
note_commits(struct appender *ap, const struct group_buf *group,
             struct err *err)
{
    size_t at = sizeof(struct group_header);

    for (uint32_t i = 0; i < group->commit_count; i++) {
        struct commit commit;
        int rc = commit_decode(group->data + at, group->len - at, &commit);

        if (i + NOTE_AHEAD < group->commit_count)
            id_set_prefetch(&ap->active.ids, group->prints[i + NOTE_AHEAD]);
        if (rc == 0)
            rc = growing_add(&ap->active, &commit, group->prints[i],
                             address_offset(group->address) + at);
        if (rc < 0)
            return err_sys(err, rc, "log %s: group %" PRIu64, ap->dir,
                           group->number);
        id_times_add(&ap->id_times, commit.command_id);
        at += commit.commit_len;
    }
    return 0;
}

static void
ask_for_slots(const struct appender *ap, const struct overlay *overlay,
              uint32_t first)
{
    for (uint32_t i = first; i < first + KEYS_TOGETHER && i < overlay->count;
         i++)
        table_prefetch(ap->table, overlay->entries[i].hash);
}

static int
note_keys(struct appender *ap, const struct group_buf *group, struct err *err)
{
    ask_for_slots(ap, &group->overlay, 0);
    for (uint32_t i = 0; i < group->overlay.count; i++) {
        const struct overlay_entry *entry = &group->overlay.entries[i];
        uint64_t at = entry->address - group->address;
        struct key key = { .kind = entry->kind, .hash = entry->hash };
        struct event event;
        int rc = event_view(group->data + at, group->len - at, &event);

        if (i % KEYS_TOGETHER == 0)
            ask_for_slots(ap, &group->overlay, i + KEYS_TOGETHER);
        if (rc < 0)
            return err_sys(err, rc, "log %s: group %" PRIu64, ap->dir,
                           group->number);
        key.name = key.kind == KEY_STREAM ? event.stream
            : key.kind == KEY_TAG ? event_tag_link(&event, entry->tag).name
                                  : event.type;
        rc = table_move(ap->table, &key, entry->previous, entry->address,
                        &ap->source, err);
        if (rc < 0) {
            (void)err_wrap(err, "log %s: group %" PRIu64, ap->dir,
                           group->number); /* may be NULL: rc is the code */
            return rc;
        }
    }
    return 0;
}

int
appender_settle(struct appender *ap, struct err *err)
{
    struct group_buf *group = ap->closed;
    uint64_t event_count = group->last_position - group->first_position + 1;
    int rc = 0;

    if (group->begins_segment)
        rc = roll(ap, group, err);
    if (rc == 0)
        rc = note_commits(ap, group, err);
    if (rc == 0)
        rc = note_keys(ap, group, err);
    if (rc < 0) {
        ap->failed = true;
        return rc;
    }
    ap->tail = (struct tail){
        .position = group->last_position,
        .time_us = group->time_us,
        .group = group->number,
        .address = group->address + group->len,
        .crc = group->crc,
    };
    ap->bytes_written += group->len;
    control_count(ap->control, COUNT_COMMITS, group->commit_count);
    control_count(ap->control, COUNT_EVENTS, event_count);
    control_count(ap->control, COUNT_GROUPS, 1);
    control_count(ap->control, COUNT_SYNCS, 1);
    control_count(ap->control, COUNT_BYTES, group->len);
    control_count(ap->control, COUNT_DATA_BYTES, group->data_bytes);
    control_set_watermark(ap->control, ap->tail.position, ap->tail.time_us);

    group->len = 0;
    group->commit_count = 0;
    overlay_clear(&group->overlay);
    id_set_clear(&group->ids);
    ap->closed = NULL;
    return 0;
}

void
appender_count_messages(struct appender *ap, uint32_t count)
{
    control_count(ap->control, COUNT_MESSAGES, count);
}
