/* SPDX-License-Identifier: MPL-2.0 */
/* cmocka wants these headers before its own. */
#ifndef CAIRN_TESTS_CMOCKA_H
#define CAIRN_TESTS_CMOCKA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#endif
