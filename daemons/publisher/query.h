/* SPDX-License-Identifier: MPL-2.0 */
/*
 * query - one read request, answered from the mapped log.
 *
 * Nothing is remembered between requests.  A request costs at most
 * SCAN_EVENTS_MAX events of looking, then it is answered with what was found
 * and where to go on, so that no request can keep others waiting for long.
 *
 * Threads: as the reader.
 */
#ifndef CAIRN_PUBLISHER_QUERY_H
#define CAIRN_PUBLISHER_QUERY_H

#include "store/reader.h"
#include "wire/query.h"
#include "wire/rights.h"

#define SCAN_EVENTS_MAX 65536u             /* looked at for one answer */
#define ANSWER_EVENTS_MAX 10000u           /* in one answer */
#define ANSWER_LEN_MAX (UINT32_C(4) << 20) /* but for a single larger event */
#define ANSWER_FRAME_LEN (UINT32_C(256) << 10)
#define ANSWER_FRAMES_MAX (SOCK_FRAMES_MAX - 3) /* address, "", header */
#define WAIT_MS_MAX 60000u
#define QUERY_FRAME_MAX (UINT64_C(64) << 10) /* of a request */

/* What answers are put together in; used again for each. */
struct query_scratch {
    uint8_t *bytes;
    size_t len, room;
    uint64_t *addresses;
    uint32_t address_count, address_room;
};

void query_scratch_free(struct query_scratch *scratch);

/*
 * Whether a request makes sense; NULL, or why not, and what to answer: invalid
 * or too large.  Limits above ours are lowered, 0 means ours.
 */
const char *query_check(struct read_request *request,
                        enum answer_code *ret_code);

/*
 * Whether a checked request asks only for what the principal may read; NULL, or
 * why not.  Each stream and category that it names must lie within the rights;
 * one that names none (everything, by type or tag) takes the right to read all.
 */
const char *query_denied(const struct principal *principal,
                         const struct read_request *request);

/*
 * Answers a checked request up to the watermark: the header in *ret_answer,
 * the frames of events in `frames`, at most ANSWER_FRAMES_MAX.  0, or why the
 * log could not be read; where that is damage, `next` is the position at which
 * it goes on, or 0.
 */
int query_run(struct reader *reader, struct read_request *request,
              uint64_t watermark, struct query_scratch *scratch,
              struct read_answer *ret_answer, struct message *frames,
              struct err *err);

/*
 * Turns the request into the one that goes on where the answer ended, for a
 * long poll that found nothing yet.
 */
void query_go_on(struct read_request *request,
                 const struct read_answer *answer);

#endif
