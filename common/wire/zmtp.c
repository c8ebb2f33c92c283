/* SPDX-License-Identifier: MPL-2.0 */
#include "wire/zmtp.h"

#include <string.h>

#define GREETING_LEN 64u
#define MECHANISM_AT 12u
#define MECHANISM_LEN 20u

#define FLAG_LONG 2u

/* Frames of a handshake: READY; HELLO and INITIATE. */
#define HANDSHAKE_NULL 1
#define HANDSHAKE_CURVE 2

enum part { PART_GREETING, PART_HEAD, PART_BODY };

enum ready {
    READY_NOT,   /* nothing to look at */
    READY_WORD,  /* its own name */
    READY_NAME,  /* length and name of a property */
    READY_VALUE, /* length of its value */
    READY_SKIP,  /* the value */
};

static const uint8_t ready_word[] = { 5, 'R', 'E', 'A', 'D', 'Y' };

void
zmtp_begin(struct zmtp *z, bool curve)
{
    *z = (struct zmtp){ .left = GREETING_LEN, .curve = curve };
}

/* RFC 23: ff, eight bytes, 7f; major and minor version; the mechanism. */
static enum zmtp_fault
greet(const struct zmtp *z, uint32_t at, uint8_t byte)
{
    static const uint8_t curve[MECHANISM_LEN] = "CURVE";
    static const uint8_t null[MECHANISM_LEN] = "NULL";

    if (at == 0)
        return byte == 0xff ? ZMTP_FINE : ZMTP_FOREIGN;
    if (at == 9)
        return byte & 1 ? ZMTP_FINE : ZMTP_FOREIGN;
    if (at == 10)
        return byte >= 3 ? ZMTP_FINE : ZMTP_FOREIGN;
    if (at >= MECHANISM_AT && at < MECHANISM_AT + MECHANISM_LEN) {
        const uint8_t *must = z->curve ? curve : null;

        return byte == must[at - MECHANISM_AT] ? ZMTP_FINE : ZMTP_MECHANISM;
    }
    return ZMTP_FINE;
}

/* The first letter of a property that is no name of a connection any more. */
#define OTHERWISE 'X'

static bool
names_connection(uint8_t name_len, uint8_t first)
{
    return name_len == 8 && (first | 0x20) == 'i';
}

static void
read_on(struct zmtp *z, enum ready ready)
{
    z->ready = (uint8_t)ready;
    z->at = 0;
}

/* A byte of the first command of a peer without a mechanism; in place. */
static void
read_ready(struct zmtp *z, uint8_t *byte)
{
    switch (z->ready) {
    case READY_WORD:
        if (*byte != ready_word[z->at++])
            z->ready = READY_NOT;
        else if (z->at == sizeof ready_word)
            read_on(z, READY_NAME);
        break;
    case READY_NAME:
        if (z->at == 0)
            z->name_len = *byte;
        else if (z->at == 1 && names_connection(z->name_len, *byte))
            *byte = OTHERWISE;
        if (z->at++ == z->name_len)
            read_on(z, READY_VALUE);
        break;
    case READY_VALUE:
        z->value_len = z->value_len << 8 | *byte;
        if (++z->at == 4)
            read_on(z, z->value_len > 0 ? READY_SKIP : READY_NAME);
        break;
    case READY_SKIP:
        if (--z->value_len == 0)
            read_on(z, READY_NAME);
        break;
    default:
        break;
    }
}

uint64_t
zmtp_length(const uint8_t *head)
{
    uint64_t len = 0;

    if (!(head[0] & FLAG_LONG))
        return head[1];
    for (int i = 1; i < ZMTP_HEAD_MAX; i++)
        len = len << 8 | head[i];
    return len;
}

/* What a head says; it is whole. */
static enum zmtp_fault
begin_frame(struct zmtp *z, const uint8_t *head, uint64_t frame_max)
{
    bool behind = z->frames >= (z->curve ? HANDSHAKE_CURVE : HANDSHAKE_NULL);
    uint64_t len = zmtp_length(head);

    if (len > frame_max)
        return behind ? ZMTP_TOO_LARGE : ZMTP_HANDSHAKE;
    z->left = len;
    z->part = PART_BODY;
    read_on(z, z->frames == 0 && !z->curve ? READY_WORD : READY_NOT);
    if (!behind)
        z->frames++;
    return ZMTP_FINE;
}

/* Goes on within a greeting or a body; returns how far. */
static size_t
go_on(struct zmtp *z, uint8_t *data, size_t len, enum zmtp_fault *ret_fault)
{
    size_t count = z->left < len ? (size_t)z->left : len;

    for (size_t i = 0; z->part == PART_GREETING && i < count; i++) {
        *ret_fault = greet(z, GREETING_LEN - (uint32_t)z->left, data[i]);
        if (*ret_fault != ZMTP_FINE)
            return i;
        z->left--;
    }
    if (z->part == PART_BODY) {
        for (size_t i = 0; z->ready != READY_NOT && i < count; i++)
            read_ready(z, &data[i]);
        z->left -= count;
    }
    if (z->left == 0)
        z->part = PART_HEAD;
    return count;
}

size_t
zmtp_look(struct zmtp *z, uint8_t *data, size_t len, uint64_t frame_max,
          enum zmtp_fault *ret_fault)
{
    size_t at = 0;

    z->held = 0;
    *ret_fault = ZMTP_FINE;
    while (at < len && *ret_fault == ZMTP_FINE) {
        size_t head_len = data[at] & FLAG_LONG ? ZMTP_HEAD_MAX : 2;

        if (z->part != PART_HEAD) {
            at += go_on(z, data + at, len - at, ret_fault);
        } else if (len - at < head_len) {
            z->held = (uint8_t)(len - at);
            memcpy(z->head, data + at, z->held);
            break;
        } else {
            *ret_fault = begin_frame(z, data + at, frame_max);
            at += *ret_fault == ZMTP_FINE ? head_len : 0;
        }
    }
    return at;
}

void
zmtp_unname(uint8_t *at, size_t len)
{
    while (len > 0) {
        size_t name_len = *at, whole = 1 + name_len + 4, value_len;

        if (len < whole)
            return;
        if (names_connection(*at, at[1]))
            at[1] = OTHERWISE;
        value_len = (size_t)at[1 + name_len] << 24 |
            (size_t)at[2 + name_len] << 16 | (size_t)at[3 + name_len] << 8 |
            at[4 + name_len];
        if (value_len > len - whole)
            return;
        at += whole + value_len;
        len -= whole + value_len;
    }
}
