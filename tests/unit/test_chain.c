/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/cmocka.h"

#include <errno.h>

#include "lib/logfix.h"
#include "store/jump.h"

#define N 10000u /* events of the stream, and of the tag */
#define COMMIT_EVENTS 8u
#define PAIRS_MAX 250u /* every pair of ordinals up to this */

static unsigned
myers_bound(uint64_t n)
{
    return n == 1 ? 0 : 3 * (63u - (unsigned)__builtin_clzll(n + 1)) - 2;
}

/* ---- a real log -------------------------------------------------------- */

/*
 * A log in which the stream "long" has N events, and the tag "t" has N, too:
 * some of these events, and some of other streams.
 */
struct fixture {
    struct logfix fix;
    struct evlog *log;
    struct event_source source; /* the log, counting */
    unsigned reads;
    uint64_t stream[N + 1], tag[N + 1]; /* addresses by ordinal */
    uint64_t stream_count, tag_count;
    struct err err;
};

static const struct span name_long = { "long", 4 }, name_t = { "t", 1 };

static int
counted_event_at(void *self, uint64_t address, struct event *ret_event,
                 struct err *err)
{
    struct fixture *f = self;

    f->reads++;
    return evlog_event_at(f->log, address, ret_event, err);
}

static void
fill(struct fixture *f)
{
    uint32_t streams = 0, tags = 0, count = 0;
    char names[COMMIT_EVENTS][16];

    while (streams < N || tags < N) {
        struct event_text texts[COMMIT_EVENTS];

        for (uint32_t i = 0; i < COMMIT_EVENTS; i++, count++) {
            bool in_long = streams < N && count % 5 != 4;
            bool tagged = tags < N && count % 7 != 3;

            snprintf(names[i], sizeof names[i], "other-%u", count % 50);
            texts[i] = (struct event_text){ in_long ? "long" : names[i],
                                            "T",
                                            NULL,
                                            NULL,
                                            { tagged ? "t" : "u" } };
            streams += in_long;
            tags += tagged;
        }
        (void)logfix_append(&f->fix, uuid_v4(), NULL, 0, texts, COMMIT_EVENTS);
    }
    logfix_sync(&f->fix);
}

/* Notes where every event of the stream and of the tag lies. */
static void
note_places(struct fixture *f)
{
    uint64_t watermark = appender_watermark(f->fix.appender);
    struct cursor cursor;
    struct event event;
    struct link link;

    assert_int_equal(evlog_seek(f->log, 1, watermark, &cursor, &f->err), 0);
    while (evlog_next(f->log, &cursor, watermark, &event, &f->err) > 0) {
        uint64_t address = cursor.address - event.record_len;

        if (span_equal(event.stream, name_long)) {
            assert_int_equal(event.version, ++f->stream_count);
            f->stream[event.version] = address;
        }
        if (event_find_tag(&event, name_t, &link)) {
            assert_int_equal(link.ordinal, ++f->tag_count);
            f->tag[link.ordinal] = address;
        }
    }
    assert_int_equal(f->stream_count, N);
    assert_int_equal(f->tag_count, N);
}

static int
setup_log(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    logfix_open(&f->fix, &sys_real, &logfix_small);
    fill(f);
    if (evlog_open(&sys_real, logfix_dir(&f->fix), &f->log, &f->err) < 0)
        return -1;
    f->source = (struct event_source){ f, counted_event_at };
    note_places(f);
    *state = f;
    return 0;
}

static int
teardown_log(void **state)
{
    struct fixture *f = *state;

    evlog_close(&f->log);
    logfix_close(&f->fix);
    free(f);
    return 0;
}

static unsigned
find(struct fixture *f, const struct key *key, const uint64_t *places,
     uint64_t newest, uint64_t ordinal)
{
    uint64_t address;
    struct event event;
    unsigned hops = 0;
    int rc = chain_find(&f->source, key, places[newest], ordinal, &address,
                        &event, &hops, &f->err);

    if (rc < 0)
        fail_msg("%s", f->err.text);
    assert_true(address == places[ordinal]);
    if (hops > myers_bound(newest))
        fail_msg("from %llu to %llu: %u hops", (unsigned long long)newest,
                 (unsigned long long)ordinal, hops);
    return hops;
}

static void
any_older_event_is_found_within_the_bound(void **state)
{
    struct fixture *f = *state;
    const struct key keys[2] = { { KEY_STREAM, name_long, 1 },
                                 { KEY_TAG, name_t, 1 } };
    const uint64_t *const places[2] = { f->stream, f->tag };

    for (int k = 0; k < 2; k++) {
        unsigned worst = 0;

        for (uint64_t ordinal = N; ordinal > 0; ordinal--) {
            unsigned hops = find(f, &keys[k], places[k], N, ordinal);

            worst = hops > worst ? hops : worst;
        }
        assert_in_range(worst, 15, myers_bound(N));
        for (uint64_t newest = 1; newest <= PAIRS_MAX; newest++)
            for (uint64_t ordinal = 1; ordinal <= newest; ordinal++)
                (void)find(f, &keys[k], places[k], newest, ordinal);
    }
}

