/* SPDX-License-Identifier: MPL-2.0 */
#include "store/evlog_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "store/decode.h"

#define LINE_LEN 64u /* bytes: a line of the cache */

/* ---- the list of segments ---------------------------------------------- */

int
evlog_add_entry(struct evlog *log, uint64_t first_position)
{
    if (log->count == log->capacity) {
        size_t capacity = log->capacity == 0 ? 16 : log->capacity * 2;
        struct evlog_entry *entries =
            reallocarray(log->entries, capacity, sizeof *entries);

        if (entries == NULL)
            return -ENOMEM;
        log->entries = entries;
        log->capacity = capacity;
    }
    log->entries[log->count++] = (struct evlog_entry){
        .first_position = first_position,
    };
    return 0;
}

static int
entries_add_name(void *arg, const char *name)
{
    struct evlog *log = arg;
    uint64_t first_position;

    if (strcmp(name, RESTORE_MARKER) == 0)
        log->is_unfinished = true;
    return segment_name_parse(name, &first_position)
        ? evlog_add_entry(log, first_position)
        : 0;
}

static int
entries_compare(const void *a, const void *b)
{
    const struct evlog_entry *left = a, *right = b;

    return (left->first_position > right->first_position) -
        (left->first_position < right->first_position);
}

/* Unmaps what has not been touched for longest, if there is no place left. */
static void
make_place(struct evlog *log)
{
    size_t place = 0;

    if (log->map_count < EVLOG_MAPS_MAX)
        return;
    for (size_t i = 1; i < log->map_count; i++)
        if (log->entries[log->mapped[i]].used <
            log->entries[log->mapped[place]].used)
            place = i;
    log->last_number = 0;
    segment_unref(&log->entries[log->mapped[place]].segment);
    log->mapped[place] = log->mapped[--log->map_count];
}

static void
keep_map(struct evlog *log, size_t index, struct segment *segment)
{
    log->entries[index].segment = segment;
    log->mapped[log->map_count++] = index;
}

/* The last segment knows its number; so many there must be. */
static int
entries_check(struct evlog *log, struct err *err)
{
    struct evlog_entry *last = &log->entries[log->count - 1];
    struct segment *segment;
    int rc =
        segment_open(log->sys, log->dir, last->first_position, &segment, err);

    if (rc < 0)
        return rc;
    keep_map(log, log->count - 1, segment);
    log->id = segment->info.log_id;
    if (segment->info.number != log->count)
        return err_set(err, -CAIRN_EDAMAGED,
                       "log %s: %zu segments are there, but the last one, "
                       "which begins at position %" PRIu64 ", has number "
                       "%" PRIu64 ": put the missing ones back",
                       log->dir, log->count, last->first_position,
                       segment->info.number);
    if (log->entries[0].first_position != 1)
        return err_set(err, -CAIRN_EDAMAGED,
                       "log %s: the first segment begins at position "
                       "%" PRIu64 ", not at 1",
                       log->dir, log->entries[0].first_position);
    return 0;
}

int
evlog_list(const struct sys *sys, const char *dir, struct evlog **ret_log,
           struct err *err)
{
    struct evlog *log = calloc(1, sizeof *log);
    int rc;

    if (log == NULL)
        return err_sys(err, -ENOMEM, "log %s", dir);
    log->sys = sys;
    if (snprintf(log->dir, sizeof log->dir, "%s", dir) >=
        (int)sizeof log->dir) {
        rc = err_sys(err, -ENAMETOOLONG, "log %s", dir);
        goto fail;
    }
    rc = sys_call(sys, list, dir, entries_add_name, log);
    if (rc < 0) {
        (void)err_sys(err, rc, "log %s: cannot list the directory", dir);
        goto fail;
    }
    if (log->is_unfinished) {
        rc = restore_unfinished(dir, err);
        goto fail;
    }
    if (log->count == 0) {
        rc = err_set(err, -ENOENT, "log %s: there is no segment in it", dir);
        goto fail;
    }
    qsort(log->entries, log->count, sizeof *log->entries, entries_compare);
    *ret_log = log;
    return 0;

fail:
    evlog_close(&log);
    return rc;
}

