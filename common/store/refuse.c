/* SPDX-License-Identifier: MPL-2.0 */
/*
 * refuse - the part of recovery that comes after a refusal: what is whole can
 * still be read by others, and they are told up to where.
 */
#include <errno.h>
#include <unistd.h>

#include "store/evlog_impl.h"
#include "store/recovery_impl.h"

/* The last position in a whole group of segment `number`; 0: there is none. */
static uint64_t
last_of_segment(struct evlog *log, uint64_t number)
{
    uint64_t offset = SECTOR_LEN, last = 0;
    struct segment *segment;
    struct group_info group;

    if (evlog_segment(log, number, &segment, NULL) < 0)
        return 0;
    if (segment->sealed)
        return segment->end.last_position;
    while (evlog_find_group(log, segment, offset, &group)) {
        last = group.last_position;
        offset = address_offset(group.address) + group.group_len;
    }
    return last;
}

/*
 * The highest position that is known to have been durable, readable or not.
 * A segment begins with its first group, so where there is one, there was an
 * event; in one that is readable and has no whole group there was none yet.
 */
static uint64_t
last_position(struct recovery *r, uint64_t mark)
{
    struct evlog *log = r->ap->log;
    uint64_t count = evlog_segment_count(log), last = mark;
    uint64_t found = last_of_segment(log, count);
    uint64_t before = evlog_segment_first(log, count) - 1;
    struct segment *segment;

    if (found == 0)
        found = before + (evlog_segment(log, count, &segment, NULL) < 0);
    if (last < found)
        last = found;
    if (last < control_watermark(r->ap->control))
        last = control_watermark(r->ap->control);
    return last;
}

/* Opens the newest table that is one, or makes an empty one. */
static int
open_table(struct recovery *r)
{
    struct appender *ap = r->ap;
    int rc = -CAIRN_ETABLE;

    table_close(&ap->table);
    for (uint64_t g = r->table_generation; rc < 0 && g > 0; g--)
        rc = table_open(ap->sys, ap->dir, evlog_id(ap->log), g, true,
                        &ap->table, NULL);
    if (rc < 0)
        rc = table_create(ap->sys, ap->dir, evlog_id(ap->log),
                          ++r->table_generation, ap->options.table_slots, NULL,
                          &ap->table, NULL);
    return rc;
}

/*
 * Puts the events behind the table's checkpoint into it, up to the first that
 * cannot be read; returns the position of the last one that it knows.  There
 * is no new checkpoint: nothing says where a group ends here.
 */
static uint64_t
fill_table(struct recovery *r, uint64_t last)
{
    struct appender *ap = r->ap;
    uint64_t known = table_mark(ap->table)->position;
    struct cursor cursor;
    struct event event;
    int rc;

    if (known >= last)
        return last;
    rc = evlog_seek(ap->log, known + 1, last, &cursor, NULL);
    /* A seek passes over damage, but nothing lies before the first one. */
    while (rc == 0 && evlog_next(ap->log, &cursor, last, &event, NULL) > 0) {
        uint64_t position = event.position;

        rc = table_put_event(ap->table, &event,
                             cursor.address - event.record_len, &ap->source,
                             NULL);
        if (rc == 0)
            rc = recovery_grow_table(r, NULL);
        if (rc == 0)
            known = position;
    }
    return known;
}

void
recovery_leave_readable(struct recovery *r)
{
    struct appender *ap = r->ap;
    uint64_t last, known = 0;
    int rc = 0;

    if (ap->log == NULL)
        rc = evlog_open_damaged(ap->sys, ap->dir, &ap->log, NULL);
    /* Without the lock the page is another writer's. */
    if (rc < 0 || ap->lock_fd < 0)
        return;
    if (ap->control == NULL)
        rc = control_create(ap->sys, r->control_path, evlog_id(ap->log),
                            &ap->control, NULL);
    if (rc < 0)
        return;
    rc = open_table(r);
    last = last_position(r, rc < 0 ? 0 : table_mark(ap->table)->position);
    if (rc == 0)
        known = fill_table(r, last);
    control_set_index_end(ap->control, known < last ? known + 1 : 0);
    control_set_table_generation(
        ap->control, ap->table == NULL ? 0 : table_generation(ap->table));
    control_set_watermark(ap->control, last, control_time_us(ap->control));
    control_set_started(ap->control, (uint64_t)getpid(),
                        sys_call(ap->sys, now_us));
    ap->refused = true;
}
