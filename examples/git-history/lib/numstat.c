/* SPDX-License-Identifier: MPL-2.0 */
#include "numstat.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zlib.h>

#define INFLATE_BUF_LEN (128u << 10)
#define EXCERPT_LEN 60

struct numstat {
    gzFile file;
    const char *source;
    uint64_t line; /* number of the line read last, from 1 */
    size_t start, end;
    bool at_end; /* the file has no more bytes than those in buf */
    char buf[NUMSTAT_LINE_MAX + 1];
};

_Static_assert(NUMSTAT_LINE_MAX > PATH_QUOTED_MAX + 2 * 20 + 2,
               "a line has room for the longest path");

int
numstat_open(const char *path, struct numstat **ret_in, struct err *err)
{
    const char *source = path != NULL ? path : "standard input";
    struct numstat *in;
    int fd, rc;

    if (path != NULL)
        fd = open(path, O_RDONLY | O_CLOEXEC);
    else
        fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return err_sys(err, -errno, "%s: cannot be opened", source);

    in = calloc(1, sizeof *in);
    if (in == NULL) {
        rc = err_sys(err, -ENOMEM, "%s", source);
        goto fail;
    }
    in->source = source;
    in->file = gzdopen(fd, "r");
    if (in->file == NULL) {
        rc = err_sys(err, -ENOMEM, "%s", source);
        goto fail;
    }
    (void)gzbuffer(in->file, INFLATE_BUF_LEN); /* else it stays at 8 KiB */
    *ret_in = in;
    return 0;

fail:
    free(in);
    (void)close(fd); /* nothing was written */
    return rc;
}

void
numstat_close(struct numstat **in)
{
    if (*in == NULL)
        return;
    (void)gzclose_r((*in)->file); /* what it would say, reading has said */
    free(*in);
    *in = NULL;
}

int
numstat_fault(const struct numstat *in, struct err *err, const char *format,
              ...)
{
    char text[ERR_TEXT_LEN];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args); /* may cut */
    va_end(args);
    return err_set(err, -CAIRN_ERECORD, "%s, line %llu: %s", in->source,
                   (unsigned long long)in->line, text);
}

/* The beginning of a line as something a terminal can show; returns out. */
static const char *
excerpt(const char *text, size_t len, char out[EXCERPT_LEN + 4])
{
    size_t shown = len < EXCERPT_LEN ? len : EXCERPT_LEN;

    for (size_t i = 0; i < shown; i++)
        out[i] = text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '?';
    memcpy(out + shown, "...", 4);
    if (len <= shown)
        out[shown] = '\0';
    return out;
}

/* Reads more bytes behind those in buf, or sets at_end. */
static int
fill(struct numstat *in, struct err *err)
{
    int n, fault = Z_OK;

    memmove(in->buf, in->buf + in->start, in->end - in->start);
    in->end -= in->start;
    in->start = 0;

    errno = 0;
    n = gzread(in->file, in->buf + in->end,
               (unsigned)(sizeof in->buf - in->end));
    if (n > 0) {
        in->end += (size_t)n;
        return 0;
    }
    (void)gzerror(in->file, &fault);
    if (n == 0 && fault == Z_OK) {
        in->at_end = true;
        return 0;
    }
    if (fault == Z_ERRNO)
        return err_sys(err, errno != 0 ? -errno : -EIO, "%s: cannot be read",
                       in->source);
    return err_set(err, -CAIRN_ERECORD,
                   "%s: the compressed data %s after line "
                   "%llu; make the file again",
                   in->source,
                   fault == Z_BUF_ERROR ? "are cut off" : "are damaged",
                   (unsigned long long)in->line);
}

/* Gives the next line, without its newline, until the next call; 0: end. */
static int
line_next(struct numstat *in, const char **ret_text, size_t *ret_len,
          struct err *err)
{
    char *end;
    int rc;

    for (;;) {
        end = memchr(in->buf + in->start, '\n', in->end - in->start);
        if (end != NULL)
            break;
        if (in->at_end && in->start == in->end)
            return 0;
        if (in->at_end) {
            in->line++;
            return numstat_fault(in, err,
                                 "cut off: it has no newline at its end; make "
                                 "the input again");
        }
        if (in->end - in->start == sizeof in->buf) {
            in->line++;
            return numstat_fault(in, err, "longer than %u bytes",
                                 NUMSTAT_LINE_MAX);
        }
        rc = fill(in, err);
        if (rc < 0)
            return rc;
    }
    in->line++;
    *ret_text = in->buf + in->start;
    *ret_len = (size_t)(end - *ret_text);
    in->start += *ret_len + 1;
    return 1;
}

