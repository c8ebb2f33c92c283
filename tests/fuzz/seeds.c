/* SPDX-License-Identifier: MPL-2.0 */
/*
 * seeds - writes well-formed inputs for the fuzz targets, made by our own
 * encoders, into OUT/fuzz_NAME/: seeds OUT
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/logfix.h"
#include "lib/tmpdir.h"
#include "store/ids.h"
#include "wire/append.h"
#include "wire/hop.h"
#include "wire/projection.h"
#include "wire/query.h"

struct part {
    const void *p;
    size_t len;
};

static const char *out;

/* Writes one seed of `count` parts. */
static void
seed(const char *target, const char *name, const struct part *parts,
     unsigned count)
{
    char path[4096];
    FILE *file;

    (void)snprintf(path, sizeof path, "%s/%s", out, target);
    (void)mkdir(path, 0777);
    (void)snprintf(path, sizeof path, "%s/%s/%s", out, target, name);
    file = fopen(path, "wb");
    for (unsigned i = 0; file != NULL && i < count; i++)
        if (fwrite(parts[i].p, 1, parts[i].len, file) != parts[i].len)
            break;
    if (file == NULL || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}

/* ---- messages ---------------------------------------------------------- */

static void
seed_message(const char *name, uint8_t kind, struct message *message)
{
    uint8_t head[3] = { kind, 0, 0 };
    struct part parts[] = {
        { head, 3 },
        { message_data(message, 0), message_len(message, 0) },
        { NULL, 0 },
    };

    head[1] = (uint8_t)parts[1].len;
    head[2] = (uint8_t)(parts[1].len >> 8);
    if (message->count > 1)
        parts[2] =
            (struct part){ message_data(message, 1), message_len(message, 1) };
    seed("fuzz_wire", name, parts, 3);
    message_clear(message);
}

static void
seed_append(void)
{
    static const char texts[] = "\3s-1TypetaG{}12345678";
    static const struct wire_item items[] = {
        { 2, 1, 7, (const uint8_t *)"\1\3\3AAbctaG" },
        { 0, 1, 3, (const uint8_t *)"\3taG" },
    };
    const struct wire_check checks[] = {
        { "s-1", 3, WIRE_EXPECT_NONE, 0, NULL, 0 },
        { "s-2", 3, WIRE_EXPECT_EXACT, 7, NULL, 0 },
        { NULL, 0, WIRE_EXPECT_NO_MATCH, 5, items, 2 },
        { NULL, 0, WIRE_EXPECT_NO_EVENT, 9, NULL, 0 },
    };
    const struct wire_event events[] = {
        { .schema = 1,
          .stream_len = 3,
          .type_len = 4,
          .tag_count = 1,
          .tags_len = 3,
          .meta_len = 2,
          .data_len = 8,
          .text = (const uint8_t *)texts },
    };
    struct wire_command command = {
        .id = { { 1, 2, 3 } },
        .checks = checks,
        .check_count = 2,
        .events = events,
        .event_count = 1,
        .show = 5,
    };
    struct append_builder builder = { 0 };
    struct message message = { .count = 0 };

    (void)append_builder_add(&builder, &command);
    command.id.b[0]++;
    command.check_count = 4;
    command.flags = COMMAND_FLAG_DRY_RUN;
    (void)append_builder_add(&builder, &command);
    (void)append_builder_finish(&builder, &message);
    append_builder_free(&builder);
    seed_message("append", KIND_APPEND, &message);
}

static void
seed_outcomes(void)
{
    static const uint64_t versions[] = { 1, 2 };
    static const struct wire_verdict verdicts[] = { { 0, false, 3, 4, 9 } };
    const struct wire_outcome outcomes[] = {
        { .first_position = 1,
          .last_position = 2,
          .versions = versions,
          .version_count = 2 },
        { .code = ANSWER_CONFLICT,
          .verdicts = verdicts,
          .verdict_count = 1,
          .detail = "why",
          .detail_len = 3,
          .more = true,
          .records = (const uint8_t *)"12345678",
          .records_len = 8 },
    };
    struct appended_builder builder = { 0 };
    struct message message = { .count = 0 };

    for (int kind = 0; kind < 2; kind++) {
        (void)appended_builder_add(&builder, &outcomes[0]);
        (void)appended_builder_add(&builder, &outcomes[1]);
        (void)appended_builder_finish(
            &builder, kind ? KIND_OUTCOMES : KIND_APPENDED, &message);
        seed_message(kind ? "outcomes" : "appended",
                     kind ? KIND_OUTCOMES : KIND_APPENDED, &message);
    }
    appended_builder_free(&builder);
}

static void
seed_submit(void)
{
    static const struct wire_item items[] = {
        { 1, 1, 4, (const uint8_t *)"\1\3TtaG" },
    };
    static const struct wire_check checks[] = {
        { "s-1", 3, WIRE_EXPECT_EXACT, 1, NULL, 0 },
        { NULL, 0, WIRE_EXPECT_NO_MATCH, 1, items, 1 },
    };
    const struct wire_command command = { .checks = checks,
                                          .check_count = 2,
                                          .show = 3 };
    const struct event_text event = { .stream = "s-1",
                                      .type = "T",
                                      .data = "d" };
    struct submit_builder builder = { 0 };
    struct message message = { .count = 0 };
    uint32_t len;
    uint8_t *commit = commit_make((struct uuid){ { 1 } }, &event, 1, &len);
    uint8_t *place;

    (void)submit_builder_add(&builder, 1, &command, len, &place);
    memcpy(place, commit, len);
    (void)submit_builder_finish(&builder, 1, &message);
    submit_builder_free(&builder);
    free(commit);
    seed_message("submit", KIND_SUBMIT, &message);
}

static void
seed_small_messages(void)
{
    const struct read_request read = {
        .event_max = 10,
        .selectors = { { 's', 3, "s-1" }, { 't', 1, "T" } },
        .selector_count = 2,
    };
    const struct read_answer events = { .next = 5, .watermark = 9 };
    const struct projection_request projection = { .op = PROJECTION_WAIT };
    const struct projection_answer projected = { .checkpoint = 3 };
    struct message message = { .count = 0 };

    (void)read_encode(&read, &message);
    seed_message("read", KIND_READ, &message);
    (void)events_encode(&events, NULL, &message);
    seed_message("events", KIND_EVENTS, &message);
    (void)projection_encode(&projection, &message);
    seed_message("projection", KIND_PROJECTION, &message);
    (void)projected_encode(&projected, "p", "t", &message);
    seed_message("projected", KIND_PROJECTED, &message);
    (void)ping_encode(1, &message);
    seed_message("ping", KIND_PING, &message);
    (void)pong_encode(&(struct pong){ .request = 1 }, "writer", &message);
    seed_message("pong", KIND_PONG, &message);
    (void)refused_encode(ANSWER_INVALID, "no", &message);
    seed_message("refused", KIND_REFUSED, &message);
    (void)hello_encode(&(struct hello){ 1, 2 }, &message);
    seed_message("hello", KIND_HELLO, &message);
    (void)welcome_encode(&(struct welcome){ .writer = 1 }, &message);
    seed_message("welcome", KIND_WELCOME, &message);
    (void)doorbell_encode(&(struct doorbell){ 1, 2 }, &message);
    seed_message("doorbell", KIND_DOORBELL, &message);
    (void)farewell_encode(&(struct farewell){ 1, true }, &message);
    seed_message("farewell", KIND_FAREWELL, &message);
}

/* The fields of fuzz_image's format, one after the other. */
static void
seed_image(void)
{
    static const uint8_t fields[] = "\1\0\2\0"
                                    "c"
                                    "jj"
                                    "iiii"
                                    "uuuu"
                                    "IIIIIIII"
                                    "UUUUUUUU"
                                    "ffffffff"
                                    "\3\0\0\0ab"
                                    "\2\0\0\0xy"
                                    "\1\0\0\0"
                                    "\2\0\0\0z"
                                    "\1\0\0\0"
                                    "c\1\0\0\0q"
                                    "\1\0\0\0"
                                    "UUUUUUU";

    seed("fuzz_image", "all", (struct part[]){ { fields, sizeof fields } }, 1);
}

/* ---- the log ----------------------------------------------------------- */

static void
seed_segment(const uint8_t *file, size_t len, const char *name)
{
    size_t end = (size_t)segment_data_end(len), used = end, foot = len;
    uint8_t head[3] = { 0 };
    uint16_t pages = (uint16_t)(len / SEGMENT_LEN_UNIT);

    while (used > SECTOR_LEN && file[used - 1] == 0)
        used--;
    while (foot > end && file[foot - 1] == 0)
        foot--;
    head[1] = (uint8_t)(foot - end);
    head[2] = (uint8_t)((foot - end) >> 8);
    seed("fuzz_log", name,
         (struct part[]){
             { head, 3 }, { file + end, foot - end }, { file, used } },
         3);
    head[1] = (uint8_t)pages;
    head[2] = (uint8_t)(pages >> 8);
    seed("fuzz_segment", name,
         (struct part[]){
             { head, 3 }, { file, SECTOR_LEN }, { file + end, foot - end } },
         3);
    if (used > SECTOR_LEN)
        seed("fuzz_record", name,
             (struct part[]){ { "", 1 },
                              { file + SECTOR_LEN, used - SECTOR_LEN } },
             2);
}

static void
seed_file(const struct logfix *fix, const char *target, const char *name)
{
    size_t len;
    uint8_t *file = file_read(tmpdir_path(logfix_dir(fix), name), &len);

    if (strcmp(target, "fuzz_table") == 0) {
        memmove(file + 3 * SECTOR_LEN, file + 4096, len - 4096);
        len -= 4096 - 3 * SECTOR_LEN;
    }
    seed(target, name, (struct part[]){ { "\1", 1 }, { file, len } }, 2);
    free(file);
}

static void
seed_log(void)
{
    static const struct event_text events[] = {
        { "s-1", "T", "data", "meta", { "g1", "g2" } },
        { "a-2", "U", "more", NULL, { "g1" } },
    };
    struct logfix fix;
    uint8_t *file;
    size_t len;

    logfix_open(&fix, &sys_real,
                &(struct appender_options){
                    .segment_len = SEGMENT_LEN_MIN,
                    .group_len_max = 16384,
                    .checkpoint_bytes = 16384,
                    .table_slots = TABLE_SLOTS_MIN,
                });
    for (uint8_t i = 1; i < 6; i++) {
        (void)logfix_append(&fix, (struct uuid){ { i } }, NULL, 0, events, 2);
        if (i % 2 == 1)
            logfix_sync(&fix);
    }
    logfix_sync(&fix);
    file = file_read(tmpdir_path(logfix_dir(&fix), "00000000000000000001.log"),
                     &len);
    seed_segment(file, len, "growing");
    free(file);
    while (evlog_segment_count(appender_log(fix.appender)) < 3)
        (void)logfix_put(&fix, "s-1", 6000);
    logfix_jobs(&fix);
    logfix_stop(&fix);
    file = file_read(tmpdir_path(logfix_dir(&fix), "00000000000000000001.log"),
                     &len);
    seed_segment(file, len, "sealed");
    free(file);
    seed_file(&fix, "fuzz_ids", "00000000000000000001.ids");
    seed_file(&fix, "fuzz_table", "table.1");
    file = file_read(logfix_control(&fix), &len);
    seed("fuzz_control", "control", (struct part[]){ { file, len } }, 1);
    free(file);
    logfix_close(&fix);
}

/* ---- texts ------------------------------------------------------------- */

static void
seed_texts(void)
{
    static const char *const texts[] = {
        "\1--@ projection p\n--@ select category a b\n--@ schema\n"
        "CREATE TABLE t(a);\n--@ on T U\nINSERT INTO t VALUES(:data);\n"
        "--@ on *\nDELETE FROM t;\n--@ reset\nDROP TABLE t;\n",
        "\2{\"stream\":\"s-1\",\"type\":\"T\",\"data\":{\"a\":[1,null]},"
        "\"tags\":[\"x\"],\"expect\":3,\"checks\":{\"b\":\"none\"},"
        "\"more\":true,\"meta_text\":\"m\\u00e9\",\"schema\":2,"
        "\"command\":\"01890000-0000-7000-8000-000000000001\"}",
        "\2{\"stream\":\"s-1\",\"type\":\"T\",\"data_base64\":\"AAEC\","
        "\"content_type\":\"x/y\",\"id\":"
        "\"01890000-0000-7000-8000-000000000001\"}",
        "\3# a comment\nlog\n    directory = /x\nlimits\n    count = 7\n"
        "    bytes = 4K\nwait = 3s\nendpoint = \"tcp://127.0.0.1:1\"\n"
        "source = publisher\n",
    };

    for (unsigned i = 0; i < sizeof texts / sizeof *texts; i++)
        seed("fuzz_text", (char[]){ (char)('a' + i), 0 },
             (struct part[]){ { texts[i], strlen(texts[i]) } }, 1);
}

/* What clients send behind their greeting: a byte and a number in front. */
static void
seed_streams(void)
{
    static const char *const names[] = { "null", "curve" };
    static const char null[] = "\0cutcutcu\4\x29\5READY\13Socket-Type\0\0\0"
                               "\6DEALER\10Identity\0\0\0\0\1\0\0\3abc";
    static const char curve[] = "\1cutcutcu\4\6\5HELLO\4\11\10INITIATE\2\0\0\0"
                                "\0\0\0\0\20\7MESSAGEabcdefgh";
    const struct part parts[] = { { null, sizeof null - 1 },
                                  { curve, sizeof curve - 1 } };

    for (size_t i = 0; i < 2; i++)
        seed("fuzz_zmtp", names[i], &parts[i], 1);
}

int
main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: seeds OUT\n");
        return 64;
    }
    out = argv[1];
    (void)mkdir(out, 0777);
    seed_append();
    seed_outcomes();
    seed_submit();
    seed_small_messages();
    seed_image();
    seed_log();
    seed_texts();
    seed_streams();
    return 0;
}
