/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/cmocka.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/bytefix.h"
#include "lib/fakelog.h"
#include "lib/tmpdir.h"
#include "lib/watchsys.h"

#define SLOTS UINT64_C(4096)

struct fixture {
    struct watchsys watch;
    const struct sys *sys;
    char *dir;
    struct uuid log_id;
    struct table *table; /* generation 1 */
    struct fakelog log;
    struct err err;
};

static void
must(struct fixture *f, int rc)
{
    if (rc < 0)
        fail_msg("%s", f->err.text);
}

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    watchsys_begin(&f->watch, &sys_real);
    f->sys = &f->watch.sys;
    f->dir = tmpdir_make();
    f->log_id = uuid_v4();
    fakelog_begin(&f->log);
    must(f,
         table_create(f->sys, f->dir, f->log_id, 1, SLOTS, NULL, &f->table,
                      &f->err));
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    table_close(&f->table);
    assert_int_equal(f->watch.counts.maps, f->watch.counts.unmaps);
    fakelog_end(&f->log);
    watchsys_end(&f->watch);
    tmpdir_remove(&f->dir);
    free(f);
    return 0;
}

/* A key with a hash of the test's own choice. */
static struct key
hashed(const char *name, uint64_t hash)
{
    return (struct key){ KEY_STREAM, { name, (uint32_t)strlen(name) }, hash };
}

static struct key
keyed(const struct table *table, enum key_kind kind, const char *name)
{
    struct key key = { kind, { name, (uint32_t)strlen(name) }, 0 };

    key.hash = table_hash(table, kind, key.name);
    return key;
}

/* The address that a table knows for a key; 0: none. */
static uint64_t
look_in(struct fixture *f, const struct table *table, const struct key *key)
{
    uint64_t address;
    int rc = table_find(table, key, &f->log.source, &address, &f->err);

    must(f, rc);
    return rc == 0 ? 0 : address;
}

static uint64_t
look(struct fixture *f, const struct key *key)
{
    return look_in(f, f->table, key);
}

static int
put(struct fixture *f, const struct key *key, uint64_t address, bool first)
{
    return table_put(f->table, key, address, first, &f->log.source, &f->err);
}

/* Adds an event of the stream of a key. */
static uint64_t
add_event(struct fixture *f, const struct key *key)
{
    char name[32];

    memcpy(name, key->name.p, key->name.len);
    name[key->name.len] = '\0';
    return fakelog_add_to(&f->log, name);
}

/* Adds an event of a stream, first or not, and puts it. */
static uint64_t
put_new(struct fixture *f, const struct key *key, bool first)
{
    uint64_t address = add_event(f, key);

    must(f, put(f, key, address, first));
    return address;
}

static int
reopen(struct fixture *f, bool writable, struct table **ret_table)
{
    return table_open(f->sys, f->dir, f->log_id, 1, writable, ret_table,
                      &f->err);
}

/* ---- keys -------------------------------------------------------------- */

static void
the_newest_event_of_a_key_is_found(void **state)
{
    struct fixture *f = *state;
    struct key a = keyed(f->table, KEY_STREAM, "a");
    struct key b = keyed(f->table, KEY_STREAM, "b");

    assert_int_equal(look(f, &a), 0);
    assert_int_equal(put_new(f, &a, true), 1);
    assert_int_equal(put_new(f, &b, true), 2);
    assert_int_equal(put_new(f, &a, false), 3);
    assert_int_equal(look(f, &a), 3);
    assert_int_equal(look(f, &b), 2);
    assert_int_equal(table_key_count(f->table), 2);
}

static void
an_older_event_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct key a = keyed(f->table, KEY_STREAM, "a");

    (void)put_new(f, &a, true);
    (void)put_new(f, &a, false);
    must(f, put(f, &a, 1, false));
    assert_int_equal(look(f, &a), 2);
    must(f, put(f, &a, 2, false));
    assert_int_equal(look(f, &a), 2);
    assert_int_equal(table_key_count(f->table), 1);
}

