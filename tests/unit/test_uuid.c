/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/cmocka.h"

#include <errno.h>
#include <string.h>

#include "base/uuid.h"

static struct uuid
parsed(const char *text)
{
    struct uuid id;

    assert_int_equal(uuid_parse(text, strlen(text), &id), 0);
    return id;
}

static void
the_example_of_rfc_9562_has_its_time(void **state)
{
    struct uuid id = parsed("017F22E2-79B0-7CC3-98C4-DC0C0C07398F");
    uint64_t time_ms;

    (void)state;
    assert_true(uuid_time_ms(id, &time_ms));
    assert_true(time_ms == UINT64_C(1645557742000));
}

static void
only_version_7_has_a_time(void **state)
{
    struct uuid id = parsed("017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
    uint64_t time_ms = 5;

    (void)state;
    for (unsigned version = 0; version < 16; version++) {
        id.b[6] = (uint8_t)(version << 4 | 0xc);
        assert_int_equal(uuid_time_ms(id, &time_ms), version == 7);
    }
}

static void
new_ids_carry_version_variant_and_time(void **state)
{
    static const uint64_t times[] = { 0, 1, UINT64_C(1645557742000),
                                      (UINT64_C(1) << 48) - 1 };
    uint64_t time_ms;

    (void)state;
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        struct uuid id = uuid_v7(times[i]);

        assert_int_equal(id.b[6] >> 4, 7);
        assert_int_equal(id.b[8] >> 6, 2);
        assert_true(uuid_time_ms(id, &time_ms) && time_ms == times[i]);
    }
    assert_int_equal(uuid_v4().b[6] >> 4, 4);
    assert_int_equal(uuid_v4().b[8] >> 6, 2);
    assert_false(uuid_equal(uuid_v4(), uuid_v4()));
    assert_false(uuid_equal(uuid_v7(1), uuid_v7(1)));
}

static void
ids_of_the_same_millisecond_fill_all_their_random_bits(void **state)
{
    uint64_t ones_high = 0, ones_low = 0, zeros_high = 0, zeros_low = 0;

    (void)state;
    for (int i = 0; i < 200; i++) {
        struct uuid id = uuid_v7(0);

        ones_high |= uuid_high(id);
        ones_low |= uuid_low(id);
        zeros_high |= ~uuid_high(id);
        zeros_low |= ~uuid_low(id);
    }
    assert_true(ones_high == 0x7fff && (zeros_high & 0xfff) == 0xfff);
    assert_true(ones_low == UINT64_C(0xbfffffffffffffff));
    assert_true(zeros_low == UINT64_C(0x7fffffffffffffff));
}

static void
derived_ids_are_the_same_for_ever(void **state)
{
    struct uuid base = parsed("919108f7-52d1-4320-9bac-f847db4148a8");
    char text[UUID_TEXT_LEN + 1];

    (void)state;
    /* Stored events carry such ids: another result would be another event. */
    uuid_format(uuid_derive(base, 0), text);
    assert_string_equal(text, "3d7448b3-60cc-81d8-af78-3ba4e6379f45");
    uuid_format(uuid_derive(base, 1), text);
    assert_string_equal(text, "6412fc64-304e-88c0-a62e-6e5dd975ef22");
    uuid_format(uuid_derive(base, UINT32_MAX), text);
    assert_string_equal(text, "10de050c-ed30-8de7-b9fd-5c1c0956514b");
}

static void
a_digest_becomes_an_id_of_version_8(void **state)
{
    uint8_t digest[32];
    struct uuid id;

    (void)state;
    memset(digest, 0xff, sizeof digest);
    id = uuid_of_digest(digest);
    assert_true(uuid_equal(id, parsed("ffffffff-ffff-8fff-bfff-ffffffffffff")));
}

static void
text_goes_there_and_back(void **state)
{
    const char *text = "0123abcd-ef45-6789-abcd-ef0123456789";
    char out[UUID_TEXT_LEN + 1];

    (void)state;
    uuid_format(parsed(text), out);
    assert_string_equal(out, text);
    uuid_format(parsed("0123ABCD-EF45-6789-ABCD-EF0123456789"), out);
    assert_string_equal(out, text);
    assert_int_equal(strlen(out), UUID_TEXT_LEN);
}

static void
every_other_character_is_refused_everywhere(void **state)
{
    const char *good = "0123abcd-ef45-6789-abcd-ef0123456789";
    char text[UUID_TEXT_LEN + 1];
    struct uuid id = uuid_of_halves(1, 2);

    (void)state;
    for (int at = 0; at < UUID_TEXT_LEN; at++)
        for (int c = 0; c < 256; c++) {
            bool dash = at == 8 || at == 13 || at == 18 || at == 23;
            bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') ||
                (c >= 'A' && c <= 'F');
            int expected = dash ? c == '-' : digit;

            memcpy(text, good, sizeof text);
            text[at] = (char)c;
            if ((uuid_parse(text, UUID_TEXT_LEN, &id) == 0) != expected)
                fail_msg("character %d as number %d", c, at);
        }
    for (size_t len = 0; len < UUID_TEXT_LEN; len++)
        assert_int_equal(uuid_parse(good, len, &id), -EINVAL);
    assert_int_equal(
        uuid_parse("0123abcd-ef45-6789-abcd-ef01234567890", 37, &id), -EINVAL);
}

static void
halves_are_in_network_order(void **state)
{
    struct uuid id = parsed("00010203-0405-0607-0809-0a0b0c0d0e0f");

    (void)state;
    assert_true(uuid_high(id) == UINT64_C(0x0001020304050607));
    assert_true(uuid_low(id) == UINT64_C(0x08090a0b0c0d0e0f));
    assert_true(uuid_equal(uuid_of_halves(uuid_high(id), uuid_low(id)), id));
}

static void
only_all_zero_is_nil(void **state)
{
    struct uuid id = { { 0 } };

    (void)state;
    assert_true(uuid_is_nil(id));
    for (int i = 0; i < UUID_LEN; i++) {
        id.b[i] = 1;
        assert_false(uuid_is_nil(id));
        id.b[i] = 0;
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_of_rfc_9562_has_its_time),
        cmocka_unit_test(only_version_7_has_a_time),
        cmocka_unit_test(new_ids_carry_version_variant_and_time),
        cmocka_unit_test(
            ids_of_the_same_millisecond_fill_all_their_random_bits),
        cmocka_unit_test(derived_ids_are_the_same_for_ever),
        cmocka_unit_test(a_digest_becomes_an_id_of_version_8),
        cmocka_unit_test(text_goes_there_and_back),
        cmocka_unit_test(every_other_character_is_refused_everywhere),
        cmocka_unit_test(halves_are_in_network_order),
        cmocka_unit_test(only_all_zero_is_nil),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
