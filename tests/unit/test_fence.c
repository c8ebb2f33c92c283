/* SPDX-License-Identifier: MPL-2.0 */
/* Whose commands the writer takes: the newest connection of each place. */
#include "lib/cmocka.h"

#include "writer/fence.h"

struct id {
    uint8_t bytes[ROUTING_ID_LEN];
};

static struct id
id(uint8_t number)
{
    return (struct id){ { 0, 0, 0, 0, number } };
}

static bool
counts(const struct fence *fence, uint8_t number)
{
    return fence_counts(fence, id(number).bytes, ROUTING_ID_LEN);
}

static void
nobody_counts_before_hello(void **state)
{
    struct fence fence = { .count = 0 };

    (void)state;
    assert_false(counts(&fence, 0));
    fence_enter(&fence, 7, id(1).bytes);
    assert_true(counts(&fence, 1));
    assert_false(counts(&fence, 2));
    assert_false(fence_counts(&fence, id(1).bytes, ROUTING_ID_LEN - 1));
}

static void
the_successor_takes_the_place(void **state)
{
    struct fence fence = { .count = 0 };

    (void)state;
    fence_enter(&fence, 7, id(1).bytes);
    fence_enter(&fence, 8, id(2).bytes);
    fence_enter(&fence, 7, id(3).bytes);
    assert_false(counts(&fence, 1));
    assert_true(counts(&fence, 2) && counts(&fence, 3));
    assert_int_equal(fence.count, 2);
}

static void
above_the_limit_the_oldest_gives_way(void **state)
{
    struct fence fence = { .count = 0 };

    (void)state;
    for (uint8_t i = 0; i <= FENCE_PLACES_MAX; i++)
        fence_enter(&fence, i, id(i).bytes);
    assert_false(counts(&fence, 0));
    for (uint8_t i = 1; i <= FENCE_PLACES_MAX; i++)
        assert_true(counts(&fence, i));
    fence_enter(&fence, 0, id(200).bytes);
    assert_false(counts(&fence, 1));
    assert_true(counts(&fence, 2) && counts(&fence, 200));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_counts_before_hello),
        cmocka_unit_test(the_successor_takes_the_place),
        cmocka_unit_test(above_the_limit_the_oldest_gives_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
