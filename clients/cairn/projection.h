/* SPDX-License-Identifier: MPL-2.0 */
/*
 * projection - asking projectors; for the commands projection and status.
 */
#ifndef CAIRN_CLIENTS_PROJECTION_H
#define CAIRN_CLIENTS_PROJECTION_H

#include "cairn/cli.h"
#include "wire/projection.h"

/* What a projector has said. */
struct projection {
    char name[256];
    struct projection_answer answer;
    char text[1024]; /* what it waits for, or what went wrong */
};

/* Asks the projector of this name, which has a socket in RUN/projections. */
int projection_ask(struct cli *cli, const char *name,
                   struct projection_request *request, struct projection *ret,
                   struct err *err);

/*
 * Asks every projector that has a socket in RUN/projections; err.code is
 * negative for one that does not answer.  Returns how many there are.
 */
int projection_each(struct cli *cli,
                    void (*each)(void *arg, const struct projection *projection,
                                 const struct err *err),
                    void *arg);

/* As a line for people, or as a JSON object without a line feed. */
void projection_print(const struct projection *projection,
                      const struct err *err);
void projection_print_json(const struct projection *projection,
                           const struct err *err);

#endif
