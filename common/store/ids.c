/* SPDX-License-Identifier: MPL-2.0 */
#include "store/ids.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <sodium.h>

#include "base/crc32c.h"

#define IDS_MAGIC "CAIRNIDS"
#define IDS_MAPS_MAX 8192u /* files mapped at a time: 1 TiB of log by default */

/*
 *   off  size  field
 *     0     8  magic       "CAIRNIDS"
 *     8    16  log_id
 *    24     8  number      of the segment
 *    32     4  slot_count  a power of two
 *    36     4  count       of ids
 *    40    16  hash_key
 *    56     4  body_crc    CRC-32C of the tail; if there is none, of the slots
 *    60     4  crc         CRC-32C of [0, 60)
 */
struct ids_header {
    uint8_t magic[8];
    struct uuid log_id;
    struct le64 number;
    struct le32 slot_count, count;
    uint8_t hash_key[crypto_shorthash_KEYBYTES];
    struct le32 body_crc, crc;
};

struct span_disk {
    struct le64 min_ms, max_ms;
};

#define PAGE_SLOTS 512u

/*
 *   off  size  field
 *     0    48  spans     of ids behind, about right, ahead
 *    48   4*p  page_crc  CRC-32C of each 512 slots, the last may be fewer
 */
struct ids_tail {
    struct span_disk spans[ID_SPANS];
    struct le32 page_crc[];
};

_Static_assert(sizeof(struct ids_header) == 64 && sizeof(struct ids_tail) == 48,
               "format");

/* ---- files ------------------------------------------------------------- */

static int
ids_path(char path[PATH_LEN_MAX], const char *dir, uint64_t first_position,
         const char *suffix)
{
    char name[40];

    (void)snprintf(name, sizeof name, "%020" PRIu64 "%s", first_position,
                   suffix);
    return store_path(path, dir, name);
}

static size_t
page_count(uint32_t slot_count)
{
    return (slot_count + PAGE_SLOTS - 1) / PAGE_SLOTS;
}

static size_t
tail_len(uint32_t slot_count)
{
    return sizeof(struct ids_tail) +
        page_count(slot_count) * sizeof(struct le32);
}

static uint32_t
page_crc(const struct id_set *set, size_t page)
{
    size_t first = page * PAGE_SLOTS, count = set->slot_count - first;

    if (count > PAGE_SLOTS)
        count = PAGE_SLOTS;
    return crc32c(set->slots + first, count * sizeof *set->slots);
}

static struct ids_tail *
tail_make(const struct id_set *set)
{
    struct ids_tail *tail = malloc(tail_len(set->slot_count));

    if (tail == NULL)
        return NULL;
    for (uint32_t i = 0; i < ID_SPANS; i++)
        tail->spans[i] = (struct span_disk){ le64_of(set->spans.of[i].min_ms),
                                             le64_of(set->spans.of[i].max_ms) };
    for (size_t page = 0; page < page_count(set->slot_count); page++)
        tail->page_crc[page] = le32_of(page_crc(set, page));
    return tail;
}

/* Writes header, slots and tail to a new file. */
static int
write_parts(const struct sys *sys, const char *path, const struct ids_header *h,
            const struct id_set *set, const struct ids_tail *tail)
{
    size_t slots_len = set->slot_count * sizeof *set->slots;
    int rc, fd = sys_call(sys, open, path, SYS_CREATE);

    if (fd < 0)
        return fd;
    rc = sys_call(sys, write, fd, h, sizeof *h, 0);
    if (rc == 0)
        rc = sys_call(sys, write, fd, set->slots, slots_len, sizeof *h);
    if (rc == 0)
        rc = sys_call(sys, write, fd, tail, tail_len(set->slot_count),
                      sizeof *h + slots_len);
    if (rc == 0)
        rc = sys_call(sys, sync, fd);
    sys_call(sys, close, fd);
    return rc;
}

