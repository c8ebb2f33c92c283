/* SPDX-License-Identifier: MPL-2.0 */
/*
 * appender - the one writer of a log: decides commands, builds groups, makes
 * them durable, and keeps the version table and the control page in step.
 *
 * It starts no threads, and calls nothing that waits for the disk except in
 * appender_open(), appender_sync() and appender_run_job(); those two may each
 * run in a thread of their own, beside everything else:
 *
 *     main thread                    sync thread         housekeeper
 *     appender_append() ...
 *     appender_close_group()    -->  appender_sync()
 *     appender_append() ...               |
 *     appender_settle()         <---------+
 *     appender_next_job()       ----------------------> appender_run_job()
 *     appender_job_done()       <----------------------------+
 *
 * A group is open (commits are added), closed (being made durable), or
 * settled.  One may be open beside one closed.  Nothing that a caller is told
 * about a commit may be passed on before its group is settled.
 *
 * Errors:   0 or negative, with *err; after one from appender_append(), unless
 *           it is -CAIRN_ERECORD, or from appender_sync(), appender_settle()
 *           or appender_job_done(), nothing new becomes durable: a group that
 *           was closed before may still be made so, then close.
 */
#ifndef CAIRN_STORE_APPENDER_H
#define CAIRN_STORE_APPENDER_H

#include "store/control.h"
#include "store/evlog.h"
#include "store/table.h"

struct appender;

struct appender_options {
    uint64_t segment_len;      /* of new segments, a multiple of 4096 */
    uint32_t group_len_max;    /* bytes that one sync covers at most */
    uint64_t checkpoint_bytes; /* log bytes between checkpoints of the table;
                            eight times its length if that is more, but */
    uint64_t checkpoint_max;   /* not above this; 0: never */
    uint64_t table_slots;      /* of a new table; a power of two */
    bool accept_tail_loss;     /* cut an ambiguous end of the log off */
    uint32_t scan_max;         /* events that the conditions of one command, and
                            showing what made checks fail, look at at most */
    uint32_t show_bytes;       /* of events that are shown with a conflict */
};

/* Sensible values; see config/writer.conf. */
extern const struct appender_options appender_defaults;

/* How far a recovery has come, for people who wait; false: give it up.  It is
 * called often, many times a second. */
typedef bool appender_progress(void *arg, const char *what, uint64_t done,
                               uint64_t total);

/* What a recovery found and did. */
struct recovery_report {
    bool created;       /* there was no log */
    bool torn;          /* an unfinished group was cut off */
    bool tail_lost;     /* accept_tail_loss was needed */
    bool table_rebuilt; /* from the whole log */
    uint64_t cut_bytes; /* that were cut off; a copy is in cut_path */
    char cut_path[PATH_LEN_MAX];
    uint64_t last_position;
    uint64_t replayed_events; /* since the checkpoint of the table */
};

/*
 * Locks `dir`, makes a log in it if it is empty, or recovers the one that is
 * there (doc/RECOVERY.md), and announces it on the control page.
 *
 *   -CAIRN_ELOCKED     another writer has it
 *   -CAIRN_EDAMAGED    durable bytes are damaged or missing
 *   -CAIRN_EAMBIGUOUS  the last group is damaged, or torn in an unusual way
 *   -CAIRN_EFORMAT     written by a newer version
 *   -ECANCELED         progress() wanted so; the next start takes it up
 *   -errno             what the disk said
 */
int appender_open(const struct sys *sys, const char *dir,
                  const char *control_path,
                  const struct appender_options *options,
                  appender_progress *progress, void *progress_arg,
                  struct recovery_report *ret_report,
                  struct appender **ret_appender, struct err *err);

/*
 * Closes it: writes a last checkpoint of the table if nothing failed before,
 * and no group is open or closed.  Sets *appender to NULL; NULL is fine.
 */
int appender_close(struct appender **appender, struct err *err);

/* Says on the control page that commands are taken from now on. */
void appender_serve(struct appender *appender);

/* The log that it appends to, for reading in the main thread. */
struct evlog *appender_log(struct appender *appender);

/* Highest durable position. */
uint64_t appender_watermark(const struct appender *appender);

/* ---- appending --------------------------------------------------------- */

enum expect_kind {
    EXPECT_ANY = 0,
    EXPECT_NONE = 1,   /* the stream must not exist */
    EXPECT_EXISTS = 2, /* it must exist, at whatever version */
    EXPECT_EXACT = 3,  /* it must be at this version; 0: must not exist */
    /* Conditions: of the whole log behind a position. */
    EXPECT_NO_EVENT = 4, /* there must be none */
    EXPECT_NO_MATCH = 5, /* none must match a query */
};

/*
 * An alternative of a query: it matches events of one of the types, if there
 * are any, with all of the tags.  No name may be there twice.
 */
struct query_item {
    const struct span *types, *tags;
    uint32_t type_count, tag_count;
};

struct append_check {
    struct span stream; /* unless it is a condition */
    enum expect_kind kind;
    uint64_t version; /* for EXPECT_EXACT; of a condition: the position */
    const struct query_item *items; /* for EXPECT_NO_MATCH */
    uint32_t item_count;
};

/* How a check came out. */
struct append_verdict {
    uint32_t check; /* which one, from 0 */
    bool holds;
    uint8_t kind;      /* enum expect_kind, as in the check */
    uint64_t expected; /* its version */
    uint64_t actual;   /* version of the stream; of a condition the position of
                          the newest event in its way, 0: none */
};

