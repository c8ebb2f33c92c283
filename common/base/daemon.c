/* SPDX-License-Identifier: MPL-2.0 */
#include "base/daemon.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>

#include "base/text.h"

#define OVERRIDES_MAX 64
#define NAME_MARK "%i"
#define STATUS_LEN 512
#define STATUS_MS 2000
#define START_EXTRA_US UINT64_C(60000000)

struct daemon {
    const struct daemon_spec *spec;
    void *self;
    struct conf_key *keys; /* with the name in their defaults */
    struct conf *conf;
    zloop_t *loop;
    int signal_fd;
    bool started; /* start() has succeeded */
    bool stopping;
    int exit_code;
};

/* What the command line asked for. */
struct options {
    const char *file;
    const char *name; /* of one of several; NULL: none */
    const char *overrides[OVERRIDES_MAX + 1];
    size_t override_count;
    bool test;
};

static void
print_help(const struct daemon_spec *spec)
{
    printf("%s - %s\n\n"
           "usage: %s [options]\n\n"
           "  -c, --config FILE    read this file and FILE.d/*.conf (usually "
           "%s)\n"
           "  -o, --set KEY=VALUE  override one key\n"
           "  -t, --test           check the configuration and exit\n"
           "  -h, --help           this text\n"
           "  -V, --version        the version\n",
           spec->name, spec->summary, spec->name, spec->config);
    if (spec->named)
        puts("  -n, --name NAME      which one of several it is; stands "
             "for " NAME_MARK " in defaults");
    for (const struct daemon_flag *f = spec->flags; f && f->name; f++)
        printf("      --%-16s %s\n", f->name, f->help);
    printf("\nconfiguration keys, with their defaults:\n\n");
    conf_print_keys(spec->keys);
}

/* Fills the table for getopt_long(); flags have values from 256 on. */
static void
long_options(const struct daemon_spec *spec, struct option *table, size_t room)
{
    static const struct option common[] = {
        { "config", required_argument, NULL, 'c' },
        { "set", required_argument, NULL, 'o' },
        { "test", no_argument, NULL, 't' },
        { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'V' },
    };
    size_t count = 0;

    for (size_t i = 0; i < sizeof common / sizeof *common; i++)
        table[count++] = common[i];
    if (spec->named)
        table[count++] =
            (struct option){ "name", required_argument, NULL, 'n' };
    for (int i = 0; spec->flags && spec->flags[i].name && count + 1 < room; i++)
        table[count++] =
            (struct option){ spec->flags[i].name, no_argument, NULL, 256 + i };
    table[count] = (struct option){ 0 };
}

/* Whether files and sockets can be called so; says so if not. */
static bool
can_be_name(const char *name)
{
    const char *fault = name_fault(name, strlen(name));

    if (fault == NULL && (name[0] == '.' || strchr(name, '/') != NULL))
        fault = "begins with '.' or holds '/'";
    if (fault != NULL)
        fprintf(stderr, "--name '%s': it %s\n", name, fault);
    return fault == NULL;
}

/* Returns -1 to go on, or an exit code. */
static int
parse_options(int argc, char **argv, const struct daemon_spec *spec,
              struct options *options)
{
    struct option table[32];
    int c;

    long_options(spec, table, sizeof table / sizeof *table);
    while ((c = getopt_long(argc, argv, spec->named ? "c:o:thVn:" : "c:o:thV",
                            table, NULL)) != -1) {
        if (c == 'c') {
            options->file = optarg;
        } else if (c == 'o' && options->override_count < OVERRIDES_MAX) {
            options->overrides[options->override_count++] = optarg;
        } else if (c == 'n' && can_be_name(optarg)) {
            options->name = optarg;
        } else if (c == 't') {
            options->test = true;
        } else if (c == 'h') {
            print_help(spec);
            return EXIT_DONE;
        } else if (c == 'V') {
            printf("%s %s\n", spec->name, CAIRN_VERSION);
            return EXIT_DONE;
        } else if (c >= 256) {
            *spec->flags[c - 256].value = true;
        } else {
            fprintf(stderr, "try: %s --help\n", spec->name);
            return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "%s: what is '%s'?  try: %s --help\n", spec->name,
                argv[optind], spec->name);
        return EXIT_USAGE;
    }
    return -1;
}

