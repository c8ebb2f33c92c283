/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/watchsys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool
fails(const struct watchsys *w, const char *call, const char *path)
{
    return w->fail_call != NULL && strcmp(w->fail_call, call) == 0 &&
        (w->fail_path == NULL ||
         (path != NULL && strstr(path, w->fail_path) != NULL));
}

static const char *
path_of(const struct watchsys *w, int fd)
{
    return fd >= 0 && fd < WATCHSYS_FDS ? w->paths[fd] : NULL;
}

/* Whether a file is a segment, or one that is being prepared. */
static bool
is_log(const char *path)
{
    size_t len = path == NULL ? 0 : strlen(path);

    return (len > 4 && strcmp(path + len - 4, ".log") == 0) ||
        (len > 12 && strcmp(path + len - 12, "prepared.tmp") == 0);
}

static void
raise_count(unsigned *now, unsigned *max)
{
    if (++*now > *max)
        *max = *now;
}

static int
watch_open(void *self, const char *path, enum sys_open how)
{
    struct watchsys *w = self;
    int fd;

    w->counts.opens++;
    if (fails(w, "open", path))
        return w->fail_rc;
    fd = sys_call(w->under, open, path, how);
    if (fd >= WATCHSYS_FDS)
        abort();
    if (fd >= 0) {
        free(w->paths[fd]);
        w->paths[fd] = strdup(path);
        w->counts.log_opens += is_log(path);
        raise_count(&w->fds_now, &w->fds_max);
    }
    return fd;
}

static void
watch_close(void *self, int fd)
{
    struct watchsys *w = self;

    free(w->paths[fd]);
    w->paths[fd] = NULL;
    w->fds_now--;
    sys_call(w->under, close, fd);
}

static int64_t
watch_read(void *self, int fd, void *buf, size_t len, uint64_t offset)
{
    struct watchsys *w = self;

    if (fails(w, "read", path_of(w, fd)))
        return w->fail_rc;
    w->counts.reads++;
    w->counts.read_bytes += len;
    return sys_call(w->under, read, fd, buf, len, offset);
}

static int
watch_write(void *self, int fd, const void *buf, size_t len, uint64_t offset)
{
    struct watchsys *w = self;

    if (fails(w, "write", path_of(w, fd)))
        return w->fail_rc;
    if (is_log(path_of(w, fd))) {
        w->counts.log_writes++;
        w->counts.log_bytes += len;
    } else {
        w->counts.other_writes++;
        w->counts.other_bytes += len;
    }
    return sys_call(w->under, write, fd, buf, len, offset);
}

static int
watch_sync(void *self, int fd)
{
    struct watchsys *w = self;

    if (is_log(path_of(w, fd)))
        w->counts.log_syncs++;
    else
        w->counts.other_syncs++;
    if (fails(w, "sync", path_of(w, fd)))
        return w->fail_rc;
    return w->skip_syncs ? 0 : sys_call(w->under, sync, fd);
}

static int
watch_write_back(void *self, int fd, uint64_t offset, uint64_t len)
{
    struct watchsys *w = self;

    if (fails(w, "write_back", path_of(w, fd)))
        return w->fail_rc;
    w->counts.written_back += len;
    return w->skip_syncs ? 0 : sys_call(w->under, write_back, fd, offset, len);
}

static int
watch_allocate(void *self, int fd, uint64_t len)
{
    struct watchsys *w = self;

    if (fails(w, "allocate", path_of(w, fd)))
        return w->fail_rc;
    return sys_call(w->under, allocate, fd, len);
}

static int
watch_length(void *self, int fd, uint64_t *ret_len)
{
    struct watchsys *w = self;

    if (fails(w, "length", path_of(w, fd)))
        return w->fail_rc;
    return sys_call(w->under, length, fd, ret_len);
}

static int
watch_protect(void *self, int fd)
{
    struct watchsys *w = self;

    if (fails(w, "protect", path_of(w, fd)))
        return w->fail_rc;
    return sys_call(w->under, protect, fd);
}

