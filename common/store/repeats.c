/* SPDX-License-Identifier: MPL-2.0 */
/*
 * repeats - the part of the appender that knows commands again, and foretells
 * what a command would get.
 */
#include <errno.h>
#include <stdlib.h>

#include "store/appender_impl.h"

/* ---- finding ----------------------------------------------------------- */

/* Looks for an id in a set of offsets into the segment of `base`. */
static int
find_id_in(struct appender *ap, const struct id_set *set, uint64_t base,
           struct uuid id, uint64_t *ret_address, struct err *err)
{
    uint32_t probe = 0, offset;

    while (id_set_candidate(set, ap->id_print, &probe, &offset)) {
        struct commit commit;
        uint64_t address = address_of(address_segment(base), offset);
        int rc = appender_commit_at(ap, address, &commit, err);

        if (rc < 0)
            return rc;
        if (uuid_equal(commit.command_id, id)) {
            *ret_address = address;
            return 1;
        }
    }
    return 0;
}

int
repeats_find(struct appender *ap, struct uuid id, uint64_t *ret_address,
             struct err *err)
{
    const struct group_buf *both[2] = { ap->open, ap->closed };
    uint64_t last = ap->active.info.number - 1;
    int rc;

    ap->id_print = ap->hint != NULL && ap->hint->stream.len > 0
        ? ap->hint->print
        : id_set_print(&ap->open->ids, id);
    for (int i = 0; i < 2; i++) {
        if (both[i] == NULL || both[i]->len == 0)
            continue;
        rc = find_id_in(ap, &both[i]->ids, both[i]->address, id, ret_address,
                        err);
        if (rc != 0)
            return rc;
    }
    rc = find_id_in(ap, &ap->active.ids, address_of(last + 1, 0), id,
                    ret_address, err);
    if (rc != 0 || last == 0 || !id_times_may_hold(&ap->old_times, id))
        return rc;
    if (ap->full.fd >= 0) {
        struct id_times before = { ap->full.info.ids_time_max_ms,
                                   ap->full.info.ids_other_count };

        rc = find_id_in(ap, &ap->full.ids, address_of(last, 0), id, ret_address,
                        err);
        if (rc != 0)
            return rc;
        return ids_find(ap->ids, id, last - 1, before, ret_address, err);
    }
    return ids_find(ap->ids, id, last, ap->old_times, ret_address, err);
}

/* ---- the same again ---------------------------------------------------- */

/* Whether two events say the same, whatever the writer stamped on them. */
static bool
same_content(const struct event *a, const struct event *b)
{
    const struct event_record *ra = (const void *)a->record;
    const struct event_record *rb = (const void *)b->record;
    size_t text_at = sizeof *ra + a->tag_count * sizeof(struct link_disk);

    return a->record_len == b->record_len && a->tag_count == b->tag_count &&
        a->schema == b->schema && uuid_equal(ra->id, rb->id) &&
        uuid_equal(ra->correlation_id, rb->correlation_id) &&
        uuid_equal(ra->causation_id, rb->causation_id) &&
        a->stream.len == b->stream.len && a->type.len == b->type.len &&
        a->content_type.len == b->content_type.len &&
        a->meta.len == b->meta.len && a->data.len == b->data.len &&
        memcmp((const uint8_t *)ra + text_at, (const uint8_t *)rb + text_at,
               a->record_len - text_at) == 0;
}

/*
 * Notes the version of a stream after an event, once for each stream; the
 * event lies at `address` of `source`.
 */
static int
tally_version(struct appender *ap, const struct event_source *source,
              const struct key *key, uint64_t address, uint64_t version,
              struct err *err)
{
    struct overlay_entry *entry;
    int rc = overlay_find(&ap->scratch, key, source, &entry, err);

    if (rc == 0) {
        rc = overlay_add(&ap->scratch, key, address, ADDRESS_NONE, &entry);
        if (rc == 0) {
            entry->result = ap->version_count;
            rc = appender_add_version(ap, version);
        }
        if (rc < 0)
            (void)err_sys(err, rc, "outcome");
    } else if (rc > 0) {
        ap->versions[entry->result] = version;
        rc = 0;
    }
    return rc;
}

int
repeats_recall(struct appender *ap, const struct commit *sent, uint64_t address,
               struct append_result *result, struct err *err)
{
    const uint8_t *sent_at = sent->record + sizeof(struct commit_record);
    struct commit stored;
    uint64_t at = address + sizeof(struct commit_record);
    int rc = appender_commit_at(ap, address, &stored, err);

    if (rc < 0)
        return rc;
    result->group = appender_group_of(ap, address);
    result->code = APPEND_OTHER_CONTENT;
    if (stored.event_count != sent->event_count ||
        stored.commit_len != sent->commit_len)
        return 0;
    overlay_clear(&ap->scratch);
    for (uint32_t i = 0; i < stored.event_count; i++) {
        struct event event, again;
        struct key key;

        rc = appender_event_at(ap, at, &event, err);
        if (rc < 0)
            return rc;
        if (event_view(sent_at, RECORD_LEN_MAX, &again) < 0 ||
            !same_content(&event, &again)) {
            ap->version_count = 0; /* there is no outcome to tell */
            return 0;
        }
        key = appender_key(ap, KEY_STREAM, event.stream);
        rc = tally_version(ap, &ap->source, &key, at, event.version, err);
        if (rc < 0)
            return rc;
        at += event.record_len;
        sent_at += again.record_len;
    }
    result->code = APPEND_ACCEPTED;
    result->repeated = true;
    result->first_position = stored.first_position;
    result->last_position = stored.first_position + stored.event_count - 1;
    result->time_us = stored.time_us;
    return 0;
}

/* ---- what would be ----------------------------------------------------- */

/* The events of a commit that is not stored, at offsets into it. */
static int
sent_event_at(void *self, uint64_t address, struct event *ret_event,
              struct err *err)
{
    const struct commit *sent = self;

    if (event_view(sent->record + address, sent->commit_len - address,
                   ret_event) < 0)
        return err_sys(err, -CAIRN_ERECORD, "a command");
    return 0;
}

int
repeats_foretell(struct appender *ap, const struct commit *sent,
                 struct err *err)
{
    struct commit commit = *sent;
    struct event_source source = { &commit, sent_event_at };
    uint64_t at = sizeof(struct commit_record);

    overlay_clear(&ap->scratch);
    for (uint32_t i = 0; i < sent->event_count; i++) {
        struct event event, newest = { .version = 0 };
        struct overlay_entry *entry;
        struct key key;
        uint64_t address, version = 0;
        int rc = sent_event_at(&commit, at, &event, err);

        if (rc < 0)
            return rc;
        key = appender_key(ap, KEY_STREAM, event.stream);
        rc = overlay_find(&ap->scratch, &key, &source, &entry, err);
        if (rc > 0) {
            version = ap->versions[entry->result];
        } else if (rc == 0) {
            rc = appender_find_newest(ap, &key, &address, err);
            if (rc > 0)
                rc = appender_event_at(ap, address, &newest, err);
            version = newest.version;
        }
        if (rc >= 0)
            rc = tally_version(ap, &source, &key, at, version + 1, err);
        if (rc < 0)
            return rc;
        at += event.record_len;
    }
    return 0;
}
