/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/simdisk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "lib/simdir.h"
#include "lib/simfile.h"

#define FDS_MAX 256
#define FD_FIRST 3 /* so that 0 is none of them */
#define CLOCK_START UINT64_C(1700000000000000)

struct sim_process {
    struct simdisk *disk;
    unsigned number;
    bool dead;
    uint64_t kill_in; /* calls; 0: never */
    struct sys sys;
};

struct sim_fd {
    struct simnode *node; /* NULL: not in use */
    struct sim_process *process;
    enum sys_open how;
    char path[SIM_PATH_MAX];
};

struct sim_map {
    struct simnode *node;
    struct sim_process *process;
    bool writable;
};

struct simdisk {
    struct rng rng;
    struct simtree tree;
    struct sim_process processes[SIM_PROCESSES];
    struct sim_fd fds[FDS_MAX];
    struct sim_map *maps;
    size_t map_count, map_capacity;
    bool off;
    uint64_t cut_in; /* calls; 0: never */
    bool cut_behind, kill_behind;
    struct sim_fault fault; /* nth is 0: none */
    uint64_t fault_seen, fault_count;
    uint64_t space, clock_us, call_count;
    void (*look)(void *arg); /* before calls of `watched`; NULL: never */
    void *look_arg;
    unsigned watched;
};

static void
die(const char *what, const char *path)
{
    fprintf(stderr, "simulated disk: %s: %s\n", what, path);
    abort();
}

const char *
sim_call_name(enum sim_call call)
{
    static const char *const names[SIM_CALLS] = {
        "open",    "read", "write",    "sync",       "allocate", "length",
        "protect", "lock", "rename",   "remove",     "make_dir", "sync_dir",
        "list",    "map",  "sync_map", "write_back",
    };

    return names[call];
}

/* ---- before and after every call --------------------------------------- */

static bool
ends_with(const char *path, const char *suffix)
{
    size_t len = strlen(path), suffix_len = strlen(suffix);

    return len >= suffix_len && strcmp(path + len - suffix_len, suffix) == 0;
}

/* Whether this call is to fail; its code, or 0. */
static int
fault_of(struct simdisk *disk, enum sim_call call, const char *path)
{
    const struct sim_fault *fault = &disk->fault;

    if (fault->nth == 0 || fault->call != call ||
        (fault->suffix != NULL && !ends_with(path, fault->suffix)))
        return 0;
    disk->fault_seen++;
    if (disk->fault_seen < fault->nth ||
        (disk->fault_seen > fault->nth && !fault->forever))
        return 0;
    disk->fault_count++;
    return fault->code;
}

/* Write-back has its own time. */
static void
leak_some(struct simdisk *disk)
{
    struct simnode *node;

    if (disk->tree.count == 0 || !rng_one_in(&disk->rng, 4))
        return;
    node = disk->tree.nodes[rng_below(&disk->rng, disk->tree.count)];
    if (node->file != NULL)
        simfile_leak(node->file, &disk->rng);
}

static void
look_on(struct simdisk *disk, const struct sim_process *process)
{
    void (*look)(void *arg) = disk->look;

    if (look == NULL || disk->watched != process->number)
        return;
    disk->look = NULL;
    look(disk->look_arg);
    disk->look = look;
}

/*
 * Begins a call.  -EIO if the process is dead or the power out; *ret_fault is
 * the code with which it shall fail, or 0.
 */
static int
enter(struct sim_process *process, enum sim_call call, const char *path,
      int *ret_fault)
{
    struct simdisk *disk = process->disk;

    *ret_fault = 0;
    look_on(disk, process);
    if (disk->off || process->dead)
        return -EIO;
    disk->call_count++;
    leak_some(disk);
    if (disk->cut_in > 0 && --disk->cut_in == 0) {
        disk->cut_behind = rng_one_in(&disk->rng, 2);
        if (!disk->cut_behind) {
            simdisk_cut(disk);
            return -EIO;
        }
    } else if (process->kill_in > 0 && --process->kill_in == 0) {
        disk->kill_behind = rng_one_in(&disk->rng, 2);
        if (!disk->kill_behind) {
            simdisk_kill(disk, process->number);
            return -EIO;
        }
    } else {
        *ret_fault = fault_of(disk, call, path);
    }
    return 0;
}

