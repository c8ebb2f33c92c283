/* SPDX-License-Identifier: MPL-2.0 */
/*
 * tpl - the few functions of tpl that common/wire calls, for the library.
 *
 * tpl keeps its hooks in a global variable of the process.  A library must
 * not set it: a program that uses tpl itself would get our allocator.  So
 * libcairn has these, hidden, in place of the real ones, and nothing global;
 * they know what headers consist of, numbers and one level of arrays of
 * numbers, and make the same bytes (tests/unit/test_vectors.c runs against
 * both).
 *
 * What tpl_load() gets has passed image_check().
 */
#include <tpl.h>

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wire/arena.h"

#define PARTS_MAX 16  /* the root and its arrays */
#define FIELDS_MAX 32 /* of one part */
#define HEADER_LEN 8  /* "tpl", flags, length */

struct field {
    void *addr;
    uint8_t len;
};

/* The root (0) or an array. */
struct part {
    struct field fields[FIELDS_MAX];
    uint32_t field_count;
    uint8_t *bytes;      /* packed */
    const uint8_t *left; /* to unpack */
    size_t len, room;
    uint32_t count; /* elements packed; or left to unpack */
};

/* A tpl_node for whoever calls. */
struct node {
    const char *format; /* a literal */
    size_t format_len;  /* with its NUL */
    struct part parts[PARTS_MAX];
    int part_count;
    bool failed; /* no memory, or a format that does not fit in here */
};

static uint8_t
number_len(char c)
{
    switch (c) {
    case 'c':
        return 1;
    case 'j':
    case 'v':
        return 2;
    case 'i':
    case 'u':
        return 4;
    case 'I':
    case 'U':
    case 'f':
        return 8;
    default:
        return 0;
    }
}

tpl_node *
tpl_map_va(char *format, va_list args)
{
    struct node *node = calloc(1, sizeof *node);
    int part = 0;

    if (node == NULL)
        return NULL;
    node->format = format;
    node->format_len = strlen(format) + 1;
    node->part_count = 1;
    for (const char *c = format; *c != '\0'; c++) {
        struct part *p = &node->parts[part];

        if (*c == 'A' && c[1] == '(' && part == 0 &&
            node->part_count < PARTS_MAX) {
            part = node->part_count++;
            c++;
        } else if (*c == ')' && part > 0) {
            part = 0;
        } else if (number_len(*c) > 0 && p->field_count < FIELDS_MAX) {
            p->fields[p->field_count++] =
                (struct field){ va_arg(args, void *), number_len(*c) };
        } else {
            free(node);
            return NULL;
        }
    }
    return (void *)node;
}

/* ---- packing ----------------------------------------------------------- */

int
tpl_pack(tpl_node *tpl, int part)
{
    struct node *node = (void *)tpl;
    struct part *p = &node->parts[part];
    size_t more = FIELDS_MAX * sizeof(uint64_t);

    if (p->room - p->len < more) {
        size_t room = p->room == 0 ? 2 * more : 2 * p->room;
        uint8_t *grown = realloc(p->bytes, room);

        if (grown == NULL) {
            node->failed = true;
            return -1;
        }
        p->bytes = grown;
        p->room = room;
    }
    for (uint32_t i = 0; i < p->field_count; i++) {
        memcpy(p->bytes + p->len, p->fields[i].addr, p->fields[i].len);
        p->len += p->fields[i].len;
    }
    p->count++;
    return 0;
}

static size_t
image_len(const struct node *node)
{
    size_t len = HEADER_LEN + node->format_len + node->parts[0].len;

    for (int i = 1; i < node->part_count; i++)
        len += sizeof node->parts[i].count + node->parts[i].len;
    return len;
}

static uint8_t *
put(uint8_t *out, const void *data, size_t len)
{
    if (len > 0)
        memcpy(out, data, len);
    return out + len;
}

/* Numbers of the root and arrays stand in the order of the format. */
static void
write_image(const struct node *node, uint8_t *out)
{
    uint32_t len = (uint32_t)image_len(node);
    const uint8_t *root = node->parts[0].bytes;
    int part = 0;

    out = put(out, "tpl", 4); /* no flags: little-endian, no strings */
    out = put(out, &len, sizeof len);
    out = put(out, node->format, node->format_len);
    for (const char *c = node->format; *c != '\0'; c++) {
        const struct part *p;

        if (*c != 'A') {
            out = put(out, root, number_len(*c));
            root += number_len(*c);
            continue;
        }
        p = &node->parts[++part];
        out = put(out, &p->count, sizeof p->count);
        out = put(out, p->bytes, p->len);
        c = strchr(c, ')');
    }
}

int
tpl_dump(tpl_node *tpl, int mode, ...)
{
    struct node *node = (void *)tpl;
    va_list args;
    int rc = -1;

    va_start(args, mode);
    if (node->failed || image_len(node) > UINT32_MAX) {
        rc = -1;
    } else if (mode == TPL_GETSIZE) {
        *va_arg(args, size_t *) = image_len(node);
        rc = 0;
    } else if (mode == (TPL_MEM | TPL_PREALLOCD)) {
        void *out = va_arg(args, void *);

        if (va_arg(args, size_t) >= image_len(node)) {
            write_image(node, out);
            rc = 0;
        }
    }
    va_end(args);
    return rc;
}

/* ---- unpacking --------------------------------------------------------- */

static size_t
element_len(const struct part *part)
{
    size_t len = 0;

    for (uint32_t i = 0; i < part->field_count; i++)
        len += part->fields[i].len;
    return len;
}

int
tpl_load(tpl_node *tpl, int mode, ...)
{
    struct node *node = (void *)tpl;
    struct part *root = &node->parts[0];
    const uint8_t *data;
    va_list args;
    int part = 0;

    if (mode != TPL_MEM)
        return -1;
    va_start(args, mode);
    data = va_arg(args, const uint8_t *);
    va_end(args);
    data += HEADER_LEN + node->format_len;
    root->bytes = malloc(element_len(root));
    if (root->bytes == NULL)
        return -1;
    root->left = root->bytes;
    root->count = 1;
    for (const char *c = node->format; *c != '\0'; c++) {
        struct part *p;

        if (*c != 'A') {
            memcpy(root->bytes + root->len, data, number_len(*c));
            root->len += number_len(*c);
            data += number_len(*c);
            continue;
        }
        p = &node->parts[++part];
        memcpy(&p->count, data, sizeof p->count);
        data += sizeof p->count;
        p->left = data;
        data += p->count * element_len(p);
        c = strchr(c, ')');
    }
    return 0;
}

int
tpl_unpack(tpl_node *tpl, int part)
{
    struct part *p = &((struct node *)tpl)->parts[part];

    if (p->count == 0)
        return 0;
    for (uint32_t i = 0; i < p->field_count; i++) {
        memcpy(p->fields[i].addr, p->left, p->fields[i].len);
        p->left += p->fields[i].len;
    }
    p->count--;
    return 1;
}

void
tpl_free(tpl_node *tpl)
{
    struct node *node = (void *)tpl;

    for (int i = 0; i < node->part_count; i++)
        free(node->parts[i].bytes);
    free(node);
}

void
arena_begin(void)
{
}

void
arena_empty(void)
{
}
