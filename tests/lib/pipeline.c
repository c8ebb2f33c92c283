/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/pipeline.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "c/append_client.h"
#include "c/query_client.h"
#include "lib/tmpdir.h"

#define ARGS_MAX 64
#define START_MS 60000u

static void
die(const char *what)
{
    fprintf(stderr, "pipeline: %s\n", what);
    exit(1);
}

/* Starts BUILD/bin/cairn-NAME with "-o key=value" for each option. */
static pid_t
start(const struct pipeline *p, const char *name, const char *const *options,
      const char *const *more)
{
    const char *argv[ARGS_MAX];
    char program[512], log[512];
    int count = 0;
    pid_t pid;

    snprintf(program, sizeof program, "%s/bin/cairn-%s", p->build, name);
    snprintf(log, sizeof log, "%s/%s.out", p->dir, name);
    argv[count++] = program;
    for (; *options != NULL && count < ARGS_MAX - 2; options++) {
        argv[count++] = "-o";
        argv[count++] = *options;
    }
    for (; more != NULL && *more != NULL && count < ARGS_MAX - 2; more++) {
        argv[count++] = "-o";
        argv[count++] = *more;
    }
    argv[count] = NULL;
    pid = fork();
    if (pid == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);

        (void)dup2(fd, STDERR_FILENO);
        (void)dup2(fd, STDOUT_FILENO);
        (void)execv(program, (char *const *)(uintptr_t)argv);
        perror(program);
        _exit(127);
    }
    if (pid < 0)
        die("cannot fork");
    return pid;
}

static char *
option(const char *key, const char *prefix, const char *dir, const char *name)
{
    char *text;

    if (asprintf(&text, "%s=%s%s/%s", key, prefix, dir, name) < 0)
        die("no memory");
    return text;
}

static void
count_outcome(void *arg, uint64_t tag, const struct wire_command *command,
              const struct wire_outcome *outcome, bool reached)
{
    (void)tag;
    (void)command;
    (void)reached;
    *(uint16_t *)arg = outcome->code;
}

/* Waits until a command gets through: the one that makes stream "start-1". */
static void
await_gateway(const struct pipeline *p)
{
    struct append_client_options options = { .endpoint = p->commands,
                                             .window = 1,
                                             .deadline_ms = START_MS };
    struct wire_event event = { .schema = 1,
                                .stream_len = 7,
                                .type_len = 7,
                                .text = (const uint8_t *)"start-1Started" };
    struct wire_command command = { .id = uuid_v4(),
                                    .events = &event,
                                    .event_count = 1 };
    struct append_client *client;
    uint16_t code = 1;
    struct err err;

    if (append_client_open(&options, count_outcome, &code, &client, &err) < 0)
        die(err.text);
    if (append_client_queue(client, &command, 0) < 0 ||
        append_client_finish(client) < 0 || code != ANSWER_ACCEPTED)
        die("the gateway does not take commands");
    append_client_close(&client);
}

void
pipeline_prepare(struct pipeline *p, const char *build)
{
    *p = (struct pipeline){ .dir = tmpdir_make(), .build = build };
    snprintf(p->commands, sizeof p->commands, "ipc://%s/commands", p->dir);
    snprintf(p->queries, sizeof p->queries, "ipc://%s/queries", p->dir);
    snprintf(p->control, sizeof p->control, "%s/control", p->dir);
    snprintf(p->log, sizeof p->log, "%s/log", p->dir);
}

/* Starts one with these options, which are released, up to a NULL. */
static pid_t
start_with(const struct pipeline *p, const char *name, char **options,
           const char *const *more)
{
    pid_t pid = start(p, name, (const char *const *)options, more);

    for (; *options != NULL; options++)
        free(*options);
    return pid;
}

void
pipeline_start_writer(struct pipeline *p, const char *const *writer_options)
{
    char *options[] = {
        option("log.directory", "", p->dir, "log"),
        option("log.control", "", p->dir, "control"),
        option("commands.endpoint", "ipc://", p->dir, "writer"),
        option("doorbell.endpoint", "ipc://", p->dir, "doorbell"),
        NULL,
    };

    p->writer = start_with(p, "writer", options, writer_options);
}

void
pipeline_kill_writer(struct pipeline *p)
{
    (void)kill(p->writer, SIGKILL);
    (void)waitpid(p->writer, NULL, 0);
    p->writer = 0;
}

void
pipeline_start(struct pipeline *p, const char *build,
               const char *const *writer_options)
{
    if (p->dir == NULL)
        pipeline_prepare(p, build);
    char *publisher[] = {
        option("log.directory", "", p->dir, "log"),
        option("log.control", "", p->dir, "control"),
        option("doorbell.endpoint", "ipc://", p->dir, "doorbell"),
        option("queries.endpoint", "ipc://", p->dir, "queries"),
        option("live.endpoint", "ipc://", p->dir, "live"),
        NULL,
    };
    char *gateway[] = {
        option("commands.endpoint", "ipc://", p->dir, "commands"),
        option("writer.endpoint", "ipc://", p->dir, "writer"),
        NULL,
    };

    pipeline_start_writer(p, writer_options);
    p->publisher = start_with(p, "publisher", publisher, NULL);
    p->gateway = start_with(p, "gateway", gateway, NULL);
    await_gateway(p);
}

static void
stop(pid_t *pid)
{
    if (*pid > 0) {
        (void)kill(*pid, SIGTERM);
        (void)waitpid(*pid, NULL, 0);
    }
    *pid = 0;
}

void
pipeline_stop(struct pipeline *p)
{
    stop(&p->gateway);
    stop(&p->publisher);
    stop(&p->writer);
    tmpdir_remove(&p->dir);
}

unsigned long long
process_cpu_us(pid_t pid)
{
    char path[64], text[1024], *end;
    unsigned long user = 0, system = 0;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    file = fopen(path, "r");
    if (file == NULL)
        return 0;
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    end = strrchr(text, ')');
    if (end == NULL ||
        sscanf(end + 1,
               " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u "
               "%lu %lu",
               &user, &system) != 2)
        return 0;
    return (user + system) * 1000000ULL /
        (unsigned long long)sysconf(_SC_CLK_TCK);
}
