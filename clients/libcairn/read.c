/* SPDX-License-Identifier: MPL-2.0 */
#include <stdlib.h>
#include <string.h>

#include "libcairn/impl.h"

#define FOLLOW_WAIT_MS 10000u

struct cairn_query {
    struct read_request request;
    char names[SELECTORS_MAX][NAME_LEN_MAX + 1];
};

struct cairn_page {
    struct query_result result;
    struct cairn_event event;
};

/* ---- queries ----------------------------------------------------------- */

int
cairn_query_new(struct cairn_query **ret_query)
{
    struct cairn_query *query = calloc(1, sizeof *query);

    if (query == NULL)
        return CAIRN_ERR_MEMORY;
    *ret_query = query;
    return CAIRN_OK;
}

void
cairn_query_free(struct cairn_query **query)
{
    if (query == NULL)
        return;
    free(*query);
    *query = NULL;
}

static int
add_selector(struct cairn_query *query, uint8_t kind, const char *name)
{
    struct read_request *r = &query->request;
    size_t len = strlen(name);
    char *copy;

    if (len > NAME_LEN_MAX || r->selector_count == SELECTORS_MAX)
        return CAIRN_ERR_ARGUMENT;
    copy = query->names[r->selector_count];
    memcpy(copy, name, len + 1);
    r->selectors[r->selector_count++] =
        (struct read_selector){ kind, (uint16_t)len, copy };
    return CAIRN_OK;
}

int
cairn_query_stream(struct cairn_query *query, const char *stream)
{
    return add_selector(query, SELECT_STREAM, stream);
}

int
cairn_query_category(struct cairn_query *query, const char *category)
{
    return add_selector(query, SELECT_CATEGORY, category);
}

int
cairn_query_type(struct cairn_query *query, const char *type)
{
    return add_selector(query, SELECT_TYPE, type);
}

int
cairn_query_tag(struct cairn_query *query, const char *tag)
{
    return add_selector(query, SELECT_TAG, tag);
}

static void
set_from(struct cairn_query *query, enum read_from kind, uint64_t from)
{
    query->request.from_kind = (uint8_t)kind;
    query->request.from = from;
}

void
cairn_query_from(struct cairn_query *query, uint64_t number)
{
    set_from(query, READ_FROM_NUMBER, number);
}

void
cairn_query_from_end(struct cairn_query *query, uint64_t count)
{
    set_from(query, READ_FROM_END, count);
}

void
cairn_query_from_time(struct cairn_query *query, uint64_t time_us)
{
    set_from(query, READ_FROM_TIME, time_us);
}

void
cairn_query_backward(struct cairn_query *query)
{
    query->request.direction = READ_BACKWARD;
}

void
cairn_query_page(struct cairn_query *query, uint32_t events, uint32_t bytes)
{
    query->request.event_max = events;
    query->request.len_max = bytes;
}

void
cairn_query_wait(struct cairn_query *query, uint32_t wait_ms)
{
    query->request.wait_ms = wait_ms;
}

void
cairn_query_continue(struct cairn_query *query, const struct cairn_page *page)
{
    set_from(query, READ_FROM_NUMBER, page->result.answer.next);
}

/* ---- pages ------------------------------------------------------------- */

static int
begin(struct cairn *c)
{
    struct peer_options peer;
    int rc = client_begin(c);

    if (rc < 0 || c->query_open)
        return rc;
    peer = client_peer(c, c->queries);
    rc = query_client_open_peer(&c->query, &peer, (uint32_t)c->deadline_ms,
                                &c->err);
    c->query_open = rc == 0;
    return client_result(rc);
}

static int
read_page(struct cairn *c, const struct read_request *request,
          struct cairn_page **ret_page)
{
    struct read_request copy = *request;
    struct cairn_page *page;
    int rc = begin(c);

    if (rc < 0)
        return rc;
    page = calloc(1, sizeof *page);
    if (page == NULL)
        return client_fail(c, CAIRN_ERR_MEMORY, "no memory");
    rc = query_read(&c->query, &copy, &page->result, &c->err);
    if (rc < 0) {
        free(page);
        return client_result(rc);
    }
    *ret_page = page;
    return CAIRN_OK;
}

int
cairn_read(struct cairn *cairn, const struct cairn_query *query,
           struct cairn_page **ret_page)
{
    return read_page(cairn, &query->request, ret_page);
}

void
cairn_page_free(struct cairn_page **page)
{
    if (page == NULL || *page == NULL)
        return;
    query_result_free(&(*page)->result);
    free(*page);
    *page = NULL;
}

static void
copy_name(char name[NAME_LEN_MAX + 1], struct span text)
{
    memcpy(name, text.p, text.len);
    name[text.len] = '\0';
}

