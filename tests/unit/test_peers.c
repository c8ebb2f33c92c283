/* SPDX-License-Identifier: MPL-2.0 */
/* More connections come than there are descriptors, and nobody looks. */
#include "lib/cmocka.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "lib/tmpdir.h"
#include "wire/peers.h"

#define LIMIT (2 * DESCRIPTORS_RESERVED + 64)
#define ALLOWED (LIMIT - DESCRIPTORS_RESERVED)
#define TOO_MANY (LIMIT + 1000)
#define TIMEOUT_MS 60000

/* ---- those who come, from a process of their own ------------------------ */

static int
come(const struct sockaddr_un *address)
{
    const struct timeval timeout = { .tv_sec = TIMEOUT_MS / 1000 };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    if (fd < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) < 0 ||
        connect(fd, (const struct sockaddr *)address, sizeof *address) < 0)
        _exit(1);
    return fd;
}

/* Whether it is let in: libzmq greets, or it is closed. */
static bool
is_greeted(int fd)
{
    uint8_t greeting[10];
    ssize_t got = recv(fd, greeting, sizeof greeting, MSG_WAITALL);

    if (got < 0 && errno != ECONNRESET)
        _exit(2); /* it is left waiting */
    return got == (ssize_t)sizeof greeting;
}

/* Comes when told to, tells how many were let in, leaves when told to. */
static void
crowd(int from, int to, const struct sockaddr_un *address)
{
    static int fds[TOO_MANY];
    uint32_t greeted = 0;
    char go;

    if (read(from, &go, 1) != 1)
        _exit(3);
    for (size_t i = 0; i < TOO_MANY; i++)
        fds[i] = come(address);
    for (size_t i = 0; i < TOO_MANY; i++)
        greeted += is_greeted(fds[i]);
    _exit(write(to, &greeted, sizeof greeted) == sizeof greeted &&
                  read(from, &go, 1) == 0
              ? 0
              : 4);
}

/* ---- the test ----------------------------------------------------------- */

static void
open_server(struct sock *server, struct peers *peers, const char *path)
{
    const struct sock_options options = {
        .type = ZMQ_ROUTER,
        .queue_max = 10,
        .frame_max = 1024,
    };
    const struct peers_options wanted = {
        .sockets = 1,
        .connection_max = 10000,
        .handshake_ms = 30000,
    };
    const struct rlimit limit = { LIMIT, LIMIT };
    char endpoint[PATH_MAX];
    uint32_t max;
    struct err err;

    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(sock_open(server, &options, &err), 0);
    assert_int_equal(peers_open(peers, server, &wanted, &max, &err), 0);
    assert_int_equal(max, ALLOWED);
    (void)snprintf(endpoint, sizeof endpoint, "ipc://%s", path);
    assert_int_equal(sock_bind(server, endpoint, &err), 0);
}

static void
update_until(struct peers *peers, uint32_t count)
{
    for (int i = 0; i < TIMEOUT_MS && peers->count != count; i++) {
        peers_update(peers, 0);
        (void)poll(NULL, 0, 1);
    }
    assert_int_equal(peers->count, count);
}

static void
a_burst_leaves_descriptors_for_ourselves(void **state)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    char *dir = tmpdir_make();
    int to[2], from[2], own[DESCRIPTORS_OWN / 2], status;
    struct sock server;
    struct peers peers;
    struct rlimit limit;
    uint32_t greeted;
    pid_t pid;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_max < TOO_MANY + 100) {
        print_message("SKIP: %u descriptors are not allowed here\n",
                      TOO_MANY + 100);
        skip();
    }
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s",
                   tmpdir_path(dir, "door"));
    assert_int_equal(pipe2(to, O_CLOEXEC), 0);
    assert_int_equal(pipe2(from, O_CLOEXEC), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)close(to[1]);
        crowd(to[0], from[1], &address);
    }
    (void)close(to[0]);
    (void)close(from[1]);

    open_server(&server, &peers, address.sun_path);
    assert_int_equal(write(to[1], "", 1), 1);
    assert_int_equal(read(from[0], &greeted, sizeof greeted), sizeof greeted);
    /* Nobody has looked so far: all were taken that there was room for. */
    assert_in_range(greeted, ALLOWED, LIMIT - DESCRIPTORS_OWN);
    for (size_t i = 0; i < DESCRIPTORS_OWN / 2; i++) {
        own[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
        assert_true(own[i] >= 0);
    }
    peers_update(&peers, 0);
    assert_true(peers.refused >= TOO_MANY - greeted);
    peers_expire(&peers, 2 * EXCESS_MS); /* none has said anything */
    update_until(&peers, ALLOWED);

    (void)close(to[1]); /* the crowd leaves */
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    update_until(&peers, 0);
    for (size_t i = 0; i < DESCRIPTORS_OWN / 2; i++)
        (void)close(own[i]);
    assert_true(is_greeted(come(&address)));
    peers_close(&peers);
    sock_close(&server);
    (void)close(from[0]);
    tmpdir_remove(&dir);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_leaves_descriptors_for_ourselves),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
