/* SPDX-License-Identifier: MPL-2.0 */
#include "wire/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "wire/tcp.h"

#define IPC_PREFIX "ipc://"
#define LOCK_MODE 0640

static int
set_int(void *handle, int option, int value)
{
    return zmq_setsockopt(handle, option, &value, sizeof value);
}

static int
set_options(void *handle, const struct sock_options *options)
{
    int64_t frame_max = (int64_t)options->frame_max;
    int rc = set_int(handle, ZMQ_LINGER, (int)options->linger_ms);

    rc |= set_int(handle, ZMQ_SNDHWM, (int)options->queue_max);
    rc |= set_int(handle, ZMQ_RCVHWM,
                  (int)(options->unread_max > 0 ? options->unread_max
                                                : options->queue_max));
    rc |= set_int(handle, ZMQ_SNDTIMEO, 0);
    rc |= zmq_setsockopt(handle, ZMQ_MAXMSGSIZE, &frame_max, sizeof frame_max);
    if (options->type == ZMQ_ROUTER)
        rc |= set_int(handle, ZMQ_ROUTER_MANDATORY, 1);
    if (options->only_connected)
        rc |= set_int(handle, ZMQ_IMMEDIATE, 1);
    return rc;
}

int
sock_open(struct sock *sock, const struct sock_options *options,
          struct err *err)
{
    size_t fd_len = sizeof sock->fd;

    *sock = (struct sock){ .lock_fd = -1, .own_user = options->own_user };
    sock->zsock = zsock_new(options->type);
    if (sock->zsock == NULL)
        return err_sys(err, -errno, "cannot make a socket");
    sock->handle = zsock_resolve(sock->zsock);
    if (set_options(sock->handle, options) != 0 ||
        zmq_getsockopt(sock->handle, ZMQ_FD, &sock->fd, &fd_len) != 0) {
        int rc = err_sys(err, -errno, "cannot set the options of a socket");

        sock_close(sock);
        return rc;
    }
    return 0;
}

/* Holds PATH.lock, or says who cannot. */
static int
lock_path(struct sock *sock, const char *endpoint, struct err *err)
{
    const char *path = endpoint + strlen(IPC_PREFIX);
    char lock[PATH_MAX];

    if (strlen(path) >= sizeof((struct sockaddr_un *)0)->sun_path)
        return err_set(err, -CAIRN_ECONFIG,
                       "cannot bind %s: the path is too long: that of a socket "
                       "may have at most %zu bytes, this one has %zu",
                       endpoint, sizeof((struct sockaddr_un *)0)->sun_path - 1,
                       strlen(path));
    (void)snprintf(lock, sizeof lock, "%s.lock", path);
    sock->lock_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, LOCK_MODE);
    if (sock->lock_fd < 0)
        return err_sys(err, -errno, "cannot bind %s: cannot open %s", endpoint,
                       lock);
    if (flock(sock->lock_fd, LOCK_EX | LOCK_NB) < 0)
        return err_set(err, -EADDRINUSE,
                       "cannot bind %s: another process serves it (it holds "
                       "the lock on %s)",
                       endpoint, lock);
    return 0;
}

int
sock_bind(struct sock *sock, const char *endpoint, struct err *err)
{
    mode_t mask;
    int rc = 0;

    if (strncmp(endpoint, IPC_PREFIX, strlen(IPC_PREFIX)) == 0)
        rc = lock_path(sock, endpoint, err);
    if (rc == 0 && tcp_endpoint(endpoint) && !sock->curve)
        rc = err_set(err, -CAIRN_ECONFIG,
                     "cannot bind %s: this endpoint is for ipc:// only; tcp "
                     "is spoken only with CURVE",
                     endpoint);
    if (rc < 0)
        return rc;
    /* To connect is to write to the path: it must be born without the right
     * of others, there is no moment between. */
    mask = umask(0077);
    if (!sock->own_user)
        (void)umask(mask);
    if (zmq_bind(sock->handle, endpoint) != 0)
        rc = err_set(err, -errno, "cannot bind %s: %s", endpoint,
                     zmq_strerror(errno));
    (void)umask(mask);
    return rc;
}

int
sock_connect(struct sock *sock, const char *endpoint, struct err *err)
{
    if (tcp_endpoint(endpoint) && !sock->curve)
        return err_set(err, -CAIRN_EUSAGE,
                       "cannot connect to %s: tcp is spoken only with CURVE; "
                       "give the server's public key and a key of your own",
                       endpoint);
    if (zmq_connect(sock->handle, endpoint) != 0)
        return err_set(err, -errno, "cannot connect to %s: %s", endpoint,
                       zmq_strerror(errno));
    return 0;
}

int
sock_reconnect(struct sock *sock, const char *endpoint, struct err *err)
{
    (void)zmq_disconnect(sock->handle, endpoint); /* it may be gone already */
    return sock_connect(sock, endpoint, err);
}

void
sock_close(struct sock *sock)
{
    if (sock->zsock == NULL)
        return;
    zsock_destroy(&sock->zsock);
    if (sock->lock_fd >= 0)
        (void)close(sock->lock_fd);
    *sock = (struct sock){ .lock_fd = -1 };
}

bool
sock_has_input(struct sock *sock)
{
    int events = 0;
    size_t len = sizeof events;

    sock->drained = false;
    return zmq_getsockopt(sock->handle, ZMQ_EVENTS, &events, &len) == 0 &&
        (events & ZMQ_POLLIN) != 0;
}

/* ---- what happens to connections --------------------------------------- */

