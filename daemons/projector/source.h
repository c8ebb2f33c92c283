/* SPDX-License-Identifier: MPL-2.0 */
/*
 * source - where a projector gets its events: the mapped log of the same
 * machine, or a publisher.  Both give the same events in the same batches.
 *
 * Threads: one.
 */
#ifndef CAIRN_PROJECTOR_SOURCE_H
#define CAIRN_PROJECTOR_SOURCE_H

#include "store/reader.h"
#include "store/select.h"
#include "wire/curve.h"
#include "wire/query.h"

/* What is known of the log. */
struct source_state {
    char log_id[UUID_TEXT_LEN + 1];
    uint64_t watermark;
};

/*
 * What tells an event from every other one that may come to stand at its
 * position, if the log loses its end and grows again: "POSITION ID TIME".
 */
#define SOURCE_MARK_LEN (20u + 1 + UUID_TEXT_LEN + 1 + 20)

struct source_mark {
    char text[SOURCE_MARK_LEN + 1]; /* "": not known */
};

/* The next events behind a position, as far as they were asked for. */
struct source_batch {
    uint64_t last; /* all positions up to here are taken in with the batch */
    uint64_t watermark;
    uint32_t event_max;
    struct source_mark mark; /* of `last` */
    /* Of the publisher: the frames, and where the next record begins. */
    struct message frames;
    int frame;
    size_t at;
    /* Of the mapped log. */
    struct cursor cursor;
};

struct source;

/* Reads the log in `dir` through its maps. */
int source_open_mapped(const char *dir, const char *control_path,
                       const struct selector *selectors,
                       uint32_t selector_count, struct source **ret_source,
                       struct err *err);

/*
 * Reads through the publisher at `endpoint`, which is borrowed; `curve` is for
 * tcp, NULL on ipc, and borrowed by this call only.
 */
int source_open_publisher(const char *endpoint,
                          const struct curve_client *curve,
                          const struct selector *selectors,
                          uint32_t selector_count, struct source **ret_source,
                          struct err *err);

/* Closes it and sets *source to NULL; NULL is fine. */
void source_close(struct source **source);

/* A socket to wait for, or NULL. */
struct sock *source_sock(struct source *source);

/*
 * What is known of the log; 0 if there is nothing to say yet, with the reason
 * in *err; negative if it cannot be read.
 */
int source_state(struct source *source, struct source_state *ret_state,
                 struct err *err);

/*
 * The batch behind `position`, of at most event_max positions: 1; or 0 if
 * there is nothing yet.  To be called again when the socket is readable, when
 * the doorbell rings, and now and then.
 */
int source_next(struct source *source, uint64_t position, uint32_t event_max,
                struct source_batch *ret_batch, struct err *err);

/* The next event of a batch: 1; 0 at its end. */
int source_event(struct source *source, struct source_batch *batch,
                 struct event *ret_event, struct err *err);

/* The mark of an event. */
void source_mark_of(const struct event *event, struct source_mark *ret_mark);

/*
 * The mark of a position up to the watermark, not while a batch is asked for:
 * 1, with an empty one if the event cannot be read; 0 if it is not there yet.
 */
int source_find_mark(struct source *source, uint64_t position,
                     struct source_mark *ret_mark, struct err *err);

/*
 * Whether all events of the batch that was read are of the log that
 * source_next() looked at, now that they have been read; -ESTALE if not.
 */
int source_still(struct source *source, struct err *err);

/* Releases what a batch holds. */
void source_done(struct source_batch *batch);

/*
 * Says that a read model at `position` has taken in what a log that ends at
 * `watermark` does not hold; -CAIRN_EPROJECTION.  To wait until the log is as
 * long again would be to go on from another history.
 */
int source_ahead(uint64_t position, uint64_t watermark, struct err *err);

/*
 * Holds the mark of a read model's checkpoint against the one in the log; says
 * -CAIRN_EPROJECTION if it was built from another history.
 */
int source_check_mark(uint64_t position, const struct source_mark *taken_in,
                      const struct source_mark *found, struct err *err);

/* Forgets a request that is under way: the next batch is another. */
void source_restart(struct source *source);

#endif
