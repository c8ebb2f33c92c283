/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/cmocka.h"

#include <errno.h>
#include <unistd.h>

#include "lib/bytefix.h"
#include "lib/logfix.h"
#include "lib/tmpdir.h"
#include "lib/watchsys.h"
#include "store/ids.h"

/* ---- one set ----------------------------------------------------------- */

static bool
holds(const struct id_set *set, struct uuid id, uint32_t offset)
{
    uint32_t probe = 0, candidate;

    while (id_set_candidate(set, id_set_print(set, id), &probe, &candidate))
        if (candidate == offset)
            return true;
    return false;
}

static void
what_was_added_is_a_candidate(void **state)
{
    struct uuid ids[3000];
    struct id_set set;
    uint32_t strangers = 0;

    (void)state;
    id_set_init(&set, NULL);
    assert_false(holds(&set, uuid_v4(), 8));
    for (uint32_t i = 0; i < 3000; i++) {
        ids[i] = uuid_v4();
        assert_int_equal(
            id_set_add(&set, id_set_print(&set, ids[i]), 640 + i * 8), 0);
        assert_true(set.count <= set.slot_count / 2);
    }
    for (uint32_t i = 0; i < 3000; i++)
        assert_true(holds(&set, ids[i], 640 + i * 8));
    for (uint32_t i = 0; i < 3000; i++) {
        uint32_t probe = 0, offset;

        strangers += id_set_candidate(&set, id_set_print(&set, uuid_v4()),
                                      &probe, &offset);
    }
    assert_true(strangers < 3); /* 32 bits of hash: hardly ever one */
    id_set_free(&set);
    id_set_free(&set);
}

static void
the_same_id_can_be_there_more_than_once(void **state)
{
    struct uuid id = uuid_v4();
    struct id_set set;

    /* As two ids would with the same hash. */
    (void)state;
    id_set_init(&set, NULL);
    for (uint32_t i = 1; i <= 100; i++)
        assert_int_equal(id_set_add(&set, id_set_print(&set, id), i * 8), 0);
    for (uint32_t i = 1; i <= 100; i++)
        assert_true(holds(&set, id, i * 8));
    id_set_free(&set);
}

static void
the_largest_offset_of_a_segment_fits(void **state)
{
    struct uuid id = uuid_v4();
    struct id_set set;

    (void)state;
    id_set_init(&set, NULL);
    assert_int_equal(
        id_set_add(&set, id_set_print(&set, id), (uint32_t)SEGMENT_LEN_MAX - 8),
        0);
    assert_true(holds(&set, id, (uint32_t)SEGMENT_LEN_MAX - 8));
    id_set_free(&set);
}

static void
clearing_empties_it_and_keeps_the_memory(void **state)
{
    struct uuid id = uuid_v4();
    struct id_set set;
    uint64_t *slots;

    (void)state;
    id_set_init(&set, NULL);
    id_set_clear(&set);
    for (uint32_t i = 1; i <= 100; i++)
        assert_int_equal(id_set_add(&set, id_set_print(&set, id), i * 8), 0);
    slots = set.slots;
    id_set_clear(&set);
    assert_false(holds(&set, id, 8));
    assert_int_equal(id_set_add(&set, id_set_print(&set, id), 16), 0);
    assert_ptr_equal(set.slots, slots);
    assert_true(holds(&set, id, 16));
    assert_false(holds(&set, id, 8));
    id_set_free(&set);
}

static void
times_tell_whether_an_id_can_be_there(void **state)
{
    struct id_times times = { 0 };

    (void)state;
    assert_false(id_times_may_hold(&times, uuid_v4()));
    assert_false(id_times_may_hold(&times, uuid_v7(1)));
    id_times_add(&times, uuid_v7(1000));
    id_times_add(&times, uuid_v7(900));
    assert_int_equal(times.time_max_ms, 1000);
    assert_true(id_times_may_hold(&times, uuid_v7(1000)));
    assert_true(id_times_may_hold(&times, uuid_v7(5)));
    assert_false(id_times_may_hold(&times, uuid_v7(1001)));
    assert_false(id_times_may_hold(&times, uuid_v4()));
    id_times_add(&times, uuid_v4());
    assert_int_equal(times.other_count, 1);
    assert_true(id_times_may_hold(&times, uuid_v4()));
    assert_false(id_times_may_hold(&times, uuid_v7(1001)));
}

