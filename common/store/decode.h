/* SPDX-License-Identifier: MPL-2.0 */
/*
 * decode - the insides of record.h's decoder, to be expanded where records are
 * walked over by the million.  Nothing here reads a checksum.
 */
#ifndef CAIRN_STORE_DECODE_H
#define CAIRN_STORE_DECODE_H

#include <stdbool.h>

#include "base/err.h"
#include "store/record.h"

/* Bounds only.  A group header and a commit record have one length each. */
static inline bool
shape_valid(uint32_t kind, uint32_t len)
{
    switch (kind) {
    case RECORD_EVENT:
        return len >= sizeof(struct event_record);
    case RECORD_COMMIT:
        return len == sizeof(struct commit_record);
    case RECORD_GROUP:
        return len == sizeof(struct group_header);
    case RECORD_PAD:
        return len >= sizeof(struct record_prefix) && len < SECTOR_LEN;
    default:
        return false;
    }
}

/* The same for what stands at `data`. */
static inline int
shape_decode(const uint8_t *data, size_t left, uint32_t *ret_kind,
             uint32_t *ret_len)
{
    struct record_prefix prefix;
    uint32_t kind, len;

    if (left < sizeof prefix)
        return -CAIRN_ERECORD;
    memcpy(&prefix, data, sizeof prefix);
    kind = record_kind(prefix);
    len = record_len(prefix);
    if (len > left || !shape_valid(kind, len))
        return -CAIRN_ERECORD;
    *ret_kind = kind;
    *ret_len = len;
    return 0;
}

/* Bytes of an event before its meta; its fixed part is inside its length. */
static inline uint64_t
event_head_len(const struct event_record *r)
{
    return sizeof *r + r->tag_count * (sizeof(struct link_disk) + 1) +
        (uint64_t)r->stream_len + r->type_len + r->content_type_len +
        le16_get(r->tags_len);
}

/* Whether the lengths of the tags are as long as they say together. */
static inline bool
tag_lens_valid(const uint8_t *lens, uint32_t count, uint32_t tags_len)
{
    uint32_t sum = 0;

    if (count > TAGS_MAX)
        return false;
    for (uint32_t i = 0; i < count; i++)
        sum += lens[i];
    return sum == tags_len;
}

/*
 * Decodes a record of `len` bytes that shape_decode() has called an event.
 * Each part of the text begins where the one before ends; the last one must
 * end where the record does.
 */
static inline int
event_fields(const uint8_t *data, uint32_t len, struct event *ret_event)
{
    const struct event_record *r = (const struct event_record *)data;
    struct event *e = ret_event;
    /* Their lengths in two words: what fits into registers stays there. */
    uint64_t texts, bodies;
    const char *text;
    uint32_t tag_count, tags_len;

    memcpy(&texts, &r->stream_len, sizeof texts);
    memcpy(&bodies, &r->data_len, sizeof bodies);
    tag_count = texts >> 24 & 0xff;
    tags_len = texts >> 32 & 0xffff;
    if (align_up(event_head_len(r) + (bodies >> 32) + (uint32_t)bodies,
                 RECORD_UNIT) != len)
        return -CAIRN_ERECORD;
    text = (const char *)data + sizeof *r;
    if (tag_count + tags_len > 0) {
        text += tag_count * sizeof(struct link_disk);
        if (!tag_lens_valid((const uint8_t *)text, tag_count, tags_len))
            return -CAIRN_ERECORD;
        text += tag_count;
    }
    e->record = data;
    e->record_len = len;
    e->tag_count = tag_count;
    e->position = le64_get(r->position);
    e->version = le64_get(r->stream_link.ordinal);
    e->time_us = le64_get(r->time_us);
    e->commit_back = le32_get(r->commit_back);
    e->schema = le32_get(r->schema);
    e->stream = (struct span){ text, texts & 0xff };
    text += texts & 0xff;
    e->type = (struct span){ text, texts >> 8 & 0xff };
    text += texts >> 8 & 0xff;
    e->content_type = (struct span){ text, texts >> 16 & 0xff };
    text += (texts >> 16 & 0xff) + tags_len;
    e->meta = (struct span){ text, (uint32_t)(bodies >> 32) };
    text += bodies >> 32;
    e->data = (struct span){ text, (uint32_t)bodies };
    return 0;
}

#endif
