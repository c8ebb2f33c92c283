/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Conditions, held against a judge that looks at every event: every shape of
 * query over random logs, whose events are durable, in flight and in the open
 * group; what is shown with a conflict; dry runs.
 */
#include "lib/cmocka.h"

#include <stdlib.h>

#include "lib/logfix.h"
#include "lib/rng.h"

#define EVENTS_MAX 4096u
#define TYPES 5u
#define TAGS 7u
#define STREAMS 4u

static const char *const type_names[TYPES] = { "A", "B", "C", "D", "unused" };
static const char *const tag_names[TAGS] = { "a:1", "a:2", "b:1",   "b:2",
                                             "c",   "d",   "unused" };
static const char *const stream_names[STREAMS] = { "s-0", "s-1", "s-2", "s-3" };

/* What the judge knows of an event; the first has position 1. */
struct fact {
    uint32_t type, stream, tags; /* tags are bits */
};

struct fixture {
    struct logfix fix;
    struct rng rng;
    struct fact facts[EVENTS_MAX + 1];
    uint64_t head;
};

static struct span
span_of(const char *text)
{
    return (struct span){ text, (uint32_t)strlen(text) };
}

static void
must(struct logfix *fix, int rc)
{
    if (rc < 0)
        fail_msg("%s", fix->err.text);
}

static void
settle_all(struct logfix *fix)
{
    if (appender_in_flight(fix->appender)) {
        must(fix, appender_sync(fix->appender, &fix->err));
        must(fix, appender_settle(fix->appender, &fix->err));
    }
    logfix_sync(fix);
}

static void
restart(struct fixture *f)
{
    settle_all(&f->fix);
    logfix_stop(&f->fix);
    must(&f->fix, logfix_reopen(&f->fix));
}

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    logfix_open(&f->fix, &sys_real, &logfix_small);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    logfix_close(&f->fix);
    free(f);
    return 0;
}

/* ---- queries, twice ---------------------------------------------------- */

/* A query with memory for its names, and the same as bits for the judge. */
struct query {
    struct span types[4][TYPES], tags[4][TAGS];
    struct query_item items[4];
    uint32_t type_bits[4], tag_bits[4];
    uint32_t count;
};

/* Each name that is among the bits, in a random order of two. */
static uint32_t
names_of(struct fixture *f, const char *const *names, uint32_t count,
         uint32_t bits, struct span *ret_names)
{
    bool backward = rng_one_in(&f->rng, 2);
    uint32_t n = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t k = backward ? count - 1 - i : i;

        if (bits & 1u << k)
            ret_names[n++] = span_of(names[k]);
    }
    return n;
}

static uint32_t
some_bits(struct fixture *f, uint32_t count, uint64_t most)
{
    uint32_t bits = 0;
    uint64_t wanted = rng_below(&f->rng, most + 1);

    for (uint64_t i = 0; i < wanted; i++)
        bits |= 1u << rng_below(&f->rng, count);
    return bits;
}

static void
make_query(struct fixture *f, struct query *q)
{
    q->count = 1 + (uint32_t)rng_below(&f->rng, 4);
    for (uint32_t i = 0; i < q->count; i++) {
        do {
            q->type_bits[i] = some_bits(f, TYPES, 3);
            q->tag_bits[i] = some_bits(f, TAGS, 3);
        } while ((q->type_bits[i] | q->tag_bits[i]) == 0);
        q->items[i] = (struct query_item){
            .types = q->types[i],
            .tags = q->tags[i],
            .type_count =
                names_of(f, type_names, TYPES, q->type_bits[i], q->types[i]),
            .tag_count =
                names_of(f, tag_names, TAGS, q->tag_bits[i], q->tags[i]),
        };
    }
}

static bool
judge_matches(const struct query *q, const struct fact *fact)
{
    for (uint32_t i = 0; i < q->count; i++)
        if ((q->type_bits[i] == 0 || (q->type_bits[i] & 1u << fact->type)) &&
            (fact->tags & q->tag_bits[i]) == q->tag_bits[i])
            return true;
    return false;
}

/* ---- checks, and what the judge says ----------------------------------- */

#define CHECKS_MAX 3u

struct trial {
    struct append_check checks[CHECKS_MAX];
    struct query queries[CHECKS_MAX];
    uint32_t streams[CHECKS_MAX]; /* of checks of a stream */
    uint32_t count;
    bool in_the_way[EVENTS_MAX + 1]; /* by position */
};

