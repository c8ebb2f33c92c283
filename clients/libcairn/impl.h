/* SPDX-License-Identifier: MPL-2.0 */
/*
 * libcairn from inside: include/cairn/ on top of clients/c.
 *
 * What is exported is listed in libcairn.map; all else is hidden.  The
 * sources of common/ that the library needs are compiled into it, so that it
 * depends on libzmq and on no header of ours.
 */
#ifndef CAIRN_LIBCAIRN_IMPL_H
#define CAIRN_LIBCAIRN_IMPL_H

#include <sys/queue.h>

#include <cairn/cairn.h>

#include "base/text.h"
#include "c/append_client.h"
#include "c/query_client.h"

/* Texts of an event with a NUL behind each. */
struct cairn_event {
    struct event e;
    char stream[NAME_LEN_MAX + 1], type[NAME_LEN_MAX + 1],
        content_type[NAME_LEN_MAX + 1];
    char tags[TAGS_MAX][NAME_LEN_MAX + 1];
};

/* The event of a record that has been checked. */
void event_take(struct cairn_event *event, const struct event *e);

#define ENDPOINT_LEN 512
#define KEY_LEN 40 /* of Z85 */

/* A command that is in flight, and then what became of it. */
struct cairn_outcome {
    TAILQ_ENTRY(cairn_outcome) link; /* in one of the lists of struct cairn */
    struct wire_outcome wire;        /* its arrays and texts lie in memory */
    void *memory;
    size_t at_record;          /* how far records have been given out */
    struct cairn_event *event; /* the one that was given out; or NULL */
    uint64_t tag;
    bool awaited; /* by cairn_append(), not for cairn_receive() */
    bool done, sent;
};

TAILQ_HEAD(outcome_list, cairn_outcome);

struct cairn {
    char run[ENDPOINT_LEN], commands[ENDPOINT_LEN], queries[ENDPOINT_LEN],
        projections[ENDPOINT_LEN];
    char server_key[KEY_LEN + 1], public_key[KEY_LEN + 1],
        secret_key[KEY_LEN + 1];
    uint64_t deadline_ms, window;

    void *context; /* of ZeroMQ; NULL before the first use */
    struct peer_keys keys;
    struct append_client *append;
    struct query_client query;
    bool query_open;
    struct outcome_list in_flight, received; /* oldest first */
    uint32_t queued; /* in both of them, but for what is awaited */
    struct err err;
};

/* Remembers the context and the keys; what is opened first calls it. */
int client_begin(struct cairn *cairn);

/* The peer options of an endpoint. */
struct peer_options client_peer(const struct cairn *cairn,
                                const char *endpoint);

/* A negative code of ours as one of the library's. */
int client_result(int code);

/* An append_outcome_fn: keeps the outcome; the tag is where. */
void outcome_take(void *arg, uint64_t tag, const struct wire_command *command,
                  const struct wire_outcome *wire, bool reached);

/* Hands a command to the append client; -ENOMEM or what that says. */
int command_queue(const struct cairn_command *command,
                  struct append_client *client, uint64_t tag);

/* Sets the text; returns `result`. */
int client_fail(struct cairn *cairn, int result, const char *text);

#endif
