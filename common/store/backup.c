/* SPDX-License-Identifier: MPL-2.0 */
#include "store/backup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "store/bug.h"
#include "store/durable.h"
#include "store/filescan.h"

#define BACKUP_TMP "backup.tmp"
#define PIECE_LEN ((size_t)1 << 20) /* written at a time */

/* One segment as it shall stand in the backup. */
struct picture {
    struct segment *segment; /* of the log; borrowed */
    struct tail end;         /* its last group; address 0: not known */
    bool sealed;
    struct segment_footer footer;
    const struct index_entry *index; /* borrowed */
    uint32_t index_count;
    struct growing made; /* owns the index of a footer that we make */
};

struct backup {
    const struct sys *sys;
    const char *dir; /* of the backup */
    const struct backup_events *events;
    struct backup_report *report;
    struct evlog *log;
    struct tail end;     /* of the log, as far as it is durable */
    struct evlog *there; /* the backup as it was; NULL: nothing was there */
    struct tail there_end;
    int lock_fd;
    bool has_segments, has_table, has_tmp, has_marker;
    bool *wanted; /* by number: to be copied */
    uint64_t done_bytes, all_bytes;
};

/* ---- what is there ----------------------------------------------------- */

static int
look_at_file(void *arg, const char *name)
{
    struct backup *b = arg;
    uint64_t number;

    if (segment_name_parse(name, &number))
        b->has_segments = true;
    if (strncmp(name, "table.", 6) == 0)
        b->has_table = true;
    b->has_tmp = b->has_tmp || strcmp(name, BACKUP_TMP) == 0;
    b->has_marker = b->has_marker || strcmp(name, RESTORE_MARKER) == 0;
    return 0;
}

static int
remove_tmp(struct backup *b)
{
    char path[PATH_LEN_MAX];
    int rc = store_path(path, b->dir, BACKUP_TMP);

    return rc < 0 ? rc : sys_call(b->sys, remove, path);
}

/* Makes the directory if need be, takes its lock, and looks around. */
static int
enter_directory(struct backup *b, struct err *err)
{
    int rc = store_make_dir(b->sys, b->dir);

    if (rc < 0)
        return err_sys(err, rc, "backup %s: cannot make the directory", b->dir);
    rc = b->lock_fd = store_lock(b->sys, b->dir, SYS_KEEP);
    if (rc == -CAIRN_ELOCKED)
        return err_set(err, rc,
                       "backup %s: another backup into it is running, or a "
                       "writer has it open",
                       b->dir);
    if (rc < 0)
        return err_sys(err, rc, "backup %s: cannot lock", b->dir);
    rc = sys_call(b->sys, list, b->dir, look_at_file, b);
    /* It may have been left without permission to write. */
    if (rc == 0 && b->has_tmp)
        rc = remove_tmp(b);
    /* An earlier run may have ended between a rename and its sync. */
    if (rc == 0)
        rc = sys_call(b->sys, sync_dir, b->dir);
    if (rc < 0)
        return err_sys(err, rc, "backup %s: cannot look through the directory",
                       b->dir);
    if (b->has_marker)
        return restore_unfinished(b->dir, err);
    if (b->has_table)
        return err_set(err, -CAIRN_EOTHERLOG,
                       "backup %s: a writer has worked in this directory: it "
                       "is a log, and no backup any more; name another one",
                       b->dir);
    return 0;
}

/*
 * Whether the log goes on from the end of the backup: its group there has the
 * same checksum.  The chain of checksums then says that all before is the
 * same, too.
 */
static int
check_same_log(struct backup *b, const struct scan *there, struct err *err)
{
    uint64_t number = address_segment(there->tail.address);
    const struct tail *at = &there->tail;
    struct group_info group = { 0 };
    struct segment *segment;
    const uint8_t *p;
    size_t left;
    int rc;

    if (at->position > b->end.position)
        return err_set(err, -CAIRN_EOTHERLOG,
                       "backup %s: it ends at position %" PRIu64 ", but the "
                       "log %s only at %" PRIu64 ": keep this backup, for it "
                       "has what the log has lost, and name another directory",
                       b->dir, at->position, evlog_dir(b->log),
                       b->end.position);
    if (there->last_offset > 0) {
        uint64_t address = address_of(number, there->last_offset);

        rc = evlog_bytes_at(b->log, address, &p, &left, err);
        if (rc == 0 &&
            group_decode(p, left, evlog_id(b->log), address, &group) == 0 &&
            group.crc == at->crc)
            return 0;
    } else {
        rc = evlog_segment(b->log, number, &segment, err);
        if (rc == 0 && segment->info.prev_crc == at->crc)
            return 0;
    }
    return rc < 0 && rc != -CAIRN_EDAMAGED /* the place is not there */
        ? rc
        : err_set(err, -CAIRN_EOTHERLOG,
                  "backup %s: at position %" PRIu64 " it holds something "
                  "else than the log %s: one of them was continued from a "
                  "copy; name another directory",
                  b->dir, at->position, evlog_dir(b->log));
}

