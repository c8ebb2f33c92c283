/* SPDX-License-Identifier: MPL-2.0 */
/* hints - the part of the appender that asks for memory before it is read. */
#include "store/appender_impl.h"

#define LINE 64u

/* The stream of the first event of a commit; empty if it is not well formed. */
static struct span
first_stream(const uint8_t *commit, uint32_t len)
{
    const struct event_record *r =
        (const void *)(commit + sizeof(struct commit_record));
    uint32_t at = sizeof(struct commit_record) + sizeof *r;

    if (len < at)
        return (struct span){ 0 };
    at += r->tag_count * (uint32_t)(sizeof(struct link_disk) + 1);
    if (len < at || len - at < r->stream_len)
        return (struct span){ 0 };
    return (struct span){ (const char *)commit + at, r->stream_len };
}

void
appender_hint(const struct appender *ap, const uint8_t *commit,
              uint32_t commit_len, struct append_hint *ret_hint)
{
    const struct commit_record *r = (const void *)commit;

    *ret_hint =
        (struct append_hint){ .stream = first_stream(commit, commit_len) };
    if (ret_hint->stream.len == 0)
        return;
    ret_hint->hash = table_hash(ap->table, KEY_STREAM, ret_hint->stream);
    ret_hint->print = id_set_print(&ap->active.ids, r->command_id);
}

void
appender_look_ahead(const struct appender *ap, const struct append_hint *hint)
{
    if (hint->stream.len == 0)
        return;
    table_prefetch(ap->table, hint->hash);
    id_set_prefetch(&ap->active.ids, hint->print);
}

void
appender_look_closer(struct appender *ap, const struct append_hint *hint)
{
    uint64_t address = hint->stream.len == 0
        ? ADDRESS_NONE
        : table_guess(ap->table, hint->hash);
    const uint8_t *p;
    size_t left;
    struct err err;

    if (address == ADDRESS_NONE ||
        evlog_bytes_at(ap->log, address, &p, &left, &err) < 0 ||
        left < sizeof(struct event_record) + LINE)
        return;
    for (uint32_t at = 0; at <= sizeof(struct event_record); at += LINE)
        __builtin_prefetch(p + at);
}
