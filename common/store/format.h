/* SPDX-License-Identifier: MPL-2.0 */
/*
 * format - the bytes of the log, format version 1; told at length in
 * doc/FORMAT.md.
 *
 * A log is a directory of segments.  A segment is a file of fixed length:
 *
 *     [0, 512)                    struct segment_header
 *     [512, segment_data_end())   groups, then zeros
 *     [segment_data_end(), len)   zeros; once sealed, the footer
 *
 * Groups, commits, events and padding are *records*: each begins with the
 * eight bytes of struct record_prefix and is a multiple of 8 bytes long.
 *
 *     group header | commit | event ... | commit | event ... | pad
 *
 * A group begins on a 512-byte boundary and ends on one; what one sync makes
 * durable is exactly one group.  Everything is little-endian.  Reserved bytes
 * are written as 0 and ignored when read, but are covered by the checksums.
 */
#ifndef CAIRN_STORE_FORMAT_H
#define CAIRN_STORE_FORMAT_H

#include "base/bytes.h"
#include "base/uuid.h"

#define FORMAT_VERSION 1

/* No disk tears a sector of this length, and no group shares one. */
#define SECTOR_LEN 512u

/*
 * An address names a byte of the log: the number of a segment (from 1) in the
 * high 32 bits, the byte in its file in the low 32.  0 is no address.
 */
#define ADDRESS_NONE UINT64_C(0)

static inline uint64_t
address_of(uint64_t segment, uint64_t offset)
{
    return segment << 32 | offset;
}

static inline uint64_t
address_segment(uint64_t address)
{
    return address >> 32;
}

static inline uint64_t
address_offset(uint64_t address)
{
    return address & UINT32_MAX;
}

/* ---- segment header ---------------------------------------------------- */

/*
 *   off  size  field
 *     0     8  magic              "CAIRNSEG"
 *     8     4  format_version     1
 *    12     4  header_len         512
 *    16    16  log_id             random, the same in every segment
 *    32     8  number             of this segment, from 1
 *    40     8  first_position     its name, too
 *    48     8  segment_len        of the file
 *    56     8  incompatible       feature bits; unknown: refuse to open
 *    64     8  compatible         feature bits; unknown: read, do not write
 *    72     8  created_us         microseconds since 1970-01-01 UTC
 *    80     8  prev_group         number of the last group before this segment
 *    88     8  prev_time_us       time of the last commit before this segment
 *    96     8  ids_time_max_ms    greatest time of the UUIDv7 command ids before
 *   104     8  ids_other_count    command ids before that are no UUIDv7
 *   112     4  prev_crc           header checksum of the group before
 *   116   392  reserved
 *   508     4  crc                CRC-32C of bytes [0, 508)
 *
 * Valid if magic, header_len and crc are right, segment_len is the file's, and
 * number and first_position follow the segment before.
 */
struct segment_header {
    uint8_t magic[8];
    struct le32 format_version, header_len;
    struct uuid log_id;
    struct le64 number, first_position, segment_len;
    struct le64 incompatible, compatible;
    struct le64 created_us;
    struct le64 prev_group, prev_time_us;
    struct le64 ids_time_max_ms, ids_other_count;
    struct le32 prev_crc;
    uint8_t reserved[392];
    struct le32 crc;
};

#define SEGMENT_MAGIC "CAIRNSEG"

_Static_assert(sizeof(struct segment_header) == SECTOR_LEN, "format");
_Static_assert(offsetof(struct segment_header, prev_crc) == 112, "format");
_Static_assert(offsetof(struct segment_header, crc) == 508, "format");

/* ---- records ----------------------------------------------------------- */

/*
 *   off  size  field
 *     0     4  crc    CRC-32C of bytes [4, len); of an event [4, head end)
 *     4     4  shape  kind in the high 8 bits, len / 8 in the low 24
 */
struct record_prefix {
    struct le32 crc, shape;
};

