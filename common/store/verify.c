/* SPDX-License-Identifier: MPL-2.0 */
#include "store/verify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "store/chain.h"
#include "store/jump.h"
#include "store/tailscan.h"

struct verifier {
    struct evlog *log;
    const struct verify_events *events;
    struct verify_report *report;
    struct tail tail; /* what has been read so far */
    bool chained;     /* the next group must follow the tail */
    bool quick;
    uint64_t all_bytes;
};

static void
finding(struct verifier *v, uint64_t segment, uint64_t offset, const char *what,
        uint64_t first, uint64_t last)
{
    char where[128];

    (void)snprintf(where, sizeof where,
                   "segment %020" PRIu64 SEGMENT_SUFFIX ", byte %" PRIu64,
                   evlog_segment_first(v->log, segment), offset);
    v->report->findings++;
    v->events->finding(v->events->arg, where, what, first, last);
}

/* ---- links ------------------------------------------------------------- */

static bool
leads_to(struct verifier *v, const struct key *key, uint64_t address,
         uint64_t ordinal, uint64_t below)
{
    struct event event;
    struct link link;

    if (ordinal == 0)
        return address == ADDRESS_NONE;
    return address < below &&
        evlog_event_at(v->log, address, &event, NULL) == 0 &&
        key_link(key, &event, &link) && link.ordinal == ordinal;
}

static void
check_link(struct verifier *v, enum key_kind kind, const struct link *link,
           uint64_t address, uint64_t position)
{
    struct key key = { .kind = kind, .name = link->name };
    char what[400];

    if (link->ordinal > 0 &&
        leads_to(v, &key, link->prev, link->ordinal - 1, address) &&
        leads_to(v, &key, link->jump, jump_ordinal(link->ordinal), address))
        return;
    (void)snprintf(what, sizeof what,
                   "the links of %s '%.*s' do not lead to its earlier events",
                   kind == KEY_STREAM ? "stream" : "tag", (int)link->name.len,
                   link->name.p);
    finding(v, address_segment(address), address_offset(address), what,
            position, position);
}

static void
check_links(struct verifier *v, const uint8_t *group, uint64_t group_len,
            uint64_t address)
{
    uint64_t at = sizeof(struct group_header);

    while (at < group_len) {
        enum record_kind kind;
        struct event event;
        struct link link;
        uint32_t len;

        if (record_check(group + at, (size_t)(group_len - at), &kind, &len) < 0)
            return; /* was checked just before */
        if (kind == RECORD_EVENT &&
            event_view(group + at, (size_t)(group_len - at), &event) == 0) {
            link = event_stream_link(&event);
            check_link(v, KEY_STREAM, &link, address + at, event.position);
            for (uint32_t i = 0; i < event.tag_count; i++) {
                link = event_tag_link(&event, i);
                check_link(v, KEY_TAG, &link, address + at, event.position);
            }
        }
        at += len;
    }
}

/* ---- groups ------------------------------------------------------------ */

/* The first whole group at or behind an offset; false if there is none. */
static bool
find_group(struct verifier *v, const struct segment *segment, uint64_t offset,
           struct group_info *ret_group)
{
    for (; offset < segment->data_end; offset += SECTOR_LEN) {
        const uint8_t *data = segment->data + offset;

        if (group_decode(data, segment->data_end - offset, evlog_id(v->log),
                         address_of(segment->info.number, offset),
                         ret_group) == 0 &&
            group_check_body(data, ret_group) == 0)
            return true;
    }
    return false;
}

static void
take_group(struct verifier *v, const struct segment *segment,
           const struct group_info *g)
{
    uint64_t offset = address_offset(g->address);
    const uint8_t *data = segment->data + offset;

    if (v->chained &&
        (g->number != v->tail.group + 1 ||
         g->first_position != v->tail.position + 1 ||
         g->prev_crc != v->tail.crc))
        finding(v, segment->info.number, offset,
                "a group that does not follow the one before it",
                g->first_position, g->last_position);
    if (!v->quick)
        check_links(v, data, g->group_len, g->address);
    v->report->groups++;
    v->report->commits += g->commit_count;
    v->report->events += g->last_position - g->first_position + 1;
    v->report->bytes += g->group_len;
    v->tail = (struct tail){
        .position = g->last_position,
        .time_us = g->time_us,
        .group = g->number,
        .address = g->address + g->group_len,
        .crc = g->crc,
    };
    v->chained = true;
}

