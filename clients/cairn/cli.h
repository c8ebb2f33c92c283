/* SPDX-License-Identifier: MPL-2.0 */
/*
 * cli - what the commands of `cairn` have in common.
 *
 * Exit codes: 0 done, 1 failed, 2 usage, 3 conflict, 4 not reachable,
 * 5 outcome unknown, 130 interrupted.
 */
#ifndef CAIRN_CLIENTS_CLI_H
#define CAIRN_CLIENTS_CLI_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "c/peer.h"
#include "wire/curve.h"

enum cli_exit {
    CLI_DONE = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
    CLI_CONFLICT = 3,
    CLI_UNREACHABLE = 4,
    CLI_UNKNOWN = 5,
    CLI_INTERRUPTED = 130, /* as shells say it */
};

#define CLI_ENDPOINT_LEN 256
#define CLI_TIMEOUT_MS_DEFAULT 5000u

/* Options that stand before the noun, or come from the environment. */
struct cli {
    const char *run; /* directory of the daemons' sockets */
    char commands[CLI_ENDPOINT_LEN];
    char queries[CLI_ENDPOINT_LEN];
    const char *server_key; /* public: the key, or its file; NULL: none */
    const char *key;        /* the file of one's own; NULL: none */
    bool json;
    uint32_t timeout_ms;
    bool progress; /* standard error is a terminal */
};

/* A command: reads its own options from argv, whose [0] is its name. */
typedef int cli_command(struct cli *cli, int argc, char **argv);

cli_command cli_append, cli_read, cli_watch, cli_stream, cli_projection,
    cli_status, cli_log, cli_export, cli_import, cli_key, cli_floor, cli_bench;

/* `cairn log backup` and `cairn log restore`; argv[0] is "log". */
cli_command cli_log_backup, cli_log_restore;
int cli_log_help(void); /* CLI_DONE */

/* Says on standard error what is wrong, and where to read more; CLI_USAGE. */
int cli_usage(const char *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Says what failed, and returns the exit code that fits. */
int cli_fail(const struct err *err);

/* Whether an option of getopt is one that every command has; handles it. */
bool cli_common_option(struct cli *cli, int c, const char *value);

/* Common options for tables of getopt_long(). */
#define CLI_COMMON_OPTIONS                            \
    { "json", no_argument, NULL, 1000 },              \
        { "timeout", required_argument, NULL, 1001 }, \
    {                                                 \
        "help", no_argument, NULL, 'h'                \
    }

struct query_client;

/* The keys for tcp: overwrite them as soon as they have been used. */
struct cli_keys {
    struct curve_client curve;
    struct peer_keys peer; /* borrows from `curve` */
    bool given;            /* else there are none */
};

/* Loads the keys that the options name. */
int cli_keys_load(const struct cli *cli, struct cli_keys *ret_keys,
                  struct err *err);

/* Connects with these keys. */
int cli_query_open(const struct cli *cli, struct query_client *client,
                   const char *endpoint, uint32_t deadline_ms, struct err *err);

/*
 * A number with thousands separators for people, in one of several static
 * buffers.
 */
const char *cli_number(uint64_t number);

/* "12.3 MiB" likewise. */
const char *cli_bytes(uint64_t bytes);

/*
 * From now on an interrupt does not end the process, but makes
 * cli_interrupted() true; a second one does end it.
 */
void cli_catch_interrupts(void);
bool cli_interrupted(void);

/*
 * The control page of the writer of a log: `given`, or that of the daemons
 * whose run directory we know if it is a page of that log; NULL if there is
 * none.  `path` has room for PATH_LEN_MAX bytes.
 */
const char *cli_control_page(const struct cli *cli, const char *given,
                             const char *log_dir, char *path);

/* Seconds that work will still take, from what was done since began_ms. */
double cli_seconds_left(uint64_t began_ms, uint64_t done, uint64_t all,
                        double *ret_rate);

/* Says on a terminal how far a long work has come; NULL text ends the line. */
void cli_progress(struct cli *cli, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void cli_progress_end(struct cli *cli);

#endif
