/* SPDX-License-Identifier: MPL-2.0 */
/*
 * bytefix - bytes of the store for tests: whole groups made by hand, and
 * checksums put right again over bytes that a test or a fuzzer has changed,
 * so that what lies behind the checksums is reached.
 *
 * The reseal functions take any bytes and stay inside [data, data + left).
 */
#ifndef CAIRN_TESTS_BYTEFIX_H
#define CAIRN_TESTS_BYTEFIX_H

#include "store/record.h"

/*
 * A group of whole commits, stamped: positions from `group->first_position`
 * on, every version 1, no links, the time of the group.  Of *group the caller
 * fills number, address, first_position, time_us and prev_crc; the rest is
 * filled in.  Freed by free().
 */
uint8_t *group_make(struct uuid log_id, struct group_info *group,
                    const uint8_t *const *commits, const uint32_t *lens,
                    uint32_t count);

/* Stamps an unstamped commit in place, as group_make() does. */
void commit_stamp(uint8_t *commit, uint64_t first_position, uint64_t time_us);

/* The record here: its length, or 0 if it has no length that fits. */
uint32_t reseal_record(uint8_t *data, size_t left);

/* The records in a group and its header: its length, or 0. */
uint32_t reseal_group(uint8_t *data, size_t left);

/* A segment: header, groups with their chain, footer. */
void reseal_segment(uint8_t *data, size_t len);

void reseal_segment_header(uint8_t *data, size_t left);
void reseal_footer(uint8_t *data, size_t left);

/* The header and both checkpoints of a version table. */
void reseal_table(uint8_t *data, size_t left);

/* A file of command ids. */
void reseal_ids(uint8_t *data, size_t left);

#endif
