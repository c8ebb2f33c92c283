/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/cmocka.h"

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text.h"
#include "lib/logfix.h"
#include "lib/tmpdir.h"

struct fixture {
    struct logfix fix;
    struct reader *reader; /* opened while the log was empty */
    struct err err;
};

static void
must(struct fixture *f, int rc)
{
    if (rc < 0)
        fail_msg("%s", f->err.text);
}

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    logfix_open(&f->fix, &sys_real, &logfix_small);
    appender_serve(f->fix.appender);
    must(f,
         reader_open(&sys_real, logfix_dir(&f->fix), logfix_control(&f->fix),
                     &f->reader, &f->err));
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    reader_close(&f->reader);
    if (f->fix.appender != NULL)
        logfix_close(&f->fix);
    else
        tmpdir_remove(&f->fix.dir);
    free(f);
    return 0;
}

static uint64_t
watermark_of(struct fixture *f)
{
    uint64_t watermark;

    must(f, reader_watermark(f->reader, &watermark, &f->err));
    return watermark;
}

/* The position of the newest event of a key at a watermark; 0: none. */
static uint64_t
find_at(struct fixture *f, enum key_kind kind, const char *name,
        uint64_t watermark)
{
    struct span span = { name, (uint32_t)strlen(name) };
    uint64_t address;
    struct event event;
    int rc = reader_find(f->reader, kind, span, watermark, &address, &event,
                         &f->err);

    must(f, rc);
    return rc == 0 ? 0 : event.position;
}

static void
nothing_is_seen_before_it_is_durable(void **state)
{
    struct fixture *f = *state;

    (void)logfix_put(&f->fix, "s", 10);
    assert_int_equal(watermark_of(f), 0);
    assert_int_equal(find_at(f, KEY_STREAM, "s", 0), 0);
    appender_close_group(f->fix.appender);
    assert_int_equal(watermark_of(f), 0);
    must(f, appender_sync(f->fix.appender, &f->err));
    assert_int_equal(watermark_of(f), 0);
    must(f, appender_settle(f->fix.appender, &f->err));
    assert_int_equal(watermark_of(f), 1);
    assert_int_equal(find_at(f, KEY_STREAM, "s", 1), 1);
    assert_int_equal(find_at(f, KEY_STREAM, "t", 1), 0);
}

static void
the_newest_event_at_any_earlier_watermark_is_found(void **state)
{
    static const char *const streams[] = { "a", "b", "c" };
    struct fixture *f = *state;
    uint64_t stream_of[301] = { 0 }, tagged[301] = { 0 };

    for (uint64_t n = 1; n <= 300; n++) {
        uint64_t s = n * n % 7 % 3;
        struct event_text text = { streams[s], "T", "x", NULL, { NULL } };

        if (n * n % 11 == 4) {
            text.tags[0] = "t";
            tagged[n] = 1;
        }
        stream_of[n] = s;
        (void)logfix_append(&f->fix, uuid_v4(), NULL, 0, &text, 1);
        if (n % 5 == 0)
            logfix_sync(&f->fix);
    }
    assert_int_equal(watermark_of(f), 300);
    for (uint64_t watermark = 0; watermark <= 300; watermark++) {
        uint64_t newest[3] = { 0 }, tag = 0;

        for (uint64_t n = 1; n <= watermark; n++) {
            newest[stream_of[n]] = n;
            tag = tagged[n] ? n : tag;
        }
        for (int s = 0; s < 3; s++)
            assert_int_equal(find_at(f, KEY_STREAM, streams[s], watermark),
                             newest[s]);
        assert_int_equal(find_at(f, KEY_TAG, "t", watermark), tag);
    }
}

static void
an_old_handle_sees_new_segments_and_tables(void **state)
{
    struct fixture *f = *state;
    uint64_t generation = control_table_generation(reader_control(f->reader));
    char stream[24];

    for (unsigned i = 0; i < 4000; i++) {
        snprintf(stream, sizeof stream, "s-%u", i);
        (void)logfix_put(&f->fix, stream, 50);
        if (i % 97 == 0)
            logfix_sync(&f->fix);
    }
    logfix_sync(&f->fix);
    assert_int_equal(evlog_segment_count(reader_log(f->reader)), 1);
    assert_int_equal(watermark_of(f), 4000);
    assert_true(control_table_generation(reader_control(f->reader)) >
                generation);
    assert_int_equal(find_at(f, KEY_STREAM, "s-3999", 4000), 4000);
    assert_true(evlog_segment_count(reader_log(f->reader)) > 4);
    for (unsigned i = 0; i < 4000; i++) {
        snprintf(stream, sizeof stream, "s-%u", i);
        assert_int_equal(find_at(f, KEY_STREAM, stream, 4000), i + 1);
    }
}

static void
a_handle_goes_on_after_the_writer_was_restarted(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 3; i++) {
        (void)logfix_put(&f->fix, "s", 10);
        logfix_sync(&f->fix);
        logfix_stop(&f->fix);
        assert_int_equal(watermark_of(f), i + 1);
        assert_int_equal(control_state(reader_control(f->reader)),
                         CONTROL_STOPPED);
        assert_int_equal(find_at(f, KEY_STREAM, "s", (uint64_t)i + 1), i + 1);
        if (logfix_reopen(&f->fix) < 0)
            fail_msg("%s", f->fix.err.text);
    }
}

