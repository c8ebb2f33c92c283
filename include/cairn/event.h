/* SPDX-License-Identifier: MPL-2.0 */
/*
 * cairn/event - events, page by page or as they come.
 *
 *     struct cairn_query *query = NULL;
 *
 *     cairn_query_new(&query);
 *     cairn_query_category(query, "order");
 *     cairn_query_from(query, checkpoint + 1);
 *     rc = cairn_follow(cairn, query, take_event, &state);
 *     cairn_query_free(&query);
 *
 * Nothing that is not durable is ever given out.
 */
#ifndef CAIRN_EVENT_H
#define CAIRN_EVENT_H

#include <cairn/client.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- what to read ------------------------------------------------------ */

/*
 * A new query reads everything, forward from position 1.  One stream and
 * nothing else is read by versions; all else is read by positions.
 */
struct cairn_query;

CAIRN_API int cairn_query_new(struct cairn_query **ret_query);
CAIRN_API void cairn_query_free(struct cairn_query **query);

/*
 * Keeps events of one of the streams or categories (if any is named), of one
 * of the types (if any), and with all of the tags.
 *
 *   CAIRN_ERR_ARGUMENT  more than 64 selectors, or a name above 255 bytes
 */
CAIRN_API int cairn_query_stream(struct cairn_query *query, const char *stream);
CAIRN_API int cairn_query_category(struct cairn_query *query,
                                   const char *category);
CAIRN_API int cairn_query_type(struct cairn_query *query, const char *type);
CAIRN_API int cairn_query_tag(struct cairn_query *query, const char *tag);

/* From a version or position on; 0: the first, or backward the newest. */
CAIRN_API void cairn_query_from(struct cairn_query *query, uint64_t number);
/* The last `count` events and what comes; forward only. */
CAIRN_API void cairn_query_from_end(struct cairn_query *query, uint64_t count);
/* From the first event at or after a time. */
CAIRN_API void cairn_query_from_time(struct cairn_query *query,
                                     uint64_t time_us);
CAIRN_API void cairn_query_backward(struct cairn_query *query);

/* At most so many events and bytes in a page; 0: what the server gives. */
CAIRN_API void cairn_query_page(struct cairn_query *query, uint32_t events,
                                uint32_t bytes);
/* How long a page waits for its first event; at most a minute. */
CAIRN_API void cairn_query_wait(struct cairn_query *query, uint32_t wait_ms);

/* ---- events ------------------------------------------------------------ */

/* Texts end with a NUL; all is borrowed until the next event is asked for. */
struct cairn_event;

CAIRN_API uint64_t cairn_event_position(const struct cairn_event *event);
CAIRN_API uint64_t cairn_event_version(const struct cairn_event *event);
CAIRN_API uint64_t cairn_event_time(const struct cairn_event *event);
CAIRN_API const char *cairn_event_stream(const struct cairn_event *event);
CAIRN_API const char *cairn_event_type(const struct cairn_event *event);
CAIRN_API const char *cairn_event_content_type(const struct cairn_event *event);
CAIRN_API uint32_t cairn_event_schema(const struct cairn_event *event);
CAIRN_API uint32_t cairn_event_tag_count(const struct cairn_event *event);
CAIRN_API const char *cairn_event_tag(const struct cairn_event *event,
                                      uint32_t index);
CAIRN_API const void *cairn_event_data(const struct cairn_event *event,
                                       size_t *ret_len);
CAIRN_API const void *cairn_event_meta(const struct cairn_event *event,
                                       size_t *ret_len);
/* 16 bytes; zeros: none. */
CAIRN_API const uint8_t *cairn_event_id(const struct cairn_event *event);
CAIRN_API const uint8_t *cairn_event_correlation_id(
    const struct cairn_event *event);
CAIRN_API const uint8_t *cairn_event_causation_id(
    const struct cairn_event *event);

/* ---- a page at a time -------------------------------------------------- */

struct cairn_page;

/*
 * One request, and the events that answer it.
 *
 *   CAIRN_ERR_REFUSED      the query is not valid; the text says why
 *   CAIRN_ERR_UNREACHABLE  nobody answered until the deadline
 *   CAIRN_ERR_DAMAGED      the log could not be read there
 */
CAIRN_API int cairn_read(struct cairn *cairn, const struct cairn_query *query,
                         struct cairn_page **ret_page);
CAIRN_API void cairn_page_free(struct cairn_page **page);

/*
 * The next event: 1; 0 at the end of the page; CAIRN_ERR_DAMAGED if what came
 * does not pass its checksums.
 */
CAIRN_API int cairn_page_next(struct cairn_page *page,
                              const struct cairn_event **ret_event);

/* 1 if there was no more, in this direction, when it was read. */
CAIRN_API int cairn_page_at_end(const struct cairn_page *page);
/* Where the next page begins; 0: a backward read has come to the beginning. */
CAIRN_API uint64_t cairn_page_next_from(const struct cairn_page *page);
/* The highest durable position. */
CAIRN_API uint64_t cairn_page_watermark(const struct cairn_page *page);
/* Of the stream, if one is read; 0: it has no event. */
CAIRN_API uint64_t cairn_page_stream_version(const struct cairn_page *page);

/* Makes the query go on behind the page. */
CAIRN_API void cairn_query_continue(struct cairn_query *query,
                                    const struct cairn_page *page);

/* ---- all of them ------------------------------------------------------- */

/* Takes an event; anything but 0 ends the reading and is returned from it. */
typedef int cairn_event_fn(void *arg, const struct cairn_event *event);

/* Gives every event up to the present end to `fn`: 0, or what it returned. */
CAIRN_API int cairn_read_all(struct cairn *cairn, struct cairn_query *query,
                             cairn_event_fn *fn, void *arg);

/*
 * The same, and then what comes, as it comes; ends with what `fn` returns or
 * an error.  The query is left behind the last event that `fn` took with 0:
 * call it again with the same query to go on.  Forward only.
 */
CAIRN_API int cairn_follow(struct cairn *cairn, struct cairn_query *query,
                           cairn_event_fn *fn, void *arg);

#ifdef __cplusplus
}
#endif

#endif
