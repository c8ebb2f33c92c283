/* SPDX-License-Identifier: MPL-2.0 */
#include "base/zpl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INDENT 4
#define NAME_CHARACTERS                                    \
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" \
    "0123456789$-_@.&+/"

static int
fault(const struct zpl *zpl, struct err *err, const char *text)
{
    return err_set(err, -CAIRN_ECONFIG, "%s:%u: %s", zpl->origin, zpl->line,
                   text);
}

/* Takes the value at *at, which ends with the line; NULL or what is wrong. */
static const char *
take_value(const char **at, const char *end, struct zpl_item *item)
{
    const char *begin = *at + 1, *stop;

    while (begin < end && (*begin == ' ' || *begin == '\t'))
        begin++;
    if (begin < end && (*begin == '"' || *begin == '\'')) {
        stop = memchr(begin + 1, *begin, (size_t)(end - begin - 1));
        if (stop == NULL)
            return "the value has no closing quote";
        begin++;
        *at = stop + 1;
    } else {
        stop = begin;
        while (stop < end && strchr(" \t#\"'", *stop) == NULL)
            stop++;
        *at = stop;
    }
    if (stop - begin > ZPL_VALUE_LEN_MAX)
        return "the value is too long";
    memcpy(item->value, begin, (size_t)(stop - begin));
    item->value[stop - begin] = '\0';
    item->has_value = true;
    return NULL;
}

/* Takes the item in [at, end), which has a name; NULL or what is wrong. */
static const char *
take_item(const char *at, const char *end, struct zpl_item *item)
{
    size_t len = strspn(at, NAME_CHARACTERS);
    const char *wrong = NULL;

    if (len == 0)
        return "a name must stand here, of letters, digits and $-_@.&+/";
    if (len > ZPL_NAME_LEN_MAX)
        return "the name is too long";
    memcpy(item->name, at, len);
    item->name[len] = '\0';
    item->has_value = false;
    item->value[0] = '\0';
    at += len;
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    if (at < end && *at == '=')
        wrong = take_value(&at, end, item);
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\r'))
        at++;
    if (wrong == NULL && at < end && *at != '#')
        wrong = "something stands behind the value (a value with spaces or "
                "with # needs quotes)";
    return wrong;
}

int
zpl_next(struct zpl *zpl, struct zpl_item *ret_item, struct err *err)
{
    while (*zpl->at != '\0') {
        const char *line = zpl->at, *end = strchrnul(line, '\n'), *wrong;
        size_t indent = strspn(line, " ");
        const char *at = line + indent;

        zpl->line++;
        zpl->at = *end == '\0' ? end : end + 1;
        if (at == end || *at == '#' || (*at == '\r' && at + 1 == end))
            continue;
        if (*at == '\t' || indent % INDENT != 0)
            return fault(zpl, err, "indent with four spaces for each level");
        ret_item->line = zpl->line;
        ret_item->level = (unsigned)(indent / INDENT);
        if (ret_item->level > (zpl->begun ? zpl->level + 1 : 0))
            return fault(zpl, err, "this is indented too far");
        wrong = take_item(at, end, ret_item);
        if (wrong != NULL)
            return fault(zpl, err, wrong);
        zpl->level = ret_item->level;
        zpl->begun = true;
        return 1;
    }
    return 0;
}

/* ---- files ------------------------------------------------------------- */

/* Whether an open file is one that we trust. */
static int
check_file(int fd, const char *path, mode_t forbidden, struct err *err)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return err_sys(err, -errno, "%s", path);
    if (!S_ISREG(st.st_mode))
        return err_set(err, -CAIRN_ECONFIG, "%s: it is no regular file", path);
    if ((st.st_mode & forbidden) != 0)
        return err_set(err, -CAIRN_ECONFIG,
                       "%s: its mode is %04o, others may %s it; say: chmod "
                       "%s %s",
                       path, st.st_mode & 07777,
                       forbidden & 0044 ? "read or write" : "write",
                       forbidden & 0044 ? "0600" : "go-w", path);
    if (forbidden != 0 && st.st_uid != 0 && st.st_uid != geteuid())
        return err_set(err, -CAIRN_ECONFIG,
                       "%s: it belongs to user %u; it must belong to root or "
                       "to user %u, who reads it",
                       path, (unsigned)st.st_uid, (unsigned)geteuid());
    return 0;
}

int
text_read(const char *path, mode_t forbidden, char **ret_text, struct err *err)
{
    /* A secret is in a file; a configuration may come through a pipe. */
    int fd = open(path,
                  O_RDONLY | O_CLOEXEC | O_NOCTTY |
                      (forbidden != 0 ? O_NONBLOCK : 0));
    char *text = NULL;
    size_t len = 0;
    ssize_t n = 1;
    int rc = 0;

    if (fd < 0)
        return err_sys(err, -errno, "%s", path);
    if (forbidden != 0)
        rc = check_file(fd, path, forbidden, err);
    if (rc == 0 && (text = malloc(ZPL_FILE_LEN_MAX + 1)) == NULL)
        rc = err_sys(err, -ENOMEM, "%s", path);
    while (rc == 0 && n > 0 && len < ZPL_FILE_LEN_MAX) {
        n = read(fd, text + len, ZPL_FILE_LEN_MAX - len);
        if (n < 0)
            rc = err_sys(err, -errno, "%s", path);
        else
            len += (size_t)n;
    }
    (void)close(fd); /* only read */
    if (rc == 0) {
        text[len] = '\0';
        if (len == ZPL_FILE_LEN_MAX || strlen(text) != len)
            rc = err_set(err, -CAIRN_ECONFIG,
                         "%s: no text of less than %d bytes", path,
                         ZPL_FILE_LEN_MAX);
    }
    if (rc < 0)
        free(text);
    else
        *ret_text = text;
    return rc;
}
