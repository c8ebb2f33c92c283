/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The control page, as a reader and as the next writer finds it.
 *
 * Input: the bytes of the page.
 */
#include "fuzz/input.h"

#include <stdio.h>

#include "store/control.h"

static uint64_t
read_page(const struct control *control)
{
    uint64_t sum = control_epoch(control) + control_state(control) +
        control_watermark(control) + control_table_generation(control) +
        control_writer_pid(control) + control_started_us(control) +
        control_time_us(control);

    for (unsigned i = 0; i < COUNT_COUNTERS; i++)
        sum += control_counter(control, i);
    return sum;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static volatile uint64_t sum;
    struct input input = { data, len };
    const char *dir = input_dir();
    struct control *control = NULL;
    struct uuid log_id = { { 0 } };
    struct err err;
    char path[256];

    input_write(dir, "control", input, (struct input){ NULL, 0 },
                len < CONTROL_LEN ? len : CONTROL_LEN);
    (void)snprintf(path, sizeof path, "%s/control", dir);
    if (control_open(&sys_real, path, &control, &err) == 0) {
        sum = read_page(control);
        log_id = control_log_id(control);
        control_close(&control);
    }
    if (control_create(&sys_real, path, log_id, &control, &err) == 0) {
        input_must(control_state(control) == CONTROL_RECOVERING,
                   "a new writer says that it recovers");
        control_close(&control);
        input_must(control_open(&sys_real, path, &control, &err) == 0,
                   "what a writer made can be opened");
        control_close(&control);
    }
    return 0;
}