int
evlog_open(const struct sys *sys, const char *dir, struct evlog **ret_log,
           struct err *err)
{
    struct evlog *log;
    int rc = evlog_list(sys, dir, &log, err);

    if (rc < 0)
        return rc;
    rc = entries_check(log, err);
    if (rc < 0) {
        evlog_close(&log);
        return rc;
    }
    *ret_log = log;
    return 0;
}

void
evlog_close(struct evlog **log)
{
    struct evlog *l = *log;

    *log = NULL;
    if (l == NULL)
        return;
    for (size_t i = 0; i < l->count; i++) {
        segment_unref(&l->entries[i].segment);
        index_free(&l->entries[i].index);
    }
    free(l->entries);
    free(l);
}

const struct sys *
evlog_sys(const struct evlog *log)
{
    return log->sys;
}

const char *
evlog_dir(const struct evlog *log)
{
    return log->dir;
}

struct uuid
evlog_id(const struct evlog *log)
{
    return log->id;
}

uint64_t
evlog_segment_count(const struct evlog *log)
{
    return log->count;
}

uint64_t
evlog_segment_first(const struct evlog *log, uint64_t number)
{
    return log->entries[number - 1].first_position;
}

static int
map_segment(struct evlog *log, uint64_t number, struct err *err)
{
    struct evlog_entry *e = &log->entries[number - 1];
    struct segment *segment;
    int rc;

    if (e->missing) {
        (void)err_set(err, -CAIRN_EDAMAGED,
                      "log %s: segment number %" PRIu64 ", from position "
                      "%" PRIu64 " on, is missing",
                      log->dir, number, e->first_position);
        return -CAIRN_EDAMAGED;
    }
    make_place(log);
    rc = segment_open(log->sys, log->dir, e->first_position, &segment, err);
    if (rc == -ENOENT) { /* others have seen it */
        rc = -CAIRN_EDAMAGED;
        if (err != NULL)
            err->code = rc;
    }
    if (rc < 0)
        return rc;
    if (segment->info.number != number ||
        !uuid_equal(segment->info.log_id, log->id)) {
        bool other = !uuid_equal(segment->info.log_id, log->id);

        segment_unref(&segment);
        return err_set(err, other ? -CAIRN_EOTHERLOG : -CAIRN_EDAMAGED,
                       "log %s: the segment that begins at position %" PRIu64
                       " %s",
                       log->dir, e->first_position,
                       other ? "belongs to another log"
                             : "has another number than its place");
    }
    keep_map(log, (size_t)number - 1, segment);
    return 0;
}

int
evlog_segment(struct evlog *log, uint64_t number, struct segment **ret_segment,
              struct err *err)
{
    struct evlog_entry *e;
    int rc;

    if (number == 0 || number > log->count)
        return err_set(err, -CAIRN_EDAMAGED,
                       "log %s: something points to segment number %" PRIu64
                       ", but there are %zu",
                       log->dir, number, log->count);
    e = &log->entries[number - 1];
    e->used = ++log->clock;
    if (e->segment == NULL) {
        rc = map_segment(log, number, err);
        if (rc < 0)
            return rc;
    }
    log->last_number = number;
    log->last = e->segment;
    *ret_segment = e->segment;
    return 0;
}

int
evlog_look_for_segment(struct evlog *log, uint64_t first_position,
                       struct err *err)
{
    char path[PATH_LEN_MAX];
    struct segment *segment;
    int fd, rc;

    if (first_position <= log->entries[log->count - 1].first_position)
        return 0;
    rc = segment_path(path, log->dir, first_position);
    if (rc < 0)
        return err_sys(err, rc, "log %s", log->dir);
    fd = sys_call(log->sys, open, path, SYS_READ);
    if (fd == -ENOENT)
        return 0;
    if (fd < 0)
        return err_sys(err, fd, "cannot open %s", path);
    sys_call(log->sys, close, fd);

