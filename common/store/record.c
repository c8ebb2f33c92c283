/* SPDX-License-Identifier: MPL-2.0 */
#include "store/record.h"

#include <stdbool.h>

#include "base/crc32c.h"
#include "base/err.h"
#include "store/bug.h"
#include "store/decode.h"

/* What the checksum of the prefix covers, from byte 4 on; 0: malformed. */
static uint32_t
covered_len(const uint8_t *data, uint32_t kind, uint32_t len)
{
    uint64_t head_len;

    if (kind != RECORD_EVENT)
        return len;
    head_len = event_head_len((const struct event_record *)data);
    return head_len <= len ? (uint32_t)head_len : 0;
}

static uint32_t
record_crc(const uint8_t *data, uint32_t covered)
{
    return crc32c(data + sizeof(struct le32), covered - sizeof(struct le32));
}

/* Of a record whose shape has been checked. */
static int
crc_check(const uint8_t *data, uint32_t kind, uint32_t len)
{
    uint32_t covered = covered_len(data, kind, len);
    struct le32 crc;

    memcpy(&crc, data, sizeof crc);
    return covered != 0 && le32_get(crc) == record_crc(data, covered)
        ? 0
        : -CAIRN_ERECORD;
}

int
record_check(const uint8_t *data, size_t left, enum record_kind *ret_kind,
             uint32_t *ret_len)
{
    uint32_t kind, len;
    int rc = shape_decode(data, left, &kind, &len);

    if (rc == 0)
        rc = crc_check(data, kind, len);
    if (rc < 0)
        return rc;
    *ret_kind = (enum record_kind)kind;
    *ret_len = len;
    return 0;
}

void
record_seal(uint8_t *data)
{
    struct record_prefix prefix;

    memcpy(&prefix, data, sizeof prefix);
    prefix.crc = le32_of(record_crc(
        data, covered_len(data, record_kind(prefix), record_len(prefix))));
    memcpy(data, &prefix, sizeof prefix);
}

/* ---- events ------------------------------------------------------------ */

static const struct event_record *
as_event(const struct event *event)
{
    return (const struct event_record *)event->record;
}

static const uint8_t *
tag_links(const struct event *event)
{
    return event->record + sizeof(struct event_record);
}

static const uint8_t *
tag_lens(const struct event *event)
{
    return tag_links(event) + event->tag_count * sizeof(struct link_disk);
}

int
event_view(const uint8_t *data, size_t left, struct event *ret_event)
{
    uint32_t kind, len;
    int rc = shape_decode(data, left, &kind, &len);

    if (rc < 0)
        return rc;
    return kind == RECORD_EVENT ? event_fields(data, len, ret_event)
                                : -CAIRN_ERECORD;
}

int
event_decode(const uint8_t *data, size_t left, struct event *ret_event)
{
    enum record_kind kind;
    uint32_t len;
    int rc = record_check(data, left, &kind, &len);

    return rc < 0 ? rc : event_view(data, left, ret_event);
}

int
event_check_body(const struct event *event)
{
    const uint8_t *body = (const uint8_t *)event->meta.p;
    size_t body_len = event->record_len - (size_t)(body - event->record);

    return crc32c(body, body_len) == le32_get(as_event(event)->body_crc)
        ? 0
        : -CAIRN_ERECORD;
}

int
event_decode_whole(const uint8_t *data, size_t left, struct event *ret_event)
{
    int rc = event_decode(data, left, ret_event);

    return rc < 0 ? rc : event_check_body(ret_event);
}

struct link
event_stream_link(const struct event *event)
{
    const struct event_record *r = as_event(event);

    return (struct link){
        .name = event->stream,
        .ordinal = event->version,
        .prev = le64_get(r->stream_link.prev),
        .jump = le64_get(r->stream_link.jump),
    };
}

