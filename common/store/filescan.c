/* SPDX-License-Identifier: MPL-2.0 */
#include "store/filescan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Read at a time. */
#define PIECE_LEN (UINT64_C(1) << 20)

static int
damaged(const struct filescan *scan, uint64_t offset, struct err *err,
        const char *what)
{
    return err_set(err, -CAIRN_EDAMAGED, "segment %s, byte %" PRIu64 ": %s",
                   scan->path, offset, what);
}

static int
make_room(struct filescan *scan, size_t len, struct err *err)
{
    if (len <= scan->room)
        return 0;
    free(scan->buf);
    scan->len = 0;
    scan->buf = aligned_alloc(SYS_UNCACHED_UNIT, len);
    scan->room = scan->buf == NULL ? 0 : len;
    return scan->buf == NULL ? err_sys(err, -ENOMEM, "%s", scan->path) : 0;
}

/* Has [offset, offset + len), which the file holds, in memory. */
static int
load(struct filescan *scan, uint64_t offset, size_t len, const uint8_t **ret_p,
     struct err *err)
{
    uint64_t start = offset / SYS_UNCACHED_UNIT * SYS_UNCACHED_UNIT;
    uint64_t want = offset + len - start;
    int64_t n;
    int rc;

    if (offset < scan->start || offset + len > scan->start + scan->len) {
        if (want < PIECE_LEN)
            want = PIECE_LEN;
        if (want > scan->file_len - start)
            want = scan->file_len - start;
        want = align_up(want, SYS_UNCACHED_UNIT);
        rc = make_room(scan, (size_t)want, err);
        if (rc < 0)
            return rc;
        scan->len = 0;
        n = sys_call(scan->sys, read, scan->fd, scan->buf, (size_t)want, start);
        if (n >= 0 && (uint64_t)n < offset + len - start)
            n = -EIO;
        if (n < 0)
            return err_sys(err, (int)n, "cannot read %s at byte %" PRIu64,
                           scan->path, start);
        scan->start = start;
        scan->len = (size_t)n;
    }
    *ret_p = scan->buf + (offset - scan->start);
    return 0;
}

static int
read_header(struct filescan *scan, struct err *err)
{
    const uint8_t *p;
    int rc = sys_call(scan->sys, length, scan->fd, &scan->file_len);

    if (rc < 0)
        return err_sys(err, rc, "cannot tell the length of %s", scan->path);
    if (scan->file_len < SECTOR_LEN)
        return damaged(scan, 0, err, "the file is too short for a segment");
    rc = load(scan, 0, SECTOR_LEN, &p, err);
    if (rc < 0)
        return rc;
    memcpy(scan->header, p, SECTOR_LEN);
    rc = segment_header_decode(scan->header, scan->file_len, &scan->info, err);
    if (rc < 0)
        (void)err_wrap(err, "segment %s", scan->path); /* rc is the code */
    return rc;
}

static int
check_follows(const struct filescan *scan, struct uuid log_id, uint64_t number,
              const struct tail *before, struct err *err)
{
    const struct segment_info *info = &scan->info;

    if (!uuid_equal(info->log_id, log_id))
        return err_set(err, -CAIRN_EOTHERLOG,
                       "segment %s belongs to another log", scan->path);
    if (info->number != number ||
        info->first_position != before->position + 1 ||
        info->prev_group != before->group || info->prev_crc != before->crc ||
        info->prev_time_us != before->time_us)
        return damaged(scan, 0, err,
                       "the segment does not follow the one before it");
    return 0;
}

int
filescan_open(struct filescan *scan, const struct sys *sys, const char *path,
              struct uuid log_id, uint64_t number, const struct tail *before,
              struct err *err)
{
    int rc;

