/* SPDX-License-Identifier: MPL-2.0 */
#include "store/durable.h"

#include <errno.h>
#include <inttypes.h>

/* The watermark of the page at `path`, which must be one of this log. */
static int
page_watermark(struct evlog *log, const char *path, uint64_t *ret_watermark,
               struct err *err)
{
    struct control *control;
    bool same, announced;
    int rc = control_open(evlog_sys(log), path, &control, err);

    if (rc < 0)
        return rc;
    same = uuid_equal(control_log_id(control), evlog_id(log));
    announced = control_started_us(control) != 0;
    *ret_watermark = control_watermark(control);
    control_close(&control);
    if (!same)
        return err_set(err, -CAIRN_EOTHERLOG,
                       "control page %s belongs to another log than %s", path,
                       evlog_dir(log));
    if (!announced)
        return err_set(err, -CAIRN_ELOCKED,
                       "log %s: its writer is starting, and has not said yet "
                       "what is durable: run this again in a while",
                       evlog_dir(log));
    return 0;
}

/* The end of the group that holds the event at the watermark. */
static int
end_at(struct evlog *log, uint64_t watermark, struct tail *ret_end,
       struct err *err)
{
    struct cursor cursor = { address_of(1, SECTOR_LEN), 1, 0 };
    struct scan scan;
    int rc = 0;

    if (watermark > 0)
        rc = evlog_seek(log, watermark, watermark, &cursor, err);
    if (rc == 0)
        rc = scan_segment(log, address_segment(cursor.address),
                          watermark > 0 ? address_offset(cursor.address) : 0,
                          NULL, NULL, &scan, err);
    if (rc == 0 && scan.tail.position != watermark)
        rc = err_set(err, -CAIRN_EDAMAGED,
                     "log %s: segment number %" PRIu64 ", byte %" PRIu64
                     ": damaged; positions %" PRIu64 " to %" PRIu64
                     " cannot be read",
                     evlog_dir(log), address_segment(scan.tail.address),
                     address_offset(scan.tail.address), scan.tail.position + 1,
                     watermark);
    if (rc == 0)
        *ret_end = scan.tail;
    return rc;
}

/* What recovery would take for the end of an unsealed last segment. */
static int
judge_end(struct evlog *log, const struct segment *segment, struct scan *scan,
          struct err *err)
{
    const struct sys *sys = evlog_sys(log);
    char path[PATH_LEN_MAX];
    struct tail_report report = { 0 };
    int rc = segment_path(path, evlog_dir(log), segment->info.first_position);

    if (rc < 0)
        return err_sys(err, rc, "log %s", evlog_dir(log));
    rc = last_group_on_device(sys, path, segment, scan, err);
    if (rc == 0)
        scan->tail = scan->before;
    if (rc >= 0)
        rc = judge_tail(sys, path, &segment->info, &scan->tail, &report, err);
    if (rc < 0 || report.verdict == TAIL_CLEAN || report.verdict == TAIL_TORN)
        return rc;
    return err_set(err,
                   report.verdict == TAIL_AMBIGUOUS ? -CAIRN_EAMBIGUOUS
                                                    : -CAIRN_EDAMAGED,
                   "segment %s, byte %" PRIu64 ": the end of the log is "
                   "damaged, and it cannot be told what was durable there: "
                   "start the writer, which says what can be done about it",
                   path, address_offset(scan->tail.address));
}

static int
end_without_writer(struct evlog *log, struct tail *ret_end, struct err *err)
{
    uint64_t number = evlog_segment_count(log);
    struct segment *segment;
    struct scan scan;
    int rc = evlog_segment(log, number, &segment, err);

    if (rc == 0)
        rc = scan_segment(log, number, UINT64_MAX, NULL, NULL, &scan, err);
    if (rc < 0)
        return rc;
    if (!segment->sealed)
        rc = judge_end(log, segment, &scan, err);
    else if (scan.tail.position != segment->end.last_position)
        rc = err_set(err, -CAIRN_EDAMAGED,
                     "log %s: segment number %" PRIu64 ", byte %" PRIu64
                     ": damaged; positions %" PRIu64 " to %" PRIu64
                     " cannot be read",
                     evlog_dir(log), number, address_offset(scan.tail.address),
                     scan.tail.position + 1, segment->end.last_position);
    if (rc >= 0)
        *ret_end = scan.tail;
    return rc < 0 ? rc : 0;
}

int
durable_end(struct evlog *log, const char *control_path, struct tail *ret_end,
            struct err *err)
{
    const struct sys *sys = evlog_sys(log);
    uint64_t watermark;
    /* There is no lock where no writer has ever been, as in a backup. */
    int rc, fd = store_lock(sys, evlog_dir(log), SYS_READ);

    if (fd == -CAIRN_ELOCKED && control_path == NULL)
        return err_set(err, fd,
                       "log %s: a writer has it open, and only its control "
                       "page says what is durable: say where that is "
                       "(--control)",
                       evlog_dir(log));
    if (fd == -CAIRN_ELOCKED) {
        rc = page_watermark(log, control_path, &watermark, err);
        return rc < 0 ? rc : end_at(log, watermark, ret_end, err);
    }
    if (fd < 0 && fd != -ENOENT)
        return err_sys(err, fd, "log %s: cannot lock", evlog_dir(log));
    rc = end_without_writer(log, ret_end, err);
    if (fd >= 0)
        sys_call(sys, close, fd);
    return rc;
}