static uint64_t
version_of(const struct fixture *f, uint32_t stream)
{
    uint64_t version = 0;

    for (uint64_t p = 1; p <= f->head; p++)
        version += f->facts[p].stream == stream;
    return version;
}

static void
make_trial(struct fixture *f, struct trial *t)
{
    memset(t, 0, sizeof *t);
    t->count = 1 + (uint32_t)rng_below(&f->rng, CHECKS_MAX);
    for (uint32_t i = 0; i < t->count; i++) {
        struct append_check *c = &t->checks[i];

        c->kind = rng_one_in(&f->rng, 2)
            ? EXPECT_NO_MATCH
            : (enum expect_kind)rng_below(&f->rng, 5);
        t->streams[i] = (uint32_t)rng_below(&f->rng, STREAMS);
        c->stream = span_of(stream_names[t->streams[i]]);
        if (c->kind == EXPECT_EXACT) {
            c->version = version_of(f, t->streams[i]);
            if (rng_one_in(&f->rng, 2))
                c->version = rng_below(&f->rng, c->version + 3);
        } else if (c->kind >= EXPECT_NO_EVENT) {
            c->version = rng_one_in(&f->rng, 3)
                ? 0
                : f->head - rng_below(&f->rng, f->head < 20 ? f->head + 1 : 20);
            make_query(f, &t->queries[i]);
            c->items = t->queries[i].items;
            c->item_count =
                c->kind == EXPECT_NO_MATCH ? t->queries[i].count : 0;
        }
    }
}

/* Whether an event is in the way of a check. */
static bool
judge_blames(const struct fixture *f, const struct trial *t, uint32_t i,
             uint64_t position, uint64_t version)
{
    const struct append_check *c = &t->checks[i];
    const struct fact *fact = &f->facts[position];

    switch (c->kind) {
    case EXPECT_NONE:
        return fact->stream == t->streams[i];
    case EXPECT_EXACT:
        return fact->stream == t->streams[i] && version > c->version;
    case EXPECT_NO_EVENT:
        return position > c->version;
    case EXPECT_NO_MATCH:
        return position > c->version && judge_matches(&t->queries[i], fact);
    default:
        return false;
    }
}

/* Judges one check: whether it holds, and the actual number. */
static bool
judge(const struct fixture *f, struct trial *t, uint32_t i,
      uint64_t *ret_actual)
{
    const struct append_check *c = &t->checks[i];
    bool condition = c->kind >= EXPECT_NO_EVENT;
    uint64_t version = 0, newest = 0;

    for (uint64_t p = 1; p <= f->head; p++) {
        version += f->facts[p].stream == t->streams[i];
        if (judge_blames(f, t, i, p, version)) {
            newest = p;
            t->in_the_way[p] = true;
        }
    }
    *ret_actual = condition ? newest : version;
    switch (c->kind) {
    case EXPECT_ANY:
        return true;
    case EXPECT_EXISTS:
        return version > 0;
    case EXPECT_EXACT:
        return version == c->version;
    default:
        return *ret_actual == 0;
    }
}

/* ---- what was told ----------------------------------------------------- */

static void
assert_verdicts(struct fixture *f, struct trial *t,
                const struct append_result *r)
{
    bool all_hold = true;
    uint32_t at = 0;

    for (uint32_t i = 0; i < t->count; i++) {
        uint64_t actual;
        bool good = judge(f, t, i, &actual);

        all_hold = all_hold && good;
        if (good && !r->dry_run)
            continue;
        assert_true(at < r->verdict_count);
        assert_int_equal(r->verdicts[at].check, i);
        assert_int_equal(r->verdicts[at].holds, good);
        assert_int_equal(r->verdicts[at].kind, t->checks[i].kind);
        assert_int_equal(r->verdicts[at].expected, t->checks[i].version);
        assert_int_equal(r->verdicts[at].actual, actual);
        at++;
    }
    assert_int_equal(at, r->verdict_count);
    assert_int_equal(r->code, all_hold ? APPEND_ACCEPTED : APPEND_CONFLICT);
}

