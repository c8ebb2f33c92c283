/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/tmpdir.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void
die(const char *what, const char *path)
{
    fprintf(stderr, "cannot %s %s: ", what, path);
    perror(NULL);
    abort();
}

char *
tmpdir_make(void)
{
    const char *base = getenv("TMPDIR");
    char *path;

    if (asprintf(&path, "%s/cairn-test-XXXXXX", base ? base : "/tmp") < 0)
        abort();
    if (mkdtemp(path) == NULL)
        die("make", path);
    return path;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void
tmpdir_remove(char **path)
{
    if (*path == NULL)
        return;
    if (nftw(*path, remove_one, 16, FTW_DEPTH | FTW_PHYS) < 0)
        die("remove", *path);
    free(*path);
    *path = NULL;
}

const char *
tmpdir_path(const char *path, const char *name)
{
    static char buffers[8][4096];
    static unsigned next;
    char *buf = buffers[next++ % 8];

    snprintf(buf, sizeof buffers[0], "%s/%s", path, name);
    return buf;
}

unsigned char *
file_read(const char *path, size_t *ret_len)
{
    struct stat st;
    unsigned char *data;
    int fd = open(path, O_RDONLY);
    ssize_t n;

    if (fd < 0 || fstat(fd, &st) < 0)
        die("open", path);
    data = malloc((size_t)st.st_size + 1);
    if (data == NULL)
        abort();
    n = read(fd, data, (size_t)st.st_size);
    if (n != st.st_size)
        die("read", path);
    close(fd);
    *ret_len = (size_t)n;
    return data;
}

void
file_write(const char *path, const void *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    if (fd < 0 || write(fd, data, len) != (ssize_t)len)
        die("write", path);
    close(fd);
}
