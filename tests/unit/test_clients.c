/* SPDX-License-Identifier: MPL-2.0 */
/* Clients of the gateway: whose place is free, and when. */
#include "lib/cmocka.h"

#include "gateway/clients.h"

static const struct clients_limits limits = {
    .flight_max = 4,
    .client_flight_max = 4,
    .bytes_max = 1 << 20,
};

static struct client *
get(struct clients *c, uint32_t id)
{
    uint8_t routing_id[ROUTING_ID_LEN] = { 0 };

    memcpy(routing_id + 1, &id, sizeof id);
    return clients_get(c, routing_id);
}

/*
 * A message of many commands goes to the writer in pieces.  If that fails, all
 * that was on its way lands, and is told, while the rest of the message is still
 * being worked through for the same client.
 */
static void
a_client_stays_while_its_message_is_worked_through(void **state)
{
    struct sock nowhere = { 0 }; /* what is sent is dropped */
    struct clients c;
    struct client *client, *other;
    uint64_t token;

    (void)state;
    assert_int_equal(clients_init(&c, &limits), 0);
    client = get(&c, 1);
    assert_null(clients_launch(&c, client, uuid_v4(), 100, &token));
    clients_land_all(&c, ANSWER_ACCEPTED, "");
    clients_send(&c, &nowhere);
    assert_int_equal(c.client_count, 1);
    other = get(&c, 2);
    assert_ptr_not_equal(other, client);
    assert_int_equal(client->id, 1);
    assert_null(clients_launch(&c, client, uuid_v4(), 100, &token));
    clients_release(&c, client);
    clients_release(&c, other);
    assert_int_equal(c.client_count, 1); /* it has one in flight */
    clients_land_all(&c, ANSWER_ACCEPTED, "");
    clients_send(&c, &nowhere);
    assert_int_equal(c.client_count, 0);
    clients_free(&c);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_stays_while_its_message_is_worked_through),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
