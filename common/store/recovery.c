/* SPDX-License-Identifier: MPL-2.0 */
/* recovery - how the appender starts; every case stands in doc/RECOVERY.md. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <sodium.h>

#include "store/bug.h"
#include "store/recovery_impl.h"

const struct appender_options appender_defaults = {
    .segment_len = UINT64_C(128) << 20,
    .group_len_max = UINT32_C(16) << 20,
    .checkpoint_bytes = UINT64_C(64) << 20,
    .checkpoint_max = UINT64_C(1) << 30,
    .table_slots = UINT64_C(65536),
    .accept_tail_loss = false,
    .scan_max = 10000,
    .show_bytes = UINT32_C(64) << 10,
};

int
recovery_go_on(struct recovery *r, const char *what, uint64_t done,
               uint64_t total, struct err *err)
{
    if (r->progress == NULL || r->progress(r->progress_arg, what, done, total))
        return 0;
    r->ap->given_up = true;
    return err_set(err, -ECANCELED, "log %s: the start was given up",
                   r->ap->dir);
}

/* ---- the directory ----------------------------------------------------- */

static int
look_at_file(void *arg, const char *name)
{
    struct recovery *r = arg;
    struct appender *ap = r->ap;
    uint64_t number;
    const char *dot = strrchr(name, '.');

    if (strcmp(name, RESTORE_MARKER) == 0) {
        r->is_unfinished = true;
    } else if (segment_name_parse(name, &number)) {
        r->segment_count++;
    } else if (table_name_parse(name, &number)) {
        r->other_count++;
        if (number > r->table_generation)
            r->table_generation = number;
    } else if (dot != NULL && strcmp(dot, ".ids") == 0) {
        r->ids_count++;
        r->other_count++;
    } else if (dot != NULL && strcmp(dot, ".tmp") == 0) {
        char path[PATH_LEN_MAX];
        int rc = store_path(path, ap->dir, name);

        return rc < 0 ? rc : sys_call(ap->sys, remove, path);
    }
    return 0;
}

/*
 * Makes the name of the log's directory durable.  The life that made it may
 * have ended before that, so it is done again until there is a segment.
 */
static int
sync_parent(struct recovery *r, struct err *err)
{
    int rc = store_sync_parent(r->ap->sys, r->ap->dir);

    if (rc == -EACCES && !r->made_dir)
        return 0; /* whoever made it, out of our reach, answers for it */
    return rc < 0
        ? err_sys(err, rc, "cannot sync the directory above %s", r->ap->dir)
        : 0;
}

/* Takes the lock, so that there is one appender, and looks around. */
static int
enter_directory(struct recovery *r, struct err *err)
{
    struct appender *ap = r->ap;
    char path[PATH_LEN_MAX];
    int rc = sys_call(ap->sys, make_dir, ap->dir);

    r->made_dir = rc == 0;
    if (rc < 0 && rc != -EEXIST)
        return err_sys(err, rc, "log %s: cannot make the directory", ap->dir);
    rc = store_path(path, ap->dir, LOCK_NAME);
    if (rc == 0)
        rc = ap->lock_fd = sys_call(ap->sys, open, path, SYS_KEEP);
    if (rc < 0)
        return err_sys(err, rc, "log %s: cannot open the lock file", ap->dir);
    rc = sys_call(ap->sys, lock, ap->lock_fd);
    if (rc == -CAIRN_ELOCKED)
        return err_set(err, rc,
                       "log %s: another writer has it open (it holds the "
                       "lock on %s)",
                       ap->dir, path);
    if (rc < 0)
        return err_sys(err, rc, "log %s: cannot lock", ap->dir);
    rc = sys_call(ap->sys, list, ap->dir, look_at_file, r);
    if (rc < 0)
        return err_sys(err, rc, "log %s: cannot look through the directory",
                       ap->dir);
    if (r->is_unfinished)
        return restore_unfinished(ap->dir, err);
    if (r->segment_count == 0 && r->other_count > 0)
        return err_set(err, -CAIRN_EDAMAGED,
                       "log %s: its segments are gone, but files that belong "
                       "to them are there: put the segments back, or remove "
                       "these files to begin a new log",
                       ap->dir);
    /* The life before may have ended between a rename and its sync; what we
     * are going to build on must not go with the power. */
    rc = sys_call(ap->sys, sync_dir, ap->dir);
    if (rc < 0)
        return err_sys(err, rc, "log %s: cannot sync the directory", ap->dir);
    return 0;
}

