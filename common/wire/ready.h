/* SPDX-License-Identifier: MPL-2.0 */
/*
 * ready - tells a daemon that its sockets have something, at a fraction of
 * what zmq_poll() costs: that asks every socket before and after it has
 * waited, with two system calls each, whereas this waits for descriptors and
 * asks nobody.
 *
 * The daemon has one function for a turn, which receives from each of the
 * sockets until nothing is left, or as much as it wants to do at a time.  It is
 * called while any socket is not drained (wire/sock.h); other handlers of the
 * loop have their turn in between.
 *
 * Threads: one.
 */
#ifndef CAIRN_WIRE_READY_H
#define CAIRN_WIRE_READY_H

#include "wire/sock.h"

#define READY_SOCKS_MAX 4

struct ready {
    zloop_t *loop;
    struct sock *socks[READY_SOCKS_MAX]; /* up to a NULL */
    void (*turn)(void *arg);
    void *arg;
    int again_fd;
    bool paused;
};

/*
 * Hangs the sockets, an array that ends with a NULL, into the loop; borrows
 * them.  The first turn comes by itself.  Fails with -errno.
 */
int ready_start(struct ready *ready, zloop_t *loop, struct sock *const *socks,
                void (*turn)(void *arg), void *arg, struct err *err);

/*
 * Takes turns if a socket is not drained: for handlers of timers and other
 * descriptors, after they have used one of the sockets.
 */
void ready_run(struct ready *ready);

/* While it is paused, there are no turns. */
void ready_pause(struct ready *ready, bool pause);

/* Releases it; fine for zeroed memory that was never started. */
void ready_stop(struct ready *ready);

#endif
