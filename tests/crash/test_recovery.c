/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Every row of doc/RECOVERY.md: what the files look like, what the writer does
 * about it, and what it says.  The names of the cases are those of the rows.
 */
#include "lib/cmocka.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/bytefix.h"
#include "lib/logfix.h"
#include "lib/tmpdir.h"
#include "store/verify.h"

#define FIRST "00000000000000000001.log"
#define GROUPS 5u
#define GROUP_DATA 2500u /* five sectors and a bit */

struct fixture {
    struct logfix fix;
    uint64_t offsets[GROUPS + 1]; /* of the groups; the end */
};

/* ---- files ------------------------------------------------------------- */

static const char *
log_path(struct fixture *f, const char *name)
{
    return tmpdir_path(logfix_dir(&f->fix), name);
}

static void
flip(struct fixture *f, const char *name, uint64_t offset)
{
    size_t len;
    uint8_t *file = file_read(log_path(f, name), &len);

    assert_true(offset < len);
    file[offset] ^= 0x10;
    (void)chmod(log_path(f, name), 0600);
    file_write(log_path(f, name), file, len);
    free(file);
}

static void
fill(struct fixture *f, const char *name, uint64_t from, uint64_t to, int byte)
{
    size_t len;
    uint8_t *file = file_read(log_path(f, name), &len);

    assert_true(from <= to && to <= len);
    memset(file + from, byte, (size_t)(to - from));
    (void)chmod(log_path(f, name), 0600);
    file_write(log_path(f, name), file, len);
    free(file);
}

/* Flips bits of a segment header, whose checksum is right again afterwards. */
static void
change_header(struct fixture *f, const char *name, size_t offset, uint8_t bits)
{
    size_t len;
    uint8_t *file = file_read(log_path(f, name), &len);

    file[offset] ^= bits;
    reseal_segment_header(file, len);
    (void)chmod(log_path(f, name), 0600);
    file_write(log_path(f, name), file, len);
    free(file);
}

static void
find_groups(struct fixture *f)
{
    size_t len;
    uint8_t *file = file_read(log_path(f, FIRST), &len);
    uint64_t at = SECTOR_LEN;

    for (unsigned i = 0; i < GROUPS; i++) {
        f->offsets[i] = at;
        at += le32_get(((struct group_header *)(file + at))->group_len);
    }
    f->offsets[GROUPS] = at;
    free(file);
}

/* The names in the directory of the log that end so; how many. */
static unsigned
count_files(struct fixture *f, const char *suffix, char name[256])
{
    DIR *dir = opendir(logfix_dir(&f->fix));
    unsigned count = 0;

    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        size_t len = strlen(e->d_name), end = strlen(suffix);

        if (len >= end && strcmp(e->d_name + len - end, suffix) == 0) {
            (void)snprintf(name, 256, "%s", e->d_name);
            count++;
        }
    }
    closedir(dir);
    return count;
}

/* ---- the log ----------------------------------------------------------- */

/* Five groups of one event each in the first segment; the writer stopped. */
static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    logfix_open(&f->fix, &sys_real, &logfix_small);
    for (unsigned i = 0; i < GROUPS; i++) {
        (void)logfix_put(&f->fix, i % 2 == 0 ? "a-1" : "b-1", GROUP_DATA);
        logfix_sync(&f->fix);
    }
    logfix_stop(&f->fix);
    find_groups(f);
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

/* Goes on until there are `count` segments, then stops the writer. */
static void
grow(struct fixture *f, uint64_t count)
{
    assert_int_equal(logfix_reopen(&f->fix), 0);
    while (evlog_segment_count(appender_log(f->fix.appender)) < count) {
        (void)logfix_put(&f->fix, "a-1", 6000);
        logfix_sync(&f->fix);
    }
    logfix_jobs(&f->fix);
    logfix_stop(&f->fix);
}

/* The name of segment `number`, from 1. */
static const char *
segment_name(struct fixture *f, uint64_t number)
{
    static char name[64];
    struct evlog *log;
    struct err err;

    assert_int_equal(evlog_open(&sys_real, logfix_dir(&f->fix), &log, &err), 0);
    (void)snprintf(name, sizeof name, "%020llu.log",
                   (unsigned long long)evlog_segment_first(log, number));
    evlog_close(&log);
    return name;
}

static void
opens(struct fixture *f, uint64_t last_position)
{
    if (logfix_reopen(&f->fix) < 0)
        fail_msg("%s", f->fix.err.text);
    assert_int_equal(f->fix.report.last_position, last_position);
    (void)logfix_put(&f->fix, "a-1", 10); /* and it goes on */
    logfix_sync(&f->fix);
    assert_int_equal(appender_watermark(f->fix.appender), last_position + 1);
}

