/* SPDX-License-Identifier: MPL-2.0 */
/*
 * simdisk - a disk in memory behind `struct sys`, that loses power, fails and
 * fills up as a test wants it; everything follows from its seed.
 *
 * What it does to the bytes of a file is told in simfile.h.  Of a directory,
 * a power cut leaves what was synced and any part of the creations, renames
 * and removals since: those before some moment, or some of them whatever
 * their order.  A rename is never half done.
 *
 * A failed sync of a directory loses nothing: file systems that cannot write
 * their journal stop for good, and there is nothing that a program could do.
 *
 * Several processes may use a disk; each has its own descriptors and maps.
 * One that is killed keeps them until its handles are closed, but each of its
 * calls fails and changes nothing; so a test closes its handles as always.
 *
 * What no real disk allows ends the test at once: to empty or shorten a file
 * that is mapped, to map beyond the end of one, to read past the cache
 * without alignment.
 *
 * Threads: one.
 */
#ifndef CAIRN_TESTS_SIMDISK_H
#define CAIRN_TESTS_SIMDISK_H

#include "lib/rng.h"
#include "store/sys.h"

#define SIM_PROCESSES 3u

/* Where the tests put things.  What lies in SIM_RUN goes with the power. */
#define SIM_DATA "/data"
#define SIM_RUN "/run"
#define SIM_LOG SIM_DATA "/log"
#define SIM_CONTROL SIM_RUN "/control"

/* The calls that can fail. */
enum sim_call {
    SIM_OPEN,
    SIM_READ,
    SIM_WRITE,
    SIM_SYNC,
    SIM_ALLOCATE,
    SIM_LENGTH,
    SIM_PROTECT,
    SIM_LOCK,
    SIM_RENAME,
    SIM_REMOVE,
    SIM_MAKE_DIR,
    SIM_SYNC_DIR,
    SIM_LIST,
    SIM_MAP,
    SIM_SYNC_MAP,
    SIM_WRITE_BACK,
    SIM_CALLS /* how many kinds there are */
};

const char *sim_call_name(enum sim_call call);

struct simdisk;

/* Makes a disk with empty directories SIM_DATA and SIM_RUN. */
struct simdisk *simdisk_make(uint64_t seed);

/* Sets *disk to NULL; whatever is open on it is of no use any more. */
void simdisk_free(struct simdisk **disk);

/* The system calls of one process, below SIM_PROCESSES. */
const struct sys *simdisk_sys(struct simdisk *disk, unsigned process);

/* ---- power ------------------------------------------------------------- */

/* The power goes out in this call, or in the `calls`-th from now; 0: never. */
void simdisk_cut(struct simdisk *disk);
void simdisk_cut_after(struct simdisk *disk, uint64_t calls);
bool simdisk_is_off(const struct simdisk *disk);

/* Power is back.  Everything must be closed. */
void simdisk_power_on(struct simdisk *disk);

/* The same with the life of one process. */
void simdisk_kill(struct simdisk *disk, unsigned process);
void simdisk_kill_after(struct simdisk *disk, unsigned process, uint64_t calls);
bool simdisk_is_dead(const struct simdisk *disk, unsigned process);
void simdisk_revive(struct simdisk *disk, unsigned process);

/*
 * Calls look() before every call of a process, so that others can look on
 * while it works; not for the calls that look() makes itself.  NULL: never.
 */
void simdisk_watch(struct simdisk *disk, unsigned process,
                   void (*look)(void *arg), void *arg);

/* ---- faults ------------------------------------------------------------ */

struct sim_fault {
    enum sim_call call;
    uint64_t nth;       /* of these calls, from 1 */
    int code;           /* -errno */
    bool forever;       /* from then on, or only once */
    const char *suffix; /* only files whose paths end so; NULL: all */
};

/* Fails calls from now on; NULL: no longer.  Counting begins here. */
void simdisk_fail(struct simdisk *disk, const struct sim_fault *fault);

/* How often that fault has been met. */
uint64_t simdisk_fault_count(const struct simdisk *disk);

/* Bytes that all files in SIM_DATA may have; UINT64_MAX: any number. */
void simdisk_set_space(struct simdisk *disk, uint64_t bytes);

/* All calls since the disk was made. */
uint64_t simdisk_call_count(const struct simdisk *disk);

/* ---- looking and changing, past all calls ------------------------------ */

bool simdisk_exists(struct simdisk *disk, const char *path);

/* The bytes of a file as processes see them; borrowed. */
const uint8_t *simdisk_bytes(struct simdisk *disk, const char *path,
                             uint64_t *ret_len);

/* Changes bytes of a file, durably. */
void simdisk_poke(struct simdisk *disk, const char *path, uint64_t offset,
                  const void *data, uint64_t len);

/* Makes, replaces, renames or removes a file, durably. */
void simdisk_put(struct simdisk *disk, const char *path, const void *data,
                 uint64_t len);
void simdisk_move(struct simdisk *disk, const char *from, const char *to);
void simdisk_remove(struct simdisk *disk, const char *path);

/* Calls each() with the path of every file in a directory. */
void simdisk_each(struct simdisk *disk, const char *dir,
                  void (*each)(void *arg, const char *path), void *arg);

/*
 * Remembers everything, once, while nothing is open; and goes back to it as
 * often as one likes.
 */
void simdisk_save(struct simdisk *disk);
void simdisk_restore(struct simdisk *disk);

#endif
