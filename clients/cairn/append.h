/* SPDX-License-Identifier: MPL-2.0 */
/*
 * append - what append.c (options), lines.c (standard input) and outcome.c
 * (what became of it) of the command share.
 */
#ifndef CAIRN_CLIENTS_APPEND_H
#define CAIRN_CLIENTS_APPEND_H

#include "c/append_client.h"
#include "cairn/cli.h"
#include "cairn/line.h"

#define LINE_LEN_MAX ((size_t)64 << 20)

/* What has been given on the command line. */
struct append_options {
    struct line_event event;
    enum expect expect;
    uint64_t version;
    struct uuid command;
    const char *tags[TAGS_MAX];
    struct line_commit commit; /* with its checks */
    bool keep_going, quiet, dry_run;
    uint16_t show; /* events of a conflict */
    bool in_order; /* of lines: take effect one behind the other, whatever
                      happens on the way */
    uint32_t window;
};

/* A run of the command. */
struct append_run {
    struct cli *cli;
    struct append_options *options;
    struct append_client *client;
    uint64_t began_ms;
    uint64_t commits, events; /* accepted and new */
    uint64_t repeated;        /* commits */
    uint64_t refused, conflicts, unknown, unreachable, bad_lines;
    uint64_t resent;
    uint64_t read_bytes, all_bytes; /* of standard input; 0: not known */
    uint32_t batch_commits;         /* queued since all were settled */
    size_t batch_bytes;
    bool stop; /* something was refused, and we do not keep going */
    bool lines;
};

/* Queues a commit that began at this line, and empties it. */
int append_queue(struct append_run *run, struct line_commit *commit,
                 uint64_t line);

/* Says what became of a command that began at this line; 0: it is the only
 * one. */
void outcome_print(const struct append_run *run,
                   const struct wire_command *command,
                   const struct wire_outcome *outcome, uint64_t line,
                   bool reached);

/*
 * Waits until all that is queued has its outcome.  What is queued between two
 * of these goes out as one message, so that a gateway that is busy, or a
 * writer that goes away, cannot take later commits and refuse earlier ones.
 */
int append_settle(struct append_run *run);

#define IN_ORDER_COMMITS 64u
#define IN_ORDER_BYTES ((size_t)128 << 10)

/* Appends lines from standard input until it ends, or something is wrong. */
int append_lines(struct append_run *run, struct err *err);

#endif
