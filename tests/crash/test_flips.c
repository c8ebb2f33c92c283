/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Every bit of a small log flipped in turn: `cairn log verify` notices each,
 * and the writer never opens it as if nothing were wrong with what it holds.
 *
 * Where the log holds data, every bit is tried; in the zeros between the data
 * and the footer, one bit of every eighth byte.  A sanitizer makes each try many times
 * slower and looks at the code, not at the bits: then one in STEP is tried.
 */
#include "lib/cmocka.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/logfix.h"
#include "lib/tmpdir.h"
#include "store/verify.h"

#define FIRST "00000000000000000001.log"
#define LEN ((size_t)SEGMENT_LEN_MIN)

#ifdef __SANITIZE_ADDRESS__
#define STEP 31u
#else
#define STEP 1u
#endif

struct fixture {
    struct logfix fix;
    uint8_t *file; /* the segment, shared */
    size_t used;   /* up to here there is data */
};

static const struct appender_options small = {
    .segment_len = SEGMENT_LEN_MIN,
    .group_len_max = 16384,
    .checkpoint_bytes = 1 << 20,
    .table_slots = TABLE_SLOTS_MIN,
};

static void
begin(struct fixture *f, bool sealed)
{
    static const struct event_text events[] = {
        { "a-1", "T", "data", "meta", { "x:1", "y:2" } },
        { "b-1", "U", "more data than the one before", NULL, { "x:1" } },
    };
    const char *path;
    int fd;

    logfix_open(&f->fix, &sys_real, &small);
    for (uint8_t i = 1; i <= 3; i++) {
        (void)logfix_append(&f->fix, (struct uuid){ { i } }, NULL, 0, events,
                            2);
        logfix_sync(&f->fix);
    }
    while (sealed && evlog_segment_count(appender_log(f->fix.appender)) < 2) {
        (void)logfix_put(&f->fix, "c-1", 15000);
        logfix_sync(&f->fix);
    }
    logfix_jobs(&f->fix);
    logfix_stop(&f->fix);
    path = tmpdir_path(logfix_dir(&f->fix), FIRST);
    assert_int_equal(chmod(path, 0600), 0);
    fd = open(path, O_RDWR);
    f->file = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(fd >= 0 && f->file != MAP_FAILED);
    close(fd);
    f->used = 0;
    for (size_t i = 0; i < (size_t)segment_data_end(LEN); i++)
        if (f->file[i] != 0)
            f->used = i + 1;
    /* The bodies of the large events need not be tried bit by bit. */
    if (f->used > 4096)
        f->used = 4096;
}

static void
end(struct fixture *f)
{
    assert_int_equal(munmap(f->file, LEN), 0);
    logfix_close(&f->fix);
}

static void
finding(void *arg, const struct verify_finding *f)
{
    (void)arg;
    assert_true(f->segment[0] != '\0' && f->what[0] != '\0');
}

static bool
noticed(struct fixture *f)
{
    static const struct verify_events events = { .finding = finding };
    struct verify_report report;
    struct err err;
    int rc = log_verify(&sys_real, logfix_dir(&f->fix), false, &events, &report,
                        &err);

    return rc < 0 || report.findings > 0 || report.unfinished;
}

static void
try_bit(struct fixture *f, size_t byte, unsigned bit)
{
    if ((byte * 8 + bit) % STEP != 0)
        return;
    f->file[byte] ^= (uint8_t)(1u << bit);
    if (!noticed(f))
        fail_msg("bit %u of byte %zu is flipped, and nothing is found", bit,
                 byte);
    f->file[byte] ^= (uint8_t)(1u << bit);
}

static void
try_all(bool sealed)
{
    struct fixture f;
    size_t foot = (size_t)segment_data_end(LEN);

    begin(&f, sealed);
    assert_false(noticed(&f));
    for (size_t byte = 0; byte < LEN; byte++)
        if (byte < f.used || (sealed && byte >= foot && byte < foot + 256))
            for (unsigned bit = 0; bit < 8; bit++)
                try_bit(&f, byte, bit);
        else if (byte % 8 == 0)
            try_bit(&f, byte, (unsigned)(byte / 8 % 8));
    assert_false(noticed(&f));
    end(&f);
}

static void
every_bit_of_a_growing_segment(void **state)
{
    (void)state;
    try_all(false);
}

static void
every_bit_of_a_sealed_segment(void **state)
{
    (void)state;
    try_all(true);
}

/* Recovery: a flipped bit in durable data never opens as if it were whole. */
static void
no_bit_of_the_last_group_is_taken_for_another(void **state)
{
    struct fixture f;
    size_t last = 0;

    (void)state;
    begin(&f, false);
    for (size_t at = SECTOR_LEN; at < f.used;) {
        last = at;
        at += le32_get(((struct group_header *)(f.file + at))->group_len);
    }
    for (size_t byte = last; byte < f.used; byte += 3) {
        uint8_t before[1024];

        assert_true(f.used - last <= sizeof before);
        memcpy(before, f.file + last, f.used - last);
        f.file[byte] ^= 1;
        assert_int_equal(logfix_reopen(&f.fix), -CAIRN_EAMBIGUOUS);
        f.file[byte] ^= 1;
        assert_memory_equal(before, f.file + last, f.used - last);
    }
    assert_int_equal(logfix_reopen(&f.fix), 0);
    assert_int_equal(appender_watermark(f.fix.appender), 6);
    end(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bit_of_a_growing_segment),
        cmocka_unit_test(every_bit_of_a_sealed_segment),
        cmocka_unit_test(no_bit_of_the_last_group_is_taken_for_another),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
