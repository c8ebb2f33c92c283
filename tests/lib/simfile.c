/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/simfile.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SECTOR UINT64_C(512)
#define SECTORS_PER_PAGE (SIM_PAGE_LEN / SECTOR)
#define POOL_MAX 64u /* files kept for reuse: fresh memory is slow */

/* All files whose pages a fault may be about. */
static struct simfile *files_in_use;
static struct simfile *pool;
static unsigned pool_count;
static struct sigaction fault_before;
static bool fault_installed;

/* ---- pages that only look clean ---------------------------------------- */

static void
page_protect(struct simfile *file, uint64_t page, bool writable)
{
    if (mprotect(file->cache + page * SIM_PAGE_LEN, SIM_PAGE_LEN,
                 writable ? PROT_READ | PROT_WRITE : PROT_READ) < 0)
        abort();
}

/* A page that was only clean in looks is written to: now it is dirty. */
static void
page_touch(struct simfile *file, uint64_t page)
{
    if (file->pages[page] & SIM_PAGE_STALE) {
        page_protect(file, page, true);
        file->pages[page] &= (uint8_t)~SIM_PAGE_STALE;
    }
    file->pages[page] |= SIM_PAGE_DIRTY;
}

static void
page_make_stale(struct simfile *file, uint64_t page)
{
    file->pages[page] |= SIM_PAGE_STALE;
    file->pages[page] &= (uint8_t)~SIM_PAGE_DIRTY;
    page_protect(file, page, false);
}

static void
on_fault(int signo, siginfo_t *info, void *context)
{
    (void)context;
    for (struct simfile *f = files_in_use; f != NULL; f = f->next) {
        uintptr_t at = (uintptr_t)info->si_addr, start = (uintptr_t)f->cache;
        uint64_t page = (at - start) / SIM_PAGE_LEN;

        if (at >= start && page < SIM_PAGES &&
            (f->pages[page] & SIM_PAGE_STALE) != 0) {
            page_touch(f, page);
            return;
        }
    }
    (void)sigaction(signo, &fault_before, NULL); /* a real one: happens again */
}

/* Test frameworks put handlers of their own in between: ask each time. */
static void
catch_faults(void)
{
    struct sigaction now,
        ours = { .sa_sigaction = on_fault,
                 .sa_flags = SA_SIGINFO | SA_NODEFER };

    if (sigaction(SIGSEGV, NULL, &now) < 0)
        abort();
    if (fault_installed && now.sa_sigaction == on_fault)
        return;
    if (sigaction(SIGSEGV, &ours, &fault_before) < 0)
        abort();
    fault_installed = true;
}

/* ---- life -------------------------------------------------------------- */

