/* SPDX-License-Identifier: MPL-2.0 */
/* The self-test of a CURVE server: it must notice every way to be open. */
#include "lib/cmocka.h"

#include <string.h>

#include "wire/zap.h"

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
    const struct sock_options options = {
        .type = ZMQ_ROUTER,
        .queue_max = 10,
        .frame_max = 1024,
    };
    struct sock server;
    struct curve_key key;
    struct zap zap;
    int zero = 0, asked = 0, rc;

    assert_int_equal(curve_key_new(&key, err), 0);
    if (may_connect != NULL)
        assert_int_equal(zap_open(&zap, may_connect, &asked, err), 0);
    assert_int_equal(sock_open(&server, &options, err), 0);
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
    const struct sock_options options = {
        .type = ZMQ_ROUTER,
        .queue_max = 10,
        .frame_max = 1024,
    };
    struct sock sock;
    struct err err;

    (void)state;
    assert_int_equal(sock_open(&sock, &options, &err), 0);
    assert_int_equal(sock_bind(&sock, "tcp://127.0.0.1:*", &err),
                     -CAIRN_ECONFIG);
    assert_non_null(strstr(err.text, "only with CURVE"));
    assert_int_equal(sock_connect(&sock, "tcp://127.0.0.1:1", &err),
                     -CAIRN_EUSAGE);
    sock_close(&sock);
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
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
