/* SPDX-License-Identifier: MPL-2.0 */
#include "gateway/clients.h"

#include "wire/array.h"

#define NO_FLIGHT UINT32_MAX

int
clients_init(struct clients *c, uint32_t flight_max)
{
    *c = (struct clients){
        .flight_max = flight_max,
        .client_max = flight_max,
        .slot_count = 16,
    };
    while (c->slot_count < 2 * c->client_max)
        c->slot_count *= 2;
    c->clients = calloc(c->client_max, sizeof *c->clients);
    c->free_clients = calloc(c->client_max, sizeof *c->free_clients);
    c->dirty = calloc(c->client_max, sizeof *c->dirty);
    c->slots = calloc(c->slot_count, sizeof *c->slots);
    c->flights = calloc(c->flight_max, sizeof *c->flights);
    if (c->clients == NULL || c->free_clients == NULL || c->dirty == NULL ||
        c->slots == NULL || c->flights == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < c->client_max; i++)
        c->free_clients[i] = c->client_max - 1 - i;
    for (uint32_t i = 0; i < c->flight_max; i++)
        c->flights[i].next = i + 1 < c->flight_max ? i + 1 : NO_FLIGHT;
    return 0;
}

void
clients_free(struct clients *c)
{
    for (uint32_t i = 0; c->clients != NULL && i < c->client_max; i++)
        appended_builder_free(&c->clients[i].answers);
    free(c->clients);
    free(c->free_clients);
    free(c->dirty);
    free(c->slots);
    free(c->flights);
    *c = (struct clients){ 0 };
}

/* ---- finding ----------------------------------------------------------- */

static uint32_t
slot_of(const struct clients *c, uint32_t id)
{
    return (id * UINT32_C(2654435761)) & (c->slot_count - 1);
}

struct client *
clients_get(struct clients *c, const uint8_t *routing_id)
{
    struct client *client;
    uint32_t id, at, index;

    memcpy(&id, routing_id + 1, sizeof id);
    for (at = slot_of(c, id); c->slots[at] != 0;
         at = (at + 1) & (c->slot_count - 1))
        if (c->clients[c->slots[at] - 1].id == id)
            return &c->clients[c->slots[at] - 1];
    if (c->client_count == c->client_max)
        return NULL;
    index = c->free_clients[c->client_max - 1 - c->client_count++];
    c->slots[at] = index + 1;
    client = &c->clients[index];
    client->id = id;
    client->known = true;
    client->delimiter = false;
    return client;
}

/* Takes a slot out and closes the gap, so that no search ends too early. */
static void
remove_slot(struct clients *c, uint32_t at)
{
    uint32_t mask = c->slot_count - 1;
    uint32_t hole = at;

    for (uint32_t i = (at + 1) & mask; c->slots[i] != 0; i = (i + 1) & mask) {
        uint32_t home = slot_of(c, c->clients[c->slots[i] - 1].id);

        if (((i - home) & mask) >= ((i - hole) & mask)) {
            c->slots[hole] = c->slots[i];
            hole = i;
        }
    }
    c->slots[hole] = 0;
}

static void
forget(struct clients *c, struct client *client)
{
    uint32_t index = (uint32_t)(client - c->clients);
    uint32_t at = slot_of(c, client->id);

    while (c->slots[at] != index + 1)
        at = (at + 1) & (c->slot_count - 1);
    remove_slot(c, at);
    client->known = false;
    c->client_count--;
    c->free_clients[c->client_max - 1 - c->client_count] = index;
}

void
clients_release(struct clients *c, struct client *client)
{
    if (client->in_flight == 0 && !client->dirty)
        forget(c, client);
}

/* ---- flights ----------------------------------------------------------- */

bool
clients_launch(struct clients *c, struct client *client, struct uuid command_id,
               uint64_t *ret_token)
{
    uint32_t index = c->free_flight;
    struct flight *flight;

    if (index == NO_FLIGHT)
        return false;
    flight = &c->flights[index];
    c->free_flight = flight->next;
    c->flight_count++;
    client->in_flight++;
    flight->command_id = command_id;
    flight->client = (uint32_t)(client - c->clients);
    flight->used = true;
    *ret_token = (uint64_t)++flight->serial << 32 | index;
    return true;
}

void
clients_answer(struct clients *c, struct client *client,
               const struct wire_outcome *outcome)
{
    if (appended_builder_add(&client->answers, outcome) < 0)
        return; /* no memory: it will ask again */
    if (!client->dirty) {
        client->dirty = true;
        c->dirty[c->dirty_count++] = (uint32_t)(client - c->clients);
    }
}

static void
land(struct clients *c, uint32_t index, struct wire_outcome *outcome)
{
    struct flight *flight = &c->flights[index];
    struct client *client = &c->clients[flight->client];

    outcome->id = flight->command_id;
    flight->used = false;
    flight->next = c->free_flight;
    c->free_flight = index;
    c->flight_count--;
    client->in_flight--;
    clients_answer(c, client, outcome);
}

bool
clients_land(struct clients *c, uint64_t token, struct wire_outcome *outcome)
{
    uint32_t index = (uint32_t)token;

    if (index >= c->flight_max || !c->flights[index].used ||
        c->flights[index].serial != token >> 32)
        return false;
    land(c, index, outcome);
    return true;
}

void
clients_land_all(struct clients *c, enum answer_code code, const char *detail)
{
    for (uint32_t i = 0; c->flight_count > 0 && i < c->flight_max; i++) {
        struct wire_outcome outcome = {
            .code = (uint16_t)code,
            .detail = detail,
            .detail_len = (uint32_t)strlen(detail),
        };

        if (c->flights[i].used)
            land(c, i, &outcome);
    }
}

/* ---- answers ----------------------------------------------------------- */

int
client_address(const struct client *client, struct message *message)
{
    uint8_t routing_id[ROUTING_ID_LEN] = { 0 };
    int rc;

    memcpy(routing_id + 1, &client->id, sizeof client->id);
    rc = message_add(message, routing_id, sizeof routing_id);
    if (rc == 0 && client->delimiter)
        rc = message_add(message, NULL, 0);
    return rc;
}

uint32_t
clients_send(struct clients *c, struct sock *sock)
{
    uint32_t failed = 0;

    for (uint32_t i = 0; i < c->dirty_count; i++) {
        struct client *client = &c->clients[c->dirty[i]];
        struct message message = { .count = 0 };
        int rc = client_address(client, &message);

        if (rc == 0)
            rc = appended_builder_finish(&client->answers, KIND_APPENDED,
                                         &message);
        if (rc == 0)
            rc = message_send(sock, &message);
        message_clear(&message);
        failed += rc < 0;
        client->dirty = false;
        clients_release(c, client);
    }
    c->dirty_count = 0;
    return failed;
}
