/* SPDX-License-Identifier: MPL-2.0 */
#include "fuzz/input.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void
input_must(int holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "must hold: %s\n", what);
    abort();
}

uint64_t
input_number(struct input *input, size_t bytes)
{
    struct input part = input_part(input, bytes);
    uint64_t number = 0;

    for (size_t i = part.left; i-- > 0;)
        number = number << 8 | part.p[i];
    return number;
}

struct input
input_part(struct input *input, size_t len)
{
    struct input part = { input->p, len < input->left ? len : input->left };

    input->p += part.left;
    input->left -= part.left;
    return part;
}

uint8_t *
input_copy(struct input part)
{
    uint8_t *copy = malloc(part.left);

    input_must(copy != NULL || part.left == 0, "memory");
    if (part.left > 0)
        memcpy(copy, part.p, part.left);
    return copy;
}

void
input_frame(zmq_msg_t *frame, struct input part)
{
    input_must(zmq_msg_init_size(frame, part.left) == 0, "memory");
    if (part.left > 0)
        memcpy(zmq_msg_data(frame), part.p, part.left);
}

static void
write_all(int fd, struct input part, off_t at)
{
    input_must(pwrite(fd, part.p, part.left, at) == (ssize_t)part.left,
               "a file of the input");
}

const char *
input_file(struct input part)
{
    static char path[64];
    static int fd = -1;

    if (fd < 0) {
        fd = memfd_create("input", MFD_CLOEXEC);
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    input_must(fd >= 0 && ftruncate(fd, 0) == 0, "a file of the input");
    write_all(fd, part, 0);
    return path;
}

/* ---- directories ------------------------------------------------------- */

static char dir[] = "/dev/shm/cairn-fuzz-XXXXXX";

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type;
    return ftw->level == 0 ? 0 : remove(path);
}

static void
clear_dir(void)
{
    (void)nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void
remove_dir(void)
{
    clear_dir();
    (void)rmdir(dir);
}

const char *
input_dir(void)
{
    static int made;

    if (!made) {
        input_must(mkdtemp(dir) != NULL, "a directory in /dev/shm");
        (void)atexit(remove_dir);
        made = 1;
    }
    clear_dir();
    return dir;
}

void
input_write(const char *in, const char *name, struct input begin,
            struct input end, size_t len)
{
    char path[256];
    int fd;

    (void)snprintf(path, sizeof path, "%s/%s", in, name);
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    input_must(fd >= 0 && ftruncate(fd, (off_t)len) == 0, "a file of a log");
    if (begin.left > len)
        begin.left = len;
    if (end.left > len)
        end.left = len;
    write_all(fd, begin, 0);
    write_all(fd, end, (off_t)(len - end.left));
    input_must(close(fd) == 0, "a file of a log");
}
