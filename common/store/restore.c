/* SPDX-License-Identifier: MPL-2.0 */
/*
 * restore - the part of backup.h that makes a log of a backup.
 *
 * Addresses, positions, versions, times and links stay; the log id is new, and
 * with it the checksums of headers, from one to the next.  So a commit is a
 * copy, byte for byte, and a group is one unless the end cuts it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "store/backup.h"
#include "store/filescan.h"

struct restore {
    const struct sys *sys;
    const char *dir;
    const struct restore_to *to;
    const struct backup_events *events;
    struct backup_report *report;
    struct evlog *from;
    struct uuid id;            /* of the log that is made */
    int from_lock_fd, lock_fd; /* -1: not held */
    bool is_ours;              /* the directory holds our marker */
    bool is_at_end;            /* what was asked for is there */
    struct tail in, out;       /* of the backup, of the log that is made */
    struct segment_info info;
    int fd; /* of the segment that is being written; -1: none */
    uint8_t *group;
    size_t room;
    uint64_t done_bytes;
};

/* ---- the directory ----------------------------------------------------- */

/* What is in it; the first name that does not belong there. */
struct look {
    bool has_marker;
    uint32_t count; /* of segments and unfinished files */
    char other[256];
};

static bool
is_segment_file(const char *name)
{
    uint64_t number;

    return segment_name_parse(name, &number) ||
        strcmp(name, SEGMENT_PREPARED) == 0;
}

static int
look_at_file(void *arg, const char *name)
{
    struct look *look = arg;

    if (strcmp(name, RESTORE_MARKER) == 0)
        look->has_marker = true;
    else if (is_segment_file(name))
        look->count++;
    else if (strcmp(name, LOCK_NAME) != 0 && strcmp(name, "lost+found") != 0 &&
             look->other[0] == '\0')
        (void)snprintf(look->other, sizeof look->other, "%s", name);
    return 0;
}

static int
remove_segment_file(void *arg, const char *name)
{
    struct restore *r = arg;
    char path[PATH_LEN_MAX];
    int rc;

    if (!is_segment_file(name))
        return 0;
    rc = store_path(path, r->dir, name);
    return rc < 0 ? rc : sys_call(r->sys, remove, path);
}

/* Takes what is there of our own work away, and the marker last. */
static int
clear_directory(struct restore *r)
{
    char path[PATH_LEN_MAX];
    int rc = store_path(path, r->dir, RESTORE_MARKER);

    if (rc == 0)
        rc = sys_call(r->sys, list, r->dir, remove_segment_file, r);
    if (rc == 0)
        rc = sys_call(r->sys, sync_dir, r->dir);
    if (rc == 0)
        rc = sys_call(r->sys, remove, path);
    if (rc == 0)
        rc = sys_call(r->sys, sync_dir, r->dir);
    return rc;
}

static int
check_empty(struct restore *r, struct err *err)
{
    struct look look = { .count = 0 };
    int rc = sys_call(r->sys, list, r->dir, look_at_file, &look);

    if (rc < 0)
        return err_sys(err, rc, "log %s: cannot look through the directory",
                       r->dir);
    if (look.other[0] == '\0' && look.count > 0 && !look.has_marker)
        (void)snprintf(look.other, sizeof look.other, "segments of a log");
    if (look.other[0] != '\0')
        return err_set(err, -ENOTEMPTY,
                       "log %s: the directory is not empty (%s): a log is "
                       "restored into an empty or a new directory only",
                       r->dir, look.other);
    /* An earlier restore has not finished: begin again. */
    rc = look.has_marker ? clear_directory(r) : 0;
    return rc < 0 ? err_sys(err, rc,
                            "log %s: cannot remove what an unfinished restore "
                            "has left",
                            r->dir)
                  : 0;
}

