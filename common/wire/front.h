/* SPDX-License-Identifier: MPL-2.0 */
/*
 * front - a public ROUTER endpoint: who has sent a message, and the way back.
 *
 * What cannot be a message of a client (a routing id that the peer has chosen,
 * too many frames) is answered here with REFUSED and goes no further.
 *
 * Threads: as the socket.
 */
#ifndef CAIRN_WIRE_FRONT_H
#define CAIRN_WIRE_FRONT_H

#include "wire/peers.h"
#include "wire/query.h"

struct principal;

/* A client, as the message that it sent names it; borrows from the message. */
struct address {
    const uint8_t *routing_id;
    bool delimiter; /* it puts an empty frame in front, as REQ does */
    const struct principal *principal; /* see door.h; NULL: all rights */
    struct share *share;               /* of its key; NULL: it has none */
    struct peers *peers;               /* that it is one of, or NULL */
    uint64_t connection;               /* there */
};

/*
 * Receives what is there without waiting: 1, its sender and the frame of its
 * header, which may be missing (*ret_at == message->count); 0 if nothing is;
 * or -EAGAIN if something was refused.  The caller clears the message.
 */
int front_receive(struct sock *sock, struct message *message,
                  struct address *ret_from, int *ret_at);

/*
 * Sends the frames of `head` and `body` (NULL: none) to a client, behind its
 * address, and empties both.  A client that has gone gets nothing; one that
 * does not read is cut off, so that it knows: it connects and asks again.
 */
void front_reply(struct sock *sock, const struct address *to,
                 struct message *head, struct message *body);

/* Sends REFUSED. */
void front_refuse(struct sock *sock, const struct address *to,
                  enum answer_code code, const char *text);

/* Answers PING. */
void front_pong(struct sock *sock, const struct address *to,
                const struct pong *pong, const char *name);

/*
 * NULL if a header says that it is of our version, and its kind in *ret_kind;
 * or what to tell its sender.
 */
const char *front_fault(struct message *message, int at, uint16_t *ret_kind);

/* What to tell the sender of a header that is not what its kind wants. */
extern const char front_misfit[];

/* And of one with more rows than a message may have: that is too large. */
extern const char front_excess[];

#endif