/* It does not open, says so in these words, and has changed nothing. */
static void
refuses(struct fixture *f, int code, const char *said, const char *name)
{
    size_t len, after_len;
    uint8_t *before = file_read(log_path(f, name), &len), *after;

    assert_int_equal(logfix_reopen(&f->fix), code);
    if (strstr(f->fix.err.text, said) == NULL)
        fail_msg("\"%s\" is not in: %s", said, f->fix.err.text);
    after = file_read(log_path(f, name), &after_len);
    assert_int_equal(len, after_len);
    assert_memory_equal(before, after, len);
    free(before);
    free(after);
}

static void
kept_a_copy(struct fixture *f, uint64_t bytes)
{
    char name[256];
    size_t len;
    uint8_t *copy;

    assert_int_equal(count_files(f, ".bak", name), 1);
    copy = file_read(log_path(f, name), &len);
    assert_int_equal(len, bytes);
    assert_int_equal(f->fix.report.cut_bytes, bytes);
    free(copy);
}

/* ---- the end of the log ------------------------------------------------ */

static void
clean(void **state)
{
    struct fixture *f = *state;
    char name[256];

    opens(f, GROUPS);
    assert_false(f->fix.report.torn || f->fix.report.tail_lost ||
                 f->fix.report.table_rebuilt);
    assert_int_equal(count_files(f, ".bak", name), 0);
}

/* As if the last checkpoint of the version table were not written yet. */
static void
forget_checkpoint(struct fixture *f)
{
    assert_int_equal(unlink(log_path(f, "table.1")), 0);
}

static void
torn_sectors_missing(void **state)
{
    struct fixture *f = *state;

    forget_checkpoint(f);

    fill(f, FIRST, f->offsets[4] + 2 * SECTOR_LEN,
         f->offsets[4] + 3 * SECTOR_LEN, 0);
    opens(f, GROUPS - 1);
    assert_true(f->fix.report.torn);
    kept_a_copy(f, f->offsets[5] - f->offsets[4]);
}

static void
torn_end_missing(void **state)
{
    struct fixture *f = *state;

    forget_checkpoint(f);

    fill(f, FIRST, f->offsets[4] + SECTOR_LEN, f->offsets[5], 0);
    opens(f, GROUPS - 1);
    assert_true(f->fix.report.torn);
    kept_a_copy(f, SECTOR_LEN);
}

static void
torn_header_missing(void **state)
{
    struct fixture *f = *state;

    forget_checkpoint(f);

    fill(f, FIRST, f->offsets[4], f->offsets[4] + SECTOR_LEN, 0);
    opens(f, GROUPS - 1);
    assert_true(f->fix.report.torn);
}

static void
last_group_damaged(void **state)
{
    struct fixture *f = *state;

    flip(f, FIRST, f->offsets[4] + 1000);
    refuses(f, -CAIRN_EAMBIGUOUS, "--accept-tail-loss", FIRST);
    refuses(f, -CAIRN_EAMBIGUOUS, "begins at position 5", FIRST);
    f->fix.options.accept_tail_loss = true;
    opens(f, GROUPS - 1);
    assert_true(f->fix.report.tail_lost);
    kept_a_copy(f, f->offsets[5] - f->offsets[4]);
}

static void
last_header_damaged(void **state)
{
    struct fixture *f = *state;

    flip(f, FIRST, f->offsets[4] + 24);
    refuses(f, -CAIRN_EAMBIGUOUS, "cannot be told", FIRST);
}

static void
garbage_behind_the_end(void **state)
{
    struct fixture *f = *state;

    fill(f, FIRST, f->offsets[5], f->offsets[5] + 700, 'x');
    refuses(f, -CAIRN_EAMBIGUOUS, FIRST, FIRST);
    f->fix.options.accept_tail_loss = true;
    opens(f, GROUPS); /* nothing whole is given up */
}

static void
older_group_damaged(void **state)
{
    struct fixture *f = *state;

    flip(f, FIRST, f->offsets[2] + 1000);
    refuses(f, -CAIRN_EDAMAGED, "events from position 3 on", FIRST);
    f->fix.options.accept_tail_loss = true; /* never a way around this */
    refuses(f, -CAIRN_EDAMAGED, "restore them from a backup", FIRST);
}

static void
older_sectors_missing(void **state)
{
    struct fixture *f = *state;

    fill(f, FIRST, f->offsets[1], f->offsets[3], 0);
    f->fix.options.accept_tail_loss = true;
    refuses(f, -CAIRN_EDAMAGED, "group 4", FIRST);
}

/* ---- segments ---------------------------------------------------------- */

