/* SPDX-License-Identifier: MPL-2.0 */
#include "chain.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <zmq.h>

#define COMMAND_LEN 384u /* about what a real one with one event takes */
#define EVENT_LEN 344u   /* each further event */
#define GROUP_MAX ((size_t)16 << 20)
#define FILE_LEN ((off_t)256 << 20)
#define SECTOR 512u

static size_t
command_len(uint32_t batch)
{
    return COMMAND_LEN + (batch - 1) * (size_t)EVENT_LEN;
}

static void *
make_socket(void *context, int type)
{
    void *socket = zmq_socket(context, type);
    int zero = 0, hwm = 100000;

    (void)zmq_setsockopt(socket, ZMQ_LINGER, &zero, sizeof zero);
    (void)zmq_setsockopt(socket, ZMQ_SNDHWM, &hwm, sizeof hwm);
    (void)zmq_setsockopt(socket, ZMQ_RCVHWM, &hwm, sizeof hwm);
    return socket;
}

/* A part of a message to the writer: whose commands, how many, how long. */
struct part {
    uint8_t client[8]; /* routing id */
    uint32_t count, len;
};

/* ---- gateway ----------------------------------------------------------- */

static void
gateway_forward(void *front, void *back, uint8_t *buf)
{
    size_t used = 0;

    for (int i = 0; i < 256; i++) {
        struct part part = { .count = 0 };
        zmq_msg_t body;
        int n = zmq_recv(front, part.client, sizeof part.client, ZMQ_DONTWAIT);

        if (n < 0)
            break;
        (void)zmq_msg_init(&body);
        (void)zmq_msg_recv(&body, front, 0);
        memcpy(&part.count, zmq_msg_data(&body), sizeof part.count);
        part.len = (uint32_t)zmq_msg_size(&body) - 4;
        memcpy(buf + used, &part, sizeof part);
        used += sizeof part;
        memcpy(buf + used, (uint8_t *)zmq_msg_data(&body) + 4, part.len);
        used += part.len;
        (void)zmq_msg_close(&body);
        if (used > GROUP_MAX / 2)
            break;
    }
    if (used > 0)
        (void)zmq_send(back, buf, used, 0);
}

static void
gateway_answer(void *front, void *back)
{
    zmq_msg_t message;

    (void)zmq_msg_init(&message);
    while (zmq_msg_recv(&message, back, ZMQ_DONTWAIT) >= 0) {
        const uint8_t *p = zmq_msg_data(&message);
        size_t left = zmq_msg_size(&message);

        for (; left >= sizeof(struct part); left -= sizeof(struct part)) {
            struct part part;

            memcpy(&part, p, sizeof part);
            p += sizeof part;
            (void)zmq_send(front, part.client, 5, ZMQ_SNDMORE);
            (void)zmq_send(front, &part.count, sizeof part.count, 0);
        }
    }
    (void)zmq_msg_close(&message);
}

static void
gateway_main(const struct chain *chain)
{
    void *context = zmq_ctx_new();
    void *front = make_socket(context, ZMQ_ROUTER);
    void *back = make_socket(context, ZMQ_DEALER);
    uint8_t *buf = malloc(GROUP_MAX);

    if (zmq_bind(front, chain->front) != 0 ||
        zmq_connect(back, chain->back) != 0 || buf == NULL)
        _exit(1);
    for (;;) {
        zmq_pollitem_t items[2] = { { .socket = front, .events = ZMQ_POLLIN },
                                    { .socket = back, .events = ZMQ_POLLIN } };

        (void)zmq_poll(items, 2, -1);
        if (items[1].revents)
            gateway_answer(front, back);
        if (items[0].revents)
            gateway_forward(front, back, buf);
    }
}

/* ---- writer ------------------------------------------------------------ */

/* A group: what is written, and who gets which answer. */
struct group_of_parts {
    uint8_t *data;
    size_t len;
    struct part *parts;
    uint32_t part_count;
};

