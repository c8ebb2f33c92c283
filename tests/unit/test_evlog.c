/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/cmocka.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "lib/bytefix.h"
#include "lib/logfix.h"
#include "lib/tmpdir.h"
#include "lib/watchsys.h"

#define EVENTS_MAX 400u

/* A log of several segments, with what stands in it. */
struct fixture {
    struct logfix fix;
    struct watchsys watch;
    struct evlog *log; /* opened when all was written */
    uint64_t count;    /* events */
    uint64_t address[EVENTS_MAX];
    uint32_t len[EVENTS_MAX];
    struct group_info group[EVENTS_MAX]; /* the one that it lies in */
    struct err err;
};

static const struct appender_options options = {
    .segment_len = SEGMENT_LEN_MIN,
    .group_len_max = 32 << 10,
    .checkpoint_bytes = 1 << 30,
    .table_slots = TABLE_SLOTS_MIN,
};

static void
must(struct fixture *f, int rc)
{
    if (rc < 0)
        fail_msg("%s", f->err.text);
}

/* Appends commits of 1 to 4 events, about two to a group. */
static void
fill(struct fixture *f, uint64_t count)
{
    char data[3001];

    memset(data, 'd', sizeof data);
    for (uint64_t i = 0, n = 0; n < count; i++) {
        struct event_text texts[4];
        uint32_t events = (uint32_t)(i % 4 + 1);

        data[i * 347 % 3000] = '\0';
        for (uint32_t e = 0; e < events; e++)
            texts[e] = (struct event_text){
                e % 2 ? "a-1" : "b-2", "T", data, NULL, { NULL }
            };
        (void)logfix_append(&f->fix, uuid_v7(i), NULL, 0, texts, events);
        data[i * 347 % 3000] = 'd';
        if (i % 2)
            logfix_sync(&f->fix);
        n += events;
    }
    logfix_sync(&f->fix);
}

/* Notes where every event lies, by walking over the records of the files. */
static void
note_places(struct fixture *f)
{
    struct group_info group = { .group_len = 0 };

    f->count = 0;
    for (uint64_t n = 1; n <= evlog_segment_count(f->log); n++) {
        uint64_t at = address_of(n, SECTOR_LEN);

        for (;;) {
            const uint8_t *p;
            size_t left;
            enum record_kind kind;
            uint32_t len;

            must(f, evlog_bytes_at(f->log, at, &p, &left, &f->err));
            if (record_check(p, left, &kind, &len) < 0)
                break;
            if (kind == RECORD_GROUP)
                assert_int_equal(
                    group_decode(p, left, evlog_id(f->log), at, &group), 0);
            if (kind == RECORD_EVENT) {
                f->address[++f->count] = at;
                f->len[f->count] = len;
                f->group[f->count] = group;
            }
            at += len;
        }
    }
}

static void
open_log(struct fixture *f)
{
    must(f, evlog_open(&f->watch.sys, logfix_dir(&f->fix), &f->log, &f->err));
}

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    watchsys_begin(&f->watch, &sys_real);
    logfix_open(&f->fix, &sys_real, &options);
    fill(f, 250);
    open_log(f);
    note_places(f);
    *state = f;
    return f->count == appender_watermark(f->fix.appender) &&
            evlog_segment_count(f->log) >= 4
        ? 0
        : -1;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    evlog_close(&f->log);
    assert_int_equal(f->watch.counts.maps, f->watch.counts.unmaps);
    watchsys_end(&f->watch);
    if (f->fix.appender != NULL)
        logfix_close(&f->fix);
    else
        tmpdir_remove(&f->fix.dir);
    free(f);
    return 0;
}

static const char *
segment_file(struct fixture *f, uint64_t number)
{
    char name[64];

    snprintf(name, sizeof name, "%020llu.log",
             (unsigned long long)evlog_segment_first(f->log, number));
    return tmpdir_path(logfix_dir(&f->fix), name);
}

/* Writes other bytes into a segment that nobody has mapped. */
static void
patch(const char *path, uint64_t offset, const void *bytes, size_t len)
{
    size_t file_len;
    uint8_t *data = file_read(path, &file_len);

    memcpy(data + offset, bytes, len);
    (void)unlink(path); /* it may be read-only */
    file_write(path, data, file_len);
    free(data);
}

