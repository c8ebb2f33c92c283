/* SPDX-License-Identifier: MPL-2.0 */
#include "chain.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sodium.h>
#include <zmq.h>

#include "base/crc32c.h"
#include "c/command_id.h"
#include "store/ids.h"
#include "store/record.h"
#include "syncs.h"

#define GROUP_MAX ((size_t)16 << 20)
#define FILE_LEN ((off_t)256 << 20)
#define SECTOR 512u
#define COMMANDS_MAX (1u << 16) /* of one group */
#define IDS_MAX (1u << 18)      /* as many as a segment of 128 MiB has */
#define SEALED_LEN 192u         /* what the writer itself stamps and seals */
#define STREAM_SLOTS 65536u
#define FILL_PIECE 65536u
#define FILL_WRITTEN ((size_t)1 << 20)
#define FILL_FILE_LEN ((size_t)128 << 20)

/* What a command begins with, from CHAIN_EACH on; behind it, anything. */
struct head {
    struct uuid id;
    uint64_t position, version;
    uint32_t len, sum; /* len: of the command */
    char stream[16];
    uint64_t previous; /* where the last one of its stream lies */
};

/* And what is answered. */
struct answer {
    struct uuid id;
    uint64_t position;
};

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

/* Each command for itself, with a checksum of what no one else will touch. */
static void
copy_each(enum chain_step step, uint8_t *to, const uint8_t *from, size_t left)
{
    while (left > sizeof(struct head)) {
        struct head head;

        memcpy(&head, from, sizeof head);
        memcpy(to, from, head.len);
        if (step >= CHAIN_SUMS) {
            head.sum = crc32c(to + SEALED_LEN, head.len - SEALED_LEN);
            memcpy(to, &head, sizeof head);
        }
        from += head.len;
        to += head.len;
        left -= head.len;
    }
}

static void
gateway_forward(enum chain_step step, void *front, void *back, uint8_t *buf)
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
        if (step == CHAIN_BARE)
            memcpy(buf + used, (uint8_t *)zmq_msg_data(&body) + 4, part.len);
        else
            copy_each(step, buf + used, (uint8_t *)zmq_msg_data(&body) + 4,
                      part.len);
        used += part.len;
        (void)zmq_msg_close(&body);
        if (used > GROUP_MAX / 2)
            break;
    }
    if (used > 0)
        (void)zmq_send(back, buf, used, 0);
}

static void
gateway_answer(enum chain_step step, void *front, void *back)
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
            if (step == CHAIN_BARE) {
                (void)zmq_send(front, &part.count, sizeof part.count, 0);
            } else { /* the answers lie behind their part */
                (void)zmq_send(front, p, part.count * sizeof(struct answer), 0);
                p += part.count * sizeof(struct answer);
                left -= part.count * sizeof(struct answer);
            }
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
            gateway_answer(chain->step, front, back);
        if (items[0].revents)
            gateway_forward(chain->step, front, back, buf);
    }
}

/* ---- writer ------------------------------------------------------------ */

/* A group: what is written, and who gets which answer. */
struct group_of_parts {
    uint8_t *data;
    size_t len;
    struct part *parts;
    uint32_t part_count;
    uint8_t *answers; /* from CHAIN_EACH on: each part, and its answers */
    size_t answers_len;
    struct note {
        uint32_t print, stream; /* of the id; a slot of the streams */
        uint64_t at;            /* in the group */
    } * notes;
    uint32_t note_count;
    off_t file_at;
    uint32_t sum;
};

/* The newest command of a stream. */
struct slot {
    uint64_t hash; /* 0: none */
    uint64_t at, version;
    uint64_t open_version; /* not durable yet */
};

struct dummy_writer {
    enum chain_step step;
    bool dry; /* nothing is written: messages only */
    struct id_set ids;
    struct slot *streams;
    const uint8_t *map; /* of the file */
    uint64_t position, collisions, conflicts;
    const char *file;
    pthread_mutex_t fill_lock; /* over the next two */
    pthread_cond_t fill_moved;
    size_t fill, filled; /* bytes that are wanted, that are there */
    int fd;
    off_t at;
    void *socket;
    uint8_t gateway[8];
    struct group_of_parts group;
};

/* Has room made for `len` bytes more; as in a log, what comes may be a file
 * ahead of it at most. */