static int
watch_lock(void *self, int fd)
{
    struct watchsys *w = self;

    if (fails(w, "lock", path_of(w, fd)))
        return w->fail_rc;
    return sys_call(w->under, lock, fd);
}

static int
watch_rename(void *self, const char *from, const char *to)
{
    struct watchsys *w = self;

    w->counts.renames++;
    if (fails(w, "rename", to))
        return w->fail_rc;
    for (int fd = 0; fd < WATCHSYS_FDS; fd++)
        if (w->paths[fd] != NULL && strcmp(w->paths[fd], from) == 0) {
            free(w->paths[fd]);
            w->paths[fd] = strdup(to);
        }
    return sys_call(w->under, rename, from, to);
}

static int
watch_remove(void *self, const char *path)
{
    struct watchsys *w = self;

    w->counts.removes++;
    if (fails(w, "remove", path))
        return w->fail_rc;
    return sys_call(w->under, remove, path);
}

static int
watch_make_dir(void *self, const char *path)
{
    struct watchsys *w = self;

    if (fails(w, "make_dir", path))
        return w->fail_rc;
    return sys_call(w->under, make_dir, path);
}

static int
watch_sync_dir(void *self, const char *path)
{
    struct watchsys *w = self;

    w->counts.dir_syncs++;
    if (fails(w, "sync_dir", path))
        return w->fail_rc;
    return w->skip_syncs ? 0 : sys_call(w->under, sync_dir, path);
}

static int
watch_list(void *self, const char *path,
           int (*each)(void *arg, const char *name), void *arg)
{
    struct watchsys *w = self;

    if (fails(w, "list", path))
        return w->fail_rc;
    return sys_call(w->under, list, path, each, arg);
}

static int
watch_map(void *self, int fd, size_t len, bool writable, void **ret_data)
{
    struct watchsys *w = self;
    int rc = fails(w, "map", path_of(w, fd))
        ? w->fail_rc
        : sys_call(w->under, map, fd, len, writable, ret_data);

    w->counts.maps += rc == 0;
    w->counts.map_bytes += rc == 0 ? len : 0;
    if (rc == 0)
        raise_count(&w->maps_now, &w->maps_max);
    return rc;
}

static int
watch_sync_map(void *self, int fd, void *data, uint64_t offset, size_t len)
{
    struct watchsys *w = self;

    w->counts.other_syncs++;
    if (fails(w, "sync_map", path_of(w, fd)))
        return w->fail_rc;
    return w->skip_syncs ? 0
                         : sys_call(w->under, sync_map, fd, data, offset, len);
}

static void
watch_unmap(void *self, void *data, size_t len)
{
    struct watchsys *w = self;

    w->counts.unmaps++;
    w->maps_now--;
    sys_call(w->under, unmap, data, len);
}

static uint64_t
watch_now_us(void *self)
{
    struct watchsys *w = self;

    return w->now_us != 0 ? w->now_us : sys_call(w->under, now_us);
}

void
watchsys_begin(struct watchsys *watch, const struct sys *under)
{
    *watch = (struct watchsys){
        .under = under,
        .sys = {
            .self = watch,
            .open = watch_open,
            .close = watch_close,
            .read = watch_read,
            .write = watch_write,
            .sync = watch_sync,
            .write_back = watch_write_back,
            .allocate = watch_allocate,
            .length = watch_length,
            .protect = watch_protect,
            .lock = watch_lock,
            .rename = watch_rename,
            .remove = watch_remove,
            .make_dir = watch_make_dir,
            .sync_dir = watch_sync_dir,
            .list = watch_list,
            .map = watch_map,
            .sync_map = watch_sync_map,
            .unmap = watch_unmap,
            .now_us = watch_now_us,
        },
    };
}

void
watchsys_end(struct watchsys *watch)
{
    for (int fd = 0; fd < WATCHSYS_FDS; fd++)
        free(watch->paths[fd]);
    *watch = (struct watchsys){ 0 };
}

void
watchsys_fail(struct watchsys *watch, const char *call, const char *path,
              int rc)
{
    watch->fail_call = call;
    watch->fail_path = path;
    watch->fail_rc = rc;
}
