/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What peers send: cut anywhere, the same is seen of it; and of what is seen,
 * no frame is too long.
 *
 * Input: the mechanism, how it is cut, the stream behind its greeting, or with
 * a bit of the first byte from there on.
 */
#include "fuzz/input.h"

#include <stdlib.h>
#include <string.h>

#include "wire/zmtp.h"

#define FRAME_MAX 300u
#define GREETING_LEN 64u

struct seen {
    uint8_t *data;
    size_t len;
    enum zmtp_fault fault;
};

/* Pieces of lengths that follow from `cut`; 0: in one. */
static struct seen
look(bool curve, const uint8_t *data, size_t len, uint64_t cut)
{
    struct seen seen = { malloc(len + 1), 0, ZMTP_FINE };
    struct zmtp zmtp;
    size_t at = 0;

    zmtp_begin(&zmtp, curve);
    while (at < len && seen.fault == ZMTP_FINE) {
        size_t want = cut == 0 ? len : 1 + cut % 61, held = zmtp.held, passed;
        size_t count = want < len - at ? want : len - at;
        uint8_t *piece = malloc(held + count);

        cut = cut * 6364136223846793005u + 1;
        memcpy(piece, zmtp.head, held);
        memcpy(piece + held, data + at, count);
        passed = zmtp_look(&zmtp, piece, held + count, FRAME_MAX, &seen.fault);
        input_must(passed <= held + count, "no more is seen than was sent");
        memcpy(seen.data + seen.len, piece, passed);
        seen.len += passed;
        at += count;
        free(piece);
    }
    return seen;
}

/* Reads it as libzmq does, which knows nothing of cuts. */
static void
check_frames(const struct seen *seen)
{
    size_t at = GREETING_LEN;

    while (at < seen->len) {
        bool is_long = (seen->data[at] & 2) != 0;
        size_t len = 0;

        input_must(seen->len - at >= (is_long ? 9 : 2), "heads are whole");
        for (size_t i = 1; i < (is_long ? 9 : 2); i++)
            len = len << 8 | seen->data[at + i];
        input_must(len <= FRAME_MAX, "no frame is too long");
        at += (is_long ? 9 : 2) + len;
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct input input = { data, len };
    uint64_t flags = input_number(&input, 1), cut = input_number(&input, 8);
    bool curve = (flags & 1) != 0;
    size_t front = flags & 2 ? 0 : GREETING_LEN;
    uint8_t *stream = calloc(1, front + input.left + 1);
    struct seen whole, pieces;

    if (front > 0) {
        stream[0] = 0xff;
        stream[9] = 0x7f;
        stream[10] = 3;
        memcpy(stream + 12, curve ? "CURVE" : "NULL", curve ? 5 : 4);
    }
    memcpy(stream + front, input.p, input.left);
    whole = look(curve, stream, front + input.left, 0);
    pieces = look(curve, stream, front + input.left, cut | 1);
    input_must(whole.len == pieces.len && whole.fault == pieces.fault &&
                   memcmp(whole.data, pieces.data, whole.len) == 0,
               "the same is seen, however it is cut");
    if (whole.len > GREETING_LEN)
        check_frames(&whole);
    zmtp_unname(stream, front + input.left);
    free(whole.data);
    free(pieces.data);
    free(stream);
    return 0;
}
