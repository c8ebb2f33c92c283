/* SPDX-License-Identifier: MPL-2.0 */
/*
 * position - places in a log as people write them.
 */
#ifndef CAIRN_CLIENTS_POSITION_H
#define CAIRN_CLIENTS_POSITION_H

#include <stdint.h>

/*
 * What stands behind the @ of a time: seconds since 1970, a date, or a date
 * and time with or without a fraction, as time_format() writes it; in UTC.
 * Microseconds since 1970, or -EINVAL.
 */
int time_parse(const char *text, uint64_t *ret_time_us);

#endif