/* Makes one byte of the first segment another, whatever it was. */
static void
spoil(struct fixture *f, uint64_t offset)
{
    const char *path = segment_file(f, 1);
    size_t file_len;
    uint8_t *data = file_read(path, &file_len), other = data[offset] ^ 1;

    free(data);
    patch(path, offset, &other, 1);
}

/* ---- opening ----------------------------------------------------------- */

static int
try_open(struct fixture *f)
{
    struct evlog *log = NULL;
    int rc = evlog_open(&f->watch.sys, logfix_dir(&f->fix), &log, &f->err);

    if (rc == 0)
        evlog_close(&log);
    assert_null(log);
    return rc;
}

static void
what_is_no_log_cannot_be_opened(void **state)
{
    struct fixture *f = *state;
    struct evlog *log;
    char *dir = tmpdir_make();

    assert_int_equal(
        evlog_open(&sys_real, tmpdir_path(dir, "none"), &log, &f->err),
        -ENOENT);
    assert_int_equal(evlog_open(&sys_real, dir, &log, &f->err), -ENOENT);
    file_write(tmpdir_path(dir, "00000000000000000001.log"), "x", 1);
    assert_int_equal(evlog_open(&sys_real, dir, &log, &f->err),
                     -CAIRN_EDAMAGED);
    tmpdir_remove(&dir);
}

static void
a_missing_segment_is_noticed(void **state)
{
    struct fixture *f = *state;
    char aside[4096];
    uint64_t count = evlog_segment_count(f->log);

    for (uint64_t n = 1; n < count; n++) {
        snprintf(aside, sizeof aside, "%s.aside", segment_file(f, n));
        assert_int_equal(rename(segment_file(f, n), aside), 0);
        assert_int_equal(try_open(f), -CAIRN_EDAMAGED);
        assert_int_equal(rename(aside, segment_file(f, n)), 0);
    }
    assert_int_equal(try_open(f), 0);
}

static void
the_first_segment_begins_at_position_1(void **state)
{
    struct fixture *f = *state;
    char *dir = tmpdir_make();
    uint8_t *data = calloc(1, SEGMENT_LEN_MIN);
    struct segment_info info = { .log_id = uuid_v4(),
                                 .number = 1,
                                 .first_position = 2,
                                 .segment_len = SEGMENT_LEN_MIN };
    struct evlog *log;

    segment_header_encode(data, &info);
    file_write(tmpdir_path(dir, "00000000000000000002.log"), data,
               SEGMENT_LEN_MIN);
    assert_int_equal(evlog_open(&sys_real, dir, &log, &f->err),
                     -CAIRN_EDAMAGED);
    free(data);
    tmpdir_remove(&dir);
}

static void
a_segment_of_another_log_is_refused_when_it_is_read(void **state)
{
    struct fixture *f = *state;
    struct segment_info info;
    struct segment *segment;
    uint8_t header[SECTOR_LEN];

    must(f, evlog_segment(f->log, 2, &segment, &f->err));
    info = segment->info;
    info.log_id = uuid_v4();
    segment_header_encode(header, &info);
    patch(segment_file(f, 2), 0, header, sizeof header);
    evlog_close(&f->log);
    open_log(f);
    assert_int_equal(evlog_segment(f->log, 2, &segment, &f->err),
                     -CAIRN_EOTHERLOG);
    info.log_id = evlog_id(f->log);
    info.number = 3;
    segment_header_encode(header, &info);
    patch(segment_file(f, 2), 0, header, sizeof header);
    assert_int_equal(evlog_segment(f->log, 2, &segment, &f->err),
                     -CAIRN_EDAMAGED);
}

static void
only_the_last_segment_is_opened_at_first(void **state)
{
    struct fixture *f = *state;
    struct segment *segment;

    evlog_close(&f->log);
    f->watch.counts = (struct watch_counts){ 0 };
    open_log(f);
    assert_int_equal(f->watch.counts.maps, 1);
    must(f, evlog_segment(f->log, 1, &segment, &f->err));
    must(f, evlog_segment(f->log, 1, &segment, &f->err));
    assert_int_equal(f->watch.counts.maps, 2);
}

