/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/cmocka.h"

#include "base/err.h"
#include "lib/bytefix.h"
#include "lib/guard.h"
#include "lib/logfix.h"

#define GROUP_ADDRESS address_of(3, 4096)
#define FIRST 1000
#define TIME_US UINT64_C(1700000000000000)

/* A group of two commits, with one and two events. */
struct fixture {
    struct uuid log_id;
    struct group_info group;
    uint8_t *data;
    uint32_t first_len; /* of the first commit */
};

static const struct event_text texts[] = {
    { "order-1", "Placed", "{\"n\":1}", "{\"by\":\"x\"}", { "a:1", "b:22" } },
    { "order-2", "Placed", "", NULL, { NULL } },
    { "customer-1", "Charged", "0123456789abcdef", NULL, { "a:1" } },
};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    uint8_t *commits[2];
    uint32_t lens[2];

    f->log_id = uuid_v4();
    commits[0] = commit_make(uuid_v4(), texts, 1, &lens[0]);
    commits[1] = commit_make(uuid_v4(), texts + 1, 2, &lens[1]);
    f->group = (struct group_info){ .number = 8,
                                    .address = GROUP_ADDRESS,
                                    .first_position = FIRST,
                                    .time_us = TIME_US,
                                    .prev_crc = 0x12345678 };
    f->data = group_make(f->log_id, &f->group, (const uint8_t *const *)commits,
                         lens, 2);
    f->first_len = lens[0];
    free(commits[0]);
    free(commits[1]);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    free(f->data);
    free(f);
    return 0;
}

static uint8_t *
first_commit(const struct fixture *f)
{
    return f->data + sizeof(struct group_header);
}

static uint8_t *
first_event(const struct fixture *f)
{
    return first_commit(f) + sizeof(struct commit_record);
}

static uint32_t
first_event_len(const struct fixture *f)
{
    return f->first_len - (uint32_t)sizeof(struct commit_record);
}

static int
decode_group(const struct fixture *f, struct group_info *ret_group)
{
    return group_decode(f->data, f->group.group_len, f->log_id, GROUP_ADDRESS,
                        ret_group);
}

/* Decodes the whole group, header and body. */
static int
check_group(const struct fixture *f)
{
    struct group_info group;
    int rc = decode_group(f, &group);

    return rc < 0 ? rc : group_check_body(f->data, &group);
}

static void
assert_span(struct span span, const char *text)
{
    assert_int_equal(span.len, strlen(text));
    assert_memory_equal(span.p, text, span.len);
}

/* ---- what was written is read ------------------------------------------ */

static void
an_event_is_read_as_it_was_written(void **state)
{
    struct fixture *f = *state;
    struct event e;
    struct link link;

    assert_int_equal(event_decode_whole(first_event(f), first_event_len(f), &e),
                     0);
    assert_ptr_equal(e.record, first_event(f));
    assert_int_equal(e.record_len, first_event_len(f));
    assert_int_equal(e.position, FIRST);
    assert_int_equal(e.version, 1);
    assert_true(e.time_us == TIME_US);
    assert_int_equal(e.schema, 1);
    assert_int_equal(e.commit_back, sizeof(struct commit_record));
    assert_true(uuid_is_nil(event_head(&e)->correlation_id) &&
                uuid_is_nil(event_head(&e)->causation_id));
    assert_span(e.stream, "order-1");
    assert_span(e.type, "Placed");
    assert_span(e.content_type, "text");
    assert_span(e.meta, "{\"by\":\"x\"}");
    assert_span(e.data, "{\"n\":1}");
    assert_int_equal(e.tag_count, 2);
    assert_span(event_tag_link(&e, 0).name, "a:1");
    assert_span(event_tag_link(&e, 1).name, "b:22");
    assert_true(event_find_tag(&e, (struct span){ "b:22", 4 }, &link));
    assert_false(event_find_tag(&e, (struct span){ "b:2", 3 }, &link));
    assert_span(event_stream_link(&e).name, "order-1");
}

