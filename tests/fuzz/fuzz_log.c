/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A whole log of one segment: `cairn log verify`, reading, and recovery, as
 * they meet a directory that anybody may have written.
 *
 * Input: a byte, the length of the footer area (2 bytes), the footer area,
 * the segment from its first byte on; all else is zeros.  Bits of the byte:
 * 0: put the checksums right, 1: accept tail loss.
 */
#include "fuzz/input.h"

#include <stdio.h>
#include <stdlib.h>

#include "lib/bytefix.h"
#include "store/appender.h"
#include "store/verify.h"

#define FILE_LEN SEGMENT_LEN_MIN

static void
finding(void *arg, const struct verify_finding *f)
{
    (void)arg;
    input_must(
        f->segment[0] != '\0' && f->what[0] != '\0' &&
            (f->last_position == 0 || f->first_position <= f->last_position),
        "a finding says where and what");
}

static void
progress(void *arg, uint64_t done, uint64_t all, uint64_t position)
{
    (void)arg, (void)done, (void)all, (void)position;
}

/* Reads all of it, as a publisher would; returns how many events came. */
static uint64_t
read_all(const char *dir, uint64_t watermark)
{
    struct evlog *log = NULL;
    struct cursor cursor;
    struct event event;
    struct err err;
    uint64_t count = 0;

    if (evlog_open(&sys_real, dir, &log, &err) < 0)
        return 0;
    if (evlog_seek(log, 1, watermark, &cursor, &err) == 0)
        while (evlog_next(log, &cursor, watermark, &event, &err) == 1)
            count++;
    evlog_close(&log);
    return count;
}

static void
recover(const char *dir, bool accept_tail_loss, const struct verify_report *r)
{
    struct appender_options options = appender_defaults;
    struct appender *appender = NULL;
    struct recovery_report report;
    char log_dir[256], control[256];
    uint64_t watermark;
    struct err err;
    int rc;

    (void)snprintf(log_dir, sizeof log_dir, "%s/log", dir);
    (void)snprintf(control, sizeof control, "%s/control", dir);
    options.segment_len = FILE_LEN;
    options.group_len_max = 16384;
    options.table_slots = TABLE_SLOTS_MIN;
    options.accept_tail_loss = accept_tail_loss;
    rc = appender_open(&sys_real, log_dir, control, &options, NULL, NULL,
                       &report, &appender, &err);
    if (rc < 0) {
        input_must(err.text[0] != '\0', "a refusal says why");
        return;
    }
    watermark = appender_watermark(appender);
    if (r->findings == 0 && !accept_tail_loss && !report.created)
        input_must(watermark == r->last_position,
                   "recovery keeps what verify finds good");
    rc = appender_close(&appender, &err);
    if (r->findings == 0 && rc == 0)
        input_must(read_all(log_dir, watermark) == watermark,
                   "what was recovered can be read");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const struct verify_events events = { NULL, finding, progress };
    struct input input = { data, len };
    uint64_t flags = input_number(&input, 1);
    size_t footer_len = (size_t)input_number(&input, 2);
    size_t data_end = (size_t)segment_data_end(FILE_LEN);
    struct input footer = input_part(&input, footer_len);
    const char *dir = input_dir();
    uint8_t *file = calloc(1, FILE_LEN);
    struct verify_report report = { 0 };
    char log_dir[256];
    struct err err;
    int rc;

    input_must(file != NULL, "memory");
    if (input.left > data_end)
        input.left = data_end;
    if (footer.left > FILE_LEN - data_end)
        footer.left = FILE_LEN - data_end;
    if (input.left > 0)
        memcpy(file, input.p, input.left);
    if (footer.left > 0)
        memcpy(file + data_end, footer.p, footer.left);
    if (flags & 1)
        reseal_segment(file, FILE_LEN);
    (void)snprintf(log_dir, sizeof log_dir, "%s/log", dir);
    input_must(sys_call(&sys_real, make_dir, log_dir) == 0, "a directory");
    input_write(log_dir, "00000000000000000001.log",
                (struct input){ file, FILE_LEN }, (struct input){ NULL, 0 },
                FILE_LEN);
    free(file);
    rc = log_verify(&sys_real, log_dir, false, &events, &report, &err);
    if (rc < 0)
        report.findings = 1;
    recover(dir, (flags & 2) != 0, &report);
    return 0;
}