static int
create_log(struct recovery *r, struct err *err)
{
    struct appender *ap = r->ap;
    struct segment_info info = {
        .log_id = uuid_v4(),
        .number = 1,
        .first_position = 1,
        .segment_len = ap->options.segment_len,
        .created_us = sys_call(ap->sys, now_us),
    };
    int fd, rc = sync_parent(r, err);

    if (rc == 0)
        rc = segment_prepare(ap->sys, ap->dir, info.segment_len, err);
    if (rc == 0)
        rc = segment_begin(ap->sys, ap->dir, &info, &fd, err);
    if (rc < 0)
        return rc;
    sys_call(ap->sys, close, fd);
    r->report->created = true;
    return 0;
}

/* ---- segments ---------------------------------------------------------- */

static int
open_for_writing(struct appender *ap, struct segment *segment,
                 struct growing *growing, struct err *err)
{
    char path[PATH_LEN_MAX];
    int rc = segment_path(path, ap->dir, segment->info.first_position);

    if (rc == 0)
        rc = growing->fd = sys_call(ap->sys, open, path, SYS_WRITE);
    if (rc < 0)
        return err_sys(err, rc, "cannot open %s for writing", path);
    growing->info = segment->info;
    return 0;
}

/*
 * The segment before the last must be whole, and the last must follow it; if
 * it has no footer, because its writer was killed first, it gets one now, or
 * when there is space.
 */
static int
check_previous(struct recovery *r, const struct segment *last, struct err *err)
{
    struct appender *ap = r->ap;
    struct growing growing = { .fd = -1 };
    struct segment *segment;
    struct scan scan;
    uint64_t number = last->info.number - 1;
    uint64_t last_first = last->info.first_position;
    uint32_t last_prev_crc = last->info.prev_crc;
    int rc = evlog_segment(ap->log, number, &segment, err);

    if (rc < 0)
        return rc;
    if (segment->sealed) {
        if (segment->end.last_position + 1 == last_first &&
            segment->end.last_crc == last_prev_crc)
            return 0;
        return err_set(err, -CAIRN_EDAMAGED,
                       "log %s: segment number %" PRIu64 " ends at position "
                       "%" PRIu64 ", and number %" PRIu64 " does not go on "
                       "from there",
                       ap->dir, number, segment->end.last_position, number + 1);
    }
    id_set_init(&growing.ids, ap->id_key);
    rc = scan_segment(ap->log, number, UINT64_MAX, &growing, NULL, &scan, err);
    if (rc == 0 &&
        (scan.tail.position + 1 != last_first ||
         scan.tail.crc != last_prev_crc))
        rc = err_set(err, -CAIRN_EDAMAGED,
                     "log %s: segment number %" PRIu64 ", byte %" PRIu64
                     ": durable groups are damaged; positions %" PRIu64
                     " to %" PRIu64 " cannot be read",
                     ap->dir, number, address_offset(scan.tail.address),
                     scan.tail.position + 1, last_first - 1);
    if (rc == 0)
        rc = open_for_writing(ap, segment, &growing, err);
    if (rc == 0)
        rc = growing_seal(ap->sys, ap->dir, &growing, &scan.tail, err);
    if (rc == 0)
        segment_look_for_footer(segment);
    if (growing.fd >= 0 && is_no_space(rc)) {
        ap->full = growing;
        ap->full_end = scan.tail;
        ap->seal_failed = true;
        return 0;
    }
    growing_free(ap->sys, &growing);
    return rc;
}