/* Ends it: the process may not live to see the result. */
static int
leave(struct sim_process *process, int rc)
{
    struct simdisk *disk = process->disk;

    if (disk->cut_behind) {
        disk->cut_behind = false;
        simdisk_cut(disk);
        return -EIO;
    }
    if (disk->kill_behind) {
        disk->kill_behind = false;
        simdisk_kill(disk, process->number);
        return -EIO;
    }
    return rc;
}

/* ---- space ------------------------------------------------------------- */

static bool
has_space(const struct simdisk *disk, const struct simnode *node, uint64_t len)
{
    uint64_t used = 0;

    if (disk->space == UINT64_MAX || node->memory || len <= node->file->len)
        return true;
    for (size_t i = 0; i < disk->tree.count; i++) {
        const struct simnode *n = disk->tree.nodes[i];

        if (n->file != NULL && !n->memory && simtree_is_named(&disk->tree, n))
            used += n->file->len;
    }
    return used + (len - node->file->len) <= disk->space;
}

void
simdisk_set_space(struct simdisk *disk, uint64_t bytes)
{
    disk->space = bytes;
}

/* ---- descriptors ------------------------------------------------------- */

static struct sim_fd *
fd_of(struct sim_process *process, int fd)
{
    struct sim_fd *f = &process->disk->fds[fd - FD_FIRST];

    if (fd < FD_FIRST || fd >= FD_FIRST + FDS_MAX || f->node == NULL ||
        f->process != process)
        die("a descriptor that is not open", "");
    return f;
}

static int
fd_make(struct sim_process *process, struct simnode *node, const char *path,
        enum sys_open how)
{
    struct simdisk *disk = process->disk;

    for (int i = 0; i < FDS_MAX; i++) {
        struct sim_fd *f = &disk->fds[i];

        if (f->node != NULL)
            continue;
        *f = (struct sim_fd){ .node = node, .process = process, .how = how };
        (void)snprintf(f->path, sizeof f->path, "%s", path);
        node->file->fds++;
        return FD_FIRST + i;
    }
    return -EMFILE;
}

static int
open_node(struct sim_process *process, const char *path, enum sys_open how,
          struct simnode **ret_node)
{
    struct simdisk *disk = process->disk;
    bool make = how == SYS_CREATE || how == SYS_KEEP;
    bool change = make || how == SYS_WRITE;
    struct simnode *node = simtree_find(&disk->tree, path);

    if (node == NULL && !make)
        return -ENOENT;
    if (node != NULL && node->file == NULL)
        return -EISDIR;
    if (node != NULL && change && node->file->read_only)
        return -EACCES;
    if (node == NULL) {
        node = simtree_make_file(&disk->tree, path);
        if (node == NULL)
            return -ENOENT;
    } else if (how == SYS_CREATE) {
        if (node->file->maps > 0)
            die("a file that is mapped is emptied", path);
        simfile_empty(node->file);
    }
    *ret_node = node;
    return 0;
}

static int
sim_open(void *self, const char *path, enum sys_open how)
{
    struct sim_process *process = self;
    struct simnode *node = NULL;
    int fault, rc = enter(process, SIM_OPEN, path, &fault);

    if (rc < 0)
        return rc;
    rc = fault < 0 ? fault : open_node(process, path, how, &node);
    rc = leave(process, rc);
    return rc < 0 ? rc : fd_make(process, node, path, how);
}

static void
sim_close(void *self, int fd)
{
    struct sim_process *process = self;
    struct sim_fd *f = fd_of(process, fd);

    if (f->node->file->lock_fd == fd)
        f->node->file->lock_fd = -1;
    f->node->file->fds--;
    f->node = NULL;
}

static int64_t
sim_read(void *self, int fd, void *buf, size_t len, uint64_t offset)
{
    struct sim_process *process = self;
    struct sim_fd *f = fd_of(process, fd);
    struct simfile *file = f->node->file;
    const uint8_t *from = file->cache;
    int fault, rc = enter(process, SIM_READ, f->path, &fault);

    if (rc == 0)
        rc = leave(process, fault);
    if (rc < 0)
        return rc;
    if (f->how == SYS_UNCACHED) {
        if (((uintptr_t)buf | len | offset) % SYS_UNCACHED_UNIT != 0)
            die("a read past the cache without alignment", f->path);
        simfile_flush(file, offset, len);
        from = file->device;
    }
    if (offset >= file->len)
        return 0;
    if (len > file->len - offset)
        len = file->len - offset;
    memcpy(buf, from + offset, len);
    return (int64_t)len;
}

