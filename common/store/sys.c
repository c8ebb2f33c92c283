/* SPDX-License-Identifier: MPL-2.0 */
#include "store/sys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"

#define FILE_MODE 0640
#define DIR_MODE 0750

static int
real_open(void *self, const char *path, enum sys_open how)
{
    int fd;

    (void)self;
    switch (how) {
    case SYS_READ:
        fd = open(path, O_RDONLY | O_CLOEXEC);
        break;
    case SYS_WRITE:
        fd = open(path, O_RDWR | O_CLOEXEC);
        break;
    case SYS_CREATE:
        fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, FILE_MODE);
        break;
    case SYS_KEEP:
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, FILE_MODE);
        break;
    case SYS_UNCACHED:
        fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
        if (fd < 0 && errno == EINVAL) {
            /* A file system without direct reads (tmpfs): drop what pages
             * can be dropped; it has no device that could differ. */
            fd = open(path, O_RDONLY | O_CLOEXEC);
            if (fd >= 0)
                (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        }
        break;
    default:
        return -EINVAL;
    }
    return fd < 0 ? -errno : fd;
}

static void
real_close(void *self, int fd)
{
    (void)self;
    (void)close(fd); /* all that mattered was synced, or failed, before */
}

static int64_t
real_read(void *self, int fd, void *buf, size_t len, uint64_t offset)
{
    size_t done = 0;

    (void)self;
    while (done < len) {
        ssize_t n =
            pread(fd, (char *)buf + done, len - done, (off_t)(offset + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (int64_t)done;
}

static int
real_write(void *self, int fd, const void *buf, size_t len, uint64_t offset)
{
    size_t done = 0;

    (void)self;
    while (done < len) {
        ssize_t n = pwrite(fd, (const char *)buf + done, len - done,
                           (off_t)(offset + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -EIO;
        done += (size_t)n;
    }
    return 0;
}

static int
real_sync(void *self, int fd)
{
    (void)self;
    return fdatasync(fd) < 0 ? -errno : 0;
}

static int
real_write_back(void *self, int fd, uint64_t offset, uint64_t len)
{
    unsigned how = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
        SYNC_FILE_RANGE_WAIT_AFTER;

    (void)self;
    return sync_file_range(fd, (off_t)offset, (off_t)len, how) < 0 ? -errno : 0;
}

static int
real_allocate(void *self, int fd, uint64_t len)
{
    (void)self;
    return -posix_fallocate(fd, 0, (off_t)len);
}

static int
real_length(void *self, int fd, uint64_t *ret_len)
{
    struct stat st;

    (void)self;
    if (fstat(fd, &st) < 0)
        return -errno;
    *ret_len = (uint64_t)st.st_size;
    return 0;
}

static int
real_protect(void *self, int fd)
{
    (void)self;
    return fchmod(fd, FILE_MODE & ~0222) < 0 ? -errno : 0;
}

static int
real_lock(void *self, int fd)
{
    (void)self;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    return errno == EWOULDBLOCK ? -CAIRN_ELOCKED : -errno;
}

static int
real_rename(void *self, const char *from, const char *to)
{
    (void)self;
    return rename(from, to) < 0 ? -errno : 0;
}

static int
real_remove(void *self, const char *path)
{
    (void)self;
    return unlink(path) < 0 ? -errno : 0;
}

static int
real_make_dir(void *self, const char *path)
{
    (void)self;
    return mkdir(path, DIR_MODE) < 0 ? -errno : 0;
}

static int
real_sync_dir(void *self, const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc;

    (void)self;
    if (fd < 0)
        return -errno;
    rc = fsync(fd) < 0 ? -errno : 0;
    (void)close(fd); /* read-only: nothing to lose */
    return rc;
}

static int
real_list(void *self, const char *path,
          int (*each)(void *arg, const char *name), void *arg)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    int rc = 0;

    (void)self;
    if (dir == NULL)
        return -errno;
    while (rc == 0 && (errno = 0, entry = readdir(dir)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = each(arg, entry->d_name);
    if (rc == 0 && errno != 0)
        rc = -errno;
    (void)closedir(dir);
    return rc;
}

static int
real_map(void *self, int fd, size_t len, bool writable, void **ret_data)
{
    int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    void *data = mmap(NULL, len, protection, MAP_SHARED, fd, 0);

    (void)self;
    if (data == MAP_FAILED)
        return -errno;
    *ret_data = data;
    return 0;
}

/*
 * A sync write-protects each page that is mapped for writing, one by one, and
 * tells the other processors each time.  Taken out of the map before, all of
 * them cost one message.  What they hold stays in the page cache, which is
 * what a shared map shows (madvise(2)).
 */
static int
real_sync_map(void *self, int fd, void *data, uint64_t offset, size_t len)
{
    uint8_t *at = (uint8_t *)data + offset;

    (void)self;
    (void)fd;
    (void)madvise(at, len, MADV_DONTNEED); /* if not, then page by page */
    return msync(at, len, MS_SYNC) < 0 ? -errno : 0;
}

static void
real_unmap(void *self, void *data, size_t len)
{
    (void)self;
    (void)munmap(data, len); /* fails only for addresses that are not ours */
}

static uint64_t
real_now_us(void *self)
{
    struct timespec t;

    (void)self;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

const struct sys sys_real = {
    .open = real_open,
    .close = real_close,
    .read = real_read,
    .write = real_write,
    .sync = real_sync,
    .write_back = real_write_back,
    .allocate = real_allocate,
    .length = real_length,
    .protect = real_protect,
    .lock = real_lock,
    .rename = real_rename,
    .remove = real_remove,
    .make_dir = real_make_dir,
    .sync_dir = real_sync_dir,
    .list = real_list,
    .map = real_map,
    .sync_map = real_sync_map,
    .unmap = real_unmap,
    .now_us = real_now_us,
};