/* Says which events are lost between the tail and what follows. */
static void
report_gap(struct verifier *v, uint64_t segment, uint64_t offset,
           uint64_t next_position)
{
    finding(v, segment, offset,
            "damaged: no whole group, but later ones were written",
            v->tail.position + 1, next_position - 1);
    v->chained = false;
}

static void
check_footer(struct verifier *v, const struct segment *segment)
{
    const struct segment_end *end = &segment->end;

    size_t used = sizeof(struct segment_footer) +
        end->index_count * sizeof(struct index_entry);
    size_t left = (size_t)(segment->info.segment_len - segment->data_end);

    if (end->last_position > v->tail.position)
        report_gap(v, segment->info.number, address_offset(v->tail.address),
                   end->last_position + 1);
    else if (end->last_position != v->tail.position ||
             end->last_crc != v->tail.crc || end->last_group != v->tail.group ||
             end->data_end != address_offset(v->tail.address))
        finding(v, segment->info.number, segment->data_end,
                "the footer does not fit the groups before it", 0, 0);
    if (!bytes_all_zero(segment->data + end->data_end,
                        (size_t)segment->data_end - end->data_end) ||
        !bytes_all_zero(segment->data + segment->data_end + used, left - used))
        finding(v, segment->info.number, end->data_end,
                "bytes where a sealed segment holds only zeros", 0, 0);
}

static void
verify_segment(struct verifier *v, struct segment *segment, bool last)
{
    uint64_t number = segment->info.number;
    uint64_t offset = SECTOR_LEN;
    struct group_info group;

    if (number > 1 && v->chained &&
        (segment->info.first_position != v->tail.position + 1 ||
         segment->info.prev_group != v->tail.group ||
         segment->info.prev_crc != v->tail.crc))
        finding(v, number, 0, "the segment does not follow the one before it",
                0, 0);
    while (offset < segment->data_end) {
        if (!find_group(v, segment, offset, &group))
            break;
        if (address_offset(group.address) != offset)
            report_gap(v, number, offset, group.first_position);
        take_group(v, segment, &group);
        offset = address_offset(group.address) + group.group_len;
        if (v->events->progress != NULL)
            v->events->progress(v->events->arg,
                                (number - 1) * segment->info.segment_len +
                                    offset,
                                v->all_bytes, v->tail.position);
    }
    if (segment->sealed)
        check_footer(v, segment);
    else if (!last)
        finding(v, number, segment->data_end, "no valid footer", 0, 0);
    if (last && !segment->sealed &&
        !bytes_all_zero(segment->data + offset,
                        (size_t)(segment->info.segment_len - offset)))
        v->report->unfinished = true;
}

/* The segment cannot be read at all: its positions are lost. */
static void
skip_segment(struct verifier *v, uint64_t number, const struct err *err)
{
    uint64_t first = evlog_segment_first(v->log, number);
    uint64_t last = number < evlog_segment_count(v->log)
        ? evlog_segment_first(v->log, number + 1) - 1
        : 0;

    finding(v, number, 0, err->text, first, last);
    v->tail.position = last;
    v->chained = false;
}

int
log_verify(const struct sys *sys, const char *dir, bool quick,
           const struct verify_events *events, struct verify_report *ret_report,
           struct err *err)
{
    struct verifier v = {
        .events = events, .report = ret_report, .quick = quick, .chained = true
    };
    uint64_t count;
    int rc = evlog_open(sys, dir, &v.log, err);

    *ret_report = (struct verify_report){ 0 };
    if (rc < 0)
        return rc;
    count = evlog_segment_count(v.log);
    for (uint64_t number = 1; number <= count; number++) {
        struct segment *segment;
        struct err why;

        if (evlog_segment(v.log, number, &segment, &why) < 0) {
            skip_segment(&v, number, &why);
            continue;
        }
        /* Links lead into other segments, whose maps may take its place. */
        segment = segment_ref(segment);
        v.all_bytes = count * segment->info.segment_len;
        ret_report->segments++;
        verify_segment(&v, segment, number == count);
        segment_unref(&segment);
    }
    ret_report->last_position = v.tail.position;
    evlog_close(&v.log);
    return 0;
}
