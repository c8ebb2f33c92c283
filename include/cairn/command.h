/* SPDX-License-Identifier: MPL-2.0 */
/*
 * cairn/command - commands, and what becomes of them.
 *
 *     struct cairn_command *command = NULL;
 *     struct cairn_outcome *outcome = NULL;
 *
 *     cairn_command_new(&command);
 *     cairn_command_expect(command, "order-1", CAIRN_EXPECT_NONE, 0);
 *     cairn_command_event(command, "order-1", "Placed", "{}", 2);
 *     if (cairn_append(cairn, command, &outcome) == CAIRN_OK &&
 *         cairn_outcome_code(outcome) == CAIRN_ACCEPTED)
 *         ...
 *     cairn_outcome_free(&outcome);
 *     cairn_command_free(&command);
 *
 * A command is stored whole, as one commit, or not at all.
 */
#ifndef CAIRN_COMMAND_H
#define CAIRN_COMMAND_H

#include <cairn/client.h>
#include <cairn/event.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- commands ---------------------------------------------------------- */

/* What a stream, or the log, has to be like before the command. */
enum cairn_expect {
    CAIRN_EXPECT_ANY = 0,
    CAIRN_EXPECT_NONE = 1,     /* the stream has no event */
    CAIRN_EXPECT_EXISTS = 2,   /* it has at least one */
    CAIRN_EXPECT_EXACT = 3,    /* it is at this version */
    CAIRN_EXPECT_NO_EVENT = 4, /* there is none at all behind a position */
    CAIRN_EXPECT_NO_MATCH = 5, /* none that matches behind a position */
};

/* An id as the 16 bytes of a UUID. */
#define CAIRN_ID_LEN 16

/*
 * A command with a new command id, a UUIDv7.  The same id never takes effect
 * twice: keep the command, or its id and content, to ask again after a crash.
 */
struct cairn_command;

CAIRN_API int cairn_command_new(struct cairn_command **ret_command);
CAIRN_API void cairn_command_free(struct cairn_command **command);

CAIRN_API void cairn_command_id(const struct cairn_command *command,
                                uint8_t ret_id[CAIRN_ID_LEN]);
CAIRN_API void cairn_command_set_id(struct cairn_command *command,
                                    const uint8_t id[CAIRN_ID_LEN]);

/*
 * Checks a stream, whether the command writes to it or not; `version` counts
 * with CAIRN_EXPECT_EXACT.  Checks are numbered from 0 in this order.
 *
 *   CAIRN_ERR_ARGUMENT  the name is longer than 65535 bytes; or not one of the
 *                       first four expectations
 */
CAIRN_API int cairn_command_expect(struct cairn_command *command,
                                   const char *stream, enum cairn_expect expect,
                                   uint64_t version);

/* Checks that no event at all lies behind a position. */
CAIRN_API int cairn_command_expect_no_event(struct cairn_command *command,
                                            uint64_t after);

/*
 * Checks that no event behind a position matches: give it items, and each of
 * them types, tags or both.  An event matches if one of the items does: it is
 * of one of the types, if there are any, and has all of the tags.
 *
 *     cairn_command_expect_no_match(command, after);
 *     cairn_command_match_item(command);
 *     cairn_command_match_type(command, "Enrolled");
 *     cairn_command_match_tag(command, "course:7");
 *
 * `after` is the highest position that the decision rests on: the watermark
 * of the page (cairn/event.h) that was read with the same query.
 *
 *   CAIRN_ERR_ARGUMENT  a name is longer than 255 bytes, or there is nothing
 *                       that it could belong to
 */
CAIRN_API int cairn_command_expect_no_match(struct cairn_command *command,
                                            uint64_t after);
CAIRN_API int cairn_command_match_item(struct cairn_command *command);
CAIRN_API int cairn_command_match_type(struct cairn_command *command,
                                       const char *type);
CAIRN_API int cairn_command_match_tag(struct cairn_command *command,
                                      const char *tag);

/* Decide, and store nothing: the outcome has a verdict for every check. */
CAIRN_API void cairn_command_dry_run(struct cairn_command *command,
                                     int is_dry_run);

/* Asks for at most so many of the events that cause a conflict. */
CAIRN_API void cairn_command_show(struct cairn_command *command,
                                  uint16_t events);

/*
 * Adds an event; data may be NULL if data_len is 0.  Events keep this order,
 * over all streams.
 *
 *   CAIRN_ERR_ARGUMENT  a name is longer than 65535 bytes, the data than 32
 *                       MiB, or there are 65536 events
 */
CAIRN_API int cairn_command_event(struct cairn_command *command,
                                  const char *stream, const char *type,
                                  const void *data, size_t data_len);

/*
 * These say more about the event that was added last.
 *
 *   CAIRN_ERR_ARGUMENT  there is none; a tag is longer than 255 bytes; there
 *                       are more than 255 tags
 */
CAIRN_API int cairn_command_event_tag(struct cairn_command *command,
                                      const char *tag);
CAIRN_API int cairn_command_event_meta(struct cairn_command *command,
                                       const void *meta, size_t meta_len);
