/* SPDX-License-Identifier: MPL-2.0 */
#include "contest.h"

#include <stdio.h>
#include <stdlib.h>

static void
print_list(const char *name, const double *values, int count)
{
    printf("\"%s\":[", name);
    for (int i = 0; i < count; i++)
        printf("%s%.6g", i > 0 ? "," : "", values[i]);
    printf("]");
}

static void
print_engine(const char *name, const struct load_result *results, int count)
{
    printf("\"%s\":{\"rates\":[", name);
    for (int i = 0; i < count; i++)
        printf("%s%.6g", i > 0 ? "," : "", results[i].per_second);
    printf("],\"latency_us\":[");
    for (int i = 0; i < count; i++)
        for (int k = 0; k < LOAD_QUANTILES; k++)
            printf("%s%.6g%s",
                   k > 0       ? ","
                       : i > 0 ? ",["
                               : "[",
                   results[i].latency_us[k],
                   k == LOAD_QUANTILES - 1 ? "]" : "");
    printf("]}");
}

void
contest_run(const struct contest *c)
{
    struct load warm = c->load;
    struct load_result *results[CONTEST_ENGINES_MAX];
    int count = 0;

    warm.seconds /= 4;
    while (count < CONTEST_ENGINES_MAX && c->engines[count] != NULL) {
        results[count] = calloc((size_t)c->rounds * 2, sizeof **results);
        if (results[count] == NULL)
            bench_die("no memory");
        (void)load_run(c->engines[count], &warm);
        count++;
    }
    for (int round = 0; round < c->rounds; round++)
        for (int i = 0; i < 2 * count; i++) {
            int e = i < count ? i : 2 * count - 1 - i;

            results[e][2 * round + (i >= count)] =
                load_run(c->engines[e], &c->load);
        }
    printf("{\"row\":\"%s\",\"name\":\"%s\",\"unit\":\"%s\","
           "\"connections\":%u,\"outstanding\":%u,\"batch\":%u,"
           "\"seconds\":%.6g,\"rounds\":%d,",
           c->row, c->name, c->unit, c->load.connections, c->load.outstanding,
           c->load.batch, c->load.seconds, c->rounds);
    print_list("quantiles", load_quantiles, LOAD_QUANTILES);
    printf(",\"engines\":{");
    for (int i = 0; i < count; i++) {
        printf(i > 0 ? "," : "");
        print_engine(c->engines[i]->name, results[i], 2 * c->rounds);
        free(results[i]);
    }
    printf("}}\n");
    fflush(stdout);
}
