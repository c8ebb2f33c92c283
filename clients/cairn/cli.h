/* SPDX-License-Identifier: MPL-2.0 */
/*
 * cli - what the commands of `cairn` have in common.
 *
 * Exit codes: 0 done, 1 failed, 2 usage, 3 conflict, 4 not reachable,
 * 5 outcome unknown.
 */
#ifndef CAIRN_CLIENTS_CLI_H
#define CAIRN_CLIENTS_CLI_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

enum cli_exit {
    CLI_DONE = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
    CLI_CONFLICT = 3,
    CLI_UNREACHABLE = 4,
    CLI_UNKNOWN = 5,
};

#define CLI_ENDPOINT_LEN 256
#define CLI_TIMEOUT_MS_DEFAULT 5000u

/* Options that stand before the noun, or come from the environment. */
struct cli {
    const char *run; /* directory of the daemons' sockets */
    char commands[CLI_ENDPOINT_LEN];
    char queries[CLI_ENDPOINT_LEN];
    bool json;
    uint32_t timeout_ms;
    bool progress; /* standard error is a terminal */
};

/* A command: reads its own options from argv, whose [0] is its name. */
typedef int cli_command(struct cli *cli, int argc, char **argv);

cli_command cli_append, cli_read, cli_watch, cli_stream, cli_projection,
    cli_status, cli_log;

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

/*
 * A number with thousands separators for people, in one of several static
 * buffers.
 */
const char *cli_number(uint64_t number);

/* "12.3 MiB" likewise. */
const char *cli_bytes(uint64_t bytes);

/* Says on a terminal how far a long work has come; NULL text ends the line. */
void cli_progress(struct cli *cli, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void cli_progress_end(struct cli *cli);

#endif
