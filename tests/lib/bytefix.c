/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/bytefix.h"

#include <stdlib.h>

#include "base/crc32c.h"

/* Where the private headers of table.c and ids.c keep their checksums. */
#define TABLE_CRC_AT 508u
#define IDS_HEADER_LEN 64u
#define IDS_SLOT_COUNT_AT 32u
#define IDS_BODY_CRC_AT 56u
#define IDS_CRC_AT 60u
#define IDS_PAGE_LEN 4096u
#define IDS_SPANS_LEN 48u

static void
put_crc(uint8_t *at, uint32_t crc)
{
    struct le32 disk = le32_of(crc);

    memcpy(at, &disk, sizeof disk);
}

/* ---- making ------------------------------------------------------------ */

void
commit_stamp(uint8_t *commit, uint64_t first_position, uint64_t time_us)
{
    struct commit_record *c = (struct commit_record *)commit;
    uint32_t at = sizeof *c, len = le32_get(c->commit_len);
    uint64_t position = first_position;

    c->first_position = le64_of(first_position);
    c->time_us = le64_of(time_us);
    (void)reseal_record(commit, len);
    while (at < len) {
        struct event_record *e = (struct event_record *)(commit + at);

        e->position = le64_of(position++);
        e->stream_link.ordinal = le64_of(1);
        e->time_us = le64_of(time_us);
        e->commit_back = le32_of(at);
        at += reseal_record(commit + at, len - at);
    }
}

static void
header_make(uint8_t *data, struct uuid log_id, const struct group_info *g)
{
    struct group_header h = {
        .prefix.shape = record_shape(RECORD_GROUP, sizeof h),
        .log_id = log_id,
        .number = le64_of(g->number),
        .address = le64_of(g->address),
        .first_position = le64_of(g->first_position),
        .last_position = le64_of(g->last_position),
        .group_len = le32_of(g->group_len),
        .commit_count = le32_of(g->commit_count),
        .prev_crc = le32_of(g->prev_crc),
        .zero_sectors = le32_of(g->zero_sectors),
        .time_us = le64_of(g->time_us),
    };

    memcpy(data, &h, sizeof h);
}

uint8_t *
group_make(struct uuid log_id, struct group_info *group,
           const uint8_t *const *commits, const uint32_t *lens, uint32_t count)
{
    uint32_t at = sizeof(struct group_header), len = at;
    uint64_t position = group->first_position;
    uint8_t *data;

    for (uint32_t i = 0; i < count; i++)
        len += lens[i];
    group->group_len = (uint32_t)align_up(len, SECTOR_LEN);
    group->commit_count = count;
    data = calloc(1, group->group_len);
    for (uint32_t i = 0; i < count; i++) {
        struct commit_record *c = (struct commit_record *)(data + at);

        memcpy(c, commits[i], lens[i]);
        commit_stamp(data + at, position, group->time_us);
        position += le32_get(c->event_count);
        at += lens[i];
    }
    pad_encode(data + at, group->group_len - at);
    group->last_position = position - 1;
    group->zero_sectors =
        zero_sectors(data + SECTOR_LEN, group->group_len - SECTOR_LEN);
    header_make(data, log_id, group);
    (void)reseal_group(data, group->group_len);
    group->crc = le32_get(((struct group_header *)data)->prefix.crc);
    group->body_crc = le32_get(((struct group_header *)data)->body_crc);
    return data;
}

/* ---- checksums --------------------------------------------------------- */

static uint32_t
event_head_len(const struct event_record *e)
{
    return (uint32_t)(sizeof *e +
                      e->tag_count * (sizeof(struct link_disk) + 1) +
                      e->stream_len + e->type_len + e->content_type_len +
                      le16_get(e->tags_len));
}

uint32_t
reseal_record(uint8_t *data, size_t left)
{
    struct record_prefix *prefix = (struct record_prefix *)data;
    struct event_record *e = (struct event_record *)data;
    uint32_t len, covered;

    if (left < sizeof *prefix)
        return 0;
    len = covered = record_len(*prefix);
    if (len > left || len < sizeof *prefix)
        return 0;
    if (record_kind(*prefix) == RECORD_EVENT) {
        if (len < sizeof *e || event_head_len(e) > len)
            return 0;
        covered = event_head_len(e);
        put_crc(e->body_crc.b, crc32c(data + covered, len - covered));
    }
    put_crc(data, crc32c(data + 4, covered - 4));
    return len;
}