static void
kinds_and_names_have_hashes_of_their_own(void **state)
{
    struct fixture *f = *state;
    struct span name = { "a", 1 };
    uint64_t stream = table_hash(f->table, KEY_STREAM, name);

    assert_true(stream != table_hash(f->table, KEY_TAG, name));
    assert_true(stream != table_hash(f->table, KEY_TYPE, name));
    assert_true(stream == table_hash(f->table, KEY_STREAM, name));
    name.p = "b";
    assert_true(stream != table_hash(f->table, KEY_STREAM, name));
}

static void
keys_of_equal_hash_are_told_apart(void **state)
{
    struct fixture *f = *state;
    char names[20][8];
    struct key keys[20];

    for (int i = 0; i < 20; i++) {
        snprintf(names[i], sizeof names[i], "s-%d", i);
        keys[i] = hashed(names[i], 12345);
        assert_int_equal(look(f, &keys[i]), 0);
        (void)put_new(f, &keys[i], true);
    }
    for (int i = 19; i >= 0; i--)
        (void)put_new(f, &keys[i], false);
    for (uint64_t i = 0; i < 20; i++)
        assert_int_equal(look(f, &keys[i]), 40 - i);
    keys[0] = hashed("s-99", 12345);
    assert_int_equal(look(f, &keys[0]), 0);
    /* A tag of the same name and hash is another key. */
    keys[1].kind = KEY_TAG;
    assert_int_equal(look(f, &keys[1]), 0);
}

static void
a_run_goes_on_at_the_first_slot(void **state)
{
    struct fixture *f = *state;
    char names[10][8];

    for (uint64_t i = 0; i < 10; i++) {
        struct key key;

        snprintf(names[i], sizeof names[i], "s-%u", (unsigned)i);
        key = hashed(names[i], SLOTS - 2 + (i << 32));
        (void)put_new(f, &key, true);
    }
    for (uint64_t i = 0; i < 10; i++) {
        struct key key = hashed(names[i], SLOTS - 2 + (i << 32));

        assert_int_equal(look(f, &key), i + 1);
    }
}

static void
a_full_table_says_so_before_it_is(void **state)
{
    struct fixture *f = *state;
    uint64_t limit = SLOTS / 8 * 7;
    struct key key;

    (void)fakelog_add_to(&f->log, "x");
    for (uint64_t i = 1; i <= limit; i++) {
        key = hashed("x", i); /* as many keys as hashes */
        must(f, put(f, &key, 1, true));
    }
    assert_true(table_wants_growth(f->table));
    key = hashed("x", limit + 1);
    assert_int_equal(put(f, &key, 1, true), -ENOSPC);
    assert_int_equal(look(f, &key), 0);
    /* Keys that are there still move on. */
    key = hashed("x", 77);
    (void)put_new(f, &key, false);
    assert_int_equal(look(f, &key), 2);
}

static void
an_event_that_cannot_be_read_is_no_miss(void **state)
{
    struct fixture *f = *state;
    struct key a = keyed(f->table, KEY_STREAM, "a");
    uint64_t address;

    (void)put_new(f, &a, true);
    f->log.fail_rc = -EIO;
    assert_int_equal(
        table_find(f->table, &a, &f->log.source, &address, &f->err), -EIO);
    assert_int_equal(put(f, &a, 2, false), -EIO);
}

static void
only_a_hash_that_matches_costs_a_read(void **state)
{
    struct fixture *f = *state;
    struct key a = hashed("a", 7), b = hashed("b", 7 + SLOTS);

    (void)put_new(f, &a, true);
    (void)put_new(f, &b, true); /* the same slot, another hash */
    f->log.reads = 0;
    assert_int_equal(look(f, &b), 2);
    assert_int_equal(f->log.reads, 1);
    b.hash = 7 + 2 * SLOTS;
    assert_int_equal(look(f, &b), 0);
    assert_int_equal(f->log.reads, 1);
}

