/* SPDX-License-Identifier: MPL-2.0 */
/*
 * appender_impl - what the files of the appender share: appender.c (deciding
 * and stamping), repeats.c (commands that come again), checks.c and causes.c
 * (what commands require, and the events that are in the way), hints.c (asking
 * for memory early), group.c (making durable), housekeeping.c (jobs),
 * recovery.c (starting).  Nobody else includes this.
 */
#ifndef CAIRN_STORE_APPENDER_IMPL_H
#define CAIRN_STORE_APPENDER_IMPL_H

#include <errno.h>

#include "store/appender.h"
#include "store/ids.h"
#include "store/index.h"
#include "store/overlay.h"

/* The end of the log, as far as it is durable. */
struct tail {
    uint64_t position; /* the last one */
    uint64_t time_us;  /* of the last commit */
    uint64_t group;    /* number of the last group; 0: none */
    uint64_t address;  /* where the next group goes if there is room */
    uint32_t crc;      /* header checksum of the last group; 0: none */
};

/* A segment that is still open for writing, and what its footer will say. */
struct growing {
    int fd; /* -1: none */
    struct segment_info info;
    struct index index;
    struct id_set ids;
    uint32_t commit_count;
};

/* A group that is open or closed. */
struct group_buf {
    uint8_t *data; /* aligned to SYS_UNCACHED_UNIT */
    uint32_t len;  /* used, header included; once closed, all of it */
    uint32_t commit_count;
    uint64_t number, address;
    uint64_t first_position, last_position;
    uint64_t time_us; /* of its last commit */
    uint64_t data_bytes;
    uint32_t crc;        /* of its header, once written */
    bool spoiled;        /* something failed while it was open */
    bool begins_segment; /* in prepared.tmp, which gets `info` as its header */
    struct segment_info info;
    int fd; /* of that segment, once it has begun */
    struct overlay overlay;
    struct id_set ids;
    uint32_t *prints; /* of the command id of each commit */
    uint32_t print_capacity;
};

/* An event that made a check fail. */
struct cause {
    uint64_t position, address;
};

/* Memory for events that are shown; kept for the next time. */
struct causes {
    struct cause *found;
    uint32_t count, capacity;
    uint8_t *records;
    size_t records_len, records_capacity;
};

/* The last look-up of a key, which deciding and stamping both need. */
struct known {
    bool valid;
    struct key key; /* its name lies in the command that is being decided */
    uint64_t address;
    struct link link;
};

/* The hash of a name that comes again and again. */
struct familiar {
    uint64_t hash; /* 0: none yet */
    uint32_t len;
    char name[UINT8_MAX];
};

struct appender {
    const struct sys *sys;
    char dir[PATH_LEN_MAX];
    struct appender_options options;
    int lock_fd;
    struct evlog *log;
    struct table *table;
    struct control *control;
    struct ids *ids;
    struct event_source source; /* durable or not */

    struct tail tail;
    struct growing active;
    struct growing full;       /* to be sealed, if full.fd >= 0 */
    struct tail full_end;      /* its last group */
    struct id_times id_times;  /* of all durable commits */
    struct id_times old_times; /* of those before the active segment */

    struct group_buf groups[2];
    struct group_buf *open;         /* always one of them; empty if len is 0 */
    struct group_buf *closed;       /* NULL: none in flight */
    uint64_t last_time_us;          /* given to a commit, durable or not */
    uint8_t id_key[16];             /* hash key of all id sets in memory */
    uint32_t id_print;              /* of the command that is being decided */
    const struct append_hint *hint; /* for it, or NULL */
    struct known known;
    struct familiar type;
    uint64_t commit_serial; /* counts accepted commits, for overlay marks */
    bool failed;
    bool refused;  /* the log is damaged, and others may read it */
    bool given_up; /* the start was, and nothing else was wrong */
    bool no_room;  /* for a start; another one may find some */

    enum appender_job job;                         /* running */
    uint64_t job_slots;                            /* of the table it makes */
    struct table_mark job_mark;                    /* for its checkpoint */
    struct table *grown;                           /* what JOB_GROW has made */
    bool prepared;                                 /* prepared.tmp is there */
    bool prepare_failed, seal_failed, grow_failed; /* for want of space */
    uint64_t keys_wanted;      /* room for so many in the table; 0: enough */
    uint64_t stale_generation; /* a table to remove; 0: none */
    uint64_t checkpoint_at;    /* bytes written when it was last done */
    uint64_t bytes_written;

    struct overlay scratch; /* streams of a repeated commit */
    uint64_t *versions;
    uint32_t version_count, version_capacity;
    struct append_verdict *verdicts;
    uint32_t verdict_count, verdict_capacity;
    struct causes causes;
};

