/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The version table: opened by a reader and by the writer, looked into, and
 * written to.
 *
 * Input: a byte (bit 0: put the checksums right, bit 1: open for writing),
 * 1536 bytes of header and checkpoints, the slots.
 */
#include "fuzz/input.h"

#include <stdio.h>
#include <stdlib.h>

#include "lib/bytefix.h"
#include "store/table.h"

#define FILE_LEN (4096 + TABLE_SLOTS_MIN * 16)

static const uint8_t no_event[sizeof(struct event_record)];

/* Every address has the event of the same stream, but for odd ones. */
static int
event_at(void *self, uint64_t address, struct event *ret_event, struct err *err)
{
    (void)self;
    if (address % 2 == 1)
        return err_set(err, -CAIRN_EDAMAGED, "nothing at this address");
    *ret_event = (struct event){ .record = no_event };
    return 0;
}

static void
use(struct table *table, bool writable)
{
    static const struct event_source source = { NULL, event_at };
    uint64_t slots = table_slot_count(table), address;
    struct err err;

    input_must(slots == TABLE_SLOTS_MIN, "the slots lie in the file");
    for (unsigned i = 0; i < 16; i++) {
        char name[8];
        int len = snprintf(name, sizeof name, "s-%u", i);
        struct key key = { KEY_STREAM, { name, (uint32_t)len }, 0 };

        key.hash = table_hash(table, key.kind, key.name);
        (void)table_find(table, &key, &source, &address, &err);
        if (writable)
            (void)table_put(table, &key, 2 * (i + 1), true, &source, &err);
    }
    (void)table_wants_growth(table);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct input input = { data, len };
    uint64_t flags = input_number(&input, 1);
    struct input head = input_part(&input, 3 * SECTOR_LEN);
    uint8_t *header = input_copy(head);
    const char *dir = input_dir();
    uint8_t *file = calloc(1, FILE_LEN);
    struct uuid log_id = { { 0 } };
    struct table *table = NULL;
    struct err err;

    input_must(file != NULL, "memory");
    if (flags & 1)
        reseal_table(header, head.left);
    if (head.left >= 32)
        memcpy(&log_id, header + 16, sizeof log_id);
    if (head.left > 0)
        memcpy(file, header, head.left);
    if (input.left > FILE_LEN - 4096)
        input.left = FILE_LEN - 4096;
    if (input.left > 0)
        memcpy(file + 4096, input.p, input.left);
    input_write(dir, "table.1", (struct input){ file, FILE_LEN },
                (struct input){ NULL, 0 }, FILE_LEN);
    if (table_open(&sys_real, dir, log_id, 1, (flags & 2) != 0, &table, &err) ==
        0)
        use(table, (flags & 2) != 0);
    table_close(&table);
    free(file);
    free(header);
    return 0;
}