static void
no_more_segments_are_mapped_than_allowed(void **state)
{
    struct fixture *f = *state;
    const uint64_t count = EVLOG_MAPS_MAX + 40;
    char *dir = tmpdir_make();
    struct segment *segment, *kept = NULL;
    struct evlog *log;
    unsigned before;

    for (uint64_t n = 1; n <= count; n++) {
        struct segment_info info = { .log_id = evlog_id(f->log),
                                     .number = n,
                                     .first_position = n,
                                     .segment_len = SEGMENT_LEN_MIN };
        uint8_t header[SECTOR_LEN];
        char path[PATH_LEN_MAX];
        int fd;

        segment_header_encode(header, &info);
        assert_int_equal(segment_path(path, dir, n), 0);
        fd = open(path, O_WRONLY | O_CREAT, 0600);
        assert_int_equal(write(fd, header, sizeof header), sizeof header);
        assert_int_equal(ftruncate(fd, SEGMENT_LEN_MIN), 0);
        close(fd);
    }
    before = f->watch.counts.maps - f->watch.counts.unmaps;
    must(f, evlog_open(&f->watch.sys, dir, &log, &f->err));
    for (int round = 0; round < 2; round++)
        for (uint64_t n = 1; n <= count; n++) {
            must(f, evlog_segment(log, n, &segment, &f->err));
            assert_int_equal(segment->info.number, n);
            assert_true(f->watch.counts.maps - f->watch.counts.unmaps <=
                        before + EVLOG_MAPS_MAX + 1); /* and the one kept */
            if (n == 1 && kept == NULL)
                kept = segment_ref(segment);
        }
    assert_true(kept != NULL && kept->info.number == 1); /* still mapped */
    segment_unref(&kept);
    evlog_close(&log);
    assert_int_equal(f->watch.counts.maps - f->watch.counts.unmaps, before);
    tmpdir_remove(&dir);
}

/* ---- reading ----------------------------------------------------------- */

static void
events_come_in_order_up_to_any_watermark(void **state)
{
    struct fixture *f = *state;

    for (uint64_t watermark = 0; watermark <= f->count; watermark++) {
        struct cursor cursor = { address_of(1, SECTOR_LEN), 1, 0 };
        struct event event;
        uint64_t n = 0;
        int rc;

        while ((rc = evlog_next(f->log, &cursor, watermark, &event, &f->err)) >
               0) {
            assert_int_equal(event.position, ++n);
            assert_true(event.record_len == f->len[n]);
            assert_true(cursor.address == f->address[n] + f->len[n]);
            assert_int_equal(cursor.position, n + 1);
        }
        must(f, rc);
        assert_int_equal(n, watermark); /* and none above it */
    }
}

static void
an_event_is_read_by_its_address(void **state)
{
    struct fixture *f = *state;

    for (uint64_t n = 1; n <= f->count; n++) {
        struct commit commit;
        struct event event;

        must(f, evlog_event_at(f->log, f->address[n], &event, &f->err));
        assert_int_equal(event.position, n);
        must(f,
             evlog_commit_at(f->log, f->address[n] - event.commit_back, &commit,
                             &f->err));
        assert_true(commit.first_position <= n &&
                    n < commit.first_position + commit.event_count);
    }
}

static void
an_address_that_leads_nowhere_is_damage(void **state)
{
    struct fixture *f = *state;
    const uint64_t bad[] = {
        ADDRESS_NONE,
        1,
        address_of(0, 4096),
        address_of(1, 0),
        address_of(1, SECTOR_LEN - 1),
        address_of(1, segment_data_end(SEGMENT_LEN_MIN)),
        address_of(1, segment_data_end(SEGMENT_LEN_MIN) + 1),
        address_of(1, SEGMENT_LEN_MIN),
        address_of(1, UINT32_MAX),
        address_of(evlog_segment_count(f->log) + 1, SECTOR_LEN),
        UINT64_MAX,
        f->address[5] + 1,
        f->address[5] - 8,
        address_of(1, SECTOR_LEN), /* a group */
    };
    struct commit commit;
    struct event event;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(evlog_event_at(f->log, bad[i], &event, &f->err),
                         -CAIRN_EDAMAGED);
        assert_int_equal(evlog_commit_at(f->log, bad[i], &commit, &f->err),
                         -CAIRN_EDAMAGED);
    }
}