/* From here on, and until the marker has gone, nobody takes it for a log. */
static int
put_marker(struct restore *r, struct err *err)
{
    static const char text[] =
        "A log is being restored into this directory; it is not complete.\n";
    char path[PATH_LEN_MAX];
    int rc = store_path(path, r->dir, RESTORE_MARKER);
    int fd = rc < 0 ? rc : sys_call(r->sys, open, path, SYS_CREATE);

    rc = fd < 0
        ? fd
        : sys_call(r->sys, write, fd, text, sizeof text - 1, UINT64_C(0));
    if (rc == 0)
        rc = sys_call(r->sys, sync, fd);
    if (fd >= 0)
        sys_call(r->sys, close, fd);
    r->is_ours = fd >= 0;
    if (rc == 0)
        rc = sys_call(r->sys, sync_dir, r->dir);
    return rc < 0
        ? err_sys(err, rc, "log %s: cannot mark the directory", r->dir)
        : 0;
}

static int
enter_directory(struct restore *r, struct err *err)
{
    int rc = store_make_dir(r->sys, r->dir);

    if (rc < 0)
        return err_sys(err, rc, "log %s: cannot make the directory", r->dir);
    /* Before a lock is put there: what is not ours is left as it is. */
    if (rc > 0) {
        struct look look = { .count = 0 };

        rc = sys_call(r->sys, list, r->dir, look_at_file, &look);
        if (rc == 0 && look.other[0] != '\0')
            return check_empty(r, err);
    }
    rc = r->lock_fd = store_lock(r->sys, r->dir, SYS_KEEP);
    if (rc == -CAIRN_ELOCKED)
        return err_set(err, rc,
                       "log %s: a writer, or another restore, has the "
                       "directory",
                       r->dir);
    if (rc < 0)
        return err_sys(err, rc, "log %s: cannot lock", r->dir);
    rc = check_empty(r, err);
    return rc < 0 ? rc : put_marker(r, err);
}

/* ---- where it ends ----------------------------------------------------- */

static bool
is_wanted(const struct restore *r, uint64_t last_position, uint64_t time_us)
{
    switch (r->to->kind) {
    case RESTORE_TO_POSITION:
        return last_position <= r->to->value;
    case RESTORE_TO_TIME:
        return time_us <= r->to->value;
    case RESTORE_ALL:
    default:
        return true;
    }
}

/*
 * Leaves in r->group the commits of a whole, checked group that are wanted,
 * and in *group what is true of them; false if there are none.
 */
static bool
cut_group(struct restore *r, struct group_info *group)
{
    size_t at = sizeof(struct group_header);
    struct group_info kept = *group;

    kept.commit_count = 0;
    kept.last_position = group->first_position - 1;
    for (uint32_t i = 0; i < group->commit_count; i++) {
        struct commit commit;

        if (commit_decode(r->group + at, group->group_len - at, &commit) < 0)
            break; /* it was checked just before */
        if (!is_wanted(r, commit.first_position + commit.event_count - 1,
                       commit.time_us))
            break;
        at += commit.commit_len;
        kept.commit_count++;
        kept.last_position = commit.first_position + commit.event_count - 1;
        kept.time_us = commit.time_us;
    }
    r->is_at_end = kept.commit_count < group->commit_count;
    if (r->is_at_end) {
        kept.group_len = (uint32_t)align_up(at, SECTOR_LEN);
        pad_encode(r->group + at, kept.group_len - (uint32_t)at);
    }
    *group = kept;
    return kept.commit_count > 0;
}

/* ---- writing ----------------------------------------------------------- */

/* Begins the segment that the one of the backup becomes. */
static int
begin_segment(struct restore *r, const struct segment_info *from,
              struct err *err)
{
    int rc = segment_check_writable(from, err);

    r->info = *from;
    r->info.log_id = r->id;
    r->info.prev_crc = r->out.crc;
    if (rc == 0)
        rc = segment_prepare(r->sys, r->dir, r->info.segment_len, err);
    if (rc == 0)
        rc = segment_begin(r->sys, r->dir, &r->info, &r->fd, err);
    if (rc == 0)
        r->report->segments++;
    return rc;
}

