/* SPDX-License-Identifier: MPL-2.0 */
#include "base/uuid.h"

#include <errno.h>
#include <string.h>

#include <sodium.h>

static void
stamp(struct uuid *id, unsigned version)
{
    id->b[6] = (uint8_t)((id->b[6] & 0x0f) | version << 4);
    id->b[8] = (uint8_t)((id->b[8] & 0x3f) | 0x80);
}

struct uuid
uuid_v7_of(uint64_t time_ms, struct uuid random)
{
    for (int i = 0; i < 6; i++)
        random.b[i] = (uint8_t)(time_ms >> (40 - 8 * i));
    stamp(&random, 7);
    return random;
}

struct uuid
uuid_v7(uint64_t time_ms)
{
    struct uuid random;

    randombytes_buf(random.b, sizeof random.b);
    return uuid_v7_of(time_ms, random);
}

struct uuid
uuid_v4(void)
{
    struct uuid id;

    randombytes_buf(id.b, sizeof id.b);
    stamp(&id, 4);
    return id;
}

struct uuid
uuid_derive(struct uuid base, uint32_t index)
{
    static const uint8_t key[crypto_shorthash_siphashx24_KEYBYTES] =
        "cairn event id 1";
    uint8_t input[UUID_LEN + sizeof index];
    struct uuid id;

    memcpy(input, base.b, UUID_LEN);
    memcpy(input + UUID_LEN, &index, sizeof index);
    crypto_shorthash_siphashx24(id.b, input, sizeof input, key);
    stamp(&id, 8);
    return id;
}

struct uuid
uuid_of_digest(const uint8_t *digest)
{
    struct uuid id;

    memcpy(id.b, digest, UUID_LEN);
    stamp(&id, 8);
    return id;
}

bool
uuid_time_ms(struct uuid id, uint64_t *ret_time_ms)
{
    if (id.b[6] >> 4 != 7)
        return false;
    *ret_time_ms = uuid_high(id) >> 16;
    return true;
}

bool
uuid_is_nil(struct uuid id)
{
    return (uuid_high(id) | uuid_low(id)) == 0;
}

bool
uuid_equal(struct uuid a, struct uuid b)
{
    return memcmp(a.b, b.b, UUID_LEN) == 0;
}

void
uuid_format(struct uuid id, char text[UUID_TEXT_LEN + 1])
{
    static const char digits[] = "0123456789abcdef";
    char *p = text;

    for (int i = 0; i < UUID_LEN; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *p++ = '-';
        *p++ = digits[id.b[i] >> 4];
        *p++ = digits[id.b[i] & 15];
    }
    *p = '\0';
}

static int
digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int
uuid_parse(const char *text, size_t len, struct uuid *ret_id)
{
    struct uuid id;
    size_t at = 0;

    if (len != UUID_TEXT_LEN)
        return -EINVAL;
    for (int i = 0; i < UUID_LEN; i++) {
        int high, low;

        if (i == 4 || i == 6 || i == 8 || i == 10) {
            if (text[at] != '-')
                return -EINVAL;
            at++;
        }
        high = digit_value(text[at]);
        low = digit_value(text[at + 1]);
        if (high < 0 || low < 0)
            return -EINVAL;
        id.b[i] = (uint8_t)(high << 4 | low);
        at += 2;
    }
    *ret_id = id;
    return 0;
}

uint64_t
uuid_high(struct uuid id)
{
    uint64_t n;

    memcpy(&n, id.b, sizeof n);
    return __builtin_bswap64(n);
}

uint64_t
uuid_low(struct uuid id)
{
    uint64_t n;

    memcpy(&n, id.b + sizeof n, sizeof n);
    return __builtin_bswap64(n);
}

struct uuid
uuid_of_halves(uint64_t high, uint64_t low)
{
    struct uuid id;

    high = __builtin_bswap64(high);
    low = __builtin_bswap64(low);
    memcpy(id.b, &high, sizeof high);
    memcpy(id.b + sizeof high, &low, sizeof low);
    return id;
}
