/* SPDX-License-Identifier: MPL-2.0 */
/*
 * protocol - the numbers of the Cairn protocol; told in doc/PROTOCOL.md.
 *
 * A message is a header frame, a tpl image whose first two fields are the
 * protocol version and the kind, and frames of bytes that the header counts.
 * On a public endpoint an empty frame may stand in front, as REQ sends it.
 */
#ifndef CAIRN_WIRE_PROTOCOL_H
#define CAIRN_WIRE_PROTOCOL_H

#include <stdint.h>

#define PROTOCOL_VERSION 1

enum message_kind {
    /* public */
    KIND_APPEND = 1,     /* client to gateway: commands */
    KIND_APPENDED = 2,   /* gateway to client: their outcomes */
    KIND_READ = 3,       /* client to publisher */
    KIND_EVENTS = 4,     /* publisher to client */
    KIND_PING = 5,       /* to any public endpoint */
    KIND_PONG = 6,       /* back */
    KIND_REFUSED = 7,    /* to whoever sent what is no message */
    KIND_PROJECTION = 8, /* client to projector */
    KIND_PROJECTED = 9,  /* back */
    /* between our own daemons */
    KIND_SUBMIT = 16,   /* gateway to writer: commits */
    KIND_OUTCOMES = 17, /* writer to gateway */
    KIND_HELLO = 18,    /* gateway to writer, before all else */
    KIND_WELCOME = 19,  /* back */
    KIND_DOORBELL = 20, /* writer to everybody: the watermark has moved */
    KIND_FAREWELL = 21, /* writer to gateway, after all else; and back */
};

/* What became of a command or a request. */
enum answer_code {
    ANSWER_ACCEPTED = 0,  /* a command: its events are on stable storage */
    ANSWER_OK = 0,        /* a request */
    ANSWER_CONFLICT = 1,  /* checks failed; nothing was stored */
    ANSWER_REJECTED = 2,  /* by a handler; nothing was stored */
    ANSWER_INVALID = 3,   /* never to be accepted as it is */
    ANSWER_TOO_LARGE = 4, /* likewise */
    ANSWER_DENIED = 5,    /* the sender has no right to it */
    ANSWER_BUSY = 6,      /* nothing was stored; try again after retry_ms */
    ANSWER_NO_SPACE = 7,  /* nothing was stored; the disk is full */
    ANSWER_STOPPING = 8,  /* nothing was stored; the daemon is going down */
    ANSWER_UNKNOWN = 9,   /* ask again with the same command id */
    ANSWER_DAMAGED = 10,  /* the log could not be read */
};

/* "accepted", "conflict", ...; never NULL. */
const char *answer_name(uint16_t code);

/* What a command expects of a stream, or of the log (a condition). */
enum expect {
    WIRE_EXPECT_ANY = 0,
    WIRE_EXPECT_NONE = 1,
    WIRE_EXPECT_EXISTS = 2,
    WIRE_EXPECT_EXACT = 3,
    WIRE_EXPECT_NO_EVENT = 4, /* none at all behind a position */
    WIRE_EXPECT_NO_MATCH = 5, /* none that matches behind a position */
};

#define COMMAND_FLAG_DRY_RUN 1u /* decide, and store nothing */

#define ANSWER_FLAG_REPEATED 1u /* the stored outcome of an earlier try */
#define ANSWER_FLAG_DRY_RUN 2u  /* nothing was stored */
#define ANSWER_FLAG_MORE 4u     /* not all events of a conflict are shown */

/* Limits of one message, for both sides. */
#define FRAME_LEN_MAX (UINT64_C(32) << 20)
#define FRAME_LEN_READ (UINT64_C(64) << 20) /* longer: answered, closed */
#define COMMANDS_PER_MESSAGE_MAX 4096u
#define EVENTS_PER_MESSAGE_MAX 65536u
#define CHECKS_PER_MESSAGE_MAX 65536u
#define ITEMS_PER_MESSAGE_MAX 65536u

/* In one message of outcomes; a conflict above it is answered busy. */
#define VERDICTS_PER_MESSAGE_MAX 262144u

/* Bytes of shown events in one message of outcomes; what is above is left
 * out, with ANSWER_FLAG_MORE. */
#define SHOWN_PER_MESSAGE_MAX ((size_t)4 << 20)

#endif
