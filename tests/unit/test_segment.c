/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/cmocka.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/bytefix.h"
#include "lib/guard.h"
#include "lib/tmpdir.h"
#include "lib/watchsys.h"
#include "store/segment.h"

#define LEN SEGMENT_LEN_MIN

struct fixture {
    struct watchsys watch;
    const struct sys *sys;
    char *dir;
    struct segment_info info;
    struct segment_end end;
    struct index_entry index[2];
    struct err err;
};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    watchsys_begin(&f->watch, &sys_real);
    f->sys = &f->watch.sys;
    f->dir = tmpdir_make();
    f->info = (struct segment_info){
        .log_id = uuid_v4(),
        .number = 7,
        .first_position = 4711,
        .segment_len = LEN,
        .created_us = 1,
        .prev_group = 2,
        .prev_time_us = 3,
        .ids_time_max_ms = 4,
        .ids_other_count = 5,
        .prev_crc = 6,
    };
    f->end = (struct segment_end){
        .last_position = 5000,
        .last_group = 99,
        .last_time_us = 77,
        .data_end = 4096,
        .last_crc = 0xabcdef,
        .index_count = 2,
        .commit_count = 55,
    };
    f->index[0] = (struct index_entry){ le64_of(4711), le32_of(640) };
    f->index[1] = (struct index_entry){ le64_of(4900), le32_of(2000) };
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    watchsys_end(&f->watch);
    tmpdir_remove(&f->dir);
    free(f);
    return 0;
}

static void
must(struct fixture *f, int rc)
{
    if (rc < 0)
        fail_msg("%s", f->err.text);
}

/* Prepares and begins the segment, and leaves a descriptor for writing. */
static int
begin(struct fixture *f)
{
    int fd = -1;

    must(f, segment_prepare(f->sys, f->dir, f->info.segment_len, &f->err));
    must(f, segment_begin(f->sys, f->dir, &f->info, &fd, &f->err));
    return fd;
}

static bool
exists(const struct fixture *f, const char *name)
{
    return access(tmpdir_path(f->dir, name), F_OK) == 0;
}

static const char name_4711[] = "00000000000000004711.log";

/* ---- names ------------------------------------------------------------- */

static void
a_name_is_the_first_position_in_twenty_digits(void **state)
{
    static const char *const bad[] = {
        "4711.log",
        "00000000000000004711.lo",
        "00000000000000004711.logx",
        "00000000000000004711_log",
        "0000000000000000471x.log",
        "99999999999999999999.log", /* no number of 64 bits */
        "",
        "00000000000000004711.ids",
    };
    char path[PATH_LEN_MAX];
    uint64_t position = 0;

    (void)state;
    assert_int_equal(segment_path(path, "/d", 4711), 0);
    assert_string_equal(path, "/d/00000000000000004711.log");
    assert_true(segment_name_parse(name_4711, &position));
    assert_int_equal(position, 4711);
    assert_true(segment_name_parse("18446744073709551615.log", &position));
    assert_true(position == UINT64_MAX);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(segment_name_parse(bad[i], &position));
}

static void
a_path_that_does_not_fit_is_refused(void **state)
{
    char dir[PATH_LEN_MAX + 1], path[PATH_LEN_MAX];

    (void)state;
    memset(dir, 'd', sizeof dir);
    dir[PATH_LEN_MAX - 2] = '\0'; /* and '/', and one character */
    assert_int_equal(store_path(path, dir, "n"), -ENAMETOOLONG);
    dir[PATH_LEN_MAX - 3] = '\0';
    assert_int_equal(store_path(path, dir, "n"), 0);
    assert_int_equal(strlen(path), PATH_LEN_MAX - 1);
}

/* ---- the header -------------------------------------------------------- */

static void
a_header_is_read_as_it_was_written(void **state)
{
    struct fixture *f = *state;
    uint8_t header[SECTOR_LEN];
    struct segment_info info;

    segment_header_encode(header, &f->info);
    must(f,
         segment_header_decode(guarded(header, sizeof header), LEN, &info,
                               &f->err));
    assert_true(uuid_equal(info.log_id, f->info.log_id));
    assert_int_equal(info.number, 7);
    assert_int_equal(info.first_position, 4711);
    assert_int_equal(info.segment_len, LEN);
    assert_int_equal(info.created_us, 1);
    assert_int_equal(info.prev_group, 2);
    assert_int_equal(info.prev_time_us, 3);
    assert_int_equal(info.ids_time_max_ms, 4);
    assert_int_equal(info.ids_other_count, 5);
    assert_int_equal(info.prev_crc, 6);
}