struct link
event_tag_link(const struct event *event, uint32_t index)
{
    const uint8_t *lens = tag_lens(event);
    const char *text = event->content_type.p + event->content_type.len;
    struct link_disk disk;

    memcpy(&disk, tag_links(event) + index * sizeof disk, sizeof disk);
    for (uint32_t i = 0; i < index; i++)
        text += lens[i];
    return (struct link){
        .name = { text, lens[index] },
        .ordinal = le64_get(disk.ordinal),
        .prev = le64_get(disk.prev),
        .jump = le64_get(disk.jump),
    };
}

int
event_find_tag(const struct event *event, struct span name,
               struct link *ret_link)
{
    for (uint32_t i = 0; i < event->tag_count; i++) {
        struct link link = event_tag_link(event, i);

        if (span_equal(link.name, name)) {
            *ret_link = link;
            return 1;
        }
    }
    return 0;
}

/* ---- commits ----------------------------------------------------------- */

static int
commit_view(const uint8_t *data, size_t left, struct commit *ret_commit)
{
    const struct commit_record *r = (const struct commit_record *)data;
    struct commit c;
    uint32_t kind, len;
    int rc = shape_decode(data, left, &kind, &len);

    if (rc < 0)
        return rc;
    if (kind != RECORD_COMMIT)
        return -CAIRN_ERECORD;
    c.record = data;
    c.commit_len = le32_get(r->commit_len);
    c.first_position = le64_get(r->first_position);
    c.time_us = le64_get(r->time_us);
    c.command_id = r->command_id;
    c.event_count = le32_get(r->event_count);
    c.key_max = 0;
    if (c.event_count == 0 || c.commit_len > left ||
        c.commit_len % RECORD_UNIT != 0 ||
        c.commit_len <
            sizeof *r + (uint64_t)c.event_count * sizeof(struct event_record))
        return -CAIRN_ERECORD;
    *ret_commit = c;
    return 0;
}

int
commit_decode(const uint8_t *data, size_t left, struct commit *ret_commit)
{
    enum record_kind kind;
    uint32_t len;
    int rc = record_check(data, left, &kind, &len);

    return rc < 0 ? rc : commit_view(data, left, ret_commit);
}

/* Whether a tag is empty, or there twice. */
static bool
tags_faulty(const struct event *event)
{
    const uint8_t *lens = tag_lens(event);
    const char *text = event->content_type.p + event->content_type.len;
    struct span tags[TAGS_MAX];

    for (uint32_t i = 0; i < event->tag_count; i++) {
        tags[i] = (struct span){ text, lens[i] };
        if (lens[i] == 0)
            return true;
        for (uint32_t j = 0; j < i; j++)
            if (span_equal(tags[i], tags[j]))
                return true;
        text += lens[i];
    }
    return false;
}

/* What the writer takes over as it is, and could not take back. */
static int
unstamped_check(const struct event *event)
{
    const struct event_record *r = as_event(event);

    if (event->stream.len == 0 || event->type.len == 0 || tags_faulty(event) ||
        le16_get(r->reserved1) != 0 || le32_get(r->reserved2) != 0)
        return -CAIRN_ERECORD;
    return event_check_body(event);
}

int
commit_check_unstamped(const uint8_t *data, size_t len,
                       struct commit *ret_commit)
{
    const struct commit_record *r = (const struct commit_record *)data;
    struct commit c;
    struct event e;
    size_t at = sizeof *r;
    int rc = commit_view(data, len, &c);

    if (rc < 0)
        return rc;
    if (c.commit_len != len || !bytes_all_zero(r->reserved, sizeof r->reserved))
        return -CAIRN_ERECORD;
    for (uint32_t i = 0; i < c.event_count; i++) {
        rc = event_view(data + at, len - at, &e);
        if (rc == 0)
            rc = unstamped_check(&e);
        if (rc < 0)
            return rc;
        c.key_max += 2 + e.tag_count; /* its stream and its type */
        at += e.record_len;
    }
    if (at != len)
        return -CAIRN_ERECORD;
    *ret_commit = c;
    return 0;
}

