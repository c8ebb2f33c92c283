/* SPDX-License-Identifier: MPL-2.0 */
/* cairn - the command: appends, reads, watches, and asks how things are. */
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/daemon.h"
#include "cairn/cli.h"

static const struct {
    const char *name;
    cli_command *run;
    const char *help;
} commands[] = {
    { "append", cli_append, "store events, from arguments or lines of JSON" },
    { "read", cli_read, "read a stream, or the whole log through filters" },
    { "watch", cli_watch, "show events as they become durable" },
    { "stream", cli_stream, "info: what is known of a stream" },
    { "projection", cli_projection, "ls, info, reset, wait: read models" },
    { "status", cli_status, "how the daemons are" },
    { "export", cli_export, "a log as lines of JSON, nothing left out" },
    { "import", cli_import, "store exported lines in another log" },
    { "key", cli_key, "new, show, authorize, ls: keys and rights for tcp" },
    { "log", cli_log,
      "verify, dump, backup, restore: the files of a log, without daemons" },
    { "floor", cli_floor, "what the disk gives, and how far an append is" },
    { "bench", cli_bench, "append, read: how fast a pipeline is" },
};

#define COMMAND_COUNT (sizeof commands / sizeof *commands)

static void
print_help(void)
{
    printf("cairn - the command of the Cairn event store\n\n"
           "usage: cairn [options] COMMAND ...\n\n"
           "commands:\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        printf("  %-11s %s\n", commands[i].name, commands[i].help);
    printf("\noptions, before the command:\n"
           "  --run DIR           directory of the daemons' sockets "
           "(CAIRN_RUN; /run/cairn)\n"
           "  --commands ENDPOINT the gateway (CAIRN_COMMANDS; "
           "ipc://RUN/commands)\n"
           "  --queries ENDPOINT  the publisher (CAIRN_QUERIES; "
           "ipc://RUN/queries)\n"
           "  --server-key KEY    over tcp: the server's public key, or the "
           "file of it\n"
           "                      (CAIRN_SERVER_KEY)\n"
           "  --key FILE          over tcp: your own key (CAIRN_KEY)\n"
           "  --version           the version\n"
           "\noptions of every command:\n"
           "  --json              answers as JSON\n"
           "  --timeout SECONDS   how long to wait for an answer\n"
           "  --help              more about the command\n"
           "\nexit codes: 0 done, 1 failed, 2 usage, 3 conflict, 4 not "
           "reachable, 5 outcome unknown, 130 interrupted\n");
}

static void
set_endpoint(char endpoint[CLI_ENDPOINT_LEN], const char *given,
             const char *variable, const char *run, const char *name)
{
    if (given == NULL)
        given = getenv(variable);
    if (given != NULL)
        (void)snprintf(endpoint, CLI_ENDPOINT_LEN, "%s", given);
    else
        (void)snprintf(endpoint, CLI_ENDPOINT_LEN, "ipc://%s/%s", run, name);
}

/*
 * Memory that was freed stays: messages of a megabyte come and go by the
 * thousand, and new pages for each took two thirds of the processor time of
 * `cairn bench append --batch 100` (doc/decisions/0013-speed.md).
 */
static void
keep_freed_memory(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, 32 << 20);
    (void)mallopt(M_TRIM_THRESHOLD, 256 << 20);
}

int
main(int argc, char **argv)
{
    static const struct option options[] = {
        { "run", required_argument, NULL, 'r' },
        { "commands", required_argument, NULL, 'c' },
        { "queries", required_argument, NULL, 'q' },
        { "server-key", required_argument, NULL, 's' },
        { "key", required_argument, NULL, 'k' },
        { "version", no_argument, NULL, 'V' },
        { "help", no_argument, NULL, 'h' },
        { "json", no_argument, NULL, 1000 },
        { 0 },
    };
    struct cli cli = {
        .run = getenv("CAIRN_RUN"),
        .server_key = getenv("CAIRN_SERVER_KEY"),
        .key = getenv("CAIRN_KEY"),
    };
    const char *command_endpoint = NULL, *query_endpoint = NULL;
    int c;

    keep_freed_memory();
    log_open("cairn");
    (void)setenv("ZSYS_SIGHANDLER", "false", 1);
    (void)signal(SIGPIPE, SIG_IGN); /* writes fail instead, and say so */
    cli.progress = isatty(STDERR_FILENO);
    if (cli.run == NULL)
        cli.run = "/run/cairn";
    while ((c = getopt_long(argc, argv, "+hV", options, NULL)) != -1) {
        switch (c) {
        case 'r':
            cli.run = optarg;
            break;
        case 'c':
            command_endpoint = optarg;
            break;
        case 'q':
            query_endpoint = optarg;
            break;
        case 's':
            cli.server_key = optarg;
            break;
        case 'k':
            cli.key = optarg;
            break;
        case 'h':
            print_help();
            return CLI_DONE;
        case 'V':
            printf("cairn %s\n", CAIRN_VERSION);
            return CLI_DONE;
        case 1000:
            cli.json = true;
            break;
        default:
            fprintf(stderr, "try: cairn --help\n");
            return CLI_USAGE;
        }
    }
    set_endpoint(cli.commands, command_endpoint, "CAIRN_COMMANDS", cli.run,
                 "commands");
    set_endpoint(cli.queries, query_endpoint, "CAIRN_QUERIES", cli.run,
                 "queries");
    argc -= optind;
    argv += optind;
    optind = 0; /* so that getopt begins anew */
    for (size_t i = 0; argc > 0 && i < COMMAND_COUNT; i++)
        if (strcmp(argv[0], commands[i].name) == 0) {
            int code = commands[i].run(&cli, argc, argv);

            if (fflush(stdout) != 0 && code == CLI_DONE) {
                perror("cairn: cannot write the output");
                code = CLI_FAILED;
            }
            return code;
        }
    if (argc > 0)
        fprintf(stderr, "cairn: there is no command '%s'\n", argv[0]);
    fprintf(stderr, "try: cairn --help\n");
    return CLI_USAGE;
}