/* Walks over the last segment up to `stop`, filling in what appending needs. */
static int
scan_last(struct recovery *r, uint64_t stop, struct err *err)
{
    struct appender *ap = r->ap;
    uint64_t number = evlog_segment_count(ap->log);

    index_free(&ap->active.index);
    id_set_clear(&ap->active.ids);
    ap->active.commit_count = 0;
    ap->id_times = ap->old_times;
    return scan_segment(ap->log, number, stop, &ap->active, &ap->id_times,
                        &r->scan, err);
}

/* Forgets the last group if the device does not have it. */
static int
check_last_group(struct recovery *r, const char *path, struct segment *segment,
                 struct err *err)
{
    int rc = last_group_on_device(r->ap->sys, path, segment, &r->scan, err);

    return rc != 0 ? rc : scan_last(r, r->scan.last_offset, err);
}

/* ---- the end of the log ------------------------------------------------ */

/* Copies [from, to) of the last segment into a file beside it. */
static int
keep_copy(struct recovery *r, const char *path, uint64_t from, uint64_t to,
          struct err *err)
{
    struct appender *ap = r->ap;
    char *copy = r->report->cut_path;
    uint8_t *buf = malloc((size_t)(to - from));
    int fd = -1, rc;

    if (buf == NULL)
        return err_sys(err, -ENOMEM, "log %s", ap->dir);
    if (snprintf(copy, PATH_LEN_MAX, "%s/cut-%020" PRIu64 "-%" PRIu64 ".bak",
                 ap->dir, r->scan.tail.position + 1,
                 sys_call(ap->sys, now_us)) >= (int)PATH_LEN_MAX)
        rc = err_sys(err, -ENAMETOOLONG, "log %s", ap->dir);
    else
        rc = read_uncached(ap->sys, path, from, (size_t)(to - from), buf, err);
    if (rc == 0) {
        rc = fd = sys_call(ap->sys, open, copy, SYS_CREATE);
        if (fd >= 0)
            rc = sys_call(ap->sys, write, fd, buf, (size_t)(to - from), 0);
        if (rc == 0)
            rc = sys_call(ap->sys, sync, fd);
        if (rc == 0)
            rc = sys_call(ap->sys, sync_dir, ap->dir);
        if (fd >= 0)
            sys_call(ap->sys, close, fd);
        if (rc < 0) {
            (void)err_sys(err, rc, "cannot keep what is cut off as %s", copy);
            (void)sys_call(ap->sys, remove, copy); /* half of it is no use */
        }
    }
    free(buf);
    return rc;
}

/* What stands behind the end of the log must not be there: say so, or cut. */
static int
handle_tail(struct recovery *r, const char *path,
            const struct tail_report *tail, struct err *err)
{
    struct appender *ap = r->ap;
    uint64_t end = address_offset(r->scan.tail.address);

    switch (BUG(DAMAGE_CUT_OFF) && tail->verdict != TAIL_CLEAN
                ? TAIL_TORN
                : tail->verdict) {
    case TAIL_CLEAN:
        return 0;
    case TAIL_DAMAGED:
        return err_set(err, -CAIRN_EDAMAGED,
                       "segment %s, byte %" PRIu64 ": the groups from number "
                       "%" PRIu64 " on are damaged, but group %" PRIu64
                       " at byte %" PRIu64 " behind them is whole: events "
                       "from position %" PRIu64 " on, which were durable, "
                       "are lost here; restore them from a backup",
                       path, end, r->scan.tail.group + 1, tail->next_group,
                       tail->next_offset, r->scan.tail.position + 1);
    case TAIL_AMBIGUOUS:
        if (!ap->options.accept_tail_loss)
            return err_set(err, -CAIRN_EAMBIGUOUS,
                           "segment %s, byte %" PRIu64 ": the %" PRIu64
                           " bytes of group %" PRIu64 ", which begins at "
                           "position %" PRIu64 ", are damaged, and it cannot "
                           "be told whether they had become durable; all "
                           "before it is whole.  Restore a backup, or start "
                           "once with --accept-tail-loss to give this group "
                           "up (a copy is kept)",
                           path, end, tail->bad_end - end,
                           r->scan.tail.group + 1, r->scan.tail.position + 1);
        r->report->tail_lost = true;
        break;
    case TAIL_TORN:
    default:
        r->report->torn = true;
        break;
    }
    r->report->cut_bytes = tail->bad_end - end;
    return keep_copy(r, path, end, tail->bad_end, err);
}

