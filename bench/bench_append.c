/* SPDX-License-Identifier: MPL-2.0 */
/*
 * bench_append - appends through the real gateway and writer, each line next
 * to a bare pwrite and fdatasync loop of the same shape in the same run.
 *
 * The bare loop writes, into a zero-filled file on the same file system, what
 * one sync of the engine covers: as many events as are outstanding, as long as
 * they are in the log.  Floor, engine, engine, floor are run in turn, several
 * times; the median of each and the ratio of the medians are printed.
 *
 *   bench_append BUILD [SECONDS-PER-RUN] [ROUNDS]
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "c/append_client.h"
#include "lib/pipeline.h"
#include "lib/tmpdir.h"
#include "store/record.h"

#define DATA_LEN 256u
#define STREAMS 1000u
#define ROUNDS_MAX 64
#define FLOOR_FILE_LEN ((off_t)64 << 20)

struct shape {
    const char *name;
    uint32_t outstanding; /* commits in flight */
    uint32_t events;      /* in each */
};

static const struct shape shapes[] = {
    { "1 outstanding", 1, 1 },
    { "64 outstanding", 64, 1 },
    { "256 outstanding", 256, 1 },
    { "batches of 100, 8 outstanding", 8, 100 },
};

struct load {
    uint64_t accepted;
    uint64_t failed;
};

static double
now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void
on_outcome(void *arg, uint64_t tag, const struct wire_outcome *outcome,
           bool reached)
{
    struct load *load = arg;

    (void)tag;
    (void)reached;
    if (outcome->code == ANSWER_ACCEPTED)
        load->accepted++;
    else
        load->failed++;
}

/* The text of an event on stream "bench-NNNN" with 256 bytes of data. */
static void
make_event(struct wire_event *event, uint8_t *text, uint32_t stream)
{
    int len = snprintf((char *)text, 64, "bench-%04uMeasured", stream);

    memset(text + len, 'x', DATA_LEN);
    *event = (struct wire_event){ .schema = 1,
                                  .stream_len = 10,
                                  .type_len = 8,
                                  .data_len = DATA_LEN,
                                  .text = text };
}

/* Appends for so many seconds; returns commits per second. */
static double
run_engine(const struct pipeline *p, const struct shape *shape, double seconds)
{
    struct append_client_options options = { p->commands, shape->outstanding,
                                             30000 };
    static uint8_t texts[128][64 + DATA_LEN];
    static uint32_t stream;
    struct wire_event events[128];
    struct load load = { 0 };
    struct append_client *client;
    struct err err;
    double began, took;

    if (append_client_open(&options, on_outcome, &load, &client, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    began = now();
    do {
        struct wire_command command = { .id = uuid_v7((uint64_t)time(NULL) *
                                                      1000),
                                        .events = events,
                                        .event_count = shape->events };

        for (uint32_t i = 0; i < shape->events; i++)
            make_event(&events[i], texts[i], stream++ % STREAMS);
        if (append_client_queue(client, &command, 0) < 0)
            exit(1);
        took = now() - began;
    } while (took < seconds);
    if (append_client_finish(client) < 0 || load.failed > 0) {
        fprintf(stderr, "%llu commands were not accepted\n",
                (unsigned long long)load.failed);
        exit(1);
    }
    took = now() - began;
    append_client_close(&client);
    return (double)load.accepted / took;
}

/* What one sync covers when all that is outstanding lies in one group. */
static size_t
floor_len(const struct shape *shape)
{
    struct event_shape event = { .stream_len = 10,
                                 .type_len = 8,
                                 .data_len = DATA_LEN };
    size_t commit = sizeof(struct commit_record) +
        shape->events * (size_t)event_record_len(&event);

    return (size_t)align_up(
        sizeof(struct group_header) + shape->outstanding * commit, SECTOR_LEN);
}

/* Writes and syncs for so many seconds; commits per second at that rate. */
static double
run_floor(int fd, const struct shape *shape, double seconds)
{
    static uint8_t *data;
    size_t len = floor_len(shape);
    uint64_t syncs = 0;
    off_t at = 0;
    double began, took;

    data = realloc(data, len);
    if (data == NULL)
        exit(1);
    memset(data, 'x', len);
    began = now();
    do {
        if (at + (off_t)len > FLOOR_FILE_LEN)
            at = 0;
        if (pwrite(fd, data, len, at) != (ssize_t)len || fdatasync(fd) < 0) {
            perror("floor");
            exit(1);
        }
        at += (off_t)len;
        syncs++;
        took = now() - began;
    } while (took < seconds);
    return (double)(syncs * shape->outstanding) / took;
}

static int
make_floor_file(const struct pipeline *p)
{
    static uint8_t zeros[65536];
    int fd = open(tmpdir_path(p->dir, "floor"), O_RDWR | O_CREAT, 0600);

    for (off_t at = 0; fd >= 0 && at < FLOOR_FILE_LEN; at += sizeof zeros)
        if (pwrite(fd, zeros, sizeof zeros, at) != sizeof zeros)
            exit(1);
    if (fd < 0 || fsync(fd) < 0) {
        perror("floor");
        exit(1);
    }
    return fd;
}

static int
compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double
median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, compare);
    return values[count / 2];
}

static void
run_shape(const struct pipeline *p, int fd, const struct shape *shape,
          double seconds, int rounds)
{
    double engine[2 * ROUNDS_MAX], bare[2 * ROUNDS_MAX];
    double e, f;

    (void)run_engine(p, shape, seconds / 4); /* warm up */
    for (int i = 0; i < rounds; i++) {
        bare[2 * i] = run_floor(fd, shape, seconds);
        engine[2 * i] = run_engine(p, shape, seconds);
        engine[2 * i + 1] = run_engine(p, shape, seconds);
        bare[2 * i + 1] = run_floor(fd, shape, seconds);
    }
    e = median(engine, 2 * rounds);
    f = median(bare, 2 * rounds);
    printf("  %-30s %10.0f %12.0f %14.0f %8.2f\n", shape->name, e,
           e * shape->events, f, e / f);
    fflush(stdout);
}

int
main(int argc, char **argv)
{
    double seconds = argc > 2 ? atof(argv[2]) : 1.0;
    int rounds = argc > 3 ? atoi(argv[3]) : 3;
    struct pipeline pipeline;
    int fd;

    if (argc < 2 || seconds <= 0 || rounds < 1 || rounds > ROUNDS_MAX) {
        fprintf(stderr, "usage: bench_append BUILD [SECONDS [ROUNDS]]\n");
        return 64;
    }
    pipeline_start(&pipeline, argv[1], NULL);
    fd = make_floor_file(&pipeline);
    printf("append: %u bytes of data per event, %u streams, sync before the "
           "answer\n\n"
           "  %-30s %10s %12s %14s %8s\n",
           DATA_LEN, STREAMS, "", "commits/s", "events/s", "bare commits/s",
           "ratio");
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        run_shape(&pipeline, fd, &shapes[i], seconds, rounds);
    close(fd);
    pipeline_stop(&pipeline);
    return 0;
}
