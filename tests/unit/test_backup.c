/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/cmocka.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/bytefix.h"
#include "lib/logfix.h"
#include "lib/tmpdir.h"
#include "lib/watchsys.h"
#include "store/backup.h"
#include "store/verify.h"

static const struct appender_options options = {
    .segment_len = SEGMENT_LEN_MIN,
    .group_len_max = 32 << 10,
    .checkpoint_bytes = 1 << 20,
    .table_slots = TABLE_SLOTS_MIN,
};

static const struct backup_events silent = { .arg = NULL };
static const struct restore_to everything = { .kind = RESTORE_ALL };

struct fixture {
    struct logfix fix;
    struct watchsys watch;
    struct backup_report report;
    struct err err;
};

/* ---- a log, and its copies --------------------------------------------- */

/* A group of three commits: 1, 2 and 3 events, 250 bytes each, at a time. */
static void
put_group(struct fixture *f)
{
    char data[251];
    struct event_text events[3];

    memset(data, 'x', sizeof data - 1);
    data[sizeof data - 1] = '\0';
    for (int i = 0; i < 3; i++)
        events[i] = (struct event_text){
            i == 1 ? "a-1" : "b-1", "T", data, NULL, { "tag:1" }
        };
    for (uint32_t n = 1; n <= 3; n++) {
        f->watch.now_us += 10;
        (void)logfix_append(&f->fix, uuid_v4(), NULL, 0, events, n);
    }
    logfix_sync(&f->fix);
}

static void
put_groups(struct fixture *f, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        put_group(f);
}

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    watchsys_begin(&f->watch, &sys_real);
    f->watch.now_us = 1000000;
    f->watch.skip_syncs = true;
    logfix_open(&f->fix, &f->watch.sys, &options);
    put_groups(f, 120);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    logfix_close(&f->fix);
    watchsys_end(&f->watch);
    free(f);
    return 0;
}

static const char *
path_of(struct fixture *f, const char *name)
{
    return tmpdir_path(f->fix.dir, name);
}

static int
backup(struct fixture *f)
{
    return log_backup(&f->watch.sys, logfix_dir(&f->fix), path_of(f, "backup"),
                      f->fix.appender == NULL ? NULL : logfix_control(&f->fix),
                      &silent, &f->report, &f->err);
}

static void
must_back_up(struct fixture *f)
{
    if (backup(f) < 0)
        fail_msg("%s", f->err.text);
}

static int
restore(struct fixture *f, const struct restore_to *to)
{
    return log_restore(&f->watch.sys, path_of(f, "backup"),
                       path_of(f, "restored"), to, &silent, &f->report,
                       &f->err);
}

static void
must_restore(struct fixture *f, const struct restore_to *to)
{
    if (restore(f, to) < 0)
        fail_msg("%s", f->err.text);
}

static void
remove_log(struct fixture *f, const char *name)
{
    char *path = strdup(path_of(f, name));

    tmpdir_remove(&path);
}

static void
on_finding(void *arg, const struct verify_finding *f)
{
    (void)arg;
    printf("%s: %s\n", f->segment, f->what);
}

/* The log in a directory is whole, with every link, and ends there. */
static void
assert_whole(struct fixture *f, const char *name, uint64_t last_position)
{
    static const struct verify_events events = { .finding = on_finding };
    struct verify_report report;

    if (log_verify(&sys_real, path_of(f, name), false, &events, &report,
                   &f->err) < 0)
        fail_msg("%s", f->err.text);
    assert_int_equal(report.findings, 0);
    assert_false(report.unfinished);
    assert_int_equal(report.last_position, last_position);
}

