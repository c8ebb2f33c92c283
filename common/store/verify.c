/* SPDX-License-Identifier: MPL-2.0 */
#include "store/verify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "store/chain.h"
#include "store/evlog_impl.h"
#include "store/jump.h"
#include "store/tailscan.h"

struct verifier {
    struct evlog *log;
    const struct verify_events *events;
    struct verify_report *report;
    struct tail tail; /* what has been read so far */
    uint64_t offset;  /* behind the last whole group of the segment */
    bool chained;     /* the next group must follow the tail */
    bool quick;
    uint64_t all_bytes;
};

static void
report(struct verifier *v, uint64_t segment, struct verify_finding *finding)
{
    char name[64];

    (void)snprintf(name, sizeof name, "%020" PRIu64 SEGMENT_SUFFIX,
                   evlog_segment_first(v->log, segment));
    finding->segment = name;
    v->report->findings++;
    if (v->events->finding != NULL)
        v->events->finding(v->events->arg, finding);
}

static void
finding(struct verifier *v, uint64_t segment, uint64_t offset, const char *what,
        uint64_t first, uint64_t last)
{
    struct verify_finding finding = {
        .byte = offset,
        .what = what,
        .first_position = first,
        .last_position = last,
    };

    report(v, segment, &finding);
}

static bool
is_known(const struct span *streams, uint32_t count, struct span stream)
{
    for (uint32_t i = 0; i < count; i++)
        if (streams[i].len == stream.len &&
            memcmp(streams[i].p, stream.p, stream.len) == 0)
            return true;
    return false;
}

/* A stretch [from, to) of a segment that is damaged, and whose events those
 * are of which the heads are whole. */