static void
damage_is_reported_with_segment_and_byte(void **state)
{
    struct fixture *f = *state;
    struct cursor cursor = { address_of(1, SECTOR_LEN), 1, 0 };
    uint64_t bad = f->address[3];
    struct event event;
    char place[64];

    snprintf(place, sizeof place, "%020d.log, byte %u", 1,
             (unsigned)address_offset(bad));
    must(f, evlog_event_at(f->log, bad, &event, &f->err));
    spoil(f, address_offset(bad) + event.record_len - 1);
    evlog_close(&f->log);
    open_log(f);
    /* In its data: links can be followed, but it is not given out. */
    must(f, evlog_event_at(f->log, bad, &event, &f->err));
    for (int i = 1; i < 3; i++)
        assert_int_equal(evlog_next(f->log, &cursor, f->count, &event, &f->err),
                         1);
    assert_int_equal(evlog_next(f->log, &cursor, f->count, &event, &f->err),
                     -CAIRN_EDAMAGED);
    assert_non_null(strstr(f->err.text, place));
    assert_int_equal(cursor.position, 3); /* nothing moved */
    /* In its head. */
    spoil(f, address_offset(bad) + 60);
    evlog_close(&f->log);
    open_log(f);
    assert_int_equal(evlog_event_at(f->log, bad, &event, &f->err),
                     -CAIRN_EDAMAGED);
    assert_non_null(strstr(f->err.text, place));
    assert_int_equal(evlog_next(f->log, &cursor, f->count, &event, &f->err),
                     -CAIRN_EDAMAGED);
}

/* Writes other lengths over those of an event, and makes its group right again;
 * returns what stood there. */
static uint32_t
forge(struct fixture *f, uint64_t event, size_t field, uint32_t value)
{
    const char *path = segment_file(f, 1);
    const struct le32 disk = le32_of(value);
    struct group_info group;
    struct le32 before;
    size_t file_len;
    uint8_t *data = file_read(path, &file_len), *header = data + SECTOR_LEN;

    assert_int_equal(group_decode(header, file_len - SECTOR_LEN,
                                  evlog_id(f->log), address_of(1, SECTOR_LEN),
                                  &group),
                     0);
    assert_true(address_offset(f->address[event]) <
                SECTOR_LEN + group.group_len);
    memcpy(&before, data + address_offset(f->address[event]) + field,
           sizeof before);
    memcpy(data + address_offset(f->address[event]) + field, &disk,
           sizeof disk);
    group_encode(header, evlog_id(f->log), &group);
    patch(path, SECTOR_LEN, header, group.group_len);
    free(data);
    evlog_close(&f->log);
    open_log(f);
    return le32_get(before);
}

