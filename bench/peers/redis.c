/* SPDX-License-Identifier: MPL-2.0 */
#include "peers/redis.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

/* The length of a stream is its version: nothing is ever taken out. */
static const char script[] =
    "local version = redis.call('XLEN', KEYS[1])\n"
    "if version ~= tonumber(ARGV[1]) then\n"
    "  return redis.error_reply('CONFLICT ' .. version)\n"
    "end\n"
    "for i = 2, #ARGV do\n"
    "  redis.call('XADD', KEYS[1], '*', 'type', 'Measured', 'data', ARGV[i])\n"
    "end\n"
    "return version + #ARGV - 1\n";

static redisContext *
connect_to(const char *socket)
{
    redisContext *c = redisConnectUnix(socket);

    if (c == NULL || c->err != 0)
        bench_die("cannot connect to Redis at %s: %s", socket,
                  c == NULL ? "no memory" : c->errstr);
    return c;
}

void
redis_start(struct redis *r, const char *socket)
{
    redisContext *c = connect_to(socket);
    redisReply *reply = redisCommand(c, "SCRIPT LOAD %s", script);

    r->socket = socket;
    if (reply == NULL || reply->type != REDIS_REPLY_STRING)
        bench_die("Redis does not take the script: %s",
                  reply == NULL ? c->errstr : reply->str);
    (void)snprintf(r->script, sizeof r->script, "%s", reply->str);
    freeReplyObject(reply);
    redisFree(c);
}

struct run {
    struct redis *redis;
    redisContext *c;
    char data[LOAD_DATA_LEN];
    double *sent; /* in order of sending, which is that of the answers */
    uint64_t queued, answered;
    uint32_t window;
};

static void
queue_one(struct run *run, const struct load *load, uint32_t stream)
{
    const char *argv[LOAD_BATCH_MAX + 5];
    size_t lens[LOAD_BATCH_MAX + 5];
    char name[32], version[32];
    uint64_t expected = run->redis->versions[stream];
    int n = 5;

    (void)snprintf(name, sizeof name, "bench-%04u", stream);
    (void)snprintf(version, sizeof version, "%llu",
                   (unsigned long long)expected);
    argv[0] = "EVALSHA";
    argv[1] = run->redis->script;
    argv[2] = "1";
    argv[3] = name;
    argv[4] = version;
    for (int i = 0; i < n; i++)
        lens[i] = strlen(argv[i]);
    for (uint32_t i = 0; i < load->batch; i++, n++) {
        argv[n] = run->data;
        lens[n] = sizeof run->data;
    }
    if (redisAppendCommandArgv(run->c, n, argv, lens) != REDIS_OK)
        bench_die("Redis: %s", run->c->errstr);
    run->redis->versions[stream] = expected + load->batch;
    run->sent[run->queued++ % run->window] = seconds_now();
}

static void
take(struct run *run, redisReply *reply)
{
    if (reply->type != REDIS_REPLY_INTEGER)
        bench_die("Redis refused a command: %s", reply->str);
    freeReplyObject(reply);
    load_latency(seconds_now() - run->sent[run->answered++ % run->window]);
}

/* Sends what is queued, waits for one answer, and takes all that are there. */
static void
exchange(struct run *run)
{
    void *reply = NULL;

    if (redisGetReply(run->c, &reply) != REDIS_OK)
        bench_die("Redis: %s", run->c->errstr);
    while (reply != NULL) {
        take(run, reply);
        reply = NULL;
        if (run->answered == run->queued)
            break;
        if (redisGetReplyFromReader(run->c, &reply) != REDIS_OK)
            bench_die("Redis: %s", run->c->errstr);
    }
}

uint64_t
redis_run(void *self, const struct load *load, uint32_t connection)
{
    struct run run = { .redis = self,
                       .window = load->outstanding / load->connections };
    double began;
    bool more;

    run.c = connect_to(run.redis->socket);
    run.sent = calloc(run.window, sizeof *run.sent);
    if (run.sent == NULL)
        bench_die("no memory");
    memset(run.data, 'x', sizeof run.data);
    began = seconds_now();
    do {
        more = seconds_now() - began < load->seconds;
        while (more && run.queued - run.answered < run.window)
            queue_one(&run, load, load_stream(load, connection, run.queued));
        if (run.queued > run.answered)
            exchange(&run);
    } while (more || run.queued > run.answered);
    redisFree(run.c);
    free(run.sent);
    return run.answered;
}
