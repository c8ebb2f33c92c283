/* SPDX-License-Identifier: MPL-2.0 */
/* READs that wait: whose turn it is, and how many one client may have. */
#include "lib/cmocka.h"

#include "publisher/waiting.h"

/* A client: of a key, or one connection on ipc. */
struct who {
    struct share *share;
    uint64_t connection;
};

static const uint8_t routing_id[ROUTING_ID_LEN] = { 0, 1, 2, 3, 4 };

static void
add(struct waiting *w, struct who who, uint64_t number)
{
    const struct address from = { .routing_id = routing_id,
                                  .share = who.share,
                                  .connection = who.connection };
    const struct read_request request = { .request = number };
    struct waiting_read *read = waiting_read_new(&from, &request);

    assert_non_null(read);
    assert_false(waiting_is_full(w, who.share, who.connection));
    waiting_add(w, read);
}

/* The number of the one that is next. */
static uint64_t
next(struct waiting *w)
{
    struct waiting_read *read = waiting_next(w);
    uint64_t number;

    assert_non_null(read);
    number = read->request.request;
    waiting_read_free(read);
    return number;
}

static void
a_flood_is_served_in_turn_with_others(void **state)
{
    const struct who flood = { .connection = 1 }, other = { .connection = 2 },
                     third = { .connection = 3 };
    struct waiting w;

    (void)state;
    waiting_init(&w, 1024, false);
    for (uint64_t i = 0; i < 500; i++)
        add(&w, flood, i);
    add(&w, other, 1000);
    assert_int_equal(next(&w), 0);
    assert_int_equal(next(&w), 1000); /* one read: served second */
    /* One at a time has every second turn, if it comes between two others, */
    for (uint64_t i = 1; i < 100; i++) {
        add(&w, other, 1000 + i);
        assert_int_equal(next(&w), 1000 + i);
        assert_int_equal(next(&w), i);
    }
    /* or right behind the answer to its last one; */
    add(&w, other, 1100);
    for (uint64_t i = 100; i < 200; i++) {
        assert_int_equal(next(&w), 1000 + i);
        add(&w, other, 1001 + i);
        assert_int_equal(next(&w), i);
    }
    assert_int_equal(next(&w), 1200);
    assert_int_equal(next(&w), 200);
    /* two have a third each. */
    for (uint64_t i = 201; i < 300; i++) {
        add(&w, other, 1000 + i);
        add(&w, third, 2000 + i);
        assert_int_equal(next(&w), 1000 + i);
        assert_int_equal(next(&w), 2000 + i);
        assert_int_equal(next(&w), i);
    }
    /* What came before is no credit for later, and no debt either. */
    for (uint64_t i = 300; i < 310; i++)
        add(&w, third, 2000 + i);
    for (uint64_t i = 300; i < 310; i++) {
        uint64_t first = next(&w), second = next(&w);

        assert_int_equal(first < 2000 ? first : second, i);
        assert_int_equal(first < 2000 ? second : first, 2000 + i);
    }
    for (uint64_t i = 310; i < 500; i++)
        assert_int_equal(next(&w), i);
    assert_null(waiting_next(&w));
}

static void
a_key_is_one_client_over_all_its_connections(void **state)
{
    struct share share = { 0 };
    const struct who one = { .share = &share, .connection = 1 },
                     two = { .share = &share, .connection = 2 },
                     other = { .connection = 3 };
    struct waiting w;

    (void)state;
    waiting_init(&w, 1024, false);
    for (uint64_t i = 0; i < 10; i += 2) {
        add(&w, one, i);
        add(&w, two, i + 1);
    }
    for (uint64_t i = 0; i < 10; i++)
        add(&w, other, 100 + i);
    assert_int_equal(share.reads, 10);
    assert_int_equal(share.polls, 0);
    assert_false(share_is_empty(&share)); /* it stays if the key goes */
    assert_int_equal(waiting_of(&w, 2), 5);
    for (uint64_t i = 0; i < 10; i++) {
        assert_int_equal(next(&w), i); /* in order */
        assert_int_equal(next(&w), 100 + i);
    }
    assert_true(share_is_empty(&share));
}

static void
a_client_may_have_what_is_free(void **state)
{
    struct share share = { 0 };
    const struct who key = { .share = &share, .connection = 1 },
                     also = { .share = &share, .connection = 2 },
                     other = { .connection = 3 };
    struct waiting w;

    (void)state;
    for (int polls = 0; polls < 2; polls++) {
        waiting_init(&w, 12, polls);
        for (uint64_t i = 0; i < 3; i++) {
            add(&w, key, i);
            add(&w, also, i);
        }
        assert_int_equal(polls ? share.polls : share.reads, 6);
        assert_true(waiting_is_full(&w, key.share, key.connection));
        assert_true(waiting_is_full(&w, also.share, also.connection));
        for (uint64_t i = 0; i < 3; i++)
            add(&w, other, i);
        assert_true(waiting_is_full(&w, NULL, other.connection));
        assert_false(waiting_is_full(&w, NULL, 4));
        (void)next(&w);
        assert_false(waiting_is_full(&w, NULL, other.connection));
        for (int left = 8; left > 0; left--)
            (void)next(&w);
        assert_true(share_is_empty(&share));
    }
}

static void
who_has_gone_is_dropped(void **state)
{
    struct share share = { 0 };
    const struct who key = { .share = &share, .connection = 1 };
    struct peers nobody = { 0 };
    struct waiting w;

    (void)state;
    waiting_init(&w, 12, false);
    for (uint64_t i = 0; i < 5; i++)
        add(&w, key, i);
    waiting_drop_gone(&w, &nobody);
    assert_int_equal(w.count, 0);
    assert_null(waiting_next(&w));
    assert_true(share_is_empty(&share));
}

/* The message that a request was decoded from is gone when its turn comes. */
static void
a_request_is_copied(void **state)
{
    char text[] = "a-1b-2";
    const struct address from = { .routing_id = routing_id,
                                  .delimiter = true,
                                  .connection = 7 };
    struct read_request request = { .request = 1, .selector_count = 2 };
    struct waiting_read *read;
    struct address back;

    (void)state;
    for (size_t i = 0; i < 2; i++)
        request.selectors[i] = (struct read_selector){ .kind = SELECT_STREAM,
                                                       .len = 3,
                                                       .text = text + 3 * i };
    read = waiting_read_new(&from, &request);
    assert_non_null(read);
    memset(text, 'x', sizeof text);
    assert_memory_equal(read->request.selectors[0].text, "a-1", 3);
    assert_memory_equal(read->request.selectors[1].text, "b-2", 3);
    back = waiting_address(read, NULL);
    assert_memory_equal(back.routing_id, routing_id, ROUTING_ID_LEN);
    assert_true(back.delimiter);
    assert_int_equal(back.connection, 7);
    waiting_read_free(read);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flood_is_served_in_turn_with_others),
        cmocka_unit_test(a_key_is_one_client_over_all_its_connections),
        cmocka_unit_test(a_client_may_have_what_is_free),
        cmocka_unit_test(who_has_gone_is_dropped),
        cmocka_unit_test(a_request_is_copied),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