enum record_kind {
    RECORD_PAD = 1,
    RECORD_GROUP = 2,
    RECORD_COMMIT = 3,
    RECORD_EVENT = 4,
};

#define RECORD_UNIT 8u
#define RECORD_LEN_MAX ((UINT32_C(1) << 24) * RECORD_UNIT - RECORD_UNIT)

_Static_assert(sizeof(struct record_prefix) == RECORD_UNIT, "format");

static inline uint32_t
record_kind(struct record_prefix prefix)
{
    return le32_get(prefix.shape) >> 24;
}

static inline uint32_t
record_len(struct record_prefix prefix)
{
    return (le32_get(prefix.shape) & 0xffffff) * RECORD_UNIT;
}

static inline struct le32
record_shape(enum record_kind kind, uint32_t len)
{
    return le32_of((uint32_t)kind << 24 | len / RECORD_UNIT);
}

/* ---- group header ------------------------------------------------------ */

/*
 *   off  size  field
 *     0     8  prefix
 *     8    16  log_id
 *    24     8  number          of this group, from 1, dense over the whole log
 *    32     8  address         of this very header
 *    40     8  first_position  of its first event
 *    48     8  last_position
 *    56     4  group_len       header, commits and pad; a multiple of 512
 *    60     4  commit_count
 *    64     4  body_crc        CRC-32C of bytes [128, group_len)
 *    68     4  prev_crc        prefix.crc of the group before: the chain
 *    72     4  zero_sectors    sectors of this group that hold only zeros
 *    76     4  reserved
 *    80     8  time_us         of its last commit
 *    88    32  digest          zeros; room for tamper evidence
 *   120     8  reserved
 *
 * Valid if the record is, log_id is the log's, address is where it was found,
 * group_len ends inside the data area, number and first_position follow the
 * group before, prev_crc is that group's checksum, and body_crc is right.
 */
struct group_header {
    struct record_prefix prefix;
    struct uuid log_id;
    struct le64 number, address, first_position, last_position;
    struct le32 group_len, commit_count, body_crc, prev_crc, zero_sectors;
    struct le32 reserved1;
    struct le64 time_us;
    uint8_t digest[32];
    struct le64 reserved2;
};

_Static_assert(sizeof(struct group_header) == 128, "format");
_Static_assert(offsetof(struct group_header, group_len) == 56, "format");
_Static_assert(offsetof(struct group_header, digest) == 88, "format");

/* ---- commit ------------------------------------------------------------ */

/*
 *   off  size  field
 *     0     8  prefix
 *     8     8  first_position  of its first event
 *    16    16  command_id      chosen by the client
 *    32     8  time_us         server time; never less than the commit before
 *    40     4  event_count     at least 1
 *    44     4  commit_len      this record and its events
 *    48    16  reserved
 *
 * Its events follow it without a gap.
 */
struct commit_record {
    struct record_prefix prefix;
    struct le64 first_position;
    struct uuid command_id;
    struct le64 time_us;
    struct le32 event_count, commit_len;
    uint8_t reserved[16];
};

_Static_assert(sizeof(struct commit_record) == 64, "format");

/* ---- event ------------------------------------------------------------- */

/*
 * The place of an event under one of its keys: its stream, or a tag.
 *
 *   off  size  field
 *     0     8  ordinal  from 1; under the stream: the version
 *     8     8  prev     address of the event with ordinal - 1, or 0
 *    16     8  jump     address of the event with jump_ordinal(ordinal), or 0
 */
struct link_disk {
    struct le64 ordinal, prev, jump;
};

_Static_assert(sizeof(struct link_disk) == 24, "format");