static int
sim_write(void *self, int fd, const void *buf, size_t len, uint64_t offset)
{
    struct sim_process *process = self;
    struct simdisk *disk = process->disk;
    struct sim_fd *f = fd_of(process, fd);
    int fault, rc = enter(process, SIM_WRITE, f->path, &fault);

    if (rc < 0)
        return rc;
    rc = fault;
    if (f->how == SYS_READ || f->how == SYS_UNCACHED)
        die("a write to a file that was opened for reading", f->path);
    if (offset + len > SIM_FILE_MAX)
        die("a file that is too long for this", f->path);
    if (rc == 0 && !has_space(disk, f->node, offset + len))
        rc = -ENOSPC;
    else if (rc < 0 || disk->kill_behind) /* it came as far as this */
        len = rng_below(&disk->rng, len / 512 + 1) * 512;
    if (rc != -ENOSPC || fault < 0)
        simfile_write(f->node->file, buf, len, offset);
    return leave(process, rc);
}

static int
sim_sync(void *self, int fd)
{
    struct sim_process *process = self;
    struct sim_fd *f = fd_of(process, fd);
    int fault, rc = enter(process, SIM_SYNC, f->path, &fault);

    if (rc < 0)
        return rc;
    if (fault < 0)
        simfile_sync_badly(f->node->file, 0, f->node->file->len,
                           &process->disk->rng);
    else
        simfile_sync(f->node->file);
    return leave(process, fault);
}

static int
sim_write_back(void *self, int fd, uint64_t offset, uint64_t len)
{
    struct sim_process *process = self;
    struct sim_fd *f = fd_of(process, fd);
    int fault, rc = enter(process, SIM_WRITE_BACK, f->path, &fault);

    if (rc < 0)
        return rc;
    if (fault < 0)
        simfile_sync_badly(f->node->file, offset, len, &process->disk->rng);
    else
        simfile_flush(f->node->file, offset, len);
    return leave(process, fault);
}

static int
sim_allocate(void *self, int fd, uint64_t len)
{
    struct sim_process *process = self;
    struct sim_fd *f = fd_of(process, fd);
    int fault, rc = enter(process, SIM_ALLOCATE, f->path, &fault);

    if (rc < 0)
        return rc;
    if (len > SIM_FILE_MAX)
        die("a file that is too long for this", f->path);
    rc = fault < 0                               ? fault
        : has_space(process->disk, f->node, len) ? 0
                                                 : -ENOSPC;
    if (rc == 0)
        simfile_extend(f->node->file, len);
    return leave(process, rc);
}

static int
sim_length(void *self, int fd, uint64_t *ret_len)
{
    struct sim_process *process = self;
    struct sim_fd *f = fd_of(process, fd);
    int fault, rc = enter(process, SIM_LENGTH, f->path, &fault);

    if (rc == 0)
        rc = leave(process, fault);
    if (rc == 0)
        *ret_len = f->node->file->len;
    return rc;
}

static int
sim_protect(void *self, int fd)
{
    struct sim_process *process = self;
    struct sim_fd *f = fd_of(process, fd);
    int fault, rc = enter(process, SIM_PROTECT, f->path, &fault);

    if (rc < 0)
        return rc;
    if (fault == 0) {
        f->node->file->read_only = true;
        f->node->file->altered = true;
    }
    return leave(process, fault);
}

static int
sim_lock(void *self, int fd)
{
    struct sim_process *process = self;
    struct sim_fd *f = fd_of(process, fd);
    int fault, rc = enter(process, SIM_LOCK, f->path, &fault);

    if (rc < 0)
        return rc;
    rc = fault;
    if (rc == 0 && f->node->file->lock_fd >= 0 && f->node->file->lock_fd != fd)
        rc = -CAIRN_ELOCKED;
    if (rc == 0)
        f->node->file->lock_fd = fd;
    return leave(process, rc);
}

/* ---- names ------------------------------------------------------------- */

static int
sim_rename(void *self, const char *from, const char *to)
{
    struct sim_process *process = self;
    int fault, rc = enter(process, SIM_RENAME, from, &fault);

    if (rc < 0)
        return rc;
    rc = fault < 0 ? fault : simtree_move(&process->disk->tree, from, to);
    return leave(process, rc);
}