static void
times_far_from_those_of_the_commits_are_kept_apart(void **state)
{
    static const uint64_t now_ms = 1700000000000, day = 24u * 3600 * 1000;
    struct id_set set;

    (void)state;
    id_set_init(&set, NULL);
    assert_false(id_spans_may_hold(&set.spans, uuid_v7(0)));
    assert_true(id_spans_may_hold(&set.spans, uuid_v4()));
    id_set_note(&set, uuid_v4(), now_ms * 1000);
    assert_false(id_spans_may_hold(&set.spans, uuid_v7(now_ms)));
    id_set_note(&set, uuid_v7(now_ms - day), now_ms * 1000);
    id_set_note(&set, uuid_v7(now_ms + day), now_ms * 1000);
    id_set_note(&set, uuid_v7(now_ms - day - 1000), now_ms * 1000);
    id_set_note(&set, uuid_v7(now_ms - day - 1500), now_ms * 1000);
    id_set_note(&set, uuid_v7(now_ms + day + 1000), now_ms * 1000);
    id_set_note(&set, uuid_v7((UINT64_C(1) << 48) - 1), now_ms * 1000);
    for (int i = 0; i < 3; i++) {
        static const struct {
            int64_t from, to;
        } held[] = { { -1500, -1000 },
                     { 0, 2 * (int64_t)day },
                     { 2 * (int64_t)day + 1000, INT64_C(1) << 47 } };
        uint64_t from = now_ms - day + (uint64_t)held[i].from;
        uint64_t to = now_ms - day + (uint64_t)held[i].to;

        assert_false(id_spans_may_hold(&set.spans, uuid_v7(from - 1)));
        assert_true(id_spans_may_hold(&set.spans, uuid_v7(from)));
        assert_true(id_spans_may_hold(&set.spans, uuid_v7(to)));
        if (i < 2)
            assert_false(id_spans_may_hold(&set.spans, uuid_v7(to + 1)));
    }
    id_set_clear(&set);
    assert_false(id_spans_may_hold(&set.spans, uuid_v7(now_ms)));
    id_set_free(&set);
}

#define TAIL_LEN (48u + 4u) /* of a file with one page of slots */

/* ---- a log of many segments -------------------------------------------- */

#define COMMITS 120
#define COMMITS_WITH_V4 30 /* the last of them; the rest is UUIDv7 */

struct fixture {
    struct logfix fix;
    struct watchsys watch; /* of the ids, not of the appender */
    struct evlog *log;
    struct ids *ids;
    struct uuid id[COMMITS];
    uint64_t last; /* of the sealed segments */
    struct err err;
};

static const struct appender_options options = {
    .segment_len = SEGMENT_LEN_MIN,
    .group_len_max = 32 << 10,
    .checkpoint_bytes = 1 << 30,
    .table_slots = TABLE_SLOTS_MIN,
};

static void
open_ids(struct fixture *f)
{
    watchsys_begin(&f->watch, &sys_real);
    f->watch.skip_syncs = true;
    if (evlog_open(&f->watch.sys, logfix_dir(&f->fix), &f->log, &f->err) < 0 ||
        ids_open(f->log, &f->ids, &f->err) < 0)
        fail_msg("%s", f->err.text);
    f->last = evlog_segment_count(f->log) - 1;
}

