/* SPDX-License-Identifier: MPL-2.0 */
#include "cairn/cli.h"

#include <stdarg.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/text.h"

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