static int
sim_remove(void *self, const char *path)
{
    struct sim_process *process = self;
    int fault, rc = enter(process, SIM_REMOVE, path, &fault);

    if (rc < 0)
        return rc;
    rc = fault < 0 ? fault : simtree_remove(&process->disk->tree, path);
    return leave(process, rc);
}

static int
sim_make_dir(void *self, const char *path)
{
    struct sim_process *process = self;
    int fault, rc = enter(process, SIM_MAKE_DIR, path, &fault);

    if (rc < 0)
        return rc;
    rc =
        fault < 0 ? fault : simtree_make_dir(&process->disk->tree, path, false);
    return leave(process, rc);
}

static int
sim_sync_dir(void *self, const char *path)
{
    struct sim_process *process = self;
    int fault, rc = enter(process, SIM_SYNC_DIR, path, &fault);

    if (rc < 0)
        return rc;
    rc = fault < 0 ? fault : simtree_sync(&process->disk->tree, path);
    return leave(process, rc);
}

static int
sim_list(void *self, const char *path, int (*each)(void *arg, const char *name),
         void *arg)
{
    struct sim_process *process = self;
    struct simdisk *disk = process->disk;
    struct simnode *dir;
    struct simnames names;
    int fault, rc = enter(process, SIM_LIST, path, &fault);

    if (rc == 0)
        rc = leave(process, fault);
    if (rc < 0)
        return rc;
    dir = simtree_find(&disk->tree, path);
    if (dir == NULL || dir->file != NULL)
        return dir == NULL ? -ENOENT : -ENOTDIR;
    names = simnames_copy(&dir->now); /* each() may remove some */
    while (rc == 0 && names.count > 0) {
        size_t i = rng_below(&disk->rng, names.count);
        struct simname name = names.names[i];

        names.names[i] = names.names[--names.count];
        rc = each(arg, name.text);
    }
    simnames_free(&names);
    return rc;
}

/* ---- maps -------------------------------------------------------------- */

static int
sim_map(void *self, int fd, size_t len, bool writable, void **ret_data)
{
    struct sim_process *process = self;
    struct simdisk *disk = process->disk;
    struct sim_fd *f = fd_of(process, fd);
    int fault, rc = enter(process, SIM_MAP, f->path, &fault);

    if (rc == 0)
        rc = leave(process, fault);
    if (rc < 0)
        return rc;
    if (writable && (f->how == SYS_READ || f->how == SYS_UNCACHED))
        return -EACCES;
    if (len > f->node->file->len)
        die("a map beyond the end of a file", f->path);
    if (disk->map_count == disk->map_capacity) {
        disk->map_capacity = disk->map_capacity * 2 + 16;
        disk->maps =
            reallocarray(disk->maps, disk->map_capacity, sizeof *disk->maps);
        if (disk->maps == NULL)
            abort();
    }
    disk->maps[disk->map_count++] =
        (struct sim_map){ f->node, process, writable };
    simfile_map(f->node->file, writable);
    *ret_data = f->node->file->cache;
    return 0;
}

static int
sim_sync_map(void *self, int fd, void *data, uint64_t offset, size_t len)
{
    struct sim_process *process = self;
    struct sim_fd *f = fd_of(process, fd);
    struct simfile *file = f->node->file;
    int fault, rc = enter(process, SIM_SYNC_MAP, f->path, &fault);

    if (data != file->cache || offset + len > file->len ||
        (offset | len) % SIM_PAGE_LEN != 0)
        die("a sync of pages that are not mapped", f->path);
    if (rc < 0)
        return rc;
    if (fault < 0)
        simfile_sync_badly(file, offset, len, &process->disk->rng);
    else
        simfile_sync_part(file, offset, len);
    return leave(process, fault);
}

static void
sim_unmap(void *self, void *data, size_t len)
{
    struct sim_process *process = self;
    struct simdisk *disk = process->disk;

    (void)len;
    for (size_t i = 0; i < disk->map_count; i++) {
        struct sim_map *m = &disk->maps[i];

        if (m->node->file->cache != data || m->process != process)
            continue;
        simfile_unmap(m->node->file, m->writable);
        *m = disk->maps[--disk->map_count];
        return;
    }
    die("unmapped what is not mapped", "");
}

