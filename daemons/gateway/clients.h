/* SPDX-License-Identifier: MPL-2.0 */
/*
 * clients - who waits for which outcome, and what is on its way to whom.
 *
 * A client is known while it has commands in flight or answers unsent; ZeroMQ
 * does not tell when one leaves.  It is named by the routing id that our ROUTER
 * made up for its connection: five bytes, the first of them zero.
 *
 * Shares: the holder of a key, or a client on ipc, may have as much on its way
 * as is still free for all (wire/share.h).  So one that floods gets half of the
 * room at most, two get a third each, and so on: there is always room for one
 * more, which is never told busy for what others do.
 *
 * Order: a client that was told to come again with a command (busy, unknown,
 * stopping) is *held*: until it does, or HOLD_MS have passed, its other
 * commands are busy as well.  What it had sent behind that command is on its
 * way already and must not overtake it.
 *
 * Threads: one.
 */
#ifndef CAIRN_GATEWAY_CLIENTS_H
#define CAIRN_GATEWAY_CLIENTS_H

#include "wire/append.h"
#include "wire/front.h"

struct client {
    uint32_t id;         /* the last four bytes of the routing id */
    bool delimiter;      /* it puts an empty frame in front, as REQ does */
    bool known;          /* in use */
    bool taken;          /* between clients_get() and clients_release() */
    bool dirty;          /* has answers to send in this turn */
    bool held;           /* until `held_id` comes again */
    uint64_t connection; /* see struct address */
    struct share *share; /* of its key; NULL: it has none */
    uint32_t in_flight;
    uint64_t bytes; /* of commits in flight */
    struct uuid held_id;
    uint64_t held_order, held_until_ms;
    struct appended_builder answers;
};

/* A command on its way through the writer. */
struct flight {
    struct uuid command_id;
    uint32_t client; /* index in clients */
    uint32_t serial; /* counts the uses of this place; part of the token */
    uint32_t len;    /* bytes of its commit */
    uint64_t order;  /* counts the commands of all clients */
    uint32_t next;   /* free places are a list */
    bool used;
};

struct clients {
    struct client *clients;
    uint32_t client_max;
    uint32_t client_count; /* known ones */
    uint32_t *slots;       /* by id: index + 1; 0: empty */
    uint32_t slot_count;
    uint32_t *free_clients;
    uint32_t *dirty;
    uint32_t dirty_count;
    struct flight *flights;
    uint32_t flight_max, flight_count, free_flight;
    uint64_t bytes, bytes_max; /* of commits in flight */
    uint32_t client_flight_max;
    uint32_t held_count;
    uint64_t order;
};

#define HOLD_MS 2000u

/* What may be on its way. */
struct clients_limits {
    uint32_t flight_max;        /* commands of all clients */
    uint32_t client_flight_max; /* of one */
    uint64_t bytes_max;         /* of all commits */
};

/* Room for so much in flight, and as many clients as commands; -ENOMEM. */
int clients_init(struct clients *clients, const struct clients_limits *limits);
void clients_free(struct clients *clients);

/* The client with this address, known from now on; NULL if there are too many. */
struct client *clients_get(struct clients *clients, const struct address *from);

/* Gives it back: it is forgotten when it has nothing in flight and nothing to be
 * sent, now or later.  Before that it stays what it is, whatever is landed. */
void clients_release(struct clients *clients, struct client *client);

/*
 * Puts a command with a commit of `len` bytes into flight: NULL, and its token;
 * or why the client has to wait with it, which also holds it.
 */
const char *clients_launch(struct clients *clients, struct client *client,
                           struct uuid command_id, uint32_t len,
                           uint64_t *ret_token);

/* Tells a client at once to come again with a command, and holds it. */
void clients_put_off(struct clients *clients, struct client *client,
                     struct uuid command_id, const char *detail,
                     uint32_t retry_ms);

/* Now and then: lets go those that were held for long enough. */
void clients_tidy(struct clients *clients, uint64_t now_ms);

/*
 * Takes the command with this token out of flight, and gives its outcome,
 * whose id is filled in, to its client; false for a token that is not in
 * flight.
 */
bool clients_land(struct clients *clients, uint64_t token,
                  struct wire_outcome *outcome);

/* Answers a client at once, for a command that never was in flight. */
void clients_answer(struct clients *clients, struct client *client,
                    const struct wire_outcome *outcome);

/* Gives every command in flight this outcome. */
void clients_land_all(struct clients *clients, enum answer_code code,
                      const char *detail);

/*
 * Sends each client its answers of this turn as one message.  A client that has
 * gone gets nothing; one that does not read is cut off: it asks again.
 */
void clients_send(struct clients *clients, struct sock *sock,
                  struct peers *peers);

/* Begins a message to a client: routing id, and a delimiter if it uses one. */
int client_address(const struct client *client, struct message *message);

#endif