static void
a_right_checksum_does_not_vouch_for_bounds(void **state)
{
    struct fixture *f = *state;
    const uint32_t data_len = f->len[2] - 200, event_kind = RECORD_EVENT << 24;
    const struct {
        size_t field;
        uint32_t value;
    } forgeries[] = {
        { offsetof(struct event_record, data_len), UINT32_MAX },
        { offsetof(struct event_record, data_len), data_len },
        { offsetof(struct event_record, meta_len), UINT32_MAX },
        { offsetof(struct event_record, position), 3 },
        { offsetof(struct event_record, stream_len), UINT32_MAX },
        { offsetof(struct event_record, stream_len), 3 | 1 << 8 | 9u << 24 },
        { offsetof(struct event_record, tags_len), 8 },
        /* Behind the end of the segment; behind that of the group; no kind. */
        { offsetof(struct record_prefix, shape), event_kind | 0xffffff },
        { offsetof(struct record_prefix, shape), event_kind | 4096 },
        { offsetof(struct record_prefix, shape), 9u << 24 | 16 },
        { offsetof(struct record_prefix, shape), event_kind | 1 },
        { offsetof(struct record_prefix, shape), 0 },
    };
    struct event event;

    for (size_t i = 0; i < sizeof forgeries / sizeof *forgeries; i++) {
        struct cursor cursor = { address_of(1, SECTOR_LEN), 1, 0 };
        uint32_t right = forge(f, 2, forgeries[i].field, forgeries[i].value);

        assert_int_equal(evlog_next(f->log, &cursor, f->count, &event, &f->err),
                         1);
        assert_true(cursor.checked_to > f->address[2]); /* the group is right */
        assert_int_equal(evlog_next(f->log, &cursor, f->count, &event, &f->err),
                         -CAIRN_EDAMAGED);
        assert_int_equal(cursor.position, 2);
        (void)forge(f, 2, forgeries[i].field, right);
        assert_int_equal(evlog_next(f->log, &cursor, f->count, &event, &f->err),
                         1);
    }
}

static void
data_that_ends_before_the_watermark_is_damage(void **state)
{
    struct fixture *f = *state;
    struct cursor cursor = { f->address[f->count], f->count, 0 };
    struct event event;

    assert_int_equal(evlog_next(f->log, &cursor, f->count + 1, &event, &f->err),
                     1);
    assert_int_equal(evlog_next(f->log, &cursor, f->count + 1, &event, &f->err),
                     -CAIRN_EDAMAGED);
    assert_non_null(strstr(f->err.text, "ends before the watermark"));
}

/* ---- ranges ------------------------------------------------------------ */

/* Counts the events in a range, which must be those from `first` on. */
static uint32_t
walk_range(const struct log_range *range, uint64_t first)
{
    uint32_t count = 0;
    size_t at = 0;
    enum record_kind last = RECORD_PAD;

    while (at < range->len) {
        enum record_kind kind;
        struct event event;
        uint32_t len;

        assert_int_equal(
            record_check(range->data + at, range->len - at, &kind, &len), 0);
        if (kind == RECORD_EVENT) {
            assert_int_equal(
                event_decode_whole(range->data + at, range->len - at, &event),
                0);
            assert_int_equal(event.position, first + count);
            count++;
        }
        last = kind;
        at += len;
    }
    /* It ends behind an event, or behind the whole group. */
    assert_true(last == RECORD_EVENT ||
                (range->data + at - range->segment->data) % SECTOR_LEN == 0);
    assert_int_equal(count, range->event_count);
    return count;
}

/* Whether event `n`, or its whole group if that begins with it, is too much
 * for a range of `count` events that begins at `start`. */
static bool
is_too_much(const struct fixture *f, uint64_t n, uint64_t start, uint32_t count,
            uint64_t watermark, size_t len_max, uint32_t event_max)
{
    const struct group_info *group = &f->group[n];
    uint64_t end = group->address + group->group_len;

    if (count == event_max || n > watermark ||
        address_segment(f->address[n]) != address_segment(start) ||
        f->address[n] + f->len[n] - start > len_max)
        return true;
    return group->first_position == n &&
        (end - start > len_max || group->last_position > watermark ||
         group->last_position - n >= event_max - count);
}

/* Reads everything in ranges, and checks each; how many of them end behind a
 * whole group. */
static uint64_t
read_ranges(struct fixture *f, uint64_t watermark, size_t len_max,
            uint32_t event_max)
{
    struct cursor cursor = { address_of(1, SECTOR_LEN), 1, 0 };
    struct log_range range;
    uint64_t n = 0, whole = 0;
    int rc;

    while ((rc = evlog_range(f->log, &cursor, watermark, len_max, event_max,
                             &range, &f->err)) > 0) {
        uint64_t start = address_of(address_segment(f->address[n + 1]),
                                    range.data - range.segment->data);
        const struct group_info *group;

        assert_true(walk_range(&range, n + 1) <= event_max);
        assert_true(range.len <= len_max || range.event_count == 1);
        n += range.event_count;
        group = &f->group[n];
        assert_int_equal(cursor.position, n + 1);
        assert_int_equal(cursor.address, start + range.len);
        if (cursor.address == group->address + group->group_len) {
            whole++;
        } else {
            assert_int_equal(cursor.address, f->address[n] + f->len[n]);
            /* Of a group that does not fit, nothing comes behind others. */
            if (n < f->count && f->group[n + 1].number == group->number)
                assert_true(f->group[n + 1 - range.event_count].number ==
                            group->number);
        }
        assert_true(n == f->count ||
                    is_too_much(f, n + 1, start, range.event_count, watermark,
                                len_max, event_max));
        segment_unref(&range.segment);
    }
    must(f, rc);
    assert_int_equal(n, watermark);
    return whole;
}

