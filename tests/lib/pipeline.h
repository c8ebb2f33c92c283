/* SPDX-License-Identifier: MPL-2.0 */
/*
 * pipeline - real daemons in a directory of their own, for benchmarks and
 * tests written in C.
 *
 * Every function ends the program with a message if it cannot do its work.
 */
#ifndef CAIRN_TESTS_PIPELINE_H
#define CAIRN_TESTS_PIPELINE_H

#include <sys/types.h>

struct pipeline {
    char *dir; /* gone when it is stopped */
    const char *build;
    pid_t writer, gateway, publisher; /* 0: not running */
    char commands[256], queries[256], control[256], log[256];
};

/*
 * Makes the directory and says where everything will be, so that a log may be
 * put there first; pipeline_start() does it otherwise.
 */
void pipeline_prepare(struct pipeline *pipeline, const char *build);

/* The writer alone: starts it, or kills it with SIGKILL. */
void pipeline_start_writer(struct pipeline *pipeline,
                           const char *const *writer_options);
void pipeline_kill_writer(struct pipeline *pipeline);

/*
 * Starts writer, gateway and publisher from BUILD/bin, with the given
 * additional options ("key=value", up to a NULL; may be NULL) for the writer,
 * and returns when the gateway takes commands.  Zeroed memory is one that was
 * not prepared.
 */
void pipeline_start(struct pipeline *pipeline, const char *build,
                    const char *const *writer_options);

/* Stops everything and removes the directory. */
void pipeline_stop(struct pipeline *pipeline);

/* User and system time of a process so far, in microseconds. */
unsigned long long process_cpu_us(pid_t pid);

#endif
