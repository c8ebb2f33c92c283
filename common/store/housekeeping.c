/* SPDX-License-Identifier: MPL-2.0 */
/* housekeeping - the jobs of the appender that need not hold up a command. */
#include <errno.h>
#include <inttypes.h>

#include "store/appender_impl.h"

#define CHECKPOINT_TABLES 8u /* lengths of the table, see below */

struct table_mark
appender_mark(const struct appender *ap, const struct table *table)
{
    return (struct table_mark){
        .position = ap->tail.position,
        .next_address = ap->tail.address,
        .group = ap->tail.group,
        .key_count = table_key_count(table),
        .group_crc = ap->tail.crc,
    };
}

/* A prepared file that a group in memory has claimed is still prepared.tmp. */
static bool
prepared_is_claimed(const struct appender *ap)
{
    return (ap->closed != NULL && ap->closed->begins_segment) ||
        (ap->open->len > 0 && ap->open->begins_segment);
}

static bool
wants_growth(const struct appender *ap)
{
    return table_wants_growth(ap->table) ||
        (ap->keys_wanted > 0 && table_next(ap->table) == NULL);
}

/*
 * Bytes of log between two checkpoints.  With many streams each of them writes
 * nearly all pages of the table, and each page must then be taken into use
 * again: so the longer the table, the rarer they are (decisions/0003).
 */
static uint64_t
checkpoint_interval(const struct appender *ap)
{
    uint64_t most = ap->options.checkpoint_max;
    uint64_t wanted =
        table_slot_count(ap->table) * TABLE_SLOT_LEN * CHECKPOINT_TABLES;

    if (wanted > most)
        wanted = most;
    return wanted > ap->options.checkpoint_bytes ? wanted
                                                 : ap->options.checkpoint_bytes;
}

enum appender_job
appender_next_job(struct appender *ap)
{
    struct table *next = table_next(ap->table);
    enum appender_job job = JOB_NONE;

    if (ap->job != JOB_NONE || ap->failed)
        return JOB_NONE;
    if (ap->full.fd >= 0 && !ap->seal_failed) {
        job = JOB_SEAL;
    } else if (!ap->prepared && !ap->prepare_failed &&
               !prepared_is_claimed(ap)) {
        job = JOB_PREPARE;
    } else if (wants_growth(ap) && !ap->grow_failed) {
        job = JOB_GROW;
        ap->job_slots = table_slot_count(ap->table) * 2;
        while (table_room(ap->job_slots) < ap->keys_wanted)
            ap->job_slots *= 2;
    } else if (table_grown(ap->table)) {
        job = JOB_SWITCH;
        ap->job_mark = appender_mark(ap, next);
    } else if (ap->bytes_written - ap->checkpoint_at >=
               checkpoint_interval(ap)) {
        job = JOB_CHECKPOINT;
        ap->checkpoint_at = ap->bytes_written;
        ap->job_mark = appender_mark(ap, ap->table);
    } else if (ap->stale_generation != 0) {
        job = JOB_REMOVE;
    }
    ap->job = job;
    return job;
}

int
growing_seal(const struct sys *sys, const char *dir, struct growing *growing,
             const struct tail *tail, struct err *err)
{
    struct segment_end end = {
        .last_position = tail->position,
        .last_group = tail->group,
        .last_time_us = tail->time_us,
        .data_end = (uint32_t)address_offset(tail->address),
        .last_crc = tail->crc,
        .index_count = growing->index.count,
        .commit_count = growing->commit_count,
    };
    int rc = ids_write(sys, dir, growing->info.log_id, growing->info.number,
                       growing->info.first_position, &growing->ids, err);

    if (rc < 0)
        return rc;
    rc = segment_seal(sys, growing->fd, &growing->info, &end,
                      growing->index.entries);
    if (rc < 0)
        return err_sys(err, rc, "log %s: cannot seal segment number %" PRIu64,
                       dir, growing->info.number);
    return 0;
}

static int
write_mark(struct table *table, const struct table_mark *mark, const char *dir,
           struct err *err)
{
    int rc = table_sync(table);

    if (rc == 0)
        rc = table_write_mark(table, mark);
    if (rc < 0)
        return err_sys(err, rc,
                       "log %s: cannot write a checkpoint of the version "
                       "table",
                       dir);
    return 0;
}

int
appender_run_job(struct appender *ap, enum appender_job job, struct err *err)
{
    int rc;

    switch (job) {
    case JOB_PREPARE:
        return segment_prepare(ap->sys, ap->dir, ap->options.segment_len, err);
    case JOB_SEAL:
        return growing_seal(ap->sys, ap->dir, &ap->full, &ap->full_end, err);
    case JOB_CHECKPOINT:
        return write_mark(ap->table, &ap->job_mark, ap->dir, err);
    case JOB_GROW:
        return table_create(ap->sys, ap->dir, evlog_id(ap->log),
                            table_generation(ap->table) + 1, ap->job_slots,
                            ap->table, &ap->grown, err);
    case JOB_SWITCH:
        return write_mark(table_next(ap->table), &ap->job_mark, ap->dir, err);
    case JOB_REMOVE:
        rc = table_remove(ap->sys, ap->dir, ap->stale_generation);
        if (rc == 0 || rc == -ENOENT)
            return 0;
        return err_sys(err, rc,
                       "log %s: cannot remove the version table of "
                       "generation %" PRIu64,
                       ap->dir, ap->stale_generation);
    case JOB_NONE:
    default:
        return 0;
    }
}

static void
switch_table(struct appender *ap)
{
    struct table *old = ap->table;

    ap->stale_generation = table_generation(old);
    ap->table = table_take_next(old);
    ap->keys_wanted = 0; /* if it is not enough, somebody will say so again */
    control_set_table_generation(ap->control, table_generation(ap->table));
    table_close(&old);
}

int
appender_job_done(struct appender *ap, enum appender_job job, int rc)
{
    ap->job = JOB_NONE;
    if (rc < 0 && job != JOB_REMOVE &&
        !(is_no_space(rc) &&
          (job == JOB_PREPARE || job == JOB_SEAL || job == JOB_GROW))) {
        ap->failed = true;
        return rc;
    }
    switch (job) {
    case JOB_PREPARE:
        ap->prepared = rc == 0;
        ap->prepare_failed = rc < 0;
        break;
    case JOB_SEAL:
        ap->seal_failed = rc < 0;
        if (rc == 0)
            growing_free(ap->sys, &ap->full);
        break;
    case JOB_CHECKPOINT:
        control_count(ap->control, COUNT_CHECKPOINTS, 1);
        break;
    case JOB_GROW:
        ap->grow_failed = rc < 0;
        if (rc == 0)
            table_grow_into(ap->table, &ap->grown);
        break;
    case JOB_SWITCH:
        switch_table(ap);
        break;
    case JOB_REMOVE: /* if it failed, only space is lost, until a restart */
        ap->stale_generation = 0;
        break;
    case JOB_NONE:
    default:
        break;
    }
    appender_serve(ap);
    return 0;
}

void
appender_retry_jobs(struct appender *ap)
{
    ap->prepare_failed = ap->seal_failed = ap->grow_failed = false;
}

bool
appender_no_space(const struct appender *ap)
{
    return ap->prepare_failed || ap->seal_failed || ap->grow_failed;
}

void
appender_serve(struct appender *ap)
{
    control_set_state(ap->control,
                      appender_no_space(ap) ? CONTROL_NO_SPACE
                                            : CONTROL_SERVING);
}