static void
close_ids(struct fixture *f)
{
    ids_close(&f->ids);
    evlog_close(&f->log);
    assert_int_equal(f->watch.counts.maps, f->watch.counts.unmaps);
    watchsys_end(&f->watch);
}

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    char *data = malloc(5001);
    struct event_text text = { "s", "T", data, NULL, { NULL } };

    memset(data, 'd', 5000);
    data[5000] = '\0';
    logfix_open(&f->fix, &sys_real, &options);
    for (int i = 0; i < COMMITS; i++) {
        f->id[i] = i >= 20 && i < 20 + COMMITS_WITH_V4
            ? uuid_v4()
            : uuid_v7((uint64_t)i * 1000 + 1000);
        (void)logfix_append(&f->fix, f->id[i], NULL, 0, &text, 1);
        logfix_sync(&f->fix);
    }
    free(data);
    logfix_stop(&f->fix);
    open_ids(f);
    *state = f;
    return f->last < 8 ? -1 : 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    close_ids(f);
    tmpdir_remove(&f->fix.dir);
    free(f);
    return 0;
}

/* What is known of the segments 1 to the last sealed one. */
static struct id_times
old_times(struct fixture *f)
{
    struct segment *segment;

    if (evlog_segment(f->log, f->last + 1, &segment, &f->err) < 0)
        fail_msg("%s", f->err.text);
    return (struct id_times){ segment->info.ids_time_max_ms,
                              segment->info.ids_other_count };
}

static int
find(struct fixture *f, struct uuid id, uint64_t *ret_address)
{
    int rc = ids_find(f->ids, id, f->last, old_times(f), ret_address, &f->err);

    if (rc < 0)
        fail_msg("%s", f->err.text);
    return rc;
}

/* Every command of the sealed segments is found, and where it lies. */
static void
find_all(struct fixture *f)
{
    for (int i = 0; i < COMMITS; i++) {
        uint64_t address;
        struct commit commit;
        int rc = find(f, f->id[i], &address);

        if (rc == 0) {
            assert_true((uint64_t)i + 1 >=
                        evlog_segment_first(f->log, f->last + 1));
            continue;
        }
        assert_true(address_segment(address) <= f->last);
        assert_int_equal(evlog_commit_at(f->log, address, &commit, &f->err), 0);
        assert_true(uuid_equal(commit.command_id, f->id[i]));
        assert_int_equal(commit.first_position, i + 1);
    }
}

/* How many files of ids a search for an id opens. */
static unsigned
files_opened(struct fixture *f, struct uuid id)
{
    uint64_t address;
    unsigned opens;

    close_ids(f);
    open_ids(f);
    for (uint64_t n = 1; n <= f->last + 1; n++) { /* the segments are open */
        struct segment *segment;

        assert_int_equal(evlog_segment(f->log, n, &segment, &f->err), 0);
    }
    opens = f->watch.counts.opens;
    (void)find(f, id, &address);
    return f->watch.counts.opens - opens;
}

static void
every_command_is_found_and_no_other(void **state)
{
    struct fixture *f = *state;
    uint64_t address;

    find_all(f);
    for (int i = 0; i < COMMITS; i++) {
        assert_int_equal(find(f, uuid_v4(), &address), 0);
        assert_int_equal(find(f, uuid_v7((uint64_t)i * 1000), &address), 0);
    }
}

static void
a_new_id_of_an_honest_clock_opens_no_file(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(files_opened(f, uuid_v7(COMMITS * 1000 + 1000)), 0);
}

static void
an_id_of_a_clock_behind_opens_the_files_since_then(void **state)
{
    struct fixture *f = *state;
    uint64_t time_max = old_times(f).time_max_ms;

    assert_int_equal(files_opened(f, uuid_v7(time_max)), 1);
    /* A commit every second, about 11 in a segment. */
    assert_in_range(files_opened(f, uuid_v7(time_max - 30000)), 3, 4);
    assert_int_equal(files_opened(f, uuid_v7(0)), f->last);
}