static uint8_t *
image_make(void)
{
    void *data = mmap(NULL, SIM_FILE_MAX, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (data == MAP_FAILED)
        abort();
    return data;
}

static uint64_t
pages_of(uint64_t len)
{
    return (len + SIM_PAGE_LEN - 1) / SIM_PAGE_LEN;
}

static void
unprotect_all(struct simfile *file)
{
    for (uint64_t p = 0; p < pages_of(file->high); p++)
        if (file->pages[p] & SIM_PAGE_STALE)
            page_protect(file, p, true);
}

struct simfile *
simfile_make(void)
{
    struct simfile *file = pool;

    if (file != NULL) {
        pool = file->next;
        pool_count--;
    } else {
        file = calloc(1, sizeof *file);
        if (file == NULL)
            abort();
        file->cache = image_make();
        file->device = image_make();
        file->platter = image_make();
    }
    file->lock_fd = -1;
    file->altered = true;
    file->next = files_in_use;
    files_in_use = file;
    return file;
}

void
simfile_free(struct simfile **file)
{
    struct simfile *f = *file, **link = &files_in_use;
    struct simfile fresh = { 0 };

    *file = NULL;
    while (*link != f)
        link = &(*link)->next;
    *link = f->next;
    unprotect_all(f);
    free(f->at_kill);
    free(f->saved);
    if (pool_count == POOL_MAX) {
        (void)munmap(f->cache, SIM_FILE_MAX);
        (void)munmap(f->device, SIM_FILE_MAX);
        (void)munmap(f->platter, SIM_FILE_MAX);
        free(f);
        return;
    }
    memset(f->cache, 0, f->high);
    memset(f->device, 0, f->high);
    memset(f->platter, 0, f->high);
    fresh.cache = f->cache;
    fresh.device = f->device;
    fresh.platter = f->platter;
    fresh.next = pool;
    *f = fresh;
    pool = f;
    pool_count++;
}

/* ---- what processes do ------------------------------------------------- */

static void
grow_high(struct simfile *file, uint64_t end)
{
    if (end > file->high)
        file->high = end;
}

void
simfile_empty(struct simfile *file)
{
    unprotect_all(file);
    for (uint64_t p = 0; p < pages_of(file->high); p++)
        file->pages[p] = SIM_PAGE_ON_WAY; /* zeros, where the platter is not */
    memset(file->cache, 0, file->high);
    memset(file->device, 0, file->high);
    file->len = 0;
    file->emptied = true;
    file->altered = true;
}

void
simfile_extend(struct simfile *file, uint64_t len)
{
    if (len > file->len)
        file->len = len;
    grow_high(file, len);
    file->altered = true;
}

void
simfile_write(struct simfile *file, const void *data, uint64_t len,
              uint64_t offset)
{
    if (len == 0)
        return;
    simfile_extend(file, offset + len);
    for (uint64_t p = offset / SIM_PAGE_LEN; p < pages_of(offset + len); p++)
        page_touch(file, p);
    memcpy(file->cache + offset, data, len);
}

/* ---- write-back -------------------------------------------------------- */

/* Stores through a map do not say what they touch: look. */
static void
find_stores(struct simfile *file)
{
    if (file->writable_maps == 0)
        return;
    for (uint64_t p = 0; p < pages_of(file->len); p++)
        if ((file->pages[p] & (SIM_PAGE_STALE | SIM_PAGE_DIRTY)) == 0 &&
            memcmp(file->cache + p * SIM_PAGE_LEN,
                   file->device + p * SIM_PAGE_LEN, SIM_PAGE_LEN) != 0)
            page_touch(file, p);
}

void
simfile_map(struct simfile *file, bool writable)
{
    file->maps++;
    if (writable) {
        file->writable_maps++;
        file->altered = true;
    }
}

void
simfile_unmap(struct simfile *file, bool writable)
{
    find_stores(file);
    file->maps--;
    if (writable)
        file->writable_maps--;
}

static void
page_flush(struct simfile *file, uint64_t page)
{
    uint64_t at = page * SIM_PAGE_LEN;

    if ((file->pages[page] & SIM_PAGE_DIRTY) == 0)
        return;
    memcpy(file->device + at, file->cache + at, SIM_PAGE_LEN);
    file->pages[page] &= (uint8_t)~SIM_PAGE_DIRTY;
    file->pages[page] |= SIM_PAGE_ON_WAY;
}

void
simfile_flush(struct simfile *file, uint64_t offset, uint64_t len)
{
    uint64_t end = offset + len < file->len ? offset + len : file->len;

    find_stores(file);
    for (uint64_t p = offset / SIM_PAGE_LEN; p < pages_of(end); p++)
        page_flush(file, p);
}

void
simfile_sync_part(struct simfile *file, uint64_t offset, uint64_t len)
{
    find_stores(file);
    for (uint64_t p = offset / SIM_PAGE_LEN; p < pages_of(offset + len); p++) {
        uint64_t at = p * SIM_PAGE_LEN;

        page_flush(file, p);
        if (file->pages[p] & SIM_PAGE_ON_WAY) {
            memcpy(file->platter + at, file->device + at, SIM_PAGE_LEN);
            file->pages[p] &= (uint8_t)~SIM_PAGE_ON_WAY;
        }
    }
    file->altered = true;
}

void
simfile_sync(struct simfile *file)
{
    simfile_sync_part(file, 0, file->high);
    file->durable_len = file->len;
    file->emptied = false;
}

void
simfile_sync_badly(struct simfile *file, uint64_t offset, uint64_t len,
                   struct rng *rng)
{
    find_stores(file);
    for (uint64_t p = offset / SIM_PAGE_LEN; p < pages_of(offset + len); p++) {
        if ((file->pages[p] & SIM_PAGE_DIRTY) == 0)
            continue;
        for (uint64_t i = 0; i < SECTORS_PER_PAGE; i++) {
            uint64_t at = p * SIM_PAGE_LEN + i * SECTOR;

            if (rng_one_in(rng, 4))
                memcpy(file->device + at, file->cache + at, SECTOR);
        }
        file->pages[p] |= SIM_PAGE_ON_WAY;
        catch_faults();
        page_make_stale(file, p);
    }
    file->altered = true;
}

void
simfile_leak(struct simfile *file, struct rng *rng)
{
    uint64_t page, at;
    uint8_t *flags;

    if (file->len == 0)
        return;
    find_stores(file);
    page = rng_below(rng, pages_of(file->len));
    flags = &file->pages[page];
    at = page * SIM_PAGE_LEN + rng_below(rng, SECTORS_PER_PAGE) * SECTOR;
    if (*flags & SIM_PAGE_DIRTY) { /* it stays dirty: only a part has gone */
        memcpy(file->device + at, file->cache + at, SECTOR);
        *flags |= SIM_PAGE_ON_WAY;
    }
    if ((*flags & SIM_PAGE_ON_WAY) && !file->emptied && rng_one_in(rng, 2)) {
        memcpy(file->platter + at, file->device + at, SECTOR);
        if (at + SECTOR > file->durable_len)
            file->durable_len =
                at + SECTOR < file->len ? at + SECTOR : file->len;
    }
}

/* ---- power cuts -------------------------------------------------------- */

/* A sector that was caught between two stores. */
static void
mix_words(uint8_t *platter, const uint8_t *cache, struct rng *rng)
{
    for (uint64_t at = 0; at < SECTOR; at += 16) {
        if (memcmp(platter + at, cache + at, 16) == 0)
            continue;
        switch (rng_below(rng, 3)) {
        case 0:
            memcpy(platter + at + 8, cache + at + 8, 8);
            break;
        case 1:
            memcpy(platter + at, cache + at, 16);
            break;
        default:
            break;
        }
    }
}

static void
sector_cut(struct simfile *file, uint64_t page, uint64_t at, unsigned odds,
           struct rng *rng)
{
    bool stored = file->writable_maps > 0;

    if ((file->pages[page] & SIM_PAGE_ON_WAY) && rng_below(rng, 8) < odds)
        memcpy(file->platter + at, file->device + at, SECTOR);
    if (!(file->pages[page] & SIM_PAGE_DIRTY) || rng_below(rng, 8) >= odds)
        return;
    if (stored && rng_one_in(rng, 2))
        mix_words(file->platter + at, file->cache + at, rng);
    else
        memcpy(file->platter + at, file->cache + at, SECTOR);
}

void
simfile_cut(struct simfile *file, struct rng *rng)
{
    /* How much gets through: for a whole file, so that nothing, everything
     * and all but one sector are as likely as they are with real disks. */
    static const unsigned odds_of[] = { 0, 1, 4, 7, 8 };
    unsigned odds = odds_of[rng_below(rng, 5)];
    uint64_t len = file->len;

    find_stores(file);
    if (file->emptied) {
        if (rng_one_in(rng, 2)) /* as if it had not been opened at all */
            return;
        memset(file->platter, 0, file->high);
        file->durable_len = 0;
    }
    if (len > file->durable_len) {
        uint64_t sectors = (len - file->durable_len + SECTOR - 1) / SECTOR;

        switch (rng_below(rng, 3)) {
        case 0:
            len = file->durable_len;
            break;
        case 1:
            len = file->durable_len + rng_below(rng, sectors) * SECTOR;
            break;
        default:
            break;
        }
    }
    for (uint64_t p = 0; p < pages_of(len); p++)
        if (file->pages[p] & (SIM_PAGE_DIRTY | SIM_PAGE_ON_WAY))
            for (uint64_t i = 0; i < SECTORS_PER_PAGE; i++)
                sector_cut(file, p, p * SIM_PAGE_LEN + i * SECTOR, odds, rng);
    if (len < file->high)
        memset(file->platter + len, 0, file->high - len);
    file->durable_len = len;
}

static void
set_all(struct simfile *file, const uint8_t *data, uint64_t len)
{
    uint64_t high = file->high > len ? file->high : len;
    uint8_t *places[] = { file->cache, file->device, file->platter };

    unprotect_all(file);
    for (int i = 0; i < 3; i++) {
        if (places[i] != data)
            memcpy(places[i], data, len);
        memset(places[i] + len, 0, high - len);
    }
    memset(file->pages, 0, pages_of(high));
    file->high = file->len = file->durable_len = len;
    file->emptied = false;
}

void
simfile_power_on(struct simfile *file)
{
    bool clean = !file->emptied && file->len == file->durable_len;

    for (uint64_t p = 0; clean && p < pages_of(file->high); p++)
        clean = file->pages[p] == 0;
    if (!clean)
        set_all(file, file->platter, file->durable_len);
    free(file->at_kill);
    file->at_kill = NULL;
    file->lock_fd = -1;
    file->altered = true;
}

void
simfile_kill(struct simfile *file)
{
    if (file->writable_maps == 0 || file->at_kill != NULL)
        return;
    find_stores(file);
    file->at_kill = malloc(file->len);
    if (file->at_kill == NULL)
        abort();
    memcpy(file->at_kill, file->cache, file->len);
    for (uint64_t p = 0; p < pages_of(file->len); p++)
        if (file->pages[p] & SIM_PAGE_STALE)
            file->pages[p] |= SIM_PAGE_AT_KILL;
}

void
simfile_revive(struct simfile *file)
{
    if (file->at_kill == NULL)
        return;
    unprotect_all(file);
    memcpy(file->cache, file->at_kill, file->len);
    free(file->at_kill);
    file->at_kill = NULL;
    for (uint64_t p = 0; p < pages_of(file->len); p++) {
        bool stale = file->pages[p] & SIM_PAGE_AT_KILL;

        file->pages[p] &= (uint8_t) ~(SIM_PAGE_AT_KILL | SIM_PAGE_STALE);
        if (stale)
            page_make_stale(file, p);
    }
}

/* ---- for tests that change bytes --------------------------------------- */

void
simfile_save(struct simfile *file)
{
    free(file->saved);
    file->saved = malloc(file->len + 1);
    if (file->saved == NULL)
        abort();
    memcpy(file->saved, file->cache, file->len);
    file->saved_len = file->len;
    file->saved_read_only = file->read_only;
    file->altered = false;
}

void
simfile_restore(struct simfile *file)
{
    if (file->altered)
        set_all(file, file->saved, file->saved_len);
    file->read_only = file->saved_read_only;
    file->altered = false;
}

void
simfile_poke(struct simfile *file, uint64_t offset, const void *data,
             uint64_t len)
{
    uint8_t *places[] = { file->cache, file->device, file->platter };

    for (int i = 0; i < 3; i++)
        memcpy(places[i] + offset, data, len);
    file->altered = true;
}