static void
want_fill(struct dummy_writer *w, size_t len)
{
    (void)pthread_mutex_lock(&w->fill_lock);
    w->fill += len;
    (void)pthread_cond_broadcast(&w->fill_moved);
    while (w->fill - w->filled > FILL_FILE_LEN)
        (void)pthread_cond_wait(&w->fill_moved, &w->fill_lock);
    (void)pthread_mutex_unlock(&w->fill_lock);
}

static void
write_group(struct dummy_writer *w, struct group_of_parts *group)
{
    size_t len = (group->len + SECTOR - 1) / SECTOR * SECTOR;

    if (w->dry)
        return;
    if (w->at + (off_t)len > FILE_LEN)
        w->at = 0;
    group->file_at = w->at;
    if (w->step >= CHAIN_SUMS)
        group->sum = crc32c(group->data, len);
    if (w->step >= CHAIN_FILE)
        want_fill(w, len);
    if (pwrite(w->fd, group->data, len, w->at) != (ssize_t)len ||
        fdatasync(w->fd) != 0)
        _exit(1);
    w->at += (off_t)len;
}

static int
next_fill_file(struct dummy_writer *w, size_t number)
{
    char path[sizeof((struct chain *)0)->file + 24];
    int fd;

    (void)snprintf(path, sizeof path, "%s-%zu", w->file, number);
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0)
        _exit(1);
    return fd;
}

/* Waits until there is a piece to fill, behind `filled` bytes. */
static void
await_want(struct dummy_writer *w, size_t filled)
{
    (void)pthread_mutex_lock(&w->fill_lock);
    w->filled = filled;
    (void)pthread_cond_broadcast(&w->fill_moved);
    while (w->fill < filled + FILL_PIECE)
        (void)pthread_cond_wait(&w->fill_moved, &w->fill_lock);
    (void)pthread_mutex_unlock(&w->fill_lock);
}

/* Has the last FILL_WRITTEN bytes written, which end with this piece. */
static int
write_back(int fd, size_t done)
{
    size_t end = done % FILL_FILE_LEN + FILL_PIECE;

    return sync_file_range(fd, (off_t)(end - FILL_WRITTEN), FILL_WRITTEN,
                           SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
                               SYNC_FILE_RANGE_WAIT_AFTER);
}

/* Makes room in files ahead of its use, as a log that grows has to; each is
 * durable before the next one begins. */
static void *
fill_main(void *arg)
{
    static const uint8_t zeros[FILL_PIECE];
    struct dummy_writer *w = arg;
    int fd = next_fill_file(w, 0);

    for (size_t done = 0;; done += FILL_PIECE) {
        await_want(w, done);
        if (done % FILL_FILE_LEN == 0 && done > 0) {
            if (fdatasync(fd) != 0)
                _exit(1);
            (void)close(fd);
            fd = next_fill_file(w, done / FILL_FILE_LEN);
        }
        if (pwrite(fd, zeros, FILL_PIECE, (off_t)(done % FILL_FILE_LEN)) < 0)
            _exit(1);
        if ((done + FILL_PIECE) % FILL_WRITTEN == 0 &&
            write_back(fd, done) != 0)
            _exit(1);
    }
    return NULL;
}

/* What can be looked up is what is durable. */
static void
settle_group(struct dummy_writer *w, struct group_of_parts *group)
{
    if (w->step >= CHAIN_IDS && w->ids.count + group->note_count > IDS_MAX)
        id_set_clear(&w->ids);
    for (uint32_t i = 0; i < group->note_count; i++) {
        struct note *note = &group->notes[i];
        uint64_t at = (uint64_t)group->file_at + note->at;

        if (w->step >= CHAIN_IDS &&
            id_set_add(&w->ids, note->print, (uint32_t)at) < 0)
            _exit(1);
        if (w->step >= CHAIN_VERSIONS) {
            const struct head *head = (const void *)(group->data + note->at);

            w->streams[note->stream].at = at;
            w->streams[note->stream].version = head->version + 1;
        }
    }
    group->note_count = 0;
}

static void
answer_group(struct dummy_writer *w, struct group_of_parts *group)
{
    settle_group(w, group);
    (void)zmq_send(w->socket, w->gateway, 5, ZMQ_SNDMORE);
    if (w->step == CHAIN_BARE)
        (void)zmq_send(w->socket, group->parts,
                       group->part_count * sizeof(struct part), 0);
    else
        (void)zmq_send(w->socket, group->answers, group->answers_len, 0);
    group->len = group->answers_len = 0;
    group->part_count = 0;
}