/* What `cairn log verify` finds. */
static uint64_t
findings(struct fixture *f)
{
    struct verify_report report;

    assert_int_equal(log_verify(&sys_real, logfix_dir(&f->fix), false,
                                &(struct verify_events){ 0 }, &report,
                                &f->fix.err),
                     0);
    return report.findings;
}

static void
killed_before_sealing(void **state)
{
    struct fixture *f = *state;
    uint64_t last;
    size_t len;
    uint8_t *file;

    grow(f, 2);
    last = f->fix.report.last_position;
    file = file_read(log_path(f, FIRST), &len);
    free(file);
    fill(f, FIRST, segment_data_end(len), len, 'x');
    assert_int_equal(findings(f), 1); /* nobody writes such a footer */
    fill(f, FIRST, segment_data_end(len), len, 0);
    assert_int_equal(findings(f), 0);
    assert_int_equal(logfix_reopen(&f->fix), 0);
    last = f->fix.report.last_position;
    logfix_stop(&f->fix);
    opens(f, last);
    file = file_read(log_path(f, FIRST), &len);
    assert_memory_equal(file + segment_data_end(len), FOOTER_MAGIC, 8);
    free(file);
    logfix_stop(&f->fix);
    assert_int_equal(findings(f), 0);
    /* One that has been followed by two is sealed. */
    grow(f, 3);
    fill(f, FIRST, segment_data_end(len), len, 0);
    assert_int_equal(findings(f), 1);
}

static void
footer_and_groups_damaged(void **state)
{
    struct fixture *f = *state;
    size_t len;

    grow(f, 2);
    free(file_read(log_path(f, FIRST), &len));
    fill(f, FIRST, segment_data_end(len), len, 0);
    flip(f, FIRST, f->offsets[2] + 1000);
    refuses(f, -CAIRN_EDAMAGED, "positions 3 to", FIRST);
}

static void
segment_header_damaged(void **state)
{
    struct fixture *f = *state;

    flip(f, FIRST, 100);
    refuses(f, -CAIRN_EDAMAGED, FIRST, FIRST);
}

static void
not_a_segment(void **state)
{
    struct fixture *f = *state;

    fill(f, FIRST, 0, 8, 'x');
    refuses(f, -CAIRN_ENOTLOG, FIRST, FIRST);
}

static void
newer_format(void **state)
{
    struct fixture *f = *state;

    change_header(f, FIRST, 8, 1 ^ 2);
    refuses(f, -CAIRN_EFORMAT, "format version 2", FIRST);
}

static void
unknown_incompatible_feature(void **state)
{
    struct fixture *f = *state;

    change_header(f, FIRST, 56, 4);
    refuses(f, -CAIRN_EFORMAT, FIRST, FIRST);
}

static void
unknown_compatible_feature(void **state)
{
    struct fixture *f = *state;
    struct evlog *log;

    change_header(f, FIRST, 64, 4);
    refuses(f, -CAIRN_EFORMAT, "segment number 1: the log uses features",
            FIRST);
    assert_int_equal(
        evlog_open(&sys_real, logfix_dir(&f->fix), &log, &f->fix.err), 0);
    evlog_close(&log); /* reading goes on */
}

static void
segment_missing(void **state)
{
    struct fixture *f = *state;

    grow(f, 3);
    assert_int_equal(unlink(log_path(f, segment_name(f, 2))), 0);
    refuses(f, -CAIRN_EDAMAGED, "missing", FIRST);
}

static void
all_segments_missing(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(unlink(log_path(f, FIRST)), 0);
    refuses(f, -CAIRN_EDAMAGED, "segments are gone", "table.1");
}

static void
segment_of_another_log(void **state)
{
    struct fixture *f = *state;
    char name[64];

    grow(f, 2);
    (void)snprintf(name, sizeof name, "%s", segment_name(f, 2));
    change_header(f, FIRST, 20, 0x99);
    refuses(f, -CAIRN_EOTHERLOG, "another log", name);
}

/* ---- what is derived --------------------------------------------------- */

static void
table_missing(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(unlink(log_path(f, "table.1")), 0);
    opens(f, GROUPS);
    assert_true(f->fix.report.table_rebuilt);
    assert_int_equal(f->fix.report.replayed_events, GROUPS);
}

static void
table_damaged(void **state)
{
    struct fixture *f = *state;

    flip(f, "table.1", 40);
    opens(f, GROUPS);
    assert_true(f->fix.report.table_rebuilt);
}

static void
checkpoint_beyond_the_end(void **state)
{
    struct fixture *f = *state;

    /* It looks torn, but the checkpoint says that it had been durable. */
    fill(f, FIRST, f->offsets[4] + SECTOR_LEN, f->offsets[5], 0);
    assert_true(logfix_reopen(&f->fix) < 0);
    assert_non_null(strstr(f->fix.err.text, "up to 5 had been durable"));
    f->fix.options.accept_tail_loss = true;
    opens(f, GROUPS - 1);
    assert_true(f->fix.report.table_rebuilt);
}