struct dummy_writer {
    bool dry; /* nothing is written: messages only */
    int fd, done_fd;
    off_t at;
    void *socket;
    uint8_t gateway[8];
    struct group_of_parts groups[2];
    struct group_of_parts *open, *syncing; /* syncing NULL: none */
    pthread_mutex_t mutex;
    pthread_cond_t wake;
};

static void
write_group(struct dummy_writer *w, struct group_of_parts *group)
{
    size_t len = (group->len + SECTOR - 1) / SECTOR * SECTOR;

    if (w->dry)
        return;
    if (w->at + (off_t)len > FILE_LEN)
        w->at = 0;
    if (pwrite(w->fd, group->data, len, w->at) != (ssize_t)len ||
        fdatasync(w->fd) != 0)
        _exit(1);
    w->at += (off_t)len;
}

static void *
sync_main(void *arg)
{
    struct dummy_writer *w = arg;
    uint64_t one = 1;

    for (;;) {
        (void)pthread_mutex_lock(&w->mutex);
        while (w->syncing == NULL)
            (void)pthread_cond_wait(&w->wake, &w->mutex);
        (void)pthread_mutex_unlock(&w->mutex);
        write_group(w, w->syncing);
        (void)pthread_mutex_lock(&w->mutex);
        w->syncing = NULL;
        (void)pthread_mutex_unlock(&w->mutex);
        if (write(w->done_fd, &one, sizeof one) < 0)
            _exit(1);
    }
    return NULL;
}

static void
answer_group(struct dummy_writer *w, struct group_of_parts *group)
{
    (void)zmq_send(w->socket, w->gateway, 5, ZMQ_SNDMORE);
    (void)zmq_send(w->socket, group->parts,
                   group->part_count * sizeof(struct part), 0);
    group->len = 0;
    group->part_count = 0;
}

static void
take_commands(struct dummy_writer *w)
{
    struct group_of_parts *group = w->open;
    zmq_msg_t message;

    (void)zmq_msg_init(&message);
    while (group->len < GROUP_MAX / 2 &&
           zmq_recv(w->socket, w->gateway, sizeof w->gateway, ZMQ_DONTWAIT) >=
               0) {
        const uint8_t *p;
        size_t left;

        (void)zmq_msg_recv(&message, w->socket, 0);
        p = zmq_msg_data(&message);
        left = zmq_msg_size(&message);
        while (left > sizeof(struct part)) {
            struct part part;

            memcpy(&part, p, sizeof part);
            p += sizeof part;
            memcpy(group->data + group->len, p, part.len);
            p += part.len;
            group->len += part.len;
            group->parts[group->part_count++] = part;
            left -= sizeof part + part.len;
        }
    }
    (void)zmq_msg_close(&message);
}

/* Alone, a group is synced here; with others, beside taking the next. */
static void
start_group(struct dummy_writer *w)
{
    struct group_of_parts *group = w->open;

    if (group->part_count == 0)
        return;
    if (group->part_count == 1 && group->parts[0].count == 1) {
        write_group(w, group);
        answer_group(w, group);
        return;
    }
    w->open = group == &w->groups[0] ? &w->groups[1] : &w->groups[0];
    (void)pthread_mutex_lock(&w->mutex);
    w->syncing = group;
    (void)pthread_cond_signal(&w->wake);
    (void)pthread_mutex_unlock(&w->mutex);
}