/* The slot of a stream, whose newest command is looked at. */
static uint32_t
find_stream(struct dummy_writer *w, struct head *head)
{
    uint64_t hash;
    uint32_t i;

    (void)crypto_shorthash((uint8_t *)&hash, (const uint8_t *)head->stream,
                           strlen(head->stream), w->ids.hash_key);
    for (i = (uint32_t)hash % STREAM_SLOTS;
         w->streams[i].hash != 0 && w->streams[i].hash != hash;
         i = (i + 1) % STREAM_SLOTS)
        continue;
    if (w->streams[i].version > 0) {
        const struct head *last = (const void *)(w->map + w->streams[i].at);

        head->previous = w->streams[i].at;
        if (strcmp(last->stream, head->stream) != 0)
            w->collisions++; /* or the file has come round */
    }
    w->streams[i].hash = hash;
    return i;
}

/* Whether an id is there already; notes it if not. */
static void
look_up_id(struct dummy_writer *w, const struct head *head, struct note *note)
{
    uint32_t probe = 0, offset;

    note->print = id_set_print(&w->ids, head->id);
    while (id_set_candidate(&w->ids, note->print, &probe, &offset))
        w->collisions++;
}

/* Decides on one command and copies it. */
static void
take_one(struct dummy_writer *w, struct group_of_parts *group, const uint8_t *p)
{
    uint8_t *to = group->data + group->len;
    struct note *note = &group->notes[group->note_count++];
    struct answer answer;
    struct head head;

    memcpy(&head, p, sizeof head);
    note->at = group->len;
    if (w->step >= CHAIN_IDS)
        look_up_id(w, &head, note);
    if (w->step >= CHAIN_VERSIONS) {
        note->stream = find_stream(w, &head);
        if (w->streams[note->stream].open_version != head.version)
            w->conflicts++; /* a later run begins anew */
        w->streams[note->stream].open_version = head.version + 1;
    }
    memcpy(to, p, head.len);
    head.position = ++w->position;
    memcpy(to, &head, sizeof head);
    if (w->step >= CHAIN_SUMS) {
        head.sum ^= crc32c(to, SEALED_LEN);
        memcpy(to, &head, sizeof head);
    }
    group->len += head.len;
    answer = (struct answer){ head.id, head.position };
    memcpy(group->answers + group->answers_len, &answer, sizeof answer);
    group->answers_len += sizeof answer;
}

static void
take_part(struct dummy_writer *w, struct group_of_parts *group,
          const struct part *part, const uint8_t *p)
{
    if (w->step == CHAIN_BARE) {
        memcpy(group->data + group->len, p, part->len);
        group->len += part->len;
        return;
    }
    memcpy(group->answers + group->answers_len, part, sizeof *part);
    group->answers_len += sizeof *part;
    for (uint32_t i = 0; i < part->count; i++) {
        struct head head;

        memcpy(&head, p, sizeof head);
        take_one(w, group, p);
        p += head.len;
    }
}

static void
take_commands(struct dummy_writer *w)
{
    struct group_of_parts *group = &w->group;
    zmq_msg_t message;

    (void)zmq_msg_init(&message);
    while (group->len < GROUP_MAX / 2 && group->note_count < COMMANDS_MAX / 2 &&
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
            take_part(w, group, &part, p);
            p += part.len;
            group->parts[group->part_count++] = part;
            left -= sizeof part + part.len;
        }
    }
    (void)zmq_msg_close(&message);
}

/* What the steps of the ladder need. */
static void
start_steps(struct dummy_writer *w, const struct chain *chain)
{
    pthread_t thread;

    id_set_init(&w->ids, NULL);
    w->streams = calloc(STREAM_SLOTS, sizeof *w->streams);
    if (w->dry)
        return;
    w->map = mmap(NULL, (size_t)FILE_LEN, PROT_READ, MAP_SHARED, w->fd, 0);
    if (w->map == MAP_FAILED)
        _exit(1);
    if (w->step < CHAIN_FILE)
        return;
    w->file = chain->file;
    (void)pthread_mutex_init(&w->fill_lock, NULL);
    (void)pthread_cond_init(&w->fill_moved, NULL);
    if (pthread_create(&thread, NULL, fill_main, w) != 0)
        _exit(1);
}

