/* SPDX-License-Identifier: MPL-2.0 */
/* What comes through recv() of those who were accepted, and of others. */
#include "lib/cmocka.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <sodium.h>

#include "lib/tmpdir.h"
#include "wire/intake.h"

#define FRAME_MAX 100000u
#define GREETING                                                       \
    "\xff\0\0\0\0\0\0\0\1\x7f\3\1NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" \
    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define READY "\4\x1c\5READY\13Socket-Type\0\0\0\6DEALER"

static struct sockaddr_un address = { .sun_family = AF_UNIX };
static char *dir;
static int listener;

/* Both ends of a connection. */
static int
come(int *ret_accepted)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address),
                     0);
    *ret_accepted = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    assert_true(*ret_accepted >= 0);
    return fd;
}

static void
say(int fd, const void *data, size_t len)
{
    assert_int_equal(send(fd, data, len, 0), len);
}

/* Receives into `data` what may be seen of what the other end has sent. */
static size_t
hear(int fd, uint8_t *data, size_t room)
{
    size_t len = 0;

    for (;;) {
        size_t ask = room - len < 8192 ? room - len : 8192;
        ssize_t got = recv(fd, data + len, ask, 0);

        if (got <= 0)
            return len;
        len += (size_t)got;
    }
}

/* All that lies there is taken, and nothing of it seen. */
static void
drop(int fd)
{
    uint8_t data[8192];
    int lies = 0;

    while (ioctl(fd, FIONREAD, &lies) == 0 && lies > 0) {
        assert_int_equal(recv(fd, data, sizeof data, 0), -1);
        assert_int_equal(errno, EAGAIN);
    }
}

static void
a_frame_that_is_too_long_is_a_mark(void **state)
{
    static const char sent[] = GREETING READY "\1\1a\2\0\0\0\0\0\1\x86\xa1xyz";
    static const size_t front = sizeof sent - 1 - 9 - 3;
    static uint8_t seen[1 << 20], more[1 << 16];
    uint64_t len = 0;
    size_t count;
    int to, from, again;

    (void)state;
    to = come(&from);
    assert_false(intake_is_over(from));
    say(to, sent, sizeof sent - 1);
    count = hear(from, seen, sizeof seen);
    assert_true(intake_is_over(from));
    assert_memory_equal(seen, sent, front);
    assert_int_equal(seen[front], 0); /* the last of its message */
    assert_int_equal(seen[front + 1], count - front - 2);
    assert_true(intake_is_mark(seen + front + 2, count - front - 2, &len));
    assert_int_equal(len, FRAME_MAX + 1);
    assert_false(intake_is_mark(seen + front + 2, count - front - 3, &len));
    seen[front + 2 + 31] ^= 1;
    assert_false(intake_is_mark(seen + front + 2, count - front - 2, &len));
    /* Nothing behind it is seen, but it is taken, and the end is seen. */
    for (int i = 0; i < 10; i++) {
        say(to, more, sizeof more);
        drop(from);
    }
    (void)close(to);
    assert_int_equal(recv(from, seen, sizeof seen, 0), 0);
    (void)close(from);
    to = come(&again); /* another one with the same descriptor */
    assert_int_equal(again, from);
    assert_false(intake_is_over(from));
    (void)close(to);
    (void)close(from);
}

static void
it_is_one_wherever_its_head_lies_in_a_buffer(void **state)
{
    static uint8_t sent[20000], seen[20000];
    uint64_t len;

    (void)state;
    for (size_t front = 8000; front < 8400; front++) {
        size_t body = front - (sizeof GREETING READY - 1) - 9, count;
        uint8_t *at = sent;
        int to, from;

        memset(sent, 'b', sizeof sent);
        memcpy(at, GREETING READY, sizeof GREETING READY - 1);
        at += sizeof GREETING READY - 1;
        memcpy(at, "\3\0\0\0\0\0\0", 7);
        at[7] = (uint8_t)(body >> 8);
        at[8] = (uint8_t)body;
        memcpy(sent + front, "\2\0\0\1\0\0\0\0\0", 9);
        to = come(&from);
        say(to, sent, front + 500);
        count = hear(from, seen, sizeof seen);
        assert_memory_equal(seen, sent, front);
        assert_true(intake_is_mark(seen + front + 2, count - front - 2, &len));
        assert_int_equal(len, UINT64_C(1) << 40);
        (void)close(to);
        (void)close(from);
    }
}

