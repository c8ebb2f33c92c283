/* SPDX-License-Identifier: MPL-2.0 */
/*
 * intake - what comes in is bounded before libzmq has it.
 *
 * libzmq accepts whoever comes and reads whatever they send, as fast as the
 * machine can, while we look at descriptors and memory now and then.  The
 * dynamic linker looks into the program before it looks into libraries, so the
 * two calls that libzmq makes for that, accept4() and recv(), are ours.  They
 * hold for the whole process; without the limits below they are those of libc.
 * So is crypto_box_open(), with which it opens what a client over CURVE says of
 * itself: a routing id that looks like one of libzmq's own is not heard.
 *
 * Threads: any.
 */
#ifndef CAIRN_WIRE_INTAKE_H
#define CAIRN_WIRE_INTAKE_H

#include <stdint.h>

/*
 * Descriptors from `limit` on are never a connection's: who comes when all
 * others are taken is closed at once.
 */
void intake_limit_descriptors(long limit);

/*
 * So many bytes may come in from now on, until this is called again; then
 * those who send have to wait.  What was allowed before is forgotten.
 */
void intake_allow(int64_t bytes);

/* Bytes that may still come in; less than 0: a little more has. */
int64_t intake_left(void);

#endif
