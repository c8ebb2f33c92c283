/* SPDX-License-Identifier: MPL-2.0 */
#include "store/tailscan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/* Read at a time past the page cache. */
#define PIECE_LEN (UINT64_C(1) << 20)

/* ---- walking ----------------------------------------------------------- */

bool
group_follows(const struct group_info *group, const struct tail *tail)
{
    return group->number == tail->group + 1 &&
        group->first_position == tail->position + 1 &&
        group->prev_crc == tail->crc && group->time_us >= tail->time_us;
}

static int
note_group(const uint8_t *data, const struct group_info *group, uint64_t offset,
           struct growing *growing, struct id_times *times)
{
    size_t at = sizeof(struct group_header);

    for (uint32_t i = 0; i < group->commit_count; i++) {
        struct commit commit;
        int rc = commit_decode(data + at, group->group_len - at, &commit);

        if (rc == 0 && growing != NULL)
            rc = growing_add(growing, &commit,
                             id_set_print(&growing->ids, commit.command_id),
                             offset + at);
        if (rc < 0)
            return rc;
        if (times != NULL)
            id_times_add(times, commit.command_id);
        at += commit.commit_len;
    }
    return 0;
}

int
scan_segment(struct evlog *log, uint64_t number, uint64_t stop,
             struct growing *growing, struct id_times *times,
             struct scan *ret_scan, struct err *err)
{
    struct segment *segment;
    struct scan scan = { 0 };
    uint64_t offset = SECTOR_LEN;
    int rc = evlog_segment(log, number, &segment, err);

    if (rc < 0)
        return rc;
    scan.tail = (struct tail){
        .position = segment->info.first_position - 1,
        .time_us = segment->info.prev_time_us,
        .group = segment->info.prev_group,
        .address = address_of(number, offset),
        .crc = segment->info.prev_crc,
    };
    scan.before = scan.tail;
    if (stop > segment->data_end)
        stop = segment->data_end;
    while (offset < stop) {
        const uint8_t *data = segment->data + offset;
        struct group_info group;

        if (group_decode(data, segment->data_end - offset, evlog_id(log),
                         address_of(number, offset), &group) < 0 ||
            !group_follows(&group, &scan.tail) ||
            group_check_body(data, &group) < 0)
            break;
        rc = note_group(data, &group, offset, growing, times);
        if (rc < 0)
            return err_sys(err, rc, "log %s", evlog_dir(log));
        scan.before = scan.tail;
        scan.last_offset = offset;
        scan.last_len = group.group_len;
        offset += group.group_len;
        scan.tail = (struct tail){
            .position = group.last_position,
            .time_us = group.time_us,
            .group = group.number,
            .address = address_of(number, offset),
            .crc = group.crc,
        };
    }
    *ret_scan = scan;
    return 0;
}

/* ---- judging ----------------------------------------------------------- */

int
read_uncached(const struct sys *sys, const char *path, uint64_t offset,
              size_t len, uint8_t *buf, struct err *err)
{
    uint64_t start = offset / SYS_UNCACHED_UNIT * SYS_UNCACHED_UNIT;
    size_t whole = (size_t)align_up(offset + len - start, SYS_UNCACHED_UNIT);
    uint8_t *aligned = aligned_alloc(SYS_UNCACHED_UNIT, whole);
    int64_t n = -ENOMEM;
    int fd = sys_call(sys, open, path, SYS_UNCACHED);

    if (fd >= 0 && aligned != NULL)
        n = sys_call(sys, read, fd, aligned, whole, start);
    if (fd >= 0)
        sys_call(sys, close, fd);
    else
        n = fd;
    if (n >= 0 && (uint64_t)n < offset + len - start)
        n = -EIO;
    if (n >= 0)
        memcpy(buf, aligned + (offset - start), len);
    free(aligned);
    return n < 0
        ? err_sys(err, (int)n, "cannot read %s at byte %" PRIu64, path, offset)
        : 0;
}

