/* SPDX-License-Identifier: MPL-2.0 */
#include "wire/tcp.h"

#include <string.h>

#include <zmq.h>

/* A peer that is gone without a word is found out by tcp itself. */
#define KEEPALIVE_IDLE_S 60
#define KEEPALIVE_INTERVAL_S 10
#define KEEPALIVE_COUNT 3
#define UNACKNOWLEDGED_MS 30000

bool
tcp_endpoint(const char *endpoint)
{
    return strncmp(endpoint, "tcp://", 6) == 0;
}

static int
set_int(void *handle, int option, int value)
{
    return zmq_setsockopt(handle, option, &value, sizeof value);
}

int
tcp_set_options(void *handle)
{
    int rc = set_int(handle, ZMQ_IPV6, 1);

    rc |= set_int(handle, ZMQ_TCP_KEEPALIVE, 1);
    rc |= set_int(handle, ZMQ_TCP_KEEPALIVE_IDLE, KEEPALIVE_IDLE_S);
    rc |= set_int(handle, ZMQ_TCP_KEEPALIVE_INTVL, KEEPALIVE_INTERVAL_S);
    rc |= set_int(handle, ZMQ_TCP_KEEPALIVE_CNT, KEEPALIVE_COUNT);
    rc |= set_int(handle, ZMQ_TCP_MAXRT, UNACKNOWLEDGED_MS);
    return rc;
}

static int
set_key(void *handle, int option, const char *key)
{
    return zmq_setsockopt(handle, option, key, strlen(key) + 1);
}

int
tcp_set_client(void *handle, const char *server_key, const char *public_key,
               const char *secret_key)
{
    int rc = tcp_set_options(handle);

    rc |= set_key(handle, ZMQ_CURVE_SERVERKEY, server_key);
    rc |= set_key(handle, ZMQ_CURVE_PUBLICKEY, public_key);
    rc |= set_key(handle, ZMQ_CURVE_SECRETKEY, secret_key);
    return rc;
}
