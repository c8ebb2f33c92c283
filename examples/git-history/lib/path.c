/* SPDX-License-Identifier: MPL-2.0 */
#include "path.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <sodium.h>

/* Git's letters for control characters; each stands for the code below. */
static const char letters[] = "abtnvfr\"\\";
static const char letter_codes[] = "\a\b\t\n\v\f\r\"\\";

#define DIGEST_DIGITS 32u

/* Whether git never writes this byte as it stands. */
static bool
is_control(char c)
{
    return (uint8_t)c < 0x20 || c == 0x7f;
}

/* The byte that three octal digits at p stand for, or -1. */
static int
octal_value(const char *p, const char *end)
{
    int value = 0;

    if (end - p < 3 || p[0] > '3')
        return -1;
    for (int i = 0; i < 3; i++) {
        if (p[i] < '0' || p[i] > '7')
            return -1;
        value = value * 8 + (p[i] - '0');
    }
    return value;
}

/* Reads what follows a backslash at *p and moves *p behind it; -1 if bad. */
static int
escape_read(const char **p, const char *end)
{
    const char *letter;
    int value;

    if (*p == end)
        return -1;
    letter = strchr(letters, **p);
    if (**p != '\0' && letter != NULL) {
        (*p)++;
        return letter_codes[letter - letters];
    }
    value = octal_value(*p, end);
    if (value >= 0)
        *p += 3;
    return value;
}

/* Reads what stands between quotes, from behind the first. */
static const char *
quoted_read(const char *p, const char *end, char *path, size_t *ret_len)
{
    size_t at = 0;

    while (p < end && *p != '"') {
        int byte = (uint8_t)*p++;

        if (byte == '\\')
            byte = escape_read(&p, end);
        if (byte < 0)
            return "holds a backslash that begins no escape of git's";
        if (at == PATH_BYTES_MAX)
            return "is longer than 4096 bytes";
        path[at++] = (char)byte;
    }
    if (p == end)
        return "has an opening quote and no closing one";
    if (p + 1 < end)
        return "goes on behind its closing quote; if it is a rename, run git "
               "with --no-renames";
    *ret_len = at;
    return NULL;
}

static const char *
plain_read(const char *text, size_t len, char *path, size_t *ret_len)
{
    if (len > PATH_BYTES_MAX)
        return "is longer than 4096 bytes";
    memcpy(path, text, len);
    *ret_len = len;
    return NULL;
}

const char *
path_unquote(const char *text, size_t len, char *path, size_t *ret_len)
{
    const char *fault;

    for (size_t i = 0; i < len; i++)
        if (is_control(text[i]))
            return "holds a control character that git would have quoted";
    if (len > 0 && text[0] == '"')
        fault = quoted_read(text + 1, text + len, path, ret_len);
    else
        fault = plain_read(text, len, path, ret_len);
    if (fault != NULL)
        return fault;
    if (*ret_len == 0)
        return "is empty";
    if (memchr(path, '\0', *ret_len) != NULL)
        return "holds a NUL";
    if (path[0] == '/')
        return "begins with '/', as no path inside a repository does";
    return NULL;
}

size_t
path_quote(const char *path, size_t len, char *quoted)
{
    char *out = quoted;

    *out++ = '"';
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = (uint8_t)path[i];
        const char *code = strchr(letter_codes, path[i]);

        if (byte != 0 && code != NULL) {
            *out++ = '\\';
            *out++ = letters[code - letter_codes];
        } else if (byte >= 0x80 || is_control(path[i])) {
            *out++ = '\\';
            *out++ = (char)('0' + (byte >> 6));
            *out++ = (char)('0' + (byte >> 3 & 7));
            *out++ = (char)('0' + (byte & 7));
        } else {
            *out++ = path[i];
        }
    }
    *out++ = '"';
    *out = '\0';
    return (size_t)(out - quoted);
}

/* Rule 3 of the header: digest and end of a text that is too long. */
static size_t
name_shorten(const char *path, size_t len, const char *text, size_t text_len,
             char name[FILE_NAME_MAX + 1])
{
    uint8_t digest[crypto_hash_sha256_BYTES];
    char digits[2 * sizeof digest + 1];
    size_t room = FILE_NAME_MAX - DIGEST_DIGITS - 2;
    const char *tail = text + text_len - room;

    crypto_hash_sha256(digest, (const unsigned char *)path, len);
    sodium_bin2hex(digits, sizeof digits, digest, sizeof digest);
    while (((uint8_t)*tail & 0xc0) == 0x80) {
        tail++;
        room--;
    }
    name[0] = '/';
    memcpy(name + 1, digits, DIGEST_DIGITS);
    name[1 + DIGEST_DIGITS] = '/';
    memcpy(name + DIGEST_DIGITS + 2, tail, room);
    name[DIGEST_DIGITS + 2 + room] = '\0';
    return DIGEST_DIGITS + 2 + room;
}

/* Whether the path can stand in a stream's name as it is, but for length. */
static bool
path_is_plain(const char *path, size_t len)
{
    if (path[0] == '"')
        return false;
    for (size_t i = 0; i < len; i++)
        if (is_control(path[i]))
            return false;
    return utf8_valid(path, len);
}

size_t
path_name(const char *path, size_t len, char name[FILE_NAME_MAX + 1])
{
    char quoted[PATH_QUOTED_MAX + 1];
    const char *text = path;
    size_t text_len = len;

    assert(len > 0 && len <= PATH_BYTES_MAX);
    if (!path_is_plain(path, len)) {
        text_len = path_quote(path, len, quoted);
        text = quoted;
    }
    if (text_len > FILE_NAME_MAX)
        return name_shorten(path, len, text, text_len, name);
    memcpy(name, text, text_len);
    name[text_len] = '\0';
    return text_len;
}