/* What deciding a command will want to look at; all 0: nothing is known. */
struct append_hint {
    struct span stream; /* of its first event, in the commit */
    uint64_t hash;
    uint32_t print; /* of the command id */
};

/* A command: [commit, commit + commit_len) is an unstamped commit
 * (store/record.h). */
struct append_request {
    const uint8_t *commit;
    uint32_t commit_len;
    const struct append_check *checks;
    uint32_t check_count;
    bool dry_run;                   /* decide, but store nothing */
    uint32_t show;                  /* events of a conflict to show at most */
    uint64_t time_us;               /* now; 0: ask the clock */
    const struct append_hint *hint; /* or NULL */
};

enum append_code {
    APPEND_ACCEPTED,
    APPEND_CONFLICT,
    APPEND_OTHER_CONTENT, /* the command id has taken effect with other events */
    APPEND_ABOVE_HEAD,    /* a condition begins behind the end of the log */
    APPEND_SCAN_TOO_LONG, /* options.scan_max were not enough to decide */
    APPEND_TOO_LARGE,     /* for any group or segment */
    APPEND_NO_SPACE,
    APPEND_GROUP_FULL, /* close the open group, and ask again */
    APPEND_NOT_READY,  /* a group must settle, or a job be done, first; ask
                          again */
};

struct append_result {
    enum append_code code;
    bool repeated; /* the stored outcome of an earlier try */
    bool dry_run;  /* what would be; nothing was stored */
    uint64_t first_position, last_position, time_us;
    /* New version of each stream, in the order in which they first appear in
     * the commit; borrowed until the next call. */
    const uint64_t *versions;
    uint32_t version_count;
    /* Of every check that fails; of a dry run, of every check.  Borrowed
     * likewise. */
    const struct append_verdict *verdicts;
    uint32_t verdict_count;
    /* The events that made checks fail, oldest first, whole records; borrowed
     * likewise.  With `more` there may be more, but none before the last. */
    const uint8_t *records;
    uint32_t records_len;
    bool more;
    /* For ABOVE_HEAD and SCAN_TOO_LONG: which check and item, from 0. */
    uint32_t bad_check, bad_item;
    /* The group that must settle before this may be told: 0 if none. */
    uint64_t group;
};

/*
 * Deciding a command reads a few places in memory that no cache holds.  For a
 * caller with many commands in hand these ask for them early, so that they
 * are there when it comes to deciding: first appender_hint() for each of
 * some commands, then appender_look_ahead() on each hint, then
 * appender_look_closer() on each, then appender_append().  Each of them for
 * several in a row: what they ask for comes from memory side by side.
 * They change nothing; a request may carry the hint of its own commit only.
 *
 * The commit has not been checked: what is odd about it gives an empty hint.
 */
void appender_hint(const struct appender *appender, const uint8_t *commit,
                   uint32_t commit_len, struct append_hint *ret_hint);
void appender_look_ahead(const struct appender *appender,
                         const struct append_hint *hint);
void appender_look_closer(struct appender *appender,
                          const struct append_hint *hint);

/*
 * Decides one command.  Idempotency first, then all checks, then the events
 * are stamped and copied into the open group.  Everything is held against the
 * log with the groups in memory.
 *
 *   -CAIRN_ERECORD  not a well-formed commit; nothing happened
 *   others          the log could not be read, or no memory
 */
int appender_append(struct appender *appender,
                    const struct append_request *request,
                    struct append_result *ret_result, struct err *err);

/* Commits in the open group. */
uint32_t appender_open_commits(const struct appender *appender);

/* Bytes of the open group so far. */
uint32_t appender_open_len(const struct appender *appender);

/* Whether a group is closed and not settled. */
bool appender_in_flight(const struct appender *appender);

/* Closes the open group, which is not empty, while none is in flight. */
void appender_close_group(struct appender *appender);

/* Writes and syncs the closed group; in any thread.  Never call it twice. */
int appender_sync(struct appender *appender, struct err *err);

/*
 * After appender_sync() has returned 0: the events are in the table and below
 * the watermark when this returns.
 */
int appender_settle(struct appender *appender, struct err *err);

/* Counts messages that carried commands or outcomes, on the control page. */
void appender_count_messages(struct appender *appender, uint32_t count);

/* Number of the last group that is settled; it grows by one each time. */
uint64_t appender_settled_group(const struct appender *appender);

/* ---- housekeeping ------------------------------------------------------ */

enum appender_job {
    JOB_NONE,
    JOB_PREPARE,    /* the next segment: allocate, zero, sync */
    JOB_SEAL,       /* the full segment: footer and command ids */
    JOB_CHECKPOINT, /* of the version table */
    JOB_GROW,       /* make a larger version table */
    JOB_SWITCH,     /* make the larger table durable */
    JOB_REMOVE,     /* the smaller table */
};

/* What to do next, in the order of urgency; one at a time. */
enum appender_job appender_next_job(struct appender *appender);

/* Does it; in any thread.  -ENOSPC and -EDQUOT are no reason to stop. */
int appender_run_job(struct appender *appender, enum appender_job job,
                     struct err *err);

/*
 * Takes the result of appender_run_job() in.  Returns 0 if the appender can
 * go on: always after 0, and after a full disk, when the job will be wanted
 * again once appender_retry_jobs() has been called.
 */
int appender_job_done(struct appender *appender, enum appender_job job, int rc);

/* Whether a job has met a full disk, and was not tried again since. */
bool appender_no_space(const struct appender *appender);

/* Lets jobs that met a full disk be tried again. */
void appender_retry_jobs(struct appender *appender);

#endif
