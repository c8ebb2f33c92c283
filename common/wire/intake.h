/* SPDX-License-Identifier: MPL-2.0 */
/*
 * intake - what comes in is bounded and looked at before libzmq has it.
 *
 * libzmq accepts whoever comes and reads whatever they send, as fast as the
 * machine can, while we look at descriptors and memory now and then.  It closes
 * without a word what it will not read, and takes from clients the names by
 * which it knows connections.  The dynamic linker looks into the program before
 * it looks into libraries, so what libzmq calls for that is ours: accept4(),
 * connect() and recv(), and of libsodium crypto_box_open() and
 * crypto_box_open_easy_afternm().  They hold for the whole process; without the
 * limits below they are those of the libraries.
 *
 * Threads: any.
 */
#ifndef CAIRN_WIRE_INTAKE_H
#define CAIRN_WIRE_INTAKE_H

#include <stdbool.h>
#include <stddef.h>
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

/*
 * From now on the streams of those who come are read along (zmtp.h):
 *
 * - what is no greeting is told so in words, and is the end of its connection;
 * - clients cannot name their connections: libzmq numbers them all;
 * - in the place of a frame of more than frame_max bytes comes a mark, the last
 *   frame of its message.  Nothing behind it is read: who answers the message
 *   ends the connection.
 *
 * For as many descriptors as may be open now (RLIMIT_NOFILE); -ENOMEM, also if
 * that was less in an earlier call.
 */
int intake_read_along(uint64_t frame_max);

/* Whether a frame is such a mark, and how long the frame was to be. */
bool intake_is_mark(const void *data, size_t len, uint64_t *ret_len);

/* Whether nothing behind a mark is read of the connection that has this
 * descriptor now: it may be another one than the mark came through. */
bool intake_is_over(int fd);

/* How many were told so far that they do not speak as one does here. */
uint64_t intake_strangers(void);

#endif
