/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/cmocka.h"

#include <errno.h>

#include "lib/fakelog.h"
#include "store/overlay.h"

struct fixture {
    struct overlay overlay;
    struct fakelog log;
    struct err err;
};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    fakelog_begin(&f->log);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    overlay_free(&f->overlay);
    fakelog_end(&f->log);
    free(f);
    return 0;
}

static struct key
stream_key(const char *name, uint64_t hash)
{
    return (struct key){ KEY_STREAM, { name, (uint32_t)strlen(name) }, hash };
}

/* The address that is known for a key; 0: none. */
static uint64_t
look(struct fixture *f, const struct key *key)
{
    struct overlay_entry *entry;
    int rc = overlay_find(&f->overlay, key, &f->log.source, &entry, &f->err);

    if (rc < 0)
        fail_msg("%s", f->err.text);
    return rc == 0 ? 0 : entry->address;
}

static void
put(struct fixture *f, const struct key *key, uint64_t address)
{
    struct overlay_entry *entry;

    assert_int_equal(
        overlay_add(&f->overlay, key, address, ADDRESS_NONE, &entry), 0);
    assert_true(entry->address == address && entry->previous == ADDRESS_NONE);
}

static void
an_empty_overlay_holds_nothing(void **state)
{
    struct fixture *f = *state;
    struct key key = stream_key("a", 1);

    assert_int_equal(look(f, &key), 0);
    overlay_clear(&f->overlay);
    assert_int_equal(look(f, &key), 0);
    overlay_free(&f->overlay);
    overlay_free(&f->overlay);
}

static void
keys_of_equal_hash_are_told_apart(void **state)
{
    struct fixture *f = *state;
    const char *names[] = { "a", "b", "c", "ab" };
    struct key keys[4];

    for (uint64_t i = 0; i < 4; i++) {
        keys[i] = stream_key(names[i], 77);
        assert_int_equal(look(f, &keys[i]), 0);
        put(f, &keys[i], fakelog_add_to(&f->log, names[i]));
    }
    for (uint64_t i = 0; i < 4; i++)
        assert_int_equal(look(f, &keys[i]), i + 1);
    keys[0] = stream_key("d", 77);
    assert_int_equal(look(f, &keys[0]), 0);
}

static void
kinds_of_equal_hash_and_name_are_told_apart(void **state)
{
    struct fixture *f = *state;
    struct event_text text = { "x", "x", NULL, NULL, { "x" } };
    uint64_t address = fakelog_add(&f->log, &text);
    struct key key = stream_key("x", 5);

    put(f, &key, address);
    key.kind = KEY_TAG;
    assert_int_equal(look(f, &key), 0);
    key.kind = KEY_TYPE;
    assert_int_equal(look(f, &key), 0);
}

static void
it_grows_and_forgets_nothing(void **state)
{
    struct fixture *f = *state;
    char name[16];

    for (uint64_t i = 1; i <= 5000; i++) {
        struct key key;

        snprintf(name, sizeof name, "s-%u", (unsigned)i);
        key = stream_key(name, i % 1700 + 1); /* long runs, too */
        put(f, &key, fakelog_add_to(&f->log, name));
    }
    assert_int_equal(f->overlay.count, 5000);
    assert_true(f->overlay.slot_count >= 2 * f->overlay.count);
    for (uint64_t i = 1; i <= 5000; i++) {
        struct key key;

        snprintf(name, sizeof name, "s-%u", (unsigned)i);
        key = stream_key(name, i % 1700 + 1);
        assert_int_equal(look(f, &key), i);
    }
}

static void
clearing_empties_it_and_keeps_the_memory(void **state)
{
    struct fixture *f = *state;
    struct overlay_entry *entries;
    uint32_t *slots;
    char name[16];

    for (int round = 0; round < 3; round++) {
        for (uint64_t i = 1; i <= 900; i++) {
            struct key key;

            snprintf(name, sizeof name, "s-%u", (unsigned)i);
            key = stream_key(name, i * 31);
            assert_int_equal(look(f, &key), 0);
            put(f, &key, fakelog_add_to(&f->log, name));
        }
        if (round > 0) {
            assert_ptr_equal(f->overlay.entries, entries);
            assert_ptr_equal(f->overlay.slots, slots);
        }
        entries = f->overlay.entries;
        slots = f->overlay.slots;
        overlay_clear(&f->overlay);
        assert_int_equal(f->overlay.count, 0);
        assert_true(
            bytes_all_zero(slots, f->overlay.slot_count * sizeof *slots));
    }
}

static void
an_event_that_cannot_be_read_is_no_miss(void **state)
{
    struct fixture *f = *state;
    struct key key = stream_key("a", 1);
    struct overlay_entry *entry;

    put(f, &key, fakelog_add_to(&f->log, "a"));
    f->log.fail_rc = -EIO;
    assert_int_equal(
        overlay_find(&f->overlay, &key, &f->log.source, &entry, &f->err), -EIO);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(an_empty_overlay_holds_nothing),
        TEST(keys_of_equal_hash_are_told_apart),
        TEST(kinds_of_equal_hash_and_name_are_told_apart),
        TEST(it_grows_and_forgets_nothing),
        TEST(clearing_empties_it_and_keeps_the_memory),
        TEST(an_event_that_cannot_be_read_is_no_miss),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
