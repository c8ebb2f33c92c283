/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/guard.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE_LEN 4096

uint8_t *
guarded(const void *data, size_t len)
{
    static uint8_t *area;

    if (area == NULL) {
        area = mmap(NULL, GUARD_LEN_MAX + PAGE_LEN, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (area == MAP_FAILED ||
            mprotect(area + GUARD_LEN_MAX, PAGE_LEN, PROT_NONE) < 0)
            abort();
    }
    if (len > GUARD_LEN_MAX)
        abort();
    memcpy(area + GUARD_LEN_MAX - len, data, len);
    return area + GUARD_LEN_MAX - len;
}