int
ids_write(const struct sys *sys, const char *dir, struct uuid log_id,
          uint64_t number, uint64_t first_position, const struct id_set *set,
          struct err *err)
{
    struct ids_tail *tail;
    struct ids_header h = {
        .magic = IDS_MAGIC,
        .log_id = log_id,
        .number = le64_of(number),
        .slot_count = le32_of(set->slot_count),
        .count = le32_of(set->count),
    };
    char tmp[PATH_LEN_MAX], path[PATH_LEN_MAX];
    int rc = ids_path(path, dir, first_position, ".ids");

    if (rc == 0)
        rc = ids_path(tmp, dir, first_position, ".ids.tmp");
    if (rc < 0)
        return err_sys(err, rc, "%s", dir);
    tail = tail_make(set);
    if (tail == NULL)
        return err_sys(err, -ENOMEM, "command ids");
    memcpy(h.hash_key, set->hash_key, sizeof h.hash_key);
    h.body_crc = le32_of(crc32c(tail, tail_len(set->slot_count)));
    h.crc = le32_of(crc32c(&h, offsetof(struct ids_header, crc)));
    rc = write_parts(sys, tmp, &h, set, tail);
    free(tail);
    if (rc == 0)
        rc = sys_call(sys, rename, tmp, path);
    if (rc == 0)
        rc = sys_call(sys, sync_dir, dir);
    if (rc < 0) {
        (void)sys_call(sys, remove, tmp); /* emptied next time anyway */
        return err_sys(err, rc, "cannot write %s", path);
    }
    return 0;
}

/* A file of ids, mapped; `set` borrows from the map. */
struct ids_file {
    void *data; /* NULL: not mapped */
    size_t len;
    struct id_set set;
    const struct ids_tail *tail; /* NULL: all of the slots have been checked */
    uint64_t *checked;           /* a bit for each page that has been */
    bool in_memory; /* it could not be written: the set owns its slots */
};

/* Of a segment what its header says of the ids before it, and when its own are
 * from.  It is kept, for there may be more segments than files can be mapped. */
struct known_times {
    struct id_times before;
    bool before_known;
    bool spans_known;
    struct id_spans spans;
};

struct ids {
    struct evlog *log;
    struct ids_file *files;    /* files[i] belongs to segment i + 1 */
    struct known_times *times; /* likewise */
    uint64_t file_count;
    uint64_t map_count;
    uint64_t evict_next; /* round and round */
    uint64_t searched;   /* sets */
};

int
ids_open(struct evlog *log, struct ids **ret_ids, struct err *err)
{
    struct ids *ids = calloc(1, sizeof *ids);

    if (ids == NULL)
        return err_sys(err, -ENOMEM, "command ids");
    ids->log = log;
    *ret_ids = ids;
    return 0;
}

static void
forget_file(struct ids *ids, struct ids_file *file)
{
    if (file->data != NULL) {
        sys_call(evlog_sys(ids->log), unmap, file->data, file->len);
        ids->map_count--;
    }
    if (file->in_memory)
        id_set_free(&file->set);
    free(file->checked);
    *file = (struct ids_file){ 0 };
}

void
ids_close(struct ids **ids)
{
    struct ids *i = *ids;

    *ids = NULL;
    if (i == NULL)
        return;
    for (uint64_t n = 0; n < i->file_count; n++)
        forget_file(i, &i->files[n]);
    free(i->files);
    free(i->times);
    free(i);
}

/* Where the slots end in a file. */
static size_t
slots_end(uint32_t slot_count)
{
    return sizeof(struct ids_header) + slot_count * sizeof(uint64_t);
}

/* Where the tail begins if there is one, else where the slots do. */
static size_t
checked_from(uint32_t slot_count, size_t len)
{
    return len == slots_end(slot_count) ? sizeof(struct ids_header)
                                        : slots_end(slot_count);
}