static uint64_t
sim_now_us(void *self)
{
    struct sim_process *process = self;
    struct simdisk *disk = process->disk;

    disk->clock_us += rng_below(&disk->rng, 3000);
    /* Clocks are set back now and then. */
    return rng_one_in(&disk->rng, 16)
        ? disk->clock_us - rng_below(&disk->rng, 5000000)
        : disk->clock_us;
}

/* ---- the disk ---------------------------------------------------------- */

static const struct sys calls = {
    .open = sim_open,
    .close = sim_close,
    .read = sim_read,
    .write = sim_write,
    .sync = sim_sync,
    .write_back = sim_write_back,
    .allocate = sim_allocate,
    .length = sim_length,
    .protect = sim_protect,
    .lock = sim_lock,
    .rename = sim_rename,
    .remove = sim_remove,
    .make_dir = sim_make_dir,
    .sync_dir = sim_sync_dir,
    .list = sim_list,
    .map = sim_map,
    .sync_map = sim_sync_map,
    .unmap = sim_unmap,
    .now_us = sim_now_us,
};

struct simdisk *
simdisk_make(uint64_t seed)
{
    struct simdisk *disk = calloc(1, sizeof *disk);

    if (disk == NULL)
        abort();
    disk->rng.state = seed ^ UINT64_C(0x73696d6469736b00);
    disk->space = UINT64_MAX;
    disk->clock_us = CLOCK_START;
    simtree_init(&disk->tree);
    (void)simtree_make_dir(&disk->tree, SIM_DATA, false);
    (void)simtree_sync(&disk->tree, "/");
    (void)simtree_make_dir(&disk->tree, SIM_RUN, true);
    (void)simtree_sync(&disk->tree, "/");
    for (unsigned i = 0; i < SIM_PROCESSES; i++) {
        struct sim_process *p = &disk->processes[i];

        *p = (struct sim_process){ .disk = disk, .number = i, .sys = calls };
        p->sys.self = p;
    }
    return disk;
}

void
simdisk_free(struct simdisk **disk)
{
    struct simdisk *d = *disk;

    *disk = NULL;
    if (d == NULL)
        return;
    simtree_free(&d->tree);
    free(d->maps);
    free(d);
}

const struct sys *
simdisk_sys(struct simdisk *disk, unsigned process)
{
    return &disk->processes[process].sys;
}

uint64_t
simdisk_call_count(const struct simdisk *disk)
{
    return disk->call_count;
}

/* ---- power ------------------------------------------------------------- */

void
simdisk_cut(struct simdisk *disk)
{
    if (disk->off)
        return;
    disk->off = true;
    disk->cut_in = 0;
    for (size_t i = 0; i < disk->tree.count; i++)
        if (disk->tree.nodes[i]->file != NULL)
            simfile_cut(disk->tree.nodes[i]->file, &disk->rng);
    simtree_cut(&disk->tree, &disk->rng);
}

void
simdisk_cut_after(struct simdisk *disk, uint64_t count)
{
    disk->cut_in = count;
}

bool
simdisk_is_off(const struct simdisk *disk)
{
    return disk->off;
}

static void
must_be_closed(struct simdisk *disk, const struct sim_process *process)
{
    for (int i = 0; i < FDS_MAX; i++)
        if (disk->fds[i].node != NULL &&
            (process == NULL || disk->fds[i].process == process))
            die("still open", disk->fds[i].path);
    for (size_t i = 0; i < disk->map_count; i++)
        if (process == NULL || disk->maps[i].process == process)
            die("still mapped", "");
}

void
simdisk_power_on(struct simdisk *disk)
{
    must_be_closed(disk, NULL);
    simtree_power_on(&disk->tree);
    for (unsigned i = 0; i < SIM_PROCESSES; i++) {
        disk->processes[i].dead = false;
        disk->processes[i].kill_in = 0;
    }
    disk->off = false;
}

void
simdisk_kill(struct simdisk *disk, unsigned process)
{
    struct sim_process *p = &disk->processes[process];

    if (p->dead)
        return;
    p->dead = true;
    p->kill_in = 0;
    for (size_t i = 0; i < disk->map_count; i++)
        if (disk->maps[i].process == p && disk->maps[i].writable)
            simfile_kill(disk->maps[i].node->file);
    for (int i = 0; i < FDS_MAX; i++) {
        struct sim_fd *f = &disk->fds[i];

        if (f->node != NULL && f->process == p &&
            f->node->file->lock_fd == FD_FIRST + i)
            f->node->file->lock_fd = -1;
    }
}

