/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/cmocka.h"

#include <errno.h>
#include <unistd.h>

#include "lib/logfix.h"
#include "lib/tmpdir.h"
#include "lib/watchsys.h"

#define EVENTS 160u
#define EVENTS_MAX (EVENTS + 8u)

/* A log of several segments, written with a clock of the test's own. */
struct fixture {
    struct watchsys watch;
    struct logfix fix;
    struct evlog *log;
    uint64_t count;
    uint64_t address[EVENTS_MAX], time_us[EVENTS_MAX];
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

/* One more commit of 1 to 3 events; every second one closes its group. */
static void
append(struct fixture *f, uint64_t i, uint32_t data_len)
{
    char *data = malloc(data_len + 1);
    struct event_text texts[3];

    memset(data, 'd', data_len);
    data[data_len] = '\0';
    for (int e = 0; e < 3; e++)
        texts[e] = (struct event_text){ "s", "T", data, NULL, { NULL } };
    f->watch.now_us += i % 3; /* often the same time */
    (void)logfix_append(&f->fix, uuid_v4(), NULL, 0, texts,
                        (uint32_t)(i % 3 + 1));
    if (i % 2)
        logfix_sync(&f->fix);
    free(data);
}

static void
note_places(struct fixture *f)
{
    struct cursor cursor = { address_of(1, SECTOR_LEN), 1, 0 };
    struct evlog *log;
    struct event event;

    f->count = appender_watermark(f->fix.appender);
    must(f, evlog_open(&sys_real, logfix_dir(&f->fix), &log, &f->err));
    while (evlog_next(log, &cursor, f->count, &event, &f->err) > 0) {
        f->address[event.position] = cursor.address - event.record_len;
        f->time_us[event.position] = event.time_us;
    }
    assert_int_equal(cursor.position, f->count + 1);
    evlog_close(&log);
}

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    watchsys_begin(&f->watch, &sys_real);
    f->watch.now_us = 1000000;
    logfix_open(&f->fix, &f->watch.sys, &options);
    for (uint64_t i = 0; appender_watermark(f->fix.appender) + 4 < EVENTS; i++)
        append(f, i, (uint32_t)(i * 631 % 5000));
    logfix_sync(&f->fix);
    note_places(f);
    must(f, evlog_open(&sys_real, logfix_dir(&f->fix), &f->log, &f->err));
    *state = f;
    return evlog_segment_count(f->log) >= 4 ? 0 : -1;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    evlog_close(&f->log);
    if (f->fix.appender != NULL)
        logfix_close(&f->fix);
    else
        tmpdir_remove(&f->fix.dir);
    watchsys_end(&f->watch);
    free(f);
    return 0;
}

static void
reopen(struct fixture *f)
{
    evlog_close(&f->log);
    must(f, evlog_open(&sys_real, logfix_dir(&f->fix), &f->log, &f->err));
}

/* Takes the footers from the sealed segments, as if they had none yet. */
static void
unseal(struct fixture *f)
{
    static const uint8_t zeros[SECTOR_LEN];

    logfix_stop(&f->fix);
    for (uint64_t n = 1; n < evlog_segment_count(f->log); n++) {
        char name[64];
        const char *path;
        uint8_t *data;
        size_t len;

        snprintf(name, sizeof name, "%020llu.log",
                 (unsigned long long)evlog_segment_first(f->log, n));
        path = tmpdir_path(logfix_dir(&f->fix), name);
        data = file_read(path, &len);
        memcpy(data + segment_data_end(len), zeros, sizeof zeros);
        (void)unlink(path);
        file_write(path, data, len);
        free(data);
    }
    reopen(f);
}

/* ---- positions --------------------------------------------------------- */