static void
every_link_leads_where_the_arithmetic_says(void **state)
{
    struct fixture *f = *state;
    struct event event;
    struct link link;

    for (uint64_t n = 1; n <= N; n++) {
        uint64_t jump = jump_ordinal(n);

        assert_int_equal(evlog_event_at(f->log, f->stream[n], &event, &f->err),
                         0);
        link = event_stream_link(&event);
        assert_int_equal(link.ordinal, n);
        assert_true(link.prev == f->stream[n - 1]);
        assert_true(link.jump == f->stream[jump]);
        assert_int_equal(evlog_event_at(f->log, f->tag[n], &event, &f->err), 0);
        assert_true(event_find_tag(&event, name_t, &link));
        assert_true(link.prev == f->tag[n - 1]);
        assert_true(link.jump == f->tag[jump]);
    }
}

static void
the_oldest_event_from_a_position_on_is_found(void **state)
{
    struct fixture *f = *state;
    struct key key = { KEY_TAG, name_t, 1 };
    uint64_t position = 1;

    for (uint64_t n = 1; n <= N; n++) {
        uint64_t address;
        struct event event;

        assert_int_equal(evlog_event_at(f->log, f->tag[n], &event, &f->err), 0);
        for (; position <= event.position; position++) {
            uint64_t expected = event.position;
            struct event found;

            f->reads = 0;
            assert_int_equal(chain_find_position(&f->source, &key, f->tag[N],
                                                 position, &address, &found,
                                                 &f->err),
                             0);
            assert_int_equal(found.position, expected);
            assert_true(address == f->tag[n]);
            /* Two looks for a hop, two where it ends, one to begin. */
            assert_true(f->reads <= 2 * myers_bound(N) + 3);
            if (evlog_event_at(f->log, f->tag[n], &event, &f->err) < 0)
                fail_msg("%s", f->err.text);
        }
    }
}

static void
a_new_link_costs_two_reads_at_most(void **state)
{
    struct fixture *f = *state;
    struct key key = { KEY_STREAM, name_long, 1 };
    struct link link;

    for (uint64_t n = 1; n < N; n++) {
        f->reads = 0;
        assert_int_equal(
            chain_extend(&f->source, &key, f->stream[n], &link, &f->err), 0);
        assert_in_range(f->reads, 1, 2);
        assert_int_equal(link.ordinal, n + 1);
        assert_true(link.prev == f->stream[n]);
        assert_true(link.jump == f->stream[jump_ordinal(n + 1)]);
    }
}

/* ---- events made by hand ----------------------------------------------- */

#define FAKES 16u

/* Address n is the n-th record; each has stream "s" and tag "g". */
struct fakes {
    uint8_t records[FAKES + 1][256];
    struct event_source source;
    struct err err;
};

static int
fake_event_at(void *self, uint64_t address, struct event *ret_event,
              struct err *err)
{
    struct fakes *f = self;

    if (address == 0 || address > FAKES)
        return err_set(err, -CAIRN_EDAMAGED, "no such place");
    return event_view(f->records[address], sizeof f->records[0], ret_event);
}

static void
fake(struct fakes *f, uint64_t at, const char *stream, uint64_t ordinal,
     uint64_t prev, uint64_t jump)
{
    struct event_shape shape = { .stream_len = (uint8_t)strlen(stream),
                                 .type_len = 1,
                                 .tag_count = 1,
                                 .tags_len = 1 };
    struct event_record *r = (struct event_record *)f->records[at];
    char text[32];

    snprintf(text, sizeof text, "\x01%sTg", stream);
    event_encode(f->records[at], &shape, (const uint8_t *)text);
    r->position = le64_of(at * 10);
    r->stream_link =
        (struct link_disk){ le64_of(ordinal), le64_of(prev), le64_of(jump) };
    memcpy(f->records[at] + sizeof *r, &r->stream_link, sizeof r->stream_link);
}

static int
setup_fakes(void **state)
{
    struct fakes *f = calloc(1, sizeof *f);

    f->source = (struct event_source){ f, fake_event_at };
    for (uint64_t n = 1; n <= FAKES; n++)
        fake(f, n, "s", n, n - 1, jump_ordinal(n));
    *state = f;
    return 0;
}

static int
teardown_fakes(void **state)
{
    free(*state);
    return 0;
}

static const struct key key_s = { KEY_STREAM, { "s", 1 }, 1 };
static const struct key key_g = { KEY_TAG, { "g", 1 }, 1 };

static int
find_fake(struct fakes *f, const struct key *key, uint64_t newest,
          uint64_t ordinal)
{
    uint64_t address;
    struct event event;

    return chain_find(&f->source, key, newest, ordinal, &address, &event, NULL,
                      &f->err);
}

