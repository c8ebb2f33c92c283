/* SPDX-License-Identifier: MPL-2.0 */
#include "store/appender_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/* ---- looking things up, durable or not --------------------------------- */

/* The group in memory that holds an address; NULL if it is durable. */
static const struct group_buf *
group_holding(const struct appender *ap, uint64_t address)
{
    const struct group_buf *both[2] = { ap->open, ap->closed };

    for (int i = 0; i < 2; i++)
        if (both[i] != NULL && both[i]->len > 0 &&
            address >= both[i]->address &&
            address - both[i]->address < both[i]->len)
            return both[i];
    return NULL;
}

uint64_t
appender_group_of(const struct appender *ap, uint64_t address)
{
    const struct group_buf *group = group_holding(ap, address);

    return group == NULL ? 0 : group->number;
}

int
appender_event_at(void *self, uint64_t address, struct event *ret_event,
                  struct err *err)
{
    struct appender *ap = self;
    const struct group_buf *group = group_holding(ap, address);
    uint64_t at;

    if (group == NULL)
        return evlog_event_at(ap->log, address, ret_event, err);
    at = address - group->address;
    if (event_view(group->data + at, group->len - at, ret_event) < 0)
        return err_set(err, -CAIRN_EDAMAGED,
                       "the group in memory is damaged at byte %" PRIu64, at);
    return 0;
}

int
appender_commit_at(struct appender *ap, uint64_t address,
                   struct commit *ret_commit, struct err *err)
{
    const struct group_buf *group = group_holding(ap, address);
    uint64_t at;

    if (group == NULL)
        return evlog_commit_at(ap->log, address, ret_commit, err);
    at = address - group->address;
    if (commit_decode(group->data + at, group->len - at, ret_commit) < 0)
        return err_set(err, -CAIRN_EDAMAGED,
                       "the group in memory is damaged at byte %" PRIu64, at);
    return 0;
}

/* The newest event of a key in the groups in memory; 1, or 0. */
static int
find_in_memory(struct appender *ap, const struct key *key,
               uint64_t *ret_address, struct err *err)
{
    const struct group_buf *both[2] = { ap->open, ap->closed };

    for (int i = 0; i < 2; i++) {
        struct overlay_entry *entry;
        int rc;

        if (both[i] == NULL)
            continue;
        rc = overlay_find(&both[i]->overlay, key, &ap->source, &entry, err);
        if (rc < 0)
            return rc;
        if (rc > 0) {
            *ret_address = entry->address;
            return 1;
        }
    }
    return 0;
}

int
appender_find_newest(struct appender *ap, const struct key *key,
                     uint64_t *ret_address, struct err *err)
{
    int rc = find_in_memory(ap, key, ret_address, err);

    return rc != 0 ? rc
                   : table_find(ap->table, key, &ap->source, ret_address, err);
}

/* The same with its link. */
static int
find_newest_link(struct appender *ap, const struct key *key,
                 uint64_t *ret_address, struct link *ret_link, struct err *err)
{
    struct event event;
    int rc = find_in_memory(ap, key, ret_address, err);

    if (rc == 0)
        return table_find_event(ap->table, key, &ap->source, ret_address,
                                &event, ret_link, err);
    if (rc > 0 && (rc = appender_event_at(ap, *ret_address, &event, err)) == 0)
        rc = key_link(key, &event, ret_link); /* it was found by that */
    return rc;
}

int
appender_find_link(struct appender *ap, const struct key *key,
                   uint64_t *ret_address, struct link *ret_link,
                   struct err *err)
{
    struct known *known = &ap->known;
    int rc;

    if (!known->valid || known->key.kind != key->kind ||
        known->key.hash != key->hash ||
        !span_equal(known->key.name, key->name)) {
        known->valid = false;
        rc = find_newest_link(ap, key, &known->address, &known->link, err);
        if (rc <= 0)
            return rc;
        known->key = *key;
        known->valid = true;
    }
    *ret_address = known->address;
    *ret_link = known->link;
    return 1;
}

struct key
appender_key(struct appender *ap, enum key_kind kind, struct span name)
{
    struct familiar *type = &ap->type;

    if (kind == KEY_STREAM && ap->hint != NULL &&
        span_equal(name, ap->hint->stream))
        return (struct key){ kind, name, ap->hint->hash };
    if (kind != KEY_TYPE || name.len > sizeof type->name)
        return (struct key){ kind, name, table_hash(ap->table, kind, name) };
    if (type->hash == 0 ||
        !span_equal(name, (struct span){ type->name, type->len })) {
        type->hash = table_hash(ap->table, kind, name);
        type->len = name.len;
        memcpy(type->name, name.p, name.len);
    }
    return (struct key){ kind, name, type->hash };
}