/* Both logs hold the same events up to a position, byte for byte. */
static void
assert_same(struct fixture *f, const char *name, uint64_t last_position)
{
    struct evlog *a, *b;
    struct cursor at[2];
    struct event event[2];

    assert_int_equal(evlog_open(&sys_real, logfix_dir(&f->fix), &a, &f->err),
                     0);
    assert_int_equal(evlog_open(&sys_real, path_of(f, name), &b, &f->err), 0);
    assert_int_equal(evlog_seek(a, 1, last_position, &at[0], &f->err), 0);
    assert_int_equal(evlog_seek(b, 1, last_position, &at[1], &f->err), 0);
    for (uint64_t n = 1; n <= last_position; n++) {
        assert_int_equal(
            evlog_next(a, &at[0], last_position, &event[0], &f->err), 1);
        assert_int_equal(
            evlog_next(b, &at[1], last_position, &event[1], &f->err), 1);
        assert_int_equal(at[0].address, at[1].address);
        assert_int_equal(event[0].record_len, event[1].record_len);
        assert_memory_equal(event[0].record, event[1].record,
                            event[0].record_len);
    }
    evlog_close(&a);
    evlog_close(&b);
}

static uint64_t
position(struct fixture *f)
{
    return appender_watermark(f->fix.appender);
}

static const char *
segment_file(struct fixture *f, const char *dir, uint64_t number)
{
    char name[64];

    (void)snprintf(name, sizeof name, "%s/%020llu.log", dir,
                   (unsigned long long)evlog_segment_first(
                       appender_log(f->fix.appender), number));
    return path_of(f, name);
}

static void
flip(const char *path, uint64_t offset, uint8_t bits)
{
    size_t len;
    uint8_t *data = file_read(path, &len);

    assert_true(offset < len);
    data[offset] ^= bits;
    (void)unlink(path); /* it may be read-only, or mapped */
    file_write(path, data, len);
    free(data);
}

/* ---- backup ------------------------------------------------------------ */

static void
a_backup_is_a_whole_log_of_the_same_id(void **state)
{
    struct fixture *f = *state;

    must_back_up(f);
    assert_int_equal(f->report.last_position, position(f));
    assert_true(f->report.segments >= 4);
    assert_int_equal(f->report.copied, f->report.segments);
    assert_true(
        uuid_equal(f->report.log_id, evlog_id(appender_log(f->fix.appender))));
    assert_whole(f, "backup", position(f));
    assert_same(f, "backup", position(f));
}

static void
a_sealed_segment_is_copied_once(void **state)
{
    struct fixture *f = *state;
    uint64_t segments, bytes = 0;

    must_back_up(f);
    segments = f->report.segments;
    must_back_up(f); /* nothing is new */
    assert_int_equal(f->report.copied, 0);
    assert_int_equal(f->report.copied_bytes, 0);
    assert_int_equal(f->report.segments, segments);
    put_group(f); /* the growing one alone */
    f->watch.counts = (struct watch_counts){ 0 };
    must_back_up(f);
    assert_int_equal(f->report.copied, 1);
    assert_int_equal(f->watch.counts.renames, 1);
    while (evlog_segment_count(appender_log(f->fix.appender)) < segments + 2)
        put_group(f);
    f->watch.counts = (struct watch_counts){ 0 };
    must_back_up(f); /* the one that grew, one that came and went, the new */
    assert_int_equal(f->report.copied, 3);
    assert_int_equal(f->watch.counts.renames, 3);
    bytes = f->watch.counts.log_bytes + f->watch.counts.other_bytes;
    assert_int_equal(f->report.copied_bytes, bytes);
    assert_whole(f, "backup", position(f));
    assert_same(f, "backup", position(f));
}

static void
nothing_beyond_the_watermark_is_copied(void **state)
{
    struct fixture *f = *state;
    struct event_text event = { "a-1", "T", "secret", NULL, { NULL } };
    uint64_t durable = position(f);

    (void)logfix_append(&f->fix, uuid_v4(), NULL, 0, &event, 1);
    appender_close_group(f->fix.appender);
    assert_int_equal(appender_sync(f->fix.appender, &f->err), 0);
    must_back_up(f); /* written, but not settled */
    assert_int_equal(f->report.last_position, durable);
    assert_whole(f, "backup", durable);
    assert_int_equal(appender_settle(f->fix.appender, &f->err), 0);
    must_back_up(f);
    assert_int_equal(f->report.last_position, durable + 1);
    assert_whole(f, "backup", durable + 1);
}