/* Every position at every watermark, in an order that jumps about. */
static void
seek_everywhere(struct fixture *f, uint64_t step)
{
    for (uint64_t watermark = 0; watermark <= f->count; watermark += step)
        for (uint64_t i = 0; i <= watermark; i++) {
            uint64_t position = i * 61 % (watermark + 1) + 1;
            struct cursor cursor;
            struct event event;
            int rc;

            must(f, evlog_seek(f->log, position, watermark, &cursor, &f->err));
            assert_int_equal(cursor.position, position);
            rc = evlog_next(f->log, &cursor, watermark, &event, &f->err);
            must(f, rc);
            assert_int_equal(rc, position <= watermark);
            if (rc > 0) {
                assert_int_equal(event.position, position);
                assert_true(cursor.address ==
                            f->address[position] + event.record_len);
            }
        }
}

static void
every_position_is_found_at_every_watermark(void **state)
{
    struct fixture *f = *state;
    struct segment *segment;

    must(f, evlog_segment(f->log, 1, &segment, &f->err));
    assert_true(segment->sealed);
    seek_everywhere(f, 1);
}

static void
every_position_is_found_without_footers(void **state)
{
    struct fixture *f = *state;
    struct segment *segment;

    unseal(f);
    must(f, evlog_segment(f->log, 1, &segment, &f->err));
    assert_false(segment->sealed);
    seek_everywhere(f, 1);
}

static void
positions_outside_are_refused(void **state)
{
    struct fixture *f = *state;
    struct cursor cursor = { 7, 7, 0 };

    assert_int_equal(evlog_seek(f->log, 0, f->count, &cursor, &f->err),
                     -EINVAL);
    assert_int_equal(
        evlog_seek(f->log, f->count + 2, f->count, &cursor, &f->err), -EINVAL);
    assert_int_equal(evlog_seek(f->log, 2, 0, &cursor, &f->err), -EINVAL);
    assert_int_equal(evlog_seek(f->log, 0, 0, &cursor, &f->err), -EINVAL);
    assert_int_equal(cursor.address, 7);
}

static void
a_cursor_behind_the_last_goes_on_when_there_is_more(void **state)
{
    struct fixture *f = *state;
    struct cursor cursor;
    struct event event;
    uint64_t segments = evlog_segment_count(f->log);

    for (uint64_t i = 0; evlog_segment_count(f->log) < segments + 2; i++) {
        uint64_t watermark = appender_watermark(f->fix.appender);

        must(f, evlog_seek(f->log, watermark + 1, watermark, &cursor, &f->err));
        assert_int_equal(
            evlog_next(f->log, &cursor, watermark, &event, &f->err), 0);
        append(f, i, 3000);
        logfix_sync(&f->fix);
        assert_int_equal(
            evlog_next(f->log, &cursor, watermark + 1, &event, &f->err), 1);
        assert_int_equal(event.position, watermark + 1);
    }
}

static void
a_position_above_the_watermark_is_not_touched(void **state)
{
    struct fixture *f = *state;
    uint64_t watermark = f->count - 7;
    uint8_t *data;
    size_t len;
    char name[64];
    struct cursor cursor;

    /* What is not durable yet may be anything: it must not be looked at. */
    unseal(f);
    snprintf(name, sizeof name, "%020llu.log",
             (unsigned long long)evlog_segment_first(
                 f->log, evlog_segment_count(f->log)));
    watermark = evlog_segment_first(f->log, evlog_segment_count(f->log)) + 1;
    data = file_read(tmpdir_path(logfix_dir(&f->fix), name), &len);
    memset(data + address_offset(f->address[watermark]) + 8192, 0xff,
           len - address_offset(f->address[watermark]) - 8192);
    file_write(tmpdir_path(logfix_dir(&f->fix), name), data, len);
    free(data);
    reopen(f);
    for (uint64_t position = 1; position <= watermark; position++)
        must(f, evlog_seek(f->log, position, watermark, &cursor, &f->err));
}

