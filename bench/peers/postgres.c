/* SPDX-License-Identifier: MPL-2.0 */
#include "peers/postgres.h"

#include <endian.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#define SCHEMA_MAX 16384
#define BYTEA_OID 17

static PGconn *
connect_to(const char *conninfo)
{
    PGconn *c = PQconnectdb(conninfo);

    if (PQstatus(c) != CONNECTION_OK)
        bench_die("cannot connect to PostgreSQL: %s", PQerrorMessage(c));
    return c;
}

void
postgres_start(struct postgres *p, const char *conninfo,
               const char *schema_path)
{
    static char schema[SCHEMA_MAX];
    FILE *file = fopen(schema_path, "r");
    PGconn *c = connect_to(conninfo);
    PGresult *result;

    p->conninfo = conninfo;
    if (file == NULL || fread(schema, 1, sizeof schema - 1, file) == 0)
        bench_die("cannot read %s", schema_path);
    (void)fclose(file);
    result = PQexec(c, schema);
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        bench_die("PostgreSQL: %s", PQresultErrorMessage(result));
    PQclear(result);
    PQfinish(c);
}

/* A parameter bytea[] in the binary format: a head, then length and bytes. */
struct array {
    uint8_t bytes[20 + LOAD_BATCH_MAX * (4 + LOAD_DATA_LEN)];
    int len;
};

static void
put32(struct array *a, uint32_t value)
{
    uint32_t big = htobe32(value);

    memcpy(a->bytes + a->len, &big, sizeof big);
    a->len += (int)sizeof big;
}

static void
array_make(struct array *a, uint32_t count)
{
    a->len = 0;
    put32(a, 1); /* dimensions */
    put32(a, 0); /* no NULLs */
    put32(a, BYTEA_OID);
    put32(a, count);
    put32(a, 1); /* the first index */
    for (uint32_t i = 0; i < count; i++) {
        put32(a, LOAD_DATA_LEN);
        memset(a->bytes + a->len, 'x', LOAD_DATA_LEN);
        a->len += (int)LOAD_DATA_LEN;
    }
}

struct run {
    struct postgres *postgres;
    PGconn *c;
    struct array array;
    char data[LOAD_DATA_LEN];
    double *sent; /* in order of sending, which is that of the answers */
    uint64_t queued, answered;
    uint32_t window;
};

static void
prepare(struct run *run, const struct load *load)
{
    PGresult *result = PQprepare(
        run->c, "write",
        load->batch == 1 ? "SELECT write_message($1, $2, 'Measured', $3)"
                         : "SELECT write_messages($1, $2, 'Measured', $3)",
        3, NULL);

    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        bench_die("PostgreSQL: %s", PQresultErrorMessage(result));
    PQclear(result);
    if (PQsetnonblocking(run->c, 1) != 0 || !PQenterPipelineMode(run->c))
        bench_die("PostgreSQL: %s", PQerrorMessage(run->c));
}

static void
queue_one(struct run *run, const struct load *load, uint32_t stream)
{
    uint64_t expected = run->postgres->versions[stream];
    uint64_t big = htobe64(expected);
    char name[32];
    int name_len = snprintf(name, sizeof name, "bench-%04u", stream);
    bool one = load->batch == 1;
    const char *values[3] = { name, (char *)&big,
                              one ? run->data : (char *)run->array.bytes };
    const int lens[3] = { name_len, sizeof big,
                          one ? (int)sizeof run->data : run->array.len };
    const int formats[3] = { 1, 1, 1 };

    /* A sync behind each: a transaction of its own. */
    if (!PQsendQueryPrepared(run->c, "write", 3, values, lens, formats, 1) ||
        !PQpipelineSync(run->c))
        bench_die("PostgreSQL: %s", PQerrorMessage(run->c));
    run->postgres->versions[stream] = expected + load->batch;
    run->sent[run->queued++ % run->window] = seconds_now();
}

/* Takes one of the results that are there; false if none is. */
static bool
take(struct run *run)
{
    PGresult *result;

    if (PQisBusy(run->c))
        return false;
    result = PQgetResult(run->c);
    if (result == NULL) /* between a result and its sync */
        return true;
    switch (PQresultStatus(result)) {
    case PGRES_TUPLES_OK:
        break;
    case PGRES_PIPELINE_SYNC:
        load_latency(seconds_now() - run->sent[run->answered++ % run->window]);
        break;
    default:
        bench_die("PostgreSQL refused a command: %s",
                  PQresultErrorMessage(result));
    }
    PQclear(result);
    return true;
}

/* Sends and receives what can be, and waits until there is a result. */
static void
exchange(struct run *run)
{
    uint64_t before = run->answered;

    while (run->answered == before) {
        struct pollfd fd = { .fd = PQsocket(run->c), .events = POLLIN };
        int unsent = PQflush(run->c);

        if (unsent > 0)
            fd.events |= POLLOUT;
        if (unsent < 0 || poll(&fd, 1, 10000) <= 0)
            bench_die("PostgreSQL does not answer: %s", PQerrorMessage(run->c));
        if ((fd.revents & POLLIN) && !PQconsumeInput(run->c))
            bench_die("PostgreSQL: %s", PQerrorMessage(run->c));
        while (run->answered < run->queued && take(run))
            ;
    }
}

uint64_t
postgres_run(void *self, const struct load *load, uint32_t connection)
{
    struct run *run = calloc(1, sizeof *run);
    uint64_t answered;
    double began;
    bool more;

    if (run == NULL)
        bench_die("no memory");
    run->postgres = self;
    run->window = load->outstanding / load->connections;
    run->sent = calloc(run->window, sizeof *run->sent);
    if (run->sent == NULL)
        bench_die("no memory");
    run->c = connect_to(run->postgres->conninfo);
    memset(run->data, 'x', sizeof run->data);
    array_make(&run->array, load->batch);
    prepare(run, load);
    began = seconds_now();
    do {
        more = seconds_now() - began < load->seconds;
        while (more && run->queued - run->answered < run->window)
            queue_one(run, load, load_stream(load, connection, run->queued));
        if (run->queued > run->answered)
            exchange(run);
    } while (more || run->queued > run->answered);
    answered = run->answered;
    PQfinish(run->c);
    free(run->sent);
    free(run);
    return answered;
}