static void
an_id_that_is_no_uuidv7_opens_the_files_that_hold_such(void **state)
{
    struct fixture *f = *state;
    unsigned opened = files_opened(f, uuid_v4());

    assert_in_range(opened, COMMITS_WITH_V4 / 12, COMMITS_WITH_V4 / 11 + 2);
    assert_true(opened < f->last);
}

static const char *
ids_file_of(struct fixture *f, uint64_t number)
{
    char name[64];

    snprintf(name, sizeof name, "%020llu.ids",
             (unsigned long long)evlog_segment_first(f->log, number));
    return tmpdir_path(logfix_dir(&f->fix), name);
}

static void
missing_files_are_made_again(void **state)
{
    struct fixture *f = *state;
    uint8_t *data;
    size_t len;

    for (uint64_t n = 1; n <= f->last; n++)
        assert_int_equal(unlink(ids_file_of(f, n)), 0);
    find_all(f);
    for (uint64_t n = 1; n <= f->last; n++) {
        data = file_read(ids_file_of(f, n), &len);
        assert_memory_equal(data, "CAIRNIDS", 8);
        free(data);
    }
    close_ids(f);
    open_ids(f);
    find_all(f);
}

static void
damaged_files_are_made_again(void **state)
{
    struct fixture *f = *state;
    size_t len;
    uint8_t *good = file_read(ids_file_of(f, 2), &len);
    uint8_t *bytes = malloc(len + 8);
    uint64_t address;

    for (size_t at = 0; at < len; at++) {
        memcpy(bytes, good, len);
        bytes[at] ^= 0x20;
        file_write(ids_file_of(f, 2), bytes, len);
        close_ids(f);
        open_ids(f);
        for (int i = 0; i < 2; i++) { /* it is passed by, or not, by times */
            assert_int_equal(find(f, f->id[15], &address), 1);
            assert_int_equal(address_segment(address), 2);
        }
    }
    for (size_t n = 0; n <= len + 8; n += 8) { /* of any length */
        memcpy(bytes, good, len);
        file_write(ids_file_of(f, 2), bytes, n);
        close_ids(f);
        open_ids(f);
        assert_int_equal(find(f, f->id[15], &address), 1);
    }
    free(good);
    free(bytes);
}

static void
a_file_that_breaks_a_rule_is_made_again(void **state)
{
    struct fixture *f = *state;
    size_t len;
    uint8_t *good = file_read(ids_file_of(f, 2), &len);
    uint8_t *bytes = malloc(len);
    uint64_t address;
    static const struct {
        size_t at;
        uint32_t value;
    } bad[] = {
        { 8, 0 },            /* log_id */
        { 24, 3 },           /* number */
        { 32, 32 },          /* slot_count: too few */
        { 32, 128 },         /* more than the file has */
        { 32, 65 },          /* no power of two */
        { 32, 0x80000000u }, /* more than any file has */
        { 36, 33 },          /* count: more than half of the slots */
    };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct le32 value = le32_of(bad[i].value);

        memcpy(bytes, good, len);
        memcpy(bytes + bad[i].at, &value, sizeof value);
        reseal_ids(bytes, len);
        file_write(ids_file_of(f, 2), bytes, len);
        close_ids(f);
        open_ids(f);
        assert_int_equal(find(f, f->id[15], &address), 1);
    }
    free(good);
    free(bytes);
}

static void
a_set_that_cannot_be_written_stays_in_memory(void **state)
{
    static const char *const calls[] = { "write", "sync", "rename",
                                         "sync_dir" };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        for (uint64_t n = 1; n <= f->last; n++)
            (void)unlink(ids_file_of(f, n)); /* there, or as we left it */
        close_ids(f);
        open_ids(f);
        watchsys_fail(&f->watch, calls[i], NULL, -ENOSPC);
        find_all(f);
        find_all(f);
    }
}

