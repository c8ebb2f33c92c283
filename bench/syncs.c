/* SPDX-License-Identifier: MPL-2.0 */
#include "syncs.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cairn/floor.h"
#include "store/record.h"

#define FILE_LEN (UINT64_C(64) << 20)

void
syncs_open(struct syncs *s, const char *dir, size_t len)
{
    struct err err;

    s->len = len;
    s->fd = floor_file(dir, FILE_LEN, &err);
    if (s->fd < 0)
        bench_die("%s", err.text);
}

void
syncs_close(struct syncs *s)
{
    (void)close(s->fd);
}

size_t
commit_len(uint32_t batch)
{
    struct event_shape event = { .stream_len = 13,
                                 .type_len = 8,
                                 .data_len = LOAD_DATA_LEN };

    return sizeof(struct commit_record) +
        batch * (size_t)event_record_len(&event);
}

/* What one sync covers when all that is outstanding lies in one group. */
static size_t
group_len(const struct load *load)
{
    return (size_t)align_up(sizeof(struct group_header) +
                                load->outstanding * commit_len(load->batch),
                            SECTOR_LEN);
}

uint64_t
syncs_run(void *self, const struct load *load, uint32_t connection)
{
    const struct syncs *s = self;
    size_t len = s->len > 0 ? s->len : group_len(load);
    uint8_t *data = malloc(len);
    uint64_t syncs = 0, at = 0;
    double began = seconds_now();

    (void)connection;
    if (data == NULL)
        bench_die("no memory");
    memset(data, 'x', len);
    do {
        double before = seconds_now();

        if (at + len > FILE_LEN)
            at = 0;
        if (floor_sync(s->fd, data, len, at) < 0)
            bench_die("cannot write and sync");
        load_latency(seconds_now() - before);
        at += len;
        syncs++;
    } while (seconds_now() - began < load->seconds);
    free(data);
    return s->len > 0 ? syncs : syncs * load->outstanding;
}
