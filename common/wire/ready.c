/* SPDX-License-Identifier: MPL-2.0 */
#include "wire/ready.h"

#include <errno.h>
#include <sys/eventfd.h>

#define TURNS_MAX 4 /* before others of the loop have theirs */

/* Comes back as soon as the others of the loop have had their turn. */
static void
ask_again(struct ready *r)
{
    uint64_t one = 1;

    /* Cannot fail: the counter is far from its end. */
    if (write(r->again_fd, &one, sizeof one) < 0)
        abort();
}

static bool
all_drained(const struct ready *r)
{
    for (int i = 0; r->socks[i] != NULL; i++)
        if (!r->socks[i]->drained)
            return false;
    return true;
}

void
ready_run(struct ready *r)
{
    for (int i = 0; !r->paused && !all_drained(r); i++) {
        if (i == TURNS_MAX) {
            ask_again(r);
            return;
        }
        r->turn(r->arg);
    }
}

static int
on_readable(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
    struct ready *r = arg;
    uint64_t count;

    (void)loop;
    for (int i = 0; r->socks[i] != NULL; i++)
        if (r->socks[i]->fd == item->fd)
            r->socks[i]->drained = false;
    if (item->fd == r->again_fd && read(r->again_fd, &count, sizeof count) < 0)
        assert(errno == EAGAIN);
    ready_run(r);
    return 0;
}

static void
watch(struct ready *r)
{
    zmq_pollitem_t item = { .events = ZMQ_POLLIN };

    for (int i = 0; r->socks[i] != NULL; i++) {
        item.fd = r->socks[i]->fd;
        (void)zloop_poller(r->loop, &item, on_readable, r);
    }
}

int
ready_start(struct ready *r, zloop_t *loop, struct sock *const *socks,
            void (*turn)(void *arg), void *arg, struct err *err)
{
    zmq_pollitem_t item = { .events = ZMQ_POLLIN };
    int count = 0;

    *r = (struct ready){ .loop = loop, .turn = turn, .arg = arg };
    for (; socks[count] != NULL; count++) {
        assert(count + 1 < READY_SOCKS_MAX);
        r->socks[count] = socks[count];
    }
    r->again_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (r->again_fd < 0) {
        int rc = err_sys(err, -errno, "cannot wait for sockets");

        r->loop = NULL;
        return rc;
    }
    item.fd = r->again_fd;
    (void)zloop_poller(loop, &item, on_readable, r);
    watch(r);
    ask_again(r);
    return 0;
}

void
ready_pause(struct ready *r, bool pause)
{
    zmq_pollitem_t item = { .events = ZMQ_POLLIN };

    if (r->paused == pause)
        return;
    r->paused = pause;
    if (!pause) {
        watch(r);
        ask_again(r);
        return;
    }
    for (int i = 0; r->socks[i] != NULL; i++) {
        item.fd = r->socks[i]->fd;
        zloop_poller_end(r->loop, &item);
    }
}

void
ready_stop(struct ready *r)
{
    if (r->loop == NULL)
        return;
    (void)close(r->again_fd);
    *r = (struct ready){ 0 };
}
