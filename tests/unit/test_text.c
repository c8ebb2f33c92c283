/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/cmocka.h"

#include <string.h>

#include "base/text.h"

/* The definition of RFC 3629: decode, then look at the number. */
static bool
slow_utf8_valid(const uint8_t *p, size_t len)
{
    static const uint32_t shortest[5] = { 0, 0, 0x80, 0x800, 0x10000 };

    for (size_t at = 0; at < len;) {
        uint32_t point = p[at];
        size_t step = point < 0x80 ? 1
            : point >> 5 == 6      ? 2
            : point >> 4 == 14     ? 3
            : point >> 3 == 30     ? 4
                                   : 0;

        if (step == 0 || at + step > len)
            return false;
        if (step > 1)
            point &= 0x7fu >> step;
        for (size_t i = 1; i < step; i++) {
            if (p[at + i] >> 6 != 2)
                return false;
            point = point << 6 | (p[at + i] & 0x3fu);
        }
        if (point < shortest[step] || point > 0x10ffff ||
            (point >= 0xd800 && point <= 0xdfff))
            return false;
        at += step;
    }
    return true;
}

static void
every_sequence_of_up_to_three_bytes_is_judged_by_the_rfc(void **state)
{
    uint8_t b[3];

    (void)state;
    for (uint32_t n = 0; n < 1 << 24; n++) {
        b[0] = (uint8_t)(n >> 16);
        b[1] = (uint8_t)(n >> 8);
        b[2] = (uint8_t)n;
        if (utf8_valid((char *)b, 3) != slow_utf8_valid(b, 3))
            fail_msg("%02x %02x %02x", b[0], b[1], b[2]);
        if ((n & 0xff) == 0 &&
            utf8_valid((char *)b, 2) != slow_utf8_valid(b, 2))
            fail_msg("%02x %02x", b[0], b[1]);
    }
}

static void
sequences_of_four_bytes_are_judged_by_the_rfc(void **state)
{
    static const uint8_t edges[] = { 0x00, 0x41, 0x7f, 0x80, 0x81, 0x8f, 0x90,
                                     0x9f, 0xa0, 0xbf, 0xc0, 0xe0, 0xf4, 0xff };
    const size_t count = sizeof edges;
    uint8_t b[4];

    (void)state;
    for (unsigned first = 0; first < 256; first++)
        for (size_t i = 0; i < count * count * count; i++) {
            b[0] = (uint8_t)first;
            b[1] = edges[i % count];
            b[2] = edges[i / count % count];
            b[3] = edges[i / count / count];
            if (utf8_valid((char *)b, 4) != slow_utf8_valid(b, 4))
                fail_msg("%02x %02x %02x %02x", b[0], b[1], b[2], b[3]);
        }
}

static void
a_sequence_cut_short_is_not_valid(void **state)
{
    static const char text[] = "\xf0\x9f\xaa\xa8"; /* a rock */

    (void)state;
    assert_true(utf8_valid(text, 4));
    for (size_t len = 1; len < 4; len++)
        assert_false(utf8_valid(text, len));
    assert_true(utf8_valid(text, 0));
    assert_true(utf8_valid("a\0b\n", 4));
}

static void
names_have_1_to_255_bytes_and_no_control_characters(void **state)
{
    char text[NAME_LEN_MAX + 1];

    (void)state;
    memset(text, 'a', sizeof text);
    assert_string_equal(name_fault(text, 0), "is empty");
    assert_null(name_fault(text, 1));
    assert_null(name_fault(text, NAME_LEN_MAX));
    assert_string_equal(name_fault(text, NAME_LEN_MAX + 1),
                        "is longer than 255 bytes");
    assert_string_equal(name_fault("a\xff", 2), "is not valid UTF-8");
    for (unsigned c = 0; c < 0x80; c++) {
        text[1] = (char)c;
        if (c < 0x20 || c == 0x7f)
            assert_string_equal(name_fault(text, 3),
                                "holds a control character");
        else
            assert_null(name_fault(text, 3));
    }
    for (unsigned c = 0x80; c < 0xc0; c++) {
        text[1] = (char)0xc2;
        text[2] = (char)c;
        if (c < 0xa0)
            assert_string_equal(name_fault(text, 4),
                                "holds a control character");
        else
            assert_null(name_fault(text, 4));
    }
    assert_null(name_fault("caf\xc3\xa9", 5));
}

static void
streams_that_begin_with_a_dollar_are_ours(void **state)
{
    (void)state;
    assert_non_null(stream_fault("$", 1));
    assert_non_null(stream_fault("$all", 4));
    assert_null(stream_fault("a$", 2));
    assert_null(name_fault("$all", 4));
    assert_string_equal(stream_fault("", 0), "is empty");
}

static void
the_category_ends_before_the_first_dash(void **state)
{
    (void)state;
    assert_int_equal(category_len("order-17-a", 10), 5);
    assert_int_equal(category_len("order", 5), 5);
    assert_int_equal(category_len("-order", 6), 0);
    assert_int_equal(category_len("order-17", 5), 5); /* not beyond its end */
}

static void
only_whole_decimal_numbers_are_read(void **state)
{
    static const char *const bad[] = { "",
                                       " 1",
                                       "1 ",
                                       "+1",
                                       "-1",
                                       "0x10",
                                       "1.0",
                                       "1e3",
                                       "one",
                                       "18446744073709551616",
                                       "99999999999999999999999",
                                       "1\n" };
    uint64_t number = 77;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (number_parse(bad[i], &number))
            fail_msg("'%s' was read", bad[i]);
        assert_int_equal(number, 77); /* written on success only */
    }
    assert_true(number_parse("0", &number) && number == 0);
    assert_true(number_parse("007", &number) && number == 7);
    assert_true(number_parse("18446744073709551615", &number) &&
                number == UINT64_MAX);
}

static void
large_numbers_get_commas(void **state)
{
    static const struct {
        uint64_t number;
        const char *text;
    } pairs[] = {
        { 0, "0" },
        { 999, "999" },
        { 1000, "1,000" },
        { 3367, "3,367" },
        { 1234567, "1,234,567" },
        { UINT64_MAX, "18,446,744,073,709,551,615" },
    };
    char buf[32];

    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        assert_string_equal(number_format(pairs[i].number, buf), pairs[i].text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            every_sequence_of_up_to_three_bytes_is_judged_by_the_rfc),
        cmocka_unit_test(sequences_of_four_bytes_are_judged_by_the_rfc),
        cmocka_unit_test(a_sequence_cut_short_is_not_valid),
        cmocka_unit_test(names_have_1_to_255_bytes_and_no_control_characters),
        cmocka_unit_test(streams_that_begin_with_a_dollar_are_ours),
        cmocka_unit_test(the_category_ends_before_the_first_dash),
        cmocka_unit_test(only_whole_decimal_numbers_are_read),
        cmocka_unit_test(large_numbers_get_commas),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
