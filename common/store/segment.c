/* SPDX-License-Identifier: MPL-2.0 */
#include "store/segment.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "base/text.h"
#include "store/bug.h"

/* Feature bits that this version knows. */
#define INCOMPATIBLE_KNOWN UINT64_C(0)
#define COMPATIBLE_KNOWN UINT64_C(0)

/* Larger pieces stay in the page cache as large units, and a small synced
 * write into one of those writes all of it to the device. */
#define ZERO_PIECE_LEN 65536u
#define ZERO_WRITTEN_LEN (16 * ZERO_PIECE_LEN) /* at a time */

#define NAME_DIGITS 20

int
store_path(char path[PATH_LEN_MAX], const char *dir, const char *name)
{
    int len = snprintf(path, PATH_LEN_MAX, "%s/%s", dir, name);

    return len < 0 || (size_t)len >= PATH_LEN_MAX ? -ENAMETOOLONG : 0;
}

int
store_lock(const struct sys *sys, const char *dir, enum sys_open how)
{
    char path[PATH_LEN_MAX];
    int fd, rc = store_path(path, dir, LOCK_NAME);

    if (rc < 0)
        return rc;
    fd = sys_call(sys, open, path, how);
    if (fd < 0)
        return fd;
    rc = sys_call(sys, lock, fd);
    if (rc == 0)
        return fd;
    sys_call(sys, close, fd);
    return rc;
}

int
restore_unfinished(const char *dir, struct err *err)
{
    return err_set(err, -CAIRN_EDAMAGED,
                   "log %s: a restore into it has not finished, so this is no "
                   "log yet: run cairn log restore into it again",
                   dir);
}

int
store_sync_parent(const struct sys *sys, const char *dir)
{
    char parent[PATH_LEN_MAX];
    size_t len = strlen(dir);
    char *slash;

    if (len >= sizeof parent)
        return -ENAMETOOLONG;
    while (len > 1 && dir[len - 1] == '/')
        len--;
    memcpy(parent, dir, len);
    parent[len] = '\0';
    slash = strrchr(parent, '/');
    if (slash == NULL)
        memcpy(parent, ".", 2);
    else
        slash[slash == parent] = '\0';
    return sys_call(sys, sync_dir, parent);
}

int
store_make_dir(const struct sys *sys, const char *dir)
{
    int made = sys_call(sys, make_dir, dir), rc;

    if (made < 0 && made != -EEXIST)
        return made;
    rc = store_sync_parent(sys, dir);
    if (rc < 0 && (made == 0 || rc != -EACCES))
        return rc;
    return made == -EEXIST;
}

int
segment_path(char path[PATH_LEN_MAX], const char *dir, uint64_t first_position)
{
    char name[NAME_DIGITS + sizeof SEGMENT_SUFFIX];

    (void)snprintf(name, sizeof name, "%0*" PRIu64 SEGMENT_SUFFIX, NAME_DIGITS,
                   first_position);
    return store_path(path, dir, name);
}

bool
segment_name_parse(const char *name, uint64_t *ret_first_position)
{
    char digits[NAME_DIGITS + 1];

    if (strlen(name) != NAME_DIGITS + strlen(SEGMENT_SUFFIX) ||
        strcmp(name + NAME_DIGITS, SEGMENT_SUFFIX) != 0)
        return false;
    memcpy(digits, name, NAME_DIGITS);
    digits[NAME_DIGITS] = '\0';
    return number_parse(digits, ret_first_position);
}

/* ---- header and footer ------------------------------------------------- */

int
segment_header_decode(const uint8_t *data, uint64_t file_len,
                      struct segment_info *ret_info, struct err *err)
{
    const struct segment_header *h = (const struct segment_header *)data;
    struct segment_info info;