/* What is shown are the first events in the way, without a gap. */
static void
assert_shown(struct fixture *f, const struct trial *t,
             const struct append_result *r, uint32_t show)
{
    uint32_t at = 0, shown = 0;
    struct event event;

    for (uint64_t p = 1; p <= f->head; p++) {
        if (!t->in_the_way[p])
            continue;
        if (at == r->records_len) {
            assert_true(r->more);
            return;
        }
        assert_int_equal(
            event_decode_whole(r->records + at, r->records_len - at, &event),
            0);
        assert_int_equal(event.position, p);
        at += event.record_len;
        assert_true(++shown <= show);
    }
    assert_int_equal(at, r->records_len);
    assert_true(r->records_len <= f->fix.options.show_bytes);
}

static void
assert_told(struct fixture *f, struct trial *t, const struct append_result *r,
            uint32_t show)
{
    if (r->code == APPEND_SCAN_TOO_LONG) {
        uint64_t most = 0; /* that could have been looked at */

        for (uint32_t i = 0; i <= r->bad_check; i++)
            most += t->checks[i].item_count * (f->head - t->checks[i].version);
        assert_true(most > f->fix.options.scan_max);
        assert_int_equal(t->checks[r->bad_check].kind, EXPECT_NO_MATCH);
        assert_true(r->bad_item < t->checks[r->bad_check].item_count);
        assert_int_equal(r->verdict_count, 0);
        return;
    }
    assert_verdicts(f, t, r);
    if (r->code == APPEND_CONFLICT && show > 0)
        assert_shown(f, t, r, show);
    else
        assert_int_equal(r->records_len, 0);
}

/* ---- random logs ------------------------------------------------------- */

/* The group on which an answer hangs that looks at all that is there. */
static uint64_t
newest_group(struct logfix *fix)
{
    uint64_t settled = appender_settled_group(fix->appender);
    bool in_flight = appender_in_flight(fix->appender);

    if (appender_open_commits(fix->appender) > 0)
        return settled + (in_flight ? 2 : 1);
    return in_flight ? settled + 1 : 0;
}

static uint32_t
make_events(struct fixture *f, struct event_text *texts, struct fact *facts)
{
    uint32_t count = 1 + (uint32_t)rng_below(&f->rng, 3);

    for (uint32_t i = 0; i < count; i++) {
        uint32_t n = 0;

        facts[i] = (struct fact){
            .type = (uint32_t)rng_below(&f->rng, TYPES - 1),
            .stream = (uint32_t)rng_below(&f->rng, STREAMS),
            .tags = some_bits(f, TAGS - 1, 4),
        };
        texts[i] = (struct event_text){ .stream = stream_names[facts[i].stream],
                                        .type = type_names[facts[i].type],
                                        .data = "x" };
        for (uint32_t k = 0; k < TAGS; k++)
            if (facts[i].tags & 1u << k)
                texts[i].tags[n++] = tag_names[k];
    }
    return count;
}

static void
learn(struct fixture *f, const struct fact *facts, uint32_t count)
{
    assert_true(f->head + count <= EVENTS_MAX);
    for (uint32_t i = 0; i < count; i++)
        f->facts[++f->head] = facts[i];
}

/* What a dry run says is what the command gets right after it. */
static void
assert_foretold(const struct append_result *dry, const uint64_t *dry_versions,
                const struct append_result *r)
{
    assert_int_equal(dry->code, r->code);
    assert_int_equal(dry->first_position, r->first_position);
    assert_int_equal(dry->last_position, r->last_position);
    assert_int_equal(dry->version_count, r->version_count);
    for (uint32_t i = 0; i < r->version_count; i++)
        assert_int_equal(dry_versions[i], r->versions[i]);
    assert_int_equal(dry->time_us, 0);
}

static void
one_command(struct fixture *f)
{
    struct trial *t = calloc(1, sizeof *t);
    struct event_text texts[3];
    struct fact facts[3];
    uint32_t count = make_events(f, texts, facts);
    uint32_t show = (uint32_t)rng_below(&f->rng, 12);
    uint32_t open = appender_open_commits(f->fix.appender);
    uint64_t group = newest_group(&f->fix), versions[3] = { 0 };
    struct uuid id = uuid_v4();
    struct append_result dry, r;

    make_trial(f, t);
    dry =
        logfix_ask(&f->fix, id, t->checks, t->count, texts, count, true, show);
    assert_told(f, t, &dry, show);
    assert_false(dry.repeated);
    assert_int_equal(appender_open_commits(f->fix.appender), open);
    if (dry.code == APPEND_ACCEPTED || dry.code == APPEND_CONFLICT)
        assert_int_equal(dry.group, group);
    for (uint32_t i = 0; i < dry.version_count; i++)
        versions[i] = dry.versions[i];

    r = logfix_ask(&f->fix, id, t->checks, t->count, texts, count, false, show);
    assert_told(f, t, &r, show);
    assert_foretold(&dry, versions, &r);
    if (r.code == APPEND_CONFLICT)
        assert_int_equal(r.group, group);
    if (r.code == APPEND_ACCEPTED)
        learn(f, facts, count);
    free(t);
}