static void
a_new_key_counts_once_however_often_it_is_put(void **state)
{
    struct fixture *f = *state;
    struct key a = keyed(f->table, KEY_STREAM, "a");
    struct key t = keyed(f->table, KEY_TYPE, "T");
    struct table_mark mark = { .position = 0, .key_count = 0 };
    struct table *again;

    (void)put_new(f, &a, true);
    must(f, put(f, &t, 1, false));
    must(f, put(f, &t, 1, false));
    assert_int_equal(table_key_count(f->table), 2);
    /* The slots outlive a kill, the count does not: events since the
     * checkpoint are put again, and the first of a key counts. */
    assert_int_equal(table_sync(f->table), 0);
    assert_int_equal(table_write_mark(f->table, &mark), 0);
    must(f, reopen(f, true, &again));
    assert_int_equal(table_key_count(again), 0);
    must(f, table_put(again, &a, 1, true, &f->log.source, &f->err));
    assert_int_equal(table_key_count(again), 1);
    assert_int_equal(look_in(f, again, &a), 1);
    table_close(&again);
}

/* ---- files ------------------------------------------------------------- */

static void
names_carry_the_generation(void **state)
{
    uint64_t generation;

    (void)state;
    assert_true(table_name_parse("table.17", &generation));
    assert_int_equal(generation, 17);
    assert_false(table_name_parse("table.", &generation));
    assert_false(table_name_parse("table.x", &generation));
    assert_false(table_name_parse("table", &generation));
    assert_false(table_name_parse("tables.1", &generation));
    assert_false(table_name_parse("", &generation));
}

static void
a_table_without_a_checkpoint_is_only_for_readers(void **state)
{
    struct fixture *f = *state;
    struct key a = keyed(f->table, KEY_STREAM, "a");
    struct table *again = NULL;

    (void)put_new(f, &a, true);
    assert_int_equal(reopen(f, true, &again), -CAIRN_ETABLE);
    assert_null(again);
    must(f, reopen(f, false, &again));
    assert_int_equal(look_in(f, again, &a), 1);
    table_close(&again);
}

static struct table_mark
mark_of(uint64_t n)
{
    return (struct table_mark){ .position = n * 10,
                                .next_address = n * 100,
                                .group = n,
                                .key_count = n * 7,
                                .group_crc = (uint32_t)n * 3 };
}

static void
assert_mark(const struct table *table, uint64_t n)
{
    const struct table_mark *mark = table_mark(table);

    assert_int_equal(mark->position, n * 10);
    assert_int_equal(mark->next_address, n * 100);
    assert_int_equal(mark->group, n);
    assert_int_equal(mark->key_count, n * 7);
    assert_int_equal(mark->group_crc, n * 3);
    assert_int_equal(table_key_count(table), n * 7);
}

static void
write_mark(struct fixture *f, uint64_t n)
{
    struct table_mark mark = mark_of(n);

    assert_int_equal(table_sync(f->table), 0);
    assert_int_equal(table_write_mark(f->table, &mark), 0);
}

static void
the_last_checkpoint_is_found_again(void **state)
{
    struct fixture *f = *state;

    for (uint64_t n = 1; n <= 5; n++) {
        struct table *again;

        write_mark(f, n);
        must(f, reopen(f, true, &again));
        assert_mark(again, n);
        table_close(&again);
    }
}

static const char *
table_file(const struct fixture *f)
{
    return tmpdir_path(f->dir, "table.1");
}

static void
a_torn_checkpoint_leaves_the_one_before(void **state)
{
    struct fixture *f = *state;
    struct table *again;
    size_t len;
    uint8_t *good, *bytes;

    write_mark(f, 1);
    write_mark(f, 2);
    table_close(&f->table);
    good = file_read(table_file(f), &len);
    bytes = malloc(len);
    for (size_t slot = 1; slot <= 2; slot++)
        for (size_t at = 0; at < SECTOR_LEN; at += 31) {
            uint64_t left = slot == 1 ? 1 : 2; /* even sequences come first */

            memcpy(bytes, good, len);
            bytes[slot * SECTOR_LEN + at] ^= 0x10;
            file_write(table_file(f), bytes, len);
            must(f, reopen(f, true, &again));
            assert_mark(again, left);
            table_close(&again);
        }
    memset(bytes + SECTOR_LEN, 0xff, 2 * SECTOR_LEN);
    file_write(table_file(f), bytes, len);
    assert_int_equal(reopen(f, true, &again), -CAIRN_ETABLE);
    free(good);
    free(bytes);
}

