/* SPDX-License-Identifier: MPL-2.0 */
/*
 * rows - tpl images of numbers and arrays of numbers, without tpl.
 *
 * The headers of commands and outcomes hold arrays with a row for each command
 * of a message.  tpl copies such a row field by field, and walks its format for
 * each; that was a fifth of all processor time of a loaded pipeline
 * (doc/decisions/0017).  Here a row is a struct of leNN, and an image is read
 * and written in place.  The bytes are those that tpl makes and takes
 * (tests/unit/test_rows.c):
 *
 *     "tpl", flags 0, length of all (u32), format, NUL, the numbers of the
 *     root; each array: count (u32), rows
 *
 *     rc = rows_begin(&out, "vvA(Uu)", sizeof head + rows_len(n, sizeof *row));
 *     head = rows_put(&out, sizeof *head);
 *     row = rows_put_array(&out, n, sizeof *row);
 *     ... row[i] = ...
 *     rc = rows_finish(&out, message);
 *
 *     rc = rows_open(&in, "vvA(Uu)", frame, row_max);
 *     head = rows_get(&in, sizeof *head);
 *     row = rows_get_array(&in, sizeof *row, &n);
 *     if (!rows_end(&in)) ... the image is not of this format
 *
 * Reading: what does not fit gives NULL, an empty array and from then on the
 * same, so it is enough to ask rows_end() before the rows are used.
 *
 * Errors:   -CAIRN_EMESSAGE, -ENOMEM.
 * Threads:  a cursor belongs to one thread; what rows_get() gives points into
 *           the frame.
 */
#ifndef CAIRN_WIRE_ROWS_H
#define CAIRN_WIRE_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "wire/sock.h"

/* The root of every header begins with these. */
struct rows_head {
    struct le16 version, kind;
};

struct rows_in {
    const uint8_t *p;
    size_t left;
    uint32_t budget; /* rows that may still come */
    bool failed;
    bool too_many; /* that is why */
};

struct rows_out {
    zmq_msg_t frame;
    uint8_t *p, *end;
};

/* Bytes of an array of an image. */
static inline size_t
rows_len(uint32_t count, size_t row_len)
{
    return sizeof(struct le32) + count * row_len;
}

/*
 * Begins to read an image; -CAIRN_EMESSAGE if it is not one of exactly this
 * format.  At most row_max rows are taken, of all arrays together.
 */
int rows_open(struct rows_in *in, const char *format, zmq_msg_t *frame,
              uint32_t row_max);

/* The next `len` bytes of the root; NULL if they are not there. */
const void *rows_get(struct rows_in *in, size_t len);

/* The next array. */
const void *rows_get_array(struct rows_in *in, size_t row_len,
                           uint32_t *ret_count);

/* Whether everything was there, and nothing is left. */
bool rows_end(const struct rows_in *in);

/* Begins to write an image with `len` bytes behind the format; -ENOMEM. */
int rows_begin(struct rows_out *out, const char *format, size_t len);

/* Room for the next `len` bytes of the root. */
void *rows_put(struct rows_out *out, size_t len);

/* Room for the next array. */
void *rows_put_array(struct rows_out *out, uint32_t count, size_t row_len);

/* Adds the image, of which everything has been written, and a body as frames;
 * -ENOMEM. */
int rows_finish(struct rows_out *out, struct message *message,
                const uint8_t *body, size_t body_len);

#endif