static void
damaged_range(struct verifier *v, const struct segment *segment, uint64_t from,
              uint64_t to, struct verify_finding *finding)
{
    struct span streams[VERIFY_STREAMS_MAX];
    uint32_t count = 0;

    for (uint64_t at = from; at < to && count < VERIFY_STREAMS_MAX; at += 8) {
        struct event event;

        if (event_decode(segment->data + at, (size_t)(to - at), &event) == 0 &&
            !is_known(streams, count, event.stream))
            streams[count++] = event.stream;
    }
    finding->byte = from;
    finding->streams = streams;
    finding->stream_count = count;
    report(v, segment->info.number, finding);
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
    struct verify_finding finding = {
        .byte = address_offset(address),
        .what = what,
        .first_position = position,
        .last_position = position,
        .streams = &link->name,
    };

    if (link->ordinal > 0 &&
        leads_to(v, &key, link->prev, link->ordinal - 1, address) &&
        leads_to(v, &key, link->jump, jump_ordinal(link->ordinal), address))
        return;
    (void)snprintf(what, sizeof what,
                   "the links of %s '%.*s' do not lead to its earlier events",
                   kind == KEY_STREAM ? "stream" : "tag", (int)link->name.len,
                   link->name.p);
    finding.stream_count = kind == KEY_STREAM;
    report(v, address_segment(address), &finding);
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
report_gap(struct verifier *v, const struct segment *segment, uint64_t from,
           uint64_t to, uint64_t next_position)
{
    struct verify_finding finding = {
        .what = "damaged: no whole group, but later ones were written",
        .first_position = v->tail.position + 1,
        .last_position = next_position - 1,
    };

    damaged_range(v, segment, from, to, &finding);
    v->chained = false;
}

/* Whether a writer has the log open; what is not whole may be so soon. */
static bool
is_written_now(const struct verifier *v)
{
    const struct sys *sys = evlog_sys(v->log);
    int fd = store_lock(sys, evlog_dir(v->log), SYS_READ);

    if (fd >= 0)
        sys_call(sys, close, fd);
    return fd == -CAIRN_ELOCKED;
}

/*
 * What stands behind the last whole group: an unfinished write, which its
 * writer finishes or the next one cuts off, or a group that may have been
 * durable.
 */
static void
check_tail(struct verifier *v, const struct segment *segment, uint64_t offset)
{
    struct verify_finding finding = {
        .what = "damaged: the last group is not whole, and it cannot be told "
                "whether it had become durable",
        .first_position = v->tail.position + 1,
    };
    struct tail tail = v->tail;
    struct tail_report judged;
    struct group_info group;
    char path[PATH_LEN_MAX];
    int rc;

    if (bytes_all_zero(segment->data + offset,
                       (size_t)(segment->info.segment_len - offset)))
        return;
    tail.address = address_of(segment->info.number, offset);
    rc = segment_path(path, evlog_dir(v->log), segment->info.first_position);
    if (rc == 0)
        rc = judge_tail(evlog_sys(v->log), path, &segment->info, &tail, &judged,
                        NULL);
    if (rc < 0) {
        finding.what = "the device does not read what stands behind the last "
                       "whole group";
        damaged_range(v, segment, offset, offset, &finding);
        return;
    }
    if (judged.verdict != TAIL_AMBIGUOUS || is_written_now(v)) {
        v->report->unfinished = true;
        return;
    }
    if (group_decode(segment->data + offset, segment->data_end - offset,
                     evlog_id(v->log), tail.address, &group) == 0)
        finding.last_position = group.last_position;
    damaged_range(v, segment, offset, judged.bad_end, &finding);
}

static void
check_footer(struct verifier *v, const struct segment *segment)
{
    const struct segment_end *end = &segment->end;

    size_t used = sizeof(struct segment_footer) +
        end->index_count * sizeof(struct index_entry);
    size_t left = (size_t)(segment->info.segment_len - segment->data_end);

    if (end->last_position > v->tail.position)
        report_gap(v, segment, v->offset, segment->data_end,
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

/*
 * What stands behind the groups of a segment that is full.  The one before
 * the last is sealed a little later, on a full disk much later, and if the
 * writer dies before, when it starts again.
 */
static void
check_unsealed(struct verifier *v, struct segment *segment, uint64_t offset,
               bool may_wait)
{
    uint64_t len = segment->info.segment_len;

    segment_look_for_footer(segment); /* it may have come meanwhile */
    if (segment->sealed)
        check_footer(v, segment);
    else if (!may_wait)
        finding(v, segment->info.number, segment->data_end, "no valid footer",
                0, 0);
    else if (!bytes_all_zero(segment->data + offset,
                             (size_t)(segment->data_end - offset)))
        finding(v, segment->info.number, offset,
                "bytes where a full segment holds only zeros", 0, 0);
    else if (!bytes_all_zero(segment->data + segment->data_end,
                             (size_t)(len - segment->data_end)) &&
             !is_written_now(v))
        finding(v, segment->info.number, segment->data_end,
                "no valid footer; the writer writes it anew when it starts", 0,
                0);
}

static void
verify_segment(struct verifier *v, struct segment *segment, uint64_t count)
{
    uint64_t number = segment->info.number;
    uint64_t offset = SECTOR_LEN;
    struct group_info group;
    bool last = number == count;

    if (number > 1 && v->chained &&
        (segment->info.first_position != v->tail.position + 1 ||
         segment->info.prev_group != v->tail.group ||
         segment->info.prev_crc != v->tail.crc))
        finding(v, number, 0, "the segment does not follow the one before it",
                0, 0);
    while (offset < segment->data_end) {
        if (!evlog_find_group(v->log, segment, offset, &group))
            break;
        if (address_offset(group.address) != offset)
            report_gap(v, segment, offset, address_offset(group.address),
                       group.first_position);
        take_group(v, segment, &group);
        offset = address_offset(group.address) + group.group_len;
        if (v->events->progress != NULL)
            v->events->progress(v->events->arg,
                                (number - 1) * segment->info.segment_len +
                                    offset,
                                v->all_bytes, v->tail.position);
    }
    v->offset = offset;
    if (segment->sealed)
        check_footer(v, segment);
    else if (!last)
        check_unsealed(v, segment, offset, number + 1 == count);
    if (last && !segment->sealed)
        check_tail(v, segment, offset);
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
    if (last > 0)
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
    int rc = evlog_open_damaged(sys, dir, &v.log, err);

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
        verify_segment(&v, segment, count);
        segment_unref(&segment);
    }
    ret_report->last_position = v.tail.position;
    evlog_close(&v.log);
    return 0;
}