    if (memcmp(h->magic, SEGMENT_MAGIC, sizeof h->magic) != 0)
        return err_set(err, -CAIRN_ENOTLOG,
                       "byte 0: this is no segment of a log");
    if (le32_get(h->crc) != crc32c(data, offsetof(struct segment_header, crc)))
        return err_set(err, -CAIRN_EDAMAGED,
                       "byte 0: checksum mismatch in the segment header");
    if (le32_get(h->format_version) > FORMAT_VERSION)
        return err_set(err, -CAIRN_EFORMAT,
                       "the log has format version %u, this program knows "
                       "versions up to %u: use a newer cairn",
                       le32_get(h->format_version), FORMAT_VERSION);
    if ((le64_get(h->incompatible) & ~INCOMPATIBLE_KNOWN) != 0)
        return err_set(err, -CAIRN_EFORMAT,
                       "the log uses features (bits %#" PRIx64 ") that this "
                       "program does not know: use a newer cairn",
                       le64_get(h->incompatible) & ~INCOMPATIBLE_KNOWN);
    info.log_id = h->log_id;
    info.number = le64_get(h->number);
    info.first_position = le64_get(h->first_position);
    info.segment_len = le64_get(h->segment_len);
    info.created_us = le64_get(h->created_us);
    info.prev_group = le64_get(h->prev_group);
    info.prev_time_us = le64_get(h->prev_time_us);
    info.ids_time_max_ms = le64_get(h->ids_time_max_ms);
    info.ids_other_count = le64_get(h->ids_other_count);
    info.prev_crc = le32_get(h->prev_crc);
    info.unknown_compatible = le64_get(h->compatible) & ~COMPATIBLE_KNOWN;
    if (info.segment_len != file_len || info.segment_len < SEGMENT_LEN_MIN ||
        info.segment_len > SEGMENT_LEN_MAX ||
        info.segment_len % SEGMENT_LEN_UNIT != 0)
        return err_set(err, -CAIRN_EDAMAGED,
                       "the file has %" PRIu64 " bytes, its header says "
                       "%" PRIu64,
                       file_len, info.segment_len);
    if (le32_get(h->format_version) == 0 ||
        le32_get(h->header_len) != SECTOR_LEN || info.number == 0 ||
        info.number > UINT32_MAX || info.first_position == 0)
        return err_set(err, -CAIRN_EDAMAGED,
                       "byte 0: impossible values in the segment header");
    *ret_info = info;
    return 0;
}

int
segment_check_writable(const struct segment_info *info, struct err *err)
{
    if (info->unknown_compatible != 0)
        return err_set(err, -CAIRN_EFORMAT,
                       "the log uses features (bits %#" PRIx64 ") that this "
                       "program can read past, but not write: use a newer "
                       "cairn",
                       info->unknown_compatible);
    return 0;
}

void
segment_header_encode(uint8_t out[SECTOR_LEN], const struct segment_info *info)
{
    struct segment_header h = {
        .magic = SEGMENT_MAGIC,
        .format_version = le32_of(FORMAT_VERSION),
        .header_len = le32_of(SECTOR_LEN),
        .log_id = info->log_id,
        .number = le64_of(info->number),
        .first_position = le64_of(info->first_position),
        .segment_len = le64_of(info->segment_len),
        .created_us = le64_of(info->created_us),
        .prev_group = le64_of(info->prev_group),
        .prev_time_us = le64_of(info->prev_time_us),
        .ids_time_max_ms = le64_of(info->ids_time_max_ms),
        .ids_other_count = le64_of(info->ids_other_count),
        .prev_crc = le32_of(info->prev_crc),
    };

    h.crc = le32_of(crc32c(&h, offsetof(struct segment_header, crc)));
    memcpy(out, &h, sizeof h);
}

static uint32_t
footer_crc(const struct segment_footer *footer, const struct index_entry *index,
           uint32_t count)
{
    uint32_t crc = crc32c(footer, offsetof(struct segment_footer, crc));

    return crc32c_more(crc, index, count * sizeof *index);
}

/* Whether the entries are in order and point to records of the segment. */
static bool
index_valid(const struct index_entry *index, const struct segment_end *end,
            uint64_t first_position)
{
    uint64_t position = first_position;
    uint32_t offset = SECTOR_LEN;

    for (uint32_t i = 0; i < end->index_count; i++) {
        uint64_t next_position = le64_get(index[i].position);
        uint32_t next_offset = le32_get(index[i].offset);

        if (next_position < position || next_position > end->last_position ||
            next_offset < offset || next_offset >= end->data_end ||
            next_offset % RECORD_UNIT != 0)
            return false;
        position = next_position + 1;
        offset = next_offset + 1;
    }
    return true;
}