/*
 * Writes zeros over [from, to), and the last group once more, so that the
 * device and the page cache agree on what recovery has decided.
 */
static int
rewrite_tail(struct recovery *r, uint64_t from, uint64_t to, struct err *err)
{
    struct appender *ap = r->ap;
    const struct scan *scan = &r->scan;
    struct segment *segment;
    uint8_t *buf;
    size_t len = (size_t)(to > from ? to - from : 0);
    int rc =
        evlog_segment(ap->log, evlog_segment_count(ap->log), &segment, err);

    if (rc < 0)
        return rc;
    if (len < scan->last_len)
        len = (size_t)scan->last_len;
    if (len == 0)
        return 0;
    buf = calloc(1, len);
    if (buf == NULL)
        return err_sys(err, -ENOMEM, "log %s", ap->dir);
    if (to > from)
        rc = sys_call(ap->sys, write, ap->active.fd, buf, (size_t)(to - from),
                      from);
    if (rc == 0 && scan->last_len > 0) {
        memcpy(buf, segment->data + scan->last_offset, (size_t)scan->last_len);
        rc = sys_call(ap->sys, write, ap->active.fd, buf,
                      (size_t)scan->last_len, scan->last_offset);
    }
    free(buf);
    if (rc == 0)
        rc = sys_call(ap->sys, sync, ap->active.fd);
    if (is_no_space(rc))
        rc = -EIO; /* it has its space: this will not pass */
    return rc < 0
        ? err_sys(err, rc, "log %s: cannot write its end again", ap->dir)
        : 0;
}

/*
 * The last segment of a restored log may be sealed: nothing is added to it,
 * and the next group begins another.
 */
static int
accept_sealed(struct recovery *r, const struct segment *segment,
              struct err *err)
{
    struct appender *ap = r->ap;

    if (r->scan.tail.position != segment->end.last_position ||
        r->scan.tail.crc != segment->end.last_crc)
        return err_set(
            err, -CAIRN_EDAMAGED,
            "log %s: segment number %" PRIu64 ", byte %" PRIu64
            ": damaged; positions %" PRIu64 " to %" PRIu64 " cannot be read",
            ap->dir, segment->info.number, address_offset(r->scan.tail.address),
            r->scan.tail.position + 1, segment->end.last_position);
    ap->active.info = segment->info;
    ap->tail = r->scan.tail;
    ap->tail.address = address_of(segment->info.number, segment->data_end);
    return 0;
}

/* Finds the end of the log in its last segment. */
static int
recover_tail(struct recovery *r, struct err *err)
{
    struct appender *ap = r->ap;
    struct tail_report tail;
    struct segment *segment;
    char path[PATH_LEN_MAX];
    uint64_t number = evlog_segment_count(ap->log), cached_end, end;
    int rc = evlog_segment(ap->log, number, &segment, err);

    if (rc == 0) {
        rc = segment_check_writable(&segment->info, err);
        if (rc < 0)
            (void)err_wrap(err, "log %s, segment number %" PRIu64, ap->dir,
                           number);
    }
    if (rc == 0 && number > 1)
        rc = check_previous(r, segment, err);
    if (rc == 0)
        rc = evlog_segment(ap->log, number, &segment, err);
    if (rc == 0 && !segment->sealed)
        rc = open_for_writing(ap, segment, &ap->active, err);
    if (rc == 0)
        rc = segment_path(path, ap->dir, segment->info.first_position);
    if (rc < 0)
        return rc;
    ap->old_times = (struct id_times){ segment->info.ids_time_max_ms,
                                       segment->info.ids_other_count };
    rc = scan_last(r, UINT64_MAX, err);
    if (rc == 0 && segment->sealed)
        return accept_sealed(r, segment, err);
    cached_end = address_offset(r->scan.tail.address);
    if (rc == 0)
        rc = check_last_group(r, path, segment, err);
    if (rc >= 0)
        rc = judge_tail(ap->sys, path, &segment->info, &r->scan.tail, &tail,
                        err);
    if (rc == 0)
        rc = handle_tail(r, path, &tail, err);
    if (rc < 0)
        return rc;
    end = address_offset(r->scan.tail.address);
    rc = rewrite_tail(
        r, end, cached_end > tail.bad_end ? cached_end : tail.bad_end, err);
    ap->tail = r->scan.tail;
    return rc;
}

