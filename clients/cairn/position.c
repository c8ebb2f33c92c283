/* SPDX-License-Identifier: MPL-2.0 */
#include "cairn/position.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/text.h"

/* ".123456", or nothing; returns what stands behind it. */
static const char *
parse_fraction(const char *text, uint64_t *ret_us)
{
    uint64_t unit = 100000;

    *ret_us = 0;
    if (*text != '.')
        return text;
    for (text++; *text >= '0' && *text <= '9' && unit > 0; text++) {
        *ret_us += (uint64_t)(*text - '0') * unit;
        unit /= 10;
    }
    return text;
}

int
time_parse(const char *text, uint64_t *ret_time_us)
{
    static const char *const formats[] = { "%Y-%m-%dT%H:%M:%S",
                                           "%Y-%m-%dT%H:%M", "%Y-%m-%d" };
    uint64_t seconds, fraction = 0;

    if (number_parse(text, &seconds) && seconds < UINT64_MAX / 1000000) {
        *ret_time_us = seconds * 1000000;
        return 0;
    }
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        struct tm tm = { 0 };
        const char *end = strptime(text, formats[i], &tm);
        time_t time;

        if (end == NULL)
            continue;
        if (i == 0) {
            end = parse_fraction(end, &fraction);
            end += *end == 'Z';
        }
        time = timegm(&tm);
        if (*end != '\0' || time < 0)
            continue;
        *ret_time_us = (uint64_t)time * 1000000 + fraction;
        return 0;
    }
    return -EINVAL;
}