static void
ranges_keep_to_every_limit(void **state)
{
    static const size_t lens[] = { 1, 200, 1000, 5000, 65536, 1 << 20 };
    static const uint32_t events[] = { 1, 2, 3, 7, 1000 };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++)
        for (size_t e = 0; e < sizeof events / sizeof *events; e++)
            for (uint64_t w = 0; w <= f->count; w += 31)
                (void)read_ranges(f, w, lens[i], events[e]);
    /* All of it: a range for each segment, and one for the first group of it,
     * which the cursor meets from the segment before. */
    assert_true(read_ranges(f, f->count, SIZE_MAX, UINT32_MAX) >=
                evlog_segment_count(f->log));
}

static void
a_range_stays_mapped_as_long_as_it_is_held(void **state)
{
    struct fixture *f = *state;
    struct cursor cursor = { address_of(1, SECTOR_LEN), 1, 0 };
    struct log_range range;

    assert_int_equal(
        evlog_range(f->log, &cursor, f->count, 100000, 100, &range, &f->err),
        1);
    evlog_close(&f->log);
    assert_true(walk_range(&range, 1) > 1);
    segment_unref(&range.segment);
    assert_int_equal(f->watch.counts.maps, f->watch.counts.unmaps);
    open_log(f);
}

static void
a_range_ends_before_damage_and_the_next_one_says_so(void **state)
{
    struct fixture *f = *state;
    struct cursor cursor = { address_of(1, SECTOR_LEN), 1, 0 };
    struct log_range range;

    spoil(f, address_offset(f->address[4]) + 60);
    evlog_close(&f->log);
    open_log(f);
    assert_int_equal(
        evlog_range(f->log, &cursor, f->count, 100000, 100, &range, &f->err),
        1);
    assert_int_equal(walk_range(&range, 1), 3);
    segment_unref(&range.segment);
    assert_int_equal(
        evlog_range(f->log, &cursor, f->count, 100000, 100, &range, &f->err),
        -CAIRN_EDAMAGED);
    assert_int_equal(cursor.position, 4);
}

static void
a_range_does_not_pass_over_padding_that_nobody_checked(void **state)
{
    struct fixture *f = *state;
    struct log_range range;
    uint64_t n = 1;
    struct cursor cursor;

    /* An event with padding behind it, at the end of a group. */
    while (f->group[n].number == f->group[n + 1].number ||
           f->address[n] + f->len[n] ==
               f->group[n].address + f->group[n].group_len)
        n++;
    assert_int_equal(address_segment(f->address[n + 1]), 1);
    cursor = (struct cursor){ f->address[n] + f->len[n], n + 1, 0 };
    spoil(f, address_offset(cursor.address));
    evlog_close(&f->log);
    open_log(f);
    assert_int_equal(
        evlog_range(f->log, &cursor, f->count, 100000, 100, &range, &f->err),
        -CAIRN_EDAMAGED);
}

static void
a_group_with_another_position_than_its_place_is_damage(void **state)
{
    struct fixture *f = *state;
    struct cursor cursor = { address_of(1, SECTOR_LEN), 2, 0 };
    struct log_range range;

    assert_int_equal(
        evlog_range(f->log, &cursor, f->count, 100000, 100, &range, &f->err),
        -CAIRN_EDAMAGED);
    assert_non_null(strstr(f->err.text, "another position"));
    assert_int_equal(cursor.position, 2);
}