/* ---- opening ----------------------------------------------------------- */

static int
check_options(struct appender *ap, struct err *err)
{
    const struct appender_options *o = &ap->options;

    if (o->segment_len < SEGMENT_LEN_MIN || o->segment_len > SEGMENT_LEN_MAX ||
        o->segment_len % SEGMENT_LEN_UNIT != 0)
        return err_set(err, -CAIRN_ECONFIG,
                       "the length of a segment must be a multiple of %u "
                       "from %" PRIu64 " to %" PRIu64 ", not %" PRIu64,
                       SEGMENT_LEN_UNIT, SEGMENT_LEN_MIN, SEGMENT_LEN_MAX,
                       o->segment_len);
    if (o->table_slots < TABLE_SLOTS_MIN || o->table_slots > TABLE_SLOTS_MAX ||
        (o->table_slots & (o->table_slots - 1)) != 0)
        return err_set(err, -CAIRN_ECONFIG,
                       "the version table must begin with a power of two of "
                       "slots, at least %" PRIu64 ", not %" PRIu64,
                       TABLE_SLOTS_MIN, o->table_slots);
    if (o->group_len_max < 2 * SECTOR_LEN || o->group_len_max % SECTOR_LEN != 0)
        return err_set(err, -CAIRN_ECONFIG,
                       "the length of a group must be a multiple of %u, not "
                       "%u",
                       SECTOR_LEN, o->group_len_max);
    return 0;
}

/*
 * Makes the files of command ids that are missing, as all of them are in a log
 * that was restored: now, while it is known how long it takes, and not when
 * the first command has to be looked for.  What cannot be made is left to that.
 */
static int
make_missing_ids(struct recovery *r, struct err *err)
{
    struct appender *ap = r->ap;
    uint64_t sealed = evlog_segment_count(ap->log) - 1;
    int rc = 0;

    if (r->ids_count >= sealed)
        return 0;
    for (uint64_t number = 1; rc == 0 && number <= sealed; number++) {
        if (ids_make_missing(ap->ids, number, NULL) == -ENOSPC)
            break;
        rc = recovery_go_on(r, "collecting the command ids", number, sealed,
                            err);
    }
    return rc;
}

/* Tells readers about the recovered log. */
static void
announce(struct appender *ap)
{
    uint64_t epoch;

    if (control_watermark(ap->control) > ap->tail.position) {
        /* Something that was readable is gone: readers must start over. */
        randombytes_buf(&epoch, sizeof epoch);
        control_set_epoch(ap->control, epoch);
    }
    control_set_table_generation(ap->control, table_generation(ap->table));
    control_set_watermark(ap->control, ap->tail.position, ap->tail.time_us);
    control_set_index_end(ap->control, 0);
    control_set_started(ap->control, (uint64_t)getpid(),
                        sys_call(ap->sys, now_us));
}

/* Whether a start failed because of what the log is, and not of the machine. */
static bool
is_verdict(int rc)
{
    return rc == -CAIRN_EDAMAGED || rc == -CAIRN_EAMBIGUOUS ||
        rc == -CAIRN_EFORMAT || rc == -CAIRN_ENOTLOG || rc == -CAIRN_EOTHERLOG;
}

int
appender_open(const struct sys *sys, const char *dir, const char *control_path,
              const struct appender_options *options,
              appender_progress *progress, void *progress_arg,
              struct recovery_report *ret_report,
              struct appender **ret_appender, struct err *err)
{
    struct appender *ap = calloc(1, sizeof *ap);
    struct recovery r = { .ap = ap,
                          .control_path = control_path,
                          .progress = progress,
                          .progress_arg = progress_arg,
                          .report = ret_report };
    int rc;

