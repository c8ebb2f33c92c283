/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/cmocka.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "lib/tmpdir.h"
#include "store/sys.h"

static char *dir;

/* Stand before those of libc: with `piece`, no call moves more, and every
 * second one is interrupted by a signal. */
static size_t piece;
static unsigned calls;

static bool
is_interrupted(void)
{
    if (piece == 0 || calls++ % 2 == 1)
        return false;
    errno = EINTR;
    return true;
}

ssize_t
pwrite(int fd, const void *buf, size_t len, off_t offset)
{
    if (is_interrupted())
        return -1;
    return syscall(SYS_pwrite64, fd, buf,
                   piece > 0 && len > piece ? piece : len, offset);
}

ssize_t
pread(int fd, void *buf, size_t len, off_t offset)
{
    if (is_interrupted())
        return -1;
    return syscall(SYS_pread64, fd, buf, piece > 0 && len > piece ? piece : len,
                   offset);
}

static int
setup(void **state)
{
    (void)state;
    dir = tmpdir_make();
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    tmpdir_remove(&dir);
    return 0;
}

static int
open_as(const char *name, enum sys_open how)
{
    return sys_call(&sys_real, open, tmpdir_path(dir, name), how);
}

static void
each_way_of_opening_does_what_it_says(void **state)
{
    char buf[8];
    int fd;

    (void)state;
    assert_int_equal(open_as("f", SYS_READ), -ENOENT);
    assert_int_equal(open_as("f", SYS_WRITE), -ENOENT);
    assert_int_equal(open_as("f", SYS_UNCACHED), -ENOENT);
    assert_int_equal(open_as("f", (enum sys_open)99), -EINVAL);
    fd = open_as("f", SYS_KEEP);
    assert_int_equal(sys_call(&sys_real, write, fd, "hello", 5, 0), 0);
    sys_call(&sys_real, close, fd);
    fd = open_as("f", SYS_KEEP);
    assert_int_equal(sys_call(&sys_real, read, fd, buf, 8, 0), 5);
    sys_call(&sys_real, close, fd);
    fd = open_as("f", SYS_READ);
    assert_int_equal(sys_call(&sys_real, read, fd, buf, 8, 3), 2);
    assert_int_equal(sys_call(&sys_real, read, fd, buf, 8, 9), 0);
    assert_int_equal(sys_call(&sys_real, write, fd, "x", 1, 0), -EBADF);
    sys_call(&sys_real, close, fd);
    fd = open_as("f", SYS_WRITE);
    assert_int_equal(sys_call(&sys_real, write, fd, "J", 1, 0), 0);
    assert_int_equal(sys_call(&sys_real, read, fd, buf, 5, 0), 5);
    assert_memory_equal(buf, "Jello", 5);
    sys_call(&sys_real, close, fd);
    fd = open_as("f", SYS_CREATE);
    assert_int_equal(sys_call(&sys_real, read, fd, buf, 8, 0), 0);
    sys_call(&sys_real, close, fd);
}

static void
a_write_that_comes_short_goes_on_until_it_fails(void **state)
{
    static const uint8_t data[5000] = { 1 };
    int fd = open_as("f", SYS_CREATE), rc;
    struct rlimit before, limit;
    uint64_t len;

    (void)state;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 3000; /* the kernel writes so far, and says so */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    rc = sys_call(&sys_real, write, fd, data, sizeof data, 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(rc, -EFBIG);
    assert_int_equal(sys_call(&sys_real, length, fd, &len), 0);
    assert_int_equal(len, 3000);
    sys_call(&sys_real, close, fd);
}

static void
short_and_interrupted_calls_go_on_where_they_were(void **state)
{
    static uint8_t data[5000], read[5001];
    int fd = open_as("f", SYS_CREATE);

    (void)state;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7 + i / 256);
    piece = 700;
    calls = 0;
    assert_int_equal(sys_call(&sys_real, write, fd, data, sizeof data, 100), 0);
    assert_int_equal(calls, 16);
    assert_int_equal(sys_call(&sys_real, read, fd, read, sizeof read, 100),
                     sizeof data);
    piece = 0;
    assert_memory_equal(read, data, sizeof data);
    assert_int_equal(sys_call(&sys_real, read, fd, read, sizeof read, 101),
                     sizeof data - 1);
    assert_memory_equal(read, data + 1, sizeof data - 1);
    sys_call(&sys_real, close, fd);
}

static void
reading_past_the_cache_gives_the_same_bytes(void **state)
{
    static uint8_t data[3 * SYS_UNCACHED_UNIT];
    uint8_t *buf = aligned_alloc(SYS_UNCACHED_UNIT, sizeof data);
    int fd = open_as("f", SYS_CREATE);

    (void)state;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7 + i / 256);
    assert_int_equal(sys_call(&sys_real, write, fd, data, sizeof data, 0), 0);
    assert_int_equal(sys_call(&sys_real, sync, fd), 0);
    sys_call(&sys_real, close, fd);
    fd = open_as("f", SYS_UNCACHED);
    assert_true(fd >= 0);
    assert_int_equal(sys_call(&sys_real, read, fd, buf, sizeof data, 0),
                     sizeof data);
    assert_memory_equal(buf, data, sizeof data);
    assert_int_equal(sys_call(&sys_real, read, fd, buf, SYS_UNCACHED_UNIT,
                              SYS_UNCACHED_UNIT),
                     SYS_UNCACHED_UNIT);
    assert_memory_equal(buf, data + SYS_UNCACHED_UNIT, SYS_UNCACHED_UNIT);
    sys_call(&sys_real, close, fd);
    free(buf);
}