static void
damage_in_the_log_is_no_miss(void **state)
{
    struct fixture *f = *state;
    char name[64];
    size_t len;
    uint8_t *bytes;
    uint64_t address;

    /* The commit itself is damaged: nobody can say that it is not there. */
    assert_int_equal(find(f, f->id[15], &address), 1);
    close_ids(f);
    snprintf(name, sizeof name, "%020d.log", 12);
    bytes = file_read(tmpdir_path(logfix_dir(&f->fix), name), &len);
    bytes[address_offset(address) + 40] ^= 1;
    (void)unlink(tmpdir_path(logfix_dir(&f->fix), name)); /* read-only */
    file_write(tmpdir_path(logfix_dir(&f->fix), name), bytes, len);
    free(bytes);
    open_ids(f);
    assert_int_equal(
        ids_find(f->ids, f->id[15], f->last, old_times(f), &address, &f->err),
        -CAIRN_EDAMAGED);
    (void)unlink(ids_file_of(f, 2));
    close_ids(f);
    open_ids(f);
    assert_int_equal(
        ids_find(f->ids, f->id[15], f->last, old_times(f), &address, &f->err),
        -CAIRN_EDAMAGED);
}

static void
a_file_is_only_read_while_its_segment_is_sealed(void **state)
{
    struct fixture *f = *state;
    uint64_t address;
    struct id_times times = { UINT64_MAX, 1 };

    /* The last segment is not sealed: to ask for it is to say that a later
     * one exists, and then it should have been. */
    assert_int_equal(
        ids_find(f->ids, uuid_v7(1), f->last + 1, times, &address, &f->err),
        -CAIRN_EDAMAGED);
    assert_non_null(strstr(f->err.text, "not sealed"));
}

/* ---- clocks ------------------------------------------------------------ */

#define AHEAD 3   /* the commit of a clock that is far ahead */
#define BEHIND 50 /* and of one that is far behind */
#define BEGAN_MS UINT64_C(1700000000000)

/* A commit every minute, nearly all with the time that it is. */
static int
setup_clocks(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct watchsys watch;
    char *data = malloc(5001);
    struct event_text text = { "s", "T", data, NULL, { NULL } };

    memset(data, 'd', 5000);
    data[5000] = '\0';
    watchsys_begin(&watch, &sys_real);
    watch.now_us = BEGAN_MS * 1000;
    logfix_open(&f->fix, &watch.sys, &options);
    for (uint64_t i = 0; i < COMMITS; i++) {
        watch.now_us = (BEGAN_MS + i * 60000) * 1000;
        f->id[i] = uuid_v7(i == AHEAD        ? (UINT64_C(1) << 48) - 1
                               : i == BEHIND ? 7
                                             : BEGAN_MS + i * 60000);
        (void)logfix_append(&f->fix, f->id[i], NULL, 0, &text, 1);
        logfix_sync(&f->fix);
    }
    free(data);
    logfix_stop(&f->fix);
    watchsys_end(&watch);
    open_ids(f);
    *state = f;
    return f->last < 8 ? -1 : 0;
}

/* How many sets are searched for an id. */
static uint64_t
searched(struct fixture *f, struct uuid id, int found)
{
    uint64_t before = ids_searched(f->ids), address;

    assert_int_equal(find(f, id, &address), found);
    return ids_searched(f->ids) - before;
}

static void
a_wrong_clock_spoils_the_cost_of_no_other(void **state)
{
    struct fixture *f = *state;
    uint64_t now_ms = BEGAN_MS + COMMITS * 60000;

    /* The headers say that it could be anywhere: the first look learns. */
    assert_int_equal(searched(f, uuid_v7(now_ms), 0), f->last);
    for (uint64_t i = 0; i < 10; i++) {
        assert_int_equal(searched(f, uuid_v7(now_ms + i), 0), 0);
        assert_int_equal(searched(f, uuid_v7(i * 1000000), 0), 0);
        assert_int_equal(searched(f, uuid_v7(now_ms << 3), 0), 0);
    }
    for (uint64_t i = 0; i + 1 < evlog_segment_first(f->log, f->last + 1); i++)
        assert_int_equal(searched(f, f->id[i], 1), 1);
    /* One in the middle of a segment's, that is not there. */
    assert_int_equal(searched(f, uuid_v7(BEGAN_MS + 5 * 60000 + 1), 0), 1);
    find_all(f);
}

