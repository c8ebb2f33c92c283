/* SPDX-License-Identifier: MPL-2.0 */
/*
 * convert - a git history as events, one line of JSON each, for
 * `cairn append`.
 *
 * Each git commit becomes one atomic commit: an event FileChanged on the
 * stream of each file, then an event CommitMade on a stream of its own.  The
 * command id follows from the hash, and the text from the git commit alone,
 * so that converting and appending a history again, or a longer one, adds
 * only what is new.
 *
 * A git commit is written whole or not at all: nothing of it is printed
 * before all of it was read.  So memory is bounded by the largest commit.
 */
#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/uuid.h"
#include "lib/numstat.h"

#define COMMIT_FILES_MAX 65536u /* changes in one git commit */

/* No sum of a commit can pass what every JSON reader takes exactly. */
_Static_assert((uint64_t)COMMIT_FILES_MAX *NUMSTAT_COUNT_MAX <
                   (UINT64_C(1) << 53),
               "totals stay exact");

/* A stream of "file-", a name of which each byte may need a backslash. */
#define EVENT_TEXT_MAX (2 * NAME_LEN_MAX + 512u)

/* The git commit that is being read. */
struct commit {
    char hash[HASH_LEN_MAX + 1]; /* "" before the first */
    char common[256];            /* fields that all its events share */
    uint64_t files, added, deleted;
    char *text; /* its events so far */
    size_t text_len, text_size;
};

static const char usage[] =
    "usage: convert [FILE]\n"
    "Turns a git history into events for `cairn append`, as lines of JSON.\n"
    "FILE (or standard input; plain or compressed by gzip) is the output of\n"
    "    git log --first-parent -m --reverse --numstat --no-renames \\\n"
    "        --format='@%H %ct'\n";

