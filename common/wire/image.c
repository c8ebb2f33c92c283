/* SPDX-License-Identifier: MPL-2.0 */
#include "wire/image.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "wire/arena.h"

#define DEPTH_MAX 4
#define HEADER_LEN 8 /* "tpl", flags, length */
#define FORMAT_LEN_MAX 128
#define FLAG_STRINGS 2 /* tpl sets it when the format has an 's' */

/* ---- the check --------------------------------------------------------- */

struct walk {
    const uint8_t *p;
    size_t left;
    uint32_t budget; /* strings, blobs and elements that may still come */
    bool too_many;
};

/* Whether one more string, blob or element may come. */
static bool
spend(struct walk *walk)
{
    walk->too_many = walk->budget == 0;
    if (!walk->too_many)
        walk->budget--;
    return !walk->too_many;
}

static uint32_t
read_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
        (uint32_t)p[3] << 24;
}

static bool
skip(struct walk *walk, size_t len)
{
    if (len > walk->left)
        return false;
    walk->p += len;
    walk->left -= len;
    return true;
}

/* Bytes of a number; 0 if the character is none. */
static size_t
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

static bool
check_bytes(struct walk *walk, bool is_string)
{
    uint32_t len;

    if (walk->left < 4 || !spend(walk))
        return false;
    len = read_u32(walk->p);
    (void)skip(walk, 4);
    if (is_string) {
        if (len-- == 0) /* a NULL pointer */
            return false;
        if (len > walk->left || memchr(walk->p, 0, len) != NULL)
            return false;
    }
    return skip(walk, len);
}

/* The ')' that closes the '(' before `format`; NULL if there is none. */
static const char *
closing(const char *format)
{
    int depth = 1;

    for (; *format != '\0'; format++) {
        depth += (*format == '(') - (*format == ')');
        if (depth == 0)
            return format;
    }
    return NULL;
}

static bool
check_fields(const char *format, const char *end, struct walk *walk, int depth)
{
    if (depth > DEPTH_MAX)
        return false;
    for (; format < end; format++) {
        size_t len = number_len(*format);

        if (len > 0) {
            if (!skip(walk, len))
                return false;
        } else if (*format == 's' || *format == 'B') {
            if (!check_bytes(walk, *format == 's'))
                return false;
        } else if (*format == 'A' && format[1] == '(') {
            const char *body = format + 2, *body_end = closing(body);
            uint32_t count;

            if (body_end == NULL || walk->left < 4)
                return false;
            count = read_u32(walk->p);
            (void)skip(walk, 4);
            if (count > INT32_MAX) /* tpl takes it for negative */
                return false;
            while (count-- > 0)
                if (!spend(walk) ||
                    !check_fields(body, body_end, walk, depth + 1))
                    return false;
            format = body_end;
        } else {
            return false; /* all else stays off the wire */
        }
    }
    return true;
}

int
image_check(const char *format, const void *data, size_t len,
            uint32_t element_max)
{
    const uint8_t *p = data;
    size_t format_len = strlen(format) + 1;
    struct walk walk;

    if (len < HEADER_LEN + format_len || len > UINT32_MAX ||
        memcmp(p, "tpl", 3) != 0 ||
        p[3] != (strchr(format, 's') != NULL ? FLAG_STRINGS : 0) ||
        read_u32(p + 4) != len ||
        memcmp(p + HEADER_LEN, format, format_len) != 0)
        return -CAIRN_EMESSAGE;
    walk = (struct walk){ .p = p + HEADER_LEN + format_len,
                          .left = len - HEADER_LEN - format_len,
                          .budget = element_max };
    if (check_fields(format, format + format_len - 1, &walk, 0) &&
        walk.left == 0)
        return 0;
    return walk.too_many ? -EMSGSIZE : -CAIRN_EMESSAGE;
}

int
image_kind(const void *data, size_t len, uint16_t *ret_version,
           uint16_t *ret_kind)
{
    const uint8_t *p = data;
    const uint8_t *end;
    size_t at;

    if (len < HEADER_LEN + 7 || memcmp(p, "tpl", 3) != 0 ||
        memcmp(p + HEADER_LEN, "vv", 2) != 0)
        return -CAIRN_EMESSAGE;
    at = HEADER_LEN;
    end = memchr(p + at, 0,
                 len - at < FORMAT_LEN_MAX ? len - at : FORMAT_LEN_MAX);
    if (end == NULL || (size_t)(end - p) + 1 + 4 > len)
        return -CAIRN_EMESSAGE;
    *ret_version = (uint16_t)(end[1] | end[2] << 8);
    *ret_kind = (uint16_t)(end[3] | end[4] << 8);
    return 0;
}

/* ---- nodes ------------------------------------------------------------- */

tpl_node *
image_map(const char *format, ...)
{
    tpl_node *node;
    va_list args;

    arena_begin();
    va_start(args, format);
    node = tpl_map_va((char *)(uintptr_t)format, args); /* it only reads it */
    va_end(args);
    if (node == NULL)
        abort(); /* a format of ours that tpl does not understand */
    return node;
}

int
image_load(tpl_node *node, const char *format, zmq_msg_t *frame,
           uint32_t element_max)
{
    int rc = image_check(format, zmq_msg_data(frame), zmq_msg_size(frame),
                         element_max);

    if (rc < 0)
        return rc;
    if (tpl_load(node, TPL_MEM, zmq_msg_data(frame), zmq_msg_size(frame)) != 0)
        return -CAIRN_EMESSAGE;
    return 0;
}

int
image_dump(tpl_node *node, zmq_msg_t *ret_frame)
{
    size_t len;

    if (tpl_dump(node, TPL_GETSIZE, &len) != 0 ||
        zmq_msg_init_size(ret_frame, len) != 0)
        return -CAIRN_EMESSAGE;
    if (tpl_dump(node, TPL_MEM | TPL_PREALLOCD, zmq_msg_data(ret_frame), len) !=
        0) {
        (void)zmq_msg_close(ret_frame);
        return -CAIRN_EMESSAGE;
    }
    return 0;
}

void
image_free(tpl_node *node)
{
    tpl_free(node);
    arena_empty();
}

/* ---- headers without arrays -------------------------------------------- */

int
image_pack_small(tpl_node *node, struct message *message)
{
    zmq_msg_t frame;
    int rc;

    (void)tpl_pack(node, 0);
    rc = image_dump(node, &frame);
    image_free(node);
    if (rc == 0)
        message_move(message, &frame);
    return rc;
}

int
image_unpack_small(tpl_node *node, const char *format, zmq_msg_t *header)
{
    int rc = image_load(node, format, header, 0);

    if (rc == 0)
        (void)tpl_unpack(node, 0);
    image_free(node);
    return rc;
}

int
image_check_kind(int rc, uint16_t version, uint16_t kind,
                 enum message_kind wanted)
{
    if (rc == 0 && (version != PROTOCOL_VERSION || kind != wanted))
        rc = -CAIRN_EMESSAGE;
    return rc;
}
