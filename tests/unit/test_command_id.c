/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/cmocka.h"

#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "c/command_id.h"

#define IDS 1000 /* more than are made from one fetch of random bytes */

static void
no_two_ids_are_the_same_and_all_have_the_time(void **state)
{
    struct uuid ids[IDS];
    uint64_t time_ms, from_ms = (uint64_t)time(NULL) * 1000;

    (void)state;
    for (int i = 0; i < IDS; i++) {
        ids[i] = command_id_new();
        assert_true(uuid_time_ms(ids[i], &time_ms));
        assert_true(time_ms >= from_ms);
        for (int k = 0; k < i; k++)
            assert_true(uuid_low(ids[i]) != uuid_low(ids[k]));
    }
}

static void
a_forked_child_makes_other_ids_than_its_parent(void **state)
{
    struct uuid of_child, of_parent;
    int fds[2], status;
    pid_t pid;

    (void)state;
    (void)command_id_new(); /* so that random bytes are in store */
    assert_int_equal(pipe(fds), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        of_child = command_id_new();
        _exit(write(fds[1], &of_child, sizeof of_child) !=
              (ssize_t)sizeof of_child);
    }
    of_parent = command_id_new();
    assert_int_equal(read(fds[0], &of_child, sizeof of_child), sizeof of_child);
    assert_true(waitpid(pid, &status, 0) == pid && status == 0);
    assert_true(uuid_low(of_child) != uuid_low(of_parent));
    (void)close(fds[0]);
    (void)close(fds[1]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_two_ids_are_the_same_and_all_have_the_time),
        cmocka_unit_test(a_forked_child_makes_other_ids_than_its_parent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