static int
open_backup(struct backup *b, struct err *err)
{
    struct scan scan;
    int rc;

    if (!b->has_segments)
        return 0;
    rc = evlog_open(b->sys, b->dir, &b->there, err);
    if (rc < 0) {
        (void)err_wrap(err, "backup"); /* rc is the code */
        return rc;
    }
    if (!uuid_equal(evlog_id(b->there), evlog_id(b->log)))
        return err_set(err, -CAIRN_EOTHERLOG,
                       "backup %s: it is the backup of another log than %s: "
                       "name another directory",
                       b->dir, evlog_dir(b->log));
    rc = scan_segment(b->there, evlog_segment_count(b->there), UINT64_MAX, NULL,
                      NULL, &scan, err);
    if (rc == 0)
        rc = check_same_log(b, &scan, err);
    b->there_end = scan.tail;
    return rc;
}

/* ---- what it shall be -------------------------------------------------- */

static int
damaged(struct backup *b, const struct segment *segment,
        const struct tail *tail, struct err *err)
{
    return err_set(err, -CAIRN_EDAMAGED,
                   "log %s: segment %020" PRIu64 SEGMENT_SUFFIX
                   ", byte %" PRIu64 ": damaged from position %" PRIu64
                   " on: nothing from there on is copied; cairn log verify "
                   "says more",
                   evlog_dir(b->log), segment->info.first_position,
                   address_offset(tail->address), tail->position + 1);
}

/* The footer of a segment that the writer has left, but not sealed yet. */
static int
make_footer(struct backup *b, struct picture *p, struct err *err)
{
    uint64_t number = p->segment->info.number;
    struct scan scan;
    struct segment_end end;
    int rc;

    id_set_init(&p->made.ids, NULL);
    rc = scan_segment(b->log, number, UINT64_MAX, &p->made, NULL, &scan, err);
    if (rc < 0)
        return rc;
    if (scan.tail.position + 1 != evlog_segment_first(b->log, number + 1))
        return damaged(b, p->segment, &scan.tail, err);
    end = (struct segment_end){
        .last_position = scan.tail.position,
        .last_group = scan.tail.group,
        .last_time_us = scan.tail.time_us,
        .data_end = (uint32_t)address_offset(scan.tail.address),
        .last_crc = scan.tail.crc,
        .index_count = p->made.index.count,
        .commit_count = p->made.commit_count,
    };
    p->footer =
        segment_footer_encode(&p->segment->info, &end, p->made.index.entries);
    p->index = p->made.index.entries;
    p->index_count = p->made.index.count;
    p->end = scan.tail;
    return 0;
}

/* Borrows a segment, which stays mapped until picture_free(). */
static int
picture_take(struct backup *b, uint64_t number, struct picture *ret_picture,
             struct err *err)
{
    struct picture p = { .made.fd = -1 };
    int rc = evlog_segment(b->log, number, &p.segment, err);

    if (rc < 0)
        return rc;
    segment_look_for_footer(p.segment);
    p.sealed = p.segment->sealed || number < address_segment(b->end.address);
    if (!p.sealed) {
        p.end = b->end;
    } else if (p.segment->sealed) {
        const struct segment_end *end = &p.segment->end;

        memcpy(&p.footer, p.segment->data + p.segment->data_end,
               sizeof p.footer);
        p.index = p.segment->index;
        p.index_count = end->index_count;
        p.end =
            (struct tail){ end->last_position, end->last_time_us,
                           end->last_group, address_of(number, end->data_end),
                           end->last_crc };
    } else {
        rc = make_footer(b, &p, err);
    }
    if (rc < 0) {
        growing_free(b->sys, &p.made);
        return rc;
    }
    /* It may have been sealed since we asked for the durable end. */
    if (p.end.position > b->end.position)
        b->end = p.end;
    (void)segment_ref(p.segment);
    *ret_picture = p;
    return 0;
}

static void
picture_free(struct backup *b, struct picture *p)
{
    growing_free(b->sys, &p->made);
    segment_unref(&p->segment);
}

/* Bytes that are written for it; what is behind them is zero by itself. */
static uint64_t
picture_len(const struct picture *p)
{
    return address_offset(p->end.address) +
        (p->sealed ? sizeof p->footer + p->index_count * sizeof *p->index : 0);
}

