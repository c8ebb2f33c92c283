/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The bytes of protocol version 1: what common/wire makes is
 * tests/data/protocol-1/vectors, which tests/unit/test_protocol.py makes
 * from doc/PROTOCOL.md, and what stands there is understood.
 */
#include "lib/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "lib/guard.h"
#include "wire/append.h"
#include "wire/hop.h"
#include "wire/projection.h"
#include "wire/query.h"

#define VECTORS "tests/data/protocol-1/vectors"
#define LINE_LEN 8192

static const struct uuid id = { { 0x01, 0x8b, 0xcf, 0xe5, 0x68, 0, 0x70, 0,
                                  0x80, 0, 0, 0, 0, 0, 0, 1 } };
static const struct uuid second_id = { { 0x01, 0x8b, 0xcf, 0xe5, 0x68, 0, 0x70,
                                         0, 0x80, 0, 0, 0, 0, 0, 0, 2 } };
static const struct uuid log_id = { { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x46,
                                      0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd,
                                      0xee, 0xff } };

/* ---- the file ---------------------------------------------------------- */

static uint8_t
digit(char c)
{
    return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static void
add_hex(struct message *message, const char *hex)
{
    uint8_t bytes[LINE_LEN];
    size_t len = strcmp(hex, "-") == 0 ? 0 : strlen(hex) / 2;

    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
    assert_int_equal(message_add(message, bytes, len), 0);
}

/* The frames of the vector with this name. */
static void
load(const char *name, struct message *message)
{
    char line[LINE_LEN];
    FILE *file = fopen(VECTORS, "r");

    assert_non_null(file);
    *message = (struct message){ .count = 0 };
    while (message->count == 0 && fgets(line, sizeof line, file) != NULL) {
        char *rest, *word = strtok_r(line, " \n", &rest);

        if (word == NULL || strcmp(word, name) != 0)
            continue;
        while ((word = strtok_r(NULL, " \n", &rest)) != NULL)
            add_hex(message, word);
    }
    (void)fclose(file);
    if (message->count == 0)
        fail_msg("there is no vector %s", name);
}

/* The message is the vector, byte for byte; empties it. */
static void
same(const char *name, struct message *made)
{
    struct message vector;

    load(name, &vector);
    assert_int_equal(made->count, vector.count);
    for (int i = 0; i < made->count; i++) {
        assert_int_equal(message_len(made, i), message_len(&vector, i));
        assert_memory_equal(message_data(made, i), message_data(&vector, i),
                            message_len(made, i));
    }
    message_clear(&vector);
    message_clear(made);
}

/* ---- commands ---------------------------------------------------------- */

static const char first_text[] =
    "\x0a\x06order-1Placedapplication/jsoncustomer:7shop:1{}{\"total\":12}";
static const char second_text[] = "stock-1Reserved";

static const struct wire_event events[] = {
    { .id = { { 0x01, 0x8b, 0xcf, 0xe5, 0x68, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0,
                0, 1 } },
      .correlation_id = { { [15] = 1 } },
      .causation_id = { { [15] = 2 } },
      .schema = 2,
      .stream_len = 7,
      .type_len = 6,
      .content_type_len = 16,
      .tag_count = 2,
      .tags_len = 16,
      .meta_len = 2,
      .data_len = 12,
      .text = (const uint8_t *)first_text },
    { .schema = 1,
      .stream_len = 7,
      .type_len = 8,
      .text = (const uint8_t *)second_text },
};

static const struct wire_check checks[] = {
    { "order-1", 7, WIRE_EXPECT_EXACT, 4 },
    { "customer-7", 10, WIRE_EXPECT_EXISTS, 0 },
};

static void
append(void **state)
{
    const struct wire_command commands[] = {
        { id, checks, 2, events, 2 },
        { second_id, NULL, 0, events + 1, 1 },
    };
    struct append_builder builder = { 0 };
    struct append_batch batch = { 0 };
    struct message made = { .count = 0 }, vector;

    (void)state;
    assert_int_equal(append_builder_add(&builder, &commands[0]), 0);
    assert_int_equal(append_builder_add(&builder, &commands[1]), 0);
    assert_int_equal(append_builder_finish(&builder, &made), 0);
    same("append", &made);
    load("append", &vector);
    assert_int_equal(
        append_decode(&vector.frames[0], &vector.frames[1], &batch), 0);
    assert_int_equal(batch.command_count, 2);
    assert_true(uuid_equal(batch.commands[0].id, id));
    assert_true(uuid_equal(batch.commands[1].id, second_id));
    assert_int_equal(batch.commands[0].check_count, 2);
    assert_int_equal(batch.commands[0].checks[0].version, 4);
    assert_int_equal(batch.commands[0].checks[1].expect, WIRE_EXPECT_EXISTS);
    assert_memory_equal(batch.commands[0].checks[1].stream, "customer-7", 10);
    assert_int_equal(batch.commands[0].event_count, 2);
    assert_true(uuid_equal(batch.commands[0].events[0].id, events[0].id));
    assert_memory_equal(batch.commands[0].events[0].text, first_text,
                        sizeof first_text - 1);
    assert_memory_equal(batch.commands[1].events[0].text, second_text,
                        sizeof second_text - 1);
    append_builder_free(&builder);
    append_batch_free(&batch);
    message_clear(&vector);
}

static void
appended(void **state)
{
    static const uint64_t versions[] = { 5, 1 };
    static const struct wire_failure failures[] = { { 0, 9 } };
    const struct wire_outcome outcomes[] = {
        { .id = id,
          .repeated = true,
          .first_position = 7,
          .last_position = 8,
          .time_us = UINT64_C(1700000000000000),
          .versions = versions,
          .version_count = 2 },
        { .id = second_id,
          .code = ANSWER_CONFLICT,
          .failures = failures,
          .failure_count = 1,
          .detail = "why",
          .detail_len = 3 },
    };
    struct appended_builder builder = { 0 };
    struct outcome_batch batch = { 0 };
    struct message made = { .count = 0 }, vector;

    (void)state;
    assert_int_equal(appended_builder_add(&builder, &outcomes[0]), 0);
    assert_int_equal(appended_builder_add(&builder, &outcomes[1]), 0);
    assert_int_equal(appended_builder_finish(&builder, KIND_APPENDED, &made),
                     0);
    same("appended", &made);
    load("appended", &vector);
    assert_int_equal(appended_decode(&vector.frames[0], &vector.frames[1],
                                     KIND_APPENDED, &batch),
                     0);
    assert_int_equal(batch.outcome_count, 2);
    assert_true(batch.outcomes[0].repeated);
    assert_int_equal(batch.outcomes[0].last_position, 8);
    assert_int_equal(batch.outcomes[0].versions[1], 1);
    assert_int_equal(batch.outcomes[1].failures[0].actual, 9);
    assert_memory_equal(batch.outcomes[1].detail, "why", 3);
    message_clear(&vector);

    assert_int_equal(
        appended_builder_add(&builder,
                             &(struct wire_outcome){ .id = id,
                                                     .code = ANSWER_BUSY,
                                                     .retry_ms = 250,
                                                     .detail = "full",
                                                     .detail_len = 4 }),
        0);
    assert_int_equal(appended_builder_finish(&builder, KIND_APPENDED, &made),
                     0);
    same("busy", &made);
    appended_builder_free(&builder);
    outcome_batch_free(&batch);
}

/* ---- reading ----------------------------------------------------------- */

static void
reading(void **state)
{
    const struct read_request request = {
        .request = 7,
        .direction = READ_BACKWARD,
        .from_kind = READ_FROM_NUMBER,
        .from = 100,
        .event_max = 10,
        .len_max = 65536,
        .wait_ms = 1000,
        .selectors = { { SELECT_CATEGORY, 5, "order" },
                       { SELECT_TYPE, 6, "Placed" } },
        .selector_count = 2,
    };
    const struct read_answer refused = { .request = 7, .code = ANSWER_INVALID };
    const struct read_answer answer = { .request = 7,
                                        .at_end = true,
                                        .next = 9,
                                        .watermark = 8,
                                        .event_count = 2 };
    struct message made = { .count = 0 }, vector;
    struct read_request got;
    struct read_answer got_answer;

    (void)state;
    assert_int_equal(read_encode(&request, &made), 0);
    same("read", &made);
    load("read", &vector);
    assert_int_equal(read_decode(&vector.frames[0], &vector.frames[1], &got),
                     0);
    assert_int_equal(got.from, 100);
    assert_int_equal(got.selector_count, 2);
    assert_memory_equal(got.selectors[1].text, "Placed", 6);
    message_clear(&vector);
    assert_int_equal(events_encode(&refused, "from: ...", &made), 0);
    same("events-refused", &made);
    assert_int_equal(events_encode(&answer, NULL, &made), 0);
    same("events", &made);
    load("events", &vector);
    assert_int_equal(events_decode(&vector.frames[0], &got_answer), 0);
    assert_true(got_answer.at_end && got_answer.event_count == 2);
    message_clear(&vector);
}

/* ---- all the others ---------------------------------------------------- */

static void
small_ones(void **state)
{
    const struct pong pong = { 7, 42, log_id, 8 };
    const struct projection_request projection = {
        .request = 7, .op = PROJECTION_WAIT, .position = 8, .wait_ms = 5000
    };
    const struct projection_answer projected = {
        .request = 7,
        .state = PROJECTION_LIVE,
        .checkpoint = 8,
        .watermark = 8,
        .events = 8,
        .transactions = 1,
        .time_us = UINT64_C(1700000000000000),
    };
    const struct welcome welcome = { 42, log_id, 8388608, 8 };
    struct message made = { .count = 0 }, vector;
    struct pong got;

    (void)state;
    assert_int_equal(ping_encode(7, &made), 0);
    same("ping", &made);
    assert_int_equal(pong_encode(&pong, "cairn-gateway 0.1", &made), 0);
    same("pong", &made);
    assert_int_equal(refused_encode(ANSWER_INVALID, "no message", &made), 0);
    same("refused", &made);
    assert_int_equal(projection_encode(&projection, &made), 0);
    same("projection", &made);
    assert_int_equal(projected_encode(&projected, "files", "", &made), 0);
    same("projected", &made);
    assert_int_equal(hello_encode(&(struct hello){ 41 }, &made), 0);
    same("hello", &made);
    assert_int_equal(welcome_encode(&welcome, &made), 0);
    same("welcome", &made);
    assert_int_equal(doorbell_encode(&(struct doorbell){ 8, 42 }, &made), 0);
    same("doorbell", &made);
    load("pong", &vector);
    assert_int_equal(pong_decode(&vector.frames[0], &got), 0);
    assert_true(uuid_equal(got.log_id, log_id) && got.instance == 42);
    message_clear(&vector);
}

/* ---- what is not quite a message --------------------------------------- */

static int
decode_append(const uint8_t *header, size_t header_len, const uint8_t *body,
              size_t body_len)
{
    static struct append_batch batch;
    struct message message = { .count = 0 };
    int rc;

    assert_int_equal(
        message_add(&message, guarded(header, header_len), header_len), 0);
    assert_int_equal(message_add(&message, body, body_len), 0);
    rc = append_decode(&message.frames[0], &message.frames[1], &batch);
    message_clear(&message);
    return rc;
}

static void
what_is_cut_or_bent_is_refused(void **state)
{
    struct message vector;
    uint8_t header[1024];
    const uint8_t *body;
    size_t len, body_len, fixed;

    (void)state;
    load("append", &vector);
    len = message_len(&vector, 0);
    body = message_data(&vector, 1);
    body_len = message_len(&vector, 1);
    memcpy(header, message_data(&vector, 0), len);
    assert_int_equal(decode_append(header, len, body, body_len), 0);
    for (size_t n = 0; n < len; n++)
        assert_int_equal(decode_append(header, n, body, body_len),
                         -CAIRN_EMESSAGE);
    for (size_t n = 0; n < body_len; n++)
        assert_int_equal(decode_append(header, len, body, n), -CAIRN_EMESSAGE);
    fixed = 8 + strlen((const char *)header + 8) + 1 + 4; /* version, kind */
    for (size_t i = 0; i < fixed * 8; i++) {
        header[i / 8] ^= (uint8_t)(1u << i % 8);
        assert_int_equal(decode_append(header, len, body, body_len),
                         -CAIRN_EMESSAGE);
        header[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    message_clear(&vector);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(append),
        cmocka_unit_test(appended),
        cmocka_unit_test(reading),
        cmocka_unit_test(small_ones),
        cmocka_unit_test(what_is_cut_or_bent_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
