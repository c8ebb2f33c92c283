/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/cmocka.h"

#include "base/crc32c.h"

#if defined(__x86_64__)
#include <stdbool.h>

#include <cpuid.h>
#endif

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

#if defined(__x86_64__)
#define UPPER_PARTS 0x44u /* of the first 16 registers: AVX, ZMM_Hi256 */

static void
use_upper_parts(void)
{
    __asm__ volatile("vpcmpeqd %%xmm0, %%xmm0, %%xmm0\n\t"
                     "vinsertf128 $1, %%xmm0, %%ymm0, %%ymm0" ::
                         : "xmm0");
}

static void
clear_upper_parts(void)
{
    __asm__ volatile("vzeroupper");
}

/* What is not as after a start: XGETBV with 1. */
static uint32_t
parts_in_use(void)
{
    uint32_t low, high;

    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(1));
    return low & UPPER_PARTS;
}

static bool
use_is_told(void)
{
    uint32_t a, b, c, d;
    bool told;

    if (!__builtin_cpu_supports("avx") ||
        !__get_cpuid_count(0xd, 1, &a, &b, &c, &d) || (a & 4) == 0)
        return false;
    use_upper_parts();
    told = parts_in_use() != 0;
    clear_upper_parts();
    return told && parts_in_use() == 0;
}
#endif

/* Else, all that is compiled for SSE is slow after it. */
static void
the_wide_registers_are_left_clean(void **state)
{
    (void)state;
#if defined(__x86_64__)
    static uint8_t data[4096];

    if (!use_is_told())
        skip();
    for (size_t len = 0; len <= sizeof data; len += len < 300 ? 1 : 59) {
        (void)crc32c(data, len);
        assert_int_equal(parts_in_use(), 0);
    }
#else
    skip();
#endif
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vectors_of_rfc_3720_come_out),
        cmocka_unit_test(the_check_value_of_the_catalogues_comes_out),
        cmocka_unit_test(every_length_and_alignment_agrees_with_the_definition),
        cmocka_unit_test(a_text_in_two_pieces_has_the_same_checksum),
        cmocka_unit_test(the_wide_registers_are_left_clean),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