static void
a_file_without_times_is_searched_for_all_ids(void **state)
{
    struct fixture *f = *state;
    size_t len, again;
    uint8_t *bytes = file_read(ids_file_of(f, 2), &len), *kept;
    uint64_t now_ms = BEGAN_MS + COMMITS * 60000;

    reseal_ids(bytes, len - TAIL_LEN);
    file_write(ids_file_of(f, 2), bytes, len - TAIL_LEN);
    close_ids(f);
    open_ids(f);
    (void)searched(f, uuid_v7(now_ms), 0);
    assert_int_equal(searched(f, uuid_v7(now_ms), 0), 1);
    find_all(f);
    kept = file_read(ids_file_of(f, 2), &again); /* it was good enough */
    assert_int_equal(again, len - TAIL_LEN);
    assert_memory_equal(kept, bytes, again);
    free(kept);
    /* Made again, it has them. */
    assert_int_equal(unlink(ids_file_of(f, 2)), 0);
    close_ids(f);
    open_ids(f);
    (void)searched(f, uuid_v7(now_ms), 0);
    assert_int_equal(searched(f, uuid_v7(now_ms), 0), 0);
    kept = file_read(ids_file_of(f, 2), &again);
    assert_int_equal(again, len);
    assert_memory_equal(kept + len - TAIL_LEN, bytes + len - TAIL_LEN, 48);
    free(kept);
    free(bytes);
}

/* ---- large files ------------------------------------------------------- */

#define MANY 4000u /* small commits */
#define PAGE 512u  /* slots with a checksum of their own */

static void
only_what_is_looked_at_is_read(void **state)
{
    static struct uuid many[MANY];
    const struct appender_options large = {
        .segment_len = 512 << 10,
        .group_len_max = 32 << 10,
        .checkpoint_bytes = 1 << 30,
        .table_slots = TABLE_SLOTS_MIN,
    };
    const struct event_text text = { "s", "T", "x", NULL, { NULL } };
    struct fixture *f = calloc(1, sizeof *f);
    uint32_t in_page[2] = { 0, 0 }, slot_count;
    struct id_set keyed;
    uint8_t *bytes;
    size_t len;

    (void)state;
    logfix_open(&f->fix, &sys_real, &large);
    for (uint32_t i = 0; i < MANY; i++) {
        many[i] = uuid_v4();
        (void)logfix_append(&f->fix, many[i], NULL, 0, &text, 1);
    }
    logfix_sync(&f->fix);
    logfix_stop(&f->fix);
    open_ids(f);
    bytes = file_read(ids_file_of(f, 1), &len);
    slot_count = (uint32_t)bytes[32] | (uint32_t)bytes[33] << 8;
    assert_true(slot_count >= 4 * PAGE);
    /* Damage a slot of the last page, and one behind it. */
    id_set_init(&keyed, bytes + 40);
    for (uint32_t at = slot_count - PAGE; at < slot_count; at++)
        bytes[64 + 8 * at + 7] ^= 0x55;
    file_write(ids_file_of(f, 1), bytes, len);
    for (uint32_t i = 0; i + 1 < evlog_segment_first(f->log, 2); i++) {
        uint32_t place = id_set_print(&keyed, many[i]) & (slot_count - 1);
        uint64_t address;

        if (place >= slot_count - PAGE) {
            in_page[1]++;
            continue;
        }
        if (place / PAGE > 0)
            continue;
        in_page[0]++;
        assert_int_equal(find(f, many[i], &address), 1);
    }
    assert_true(in_page[0] > 10 && in_page[1] > 10);
    assert_int_equal(f->watch.counts.renames, 0); /* nobody has noticed */
    for (uint32_t i = 0; i + 1 < evlog_segment_first(f->log, 2); i++) {
        uint64_t address;

        assert_int_equal(find(f, many[i], &address), 1);
    }
    assert_int_equal(f->watch.counts.renames, 1); /* it was made again */
    free(bytes);
    close_ids(f);
    tmpdir_remove(&f->fix.dir);
    free(f);
}