static bool
ids_valid(const uint8_t *data, size_t len, struct uuid log_id, uint64_t number)
{
    const struct ids_header *h = (const void *)data;
    uint32_t slot_count;
    size_t from;

    if (len < sizeof *h || memcmp(h->magic, IDS_MAGIC, sizeof h->magic) != 0 ||
        le32_get(h->crc) != crc32c(h, offsetof(struct ids_header, crc)) ||
        !uuid_equal(h->log_id, log_id) || le64_get(h->number) != number)
        return false;
    slot_count = le32_get(h->slot_count);
    if (slot_count < ID_SET_SLOTS_MIN || (slot_count & (slot_count - 1)) != 0 ||
        le32_get(h->count) > slot_count / 2 ||
        (len != slots_end(slot_count) &&
         len != slots_end(slot_count) + tail_len(slot_count)))
        return false;
    from = checked_from(slot_count, len);
    return le32_get(h->body_crc) == crc32c(data + from, len - from);
}

/* Takes the tail of a mapped file in, if there is one; -ENOMEM. */
static int
take_tail(struct ids *ids, uint64_t number, struct ids_file *file)
{
    struct known_times *times = &ids->times[number - 1];
    size_t pages = page_count(file->set.slot_count);

    if (file->len == slots_end(file->set.slot_count))
        return 0;
    file->checked = calloc((pages + 63) / 64, sizeof *file->checked);
    if (file->checked == NULL)
        return -ENOMEM;
    file->tail = (const void *)((const uint8_t *)file->data +
                                slots_end(file->set.slot_count));
    for (uint32_t i = 0; i < ID_SPANS; i++)
        times->spans.of[i] =
            (struct id_span){ le64_get(file->tail->spans[i].min_ms),
                              le64_get(file->tail->spans[i].max_ms) };
    times->spans_known = true;
    return 0;
}

static bool
page_is_whole(struct ids_file *file, size_t page)
{
    uint64_t bit = UINT64_C(1) << page % 64;

    if (file->checked[page / 64] & bit)
        return true;
    if (page_crc(&file->set, page) != le32_get(file->tail->page_crc[page]))
        return false;
    file->checked[page / 64] |= bit;
    return true;
}

/* Whether the slots are as they were written in which a print can lie. */
static bool
run_is_whole(struct ids_file *file, uint32_t print)
{
    uint32_t mask = file->set.slot_count - 1;

    for (uint32_t i = 0; file->tail != NULL && i <= mask; i++) {
        uint32_t slot = (print + i) & mask;

        if ((i == 0 || slot % PAGE_SLOTS == 0) &&
            !page_is_whole(file, slot / PAGE_SLOTS))
            return false;
        if (file->set.slots[slot] == 0)
            break;
    }
    return true;
}

/* Maps the file; -CAIRN_ERECORD if it is not there or not valid. */
static int
map_file(struct ids *ids, uint64_t number, struct err *err)
{
    const struct sys *sys = evlog_sys(ids->log);
    const struct ids_header *h;
    struct ids_file file = { 0 };
    char path[PATH_LEN_MAX];
    uint64_t len = 0;
    int fd,
        rc = ids_path(path, evlog_dir(ids->log),
                      evlog_segment_first(ids->log, number), ".ids");

    if (rc < 0)
        return err_sys(err, rc, "%s", evlog_dir(ids->log));
    fd = sys_call(sys, open, path, SYS_READ);
    if (fd == -ENOENT)
        return -CAIRN_ERECORD;
    if (fd < 0)
        return err_sys(err, fd, "cannot open %s", path);
    rc = sys_call(sys, length, fd, &len);
    file.len = (size_t)len;
    if (rc == 0 && len < sizeof *h)
        rc = -CAIRN_ERECORD;
    if (rc == 0)
        rc = sys_call(sys, map, fd, file.len, false, &file.data);
    sys_call(sys, close, fd);
    if (rc < 0)
        return rc == -CAIRN_ERECORD ? rc
                                    : err_sys(err, rc, "cannot map %s", path);
    if (!ids_valid(file.data, file.len, evlog_id(ids->log), number)) {
        sys_call(sys, unmap, file.data, file.len);
        return -CAIRN_ERECORD;
    }
    h = file.data;
    file.set.slots = (void *)((uint8_t *)file.data + sizeof *h);
    file.set.slot_count = le32_get(h->slot_count);
    file.set.count = le32_get(h->count);
    memcpy(file.set.hash_key, h->hash_key, sizeof file.set.hash_key);
    ids->files[number - 1] = file;
    ids->map_count++;
    rc = take_tail(ids, number, &ids->files[number - 1]);
    if (rc == 0)
        return 0;
    forget_file(ids, &ids->files[number - 1]);
    return err_sys(err, rc, "command ids");
}