static void
ordinals_that_do_not_exist_are_refused(void **state)
{
    struct fakes *f = *state;

    assert_int_equal(find_fake(f, &key_s, 16, 0), -EINVAL);
    assert_int_equal(find_fake(f, &key_s, 16, 17), -EINVAL);
    assert_int_equal(find_fake(f, &key_s, 16, UINT64_MAX), -EINVAL);
    assert_int_equal(find_fake(f, &key_s, 1, 1), 0);
    assert_int_equal(find_fake(f, &key_g, 16, 5), 0);
}

static void
a_link_to_an_event_of_another_key_is_damage(void **state)
{
    struct fakes *f = *state;
    uint64_t address;
    struct event event;
    struct link link;

    fake(f, 15, "other", 15, 14, 0);
    assert_int_equal(find_fake(f, &key_s, 16, 1), -CAIRN_EDAMAGED);
    assert_non_null(strstr(f->err.text, "'s'"));
    assert_int_equal(find_fake(f, &key_s, 15, 15), -CAIRN_EDAMAGED);
    assert_int_equal(chain_extend(&f->source, &key_s, 15, &link, &f->err),
                     -CAIRN_EDAMAGED);
    assert_int_equal(chain_find_position(&f->source, &key_s, 16, 10, &address,
                                         &event, &f->err),
                     -CAIRN_EDAMAGED);
}

static void
a_link_to_a_wrong_ordinal_is_damage(void **state)
{
    struct fakes *f = *state;

    fake(f, 16, "s", 16, 14, 14);
    assert_int_equal(find_fake(f, &key_s, 16, 15), -CAIRN_EDAMAGED);
    /* In a circle, too: every hop must lead down. */
    fake(f, 16, "s", 16, 16, 16);
    assert_int_equal(find_fake(f, &key_s, 16, 3), -CAIRN_EDAMAGED);
    fake(f, 16, "s", 16, 0, 0);
    assert_int_equal(find_fake(f, &key_s, 16, 3), -CAIRN_EDAMAGED);
}

static void
a_link_that_leads_forward_is_damage(void **state)
{
    struct fakes *f = *state;
    uint64_t address;
    struct event event;

    fake(f, 10, "s", 10, 16, 16);
    assert_int_equal(chain_find_position(&f->source, &key_s, 10, 1, &address,
                                         &event, &f->err),
                     -CAIRN_EDAMAGED);
    fake(f, 10, "s", 10, 10, 10);
    assert_int_equal(chain_find_position(&f->source, &key_s, 10, 1, &address,
                                         &event, &f->err),
                     -CAIRN_EDAMAGED);
}

static void
the_first_event_of_a_key_has_no_links(void **state)
{
    struct fakes *f = *state;
    struct link link;

    assert_int_equal(
        chain_extend(&f->source, &key_s, ADDRESS_NONE, &link, &f->err), 0);
    assert_int_equal(link.ordinal, 1);
    assert_int_equal(link.prev, 0);
    assert_int_equal(link.jump, 0);
}

static void
a_key_knows_its_events(void **state)
{
    struct fakes *f = *state;
    struct key key = { KEY_TYPE, { "T", 1 }, 1 };
    struct event event;
    struct link link;

    assert_int_equal(fake_event_at(f, 7, &event, NULL), 0);
    assert_true(key_link(&key_s, &event, &link));
    assert_int_equal(link.ordinal, 7);
    assert_true(key_link(&key_g, &event, &link));
    assert_true(key_link(&key, &event, &link));
    assert_int_equal(link.ordinal, 0);
    key.kind = KEY_STREAM;
    assert_false(key_link(&key, &event, &link));
    key.kind = KEY_TAG;
    assert_false(key_link(&key, &event, &link));
    key.kind = (enum key_kind)9;
    assert_false(key_link(&key, &event, &link));
}

int
main(void)
{
#define FAKE(name) \
    cmocka_unit_test_setup_teardown(name, setup_fakes, teardown_fakes)
    const struct CMUnitTest logs[] = {
        cmocka_unit_test(any_older_event_is_found_within_the_bound),
        cmocka_unit_test(every_link_leads_where_the_arithmetic_says),
        cmocka_unit_test(the_oldest_event_from_a_position_on_is_found),
        cmocka_unit_test(a_new_link_costs_two_reads_at_most),
    };
    const struct CMUnitTest fakes[] = {
        FAKE(ordinals_that_do_not_exist_are_refused),
        FAKE(a_link_to_an_event_of_another_key_is_damage),
        FAKE(a_link_to_a_wrong_ordinal_is_damage),
        FAKE(a_link_that_leads_forward_is_damage),
        FAKE(the_first_event_of_a_key_has_no_links),
        FAKE(a_key_knows_its_events),
    };
#undef FAKE

    return cmocka_run_group_tests(logs, setup_log, teardown_log) +
        cmocka_run_group_tests(fakes, NULL, NULL);
}
