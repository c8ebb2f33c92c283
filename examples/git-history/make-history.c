/* SPDX-License-Identifier: MPL-2.0 */
/*
 * make-history - a history that never was, as git log would print it, and its
 * truth.
 *
 * Virtual files are created, edited, deleted and created again; the program
 * keeps the number of lines that each has now, and at the end prints that,
 * without looking at what it wrote.  The same seed makes the same bytes on
 * every machine.
 *
 * In the history: commits without files and with very many, empty files,
 * changes of mode only, binary files, text that turns binary and back, paths
 * that git quotes, paths too long for the name of a stream, and now and then
 * a file twice in one commit, which git itself would not print.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/err.h"
#include "lib/path.h"

#define COMMITS_DEFAULT 1000u
#define COMMITS_MAX 10000000u
#define FILES_DEFAULT 800u
#define FILES_MAX 65536u
#define BINARY_EVERY 13        /* each 13th file may be binary at times */
#define TIME_FIRST 1000000000u /* seconds since 1970 */

/* A virtual file; its place in the array makes its path. */
struct virtual_file {
    uint64_t lines;
    uint64_t last_commit; /* the commit that changed it last, from 1 */
    bool exists, binary, once_binary;
};

struct world {
    uint64_t seed, commits, files_max, state;
    size_t hash_len; /* bytes */
    struct virtual_file *files;
    uint64_t file_count;
    FILE *history, *truth;
};

static const char usage[] =
    "usage: make-history [--seed N] [--commits N] [--files-max N] [--sha256]\n"
    "                    HISTORY TRUTH\n"
    "Writes a made-up history as `git log --numstat` would, and what\n"
    "`git diff --numstat` from the empty tree would say of its end.\n"
    "  --seed N       another history for each N (1)\n"
    "  --commits N    how many commits (1000)\n"
    "  --files-max N  files in the largest commit (800)\n"
    "  --sha256       hashes of 64 digits instead of 40\n";

