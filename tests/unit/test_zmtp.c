/* SPDX-License-Identifier: MPL-2.0 */
/* What a peer sends, cut at every byte: the same comes out. */
#include "lib/cmocka.h"

#include <stdlib.h>
#include <string.h>

#include "wire/zmtp.h"

#define FRAME_MAX 1000u

/* The greeting with a mechanism of 5 letters at most. */
#define GREETING(mechanism, zeros)                 \
    "\xff\0\0\0\0\0\0\0\1\x7f\3\1" mechanism zeros \
    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"               \
    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define GREETING_NULL GREETING("NULL", "\0")
#define GREETING_CURVE GREETING("CURVE", "")

_Static_assert(sizeof GREETING_NULL == 64 + 1, "RFC 23");
_Static_assert(sizeof GREETING_CURVE == 64 + 1, "RFC 23");

#define READY "\4\x1c\5READY\13Socket-Type\0\0\0\6DEALER"
#define LONG(high, low) "\2\0\0\0\0\0\0" high low

/* A stream, what libzmq is to see of it, and how it ends. */
struct stream {
    const char *name;
    bool curve;
    const char *sent, *seen; /* seen NULL: all that was sent */
    size_t len, seen_len;
    enum zmtp_fault fault;
};

#define ALL(name, curve, sent)                                                 \
    {                                                                          \
        name, curve, sent, NULL, sizeof(sent) - 1, sizeof(sent) - 1, ZMTP_FINE \
    }
#define SEEN(name, curve, sent, seen, fault)                               \
    {                                                                      \
        name, curve, sent, seen, sizeof(sent) - 1, sizeof(seen) - 1, fault \
    }

static const struct stream streams[] = {
    ALL("frames", false, GREETING_NULL READY "\1\0\0\3abc\1\2ab\0\0"),
    ALL("a long one", false, GREETING_NULL READY LONG("\0", "\3") "abc\0\1x"),
    ALL("a long one of nothing", false, GREETING_NULL READY LONG("\0", "\0")),
    ALL("none of ours", false, GREETING_NULL "\4\3\2ABIdentity\0\0\0\1x"),
    ALL("other properties", false,
        GREETING_NULL "\4\x23\5READY\11Identity2\0\0\0\0\7Identit\0\0\0\2II"),
    ALL("only the first command", false,
        GREETING_NULL READY "\4\x14\5READY\10Identity\0\0\0\1x"),
    ALL("over CURVE", true,
        GREETING_CURVE "\4\6\5HELLO\4\x11\10INITIATE\0\0\0\0\0\0\0\0\0\7MESSAGE"
                       "\0\3abc"),
    SEEN("a name", false,
         GREETING_NULL "\4\x1e\5READY\10Identity\0\0\0\3abc\1a\0\0\0\2bc\0\1x",
         GREETING_NULL "\4\x1e\5READY\10Xdentity\0\0\0\3abc\1a\0\0\0\2bc\0\1x",
         ZMTP_FINE),
    SEEN("several, and values that look so", false,
         GREETING_NULL "\4\x30\5READY\10identity\0\0\0\0\1I\0\0\0\11\10Identity"
                       "\10Identity\0\0\0\1\0\0\1x",
         GREETING_NULL "\4\x30\5READY\10Xdentity\0\0\0\0\1I\0\0\0\11\10Identity"
                       "\10Xdentity\0\0\0\1\0\0\1x",
         ZMTP_FINE),
    SEEN("too long", false, GREETING_NULL READY "\1\1a\3\0\0\0\0\0\0\3\xe9xyz",
         GREETING_NULL READY "\1\1a", ZMTP_TOO_LARGE),
    SEEN("much too long", false,
         GREETING_NULL READY "\2\xff\xff\xff\xff\xff\xff\xff\xff",
         GREETING_NULL READY, ZMTP_TOO_LARGE),
    SEEN("too long in the handshake", false,
         GREETING_NULL "\6\0\0\0\0\0\0\3\xe9\5READY", GREETING_NULL,
         ZMTP_HANDSHAKE),
    SEEN("the second is of the handshake over CURVE", true,
         GREETING_CURVE "\4\1a\2\0\0\0\0\0\0\3\xe9", GREETING_CURVE "\4\1a",
         ZMTP_HANDSHAKE),
    SEEN("the third is not", true,
         GREETING_CURVE "\4\1a\4\1b\2\0\0\0\0\0\0\3\xe9",
         GREETING_CURVE "\4\1a\4\1b", ZMTP_TOO_LARGE),
    SEEN("a head that is not whole", false,
         GREETING_NULL READY "\2\0\0\0\0\0\0\0", GREETING_NULL READY,
         ZMTP_FINE),
    SEEN("nor a short one", false, GREETING_NULL READY "\1",
         GREETING_NULL READY, ZMTP_FINE),
    SEEN("HTTP", false, "GET / HTTP/1.1\r\n", "", ZMTP_FOREIGN),
    SEEN("ZMTP 1", false, "\1\0\1x", "", ZMTP_FOREIGN),
    SEEN("a long frame of ZMTP 1", false, "\xff\0\0\0\0\0\0\0\3\0ab",
         "\xff\0\0\0\0\0\0\0\3", ZMTP_FOREIGN),
    SEEN("none of either", false, "\xff\0\0\0\0\0\0\0\1\2\3\1",
         "\xff\0\0\0\0\0\0\0\1", ZMTP_FOREIGN),
    SEEN("nor this one", false, "\xff\0\0\0\0\0\0\0\1\x7f\2\0\0",
         "\xff\0\0\0\0\0\0\0\1\x7f", ZMTP_FOREIGN),
    SEEN("ZMTP 2", false, "\xff\0\0\0\0\0\0\0\1\x7f\1\5\0\0",
         "\xff\0\0\0\0\0\0\0\1\x7f", ZMTP_FOREIGN),
    SEEN("CURVE where NULL is spoken", false, GREETING_CURVE,
         "\xff\0\0\0\0\0\0\0\1\x7f\3\1", ZMTP_MECHANISM),
    SEEN("NULL where CURVE is", true, GREETING_NULL,
         "\xff\0\0\0\0\0\0\0\1\x7f\3\1", ZMTP_MECHANISM),
    SEEN("NULLS", false, GREETING("NULLS", ""),
         "\xff\0\0\0\0\0\0\0\1\x7f\3\1NULL", ZMTP_MECHANISM),
};

