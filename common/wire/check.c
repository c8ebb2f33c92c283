/* SPDX-License-Identifier: MPL-2.0 */
#include "wire/check.h"

#include <string.h>

#include "base/err.h"
#include "wire/array.h"

/* The rows of CHECK_FORMAT. */
struct check_row {
    uint8_t expect;
    struct le16 len;
    struct le64 number;
};

struct item_row {
    struct le16 type_count, tag_count;
    struct le32 names_len;
};

_Static_assert(sizeof(struct check_row) == 11 && sizeof(struct item_row) == 8,
               "format");

uint64_t
wire_item_text_len(const struct wire_item *item)
{
    return (uint64_t)item->type_count + item->tag_count + item->names_len;
}

uint64_t
wire_check_text_len(const struct wire_check *check)
{
    uint64_t len = check->stream_len;

    for (uint32_t i = 0; i < check->item_count; i++)
        len += wire_item_text_len(&check->items[i]);
    return len;
}

bool
wire_item_next(const struct wire_item *item, uint32_t *index, uint32_t *at,
               struct wire_name *ret_name)
{
    uint32_t count = (uint32_t)item->type_count + item->tag_count;
    uint8_t len;

    if (*index >= count)
        return false;
    len = item->text[*index];
    if (len > item->names_len - *at ||
        (*index + 1 == count && len < item->names_len - *at))
        return false;
    *ret_name = (struct wire_name){
        (const char *)item->text + count + *at,
        len,
    };
    *at += len;
    ++*index;
    return true;
}

uint8_t *
wire_check_put_text(uint8_t *out, const struct wire_check *check)
{
    if (check->stream_len > 0)
        memcpy(out, check->stream, check->stream_len);
    out += check->stream_len;
    for (uint32_t i = 0; i < check->item_count; i++) {
        size_t len = (size_t)wire_item_text_len(&check->items[i]);

        if (len > 0)
            memcpy(out, check->items[i].text, len);
        out += len;
    }
    return out;
}

void
check_list_clear(struct check_list *list)
{
    list->count = list->item_count = 0;
}

void
check_list_free(struct check_list *list)
{
    free(list->checks);
    free(list->items);
    *list = (struct check_list){ 0 };
}

static int
reserve(struct check_list *list, uint64_t checks, uint64_t items)
{
    int rc = array_reserve(&list->checks, &list->room, list->count + checks,
                           sizeof *list->checks);

    return rc < 0
        ? rc
        : array_reserve(&list->items, &list->item_room,
                        list->item_count + items, sizeof *list->items);
}

size_t
check_list_len(const struct check_list *list)
{
    return rows_len(list->count, sizeof(struct check_row)) +
        rows_len(list->item_count, sizeof(struct item_row));
}

int
check_list_get(struct check_list *list, struct rows_in *in)
{
    uint32_t count, item_count;
    const struct check_row *row = rows_get_array(in, sizeof *row, &count);
    const struct item_row *item = rows_get_array(in, sizeof *item, &item_count);
    int rc;

    check_list_clear(list);
    rc = reserve(list, count, item_count);
    if (rc < 0)
        return rc;
    for (; list->count < count; row++) {
        bool condition = expect_is_condition(row->expect);
        uint16_t len = le16_get(row->len);

        list->checks[list->count++] = (struct wire_check){
            .stream_len = condition ? 0 : len,
            .expect = row->expect,
            .version = le64_get(row->number),
            .item_count = condition ? len : 0,
        };
    }
    for (; list->item_count < item_count; item++)
        list->items[list->item_count++] = (struct wire_item){
            .type_count = le16_get(item->type_count),
            .tag_count = le16_get(item->tag_count),
            .names_len = le32_get(item->names_len),
        };
    return 0;
}

void
check_list_put(const struct check_list *list, struct rows_out *out)
{
    struct check_row *row = rows_put_array(out, list->count, sizeof *row);
    struct item_row *item;

    for (uint32_t i = 0; i < list->count; i++) {
        const struct wire_check *c = &list->checks[i];

        row[i] = (struct check_row){
            .expect = c->expect,
            .len = le16_of(expect_is_condition(c->expect) ? c->item_count
                                                          : c->stream_len),
            .number = le64_of(c->version),
        };
    }
    item = rows_put_array(out, list->item_count, sizeof *item);
    for (uint32_t i = 0; i < list->item_count; i++)
        item[i] = (struct item_row){
            .type_count = le16_of(list->items[i].type_count),
            .tag_count = le16_of(list->items[i].tag_count),
            .names_len = le32_of(list->items[i].names_len),
        };
}

int
check_list_add(struct check_list *list, const struct wire_check *checks,
               uint32_t check_count)
{
    uint64_t items = 0;
    int rc;

    for (uint32_t i = 0; i < check_count; i++)
        items += checks[i].item_count;
    rc = reserve(list, check_count, items);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < check_count; i++) {
        list->checks[list->count++] = checks[i];
        for (uint32_t k = 0; k < checks[i].item_count; k++)
            list->items[list->item_count++] = checks[i].items[k];
    }
    return 0;
}

int
check_list_share(struct check_list *list, struct check_cursor *cursor,
                 uint32_t count, const uint8_t *body, uint64_t body_len,
                 uint64_t *at)
{
    if (count > list->count - cursor->check)
        return -CAIRN_EMESSAGE;
    for (uint32_t end = cursor->check + count; cursor->check < end;
         cursor->check++) {
        struct wire_check *c = &list->checks[cursor->check];

        if (c->item_count > list->item_count - cursor->item ||
            c->stream_len > body_len - *at)
            return -CAIRN_EMESSAGE;
        c->stream = (const char *)body + *at;
        *at += c->stream_len;
        c->items = list->items + cursor->item;
        for (uint32_t k = 0; k < c->item_count; k++) {
            struct wire_item *item = &list->items[cursor->item++];

            if (wire_item_text_len(item) > body_len - *at)
                return -CAIRN_EMESSAGE;
            item->text = body + *at;
            *at += wire_item_text_len(item);
        }
    }
    return 0;
}

bool
check_list_shared(const struct check_list *list,
                  const struct check_cursor *cursor)
{
    return cursor->check == list->count && cursor->item == list->item_count;
}