static void
allocated_space_is_there_and_zero(void **state)
{
    int fd = open_as("f", SYS_CREATE);
    uint64_t len;
    struct stat st;

    (void)state;
    assert_int_equal(sys_call(&sys_real, allocate, fd, 100000), 0);
    assert_int_equal(sys_call(&sys_real, length, fd, &len), 0);
    assert_int_equal(len, 100000);
    assert_int_equal(stat(tmpdir_path(dir, "f"), &st), 0);
    assert_true(st.st_blocks * 512 >= 100000);
    assert_true(sys_call(&sys_real, allocate, -1, 10) < 0);
    sys_call(&sys_real, close, fd);
}

static void
a_protected_file_has_no_permission_to_write(void **state)
{
    int fd = open_as("f", SYS_CREATE);
    struct stat st;

    (void)state;
    assert_int_equal(sys_call(&sys_real, protect, fd), 0);
    assert_int_equal(stat(tmpdir_path(dir, "f"), &st), 0);
    assert_int_equal(st.st_mode & 0222, 0);
    assert_int_not_equal(st.st_mode & 0400, 0);
    sys_call(&sys_real, close, fd);
}

static void
a_lock_is_held_until_closed(void **state)
{
    int first = open_as("lock", SYS_KEEP), second = open_as("lock", SYS_KEEP);

    (void)state;
    assert_int_equal(sys_call(&sys_real, lock, first), 0);
    assert_int_equal(sys_call(&sys_real, lock, second), -CAIRN_ELOCKED);
    sys_call(&sys_real, close, first);
    assert_int_equal(sys_call(&sys_real, lock, second), 0);
    sys_call(&sys_real, close, second);
    assert_int_equal(sys_call(&sys_real, lock, -1), -EBADF);
}

static int
note_name(void *arg, const char *name)
{
    char *names = arg;

    strcat(names, name);
    return strcmp(name, "stop") == 0 ? 77 : 0;
}

static void
a_directory_is_made_listed_and_synced(void **state)
{
    char names[512] = "";
    const char *sub = tmpdir_path(dir, "sub");

    (void)state;
    assert_int_equal(sys_call(&sys_real, make_dir, sub), 0);
    assert_int_equal(sys_call(&sys_real, make_dir, sub), -EEXIST);
    assert_int_equal(sys_call(&sys_real, list, sub, note_name, names), 0);
    assert_string_equal(names, "");
    sys_call(&sys_real, close, open_as("sub/stop", SYS_CREATE));
    assert_int_equal(sys_call(&sys_real, list, sub, note_name, names), 77);
    assert_string_equal(names, "stop");
    assert_int_equal(sys_call(&sys_real, sync_dir, sub), 0);
    assert_int_equal(sys_call(&sys_real, sync_dir, tmpdir_path(dir, "none")),
                     -ENOENT);
    assert_int_equal(
        sys_call(&sys_real, list, tmpdir_path(dir, "none"), note_name, names),
        -ENOENT);
}

static void
files_are_renamed_and_removed(void **state)
{
    const char *a = tmpdir_path(dir, "a"), *b = tmpdir_path(dir, "b");

    (void)state;
    sys_call(&sys_real, close, open_as("a", SYS_CREATE));
    assert_int_equal(sys_call(&sys_real, rename, a, b), 0);
    assert_int_equal(sys_call(&sys_real, rename, a, b), -ENOENT);
    assert_int_equal(sys_call(&sys_real, remove, b), 0);
    assert_int_equal(sys_call(&sys_real, remove, b), -ENOENT);
}

static void
a_map_shows_what_is_written_later(void **state)
{
    int fd = open_as("f", SYS_CREATE);
    void *reader, *writer;

    (void)state;
    assert_int_equal(sys_call(&sys_real, allocate, fd, 8192), 0);
    assert_int_equal(sys_call(&sys_real, map, fd, 8192, false, &reader), 0);
    assert_int_equal(sys_call(&sys_real, map, fd, 8192, true, &writer), 0);
    assert_int_equal(sys_call(&sys_real, write, fd, "later", 5, 5000), 0);
    assert_memory_equal((char *)reader + 5000, "later", 5);
    ((char *)writer)[0] = 'w';
    assert_int_equal(((char *)reader)[0], 'w');
    sys_call(&sys_real, unmap, reader, 8192);
    sys_call(&sys_real, unmap, writer, 8192);
    assert_true(sys_call(&sys_real, map, -1, 8192, false, &reader) < 0);
    sys_call(&sys_real, close, fd);
}

static void
the_clock_counts_microseconds_since_1970(void **state)
{
    uint64_t now = sys_call(&sys_real, now_us), seconds = (uint64_t)time(NULL);

    (void)state;
    assert_true(now / 1000000 >= seconds - 1 && now / 1000000 <= seconds + 1);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(each_way_of_opening_does_what_it_says),
        TEST(a_write_that_comes_short_goes_on_until_it_fails),
        TEST(short_and_interrupted_calls_go_on_where_they_were),
        TEST(reading_past_the_cache_gives_the_same_bytes),
        TEST(allocated_space_is_there_and_zero),
        TEST(a_protected_file_has_no_permission_to_write),
        TEST(a_lock_is_held_until_closed),
        TEST(a_directory_is_made_listed_and_synced),
        TEST(files_are_renamed_and_removed),
        TEST(a_map_shows_what_is_written_later),
        TEST(the_clock_counts_microseconds_since_1970),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
