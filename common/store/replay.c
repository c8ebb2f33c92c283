/* SPDX-License-Identifier: MPL-2.0 */
/* replay - the part of recovery that brings the version table up to date. */
#include <errno.h>
#include <inttypes.h>

#include "store/recovery_impl.h"

#define PROGRESS_STEP UINT64_C(4096) /* events between two reports */

int
table_put_event(struct table *table, const struct event *event,
                uint64_t address, const struct event_source *source,
                struct err *err)
{
    struct key key = { KEY_STREAM, event->stream, 0 };
    int rc;

    key.hash = table_hash(table, KEY_STREAM, key.name);
    rc = table_put(table, &key, address, event->version == 1, source, err);
    for (uint32_t i = 0; rc == 0 && i < event->tag_count; i++) {
        struct link link = event_tag_link(event, i);

        key = (struct key){ KEY_TAG, link.name, 0 };
        key.hash = table_hash(table, KEY_TAG, key.name);
        rc = table_put(table, &key, address, link.ordinal == 1, source, err);
    }
    if (rc < 0)
        return rc;
    key = (struct key){ KEY_TYPE, event->type, 0 };
    key.hash = table_hash(table, KEY_TYPE, key.name);
    return table_put(table, &key, address, false, source, err);
}

/* Whether the log goes on from where a table's checkpoint says. */
static bool
mark_fits(struct recovery *r, const struct table_mark *mark)
{
    struct appender *ap = r->ap;
    struct cursor at = { mark->next_address, mark->position + 1, 0 };
    struct group_info group;
    const uint8_t *p;
    size_t left;

    if (mark->position == ap->tail.position)
        return mark->group == ap->tail.group && mark->group_crc == ap->tail.crc;
    if (evlog_bytes_at(ap->log, at.address, &p, &left, NULL) < 0)
        return false;
    if (left < sizeof(struct group_header) ||
        bytes_all_zero(p, sizeof(struct record_prefix))) {
        uint64_t number = address_segment(at.address) + 1;
        struct segment *segment;

        return evlog_segment(ap->log, number, &segment, NULL) == 0 &&
            segment->info.first_position == mark->position + 1 &&
            segment->info.prev_crc == mark->group_crc;
    }
    return group_decode(p, left, evlog_id(ap->log), at.address, &group) == 0 &&
        group.number == mark->group + 1 && group.prev_crc == mark->group_crc;
}

/* Opens the newest table that fits the log; ap->table stays NULL if none. */
static int
find_table(struct recovery *r, struct err *err)
{
    struct appender *ap = r->ap;

    for (uint64_t g = r->table_generation; g > 0; g--) {
        struct table *table;
        const struct table_mark *mark;
        struct err ignored;

        if (table_open(ap->sys, ap->dir, evlog_id(ap->log), g, true, &table,
                       &ignored) < 0)
            continue; /* half made, or of no use: removed below */
        mark = table_mark(table);
        if (mark->position > ap->tail.position &&
            !ap->options.accept_tail_loss) {
            uint64_t position = mark->position;

            table_close(&table);
            return err_set(err, -CAIRN_EDAMAGED,
                           "log %s: it ends at position %" PRIu64 ", but "
                           "positions up to %" PRIu64 " had been durable "
                           "(says the checkpoint of the version table): "
                           "restore a backup, or start once with "
                           "--accept-tail-loss to go on without them",
                           ap->dir, ap->tail.position, position);
        }
        if (mark->position > ap->tail.position)
            r->report->tail_lost = true;
        if (!r->report->tail_lost && mark_fits(r, mark)) {
            ap->table = table;
            return 0;
        }
        table_close(&table);
    }
    return 0;
}

int
recovery_grow_table(struct recovery *r, struct err *err)
{
    struct appender *ap = r->ap;
    struct table *next;
    int rc;

    if (table_wants_growth(ap->table) && !ap->grow_failed) {
        rc = table_create(
            ap->sys, ap->dir, evlog_id(ap->log), ++r->table_generation,
            table_slot_count(ap->table) * 2, ap->table, &next, err);
        if (is_no_space(rc))
            ap->grow_failed = true; /* it may be large enough as it is */
        else if (rc < 0)
            return rc;
        else
            table_grow_into(ap->table, &next);
    }
    if (table_grown(ap->table)) {
        next = table_take_next(ap->table);
        table_close(&ap->table);
        ap->table = next;
    }
    return 0;
}

/* Puts every event behind the table's checkpoint into it. */
static int
replay(struct recovery *r, struct err *err)
{
    struct appender *ap = r->ap;
    uint64_t first = table_mark(ap->table)->position + 1;
    uint64_t watermark = ap->tail.position;
    struct cursor cursor;
    struct event event;
    int rc = evlog_seek(ap->log, first, watermark, &cursor, err);

    while (rc == 0 &&
           (rc = evlog_next(ap->log, &cursor, watermark, &event, err)) > 0) {
        uint64_t address = cursor.address - event.record_len;
        uint64_t position = event.position;

        rc = table_put_event(ap->table, &event, address, &ap->source, err);
        if (rc == 0)
            rc = recovery_grow_table(r, err);
        if (rc == 0 && position % PROGRESS_STEP == 0)
            rc = recovery_go_on(r, "rebuilding the version table",
                                position - first + 1, watermark - first + 1,
                                err);
    }
    r->report->replayed_events = watermark - first + 1;
    return rc;
}

static int
remove_unless_used(void *arg, const char *name)
{
    struct appender *ap = arg;
    struct table *next = table_next(ap->table);
    uint64_t generation;

    if (!table_name_parse(name, &generation) ||
        generation == table_generation(ap->table) ||
        (next != NULL && generation == table_generation(next)))
        return 0;
    return table_remove(ap->sys, ap->dir, generation);
}

int
remove_other_tables(struct appender *ap, struct err *err)
{
    int rc = sys_call(ap->sys, list, ap->dir, remove_unless_used, ap);

    return rc < 0 ? err_sys(err, rc, "log %s: old version tables", ap->dir) : 0;
}

int
recover_table(struct recovery *r, struct err *err)
{
    struct appender *ap = r->ap;
    struct table_mark mark;
    int rc = find_table(r, err);

    if (rc == 0 && ap->table == NULL) {
        r->report->table_rebuilt = !r->report->created;
        rc = table_create(ap->sys, ap->dir, evlog_id(ap->log),
                          ++r->table_generation, ap->options.table_slots, NULL,
                          &ap->table, err);
    }
    if (rc == 0)
        rc = replay(r, err);
    if (rc < 0)
        return rc;
    mark = appender_mark(ap, ap->table);
    rc = table_sync(ap->table);
    if (rc == 0)
        rc = table_write_mark(ap->table, &mark);
    if (rc < 0)
        return err_sys(err, rc, "log %s: version table", ap->dir);
    return 0;
}
