/* SPDX-License-Identifier: MPL-2.0 */
#include "cairn/cli.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "c/query_client.h"
#include "store/control.h"
#include "store/evlog.h"

#define PROGRESS_MS 100u

int
cli_usage(const char *command, const char *format, ...)
{
    va_list args;

    fprintf(stderr, "cairn %s: ", command);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\ntry: cairn %s --help\n", command);
    return CLI_USAGE;
}

int
cli_fail(const struct err *err)
{
    fprintf(stderr, "cairn: %s\n", err->text);
    switch (-err->code) {
    case CAIRN_EUNREACHABLE:
        return CLI_UNREACHABLE;
    case CAIRN_EUNKNOWN:
        return CLI_UNKNOWN;
    case CAIRN_ECONFLICT:
        return CLI_CONFLICT;
    case CAIRN_EUSAGE:
        return CLI_USAGE;
    case ECANCELED:
        return CLI_INTERRUPTED;
    default:
        return CLI_FAILED;
    }
}

bool
cli_common_option(struct cli *cli, int c, const char *value)
{
    uint64_t seconds;

    if (c == 1000) {
        cli->json = true;
        return true;
    }
    if (c == 1001 && number_parse(value, &seconds) && seconds > 0 &&
        seconds < 86400) {
        cli->timeout_ms = (uint32_t)seconds * 1000;
        return true;
    }
    return false;
}

int
cli_curve(const struct cli *cli, struct curve_client *curve,
          const struct curve_client **ret_curve, struct err *err)
{
    bool given;
    int rc = curve_client_load(cli->server_key, cli->key, curve, &given, err);

    *ret_curve = given ? curve : NULL;
    return rc;
}

int
cli_query_open(const struct cli *cli, struct query_client *client,
               const char *endpoint, uint32_t deadline_ms, struct err *err)
{
    const struct curve_client *given;
    struct curve_client curve;
    int rc = cli_curve(cli, &curve, &given, err);

    if (rc < 0)
        return rc;
    rc = query_client_open_curve(client, endpoint, given, deadline_ms, err);
    explicit_bzero(&curve, sizeof curve);
    return rc;
}

const char *
cli_number(uint64_t number)
{
    static char buffers[8][32];
    static unsigned next;

    return number_format(number, buffers[next++ % 8]);
}

const char *
cli_bytes(uint64_t bytes)
{
    static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
    static char buffers[4][32];
    static unsigned next;
    char *buf = buffers[next++ % 4];
    double scaled = (double)bytes;
    int unit = 0;

    while (scaled >= 1024 && unit < 4) {
        scaled /= 1024;
        unit++;
    }
    (void)snprintf(buf, sizeof buffers[0], unit == 0 ? "%.0f %s" : "%.1f %s",
                   scaled, units[unit]);
    return buf;
}

/* ---- long work --------------------------------------------------------- */

static volatile sig_atomic_t interrupted;

static void
on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

void
cli_catch_interrupts(void)
{
    const struct sigaction action = { .sa_handler = on_interrupt,
                                      .sa_flags = (int)SA_RESETHAND };

    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

bool
cli_interrupted(void)
{
    return interrupted != 0;
}

const char *
cli_control_page(const struct cli *cli, const char *given, const char *log_dir,
                 char *path)
{
    struct control *control = NULL;
    struct evlog *log = NULL;
    bool same = false;

    if (given != NULL)
        return given;
    if (store_path(path, cli->run, "log.control") == 0 &&
        control_open(&sys_real, path, &control, NULL) == 0 &&
        evlog_open(&sys_real, log_dir, &log, NULL) == 0)
        same = uuid_equal(evlog_id(log), control_log_id(control));
    evlog_close(&log);
    control_close(&control);
    return same ? path : NULL;
}

double
cli_seconds_left(uint64_t began_ms, uint64_t done, uint64_t all,
                 double *ret_rate)
{
    double seconds = (double)(clock_ms() - began_ms) / 1000;
    double rate = seconds > 0.01 ? (double)done / seconds : 0;

    *ret_rate = rate;
    return rate > 0 && all > done ? (double)(all - done) / rate : 0;
}

void
cli_progress(struct cli *cli, const char *format, ...)
{
    static uint64_t next_ms;
    uint64_t now = clock_ms();
    va_list args;

    if (!cli->progress || now < next_ms)
        return;
    next_ms = now + PROGRESS_MS;
    fputs("\r\033[K", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fflush(stderr);
}

void
cli_progress_end(struct cli *cli)
{
    if (cli->progress)
        fputs("\r\033[K", stderr);
}
