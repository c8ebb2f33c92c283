/* SPDX-License-Identifier: MPL-2.0 */
/*
 * bench_append - appends through the real gateway and writer, next to the
 * machine's floors in the same run:
 *
 *   S  a bare pwrite and fdatasync loop of the same shape: it writes, into a
 *      zero-filled file on the same file system, what one sync of the engine
 *      covers if all that is outstanding lies in one group
 *   P  the bare chain of bench/chain.h
 *
 * Each round runs S, P, engine, engine, P, S; the medians are printed, and the
 * median of the ratios of the rounds with their quartiles.
 *
 *   bench_append BUILD [SECONDS-PER-RUN [ROUNDS]]
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cairn.h"
#include "chain.h"
#include "lib/pipeline.h"
#include "lib/tmpdir.h"
#include "measure.h"
#include "store/record.h"

#define FLOOR_FILE_LEN ((off_t)64 << 20)

static const struct {
    const char *name;
    uint32_t connections, outstanding, batch;
} shapes[] = {
    { "1 outstanding", 1, 1, 1 },
    { "64 outstanding", 1, 64, 1 },
    { "64 on 4 connections", 4, 64, 1 },
    { "256 outstanding", 1, 256, 1 },
    { "1024 outstanding", 1, 1024, 1 },
    { "batches of 100, 8 outstanding", 1, 8, 100 },
};

/* What one sync covers when all that is outstanding lies in one group. */
static size_t
floor_len(const struct load *load)
{
    struct event_shape event = { .stream_len = 10,
                                 .type_len = 8,
                                 .data_len = LOAD_DATA_LEN };
    size_t commit = sizeof(struct commit_record) +
        load->batch * (size_t)event_record_len(&event);

    return (size_t)align_up(
        sizeof(struct group_header) + load->outstanding * commit, SECTOR_LEN);
}

/* Writes and syncs for so many seconds; commits per second at that rate. */
static double
run_floor(int fd, const struct load *load)
{
    size_t len = floor_len(load);
    uint8_t *data = malloc(len);
    uint64_t syncs = 0;
    off_t at = 0;
    double began, took;

    if (data == NULL)
        exit(1);
    memset(data, 'x', len);
    began = seconds_now();
    do {
        if (at + (off_t)len > FLOOR_FILE_LEN)
            at = 0;
        if (pwrite(fd, data, len, at) != (ssize_t)len || fdatasync(fd) < 0) {
            perror("floor");
            exit(1);
        }
        at += (off_t)len;
        syncs++;
        took = seconds_now() - began;
    } while (took < load->seconds);
    free(data);
    return (double)(syncs * load->outstanding) / took;
}

static int
make_floor_file(const char *dir)
{
    static uint8_t zeros[65536];
    int fd = open(tmpdir_path(dir, "floor"), O_RDWR | O_CREAT, 0600);

    for (off_t at = 0; fd >= 0 && at < FLOOR_FILE_LEN; at += sizeof zeros)
        if (pwrite(fd, zeros, sizeof zeros, at) != sizeof zeros)
            exit(1);
    if (fd < 0 || fsync(fd) < 0) {
        perror("floor");
        exit(1);
    }
    return fd;
}

struct bench {
    struct pipeline pipeline;
    struct chain chain;
    struct engine cairn, bare;
    int floor_fd;
    int rounds;
};

static void
run_shape(struct bench *b, const char *name, struct load load)
{
    struct samples floor = { 0 }, chain = { 0 }, engine = { 0 };
    struct samples latency = { 0 };
    struct load warm = load;
    struct ratio to_chain, to_floor;

    warm.seconds /= 4;
    (void)load_run(&b->bare, &warm);
    (void)load_run(&b->cairn, &warm);
    for (int i = 0; i < b->rounds; i++) {
        struct load_result r;

        samples_add(&floor, run_floor(b->floor_fd, &load));
        samples_add(&chain, load_run(&b->bare, &load).commits_per_second);
        for (int k = 0; k < 2; k++) {
            r = load_run(&b->cairn, &load);
            samples_add(&engine, r.commits_per_second);
            samples_add(&latency, r.latency_us[0]);
        }
        samples_add(&chain, load_run(&b->bare, &load).commits_per_second);
        samples_add(&floor, run_floor(b->floor_fd, &load));
    }
    to_chain = samples_ratio(&engine, &chain);
    to_floor = samples_ratio(&engine, &floor);
    printf("%-30s %9.0f %9.0f %7.0f %10.0f %6.2f %10.0f %5.2f %4.2f-%4.2f\n",
           name, samples_median(&engine), samples_median(&engine) * load.batch,
           samples_median(&latency), samples_median(&floor), to_floor.middle,
           samples_median(&chain), to_chain.middle, to_chain.low,
           to_chain.high);
    fflush(stdout);
}

int
main(int argc, char **argv)
{
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 1.0;
    struct bench b = { .rounds =
                           argc > 3 ? (int)strtol(argv[3], NULL, 10) : 3 };

    if (argc < 2 || seconds <= 0 || b.rounds < 1 || b.rounds > 64) {
        fprintf(stderr, "usage: bench_append BUILD [SECONDS [ROUNDS]]\n");
        return 64;
    }
    pipeline_start(&b.pipeline, argv[1], NULL);
    chain_start(&b.chain, b.pipeline.dir);
    b.cairn = (struct engine){ "cairn", &b.pipeline, cairn_run };
    b.bare = (struct engine){ "chain", &b.chain, chain_run };
    b.floor_fd = make_floor_file(b.pipeline.dir);
    printf("append: %u bytes of data per event, %u streams, sync before the "
           "answer; S: bare sync loop, P: bare chain\n\n"
           "%-30s %9s %9s %7s %10s %6s %10s %5s %9s\n",
           LOAD_DATA_LEN, LOAD_STREAMS, "", "commits/s", "events/s", "p50 us",
           "S /s", "/S", "P /s", "/P", "quartiles");
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        run_shape(&b, shapes[i].name,
                  (struct load){ .connections = shapes[i].connections,
                                 .outstanding = shapes[i].outstanding,
                                 .batch = shapes[i].batch,
                                 .seconds = seconds });
    close(b.floor_fd);
    chain_stop(&b.chain);
    pipeline_stop(&b.pipeline);
    return 0;
}