/* Events without a check, for else few commands would get through. */
static void
put_events(struct fixture *f)
{
    struct event_text texts[3];
    struct fact facts[3];
    uint32_t count = make_events(f, texts, facts);

    assert_int_equal(
        logfix_append(&f->fix, uuid_v4(), NULL, 0, texts, count).code,
        APPEND_ACCEPTED);
    learn(f, facts, count);
}

static void
one_log(uint64_t seed, uint32_t scan_max)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct appender_options options = logfix_small;

    options.scan_max = scan_max;
    f->rng.state = seed;
    logfix_open(&f->fix, &sys_real, &options);
    for (int step = 0; step < 400; step++) {
        switch (rng_below(&f->rng, 12)) {
        case 0:
            if (appender_open_commits(f->fix.appender) > 0 &&
                !appender_in_flight(f->fix.appender))
                appender_close_group(f->fix.appender);
            break;
        case 1:
            settle_all(&f->fix);
            break;
        case 2:
            if (rng_one_in(&f->rng, 6))
                restart(f);
            break;
        case 3:
        case 4:
        case 5:
            put_events(f);
            break;
        default:
            one_command(f);
            break;
        }
    }
    settle_all(&f->fix);
    assert_int_equal(appender_watermark(f->fix.appender), f->head);
    logfix_close(&f->fix);
    free(f);
}

static void
with_room(uint64_t seed)
{
    one_log(seed, 1000000);
}

static void
with_a_small_bound(uint64_t seed)
{
    one_log(seed, 7);
}

static void
every_query_is_decided_as_the_judge_says(void **state)
{
    (void)state;
    seeds_run("conditions", 4, with_room, NULL);
}

static void
at_the_bound_there_is_an_answer_and_never_a_guess(void **state)
{
    (void)state;
    seeds_run("bounded conditions", 3, with_a_small_bound, NULL);
}

/* ---- one by one -------------------------------------------------------- */

/* One event on stream "s" with a type and up to two tags. */
static struct append_result
put(struct logfix *fix, const char *type, const char *tag, const char *other,
    const struct append_check *check)
{
    struct event_text text = { "s", type, "x", NULL, { tag, other } };

    return logfix_append(fix, uuid_v4(), check, check != NULL, &text, 1);
}

static struct append_check
no_match(const struct query_item *item, uint64_t after)
{
    return (struct append_check){ .kind = EXPECT_NO_MATCH,
                                  .version = after,
                                  .items = item,
                                  .item_count = 1 };
}

/* A unique name: of many commands in one group exactly the first passes. */
static void
later_commands_of_a_group_see_the_earlier_ones(void **state)
{
    struct fixture *f = *state;
    struct span tag = { "name:bob", 8 };
    struct query_item item = { .tags = &tag, .tag_count = 1 };
    struct append_check check = no_match(&item, 0);

    for (int i = 0; i < 10; i++) {
        struct append_result r = put(&f->fix, "T", "name:bob", NULL, &check);

        assert_int_equal(r.code, i == 0 ? APPEND_ACCEPTED : APPEND_CONFLICT);
        if (i > 0)
            assert_int_equal(r.verdicts[0].actual, 1);
        (void)put(&f->fix, "T", "name:alice", NULL, NULL);
        if (i == 3)
            appender_close_group(f->fix.appender);
    }
    settle_all(&f->fix);
    assert_int_equal(put(&f->fix, "T", "name:bob", NULL, &check).code,
                     APPEND_CONFLICT);
    check.version = 1;
    assert_int_equal(put(&f->fix, "T", "name:bob", NULL, &check).code,
                     APPEND_ACCEPTED);
}