/*
 *   off  size  field
 *     0     8  prefix
 *     8     8  position
 *    16    24  stream link       ordinal is the version
 *    40     8  time_us           of its commit
 *    48    16  id
 *    64    16  correlation_id    nil: none
 *    80    16  causation_id      nil: none
 *    96     4  data_len
 *   100     4  meta_len
 *   104     4  commit_back       bytes from the commit record to this one
 *   108     4  schema            version of the shape of the data
 *   112     1  stream_len
 *   113     1  type_len
 *   114     1  content_type_len
 *   115     1  tag_count
 *   116     2  tags_len          bytes of all tag texts
 *   118     2  reserved
 *   120     4  body_crc          CRC-32C of the body
 *   124     4  reserved
 *   128  24*n  a link for each tag
 *         n    length of each tag, a byte each           \
 *              stream, type, content type, tag texts      | the text
 *              meta, data                                /
 *              zeros up to a multiple of 8
 *
 * The head ends where meta begins; the body is what follows: meta, data and
 * zeros.  prefix.crc covers the head alone, so that links can be followed
 * without touching the data.  The text is the same, byte for byte, as a
 * client sends it.
 */
struct event_record {
    struct record_prefix prefix;
    struct le64 position;
    struct link_disk stream_link;
    struct le64 time_us;
    struct uuid id, correlation_id, causation_id;
    struct le32 data_len, meta_len, commit_back, schema;
    uint8_t stream_len, type_len, content_type_len, tag_count;
    struct le16 tags_len, reserved1;
    struct le32 body_crc, reserved2;
};

_Static_assert(sizeof(struct event_record) == 128, "format");
_Static_assert(offsetof(struct event_record, id) == 48, "format");
_Static_assert(offsetof(struct event_record, stream_len) == 112, "format");

#define TAGS_MAX 32u /* on one event */

/* ---- segment footer ---------------------------------------------------- */

/*
 * Written when the segment is full, at segment_data_end(); then the file is
 * made read-only.
 *
 *   off  size  field
 *     0     8  magic           "CAIRNEND"
 *     8    16  log_id
 *    24     8  number          of the segment
 *    32     8  first_position
 *    40     8  last_position
 *    48     8  last_group      number of its last group
 *    56     8  last_time_us    time of its last commit
 *    64     4  data_end        where its last group ends
 *    68     4  last_crc        prefix.crc of its last group header; by the
 *                              chain, a checksum of the whole file
 *    72     4  index_count
 *    76     4  commit_count    commits in this segment
 *    80    44  reserved
 *   124     4  crc             CRC-32C of [0, 124) and of the index entries
 *   128  12*n  the sparse index
 *
 * An index entry says where a commit lies: the first that begins in its
 * INDEX_STEP bytes of the file.  Entries are in order of position.
 */
struct segment_footer {
    uint8_t magic[8];
    struct uuid log_id;
    struct le64 number, first_position, last_position;
    struct le64 last_group, last_time_us;
    struct le32 data_end, last_crc, index_count, commit_count;
    uint8_t reserved[44];
    struct le32 crc;
};

struct index_entry {
    struct le64 position; /* of the first event of the commit */
    struct le32 offset;   /* of the commit record, in the file */
};

#define FOOTER_MAGIC "CAIRNEND"
#define INDEX_STEP 65536u

_Static_assert(sizeof(struct segment_footer) == 128, "format");
_Static_assert(sizeof(struct index_entry) == 12, "format");

#define SEGMENT_LEN_MIN (UINT64_C(64) << 10)
#define SEGMENT_LEN_MAX (UINT64_C(2) << 30)
#define SEGMENT_LEN_UNIT 4096u

/* How many index entries a segment of this length can have. */
static inline uint32_t
segment_index_max(uint64_t segment_len)
{
    return (uint32_t)(segment_len / INDEX_STEP + 1);
}

/* Where the footer begins: the data area ends here. */
static inline uint64_t
segment_data_end(uint64_t segment_len)
{
    uint64_t footer_len = sizeof(struct segment_footer) +
        segment_index_max(segment_len) * sizeof(struct index_entry);

    return segment_len - align_up(footer_len, SECTOR_LEN);
}

#endif
