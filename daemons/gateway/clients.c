/* SPDX-License-Identifier: MPL-2.0 */
#include "gateway/clients.h"

#include "base/log.h"
#include "wire/array.h"

#define NO_FLIGHT UINT32_MAX

int
clients_init(struct clients *c, const struct clients_limits *limits)
{
    *c = (struct clients){
        .flight_max = limits->flight_max,
        .client_max = limits->flight_max,
        .client_flight_max = limits->client_flight_max,
        .bytes_max = limits->bytes_max,
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

/* What the messages of a client bring along. */
static struct client *
take(struct client *client, const struct address *from)
{
    client->taken = true;
    client->delimiter = from->delimiter;
    client->connection = from->connection;
    if (client->in_flight == 0)
        client->share = from->share;
    return client;
}

struct client *
clients_get(struct clients *c, const struct address *from)
{
    struct client *client;
    uint32_t id, at, index;

    memcpy(&id, from->routing_id + 1, sizeof id);
    for (at = slot_of(c, id); c->slots[at] != 0;
         at = (at + 1) & (c->slot_count - 1))
        if (c->clients[c->slots[at] - 1].id == id)
            return take(&c->clients[c->slots[at] - 1], from);
    if (c->client_count == c->client_max)
        return NULL;
    index = c->free_clients[c->client_max - 1 - c->client_count++];
    c->slots[at] = index + 1;
    client = &c->clients[index];
    client->id = id;
    client->known = true;
    return take(client, from);
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

static void
forget_if_idle(struct clients *c, struct client *client)
{
    if (client->in_flight == 0 && !client->dirty && !client->held &&
        !client->taken)
        forget(c, client);
}

void
clients_release(struct clients *c, struct client *client)
{
    client->taken = false;
    forget_if_idle(c, client);
}

/* ---- order ------------------------------------------------------------- */

/* Holds a client for a command; of several, for the one that came first. */
static void
hold(struct clients *c, struct client *client, struct uuid command_id,
     uint64_t order)
{
    uint64_t until_ms = clock_ms() + HOLD_MS;

    if (client->held && uuid_equal(client->held_id, command_id))
        client->held_until_ms = until_ms; /* put off once more */
    if (client->held && client->held_order <= order)
        return;
    c->held_count += !client->held;
    client->held = true;
    client->held_id = command_id;
    client->held_order = order;
    client->held_until_ms = until_ms;
}

static void
let_go(struct clients *c, struct client *client)
{
    c->held_count -= client->held;
    client->held = false;
}

void
clients_tidy(struct clients *c, uint64_t now_ms)
{
    for (uint32_t i = 0; c->held_count > 0 && i < c->client_max; i++) {
        struct client *client = &c->clients[i];

        if (!client->known || !client->held || now_ms < client->held_until_ms)
            continue;
        let_go(c, client);
        forget_if_idle(c, client);
    }
}

void
clients_put_off(struct clients *c, struct client *client,
                struct uuid command_id, const char *detail, uint32_t retry_ms)
{
    const struct wire_outcome outcome = {
        .id = command_id,
        .code = ANSWER_BUSY,
        .retry_ms = retry_ms,
        .detail = detail,
        .detail_len = (uint32_t)strlen(detail),
    };

    hold(c, client, command_id, c->order++);
    clients_answer(c, client, &outcome);
}

/* ---- flights ----------------------------------------------------------- */

/* Why a client must wait with a commit of this length; NULL: it need not. */
static const char *
no_room(const struct clients *c, const struct client *client, uint32_t len)
{
    const struct share own = { .commands = client->in_flight,
                               .bytes = client->bytes };
    const struct share *share = client->share != NULL ? client->share : &own;

    if (client->in_flight >= c->client_flight_max)
        return "client.in_flight_max commands of yours are on their way";
    if (share_is_full(share->commands, c->flight_count, c->flight_max))
        return "commands.in_flight_max: your share of the commands is on its "
               "way";
    /* A single commit may be larger than any share, but not than all. */
    if (len > c->bytes_max - c->bytes ||
        (share->bytes > 0 && share->bytes + len > c->bytes_max - c->bytes))
        return "commands.bytes_max: your share of the bytes is on its way";
    return NULL;
}

const char *
clients_launch(struct clients *c, struct client *client, struct uuid command_id,
               uint32_t len, uint64_t *ret_token)
{
    const char *wait = NULL;
    struct flight *flight;
    uint32_t index;

    if (client->held && !uuid_equal(client->held_id, command_id) &&
        clock_ms() < client->held_until_ms)
        return "a command that you sent before has to come again first";
    let_go(c, client);
    wait = no_room(c, client, len);
    if (wait != NULL)
        return wait;
    index = c->free_flight;
    flight = &c->flights[index];
    c->free_flight = flight->next;
    c->flight_count++;
    c->bytes += len;
    client->in_flight++;
    client->bytes += len;
    if (client->share != NULL) {
        client->share->commands++;
        client->share->bytes += len;
    }
    flight->command_id = command_id;
    flight->client = (uint32_t)(client - c->clients);
    flight->len = len;
    flight->order = c->order++;
    flight->used = true;
    *ret_token = (uint64_t)++flight->serial << 32 | index;
    return NULL;
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
    c->bytes -= flight->len;
    client->in_flight--;
    client->bytes -= flight->len;
    if (client->share != NULL) {
        client->share->commands--;
        client->share->bytes -= flight->len;
    }
    if (outcome->code == ANSWER_BUSY || outcome->code == ANSWER_UNKNOWN ||
        outcome->code == ANSWER_STOPPING)
        hold(c, client, flight->command_id, flight->order);
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

void
clients_send(struct clients *c, struct sock *sock, struct peers *peers)
{
    for (uint32_t i = 0; i < c->dirty_count; i++) {
        struct client *client = &c->clients[c->dirty[i]];
        struct message message = { .count = 0 };
        int rc = client_address(client, &message);

        if (rc == 0)
            rc = appended_builder_finish(&client->answers, KIND_APPENDED,
                                         &message);
        if (rc == 0)
            rc = message_send(sock, &message);
        if (rc == -EAGAIN)
            peers_cut(peers, client->connection);
        message_clear(&message);
        client->dirty = false;
        forget_if_idle(c, client);
    }
    c->dirty_count = 0;
}