static void
a_checkpoint_that_was_not_synced_is_not_said(void **state)
{
    static const char *const calls[] = { "write", "sync_map" };
    struct fixture *f = *state;
    struct table_mark mark = mark_of(2);

    write_mark(f, 1);
    for (size_t i = 0; i < 2; i++) {
        watchsys_fail(&f->watch, calls[i], NULL, -EIO);
        assert_int_equal(table_write_mark(f->table, &mark), -EIO);
        assert_int_equal(table_mark(f->table)->position, 10);
    }
}

static void
every_flipped_bit_of_the_header_is_noticed(void **state)
{
    struct fixture *f = *state;
    struct table *again;
    size_t len;
    uint8_t *bytes;

    write_mark(f, 1);
    table_close(&f->table);
    bytes = file_read(table_file(f), &len);
    for (size_t bit = 0; bit < SECTOR_LEN * 8; bit += 7) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        file_write(table_file(f), bytes, SECTOR_LEN * 3); /* quick */
        assert_int_equal(reopen(f, true, &again), -CAIRN_ETABLE);
        assert_int_equal(reopen(f, false, &again), -CAIRN_ETABLE);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    free(bytes);
}

static void
a_table_that_breaks_a_rule_is_refused(void **state)
{
    struct fixture *f = *state;
    struct table *again;
    size_t len;
    uint8_t *good, *bytes;

    write_mark(f, 1);
    table_close(&f->table);
    good = file_read(table_file(f), &len);
    bytes = malloc(len);
#define REFUSED(code, keep, at, value)                     \
    do {                                                   \
        struct le64 word = le64_of(value);                 \
                                                           \
        memcpy(bytes, good, len);                          \
        memcpy(bytes + (at), &word, sizeof word);          \
        reseal_table(bytes, len);                          \
        file_write(table_file(f), bytes, (keep));          \
        assert_int_equal(reopen(f, true, &again), (code)); \
    } while (0)
    REFUSED(-CAIRN_ETABLE, len, 8, 2);                    /* version */
    REFUSED(-CAIRN_EOTHERLOG, len, 16, 0);                /* log_id */
    REFUSED(-CAIRN_ETABLE, len, 32, 2);                   /* generation */
    REFUSED(-CAIRN_ETABLE, len, 40, TABLE_SLOTS_MIN / 2); /* slot_count */
    REFUSED(-CAIRN_ETABLE, len, 40, SLOTS + 1);
    REFUSED(-CAIRN_ETABLE, len, 40, SLOTS * 2); /* the file is shorter */
    REFUSED(-CAIRN_ETABLE, len, 40, UINT64_MAX);
    REFUSED(-CAIRN_ETABLE, len, 40, UINT64_C(1) << 63);
    REFUSED(-CAIRN_ETABLE, len, 40, TABLE_SLOTS_MAX * 2);
    REFUSED(-CAIRN_ETABLE, len - 1, 32, 1);
    REFUSED(-CAIRN_ETABLE, 1535, 32, 1);
    REFUSED(-CAIRN_ETABLE, 0, 32, 1);
#undef REFUSED
    file_write(table_file(f), good, len);
    must(f, reopen(f, true, &again));
    table_close(&again);
    free(good);
    free(bytes);
}

static void
a_generation_that_is_not_there_says_so(void **state)
{
    struct fixture *f = *state;
    struct table *again;

    assert_int_equal(
        table_open(f->sys, f->dir, f->log_id, 2, false, &again, &f->err),
        -ENOENT);
    assert_non_null(strstr(f->err.text, "table.2"));
    assert_int_equal(
        table_open(f->sys, f->dir, f->log_id, 2, false, &again, NULL), -ENOENT);
    assert_int_equal(table_remove(f->sys, f->dir, 1), 0);
    assert_int_equal(table_remove(f->sys, f->dir, 1), -ENOENT);
}