static void
a_position_above_the_head_is_refused(void **state)
{
    struct fixture *f = *state;
    struct span tag = { "t", 1 };
    struct query_item item = { .tags = &tag, .tag_count = 1 };
    struct append_check checks[2] = { { .kind = EXPECT_NO_EVENT },
                                      no_match(&item, 1) };
    struct event_text text = { "s", "T", "x", NULL, { NULL } };
    struct append_result r =
        logfix_append(&f->fix, uuid_v4(), checks, 2, &text, 1);

    assert_int_equal(r.code, APPEND_ABOVE_HEAD);
    assert_int_equal(r.bad_check, 1);
    assert_int_equal(r.group, 0);
    for (int stage = 0; stage < 3; stage++) {
        uint64_t head;

        (void)put(&f->fix, "T", "u", NULL, NULL);
        head = put(&f->fix, "T", "u", NULL, NULL).last_position;
        checks[1].version = head + 1; /* open, in flight, durable */
        if (stage == 1)
            appender_close_group(f->fix.appender);
        if (stage == 2)
            settle_all(&f->fix);
        r = put(&f->fix, "T", NULL, NULL, &checks[1]);
        assert_int_equal(r.code, APPEND_ABOVE_HEAD);
        checks[1].version = head;
        r = put(&f->fix, "T", NULL, NULL, &checks[1]);
        assert_int_equal(r.code, APPEND_ACCEPTED);
    }
}

static void
the_bound_is_exact_and_a_later_position_helps(void **state)
{
    enum { BOUND = 50 };
    struct fixture *f = *state;
    struct span type = { "B", 1 }, tag = { "t", 1 };
    struct query_item item = { &type, &tag, 1, 1 };
    struct append_check check = no_match(&item, 0);
    struct appender_options options = logfix_small;
    struct append_result r;

    options.scan_max = BOUND;
    logfix_close(&f->fix);
    logfix_open(&f->fix, &sys_real, &options);
    for (int i = 0; i < BOUND; i++)
        (void)put(&f->fix, "A", "t", NULL, NULL);
    (void)put(&f->fix, "B", "u", NULL, NULL);
    assert_int_equal(put(&f->fix, "A", "t", NULL, &check).code,
                     APPEND_ACCEPTED); /* which makes one too many */
    r = put(&f->fix, "A", "t", NULL, &check);
    assert_int_equal(r.code, APPEND_SCAN_TOO_LONG);
    assert_int_equal(r.bad_check, 0);
    assert_int_equal(r.bad_item, 0);
    restart(f);
    assert_int_equal(put(&f->fix, "A", "t", NULL, &check).code,
                     APPEND_SCAN_TOO_LONG);
    check.version = 1;
    assert_int_equal(put(&f->fix, "A", "t", NULL, &check).code,
                     APPEND_ACCEPTED);
    /* A tag alone, and types alone, never have to look. */
    check.version = 0;
    item.type_count = 0;
    r = put(&f->fix, "A", "t", NULL, &check);
    assert_int_equal(r.code, APPEND_CONFLICT);
    assert_int_equal(r.verdicts[0].actual, BOUND + 3);
    item = (struct query_item){ &type, NULL, 1, 0 };
    r = put(&f->fix, "A", "t", NULL, &check);
    assert_int_equal(r.verdicts[0].actual, BOUND + 1);
}

static void
the_rarest_tag_bounds_what_is_looked_at(void **state)
{
    struct fixture *f = *state;
    struct span type = { "B", 1 }, tags[2] = { { "t", 1 }, { "rare", 4 } };
    struct query_item item = { &type, tags, 1, 2 };
    struct append_check check = no_match(&item, 0);
    struct appender_options options = logfix_small;

    /* Ten may be looked at, however long the log, for the rare tag has nine
     * events, none of which matches. */
    options.scan_max = 10;
    logfix_close(&f->fix);
    logfix_open(&f->fix, &sys_real, &options);
    for (int round = 0; round < 9; round++) {
        for (int i = 0; i < 200; i++)
            (void)put(&f->fix, "B", "t", NULL, NULL);
        (void)put(&f->fix, "A", "t", "rare", NULL);
        assert_int_equal(put(&f->fix, "B", "t", NULL, &check).code,
                         APPEND_ACCEPTED);
    }
    (void)put(&f->fix, "B", "rare", "t", NULL);
    assert_int_equal(put(&f->fix, "B", "t", NULL, &check).code,
                     APPEND_CONFLICT);
}