int
last_group_on_device(const struct sys *sys, const char *path,
                     const struct segment *segment, const struct scan *scan,
                     struct err *err)
{
    uint8_t *buf;
    bool same;
    int rc;

    if (scan->last_offset == 0)
        return 1;
    buf = malloc((size_t)scan->last_len);
    if (buf == NULL)
        return err_sys(err, -ENOMEM, "%s", path);
    rc = read_uncached(sys, path, scan->last_offset, (size_t)scan->last_len,
                       buf, err);
    same = rc == 0 &&
        memcmp(buf, segment->data + scan->last_offset,
               (size_t)scan->last_len) == 0;
    free(buf);
    return rc < 0 ? rc : same;
}

/* What is known while the tail is looked at, sector by sector. */
struct judge {
    uint64_t start;     /* offset of the first sector */
    uint64_t torn_end;  /* end of a group whose header is valid; or 0 */
    uint32_t own_zeros; /* zero sectors that group was written with */
    uint64_t zeros;     /* zero sectors seen before the last that is none */
    uint64_t run;       /* zero sectors since that one */
    uint64_t bad_end;
};

static void
judge_sector(struct judge *judge, const uint8_t *sector, uint64_t offset,
             const struct segment_info *info, const struct tail *tail,
             struct tail_report *report)
{
    uint64_t address = address_of(info->number, offset);
    struct group_info group;

    if (bytes_all_zero(sector, SECTOR_LEN)) {
        judge->run++;
        return;
    }
    judge->zeros += judge->run;
    judge->run = 0;
    judge->bad_end = offset + SECTOR_LEN;
    if (group_decode(sector, segment_data_end(info->segment_len) - offset,
                     info->log_id, address, &group) < 0)
        return;
    if (offset == judge->start && group_follows(&group, tail)) {
        judge->torn_end = offset + group.group_len;
        judge->own_zeros = group.zero_sectors;
    } else if (group.number > tail->group && report->next_group == 0) {
        report->next_group = group.number;
        report->next_offset = offset;
    }
}

static void
judge_verdict(const struct judge *judge, struct tail_report *report)
{
    uint64_t zeros = judge->zeros;

    report->bad_end = judge->bad_end;
    if (judge->bad_end == 0) {
        report->verdict = TAIL_CLEAN;
    } else if (report->next_group != 0) {
        report->verdict = TAIL_DAMAGED;
    } else if (judge->torn_end == 0) {
        report->verdict = zeros > 0 ? TAIL_TORN : TAIL_AMBIGUOUS;
    } else {
        /* The header says how long the group was to be and how many zero
         * sectors it had of its own: more than those are missing ones. */
        if (judge->bad_end < judge->torn_end)
            zeros += (judge->torn_end - judge->bad_end) / SECTOR_LEN;
        report->verdict =
            judge->bad_end <= judge->torn_end && zeros > judge->own_zeros
            ? TAIL_TORN
            : TAIL_AMBIGUOUS;
    }
}

int
judge_tail(const struct sys *sys, const char *path,
           const struct segment_info *info, const struct tail *tail,
           struct tail_report *ret_report, struct err *err)
{
    uint64_t end = segment_data_end(info->segment_len);
    struct judge judge = { .start = address_offset(tail->address) };
    struct tail_report report = { 0 };
    uint8_t *piece = malloc(PIECE_LEN);

    if (piece == NULL)
        return err_sys(err, -ENOMEM, "%s", path);
    for (uint64_t at = judge.start; at < end; at += PIECE_LEN) {
        size_t len = (size_t)(end - at < PIECE_LEN ? end - at : PIECE_LEN);
        int rc = read_uncached(sys, path, at, len, piece, err);

        if (rc < 0) {
            free(piece);
            return rc;
        }
        for (size_t i = 0; i < len; i += SECTOR_LEN)
            judge_sector(&judge, piece + i, at + i, info, tail, &report);
    }
    free(piece);
    judge_verdict(&judge, &report);
    *ret_report = report;
    return 0;
}
