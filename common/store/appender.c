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

static int
commit_at(struct appender *ap, uint64_t address, struct commit *ret_commit,
          struct err *err)
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

/* The newest event of a key: 1 and its address, or 0. */
static int
find_newest(struct appender *ap, const struct key *key, uint64_t *ret_address,
            struct err *err)
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
    return table_find(ap->table, key, &ap->source, ret_address, err);
}

static struct key
key_of(const struct appender *ap, enum key_kind kind, struct span name)
{
    return (struct key){ kind, name, table_hash(ap->table, kind, name) };
}

/* ---- idempotency ------------------------------------------------------- */

/* Looks for an id in a set of offsets into the segment of `base`. */
static int
find_id_in(struct appender *ap, const struct id_set *set, uint64_t base,
           struct uuid id, uint64_t *ret_address, struct err *err)
{
    uint32_t probe = 0, offset;

    while (id_set_candidate(set, id, &probe, &offset)) {
        struct commit commit;
        uint64_t address = address_of(address_segment(base), offset);
        int rc = commit_at(ap, address, &commit, err);

        if (rc < 0)
            return rc;
        if (uuid_equal(commit.command_id, id)) {
            *ret_address = address;
            return 1;
        }
    }
    return 0;
}

/* The commit that a command id has become, durable or not: 1, or 0. */
static int
find_id(struct appender *ap, struct uuid id, uint64_t *ret_address,
        struct err *err)
{
    const struct group_buf *both[2] = { ap->open, ap->closed };
    uint64_t last = ap->active.info.number - 1;
    int rc;

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

/* Whether two events say the same, whatever the writer stamped on them. */
static bool
same_content(const struct event *a, const struct event *b)
{
    const struct event_record *ra = (const void *)a->record;
    const struct event_record *rb = (const void *)b->record;
    size_t text_at = sizeof *ra + a->tag_count * sizeof(struct link_disk);

    return a->record_len == b->record_len && a->tag_count == b->tag_count &&
        a->schema == b->schema && uuid_equal(a->id, b->id) &&
        uuid_equal(a->correlation_id, b->correlation_id) &&
        uuid_equal(a->causation_id, b->causation_id) &&
        a->stream.len == b->stream.len && a->type.len == b->type.len &&
        a->content_type.len == b->content_type.len &&
        a->meta.len == b->meta.len && a->data.len == b->data.len &&
        memcmp((const uint8_t *)ra + text_at, (const uint8_t *)rb + text_at,
               a->record_len - text_at) == 0;
}

static int
add_version(struct appender *ap, uint64_t version)
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

/* Notes the version of the stream of a stored event, for its outcome. */
static int
recall_version(struct appender *ap, const struct event *event, uint64_t address,
               struct err *err)
{
    struct key key = key_of(ap, KEY_STREAM, event->stream);
    struct overlay_entry *entry;
    int rc = overlay_find(&ap->scratch, &key, &ap->source, &entry, err);

    if (rc == 0) {
        rc = overlay_add(&ap->scratch, &key, address, false, &entry);
        if (rc == 0) {
            entry->result = ap->version_count;
            rc = add_version(ap, event->version);
        }
        if (rc < 0)
            (void)err_sys(err, rc, "outcome");
    } else if (rc > 0) {
        ap->versions[entry->result] = event->version;
        rc = 0;
    }
    return rc;
}

/* The number of the group in memory that holds an address; 0: durable. */
static uint64_t
pending_group(const struct appender *ap, uint64_t address)
{
    const struct group_buf *group = group_holding(ap, address);

    return group == NULL ? 0 : group->number;
}

/*
 * Fills in the outcome of the commit at `address` for the same command sent
 * again as `sent`, or says that its content is another.
 */
static int
recall(struct appender *ap, const struct commit *sent, uint64_t address,
       struct append_result *result, struct err *err)
{
    const uint8_t *sent_at = sent->record + sizeof(struct commit_record);
    struct commit stored;
    uint64_t at = address + sizeof(struct commit_record);
    int rc = commit_at(ap, address, &stored, err);

