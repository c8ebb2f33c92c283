/* SPDX-License-Identifier: MPL-2.0 */
/*
 * bytes - little-endian fields of fixed layout, and alignment.
 *
 * A leNN is a struct of bytes: it has no alignment, needs no padding, and the
 * compiler refuses arithmetic on a value that nobody has decoded.
 */
#ifndef CAIRN_BASE_BYTES_H
#define CAIRN_BASE_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct le16 {
    uint8_t b[2];
};
struct le32 {
    uint8_t b[4];
};
struct le64 {
    uint8_t b[8];
};

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "big-endian machines need byte swaps here and nowhere else"
#endif

static inline uint16_t
le16_get(struct le16 v)
{
    uint16_t n;

    memcpy(&n, v.b, sizeof n);
    return n;
}

static inline uint32_t
le32_get(struct le32 v)
{
    uint32_t n;

    memcpy(&n, v.b, sizeof n);
    return n;
}

static inline uint64_t
le64_get(struct le64 v)
{
    uint64_t n;

    memcpy(&n, v.b, sizeof n);
    return n;
}

static inline struct le16
le16_of(uint16_t n)
{
    struct le16 v;

    memcpy(v.b, &n, sizeof n);
    return v;
}

static inline struct le32
le32_of(uint32_t n)
{
    struct le32 v;

    memcpy(v.b, &n, sizeof n);
    return v;
}

static inline struct le64
le64_of(uint64_t n)
{
    struct le64 v;

    memcpy(v.b, &n, sizeof n);
    return v;
}

/* Rounds n up to a multiple of `unit`, a power of two. */
static inline uint64_t
align_up(uint64_t n, uint64_t unit)
{
    return (n + unit - 1) & ~(unit - 1);
}

/* Whether every byte of [p, p + len) is zero. */
static inline int
bytes_all_zero(const void *p, size_t len)
{
    const uint8_t *b = p;

    return len == 0 || (b[0] == 0 && memcmp(b, b + 1, len - 1) == 0);
}

#endif
