/* SPDX-License-Identifier: MPL-2.0 */
/*
 * zmtp - what a peer sends, looked at before libzmq has it.
 *
 * A reader of ZMTP 3 (RFC 23 and 37): where a frame begins, and how long it
 * says it will be.  Bodies go by unread, but for the READY command of a peer
 * without a mechanism: its property Identity, with which a client names its
 * connection, is called otherwise, so that libzmq knows nothing of it and
 * numbers all connections by itself.
 *
 * It changes what it is given in place, and works with any cut of the stream.
 *
 * Threads: any, one at a time for a stream.
 */
#ifndef CAIRN_WIRE_ZMTP_H
#define CAIRN_WIRE_ZMTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ZMTP_HEAD_MAX 9 /* bytes in front of a body: flags and length */

enum zmtp_fault {
    ZMTP_FINE,
    ZMTP_FOREIGN,   /* no greeting of ZMTP 3 */
    ZMTP_MECHANISM, /* of another mechanism than is spoken here */
    ZMTP_HANDSHAKE, /* a frame of the handshake is too long */
    ZMTP_TOO_LARGE, /* a frame behind the handshake is */
};

/* A stream of one peer. */
struct zmtp {
    uint64_t left;       /* bytes to come of the greeting, or of a body */
    uint32_t value_len;  /* of the property that is read */
    uint8_t part, ready; /* what `left` belongs to; how far READY is read */
    uint8_t at;          /* in a name, or in a length, of READY */
    uint8_t name_len;
    uint8_t frames; /* of the handshake, that have begun */
    bool curve;     /* the mechanism that it must greet with; else NULL */
    uint8_t held;   /* bytes of a head that is not whole yet */
    uint8_t head[ZMTP_HEAD_MAX];
};

void zmtp_begin(struct zmtp *zmtp, bool curve);

/* Whether bytes that come next can be of nothing but a body. */
static inline bool
zmtp_is_inside(const struct zmtp *zmtp, size_t len)
{
    return zmtp->left >= len;
}

/*
 * Looks at `len` bytes that have come; what was held of a head is in front of
 * them (zmtp->held bytes, copied there by the caller).  Returns how many may be
 * handed on: up to a head that is not whole, which is held, or up to what
 * *ret_fault tells.  Behind a fault nothing may be looked at.
 */
size_t zmtp_look(struct zmtp *zmtp, uint8_t *data, size_t len,
                 uint64_t frame_max, enum zmtp_fault *ret_fault);

/* The length that the head at these ZMTP_HEAD_MAX bytes tells. */
uint64_t zmtp_length(const uint8_t *head);

/*
 * Takes the names that clients give to their connections away, in the
 * properties of a handshake (RFC 23: length and name, length and value).
 */
void zmtp_unname(uint8_t *properties, size_t len);

#endif
