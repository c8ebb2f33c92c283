/* SPDX-License-Identifier: MPL-2.0 */
/*
 * zap - who may connect: the ZeroMQ Authentication Protocol (RFC 27), answered
 * by the daemon's own loop.
 *
 * libzmq asks inproc://zeromq.zap.01 about each key that has proved itself, and
 * keeps the connection in its handshake until the answer comes.  There is one
 * handler per process; it is bound before the first CURVE socket and closed
 * after the last.
 *
 * Threads: one.
 */
#ifndef CAIRN_WIRE_ZAP_H
#define CAIRN_WIRE_ZAP_H

#include "wire/curve.h"

#define ZAP_DOMAIN "cairn"

/* Whether this key may connect. */
typedef bool zap_fn(void *arg, const char *key);

struct zap {
    struct sock sock;
    zap_fn *may_connect;
    void *arg;
};

int zap_open(struct zap *zap, zap_fn *may_connect, void *arg, struct err *err);
void zap_close(struct zap *zap);

/* Answers what has been asked, without waiting. */
void zap_answer(struct zap *zap);

#endif