int
appender_add_version(struct appender *ap, uint64_t version)
{
    if (ap->version_count == ap->version_capacity) {
        uint32_t capacity =
            ap->version_capacity == 0 ? 64 : ap->version_capacity * 2;
        uint64_t *versions =
            reallocarray(ap->versions, capacity, sizeof *versions);

        if (versions == NULL)
            return -ENOMEM;
        ap->versions = versions;
        ap->version_capacity = capacity;
    }
    ap->versions[ap->version_count++] = version;
    return 0;
}

/* ---- stamping ---------------------------------------------------------- */

/*
 * Moves a key of the open group on to the event at `address`, and computes
 * the event's link for it, if it has one.
 */
static int
extend_key(struct appender *ap, const struct key *key, uint64_t address,
           uint8_t tag, struct link *ret_link, struct overlay_entry **ret_entry,
           struct err *err)
{
    struct overlay *overlay = &ap->open->overlay;
    uint64_t newest = ADDRESS_NONE;
    struct link last;
    int found = overlay_find(overlay, key, &ap->source, ret_entry, err);
    int rc = found;

    if (found > 0)
        newest = (*ret_entry)->address;
    else if (found == 0)
        rc = appender_find_link(ap, key, &newest, &last, err);
    if (rc >= 0 && key->kind != KEY_TYPE)
        rc = found == 0 && rc > 0
            ? chain_extend_from(&ap->source, key, newest, &last, ret_link, err)
            : chain_extend(&ap->source, key, newest, ret_link, err);
    if (rc < 0)
        return rc;
    if (found == 0) {
        rc = overlay_add(overlay, key, address, newest, ret_entry);
        if (rc < 0)
            return err_sys(err, rc, "keys of the open group");
    }
    (*ret_entry)->address = address;
    (*ret_entry)->tag = tag;
    return 0;
}

static struct link_disk
link_encode(const struct link *link)
{
    return (struct link_disk){
        .ordinal = le64_of(link->ordinal),
        .prev = le64_of(link->prev),
        .jump = le64_of(link->jump),
    };
}

/* Notes the new version of a stream, once for each stream of the commit. */
static int
note_version(struct appender *ap, struct overlay_entry *entry, uint64_t version)
{
    if (entry->mark == ap->commit_serial) {
        ap->versions[entry->result] = version;
        return 0;
    }
    entry->mark = ap->commit_serial;
    entry->result = ap->version_count;
    return appender_add_version(ap, version);
}

/* Stamps the event that lies at `at` of the open group. */
static int
stamp_event(struct appender *ap, uint32_t at, uint32_t commit_at_byte,
            uint64_t position, uint64_t time_us, struct event *event,
            struct err *err)
{
    struct group_buf *group = ap->open;
    struct event_record *r = (struct event_record *)(group->data + at);
    uint8_t *links = group->data + at + sizeof *r;
    uint64_t address = group->address + at;
    struct overlay_entry *entry;
    struct link link = { 0 };
    struct link_disk disk;
    struct key key;
    int rc;

    if (event_view(group->data + at, group->len - at, event) < 0)
        return err_sys(err, -CAIRN_ERECORD, "event %u", at);
    r->position = le64_of(position);
    r->time_us = le64_of(time_us);
    r->commit_back = le32_of(at - commit_at_byte);

    key = appender_key(ap, KEY_STREAM, event->stream);
    rc = extend_key(ap, &key, address, 0, &link, &entry, err);
    if (rc < 0)
        return rc;
    r->stream_link = link_encode(&link);
    rc = note_version(ap, entry, link.ordinal);
    if (rc < 0)
        return err_sys(err, rc, "outcome");
    for (uint32_t i = 0; i < event->tag_count; i++) {
        key = appender_key(ap, KEY_TAG, event_tag_link(event, i).name);
        rc = extend_key(ap, &key, address, (uint8_t)i, &link, &entry, err);
        if (rc < 0)
            return rc;
        disk = link_encode(&link);
        memcpy(links + i * sizeof disk, &disk, sizeof disk);
    }
    key = appender_key(ap, KEY_TYPE, event->type);
    rc = extend_key(ap, &key, address, 0, &link, &entry, err);
    if (rc < 0)
        return rc;
    record_seal(group->data + at);
    group->data_bytes += event->meta.len + event->data.len;
    return 0;
}

/* Copies an accepted commit into the open group, which has room, stamped. */
static int
stamp_commit(struct appender *ap, const struct commit *commit, uint64_t now_us,
             struct append_result *result, struct err *err)
{
    struct group_buf *group = ap->open;
    uint32_t commit_at_byte = group->len;
    struct commit_record *r =
        (struct commit_record *)(group->data + commit_at_byte);
    uint64_t position = group->last_position + 1;
    uint64_t time_us = now_us != 0 ? now_us : sys_call(ap->sys, now_us);
    uint32_t at = commit_at_byte + (uint32_t)sizeof *r;
    int rc;

