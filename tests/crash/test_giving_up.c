/* SPDX-License-Identifier: MPL-2.0 */
/* A start that is told to stop gives up at once, and the next one goes on. */
#include "lib/cmocka.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/logfix.h"
#include "lib/tmpdir.h"
#include "store/table.h"

#define COMMITS 5u
#define EVENTS 4096u /* in each */

struct fixture {
    struct logfix fix;
    uint32_t asked, go_on; /* times */
};

static struct fixture fixture;

/* Many streams, so that the table grows while it is filled again. */
static int
setup(void **state)
{
    static struct event_text events[EVENTS];
    static char names[EVENTS][16];
    struct appender_options options = appender_defaults;
    struct fixture *f = &fixture;

    options.segment_len = UINT64_C(4) << 20;
    options.group_len_max = UINT32_C(2) << 20;
    options.table_slots = TABLE_SLOTS_MIN;
    logfix_open(&f->fix, &sys_real, &options);
    for (uint32_t c = 0; c < COMMITS; c++) {
        for (uint32_t i = 0; i < EVENTS; i++) {
            (void)snprintf(names[i], sizeof *names, "s-%u", c * EVENTS + i);
            events[i] = (struct event_text){ names[i], "T", "x", NULL, { 0 } };
        }
        (void)logfix_append(&f->fix, uuid_v4(), NULL, 0, events, EVENTS);
        logfix_sync(&f->fix);
    }
    logfix_stop(&f->fix);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    logfix_close(&f->fix);
    return 0;
}

static int
remove_table(void *arg, const char *name)
{
    const struct fixture *f = arg;
    char path[PATH_LEN_MAX];
    uint64_t generation;

    if (!table_name_parse(name, &generation))
        return 0;
    (void)snprintf(path, sizeof path, "%s/%s", logfix_dir(&f->fix), name);
    return remove(path);
}

static bool
ask(void *arg, const char *what, uint64_t done, uint64_t total)
{
    struct fixture *f = arg;

    (void)what;
    assert_true(done <= total);
    return f->asked++ < f->go_on;
}

static int
start(struct fixture *f, uint32_t go_on)
{
    f->asked = 0;
    f->go_on = go_on;
    return appender_open(&sys_real, logfix_dir(&f->fix),
                         logfix_control(&f->fix), &f->fix.options, ask, f,
                         &f->fix.report, &f->fix.appender, &f->fix.err);
}

static enum control_state
state_of(struct fixture *f)
{
    struct control *control;
    enum control_state found;

    assert_int_equal(
        control_open(&sys_real, logfix_control(&f->fix), &control, &f->fix.err),
        0);
    found = control_state(control);
    control_close(&control);
    return found;
}

/* At each place where it can: without a table, and with what the start before
 * has left of one. */
static void
wherever_it_gives_up_the_next_start_goes_on(void **state)
{
    struct fixture *f = *state;
    uint32_t places = 0;
    int rc;

    assert_int_equal(
        sys_call(&sys_real, list, logfix_dir(&f->fix), remove_table, f), 0);
    while ((rc = start(f, places)) == -ECANCELED) {
        assert_null(f->fix.appender);
        assert_int_equal(f->asked, places + 1); /* at once */
        assert_int_equal(state_of(f), CONTROL_STOPPED);
        places++;
    }
    assert_int_equal(rc, 0);
    /* Twice before the table, and on the way through the events. */
    assert_int_equal(places, 2 + COMMITS);
    assert_int_equal(appender_watermark(f->fix.appender), COMMITS * EVENTS);
    assert_int_equal(f->fix.report.replayed_events, COMMITS * EVENTS);
    /* Versions are right: a stream that is there, and one that is not. */
    assert_int_equal(logfix_put(&f->fix, "s-7", 1).versions[0], 2);
    assert_int_equal(logfix_put(&f->fix, "s-new", 1).versions[0], 1);
    logfix_sync(&f->fix);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            wherever_it_gives_up_the_next_start_goes_on, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
