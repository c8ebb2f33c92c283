/* SPDX-License-Identifier: MPL-2.0 */
#include "load.h"

#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LATENCIES_MAX (1u << 20) /* kept per connection; later ones are left */

const double load_quantiles[LOAD_QUANTILES] = { 0.5, 0.9, 0.99, 0.999, 1.0 };

struct connection {
    const struct engine *engine;
    const struct load *load;
    uint32_t number;
    pthread_t thread;
    uint64_t commits;
    double excluded;
    float *latencies;
    uint32_t latency_count;
};

static _Thread_local struct connection *current;

double
seconds_now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void
bench_die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fputs("bench: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

void
load_latency(double seconds)
{
    if (current != NULL && current->latency_count < LATENCIES_MAX)
        current->latencies[current->latency_count++] = (float)(seconds * 1e6);
}

void
load_exclude(double seconds)
{
    if (current != NULL)
        current->excluded += seconds;
}

uint32_t
load_stream(const struct load *load, uint32_t connection, uint64_t number)
{
    uint32_t own = LOAD_STREAMS / load->connections;

    return (uint32_t)(number % own) * load->connections + connection;
}

static void *
drive(void *arg)
{
    struct connection *c = arg;

    current = c;
    c->commits = c->engine->run(c->engine->self, c->load, c->number);
    return NULL;
}

static int
compare(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;

    return (x > y) - (x < y);
}

/* Sorts all latencies together and takes some of them. */
static void
summarize(struct connection *connections, uint32_t count,
          struct load_result *result)
{
    size_t total = 0, at = 0;
    float *all;

    for (uint32_t i = 0; i < count; i++)
        total += connections[i].latency_count;
    all = malloc((total + 1) * sizeof *all);
    if (all == NULL)
        bench_die("no memory for latencies");
    for (uint32_t i = 0; i < count; i++) {
        memcpy(all + at, connections[i].latencies,
               connections[i].latency_count * sizeof *all);
        at += connections[i].latency_count;
    }
    qsort(all, total, sizeof *all, compare);
    for (int i = 0; i < LOAD_QUANTILES && total > 0; i++)
        result->latency_us[i] =
            (double)all[(size_t)(load_quantiles[i] * (double)(total - 1))];
    free(all);
}

struct load_result
load_run(const struct engine *engine, const struct load *load)
{
    struct connection connections[LOAD_CONNECTIONS_MAX] = { 0 };
    struct load_result result = { 0 };
    uint64_t commits = 0;
    double began, took;

    /* Clients of all engines alike keep the memory that they freed: new pages
     * for each message of a megabyte are not what is measured. */
    (void)mallopt(M_MMAP_THRESHOLD, 32 << 20);
    (void)mallopt(M_TRIM_THRESHOLD, 256 << 20);
    began = seconds_now();
    for (uint32_t i = 0; i < load->connections; i++) {
        connections[i] =
            (struct connection){ .engine = engine, .load = load, .number = i };
        connections[i].latencies =
            malloc(LATENCIES_MAX * sizeof *connections[i].latencies);
        if (connections[i].latencies == NULL ||
            pthread_create(&connections[i].thread, NULL, drive,
                           &connections[i]) != 0)
            bench_die("%s: cannot start a connection", engine->name);
    }
    for (uint32_t i = 0; i < load->connections; i++) {
        (void)pthread_join(connections[i].thread, NULL);
        commits += connections[i].commits;
    }
    took = seconds_now() - began - connections[0].excluded;
    summarize(connections, load->connections, &result);
    for (uint32_t i = 0; i < load->connections; i++)
        free(connections[i].latencies);
    result.per_second = (double)commits / took;
    return result;
}