static void
a_failure_leaves_no_half_made_table(void **state)
{
    static const char *const calls[] = { "open", "allocate", "write",
                                         "sync", "sync_dir", "map" };
    struct fixture *f = *state;
    struct table *table = NULL;

    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        watchsys_fail(&f->watch, calls[i], NULL, -ENOSPC);
        assert_int_equal(table_create(f->sys, f->dir, f->log_id, 2, SLOTS, NULL,
                                      &table, &f->err),
                         -ENOSPC);
        assert_null(table);
        assert_int_not_equal(access(tmpdir_path(f->dir, "table.2"), F_OK), 0);
    }
}

/* ---- growth ------------------------------------------------------------ */

static const char *
stream_name(uint64_t i)
{
    static char name[24];

    snprintf(name, sizeof name, "stream-%u", (unsigned)i);
    return name;
}

/* Puts key number i, with a hash that makes runs and collisions. */
static struct key
crowded(const struct fixture *f, uint64_t i)
{
    struct key key = keyed(f->table, KEY_STREAM, stream_name(i));

    if (i % 20 == 0)
        key.hash = i / 20 % 50 + SLOTS - 20; /* over the end of the table */
    return key;
}

static void
grow(struct fixture *f)
{
    struct table *next;

    must(f,
         table_create(f->sys, f->dir, f->log_id, table_generation(f->table) + 1,
                      table_slot_count(f->table) * 2, f->table, &next,
                      &f->err));
    table_grow_into(f->table, &next);
    assert_null(next);
}

static void
switch_over(struct fixture *f)
{
    struct table *next = table_take_next(f->table);

    assert_null(table_next(f->table));
    table_close(&f->table);
    f->table = next;
}

static void
nothing_is_lost_while_it_grows(void **state)
{
    struct fixture *f = *state;
    uint64_t count = 0, *newest = calloc(SLOTS, sizeof *newest);
    uint64_t half = SLOTS / 2;

    while (!table_wants_growth(f->table)) {
        struct key key = crowded(f, count);

        newest[count++] = put_new(f, &key, true);
    }
    assert_true(count <= half + 1);
    grow(f);
    assert_false(table_wants_growth(f->table));
    for (uint64_t round = 0; !table_grown(f->table); round++) {
        struct key key = crowded(f, round % 2 ? count : round * 7 % count);

        assert_true(round < SLOTS / 16 + 1); /* 16 slots with every put */
        if (round % 2)
            newest[count++] = put_new(f, &key, true);
        else
            newest[round * 7 % count] = put_new(f, &key, false);
        for (uint64_t i = round % 13; i < count; i += 97) {
            key = crowded(f, i);
            assert_int_equal(look(f, &key), newest[i]);
        }
    }
    assert_int_equal(table_key_count(table_next(f->table)), count);
    for (uint64_t i = 0; i < count; i++) {
        struct key key = crowded(f, i);

        assert_int_equal(look(f, &key), newest[i]);
        assert_int_equal(look_in(f, table_next(f->table), &key), newest[i]);
    }
    switch_over(f);
    assert_int_equal(table_slot_count(f->table), 2 * SLOTS);
    assert_int_equal(table_generation(f->table), 2);
    assert_int_equal(table_key_count(f->table), count);
    assert_false(table_wants_growth(f->table));
    for (uint64_t i = 0; i < count; i++) {
        struct key key = crowded(f, i);

        assert_int_equal(look(f, &key), newest[i]);
    }
    free(newest);
}

/* ---- moves ------------------------------------------------------------- */

static int
move(struct fixture *f, const struct key *key, uint64_t previous,
     uint64_t address)
{
    return table_move(f->table, key, previous, address, &f->log.source,
                      &f->err);
}

/* Moves a key from where it is to a new event. */
static uint64_t
move_on(struct fixture *f, const struct key *key, uint64_t previous)
{
    uint64_t address = add_event(f, key);

    must(f, move(f, key, previous, address));
    return address;
}