    *scan = (struct filescan){ .sys = sys };
    (void)snprintf(scan->path, sizeof scan->path, "%s", path);
    scan->fd = sys_call(sys, open, path, SYS_UNCACHED);
    if (scan->fd < 0)
        return err_sys(err, scan->fd, "cannot open %s", path);
    rc = read_header(scan, err);
    if (rc == 0 && before != NULL)
        rc = check_follows(scan, log_id, number, before, err);
    if (rc < 0) {
        filescan_close(scan);
        return rc;
    }
    scan->tail = (struct tail){
        .position = scan->info.first_position - 1,
        .time_us = scan->info.prev_time_us,
        .group = scan->info.prev_group,
        .address = address_of(scan->info.number, SECTOR_LEN),
        .crc = scan->info.prev_crc,
    };
    return 0;
}

void
filescan_close(struct filescan *scan)
{
    sys_call(scan->sys, close, scan->fd);
    free(scan->buf);
    scan->buf = NULL;
}

int
filescan_group(struct filescan *scan, struct group_info *ret_group,
               const uint8_t **ret_data, struct err *err)
{
    uint64_t offset = address_offset(scan->tail.address);
    uint64_t end = segment_data_end(scan->info.segment_len);
    struct group_info group;
    const uint8_t *p;
    int rc;

    if (offset == end)
        return 0;
    rc = load(scan, offset, SECTOR_LEN, &p, err);
    if (rc < 0)
        return rc;
    if (bytes_all_zero(p, sizeof(struct record_prefix)))
        return 0;
    if (group_decode(p, (size_t)(end - offset), scan->info.log_id,
                     scan->tail.address, &group) < 0 ||
        !group_follows(&group, &scan->tail))
        return damaged(scan, offset, err,
                       "damaged: no valid group, or one that does not follow "
                       "the one before it");
    rc = load(scan, offset, group.group_len, &p, err);
    if (rc < 0)
        return rc;
    if (group_check_body(p, &group) < 0)
        return damaged(scan, offset, err,
                       "damaged: checksum mismatch in the group that begins "
                       "here");
    scan->tail = (struct tail){
        .position = group.last_position,
        .time_us = group.time_us,
        .group = group.number,
        .address = scan->tail.address + group.group_len,
        .crc = group.crc,
    };
    *ret_group = group;
    *ret_data = p;
    return 1;
}

/* Whether [from, to) holds only zeros. */
static int
check_zeros(struct filescan *scan, uint64_t from, uint64_t to, struct err *err)
{
    while (from < to) {
        size_t len = (size_t)(to - from < PIECE_LEN ? to - from : PIECE_LEN);
        const uint8_t *p;
        int rc = load(scan, from, len, &p, err);

        if (rc < 0)
            return rc;
        if (!bytes_all_zero(p, len)) {
            while (*p == 0)
                p++, from++;
            return damaged(scan, from, err,
                           "bytes where the segment must hold only zeros");
        }
        from += len;
    }
    return 0;
}

int
filescan_rest(struct filescan *scan, struct segment_end *ret_end,
              const struct index_entry **ret_index, struct err *err)
{
    const struct tail *tail = &scan->tail;
    uint64_t foot = segment_data_end(scan->info.segment_len);
    size_t len = (size_t)(scan->file_len - foot), used;
    const uint8_t *p;
    int rc = check_zeros(scan, address_offset(tail->address), foot, err);

    if (rc == 0)
        rc = load(scan, foot, len, &p, err);
    if (rc < 0)
        return rc;
    if (bytes_all_zero(p, sizeof(struct segment_footer)))
        return check_zeros(scan, foot, scan->file_len, err);
    if (segment_footer_decode(p, len, &scan->info, ret_end, ret_index) < 0)
        return damaged(scan, foot, err, "damaged: no valid footer");
    if (ret_end->last_position != tail->position ||
        ret_end->last_crc != tail->crc || ret_end->last_group != tail->group ||
        ret_end->last_time_us != tail->time_us ||
        ret_end->data_end != address_offset(tail->address))
        return damaged(scan, foot, err,
                       "the footer does not fit the groups before it");
    used = sizeof(struct segment_footer) +
        ret_end->index_count * sizeof **ret_index;
    if (!bytes_all_zero(p + used, len - used))
        return damaged(scan, foot + used, err,
                       "bytes where the segment must hold only zeros");
    return 1;
}