    *ret_report = (struct recovery_report){ 0 };
    if (ap == NULL)
        return err_sys(err, -ENOMEM, "log %s", dir);
    ap->sys = sys;
    ap->options = *options;
    ap->lock_fd = ap->active.fd = ap->full.fd = -1;
    ap->source = (struct event_source){ ap, appender_event_at };
    ap->failed = true; /* until it is whole: no checkpoint at close */
    randombytes_buf(ap->id_key, sizeof ap->id_key);
    id_set_init(&ap->active.ids, ap->id_key);
    if (snprintf(ap->dir, sizeof ap->dir, "%s", dir) >= (int)sizeof ap->dir) {
        rc = err_sys(err, -ENAMETOOLONG, "log %s", dir);
        goto fail;
    }
    rc = check_options(ap, err);
    if (rc == 0 && groups_init(ap) < 0)
        rc = err_sys(err, -ENOMEM, "log %s: groups", dir);
    if (rc == 0)
        rc = enter_directory(&r, err);
    if (rc == 0 && r.segment_count == 0)
        rc = create_log(&r, err);
    if (rc == 0)
        rc = evlog_open(sys, dir, &ap->log, err);
    if (rc == 0)
        rc = control_create(sys, control_path, evlog_id(ap->log), &ap->control,
                            err);
    if (rc == 0)
        rc = ids_open(ap->log, &ap->ids, err);
    if (rc == 0)
        rc = recovery_go_on(&r, "finding the end of the log", 0, 0, err);
    if (rc == 0)
        rc = recover_tail(&r, err);
    if (rc == 0)
        rc = recovery_go_on(&r, "opening the version table", 0, 0, err);
    if (rc == 0)
        rc = recover_table(&r, err);
    if (rc == 0)
        rc = make_missing_ids(&r, err);
    if (rc < 0)
        goto fail;
    announce(ap);
    rc = remove_other_tables(ap, err);
    if (rc < 0)
        goto fail;
    ap->last_time_us = ap->tail.time_us;
    ap->failed = false;
    ret_report->last_position = ap->tail.position;
    *ret_appender = ap;
    return 0;

fail:
    if (is_verdict(rc))
        recovery_leave_readable(&r);
    ap->no_room = is_no_space(rc);
    (void)appender_close(&ap, NULL);
    return rc;
}

int
appender_close(struct appender **appender, struct err *err)
{
    struct appender *ap = *appender;
    int rc = 0;

    *appender = NULL;
    if (ap == NULL)
        return 0;
    /* The sync of a closed group may have failed: this must not look like an
     * end in good order. */
    ap->failed = ap->failed || ap->closed != NULL;
    if (!ap->failed && ap->open->len == 0) {
        struct table_mark mark = appender_mark(ap, ap->table);

        rc = table_sync(ap->table);
        if (rc == 0)
            rc = table_write_mark(ap->table, &mark);
        if (rc < 0)
            (void)err_sys(err, rc, "log %s: version table", ap->dir);
    }
    if (ap->control != NULL)
        control_set_state(ap->control,
                          ap->refused                ? CONTROL_REFUSED
                              : ap->given_up         ? CONTROL_STOPPED
                              : ap->no_room          ? CONTROL_RECOVERING
                              : ap->failed || rc < 0 ? CONTROL_FAILED
                                                     : CONTROL_STOPPED);
    table_close(&ap->grown);
    table_close(&ap->table);
    ids_close(&ap->ids);
    control_close(&ap->control);
    if (ap->closed != NULL && ap->closed->begins_segment && ap->closed->fd >= 0)
        sys_call(ap->sys, close, ap->closed->fd); /* it never became active */
    growing_free(ap->sys, &ap->active);
    growing_free(ap->sys, &ap->full);
    evlog_close(&ap->log);
    groups_free(ap);
    overlay_free(&ap->scratch);
    free(ap->versions);
    free(ap->verdicts);
    free(ap->causes.found);
    free(ap->causes.records);
    if (ap->lock_fd >= 0)
        sys_call(ap->sys, close, ap->lock_fd);
    free(ap);
    return rc;
}