static void
a_commit_is_read_as_it_was_written(void **state)
{
    struct fixture *f = *state;
    struct commit c;
    const uint8_t *second = first_commit(f) + f->first_len;

    assert_int_equal(commit_decode(first_commit(f), f->first_len, &c), 0);
    assert_int_equal(c.commit_len, f->first_len);
    assert_int_equal(c.first_position, FIRST);
    assert_int_equal(c.event_count, 1);
    assert_true(c.time_us == TIME_US);
    assert_int_equal(commit_decode(second, 4096, &c), 0);
    assert_int_equal(c.first_position, FIRST + 1);
    assert_int_equal(c.event_count, 2);
}

static void
a_group_is_read_as_it_was_written(void **state)
{
    struct fixture *f = *state;
    struct group_info g;

    assert_int_equal(decode_group(f, &g), 0);
    assert_int_equal(g.number, 8);
    assert_true(g.address == GROUP_ADDRESS);
    assert_int_equal(g.first_position, FIRST);
    assert_int_equal(g.last_position, FIRST + 2);
    assert_true(g.time_us == TIME_US);
    assert_int_equal(g.group_len, f->group.group_len);
    assert_int_equal(g.commit_count, 2);
    assert_int_equal(g.prev_crc, 0x12345678);
    assert_int_equal(group_check_body(f->data, &g), 0);
}

static void
an_event_of_the_greatest_names_and_tags_is_read(void **state)
{
    struct event_shape shape = {
        .schema = UINT32_MAX,
        .meta_len = 3,
        .data_len = 5,
        .stream_len = 255,
        .type_len = 255,
        .content_type_len = 255,
        .tag_count = TAGS_MAX,
        .tags_len = TAGS_MAX * 255,
        .id = uuid_v4(),
        .correlation_id = uuid_v4(),
        .causation_id = uuid_v4(),
    };
    size_t text_len = (size_t)event_text_len(&shape);
    uint8_t *text = malloc(text_len);
    uint8_t *out = malloc((size_t)event_record_len(&shape));
    struct event e;

    (void)state;
    memset(text, 255, TAGS_MAX);
    for (size_t i = TAGS_MAX; i < text_len; i++)
        text[i] = (uint8_t)('a' + i % 26);
    event_encode(out, &shape, text);
    record_seal(out);
    assert_int_equal(
        event_decode_whole(out, (size_t)event_record_len(&shape), &e), 0);
    assert_int_equal(e.schema, UINT32_MAX);
    assert_true(uuid_equal(event_head(&e)->id, shape.id));
    assert_true(
        uuid_equal(event_head(&e)->correlation_id, shape.correlation_id));
    assert_true(uuid_equal(event_head(&e)->causation_id, shape.causation_id));
    for (uint32_t i = 0; i < TAGS_MAX; i++) {
        struct link link = event_tag_link(&e, i);

        assert_int_equal(link.name.len, 255);
        assert_ptr_equal(link.name.p, e.content_type.p + 255 + (size_t)i * 255);
    }
    assert_memory_equal(e.data.p, text + text_len - 5, 5);
    free(text);
    free(out);
}

static void
every_length_of_data_is_padded_with_zeros(void **state)
{
    struct event_shape shape = { .stream_len = 1, .type_len = 1 };
    uint8_t text[64], out[512];
    struct event e;

    (void)state;
    memset(text, 'z', sizeof text);
    for (shape.data_len = 0; shape.data_len < 40; shape.data_len++) {
        uint32_t len = (uint32_t)event_record_len(&shape);
        uint32_t used = 130 + shape.data_len;

        memset(out, 0xff, sizeof out);
        event_encode(out, &shape, text);
        record_seal(out);
        assert_int_equal(event_decode_whole(out, len, &e), 0);
        assert_int_equal(len % RECORD_UNIT, 0);
        assert_true(len >= used && len - used < RECORD_UNIT);
        assert_true(bytes_all_zero(out + used, len - used));
        assert_int_equal(out[len], 0xff);
    }
}