static int
write_group(struct restore *r, struct group_info *group, struct err *err)
{
    int rc;

    group->prev_crc = r->out.crc;
    group_encode(r->group, r->id, group);
    rc = sys_call(r->sys, write, r->fd, r->group, group->group_len,
                  address_offset(group->address));
    if (rc < 0)
        return err_sys(err, rc, "log %s: cannot write segment number %" PRIu64,
                       r->dir, r->info.number);
    r->out = (struct tail){
        .position = group->last_position,
        .time_us = group->time_us,
        .group = group->number,
        .address = group->address + group->group_len,
        .crc = group->crc,
    };
    r->report->copied_bytes += group->group_len;
    return 0;
}

static int
take_group(struct restore *r, const struct filescan *scan,
           const struct group_info *info, const uint8_t *data, struct err *err)
{
    struct group_info group = *info;
    int rc = 0;

    if (info->group_len > r->room) {
        free(r->group);
        r->room = info->group_len;
        r->group = malloc(r->room);
        if (r->group == NULL)
            return err_sys(err, -ENOMEM, "log %s", r->dir);
    }
    memcpy(r->group, data, info->group_len);
    if (!cut_group(r, &group))
        return 0;
    if (r->fd < 0)
        rc = begin_segment(r, &scan->info, err);
    if (rc == 0)
        rc = write_group(r, &group, err);
    r->done_bytes += info->group_len;
    if (rc == 0 && r->events->progress != NULL &&
        r->events->progress(r->events->arg, r->done_bytes,
                            evlog_segment_count(r->from) *
                                scan->info.segment_len,
                            r->out.position) != 0)
        rc = err_set(err, -ECANCELED, "stopped; %s is empty again", r->dir);
    return rc;
}

/* Makes the segment durable; seals it if all of it is there. */
static int
finish_segment(struct restore *r, struct filescan *scan, struct err *err)
{
    const struct index_entry *index;
    struct segment_end end;
    int rc = 0, sealed = 0;

    if (!r->is_at_end)
        sealed = filescan_rest(scan, &end, &index, err);
    if (sealed < 0)
        return sealed;
    if (sealed == 0 && !r->is_at_end &&
        scan->info.number < evlog_segment_count(r->from))
        return err_set(err, -CAIRN_EDAMAGED,
                       "segment %s, byte %" PRIu64 ": damaged: no footer, but "
                       "other segments follow",
                       scan->path, segment_data_end(scan->info.segment_len));
    if (r->fd < 0)
        return 0;
    if (sealed > 0) {
        end.last_crc = r->out.crc;
        rc = segment_seal(r->sys, r->fd, &r->info, &end, index);
    } else {
        rc = sys_call(r->sys, sync, r->fd);
    }
    sys_call(r->sys, close, r->fd);
    r->fd = -1;
    return rc < 0
        ? err_sys(err, rc,
                  "log %s: cannot make segment number %" PRIu64 " durable",
                  r->dir, r->info.number)
        : 0;
}

/* Reads back from the device the segment that follows `before`. */
static int
check_written(struct restore *r, const struct tail *before, struct err *err)
{
    char path[PATH_LEN_MAX];
    const struct index_entry *index;
    struct segment_end end;
    struct filescan scan;
    struct group_info group;
    const uint8_t *data;
    int rc = segment_path(path, r->dir, r->info.first_position);

    if (rc < 0)
        return err_sys(err, rc, "log %s", r->dir);
    rc = filescan_open(&scan, r->sys, path, r->id, r->info.number, before, err);
    if (rc < 0)
        return rc;
    do {
        rc = filescan_group(&scan, &group, &data, err);
    } while (rc > 0);
    if (rc == 0)
        rc = filescan_rest(&scan, &end, &index, err);
    if (rc >= 0 &&
        (scan.tail.position != r->out.position || scan.tail.crc != r->out.crc))
        rc = err_set(err, -CAIRN_EDAMAGED,
                     "%s: what was written is not what the device gives back",
                     path);
    filescan_close(&scan);
    return rc < 0 ? rc : 0;
}

