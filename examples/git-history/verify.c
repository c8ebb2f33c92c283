/* SPDX-License-Identifier: MPL-2.0 */
/*
 * verify - compares the read model of files.sql with what git says itself.
 *
 * The truth is a diff from the empty tree to the end of the history: git
 * counts the lines of each file there, without any history.  The model got
 * the same numbers by adding up thousands of events.  They agree if no event
 * was lost, doubled or applied out of order.
 *
 * One kind of file cannot be checked: text at the end, but binary at some
 * time before, when git printed no numbers.  The model says NULL for it; it
 * is named and not held against the model.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <sqlite3.h>

#include "lib/numstat.h"

#define MODEL_WAIT_MS 5000 /* for a projector that is just committing */

enum verdict {
    AGREES,
    DIFFERS,
    MISSING,    /* in the truth, not in the model */
    EXTRA,      /* has lines in the model, is not in the truth */
    UNCOUNTABLE /* text now, binary once */
};

#define VERDICT_COUNT (UNCOUNTABLE + 1)

/* Of each query that compares. */
enum column {
    COLUMN_VERDICT,
    COLUMN_PATH,
    COLUMN_EXPECTED,
    COLUMN_FOUND,
};

struct report {
    bool as_json;
    uint64_t text, binary; /* files in the truth */
    uint64_t counts[VERDICT_COUNT];
    json_t *lists[VERDICT_COUNT]; /* of findings, for --json */
};

static const char usage[] =
    "usage: verify [--json] MODEL TRUTH\n"
    "Compares the table `files` of the SQLite file MODEL, made by files.sql,\n"
    "with TRUTH (plain or compressed by gzip), the output of\n"
    "    git diff --numstat $(git hash-object -t tree /dev/null) HEAD\n"
    "Exits with 0 if all files agree, with 1 if not, or if nothing could be\n"
    "compared.\n"
    "  --json  the findings as one JSON object\n";

/* ---- the report -------------------------------------------------------- */

/* A path that is fit to be shown: the model may hold anything. */
static const char *
path_shown(const char *path, char name[FILE_NAME_MAX + 1])
{
    size_t len = strlen(path);

    if (len == 0 || len > PATH_BYTES_MAX || name_fault(path, len) == NULL)
        return len > PATH_BYTES_MAX ? "(a path of over 4096 bytes)" : path;
    (void)path_name(path, len, name); /* its length is not needed */
    return name;
}

/* "12 lines", "1 line" or, for NULL, what NULL stands for. */
static const char *
lines_shown(sqlite3_stmt *row, int column, const char *null_text, char buf[64])
{
    const char *lines = (const char *)sqlite3_column_text(row, column);

    if (lines == NULL)
        return null_text;
    (void)snprintf(buf, 64, "%.40s line%s", lines,
                   strcmp(lines, "1") == 0 ? "" : "s");
    return buf;
}

static void
print_finding(enum verdict verdict, const char *path, sqlite3_stmt *row)
{
    char text1[64], text2[64];
    const char *want = lines_shown(row, COLUMN_EXPECTED, "binary", text1);
    const char *have = lines_shown(row, COLUMN_FOUND, "binary once", text2);

    switch (verdict) {
    case AGREES:
        break;
    case DIFFERS:
        printf("differs: %s: expected %s, found %s\n", path, want, have);
        break;
    case MISSING:
        printf("missing: %s: expected %s, not in the model\n", path, want);
        break;
    case EXTRA:
        printf("extra: %s: not in the truth, found %s\n", path, have);
        break;
    case UNCOUNTABLE:
        printf("not countable: %s: expected %s, was binary once\n", path, want);
        break;
    }
}

static json_t *
json_lines(sqlite3_stmt *row, int column)
{
    switch (sqlite3_column_type(row, column)) {
    case SQLITE_NULL:
        return json_null();
    case SQLITE_INTEGER:
        return json_integer(sqlite3_column_int64(row, column));
    default:
        return json_string((const char *)sqlite3_column_text(row, column));
    }
}

/* Adds the finding to the list it belongs to. */
static int
json_finding(struct report *report, enum verdict verdict, const char *path,
             sqlite3_stmt *row)
{
    json_t *item = json_pack("{s:s}", "path", path);
    int rc = 0;

    if (verdict != EXTRA)
        rc |= json_object_set_new(item, "expected",
                                  json_lines(row, COLUMN_EXPECTED));
    if (verdict != MISSING && verdict != UNCOUNTABLE)
        rc |= json_object_set_new(item, "found", json_lines(row, COLUMN_FOUND));
    rc |= json_array_append_new(report->lists[verdict], item);
    return rc == 0 ? 0 : -ENOMEM;
}

static int
report_add(struct report *report, enum verdict verdict, const char *path,
           sqlite3_stmt *row)
{
    char name[FILE_NAME_MAX + 1];

    report->counts[verdict]++;
    if (verdict == AGREES)
        return 0;
    path = path_shown(path, name);
    if (report->as_json)
        return json_finding(report, verdict, path, row);
    print_finding(verdict, path, row);
    return 0;
}

