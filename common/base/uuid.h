/* SPDX-License-Identifier: MPL-2.0 */
/*
 * uuid - 16-byte identifiers (RFC 9562), as bytes in network order.
 *
 * All zero is the nil UUID; it means "absent" everywhere in Cairn.
 */
#ifndef CAIRN_BASE_UUID_H
#define CAIRN_BASE_UUID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UUID_LEN 16
#define UUID_TEXT_LEN 36

struct uuid {
    uint8_t b[UUID_LEN];
};

/* A new UUIDv7 of `time_ms`, milliseconds since 1970, with random bits. */
struct uuid uuid_v7(uint64_t time_ms);

/* The same from random bytes that the caller has. */
struct uuid uuid_v7_of(uint64_t time_ms, struct uuid random);

/* A new random UUIDv4. */
struct uuid uuid_v4(void);

/*
 * The UUIDv8 that follows from `base` and `index`, always the same: for the
 * ids of events whose sender gave none, so that a retry makes the same ones.
 */
struct uuid uuid_derive(struct uuid base, uint32_t index);

/* A UUIDv8 from the first 16 of at least 16 bytes of a digest. */
struct uuid uuid_of_digest(const uint8_t *digest);

/* The time of a UUIDv7 in milliseconds; false for every other version. */
bool uuid_time_ms(struct uuid id, uint64_t *ret_time_ms);

bool uuid_is_nil(struct uuid id);
bool uuid_equal(struct uuid a, struct uuid b);

/* Writes 36 characters and a NUL. */
void uuid_format(struct uuid id, char text[UUID_TEXT_LEN + 1]);

/* Reads 8-4-4-4-12 hexadecimal digits; -EINVAL for anything else. */
int uuid_parse(const char *text, size_t len, struct uuid *ret_id);

/* As two numbers, the first 8 bytes and the last 8, for tpl headers. */
uint64_t uuid_high(struct uuid id);
uint64_t uuid_low(struct uuid id);
struct uuid uuid_of_halves(uint64_t high, uint64_t low);

#endif
