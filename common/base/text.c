/* SPDX-License-Identifier: MPL-2.0 */
#include "base/text.h"

#include <stdio.h>
#include <string.h>

/*
 * The length of the UTF-8 sequence at p, 1 to 4, or 0 if it is not valid:
 * the table of well-formed sequences of RFC 3629, section 4.
 */
static size_t
sequence_len(const uint8_t *p, size_t left)
{
    uint8_t low = 0x80, high = 0xbf;
    size_t len;

    if (p[0] < 0x80)
        return 1;
    if (p[0] >= 0xc2 && p[0] <= 0xdf)
        len = 2;
    else if (p[0] >= 0xe0 && p[0] <= 0xef)
        len = 3;
    else if (p[0] >= 0xf0 && p[0] <= 0xf4)
        len = 4;
    else
        return 0;
    if (len > left)
        return 0;

    if (p[0] == 0xe0)
        low = 0xa0;
    else if (p[0] == 0xed)
        high = 0x9f;
    else if (p[0] == 0xf0)
        low = 0x90;
    else if (p[0] == 0xf4)
        high = 0x8f;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if (p[i] < 0x80 || p[i] > 0xbf)
            return 0;
    return len;
}

bool
utf8_valid(const char *text, size_t len)
{
    const uint8_t *p = (const uint8_t *)text;

    for (size_t at = 0; at < len;) {
        size_t step = sequence_len(p + at, len - at);

        if (step == 0)
            return false;
        at += step;
    }
    return true;
}

const char *
name_fault(const char *text, size_t len)
{
    const uint8_t *p = (const uint8_t *)text;

    if (len == 0)
        return "is empty";
    if (len > NAME_LEN_MAX)
        return "is longer than 255 bytes";
    for (size_t at = 0; at < len;) {
        size_t step;

        if (p[at] - 0x20u < 0x7fu - 0x20u) { /* printing ASCII: most are */
            at++;
            continue;
        }
        step = sequence_len(p + at, len - at);
        if (step == 0)
            return "is not valid UTF-8";
        if (p[at] < 0x20 || p[at] == 0x7f ||
            (p[at] == 0xc2 && p[at + 1] < 0xa0)) /* U+009B begins an escape */
            return "holds a control character";
        at += step;
    }
    return NULL;
}

const char *
stream_fault(const char *text, size_t len)
{
    if (len > 0 && text[0] == '$')
        return "begins with '$', which is kept for Cairn itself";
    return name_fault(text, len);
}

size_t
category_len(const char *stream, size_t len)
{
    const char *dash = memchr(stream, '-', len);

    return dash == NULL ? len : (size_t)(dash - stream);
}

bool
number_parse(const char *text, uint64_t *ret_number)
{
    uint64_t number = 0;

    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return false;
        if (__builtin_mul_overflow(number, 10u, &number) ||
            __builtin_add_overflow(number, (unsigned)(*text - '0'), &number))
            return false;
    }
    *ret_number = number;
    return true;
}

char *
number_format(uint64_t number, char buf[32])
{
    char digits[24];
    int count =
        snprintf(digits, sizeof digits, "%llu", (unsigned long long)number);
    char *p = buf;

    for (int i = 0; i < count; i++) {
        if (i > 0 && (count - i) % 3 == 0)
            *p++ = ',';
        *p++ = digits[i];
    }
    *p = '\0';
    return buf;
}
