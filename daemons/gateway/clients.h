/* SPDX-License-Identifier: MPL-2.0 */
/*
 * clients - who waits for which outcome, and what is on its way to whom.
 *
 * A client is known while it has commands in flight or answers unsent; ZeroMQ
 * does not tell when one leaves.  It is named by the routing id that our ROUTER
 * made up for its connection: five bytes, the first of them zero.
 *
 * Threads: one.
 */
#ifndef CAIRN_GATEWAY_CLIENTS_H
#define CAIRN_GATEWAY_CLIENTS_H

#include "wire/append.h"

struct client {
    uint32_t id;    /* the last four bytes of the routing id */
    bool delimiter; /* it puts an empty frame in front, as REQ does */
    bool known;     /* in use */
    bool dirty;     /* has answers to send in this turn */
    uint32_t in_flight;
    struct appended_builder answers;
};

/* A command on its way through the writer. */
struct flight {
    struct uuid command_id;
    uint32_t client; /* index in clients */
    uint32_t serial; /* counts the uses of this place; part of the token */
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
};

/* Room for so many commands in flight, and as many clients; -ENOMEM. */
int clients_init(struct clients *clients, uint32_t flight_max);
void clients_free(struct clients *clients);

/*
 * The client with this routing id, ROUTING_ID_LEN bytes, known from now on;
 * NULL if there are too many.
 */
struct client *clients_get(struct clients *clients, const uint8_t *routing_id);

/* Forgets a client that has nothing in flight and nothing to be sent. */
void clients_release(struct clients *clients, struct client *client);

/* Puts a command into flight; false if there are too many. */
bool clients_launch(struct clients *clients, struct client *client,
                    struct uuid command_id, uint64_t *ret_token);

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
 * Sends each client its answers of this turn as one message.  Returns how many
 * messages could not be sent, because a client has gone or does not read.
 */
uint32_t clients_send(struct clients *clients, struct sock *sock);

/* Begins a message to a client: routing id, and a delimiter if it uses one. */
int client_address(const struct client *client, struct message *message);

#endif