/* A copy of `text` with the name for its mark, or NULL. */
static char *
with_name(const char *text, const char *name)
{
    const char *mark = strstr(text, NAME_MARK);
    char *copy;

    if (mark == NULL)
        return strdup(text);
    if (name == NULL ||
        asprintf(&copy, "%.*s%s%s", (int)(mark - text), text, name,
                 mark + strlen(NAME_MARK)) < 0)
        return NULL;
    return copy;
}

/*
 * Loads the file that was asked for, or the usual one if it is there.  Without
 * a name, keys with a mark in their default have none and must be given.
 */
static int
load_conf(struct daemon *daemon, struct options *options, struct err *err)
{
    const struct daemon_spec *spec = daemon->spec;
    char *usual = with_name(spec->config, options->name);
    size_t count = 0;
    int rc;

    while (spec->keys[count].name != NULL)
        count++;
    daemon->keys = calloc(count + 1, sizeof *daemon->keys);
    if (daemon->keys == NULL) {
        free(usual);
        return err_sys(err, -ENOMEM, "configuration");
    }
    for (size_t i = 0; i < count; i++) {
        daemon->keys[i] = spec->keys[i];
        if (spec->keys[i].fallback != NULL)
            daemon->keys[i].fallback =
                with_name(spec->keys[i].fallback, options->name);
    }
    if (options->file == NULL && usual != NULL && access(usual, F_OK) == 0)
        options->file = usual;
    rc = conf_load(daemon->keys, options->file, options->overrides,
                   &daemon->conf, err);
    if (rc == 0 && options->test)
        printf("%s: the configuration%s%s is good\n", spec->name,
               options->file == NULL ? "" : " ",
               options->file == NULL ? "" : options->file);
    free(usual);
    return rc;
}

static void
free_conf(struct daemon *daemon)
{
    conf_free(&daemon->conf);
    for (size_t i = 0; daemon->keys != NULL && daemon->keys[i].name; i++)
        free((char *)daemon->keys[i].fallback);
    free(daemon->keys);
}

/* ---- signals, watchdog, status ----------------------------------------- */

static int
open_signals(struct daemon *daemon)
{
    sigset_t set;

    /* Blocked before any thread exists, so that all threads inherit it; the
     * loop of czmq would end at the first interrupted call otherwise. */
    (void)sigfillset(&set);
    (void)sigdelset(&set, SIGSEGV);
    (void)sigdelset(&set, SIGBUS);
    (void)sigdelset(&set, SIGFPE);
    (void)sigdelset(&set, SIGILL);
    (void)sigdelset(&set, SIGABRT);
    (void)sigdelset(&set, SIGTRAP);
    (void)sigdelset(&set, SIGSYS);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    daemon->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return daemon->signal_fd;
}

bool
daemon_stop_wanted(struct daemon *daemon)
{
    struct signalfd_siginfo info;

    while (read(daemon->signal_fd, &info, sizeof info) ==
           (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGHUP && daemon->started &&
            daemon->spec->reload != NULL)
            daemon->spec->reload(daemon->self);
        else if (info.ssi_signo == SIGHUP)
            log_info("SIGHUP: nothing to reload here; restart to read a "
                     "changed configuration");
        else
            daemon->stopping = true;
    }
    return daemon->stopping;
}

static int
on_signal(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
    (void)loop;
    (void)item;
    return daemon_stop_wanted(arg) ? -1 : 0;
}

static bool
is_healthy(const struct daemon *daemon)
{
    return daemon->spec->healthy == NULL || daemon->spec->healthy(daemon->self);
}

static int
on_watchdog(zloop_t *loop, int timer, void *arg)
{
    struct daemon *daemon = arg;

    (void)loop;
    (void)timer;
    if (is_healthy(daemon))
        (void)sd_notify(0, "WATCHDOG=1");
    return 0;
}

static int
on_status(zloop_t *loop, int timer, void *arg)
{
    struct daemon *daemon = arg;
    char text[STATUS_LEN] = "";

    (void)loop;
    (void)timer;
    daemon->spec->status(daemon->self, text, sizeof text);
    (void)sd_notifyf(0, "STATUS=%s", text);
    return 0;
}

