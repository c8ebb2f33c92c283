/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/cmocka.h"

#include <unistd.h>

#include "base/log.h"

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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            one_line_in_its_time_and_the_next_one_counts_the_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