static void
a_segment_that_is_not_sealed_yet_is_sealed_in_the_backup(void **state)
{
    struct fixture *f = *state;
    uint64_t count = evlog_segment_count(appender_log(f->fix.appender));
    struct event_text event = { "a-1", "T", "x", NULL, { NULL } };

    /* No job runs until the next segment has begun. */
    while (evlog_segment_count(appender_log(f->fix.appender)) == count) {
        (void)logfix_append(&f->fix, uuid_v4(), NULL, 0, &event, 1);
        appender_close_group(f->fix.appender);
        assert_int_equal(appender_sync(f->fix.appender, &f->err), 0);
        assert_int_equal(appender_settle(f->fix.appender, &f->err), 0);
    }
    must_back_up(f);
    assert_whole(f, "backup", position(f));
    logfix_jobs(&f->fix); /* the writer seals it, too: the same footer */
    must_back_up(f);
    assert_int_equal(f->report.copied, 0);
    assert_same(f, "backup", position(f));
}

static void
an_empty_log_can_be_backed_up_and_restored(void **state)
{
    struct fixture *f = *state;

    logfix_close(&f->fix);
    logfix_open(&f->fix, &f->watch.sys, &options);
    must_back_up(f);
    assert_int_equal(f->report.copied, 1);
    assert_whole(f, "backup", 0);
    must_restore(f, &everything);
    assert_whole(f, "restored", 0);
    put_group(f);
    must_back_up(f);
    assert_whole(f, "backup", 6);
}

static void
without_a_page_a_running_writer_is_refused(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(log_backup(&f->watch.sys, logfix_dir(&f->fix),
                                path_of(f, "backup"), NULL, &silent, &f->report,
                                &f->err),
                     -CAIRN_ELOCKED);
    assert_non_null(strstr(f->err.text, "--control"));
    logfix_stop(&f->fix);
    must_back_up(f);
    assert_int_equal(logfix_reopen(&f->fix), 0);
    assert_whole(f, "backup", position(f));
}

static void
a_page_that_says_nothing_yet_is_not_believed(void **state)
{
    struct fixture *f = *state;
    struct control *page;

    /* As after a boot, while the writer is recovering. */
    assert_int_equal(unlink(logfix_control(&f->fix)), 0);
    assert_int_equal(control_create(&sys_real, logfix_control(&f->fix),
                                    evlog_id(appender_log(f->fix.appender)),
                                    &page, &f->err),
                     0);
    assert_int_equal(backup(f), -CAIRN_ELOCKED);
    assert_non_null(strstr(f->err.text, "starting"));
    control_close(&page);
}

static void
without_a_writer_a_torn_end_is_left_out(void **state)
{
    struct fixture *f = *state;
    uint64_t last = evlog_segment_count(appender_log(f->fix.appender));
    char *path = strdup(segment_file(f, "log", last));
    uint64_t durable = position(f), at = SECTOR_LEN;
    const struct verify_events events = { .finding = on_finding };
    struct verify_report report;
    size_t len;
    uint8_t *data;

    logfix_stop(&f->fix);
    data = file_read(path, &len);
    while (!bytes_all_zero(data + at, 8))
        at += le32_get(((struct group_header *)(data + at))->group_len);
    memcpy(data + at, data + SECTOR_LEN, 700); /* a part of a group */
    memset(data + at, 0, SECTOR_LEN);          /* without its header */
    file_write(path, data, len);
    must_back_up(f);
    assert_int_equal(f->report.last_position, durable);
    assert_whole(f, "backup", durable);

    /* What cannot be read is not taken for an unfinished write. */
    watchsys_fail(&f->watch, "read", strrchr(path, '/'), -EIO);
    assert_int_equal(log_verify(&f->watch.sys, logfix_dir(&f->fix), false,
                                &events, &report, &f->err),
                     0);
    watchsys_fail(&f->watch, NULL, NULL, 0);
    assert_int_equal(report.findings, 1);
    assert_false(report.unfinished);

    memset(data + at, 'x', SECTOR_LEN); /* ambiguous */
    file_write(path, data, len);
    assert_int_equal(backup(f), -CAIRN_EAMBIGUOUS);
    assert_whole(f, "backup", durable);
    memset(data + at, 0, 700);
    file_write(path, data, len);
    free(data);
    free(path);
    assert_int_equal(logfix_reopen(&f->fix), 0);
}