/* Whether the backup has the segment as it shall be. */
static int
has_it(struct backup *b, const struct picture *p, bool *ret_same,
       struct err *err)
{
    uint64_t number = p->segment->info.number;
    struct segment *there;
    int rc;

    *ret_same = false;
    if (b->there == NULL || number > evlog_segment_count(b->there))
        return 0;
    rc = evlog_segment(b->there, number, &there, err);
    if (rc == -CAIRN_EDAMAGED)
        return 0; /* what is no good is made again */
    if (rc < 0)
        return rc;
    *ret_same = there->sealed == p->sealed &&
        memcmp(there->data, p->segment->data, SECTOR_LEN) == 0;
    if (*ret_same && p->sealed)
        *ret_same = memcmp(there->data + there->data_end, &p->footer,
                           sizeof p->footer) == 0;
    else if (*ret_same)
        *ret_same = b->there_end.address == p->end.address &&
            b->there_end.crc == p->end.crc &&
            number == evlog_segment_count(b->there);
    return 0;
}

static int
find_work(struct backup *b, struct err *err)
{
    uint64_t count = address_segment(b->end.address);

    b->wanted = calloc(count + 1, sizeof *b->wanted);
    if (b->wanted == NULL)
        return err_sys(err, -ENOMEM, "backup %s", b->dir);
    for (uint64_t n = 1; n <= count; n++) {
        struct picture p;
        bool same;
        int rc = picture_take(b, n, &p, err);

        if (rc == 0) {
            rc = has_it(b, &p, &same, err);
            b->wanted[n] = !same;
            b->all_bytes += same ? 0 : picture_len(&p);
            picture_free(b, &p);
        }
        if (rc < 0)
            return rc;
    }
    b->report->segments = count;
    return 0;
}

/* ---- copying ----------------------------------------------------------- */

static int
tell_progress(struct backup *b, uint64_t more, uint64_t position,
              struct err *err)
{
    b->done_bytes += more;
    if (b->events->progress == NULL ||
        b->events->progress(b->events->arg, b->done_bytes, b->all_bytes,
                            position) == 0)
        return 0;
    return err_set(err, -ECANCELED,
                   "stopped; backup %s is whole up to where it has come, and "
                   "the next run goes on from there",
                   b->dir);
}

/* Checks every byte of the log that is about to be copied. */
static int
check_source(struct backup *b, const struct picture *p, struct err *err)
{
    uint64_t number = p->segment->info.number;
    struct scan scan;
    int rc = scan_segment(b->log, number, address_offset(p->end.address), NULL,
                          NULL, &scan, err);

    if (rc < 0)
        return rc;
    if (scan.tail.address != p->end.address || scan.tail.crc != p->end.crc ||
        scan.tail.position != p->end.position)
        return damaged(b, p->segment, &scan.tail, err);
    return 0;
}

static int
write_picture(struct backup *b, const struct picture *p, int fd,
              const char *path, struct err *err)
{
    const struct segment *segment = p->segment;
    uint64_t end = address_offset(p->end.address);
    int rc = sys_call(b->sys, allocate, fd, segment->info.segment_len);

    for (uint64_t at = 0; rc == 0 && at < end;) {
        size_t len = end - at < PIECE_LEN ? (size_t)(end - at) : PIECE_LEN;

        rc = sys_call(b->sys, write, fd, segment->data + at, len, at);
        at += len;
        if (rc == 0 &&
            tell_progress(b, len, segment->info.first_position, err) < 0)
            return -ECANCELED;
    }
    if (rc == 0 && p->sealed)
        rc = sys_call(b->sys, write, fd, p->index,
                      p->index_count * sizeof *p->index,
                      segment->data_end + sizeof p->footer);
    if (rc == 0 && p->sealed)
        rc = sys_call(b->sys, write, fd, &p->footer, sizeof p->footer,
                      segment->data_end);
    if (rc == 0)
        rc = sys_call(b->sys, sync, fd);
    if (rc == -ENOSPC || rc == -EDQUOT)
        return err_sys(err, rc,
                       "backup %s: there is no room for a segment of %" PRIu64
                       " bytes; what was there before still is a whole backup",
                       b->dir, segment->info.segment_len);
    return rc < 0 ? err_sys(err, rc, "cannot write %s", path) : 0;
}

