/* SPDX-License-Identifier: MPL-2.0 */
/*
 * appender_impl - what the files of the appender share: appender.c (deciding
 * and stamping), group.c (making durable), housekeeping.c (jobs), recovery.c
 * (starting).  Nobody else includes this.
 */
#ifndef CAIRN_STORE_APPENDER_IMPL_H
#define CAIRN_STORE_APPENDER_IMPL_H

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
    struct group_buf *open;   /* always one of them; empty if len is 0 */
    struct group_buf *closed; /* NULL: none in flight */
    uint64_t last_time_us;    /* given to a commit, durable or not */
    uint64_t commit_serial;   /* counts accepted commits, for overlay marks */
    bool failed;
    bool refused; /* the log is damaged, and others may read it */

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
    struct append_failure *failures;
    uint32_t failure_count, failure_capacity;
};

/* An event that is durable, open or closed; for struct event_source. */
int appender_event_at(void *self, uint64_t address, struct event *ret_event,
                      struct err *err);

/* Gives both group buffers their memory; -ENOMEM. */
int groups_init(struct appender *appender);
void groups_free(struct appender *appender);

/*
 * Makes sure that the open group has room for an unstamped commit, and has
 * its address; APPEND_ACCEPTED, or why not.
 */
enum append_code group_reserve(struct appender *appender,
                               const struct commit *commit);

/* Notes a durable commit of the active segment in its index and ids. */
int growing_add(struct growing *growing, const struct commit *commit,
                uint64_t offset);
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
