/* SPDX-License-Identifier: MPL-2.0 */
/*
 * countalloc - counts what one thread asks of malloc() and its relatives, in
 * any library.  Linking it replaces them in the whole program.
 *
 * Not with a sanitizer, which has replaced them itself: then
 * countalloc_works() is false and nothing is counted.
 */
#ifndef CAIRN_TESTS_COUNTALLOC_H
#define CAIRN_TESTS_COUNTALLOC_H

#include <stdbool.h>
#include <stdint.h>

bool countalloc_works(void);

/* From now on, in this thread. */
void countalloc_begin(void);

/* Stops, and returns how many there were. */
uint64_t countalloc_end(void);

#endif
