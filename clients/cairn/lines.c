/* SPDX-License-Identifier: MPL-2.0 */
/* lines - standard input of `cairn append`. */
#include <inttypes.h>
#include <poll.h>
#include <unistd.h>

#include "cairn/append.h"
#include "wire/array.h"

#define READ_LEN ((size_t)256 << 10)
#define POLL_MS 20

/* Standard input, a line at a time. */
struct input {
    uint8_t *data;
    size_t len, room;
    size_t at;      /* where the next line begins */
    size_t scanned; /* no line feed from `at` to here */
    uint64_t line;  /* number of the last line that was taken */
    bool end;
};

/* A commit that is not stored because of a bad line. */
struct spoiled {
    bool on;             /* lines that follow may still belong to it */
    struct uuid command; /* nil: it has none */
    bool by_command;     /* it ends where another command begins */
};

/*
 * Makes room and reads what is there; while nothing is, sends what is queued
 * and takes outcomes in, until one of them says stop.
 */
static int
fill(struct append_run *run, struct input *in, struct err *err)
{
    struct pollfd fd = { .fd = STDIN_FILENO, .events = POLLIN };
    ssize_t n;

    if (in->at > 0) {
        memmove(in->data, in->data + in->at, in->len - in->at);
        in->len -= in->at;
        in->scanned -= in->at;
        in->at = 0;
    }
    if (in->len > LINE_LEN_MAX)
        return err_set(err, -EMSGSIZE,
                       "line %" PRIu64 ": longer than %zu bytes", in->line + 1,
                       LINE_LEN_MAX);
    if (bytes_reserve(&in->data, &in->room, in->len + READ_LEN) < 0)
        return err_sys(err, -ENOMEM, "standard input");
    while (!run->stop && poll(&fd, 1, 0) == 0) {
        int rc = run->options->in_order ? append_settle(run)
                                        : append_client_pump(run->client, 0);

        if (rc < 0)
            return err_sys(err, rc, "sending");
        (void)fflush(stdout); /* whoever feeds us waits for the outcomes */
        (void)poll(&fd, 1,
                   append_client_pending(run->client) > 0 ? POLL_MS : 1000);
    }
    if (run->stop)
        return 0;
    n = read(STDIN_FILENO, in->data + in->len, READ_LEN);
    if (n < 0)
        return err_sys(err, -errno, "standard input");
    in->end = n == 0;
    in->len += (size_t)n;
    run->read_bytes += (size_t)n;
    return 0;
}

/* The next line without its line feed: 1; 0 at the end, or to stop. */
static int
next_line(struct append_run *run, struct input *in, const char **ret_line,
          size_t *ret_len, struct err *err)
{
    for (;;) {
        const uint8_t *start = in->data + in->at;
        const uint8_t *feed = in->len == in->scanned
            ? NULL
            : memchr(in->data + in->scanned, '\n', in->len - in->scanned);
        int rc;

        if (feed != NULL || (in->end && in->len > in->at)) {
            const uint8_t *stop = feed != NULL ? feed : in->data + in->len;

            *ret_line = (const char *)start;
            *ret_len = (size_t)(stop - start);
            in->at += *ret_len + (feed != NULL);
            in->scanned = in->at;
            in->line++;
            return 1;
        }
        if (in->end)
            return 0;
        in->scanned = in->len;
        rc = fill(run, in, err);
        if (rc < 0)
            return rc;
        if (run->stop)
            return 0;
    }
}

static bool
is_blank(const char *line, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r')
            return false;
    return true;
}

/* Whether a line belongs to the spoiled commit; then it is left out. */
static bool
leave_out(struct spoiled *spoiled, const char *line, size_t len)
{
    struct uuid command;
    bool more;

    if (!spoiled->on)
        return false;
    command = line_command(line, len, &more);
    if (spoiled->by_command) {
        if (!uuid_is_nil(command) && uuid_equal(command, spoiled->command))
            return true;
        spoiled->on = false;
        return false;
    }
    spoiled->on = more;
    return true;
}

/* Reports a bad line, and notes which lines belong to the same commit. */
static void
spoil(struct append_run *run, const struct input *in,
      const struct line_commit *commit, uint64_t first_line, const char *line,
      size_t len, struct spoiled *spoiled, const struct err *err)
{
    bool more, inside = first_line < in->line;
    struct uuid command = line_command(line, len, &more);

    run->bad_lines++;
    cli_progress_end(run->cli);
    fprintf(stderr, "cairn: line %" PRIu64 ": %s; ", in->line, err->text);
    if (inside)
        fprintf(stderr,
                "nothing of its commit, which began at line %" PRIu64
                ", is stored\n",
                first_line);
    else
        fprintf(stderr, "it is not stored\n");
    if (inside && !uuid_is_nil(commit->command))
        command = commit->command;
    spoiled->command = command;
    spoiled->by_command = !uuid_is_nil(command);
    spoiled->on = spoiled->by_command || more || inside;
    run->stop = run->stop || !run->options->keep_going;
}

static int
take_line(struct append_run *run, const struct input *in,
          struct line_commit *commit, uint64_t *first_line,
          struct spoiled *spoiled, const char *line, size_t len)
{
    struct err err;
    int rc;

    if (is_blank(line, len) || leave_out(spoiled, line, len))
        return 0;
    if (commit->event_count == 0)
        *first_line = in->line;
    rc = line_parse(commit, line, len, &err);
    if (rc < 0) {
        spoil(run, in, commit, *first_line, line, len, spoiled, &err);
        line_clear(commit);
        return rc == -EINVAL ? 0 : rc;
    }
    return commit->more ? 0 : append_queue(run, commit, *first_line);
}

int
append_lines(struct append_run *run, struct err *err)
{
    struct input in = { 0 };
    struct line_commit commit = { 0 };
    struct spoiled spoiled = { 0 };
    uint64_t first_line = 0;
    const char *line;
    size_t len;
    int rc = 0;

    while (rc == 0 && !run->stop &&
           (rc = next_line(run, &in, &line, &len, err)) > 0) {
        rc = take_line(run, &in, &commit, &first_line, &spoiled, line, len);
        if (rc < 0)
            (void)err_sys(err, rc, "line %" PRIu64, in.line);
    }
    if (rc == 0 && !run->stop && commit.event_count > 0) {
        run->bad_lines++;
        fprintf(stderr,
                "cairn: line %" PRIu64 ": more: the input ends inside the "
                "commit that began at line %" PRIu64 "; it is not stored\n",
                in.line, first_line);
    }
    line_free(&commit);
    free(in.data);
    return rc;
}
