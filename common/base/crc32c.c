/* SPDX-License-Identifier: MPL-2.0 */
#include "base/crc32c.h"

#include <isa-l/crc.h>

/* ISA-L takes an int; a multiple of a page keeps its fast path aligned. */
#define PIECE_MAX (1u << 30)

uint32_t
crc32c_more(uint32_t crc, const void *data, size_t len)
{
    /* ISA-L does not write through the pointer that it declares writable. */
    unsigned char *p = (unsigned char *)(uintptr_t)data;
    unsigned int state = ~crc;

    while (len > 0) {
        size_t piece = len < PIECE_MAX ? len : PIECE_MAX;

        state = crc32_iscsi(p, (int)piece, state);
        p += piece;
        len -= piece;
    }
    return ~state;
}

uint32_t
crc32c(const void *data, size_t len)
{
    return crc32c_more(0, data, len);
}
