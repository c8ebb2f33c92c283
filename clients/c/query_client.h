/* SPDX-License-Identifier: MPL-2.0 */
/*
 * query_client - asks a publisher or a projector, one request at a time.
 *
 * Requests have no effect that asking again could double, so what is not
 * answered is asked again until the deadline; on tcp, after a silence of
 * peer_silence_ms(), over a new connection, for the old one may be dead without
 * anybody having said so.
 *
 * Errors:   -CAIRN_EUNREACHABLE: nobody answered; -CAIRN_EREFUSED: the answer
 *           is an error, with its text in *err; -CAIRN_EDAMAGED: what came
 *           does not pass its checksums.
 * Threads:  one.
 */
#ifndef CAIRN_CLIENTS_QUERY_CLIENT_H
#define CAIRN_CLIENTS_QUERY_CLIENT_H

#include "c/peer.h"
#include "store/record.h"
#include "wire/projection.h"
#include "wire/query.h"

struct query_client {
    struct peer peer;
    const char *endpoint; /* borrowed */
    uint64_t request;
    uint32_t deadline_ms;
};

int query_client_open(struct query_client *client, const char *endpoint,
                      uint32_t deadline_ms, struct err *err);

/* The same with a context and keys; copies neither, the endpoint is borrowed
 * until it is closed. */
int query_client_open_peer(struct query_client *client,
                           const struct peer_options *options,
                           uint32_t deadline_ms, struct err *err);

void query_client_close(struct query_client *client);

/* An answer to a read request, and the place in it. */
struct query_result {
    struct read_answer answer;
    struct message message;
    int frame;
    size_t at;
    uint32_t events; /* that have been given out */
};

/* Reads; the result is released by query_result_free(). */
int query_read(struct query_client *client, struct read_request *request,
               struct query_result *ret_result, struct err *err);

/* The next event of a result, borrowed from it: 1; 0 at its end. */
int query_next(struct query_result *result, struct event *ret_event,
               struct err *err);

void query_result_free(struct query_result *result);

/* Who is there.  `name` has room for 64 bytes. */
int query_ping(struct query_client *client, struct pong *ret_pong,
               char name[64], struct err *err);

/* Asks a projector.  The texts have room for 256 and 1024 bytes. */
int query_projection(struct query_client *client,
                     struct projection_request *request,
                     struct projection_answer *ret_answer, char name[256],
                     char text[1024], struct err *err);

#endif