static void
every_flipped_bit_of_a_header_is_noticed(void **state)
{
    struct fixture *f = *state;
    uint8_t header[SECTOR_LEN];
    struct segment_info info;

    segment_header_encode(header, &f->info);
    for (size_t bit = 0; bit < sizeof header * 8; bit++) {
        int rc;

        header[bit / 8] ^= (uint8_t)(1u << bit % 8);
        rc = segment_header_decode(header, LEN, &info, &f->err);
        assert_int_equal(rc, bit < 64 ? -CAIRN_ENOTLOG : -CAIRN_EDAMAGED);
        header[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void
a_header_that_breaks_a_rule_is_refused(void **state)
{
    struct fixture *f = *state;
    uint8_t header[SECTOR_LEN];
    struct segment_header *h = (struct segment_header *)header;
    struct segment_info info;

#define REFUSED(code, file_len, change)                                \
    do {                                                               \
        segment_header_encode(header, &f->info);                       \
        change;                                                        \
        reseal_segment_header(header, sizeof header);                  \
        assert_int_equal(                                              \
            segment_header_decode(header, (file_len), &info, &f->err), \
            (code));                                                   \
    } while (0)
    REFUSED(0, LEN, (void)0);
    REFUSED(-CAIRN_EDAMAGED, LEN + 4096, (void)0);
    REFUSED(-CAIRN_EDAMAGED, LEN - 4096, h->segment_len = le64_of(LEN - 4096));
    REFUSED(-CAIRN_EDAMAGED, LEN + 512, h->segment_len = le64_of(LEN + 512));
    REFUSED(-CAIRN_EDAMAGED, SEGMENT_LEN_MAX + 4096,
            h->segment_len = le64_of(SEGMENT_LEN_MAX + 4096));
    REFUSED(0, SEGMENT_LEN_MAX, h->segment_len = le64_of(SEGMENT_LEN_MAX));
    REFUSED(-CAIRN_EDAMAGED, LEN, h->header_len = le32_of(1024));
    REFUSED(-CAIRN_EDAMAGED, LEN, h->number = le64_of(0));
    REFUSED(-CAIRN_EDAMAGED, LEN,
            h->number = le64_of((uint64_t)UINT32_MAX + 1));
    REFUSED(-CAIRN_EDAMAGED, LEN, h->first_position = le64_of(0));
    REFUSED(-CAIRN_EDAMAGED, LEN, h->format_version = le32_of(0));
#undef REFUSED
}

static void
a_newer_format_is_told_from_damage(void **state)
{
    struct fixture *f = *state;
    uint8_t header[SECTOR_LEN];
    struct segment_header *h = (struct segment_header *)header;
    struct segment_info info;

    segment_header_encode(header, &f->info);
    h->format_version = le32_of(FORMAT_VERSION + 1);
    reseal_segment_header(header, sizeof header);
    assert_int_equal(segment_header_decode(header, LEN, &info, &f->err),
                     -CAIRN_EFORMAT);
    assert_non_null(strstr(f->err.text, "use a newer cairn"));
    for (int bit = 0; bit < 64; bit++) {
        segment_header_encode(header, &f->info);
        h->incompatible = le64_of(UINT64_C(1) << bit);
        reseal_segment_header(header, sizeof header);
        assert_int_equal(segment_header_decode(header, LEN, &info, &f->err),
                         -CAIRN_EFORMAT);
    }
}

static void
an_unknown_compatible_feature_is_read_but_not_written(void **state)
{
    struct fixture *f = *state;
    uint8_t header[SECTOR_LEN];
    struct segment_header *h = (struct segment_header *)header;
    struct segment_info info;

    segment_header_encode(header, &f->info);
    must(f, segment_header_decode(header, LEN, &info, &f->err));
    must(f, segment_check_writable(&info, &f->err));
    for (int bit = 0; bit < 64; bit++) {
        h->compatible = le64_of(UINT64_C(1) << bit);
        reseal_segment_header(header, sizeof header);
        must(f, segment_header_decode(header, LEN, &info, &f->err));
        assert_int_equal(segment_check_writable(&info, &f->err),
                         -CAIRN_EFORMAT);
    }
}

/* ---- the footer -------------------------------------------------------- */

/* The footer area of the sealed segment, in memory of its own. */
static uint8_t *
sealed_footer(struct fixture *f, size_t *ret_len)
{
    size_t len;
    uint8_t *file, *footer;
    int fd = begin(f);

    must(f, segment_seal(f->sys, fd, &f->info, &f->end, f->index));
    sys_call(f->sys, close, fd);
    file = file_read(tmpdir_path(f->dir, name_4711), &len);
    *ret_len = len - (size_t)segment_data_end(len);
    footer = malloc(*ret_len);
    memcpy(footer, file + len - *ret_len, *ret_len);
    free(file);
    return footer;
}

static int
decode_footer(struct fixture *f, const uint8_t *footer, size_t len)
{
    const struct index_entry *index;
    struct segment_end end;

    return segment_footer_decode(footer, len, &f->info, &end, &index);
}

static void
a_footer_is_read_as_it_was_written(void **state)
{
    struct fixture *f = *state;
    const struct index_entry *index;
    struct segment_end end;
    size_t len;
    uint8_t *footer = sealed_footer(f, &len);

    assert_int_equal(segment_footer_decode(footer, len, &f->info, &end, &index),
                     0);
    assert_int_equal(end.last_position, 5000);
    assert_int_equal(end.last_group, 99);
    assert_int_equal(end.last_time_us, 77);
    assert_int_equal(end.data_end, 4096);
    assert_int_equal(end.last_crc, 0xabcdef);
    assert_int_equal(end.index_count, 2);
    assert_int_equal(end.commit_count, 55);
    assert_memory_equal(index, f->index, sizeof f->index);
    free(footer);
}

static void
every_flipped_bit_of_a_footer_is_noticed(void **state)
{
    struct fixture *f = *state;
    size_t len, used = sizeof(struct segment_footer) + sizeof f->index;
    uint8_t *footer = sealed_footer(f, &len);

    for (size_t bit = 0; bit < used * 8; bit++) {
        footer[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(decode_footer(f, footer, len), -CAIRN_ERECORD);
        footer[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t n = 0; n < used; n++)
        assert_int_equal(decode_footer(f, guarded(footer, n), n),
                         -CAIRN_ERECORD);
    assert_int_equal(decode_footer(f, guarded(footer, used), used), 0);
    free(footer);
}

static void
a_footer_that_breaks_a_rule_is_refused(void **state)
{
    struct fixture *f = *state;
    size_t len;
    uint8_t *footer = sealed_footer(f, &len);
    struct segment_footer *e = (struct segment_footer *)footer;
    struct segment_footer good = *e;
    struct index_entry *index = (struct index_entry *)(e + 1);
    struct index_entry first = *index;

#define REFUSED(change)                                                  \
    do {                                                                 \
        change;                                                          \
        reseal_footer(footer, len);                                      \
        assert_int_equal(decode_footer(f, footer, len), -CAIRN_ERECORD); \
        *e = good;                                                       \
        *index = first;                                                  \
    } while (0)
    REFUSED(e->log_id = uuid_v4());
    REFUSED(e->number = le64_of(8));
    REFUSED(e->first_position = le64_of(4712));
    REFUSED(e->last_position = le64_of(4710));
    REFUSED(e->data_end = le32_of(4096 + 8));
    REFUSED(e->data_end = le32_of(SECTOR_LEN));
    REFUSED(e->data_end = le32_of((uint32_t)segment_data_end(LEN) + 512));
    REFUSED(e->index_count = le32_of(0));
    REFUSED(e->index_count = le32_of(UINT32_MAX));
    REFUSED(index->position = le64_of(4710));
    REFUSED(index->position = le64_of(le64_get(e->last_position) + 1));
    REFUSED(index->offset = le32_of(SECTOR_LEN - 8));
    REFUSED(index->offset = le32_of(le32_get(e->data_end)));
    REFUSED(index->offset = le32_of(le32_get(first.offset) + 4));
#undef REFUSED
    reseal_footer(footer, len);
    assert_int_equal(decode_footer(f, footer, len), 0);
    free(footer);
}

/* ---- making ------------------------------------------------------------ */

static void
a_prepared_segment_is_allocated_and_zero(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    size_t len;
    uint8_t *data;

    f->info.segment_len = LEN + 4096; /* no multiple of the zero piece */
    must(f, segment_prepare(f->sys, f->dir, f->info.segment_len, &f->err));
    data = file_read(tmpdir_path(f->dir, SEGMENT_PREPARED), &len);
    assert_int_equal(len, LEN + 4096);
    assert_true(bytes_all_zero(data, len));
    assert_int_equal(stat(tmpdir_path(f->dir, SEGMENT_PREPARED), &st), 0);
    assert_true((uint64_t)st.st_blocks * 512 >= len);
    assert_int_equal(f->watch.counts.log_bytes, len);    /* zeros, once each */
    assert_int_equal(f->watch.counts.written_back, len); /* likewise */
    assert_int_equal(f->watch.counts.log_syncs, 1);
    free(data);
}

static void
a_full_disk_leaves_nothing_of_a_prepared_segment(void **state)
{
    static const char *const calls[] = { "allocate", "write", "write_back",
                                         "sync" };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        watchsys_fail(&f->watch, calls[i], NULL, -ENOSPC);
        assert_int_equal(segment_prepare(f->sys, f->dir, LEN, &f->err),
                         -ENOSPC);
        assert_int_equal(f->err.code, -ENOSPC);
        assert_false(exists(f, SEGMENT_PREPARED));
    }
    watchsys_fail(&f->watch, NULL, NULL, 0);
    must(f, segment_prepare(f->sys, f->dir, LEN, &f->err));
}

static void
a_segment_appears_whole_or_not_at_all(void **state)
{
    static const char *const calls[] = { "open", "write", "sync", "rename" };
    struct fixture *f = *state;
    int fd;

    must(f, segment_prepare(f->sys, f->dir, LEN, &f->err));
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        watchsys_fail(&f->watch, calls[i], NULL, -EIO);
        assert_int_equal(segment_begin(f->sys, f->dir, &f->info, &fd, &f->err),
                         -EIO);
        assert_false(exists(f, name_4711));
    }
    watchsys_fail(&f->watch, NULL, NULL, 0);
    f->watch.counts = (struct watch_counts){ 0 };
    must(f, segment_begin(f->sys, f->dir, &f->info, &fd, &f->err));
    assert_true(exists(f, name_4711));
    assert_false(exists(f, SEGMENT_PREPARED));
    assert_int_equal(f->watch.counts.log_syncs, 1);
    assert_int_equal(f->watch.counts.dir_syncs, 1);
    sys_call(f->sys, close, fd);
}

static void
a_sealed_segment_cannot_be_written(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    int fd = begin(f);

    f->watch.counts = (struct watch_counts){ 0 };
    must(f, segment_seal(f->sys, fd, &f->info, &f->end, f->index));
    sys_call(f->sys, close, fd);
    assert_int_equal(f->watch.counts.log_syncs, 1);
    assert_int_equal(stat(tmpdir_path(f->dir, name_4711), &st), 0);
    assert_int_equal(st.st_mode & 0222, 0);
}

static void
a_seal_that_was_not_synced_leaves_the_file_writable(void **state)
{
    static const char *const calls[] = { "write", "sync" };
    struct fixture *f = *state;
    struct stat st;
    int fd = begin(f);

    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        watchsys_fail(&f->watch, calls[i], NULL, -EIO);
        assert_int_equal(segment_seal(f->sys, fd, &f->info, &f->end, f->index),
                         -EIO);
        assert_int_equal(stat(tmpdir_path(f->dir, name_4711), &st), 0);
        assert_int_not_equal(st.st_mode & 0222, 0);
    }
    sys_call(f->sys, close, fd);
}

/* ---- opening ----------------------------------------------------------- */

static void
a_footer_is_found_when_opened_and_when_looked_for(void **state)
{
    struct fixture *f = *state;
    struct segment *before, *after;
    int fd = begin(f);

    must(f, segment_open(f->sys, f->dir, 4711, &before, &f->err));
    assert_false(before->sealed);
    segment_look_for_footer(before);
    assert_false(before->sealed);
    must(f, segment_seal(f->sys, fd, &f->info, &f->end, f->index));
    sys_call(f->sys, close, fd);
    assert_false(before->sealed);
    segment_look_for_footer(before);
    assert_true(before->sealed);
    must(f, segment_open(f->sys, f->dir, 4711, &after, &f->err));
    assert_true(after->sealed);
    assert_int_equal(after->end.last_position, 5000);
    assert_int_equal(le64_get(after->index[1].position), 4900);
    segment_unref(&before);
    segment_unref(&after);
}

static void
what_cannot_be_opened_says_why(void **state)
{
    struct fixture *f = *state;
    struct segment *segment = NULL;
    uint8_t *zeros = calloc(1, LEN);

    assert_int_equal(segment_open(f->sys, f->dir, 4711, &segment, &f->err),
                     -ENOENT);
    assert_non_null(strstr(f->err.text, name_4711));
    file_write(tmpdir_path(f->dir, name_4711), zeros, LEN - 1);
    assert_int_equal(segment_open(f->sys, f->dir, 4711, &segment, &f->err),
                     -CAIRN_EDAMAGED);
    file_write(tmpdir_path(f->dir, name_4711), zeros, LEN);
    assert_int_equal(segment_open(f->sys, f->dir, 4711, &segment, &f->err),
                     -CAIRN_ENOTLOG);
    segment_header_encode(zeros, &f->info);
    file_write(tmpdir_path(f->dir, "00000000000000004712.log"), zeros, LEN);
    assert_int_equal(segment_open(f->sys, f->dir, 4712, &segment, &f->err),
                     -CAIRN_EDAMAGED);
    assert_non_null(strstr(f->err.text, "position 4711"));
    assert_null(segment);
    assert_int_equal(f->watch.counts.maps, f->watch.counts.unmaps);
    free(zeros);
}

static void
the_code_is_the_same_without_a_place_for_the_reason(void **state)
{
    struct fixture *f = *state;
    struct segment *segment;

    assert_int_equal(segment_open(f->sys, f->dir, 4711, &segment, NULL),
                     -ENOENT);
    watchsys_fail(&f->watch, "open", NULL, -EMFILE);
    assert_int_equal(segment_open(f->sys, f->dir, 4711, &segment, NULL),
                     -EMFILE);
}

static void
a_segment_stays_mapped_until_its_last_reference_is_gone(void **state)
{
    struct fixture *f = *state;
    struct segment *segment, *second;

    sys_call(f->sys, close, begin(f));
    must(f, segment_open(f->sys, f->dir, 4711, &segment, &f->err));
    second = segment_ref(segment);
    segment_unref(&segment);
    assert_null(segment);
    assert_int_equal(f->watch.counts.unmaps, 0);
    assert_memory_equal(second->data, SEGMENT_MAGIC, 8);
    segment_unref(&second);
    assert_int_equal(f->watch.counts.unmaps, 1);
    segment_unref(&second); /* NULL is fine */
}

static void
the_data_area_leaves_room_for_the_largest_index(void **state)
{
    (void)state;
    for (uint64_t len = SEGMENT_LEN_MIN; len <= SEGMENT_LEN_MAX;
         len += len < 1 << 20 ? SEGMENT_LEN_UNIT : UINT64_C(4711) << 12) {
        uint64_t end = segment_data_end(len);
        uint64_t entries = (end + INDEX_STEP - 1) / INDEX_STEP;

        assert_int_equal(end % SECTOR_LEN, 0);
        assert_true(entries <= segment_index_max(len));
        assert_true(sizeof(struct segment_footer) +
                        entries * sizeof(struct index_entry) <=
                    len - end);
    }
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_is_the_first_position_in_twenty_digits),
        cmocka_unit_test(a_path_that_does_not_fit_is_refused),
        TEST(a_header_is_read_as_it_was_written),
        TEST(every_flipped_bit_of_a_header_is_noticed),
        TEST(a_header_that_breaks_a_rule_is_refused),
        TEST(a_newer_format_is_told_from_damage),
        TEST(an_unknown_compatible_feature_is_read_but_not_written),
        TEST(a_footer_is_read_as_it_was_written),
        TEST(every_flipped_bit_of_a_footer_is_noticed),
        TEST(a_footer_that_breaks_a_rule_is_refused),
        TEST(a_prepared_segment_is_allocated_and_zero),
        TEST(a_full_disk_leaves_nothing_of_a_prepared_segment),
        TEST(a_segment_appears_whole_or_not_at_all),
        TEST(a_sealed_segment_cannot_be_written),
        TEST(a_seal_that_was_not_synced_leaves_the_file_writable),
        TEST(a_footer_is_found_when_opened_and_when_looked_for),
        TEST(what_cannot_be_opened_says_why),
        TEST(the_code_is_the_same_without_a_place_for_the_reason),
        TEST(a_segment_stays_mapped_until_its_last_reference_is_gone),
        cmocka_unit_test(the_data_area_leaves_room_for_the_largest_index),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
