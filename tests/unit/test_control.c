/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/cmocka.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "lib/tmpdir.h"
#include "lib/watchsys.h"
#include "store/control.h"

struct fixture {
    struct watchsys watch;
    char *dir;
    const char *path;
    struct uuid log_id;
    struct control *writer;
    struct err err;
};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    watchsys_begin(&f->watch, &sys_real);
    f->dir = tmpdir_make();
    f->path = tmpdir_path(f->dir, "control");
    f->log_id = uuid_v4();
    *state = f;
    return control_create(&f->watch.sys, f->path, f->log_id, &f->writer,
                          &f->err);
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    control_close(&f->writer);
    watchsys_end(&f->watch);
    tmpdir_remove(&f->dir);
    free(f);
    return 0;
}

static void
a_new_page_is_recovering_and_empty(void **state)
{
    struct fixture *f = *state;
    struct control *reader;

    assert_int_equal(control_open(&f->watch.sys, f->path, &reader, &f->err), 0);
    assert_true(uuid_equal(control_log_id(reader), f->log_id));
    assert_int_equal(control_state(reader), CONTROL_RECOVERING);
    assert_int_equal(control_watermark(reader), 0);
    assert_int_equal(control_table_generation(reader), 0);
    for (int i = 0; i < COUNT_COUNTERS; i++)
        assert_int_equal(control_counter(reader, (enum control_counter)i), 0);
    control_close(&reader);
    assert_null(reader);
    control_close(&reader);
}

static void
what_the_writer_says_the_reader_sees(void **state)
{
    struct fixture *f = *state;
    struct control *reader;

    assert_int_equal(control_open(&f->watch.sys, f->path, &reader, &f->err), 0);
    control_set_state(f->writer, CONTROL_SERVING);
    control_set_watermark(f->writer, 17, 1234);
    control_set_table_generation(f->writer, 3);
    control_set_epoch(f->writer, 99);
    control_set_started(f->writer, 4711, 5678);
    control_count(f->writer, COUNT_EVENTS, 5);
    control_count(f->writer, COUNT_EVENTS, 6);
    control_count(f->writer, COUNT_CHECKPOINTS, 1);
    assert_int_equal(control_state(reader), CONTROL_SERVING);
    assert_int_equal(control_watermark(reader), 17);
    assert_int_equal(control_time_us(reader), 1234);
    assert_int_equal(control_table_generation(reader), 3);
    assert_int_equal(control_epoch(reader), 99);
    assert_int_equal(control_writer_pid(reader), 4711);
    assert_int_equal(control_started_us(reader), 5678);
    assert_int_equal(control_counter(reader, COUNT_EVENTS), 11);
    assert_int_equal(control_counter(reader, COUNT_CHECKPOINTS), 1);
    control_close(&reader);
}

static uint64_t
word_at(const uint8_t *data, size_t offset)
{
    struct le64 word;

    memcpy(&word, data + offset, sizeof word);
    return le64_get(word);
}

static void
the_fields_lie_where_the_format_says(void **state)
{
    struct fixture *f = *state;
    size_t len;
    uint8_t *data;

    control_set_state(f->writer, CONTROL_NO_SPACE);
    control_set_watermark(f->writer, 17, 1234);
    control_set_epoch(f->writer, 99);
    control_set_table_generation(f->writer, 3);
    control_set_started(f->writer, 4711, 5678);
    for (uint64_t i = 0; i < COUNT_COUNTERS; i++)
        control_count(f->writer, (enum control_counter)i, 100 + i);
    data = file_read(f->path, &len);
    assert_int_equal(len, CONTROL_LEN);
    assert_memory_equal(data, "CAIRNCTL\1\0\0\0\0\0\0\0", 16);
    assert_memory_equal(data + 16, &f->log_id, 16);
    assert_int_equal(word_at(data, 32), 99);
    assert_int_equal(word_at(data, 40), 3);
    assert_int_equal(word_at(data, 48), 17);
    assert_int_equal(word_at(data, 56), 3);
    assert_int_equal(word_at(data, 64), 4711);
    assert_int_equal(word_at(data, 72), 5678);
    assert_int_equal(word_at(data, 80), 1234);
    for (uint64_t i = 0; i < COUNT_COUNTERS; i++)
        assert_int_equal(word_at(data, 88 + 8 * i), 100 + i);
    free(data);
}

static void
a_restart_on_the_same_log_keeps_what_was_readable(void **state)
{
    struct fixture *f = *state;
    struct control *again;

    control_set_watermark(f->writer, 17, 1234);
    control_set_epoch(f->writer, 99);
    control_set_state(f->writer, CONTROL_SERVING);
    assert_int_equal(
        control_create(&f->watch.sys, f->path, f->log_id, &again, &f->err), 0);
    assert_int_equal(control_watermark(again), 17);
    assert_int_equal(control_epoch(again), 99);
    assert_int_equal(control_state(again), CONTROL_RECOVERING);
    control_close(&again);
}

static void
another_log_takes_everything_back(void **state)
{
    struct fixture *f = *state;
    struct control *again;
    uint64_t epoch = control_epoch(f->writer);

    control_set_watermark(f->writer, 17, 1234);
    control_set_table_generation(f->writer, 3);
    control_count(f->writer, COUNT_EVENTS, 17);
    assert_int_equal(
        control_create(&f->watch.sys, f->path, uuid_v4(), &again, &f->err), 0);
    assert_true(control_epoch(again) != epoch);
    assert_int_equal(control_watermark(again), 0);
    assert_int_equal(control_table_generation(again), 0);
    assert_int_equal(control_counter(again, COUNT_EVENTS), 0);
    control_close(&again);
}