/* An event that is durable, open or closed; for struct event_source. */
int appender_event_at(void *self, uint64_t address, struct event *ret_event,
                      struct err *err);

/* A commit likewise. */
int appender_commit_at(struct appender *appender, uint64_t address,
                       struct commit *ret_commit, struct err *err);

/* The number of the group in memory that holds an address; 0: durable. */
uint64_t appender_group_of(const struct appender *appender, uint64_t address);

/* The position of the last event, durable or not. */
uint64_t appender_head(const struct appender *appender);

struct key appender_key(struct appender *appender, enum key_kind kind,
                        struct span name);

/* The newest event of a key, durable or not: 1 and its address, or 0. */
int appender_find_newest(struct appender *appender, const struct key *key,
                         uint64_t *ret_address, struct err *err);

/* The same with its link under the key; what was found is kept for the command
 * that is being decided. */
int appender_find_link(struct appender *appender, const struct key *key,
                       uint64_t *ret_address, struct link *ret_link,
                       struct err *err);

/* Adds a version to the outcome; -ENOMEM. */
int appender_add_version(struct appender *appender, uint64_t version);

/* Whether a failure is one that goes away when there is space again. */
static inline bool
is_no_space(int rc)
{
    return rc == -ENOSPC || rc == -EDQUOT;
}

/* ---- commands that come again ------------------------------------------ */

/* The commit that a command id has become, durable or not: 1, or 0. */
int repeats_find(struct appender *appender, struct uuid id,
                 uint64_t *ret_address, struct err *err);

/*
 * Fills in the outcome of the commit at `address` for the same command sent
 * again as `sent`, or says that its content is another.
 */
int repeats_recall(struct appender *appender, const struct commit *sent,
                   uint64_t address, struct append_result *result,
                   struct err *err);

/* Fills in the versions that the streams of a commit would get. */
int repeats_foretell(struct appender *appender, const struct commit *sent,
                     struct err *err);

/* ---- checks ------------------------------------------------------------ */

/*
 * Holds all checks of a command against the log, durable or not: result->code
 * is APPEND_ACCEPTED, or why not, with verdicts and, if asked for, records.
 */
int checks_run(struct appender *appender, const struct append_request *request,
               struct append_result *result, struct err *err);

/*
 * The newest event behind `floor` that an item of a query matches: its
 * position, or 0.  *left is lowered by the events that had to be looked at; 1
 * if it was not enough, and nothing is decided.
 */
int query_newest(struct appender *appender, const struct query_item *item,
                 uint64_t floor, uint32_t *left, uint64_t *ret_position,
                 struct err *err);

/* Whether an item of a query matches an event. */
bool query_matches(const struct query_item *item, const struct event *event);

/* The tag of an item with the fewest events behind `floor`, and its newest
 * event: 1; or 0 if one of its tags has none there. */
int query_rarest_tag(struct appender *appender, const struct query_item *item,
                     uint64_t floor, struct key *ret_key, uint64_t *ret_address,
                     struct event *ret_event, struct err *err);

/*
 * Collects the events that made checks fail, as request->show and the options
 * bound it, into the result.
 */
int causes_collect(struct appender *appender,
                   const struct append_request *request,
                   struct append_result *result, struct err *err);

/* ---- groups ------------------------------------------------------------ */

/* Gives both group buffers their memory; -ENOMEM. */
int groups_init(struct appender *appender);
void groups_free(struct appender *appender);

/*
 * Makes sure that the open group has room for an unstamped commit, and has
 * its address; APPEND_ACCEPTED, or why not.
 */
enum append_code group_reserve(struct appender *appender,
                               const struct commit *commit);

/* Notes the command id of a commit that lies at `at` of the open group, by its
 * print; -ENOMEM. */
int group_note_id(struct group_buf *group, uint32_t print, uint32_t at);

/*
 * Whether a commit could ever be stored as things are: APPEND_ACCEPTED,
 * APPEND_TOO_LARGE or APPEND_NO_SPACE.  Changes nothing.
 */
enum append_code group_foresee(const struct appender *appender,
                               const struct commit *commit);

/* Notes a durable commit of the active segment in its index and ids; `print` is
 * that of its command id. */
int growing_add(struct growing *growing, const struct commit *commit,
                uint32_t print, uint64_t offset);
void growing_free(const struct sys *sys, struct growing *growing);

/* Seals a segment: footer, command ids. */
int growing_seal(const struct sys *sys, const char *dir,
                 struct growing *growing, const struct tail *end,
                 struct err *err);

/* The mark of a checkpoint of `table` that reflects the durable end. */
struct table_mark appender_mark(const struct appender *appender,
                                const struct table *table);

/* Puts all keys of one durable event into the table. */
int table_put_event(struct table *table, const struct event *event,
                    uint64_t address, const struct event_source *source,
                    struct err *err);

#endif