void
daemon_starting(struct daemon *daemon, const char *format, ...)
{
    char text[STATUS_LEN];
    va_list args;

    (void)daemon;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    (void)sd_notifyf(0, "STATUS=%s\nEXTEND_TIMEOUT_USEC=%llu", text,
                     (unsigned long long)START_EXTRA_US);
}

/* ---- running ----------------------------------------------------------- */

const struct conf *
daemon_conf(const struct daemon *daemon)
{
    return daemon->conf;
}

zloop_t *
daemon_loop(const struct daemon *daemon)
{
    return daemon->loop;
}

/* Ends zloop_start(): a timer that is due at once and says stop. */
static int
on_end(zloop_t *loop, int timer, void *arg)
{
    (void)loop;
    (void)timer;
    (void)arg;
    return -1;
}

void
daemon_end(struct daemon *daemon, int exit_code)
{
    if (!daemon->stopping || daemon->exit_code == EXIT_DONE)
        daemon->exit_code = exit_code;
    daemon->stopping = true;
    (void)zloop_timer(daemon->loop, 0, 1, on_end, daemon);
}

void
daemon_fail(struct daemon *daemon, const struct err *err)
{
    log_error("%s", err->text);
    daemon_end(daemon, err_exit_code(err->code));
}

static int
run_loop(struct daemon *daemon)
{
    zmq_pollitem_t signals = { .fd = daemon->signal_fd, .events = ZMQ_POLLIN };
    uint64_t watchdog_us;

    if (sd_watchdog_enabled(0, &watchdog_us) > 0)
        (void)zloop_timer(daemon->loop, (size_t)(watchdog_us / 2000), 0,
                          on_watchdog, daemon);
    if (daemon->spec->status != NULL)
        (void)zloop_timer(daemon->loop, STATUS_MS, 0, on_status, daemon);
    if (zloop_poller(daemon->loop, &signals, on_signal, daemon) < 0)
        return EXIT_FAILED;
    (void)sd_notify(0, "READY=1");
    log_info("ready");
    while (!daemon->stopping)
        (void)zloop_start(daemon->loop);
    return daemon->exit_code;
}

static int
run(struct daemon *daemon)
{
    struct err err = { 0 };
    int rc, code;

    daemon->loop = zloop_new();
    if (daemon->loop == NULL || open_signals(daemon) < 0) {
        log_error("cannot start: no memory or no descriptors");
        return EXIT_FAILED;
    }
    rc = daemon->spec->start(daemon->self, daemon, &err);
    if (rc < 0) {
        if (!daemon->stopping)
            log_error("cannot start: %s", err.text);
        code = daemon->stopping ? EXIT_DONE : err_exit_code(rc);
    } else {
        daemon->started = true;
        code = run_loop(daemon);
    }
    (void)sd_notify(0, "STOPPING=1");
    daemon->spec->stop(daemon->self, daemon);
    if (code == EXIT_DONE && daemon->exit_code != EXIT_DONE)
        code = daemon->exit_code;
    log_info("%s", code == EXIT_DONE ? "stopped" : "stopped after a failure");
    return code;
}

int
daemon_run(int argc, char **argv, const struct daemon_spec *spec, void *self)
{
    struct daemon daemon = { .spec = spec, .self = self, .signal_fd = -1 };
    struct options options = { 0 };
    struct err err;
    int code;

    log_open(spec->name);
    /* czmq must neither catch signals nor shut down from atexit(). */
    (void)setenv("ZSYS_SIGHANDLER", "false", 1);
    (void)umask(0007);
    code = parse_options(argc, argv, spec, &options);
    if (code >= 0)
        return code;
    if (load_conf(&daemon, &options, &err) < 0) {
        log_error("%s", err.text);
        code = EXIT_CONFIG;
    } else {
        code = options.test ? EXIT_DONE : run(&daemon);
    }
    zloop_destroy(&daemon.loop);
    if (daemon.signal_fd >= 0)
        (void)close(daemon.signal_fd);
    free_conf(&daemon);
    return code;
}