/* Reads a decimal number that is all of [text, text + len). */
static bool
count_parse(const char *text, size_t len, uint64_t max, uint64_t *ret_count)
{
    char digits[24];

    if (len >= sizeof digits)
        return false;
    memcpy(digits, text, len);
    digits[len] = '\0';
    return strlen(digits) == len && number_parse(digits, ret_count) &&
        *ret_count <= max;
}

/* Reads "@HASH SECONDS". */
static int
commit_parse(struct numstat *in, const char *text, size_t len,
             struct numstat_line *line, struct err *err)
{
    char shown[EXCERPT_LEN + 4];
    const char *hash = text + 1;
    size_t hash_len = 0;

    while (1 + hash_len < len && strchr("0123456789abcdef", hash[hash_len]) &&
           hash[hash_len] != '\0')
        hash_len++;
    if ((hash_len != 40 && hash_len != 64) || 1 + hash_len == len ||
        hash[hash_len] != ' ')
        return numstat_fault(in, err,
                             "expected '@', a hash of 40 or 64 digits, a space "
                             "and a time, found \"%s\"",
                             excerpt(text, len, shown));
    memcpy(line->hash, hash, hash_len);
    line->hash[hash_len] = '\0';
    if (!count_parse(hash + hash_len + 1, len - hash_len - 2, NUMSTAT_TIME_MAX,
                     &line->time_s))
        return numstat_fault(
            in, err,
            "expected a time in seconds from 0 to 2^53 behind "
            "the hash, found \"%s\"",
            excerpt(hash + hash_len + 1, len - hash_len - 2, shown));
    line->kind = NUMSTAT_COMMIT;
    return 1;
}

/*
 * Reads "ADDED TAB DELETED TAB", both numbers or both '-'.  Returns where the
 * path begins, or NULL.
 */
static const char *
counts_parse(struct numstat *in, const char *text, size_t len,
             struct numstat_line *line, struct err *err)
{
    const char *tab = memchr(text, '\t', len), *tab2 = NULL;
    char shown[EXCERPT_LEN + 4];
    size_t len1, len2;

    if (tab != NULL)
        tab2 = memchr(tab + 1, '\t', len - (size_t)(tab + 1 - text));
    if (tab2 == NULL) {
        numstat_fault(in, err,
                      "expected lines added, tab, lines deleted, tab and a "
                      "path, found \"%s\"",
                      excerpt(text, len, shown));
        return NULL;
    }
    len1 = (size_t)(tab - text);
    len2 = (size_t)(tab2 - tab - 1);
    line->added = line->deleted = 0;
    line->binary = len1 == 1 && len2 == 1 && text[0] == '-' && tab[1] == '-';
    if (!line->binary &&
        (!count_parse(text, len1, NUMSTAT_COUNT_MAX, &line->added) ||
         !count_parse(tab + 1, len2, NUMSTAT_COUNT_MAX, &line->deleted))) {
        numstat_fault(in, err,
                      "expected two numbers from 0 to %u or two '-' before "
                      "the path, found \"%s\"",
                      NUMSTAT_COUNT_MAX, excerpt(text, len, shown));
        return NULL;
    }
    return tab2 + 1;
}

static int
file_parse(struct numstat *in, const char *text, size_t len,
           struct numstat_line *line, struct err *err)
{
    char path[PATH_BYTES_MAX], shown[EXCERPT_LEN + 4];
    const char *quoted = counts_parse(in, text, len, line, err);
    const char *fault;
    size_t quoted_len, path_len;

    if (quoted == NULL)
        return -CAIRN_ERECORD;
    quoted_len = (size_t)(text + len - quoted);
    fault = path_unquote(quoted, quoted_len, path, &path_len);
    if (fault != NULL)
        return numstat_fault(in, err, "the path %s: %s", fault,
                             excerpt(quoted, quoted_len, shown));
    line->rename_like = memmem(path, path_len, " => ", 4) != NULL;
    line->name_len = path_name(path, path_len, line->name);
    line->kind = NUMSTAT_FILE;
    return 1;
}

int
numstat_next(struct numstat *in, struct numstat_line *ret_line, struct err *err)
{
    const char *text;
    size_t len;
    int rc;

    do {
        rc = line_next(in, &text, &len, err);
        if (rc <= 0)
            return rc;
    } while (len == 0);

    if (memchr(text, '\0', len) != NULL)
        return numstat_fault(in, err,
                             "holds a NUL; run git without -z, and "
                             "keep its output as it is");
    if (text[0] == '@')
        return commit_parse(in, text, len, ret_line, err);
    return file_parse(in, text, len, ret_line, err);
}