/* ---- while it grows ---------------------------------------------------- */

static void
a_log_that_grows_is_read_on(void **state)
{
    struct fixture *f = *state;
    struct cursor cursor = { address_of(1, SECTOR_LEN), 1, 0 };
    uint64_t segments = evlog_segment_count(f->log), n = 0;
    char stream[16];

    for (int i = 0; i < 200; i++) {
        uint64_t watermark;
        struct event event;
        int rc;

        snprintf(stream, sizeof stream, "s-%d", i);
        (void)logfix_put(&f->fix, stream, (uint32_t)(i * 37 % 2000));
        watermark = appender_watermark(f->fix.appender);
        while ((rc = evlog_next(f->log, &cursor, watermark, &event, &f->err)) >
               0)
            assert_int_equal(event.position, ++n);
        must(f, rc);
        assert_int_equal(n, watermark);
        logfix_sync(&f->fix);
    }
    assert_true(evlog_segment_count(f->log) > segments);
}

static void
a_later_segment_is_reached_by_its_number(void **state)
{
    struct fixture *f = *state;
    struct evlog *late;
    uint64_t before = evlog_segment_count(f->log), after;

    fill(f, 200);
    must(f, evlog_open(&f->watch.sys, logfix_dir(&f->fix), &late, &f->err));
    after = evlog_segment_count(late);
    assert_true(after >= before + 2);
    assert_int_equal(evlog_segment_count(f->log), before);
    must(f, evlog_reach_segment(f->log, after, &f->err));
    assert_int_equal(evlog_segment_count(f->log), after);
    for (uint64_t n = 1; n <= after; n++)
        assert_int_equal(evlog_segment_first(f->log, n),
                         evlog_segment_first(late, n));
    assert_int_equal(evlog_reach_segment(f->log, after + 1, &f->err),
                     -CAIRN_EDAMAGED);
    assert_int_equal(evlog_look_for_segment(f->log, 1, &f->err), 0);
    assert_int_equal(evlog_look_for_segment(f->log, 1 << 30, &f->err), 0);
    evlog_close(&late);
}

static void
what_cannot_be_read_is_no_end(void **state)
{
    struct fixture *f = *state;
    struct cursor cursor = { address_of(1, SECTOR_LEN), 1, 0 };
    struct event event;

    evlog_close(&f->log);
    open_log(f);
    watchsys_fail(&f->watch, "open", NULL, -EMFILE);
    assert_int_equal(evlog_next(f->log, &cursor, f->count, &event, &f->err),
                     -EMFILE);
    watchsys_fail(&f->watch, "map", NULL, -ENOMEM);
    assert_int_equal(evlog_next(f->log, &cursor, f->count, &event, &f->err),
                     -ENOMEM);
    watchsys_fail(&f->watch, NULL, NULL, 0);
    assert_int_equal(evlog_next(f->log, &cursor, f->count, &event, &f->err), 1);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_is_no_log_cannot_be_opened),
        TEST(a_missing_segment_is_noticed),
        TEST(the_first_segment_begins_at_position_1),
        TEST(a_segment_of_another_log_is_refused_when_it_is_read),
        TEST(only_the_last_segment_is_opened_at_first),
        TEST(no_more_segments_are_mapped_than_allowed),
        TEST(events_come_in_order_up_to_any_watermark),
        TEST(an_event_is_read_by_its_address),
        TEST(an_address_that_leads_nowhere_is_damage),
        TEST(damage_is_reported_with_segment_and_byte),
        TEST(a_right_checksum_does_not_vouch_for_bounds),
        TEST(data_that_ends_before_the_watermark_is_damage),
        TEST(ranges_keep_to_every_limit),
        TEST(a_range_stays_mapped_as_long_as_it_is_held),
        TEST(a_range_ends_before_damage_and_the_next_one_says_so),
        TEST(a_range_does_not_pass_over_padding_that_nobody_checked),
        TEST(a_group_with_another_position_than_its_place_is_damage),
        TEST(a_log_that_grows_is_read_on),
        TEST(a_later_segment_is_reached_by_its_number),
        TEST(what_cannot_be_read_is_no_end),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