static int
open_file(struct fixture *f, const void *data, size_t len)
{
    const char *path = tmpdir_path(f->dir, "other");
    struct control *control;
    int rc;

    file_write(path, data, len);
    rc = control_open(&f->watch.sys, path, &control, &f->err);
    if (rc == 0)
        control_close(&control);
    return rc;
}

static void
a_page_that_is_being_made_is_not_there_yet(void **state)
{
    struct fixture *f = *state;
    uint8_t page[CONTROL_LEN] = { 0 };
    struct control *control;

    assert_int_equal(control_open(&f->watch.sys, tmpdir_path(f->dir, "none"),
                                  &control, &f->err),
                     -ENOENT);
    assert_int_equal(open_file(f, page, 0), -ENOENT);
    assert_int_equal(open_file(f, page, CONTROL_LEN - 1), -ENOENT);
    assert_int_equal(open_file(f, page, CONTROL_LEN), -ENOENT);
    memset(page + 16, 0xee, 100); /* all but magic, which comes last */
    page[8] = 1;
    assert_int_equal(open_file(f, page, CONTROL_LEN), -ENOENT);
}

static void
a_page_of_another_version_is_refused(void **state)
{
    struct fixture *f = *state;
    uint8_t page[CONTROL_LEN] = "CAIRNCTL\2";

    assert_int_equal(open_file(f, page, sizeof page), -CAIRN_EFORMAT);
    page[8] = 1;
    assert_int_equal(open_file(f, page, sizeof page), 0);
    page[0] ^= 1;
    assert_int_equal(open_file(f, page, sizeof page), -CAIRN_EFORMAT);
    page[0] ^= 1;
    page[15] = 1;
    assert_int_equal(open_file(f, page, sizeof page), -CAIRN_EFORMAT);
}

static void
a_page_of_rubbish_is_made_anew(void **state)
{
    struct fixture *f = *state;
    const char *path = tmpdir_path(f->dir, "rubbish");
    struct control *control;

    file_write(path, "rubbish", 7);
    assert_int_equal(
        control_create(&f->watch.sys, path, f->log_id, &control, &f->err), 0);
    assert_int_equal(control_watermark(control), 0);
    control_close(&control);
    assert_int_equal(control_open(&f->watch.sys, path, &control, &f->err), 0);
    control_close(&control);
}

static void
a_page_needs_no_permission_to_be_read(void **state)
{
    struct fixture *f = *state;
    struct control *reader;

    /* A reader's map is read-only: nothing it does can reach the writer. */
    assert_int_equal(chmod(f->path, 0400), 0);
    assert_int_equal(control_open(&f->watch.sys, f->path, &reader, &f->err), 0);
    control_close(&reader);
}

static void
what_the_kernel_refuses_is_told(void **state)
{
    static const char *const calls[] = { "open", "length", "allocate", "map" };
    struct fixture *f = *state;
    struct control *control;

    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        watchsys_fail(&f->watch, calls[i], NULL, -ENOSPC);
        assert_int_equal(control_create(&f->watch.sys,
                                        tmpdir_path(f->dir, "full"), f->log_id,
                                        &control, &f->err),
                         -ENOSPC);
        assert_non_null(strstr(f->err.text, "full"));
    }
}

/* ---- while it changes -------------------------------------------------- */

#define ROUNDS UINT64_C(200000)

struct race {
    struct control *control;
    _Atomic bool done;
};

/* The counter is stored before the watermark, so it is never behind it. */
static void *
read_on(void *arg)
{
    struct race *race = arg;
    uint64_t last = 0;

    while (!atomic_load(&race->done)) {
        uint64_t watermark = control_watermark(race->control);
        uint64_t count = control_counter(race->control, COUNT_EVENTS);
        uint64_t generation = control_table_generation(race->control);

        if (watermark < last || count < watermark || generation < watermark)
            return race; /* the order of stores was not seen */
        last = watermark;
    }
    return NULL;
}

static void
who_sees_the_watermark_sees_what_was_stored_before_it(void **state)
{
    struct fixture *f = *state;
    struct race race = { 0 };
    pthread_t thread;
    void *result;

    assert_int_equal(
        control_open(&f->watch.sys, f->path, &race.control, &f->err), 0);
    assert_int_equal(pthread_create(&thread, NULL, read_on, &race), 0);
    for (uint64_t i = 1; i <= ROUNDS; i++) {
        control_set_table_generation(f->writer, i);
        control_count(f->writer, COUNT_EVENTS, 1);
        control_set_watermark(f->writer, i, i);
    }
    atomic_store(&race.done, true);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_null(result);
    control_close(&race.control);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_new_page_is_recovering_and_empty),
        TEST(what_the_writer_says_the_reader_sees),
        TEST(the_fields_lie_where_the_format_says),
        TEST(a_restart_on_the_same_log_keeps_what_was_readable),
        TEST(another_log_takes_everything_back),
        TEST(a_page_that_is_being_made_is_not_there_yet),
        TEST(a_page_of_another_version_is_refused),
        TEST(a_page_of_rubbish_is_made_anew),
        TEST(a_page_needs_no_permission_to_be_read),
        TEST(what_the_kernel_refuses_is_told),
        TEST(who_sees_the_watermark_sees_what_was_stored_before_it),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
