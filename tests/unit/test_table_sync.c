/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/cmocka.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>

#include "lib/fakelog.h"
#include "lib/tmpdir.h"
#include "store/table.h"

#define SLOTS (UINT64_C(1) << 18) /* 4 MiB */
#define PAGE_SLOTS UINT64_C(256)
#define PAGES (SLOTS / PAGE_SLOTS)
#define FILE_LEN (4096 + SLOTS * TABLE_SLOT_LEN)
#define SYNCS_MAX 64
#define HOT 4u /* keys */

/* The kernel's calls, but for syncs of maps. */
struct fixture {
    struct sys sys;
    uint64_t ends[SYNCS_MAX]; /* of what was synced, in turn */
    unsigned syncs, fails_at; /* 0: none does */
    bool really;
    char *dir;
    struct table *table;
    struct fakelog log;
    struct err err;
    uint64_t newest[PAGES];
};

static int
sync_map(void *self, int fd, void *data, uint64_t offset, size_t len)
{
    struct fixture *f = self;
    unsigned n = f->syncs++;

    if (n < SYNCS_MAX) {
        uint64_t before = n == 0 ? FILE_LEN : f->ends[n - 1];

        assert_int_equal(offset, before == FILE_LEN ? 0 : before);
        f->ends[n] = offset + len;
    }
    if (f->syncs == f->fails_at)
        return -EIO;
    return f->really ? sys_call(&sys_real, sync_map, fd, data, offset, len) : 0;
}

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    f->sys = sys_real;
    f->sys.self = f;
    f->sys.sync_map = sync_map;
    f->dir = tmpdir_make();
    fakelog_begin(&f->log);
    if (table_create(&f->sys, f->dir, uuid_v4(), 1, SLOTS, NULL, &f->table,
                     &f->err) < 0)
        fail_msg("%s", f->err.text);
    for (uint64_t i = 0; i < PAGES; i++)
        f->newest[i] = ADDRESS_NONE;
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    table_close(&f->table);
    fakelog_end(&f->log);
    tmpdir_remove(&f->dir);
    free(f);
    return 0;
}

/* The key whose slot is the first one of a page. */
static struct key
first_of(uint64_t page)
{
    return (struct key){ KEY_STREAM, { "s", 1 }, SLOTS + page * PAGE_SLOTS };
}

static void
move_on(struct fixture *f, uint64_t page, uint64_t address)
{
    struct key key = first_of(page);
    struct err err;

    if (table_move(f->table, &key, f->newest[page], address, &f->log.source,
                   &err) < 0)
        fail_msg("%s", err.text);
    f->newest[page] = address;
}

static uint64_t
faults(void)
{
    struct rusage usage;

    assert_int_equal(getrusage(RUSAGE_THREAD, &usage), 0);
    return (uint64_t)usage.ru_minflt;
}

/* A store to each page, and how many faults that took. */
static uint64_t
store_to_all(struct fixture *f, uint64_t address)
{
    uint64_t before = faults();

    for (uint64_t page = 0; page < PAGES; page++)
        move_on(f, page, address);
    return faults() - before;
}

/* ------------------------------------------------------------------------ */

static void
every_byte_of_the_file_is_synced_in_pieces(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(table_sync(f->table), 0);
    assert_int_equal(f->syncs, 5);
    assert_int_equal(f->ends[0], 1 << 20);
    assert_int_equal(f->ends[4], FILE_LEN);
}

static void
a_piece_that_cannot_be_synced_ends_it(void **state)
{
    struct fixture *f = *state;

    for (unsigned n = 1; n <= 5; n++) {
        f->syncs = 0;
        f->fails_at = n;
        assert_int_equal(table_sync(f->table), -EIO);
        assert_int_equal(f->syncs, n);
    }
}

static void
pages_that_are_in_use_stay_so(void **state)
{
    struct fixture *f = *state;

    f->really = true;
    (void)store_to_all(f, 1000);
    for (uint64_t round = 1; round < 4; round++) {
        assert_int_equal(table_sync(f->table), 0);
        assert_true(store_to_all(f, 1000 + round) < PAGES / 8);
    }
    for (uint64_t page = 0; page < PAGES; page++)
        assert_int_equal(table_guess(f->table, first_of(page).hash), 1003);
}

static uint64_t
faults_of_a_sync(struct fixture *f)
{
    uint64_t before = faults();

    assert_int_equal(table_sync(f->table), 0);
    return faults() - before;
}

/* Else each checkpoint would write the whole table, for ever.  (A fault may
 * bring more than a page, so how many there are is the kernel's affair.) */
static void
pages_that_are_not_are_left_alone(void **state)
{
    struct fixture *f = *state;
    uint64_t first, second;

    f->really = true;
    (void)store_to_all(f, 1000);
    first = faults_of_a_sync(f);
    second = faults_of_a_sync(f);
    print_message("faults for pages in use: %" PRIu64 ", then %" PRIu64 "\n",
                  first, second);
    assert_true(second == 0 || second < first / 2);
}

struct syncing {
    struct fixture *fixture;
    _Atomic bool stop;
    unsigned long count;
};

static void *
sync_all_the_time(void *arg)
{
    struct syncing *s = arg;

    while (!atomic_load(&s->stop)) {
        if (table_sync(s->fixture->table) < 0)
            return NULL;
        s->count++;
    }
    return s;
}

static void
a_store_beside_a_sync_is_never_undone(void **state)
{
    struct fixture *f = *state;
    struct syncing s = { .fixture = f };
    pthread_t thread;
    void *result;

    f->syncs = SYNCS_MAX;
    assert_int_equal(pthread_create(&thread, NULL, sync_all_the_time, &s), 0);
    for (uint64_t n = 1; n < 2000000; n++) {
        uint64_t page = n % HOT;

        if (n > HOT)
            assert_int_equal(table_guess(f->table, first_of(page).hash),
                             n - HOT);
        move_on(f, page, n);
    }
    atomic_store(&s.stop, true);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_ptr_equal(result, &s);
    print_message("%lu syncs\n", s.count);
    assert_true(s.count > 10);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(every_byte_of_the_file_is_synced_in_pieces),
        TEST(a_piece_that_cannot_be_synced_ends_it),
        TEST(pages_that_are_in_use_stay_so),
        TEST(pages_that_are_not_are_left_alone),
        TEST(a_store_beside_a_sync_is_never_undone),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
