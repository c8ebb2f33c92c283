/* SPDX-License-Identifier: MPL-2.0 */
/*
 * fixedrandom - makes everything that is random the same in every run: ids,
 * hash keys, epochs.
 *
 * Threads: none; it is set before the test begins.
 */
#ifndef CAIRN_TESTS_FIXEDRANDOM_H
#define CAIRN_TESTS_FIXEDRANDOM_H

#include <stdint.h>

/* From now on libsodium's random bytes follow from `seed`. */
void fixedrandom_begin(uint64_t seed);

/* After the next `after` bytes leaves out `skip` of them: for a test against
 * files that were written when something more was drawn. */
void fixedrandom_skip(uint64_t after, uint64_t skip);

#endif