/* An id lies in the page behind that where its search begins: this one is
 * checked, too. */
static void
a_search_that_goes_on_in_the_next_page_checks_that(void **state)
{
    struct fixture *f = *state;
    const struct uuid id = f->id[15]; /* in segment 2 */
    struct id_set set;
    uint8_t *bytes;
    uint64_t address;
    uint32_t print;
    size_t len;

    assert_int_equal(find(f, id, &address), 1);
    do { /* a key with which it belongs into the last place of a page */
        id_set_init(&set, NULL);
        print = id_set_print(&set, id);
    } while ((print & (2 * PAGE - 1)) != PAGE - 1);
    for (uint32_t i = 0; i < 300; i++) /* enough for two pages */
        assert_int_equal(id_set_add(&set, PAGE + 100 + i, 640), 0);
    assert_int_equal(id_set_add(&set, print ^ 1u << 31, 640), 0);
    assert_int_equal(id_set_add(&set, print, (uint32_t)address_offset(address)),
                     0);
    assert_int_equal(set.slot_count, 2 * PAGE);
    id_set_note(&set, id, 0);
    assert_int_equal(ids_write(&sys_real, logfix_dir(&f->fix), evlog_id(f->log),
                               2, evlog_segment_first(f->log, 2), &set,
                               &f->err),
                     0);
    id_set_free(&set);
    close_ids(f);
    open_ids(f);
    assert_int_equal(find(f, id, &address), 1);
    assert_int_equal(f->watch.counts.renames, 0);

    bytes = file_read(ids_file_of(f, 2), &len);
    assert_true(bytes[64 + 8 * PAGE + 7] == print >> 24);
    bytes[64 + 8 * PAGE + 7] ^= 1;
    file_write(ids_file_of(f, 2), bytes, len);
    free(bytes);
    close_ids(f);
    open_ids(f);
    assert_int_equal(find(f, id, &address), 1);
    assert_int_equal(f->watch.counts.renames, 1);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_added_is_a_candidate),
        cmocka_unit_test(the_same_id_can_be_there_more_than_once),
        cmocka_unit_test(the_largest_offset_of_a_segment_fits),
        cmocka_unit_test(clearing_empties_it_and_keeps_the_memory),
        cmocka_unit_test(times_tell_whether_an_id_can_be_there),
        cmocka_unit_test(times_far_from_those_of_the_commits_are_kept_apart),
        TEST(every_command_is_found_and_no_other),
        TEST(a_new_id_of_an_honest_clock_opens_no_file),
        TEST(an_id_of_a_clock_behind_opens_the_files_since_then),
        TEST(an_id_that_is_no_uuidv7_opens_the_files_that_hold_such),
        TEST(missing_files_are_made_again),
        TEST(damaged_files_are_made_again),
        TEST(a_file_that_breaks_a_rule_is_made_again),
        TEST(a_set_that_cannot_be_written_stays_in_memory),
        TEST(damage_in_the_log_is_no_miss),
        TEST(a_file_is_only_read_while_its_segment_is_sealed),
        cmocka_unit_test_setup_teardown(
            a_wrong_clock_spoils_the_cost_of_no_other, setup_clocks, teardown),
        cmocka_unit_test(only_what_is_looked_at_is_read),
        TEST(a_search_that_goes_on_in_the_next_page_checks_that),
        cmocka_unit_test_setup_teardown(
            a_file_without_times_is_searched_for_all_ids, setup_clocks,
            teardown),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