static void
ids_missing(void **state)
{
    struct fixture *f = *state;
    char name[256];

    grow(f, 2);
    assert_int_equal(count_files(f, ".ids", name), 1);
    assert_int_equal(unlink(log_path(f, name)), 0);
    assert_int_equal(logfix_reopen(&f->fix), 0);
    assert_int_equal(count_files(f, ".ids", name), 1); /* made at the start */
    assert_int_equal(unlink(log_path(f, name)), 0);
    {
        /* A UUIDv4 has to be looked for in every segment. */
        struct append_result r = logfix_put(&f->fix, "c-1", 1);

        assert_int_equal(r.code, APPEND_ACCEPTED);
    }
    logfix_sync(&f->fix);
    assert_int_equal(count_files(f, ".ids", name), 1);
}

static void
control_page_damaged(void **state)
{
    struct fixture *f = *state;

    file_write(logfix_control(&f->fix), "what is this", 12);
    opens(f, GROUPS);
}

static void
prepared_segment_left(void **state)
{
    struct fixture *f = *state;

    file_write(log_path(f, SEGMENT_PREPARED), "half", 4);
    grow(f, 3);
    assert_int_equal(logfix_reopen(&f->fix), 0);
    logfix_stop(&f->fix);
    opens(f, f->fix.report.last_position);
}

static void
unfinished_restore(void **state)
{
    struct fixture *f = *state;

    file_write(log_path(f, RESTORE_MARKER), "", 0);
    assert_int_equal(logfix_reopen(&f->fix), -CAIRN_EDAMAGED);
    assert_non_null(strstr(f->fix.err.text, "cairn log restore"));
    assert_int_equal(unlink(log_path(f, RESTORE_MARKER)), 0);
    assert_int_equal(logfix_reopen(&f->fix), 0);
}

static void
in_use(void **state)
{
    struct fixture *f = *state;
    struct recovery_report report;
    struct appender *second = NULL;

    opens(f, GROUPS);
    assert_int_equal(appender_open(&sys_real, logfix_dir(&f->fix),
                                   logfix_control(&f->fix), &logfix_small, NULL,
                                   NULL, &report, &second, &f->fix.err),
                     -CAIRN_ELOCKED);
    assert_non_null(strstr(f->fix.err.text, "another writer"));
    (void)logfix_put(&f->fix, "a-1", 10); /* the first one goes on */
    logfix_sync(&f->fix);
}

/* ---- verifying beside a writer ------------------------------------------ */

static void
what_a_writer_is_writing_is_no_damage(void **state)
{
    struct fixture *f = *state;
    size_t len;

    assert_int_equal(logfix_reopen(&f->fix), 0);
    fill(f, FIRST, f->offsets[5], f->offsets[5] + 700, 'x');
    assert_int_equal(findings(f), 0);
    fill(f, FIRST, f->offsets[5], f->offsets[5] + 700, 0);
    logfix_stop(&f->fix);
    grow(f, 2);
    free(file_read(log_path(f, FIRST), &len));
    fill(f, FIRST, segment_data_end(len), len, 0);
    assert_int_equal(logfix_reopen(&f->fix), 0);
    fill(f, FIRST, segment_data_end(len), len, 'x');
    assert_int_equal(findings(f), 0);
    fill(f, FIRST, f->offsets[2], f->offsets[2] + 700, 'x');
    assert_true(findings(f) > 0); /* but this is not what it writes now */
}

int
main(void)
{
#define ROW(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        ROW(clean),
        ROW(torn_sectors_missing),
        ROW(torn_end_missing),
        ROW(torn_header_missing),
        ROW(last_group_damaged),
        ROW(last_header_damaged),
        ROW(garbage_behind_the_end),
        ROW(older_group_damaged),
        ROW(older_sectors_missing),
        ROW(killed_before_sealing),
        ROW(footer_and_groups_damaged),
        ROW(segment_header_damaged),
        ROW(not_a_segment),
        ROW(newer_format),
        ROW(unknown_incompatible_feature),
        ROW(unknown_compatible_feature),
        ROW(segment_missing),
        ROW(all_segments_missing),
        ROW(segment_of_another_log),
        ROW(table_missing),
        ROW(table_damaged),
        ROW(checkpoint_beyond_the_end),
        ROW(ids_missing),
        ROW(control_page_damaged),
        ROW(prepared_segment_left),
        ROW(unfinished_restore),
        ROW(in_use),
        cmocka_unit_test_setup_teardown(what_a_writer_is_writing_is_no_damage,
                                        setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
