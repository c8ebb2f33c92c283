/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/cmocka.h"

#include "base/bytes.h"

static void
fields_are_little_endian_and_unaligned(void **state)
{
    uint8_t bytes[16] = { 0xee, 1, 2, 3, 4, 5, 6, 7, 8 };
    struct le16 *two = (struct le16 *)(bytes + 1);
    struct le32 *four = (struct le32 *)(bytes + 1);
    struct le64 *eight = (struct le64 *)(bytes + 1);

    (void)state;
    assert_int_equal(le16_get(*two), 0x0201);
    assert_int_equal(le32_get(*four), 0x04030201);
    assert_true(le64_get(*eight) == UINT64_C(0x0807060504030201));
    assert_int_equal(sizeof(struct le16), 2);
    assert_int_equal(sizeof(struct le32), 4);
    assert_int_equal(sizeof(struct le64), 8);
    assert_int_equal(_Alignof(struct le64), 1);
}

static void
what_is_encoded_is_decoded(void **state)
{
    static const uint64_t numbers[] = {
        0,         1,      0x7f,    0x80,       0xff,
        0x100,     0xffff, 0x10000, UINT32_MAX, UINT64_C(1) << 32,
        UINT64_MAX
    };

    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        uint64_t n = numbers[i];

        assert_true(le64_get(le64_of(n)) == n);
        assert_true(le32_get(le32_of((uint32_t)n)) == (uint32_t)n);
        assert_true(le16_get(le16_of((uint16_t)n)) == (uint16_t)n);
    }
}

static void
align_up_reaches_the_next_multiple(void **state)
{
    (void)state;
    for (uint64_t unit = 1; unit <= 4096; unit *= 2)
        for (uint64_t n = 0; n <= 3 * unit; n++) {
            uint64_t up = align_up(n, unit);

            if (up % unit != 0 || up < n || up - n >= unit)
                fail_msg("align_up(%llu, %llu) is %llu", (unsigned long long)n,
                         (unsigned long long)unit, (unsigned long long)up);
        }
}

static void
one_byte_anywhere_makes_it_not_all_zero(void **state)
{
    uint8_t bytes[600] = { 0 };

    (void)state;
    assert_true(bytes_all_zero(bytes, 0));
    for (size_t len = 1; len <= sizeof bytes; len += 37) {
        assert_true(bytes_all_zero(bytes, len));
        for (size_t at = 0; at < len; at++) {
            bytes[at] = 0x80;
            if (bytes_all_zero(bytes, len))
                fail_msg("byte %zu of %zu was not seen", at, len);
            bytes[at] = 0;
        }
        if (len < sizeof bytes) {
            bytes[len] = 1; /* behind the end: none of its business */
            assert_true(bytes_all_zero(bytes, len));
            bytes[len] = 0;
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_little_endian_and_unaligned),
        cmocka_unit_test(what_is_encoded_is_decoded),
        cmocka_unit_test(align_up_reaches_the_next_multiple),
        cmocka_unit_test(one_byte_anywhere_makes_it_not_all_zero),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