/* Whether there was text, and nothing of it could be compared. */
static bool
report_is_void(const struct report *report)
{
    return report->text > 0 && report->text == report->counts[UNCOUNTABLE];
}

/*
 * A model whose lines are NULL throughout was made wrongly far more likely
 * than rightly; comparing nothing must not look like a success.
 */
static bool
report_is_good(const struct report *report)
{
    return !report_is_void(report) && report->counts[DIFFERS] == 0 &&
        report->counts[MISSING] == 0 && report->counts[EXTRA] == 0;
}

static const char *
plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}

static void
print_summary(const struct report *report)
{
    unsigned long long countable = report->text - report->counts[UNCOUNTABLE];

    printf("%llu of %llu text file%s agree\n",
           (unsigned long long)report->counts[AGREES], countable,
           plural(countable));
    if (report->binary > 0)
        printf("%llu binary file%s, without lines to compare\n",
               (unsigned long long)report->binary, plural(report->binary));
    if (report->counts[UNCOUNTABLE] > 0)
        printf("%llu text file%s not countable, binary once\n",
               (unsigned long long)report->counts[UNCOUNTABLE],
               plural(report->counts[UNCOUNTABLE]));
    if (report_is_void(report))
        printf("no file was compared: the model has no lines for any\n");
}