/* ---- groups ------------------------------------------------------------ */

int
group_decode(const uint8_t *data, size_t left, struct uuid log_id,
             uint64_t address, struct group_info *ret_group)
{
    const struct group_header *h = (const struct group_header *)data;
    struct group_info g;
    uint32_t kind, len;
    int rc = shape_decode(data, left, &kind, &len);

    /* The kind comes before the checksum: a caller may have no more than the
     * header in its hands, and that of an event reaches further. */
    if (rc == 0 && kind != RECORD_GROUP)
        rc = -CAIRN_ERECORD;
    if (rc == 0)
        rc = crc_check(data, kind, len);
    if (rc < 0)
        return rc;
    if (!uuid_equal(h->log_id, log_id))
        return -CAIRN_EOTHERLOG;
    g.number = le64_get(h->number);
    g.address = le64_get(h->address);
    g.first_position = le64_get(h->first_position);
    g.last_position = le64_get(h->last_position);
    g.time_us = le64_get(h->time_us);
    g.group_len = le32_get(h->group_len);
    g.commit_count = le32_get(h->commit_count);
    g.body_crc = le32_get(h->body_crc);
    g.prev_crc = le32_get(h->prev_crc);
    g.zero_sectors = le32_get(h->zero_sectors);
    g.crc = le32_get(h->prefix.crc);
    if (g.address != address || g.group_len % SECTOR_LEN != 0 ||
        g.group_len < SECTOR_LEN || g.group_len > left || g.commit_count == 0 ||
        g.first_position == 0 || g.last_position < g.first_position)
        return -CAIRN_ERECORD;
    *ret_group = g;
    return 0;
}

/* Checks one commit and its events; moves *at behind it. */
static int
group_check_commit(const uint8_t *data, const struct group_info *group,
                   size_t *at, uint64_t *position, uint64_t *time_us)
{
    struct commit c;
    size_t end;
    int rc = commit_decode(data + *at, group->group_len - *at, &c);

    if (rc < 0)
        return rc;
    if (c.first_position != *position || c.time_us < *time_us)
        return -CAIRN_ERECORD;
    end = *at + c.commit_len;
    *at += sizeof(struct commit_record);
    *time_us = c.time_us;
    for (uint32_t i = 0; i < c.event_count; i++) {
        struct event e;

        rc = event_decode_whole(data + *at, end - *at, &e);
        if (rc < 0)
            return rc;
        if (e.position != *position || e.time_us != c.time_us ||
            e.version == 0 || e.record != c.record + e.commit_back)
            return -CAIRN_ERECORD;
        ++*position;
        *at += e.record_len;
    }
    return *at == end ? 0 : -CAIRN_ERECORD;
}

int
group_check_body(const uint8_t *data, const struct group_info *group)
{
    size_t at = sizeof(struct group_header);
    uint64_t position = group->first_position, time_us = 0;
    int rc;

    if (BUG(CHECKSUM_NOT_CHECKED))
        return 0;
    if (crc32c(data + at, group->group_len - at) != group->body_crc)
        return -CAIRN_ERECORD;
    for (uint32_t i = 0; i < group->commit_count; i++) {
        rc = group_check_commit(data, group, &at, &position, &time_us);
        if (rc < 0)
            return rc;
    }
    if (at < group->group_len) {
        enum record_kind kind;
        uint32_t len;

        rc = record_check(data + at, group->group_len - at, &kind, &len);
        if (rc < 0)
            return rc;
        if (kind != RECORD_PAD)
            return -CAIRN_ERECORD;
        at += len;
    }
    if (at != group->group_len || position != group->last_position + 1 ||
        time_us != group->time_us)
        return -CAIRN_ERECORD;
    return 0;
}

