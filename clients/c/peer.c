/* SPDX-License-Identifier: MPL-2.0 */
#include "c/peer.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#include <zmq.h>

#include "wire/protocol.h"
#include "wire/tcp.h"

#define RECONNECT_MS 20
#define RECONNECT_MAX_MS 1000
#define HANDSHAKE_MS 5000 /* until it is tried again */
#define MONITOR_LEN 64
#define WAIT_MS_MAX 3600000u /* poll() takes an int */

static int
set_int(void *handle, int option, int value)
{
    return zmq_setsockopt(handle, option, &value, sizeof value);
}

static int
set_keys(void *handle, const struct peer_options *options, struct err *err)
{
    const struct peer_keys *keys = options->keys;

    if (!tcp_endpoint(options->endpoint))
        return 0; /* there the modes of files decide */
    if (keys == NULL)
        return err_set(err, -CAIRN_EUSAGE,
                       "cannot connect to %s: tcp is spoken only with CURVE; "
                       "give the server's public key and a key of your own",
                       options->endpoint);
    if (tcp_set_client(handle, keys->server, keys->public, keys->secret) != 0)
        return err_set(err, -CAIRN_ECONFIG,
                       "a key is not 40 characters of Z85, or this libzmq "
                       "was built without CURVE");
    return 0;
}

static int
get_fd(struct sock *sock)
{
    size_t len = sizeof sock->fd;

    return zmq_getsockopt(sock->handle, ZMQ_FD, &sock->fd, &len);
}

/* Nothing is sent to a peer that is not there: what waits, waits with us. */
static int
set_options(void *handle, const struct peer_options *options, struct err *err)
{
    int64_t frame_max = FRAME_LEN_MAX;
    int rc = set_int(handle, ZMQ_LINGER, 0);

    rc |= set_int(handle, ZMQ_SNDHWM, (int)options->queue_max);
    rc |= set_int(handle, ZMQ_RCVHWM, (int)options->queue_max);
    rc |= set_int(handle, ZMQ_SNDTIMEO, 0);
    rc |= set_int(handle, ZMQ_IMMEDIATE, 1);
    rc |= set_int(handle, ZMQ_RECONNECT_IVL, RECONNECT_MS);
    rc |= set_int(handle, ZMQ_RECONNECT_IVL_MAX, RECONNECT_MAX_MS);
    rc |= set_int(handle, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS);
    rc |= zmq_setsockopt(handle, ZMQ_MAXMSGSIZE, &frame_max, sizeof frame_max);
    if (rc != 0)
        return err_sys(err, -errno, "cannot set the options of a socket");
    return set_keys(handle, options, err);
}

/* News of the connection comes through a socket inside the process. */
static int
open_monitor(struct peer *peer, void *context, struct err *err)
{
    char name[MONITOR_LEN];

    (void)snprintf(name, sizeof name, "inproc://cairn-peer-%p",
                   peer->sock.handle);
    if (zmq_socket_monitor(peer->sock.handle, name,
                           ZMQ_EVENT_HANDSHAKE_SUCCEEDED |
                               ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
                               ZMQ_EVENT_DISCONNECTED) < 0)
        return err_sys(err, -errno, "cannot watch a connection");
    peer->monitor.handle = zmq_socket(context, ZMQ_PAIR);
    if (peer->monitor.handle == NULL ||
        set_int(peer->monitor.handle, ZMQ_LINGER, 0) != 0 ||
        get_fd(&peer->monitor) != 0 ||
        zmq_connect(peer->monitor.handle, name) != 0)
        return err_sys(err, -errno, "cannot watch a connection");
    return 0;
}

int
peer_open(struct peer *peer, const struct peer_options *options,
          struct err *err)
{
    void *context = options->context;
    int rc;

    *peer = (struct peer){
        .sock = { .lock_fd = -1 },
        .monitor = { .lock_fd = -1 },
        .endpoint = options->endpoint,
        .tcp = tcp_endpoint(options->endpoint),
    };
    if (context == NULL)
        context = peer->context = zmq_ctx_new();
    if (context == NULL)
        return err_sys(err, -ENOMEM, "cannot make a ZeroMQ context");
    peer->sock.handle = zmq_socket(context, ZMQ_DEALER);
    rc = peer->sock.handle == NULL || get_fd(&peer->sock) != 0
        ? err_sys(err, -errno, "cannot make a socket")
        : set_options(peer->sock.handle, options, err);
    if (rc == 0)
        rc = open_monitor(peer, context, err);
    if (rc == 0 && zmq_connect(peer->sock.handle, options->endpoint) != 0)
        rc = err_set(err, -errno, "cannot connect to %s: %s", options->endpoint,
                     zmq_strerror(errno));
    if (rc < 0)
        peer_close(peer);
    return rc;
}

void
peer_close(struct peer *peer)
{
    if (peer->monitor.handle != NULL)
        (void)zmq_close(peer->monitor.handle);
    if (peer->sock.handle != NULL)
        (void)zmq_close(peer->sock.handle);
    if (peer->context != NULL)
        (void)zmq_ctx_term(peer->context); /* nothing lingers */
    *peer = (struct peer){ .sock = { .lock_fd = -1 } };
}

uint32_t
peer_silence_ms(uint32_t deadline_ms)
{
    return deadline_ms / 2 < PEER_SILENCE_MS ? deadline_ms / 2
                                             : PEER_SILENCE_MS;
}

void
peer_reconnect(struct peer *peer)
{
    if (!peer->tcp)
        return;
    peer->connected = false;
    peer->denied = false;
    (void)zmq_disconnect(peer->sock.handle, peer->endpoint); /* or it is gone */
    (void)zmq_connect(peer->sock.handle, peer->endpoint);    /* it was good */
}

enum peer_news
peer_news(struct peer *peer)
{
    struct message message;
    uint16_t event = 0;

    if (message_receive(&peer->monitor, &message) <= 0)
        return PEER_NOTHING;
    if (message_len(&message, 0) >= sizeof event)
        memcpy(&event, message_data(&message, 0), sizeof event);
    message_clear(&message);
    if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) {
        peer->connected = true;
        return PEER_CONNECTED;
    }
    if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) {
        peer->denied = true;
        return PEER_DENIED;
    }
    peer->connected = false;
    return PEER_DISCONNECTED;
}

/* zmq_poll() would ask both sockets before and after, with two system calls
 * each: this waits for their descriptors and asks nobody. */
void
peer_wait(struct peer *peer, uint64_t wait_ms, bool *ret_message,
          bool *ret_news)
{
    bool drained = peer->sock.drained && peer->monitor.drained;
    struct pollfd fds[2] = {
        { .fd = peer->sock.fd, .events = POLLIN },
        { .fd = peer->monitor.fd, .events = POLLIN },
    };

    if (wait_ms > WAIT_MS_MAX)
        wait_ms = WAIT_MS_MAX;
    (void)poll(fds, 2, drained ? (int)wait_ms : 0);
    *ret_message = fds[0].revents != 0 || !peer->sock.drained;
    *ret_news = fds[1].revents != 0 || !peer->monitor.drained;
}
