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
get(struct clients *c, uint32_t id, struct share *share)
{
    uint8_t routing_id[ROUTING_ID_LEN] = { 0 };

    memcpy(routing_id + 1, &id, sizeof id);
    return clients_get(
        c, &(struct address){ .routing_id = routing_id, .share = share });
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
    struct peers nobody = { 0 };
    struct clients c;
    struct client *client, *other;
    uint64_t token;

    (void)state;
    assert_int_equal(clients_init(&c, &limits), 0);
    client = get(&c, 1, NULL);
    assert_null(clients_launch(&c, client, uuid_v4(), 100, &token));
    clients_land_all(&c, ANSWER_ACCEPTED, "");
    clients_send(&c, &nowhere, &nobody);
    assert_int_equal(c.client_count, 1);
    other = get(&c, 2, NULL);
    assert_ptr_not_equal(other, client);
    assert_int_equal(client->id, 1);
    assert_null(clients_launch(&c, client, uuid_v4(), 100, &token));
    clients_release(&c, client);
    clients_release(&c, other);
    assert_int_equal(c.client_count, 1); /* it has one in flight */
    clients_land_all(&c, ANSWER_ACCEPTED, "");
    clients_send(&c, &nowhere, &nobody);
    assert_int_equal(c.client_count, 0);
    clients_free(&c);
}

/* The rights may be read again meanwhile, and the key be gone. */
static void
connections_of_a_key_have_one_share(void **state)
{
    struct share share = { 0 }, later = { 0 };
    struct clients c;
    struct client *first, *second, *other;
    uint64_t token[3], none;

    (void)state;
    assert_int_equal(clients_init(&c, &limits), 0);
    first = get(&c, 1, &share);
    second = get(&c, 2, &share);
    other = get(&c, 3, NULL);
    assert_null(clients_launch(&c, first, uuid_v4(), 100, &token[0]));
    assert_null(clients_launch(&c, second, uuid_v4(), 100, &token[1]));
    assert_int_equal(share.commands, 2);
    assert_int_equal(share.bytes, 200);
    assert_non_null(clients_launch(&c, second, uuid_v4(), 100, &none));
    assert_ptr_equal(get(&c, 2, &later), second);
    assert_null(clients_launch(&c, other, uuid_v4(), 100, &token[2]));
    for (size_t i = 0; i < 3; i++)
        assert_true(clients_land(
            &c, token[i], &(struct wire_outcome){ .code = ANSWER_ACCEPTED }));
    assert_true(share_is_empty(&share));
    assert_true(share_is_empty(&later));
    clients_free(&c);
}

/* An outcome may come when its command has been given up, and its place is
 * another's. */
static void
an_outcome_of_an_earlier_use_of_a_place_is_nobodys(void **state)
{
    struct wire_outcome outcome = { .code = ANSWER_ACCEPTED };
    struct clients c;
    struct client *client;
    uint64_t before, after;

    (void)state;
    assert_int_equal(clients_init(&c, &limits), 0);
    client = get(&c, 1, NULL);
    assert_null(clients_launch(&c, client, uuid_v4(), 100, &before));
    clients_land_all(&c, ANSWER_ACCEPTED, "");
    assert_null(clients_launch(&c, client, uuid_v4(), 100, &after));
    assert_int_equal((uint32_t)before, (uint32_t)after);
    assert_false(clients_land(&c, before, &outcome));
    assert_int_equal(client->in_flight, 1);
    assert_true(clients_land(&c, after, &outcome));
    assert_false(clients_land(&c, after, &outcome));
    clients_free(&c);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_stays_while_its_message_is_worked_through),
        cmocka_unit_test(connections_of_a_key_have_one_share),
        cmocka_unit_test(an_outcome_of_an_earlier_use_of_a_place_is_nobodys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
