/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/cmocka.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "lib/tmpdir.h"

#define EVERY_MS 200u

/* Whatever is logged once per key and minute goes through this. */
static void
one_line_in_its_time_and_the_next_one_counts_the_others(void **state)
{
    struct log_limit limit = { .every_ms = EVERY_MS }, other = limit;
    uint64_t suppressed = 99, before = clock_ms(), calls = 0;

    (void)state;
    assert_int_equal(log_limited(&limit, &suppressed), 1);
    assert_int_equal(suppressed, 0);
    while (log_limited(&limit, &suppressed) == 0) {
        assert_int_equal(suppressed, 0); /* not touched meanwhile */
        calls++;
        (void)usleep(1000);
    }
    assert_true(clock_ms() - before >= EVERY_MS);
    assert_int_equal(suppressed, calls);
    /* Another one has a time of its own. */
    assert_int_equal(log_limited(&other, &suppressed), 1);
    assert_int_equal(suppressed, 0);
}

/* Maps a page that is cut off, and reads it. */
static void
read_a_page_that_is_gone(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    volatile const char *page;

    if (fd < 0 || ftruncate(fd, 4096) < 0)
        _exit(1);
    page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED || ftruncate(fd, 0) < 0)
        _exit(2);
    (void)page[0];
    _exit(3);
}

static void
a_page_that_cannot_be_read_is_said(void **state)
{
    char *dir = tmpdir_make();
    char text[512] = "";
    int ends[2], status;
    pid_t pid;

    (void)state;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)dup2(ends[1], STDERR_FILENO);
        (void)setrlimit(RLIMIT_CORE, &(struct rlimit){ 0 });
        log_open("cairn-test");
        read_a_page_that_is_gone(tmpdir_path(dir, "file"));
    }
    (void)close(ends[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(read(ends[0], text, sizeof text - 1) > 0);
    (void)close(ends[0]);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGBUS);
    assert_non_null(strstr(text, "could not be read"));
    tmpdir_remove(&dir);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            one_line_in_its_time_and_the_next_one_counts_the_others),
        cmocka_unit_test(a_page_that_cannot_be_read_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