static void
rare_is_what_is_rare_behind_the_position(void **state)
{
    struct fixture *f = *state;
    struct span tags[2] = { { "busy", 4 }, { "quiet", 5 } };
    struct query_item item = { NULL, tags, 0, 2 };
    struct append_check check = no_match(&item, 0);
    struct event_text text = { "s", "T", "x", NULL, { NULL } };
    struct appender_options options = logfix_small;
    struct append_result r;
    struct event event;

    /* Of all events more are quiet; of those since then, hardly one. */
    options.scan_max = 3;
    logfix_close(&f->fix);
    logfix_open(&f->fix, &sys_real, &options);
    for (int i = 0; i < 300; i++)
        (void)put(&f->fix, "T", "quiet", NULL, NULL);
    check.version = put(&f->fix, "T", "quiet", NULL, NULL).last_position;
    (void)put(&f->fix, "T", "busy", "quiet", NULL); /* it has both */
    (void)put(&f->fix, "T", "quiet", NULL, NULL);
    for (int i = 0; i < 100; i++)
        (void)put(&f->fix, "T", "busy", NULL, NULL);
    for (int turn = 0; turn < 2; turn++) { /* whatever their order */
        r = logfix_ask(&f->fix, uuid_v4(), &check, 1, &text, 1, false, 9);
        assert_int_equal(r.code, APPEND_CONFLICT);
        assert_int_equal(r.verdicts[0].actual, check.version + 1);
        assert_int_equal(event_decode_whole(r.records, r.records_len, &event),
                         0);
        assert_int_equal(event.position, check.version + 1);
        assert_int_equal(r.records_len, event.record_len);
        assert_false(r.more);
        tags[0] = (struct span){ "quiet", 5 };
        tags[1] = (struct span){ "busy", 4 };
    }
    check.version++;
    assert_int_equal(put(&f->fix, "T", NULL, NULL, &check).code,
                     APPEND_ACCEPTED);
}

static void
what_is_shown_is_bounded_in_number_and_bytes(void **state)
{
    struct fixture *f = *state;
    struct event_text text = { "s", "T", "x", NULL, { "t" } };
    struct append_check none = { { "s", 1 }, EXPECT_NONE, 0, NULL, 0 };
    struct event event;
    struct append_result r;
    char data[2001];

    for (int i = 0; i < 5; i++)
        (void)put(&f->fix, "T", "t", NULL, NULL);
    r = logfix_ask(&f->fix, uuid_v4(), &none, 1, &text, 1, false, 5);
    assert_false(r.more);
    r = logfix_ask(&f->fix, uuid_v4(), &none, 1, &text, 1, false, 4);
    assert_true(r.more);
    assert_int_equal(event_decode_whole(r.records, r.records_len, &event), 0);
    assert_int_equal(r.records_len, 4 * event.record_len);
    r = logfix_append(&f->fix, uuid_v4(), &none, 1, &text, 1);
    assert_int_equal(r.records_len, 0);
    assert_false(r.more);
    /* The third of these is beyond show_bytes. */
    memset(data, 'x', 2000);
    data[2000] = '\0';
    text.data = data;
    text.stream = "large";
    none.stream = span_of("large");
    for (int i = 0; i < 3; i++)
        (void)logfix_append(&f->fix, uuid_v4(), NULL, 0, &text, 1);
    r = logfix_ask(&f->fix, uuid_v4(), &none, 1, &text, 1, false, 100);
    assert_true(r.more);
    assert_int_equal(event_decode_whole(r.records, r.records_len, &event), 0);
    assert_int_equal(r.records_len, event.record_len);
    assert_int_equal(event.position, 6);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_query_is_decided_as_the_judge_says),
        cmocka_unit_test(at_the_bound_there_is_an_answer_and_never_a_guess),
        TEST(later_commands_of_a_group_see_the_earlier_ones),
        TEST(a_position_above_the_head_is_refused),
        TEST(the_bound_is_exact_and_a_later_position_helps),
        TEST(the_rarest_tag_bounds_what_is_looked_at),
        TEST(rare_is_what_is_rare_behind_the_position),
        TEST(what_is_shown_is_bounded_in_number_and_bytes),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
