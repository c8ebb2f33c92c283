/* SPDX-License-Identifier: MPL-2.0 */
/* What wire/rows writes is what tpl writes, and it takes what tpl makes. */
#include "lib/cmocka.h"

#include <string.h>

#include "base/err.h"
#include "wire/image.h"
#include "wire/rows.h"

#define FORMAT "vvUA(cvU)A(u)"

struct root {
    struct rows_head head;
    struct le64 number;
};

struct row {
    uint8_t c;
    struct le16 v;
    struct le64 u;
};

/* ---- the same image, made twice ---------------------------------------- */

static void
make_with_tpl(uint32_t rows, uint32_t words, zmq_msg_t *ret_frame)
{
    uint16_t version = 1, kind = 7, v = 0;
    uint64_t number = UINT64_C(0x1122334455667788), u = 0;
    uint32_t word = 0;
    char c = 0;
    tpl_node *node =
        image_map(FORMAT, &version, &kind, &number, &c, &v, &u, &word);

    (void)tpl_pack(node, 0);
    for (uint32_t i = 0; i < rows; i++) {
        c = (char)(i + 200);
        v = (uint16_t)(i * 257);
        u = UINT64_MAX - i;
        (void)tpl_pack(node, 1);
    }
    for (uint32_t i = 0; i < words; i++) {
        word = i * 0x01010101;
        (void)tpl_pack(node, 2);
    }
    assert_int_equal(image_dump(node, ret_frame), 0);
    image_free(node);
}

static void
make_rows(uint32_t rows, uint32_t words, struct message *message)
{
    struct rows_out out;
    struct root *root;
    struct row *row;
    struct le32 *word;

    assert_int_equal(rows_begin(&out, FORMAT,
                                sizeof *root + rows_len(rows, sizeof *row) +
                                    rows_len(words, sizeof *word)),
                     0);
    root = rows_put(&out, sizeof *root);
    *root = (struct root){ { le16_of(1), le16_of(7) },
                           le64_of(UINT64_C(0x1122334455667788)) };
    row = rows_put_array(&out, rows, sizeof *row);
    for (uint32_t i = 0; i < rows; i++)
        row[i] = (struct row){ (uint8_t)(i + 200), le16_of((uint16_t)(i * 257)),
                               le64_of(UINT64_MAX - i) };
    word = rows_put_array(&out, words, sizeof *word);
    for (uint32_t i = 0; i < words; i++)
        word[i] = le32_of(i * 0x01010101);
    *message = (struct message){ .count = 0 };
    assert_int_equal(rows_finish(&out, message, (const uint8_t *)"body", 4), 0);
}

static void
the_bytes_are_those_of_tpl(void **state)
{
    static const uint32_t counts[][2] = {
        { 0, 0 }, { 1, 0 }, { 0, 3 }, { 5, 2 }, { 1000, 4096 }
    };

    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct message message;
        zmq_msg_t frame;

        make_with_tpl(counts[i][0], counts[i][1], &frame);
        make_rows(counts[i][0], counts[i][1], &message);
        assert_int_equal(message.count, 2);
        assert_int_equal(message_len(&message, 0), zmq_msg_size(&frame));
        assert_memory_equal(message_data(&message, 0), zmq_msg_data(&frame),
                            zmq_msg_size(&frame));
        assert_int_equal(message_len(&message, 1), 4);
        assert_memory_equal(message_data(&message, 1), "body", 4);
        (void)zmq_msg_close(&frame);
        message_clear(&message);
    }
}

/* ---- reading ----------------------------------------------------------- */

/* Whether a frame is read as an image of `rows` rows and `words` words. */
static bool
reads(zmq_msg_t *frame, uint32_t row_max, uint32_t rows, uint32_t words)
{
    struct rows_in in;
    uint32_t row_count, word_count;
    const struct root *root;
    const struct row *row;
    const struct le32 *word;
    int rc = rows_open(&in, FORMAT, frame, row_max);

    root = rows_get(&in, sizeof *root);
    row = rows_get_array(&in, sizeof *row, &row_count);
    word = rows_get_array(&in, sizeof *word, &word_count);
    if (rc < 0) {
        assert_int_equal(rc, -CAIRN_EMESSAGE);
        assert_false(rows_end(&in));
    }
    if (!rows_end(&in)) {
        assert_true(root == NULL || row == NULL || word == NULL || in.left > 0);
        return false;
    }
    return le16_get(root->head.kind) == 7 && row_count == rows &&
        word_count == words &&
        (rows == 0 || le64_get(row[rows - 1].u) == UINT64_MAX - (rows - 1)) &&
        (words == 0 || le32_get(word[words - 1]) == (words - 1) * 0x01010101);
}

static void
what_tpl_makes_is_read(void **state)
{
    zmq_msg_t frame;

    (void)state;
    make_with_tpl(0, 0, &frame);
    assert_true(reads(&frame, 0, 0, 0));
    (void)zmq_msg_close(&frame);
    make_with_tpl(5, 300, &frame);
    assert_true(reads(&frame, 305, 5, 300));
    assert_false(reads(&frame, 304, 5, 300)); /* one row too many */
    (void)zmq_msg_close(&frame);
}

/* What is cut or bent is not taken by rows where tpl's check refuses it, and
 * taken where it does not: then only a value is another. */
static void
what_is_bent_is_judged_as_image_check_does(void **state)
{
    zmq_msg_t whole;

    (void)state;
    make_with_tpl(3, 2, &whole);
    for (size_t at = 0; at < zmq_msg_size(&whole); at++)
        for (int bit = 0; bit < 8; bit++) {
            struct rows_in in;
            uint32_t count;
            zmq_msg_t bent;
            uint8_t *copy;
            bool taken;

            (void)zmq_msg_init_size(&bent, zmq_msg_size(&whole));
            memcpy(zmq_msg_data(&bent), zmq_msg_data(&whole),
                   zmq_msg_size(&whole));
            copy = zmq_msg_data(&bent);
            copy[at] ^= (uint8_t)(1u << bit);
            (void)rows_open(&in, FORMAT, &bent, 100);
            (void)rows_get(&in, sizeof(struct root));
            (void)rows_get_array(&in, sizeof(struct row), &count);
            (void)rows_get_array(&in, sizeof(struct le32), &count);
            taken = rows_end(&in);
            assert_int_equal(
                taken,
                image_check(FORMAT, copy, zmq_msg_size(&bent), 100) == 0);
            (void)zmq_msg_close(&bent);
        }
    for (size_t len = 0; len < zmq_msg_size(&whole); len++) {
        zmq_msg_t cut;

        (void)zmq_msg_init_size(&cut, len);
        if (len > 0)
            memcpy(zmq_msg_data(&cut), zmq_msg_data(&whole), len);
        assert_false(reads(&cut, 100, 3, 2));
        if (len >= 8) { /* and with the length that it has */
            struct le32 says = le32_of((uint32_t)len);

            memcpy((uint8_t *)zmq_msg_data(&cut) + 4, &says, sizeof says);
            assert_false(reads(&cut, 100, 3, 2));
        }
        (void)zmq_msg_close(&cut);
    }
    (void)zmq_msg_close(&whole);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bytes_are_those_of_tpl),
        cmocka_unit_test(what_tpl_makes_is_read),
        cmocka_unit_test(what_is_bent_is_judged_as_image_check_does),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
