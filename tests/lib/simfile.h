/* SPDX-License-Identifier: MPL-2.0 */
/*
 * simfile - the bytes of one file of a simulated disk (simdisk.h), in the
 * three places where they can be:
 *
 *     cache     what processes read, write and map
 *     device    what a read past the cache finds; lost with the power
 *     platter   what is there after a power cut, if nothing else got through
 *
 * A page of the cache is dirty if it differs from the device and a write or a
 * store through a map has touched it since it was last written back.  A sync
 * that fails marks the dirty pages clean all the same: then they differ, and
 * no later sync writes them, until somebody touches them again (what ext4,
 * XFS and Btrfs do).  Stores through maps are noticed by protecting such
 * pages, as the kernel does it.
 *
 * After a power cut each sector of 512 bytes holds any of what its three
 * places held.  Of a file that stores through a map reach, also part of a
 * sector may have arrived: each aligned pair of 8-byte words as it was, as it
 * is, or its second word only.
 *
 * Threads: one, as there is a signal handler for the whole process.
 */
#ifndef CAIRN_TESTS_SIMFILE_H
#define CAIRN_TESTS_SIMFILE_H

#include "lib/rng.h"

#define SIM_FILE_MAX (UINT64_C(1) << 20)
#define SIM_PAGE_LEN UINT64_C(4096)
#define SIM_PAGES (SIM_FILE_MAX / SIM_PAGE_LEN)

struct simfile {
    uint8_t *cache, *device, *platter; /* SIM_FILE_MAX bytes each */
    uint64_t len;                      /* as processes see it */
    uint64_t durable_len;
    uint64_t high;      /* bytes that may be other than zero in any place */
    bool emptied;       /* since the last sync; the platter has what was */
    bool altered;       /* for simdisk_restore() */
    bool read_only;     /* its mode */
    uint8_t *at_kill;   /* what the cache held when its writer was killed */
    uint8_t *saved;     /* for simdisk_restore(): its bytes */
    uint64_t saved_len; /* and how many */
    bool saved_read_only;
    int lock_fd; /* that holds the lock; -1: none */
    unsigned fds, maps, writable_maps;
    uint8_t pages[SIM_PAGES]; /* SIM_PAGE_... */
    struct simfile *next;     /* all files of the process */
};

enum {
    SIM_PAGE_DIRTY = 1,    /* to be written to the device */
    SIM_PAGE_ON_WAY = 2,   /* on the device, maybe not on the platter */
    SIM_PAGE_STALE = 4,    /* clean, and yet not on the device */
    SIM_PAGE_AT_KILL = 64, /* was stale when its writer was killed */
};

struct simfile *simfile_make(void);

/* Gives its memory back; sets *file to NULL. */
void simfile_free(struct simfile **file);

/* Empties it, in the cache; a sync makes that durable. */
void simfile_empty(struct simfile *file);

/* Writes below SIM_FILE_MAX, into the cache. */
void simfile_write(struct simfile *file, const void *data, uint64_t len,
                   uint64_t offset);

/* Makes it longer, by zeros. */
void simfile_extend(struct simfile *file, uint64_t len);

/* Somebody maps its cache, or no longer does. */
void simfile_map(struct simfile *file, bool writable);
void simfile_unmap(struct simfile *file, bool writable);

/* Cache to device, except what only looks clean, for a range of bytes. */
void simfile_flush(struct simfile *file, uint64_t offset, uint64_t len);

/* The whole file becomes durable, except what only looks clean. */
void simfile_sync(struct simfile *file);

/* The same for its pages from an offset on; neither length nor emptiness. */
void simfile_sync_part(struct simfile *file, uint64_t offset, uint64_t len);

/* Some of these become durable, and all of them look clean from now on. */
void simfile_sync_badly(struct simfile *file, uint64_t offset, uint64_t len,
                        struct rng *rng);

/* Something is written back early, or moves on to the platter. */
void simfile_leak(struct simfile *file, struct rng *rng);

/* Chooses what the platter holds after a power cut, and its length. */
void simfile_cut(struct simfile *file, struct rng *rng);

/* All places hold what the platter does; nobody has it open. */
void simfile_power_on(struct simfile *file);

/* The process that stores through a map dies now; later its last stores,
 * which it never made, are taken back. */
void simfile_kill(struct simfile *file);
void simfile_revive(struct simfile *file);

/* Remembers its bytes, which are durable, and brings them back. */
void simfile_save(struct simfile *file);
void simfile_restore(struct simfile *file);

/* Changes bytes in all three places. */
void simfile_poke(struct simfile *file, uint64_t offset, const void *data,
                  uint64_t len);

#endif
