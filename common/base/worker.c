/* SPDX-License-Identifier: MPL-2.0 */
#include "base/worker.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct worker {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    int event_fd;
    worker_task *task; /* NULL: nothing to do */
    void *arg;
    bool busy; /* of the owner: given and not taken */
    bool done; /* the task has returned */
    bool quit;
    int rc;
    struct err err;
};

static void *
work(void *arg)
{
    struct worker *w = arg;

    (void)pthread_mutex_lock(&w->mutex);
    for (;;) {
        uint64_t one = 1;

        while (w->task == NULL && !w->quit)
            (void)pthread_cond_wait(&w->wake, &w->mutex);
        if (w->task == NULL)
            break;
        (void)pthread_mutex_unlock(&w->mutex);
        w->rc = w->task(w->arg, &w->err);
        (void)pthread_mutex_lock(&w->mutex);
        w->task = NULL;
        w->done = true;
        (void)pthread_cond_broadcast(&w->wake);
        /* Cannot fail: the counter is emptied before the next task. */
        if (write(w->event_fd, &one, sizeof one) < 0)
            abort();
    }
    (void)pthread_mutex_unlock(&w->mutex);
    return NULL;
}

int
worker_start(struct worker **ret_worker, const char *name, struct err *err)
{
    struct worker *w = calloc(1, sizeof *w);
    int rc;

    if (w == NULL)
        return err_sys(err, -ENOMEM, "thread %s", name);
    w->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->event_fd < 0) {
        rc = -errno;
        free(w);
        return err_sys(err, rc, "thread %s", name);
    }
    (void)pthread_mutex_init(&w->mutex, NULL);
    (void)pthread_cond_init(&w->wake, NULL);
    rc = -pthread_create(&w->thread, NULL, work, w);
    if (rc < 0) {
        (void)close(w->event_fd);
        free(w);
        return err_sys(err, rc, "cannot start thread %s", name);
    }
    (void)pthread_setname_np(w->thread, name); /* only a label */
    *ret_worker = w;
    return 0;
}

int
worker_fd(const struct worker *worker)
{
    return worker->event_fd;
}

void
worker_give(struct worker *w, worker_task *task, void *arg)
{
    assert(!w->busy);
    (void)pthread_mutex_lock(&w->mutex);
    w->busy = true;
    w->done = false;
    w->arg = arg;
    w->task = task;
    (void)pthread_cond_broadcast(&w->wake);
    (void)pthread_mutex_unlock(&w->mutex);
}

bool
worker_busy(const struct worker *worker)
{
    return worker->busy;
}

bool
worker_take(struct worker *w, bool wait, int *ret_rc, struct err *err)
{
    uint64_t count;

    if (!w->busy)
        return false;
    (void)pthread_mutex_lock(&w->mutex);
    while (!w->done && wait)
        (void)pthread_cond_wait(&w->wake, &w->mutex);
    if (!w->done) {
        (void)pthread_mutex_unlock(&w->mutex);
        return false;
    }
    (void)pthread_mutex_unlock(&w->mutex);
    /* Written under the mutex before done was seen. */
    if (read(w->event_fd, &count, sizeof count) < 0)
        assert(errno == EAGAIN);
    w->busy = false;
    *ret_rc = w->rc;
    if (w->rc < 0)
        *err = w->err;
    return true;
}

void
worker_stop(struct worker **worker)
{
    struct worker *w = *worker;

    *worker = NULL;
    if (w == NULL)
        return;
    (void)pthread_mutex_lock(&w->mutex);
    w->quit = true;
    (void)pthread_cond_broadcast(&w->wake);
    (void)pthread_mutex_unlock(&w->mutex);
    (void)pthread_join(w->thread, NULL);
    (void)close(w->event_fd);
    (void)pthread_cond_destroy(&w->wake);
    (void)pthread_mutex_destroy(&w->mutex);
    free(w);
}
