/* SPDX-License-Identifier: MPL-2.0 */
#include "base/log.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LINE_LEN 2048

/* Written once, by log_open(), before there are threads. */
static struct {
    const char *name;
    int journal;
} target = { "cairn", 0 };

/*
 * Whether standard error leads to the journal: systemd names the stream in the
 * environment, which children inherit although their standard error may be
 * another.
 */
static int
is_journal(void)
{
    const char *text = getenv("JOURNAL_STREAM");
    char own[64];
    struct stat stat;

    if (text == NULL || fstat(STDERR_FILENO, &stat) < 0)
        return 0;
    (void)snprintf(own, sizeof own, "%llu:%llu",
                   (unsigned long long)stat.st_dev,
                   (unsigned long long)stat.st_ino);
    return strcmp(text, own) == 0;
}

/* Says so, and returns to where it happens again, and ends the process. */
static void
on_bus_error(int number)
{
    static const char text[] =
        "a page of a mapped file could not be read: the device failed, or the "
        "file was cut short while it was read; the log of the kernel says "
        "which.  cairn log verify tells what of a log is whole\n";
    const char *begin = target.journal ? "<3>" : "cairn: error: ";

    (void)number;
    if (write(STDERR_FILENO, begin, strlen(begin)) < 0 ||
        write(STDERR_FILENO, text, sizeof text - 1) < 0)
        return; /* then nobody hears it */
}

void
log_open(const char *name)
{
    const struct sigaction action = { .sa_handler = on_bus_error,
                                      .sa_flags = (int)SA_RESETHAND };

    target.name = name;
    target.journal = is_journal();
    (void)sigaction(SIGBUS, &action, NULL);
}

static void line(enum log_level level, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

static void
line(enum log_level level, const char *format, va_list args)
{
    static const char *const words[] = { "error: ", "warning: ", "" };
    static const int priorities[] = { 3, 4, 6 };
    char text[LINE_LEN];
    int len;

    if (target.journal) {
        len = snprintf(text, sizeof text, "<%d>", priorities[level]);
    } else {
        struct timespec now;
        struct tm tm;
        char stamp[32];

        (void)clock_gettime(CLOCK_REALTIME, &now);
        (void)gmtime_r(&now.tv_sec, &tm);
        (void)strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
        len = snprintf(text, sizeof text, "%s.%03ldZ %s[%d]: %s", stamp,
                       now.tv_nsec / 1000000, target.name, (int)getpid(),
                       words[level]);
    }
    if (len < 0)
        return;
    len += vsnprintf(text + len, sizeof text - (size_t)len - 1, format, args);
    if (len > (int)sizeof text - 2)
        len = (int)sizeof text - 2;
    text[len++] = '\n';
    /* One write, so that lines of several threads do not mix; if it fails
     * there is nobody to tell. */
    if (write(STDERR_FILENO, text, (size_t)len) < 0)
        return;
}

void
log_error(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    line(LOG_LEVEL_ERROR, format, args);
    va_end(args);
}

void
log_warn(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    line(LOG_LEVEL_WARN, format, args);
    va_end(args);
}

void
log_info(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    line(LOG_LEVEL_INFO, format, args);
    va_end(args);
}

static uint64_t
read_ms(clockid_t clock)
{
    struct timespec now;

    (void)clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t
clock_ms(void)
{
    return read_ms(CLOCK_MONOTONIC);
}

uint64_t
clock_rough_ms(void)
{
    return read_ms(CLOCK_MONOTONIC_COARSE);
}

int
log_limited(struct log_limit *limit, uint64_t *ret_suppressed)
{
    uint64_t now = clock_ms();

    if (now < limit->next_ms) {
        limit->suppressed++;
        return 0;
    }
    *ret_suppressed = limit->suppressed;
    limit->suppressed = 0;
    limit->next_ms = now + limit->every_ms;
    return 1;
}