static void
a_move_is_a_put_that_reads_nothing(void **state)
{
    struct fixture *f = *state;
    char names[20][8];
    struct key keys[20];
    uint64_t newest[20];
    unsigned reads;

    for (uint64_t i = 0; i < 20; i++) { /* one run, ten hashes twice */
        snprintf(names[i], sizeof names[i], "s-%u", (unsigned)i);
        keys[i] = hashed(names[i], 12345 + i % 10);
        newest[i] = ADDRESS_NONE;
    }
    reads = f->log.reads;
    for (int round = 0; round < 3; round++)
        for (int i = 19; i >= 0; i--)
            newest[i] = move_on(f, &keys[i], newest[i]);
    assert_int_equal(f->log.reads, reads);
    assert_int_equal(table_key_count(f->table), 20);
    for (int i = 0; i < 20; i++)
        assert_int_equal(look(f, &keys[i]), newest[i]);
    assert_int_equal(table_guess(f->table, 12345), newest[10]);
    assert_int_equal(table_guess(f->table, 99), ADDRESS_NONE);
}

static void
a_move_from_where_the_key_is_not_is_a_put(void **state)
{
    struct fixture *f = *state;
    struct key key = keyed(f->table, KEY_STREAM, "a");
    uint64_t first = put_new(f, &key, true), second, third;

    second = move_on(f, &key, first);
    third = move_on(f, &key, first); /* it is at `second` */
    assert_true(third > second);
    assert_int_equal(look(f, &key), third);
    assert_int_equal(table_key_count(f->table), 1);
}

static void
moves_reach_both_tables_while_one_grows(void **state)
{
    struct fixture *f = *state;
    uint64_t count = 0, *newest = calloc(SLOTS, sizeof *newest);

    for (; !table_wants_growth(f->table); count++) {
        struct key key = crowded(f, count);

        newest[count] = move_on(f, &key, ADDRESS_NONE);
    }
    grow(f);
    for (uint64_t round = 0; !table_grown(f->table); round++) {
        uint64_t old = round * 7 % count;
        struct key key = crowded(f, old);

        assert_true(round < SLOTS / 16 + 1);
        newest[old] = move_on(f, &key, newest[old]);
        if (round % 4 == 0) {
            key = crowded(f, count);
            newest[count++] = move_on(f, &key, ADDRESS_NONE);
        }
    }
    assert_int_equal(table_key_count(table_next(f->table)), count);
    switch_over(f);
    for (uint64_t i = 0; i < count; i++) {
        struct key key = crowded(f, i);

        assert_int_equal(look(f, &key), newest[i]);
    }
    free(newest);
}

static void
a_long_run_asks_for_growth(void **state)
{
    struct fixture *f = *state;

    for (uint64_t i = 0; i < 300; i++) {
        struct key key = hashed(stream_name(i), 5 + (i << 40));

        assert_int_equal(table_wants_growth(f->table), i > 257);
        (void)put_new(f, &key, true);
    }
    grow(f);
    while (!table_grown(f->table)) {
        struct key key = hashed(stream_name(0), 5);

        (void)put_new(f, &key, false);
    }
    switch_over(f);
    assert_false(table_wants_growth(f->table));
}

static void
a_grown_table_is_found_again_with_its_checkpoint(void **state)
{
    struct fixture *f = *state;
    struct key key = keyed(f->table, KEY_STREAM, "a");
    struct table_mark mark = mark_of(1);
    struct table *again;

    (void)put_new(f, &key, true);
    grow(f);
    while (!table_grown(f->table))
        (void)put_new(f, &key, false);
    /* Until the switch is durable, the larger one does not count. */
    assert_int_equal(
        table_open(f->sys, f->dir, f->log_id, 2, true, &again, &f->err),
        -CAIRN_ETABLE);
    assert_int_equal(table_sync(table_next(f->table)), 0);
    assert_int_equal(table_write_mark(table_next(f->table), &mark), 0);
    must(f, table_open(f->sys, f->dir, f->log_id, 2, true, &again, &f->err));
    assert_int_equal(look_in(f, again, &key), f->log.count);
    table_close(&again);
}

