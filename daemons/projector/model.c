/* SPDX-License-Identifier: MPL-2.0 */
#include "projector/model.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "base/text.h"

#define BUSY_MS 1000

enum parameter {
    PARAM_STREAM,
    PARAM_CATEGORY,
    PARAM_KEY,
    PARAM_VERSION,
    PARAM_POSITION,
    PARAM_TIME,
    PARAM_TYPE,
    PARAM_SCHEMA,
    PARAM_ID,
    PARAM_CORRELATION,
    PARAM_CAUSATION,
    PARAM_TAGS,
    PARAM_CONTENT_TYPE,
    PARAM_DATA,
    PARAM_META,
    PARAM_COUNT
};

static const char *const parameter_names[PARAM_COUNT] = {
    ":stream",    ":category", ":key",          ":version", ":position",
    ":time",      ":type",     ":schema",       ":id",      ":correlation",
    ":causation", ":tags",     ":content_type", ":data",    ":meta",
};

/* A compiled statement, and where its parameters go (0: not used). */
struct statement {
    sqlite3_stmt *stmt;
    int slots[PARAM_COUNT];
    unsigned line;
};

/* The statements for one handler of the definition. */
struct compiled {
    struct statement *statements;
    uint32_t count;
};

struct model {
    sqlite3 *db;
    const struct definition *definition;
    struct compiled *compiled; /* one per handler */
    sqlite3_stmt *checkpoint;
    uint64_t position;
    struct source_mark mark;
    char *tags; /* JSON of the tags of an event */
    size_t tags_room;
};

static int
fail(sqlite3 *db, struct err *err, const char *what)
{
    int code = sqlite3_errcode(db) & 0xff;
    const char *text = code == SQLITE_AUTH
        ? "not authorized: BEGIN, COMMIT, ROLLBACK and SAVEPOINT are the "
          "projector's, rows and checkpoint go in one transaction"
        : sqlite3_errmsg(db);
    bool again = code == SQLITE_BUSY || code == SQLITE_LOCKED ||
        code == SQLITE_FULL || code == SQLITE_IOERR ||
        code == SQLITE_CANTOPEN || code == SQLITE_READONLY ||
        code == SQLITE_NOMEM;

    return err_set(err, again ? -EAGAIN : -CAIRN_EPROJECTION, "%s: %s", what,
                   text);
}

static int
run(sqlite3 *db, const char *sql, const char *what, struct err *err)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK
        ? 0
        : fail(db, err, what);
}

static int
authorize(void *arg, int action, const char *a, const char *b, const char *c,
          const char *d)
{
    (void)arg;
    (void)a;
    (void)b;
    (void)c;
    (void)d;
    return action == SQLITE_TRANSACTION || action == SQLITE_SAVEPOINT
        ? SQLITE_DENY
        : SQLITE_OK;
}

/* From here on, or no longer, the statements are those of the author. */
static void
foreign(sqlite3 *db, bool on)
{
    (void)sqlite3_set_authorizer(db, on ? authorize : NULL, NULL);
}

static int
run_foreign(sqlite3 *db, const char *sql, const char *what, struct err *err)
{
    int rc;

    foreign(db, true);
    rc = run(db, sql, what, err);
    foreign(db, false);
    return rc;
}

/* ---- opening ----------------------------------------------------------- */

/* Of a database that was made before there were marks. */
static int
add_mark(sqlite3 *db, struct err *err)
{
    static const char has_it[] = "SELECT mark FROM cairn_checkpoint LIMIT 0";

    if (sqlite3_exec(db, has_it, NULL, NULL, NULL) == SQLITE_OK ||
        sqlite3_exec(db, "ALTER TABLE cairn_checkpoint ADD COLUMN mark TEXT",
                     NULL, NULL, NULL) == SQLITE_OK)
        return 0;
    return run(db, has_it, "checkpoint", err); /* somebody else was first */
}