static void
writer_main(const struct chain *chain)
{
    void *context = zmq_ctx_new();
    struct dummy_writer w = { .step = chain->step, .dry = chain->dry };
    static uint8_t zeros[65536];

    w.socket = make_socket(context, ZMQ_ROUTER);
    w.fd = open(chain->file, O_RDWR | O_CREAT | O_TRUNC, 0600);
    for (off_t at = 0; !w.dry && at < FILE_LEN; at += (off_t)sizeof zeros)
        if (pwrite(w.fd, zeros, sizeof zeros, at) < 0)
            _exit(1);
    (void)fsync(w.fd);
    w.group.data = calloc(1, GROUP_MAX);
    w.group.parts = calloc(1 << 20, sizeof(struct part));
    w.group.notes = calloc(COMMANDS_MAX, sizeof(struct note));
    w.group.answers = calloc(COMMANDS_MAX, 2 * sizeof(struct answer));
    start_steps(&w, chain);
    if (zmq_bind(w.socket, chain->back) != 0)
        _exit(1);
    for (;;) {
        zmq_pollitem_t item = { .socket = w.socket, .events = ZMQ_POLLIN };

        (void)zmq_poll(&item, 1, -1);
        take_commands(&w);
        if (w.group.part_count > 0) {
            write_group(&w, &w.group);
            answer_group(&w, &w.group);
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
chain_start(struct chain *chain, const char *dir, enum chain_step step,
            bool dry)
{
    char name[16];

    (void)snprintf(name, sizeof name, "%s%d", dry ? "dry" : "chain", (int)step);
    chain->step = step;
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

/* Fills in commands; a real client fills in each, too. */
static void
make_commands(const struct chain *chain, const struct load *load,
              uint32_t connection, uint64_t first, uint32_t count, uint8_t *to)
{
    size_t len = commit_len(load->batch);

    for (uint32_t i = 0; i < count; i++, to += len) {
        uint32_t stream = load_stream(load, connection, first + i);
        struct head head = { .len = (uint32_t)len };

        memset(to, (int)i, len);
        if (chain->step == CHAIN_BARE)
            continue;
        head.id = command_id_new();
        head.version = (first + i) / (LOAD_STREAMS / load->connections);
        (void)snprintf(head.stream, sizeof head.stream, "bench-%07u", stream);
        memcpy(to, &head, sizeof head);
    }
}

/* Takes an answer in; how many commands it is for. */
static uint32_t
take_answer(const struct chain *chain, void *socket, struct answer *answers,
            uint32_t window, uint64_t *ret_last)
{
    uint32_t count = 0;
    int len;

    if (chain->step == CHAIN_BARE) {
        (void)zmq_recv(socket, &count, sizeof count, 0);
        return count;
    }
    len = zmq_recv(socket, answers, window * sizeof *answers, 0);
    count = len < 0 ? 0 : (uint32_t)((size_t)len / sizeof *answers);
    for (uint32_t i = 0; i < count; i++) {
        if (answers[i].position <= *ret_last)
            exit(1); /* one order, of one connection's commands too */
        *ret_last = answers[i].position;
    }
    return count;
}

uint64_t
chain_run(void *self, const struct load *load, uint32_t connection)
{
    const struct chain *chain = self;
    uint32_t window = load->outstanding / load->connections;
    size_t len = commit_len(load->batch);
    uint8_t *buf = malloc(4 + window * len);
    double *sent = calloc(window, sizeof *sent); /* in order of sending */
    struct answer *answers = calloc(window, sizeof *answers);
    void *context = zmq_ctx_new();
    void *socket = make_socket(context, ZMQ_DEALER);
    uint64_t queued = 0, answered = 0, last = 0;
    double began = seconds_now();

    if (buf == NULL || sent == NULL || answers == NULL ||
        zmq_connect(socket, chain->front) != 0)
        exit(1);
    while (seconds_now() - began < load->seconds || answered < queued) {
        uint32_t count = window - (uint32_t)(queued - answered);

        if (count > 0 && seconds_now() - began < load->seconds) {
            double now = seconds_now();

            memcpy(buf, &count, sizeof count);
            make_commands(chain, load, connection, queued, count, buf + 4);
            (void)zmq_send(socket, buf, 4 + count * len, 0);
            for (uint32_t i = 0; i < count; i++)
                sent[queued++ % window] = now;
        }
        if (answered < queued) {
            uint32_t done = take_answer(chain, socket, answers, window, &last);

            for (uint32_t i = 0; i < done; i++)
                load_latency(seconds_now() - sent[answered++ % window]);
        }
    }
    (void)zmq_close(socket);
    (void)zmq_ctx_term(context);
    free(buf);
    free(sent);
    free(answers);
    return answered;
}