static void
damage_in_the_log_is_not_copied(void **state)
{
    struct fixture *f = *state;
    char *path = strdup(segment_file(f, "log", 2));

    flip(path, 5000, 4);
    assert_int_equal(backup(f), -CAIRN_EDAMAGED);
    assert_non_null(strstr(f->err.text, "byte"));
    assert_non_null(strstr(f->err.text, strrchr(path, '/') + 1));
    /* What lies before it is a backup. */
    assert_whole(f, "backup",
                 evlog_segment_first(appender_log(f->fix.appender), 2) - 1);
    flip(path, 5000, 4);
    must_back_up(f);
    assert_whole(f, "backup", position(f));
    free(path);
}

static void
what_the_device_gives_back_is_checked(void **state)
{
    struct fixture *f = *state;

    /* The read of what was written fails: nothing gets its name. */
    watchsys_fail(&f->watch, "read", "backup.tmp", -EIO);
    assert_int_equal(backup(f), -EIO);
    watchsys_fail(&f->watch, NULL, NULL, 0);
    assert_int_equal(access(segment_file(f, "backup", 1), F_OK), -1);
    assert_int_equal(access(path_of(f, "backup/backup.tmp"), F_OK), -1);
    must_back_up(f);
    assert_whole(f, "backup", position(f));
}

static void
a_segment_of_the_backup_that_differs_is_copied_again(void **state)
{
    struct fixture *f = *state;

    must_back_up(f);
    flip(segment_file(f, "backup", 1), segment_data_end(SEGMENT_LEN_MIN) + 4,
         1);                                   /* in the footer */
    flip(segment_file(f, "backup", 2), 40, 1); /* in the header */
    must_back_up(f);
    assert_int_equal(f->report.copied, 2);
    assert_whole(f, "backup", position(f));
}

static void
another_log_in_the_backup_is_refused(void **state)
{
    struct fixture *f = *state;
    char *dir = f->fix.dir;

    must_back_up(f);
    assert_int_equal(appender_close(&f->fix.appender, &f->err), 0);
    remove_log(f, "log");
    assert_int_equal(logfix_reopen(&f->fix), 0);
    assert_string_equal(dir, f->fix.dir);
    put_group(f);
    assert_int_equal(backup(f), -CAIRN_EOTHERLOG);
    assert_non_null(strstr(f->err.text, "another log"));
}

/* Takes the log away and puts a copy of an earlier state in its place. */
static void
go_back(struct fixture *f)
{
    char command[3 * 4096];

    assert_int_equal(appender_close(&f->fix.appender, &f->err), 0);
    (void)snprintf(command, sizeof command,
                   "rm -r '%s' && cp -r '%s' '%s' && chmod -R u+w '%s'",
                   path_of(f, "log"), path_of(f, "old"), path_of(f, "log"),
                   path_of(f, "log"));
    assert_int_equal(system(command), 0);
    assert_int_equal(logfix_reopen(&f->fix), 0);
}

static void
keep_old(struct fixture *f)
{
    char command[3 * 4096];

    logfix_stop(&f->fix);
    (void)snprintf(command, sizeof command, "cp -r '%s' '%s'",
                   path_of(f, "log"), path_of(f, "old"));
    assert_int_equal(system(command), 0);
    assert_int_equal(logfix_reopen(&f->fix), 0);
}

static void
a_backup_that_goes_further_than_the_log_is_kept(void **state)
{
    struct fixture *f = *state;
    uint64_t end;

    keep_old(f);
    put_groups(f, 30);
    must_back_up(f);
    end = position(f);
    go_back(f);
    assert_int_equal(backup(f), -CAIRN_EOTHERLOG);
    assert_non_null(strstr(f->err.text, "keep this backup"));
    assert_whole(f, "backup", end);
}

