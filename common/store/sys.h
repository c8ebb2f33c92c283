/* SPDX-License-Identifier: MPL-2.0 */
/*
 * sys - every system call of the store, in one table, so that a test can
 * fail, tear or lose any of them.
 *
 * Results are 0 or a count, or -errno.  Paths are whole paths.
 * Threads: sys_real may be used from any thread.
 */
#ifndef CAIRN_STORE_SYS_H
#define CAIRN_STORE_SYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sys_open {
    SYS_READ,     /* an existing file, for reading */
    SYS_WRITE,    /* an existing file, for reading and writing */
    SYS_CREATE,   /* a new or emptied file, for reading and writing */
    SYS_KEEP,     /* the same, but an existing file keeps its bytes */
    SYS_UNCACHED, /* for reading what the device has, not the page cache */
};

/* Reads through SYS_UNCACHED need buffers, offsets and lengths of this unit. */
#define SYS_UNCACHED_UNIT 4096u

struct sys {
    void *self;
    int (*open)(void *self, const char *path, enum sys_open how);
    void (*close)(void *self, int fd);
    /* Reads less than len only at the end of the file. */
    int64_t (*read)(void *self, int fd, void *buf, size_t len, uint64_t offset);
    /* Writes all of it or fails; what a failed one wrote is undefined. */
    int (*write)(void *self, int fd, const void *buf, size_t len,
                 uint64_t offset);
    /* Makes data and length durable.  Never call it again after a failure. */
    int (*sync)(void *self, int fd);
    /* Has the device take a part of a file, and waits for it; nothing is durable
     * by that, but a sync to come has less to do.  A failure is one of sync. */
    int (*write_back)(void *self, int fd, uint64_t offset, uint64_t len);
    /* Reserves blocks so that writes below len cannot meet a full disk. */
    int (*allocate)(void *self, int fd, uint64_t len);
    int (*length)(void *self, int fd, uint64_t *ret_len);
    /* Takes all permission to write from the file. */
    int (*protect)(void *self, int fd);
    /* -CAIRN_ELOCKED if another process holds it; closing releases it. */
    int (*lock)(void *self, int fd);
    int (*rename)(void *self, const char *from, const char *to);
    int (*remove)(void *self, const char *path);
    int (*make_dir)(void *self, const char *path);
    int (*sync_dir)(void *self, const char *path);
    /* Calls each() for every name in no order, until it returns non-zero. */
    int (*list)(void *self, const char *path,
                int (*each)(void *arg, const char *name), void *arg);
    int (*map)(void *self, int fd, size_t len, bool writable, void **ret_data);
    /* The same as sync() for a part of a writable map of the whole file, whole
     * pages.  It may take them out of the map: each is taken into use again by
     * who touches it next. */
    int (*sync_map)(void *self, int fd, void *data, uint64_t offset,
                    size_t len);
    void (*unmap)(void *self, void *data, size_t len);
    uint64_t (*now_us)(void *self); /* since 1970-01-01 UTC */
};

/* The kernel's. */
extern const struct sys sys_real;

/* Short forms. */
#define sys_call(sys, name, ...) ((sys)->name((sys)->self, ##__VA_ARGS__))

#endif
