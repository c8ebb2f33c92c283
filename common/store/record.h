/* SPDX-License-Identifier: MPL-2.0 */
/*
 * record - one decoder and one encoder for the records of the log, on disk
 * and on the wire alike (store/format.h).
 *
 * A decoder accepts any bytes, trusts no length and never reads outside
 * [data, data + left).  What it returns borrows those bytes.
 *
 * Errors:   -CAIRN_ERECORD, -CAIRN_EOTHERLOG; nothing else.
 * Threads:  no state.
 */
#ifndef CAIRN_STORE_RECORD_H
#define CAIRN_STORE_RECORD_H

#include "base/uuid.h"
#include "store/format.h"

/* Bytes that belong to somebody else, for as long as they say. */
struct span {
    const char *p;
    uint32_t len;
};

static inline int
span_equal(struct span a, struct span b)
{
    return a.len == b.len && memcmp(a.p, b.p, a.len) == 0;
}

/* An event as it lies in the log. */
struct event {
    const uint8_t *record; /* its first byte */
    uint32_t record_len;
    uint64_t position;
    uint64_t version;
    uint64_t time_us;
    uint32_t commit_back; /* bytes from its commit record to it */
    uint32_t schema;
    struct span stream, type, content_type, meta, data;
    uint32_t tag_count;
};

/* Its fixed part, with the ids that most readers never look at; nil: none. */
static inline const struct event_record *
event_head(const struct event *event)
{
    return (const struct event_record *)event->record;
}

/* A tag of an event, or its stream, as a key with a link. */
struct link {
    struct span name;
    uint64_t ordinal, prev, jump;
};

/* A commit and, behind it, `event_count` events in `events_len` bytes. */
struct commit {
    const uint8_t *record;
    uint32_t commit_len;
    uint64_t first_position;
    uint64_t time_us;
    struct uuid command_id;
    uint32_t event_count;
    uint32_t key_max; /* keys that it names; of an unstamped one, else 0 */
};

/* The decoded header of a group. */
struct group_info {
    uint64_t number, address, first_position, last_position, time_us;
    uint32_t group_len, commit_count, body_crc, prev_crc, crc, zero_sectors;
};

/*
 * What stands at `data`: its kind and whole length, after its bounds and its
 * checksum have been checked; of an event, the checksum of its head.
 */
int record_check(const uint8_t *data, size_t left, enum record_kind *ret_kind,
                 uint32_t *ret_len);

/* Checks the head of an event and decodes it; meta and data are not read. */
int event_decode(const uint8_t *data, size_t left, struct event *ret_event);

/* Checks meta and data of an event that event_decode() has returned. */
int event_check_body(const struct event *event);

/* Both checks. */
int event_decode_whole(const uint8_t *data, size_t left,
                       struct event *ret_event);

/* No checksum, for bytes that were made or checked by this process. */
int event_view(const uint8_t *data, size_t left, struct event *ret_event);

/* The link of its stream. */
struct link event_stream_link(const struct event *event);

/* The link of tag `index`, below tag_count. */
struct link event_tag_link(const struct event *event, uint32_t index);

/* Finds a tag by name; false if the event does not carry it. */
int event_find_tag(const struct event *event, struct span name,
                   struct link *ret_link);

/* Checks and decodes a commit record; its events are not looked at. */
int commit_decode(const uint8_t *data, size_t left, struct commit *ret_commit);

/*
 * Checks and decodes a group header that was found at `address` of the log
 * `log_id`, with `left` bytes of data area from there on.  Of these only the
 * header is read: a sector in hand is enough.  See group_check_body().
 */
int group_decode(const uint8_t *data, size_t left, struct uuid log_id,
                 uint64_t address, struct group_info *ret_group);

/*
 * Checks the body of a group and everything in it: checksums, the order of
 * records, positions, counts and times.
 */
int group_check_body(const uint8_t *data, const struct group_info *group);

/* Counts the sectors of [data, data + len) that hold only zeros. */
uint32_t zero_sectors(const uint8_t *data, size_t len);

/* ---- encoding ---------------------------------------------------------- */

/* The numbers of an event that the writer has not stamped yet. */
struct event_shape {
    struct uuid id, correlation_id, causation_id;
    uint32_t schema, meta_len, data_len;
    uint8_t stream_len, type_len, content_type_len, tag_count;
    uint16_t tags_len; /* of all tag texts */
};

/* Bytes of text: tag lengths, names, tags, meta, data. */
uint64_t event_text_len(const struct event_shape *shape);

/* Bytes of the whole record; may be above RECORD_LEN_MAX. */
uint64_t event_record_len(const struct event_shape *shape);

/*
 * Writes the record into `out`, which has room for event_record_len() bytes,
 * with the checksum of its body.  Position, version, links, time and the
 * checksum of the head stay zero until it is stamped.  Copies `text`.
 */
void event_encode(uint8_t *out, const struct event_shape *shape,
                  const uint8_t *text);

/* Writes the 64 bytes of an unstamped commit record. */
void commit_encode(uint8_t *out, struct uuid command_id, uint32_t event_count,
                   uint32_t commit_len);

/* Writes padding of `len` bytes, a multiple of 8 below 512; 0 is fine. */
void pad_encode(uint8_t *out, uint32_t len);

/*
 * Writes the header of the group whose body stands behind it in
 * [data, data + group->group_len), and completes *group with what follows
 * from the bytes: both checksums, and the sectors that hold only zeros.
 */
void group_encode(uint8_t *data, struct uuid log_id, struct group_info *group);

/*
 * Sets prefix.crc of the well-formed record at `data`; of an event, the
 * checksum of its head.
 */
void record_seal(uint8_t *data);

/*
 * Checks that [data, data + len) is one unstamped commit with its events, as
 * commit_encode() and event_encode() make them, with names, without a tag
 * twice, and with right checksums of the bodies: what is wrong there would be
 * durable.  Whether names are text is not looked at.
 */
int commit_check_unstamped(const uint8_t *data, size_t len,
                           struct commit *ret_commit);

#endif
