/* SPDX-License-Identifier: MPL-2.0 */
/*
 * backup - copies of a log in another directory, and logs made from them.
 *
 * A backup is a log directory of its own, of the same log id, that ends where
 * the log was durable when it was made.  It has no list of contents: the files
 * say it.  A segment appears in it whole, checked and durable, under its final
 * name, in the order of the log; so at every moment, and after every crash,
 * what is there is a good backup, and the next run goes on behind it.
 *
 * How a segment that need not be copied again is known: log id, number, first
 * position and the checksum of its last group are the same.  The header of a
 * group covers the checksum of its body and that of the header before it, so
 * that one number stands for every byte of the log up to there.
 *
 * A restored log is another log, with an id of its own: doc/decisions/0012.
 *
 * Errors:   0 or negative; *err says what, where and what to do.
 * Threads:  one.
 */
#ifndef CAIRN_STORE_BACKUP_H
#define CAIRN_STORE_BACKUP_H

#include <stdbool.h>

#include "base/err.h"
#include "base/uuid.h"
#include "store/sys.h"

/* What is called as the work goes on; if it returns non-zero, it is stopped. */
struct backup_events {
    void *arg;
    int (*progress)(void *arg, uint64_t done_bytes, uint64_t all_bytes,
                    uint64_t position);
};

struct backup_report {
    struct uuid log_id;     /* of the log in `dir` */
    uint64_t last_position; /* where the copy ends */
    uint64_t last_time_us;  /* time of its last commit; 0: there is none */
    uint64_t segments;      /* in the copy */
    uint64_t copied;        /* of these, written by this run */
    uint64_t copied_bytes;  /* no zeros behind; of a restore: of groups alone */
};

/*
 * Brings the backup in `backup_dir`, which is made if need be, up to the
 * durable end of the log in `dir`, beside a running writer or without one.
 * Beside one, its control page says how far the log is durable; without one,
 * control_path may be NULL, what recovery would accept is copied, and for as
 * long as that is looked at no writer can start.
 *
 *   -ECANCELED        progress() wanted so; what is there is a good backup
 *   -CAIRN_ELOCKED    a writer runs, but control_path is NULL; or it is just
 *                     starting; or the backup directory is in use
 *   -CAIRN_EOTHERLOG  the backup or the control page is of another log, or the
 *                     backup holds what the log does not
 *   -CAIRN_EDAMAGED   the log, or what was written, is damaged
 *   -ENOSPC           no room for another segment
 */
int log_backup(const struct sys *sys, const char *dir, const char *backup_dir,
               const char *control_path, const struct backup_events *events,
               struct backup_report *ret_report, struct err *err);

/* Up to where a log is restored. */
struct restore_to {
    enum {
        RESTORE_ALL,
        RESTORE_TO_POSITION, /* all commits that end at or before it */
        RESTORE_TO_TIME,     /* all commits of that time or earlier */
    } kind;
    uint64_t value; /* a position, or microseconds since 1970 */
};

/*
 * Makes a log in `dir`, which is made if need be and must be empty, from the
 * backup, or any other log without a writer, in `backup_dir`.  Every byte of
 * the backup that is needed is checked, and what was written is read back
 * from the device, before a writer or reader would open it.  On failure `dir`
 * is empty again; after a crash, or if even that fails, it holds a marker, at
 * which writers and readers refuse it, and can be restored into again.
 *
 *   -ECANCELED        progress() wanted so
 *   -ENOTEMPTY        there is something in `dir`
 *   -CAIRN_ELOCKED    somebody else restores into it
 *   -CAIRN_EDAMAGED   the backup, or what was written, is damaged
 *   -ENOENT           no commit of the backup is that early
 *   -ENOSPC           no room for another segment
 */
int log_restore(const struct sys *sys, const char *backup_dir, const char *dir,
                const struct restore_to *to, const struct backup_events *events,
                struct backup_report *ret_report, struct err *err);

/*
 * The durable end of the log in `dir`, as log_backup() finds it: for those who
 * read a log without a daemon in between.
 */
int log_durable_end(const struct sys *sys, const char *dir,
                    const char *control_path, uint64_t *ret_position,
                    struct err *err);

#endif
