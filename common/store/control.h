/* SPDX-License-Identifier: MPL-2.0 */
/*
 * control - the page that the writer shares with everybody who reads the log:
 * above all the watermark.
 *
 * A small mapped file, best on a memory file system: it dies with the machine
 * and is made again.  Every field is one aligned 8-byte word, stored and
 * loaded whole, and none depends on another, so there is nothing to lock and
 * nothing that a kill could leave half done.
 *
 *   off  size  field
 *     0     8  magic            "CAIRNCTL"
 *     8     8  version          1
 *    16    16  log_id
 *    32     8  epoch            changes when what was readable is taken back
 *    40     8  state            enum control_state
 *    48     8  watermark        the highest durable position
 *    56     8  table_generation the version table that reflects it
 *    64     8  writer_pid
 *    72     8  started_us       when the writer began to serve
 *    80     8  time_us          of the commit at the watermark
 *    88  8*16  counters         enum control_counter; since it started
 *   216     8  index_end        the version table knows the events before this
 *                               position; 0: all up to the watermark
 *
 * Order of stores after a sync: table entries, counters, watermark.  So who
 * loads the watermark first and the generation then finds, in the table of
 * that generation, everything up to that watermark.  On a new page started_us
 * is 0 until all the others are true: till then there is nothing to read.
 *
 * Errors:   0, or negative; -CAIRN_EOTHERLOG.
 * Threads:  one writer thread; any number of readers.
 */
#ifndef CAIRN_STORE_CONTROL_H
#define CAIRN_STORE_CONTROL_H

#include <stdbool.h>

#include "base/err.h"
#include "base/uuid.h"
#include "store/sys.h"

enum control_state {
    CONTROL_STOPPED = 0,    /* the writer ended in good order */
    CONTROL_RECOVERING = 1, /* it is reading the log */
    CONTROL_SERVING = 2,
    CONTROL_NO_SPACE = 3, /* serving, but it cannot make another segment */
    CONTROL_FAILED = 4,   /* a write or sync failed: it has ended */
    CONTROL_REFUSED = 5,  /* the log is damaged: it may only be read */
};

enum control_counter {
    COUNT_COMMANDS,  /* decided */
    COUNT_REPEATED,  /* of these: answered with a stored outcome */
    COUNT_CONFLICTS, /* of these: refused by a check */
    COUNT_COMMITS,
    COUNT_EVENTS,
    COUNT_GROUPS,
    COUNT_SYNCS,       /* of the log, one for each group */
    COUNT_BYTES,       /* of groups, padding included */
    COUNT_DATA_BYTES,  /* of meta and data in them */
    COUNT_CHECKPOINTS, /* of the version table */
    COUNT_MESSAGES,    /* with commands or outcomes, from and to gateways */
    COUNT_COUNTERS = 16
};

#define CONTROL_LEN 4096u

struct control;

/*
 * Opens the page for the writer, makes it if need be, and says RECOVERING.
 * The watermark that an earlier life of the same log left stays.
 */
int control_create(const struct sys *sys, const char *path, struct uuid log_id,
                   struct control **ret_control, struct err *err);

/* Opens it for reading; -ENOENT if no writer has made it yet. */
int control_open(const struct sys *sys, const char *path,
                 struct control **ret_control, struct err *err);

/* Unmaps it and sets *control to NULL; NULL is fine. */
void control_close(struct control **control);

/* Whether CONTROL_LEN bytes are a page of ours. */
bool control_valid(const uint8_t *data);

struct uuid control_log_id(const struct control *control);
uint64_t control_epoch(const struct control *control);
enum control_state control_state(const struct control *control);
uint64_t control_watermark(const struct control *control);
uint64_t control_table_generation(const struct control *control);
uint64_t control_writer_pid(const struct control *control);
uint64_t control_started_us(const struct control *control);
uint64_t control_time_us(const struct control *control);
uint64_t control_index_end(const struct control *control);
uint64_t control_counter(const struct control *control,
                         enum control_counter counter);

/* For the writer. */
void control_set_state(struct control *control, enum control_state state);
void control_set_watermark(struct control *control, uint64_t position,
                           uint64_t time_us);
void control_set_table_generation(struct control *control, uint64_t generation);
void control_set_epoch(struct control *control, uint64_t epoch);
void control_set_index_end(struct control *control, uint64_t position);
void control_set_started(struct control *control, uint64_t pid,
                         uint64_t started_us);
void control_count(struct control *control, enum control_counter counter,
                   uint64_t more);

#endif
