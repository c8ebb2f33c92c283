/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/cmocka.h"

#include "store/jump.h"

#define N 10000u

static unsigned
log2_floor(uint64_t n)
{
    return 63u - (unsigned)__builtin_clzll(n);
}

static unsigned
myers_bound(uint64_t n)
{
    return 3 * log2_floor(n + 1) - 2;
}

/* Myers' own construction: two equal jumps make one of twice and one more. */
static void
jumps_are_those_of_the_skew_binary_stack(void **state)
{
    uint64_t *jump = calloc(N + 1, sizeof *jump);

    (void)state;
    for (uint64_t n = 1; n <= N; n++) {
        uint64_t last = n - 1, jumped = last > 0 ? jump[last] : 0;

        if (last > 0 && jumped > 0 && last - jumped == jumped - jump[jumped])
            jump[n] = jump[jumped];
        else
            jump[n] = last;
        if (jump_ordinal(n) != jump[n])
            fail_msg("%llu jumps to %llu, not to %llu", (unsigned long long)n,
                     (unsigned long long)jump_ordinal(n),
                     (unsigned long long)jump[n]);
    }
    free(jump);
}

static void
a_new_jump_is_known_from_the_last_two(void **state)
{
    /* What chain_extend() relies on, far out as well. */
    static const uint64_t starts[] = { 1, UINT64_C(1) << 20, UINT64_C(1) << 40,
                                       UINT64_MAX - 70000 };

    (void)state;
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        for (uint64_t n = starts[i]; n < starts[i] + 65536; n++) {
            uint64_t next = jump_ordinal(n + 1);

            assert_true(next == n || next == jump_ordinal(jump_ordinal(n)) ||
                        next == 0);
            assert_true(next < n + 1);
        }
}

/*
 * Hops from n to t are one more than from where the first hop leads: so a row
 * for each n is made of the rows before it, and no pair is left out.
 */
static void
every_older_ordinal_is_reached_within_the_bound(void **state)
{
    uint8_t **rows = calloc(N + 1, sizeof *rows);
    unsigned worst = 0;

    (void)state;
    for (uint32_t n = 1; n <= N; n++) {
        uint32_t jump = (uint32_t)jump_ordinal(n);
        unsigned bound = n == 1 ? 0 : myers_bound(n);

        rows[n] = malloc(n + 1);
        rows[n][n] = 0;
        for (uint32_t t = 1; t < n; t++) {
            uint32_t next = jump >= t ? jump : n - 1;

            rows[n][t] = (uint8_t)(rows[next][t] + 1);
            if (rows[n][t] > bound)
                fail_msg("from %u to %u: %u hops, not %u", n, t, rows[n][t],
                         bound);
            if (rows[n][t] > worst)
                worst = rows[n][t];
        }
    }
    assert_in_range(worst, 20, myers_bound(N)); /* it was no empty test */
    for (uint32_t n = 1; n <= N; n++)
        free(rows[n]);
    free(rows);
}

static void
the_largest_ordinals_have_a_jump(void **state)
{
    (void)state;
    assert_int_equal(jump_ordinal(1), 0);
    assert_true(jump_ordinal(UINT64_MAX) == 0); /* 2^64 - 1 is one summand */
    assert_true(jump_ordinal(UINT64_MAX - 1) == UINT64_MAX - 1 - INT64_MAX);
    for (unsigned k = 1; k < 64; k++)
        assert_int_equal(jump_ordinal((UINT64_C(1) << k) - 1), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jumps_are_those_of_the_skew_binary_stack),
        cmocka_unit_test(a_new_jump_is_known_from_the_last_two),
        cmocka_unit_test(every_older_ordinal_is_reached_within_the_bound),
        cmocka_unit_test(the_largest_ordinals_have_a_jump),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