static void
what_is_taken_back_makes_a_handle_stale(void **state)
{
    struct fixture *f = *state;
    struct control *control;
    uint64_t watermark = 77;

    (void)logfix_put(&f->fix, "s", 10);
    logfix_sync(&f->fix);
    must(f,
         control_create(&sys_real, logfix_control(&f->fix), uuid_v4(), &control,
                        &f->err));
    assert_int_equal(reader_watermark(f->reader, &watermark, &f->err), -ESTALE);
    assert_int_equal(watermark, 77);
    control_close(&control);
}

static void
a_log_without_its_writer_cannot_be_opened(void **state)
{
    struct fixture *f = *state;
    struct reader *reader = NULL;
    struct control *control;
    const char *dir = logfix_dir(&f->fix);
    const char *other = tmpdir_path(f->fix.dir, "other");

    assert_int_equal(reader_open(&sys_real, dir,
                                 tmpdir_path(f->fix.dir, "none"), &reader,
                                 &f->err),
                     -ENOENT);
    assert_int_equal(reader_open(&sys_real, tmpdir_path(f->fix.dir, "none"),
                                 logfix_control(&f->fix), &reader, &f->err),
                     -ENOENT);
    must(f, control_create(&sys_real, other, uuid_v4(), &control, &f->err));
    control_close(&control);
    assert_int_equal(reader_open(&sys_real, dir, other, &reader, &f->err),
                     -CAIRN_EOTHERLOG);
    assert_null(reader);
    reader_close(&reader);
}

static void
a_version_is_reached_from_the_newest(void **state)
{
    struct fixture *f = *state;
    struct key key = { KEY_STREAM, { "s", 1 }, 0 };
    uint64_t address, watermark;
    struct event event;

    for (int i = 0; i < 500; i++)
        (void)logfix_put(&f->fix, "s", 100);
    logfix_sync(&f->fix);
    watermark = watermark_of(f);
    assert_int_equal(reader_find(f->reader, KEY_STREAM, key.name, watermark,
                                 &address, &event, &f->err),
                     1);
    for (uint64_t version = 1; version <= 500; version++) {
        uint64_t found;

        must(f,
             chain_find(reader_source(f->reader), &key, address, version,
                        &found, &event, NULL, &f->err));
        assert_int_equal(event.version, version);
        assert_int_equal(event.position, version);
    }
}

/* ---- a process beside the writer --------------------------------------- */

#define RACE_EVENTS 4000u
#define RACE_STREAMS 3000u

/* Looks at random events until all are there; the exit code of the child. */
static int
read_on(const char *dir, const char *control_path)
{
    struct reader *reader;
    uint64_t random = 7, watermark = 0;
    struct err err;
    int rc = reader_open(&sys_real, dir, control_path, &reader, &err);

    while (rc == 0 && watermark < RACE_EVENTS) {
        struct cursor cursor;
        struct event event;
        char name[NAME_LEN_MAX];
        struct span stream = { name, 0 };
        uint64_t position, address;

        rc = reader_watermark(reader, &watermark, &err);
        if (rc < 0 || watermark == 0)
            continue;
        random = random * UINT64_C(6364136223846793005) + 1;
        position = (random >> 33) % watermark + 1;
        rc = evlog_seek(reader_log(reader), position, watermark, &cursor, &err);
        if (rc == 0)
            rc = evlog_next(reader_log(reader), &cursor, watermark, &event,
                            &err);
        if (rc < 0)
            break;
        memcpy(name, event.stream.p, event.stream.len);
        stream.len = event.stream.len;
        rc = reader_find(reader, KEY_STREAM, stream, watermark, &address,
                         &event, &err);
        if (rc == 0 ||
            (rc > 0 &&
             (event.position < position || event.position > watermark)))
            rc = err_set(&err, -EIO, "the event at %u of %u is not found",
                         (unsigned)position, (unsigned)watermark);
        rc = rc < 0 ? rc : 0;
    }
    if (rc < 0)
        fprintf(stderr, "%s\n", err.text);
    reader_close(&reader);
    return rc < 0;
}

static void
a_process_beside_the_writer_misses_nothing(void **state)
{
    struct fixture *f = *state;
    const char *dir = logfix_dir(&f->fix);
    const char *control_path = logfix_control(&f->fix);
    char stream[24];
    int status;
    pid_t child = fork();

    if (child == 0)
        _exit(read_on(dir, control_path));
    for (unsigned i = 0; i < RACE_EVENTS; i++) {
        snprintf(stream, sizeof stream, "s-%u", i * 7919 % RACE_STREAMS);
        (void)logfix_put(&f->fix, stream, i % 500);
        if (i % 11 == 0)
            logfix_sync(&f->fix);
    }
    logfix_sync(&f->fix);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_true(control_table_generation(reader_control(f->reader)) > 1);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_seen_before_it_is_durable),
        TEST(the_newest_event_at_any_earlier_watermark_is_found),
        TEST(an_old_handle_sees_new_segments_and_tables),
        TEST(a_handle_goes_on_after_the_writer_was_restarted),
        TEST(what_is_taken_back_makes_a_handle_stale),
        TEST(a_log_without_its_writer_cannot_be_opened),
        TEST(a_version_is_reached_from_the_newest),
        TEST(a_process_beside_the_writer_misses_nothing),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
