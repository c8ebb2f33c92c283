/* SPDX-License-Identifier: MPL-2.0 */
/* The self-test of a CURVE server: it must notice every way to be open.  And
 * who comes in cannot name its connection as libzmq does. */
#include "lib/cmocka.h"

#include <poll.h>
#include <string.h>

#include <sodium.h>

#include "base/log.h"
#include "wire/intake.h"
#include "wire/zap.h"

static const struct sock_options server_options = {
    .type = ZMQ_ROUTER,
    .queue_max = 10,
    .frame_max = 1024,
};

static bool
nobody(void *arg, const char *key)
{
    ++*(int *)arg;
    assert_int_equal(strlen(key), CURVE_KEY_LEN);
    return false;
}

static bool
everybody(void *arg, const char *key)
{
    (void)arg;
    (void)key;
    return true;
}

/* Runs the self-test of a server with this handler, and the option or not. */
static int
self_test(zap_fn *may_connect, bool enforce, struct err *err)
{
    struct sock server;
    struct curve_key key;
    struct zap zap;
    int zero = 0, asked = 0, rc;

    assert_int_equal(curve_key_new(&key, err), 0);
    if (may_connect != NULL)
        assert_int_equal(zap_open(&zap, may_connect, &asked, err), 0);
    assert_int_equal(sock_open(&server, &server_options, err), 0);
    assert_int_equal(curve_serve(&server, &key, err), 0);
    if (!enforce)
        assert_int_equal(zmq_setsockopt(server.handle, 93, &zero, sizeof zero),
                         0);
    rc = curve_self_test(&server, &key, may_connect == NULL ? NULL : &zap,
                         enforce && may_connect == NULL ? 200 : 10000, err);
    sock_close(&server);
    if (may_connect != NULL)
        zap_close(&zap);
    if (may_connect == nobody)
        assert_int_equal(asked, 1);
    return rc;
}

static void
a_server_that_refuses_unknown_keys_passes(void **state)
{
    struct err err;

    (void)state;
    if (self_test(nobody, true, &err) < 0)
        fail_msg("%s", err.text);
}

static void
a_server_that_lets_everybody_in_is_noticed(void **state)
{
    struct err err;

    (void)state;
    assert_int_equal(self_test(everybody, true, &err), -CAIRN_ECONFIG);
    assert_non_null(strstr(err.text, "was let in"));
}

static void
a_server_without_a_handler_and_without_option_93_is_noticed(void **state)
{
    struct err err;

    (void)state;
    assert_int_equal(self_test(NULL, false, &err), -CAIRN_ECONFIG);
    assert_non_null(strstr(err.text, "was let in"));
}

static void
option_93_alone_refuses_if_there_is_no_handler(void **state)
{
    struct err err;

    (void)state;
    /* Refused, or given up: but never let in. */
    if (self_test(NULL, true, &err) < 0)
        assert_null(strstr(err.text, "was let in"));
}

static void
tcp_without_curve_is_refused_both_ways(void **state)
{
    struct sock sock;
    struct err err;

    (void)state;
    assert_int_equal(sock_open(&sock, &server_options, &err), 0);
    assert_int_equal(sock_bind(&sock, "tcp://127.0.0.1:*", &err),
                     -CAIRN_ECONFIG);
    assert_non_null(strstr(err.text, "only with CURVE"));
    assert_int_equal(sock_connect(&sock, "tcp://127.0.0.1:1", &err),
                     -CAIRN_EUSAGE);
    sock_close(&sock);
}

/* Connects with a key that nobody knows; says something; its routing id. */
static uint32_t
come(struct sock *server, const struct curve_key *key, struct zap *zap,
     const uint8_t *name, struct sock *ret_client)
{
    const struct sock_options options = {
        .type = ZMQ_DEALER,
        .queue_max = 1,
        .frame_max = 1024,
    };
    struct message message = { .count = 0 };
    uint64_t until = clock_ms() + 10000;
    struct curve_client client;
    char endpoint[64];
    size_t len = sizeof endpoint;
    const uint8_t *id;
    uint32_t number;
    struct err err;

    memcpy(client.server_key, key->public_key, sizeof client.server_key);
    assert_int_equal(curve_key_new(&client.own, &err), 0);
    assert_int_equal(sock_open(ret_client, &options, &err), 0);
    assert_int_equal(curve_join(ret_client, &client, &err), 0);
    if (name != NULL)
        assert_int_equal(
            zmq_setsockopt(ret_client->handle, ZMQ_ROUTING_ID, name, 5), 0);
    (void)zmq_getsockopt(server->handle, ZMQ_LAST_ENDPOINT, endpoint, &len);
    assert_int_equal(sock_connect(ret_client, endpoint, &err), 0);
    assert_int_equal(message_add(&message, "x", 1), 0);
    assert_int_equal(message_send(ret_client, &message), 0);
    while (message_receive(server, &message) <= 0) {
        assert_true(clock_ms() < until);
        zap_answer(zap);
        (void)poll(NULL, 0, 1);
    }
    assert_true(message_routed_by_us(&message));
    id = message_data(&message, 0);
    number = (uint32_t)id[1] << 24 | (uint32_t)id[2] << 16 |
        (uint32_t)id[3] << 8 | id[4];
    message_clear(&message);
    return number;
}

