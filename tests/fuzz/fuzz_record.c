/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The records of the log: prefixes, events with their tags and links,
 * commits, groups with everything in them, commits as the gateway sends them.
 *
 * Input: a byte, then the record.  Bit 0 of the byte: put the checksums right
 * first, so that what lies behind them is reached.
 */
#include "fuzz/input.h"

#include <stdlib.h>

#include "lib/bytefix.h"
#include "store/record.h"
#include "store/select.h"

static uint64_t used; /* so that the compiler reads what it is told to */

static void
touch(struct span span)
{
    for (uint32_t i = 0; i < span.len; i++)
        used += (uint8_t)span.p[i];
}

static void
look_at_event(const uint8_t *data, size_t len)
{
    const struct selector selectors[] = { { 'c', { "a", 1 } },
                                          { 't', { "T", 1 } },
                                          { 'g', { "g", 1 } } };
    struct event event;
    struct link link;

    if (event_decode(data, len, &event) < 0)
        return;
    input_must(event.record_len <= len && event.tag_count <= TAGS_MAX,
               "an event lies inside its bytes");
    touch(event.stream);
    touch(event.type);
    touch(event.content_type);
    link = event_stream_link(&event);
    used += link.jump;
    for (uint32_t i = 0; i < event.tag_count; i++) {
        link = event_tag_link(&event, i);
        touch(link.name);
        input_must(event_find_tag(&event, link.name, &link) != 0,
                   "a tag is found by its name");
    }
    used += selectors_pass(selectors, 3, &event);
    if (event_check_body(&event) == 0) {
        touch(event.meta);
        touch(event.data);
    }
}

static void
look_at_group(const uint8_t *data, size_t len)
{
    struct group_info group;
    struct uuid log_id = { { 0 } };

    if (len < sizeof(struct group_header))
        return;
    memcpy(&log_id, data + offsetof(struct group_header, log_id),
           sizeof log_id);
    for (uint64_t offset = SECTOR_LEN; offset <= 2 * SECTOR_LEN;
         offset += SECTOR_LEN)
        if (group_decode(data, len, log_id, address_of(1, offset), &group) ==
            0) {
            input_must(group.group_len <= len, "a group lies in its bytes");
            used += (uint64_t)group_check_body(data, &group);
        }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct input input = { data, len };
    uint64_t fix = input_number(&input, 1) & 1;
    uint8_t *copy = input_copy(input);
    enum record_kind kind;
    struct commit commit;
    uint32_t record_len;

    if (fix) {
        (void)reseal_record(copy, input.left);
        if (input.left > 7 && copy[7] == RECORD_GROUP)
            (void)reseal_group(copy, input.left);
    }
    if (record_check(copy, input.left, &kind, &record_len) == 0)
        input_must(record_len >= RECORD_UNIT && record_len <= input.left,
                   "a record lies inside its bytes");
    look_at_event(copy, input.left);
    if (commit_decode(copy, input.left, &commit) == 0)
        used += commit.event_count;
    if (commit_check_unstamped(copy, input.left, &commit) == 0)
        input_must(commit.event_count > 0, "a commit has an event");
    look_at_group(copy, input.left);
    free(copy);
    return 0;
}