    rc = evlog_add_entry(log, first_position);
    if (rc < 0)
        return err_sys(err, rc, "log %s", log->dir);
    rc = evlog_segment(log, log->count, &segment, err);
    if (rc < 0) {
        log->count--;
        return rc;
    }
    return 1;
}

/* ---- records ----------------------------------------------------------- */

int
evlog_damaged(const struct evlog *log, uint64_t address, struct err *err,
              const char *what)
{
    uint64_t number = address_segment(address);
    uint64_t first = number >= 1 && number <= log->count
        ? log->entries[number - 1].first_position
        : 0;

    return err_set(err, -CAIRN_EDAMAGED,
                   "log %s: segment %020" PRIu64 SEGMENT_SUFFIX
                   ", byte %" PRIu64 ": %s",
                   log->dir, first, address_offset(address), what);
}

int
evlog_bytes_at(struct evlog *log, uint64_t address, const uint8_t **ret_p,
               size_t *ret_left, struct err *err)
{
    struct segment *segment = NULL;
    uint64_t offset = address_offset(address);
    int rc = evlog_segment(log, address_segment(address), &segment, err);

    if (rc < 0)
        return rc;
    if (offset < SECTOR_LEN || offset > segment->data_end)
        return evlog_damaged(log, address, err,
                             "something points here, but the "
                             "data area does not reach here");
    *ret_p = segment->data + offset;
    *ret_left = (size_t)(segment->data_end - offset);
    return 0;
}

int
evlog_event_at(struct evlog *log, uint64_t address, struct event *ret_event,
               struct err *err)
{
    const uint8_t *p;
    size_t left;
    int rc = evlog_bytes_at(log, address, &p, &left, err);

    if (rc < 0)
        return rc;
    /* The whole head is needed: not one miss of the cache after the other. */
    __builtin_prefetch(p + LINE_LEN);
    __builtin_prefetch(p + 2 * LINE_LEN);
    if (event_decode(p, left, ret_event) < 0)
        return evlog_damaged(log, address, err,
                             "no valid event, but a link or the "
                             "version table points here");
    return 0;
}

int
evlog_commit_at(struct evlog *log, uint64_t address, struct commit *ret_commit,
                struct err *err)
{
    const uint8_t *p;
    size_t left;
    int rc = evlog_bytes_at(log, address, &p, &left, err);

    if (rc < 0)
        return rc;
    if (commit_decode(p, left, ret_commit) < 0)
        return evlog_damaged(log, address, err,
                             "no valid commit, but something points here");
    return 0;
}

#define GROUP_CHECK_MAX (256u << 10) /* bytes: a longer one, record by record */

#define READ_AHEAD GROUP_CHECK_MAX /* bytes: the group that is next, or more */

/* Checks the group whose header the cursor is at as a whole.  If it is not as
 * it should be, its records will tell which of them are not. */
static void
check_group(const struct evlog *log, struct cursor *cursor, const uint8_t *p,
            size_t left)
{
    struct group_info group;

    if (group_decode(p, left, log->id, cursor->address, &group) == 0 &&
        group.group_len <= GROUP_CHECK_MAX &&
        crc32c(p + sizeof(struct group_header),
               group.group_len - sizeof(struct group_header)) == group.body_crc)
        cursor->checked_to = cursor->address + group.group_len;
}

/*
 * Has the memory on its way that will be summed when `len` more bytes have
 * been walked over, so that it does not stand idle meanwhile.
 */
static inline void
read_ahead(const uint8_t *p, uint32_t len)
{
    const uint8_t *ahead = p + READ_AHEAD, *end = ahead + len;

    for (; ahead < end; ahead += 2 * LINE_LEN) {
        __builtin_prefetch(ahead, 0, 2);
        __builtin_prefetch(ahead + LINE_LEN, 0, 2);
        /* Some compilers take a loop that only prefetches for an empty one. */
        __asm__ volatile("" : "+r"(ahead));
    }
}

/*
 * The next event and the cursor behind it, if the checksum of its group
 * vouches for it and it lies in the segment that was touched last.  Bounds are
 * looked at all the same.
 */