static void
readers_see_the_same_before_during_and_after(void **state)
{
    struct fixture *f = *state;
    struct table *before, *during, *after;
    uint64_t count = 0;

    must(f, reopen(f, false, &before));
    while (!table_wants_growth(f->table)) {
        struct key key = crowded(f, count++);

        (void)put_new(f, &key, true);
    }
    grow(f);
    for (int i = 0; i < 50; i++) {
        struct key key = crowded(f, count++);

        (void)put_new(f, &key, true);
    }
    must(f, reopen(f, false, &during));
    while (!table_grown(f->table)) {
        struct key key = crowded(f, count++);

        (void)put_new(f, &key, true);
    }
    must(f, table_open(f->sys, f->dir, f->log_id, 2, false, &after, &f->err));
    switch_over(f);
    assert_int_equal(table_remove(f->sys, f->dir, 1), 0);
    for (uint64_t i = 0; i < count; i++) {
        struct key key = crowded(f, i);

        assert_int_equal(look_in(f, before, &key), i + 1);
        assert_int_equal(look_in(f, during, &key), i + 1);
        assert_int_equal(look_in(f, after, &key), i + 1);
    }
    table_close(&before);
    table_close(&during);
    table_close(&after);
}

/* ---- a reader beside the writer ---------------------------------------- */

#define RACE_KEYS 5000u /* 4096 slots, 8192, 16384 */

struct race {
    struct fixture *f;
    struct fakelog log;          /* the same events, counted for itself */
    _Atomic uint64_t published;  /* keys 1 to this one are in the table */
    _Atomic uint64_t generation; /* which one to look in */
    struct uuid log_id;
    unsigned looks;
    char fault[128];
};

/* As reader.c does: the watermark first, then the generation. */
static void *
look_on(void *arg)
{
    struct race *race = arg;
    struct table *table = NULL;
    uint64_t published = 0, random = 1;

    while (published < RACE_KEYS && race->fault[0] == '\0') {
        uint64_t generation, address = 0;
        struct key key;
        struct err err;
        char name[24];
        int rc;

        published = atomic_load(&race->published);
        generation = atomic_load(&race->generation);
        if (table == NULL || table_generation(table) != generation) {
            table_close(&table);
            if (table_open(&sys_real, race->f->dir, race->log_id, generation,
                           false, &table, &err) < 0)
                continue; /* replaced in between: look again */
        }
        if (published == 0)
            continue;
        random = random * UINT64_C(6364136223846793005) + 1;
        snprintf(name, sizeof name, "stream-%u",
                 (unsigned)((random >> 33) % published));
        key = keyed(table, KEY_STREAM, name);
        rc = table_find(table, &key, &race->log.source, &address, &err);
        if (rc <= 0)
            snprintf(race->fault, sizeof race->fault,
                     "%s of %u is not there: %d", name, (unsigned)published,
                     rc);
        race->looks++;
    }
    table_close(&table);
    return NULL;
}

static void
a_reader_beside_the_writer_misses_nothing(void **state)
{
    struct fixture *f = *state;
    struct race race = { .f = f, .log_id = f->log_id, .generation = 1 };
    pthread_t thread;

    for (uint64_t i = 0; i < RACE_KEYS; i++)
        (void)fakelog_add_to(&f->log, stream_name(i));
    race.log = f->log;
    race.log.source.self = &race.log;
    assert_int_equal(pthread_create(&thread, NULL, look_on, &race), 0);
    for (uint64_t i = 0; i < RACE_KEYS; i++) {
        struct key key = keyed(f->table, KEY_STREAM, stream_name(i));

        must(f, put(f, &key, i + 1, true));
        if (table_wants_growth(f->table))
            grow(f);
        if (table_grown(f->table)) {
            uint64_t old = table_generation(f->table);

            switch_over(f);
            atomic_store(&race.generation, old + 1);
            assert_int_equal(table_remove(f->sys, f->dir, old), 0);
        }
        atomic_store(&race.published, i + 1);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_string_equal(race.fault, "");
    assert_true(table_generation(f->table) > 1);
    print_message("%u looks\n", race.looks);
}

/* ---- every moment ------------------------------------------------------- */

#define SLOTS_OFFSET 4096u
#define STEPS_MAX 200000u

/* What the process does that is looked at after each of its instructions. */
static void
put_and_move(struct fixture *f, const struct key *a, const struct key *b)
{
    const struct event_source *source = &f->log.source;

    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
        _exit(77);
    (void)raise(SIGSTOP);
    if (table_put(f->table, a, 1, true, source, NULL) < 0 ||
        table_put(f->table, a, 2, false, source, NULL) < 0 ||
        table_move(f->table, b, ADDRESS_NONE, 3, source, NULL) < 0 ||
        table_move(f->table, b, 3, 4, source, NULL) < 0)
        _exit(1);
    _exit(0);
}

/* Goes on by one instruction; false at the end, with what it was. */
static bool
step(pid_t pid, int *ret_status)
{
    if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) < 0)
        fail_msg("cannot step: %s", strerror(errno));
    assert_int_equal(waitpid(pid, ret_status, 0), pid);
    return WIFSTOPPED(*ret_status);
}