static void
what_is_dropped_does_not_count(void **state)
{
    static uint8_t data[1 << 16];
    int to, from;

    (void)state;
    to = come(&from);
    say(to, GREETING READY "\2\1\0\0\0\0\0\0\0", sizeof GREETING READY - 1 + 9);
    (void)hear(from, data, sizeof data);
    intake_allow(1000);
    for (int i = 0; i < 10; i++) {
        say(to, data, sizeof data);
        drop(from);
    }
    assert_int_equal(intake_left(), 1000);
    intake_allow(INT64_MAX);
    (void)close(to);
    (void)close(from);
}

static void
who_does_not_greet_is_told_so(void **state)
{
    static uint8_t data[1000];
    uint64_t before = intake_strangers();
    int to, from;

    (void)state;
    to = come(&from);
    say(to, "GET / HTTP/1.1\r\n\r\n", 18);
    assert_int_equal(recv(from, data, sizeof data, 0), 0); /* its end */
    assert_int_equal(intake_strangers(), before + 1);
    (void)close(from);
    assert_true(recv(to, data, sizeof data, 0) > 20);
    assert_memory_equal(data, "refused: ", 9);
    (void)close(to);
}

/* A descriptor is soon used again, for a connection of our own. */
static void
who_we_go_to_is_not_read_along(void **state)
{
    static uint8_t data[100];
    int to, from, other, again, kept;

    (void)state;
    to = come(&from);
    say(to, GREETING, 9); /* of the tenth byte something is asked */
    assert_int_equal(recv(from, data, sizeof data, 0), 9);
    (void)close(from);
    (void)close(to);
    kept = socket(AF_UNIX, SOCK_STREAM, 0); /* in the place of `to` */
    again = come(&other);
    assert_int_equal(again, from);
    say(other, "plain", 5);
    assert_int_equal(recv(again, data, sizeof data, 0), 5);
    assert_memory_equal(data, "plain", 5);
    (void)close(again);
    (void)close(other);
    (void)close(kept);
}

static void
boxes_open_as_libsodium_opens_them(void **state)
{
    uint8_t shared[crypto_box_BEFORENMBYTES], nonce[crypto_box_NONCEBYTES];
    uint8_t plain[200], box[200 + crypto_box_MACBYTES], opened[200];

    (void)state;
    randombytes_buf(shared, sizeof shared);
    randombytes_buf(nonce, sizeof nonce);
    randombytes_buf(plain, sizeof plain);
    for (size_t len = 0; len <= sizeof plain; len++) {
        size_t box_len = len + crypto_box_MACBYTES;

        assert_int_equal(
            crypto_box_easy_afternm(box, plain, len, nonce, shared), 0);
        assert_int_equal(
            crypto_box_open_easy_afternm(opened, box, box_len, nonce, shared),
            0);
        assert_memory_equal(opened, plain, len);
        box[len / 2] ^= 1;
        assert_int_equal(
            crypto_box_open_easy_afternm(opened, box, box_len, nonce, shared),
            -1);
        box[len / 2] ^= 1;
        /* In place, as libzmq does it. */
        assert_int_equal(crypto_box_open_easy_afternm(box + crypto_box_MACBYTES,
                                                      box, box_len, nonce,
                                                      shared),
                         0);
        assert_memory_equal(box + crypto_box_MACBYTES, plain, len);
    }
    assert_int_equal(
        crypto_box_open_easy_afternm(opened, box, 15, nonce, shared), -1);
}

static int
open_listener(void **state)
{
    (void)state;
    dir = tmpdir_make();
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s",
                   tmpdir_path(dir, "door"));
    listener = socket(AF_UNIX, SOCK_STREAM, 0);
    return bind(listener, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(listener, 10) < 0 || intake_read_along(FRAME_MAX) < 0;
}

static int
close_listener(void **state)
{
    (void)state;
    (void)close(listener);
    tmpdir_remove(&dir);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_that_is_too_long_is_a_mark),
        cmocka_unit_test(it_is_one_wherever_its_head_lies_in_a_buffer),
        cmocka_unit_test(what_is_dropped_does_not_count),
        cmocka_unit_test(who_does_not_greet_is_told_so),
        cmocka_unit_test(who_we_go_to_is_not_read_along),
        cmocka_unit_test(boxes_open_as_libsodium_opens_them),
    };

    return cmocka_run_group_tests(tests, open_listener, close_listener);
}