static inline __attribute__((always_inline)) bool
take_checked(const struct evlog *log, struct cursor *cursor,
             struct event *ret_event)
{
    uint64_t address = cursor->address;
    const uint8_t *p;

    if (address >= cursor->checked_to ||
        address_segment(address) != log->last_number)
        return false;
    p = log->last->data + address_offset(address);
    for (;;) {
        uint32_t kind, len;

        if (shape_decode(p, (size_t)(cursor->checked_to - address), &kind,
                         &len) < 0)
            return false;
        if (kind == RECORD_EVENT) {
            const struct event_record *r = (const void *)p;

            if (le64_get(r->position) != cursor->position ||
                event_fields(p, len, ret_event) < 0)
                return false;
            read_ahead(p, len);
            cursor->address = address + len;
            cursor->position++;
            return true;
        }
        address += len;
        p += len;
    }
}

/* The event at the cursor or behind it; `groups`: check whole groups. */
static int
settle(struct evlog *log, struct cursor *cursor, bool groups,
       struct event *ret_event, struct err *err)
{
    for (;;) {
        const uint8_t *p;
        size_t left;
        struct cursor behind = *cursor;
        enum record_kind kind;
        uint32_t len;
        int rc = evlog_bytes_at(log, cursor->address, &p, &left, err);

        if (rc < 0)
            return rc;
        if (take_checked(log, &behind, ret_event)) {
            cursor->address = behind.address - ret_event->record_len;
            return 0;
        }
        if (left < sizeof(struct record_prefix) ||
            bytes_all_zero(p, sizeof(struct record_prefix))) {
            uint64_t number = address_segment(cursor->address) + 1;

            if (number > log->count) {
                rc = evlog_look_for_segment(log, cursor->position, err);
                if (rc < 0)
                    return rc;
            }
            if (number > log->count ||
                log->entries[number - 1].first_position != cursor->position)
                return evlog_damaged(
                    log, cursor->address, err,
                    "the data ends before the watermark, and no "
                    "segment goes on from here");
            cursor->address = address_of(number, SECTOR_LEN);
            continue;
        }
        if (record_check(p, left, &kind, &len) < 0)
            return evlog_damaged(log, cursor->address, err,
                                 "checksum mismatch, or no record");
        if (kind != RECORD_EVENT) {
            if (kind == RECORD_GROUP && groups)
                check_group(log, cursor, p, left);
            cursor->address += len;
            continue;
        }
        if (event_view(p, left, ret_event) < 0 ||
            ret_event->position != cursor->position)
            return evlog_damaged(
                log, cursor->address, err,
                "an event with another position than its place");
        return 0;
    }
}

int
evlog_settle(struct evlog *log, struct cursor *cursor, struct event *ret_event,
             struct err *err)
{
    return settle(log, cursor, false, ret_event, err);
}

static void
step_over(struct cursor *cursor, const struct event *event)
{
    cursor->address += event->record_len;
    cursor->position++;
}

/* take_whole() where no group that has been checked goes on. */
static __attribute__((noinline)) int
take_unchecked(struct evlog *log, struct cursor *cursor,
               struct event *ret_event, struct err *err)
{
    struct cursor at = *cursor;
    int rc = settle(log, &at, true, ret_event, err);

    if (rc == 0 && at.address >= at.checked_to &&
        event_check_body(ret_event) < 0)
        rc = evlog_damaged(log, at.address, err,
                           "checksum mismatch in the data of an event");
    if (rc < 0)
        return rc;
    step_over(&at, ret_event);
    *cursor = at;
    return 1;
}

/*
 * The next event, whole groups or its body checked, and the cursor behind it:
 * 1; on failure it has not moved.
 */
static inline int
take_whole(struct evlog *log, struct cursor *cursor, struct event *ret_event,
           struct err *err)
{
    return take_checked(log, cursor, ret_event)
        ? 1
        : take_unchecked(log, cursor, ret_event, err);
}