void
event_take(struct cairn_event *event, const struct event *e)
{
    event->e = *e;
    copy_name(event->stream, e->stream);
    copy_name(event->type, e->type);
    copy_name(event->content_type, e->content_type);
    for (uint32_t i = 0; i < e->tag_count; i++)
        copy_name(event->tags[i], event_tag_link(e, i).name);
}

int
cairn_page_next(struct cairn_page *page, const struct cairn_event **ret_event)
{
    struct event e;
    int rc = query_next(&page->result, &e, NULL);

    if (rc <= 0)
        return client_result(rc);
    event_take(&page->event, &e);
    *ret_event = &page->event;
    return 1;
}

int
cairn_page_at_end(const struct cairn_page *page)
{
    return page->result.answer.at_end;
}

uint64_t
cairn_page_next_from(const struct cairn_page *page)
{
    return page->result.answer.next;
}

uint64_t
cairn_page_watermark(const struct cairn_page *page)
{
    return page->result.answer.watermark;
}

uint64_t
cairn_page_stream_version(const struct cairn_page *page)
{
    return page->result.answer.stream_version;
}

/* ---- all of them ------------------------------------------------------- */

static int
give_events(struct cairn *c, struct cairn_query *query, struct cairn_page *page,
            cairn_event_fn *fn, void *arg)
{
    bool by_version = query->request.selector_count == 1 &&
        query->request.selectors[0].kind == SELECT_STREAM;
    bool forward = query->request.direction == READ_FORWARD;
    const struct cairn_event *event = NULL;
    int rc;

    while ((rc = cairn_page_next(page, &event)) > 0) {
        rc = fn(arg, event);
        if (rc != 0)
            return rc;
        if (forward)
            cairn_query_from(
                query, (by_version ? event->e.version : event->e.position) + 1);
    }
    if (rc < 0)
        return client_fail(c, rc, "an event does not pass its checksums");
    cairn_query_continue(query, page);
    return 0;
}

static int
run(struct cairn *c, struct cairn_query *query, bool follow, cairn_event_fn *fn,
    void *arg)
{
    struct cairn_page *page = NULL;
    bool done = false;
    int rc = 0;

    while (rc == 0 && !done) {
        struct read_request request = query->request;

        request.wait_ms = follow ? FOLLOW_WAIT_MS : 0;
        rc = read_page(c, &request, &page);
        if (rc < 0)
            break;
        rc = give_events(c, query, page, fn, arg);
        done = !follow && cairn_page_at_end(page);
        cairn_page_free(&page);
    }
    return rc;
}

int
cairn_read_all(struct cairn *cairn, struct cairn_query *query,
               cairn_event_fn *fn, void *arg)
{
    return run(cairn, query, false, fn, arg);
}

int
cairn_follow(struct cairn *cairn, struct cairn_query *query, cairn_event_fn *fn,
             void *arg)
{
    if (query->request.direction != READ_FORWARD)
        return client_fail(cairn, CAIRN_ERR_ARGUMENT,
                           "only a forward query can be followed");
    return run(cairn, query, true, fn, arg);
}

/* ---- events ------------------------------------------------------------ */

uint64_t
cairn_event_position(const struct cairn_event *event)
{
    return event->e.position;
}

uint64_t
cairn_event_version(const struct cairn_event *event)
{
    return event->e.version;
}

uint64_t
cairn_event_time(const struct cairn_event *event)
{
    return event->e.time_us;
}

const char *
cairn_event_stream(const struct cairn_event *event)
{
    return event->stream;
}

const char *
cairn_event_type(const struct cairn_event *event)
{
    return event->type;
}

const char *
cairn_event_content_type(const struct cairn_event *event)
{
    return event->content_type;
}

uint32_t
cairn_event_schema(const struct cairn_event *event)
{
    return event->e.schema;
}

uint32_t
cairn_event_tag_count(const struct cairn_event *event)
{
    return event->e.tag_count;
}

const char *
cairn_event_tag(const struct cairn_event *event, uint32_t index)
{
    return index < event->e.tag_count ? event->tags[index] : NULL;
}

const void *
cairn_event_data(const struct cairn_event *event, size_t *ret_len)
{
    *ret_len = event->e.data.len;
    return event->e.data.p;
}

const void *
cairn_event_meta(const struct cairn_event *event, size_t *ret_len)
{
    *ret_len = event->e.meta.len;
    return event->e.meta.p;
}

const uint8_t *
cairn_event_id(const struct cairn_event *event)
{
    return event_head(&event->e)->id.b;
}

const uint8_t *
cairn_event_correlation_id(const struct cairn_event *event)
{
    return event_head(&event->e)->correlation_id.b;
}

const uint8_t *
cairn_event_causation_id(const struct cairn_event *event)
{
    return event_head(&event->e)->causation_id.b;
}
