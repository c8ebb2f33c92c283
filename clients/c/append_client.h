/* SPDX-License-Identifier: MPL-2.0 */
/*
 * append_client - sends commands to a gateway, many in flight, and brings each
 * to an outcome.
 *
 * Commands that are queued go out together as one message, without a timer: at
 * the next call of append_client_pump(), or when they are a quarter of the
 * window, at least 64 and at most 256, or 256 KiB.
 * After a lost connection, an outcome of unknown or busy, or a silence, a
 * command is sent again with the same command id, in the order in which it
 * was queued, until its deadline.  So for the caller there are only outcomes.
 *
 * Order: commands take effect in the order in which they were queued.  When the
 * gateway puts one off, it puts off what follows as well, until that one comes
 * again.  Only a command that is put off for longer than HOLD_MS of the gateway
 * (2 s) without coming again may be overtaken, and one that runs into its
 * deadline is left out.
 *
 * Silence: a connection without any answer for a while, peer_silence_ms(), is
 * given up, and made anew.  It may be dead without anybody having said so: what lies between may
 * have forgotten it.
 *
 * Threads: one.
 */
#ifndef CAIRN_CLIENTS_APPEND_CLIENT_H
#define CAIRN_CLIENTS_APPEND_CLIENT_H

#include "c/peer.h"
#include "wire/append.h"

struct append_client;

struct append_client_options {
    const char *endpoint;
    uint32_t window;      /* commands in flight at most */
    uint32_t deadline_ms; /* after it was queued, a command is given up */
    void *context;        /* as in struct peer_options */
    const struct peer_keys *keys;
};

#define APPEND_WINDOW_DEFAULT 256u
#define APPEND_WINDOW_MAX 16384u
#define APPEND_DEADLINE_MS_DEFAULT 30000u

/*
 * Told once for each command, in any order.  `tag` is what was queued with it.
 * Command and outcome are borrowed.  An outcome ANSWER_UNKNOWN means that the deadline has passed: `reached` says
 * whether the command may have arrived anywhere.
 */
typedef void append_outcome_fn(void *arg, uint64_t tag,
                               const struct wire_command *command,
                               const struct wire_outcome *outcome,
                               bool reached);

int append_client_open(const struct append_client_options *options,
                       append_outcome_fn *on_outcome, void *arg,
                       struct append_client **ret_client, struct err *err);

/* Closes it; what has no outcome gets none.  NULL is fine. */
void append_client_close(struct append_client **client);

/*
 * Queues a command; copies it.  If the window is full, waits for outcomes
 * first.  -ENOMEM.
 */
int append_client_queue(struct append_client *client,
                        const struct wire_command *command, uint64_t tag);

/* Sends what is queued, and takes outcomes in for up to wait_ms. */
int append_client_pump(struct append_client *client, uint32_t wait_ms);

/* Commands without an outcome. */
uint32_t append_client_pending(const struct append_client *client);

/* Waits until every command has its outcome. */
int append_client_finish(struct append_client *client);

/* How often a command was sent again. */
uint64_t append_client_resent(const struct append_client *client);

#endif