static void
an_index_that_leads_astray_is_damage(void **state)
{
    struct fixture *f = *state;
    struct segment *segment;
    struct index_entry *entry;
    struct cursor cursor;
    uint64_t position;
    int rc;

    must(f, evlog_seek(f->log, 1, f->count, &cursor, &f->err));
    must(f, evlog_segment(f->log, 1, &segment, &f->err));
    /* In memory: the file's would have to carry the right checksum. */
    entry = calloc(1, sizeof *entry);
    segment->index = entry;
    segment->end.index_count = 1;
    for (uint32_t offset = 0; offset < SEGMENT_LEN_MIN + 4096; offset += 24) {
        *entry = (struct index_entry){ le64_of(2), le32_of(offset) };
        rc = evlog_seek(f->log, 3, f->count, &cursor, &f->err);
        if (rc == 0)
            assert_int_equal(cursor.position, 3);
        else
            assert_int_equal(rc, -CAIRN_EDAMAGED);
        rc = evlog_seek_time(f->log, f->time_us[3], f->count, &position,
                             &f->err);
        assert_true(rc == 0 || rc == -CAIRN_EDAMAGED);
    }
    segment->end.index_count = 0;
    free(entry);
}

/* ---- times ------------------------------------------------------------- */

static uint64_t
slow_seek_time(const struct fixture *f, uint64_t time_us, uint64_t watermark)
{
    uint64_t position = 1;

    while (position <= watermark && f->time_us[position] < time_us)
        position++;
    return position;
}

static void
seek_all_times(struct fixture *f)
{
    for (uint64_t watermark = 0; watermark <= f->count; watermark += 3)
        for (uint64_t time_us = f->time_us[1] - 2;
             time_us <= f->time_us[f->count] + 2; time_us += 1) {
            uint64_t position;

            must(f,
                 evlog_seek_time(f->log, time_us, watermark, &position,
                                 &f->err));
            if (position != slow_seek_time(f, time_us, watermark))
                fail_msg("time %u, watermark %u: position %u, not %u",
                         (unsigned)time_us, (unsigned)watermark,
                         (unsigned)position,
                         (unsigned)slow_seek_time(f, time_us, watermark));
        }
}

static void
every_time_is_found_at_every_watermark(void **state)
{
    seek_all_times(*state);
}

static void
every_time_is_found_without_footers(void **state)
{
    unseal(*state);
    seek_all_times(*state);
}

static void
times_far_away_are_before_or_behind_everything(void **state)
{
    struct fixture *f = *state;
    uint64_t position;

    must(f, evlog_seek_time(f->log, 0, f->count, &position, &f->err));
    assert_int_equal(position, 1);
    must(f, evlog_seek_time(f->log, UINT64_MAX, f->count, &position, &f->err));
    assert_int_equal(position, f->count + 1);
}

static void
times_are_found_while_the_log_grows(void **state)
{
    struct fixture *f = *state;
    uint64_t segments = evlog_segment_count(f->log);

    for (uint64_t i = 0; evlog_segment_count(f->log) < segments + 2; i++) {
        uint64_t before = appender_watermark(f->fix.appender), position;

        f->watch.now_us += 10;
        append(f, i, 2000);
        logfix_sync(&f->fix);
        must(f,
             evlog_seek_time(f->log, f->watch.now_us,
                             appender_watermark(f->fix.appender), &position,
                             &f->err));
        assert_int_equal(position, before + 1);
    }
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(every_position_is_found_at_every_watermark),
        TEST(every_position_is_found_without_footers),
        TEST(positions_outside_are_refused),
        TEST(a_cursor_behind_the_last_goes_on_when_there_is_more),
        TEST(a_position_above_the_watermark_is_not_touched),
        TEST(an_index_that_leads_astray_is_damage),
        TEST(every_time_is_found_at_every_watermark),
        TEST(every_time_is_found_without_footers),
        TEST(times_far_away_are_before_or_behind_everything),
        TEST(times_are_found_while_the_log_grows),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
