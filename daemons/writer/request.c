/* SPDX-License-Identifier: MPL-2.0 */
#include "writer/request.h"

#include "wire/array.h"

_Static_assert((int)EXPECT_EXACT == (int)WIRE_EXPECT_EXACT &&
                   (int)EXPECT_NO_EVENT == (int)WIRE_EXPECT_NO_EVENT &&
                   (int)EXPECT_NO_MATCH == (int)WIRE_EXPECT_NO_MATCH,
               "one numbering of expectations");

/* Room for all items and names of a command, so that nothing moves. */
static int
reserve(struct request_memory *m, const struct submit_command *command)
{
    uint64_t items = 0, names = 0;
    int rc;

    for (uint32_t i = 0; i < command->check_count; i++) {
        const struct wire_check *c = &command->checks[i];

        items += c->item_count;
        for (uint32_t k = 0; k < c->item_count; k++)
            names += (uint64_t)c->items[k].type_count + c->items[k].tag_count;
    }
    rc = array_reserve(&m->checks, &m->check_room, command->check_count,
                       sizeof *m->checks);
    if (rc == 0)
        rc = array_reserve(&m->items, &m->item_room, items, sizeof *m->items);
    if (rc == 0)
        rc = array_reserve(&m->names, &m->name_room, names, sizeof *m->names);
    return rc;
}

/* Writes the names of an item, and returns what follows them; NULL if their
 * lengths do not add up. */
static struct span *
take_item(const struct wire_item *from, struct span *names,
          struct query_item *ret_item)
{
    uint32_t count = (uint32_t)from->type_count + from->tag_count;
    uint32_t index = 0, at = 0;
    struct wire_name name;

    *ret_item = (struct query_item){
        .types = names,
        .type_count = from->type_count,
        .tags = names + from->type_count,
        .tag_count = from->tag_count,
    };
    while (wire_item_next(from, &index, &at, &name))
        *names++ = (struct span){ name.p, name.len };
    return index == count ? names : NULL;
}

int
request_make(struct request_memory *m, const struct submit_command *command,
             struct append_request *ret_request)
{
    struct query_item *item;
    struct span *names;
    int rc = reserve(m, command);

    if (rc < 0)
        return rc;
    item = m->items;
    names = m->names;
    for (uint32_t i = 0; i < command->check_count; i++) {
        const struct wire_check *c = &command->checks[i];

        m->checks[i] = (struct append_check){
            .stream = { c->stream, c->stream_len },
            .kind = (enum expect_kind)c->expect,
            .version = c->version,
            .items = item,
            .item_count = c->item_count,
        };
        for (uint32_t k = 0; k < c->item_count; k++) {
            names = take_item(&c->items[k], names, item++);
            if (names == NULL)
                return -CAIRN_EMESSAGE;
        }
    }
    *ret_request = (struct append_request){
        .commit = command->commit,
        .commit_len = command->commit_len,
        .checks = m->checks,
        .check_count = command->check_count,
        .dry_run = (command->flags & COMMAND_FLAG_DRY_RUN) != 0,
        .show = command->show,
    };
    return 0;
}

void
request_memory_free(struct request_memory *m)
{
    free(m->checks);
    free(m->items);
    free(m->names);
    *m = (struct request_memory){ 0 };
}
