/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The file of command ids beside a sealed segment.
 *
 * Input: a byte (bit 0: put the checksums right; bit 1: the log's id and the
 * segment's number, too), the file.
 */
#include "fuzz/input.h"

#include <stdio.h>
#include <stdlib.h>

#include "lib/bytefix.h"
#include "lib/logfix.h"
#include "store/ids.h"

static struct logfix fix;
static struct evlog *log_open;
static struct uuid some_id;

static void
remove_log(void)
{
    evlog_close(&log_open);
    logfix_close(&fix);
}

/* A log of two segments, whose first has a file of ids. */
static void
make_log(void)
{
    struct event event;
    struct cursor cursor;
    struct commit commit;
    struct err err;

    logfix_open(&fix, &sys_real, &logfix_small);
    while (evlog_segment_count(appender_log(fix.appender)) < 3)
        (void)logfix_put(&fix, "s-1", 4000);
    logfix_stop(&fix);
    input_must(evlog_open(&sys_real, logfix_dir(&fix), &log_open, &err) == 0 &&
                   evlog_seek(log_open, 1, 1, &cursor, &err) == 0 &&
                   evlog_next(log_open, &cursor, 1, &event, &err) == 1 &&
                   evlog_commit_at(
                       log_open,
                       address_of(1, SECTOR_LEN + sizeof(struct group_header)),
                       &commit, &err) == 0,
               "a log to look into");
    some_id = commit.command_id;
    (void)atexit(remove_log);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct input input = { data, len };
    uint64_t flags = input_number(&input, 1);
    struct id_times times = { UINT64_MAX, UINT64_MAX };
    struct ids *ids = NULL;
    uint64_t address;
    uint8_t *file;
    struct err err;

    if (log_open == NULL)
        make_log();
    file = input_copy(input);
    if ((flags & 2) && input.left >= 32) {
        struct uuid log_id = evlog_id(log_open);

        memcpy(file + 8, &log_id, sizeof log_id);
        memset(file + 24, 0, 8);
        file[24] = 1;
    }
    if (flags & 1)
        reseal_ids(file, input.left);
    input_write(logfix_dir(&fix), "00000000000000000001.ids",
                (struct input){ file, input.left }, (struct input){ NULL, 0 },
                input.left);
    free(file);
    input_must(ids_open(log_open, &ids, &err) == 0, "ids can be opened");
    if (ids_find(ids, some_id, 1, times, &address, &err) == 1)
        input_must(address_segment(address) == 1, "it lies in the segment");
    some_id.b[15]++;
    (void)ids_find(ids, some_id, 1, times, &address, &err);
    some_id.b[15]--;
    ids_close(&ids);
    return 0;
}