static int
open_database(const char *path, sqlite3 **ret_db, struct err *err)
{
    sqlite3 *db = NULL;
    int rc;

    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                        NULL) != SQLITE_OK) {
        rc = err_set(err, -EAGAIN, "cannot open the database %s: %s", path,
                     db == NULL ? "no memory" : sqlite3_errmsg(db));
        (void)sqlite3_close(db);
        return rc;
    }
    (void)sqlite3_extended_result_codes(db, 1);
    (void)sqlite3_busy_timeout(db, BUSY_MS);
    /* After a power cut the newest transactions may be gone, but rows and
     * checkpoint go together: they are simply projected again. */
    rc = run(db,
             "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
             "CREATE TABLE IF NOT EXISTS cairn_checkpoint ("
             " projection TEXT PRIMARY KEY, log_id TEXT NOT NULL,"
             " position INTEGER NOT NULL, definition TEXT NOT NULL, mark TEXT"
             ") WITHOUT ROWID",
             path, err);
    if (rc == 0)
        rc = add_mark(db, err);
    if (rc < 0)
        (void)sqlite3_close(db);
    else
        *ret_db = db;
    return rc;
}

static unsigned
lines_before(const char *text, const char *end)
{
    unsigned count = 0;

    for (; text < end; text++)
        count += *text == '\n';
    return count;
}

#define WHERE_LEN (PATH_MAX + 32)

/* "FILE:LINE", for errors in statements of the definition. */
static void
name_line(char where[WHERE_LEN], const struct definition *d, unsigned line)
{
    (void)snprintf(where, WHERE_LEN, "%s:%u", d->path, line);
}

static int
find_parameters(struct statement *s, const char *where, struct err *err)
{
    int count = sqlite3_bind_parameter_count(s->stmt);

    for (int i = 1; i <= count; i++) {
        const char *name = sqlite3_bind_parameter_name(s->stmt, i);
        int known = -1;

        for (int k = 0; name != NULL && k < PARAM_COUNT; k++)
            if (strcmp(name, parameter_names[k]) == 0)
                known = k;
        if (known < 0)
            return err_set(err, -CAIRN_EPROJECTION,
                           "%s: there is no parameter %s; known are "
                           ":stream :category :key :version :position :time "
                           ":type :schema :id :correlation :causation :tags "
                           ":content_type :data :meta",
                           where, name == NULL ? "?" : name);
        s->slots[known] = i;
    }
    return 0;
}

static int
add_statement(struct compiled *c, sqlite3_stmt *stmt, unsigned line,
              const char *where, struct err *err)
{
    struct statement *grown =
        reallocarray(c->statements, c->count + 1, sizeof *grown);

    if (grown == NULL) {
        (void)sqlite3_finalize(stmt);
        return err_sys(err, -ENOMEM, "statements");
    }
    c->statements = grown;
    grown[c->count] = (struct statement){ .stmt = stmt, .line = line };
    return find_parameters(&grown[c->count++], where, err);
}

static int
compile(sqlite3 *db, const struct definition *d, const struct handler *handler,
        struct compiled *c, struct err *err)
{
    const char *at = handler->sql;