/* The next number of the sequence (splitmix64). */
static uint64_t
draw(struct world *world)
{
    uint64_t z = world->state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* A number from 0 to max - 1. */
static uint64_t
draw_below(struct world *world, uint64_t max)
{
    return draw(world) % max;
}

static bool
draw_percent(struct world *world, unsigned percent)
{
    return draw_below(world, 100) < percent;
}

/* Small numbers often, large ones seldom; at most max. */
static uint64_t
draw_size(struct world *world, uint64_t max)
{
    uint64_t bound = UINT64_C(1) << draw_below(world, 12);

    return draw_below(world, (bound < max ? bound : max) + 1);
}

/* ---- paths ------------------------------------------------------------- */

/* Paths that git quotes, that look like something else, that are too long. */
static const struct odd_path {
    const char *head, *tail; /* what stands around the number */
} odd_paths[] = {
    { "caf\303\251/menu ", ".txt" },
    { "caf\351/latin1 ", ".txt" },
    { "tab\there/", "" },
    { "new\nline/", "\n" },
    { "\"quoted\" ", "\"" },
    { "back\\slash/", "\\" },
    { "bell\a\b\v\f\r\033\177/", "" },
    { "from => to/", "" },
    { "src/{a => b}/", ".c" },
    { "@", "" },
    { "-\t-\t", "" },
    { " leading and trailing ", " " },
    { "\360\237\252\250/", "" },
    { "\"\\303\" ", "" },
    { "surrogate \355\240\200/", "" },
    { "%s%n/", "%" },
};

#define ODD_COUNT (sizeof odd_paths / sizeof odd_paths[0])
#define ODD_EVERY 8u  /* each 8th path is odd */
#define LONG_EVERY 5u /* each 5th of the odd ones is long as well */

/* Writes the path of a file and returns its length. */
static size_t
path_of_file(uint64_t file, char path[PATH_BYTES_MAX + 1])
{
    unsigned number = (unsigned)file;
    uint64_t odd = file / ODD_EVERY;
    size_t len = 0, target;

    if (file % ODD_EVERY != ODD_EVERY - 1)
        return (size_t)snprintf(path, PATH_BYTES_MAX + 1, "src/part%u/file%u.c",
                                number % 37, number);
    if (odd % LONG_EVERY == 0) {
        /* Lengths around the limit, and far above it. */
        target = odd % 2 == 0 ? 200 + odd % 100 : 1000;
        while (len < target)
            len += (size_t)snprintf(path + len, PATH_BYTES_MAX + 1 - len,
                                    "d\303\244%u/", number % 10);
    }
    len += (size_t)snprintf(path + len, PATH_BYTES_MAX + 1 - len, "%s%u%s",
                            odd_paths[odd % ODD_COUNT].head, number,
                            odd_paths[odd % ODD_COUNT].tail);
    return len;
}

/* Prints the path as git does, in quotes if it needs them. */
static void
print_path(FILE *out, uint64_t file)
{
    char path[PATH_BYTES_MAX + 1], quoted[PATH_QUOTED_MAX + 1];
    size_t len = path_of_file(file, path);
    size_t quoted_len = path_quote(path, len, quoted);

    /* Nothing but the quotes was added. */
    if (quoted_len == len + 2)
        fprintf(out, "%s\n", path);
    else
        fprintf(out, "%s\n", quoted);
}

/* ---- changes ----------------------------------------------------------- */

static void
print_change(struct world *world, struct virtual_file *file, bool binary,
             uint64_t added, uint64_t deleted)
{
    if (binary) {
        file->once_binary = true;
        fputs("-\t-\t", world->history);
    } else {
        fprintf(world->history, "%" PRIu64 "\t%" PRIu64 "\t", added, deleted);
    }
    print_path(world->history, (uint64_t)(file - world->files));
}

/* Only some may, or a long history would leave no text to count. */
static bool
may_be_binary(const struct world *world, const struct virtual_file *file)
{
    return (file - world->files) % BINARY_EVERY == 0;
}

static void
file_create(struct world *world, struct virtual_file *file)
{
    file->exists = true;
    file->binary = may_be_binary(world, file) && draw_percent(world, 30);
    file->lines = file->binary ? 0 : draw_size(world, 3000);
    print_change(world, file, file->binary, file->lines, 0);
}

static void
file_delete(struct world *world, struct virtual_file *file)
{
    print_change(world, file, file->binary, 0, file->lines);
    file->exists = false;
    file->lines = 0;
}

static void
file_edit(struct world *world, struct virtual_file *file)
{
    uint64_t added = draw_size(world, 2000);
    uint64_t deleted = draw_size(world, file->lines);

    /* git prints no numbers if either side of a change is binary. */
    if (file->binary ||
        (may_be_binary(world, file) && draw_percent(world, 10))) {
        file->binary = !draw_percent(world, 30);
        file->lines = file->binary ? 0 : added;
        print_change(world, file, true, 0, 0);
        return;
    }
    if (draw_percent(world, 2))
        added = deleted = 0; /* a change of mode only */
    file->lines = file->lines + added - deleted;
    print_change(world, file, false, added, deleted);
}

static void
file_change(struct world *world, struct virtual_file *file)
{
    if (!file->exists)
        file_create(world, file);
    else if (draw_percent(world, 6))
        file_delete(world, file);
    else
        file_edit(world, file);
}

/* How many files the commit changes. */
static uint64_t
commit_size(struct world *world, uint64_t number)
{
    uint64_t size;

    if (number == world->commits / 2 + 1)
        return world->files_max; /* at least once */
    if (draw_percent(world, 3))
        return 0;
    if (draw_percent(world, 1))
        size = 1 + draw_below(world, world->files_max);
    else
        size = 1 + draw_size(world, 30);
    return size < world->files_max ? size : world->files_max;
}

static void
print_commit(struct world *world, uint64_t number)
{
    uint64_t input[2] = { world->seed, number };
    uint8_t digest[crypto_generichash_BYTES];
    char digits[2 * sizeof digest + 1];
    /* Time goes on, but clocks of people are wrong now and then. */
    uint64_t time_s = TIME_FIRST + number * 600 + draw_below(world, 1200);

    crypto_generichash(digest, sizeof digest, (const uint8_t *)input,
                       sizeof input, NULL, 0);
    sodium_bin2hex(digits, sizeof digits, digest, world->hash_len);
    fprintf(world->history, "@%s %" PRIu64 "\n", digits, time_s);
}

/* Returns how many changes it wrote. */
static uint64_t
make_commit(struct world *world, uint64_t number)
{
    uint64_t size = commit_size(world, number), changes = 0;

    print_commit(world, number);
    if (size > 0)
        putc('\n', world->history);
    while (changes < size) {
        /* Old files change more often than young ones. */
        uint64_t bound = world->file_count;
        struct virtual_file *file;

        if (size < world->file_count / 4 && draw_percent(world, 70))
            bound = world->file_count / 4;
        file = &world->files[draw_below(world, bound)];
        if (file->last_commit == number)
            continue;
        file->last_commit = number;
        file_change(world, file);
        changes++;
        if (changes < size && draw_percent(world, 1)) {
            file_change(world, file);
            changes++;
        }
    }
    return changes;
}

static void
make_history(struct world *world)
{
    uint64_t changes = 0, text = 0, binary = 0, not_countable = 0;

    for (uint64_t number = 1; number <= world->commits; number++)
        changes += make_commit(world, number);

    for (uint64_t i = 0; i < world->file_count; i++) {
        struct virtual_file *file = &world->files[i];

        if (!file->exists)
            continue;
        if (file->binary)
            fputs("-\t-\t", world->truth);
        else
            fprintf(world->truth, "%" PRIu64 "\t0\t", file->lines);
        print_path(world->truth, i);
        binary += file->binary;
        not_countable += !file->binary && file->once_binary;
        text += !file->binary && !file->once_binary;
    }
    printf("seed=%" PRIu64 " commits=%" PRIu64 " changes=%" PRIu64
           " text=%" PRIu64 " binary=%" PRIu64 " not_countable=%" PRIu64 "\n",
           world->seed, world->commits, changes, text, binary, not_countable);
}

/* ---- the program ------------------------------------------------------- */

static int
close_output(FILE **file, const char *path)
{
    int failed;

    if (*file == NULL)
        return 0;
    failed = ferror(*file);
    failed |= fclose(*file);
    *file = NULL;
    if (failed)
        fprintf(stderr, "make-history: %s: cannot be written: %s\n", path,
                err_text(-errno));
    return failed ? -EIO : 0;
}

static int
open_output(FILE **ret_file, const char *path)
{
    *ret_file = fopen(path, "we");
    if (*ret_file != NULL)
        return 0;
    fprintf(stderr, "make-history: %s: cannot be created: %s\n", path,
            err_text(-errno));
    return -EIO;
}

static int
run(struct world *world, const char *history, const char *truth)
{
    int rc = -ENOMEM;

    world->state = world->seed;
    world->file_count = 2 * world->files_max;
    world->files = calloc(world->file_count, sizeof *world->files);
    if (world->files == NULL) {
        fprintf(stderr, "make-history: %s\n", err_text(rc));
        return rc;
    }
    rc = open_output(&world->history, history);
    if (rc == 0)
        rc = open_output(&world->truth, truth);
    if (rc == 0)
        make_history(world);
    rc |= close_output(&world->history, history);
    rc |= close_output(&world->truth, truth);
    free(world->files);
    return rc;
}

/* Reads a number from `min` to `max`; says so if it is not one. */
static bool
number_option(const char *text, uint64_t min, uint64_t max,
              uint64_t *ret_number)
{
    if (number_parse(text, ret_number) && *ret_number >= min &&
        *ret_number <= max)
        return true;
    fprintf(stderr,
            "make-history: expected a number from %" PRIu64 " to %" PRIu64
            ", found \"%s\"\n",
            min, max, text);
    return false;
}

/* Returns the code to exit with, or -1 to go on. */
static int
options_read(int argc, char **argv, struct world *world)
{
    static const struct option options[] = {
        { "seed", required_argument, NULL, 's' },
        { "commits", required_argument, NULL, 'c' },
        { "files-max", required_argument, NULL, 'f' },
        { "sha256", no_argument, NULL, '2' },
        { "help", no_argument, NULL, 'h' },
        { 0 },
    };
    bool good = true;
    int c;

    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'h') {
            fputs(usage, stdout);
            return EXIT_DONE;
        }
        if (c == 's')
            good &= number_option(optarg, 0, UINT64_MAX, &world->seed);
        else if (c == 'c')
            good &= number_option(optarg, 1, COMMITS_MAX, &world->commits);
        else if (c == 'f')
            good &= number_option(optarg, 1, FILES_MAX, &world->files_max);
        else if (c == '2')
            world->hash_len = 32;
        else
            good = false;
    }
    if (good && argc - optind == 2)
        return -1;
    fputs(usage, stderr);
    return EXIT_USAGE;
}

int
main(int argc, char **argv)
{
    struct world world = {
        .seed = 1,
        .commits = COMMITS_DEFAULT,
        .files_max = FILES_DEFAULT,
        .hash_len = 20,
    };
    int code = options_read(argc, argv, &world);

    if (code >= 0)
        return code;
    return run(&world, argv[optind], argv[optind + 1]) == 0 ? EXIT_DONE
                                                            : EXIT_FAILED;
}