static void
a_backup_of_another_branch_is_kept(void **state)
{
    struct fixture *f = *state;
    uint64_t end;

    keep_old(f);
    put_groups(f, 30);
    must_back_up(f);
    end = position(f);
    go_back(f);
    f->watch.now_us += 1000;
    put_groups(f, 60); /* further, but something else */
    assert_int_equal(backup(f), -CAIRN_EOTHERLOG);
    assert_non_null(strstr(f->err.text, "something else"));
    assert_whole(f, "backup", end);
}

static void
the_directory_of_a_writer_is_no_backup(void **state)
{
    struct fixture *f = *state;

    must_back_up(f);
    /* The arguments the other way round. */
    assert_int_equal(log_backup(&f->watch.sys, path_of(f, "backup"),
                                logfix_dir(&f->fix), NULL, &silent, &f->report,
                                &f->err),
                     -CAIRN_ELOCKED);
    logfix_stop(&f->fix);
    assert_int_equal(log_backup(&f->watch.sys, path_of(f, "backup"),
                                logfix_dir(&f->fix), NULL, &silent, &f->report,
                                &f->err),
                     -CAIRN_EOTHERLOG);
    assert_int_equal(logfix_reopen(&f->fix), 0);
}

static void
no_space_leaves_the_backup_as_it_was(void **state)
{
    struct fixture *f = *state;
    uint64_t end;

    must_back_up(f);
    end = position(f);
    put_groups(f, 30);
    watchsys_fail(&f->watch, "allocate", "backup.tmp", -ENOSPC);
    assert_int_equal(backup(f), -ENOSPC);
    assert_non_null(strstr(f->err.text, "no room"));
    watchsys_fail(&f->watch, NULL, NULL, 0);
    assert_whole(f, "backup", end);
    must_back_up(f);
    assert_whole(f, "backup", position(f));
}

static int
stop_at_once(void *arg, uint64_t done, uint64_t all, uint64_t at)
{
    unsigned *left = arg;

    assert_true(done <= all && at > 0);
    return *left > 0 ? (--*left, 0) : 1;
}

static void
what_was_stopped_is_continued(void **state)
{
    struct fixture *f = *state;

    for (unsigned n = 0; n < 3; n++) {
        unsigned left = 1;
        const struct backup_events events = { &left, stop_at_once };

        assert_int_equal(
            log_backup(&f->watch.sys, logfix_dir(&f->fix), path_of(f, "backup"),
                       logfix_control(&f->fix), &events, &f->report, &f->err),
            -ECANCELED);
        assert_int_equal(f->report.copied, 1);
        assert_whole(f, "backup",
                     evlog_segment_first(appender_log(f->fix.appender), n + 2) -
                         1);
    }
    must_back_up(f);
    assert_int_equal(f->report.copied, f->report.segments - 3);
    assert_whole(f, "backup", position(f));
}

/* ---- restore ----------------------------------------------------------- */

static void
a_restored_log_is_a_new_one_with_the_same_events(void **state)
{
    struct fixture *f = *state;
    struct logfix other = { .sys = &sys_real, .options = options };
    uint64_t end = position(f);

    must_back_up(f);
    must_restore(f, &everything);
    assert_int_equal(f->report.last_position, end);
    assert_false(
        uuid_equal(f->report.log_id, evlog_id(appender_log(f->fix.appender))));
    assert_whole(f, "restored", end);
    assert_same(f, "restored", end);
    /* A writer goes on with it. */
    other.dir = strdup(f->fix.dir);
    assert_int_equal(appender_open(&sys_real, path_of(f, "restored"),
                                   path_of(f, "control-2"), &options, NULL,
                                   NULL, &other.report, &other.appender,
                                   &f->err),
                     0);
    assert_true(
        uuid_equal(evlog_id(appender_log(other.appender)), f->report.log_id));
    assert_int_equal(appender_watermark(other.appender), end);
    for (int i = 0; i < 30; i++) {
        (void)logfix_put(&other, "a-1", 3000);
        logfix_sync(&other);
    }
    assert_int_equal(appender_close(&other.appender, &f->err), 0);
    free(other.dir);
    assert_whole(f, "restored", end + 30);
}

