/* SPDX-License-Identifier: MPL-2.0 */
#include "store/control.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include <sodium.h>

#include "base/bytes.h"

#define CONTROL_MAGIC UINT64_C(0x4c54434e52494143) /* "CAIRNCTL" */
#define CONTROL_VERSION UINT64_C(1)

struct page {
    _Atomic uint64_t magic, version;
    struct uuid log_id;
    _Atomic uint64_t epoch, state, watermark, table_generation;
    _Atomic uint64_t writer_pid, started_us, time_us;
    _Atomic uint64_t counters[COUNT_COUNTERS];
    _Atomic uint64_t index_end;
};

_Static_assert(offsetof(struct page, epoch) == 32, "layout");
_Static_assert(offsetof(struct page, counters) == 88, "layout");
_Static_assert(offsetof(struct page, index_end) == 216, "layout");
_Static_assert(sizeof(struct page) <= CONTROL_LEN, "layout");

struct control {
    const struct sys *sys;
    struct page *page;
};

bool
control_valid(const uint8_t *data)
{
    uint64_t magic, version;

    memcpy(&magic, data, sizeof magic);
    memcpy(&version, data + offsetof(struct page, version), sizeof version);
    return magic == CONTROL_MAGIC && version == CONTROL_VERSION;
}

static uint64_t
load(const _Atomic uint64_t *word)
{
    return atomic_load_explicit(word, memory_order_acquire);
}

static void
store(_Atomic uint64_t *word, uint64_t value)
{
    atomic_store_explicit(word, value, memory_order_release);
}

static int
map_page(const struct sys *sys, const char *path, bool writable,
         struct control **ret_control, struct err *err)
{
    static const uint8_t zeros[CONTROL_LEN];
    struct control *control;
    uint64_t len = 0;
    void *data = NULL;
    int fd = sys_call(sys, open, path, writable ? SYS_KEEP : SYS_READ);
    int rc = fd < 0 ? fd : sys_call(sys, length, fd, &len);

    if (rc == 0 && writable) {
        rc = sys_call(sys, allocate, fd, CONTROL_LEN);
        if (rc == 0 && len < CONTROL_LEN)
            rc = sys_call(sys, write, fd, zeros, sizeof zeros, 0);
    } else if (rc == 0 && len < CONTROL_LEN) {
        rc = -ENOENT; /* being made just now */
    }
    if (rc == 0)
        rc = sys_call(sys, map, fd, CONTROL_LEN, writable, &data);
    if (fd >= 0)
        sys_call(sys, close, fd);
    if (rc < 0)
        return err_sys(err, rc, "control page %s", path);
    control = malloc(sizeof *control);
    if (control == NULL) {
        sys_call(sys, unmap, data, CONTROL_LEN);
        return err_sys(err, -ENOMEM, "control page %s", path);
    }
    *control = (struct control){ .sys = sys, .page = data };
    *ret_control = control;
    return 0;
}

int
control_create(const struct sys *sys, const char *path, struct uuid log_id,
               struct control **ret_control, struct err *err)
{
    struct control *control;
    struct page *page;
    int rc = map_page(sys, path, true, &control, err);

    if (rc < 0)
        return rc;
    page = control->page;
    if (!control_valid((const uint8_t *)page) ||
        !uuid_equal(page->log_id, log_id)) {
        uint64_t epoch;

        /* Readers of an earlier log see the epoch change first; who opens
         * the page now finds none, until the magic is back. */
        randombytes_buf(&epoch, sizeof epoch);
        store(&page->epoch, epoch);
        store(&page->magic, 0);
        store(&page->watermark, 0);
        store(&page->table_generation, 0);
        store(&page->started_us, 0);
        store(&page->index_end, 0);
        page->log_id = log_id;
        store(&page->version, CONTROL_VERSION);
        store(&page->magic, CONTROL_MAGIC);
    }
    for (int i = 0; i < COUNT_COUNTERS; i++)
        store(&page->counters[i], 0);
    store(&page->writer_pid, (uint64_t)getpid());
    store(&page->state, CONTROL_RECOVERING);
    *ret_control = control;
    return 0;
}

int
control_open(const struct sys *sys, const char *path,
             struct control **ret_control, struct err *err)
{
    struct control *control;
    int rc = map_page(sys, path, false, &control, err);

    if (rc < 0)
        return rc;
    if (load(&control->page->magic) == 0) {
        control_close(&control);
        return err_sys(err, -ENOENT, "control page %s", path);
    }
    if (!control_valid((const uint8_t *)control->page)) {
        control_close(&control);
        return err_set(err, -CAIRN_EFORMAT,
                       "control page %s: no control page, or one of another "
                       "version of cairn",
                       path);
    }
    *ret_control = control;
    return 0;
}

void
control_close(struct control **control)
{
    struct control *c = *control;

    *control = NULL;
    if (c == NULL)
        return;
    sys_call(c->sys, unmap, c->page, CONTROL_LEN);
    free(c);
}

struct uuid
control_log_id(const struct control *control)
{
    return control->page->log_id;
}

uint64_t
control_epoch(const struct control *control)
{
    return load(&control->page->epoch);
}

enum control_state
control_state(const struct control *control)
{
    return (enum control_state)load(&control->page->state);
}

uint64_t
control_watermark(const struct control *control)
{
    return load(&control->page->watermark);
}

uint64_t
control_table_generation(const struct control *control)
{
    return load(&control->page->table_generation);
}

uint64_t
control_writer_pid(const struct control *control)
{
    return load(&control->page->writer_pid);
}

uint64_t
control_started_us(const struct control *control)
{
    return load(&control->page->started_us);
}

uint64_t
control_time_us(const struct control *control)
{
    return load(&control->page->time_us);
}

uint64_t
control_index_end(const struct control *control)
{
    return load(&control->page->index_end);
}

uint64_t
control_counter(const struct control *control, enum control_counter counter)
{
    return load(&control->page->counters[counter]);
}

void
control_set_state(struct control *control, enum control_state state)
{
    store(&control->page->state, state);
}

void
control_set_watermark(struct control *control, uint64_t position,
                      uint64_t time_us)
{
    store(&control->page->time_us, time_us);
    store(&control->page->watermark, position);
}

void
control_set_table_generation(struct control *control, uint64_t generation)
{
    store(&control->page->table_generation, generation);
}

void
control_set_epoch(struct control *control, uint64_t epoch)
{
    store(&control->page->epoch, epoch);
}

void
control_set_index_end(struct control *control, uint64_t position)
{
    store(&control->page->index_end, position);
}

void
control_set_started(struct control *control, uint64_t pid, uint64_t started_us)
{
    store(&control->page->writer_pid, pid);
    store(&control->page->started_us, started_us);
}

void
control_count(struct control *control, enum control_counter counter,
              uint64_t more)
{
    _Atomic uint64_t *word = &control->page->counters[counter];

    store(word, atomic_load_explicit(word, memory_order_relaxed) + more);
}