static unsigned
digit_value(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* The command id: always the same for the same git commit. */
static struct uuid
command_of_hash(const char *hash)
{
    uint8_t digest[UUID_LEN];

    for (size_t i = 0; i < UUID_LEN; i++)
        digest[i] = (uint8_t)(digit_value(hash[2 * i]) << 4 |
                              digit_value(hash[2 * i + 1]));
    return uuid_of_digest(digest);
}

/* Makes room for one more event. */
static int
commit_reserve(struct commit *commit, struct err *err)
{
    size_t size = commit->text_size == 0 ? 65536 : 2 * commit->text_size;
    char *text;

    if (commit->text_size - commit->text_len >= EVENT_TEXT_MAX)
        return 0;
    text = realloc(commit->text, size);
    if (text == NULL)
        return err_sys(err, -ENOMEM, "commit %s", commit->hash);
    commit->text = text;
    commit->text_size = size;
    return 0;
}

/* Adds to the text; the room was reserved. */
static void __attribute__((format(printf, 2, 3)))
commit_print(struct commit *commit, const char *format, ...)
{
    size_t room = commit->text_size - commit->text_len;
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(commit->text + commit->text_len, room, format, args);
    va_end(args);
    assert(len >= 0 && (size_t)len < room);
    commit->text_len += (size_t)len;
}

/* Adds a name as part of a JSON string; a name has no control characters. */
static void
commit_print_name(struct commit *commit, const char *name, size_t len)
{
    char *out = commit->text + commit->text_len;

    for (size_t i = 0; i < len; i++) {
        if (name[i] == '"' || name[i] == '\\')
            *out++ = '\\';
        *out++ = name[i];
    }
    commit->text_len = (size_t)(out - commit->text);
}

static int
commit_begin(struct commit *commit, struct numstat *in,
             const struct numstat_line *line, struct err *err)
{
    char id[UUID_TEXT_LEN + 1];
    int len;

    /* git prints a merge once for each parent unless told otherwise. */
    if (strcmp(commit->hash, line->hash) == 0)
        return numstat_fault(in, err,
                             "commit %s comes twice; run git with "
                             "--first-parent",
                             line->hash);
    memcpy(commit->hash, line->hash, sizeof commit->hash);
    uuid_format(command_of_hash(line->hash), id);
    len = snprintf(commit->common, sizeof commit->common,
                   "\"meta\":{\"commit\":\"%s\",\"time\":%" PRIu64 "},"
                   "\"command\":\"%s\"",
                   line->hash, line->time_s, id);
    assert(len > 0 && (size_t)len < sizeof commit->common);
    commit->files = commit->added = commit->deleted = 0;
    commit->text_len = 0;
    return 0;
}

static int
commit_add_file(struct commit *commit, struct numstat *in,
                const struct numstat_line *line, struct err *err)
{
    int rc;

    if (commit->hash[0] == '\0')
        return numstat_fault(in, err,
                             "a file before the first commit; is this the "
                             "output of git log, from its beginning?");
    if (commit->files == COMMIT_FILES_MAX)
        return numstat_fault(in, err,
                             "commit %s changes more than %u files; it cannot "
                             "be one commit here",
                             commit->hash, COMMIT_FILES_MAX);
    rc = commit_reserve(commit, err);
    if (rc < 0)
        return rc;

    commit_print(commit, "{\"stream\":\"%s", FILE_STREAM_PREFIX);
    commit_print_name(commit, line->name, line->name_len);
    if (line->binary)
        commit_print(commit,
                     "\",\"type\":\"FileChanged\","
                     "\"data\":{\"binary\":true},");
    else
        commit_print(commit,
                     "\",\"type\":\"FileChanged\","
                     "\"data\":{\"added\":%" PRIu64 ",\"deleted\":%" PRIu64
                     "},",
                     line->added, line->deleted);
    commit_print(commit, "%s,\"more\":true}\n", commit->common);
    commit->files++;
    commit->added += line->added;
    commit->deleted += line->deleted;
    return 0;
}

/* Prints the git commit that was read, if there was one. */
static int
commit_end(struct commit *commit, struct err *err)
{
    int rc;

    if (commit->hash[0] == '\0')
        return 0;
    rc = commit_reserve(commit, err);
    if (rc < 0)
        return rc;
    commit_print(commit,
                 "{\"stream\":\"commit-%s\",\"type\":\"CommitMade\","
                 "\"data\":{\"files\":%" PRIu64 ",\"added\":%" PRIu64
                 ",\"deleted\":%" PRIu64 "},",
                 commit->hash, commit->files, commit->added, commit->deleted);
    commit_print(commit, "%s,\"expect\":\"none\"}\n", commit->common);
    if (fwrite(commit->text, 1, commit->text_len, stdout) != commit->text_len)
        return err_sys(err, -errno, "writing the events");
    return 0;
}

/* A rename that git has shortened would pass as a path that never was. */
static void
warn_rename(const struct numstat_line *line, bool *warned)
{
    if (line->rename_like && !*warned) {
        fprintf(stderr,
                "convert: \"%s\" is taken for a path; if it is a rename, run "
                "git with --no-renames\n",
                line->name);
        *warned = true;
    }
}

static int
convert(struct numstat *in, struct commit *commit, struct err *err)
{
    struct numstat_line line;
    bool warned = false;
    int rc;

    while ((rc = numstat_next(in, &line, err)) > 0) {
        if (line.kind == NUMSTAT_COMMIT) {
            rc = commit_end(commit, err);
            if (rc == 0)
                rc = commit_begin(commit, in, &line, err);
        } else {
            warn_rename(&line, &warned);
            rc = commit_add_file(commit, in, &line, err);
        }
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : commit_end(commit, err);
}

/* Returns the code to exit with, or -1 to go on. */
static int
options_read(int argc, char **argv, const char **ret_path)
{
    static const struct option options[] = {
        { "help", no_argument, NULL, 'h' },
        { 0 },
    };
    int c;

    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c != 'h') {
            fputs(usage, stderr);
            return EXIT_USAGE;
        }
        fputs(usage, stdout);
        return EXIT_DONE;
    }
    if (argc - optind > 1) {
        fprintf(stderr, "convert: more than one file\n%s", usage);
        return EXIT_USAGE;
    }
    *ret_path = NULL;
    if (optind < argc && strcmp(argv[optind], "-") != 0)
        *ret_path = argv[optind];
    return -1;
}

int
main(int argc, char **argv)
{
    struct commit commit = { 0 };
    struct numstat *in = NULL;
    const char *path;
    struct err err;
    int code, rc;

    code = options_read(argc, argv, &path);
    if (code >= 0)
        return code;

    rc = numstat_open(path, &in, &err);
    if (rc == 0)
        rc = convert(in, &commit, &err);
    if (fflush(stdout) != 0 && rc == 0)
        rc = err_sys(&err, -errno, "writing the events");
    if (rc < 0)
        fprintf(stderr, "convert: %s\n", err.text);
    if (rc == -CAIRN_ERECORD)
        fputs("convert: what was written before it is whole; see --help for "
              "the input it takes\n",
              stderr);
    numstat_close(&in);
    free(commit.text);
    return rc < 0 ? EXIT_FAILED : EXIT_DONE;
}