/* A reader loads a hash, and then the address beside it: whenever that is, it
 * must find one that belongs there. */
static void
no_moment_shows_half_an_entry(void **state)
{
    struct fixture *f = *state;
    struct key a = hashed("a", 5), b = hashed("b", 9);
    int fd = open(tmpdir_path(f->dir, "table.1"), O_RDONLY), status;
    const uint64_t *slots =
        mmap(NULL, SLOTS_OFFSET + SLOTS * 16, PROT_READ, MAP_SHARED, fd, 0);
    unsigned steps = 0;
    pid_t pid;

    assert_true(slots != MAP_FAILED);
    slots += SLOTS_OFFSET / 8;
    for (int i = 0; i < 4; i++)
        (void)add_event(f, i < 2 ? &a : &b);
    pid = fork();
    if (pid == 0)
        put_and_move(f, &a, &b);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        print_message("SKIP: no process may be traced here\n");
    } else {
        assert_int_equal(
            ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_EXITKILL), 0);
        while (step(pid, &status)) {
            assert_true(++steps < STEPS_MAX);
            assert_true(slots[2 * a.hash] == 0 || slots[2 * a.hash + 1] != 0);
            assert_true(slots[2 * b.hash] == 0 || slots[2 * b.hash + 1] != 0);
        }
        assert_int_equal(status, 0);
        assert_int_equal(slots[2 * a.hash + 1], 2);
        assert_int_equal(slots[2 * b.hash + 1], 4);
    }
    (void)munmap((void *)(uintptr_t)(slots - SLOTS_OFFSET / 8),
                 SLOTS_OFFSET + SLOTS * 16);
    close(fd);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_newest_event_of_a_key_is_found),
        TEST(an_older_event_changes_nothing),
        TEST(kinds_and_names_have_hashes_of_their_own),
        TEST(keys_of_equal_hash_are_told_apart),
        TEST(a_run_goes_on_at_the_first_slot),
        TEST(a_full_table_says_so_before_it_is),
        TEST(an_event_that_cannot_be_read_is_no_miss),
        TEST(only_a_hash_that_matches_costs_a_read),
        TEST(a_new_key_counts_once_however_often_it_is_put),
        TEST(names_carry_the_generation),
        TEST(a_table_without_a_checkpoint_is_only_for_readers),
        TEST(the_last_checkpoint_is_found_again),
        TEST(a_torn_checkpoint_leaves_the_one_before),
        TEST(a_checkpoint_that_was_not_synced_is_not_said),
        TEST(every_flipped_bit_of_the_header_is_noticed),
        TEST(a_table_that_breaks_a_rule_is_refused),
        TEST(a_generation_that_is_not_there_says_so),
        TEST(a_failure_leaves_no_half_made_table),
        TEST(nothing_is_lost_while_it_grows),
        TEST(a_move_is_a_put_that_reads_nothing),
        TEST(a_move_from_where_the_key_is_not_is_a_put),
        TEST(moves_reach_both_tables_while_one_grows),
        TEST(a_long_run_asks_for_growth),
        TEST(a_grown_table_is_found_again_with_its_checkpoint),
        TEST(readers_see_the_same_before_during_and_after),
        TEST(a_reader_beside_the_writer_misses_nothing),
        TEST(no_moment_shows_half_an_entry),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
