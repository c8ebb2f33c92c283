/* SPDX-License-Identifier: MPL-2.0 */
/*
 * recovery_impl - what recovery.c (segments) and replay.c (the version table)
 * share.  Nobody else includes this.
 */
#ifndef CAIRN_STORE_RECOVERY_IMPL_H
#define CAIRN_STORE_RECOVERY_IMPL_H

#include "store/tailscan.h"

/* What appender_open() carries from step to step. */
struct recovery {
    struct appender *ap;
    const char *control_path;
    appender_progress *progress;
    void *progress_arg;
    struct recovery_report *report;
    bool made_dir;             /* just now */
    bool is_unfinished;        /* a restore has left its marker */
    struct scan scan;          /* of the last segment */
    uint64_t segment_count;    /* files in the directory */
    uint64_t ids_count;        /* files of command ids */
    uint64_t other_count;      /* files that only a log leaves behind */
    uint64_t table_generation; /* the highest that has a file */
};

/* Says how far it has come; -ECANCELED if that is far enough. */
int recovery_go_on(struct recovery *recovery, const char *what, uint64_t done,
                   uint64_t total, struct err *err);

/* Doubles the table while it is being filled, without a checkpoint. */
int recovery_grow_table(struct recovery *recovery, struct err *err);

/*
 * After a refusal: says on the control page up to where the log can be read
 * all the same, and that it may only be read.  Nothing of the log changes.
 * What cannot be done is left undone; the refusal stands anyway.
 */
void recovery_leave_readable(struct recovery *recovery);

/* Opens the version table, or makes it, and brings it up to the log's end. */
int recover_table(struct recovery *recovery, struct err *err);

/*
 * Removes all tables but that one: only after readers have been told of it,
 * for until then they may want the one before.
 */
int remove_other_tables(struct appender *appender, struct err *err);

#endif
