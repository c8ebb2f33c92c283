/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/cmocka.h"

#include "base/crc32c.h"

/* RFC 3720, section B.4, where the checksums stand in network order. */
static void
the_vectors_of_rfc_3720_come_out(void **state)
{
    static const uint8_t read_pdu[48] = {
        0x01, 0xc0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00,
        0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x18, 0x28, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    };
    uint8_t zeros[32], ones[32], up[32], down[32];

    (void)state;
    for (int i = 0; i < 32; i++) {
        zeros[i] = 0;
        ones[i] = 0xff;
        up[i] = (uint8_t)i;
        down[i] = (uint8_t)(31 - i);
    }
    assert_int_equal(crc32c(zeros, sizeof zeros), 0x8a9136aa);
    assert_int_equal(crc32c(ones, sizeof ones), 0x62a8ab43);
    assert_int_equal(crc32c(up, sizeof up), 0x46dd794e);
    assert_int_equal(crc32c(down, sizeof down), 0x113fdb5c);
    assert_int_equal(crc32c(read_pdu, sizeof read_pdu), 0xd9963a56);
}

static void
the_check_value_of_the_catalogues_comes_out(void **state)
{
    (void)state;
    assert_int_equal(crc32c("123456789", 9), 0xe3069283);
    assert_int_equal(crc32c("", 0), 0);
}

/* The definition, a bit at a time: reflected polynomial 0x1edc6f41. */
static uint32_t
slow_crc32c(const uint8_t *data, size_t len)
{
    uint32_t crc = UINT32_MAX;

    for (size_t i = 0; i < len; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0x82f63b78) : 0);
    }
    return ~crc;
}

static void
every_length_and_alignment_agrees_with_the_definition(void **state)
{
    uint8_t data[1200];

    (void)state;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * i * 7 + i / 3);
    for (size_t len = 0; len <= 1024; len += len < 80 ? 1 : 59)
        for (size_t start = 0; start < 17; start++)
            assert_int_equal(crc32c(data + start, len),
                             slow_crc32c(data + start, len));
}

static void
a_text_in_two_pieces_has_the_same_checksum(void **state)
{
    uint8_t data[333];
    uint32_t whole;

    (void)state;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i ^ i >> 3);
    whole = crc32c(data, sizeof data);
    for (size_t cut = 0; cut <= sizeof data; cut++)
        assert_int_equal(
            crc32c_more(crc32c(data, cut), data + cut, sizeof data - cut),
            whole);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vectors_of_rfc_3720_come_out),
        cmocka_unit_test(the_check_value_of_the_catalogues_comes_out),
        cmocka_unit_test(every_length_and_alignment_agrees_with_the_definition),
        cmocka_unit_test(a_text_in_two_pieces_has_the_same_checksum),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