/* Not those of broken protocol: libzmq 4.3.4 tells of a bad frame over CURVE
 * between setting errno and looking at it, then takes it for a full queue, and
 * never looks at that connection again. */
#define MONITORED                                                            \
    (ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_ACCEPT_FAILED | ZMQ_EVENT_DISCONNECTED | \
     ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)

int
sock_monitor_open(struct sock *sock, struct sock_monitor *ret_monitor,
                  struct err *err)
{
    char endpoint[64];

    *ret_monitor = (struct sock_monitor){ 0 };
    (void)snprintf(endpoint, sizeof endpoint, "inproc://monitor-%p",
                   sock->handle);
    if (zmq_socket_monitor(sock->handle, endpoint, MONITORED) != 0)
        return err_set(err, -errno, "cannot watch a socket: %s",
                       zmq_strerror(errno));
    ret_monitor->watched = sock->handle;
    ret_monitor->zsock = zsock_new(ZMQ_PAIR);
    if (ret_monitor->zsock == NULL) {
        sock_monitor_close(ret_monitor);
        return err_sys(err, -ENOMEM, "cannot watch a socket");
    }
    ret_monitor->handle = zsock_resolve(ret_monitor->zsock);
    /* Without a limit: the I/O thread waits for nobody.  What lies here is
     * small, and is read in every turn. */
    if (set_int(ret_monitor->handle, ZMQ_RCVHWM, 0) != 0 ||
        zmq_connect(ret_monitor->handle, endpoint) != 0) {
        int code = errno;

        sock_monitor_close(ret_monitor);
        return err_set(err, -code, "cannot watch a socket: %s",
                       zmq_strerror(code));
    }
    return 0;
}

void
sock_monitor_close(struct sock_monitor *monitor)
{
    if (monitor->watched != NULL)
        (void)zmq_socket_monitor(monitor->watched, NULL, 0);
    zsock_destroy(&monitor->zsock);
    *monitor = (struct sock_monitor){ 0 };
}

bool
sock_monitor_next(struct sock_monitor *monitor, struct sock_event *ret_event)
{
    zmq_msg_t frame;
    bool found = false;
    int more = 1;

    while (more) {
        (void)zmq_msg_init(&frame);
        if (zmq_msg_recv(&frame, monitor->handle, ZMQ_DONTWAIT) < 0) {
            (void)zmq_msg_close(&frame);
            break;
        }
        if (!found && zmq_msg_size(&frame) >= 6) {
            const uint8_t *data = zmq_msg_data(&frame);

            memcpy(&ret_event->what, data, 2);
            memcpy(&ret_event->value, data + 2, 4);
            found = true;
        }
        more = zmq_msg_more(&frame);
        (void)zmq_msg_close(&frame);
    }
    return found;
}

/* ---- messages ---------------------------------------------------------- */

void
message_clear(struct message *message)
{
    for (int i = 0; i < message->count; i++)
        (void)zmq_msg_close(&message->frames[i]);
    message->count = 0;
}

/* Takes what is left of a message with too many frames. */
static void
drain(struct sock *sock)
{
    zmq_msg_t frame;
    int more = 1;

    while (more) {
        (void)zmq_msg_init(&frame);
        if (zmq_msg_recv(&frame, sock->handle, ZMQ_DONTWAIT) < 0)
            more = 0;
        else
            more = zmq_msg_more(&frame);
        (void)zmq_msg_close(&frame);
    }
}

int
message_receive(struct sock *sock, struct message *message)
{
    int more = 1;

    message->count = 0;
    sock->drained = false;
    while (more) {
        zmq_msg_t *frame;

        if (message->count == SOCK_FRAMES_MAX) {
            drain(sock);
            while (message->count > 2)
                (void)zmq_msg_close(&message->frames[--message->count]);
            return -EMSGSIZE;
        }
        frame = &message->frames[message->count];
        (void)zmq_msg_init(frame);
        if (zmq_msg_recv(frame, sock->handle, ZMQ_DONTWAIT) < 0) {
            int code = errno;

            (void)zmq_msg_close(frame);
            message_clear(message);
            sock->drained = code == EAGAIN;
            return code == EAGAIN || code == EINTR ? 0 : -code;
        }
        message->count++;
        more = zmq_msg_more(frame);
    }
    return 1;
}

int
message_send(struct sock *sock, struct message *message)
{
    sock->drained = false;
    for (int i = 0; i < message->count; i++) {
        int flags = i + 1 < message->count ? ZMQ_SNDMORE : 0;

        /* Only the first frame can be refused: after it, the pipe is ours. */
        if (zmq_msg_send(&message->frames[i], sock->handle,
                         flags | ZMQ_DONTWAIT) < 0)
            return -errno;
    }
    message->count = 0;
    return 0;
}

bool
message_routed_by_us(struct message *message)
{
    return message->count > 0 && message_len(message, 0) == ROUTING_ID_LEN &&
        message_data(message, 0)[0] == 0;
}

int
message_add(struct message *message, const void *data, size_t len)
{
    zmq_msg_t *frame = &message->frames[message->count];

    if (message->count == SOCK_FRAMES_MAX)
        return -EMSGSIZE;
    if (zmq_msg_init_size(frame, len) != 0)
        return -ENOMEM;
    if (len > 0)
        memcpy(zmq_msg_data(frame), data, len);
    message->count++;
    return 0;
}

void
message_move(struct message *message, zmq_msg_t *frame)
{
    assert(message->count < SOCK_FRAMES_MAX);
    (void)zmq_msg_init(&message->frames[message->count]);
    (void)zmq_msg_move(&message->frames[message->count++], frame);
}
