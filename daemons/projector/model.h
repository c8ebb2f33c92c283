/* SPDX-License-Identifier: MPL-2.0 */
/*
 * model - a read model in SQLite, and the statements that keep it.
 *
 * Rows and checkpoint are written in one transaction, so an event takes
 * effect exactly once.  The checkpoint lies in the table cairn_checkpoint of
 * the same database:
 *
 *   projection TEXT PRIMARY KEY, log_id TEXT, position INTEGER,
 *   definition TEXT   digest of the projection's file
 *   mark TEXT         of the event at the position (source.h), if it is known
 *
 * Parameters that statements may use:
 *
 *   :stream :category :key       the name, what stands before its first '-',
 *                                and what stands behind it (NULL: no '-')
 *   :version :position           numbers
 *   :time                        microseconds since 1970-01-01 UTC
 *   :type :schema                event type; version of the shape of its data
 *   :id :correlation :causation  UUIDs as text (NULL: none)
 *   :tags                        a JSON array of texts
 *   :content_type
 *   :data :meta                  text if it is UTF-8, else a blob
 *                                (NULL: no bytes)
 *
 * Errors:   -CAIRN_EPROJECTION: an event or the file is at fault; -EAGAIN:
 *           try again (locked, full disk, ...); *err says what SQLite said.
 * Threads:  one.
 */
#ifndef CAIRN_PROJECTOR_MODEL_H
#define CAIRN_PROJECTOR_MODEL_H

#include "projector/definition.h"
#include "projector/source.h"

struct model;

/*
 * Opens the database, makes the schema if the projection is new in it, and
 * compiles the statements.
 *
 *   -CAIRN_EPROJECTION  built by another version of the file, or from
 *                       another log: reset it; or the SQL is wrong
 */
int model_open(const char *path, const struct definition *definition,
               const char *log_id, struct model **ret_model, struct err *err);

/*
 * Tries schema and statements on an empty database in memory, so that a
 * mistake is found before there is a log to read; -CAIRN_EPROJECTION.
 */
int model_check(const struct definition *definition, struct err *err);

/* Closes it and sets *model to NULL; NULL is fine. */
void model_close(struct model **model);

/* The position that the read model has taken in. */
uint64_t model_position(const struct model *model);

/* The mark that was written with it; empty if none was. */
const struct source_mark *model_mark(const struct model *model);

/* Begins a transaction; -ESTALE: the file has gone, open the model again. */
int model_begin(struct model *model, struct err *err);

/* Runs the statements for an event; none for its type: nothing happens. */
int model_apply(struct model *model, const struct event *event,
                struct err *err);

/*
 * Writes the checkpoint and commits.
 *
 *   -ESTALE             the checkpoint in the database has moved: take the
 *                       transaction back and open the model again
 *   -CAIRN_EPROJECTION  it has gone
 */
int model_commit(struct model *model, uint64_t position,
                 const struct source_mark *mark, struct err *err);

/* Takes the transaction back. */
void model_roll_back(struct model *model);

/*
 * Takes the read model down, as the definition says or, if it does not say,
 * by dropping all there is in the database, if the database holds no other
 * projection.  The database is opened and closed for it.
 */
int model_reset(const char *path, const struct definition *definition,
                struct err *err);

#endif