uint32_t
zero_sectors(const uint8_t *data, size_t len)
{
    uint32_t count = 0;

    for (size_t at = 0; at + SECTOR_LEN <= len; at += SECTOR_LEN)
        count += (uint32_t)bytes_all_zero(data + at, SECTOR_LEN);
    return count;
}

/* ---- encoding ---------------------------------------------------------- */

void
group_encode(uint8_t *data, struct uuid log_id, struct group_info *group)
{
    const size_t head = sizeof(struct group_header);
    struct group_header h = {
        .prefix.shape = record_shape(RECORD_GROUP, sizeof h),
        .log_id = log_id,
        .number = le64_of(group->number),
        .address = le64_of(group->address),
        .first_position = le64_of(group->first_position),
        .last_position = le64_of(group->last_position),
        .group_len = le32_of(group->group_len),
        .commit_count = le32_of(group->commit_count),
        .prev_crc = le32_of(group->prev_crc),
        .time_us = le64_of(group->time_us),
    };

    group->body_crc = crc32c(data + head, group->group_len - head);
    /* The first sector has the header, so it is none of them. */
    group->zero_sectors =
        zero_sectors(data + SECTOR_LEN, group->group_len - SECTOR_LEN);
    h.body_crc = le32_of(group->body_crc);
    h.zero_sectors = le32_of(group->zero_sectors);
    memcpy(data, &h, sizeof h);
    record_seal(data);
    memcpy(&h, data, sizeof h);
    group->crc = le32_get(h.prefix.crc);
}

uint64_t
event_text_len(const struct event_shape *shape)
{
    return (uint64_t)shape->tag_count + shape->stream_len + shape->type_len +
        shape->content_type_len + shape->tags_len + shape->meta_len +
        shape->data_len;
}

uint64_t
event_record_len(const struct event_shape *shape)
{
    return align_up(sizeof(struct event_record) +
                        shape->tag_count * sizeof(struct link_disk) +
                        event_text_len(shape),
                    RECORD_UNIT);
}

void
event_encode(uint8_t *out, const struct event_shape *shape, const uint8_t *text)
{
    uint32_t len = (uint32_t)event_record_len(shape);
    size_t links_len = shape->tag_count * sizeof(struct link_disk);
    size_t text_len = (size_t)event_text_len(shape);
    uint8_t *text_out = out + sizeof(struct event_record) + links_len;
    uint8_t *body = text_out + text_len - shape->meta_len - shape->data_len;
    struct event_record r = {
        .prefix.shape = record_shape(RECORD_EVENT, len),
        .id = shape->id,
        .correlation_id = shape->correlation_id,
        .causation_id = shape->causation_id,
        .data_len = le32_of(shape->data_len),
        .meta_len = le32_of(shape->meta_len),
        .schema = le32_of(shape->schema),
        .stream_len = shape->stream_len,
        .type_len = shape->type_len,
        .content_type_len = shape->content_type_len,
        .tag_count = shape->tag_count,
        .tags_len = le16_of(shape->tags_len),
    };

    memset(out + sizeof r, 0, links_len);
    memcpy(text_out, text, text_len);
    memset(text_out + text_len, 0, (size_t)(out + len - text_out) - text_len);
    r.body_crc = le32_of(crc32c(body, (size_t)(out + len - body)));
    memcpy(out, &r, sizeof r);
}

void
commit_encode(uint8_t *out, struct uuid command_id, uint32_t event_count,
              uint32_t commit_len)
{
    struct commit_record r = {
        .prefix.shape = record_shape(RECORD_COMMIT, sizeof r),
        .command_id = command_id,
        .event_count = le32_of(event_count),
        .commit_len = le32_of(commit_len),
    };

    memcpy(out, &r, sizeof r);
}

void
pad_encode(uint8_t *out, uint32_t len)
{
    struct record_prefix prefix = { .shape = record_shape(RECORD_PAD, len) };

    if (len == 0)
        return;
    memset(out, 0, len);
    memcpy(out, &prefix, sizeof prefix);
    record_seal(out);
}