static int
json_summary(const struct report *report)
{
    uint64_t countable = report->text - report->counts[UNCOUNTABLE];
    json_t *all = json_pack(
        "{s:b, s:I, s:I, s:I, s:O, s:O, s:O, s:O}", "verified",
        report_is_good(report), "text", (json_int_t)countable, "agree",
        (json_int_t)report->counts[AGREES], "binary",
        (json_int_t)report->binary, "differ", report->lists[DIFFERS], "missing",
        report->lists[MISSING], "extra", report->lists[EXTRA], "not_countable",
        report->lists[UNCOUNTABLE]);
    int rc;

    if (all == NULL)
        return -ENOMEM;
    rc = json_dumpf(all, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(all);
    return rc == 0 ? 0 : -ENOMEM;
}

/* ---- the comparison ---------------------------------------------------- */

/* Gives on what SQLite says about the model. */
static int
model_fault(sqlite3 *db, const char *model, struct err *err)
{
    return err_set(err, -EIO, "%s: %s", model, sqlite3_errmsg(db));
}

/* Opens the model for reading; the truth goes into a temporary table. */
static int
model_open(const char *model, sqlite3 **ret_db, struct err *err)
{
    static const char prepare[] =
        "PRAGMA temp_store = memory;"
        "CREATE TEMP TABLE truth (path TEXT PRIMARY KEY, lines INTEGER)"
        " WITHOUT ROWID;"
        "BEGIN;";
    int rc = sqlite3_open_v2(model, ret_db, SQLITE_OPEN_READONLY, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_busy_timeout(*ret_db, MODEL_WAIT_MS);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(*ret_db, prepare, NULL, NULL, NULL);
    return rc == SQLITE_OK ? 0 : model_fault(*ret_db, model, err);
}

/* Puts one line of the truth into the table. */
static int
truth_add(sqlite3_stmt *insert, struct numstat *in,
          const struct numstat_line *line, struct err *err)
{
    int rc;

    if (line->kind != NUMSTAT_FILE)
        return numstat_fault(in, err,
                             "a commit; the truth is a git diff, not a log");
    if (line->deleted != 0)
        return numstat_fault(in, err,
                             "deleted lines; the truth is a diff that begins "
                             "with the empty tree");
    rc = sqlite3_bind_text(insert, 1, line->name, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK && line->binary)
        rc = sqlite3_bind_null(insert, 2);
    else if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(insert, 2, (sqlite3_int64)line->added);
    if (rc == SQLITE_OK)
        (void)sqlite3_step(insert); /* reset says the same */
    if (rc == SQLITE_OK)
        rc = sqlite3_reset(insert);
    if (rc == SQLITE_CONSTRAINT)
        return numstat_fault(in, err, "the path comes twice: %s", line->name);
    return rc == SQLITE_OK ? 0
                           : err_set(err, -ENOMEM, "%s", sqlite3_errstr(rc));
}

static int
truth_load(sqlite3 *db, const char *path, struct report *report,
           struct err *err)
{
    struct numstat_line line;
    struct numstat *in = NULL;
    sqlite3_stmt *insert = NULL;
    int rc = numstat_open(path, &in, err);

    if (rc < 0)
        return rc;
    if (sqlite3_prepare_v2(db, "INSERT INTO temp.truth VALUES (?, ?)", -1,
                           &insert, NULL) != SQLITE_OK) {
        rc = err_set(err, -ENOMEM, "%s", sqlite3_errmsg(db));
        goto out;
    }
    while ((rc = numstat_next(in, &line, err)) > 0) {
        rc = truth_add(insert, in, &line, err);
        if (rc < 0)
            goto out;
        report->binary += line.binary;
        report->text += !line.binary;
    }
    /* Nothing agrees with nothing; that must not look like a success. */
    if (rc == 0 && report->text + report->binary == 0)
        rc = err_set(err, -CAIRN_ERECORD, "%s: holds no file", path);
out:
    (void)sqlite3_finalize(insert); /* repeats what step said */
    numstat_close(&in);
    return rc;
}

/* Runs a query whose rows are verdict, path, expected and found. */
static int
compare(sqlite3 *db, const char *model, const char *query,
        struct report *report, struct err *err)
{
    sqlite3_stmt *rows = NULL;
    int rc = 0, step;

    if (sqlite3_prepare_v2(db, query, -1, &rows, NULL) != SQLITE_OK)
        return model_fault(db, model, err);
    while ((step = sqlite3_step(rows)) == SQLITE_ROW) {
        int verdict = sqlite3_column_int(rows, COLUMN_VERDICT);
        const char *path = (const char *)sqlite3_column_text(rows, COLUMN_PATH);

        rc = report_add(report, (enum verdict)verdict,
                        path != NULL ? path : "(NULL)", rows);
        if (rc < 0) {
            rc = err_sys(err, rc, "the report");
            goto out;
        }
    }
    if (step != SQLITE_DONE)
        rc = model_fault(db, model, err);
out:
    (void)sqlite3_finalize(rows); /* repeats what step said */
    return rc;
}

static int
verify(sqlite3 *db, const char *model, struct report *report, struct err *err)
{
    char *query;
    int rc;

    /* A binary file without lines in the model agrees, but is not counted
     * among the text files. */
    query = sqlite3_mprintf(
        "SELECT CASE WHEN f.path IS NULL THEN %d"
        "            WHEN t.lines IS NULL THEN %d"
        "            WHEN f.lines IS NULL THEN %d"
        "            WHEN f.lines = t.lines THEN %d"
        "            ELSE %d END, t.path, t.lines, f.lines"
        " FROM temp.truth t LEFT JOIN main.files f ON f.path = t.path"
        " WHERE t.lines IS NOT NULL OR f.lines IS NOT NULL OR f.path IS NULL"
        " ORDER BY t.path",
        MISSING, DIFFERS, UNCOUNTABLE, AGREES, DIFFERS);
    if (query == NULL)
        return err_sys(err, -ENOMEM, "%s", model);
    rc = compare(db, model, query, report, err);
    sqlite3_free(query);
    if (rc < 0)
        return rc;

    query = sqlite3_mprintf(
        "SELECT %d, path, NULL, lines FROM main.files"
        " WHERE lines <> 0 AND path NOT IN (SELECT path FROM temp.truth)"
        " ORDER BY path",
        EXTRA);
    if (query == NULL)
        return err_sys(err, -ENOMEM, "%s", model);
    rc = compare(db, model, query, report, err);
    sqlite3_free(query);
    return rc;
}

/* ---- the program ------------------------------------------------------- */

/* Returns the code to exit with, or -1 to go on. */
static int
options_read(int argc, char **argv, struct report *report)
{
    static const struct option options[] = {
        { "json", no_argument, NULL, 'j' },
        { "help", no_argument, NULL, 'h' },
        { 0 },
    };
    int c;

    while ((c = getopt_long(argc, argv, "jh", options, NULL)) != -1) {
        switch (c) {
        case 'j':
            report->as_json = true;
            break;
        case 'h':
            fputs(usage, stdout);
            return EXIT_DONE;
        default:
            fputs(usage, stderr);
            return EXIT_USAGE;
        }
    }
    if (argc - optind != 2) {
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
    return -1;
}

static int
run(const char *model, const char *truth, struct report *report,
    struct err *err)
{
    sqlite3 *db = NULL;
    int rc = model_open(model, &db, err);

    if (rc == 0)
        rc = truth_load(db, truth, report, err);
    if (rc == 0)
        rc = verify(db, model, report, err);
    if (rc == 0 && report->as_json) {
        rc = json_summary(report);
        if (rc < 0)
            err_sys(err, rc, "the report");
    } else if (rc == 0) {
        print_summary(report);
    }
    if ((fflush(stdout) != 0 || ferror(stdout)) && rc == 0)
        rc = err_sys(err, -errno, "writing the report");
    (void)sqlite3_close(db); /* only read from */
    return rc;
}

int
main(int argc, char **argv)
{
    struct report report = { 0 };
    struct err err;
    int code, rc;

    code = options_read(argc, argv, &report);
    if (code >= 0)
        return code;

    for (int i = 0; i < VERDICT_COUNT; i++)
        report.lists[i] = json_array();
    rc = run(argv[optind], argv[optind + 1], &report, &err);
    if (rc < 0)
        fprintf(stderr, "verify: %s\n", err.text);
    for (int i = 0; i < VERDICT_COUNT; i++)
        json_decref(report.lists[i]);
    return rc < 0 || !report_is_good(&report) ? EXIT_FAILED : EXIT_DONE;
}