uint32_t
reseal_group(uint8_t *data, size_t left)
{
    struct group_header *h = (struct group_header *)data;
    uint32_t at = sizeof *h, len;

    if (left < sizeof *h)
        return 0;
    len = le32_get(h->group_len);
    if (len > left || len < sizeof *h)
        return 0;
    while (at < len) {
        uint32_t step = reseal_record(data + at, len - at);

        if (step == 0)
            break;
        at += step;
    }
    put_crc(h->body_crc.b, crc32c(data + sizeof *h, len - sizeof *h));
    return reseal_record(data, left) == sizeof *h ? len : 0;
}

void
reseal_segment_header(uint8_t *data, size_t left)
{
    struct segment_header *h = (struct segment_header *)data;

    if (left >= sizeof *h)
        put_crc(h->crc.b, crc32c(data, offsetof(struct segment_header, crc)));
}

void
reseal_footer(uint8_t *data, size_t left)
{
    struct segment_footer *f = (struct segment_footer *)data;
    size_t index_len;
    uint32_t crc;

    if (left < sizeof *f)
        return;
    index_len = le32_get(f->index_count) * sizeof(struct index_entry);
    if (index_len > left - sizeof *f)
        return;
    crc = crc32c(data, offsetof(struct segment_footer, crc));
    put_crc(f->crc.b, crc32c_more(crc, data + sizeof *f, index_len));
}

void
reseal_segment(uint8_t *data, size_t len)
{
    struct segment_header *header = (struct segment_header *)data;
    size_t at = SECTOR_LEN, end;
    struct le32 prev_crc;

    if (len < SEGMENT_LEN_MIN)
        return;
    end = (size_t)segment_data_end(len);
    prev_crc = header->prev_crc;
    while (at < end) {
        struct group_header *h = (struct group_header *)(data + at);
        uint32_t step;

        if (end - at < sizeof *h || bytes_all_zero(data + at, RECORD_UNIT))
            break;
        h->prev_crc = prev_crc;
        step = reseal_group(data + at, end - at);
        if (step < SECTOR_LEN)
            break;
        prev_crc = h->prefix.crc;
        at += step;
    }
    reseal_segment_header(data, len);
    if (!bytes_all_zero(data + end, SECTOR_LEN)) {
        struct segment_footer *f = (struct segment_footer *)(data + end);

        f->last_crc = prev_crc;
        reseal_footer(data + end, len - end);
    }
}

void
reseal_table(uint8_t *data, size_t left)
{
    for (size_t at = 0; at < 3 * SECTOR_LEN && left - at >= SECTOR_LEN;
         at += SECTOR_LEN)
        put_crc(data + at + TABLE_CRC_AT, crc32c(data + at, TABLE_CRC_AT));
}

void
reseal_ids(uint8_t *data, size_t left)
{
    struct le32 slot_count;
    size_t slots_len, pages, from = IDS_HEADER_LEN;

    if (left < IDS_HEADER_LEN)
        return;
    memcpy(&slot_count, data + IDS_SLOT_COUNT_AT, sizeof slot_count);
    slots_len = (size_t)le32_get(slot_count) * 8;
    pages = (slots_len + IDS_PAGE_LEN - 1) / IDS_PAGE_LEN;
    if (left == IDS_HEADER_LEN + slots_len + IDS_SPANS_LEN + 4 * pages) {
        from = IDS_HEADER_LEN + slots_len;
        for (size_t i = 0; i < pages; i++) {
            size_t at = i * IDS_PAGE_LEN, len = slots_len - at;

            put_crc(data + from + IDS_SPANS_LEN + 4 * i,
                    crc32c(data + IDS_HEADER_LEN + at,
                           len < IDS_PAGE_LEN ? len : IDS_PAGE_LEN));
        }
    }
    put_crc(data + IDS_BODY_CRC_AT, crc32c(data + from, left - from));
    put_crc(data + IDS_CRC_AT, crc32c(data, IDS_CRC_AT));
}