void
simdisk_kill_after(struct simdisk *disk, unsigned process, uint64_t count)
{
    disk->processes[process].kill_in = count;
}

bool
simdisk_is_dead(const struct simdisk *disk, unsigned process)
{
    return disk->off || disk->processes[process].dead;
}

void
simdisk_revive(struct simdisk *disk, unsigned process)
{
    struct sim_process *p = &disk->processes[process];

    must_be_closed(disk, p);
    p->dead = false;
    p->kill_in = 0;
    for (size_t i = 0; i < disk->tree.count; i++)
        if (disk->tree.nodes[i]->file != NULL)
            simfile_revive(disk->tree.nodes[i]->file);
}

void
simdisk_watch(struct simdisk *disk, unsigned process, void (*look)(void *arg),
              void *arg)
{
    disk->look = look;
    disk->look_arg = arg;
    disk->watched = process;
}

/* ---- faults ------------------------------------------------------------ */

void
simdisk_fail(struct simdisk *disk, const struct sim_fault *fault)
{
    memset(&disk->fault, 0, sizeof disk->fault);
    if (fault != NULL)
        disk->fault = *fault;
    disk->fault_seen = disk->fault_count = 0;
}

uint64_t
simdisk_fault_count(const struct simdisk *disk)
{
    return disk->fault_count;
}

/* ---- looking and changing ---------------------------------------------- */

static struct simnode *
must_find(struct simdisk *disk, const char *path)
{
    struct simnode *node = simtree_find(&disk->tree, path);

    if (node == NULL || node->file == NULL)
        die("no such file", path);
    return node;
}

bool
simdisk_exists(struct simdisk *disk, const char *path)
{
    return simtree_find(&disk->tree, path) != NULL;
}

const uint8_t *
simdisk_bytes(struct simdisk *disk, const char *path, uint64_t *ret_len)
{
    struct simnode *node = must_find(disk, path);

    *ret_len = node->file->len;
    return node->file->cache;
}

void
simdisk_poke(struct simdisk *disk, const char *path, uint64_t offset,
             const void *data, uint64_t len)
{
    struct simnode *node = must_find(disk, path);

    if (offset + len > node->file->len)
        die("change behind the end", path);
    simfile_poke(node->file, offset, data, len);
}

void
simdisk_put(struct simdisk *disk, const char *path, const void *data,
            uint64_t len)
{
    struct simnode *node;

    (void)simtree_remove(&disk->tree, path);
    node = simtree_make_file(&disk->tree, path);
    if (node == NULL)
        die("no directory for", path);
    simfile_write(node->file, data, len, 0);
    simfile_sync(node->file);
    simtree_sync_all(&disk->tree);
}

void
simdisk_move(struct simdisk *disk, const char *from, const char *to)
{
    if (simtree_move(&disk->tree, from, to) < 0)
        die("cannot rename", from);
    simtree_sync_all(&disk->tree);
}

void
simdisk_remove(struct simdisk *disk, const char *path)
{
    if (simtree_remove(&disk->tree, path) < 0)
        die("cannot remove", path);
    simtree_sync_all(&disk->tree);
}

void
simdisk_each(struct simdisk *disk, const char *dir,
             void (*each)(void *arg, const char *path), void *arg)
{
    struct simnode *node = simtree_find(&disk->tree, dir);
    struct simnames names;
    char path[SIM_PATH_MAX];

    if (node == NULL || node->file != NULL)
        die("no such directory", dir);
    names = simnames_copy(&node->now);
    for (size_t i = 0; i < names.count; i++) {
        if (snprintf(path, sizeof path, "%s/%s", dir, names.names[i].text) >=
            (int)sizeof path)
            die("a path too long", dir);
        if (names.names[i].node->file != NULL)
            each(arg, path);
    }
    simnames_free(&names);
}

void
simdisk_save(struct simdisk *disk)
{
    must_be_closed(disk, NULL);
    simtree_save(&disk->tree);
}

void
simdisk_restore(struct simdisk *disk)
{
    must_be_closed(disk, NULL);
    simtree_restore(&disk->tree);
}