/* Reads back from the device what was written, and checks all of it. */
static int
check_copy(struct backup *b, const struct picture *p, const char *path,
           struct err *err)
{
    const struct segment_info *info = &p->segment->info;
    struct tail before = {
        .position = info->first_position - 1,
        .time_us = info->prev_time_us,
        .group = info->prev_group,
        .crc = info->prev_crc,
    };
    const struct index_entry *index;
    struct segment_end end;
    struct filescan scan;
    struct group_info group;
    const uint8_t *data;
    int rc = filescan_open(&scan, b->sys, path, evlog_id(b->log), info->number,
                           &before, err);

    if (rc < 0)
        return rc;
    do {
        rc = filescan_group(&scan, &group, &data, err);
    } while (rc > 0);
    if (rc == 0)
        rc = filescan_rest(&scan, &end, &index, err);
    if (rc >= 0 &&
        (rc != p->sealed || scan.tail.address != p->end.address ||
         scan.tail.crc != p->end.crc ||
         memcmp(scan.header, p->segment->data, SECTOR_LEN) != 0))
        rc = err_set(err, -CAIRN_EDAMAGED,
                     "%s: what was written is not what the device gives back",
                     path);
    filescan_close(&scan);
    return rc < 0 ? rc : 0;
}

static int
copy_segment(struct backup *b, const struct picture *p, struct err *err)
{
    char from[PATH_LEN_MAX], to[PATH_LEN_MAX];
    int fd, rc = check_source(b, p, err);

    if (rc < 0)
        return rc;
    rc = store_path(from, b->dir, BACKUP_TMP);
    if (rc == 0)
        rc = segment_path(to, b->dir, p->segment->info.first_position);
    fd = rc < 0 ? rc : sys_call(b->sys, open, from, SYS_CREATE);
    if (fd < 0)
        return err_sys(err, fd, "backup %s: cannot make " BACKUP_TMP, b->dir);
    rc = write_picture(b, p, fd, from, err);
    if (rc == 0)
        rc = check_copy(b, p, from, err);
    if (rc == 0) {
        rc = p->sealed ? sys_call(b->sys, protect, fd) : 0;
        if (rc == 0)
            rc = sys_call(b->sys, rename, from, to);
        if (rc == 0 && !BUG(BACKUP_NO_DIRECTORY_SYNC))
            rc = sys_call(b->sys, sync_dir, b->dir);
        if (rc < 0)
            (void)err_sys(err, rc, "cannot make %s durable", to);
    }
    sys_call(b->sys, close, fd);
    if (rc < 0)
        (void)remove_tmp(b); /* the next run does it, then */
    return rc;
}

static int
copy_all(struct backup *b, struct err *err)
{
    int rc = 0;

    for (uint64_t n = 1; rc == 0 && n <= b->report->segments; n++) {
        struct picture p;

        if (!b->wanted[n])
            continue;
        rc = picture_take(b, n, &p, err);
        if (rc < 0)
            break;
        rc = copy_segment(b, &p, err);
        if (rc == 0) {
            b->report->copied++;
            b->report->copied_bytes += picture_len(&p);
        }
        picture_free(b, &p);
    }
    return rc;
}

int
log_backup(const struct sys *sys, const char *dir, const char *backup_dir,
           const char *control_path, const struct backup_events *events,
           struct backup_report *ret_report, struct err *err)
{
    struct backup b = {
        .sys = sys,
        .dir = backup_dir,
        .events = events,
        .report = ret_report,
        .lock_fd = -1,
    };
    int rc = evlog_open(sys, dir, &b.log, err);

    *ret_report = (struct backup_report){ 0 };
    if (rc == 0)
        rc = durable_end(b.log, control_path, &b.end, err);
    if (rc == 0)
        rc = enter_directory(&b, err);
    if (rc == 0)
        rc = open_backup(&b, err);
    if (rc == 0)
        rc = find_work(&b, err);
    if (rc == 0)
        rc = copy_all(&b, err);
    if (rc == 0) {
        ret_report->log_id = evlog_id(b.log);
        ret_report->last_position = b.end.position;
        ret_report->last_time_us = b.end.position > 0 ? b.end.time_us : 0;
    }
    free(b.wanted);
    evlog_close(&b.there);
    evlog_close(&b.log);
    if (b.lock_fd >= 0)
        sys_call(sys, close, b.lock_fd);
    return rc;
}

int
log_durable_end(const struct sys *sys, const char *dir,
                const char *control_path, uint64_t *ret_position,
                struct err *err)
{
    struct evlog *log;
    struct tail end;
    int rc = evlog_open(sys, dir, &log, err);

    if (rc < 0)
        return rc;
    rc = durable_end(log, control_path, &end, err);
    evlog_close(&log);
    if (rc == 0)
        *ret_position = end.position;
    return rc;
}