    if (time_us < ap->last_time_us)
        time_us = ap->last_time_us;
    memcpy(group->data + commit_at_byte, commit->record, commit->commit_len);
    group->len += commit->commit_len;
    ap->commit_serial++;
    for (uint32_t i = 0; i < commit->event_count; i++) {
        struct event event;

        rc = stamp_event(ap, at, commit_at_byte, position + i, time_us, &event,
                         err);
        if (rc < 0)
            return rc;
        at += event.record_len;
    }
    r->first_position = le64_of(position);
    r->time_us = le64_of(time_us);
    record_seal(group->data + commit_at_byte);
    rc = group_note_id(group, ap->id_print, commit_at_byte);
    if (rc < 0)
        return err_sys(err, rc, "command ids");

    group->commit_count++;
    group->last_position += commit->event_count;
    group->time_us = ap->last_time_us = time_us;
    result->first_position = position;
    result->last_position = group->last_position;
    result->time_us = time_us;
    result->group = group->number;
    return 0;
}

/* ---- deciding ---------------------------------------------------------- */

/* The newest group that is not settled, on whose fate a refusal may hang. */
static uint64_t
newest_pending(const struct appender *ap)
{
    if (ap->open->len > 0)
        return ap->open->number;
    return ap->closed != NULL ? ap->closed->number : 0;
}

uint64_t
appender_head(const struct appender *ap)
{
    if (ap->open->len > 0)
        return ap->open->last_position;
    return ap->closed != NULL ? ap->closed->last_position : ap->tail.position;
}

/* What would become of a command whose checks hold, and stores nothing. */
static int
foretell(struct appender *ap, const struct commit *commit,
         struct append_result *result, struct err *err)
{
    result->code = group_foresee(ap, commit);
    if (result->code != APPEND_ACCEPTED)
        return 0;
    result->group = newest_pending(ap);
    result->first_position = appender_head(ap) + 1;
    result->last_position = appender_head(ap) + commit->event_count;
    return repeats_foretell(ap, commit, err);
}

/* A command that is not a repeat: its checks, and then its events. */
static int
decide_new(struct appender *ap, const struct append_request *request,
           const struct commit *commit, struct append_result *result,
           struct err *err)
{
    int rc = checks_run(ap, request, result, err);

    if (rc < 0)
        return rc;
    if (result->code == APPEND_CONFLICT) {
        result->group = newest_pending(ap);
        control_count(ap->control, COUNT_CONFLICTS, !request->dry_run);
    }
    if (result->code != APPEND_ACCEPTED)
        return 0;
    if (request->dry_run)
        return foretell(ap, commit, result, err);
    result->code = group_reserve(ap, commit);
    return result->code == APPEND_ACCEPTED
        ? stamp_commit(ap, commit, request->time_us, result, err)
        : 0;
}

int
appender_append(struct appender *ap, const struct append_request *request,
                struct append_result *result, struct err *err)
{
    struct commit commit;
    uint64_t address;
    int rc =
        commit_check_unstamped(request->commit, request->commit_len, &commit);

    *result = (struct append_result){ .code = APPEND_ACCEPTED,
                                      .dry_run = request->dry_run };
    ap->version_count = ap->verdict_count = 0;
    ap->known.valid = false;
    ap->hint = request->hint;
    if (rc < 0)
        return err_set(err, rc, "not a well-formed commit");
    if (ap->failed)
        return err_set(err, -EIO, "log %s: something failed before", ap->dir);
    rc = repeats_find(ap, commit.command_id, &address, err);
    if (rc > 0) {
        rc = repeats_recall(ap, &commit, address, result, err);
        control_count(ap->control, COUNT_REPEATED,
                      result->repeated && !request->dry_run);
    } else if (rc == 0) {
        rc = decide_new(ap, request, &commit, result, err);
    }
    if (rc < 0) {
        ap->failed = true; /* what is in memory may be half done */
        return rc;
    }
    if (result->code == APPEND_GROUP_FULL || result->code == APPEND_NOT_READY)
        return 0;
    control_count(ap->control, COUNT_COMMANDS, 1);
    result->versions = ap->versions;
    result->version_count = ap->version_count;
    return 0;
}

/* ---- small questions --------------------------------------------------- */

struct evlog *
appender_log(struct appender *ap)
{
    return ap->log;
}

uint64_t
appender_watermark(const struct appender *ap)
{
    return ap->tail.position;
}

uint32_t
appender_open_commits(const struct appender *ap)
{
    return ap->open->commit_count;
}

uint32_t
appender_open_len(const struct appender *ap)
{
    return ap->open->len;
}

bool
appender_in_flight(const struct appender *ap)
{
    return ap->closed != NULL;
}

uint64_t
appender_settled_group(const struct appender *ap)
{
    return ap->tail.group;
}
