/* SPDX-License-Identifier: MPL-2.0 */
/*
 * jump - the arithmetic of jump pointers: E. W. Myers, "An applicative
 * random-access stack", Information Processing Letters 17 (1983).
 *
 * Write n in skew binary, that is as a sum of numbers 2^k - 1, each at most
 * once but the smallest at most twice.  The event with ordinal n jumps over as
 * many events as its smallest summand says.  From n every smaller ordinal is
 * reached in at most 3 * floor(log2(n + 1)) - 2 steps of prev and jump.
 */
#ifndef CAIRN_STORE_JUMP_H
#define CAIRN_STORE_JUMP_H

#include <stdint.h>

/* The ordinal that the event with ordinal n, at least 1, jumps to; 0: none. */
static inline uint64_t
jump_ordinal(uint64_t n)
{
    uint64_t left = n, step = 0;

    while (left > 0) {
        step = (UINT64_MAX >> __builtin_clzll(left));
        if (step > left) /* left is not 2^k - 1 itself */
            step >>= 1;
        left -= step;
    }
    return n - step;
}

#endif
