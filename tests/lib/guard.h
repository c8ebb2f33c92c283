/* SPDX-License-Identifier: MPL-2.0 */
/*
 * guard - memory that ends where nothing may be read: one byte further and
 * the test dies, whatever the sanitizers.
 */
#ifndef CAIRN_TESTS_GUARD_H
#define CAIRN_TESTS_GUARD_H

#include <stddef.h>
#include <stdint.h>

#define GUARD_LEN_MAX ((size_t)1 << 20)

/*
 * A copy of [data, data + len), at most GUARD_LEN_MAX bytes, right before a
 * page without access.  The next call overwrites it.
 */
uint8_t *guarded(const void *data, size_t len);

#endif