static int
restore_segment(struct restore *r, uint64_t number, struct err *err)
{
    struct tail before = r->out;
    uint64_t made = r->report->segments;
    char path[PATH_LEN_MAX];
    struct filescan scan;
    struct group_info group;
    const uint8_t *data;
    int rc = segment_path(path, evlog_dir(r->from),
                          evlog_segment_first(r->from, number));

    if (rc < 0)
        return err_sys(err, rc, "backup %s", evlog_dir(r->from));
    rc = filescan_open(&scan, r->sys, path, evlog_id(r->from), number, &r->in,
                       err);
    if (rc < 0)
        return rc;
    /* An empty log has one segment, and nothing in it. */
    if (number == 1 && r->to->kind == RESTORE_ALL)
        rc = begin_segment(r, &scan.info, err);
    while (rc == 0 && !r->is_at_end &&
           (rc = filescan_group(&scan, &group, &data, err)) > 0)
        rc = take_group(r, &scan, &group, data, err);
    if (rc == 0)
        rc = finish_segment(r, &scan, err);
    r->in = scan.tail;
    filescan_close(&scan);
    if (rc == 0 && r->report->segments > made)
        rc = check_written(r, &before, err);
    return rc;
}

/* ---- all of it --------------------------------------------------------- */

/* Opens the backup, and keeps others from changing it. */
static int
open_backup(struct restore *r, const char *dir, struct err *err)
{
    int rc = evlog_open(r->sys, dir, &r->from, err);

    if (rc < 0) {
        (void)err_wrap(err, "backup"); /* rc is the code */
        return rc;
    }
    r->from_lock_fd = store_lock(r->sys, dir, SYS_READ);
    if (r->from_lock_fd == -CAIRN_ELOCKED)
        return err_set(err, -CAIRN_ELOCKED,
                       "backup %s: a backup into it is running, or a writer "
                       "has it open: wait until that has ended",
                       dir);
    if (r->from_lock_fd < 0 && r->from_lock_fd != -ENOENT)
        return err_sys(err, r->from_lock_fd, "backup %s: cannot lock", dir);
    return 0;
}

static int
restore_all(struct restore *r, struct err *err)
{
    char path[PATH_LEN_MAX];
    int rc = store_path(path, r->dir, RESTORE_MARKER);

    for (uint64_t n = 1;
         rc == 0 && !r->is_at_end && n <= evlog_segment_count(r->from); n++)
        rc = restore_segment(r, n, err);
    if (rc < 0)
        return rc;
    if (r->report->segments == 0)
        return err_set(err, -ENOENT,
                       "backup %s: none of its commits ends at or before what "
                       "--to says: there is nothing to restore",
                       evlog_dir(r->from));
    rc = sys_call(r->sys, sync_dir, r->dir);
    if (rc == 0)
        rc = sys_call(r->sys, remove, path);
    if (rc == 0)
        rc = sys_call(r->sys, sync_dir, r->dir);
    return rc < 0 ? err_sys(err, rc, "log %s: cannot finish", r->dir) : 0;
}

int
log_restore(const struct sys *sys, const char *backup_dir, const char *dir,
            const struct restore_to *to, const struct backup_events *events,
            struct backup_report *ret_report, struct err *err)
{
    struct restore r = {
        .sys = sys,
        .dir = dir,
        .to = to,
        .events = events,
        .report = ret_report,
        .id = uuid_v4(),
        .from_lock_fd = -1,
        .lock_fd = -1,
        .fd = -1,
    };
    int rc = open_backup(&r, backup_dir, err);

    *ret_report = (struct backup_report){ 0 };
    if (rc == 0)
        rc = enter_directory(&r, err);
    if (rc == 0)
        rc = restore_all(&r, err);
    if (r.fd >= 0)
        sys_call(sys, close, r.fd);
    if (rc < 0 && r.is_ours && clear_directory(&r) < 0)
        (void)err_wrap(err, "%s is not complete, and marked so", dir);
    if (rc == 0) {
        ret_report->log_id = r.id;
        ret_report->last_position = r.out.position;
        ret_report->last_time_us = r.out.time_us;
        ret_report->copied = ret_report->segments;
    }
    if (r.from_lock_fd >= 0)
        sys_call(sys, close, r.from_lock_fd);
    if (r.lock_fd >= 0)
        sys_call(sys, close, r.lock_fd);
    free(r.group);
    evlog_close(&r.from);
    return rc;
}