int
ids_collect(struct evlog *log, uint64_t number, uint64_t end,
            struct id_set *set, struct id_times *times, struct err *err)
{
    uint64_t at = SECTOR_LEN;

    while (at < end) {
        const uint8_t *p;
        size_t left;
        struct commit commit;
        enum record_kind kind;
        uint32_t len;
        int rc = evlog_bytes_at(log, address_of(number, at), &p, &left, err);

        if (rc < 0)
            return rc;
        if (record_check(p, left, &kind, &len) < 0)
            return err_set(err, -CAIRN_EDAMAGED,
                           "log %s: segment number %" PRIu64 ", byte %" PRIu64
                           ": checksum mismatch, or no record",
                           evlog_dir(log), number, at);
        if (kind == RECORD_COMMIT && commit_decode(p, left, &commit) == 0) {
            rc = id_set_add(set, id_set_print(set, commit.command_id),
                            (uint32_t)at);
            if (rc < 0)
                return err_sys(err, rc, "command ids");
            id_times_add(times, commit.command_id);
            id_set_note(set, commit.command_id, commit.time_us);
            len = commit.commit_len;
        }
        at += len;
    }
    return 0;
}

/* Reads the ids of a sealed segment, and makes their file; *ret_written tells
 * whether that could be done. */
static int
make_file(struct ids *ids, uint64_t number, struct id_set *set,
          bool *ret_written, struct err *err)
{
    struct id_times times = { 0 };
    struct segment *segment;
    int rc = evlog_segment(ids->log, number, &segment, err);

    if (rc < 0)
        return rc;
    segment_look_for_footer(segment); /* it may have been mapped before */
    if (!segment->sealed)
        return err_set(err, -CAIRN_EDAMAGED,
                       "log %s: segment number %" PRIu64 " is not sealed, but "
                       "a later one exists",
                       evlog_dir(ids->log), number);
    rc = ids_collect(ids->log, number, segment->end.data_end, set, &times, err);
    if (rc == 0)
        *ret_written =
            ids_write(evlog_sys(ids->log), evlog_dir(ids->log),
                      evlog_id(ids->log), number,
                      evlog_segment_first(ids->log, number), set, NULL) == 0;
    return rc;
}

/*
 * Makes the file of a sealed segment that has none, or a bad one.  If it
 * cannot be written, as on a full disk, the set stays in memory.
 */
static int
rebuild_file(struct ids *ids, uint64_t number, struct err *err)
{
    struct ids_file file = { .in_memory = true };
    bool written;
    int rc;

    id_set_init(&file.set, NULL);
    rc = make_file(ids, number, &file.set, &written, err);
    if (rc < 0 || written)
        id_set_free(&file.set);
    else
        ids->files[number - 1] = file;
    return rc == 0 && written ? map_file(ids, number, err) : rc;
}

int
ids_make_missing(struct ids *ids, uint64_t number, struct err *err)
{
    const struct sys *sys = evlog_sys(ids->log);
    struct id_set set;
    char path[PATH_LEN_MAX];
    bool written = true;
    int fd,
        rc = ids_path(path, evlog_dir(ids->log),
                      evlog_segment_first(ids->log, number), ".ids");

    if (rc < 0)
        return err_sys(err, rc, "%s", evlog_dir(ids->log));
    fd = sys_call(sys, open, path, SYS_READ);
    if (fd >= 0)
        sys_call(sys, close, fd);
    if (fd != -ENOENT)
        return 0; /* whatever it is: who looks into it will see */
    id_set_init(&set, NULL);
    rc = make_file(ids, number, &set, &written, err);
    id_set_free(&set);
    return rc == 0 && !written ? -ENOSPC : rc;
}

