/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/cmocka.h"

#include <errno.h>
#include <unistd.h>

#include "lib/guard.h"
#include "lib/logfix.h"
#include "lib/tmpdir.h"
#include "lib/watchsys.h"

/* What a command was answered the first time. */
struct sent {
    struct uuid id;
    uint64_t first_position, last_position, time_us;
    uint64_t versions[3];
};

struct fixture {
    struct logfix fix;
    uint64_t serial; /* of the names in a command */
};

/* Events of one command, over three streams. */
static void
make_texts(char names[3][24], uint64_t serial, struct event_text texts[4])
{
    for (int i = 0; i < 3; i++)
        snprintf(names[i], 24, "s-%u-%d", (unsigned)serial, i);
    texts[0] = (struct event_text){ names[0], "T", "one", "m", { "t", "u" } };
    texts[1] = (struct event_text){ names[1], "T", "two", NULL, { NULL } };
    texts[2] = (struct event_text){ names[0], "U", "three", NULL, { "t" } };
    texts[3] = (struct event_text){ names[2], "T", "", "mm", { NULL } };
}

/* A check that only the first try can pass. */
static struct append_check
no_stream_yet(const char *name)
{
    return (struct append_check){
        { name, (uint32_t)strlen(name) }, EXPECT_NONE, 0, NULL, 0
    };
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

static void
must(struct logfix *fix, int rc)
{
    if (rc < 0)
        fail_msg("%s", fix->err.text);
}

static struct append_result
send_texts(struct logfix *fix, struct uuid id, const struct event_text *texts,
           uint32_t count)
{
    struct append_check check = no_stream_yet(texts[0].stream);

    return logfix_append(fix, id, &check, 1, texts, count);
}

static struct sent
send_first(struct fixture *f, struct uuid id)
{
    char names[3][24];
    struct event_text texts[4];
    struct append_result r;
    struct sent sent = { .id = id };

    make_texts(names, ++f->serial, texts);
    r = send_texts(&f->fix, id, texts, 4);
    assert_int_equal(r.code, APPEND_ACCEPTED);
    assert_false(r.repeated);
    assert_int_equal(r.version_count, 3);
    sent.first_position = r.first_position;
    sent.last_position = r.last_position;
    sent.time_us = r.time_us;
    memcpy(sent.versions, r.versions, sizeof sent.versions);
    return sent;
}

/* Sends it again: the same answer, and nothing is stored. */
static void
assert_repeated(struct fixture *f, const struct sent *sent, uint64_t serial,
                uint64_t group)
{
    char names[3][24];
    struct event_text texts[4];
    struct append_result r;
    uint32_t open = appender_open_commits(f->fix.appender);

    make_texts(names, serial, texts);
    for (int i = 0; i < 2; i++) {
        r = send_texts(&f->fix, sent->id, texts, 4);
        assert_int_equal(r.code, APPEND_ACCEPTED);
        assert_true(r.repeated);
        assert_int_equal(r.first_position, sent->first_position);
        assert_int_equal(r.last_position, sent->last_position);
        assert_true(r.time_us == sent->time_us);
        assert_int_equal(r.version_count, 3);
        assert_memory_equal(r.versions, sent->versions, sizeof sent->versions);
        assert_int_equal(r.group, group);
        assert_int_equal(r.verdict_count, 0);
    }
    /* The same id with other content is refused, wherever it lies. */
    texts[1].data = "TWO";
    r = send_texts(&f->fix, sent->id, texts, 4);
    assert_int_equal(r.code, APPEND_OTHER_CONTENT);
    assert_int_equal(r.group, group);
    assert_int_equal(r.version_count, 0);
    assert_int_equal(appender_open_commits(f->fix.appender), open);
}

/* Takes a command through all the places that it can lie in. */
static void
repeat_everywhere(struct fixture *f, struct uuid id)
{
    struct logfix *fix = &f->fix;
    struct sent sent = send_first(f, id);
    uint64_t serial = f->serial;
    uint64_t group = appender_settled_group(fix->appender) + 1;
    struct evlog *log = appender_log(fix->appender);
    uint64_t segments;

    assert_repeated(f, &sent, serial, group); /* in the open group */
    appender_close_group(fix->appender);
    assert_repeated(f, &sent, serial, group); /* in flight */
    (void)logfix_put(fix, "other", 100);
    assert_repeated(f, &sent, serial, group); /* beside an open one */
    must(fix, appender_sync(fix->appender, &fix->err));
    assert_repeated(f, &sent, serial, group);
    must(fix, appender_settle(fix->appender, &fix->err));
    assert_repeated(f, &sent, serial, 0); /* durable */
    logfix_sync(fix);
    assert_repeated(f, &sent, serial, 0);

    /* The segment is full, but not sealed yet: no job has been done. */
    segments = evlog_segment_count(log);
    while (evlog_segment_count(log) == segments) {
        (void)logfix_put(fix, "other", 5000);
        appender_close_group(fix->appender);
        must(fix, appender_sync(fix->appender, &fix->err));
        must(fix, appender_settle(fix->appender, &fix->err));
    }
    assert_repeated(f, &sent, serial, 0);
    logfix_jobs(fix); /* sealed */
    assert_repeated(f, &sent, serial, 0);
    while (evlog_segment_count(log) < segments + 4) {
        (void)logfix_put(fix, "other", 20000);
        logfix_sync(fix);
    }
    assert_repeated(f, &sent, serial, 0); /* far back */
    logfix_stop(fix);
    must(fix, logfix_reopen(fix));
    assert_repeated(f, &sent, serial, 0);
}

static void
a_repeat_gets_the_first_answer_wherever_it_lies(void **state)
{
    struct fixture *f = *state;

    repeat_everywhere(f, uuid_v7(1700000000000));
    repeat_everywhere(f, uuid_v4());
    repeat_everywhere(f, uuid_v7(1700000100000));
    repeat_everywhere(f, uuid_v7(5)); /* a clock far behind */
    repeat_everywhere(f, uuid_derive(uuid_v4(), 1));
    repeat_everywhere(f, uuid_v7((UINT64_C(1) << 48) - 1)); /* and ahead */
    repeat_everywhere(f, uuid_v7(1700000200000));
}

static void
all_commands_of_a_long_log_are_repeated_after_a_restart(void **state)
{
    enum { COMMANDS = 400 };
    struct fixture *f = *state;
    struct sent *sent = calloc(COMMANDS + 1, sizeof *sent);

    for (uint64_t i = 1; i <= COMMANDS; i++) {
        sent[i] = send_first(f, i % 7 == 0 ? uuid_v4() : uuid_v7(i * 900));
        if (i % 3 == 0)
            logfix_sync(&f->fix);
    }
    logfix_sync(&f->fix);
    logfix_stop(&f->fix);
    must(&f->fix, logfix_reopen(&f->fix));
    assert_true(evlog_segment_count(appender_log(f->fix.appender)) >= 3);
    for (uint64_t i = COMMANDS; i > 0; i--)
        assert_repeated(f, &sent[i], i, 0);
    free(sent);
}

static void
the_answer_is_the_first_one_though_the_stream_went_on(void **state)
{
    struct fixture *f = *state;
    struct event_text text = { "s", "T", "x", NULL, { NULL } };
    struct append_check exact = { { "s", 1 }, EXPECT_EXACT, 0, NULL, 0 };
    struct uuid ids[5];
    struct append_result r;

    for (uint64_t i = 0; i < 5; i++) {
        ids[i] = uuid_v4();
        exact.version = i;
        r = logfix_append(&f->fix, ids[i], &exact, 1, &text, 1);
        assert_int_equal(r.code, APPEND_ACCEPTED);
        if (i == 2)
            logfix_sync(&f->fix);
    }
    for (uint64_t i = 0; i < 5; i++) {
        exact.version = i; /* this would fail now */
        r = logfix_append(&f->fix, ids[i], &exact, 1, &text, 1);
        assert_true(r.repeated);
        assert_int_equal(r.versions[0], i + 1);
        assert_int_equal(r.first_position, i + 1);
        /* Other checks are not other content. */
        r = logfix_append(&f->fix, ids[i], NULL, 0, &text, 1);
        assert_true(r.repeated);
    }
}

/* ---- beside checks that fail by now ------------------------------------- */

enum { EXPECTATIONS = 9 };

/* A command of its own stream, tag and type, and a check that holds the first
 * time and never again. */
struct once {
    char name[24];
    struct span span;
    struct query_item item;
    struct append_check check;
    struct event_text texts[2];
    struct uuid id;
    uint64_t first_position, time_us;
};

static void
make_once(struct once *o, uint32_t number, uint64_t head)
{
    memset(o, 0, sizeof *o);
    snprintf(o->name, sizeof o->name, "once-%u", number);
    o->span = (struct span){ o->name, (uint32_t)strlen(o->name) };
    o->id = number % 2 == 0 ? uuid_v7(1700000000000 + number) : uuid_v4();
    o->texts[0] =
        (struct event_text){ o->name, o->name, "x", NULL, { o->name } };
    o->texts[1] = (struct event_text){ o->name, "T", "y", NULL, { NULL } };
    o->check.stream = o->span;
    switch (number % EXPECTATIONS) {
    case 0:
        o->check.kind = EXPECT_ANY;
        break;
    case 1:
        o->check.kind = EXPECT_NONE;
        break;
    case 2: /* the only one that cannot fail later: it is made to */
        o->check.kind = EXPECT_EXISTS;
        o->check.stream = (struct span){ "other", 5 };
        break;
    case 3:
        o->check.kind = EXPECT_EXACT;
        break;
    case 4:
        o->check =
            (struct append_check){ .kind = EXPECT_NO_EVENT, .version = head };
        break;
    default: /* by tag, by type, by both, behind a position */
        o->item = (struct query_item){ &o->span, &o->span, 1, 1 };
        o->item.type_count = number % EXPECTATIONS != 5;
        o->item.tag_count = number % EXPECTATIONS != 6;
        o->check = (struct append_check){
            .kind = EXPECT_NO_MATCH,
            .version = number % EXPECTATIONS == 8 ? head : 0,
            .items = &o->item,
            .item_count = 1,
        };
        break;
    }
}

/* The retry wins; with a fresh id the same command shows what its check says
 * by now. */
static void
assert_retry_wins(struct logfix *fix, struct once *o)
{
    for (int dry = 0; dry < 2; dry++) {
        struct append_check check = o->check;
        struct append_result r;

        if (check.kind == EXPECT_EXISTS) /* fails now */
            check.stream = (struct span){ "nobody", 6 };
        if (check.kind >= EXPECT_NO_EVENT && dry)
            check.version = UINT64_MAX; /* invalid, even */
        r = logfix_ask(fix, o->id, &check, 1, o->texts, 2, dry, 10);
        assert_int_equal(r.code, APPEND_ACCEPTED);
        assert_true(r.repeated);
        assert_int_equal(r.dry_run, dry);
        assert_int_equal(r.first_position, o->first_position);
        assert_int_equal(r.last_position, o->first_position + 1);
        assert_true(r.time_us == o->time_us);
        assert_int_equal(r.version_count, 1);
        assert_int_equal(r.versions[0], 2);
        assert_int_equal(r.verdict_count, 0);
        assert_int_equal(r.records_len, 0);
        /* The id does not take effect with other events. */
        r = logfix_ask(fix, o->id, &check, 1, o->texts, 1, dry, 10);
        assert_int_equal(r.code, APPEND_OTHER_CONTENT);
        assert_int_equal(r.verdict_count, 0);
        if (check.kind == EXPECT_ANY || dry)
            continue;
        r = logfix_ask(fix, uuid_v4(), &check, 1, o->texts, 2, true, 0);
        assert_int_equal(r.code, APPEND_CONFLICT);
    }
}

static void
a_retry_wins_over_every_check_that_fails_by_now(void **state)
{
    enum { COMMANDS = 3 * EXPECTATIONS };
    struct fixture *f = *state;
    struct logfix *fix = &f->fix;
    struct once *once = calloc(COMMANDS, sizeof *once);
    uint64_t head = logfix_put(fix, "other", 10).last_position;

    for (uint32_t i = 0; i < COMMANDS; i++) {
        struct append_result r;

        make_once(&once[i], i, head);
        r = logfix_append(fix, once[i].id, &once[i].check, 1, once[i].texts, 2);
        assert_int_equal(r.code, APPEND_ACCEPTED);
        assert_false(r.repeated);
        once[i].first_position = r.first_position;
        once[i].time_us = r.time_us;
        head = r.last_position;
        assert_retry_wins(fix, &once[i]); /* in the open group */
        if (i == COMMANDS / 3)
            appender_close_group(fix->appender);
    }
    for (uint32_t i = 0; i < COMMANDS; i++) /* some in flight */
        assert_retry_wins(fix, &once[i]);
    must(fix, appender_sync(fix->appender, &fix->err));
    must(fix, appender_settle(fix->appender, &fix->err));
    logfix_sync(fix);
    for (uint32_t i = 0; i < COMMANDS; i++) /* durable */
        assert_retry_wins(fix, &once[i]);
    while (evlog_segment_count(appender_log(fix->appender)) < 3) {
        (void)logfix_put(fix, "other", 20000);
        logfix_sync(fix);
    }
    for (uint32_t i = 0; i < COMMANDS; i++) /* in a sealed segment */
        assert_retry_wins(fix, &once[i]);
    logfix_stop(fix);
    must(fix, logfix_reopen(fix));
    for (uint32_t i = 0; i < COMMANDS; i++) /* after a restart */
        assert_retry_wins(fix, &once[i]);
    free(once);
}

static void
the_id_of_a_dry_run_stays_free(void **state)
{
    struct fixture *f = *state;
    struct event_text text = { "s", "T", "x", NULL, { NULL } };
    struct event_text other = { "s", "T", "y", NULL, { NULL } };
    struct uuid id = uuid_v7(1);
    struct append_result r =
        logfix_ask(&f->fix, id, NULL, 0, &text, 1, true, 0);

    assert_int_equal(r.code, APPEND_ACCEPTED);
    assert_int_equal(r.versions[0], 1);
    assert_int_equal(appender_open_commits(f->fix.appender), 0);
    r = logfix_append(&f->fix, id, NULL, 0, &other, 1);
    assert_int_equal(r.code, APPEND_ACCEPTED);
    assert_false(r.repeated);
    r = logfix_ask(&f->fix, id, NULL, 0, &text, 1, true, 0);
    assert_int_equal(r.code, APPEND_OTHER_CONTENT);
}

static void
the_id_of_a_refused_command_is_free(void **state)
{
    struct fixture *f = *state;
    struct event_text text = { "s", "T", "x", NULL, { NULL } };
    struct event_text other = { "s", "T", "y", NULL, { NULL } };
    struct append_check exists = { { "s", 1 }, EXPECT_EXISTS, 0, NULL, 0 };
    struct uuid id = uuid_v7(1);

    assert_int_equal(logfix_append(&f->fix, id, &exists, 1, &text, 1).code,
                     APPEND_CONFLICT);
    assert_int_equal(logfix_append(&f->fix, id, NULL, 0, &other, 1).code,
                     APPEND_ACCEPTED);
    assert_true(logfix_append(&f->fix, id, &exists, 1, &other, 1).repeated);
}

static void
any_difference_is_other_content(void **state)
{
    struct fixture *f = *state;
    static const struct event_text good[2] = {
        { "s-1", "Type", "data", "meta", { "t1", "t2" } },
        { "s-2", "Type", "data", "meta", { NULL } },
    };
    struct uuid id = uuid_v7(1), other_id = uuid_v7(2);
    struct event_text texts[2];
    uint32_t len, other_len;
    uint8_t *commit, *other;
    struct append_request request;
    struct append_result r;

    assert_int_equal(logfix_append(&f->fix, id, NULL, 0, good, 2).code,
                     APPEND_ACCEPTED);
#define DIFFERS(change)                                    \
    do {                                                   \
        memcpy(texts, good, sizeof texts);                 \
        change;                                            \
        r = logfix_append(&f->fix, id, NULL, 0, texts, 2); \
        assert_int_equal(r.code, APPEND_OTHER_CONTENT);    \
        assert_false(r.repeated);                          \
    } while (0)
    for (int round = 0; round < 2; round++) {
        DIFFERS(texts[0].stream = "s-3");
        DIFFERS(texts[0].stream = "s-11");
        DIFFERS(texts[1].type = "type");
        DIFFERS(texts[1].type = "Typ");
        DIFFERS(texts[0].data = "dat");
        DIFFERS(texts[0].data = "Data");
        DIFFERS(texts[0].meta = "mete");
        DIFFERS(texts[0].meta = NULL);
        DIFFERS(texts[0].tags[1] = "t3");
        DIFFERS(texts[0].tags[1] = NULL);
        DIFFERS(texts[0].tags[0] = "t2"; texts[0].tags[1] = "t1");
        DIFFERS(texts[1].tags[0] = "t1");
        /* The same bytes, with the border between two names moved. */
        DIFFERS(texts[0].stream = "s-1T"; texts[0].type = "ype");
        DIFFERS(texts[0].meta = "metad"; texts[0].data = "ata");
        DIFFERS(texts[0] = good[1]; texts[1] = good[0]);
        assert_int_equal(logfix_append(&f->fix, id, NULL, 0, good, 1).code,
                         APPEND_OTHER_CONTENT);
        assert_true(logfix_append(&f->fix, id, NULL, 0, good, 2).repeated);
        logfix_sync(&f->fix); /* and once more, when it is durable */
    }
#undef DIFFERS
    /* Fields that commit_make() does not let us choose. */
    commit = commit_make(id, good, 2, &len);
    other = commit_make(other_id, good, 2, &other_len);
    request = (struct append_request){ .commit = commit, .commit_len = len };
    for (size_t at = 48; at < 112; at++) {
        struct event_record *e =
            (struct event_record *)(commit + sizeof(struct commit_record));

        if (at >= 96 && at < 108) /* lengths, and a stamp */
            continue;
        ((uint8_t *)e)[at] ^= 1; /* ids, schema */
        must(&f->fix,
             appender_append(f->fix.appender, &request, &r, &f->fix.err));
        if (r.code != APPEND_OTHER_CONTENT)
            fail_msg("byte %zu of an event", at);
        ((uint8_t *)e)[at] ^= 1;
    }
    /* Stamps are not content: whoever asks again does not know them. */
    memset(commit + sizeof(struct commit_record) + 8, 0xee, 40);
    must(&f->fix, appender_append(f->fix.appender, &request, &r, &f->fix.err));
    assert_true(r.repeated);
    free(commit);
    free(other);
}

static void
what_is_not_checked_yet_is_looked_at_in_bounds(void **state)
{
    struct fixture *f = *state;
    const struct event_text text = { "s-1", "T", "data", NULL, { "tag" } };
    uint32_t len;
    uint8_t *commit = commit_make(uuid_v4(), &text, 1, &len);
    uint32_t stream_end =
        (uint32_t)(sizeof(struct commit_record) + sizeof(struct event_record) +
                   sizeof(struct link_disk) + 1 + 3);

    for (uint32_t cut = 0; cut <= len; cut++) {
        uint8_t *copy = guarded(commit, cut);
        struct append_hint hint;

        appender_hint(f->fix.appender, copy, cut, &hint);
        appender_look_ahead(f->fix.appender, &hint);
        assert_int_equal(hint.stream.len, cut < stream_end ? 0 : 3);
        appender_look_closer(f->fix.appender, &hint);
    }
    free(commit);
}

static void
lost_files_of_ids_do_not_let_a_command_take_effect_twice(void **state)
{
    struct fixture *f = *state;
    struct sent sent = send_first(f, uuid_v4());
    uint64_t serial = f->serial;
    char name[32];

    logfix_sync(&f->fix);
    while (evlog_segment_count(appender_log(f->fix.appender)) < 2) {
        (void)logfix_put(&f->fix, "other", 20000);
        logfix_sync(&f->fix);
    }
    snprintf(name, sizeof name, "%020d.ids", 1);
    assert_int_equal(unlink(tmpdir_path(logfix_dir(&f->fix), name)), 0);
    assert_repeated(f, &sent, serial, 0); /* made again while it runs */
    assert_int_equal(access(tmpdir_path(logfix_dir(&f->fix), name), F_OK), 0);
    assert_int_equal(unlink(tmpdir_path(logfix_dir(&f->fix), name)), 0);
    logfix_stop(&f->fix);
    must(&f->fix, logfix_reopen(&f->fix));
    assert_repeated(f, &sent, serial, 0); /* and after a restart */
}

/* As many files as there are sealed segments. */
static void
assert_ids_files(struct fixture *f, bool there)
{
    struct evlog *log = appender_log(f->fix.appender);

    for (uint64_t n = 1; n < evlog_segment_count(log); n++) {
        char name[32];

        snprintf(name, sizeof name, "%020llu.ids",
                 (unsigned long long)evlog_segment_first(log, n));
        assert_int_equal(
            access(tmpdir_path(logfix_dir(&f->fix), name), F_OK) == 0, there);
        if (there)
            (void)unlink(tmpdir_path(logfix_dir(&f->fix), name));
    }
}

struct progress {
    uint64_t calls, last; /* about the ids */
    uint64_t give_up_at;  /* 0: never */
};

static bool
on_progress(void *arg, const char *what, uint64_t done, uint64_t total)
{
    struct progress *p = arg;

    if (strstr(what, "command ids") == NULL)
        return true;
    p->calls++;
    assert_int_equal(done, p->last + 1);
    assert_true(done <= total);
    p->last = done;
    return done != p->give_up_at;
}

static int
reopen_with(struct fixture *f, const struct sys *sys, struct progress *p)
{
    return appender_open(sys, logfix_dir(&f->fix), logfix_control(&f->fix),
                         &f->fix.options, on_progress, p, &f->fix.report,
                         &f->fix.appender, &f->fix.err);
}

/* As in a log that was restored. */
static void
a_start_makes_all_files_of_ids_that_are_missing(void **state)
{
    struct fixture *f = *state;
    struct sent sent = send_first(f, uuid_v4());
    uint64_t serial = f->serial, sealed;
    struct watchsys watch;
    struct progress p = { 0 };

    while (evlog_segment_count(appender_log(f->fix.appender)) < 5) {
        (void)logfix_put(&f->fix, "other", 20000);
        logfix_sync(&f->fix);
    }
    sealed = evlog_segment_count(appender_log(f->fix.appender)) - 1;
    assert_ids_files(f, true); /* which takes them away */
    logfix_stop(&f->fix);

    p.give_up_at = 2; /* and the next start goes on */
    assert_int_equal(reopen_with(f, &sys_real, &p), -ECANCELED);
    assert_int_equal(p.calls, 2);
    p = (struct progress){ 0 };
    must(&f->fix, reopen_with(f, &sys_real, &p));
    assert_int_equal(p.calls, sealed);
    assert_ids_files(f, true);
    logfix_stop(&f->fix);

    watchsys_begin(&watch, &sys_real);
    watchsys_fail(&watch, "write", ".ids", -ENOSPC);
    p = (struct progress){ 0 };
    must(&f->fix, reopen_with(f, &watch.sys, &p)); /* it starts all the same */
    assert_int_equal(p.calls, 0);
    assert_ids_files(f, false);
    assert_repeated(f, &sent, serial, 0);
    logfix_stop(&f->fix);
    watchsys_end(&watch);

    p = (struct progress){ 0 };
    must(&f->fix, reopen_with(f, &sys_real, &p));
    logfix_stop(&f->fix);
    p = (struct progress){ 0 };
    must(&f->fix, reopen_with(f, &sys_real, &p));
    assert_int_equal(p.calls, 0); /* nothing is missing */
    assert_repeated(f, &sent, serial, 0);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_repeat_gets_the_first_answer_wherever_it_lies),
        TEST(all_commands_of_a_long_log_are_repeated_after_a_restart),
        TEST(the_answer_is_the_first_one_though_the_stream_went_on),
        TEST(a_retry_wins_over_every_check_that_fails_by_now),
        TEST(the_id_of_a_dry_run_stays_free),
        TEST(the_id_of_a_refused_command_is_free),
        TEST(any_difference_is_other_content),
        TEST(what_is_not_checked_yet_is_looked_at_in_bounds),
        TEST(lost_files_of_ids_do_not_let_a_command_take_effect_twice),
        TEST(a_start_makes_all_files_of_ids_that_are_missing),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
