/* SPDX-License-Identifier: MPL-2.0 */
/*
 * cairn/client - a client of Cairn: options, results, the projections' progress.
 *
 * libcairn speaks doc/PROTOCOL.md: it appends commands and brings each to an
 * outcome (cairn/command.h), reads and follows events (cairn/event.h), and waits
 * for read models.
 *
 * Threads:  a struct cairn and all that was made from it belong to one thread
 *           at a time; two of them may be used by two threads at once.  There
 *           is no global state, no signal handler and no exit hook.  Do not
 *           use one behind fork() that was opened before it.
 * Results:  0 or more, or a negative enum cairn_result; cairn_error() says
 *           more about the last one.  Results come through `ret_` arguments,
 *           written on success only.
 * Memory:   what a function returns through `ret_` is yours and released by
 *           the _free() of its kind, which takes NULL and sets it to NULL.
 *           Texts and bytes that are handed in are copied.  A program that
 *           has no memory left even for the header of a message is aborted.
 * Units:    positions count the events of the whole log, versions those of a
 *           stream, both from 1; times are microseconds since 1970 UTC;
 *           lengths are bytes.
 * ABI:      all structs are opaque; symbols carry the version CAIRN_0.
 */
#ifndef CAIRN_CLIENT_H
#define CAIRN_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define CAIRN_API __attribute__((visibility("default")))
#else
#define CAIRN_API
#endif

#define CAIRN_VERSION_MAJOR 0
#define CAIRN_VERSION_MINOR 1

#ifdef __cplusplus
extern "C" {
#endif

enum cairn_result {
    CAIRN_OK = 0,
    CAIRN_ERR_ARGUMENT = -1,    /* a value that cannot be sent */
    CAIRN_ERR_MEMORY = -2,      /* no memory */
    CAIRN_ERR_UNREACHABLE = -3, /* nobody answered until the deadline */
    CAIRN_ERR_REFUSED = -4,     /* the answer is an error; see the text */
    CAIRN_ERR_DAMAGED = -5,     /* events could not be read or are not whole */
    CAIRN_ERR_TIMEOUT = -6,     /* what was waited for did not happen in time */
    CAIRN_ERR_SYSTEM = -7,      /* the operating system, or libzmq */
};

/* What became of a command; the numbers of the protocol. */
enum cairn_code {
    CAIRN_ACCEPTED = 0,  /* stored, and durable */
    CAIRN_CONFLICT = 1,  /* checks failed; nothing was stored */
    CAIRN_REJECTED = 2,  /* by a handler; nothing was stored */
    CAIRN_INVALID = 3,   /* never to be accepted as it is */
    CAIRN_TOO_LARGE = 4, /* likewise; the detail names the limit */
    CAIRN_DENIED = 5,    /* no right to it */
    CAIRN_BUSY = 6,      /* not an outcome here: it is sent again */
    CAIRN_NO_SPACE = 7,  /* nothing was stored; the disk is full */
    CAIRN_STOPPING = 8,  /* not an outcome here: it is sent again */
    CAIRN_UNKNOWN = 9,   /* the deadline has passed; see cairn_outcome_sent() */
    CAIRN_DAMAGED = 10,  /* the log could not be read */
};

/* "accepted", "conflict", ...; never NULL. */
CAIRN_API const char *cairn_code_name(int code);

/* "0.1" of the library that is running, which may be newer than this file. */
CAIRN_API const char *cairn_version(void);

/*
 * A client.  It connects when it is first used, connects again whenever a
 * connection breaks or, over tcp, has been silent for long, and sends again,
 * with the same command id, what may have been lost: all without being asked,
 * until the deadline.
 */
struct cairn;

CAIRN_API int cairn_new(struct cairn **ret_cairn);

/*
 * Sets an option, before the first use:
 *
 *   run          directory with the daemons' sockets; "/run/cairn"
 *   commands     endpoint of the gateway; "ipc://RUN/commands"
 *   queries      endpoint of the publisher; "ipc://RUN/queries"
 *   projections  endpoint of the projectors without their names;
 *                "ipc://RUN/projections/"
 *   deadline_ms  how long anything is tried; "30000", at most a day
 *   window       commands in flight at most; "256", at most 16384
 *   server_key, public_key, secret_key
 *                CURVE keys as 40 characters of Z85; needed over tcp, and used
 *                for nothing else
 *
 *   CAIRN_ERR_ARGUMENT  no such option, a value it cannot have, or too late
 */
CAIRN_API int cairn_set(struct cairn *cairn, const char *option,
                        const char *value);

/* Closes it.  Commands without an outcome get none. */
CAIRN_API void cairn_free(struct cairn **cairn);

/* What the last failure was, as a sentence; borrowed until the next call. */
CAIRN_API const char *cairn_error(const struct cairn *cairn);

/*
 * Waits until the projection `name` has taken in every event up to
 * `position`, so that you can read your own writes; 0 for what is there now.
 * *ret_checkpoint, unless NULL, is how far it has come.
 *
 *   CAIRN_ERR_TIMEOUT      it did not come so far in wait_ms
 *   CAIRN_ERR_REFUSED      it has stopped at an event; the text says why
 *   CAIRN_ERR_UNREACHABLE  there is no such projector
 */
CAIRN_API int cairn_wait(struct cairn *cairn, const char *name,
                         uint64_t position, uint32_t wait_ms,
                         uint64_t *ret_checkpoint);

#ifdef __cplusplus
}
#endif

#endif
