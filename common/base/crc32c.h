/* SPDX-License-Identifier: MPL-2.0 */
/*
 * crc32c - the Castagnoli checksum of RFC 3720, section B.4, through ISA-L,
 * which picks the fastest code of the processor it runs on.
 */
#ifndef CAIRN_BASE_CRC32C_H
#define CAIRN_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* CRC-32C of [data, data + len).  len may exceed INT_MAX. */
uint32_t crc32c(const void *data, size_t len);

/* The same of a text that began with bytes whose CRC-32C is `crc`. */
uint32_t crc32c_more(uint32_t crc, const void *data, size_t len);

#endif