    if (rc < 0)
        return rc;
    result->group = pending_group(ap, address);
    result->code = APPEND_OTHER_CONTENT;
    if (stored.event_count != sent->event_count ||
        stored.commit_len != sent->commit_len)
        return 0;
    overlay_clear(&ap->scratch);
    for (uint32_t i = 0; i < stored.event_count; i++) {
        struct event event, again;

        rc = appender_event_at(ap, at, &event, err);
        if (rc < 0)
            return rc;
        if (event_view(sent_at, RECORD_LEN_MAX, &again) < 0 ||
            !same_content(&event, &again)) {
            ap->version_count = 0; /* there is no outcome to tell */
            return 0;
        }
        rc = recall_version(ap, &event, at, err);
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

/* ---- checks ------------------------------------------------------------ */

static bool
check_passes(const struct append_check *check, uint64_t actual)
{
    switch (check->kind) {
    case EXPECT_NONE:
        return actual == 0;
    case EXPECT_EXISTS:
        return actual > 0;
    case EXPECT_EXACT:
        return actual == check->version;
    case EXPECT_ANY:
    default:
        return true;
    }
}

static int
add_failure(struct appender *ap, struct append_failure failure)
{
    if (ap->failure_count == ap->failure_capacity) {
        uint32_t capacity =
            ap->failure_capacity == 0 ? 16 : ap->failure_capacity * 2;
        struct append_failure *failures =
            reallocarray(ap->failures, capacity, sizeof *failures);

        if (failures == NULL)
            return -ENOMEM;
        ap->failures = failures;
        ap->failure_capacity = capacity;
    }
    ap->failures[ap->failure_count++] = failure;
    return 0;
}

/* Notes every check that fails. */
static int
run_checks(struct appender *ap, const struct append_check *checks,
           uint32_t check_count, struct err *err)
{
    for (uint32_t i = 0; i < check_count; i++) {
        struct key key;
        struct event event = { .version = 0 };
        uint64_t address;
        int rc;

        if (checks[i].kind == EXPECT_ANY)
            continue;
        key = key_of(ap, KEY_STREAM, checks[i].stream);
        rc = find_newest(ap, &key, &address, err);
        if (rc > 0)
            rc = appender_event_at(ap, address, &event, err);
        if (rc == 0 && !check_passes(&checks[i], event.version)) {
            rc = add_failure(ap, (struct append_failure){ i, event.version });
            if (rc < 0)
                (void)err_sys(err, rc, "checks");
        }
        if (rc < 0)
            return rc;
    }
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
    int found = overlay_find(overlay, key, &ap->source, ret_entry, err);
    int rc = found;

    if (found > 0)
        newest = (*ret_entry)->address;
    else if (found == 0)
        rc = find_newest(ap, key, &newest, err);
    if (rc < 0)
        return rc;
    if (key->kind != KEY_TYPE) {
        rc = chain_extend(&ap->source, key, newest, ret_link, err);
        if (rc < 0)
            return rc;
    }
    if (found == 0) {
        rc = overlay_add(overlay, key, address, newest == ADDRESS_NONE,
                         ret_entry);
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
    return add_version(ap, version);
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

    key = key_of(ap, KEY_STREAM, event->stream);
    rc = extend_key(ap, &key, address, 0, &link, &entry, err);
    if (rc < 0)
        return rc;
    r->stream_link = link_encode(&link);
    rc = note_version(ap, entry, link.ordinal);
    if (rc < 0)
        return err_sys(err, rc, "outcome");
    for (uint32_t i = 0; i < event->tag_count; i++) {
        key = key_of(ap, KEY_TAG, event_tag_link(event, i).name);
        rc = extend_key(ap, &key, address, (uint8_t)i, &link, &entry, err);
        if (rc < 0)
            return rc;
        disk = link_encode(&link);
        memcpy(links + i * sizeof disk, &disk, sizeof disk);
    }
    key = key_of(ap, KEY_TYPE, event->type);
    rc = extend_key(ap, &key, address, 0, &link, &entry, err);
    if (rc < 0)
        return rc;
    record_seal(group->data + at);
    group->data_bytes += event->meta.len + event->data.len;
    return 0;
}

/* Copies an accepted commit into the open group, which has room, stamped. */
static int
stamp_commit(struct appender *ap, const struct commit *commit,
             struct append_result *result, struct err *err)
{
    struct group_buf *group = ap->open;
    uint32_t commit_at_byte = group->len;
    struct commit_record *r =
        (struct commit_record *)(group->data + commit_at_byte);
    uint64_t position = group->last_position + 1;
    uint64_t time_us = sys_call(ap->sys, now_us);
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
    rc = id_set_add(&group->ids, commit->command_id,
                    (uint32_t)address_offset(group->address) + commit_at_byte);
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

/* The newest group that is not settled, on whose fate a refusal may hang. */
static uint64_t
newest_pending(const struct appender *ap)
{
    if (ap->open->len > 0)
        return ap->open->number;
    return ap->closed != NULL ? ap->closed->number : 0;
}

int
appender_append(struct appender *ap, const uint8_t *data, uint32_t len,
                const struct append_check *checks, uint32_t check_count,
                struct append_result *result, struct err *err)
{
    struct commit commit;
    uint64_t address;
    int rc = commit_check_unstamped(data, len, &commit);

    *result = (struct append_result){ .code = APPEND_ACCEPTED };
    ap->version_count = ap->failure_count = 0;
    if (rc < 0)
        return err_set(err, rc, "not a well-formed commit");
    if (ap->failed)
        return err_set(err, -EIO, "log %s: something failed before", ap->dir);
    rc = find_id(ap, commit.command_id, &address, err);
    if (rc < 0)
        goto fail;
    if (rc > 0) {
        rc = recall(ap, &commit, address, result, err);
        if (rc < 0)
            goto fail;
        control_count(ap->control, COUNT_REPEATED, result->repeated);
        goto done;
    }
    rc = run_checks(ap, checks, check_count, err);
    if (rc < 0)
        goto fail;
    if (ap->failure_count > 0) {
        control_count(ap->control, COUNT_CONFLICTS, 1);
        result->code = APPEND_CONFLICT;
        result->group = newest_pending(ap);
        result->failures = ap->failures;
        result->failure_count = ap->failure_count;
        goto done;
    }
    result->code = group_reserve(ap, &commit);
    if (result->code == APPEND_GROUP_FULL || result->code == APPEND_NOT_READY)
        return 0;
    if (result->code == APPEND_ACCEPTED) {
        rc = stamp_commit(ap, &commit, result, err);
        if (rc < 0)
            goto fail;
    }
done:
    control_count(ap->control, COUNT_COMMANDS, 1);
    result->versions = ap->versions;
    result->version_count = ap->version_count;
    return 0;

fail:
    ap->failed = true; /* what is in memory may be half done */
    return rc;
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
