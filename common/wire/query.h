/* SPDX-License-Identifier: MPL-2.0 */
/*
 * query - reading: requests to the publisher, its answers, and the few words
 * that every public endpoint understands.
 *
 *   READ     header  vvUccUuuuA(cv)
 *            body    the texts of the selectors
 *
 *     U        request: the client's number, given back
 *     c c      enum read_direction; enum read_from
 *     U        where to begin, as read_from says
 *     u u u    most events; most bytes; how long to wait for the first, in ms
 *     A(cv)    selectors: enum read_select, bytes of the text
 *
 *   EVENTS   header  vvUvvUUUu
 *            frames  of records as they lie in the log (doc/FORMAT.md): all
 *                    the events, in order, and maybe commit and group
 *                    headers and padding between them; or, if the code is
 *                    not ANSWER_OK, one frame of text: what is wrong
 *
 *     U        request
 *     v v      enum answer_code; flags
 *     U        next: where to go on: a version if one stream is read, else a
 *              position; 0: a backward read has come to the beginning
 *     U        watermark
 *     U        version of the stream, if one is read; else 0
 *     u        events
 *
 *   PING     vvU
 *   PONG     vvUUUUU + frame   request; instance; log id (two halves);
 *                              watermark; name and version of the daemon
 *   REFUSED  vvv + frame       enum answer_code; what was wrong with a
 *                              message that could not be understood
 *
 * Errors:   -CAIRN_EMESSAGE, -ENOMEM.
 * Threads:  no state.
 */
#ifndef CAIRN_WIRE_QUERY_H
#define CAIRN_WIRE_QUERY_H

#include <stdbool.h>

#include "base/uuid.h"
#include "wire/protocol.h"
#include "wire/sock.h"

enum read_direction {
    READ_FORWARD = 0,
    READ_BACKWARD = 1,
};

/* What `from` counts. */
enum read_from {
    READ_FROM_NUMBER = 0, /* a position; a version if one stream is read.
                             Forward 0 is 1; backward 0 is the newest */
    READ_FROM_END = 1,    /* forward: the last n events; 0: only new ones */
    READ_FROM_TIME = 2,   /* microseconds: the first event at or after it */
};

/*
 * One stream selector and nothing else reads that stream, by versions.  All
 * else reads the whole log by positions and keeps what fits: one of the
 * streams or categories, and one of the types, and all of the tags.
 */
enum read_select {
    SELECT_STREAM = 's',
    SELECT_CATEGORY = 'c',
    SELECT_TYPE = 't',
    SELECT_TAG = 'g',
};

#define SELECTORS_MAX 64u

struct read_selector {
    uint8_t kind;
    uint16_t len;
    const char *text;
};

struct read_request {
    uint64_t request, from;
    uint8_t direction, from_kind;
    uint32_t event_max, len_max, wait_ms;
    struct read_selector selectors[SELECTORS_MAX];
    uint32_t selector_count;
};

#define READ_FLAG_END 1u /* there is no more up to the watermark, this way */

struct read_answer {
    uint64_t request;
    uint16_t code;
    bool at_end;
    uint64_t next, watermark, stream_version;
    uint32_t event_count;
};

/* Texts of a decoded request borrow from the body.  -EMSGSIZE: there are more
 * than SELECTORS_MAX in it. */
int read_encode(const struct read_request *request, struct message *message);
int read_decode(zmq_msg_t *header, zmq_msg_t *body,
                struct read_request *ret_request);

/* Only the header; frames follow, or one with `text` if the code is an error. */
int events_encode(const struct read_answer *answer, const char *text,
                  struct message *message);
int events_decode(zmq_msg_t *header, struct read_answer *ret_answer);

struct pong {
    uint64_t request, instance;
    struct uuid log_id;
    uint64_t watermark;
};

int ping_encode(uint64_t request, struct message *message);
int ping_decode(zmq_msg_t *header, uint64_t *ret_request);
int pong_encode(const struct pong *pong, const char *name,
                struct message *message);
int pong_decode(zmq_msg_t *header, struct pong *ret_pong);

int refused_encode(uint16_t code, const char *text, struct message *message);
int refused_decode(zmq_msg_t *header, uint16_t *ret_code);

#endif