int
segment_footer_decode(const uint8_t *data, size_t len,
                      const struct segment_info *info,
                      struct segment_end *ret_end,
                      const struct index_entry **ret_index)
{
    const struct segment_footer *f = (const struct segment_footer *)data;
    const struct index_entry *index = (const void *)(data + sizeof *f);
    struct segment_end end;

    if (len < sizeof *f || memcmp(f->magic, FOOTER_MAGIC, sizeof f->magic) != 0)
        return -CAIRN_ERECORD;
    end.last_position = le64_get(f->last_position);
    end.last_group = le64_get(f->last_group);
    end.last_time_us = le64_get(f->last_time_us);
    end.data_end = le32_get(f->data_end);
    end.last_crc = le32_get(f->last_crc);
    end.index_count = le32_get(f->index_count);
    end.commit_count = le32_get(f->commit_count);
    if (end.index_count > (len - sizeof *f) / sizeof *index ||
        end.index_count == 0 ||
        le32_get(f->crc) != footer_crc(f, index, end.index_count))
        return -CAIRN_ERECORD;
    if (!uuid_equal(f->log_id, info->log_id) ||
        le64_get(f->number) != info->number ||
        le64_get(f->first_position) != info->first_position ||
        end.last_position < info->first_position ||
        end.data_end > segment_data_end(info->segment_len) ||
        end.data_end % SECTOR_LEN != 0 || end.data_end <= SECTOR_LEN ||
        !index_valid(index, &end, info->first_position))
        return -CAIRN_ERECORD;
    *ret_end = end;
    *ret_index = index;
    return 0;
}

struct segment_footer
segment_footer_encode(const struct segment_info *info,
                      const struct segment_end *end,
                      const struct index_entry *index)
{
    struct segment_footer f = {
        .magic = FOOTER_MAGIC,
        .log_id = info->log_id,
        .number = le64_of(info->number),
        .first_position = le64_of(info->first_position),
        .last_position = le64_of(end->last_position),
        .last_group = le64_of(end->last_group),
        .last_time_us = le64_of(end->last_time_us),
        .data_end = le32_of(end->data_end),
        .last_crc = le32_of(end->last_crc),
        .index_count = le32_of(end->index_count),
        .commit_count = le32_of(end->commit_count),
    };

    f.crc = le32_of(footer_crc(&f, index, end->index_count));
    return f;
}

int
segment_seal(const struct sys *sys, int fd, const struct segment_info *info,
             const struct segment_end *end, const struct index_entry *index)
{
    const struct segment_footer f = segment_footer_encode(info, end, index);
    uint64_t at = segment_data_end(info->segment_len);
    int rc = sys_call(sys, write, fd, index, end->index_count * sizeof *index,
                      at + sizeof f);

    if (rc == 0)
        rc = sys_call(sys, write, fd, &f, sizeof f, at);
    if (rc == 0)
        rc = sys_call(sys, sync, fd);
    if (rc == 0)
        rc = sys_call(sys, protect, fd);
    return rc;
}

/* ---- making ------------------------------------------------------------ */

/* Has it written as it goes: a sync of everything at the end would hold up
 * those of the groups for as long as the device takes to write it. */
static int
zero_fill(const struct sys *sys, int fd, uint64_t len)
{
    static const uint8_t zeros[ZERO_PIECE_LEN];
    uint64_t written = 0, at = 0;
    int rc = 0;

    while (rc == 0 && at < len) {
        uint64_t n = len - at < ZERO_PIECE_LEN ? len - at : ZERO_PIECE_LEN;

        rc = sys_call(sys, write, fd, zeros, n, at);
        at += n;
        if (rc == 0 && (at - written == ZERO_WRITTEN_LEN || at == len)) {
            rc = sys_call(sys, write_back, fd, written, at - written);
            written = at;
        }
    }
    return rc;
}

int
segment_prepare(const struct sys *sys, const char *dir, uint64_t segment_len,
                struct err *err)
{
    char path[PATH_LEN_MAX];
    int fd, rc = store_path(path, dir, SEGMENT_PREPARED);

    if (rc < 0)
        return err_sys(err, rc, "%s", dir);
    fd = sys_call(sys, open, path, SYS_CREATE);
    if (fd < 0)
        return err_sys(err, fd, "cannot create %s", path);
    rc = sys_call(sys, allocate, fd, segment_len);
    if (rc == 0)
        rc = zero_fill(sys, fd, segment_len);
    if (rc == 0)
        rc = sys_call(sys, sync, fd);
    sys_call(sys, close, fd);
    if (rc < 0) {
        (void)sys_call(sys, remove, path); /* emptied next time anyway */
        return err_sys(err, rc,
                       "cannot make a segment of %" PRIu64 " bytes as %s",
                       segment_len, path);
    }
    return 0;
}