/* Sends it in pieces that end at these places; what is seen, and the fault. */
static enum zmtp_fault
look(const struct stream *s, size_t first, size_t second, uint8_t *seen,
     size_t *ret_len)
{
    const size_t ends[] = { first, second, s->len };
    enum zmtp_fault fault = ZMTP_FINE;
    struct zmtp zmtp;
    size_t at = 0;

    zmtp_begin(&zmtp, s->curve);
    *ret_len = 0;
    for (int i = 0; i < 3 && fault == ZMTP_FINE; i++) {
        size_t held = zmtp.held, len = held + ends[i] - at, passed;
        uint8_t *piece = malloc(len + 1); /* exact, for the sanitizer */

        memcpy(piece, zmtp.head, held);
        memcpy(piece + held, s->sent + at, ends[i] - at);
        passed = zmtp_look(&zmtp, piece, len, FRAME_MAX, &fault);
        assert_true(passed <= len);
        assert_true(fault != ZMTP_FINE || passed + zmtp.held == len);
        if (fault == ZMTP_TOO_LARGE)
            assert_true(len - passed >= ZMTP_HEAD_MAX &&
                        zmtp_length(piece + passed) > FRAME_MAX);
        memcpy(seen + *ret_len, piece, passed);
        *ret_len += passed;
        at = ends[i];
        free(piece);
    }
    return fault;
}

static void
the_same_is_seen_however_it_is_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) {
        const struct stream *s = &streams[i];
        uint8_t seen[512];
        size_t len;

        assert_true(s->len <= sizeof seen);
        for (size_t first = 0; first <= s->len; first++) {
            for (size_t second = first; second <= s->len; second++) {
                enum zmtp_fault fault = look(s, first, second, seen, &len);

                if (fault != s->fault || len != s->seen_len ||
                    memcmp(seen, s->seen == NULL ? s->sent : s->seen, len) != 0)
                    fail_msg("%s: cut at %zu and %zu: fault %d, %zu bytes",
                             s->name, first, second, fault, len);
            }
        }
    }
}

static void
inside_a_body_a_buffer_is_used_to_its_end(void **state)
{
    static uint8_t sent[] = GREETING_NULL READY LONG("\3", "\xe8") "abc";
    enum zmtp_fault fault;
    struct zmtp zmtp;

    (void)state;
    zmtp_begin(&zmtp, false);
    assert_true(zmtp_is_inside(&zmtp, 64));
    assert_false(zmtp_is_inside(&zmtp, 65));
    assert_int_equal(zmtp_look(&zmtp, sent, sizeof sent - 1, FRAME_MAX, &fault),
                     sizeof sent - 1);
    assert_int_equal(fault, ZMTP_FINE);
    assert_true(zmtp_is_inside(&zmtp, 1000 - 3));
    assert_false(zmtp_is_inside(&zmtp, 1000 - 2));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_is_seen_however_it_is_cut),
        cmocka_unit_test(inside_a_body_a_buffer_is_used_to_its_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