/* Groups are of 6 events, commits of 1, 2 and 3. */
static uint64_t
commit_end(uint64_t wanted)
{
    static const uint64_t ends[] = { 0, 1, 1, 3, 3, 3 };

    return wanted / 6 * 6 + ends[wanted % 6];
}

static void
no_commit_is_split_and_none_behind_the_position_comes_back(void **state)
{
    struct fixture *f = *state;
    uint64_t end = position(f);

    must_back_up(f);
    for (uint64_t n = 1; n <= end + 3; n += n < 30 || n + 12 > end ? 1 : 17) {
        struct restore_to to = { RESTORE_TO_POSITION, n };
        uint64_t last = commit_end(n < end ? n : end);

        must_restore(f, &to);
        assert_int_equal(f->report.last_position, last);
        assert_whole(f, "restored", last);
        assert_same(f, "restored", last);
        remove_log(f, "restored");
    }
}

static void
a_time_takes_all_commits_up_to_it(void **state)
{
    struct fixture *f = *state;
    struct evlog *log = appender_log(f->fix.appender);
    uint64_t end = position(f);
    struct cursor cursor;
    struct event event;

    must_back_up(f);
    for (uint64_t n = 1; n <= end; n += 29) {
        struct restore_to to = { .kind = RESTORE_TO_TIME };
        uint64_t last = commit_end(n);

        while (commit_end(last) != last || last < n)
            last++; /* the end of its commit */
        assert_int_equal(evlog_seek(log, n, end, &cursor, &f->err), 0);
        assert_int_equal(evlog_next(log, &cursor, end, &event, &f->err), 1);
        to.value = event.time_us;
        must_restore(f, &to);
        assert_int_equal(f->report.last_position, last);
        assert_int_equal(f->report.last_time_us, event.time_us);
        assert_whole(f, "restored", last);
        remove_log(f, "restored");
        to.value--; /* just before it */
        if (n > 1) {
            must_restore(f, &to);
            assert_true(f->report.last_position < n);
            assert_true(f->report.last_time_us < event.time_us);
            remove_log(f, "restored");
        }
    }
}

static void
nothing_early_enough_is_an_error(void **state)
{
    struct fixture *f = *state;
    struct restore_to to = { .kind = RESTORE_TO_TIME, .value = 1000 };

    must_back_up(f);
    assert_int_equal(restore(f, &to), -ENOENT);
    to = (struct restore_to){ .kind = RESTORE_TO_POSITION, .value = 0 };
    assert_int_equal(restore(f, &to), -ENOENT);
    must_restore(f, &everything); /* the directory is empty again */
}

static void
only_an_empty_directory_is_restored_into(void **state)
{
    struct fixture *f = *state;

    must_back_up(f);
    assert_int_equal(mkdir(path_of(f, "restored"), 0700), 0);
    file_write(path_of(f, "restored/precious"), "x", 1);
    assert_int_equal(restore(f, &everything), -ENOTEMPTY);
    assert_non_null(strstr(f->err.text, "precious"));
    assert_int_equal(access(path_of(f, "restored/lock"), F_OK), -1);
    assert_int_equal(unlink(path_of(f, "restored/precious")), 0);
    must_restore(f, &everything);
    assert_int_equal(restore(f, &everything), -ENOTEMPTY);
    assert_non_null(strstr(f->err.text, "segments of a log"));
    assert_whole(f, "restored", position(f));
}