int
segment_begin(const struct sys *sys, const char *dir,
              const struct segment_info *info, int *ret_fd, struct err *err)
{
    char from[PATH_LEN_MAX], to[PATH_LEN_MAX];
    uint8_t header[SECTOR_LEN];
    int fd, rc = store_path(from, dir, SEGMENT_PREPARED);

    if (rc == 0)
        rc = segment_path(to, dir, info->first_position);
    if (rc < 0)
        return err_sys(err, rc, "%s", dir);
    fd = sys_call(sys, open, from, SYS_WRITE);
    if (fd < 0)
        return err_sys(err, fd, "cannot open %s", from);
    segment_header_encode(header, info);
    rc = sys_call(sys, write, fd, header, sizeof header, 0);
    if (rc == 0)
        rc = sys_call(sys, sync, fd);
    if (rc == 0)
        rc = sys_call(sys, rename, from, to);
    if (rc == 0 && !BUG(NO_DIRECTORY_SYNC))
        rc = sys_call(sys, sync_dir, dir);
    if (rc < 0) {
        sys_call(sys, close, fd);
        return err_sys(err, rc, "cannot begin segment %s", to);
    }
    *ret_fd = fd;
    return 0;
}

/* ---- reading ----------------------------------------------------------- */

static int
segment_map(const struct sys *sys, const char *path, struct segment *segment,
            uint64_t *ret_len, struct err *err)
{
    void *data;
    uint64_t len;
    int fd = sys_call(sys, open, path, SYS_READ);
    int rc;

    if (fd < 0)
        return err_sys(err, fd, "cannot open");
    rc = sys_call(sys, length, fd, &len);
    if (rc < 0) {
        (void)err_sys(err, rc, "cannot tell the length");
    } else if (len < SEGMENT_LEN_MIN || len > SEGMENT_LEN_MAX) {
        rc = err_set(err, -CAIRN_EDAMAGED,
                     "the file has %" PRIu64 " bytes: no segment has", len);
    } else {
        rc = sys_call(sys, map, fd, (size_t)len, false, &data);
        if (rc < 0)
            (void)err_sys(err, rc, "cannot map");
    }
    sys_call(sys, close, fd);
    if (rc < 0)
        return rc;
    segment->data = data;
    *ret_len = len;
    return 0;
}

int
segment_open(const struct sys *sys, const char *dir, uint64_t first_position,
             struct segment **ret_segment, struct err *err)
{
    struct segment *segment = calloc(1, sizeof *segment);
    char path[PATH_LEN_MAX];
    uint64_t len = 0;
    int rc = segment_path(path, dir, first_position);

    if (segment == NULL || rc < 0) {
        rc = rc < 0 ? rc : -ENOMEM;
        (void)err_sys(err, rc, "cannot open");
        goto fail;
    }
    segment->sys = sys;
    rc = segment_map(sys, path, segment, &len, err);
    if (rc < 0)
        goto fail;
    rc = segment_header_decode(segment->data, len, &segment->info, err);
    if (rc == 0 && segment->info.first_position != first_position)
        rc = err_set(err, -CAIRN_EDAMAGED,
                     "byte 40: the header says that it begins at position "
                     "%" PRIu64,
                     segment->info.first_position);
    if (rc < 0) {
        sys_call(sys, unmap, (void *)(uintptr_t)segment->data, (size_t)len);
        goto fail;
    }
    atomic_init(&segment->refs, 1);
    segment->data_end = segment_data_end(len);
    segment_look_for_footer(segment);
    *ret_segment = segment;
    return 0;

fail:
    free(segment);
    (void)err_wrap(err, "segment %s", path); /* err may be NULL: rc is it */
    return rc;
}

void
segment_look_for_footer(struct segment *segment)
{
    if (!segment->sealed)
        segment->sealed =
            segment_footer_decode(
                segment->data + segment->data_end,
                (size_t)(segment->info.segment_len - segment->data_end),
                &segment->info, &segment->end, &segment->index) == 0;
}

struct segment *
segment_ref(struct segment *segment)
{
    (void)atomic_fetch_add(&segment->refs, 1);
    return segment;
}

void
segment_unref(struct segment **segment)
{
    struct segment *s = *segment;

    *segment = NULL;
    if (s == NULL || atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    sys_call(s->sys, unmap, (void *)(uintptr_t)s->data,
             (size_t)s->info.segment_len);
    free(s);
}