int
evlog_step(struct evlog *log, struct cursor *cursor, uint64_t watermark,
           struct event *ret_event, struct err *err)
{
    struct cursor at = *cursor;
    int rc;

    if (at.position > watermark)
        return 0;
    rc = evlog_settle(log, &at, ret_event, err);
    if (rc < 0)
        return rc;
    step_over(&at, ret_event);
    *cursor = at;
    return 1;
}

int
evlog_next(struct evlog *log, struct cursor *cursor, uint64_t watermark,
           struct event *ret_event, struct err *err)
{
    return cursor->position > watermark
        ? 0
        : take_whole(log, cursor, ret_event, err);
}

/* What a range may still take. */
struct room {
    uint64_t watermark;
    size_t len;
    uint32_t event_count;
};

/*
 * Takes the whole group before which the cursor stands: its checksum vouches
 * for all that is in it, and nobody has to walk over its events.
 *
 * Returns the number of its events, and the cursor is behind it; 0 if the
 * cursor stands elsewhere, or the bytes are not in order: record by record,
 * then; -ENOBUFS if there is not room for all of it.
 */
static int64_t
take_group(struct evlog *log, struct cursor *cursor, const struct room *room)
{
    struct group_info group;
    const uint8_t *p;
    uint64_t count;
    size_t left;

    if (evlog_bytes_at(log, cursor->address, &p, &left, NULL) < 0 ||
        group_decode(p, left, log->id, cursor->address, &group) < 0 ||
        group.first_position != cursor->position)
        return 0;
    count = group.last_position - group.first_position + 1;
    if (group.last_position > room->watermark || count > room->event_count ||
        group.group_len > room->len)
        return -ENOBUFS;
    if (crc32c(p + sizeof(struct group_header),
               group.group_len - sizeof(struct group_header)) != group.body_crc)
        return 0;
    cursor->address += group.group_len;
    cursor->position += count;
    cursor->checked_to = cursor->address;
    return (int64_t)count;
}

/* Moves on over the padding at the end of a group that has been checked. */
static void
pass_padding(struct evlog *log, struct cursor *cursor)
{
    const uint8_t *p;
    size_t left;
    uint32_t kind, len;

    while (cursor->address < cursor->checked_to &&
           evlog_bytes_at(log, cursor->address, &p, &left, NULL) == 0 &&
           shape_decode(p, left, &kind, &len) == 0 && kind == RECORD_PAD)
        cursor->address += len;
}

int
evlog_range(struct evlog *log, struct cursor *cursor, uint64_t watermark,
            size_t len_max, uint32_t event_max, struct log_range *ret_range,
            struct err *err)
{
    struct cursor behind = *cursor; /* what was taken */
    struct segment *segment;
    uint64_t start = 0;
    uint32_t count = 0;
    int rc;

    while (count < event_max && behind.position <= watermark) {
        struct cursor at = behind;
        struct room room = { watermark, len_max, event_max - count };
        struct event event;
        int64_t taken;

        pass_padding(log, &at);
        if (count == 0)
            start = at.address;
        room.len -= at.address - start < len_max ? at.address - start : len_max;
        taken = take_group(log, &at, &room);
        if (taken < 0 && count > 0)
            break;
        if (taken > 0) {
            count += (uint32_t)taken;
            behind = at;
            continue;
        }
        rc = take_whole(log, &at, &event, err);
        if (rc < 0 && count == 0)
            return rc;
        if (rc < 0) /* the next call will meet it again, and say so */
            break;
        if (count == 0)
            start = at.address - event.record_len;
        if (address_segment(at.address) != address_segment(start) ||
            (count > 0 && at.address - start > len_max))
            break;
        count++;
        behind = at;
    }
    if (count == 0)
        return 0;
    rc = evlog_segment(log, address_segment(start), &segment, err);
    if (rc < 0)
        return rc;
    *ret_range = (struct log_range){
        .data = segment->data + address_offset(start),
        .len = (size_t)(behind.address - start),
        .event_count = count,
        .segment = segment_ref(segment),
    };
    *cursor = behind;
    return 1;
}