static void
padding_of_every_length_is_a_record(void **state)
{
    uint8_t out[SECTOR_LEN];
    enum record_kind kind;
    uint32_t len;

    (void)state;
    memset(out, 0xff, sizeof out);
    pad_encode(out, 0);
    assert_int_equal(out[0], 0xff);
    for (uint32_t n = RECORD_UNIT; n < SECTOR_LEN; n += RECORD_UNIT) {
        memset(out, 0xff, sizeof out);
        pad_encode(out, n);
        assert_int_equal(record_check(out, n, &kind, &len), 0);
        assert_int_equal(kind, RECORD_PAD);
        assert_int_equal(len, n);
        assert_int_equal(out[n], 0xff);
    }
}

/* ---- damage ------------------------------------------------------------ */

static void
every_flipped_bit_is_noticed(void **state)
{
    struct fixture *f = *state;

    for (size_t bit = 0; bit < (size_t)f->group.group_len * 8; bit++) {
        f->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (check_group(f) == 0)
            fail_msg("bit %zu flipped without notice", bit);
        f->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(check_group(f), 0);
}

static void
every_flipped_bit_of_an_event_is_noticed(void **state)
{
    struct fixture *f = *state;
    uint8_t *p = first_event(f);
    uint32_t len = first_event_len(f);
    struct event e;

    for (size_t bit = 0; bit < (size_t)len * 8; bit++) {
        p[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (event_decode_whole(p, len, &e) == 0)
            fail_msg("bit %zu flipped without notice", bit);
        p[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void
links_can_be_read_while_the_data_is_damaged(void **state)
{
    struct fixture *f = *state;
    struct event e;

    first_event(f)[first_event_len(f) - 1] ^= 1;
    assert_int_equal(event_decode(first_event(f), first_event_len(f), &e), 0);
    assert_int_equal(event_check_body(&e), -CAIRN_ERECORD);
    assert_int_equal(event_decode_whole(first_event(f), first_event_len(f), &e),
                     -CAIRN_ERECORD);
}

static void
bytes_cut_short_are_refused_without_looking_behind_them(void **state)
{
    struct fixture *f = *state;
    enum record_kind kind;
    struct commit c;
    struct event e;
    struct group_info g;
    uint32_t len;

    for (uint32_t n = 0; n < first_event_len(f); n++) {
        const uint8_t *p = guarded(first_event(f), n);

        assert_int_equal(event_decode_whole(p, n, &e), -CAIRN_ERECORD);
        assert_int_equal(record_check(p, n, &kind, &len), -CAIRN_ERECORD);
    }
    for (uint32_t n = 0; n < f->first_len; n++) {
        const uint8_t *p = guarded(first_commit(f), n);

        assert_int_equal(commit_decode(p, n, &c), -CAIRN_ERECORD);
        assert_int_equal(commit_check_unstamped(p, n, &c), -CAIRN_ERECORD);
    }
    for (uint32_t n = 0; n < f->group.group_len; n++)
        assert_int_equal(
            group_decode(guarded(f->data, n), n, f->log_id, GROUP_ADDRESS, &g),
            -CAIRN_ERECORD);
    /* Whole, and right before the guard. */
    assert_int_equal(
        event_decode_whole(guarded(first_event(f), first_event_len(f)),
                           first_event_len(f), &e),
        0);
}

static void
kinds_and_lengths_that_do_not_fit_are_refused(void **state)
{
    static const uint32_t lens[] = { 0,   8,   56,  64,  72,  120,
                                     128, 136, 504, 512, 520, 4096 };
    uint8_t data[4096] = { 0 };
    enum record_kind kind;
    uint32_t len;

    (void)state;
    for (uint32_t k = 0; k < 256; k++)
        for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
            struct record_prefix p = { .shape = record_shape(k, lens[i]) };
            bool fits = (k == RECORD_PAD && lens[i] >= 8 && lens[i] < 512) ||
                (k == RECORD_GROUP && lens[i] == 128) ||
                (k == RECORD_COMMIT && lens[i] == 64) ||
                (k == RECORD_EVENT && lens[i] >= 128);

            memcpy(data, &p, sizeof p);
            (void)reseal_record(data, sizeof data);
            if ((record_check(data, sizeof data, &kind, &len) == 0) != fits)
                fail_msg("kind %u, length %u", k, lens[i]);
        }
}

static void
one_decoder_does_not_take_the_records_of_another(void **state)
{
    struct fixture *f = *state;
    struct commit c;
    struct event e;
    struct group_info g;
    const uint8_t *commit = first_commit(f), *event = first_event(f);

    assert_int_equal(event_decode(commit, 4096, &e), -CAIRN_ERECORD);
    assert_int_equal(event_decode(f->data, 4096, &e), -CAIRN_ERECORD);
    assert_int_equal(commit_decode(event, 4096, &c), -CAIRN_ERECORD);
    assert_int_equal(commit_decode(f->data, 4096, &c), -CAIRN_ERECORD);
    assert_int_equal(group_decode(commit, 4096, f->log_id, GROUP_ADDRESS, &g),
                     -CAIRN_ERECORD);
    assert_int_equal(group_decode(event, 4096, f->log_id, GROUP_ADDRESS, &g),
                     -CAIRN_ERECORD);
}

/* ---- the rules of an event, behind right checksums --------------------- */

static int
decode_resealed(struct fixture *f)
{
    struct event e;

    (void)reseal_record(first_event(f), first_event_len(f));
    return event_decode_whole(first_event(f), first_event_len(f), &e);
}

static void
an_event_whose_lengths_do_not_add_up_is_refused(void **state)
{
    struct fixture *f = *state;
    struct event_record *e = (struct event_record *)first_event(f);
    struct event_record good = *e;

    e->data_len = le32_of(le32_get(good.data_len) + 8);
    assert_int_equal(decode_resealed(f), -CAIRN_ERECORD);
    e->data_len = le32_of(UINT32_MAX - 7);
    assert_int_equal(decode_resealed(f), -CAIRN_ERECORD);
    *e = good;
    e->meta_len = le32_of(UINT32_MAX);
    assert_int_equal(decode_resealed(f), -CAIRN_ERECORD);
    *e = good;
    e->stream_len = 255;
    assert_int_equal(decode_resealed(f), -CAIRN_ERECORD);
    *e = good;
    e->tags_len = le16_of((uint16_t)(le16_get(good.tags_len) + 1));
    assert_int_equal(decode_resealed(f), -CAIRN_ERECORD);
    *e = good;
    e->tag_count = 1; /* the text is then another, of another length */
    assert_int_equal(decode_resealed(f), -CAIRN_ERECORD);
    *e = good;
    assert_int_equal(decode_resealed(f), 0);
}

static void
an_event_with_more_tags_than_allowed_is_refused(void **state)
{
    struct event_shape shape = { .stream_len = 1,
                                 .type_len = 1,
                                 .tag_count = TAGS_MAX + 1,
                                 .tags_len = TAGS_MAX + 1 };
    uint8_t text[2 * (TAGS_MAX + 1) + 2], out[2048];
    struct event e;

    (void)state;
    memset(text, 1, sizeof text);
    event_encode(out, &shape, text);
    record_seal(out);
    assert_int_equal(event_decode(out, sizeof out, &e), -CAIRN_ERECORD);
    shape.tag_count = TAGS_MAX;
    shape.tags_len = TAGS_MAX;
    event_encode(out, &shape, text);
    record_seal(out);
    assert_int_equal(event_decode(out, sizeof out, &e), 0);
}

static void
a_commit_that_cannot_hold_its_events_is_refused(void **state)
{
    struct fixture *f = *state;
    struct commit_record *r = (struct commit_record *)first_commit(f);
    struct commit_record good = *r;
    struct commit c;
    static const struct {
        uint32_t event_count, commit_len;
    } bad[] = {
        { 0, 512 },  { 1, 64 + 120 },      { 1, 64 + 132 },   { 2, 64 + 255 },
        { 1, 4104 }, { UINT32_MAX, 4096 }, { 1, UINT32_MAX }, { 1, 0 },
    };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        r->event_count = le32_of(bad[i].event_count);
        r->commit_len = le32_of(bad[i].commit_len);
        record_seal((uint8_t *)r);
        assert_int_equal(commit_decode((uint8_t *)r, 4096, &c), -CAIRN_ERECORD);
    }
    *r = good;
    r->event_count = le32_of(1);
    r->commit_len = le32_of(64 + 128);
    record_seal((uint8_t *)r);
    assert_int_equal(commit_decode((uint8_t *)r, 4096, &c), 0);
}

/* ---- the rules of a group, behind right checksums ---------------------- */

static int
check_resealed(struct fixture *f)
{
    (void)reseal_group(f->data, f->group.group_len);
    return check_group(f);
}

static void
a_group_header_that_breaks_a_rule_is_refused(void **state)
{
    struct fixture *f = *state;
    struct group_header *h = (struct group_header *)f->data;
    struct group_header good = *h;
    struct group_info g;
    uint32_t len = f->group.group_len;
    struct uuid other = uuid_v4();

    assert_int_equal(group_decode(f->data, len, other, GROUP_ADDRESS, &g),
                     -CAIRN_EOTHERLOG);
    assert_int_equal(
        group_decode(f->data, len, f->log_id, GROUP_ADDRESS + 512, &g),
        -CAIRN_ERECORD);
#define REFUSED(change)                                        \
    do {                                                       \
        change;                                                \
        record_seal(f->data);                                  \
        assert_int_equal(decode_group(f, &g), -CAIRN_ERECORD); \
        *h = good;                                             \
    } while (0)
    REFUSED(h->group_len = le32_of(len + 512));
    REFUSED(h->group_len = le32_of(len - 8));
    REFUSED(h->group_len = le32_of(0));
    REFUSED(h->commit_count = le32_of(0));
    REFUSED(h->first_position = le64_of(0));
    REFUSED(h->last_position = le64_of(FIRST - 1));
#undef REFUSED
    record_seal(f->data);
    assert_int_equal(check_group(f), 0);
}

static void
a_group_body_that_breaks_a_rule_is_refused(void **state)
{
    struct fixture *f = *state;
    struct group_header *h = (struct group_header *)f->data;
    struct commit_record *c = (struct commit_record *)first_commit(f);
    struct event_record *e = (struct event_record *)first_event(f);
    uint8_t *good = malloc(f->group.group_len);

    memcpy(good, f->data, f->group.group_len);
#define REFUSED(change)                                      \
    do {                                                     \
        change;                                              \
        assert_int_equal(check_resealed(f), -CAIRN_ERECORD); \
        memcpy(f->data, good, f->group.group_len);           \
    } while (0)
    REFUSED(h->commit_count = le32_of(1));
    REFUSED(h->commit_count = le32_of(3));
    REFUSED(h->last_position = le64_of(FIRST + 1));
    REFUSED(h->last_position = le64_of(FIRST + 3));
    REFUSED(h->time_us = le64_of(TIME_US + 1));
    REFUSED(c->first_position = le64_of(FIRST + 1));
    REFUSED(c->time_us = le64_of(TIME_US + 1)); /* the next is older, then */
    REFUSED(c->event_count = le32_of(2));
    REFUSED(c->commit_len = le32_of(f->first_len + 8));
    REFUSED(c->commit_len = le32_of(f->first_len - 8));
    REFUSED(e->position = le64_of(FIRST + 1));
    REFUSED(e->stream_link.ordinal = le64_of(0));
    REFUSED(e->time_us = le64_of(TIME_US - 1));
    REFUSED(e->commit_back = le32_of(56));
    REFUSED(e->commit_back = le32_of(UINT32_MAX));
#undef REFUSED
    assert_int_equal(check_resealed(f), 0);
    free(good);
}

static void
a_group_whose_end_is_not_padding_is_refused(void **state)
{
    struct fixture *f = *state;
    uint32_t at = (uint32_t)sizeof(struct group_header), pad_at;
    enum record_kind kind;
    uint32_t len;

    do {
        pad_at = at;
        assert_int_equal(
            record_check(f->data + at, f->group.group_len - at, &kind, &len),
            0);
        at += len;
    } while (kind != RECORD_PAD);
    assert_int_equal(at, f->group.group_len);
    memset(f->data + pad_at, 0, at - pad_at);
    assert_int_equal(check_resealed(f), -CAIRN_ERECORD);
    pad_encode(f->data + pad_at, at - pad_at - RECORD_UNIT);
    assert_int_equal(check_resealed(f), -CAIRN_ERECORD);
    pad_encode(f->data + pad_at, at - pad_at);
    assert_int_equal(check_resealed(f), 0);
}

static void
a_group_without_room_for_padding_needs_none(void **state)
{
    struct fixture *f = *state;
    struct group_info g = f->group;
    struct event_text text = { "s", "T", NULL, NULL, { NULL } };
    uint32_t len, room = 1024 - (uint32_t)sizeof(struct group_header);
    char data[1024];
    uint8_t *commit, *group;

    memset(data, 'd', sizeof data);
    for (size_t n = 0;; n++) {
        data[n] = '\0';
        text.data = data;
        commit = commit_make(uuid_v4(), &text, 1, &len);
        if (len == room)
            break;
        data[n] = 'd';
        free(commit);
    }
    group = group_make(f->log_id, &g, (const uint8_t *const *)&commit, &len, 1);
    assert_int_equal(g.group_len, 1024);
    assert_int_equal(group_decode(group, 1024, f->log_id, GROUP_ADDRESS, &g),
                     0);
    assert_int_equal(group_check_body(group, &g), 0);
    free(commit);
    free(group);
}

static void
a_group_header_is_looked_for_in_one_sector(void **state)
{
    /* What stands there may look like an event that reaches far beyond; the
     * judge of a torn tail has only this sector in its hands. */
    struct event_record e = {
        .prefix.shape = record_shape(RECORD_EVENT, 65536),
        .stream_len = 255,
        .type_len = 255,
        .tag_count = TAGS_MAX,
        .tags_len = le16_of(8000),
    };
    struct fixture *f = *state;
    uint8_t sector[SECTOR_LEN] = { 0 };
    struct group_info g;

    memcpy(sector, &e, sizeof e);
    assert_int_equal(group_decode(guarded(sector, sizeof sector), 65536,
                                  f->log_id, GROUP_ADDRESS, &g),
                     -CAIRN_ERECORD);
}

static void
sectors_of_zeros_are_counted(void **state)
{
    uint8_t data[8 * SECTOR_LEN + 100] = { 0 };

    (void)state;
    assert_int_equal(zero_sectors(data, sizeof data), 8);
    data[0] = 1;
    data[2 * SECTOR_LEN - 1] = 1;
    data[5 * SECTOR_LEN] = 1;
    data[8 * SECTOR_LEN] = 1; /* in no whole sector */
    assert_int_equal(zero_sectors(data, sizeof data), 5);
    assert_int_equal(zero_sectors(data, SECTOR_LEN - 1), 0);
}

/* ---- unstamped commits ------------------------------------------------- */

static void
an_unstamped_commit_is_whole_or_refused(void **state)
{
    uint32_t len;
    uint8_t *commit = commit_make(uuid_v4(), texts, 3, &len);
    uint8_t *more = calloc(1, len + 8);
    struct commit_record *r = (struct commit_record *)commit;
    struct commit c;

    (void)state;
    assert_int_equal(commit_check_unstamped(commit, len, &c), 0);
    assert_int_equal(c.event_count, 3);
    memcpy(more, commit, len);
    assert_int_equal(commit_check_unstamped(more, len + 8, &c), -CAIRN_ERECORD);
    r->event_count = le32_of(2);
    assert_int_equal(commit_check_unstamped(commit, len, &c), -CAIRN_ERECORD);
    r->event_count = le32_of(4);
    assert_int_equal(commit_check_unstamped(commit, len, &c), -CAIRN_ERECORD);
    r->event_count = le32_of(3);
    r->commit_len = le32_of(len - 8);
    assert_int_equal(commit_check_unstamped(commit, len, &c), -CAIRN_ERECORD);
    r->commit_len = le32_of(len);
    assert_int_equal(commit_check_unstamped(commit, len, &c), 0);
    free(commit);
    free(more);
}

static int
check_one(const struct event_text *text)
{
    uint32_t len;
    uint8_t *commit = commit_make(uuid_v4(), text, 1, &len);
    struct commit c;
    int rc = commit_check_unstamped(commit, len, &c);

    free(commit);
    return rc;
}

static void
an_unstamped_event_needs_names_and_no_tag_twice(void **state)
{
    static const struct event_text good = {
        "s", "T", NULL, NULL, { "a", "b", "ab" }
    };
    struct event_text text = good;

    (void)state;
    assert_int_equal(check_one(&text), 0);
    text.stream = "";
    assert_int_equal(check_one(&text), -CAIRN_ERECORD);
    text = good;
    text.type = "";
    assert_int_equal(check_one(&text), -CAIRN_ERECORD);
    text = good;
    text.tags[1] = "";
    assert_int_equal(check_one(&text), -CAIRN_ERECORD);
    /* Its link would lead to itself. */
    text.tags[1] = "ab";
    assert_int_equal(check_one(&text), -CAIRN_ERECORD);
}

static void
an_unstamped_commit_with_a_bad_body_is_refused(void **state)
{
    uint32_t len;
    uint8_t *commit = commit_make(uuid_v4(), texts, 3, &len);
    struct commit c;
    struct event e;
    uint32_t at = sizeof(struct commit_record);

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(event_view(commit + at, len - at, &e), 0);
        for (const char *p = e.meta.p; p < (char *)e.record + e.record_len;
             p++) {
            *(char *)(uintptr_t)p ^= 1;
            assert_int_equal(commit_check_unstamped(commit, len, &c),
                             -CAIRN_ERECORD);
            *(char *)(uintptr_t)p ^= 1;
        }
        at += e.record_len;
    }
    assert_int_equal(commit_check_unstamped(commit, len, &c), 0);
    free(commit);
}

static void
reserved_bytes_of_an_unstamped_commit_must_be_zero(void **state)
{
    uint32_t len;
    uint8_t *commit = commit_make(uuid_v4(), texts, 1, &len);
    struct commit_record *r = (struct commit_record *)commit;
    struct event_record *e =
        (struct event_record *)(commit + sizeof(struct commit_record));
    struct commit c;

    (void)state;
    r->reserved[15] = 1;
    assert_int_equal(commit_check_unstamped(commit, len, &c), -CAIRN_ERECORD);
    r->reserved[15] = 0;
    e->reserved1 = le16_of(256);
    assert_int_equal(commit_check_unstamped(commit, len, &c), -CAIRN_ERECORD);
    e->reserved1 = le16_of(0);
    e->reserved2 = le32_of(1);
    assert_int_equal(commit_check_unstamped(commit, len, &c), -CAIRN_ERECORD);
    e->reserved2 = le32_of(0);
    assert_int_equal(commit_check_unstamped(commit, len, &c), 0);
    free(commit);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(an_event_is_read_as_it_was_written),
        TEST(a_commit_is_read_as_it_was_written),
        TEST(a_group_is_read_as_it_was_written),
        TEST(an_event_of_the_greatest_names_and_tags_is_read),
        TEST(every_length_of_data_is_padded_with_zeros),
        TEST(padding_of_every_length_is_a_record),
        TEST(every_flipped_bit_is_noticed),
        TEST(every_flipped_bit_of_an_event_is_noticed),
        TEST(links_can_be_read_while_the_data_is_damaged),
        TEST(bytes_cut_short_are_refused_without_looking_behind_them),
        TEST(kinds_and_lengths_that_do_not_fit_are_refused),
        TEST(one_decoder_does_not_take_the_records_of_another),
        TEST(an_event_whose_lengths_do_not_add_up_is_refused),
        TEST(an_event_with_more_tags_than_allowed_is_refused),
        TEST(a_commit_that_cannot_hold_its_events_is_refused),
        TEST(a_group_header_that_breaks_a_rule_is_refused),
        TEST(a_group_body_that_breaks_a_rule_is_refused),
        TEST(a_group_whose_end_is_not_padding_is_refused),
        TEST(a_group_without_room_for_padding_needs_none),
        TEST(a_group_header_is_looked_for_in_one_sector),
        TEST(sectors_of_zeros_are_counted),
        TEST(an_unstamped_commit_is_whole_or_refused),
        TEST(an_unstamped_event_needs_names_and_no_tag_twice),
        TEST(an_unstamped_commit_with_a_bad_body_is_refused),
        TEST(reserved_bytes_of_an_unstamped_commit_must_be_zero),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