/* libzmq numbers connections, and aborts at a number that is a name already. */
static void
who_takes_the_number_of_another_has_its_own(void **state)
{
    struct sock server, clients[4];
    struct curve_key key;
    uint32_t first, taken;
    uint8_t name[5];
    struct zap zap;
    struct err err;

    (void)state;
    assert_true(intake_left() > 0); /* links what is ours of libzmq's calls */
    assert_int_equal(curve_key_new(&key, &err), 0);
    assert_int_equal(zap_open(&zap, everybody, NULL, &err), 0);
    assert_int_equal(sock_open(&server, &server_options, &err), 0);
    assert_int_equal(curve_serve(&server, &key, &err), 0);
    assert_int_equal(sock_bind(&server, "tcp://127.0.0.1:*", &err), 0);
    first = come(&server, &key, &zap, NULL, &clients[0]);
    taken = first + 2;
    name[0] = 0;
    name[1] = (uint8_t)(taken >> 24);
    name[2] = (uint8_t)(taken >> 16);
    name[3] = (uint8_t)(taken >> 8);
    name[4] = (uint8_t)taken;
    assert_int_equal(come(&server, &key, &zap, name, &clients[1]), first + 1);
    assert_int_equal(come(&server, &key, &zap, NULL, &clients[2]), taken);
    assert_int_equal(come(&server, &key, &zap, NULL, &clients[3]), taken + 1);
    for (int i = 0; i < 4; i++)
        sock_close(&clients[i]);
    sock_close(&server);
    zap_close(&zap);
}

/* What a client says of itself, as the server opens it; in place. */
static void
open_initiate(uint8_t *said, size_t len)
{
    uint8_t public_key[crypto_box_PUBLICKEYBYTES];
    uint8_t secret_key[crypto_box_SECRETKEYBYTES];
    uint8_t nonce[crypto_box_NONCEBYTES + 1] = "CurveZMQINITIATE00000001";
    const size_t front = crypto_box_ZEROBYTES + 32 + 16 + 80;
    uint8_t *plain = calloc(1, front + len), *box = calloc(1, front + len);

    memcpy(plain + front, said, len);
    assert_int_equal(crypto_box_keypair(public_key, secret_key), 0);
    assert_int_equal(
        crypto_box(box, plain, front + len, nonce, public_key, secret_key), 0);
    assert_int_equal(
        crypto_box_open(plain, box, front + len, nonce, public_key, secret_key),
        0);
    memcpy(said, plain + front, len);
    box[front + len - 1] ^= 1;
    assert_int_equal(
        crypto_box_open(plain, box, front + len, nonce, public_key, secret_key),
        -1);
    free(plain);
    free(box);
}

static void
names_are_taken_away(void **state)
{
    /* The NUL behind the last one is its value. */
    static const char said[] = "\013Socket-Type\0\0\0\006DEALER"
                               "\010Identity\0\0\0\002\0a"
                               "\010Identity\0\0\0\002ab"
                               "\010Identity\0\0\0\0"
                               "\007User-Id\0\0\0\011\010Identity"
                               "\010Identity\0\0\0\001";
    static const size_t names[] = { 23, 38, 53, 87 };

    (void)state;
    assert_true(intake_left() > 0);
    for (size_t len = 1; len <= sizeof said; len++) { /* cut anywhere */
        uint8_t *at = malloc(len), expected[sizeof said];

        memcpy(at, said, len);
        memcpy(expected, said, len);
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            if (len >= names[i] + 8 + 4)
                expected[names[i]] = 'X';
        open_initiate(at, len);
        assert_memory_equal(at, expected, len);
        free(at);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_that_refuses_unknown_keys_passes),
        cmocka_unit_test(a_server_that_lets_everybody_in_is_noticed),
        cmocka_unit_test(
            a_server_without_a_handler_and_without_option_93_is_noticed),
        cmocka_unit_test(option_93_alone_refuses_if_there_is_no_handler),
        cmocka_unit_test(tcp_without_curve_is_refused_both_ways),
        cmocka_unit_test(who_takes_the_number_of_another_has_its_own),
        cmocka_unit_test(names_are_taken_away),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