    while (*at != '\0') {
        sqlite3_stmt *stmt;
        const char *start = at;
        unsigned line;
        char where[WHERE_LEN];
        int rc;

        at += strspn(at, " \t\r\n");
        line = handler->line + lines_before(handler->sql, at);
        name_line(where, d, line);
        if (sqlite3_prepare_v3(db, at, -1, SQLITE_PREPARE_PERSISTENT, &stmt,
                               &at) != SQLITE_OK)
            return fail(db, err, where);
        if (stmt == NULL && at == start)
            break;
        if (stmt == NULL) /* a comment, or white space */
            continue;
        rc = add_statement(c, stmt, line, where, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int
compile_all(struct model *m, struct err *err)
{
    const struct definition *d = m->definition;
    int rc = 0;

    m->compiled = calloc(d->handler_count, sizeof *m->compiled);
    if (m->compiled == NULL)
        return err_sys(err, -ENOMEM, "statements");
    foreign(m->db, true);
    for (uint32_t i = 0; rc == 0 && i < d->handler_count; i++)
        rc = compile(m->db, d, &d->handlers[i], &m->compiled[i], err);
    foreign(m->db, false);
    if (rc == 0 &&
        sqlite3_prepare_v3(
            m->db,
            "UPDATE cairn_checkpoint SET position = ?1, mark = ?4"
            " WHERE projection = ?2 AND position = ?3",
            -1, SQLITE_PREPARE_PERSISTENT, &m->checkpoint, NULL) != SQLITE_OK)
        rc = fail(m->db, err, "checkpoint");
    return rc;
}

/* Makes the read model, empty, with its checkpoint at 0. */
static int
create(struct model *m, const char *log_id, struct err *err)
{
    const struct definition *d = m->definition;
    sqlite3_stmt *stmt = NULL;
    char where[WHERE_LEN];
    int rc = run(m->db, "BEGIN IMMEDIATE", "begin", err);

    name_line(where, d, d->schema_line);
    if (rc == 0 && d->schema != NULL)
        rc = run_foreign(m->db, d->schema, where, err);
    if (rc == 0 &&
        (sqlite3_prepare_v2(m->db,
                            "INSERT INTO cairn_checkpoint VALUES"
                            " (?1, ?2, 0, ?3, NULL)",
                            -1, &stmt, NULL) != SQLITE_OK ||
         sqlite3_bind_text(stmt, 1, d->name, -1, SQLITE_STATIC) != SQLITE_OK ||
         sqlite3_bind_text(stmt, 2, log_id, -1, SQLITE_STATIC) != SQLITE_OK ||
         sqlite3_bind_text(stmt, 3, d->digest, -1, SQLITE_STATIC) !=
             SQLITE_OK ||
         sqlite3_step(stmt) != SQLITE_DONE))
        rc = fail(m->db, err, "checkpoint");
    (void)sqlite3_finalize(stmt); /* its error has been taken */
    if (rc == 0)
        rc = run(m->db, "COMMIT", "commit", err);
    if (rc < 0)
        model_roll_back(m);
    return rc;
}

/* A mark of another position was left behind by a projector of before. */
static void
take_mark(struct model *m, const char *text)
{
    char *end;

    m->mark.text[0] = '\0';
    if (text != NULL && strtoull(text, &end, 10) == m->position && *end == ' ')
        (void)snprintf(m->mark.text, sizeof m->mark.text, "%s", text);
}

/* Reads the checkpoint: 1, or 0 if the projection is new here. */
static int
read_checkpoint(struct model *m, const char *log_id, struct err *err)
{
    const struct definition *d = m->definition;
    sqlite3_stmt *stmt = NULL;
    int step, rc = 0;

    if (sqlite3_prepare_v2(m->db,
                           "SELECT log_id, position, definition, mark FROM"
                           " cairn_checkpoint WHERE projection = ?1",
                           -1, &stmt, NULL) != SQLITE_OK ||
        sqlite3_bind_text(stmt, 1, d->name, -1, SQLITE_STATIC) != SQLITE_OK)
        return fail(m->db, err, "checkpoint");
    step = sqlite3_step(stmt);
    if (step == SQLITE_ROW) {
        const char *log = (const char *)sqlite3_column_text(stmt, 0);
        const char *digest = (const char *)sqlite3_column_text(stmt, 2);

        rc = 1;
        m->position = (uint64_t)sqlite3_column_int64(stmt, 1);
        take_mark(m, (const char *)sqlite3_column_text(stmt, 3));
        if (log == NULL || strcmp(log, log_id) != 0)
            rc = err_set(err, -CAIRN_EPROJECTION,
                         "the read model was built from another log (%s, this "
                         "one is %s): reset the projection",
                         log == NULL ? "?" : log, log_id);
        else if (digest == NULL || strcmp(digest, d->digest) != 0)
            rc = err_set(err, -CAIRN_EPROJECTION,
                         "the projection's file has changed since the read "
                         "model was built: reset the projection to build it "
                         "again");
    } else if (step != SQLITE_DONE) {
        rc = fail(m->db, err, "checkpoint");
    }
    (void)sqlite3_finalize(stmt); /* its error has been taken */
    return rc;
}

int
model_check(const struct definition *definition, struct err *err)
{
    struct model *m;
    int rc = model_open(":memory:", definition, "", &m, err);

    if (rc == 0)
        model_close(&m);
    /* It may be the table of another projection in the same database. */
    return rc < 0 && strstr(err->text, "no such table") != NULL ? 0 : rc;
}

int
model_open(const char *path, const struct definition *definition,
           const char *log_id, struct model **ret_model, struct err *err)
{
    struct model *m = calloc(1, sizeof *m);
    int rc;

    if (m == NULL)
        return err_sys(err, -ENOMEM, "database %s", path);
    m->definition = definition;
    rc = open_database(path, &m->db, err);
    if (rc == 0)
        rc = read_checkpoint(m, log_id, err);
    if (rc == 0)
        rc = create(m, log_id, err);
    if (rc >= 0)
        rc = compile_all(m, err);
    if (rc < 0) {
        model_close(&m);
        return err_wrap(err, "projection %s", definition->name);
    }
    *ret_model = m;
    return 0;
}

void
model_close(struct model **model)
{
    struct model *m = *model;

    *model = NULL;
    if (m == NULL)
        return;
    for (uint32_t i = 0;
         m->compiled != NULL && i < m->definition->handler_count; i++) {
        for (uint32_t k = 0; k < m->compiled[i].count; k++)
            (void)sqlite3_finalize(m->compiled[i].statements[k].stmt);
        free(m->compiled[i].statements);
    }
    free(m->compiled);
    (void)sqlite3_finalize(m->checkpoint);
    (void)sqlite3_close(m->db);
    free(m->tags);
    free(m);
}

uint64_t
model_position(const struct model *model)
{
    return model->position;
}

const struct source_mark *
model_mark(const struct model *model)
{
    return &model->mark;
}

/* ---- events ------------------------------------------------------------ */

static int
bind_text(sqlite3_stmt *stmt, int slot, struct span text)
{
    return sqlite3_bind_text64(stmt, slot, text.p, text.len, SQLITE_STATIC,
                               SQLITE_UTF8);
}

/* Bytes of a client: as text where they are text, for the JSON functions. */
static int
bind_bytes(sqlite3_stmt *stmt, int slot, struct span bytes)
{
    if (bytes.len == 0)
        return sqlite3_bind_null(stmt, slot);
    if (utf8_valid(bytes.p, bytes.len))
        return bind_text(stmt, slot, bytes);
    return sqlite3_bind_blob64(stmt, slot, bytes.p, bytes.len, SQLITE_STATIC);
}

static int
bind_uuid(sqlite3_stmt *stmt, int slot, struct uuid id)
{
    char text[UUID_TEXT_LEN + 1];

    if (uuid_is_nil(id))
        return sqlite3_bind_null(stmt, slot);
    uuid_format(id, text);
    return sqlite3_bind_text(stmt, slot, text, UUID_TEXT_LEN, SQLITE_TRANSIENT);
}

/* Writes the tags as a JSON array; names hold no control characters. */
static int
format_tags(struct model *m, const struct event *event, struct span *ret_tags)
{
    size_t room = 3;
    char *p;

    for (uint32_t i = 0; i < event->tag_count; i++)
        room += 2 * event_tag_link(event, i).name.len + 3;
    if (room > m->tags_room) {
        char *grown = realloc(m->tags, room);

        if (grown == NULL)
            return SQLITE_NOMEM;
        m->tags = grown;
        m->tags_room = room;
    }
    p = m->tags;
    *p++ = '[';
    for (uint32_t i = 0; i < event->tag_count; i++) {
        struct span name = event_tag_link(event, i).name;

        if (i > 0)
            *p++ = ',';
        *p++ = '"';
        for (uint32_t k = 0; k < name.len; k++) {
            if (name.p[k] == '"' || name.p[k] == '\\')
                *p++ = '\\';
            *p++ = name.p[k];
        }
        *p++ = '"';
    }
    *p++ = ']';
    *ret_tags = (struct span){ m->tags, (uint32_t)(p - m->tags) };
    return SQLITE_OK;
}

static int
bind_parameter(struct model *m, sqlite3_stmt *stmt, enum parameter parameter,
               int slot, const struct event *event)
{
    struct span category = stream_category(event->stream);
    struct span tags;
    int rc;

    switch (parameter) {
    case PARAM_STREAM:
        return bind_text(stmt, slot, event->stream);
    case PARAM_CATEGORY:
        return bind_text(stmt, slot, category);
    case PARAM_KEY:
        if (category.len == event->stream.len)
            return sqlite3_bind_null(stmt, slot);
        return bind_text(stmt, slot,
                         (struct span){ category.p + category.len + 1,
                                        event->stream.len - category.len - 1 });
    case PARAM_VERSION:
        return sqlite3_bind_int64(stmt, slot, (sqlite3_int64)event->version);
    case PARAM_POSITION:
        return sqlite3_bind_int64(stmt, slot, (sqlite3_int64)event->position);
    case PARAM_TIME:
        return sqlite3_bind_int64(stmt, slot, (sqlite3_int64)event->time_us);
    case PARAM_TYPE:
        return bind_text(stmt, slot, event->type);
    case PARAM_SCHEMA:
        return sqlite3_bind_int64(stmt, slot, event->schema);
    case PARAM_ID:
        return bind_uuid(stmt, slot, event_head(event)->id);
    case PARAM_CORRELATION:
        return bind_uuid(stmt, slot, event_head(event)->correlation_id);
    case PARAM_CAUSATION:
        return bind_uuid(stmt, slot, event_head(event)->causation_id);
    case PARAM_TAGS:
        rc = format_tags(m, event, &tags);
        return rc != SQLITE_OK ? rc : bind_text(stmt, slot, tags);
    case PARAM_CONTENT_TYPE:
        return bind_bytes(stmt, slot, event->content_type);
    case PARAM_DATA:
        return bind_bytes(stmt, slot, event->data);
    case PARAM_META:
    default:
        return bind_bytes(stmt, slot, event->meta);
    }
}

static int
run_statement(struct model *m, const struct statement *s,
              const struct event *event, struct err *err)
{
    int code = SQLITE_OK;
    char where[WHERE_LEN];

    for (int i = 0; code == SQLITE_OK && i < PARAM_COUNT; i++)
        if (s->slots[i] != 0)
            code = bind_parameter(m, s->stmt, (enum parameter)i, s->slots[i],
                                  event);
    if (code == SQLITE_OK)
        do
            code = sqlite3_step(s->stmt);
        while (code == SQLITE_ROW);
    if (code == SQLITE_DONE)
        code = SQLITE_OK;
    name_line(where, m->definition, s->line);
    if (code != SQLITE_OK)
        code = fail(m->db, err, where);
    (void)sqlite3_reset(s->stmt); /* says again what step has said */
    (void)sqlite3_clear_bindings(s->stmt);
    return code;
}

int
model_begin(struct model *m, struct err *err)
{
    int moved = 0;

    (void)sqlite3_file_control(m->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
    if (moved)
        return err_set(err, -ESTALE,
                       "the database %s was removed or replaced while it was "
                       "in use",
                       sqlite3_db_filename(m->db, "main"));
    return run(m->db, "BEGIN IMMEDIATE", "begin", err);
}

int
model_apply(struct model *m, const struct event *event, struct err *err)
{
    const struct definition *d = m->definition;

    for (uint32_t i = 0; i < d->handler_count; i++) {
        const char *type = d->handlers[i].type;

        if (strlen(type) != event->type.len ||
            memcmp(type, event->type.p, event->type.len) != 0)
            continue;
        for (uint32_t k = 0; k < m->compiled[i].count; k++) {
            int rc =
                run_statement(m, &m->compiled[i].statements[k], event, err);

            if (rc < 0)
                return err_wrap(err,
                                "event at position %" PRIu64
                                " (stream=%.*s version=%" PRIu64 " type=%.*s)",
                                event->position, (int)event->stream.len,
                                event->stream.p, event->version,
                                (int)event->type.len, event->type.p);
        }
        return 0;
    }
    return 0;
}

/* Why the checkpoint is not where we have left it. */
static int
explain_checkpoint(struct model *m, struct err *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc;

    if (sqlite3_prepare_v2(m->db,
                           "SELECT position FROM cairn_checkpoint WHERE"
                           " projection = ?1",
                           -1, &stmt, NULL) != SQLITE_OK ||
        sqlite3_bind_text(stmt, 1, m->definition->name, -1, SQLITE_STATIC) !=
            SQLITE_OK)
        rc = fail(m->db, err, "checkpoint");
    else if (sqlite3_step(stmt) == SQLITE_ROW)
        rc = err_set(err, -ESTALE,
                     "the checkpoint is at position %" PRIi64
                     ", not where this projector left it (%" PRIu64
                     "): another one keeps the same read model; stop one of "
                     "them",
                     (int64_t)sqlite3_column_int64(stmt, 0), m->position);
    else
        rc = err_set(err, -CAIRN_EPROJECTION,
                     "the checkpoint has gone from the database: reset the "
                     "projection");
    (void)sqlite3_finalize(stmt); /* its error has been taken */
    return rc;
}

int
model_commit(struct model *m, uint64_t position, const struct source_mark *mark,
             struct err *err)
{
    int code = sqlite3_bind_int64(m->checkpoint, 1, (sqlite3_int64)position);

    if (code == SQLITE_OK)
        code = sqlite3_bind_text(m->checkpoint, 2, m->definition->name, -1,
                                 SQLITE_STATIC);
    if (code == SQLITE_OK)
        code = sqlite3_bind_int64(m->checkpoint, 3, (sqlite3_int64)m->position);
    if (code == SQLITE_OK)
        code = mark->text[0] == '\0'
            ? sqlite3_bind_null(m->checkpoint, 4)
            : sqlite3_bind_text(m->checkpoint, 4, mark->text, -1,
                                SQLITE_TRANSIENT);
    if (code == SQLITE_OK)
        code = sqlite3_step(m->checkpoint);
    if (code != SQLITE_DONE) {
        code = fail(m->db, err, "checkpoint");
        (void)sqlite3_reset(m->checkpoint); /* says the same again */
        return code;
    }
    (void)sqlite3_reset(m->checkpoint);
    if (sqlite3_changes(m->db) != 1)
        return explain_checkpoint(m, err);
    code = run(m->db, "COMMIT", "commit", err);
    if (code == 0) {
        m->position = position;
        m->mark = *mark;
    }
    return code;
}

void
model_roll_back(struct model *m)
{
    if (!sqlite3_get_autocommit(m->db))
        (void)sqlite3_exec(m->db, "ROLLBACK", NULL, NULL, NULL);
}

/* ---- reset ------------------------------------------------------------- */

/* Drops everything but our own table, unless others live there, too. */
static int
drop_all(sqlite3 *db, const struct definition *d, struct err *err)
{
    sqlite3_stmt *stmt = NULL;
    bool others, found = true;
    int rc = 0;

    if (sqlite3_prepare_v2(db,
                           "SELECT count(*) FROM cairn_checkpoint WHERE"
                           " projection <> ?1",
                           -1, &stmt, NULL) != SQLITE_OK ||
        sqlite3_bind_text(stmt, 1, d->name, -1, SQLITE_STATIC) != SQLITE_OK ||
        sqlite3_step(stmt) != SQLITE_ROW)
        rc = fail(db, err, "reset");
    others = rc == 0 && sqlite3_column_int(stmt, 0) > 0;
    (void)sqlite3_finalize(stmt); /* its error has been taken */
    if (others)
        return err_set(err, -CAIRN_EPROJECTION,
                       "the database holds other projections, and this one "
                       "has no section '--@ reset' that says what is its own");
    while (rc == 0 && found) {
        char *sql = NULL;

        if (sqlite3_prepare_v2(
                db,
                "SELECT 'DROP ' || type || ' \"' || replace(name, '\"',"
                " '\"\"') || '\"' FROM sqlite_schema WHERE name NOT LIKE"
                " 'sqlite\\_%' ESCAPE '\\' AND name <> 'cairn_checkpoint' AND"
                " type IN ('table', 'view', 'trigger') LIMIT 1",
                -1, &stmt, NULL) != SQLITE_OK)
            return fail(db, err, "reset");
        found = sqlite3_step(stmt) == SQLITE_ROW;
        if (found)
            sql = strdup((const char *)sqlite3_column_text(stmt, 0));
        (void)sqlite3_finalize(stmt); /* its error has been taken */
        if (sql != NULL)
            rc = run(db, sql, "reset", err);
        free(sql);
    }
    return rc;
}

int
model_reset(const char *path, const struct definition *d, struct err *err)
{
    sqlite3 *db;
    char *sql = NULL;
    char where[WHERE_LEN];
    int rc = open_database(path, &db, err);

    if (rc < 0)
        return err_wrap(err, "projection %s", d->name);
    name_line(where, d, d->reset_line);
    rc = run(db, "BEGIN IMMEDIATE", "begin", err);
    if (rc == 0)
        rc = d->reset != NULL ? run_foreign(db, d->reset, where, err)
                              : drop_all(db, d, err);
    if (rc == 0) {
        sql = sqlite3_mprintf(
            "DELETE FROM cairn_checkpoint WHERE projection = %Q; COMMIT",
            d->name);
        rc = sql == NULL ? err_sys(err, -ENOMEM, "reset")
                         : run(db, sql, "reset", err);
    }
    sqlite3_free(sql);
    (void)sqlite3_close(db); /* rolls back what was not committed */
    return rc < 0 ? err_wrap(err, "projection %s", d->name) : 0;
}
