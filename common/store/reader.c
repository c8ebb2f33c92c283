/* SPDX-License-Identifier: MPL-2.0 */
#include "store/reader.h"

#include <errno.h>
#include <stdlib.h>

/* A table may be replaced between reading its generation and opening it. */
#define TABLE_TRIES 10

struct reader {
    struct evlog *log;
    struct control *control;
    uint64_t epoch;
    struct table *table; /* NULL until the first look-up */
    struct event_source source;
};

/* Reads an event, in a segment that may have begun since we last looked. */
static int
event_at(void *self, uint64_t address, struct event *ret_event, struct err *err)
{
    struct reader *reader = self;
    uint64_t number = address_segment(address);

    if (number > evlog_segment_count(reader->log)) {
        int rc = evlog_reach_segment(reader->log, number, err);

        if (rc < 0)
            return rc;
    }
    return evlog_event_at(reader->log, address, ret_event, err);
}

int
reader_open(const struct sys *sys, const char *dir, const char *control_path,
            struct reader **ret_reader, struct err *err)
{
    struct reader *reader = calloc(1, sizeof *reader);
    int rc;

    if (reader == NULL)
        return err_sys(err, -ENOMEM, "log %s", dir);
    reader->source = (struct event_source){ reader, event_at };
    rc = control_open(sys, control_path, &reader->control, err);
    if (rc == 0)
        rc = reader_refused(reader)
            ? evlog_open_damaged(sys, dir, &reader->log, err)
            : evlog_open(sys, dir, &reader->log, err);
    if (rc == 0 &&
        !uuid_equal(evlog_id(reader->log), control_log_id(reader->control)))
        rc = err_set(err, -CAIRN_EOTHERLOG,
                     "control page %s belongs to another log than %s",
                     control_path, dir);
    /* A page on which nothing stands yet must not look like an empty log. */
    if (rc == 0 && control_started_us(reader->control) == 0)
        rc = err_set(err, -EAGAIN, "log %s: the writer has not read it yet",
                     dir);
    if (rc < 0) {
        reader_close(&reader);
        return rc;
    }
    reader->epoch = control_epoch(reader->control);
    *ret_reader = reader;
    return 0;
}

void
reader_close(struct reader **reader)
{
    struct reader *r = *reader;

    *reader = NULL;
    if (r == NULL)
        return;
    table_close(&r->table);
    evlog_close(&r->log);
    control_close(&r->control);
    free(r);
}

struct evlog *
reader_log(struct reader *reader)
{
    return reader->log;
}

const struct control *
reader_control(const struct reader *reader)
{
    return reader->control;
}

const struct event_source *
reader_source(const struct reader *reader)
{
    return &reader->source;
}

uint64_t
reader_index_end(const struct reader *reader)
{
    return control_index_end(reader->control);
}

bool
reader_refused(const struct reader *reader)
{
    return control_state(reader->control) == CONTROL_REFUSED;
}

int
reader_watermark(struct reader *reader, uint64_t *ret_watermark,
                 struct err *err)
{
    uint64_t watermark = control_watermark(reader->control);

    if (control_epoch(reader->control) != reader->epoch)
        return err_set(err, -ESTALE,
                       "log %s: it was replaced, or its end was given up: "
                       "what was read from it may no longer be true",
                       evlog_dir(reader->log));
    *ret_watermark = watermark;
    return 0;
}

/* Opens the table that is in use now, unless it is open. */
static int
use_table(struct reader *reader, struct err *err)
{
    int rc = -ENOENT;

    for (int i = 0; i < TABLE_TRIES && rc < 0; i++) {
        uint64_t generation = control_table_generation(reader->control);

        if (reader->table != NULL &&
            table_generation(reader->table) == generation)
            return 0;
        table_close(&reader->table);
        rc = table_open(evlog_sys(reader->log), evlog_dir(reader->log),
                        evlog_id(reader->log), generation, false,
                        &reader->table, err);
    }
    return rc;
}

int
reader_find(struct reader *reader, enum key_kind kind, struct span name,
            uint64_t watermark, uint64_t *ret_address, struct event *ret_event,
            struct err *err)
{
    struct key key = { .kind = kind, .name = name };
    uint64_t address;
    struct event event;
    struct link link;
    int rc;

    if (watermark == 0)
        return 0;
    rc = use_table(reader, err);
    if (rc < 0)
        return rc;
    key.hash = table_hash(reader->table, kind, name);
    rc = table_find_event(reader->table, &key, &reader->source, &address,
                          &event, &link, err);
    if (rc <= 0)
        return rc;
    /* The table may know events that became durable since we asked. */
    while (event.position > watermark) {
        if (link.prev == ADDRESS_NONE)
            return 0;
        address = link.prev;
        rc = event_at(reader, address, &event, err);
        if (rc < 0)
            return rc;
        if (!key_link(&key, &event, &link))
            return err_set(err, -CAIRN_EDAMAGED,
                           "log %s: a link of '%.*s' leads to an event that "
                           "does not belong to it",
                           evlog_dir(reader->log), (int)name.len, name.p);
    }
    *ret_address = address;
    *ret_event = event;
    return 1;
}