/* Room for segments up to a number. */
static int
reserve(struct ids *ids, uint64_t number, struct err *err)
{
    size_t more = (size_t)(number - ids->file_count);
    struct known_times *times;
    struct ids_file *files;

    files = reallocarray(ids->files, (size_t)number, sizeof *files);
    if (files != NULL)
        ids->files = files;
    times = reallocarray(ids->times, (size_t)number, sizeof *times);
    if (times != NULL)
        ids->times = times;
    if (files == NULL || times == NULL)
        return err_sys(err, -ENOMEM, "command ids");
    memset(files + ids->file_count, 0, more * sizeof *files);
    memset(times + ids->file_count, 0, more * sizeof *times);
    ids->file_count = number;
    return 0;
}

/* What the header of a segment says of the ids before it. */
static int
times_before(struct ids *ids, uint64_t number, struct id_times *ret_before,
             struct err *err)
{
    struct known_times *times = &ids->times[number - 1];
    struct segment *segment;

    if (!times->before_known) {
        int rc = evlog_segment(ids->log, number, &segment, err);

        if (rc < 0)
            return rc;
        times->before = (struct id_times){ segment->info.ids_time_max_ms,
                                           segment->info.ids_other_count };
        times->before_known = true;
    }
    *ret_before = times->before;
    return 0;
}

/* The set of a segment, from its file or made again; with *print of an id. */
static int
ids_file(struct ids *ids, uint64_t number, struct uuid id,
         struct ids_file **ret_file, uint32_t *ret_print, struct err *err)
{
    struct ids_file *file = &ids->files[number - 1];
    int rc = 0;

    if (file->set.slots == NULL) {
        while (ids->map_count >= IDS_MAPS_MAX) {
            struct ids_file *victim =
                &ids->files[ids->evict_next++ % ids->file_count];

            if (victim->data != NULL)
                forget_file(ids, victim);
        }
        rc = map_file(ids, number, err);
        if (rc == -CAIRN_ERECORD)
            rc = rebuild_file(ids, number, err);
    }
    for (int tries = 0; rc == 0; tries++) {
        *ret_print = id_set_print(&file->set, id);
        *ret_file = file;
        if (run_is_whole(file, *ret_print))
            return 0;
        forget_file(ids, file);
        rc = tries > 0 ? -CAIRN_ERECORD : rebuild_file(ids, number, err);
    }
    return rc == -CAIRN_ERECORD
        ? err_set(err, -EIO,
                  "log %s: the command ids of segment number %" PRIu64
                  " read differently from how they were written",
                  evlog_dir(ids->log), number)
        : rc;
}

int
ids_find(struct ids *ids, struct uuid id, uint64_t last, struct id_times times,
         uint64_t *ret_address, struct err *err)
{
    int rc = last > ids->file_count ? reserve(ids, last, err) : 0;

    for (uint64_t number = last; rc == 0 && number > 0; number--) {
        const struct known_times *known = &ids->times[number - 1];
        struct id_times before;
        struct ids_file *file = NULL;
        uint32_t print = 0, probe = 0, offset;
        uint64_t time_ms;

        if (!id_times_may_hold(&times, id))
            return 0;
        rc = times_before(ids, number, &before, err);
        if (rc < 0)
            return rc;
        if (!uuid_time_ms(id, &time_ms) &&
            before.other_count == times.other_count)
            continue; /* this segment has none of its sort */
        times = before;
        if (known->spans_known && !id_spans_may_hold(&known->spans, id))
            continue;
        rc = ids_file(ids, number, id, &file, &print, err);
        if (rc < 0)
            return rc;
        ids->searched++;
        while (id_set_candidate(&file->set, print, &probe, &offset)) {
            struct commit commit;
            uint64_t address = address_of(number, offset);

            rc = evlog_commit_at(ids->log, address, &commit, err);
            if (rc < 0)
                return rc;
            if (uuid_equal(commit.command_id, id)) {
                *ret_address = address;
                return 1;
            }
        }
    }
    return rc;
}

uint64_t
ids_searched(const struct ids *ids)
{
    return ids->searched;
}