CAIRN_API int cairn_command_event_content_type(struct cairn_command *command,
                                               const char *content_type);
CAIRN_API int cairn_command_event_schema(struct cairn_command *command,
                                         uint32_t schema);

/* Each of the ids may be NULL: none; a new event gets an id by itself. */
CAIRN_API int cairn_command_event_ids(
    struct cairn_command *command, const uint8_t id[CAIRN_ID_LEN],
    const uint8_t correlation_id[CAIRN_ID_LEN],
    const uint8_t causation_id[CAIRN_ID_LEN]);

/* ---- outcomes ---------------------------------------------------------- */

struct cairn_outcome;

CAIRN_API void cairn_outcome_free(struct cairn_outcome **outcome);

/* An enum cairn_code; a newer server may know more of them. */
CAIRN_API int cairn_outcome_code(const struct cairn_outcome *outcome);

/* What was given to cairn_send(). */
CAIRN_API uint64_t cairn_outcome_tag(const struct cairn_outcome *outcome);

/* 1 if the command had taken effect before: this is the outcome of then. */
CAIRN_API int cairn_outcome_repeated(const struct cairn_outcome *outcome);

/* Of an unknown outcome: 0 if the command never left, so nothing happened. */
CAIRN_API int cairn_outcome_sent(const struct cairn_outcome *outcome);

CAIRN_API uint64_t
cairn_outcome_first_position(const struct cairn_outcome *outcome);
CAIRN_API uint64_t
cairn_outcome_last_position(const struct cairn_outcome *outcome);
CAIRN_API uint64_t cairn_outcome_time(const struct cairn_outcome *outcome);

/* The new version of each stream, in the order in which they first appear. */
CAIRN_API uint32_t
cairn_outcome_version_count(const struct cairn_outcome *outcome);
CAIRN_API uint64_t cairn_outcome_version(const struct cairn_outcome *outcome,
                                         uint32_t index);

/* 1 if the command was only a question, and stored nothing. */
CAIRN_API int cairn_outcome_dry_run(const struct cairn_outcome *outcome);

/*
 * How checks came out: every failed one of a conflict, all of a dry run.  For
 * each its number, 1 if it holds, its enum cairn_expect, the version or
 * position that it named, and the actual one: the version of the stream, 0:
 * none; of a condition the position of the newest event that matches.
 */
CAIRN_API uint32_t
cairn_outcome_verdict_count(const struct cairn_outcome *outcome);
CAIRN_API uint32_t cairn_outcome_verdict_check(
    const struct cairn_outcome *outcome, uint32_t index);
CAIRN_API int cairn_outcome_verdict_holds(const struct cairn_outcome *outcome,
                                          uint32_t index);
CAIRN_API int cairn_outcome_verdict_expect(const struct cairn_outcome *outcome,
                                           uint32_t index);
CAIRN_API uint64_t cairn_outcome_verdict_expected(
    const struct cairn_outcome *outcome, uint32_t index);
CAIRN_API uint64_t cairn_outcome_verdict_actual(
    const struct cairn_outcome *outcome, uint32_t index);

/*
 * The next of the events that caused a conflict, as far as they were asked
 * for: 1; 0 at the end; CAIRN_ERR_DAMAGED.  The event is borrowed until the
 * next call.
 */
CAIRN_API int cairn_outcome_next_event(struct cairn_outcome *outcome,
                                       const struct cairn_event **ret_event);

/* 1 if there are more of them than are shown. */
CAIRN_API int cairn_outcome_more(const struct cairn_outcome *outcome);

/* Field and reason, for people; "" if there is nothing to say. */
CAIRN_API const char *cairn_outcome_detail(const struct cairn_outcome *outcome);

/* ---- sending ----------------------------------------------------------- */

/*
 * Appends, and waits for the outcome: CAIRN_OK whenever there is one, which
 * need not be CAIRN_ACCEPTED.  CAIRN_UNKNOWN is the outcome at the deadline.
 */
CAIRN_API int cairn_append(struct cairn *cairn,
                           const struct cairn_command *command,
                           struct cairn_outcome **ret_outcome);

/*
 * Queues a command and returns; its outcome comes from cairn_receive() with
 * the same tag.  If `window` commands are in flight, takes in outcomes first,
 * which are kept for cairn_receive().  Commands take effect in the order in
 * which they were queued, except those that the server was too busy for.
 */
CAIRN_API int cairn_send(struct cairn *cairn,
                         const struct cairn_command *command, uint64_t tag);

/*
 * The next outcome of what was queued: 1.  0 if there was none in wait_ms, or
 * nothing is in flight.  Call it often: it is what sends things again.
 */
CAIRN_API int cairn_receive(struct cairn *cairn, uint32_t wait_ms,
                            struct cairn_outcome **ret_outcome);

/* Commands queued whose outcome cairn_receive() has not returned. */
CAIRN_API uint32_t cairn_in_flight(const struct cairn *cairn);

#ifdef __cplusplus
}
#endif

#endif
