/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/cmocka.h"

#include "store/index.h"

static void
one_entry_is_kept_for_every_step_of_the_file(void **state)
{
    struct index index = { 0 };
    uint64_t position = 1;

    (void)state;
    for (uint64_t offset = 640; offset < 20 * INDEX_STEP; offset += 1000)
        assert_int_equal(index_add(&index, position++, offset), 0);
    assert_int_equal(index.count, 20);
    for (uint32_t i = 0; i < index.count; i++) {
        uint32_t offset = le32_get(index.entries[i].offset);

        assert_int_equal(offset / INDEX_STEP, i);
        assert_true(offset % INDEX_STEP < 1000); /* the first in its step */
        assert_true(le64_get(index.entries[i].position) ==
                    (offset - 640) / 1000 + 1);
    }
    index_free(&index);
    assert_null(index.entries);
}

static void
steps_without_a_commit_have_no_entry(void **state)
{
    struct index index = { 0 };

    (void)state;
    assert_int_equal(index_add(&index, 1, 640), 0);
    assert_int_equal(index_add(&index, 9, 7 * INDEX_STEP + 8), 0);
    assert_int_equal(index.count, 2);
    index_free(&index);
}

static void
it_grows_as_far_as_the_largest_segment(void **state)
{
    struct index index = { 0 };

    (void)state;
    for (uint64_t offset = 0; offset < SEGMENT_LEN_MAX; offset += INDEX_STEP)
        assert_int_equal(index_add(&index, offset + 1, offset), 0);
    assert_true(index.count <= segment_index_max(SEGMENT_LEN_MAX));
    assert_int_equal(index.count, SEGMENT_LEN_MAX / INDEX_STEP);
    index_free(&index);
}

static void
the_last_entry_that_is_not_above_is_found(void **state)
{
    struct index_entry entries[100];

    (void)state;
    for (uint32_t i = 0; i < 100; i++)
        entries[i] = (struct index_entry){ le64_of(10 + 3 * i), le32_of(i) };
    for (uint32_t count = 0; count <= 100; count++)
        for (uint64_t position = 0; position < 330; position++) {
            const struct index_entry *expected = NULL;

            for (uint32_t i = 0; i < count; i++)
                if (10 + 3 * i <= position)
                    expected = &entries[i];
            assert_ptr_equal(index_find(entries, count, position), expected);
        }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_entry_is_kept_for_every_step_of_the_file),
        cmocka_unit_test(steps_without_a_commit_have_no_entry),
        cmocka_unit_test(it_grows_as_far_as_the_largest_segment),
        cmocka_unit_test(the_last_entry_that_is_not_above_is_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