static void
writer_main(const struct chain *chain)
{
    void *context = zmq_ctx_new();
    struct dummy_writer w = { .dry = chain->dry, .done_fd = eventfd(0, 0) };
    static uint8_t zeros[65536];
    struct group_of_parts *running = NULL;
    pthread_t thread;

    w.socket = make_socket(context, ZMQ_ROUTER);
    w.fd = open(chain->file, O_RDWR | O_CREAT | O_TRUNC, 0600);
    for (off_t at = 0; !w.dry && at < FILE_LEN; at += (off_t)sizeof zeros)
        if (pwrite(w.fd, zeros, sizeof zeros, at) < 0)
            _exit(1);
    (void)fsync(w.fd);
    for (int i = 0; i < 2; i++) {
        w.groups[i].data = calloc(1, GROUP_MAX);
        w.groups[i].parts = calloc(1 << 20, sizeof(struct part));
    }
    w.open = &w.groups[0];
    (void)pthread_mutex_init(&w.mutex, NULL);
    (void)pthread_cond_init(&w.wake, NULL);
    if (zmq_bind(w.socket, chain->back) != 0 ||
        pthread_create(&thread, NULL, sync_main, &w) != 0)
        _exit(1);
    for (;;) {
        zmq_pollitem_t items[2] = {
            { .socket = w.socket, .events = ZMQ_POLLIN },
            { .fd = w.done_fd, .events = ZMQ_POLLIN },
        };
        uint64_t count;

        (void)zmq_poll(items, 2, -1);
        if (items[1].revents) {
            if (read(w.done_fd, &count, sizeof count) < 0)
                _exit(1);
            answer_group(&w, running);
            running = NULL;
        }
        if (items[0].revents)
            take_commands(&w);
        if (running == NULL) {
            struct group_of_parts *open = w.open;

            start_group(&w);
            if (w.open != open)
                running = open;
        }
    }
}

/* ---- both, and the client ----------------------------------------------- */

static pid_t
start(const struct chain *chain, void (*run)(const struct chain *))
{
    pid_t pid = fork();

    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        run(chain);
        _exit(0);
    }
    if (pid < 0)
        exit(1);
    return pid;
}

void
chain_start(struct chain *chain, const char *dir, bool dry)
{
    const char *name = dry ? "dry" : "chain";

    snprintf(chain->front, sizeof chain->front, "ipc://%s/%s-front", dir, name);
    snprintf(chain->back, sizeof chain->back, "ipc://%s/%s-back", dir, name);
    snprintf(chain->file, sizeof chain->file, "%s/%s-file", dir, name);
    chain->dry = dry;
    chain->writer = start(chain, writer_main);
    chain->gateway = start(chain, gateway_main);
}

void
chain_stop(struct chain *chain)
{
    (void)kill(chain->gateway, SIGKILL);
    (void)kill(chain->writer, SIGKILL);
    (void)waitpid(chain->gateway, NULL, 0);
    (void)waitpid(chain->writer, NULL, 0);
}

uint64_t
chain_run(void *self, const struct load *load, uint32_t connection)
{
    const struct chain *chain = self;
    uint32_t window = load->outstanding / load->connections;
    size_t len = command_len(load->batch);
    uint8_t *buf = malloc(4 + window * len);
    double *sent = calloc(window, sizeof *sent); /* in order of sending */
    void *context = zmq_ctx_new();
    void *socket = make_socket(context, ZMQ_DEALER);
    uint64_t queued = 0, answered = 0;
    double began = seconds_now();

    (void)connection;
    if (buf == NULL || sent == NULL || zmq_connect(socket, chain->front) != 0)
        exit(1);
    memset(buf, 'x', 4 + window * len);
    while (seconds_now() - began < load->seconds || answered < queued) {
        uint32_t count = window - (uint32_t)(queued - answered);

        if (count > 0 && seconds_now() - began < load->seconds) {
            double now = seconds_now();

            memcpy(buf, &count, sizeof count);
            /* A real client fills in each command. */
            for (uint32_t i = 0; i < count; i++)
                memset(buf + 4 + i * len, (int)i, len);
            (void)zmq_send(socket, buf, 4 + count * len, 0);
            for (uint32_t i = 0; i < count; i++)
                sent[queued++ % window] = now;
        }
        if (answered < queued) {
            uint32_t done = 0;

            (void)zmq_recv(socket, &done, sizeof done, 0);
            for (uint32_t i = 0; i < done; i++)
                load_latency(seconds_now() - sent[answered++ % window]);
        }
    }
    (void)zmq_close(socket);
    (void)zmq_ctx_term(context);
    free(buf);
    free(sent);
    return answered;
}