static void
an_unfinished_restore_is_no_log(void **state)
{
    struct fixture *f = *state;
    struct appender *appender;
    struct recovery_report report;
    struct evlog *log;

    must_back_up(f);
    must_restore(f, &everything);
    file_write(path_of(f, "restored/" RESTORE_MARKER), "", 0);
    assert_int_equal(appender_open(&sys_real, path_of(f, "restored"),
                                   path_of(f, "control-2"), &options, NULL,
                                   NULL, &report, &appender, &f->err),
                     -CAIRN_EDAMAGED);
    assert_non_null(strstr(f->err.text, "restore"));
    assert_int_equal(
        evlog_open(&sys_real, path_of(f, "restored"), &log, &f->err),
        -CAIRN_EDAMAGED);
    assert_non_null(strstr(f->err.text, "restore"));
    must_restore(f, &everything); /* it is simply done again */
    assert_whole(f, "restored", position(f));
}

static void
a_log_in_use_is_not_restored_from(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(log_restore(&f->watch.sys, logfix_dir(&f->fix),
                                 path_of(f, "restored"), &everything, &silent,
                                 &f->report, &f->err),
                     -CAIRN_ELOCKED);
}

/* Densely where it is a header, a group begins, or a footer stands. */
static uint64_t
next_byte(uint64_t at)
{
    uint64_t foot = segment_data_end(SEGMENT_LEN_MIN);

    if (at < 700)
        return at + 7;
    if (at < foot)
        return at + 997 < foot ? at + 997 : foot;
    return at + (at < foot + 140 ? 3 : 29);
}

static void
every_flipped_bit_of_a_backup_is_noticed(void **state)
{
    struct fixture *f = *state;

    logfix_close(&f->fix);
    logfix_open(&f->fix, &f->watch.sys, &options);
    put_groups(f, 25); /* two segments: one is sealed, one is growing */
    assert_int_equal(evlog_segment_count(appender_log(f->fix.appender)), 2);
    must_back_up(f);
    for (uint64_t n = 1; n <= 2; n++) {
        char *path = strdup(segment_file(f, "backup", n));

        for (uint64_t at = 0; at < SEGMENT_LEN_MIN; at = next_byte(at)) {
            uint8_t bit = (uint8_t)(1u << at % 8);

            flip(path, at, bit);
            if (restore(f, &everything) == 0)
                fail_msg("byte %d of %s is flipped, and it is restored",
                         (int)at, path);
            assert_non_null(strstr(f->err.text, strrchr(path, '/') + 1));
            assert_non_null(strstr(f->err.text, "byte"));
            assert_int_equal(
                access(path_of(f, "restored/" RESTORE_MARKER), F_OK), -1);
            flip(path, at, bit);
        }
        free(path);
    }
    must_restore(f, &everything);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_backup_is_a_whole_log_of_the_same_id),
        CASE(a_sealed_segment_is_copied_once),
        CASE(nothing_beyond_the_watermark_is_copied),
        CASE(a_segment_that_is_not_sealed_yet_is_sealed_in_the_backup),
        CASE(an_empty_log_can_be_backed_up_and_restored),
        CASE(without_a_page_a_running_writer_is_refused),
        CASE(a_page_that_says_nothing_yet_is_not_believed),
        CASE(without_a_writer_a_torn_end_is_left_out),
        CASE(damage_in_the_log_is_not_copied),
        CASE(what_the_device_gives_back_is_checked),
        CASE(a_segment_of_the_backup_that_differs_is_copied_again),
        CASE(another_log_in_the_backup_is_refused),
        CASE(a_backup_that_goes_further_than_the_log_is_kept),
        CASE(a_backup_of_another_branch_is_kept),
        CASE(the_directory_of_a_writer_is_no_backup),
        CASE(no_space_leaves_the_backup_as_it_was),
        CASE(what_was_stopped_is_continued),
        CASE(a_restored_log_is_a_new_one_with_the_same_events),
        CASE(no_commit_is_split_and_none_behind_the_position_comes_back),
        CASE(a_time_takes_all_commits_up_to_it),
        CASE(nothing_early_enough_is_an_error),
        CASE(only_an_empty_directory_is_restored_into),
        CASE(an_unfinished_restore_is_no_log),
        CASE(a_log_in_use_is_not_restored_from),
        CASE(every_flipped_bit_of_a_backup_is_noticed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
