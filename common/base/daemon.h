/* SPDX-License-Identifier: MPL-2.0 */
/*
 * daemon - what all our daemons have in common: options, configuration,
 * signals, the loop, and the conversation with systemd.
 *
 * Order: options, configuration, signals blocked, start() (lock, open files,
 * recover, bind), READY=1, the loop, then stop() on SIGTERM or SIGINT, which
 * finishes what was accepted.  Foreground only; lines go to standard error.
 * The watchdog is fed by the loop, and only while healthy() says so.
 *
 * Threads: everything here belongs to the main thread.
 */
#ifndef CAIRN_BASE_DAEMON_H
#define CAIRN_BASE_DAEMON_H

#include <czmq.h>

#include "base/conf.h"
#include "base/log.h"

#define CAIRN_VERSION "0.1.0"

struct daemon;

/* A long option of one daemon, without an argument. */
struct daemon_flag {
    const char *name;
    const char *help;
    bool *value;
};

struct daemon_spec {
    const char *name;    /* "cairn-writer" */
    const char *summary; /* one line for --help */
    const char *config;  /* the usual configuration file */
    const struct conf_key *keys;
    const struct daemon_flag *flags; /* up to a NULL name; may be NULL */
    bool named; /* several run beside each other; what --name says stands for
                 * %i in `config` and in the defaults of keys */

    /* Opens, recovers, binds, and hangs its handlers into the loop. */
    int (*start)(void *self, struct daemon *daemon, struct err *err);
    /* Finishes and closes; also after start() failed half way. */
    void (*stop)(void *self, struct daemon *daemon);
    /* On SIGHUP: reads again what can be read again; NULL: nothing can. */
    void (*reload)(void *self);
    /* Writes what it is doing into `text`, for systemctl status. */
    void (*status)(void *self, char *text, size_t len);
    /* Whether work goes on; NULL: always when the loop does. */
    bool (*healthy)(void *self);
};

/* Runs a daemon to its end; what main() returns. */
int daemon_run(int argc, char **argv, const struct daemon_spec *spec,
               void *self);

const struct conf *daemon_conf(const struct daemon *daemon);
zloop_t *daemon_loop(const struct daemon *daemon);

/* Tells systemd that the start takes longer, and what is going on. */
void daemon_starting(struct daemon *daemon, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Whether SIGTERM or SIGINT came during start(). */
bool daemon_stop_wanted(struct daemon *daemon);

/* Ends the loop with this exit code; the reason has been logged. */
void daemon_end(struct daemon *daemon, int exit_code);

/* Logs what err says, and what follows from it, and ends the loop. */
void daemon_fail(struct daemon *daemon, const struct err *err);

#endif
