/* SPDX-License-Identifier: MPL-2.0 */
#include "projector/definition.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/text.h"

#define MARK "--@"

/* The file while it is read. */
struct parser {
    const char *path;
    struct definition *d;
    unsigned line;
    crypto_generichash_state digest;
    struct err *err;
};

static int
fail(struct parser *p, unsigned line, const char *what)
{
    return err_set(p->err, -CAIRN_EPROJECTION, "%s:%u: %s", p->path, line,
                   what);
}

static int
read_file(const char *path, char **ret_text, struct err *err)
{
    FILE *file = fopen(path, "re");
    char *text = NULL;
    size_t len;
    int rc = 0;

    if (file == NULL)
        return err_sys(err, -errno, "cannot open the projection %s", path);
    text = malloc(DEFINITION_LEN_MAX + 1);
    if (text == NULL) {
        rc = err_sys(err, -ENOMEM, "projection %s", path);
    } else {
        len = fread(text, 1, DEFINITION_LEN_MAX, file);
        text[len] = '\0';
        if (ferror(file))
            rc = err_sys(err, -EIO, "cannot read the projection %s", path);
        else if (len == DEFINITION_LEN_MAX || strlen(text) != len)
            rc = err_set(err, -CAIRN_EPROJECTION,
                         "%s: no text of less than %u bytes", path,
                         DEFINITION_LEN_MAX);
    }
    (void)fclose(file); /* only read */
    if (rc < 0)
        free(text);
    else
        *ret_text = text;
    return rc;
}

/* The next word of a section line; NULL at its end. */
static char *
next_word(char **at)
{
    char *word;

    *at += strspn(*at, " \t\r");
    if (**at == '\0')
        return NULL;
    word = *at;
    *at += strcspn(*at, " \t\r");
    if (**at != '\0')
        *(*at)++ = '\0';
    return word;
}

/* Mixes a word into the digest, so that no two lists of words are the same. */
static void
note(struct parser *p, const char *word)
{
    (void)crypto_generichash_update(&p->digest, (const uint8_t *)word,
                                    strlen(word) + 1);
}

static int
take_select(struct parser *p, char *rest)
{
    static const char *const sorts[] = { "stream", "category", "type", "tag" };
    static const char kinds[] = { 's', 'c', 't', 'g' };
    struct definition *d = p->d;
    char *sort = next_word(&rest), *word;
    char kind = 0;
    uint32_t before = d->selector_count;

    for (int i = 0; sort != NULL && i < 4; i++)
        if (strcmp(sort, sorts[i]) == 0)
            kind = kinds[i];
    if (kind == 0)
        return fail(p, p->line,
                    "select must be followed by stream, category, type or "
                    "tag, and names");
    while ((word = next_word(&rest)) != NULL) {
        if (d->selector_count == DEFINITION_SELECTORS_MAX)
            return fail(p, p->line, "more than 64 names to select");
        d->selectors[d->selector_count++] = (struct selector){
            .kind = kind,
            .text = { word, (uint32_t)strlen(word) },
        };
        note(p, sort);
        note(p, word);
    }
    if (d->selector_count == before)
        return fail(p, p->line, "select needs at least one name");
    return 0;
}

static int
add_handler(struct parser *p, const char *type, const char *sql)
{
    struct definition *d = p->d;
    struct handler *handlers;

    for (uint32_t i = 0; i < d->handler_count; i++)
        if (strcmp(d->handlers[i].type, type) == 0)
            return fail(p, p->line, "this event type has a section already");
    if (d->handler_count == DEFINITION_HANDLERS_MAX)
        return fail(p, p->line, "more than 1024 event types");
    handlers =
        reallocarray(d->handlers, d->handler_count + 1, sizeof *handlers);
    if (handlers == NULL)
        return err_sys(p->err, -ENOMEM, "%s", p->path);
    d->handlers = handlers;
    handlers[d->handler_count] = (struct handler){
        .type = strdup(type),
        .sql = sql,
        .line = p->line + 1,
    };
    if (handlers[d->handler_count].type == NULL)
        return err_sys(p->err, -ENOMEM, "%s", p->path);
    d->handler_count++;
    note(p, type);
    return 0;
}

static int
take_on(struct parser *p, char *rest, const char *sql)
{
    uint32_t before = p->d->handler_count;
    char *word;

    note(p, "on");
    while ((word = next_word(&rest)) != NULL) {
        int rc = add_handler(p, word, sql);

        if (rc < 0)
            return rc;
    }
    if (p->d->handler_count == before)
        return fail(p, p->line, "on needs at least one event type");
    return 0;
}

/* A section without arguments that may stand once. */
static int
take_once(struct parser *p, const char *word, const char *rest, const char *sql,
          const char **slot, unsigned *slot_line)
{
    if (*slot != NULL)
        return fail(p, p->line, "this section is there twice");
    if (rest[strspn(rest, " \t\r")] != '\0')
        return fail(p, p->line, "nothing may follow on this line");
    note(p, word);
    *slot = sql;
    *slot_line = p->line + 1;
    return 0;
}

/* Takes a section: its line without the mark, and the text behind it. */
static int
take_section(struct parser *p, char *line, const char *sql)
{
    struct definition *d = p->d;
    char *rest = line, *word = next_word(&rest);
    int rc;

    if (word == NULL) {
        rc = fail(p, p->line,
                  "a section needs a name: projection, select, "
                  "schema, on or reset");
    } else if (strcmp(word, "projection") == 0) {
        char *name = next_word(&rest);

        if (name == NULL || next_word(&rest) != NULL || d->name != NULL)
            rc = fail(p, p->line,
                      "there must be one line '--@ projection "
                      "NAME', with one name");
        else if (name_fault(name, strlen(name)) != NULL ||
                 strchr(name, '/') != NULL)
            rc = fail(p, p->line, "this cannot be the name of a projection");
        else
            rc = (d->name = strdup(name)) == NULL ? -ENOMEM : 0;
        sql = "";
    } else if (strcmp(word, "select") == 0) {
        rc = take_select(p, rest);
    } else if (strcmp(word, "schema") == 0) {
        rc = take_once(p, word, rest, sql, &d->schema, &d->schema_line);
    } else if (strcmp(word, "reset") == 0) {
        rc = take_once(p, word, rest, sql, &d->reset, &d->reset_line);
        sql = ""; /* does not change what the read model holds */
    } else if (strcmp(word, "on") == 0) {
        rc = take_on(p, rest, sql);
    } else {
        rc = fail(p, p->line,
                  "unknown section; there are projection, select, "
                  "schema, on and reset");
    }
    note(p, sql);
    return rc;
}

/* Whether a line holds nothing but white space and a comment. */
static bool
is_comment(const char *line)
{
    line += strspn(line, " \t\r");
    return *line == '\0' || strncmp(line, "--", 2) == 0;
}

/* The first line at or behind `at` that begins a section. */
static char *
find_mark(char *at, unsigned *line)
{
    while (*at != '\0' && strncmp(at, MARK, strlen(MARK)) != 0) {
        at = strchrnul(at, '\n');
        at += *at != '\0';
        ++*line;
    }
    return at;
}

static int
parse(struct parser *p, char *text)
{
    unsigned line = 1;
    char *at = find_mark(text, &line);

    for (char *s = text; s < at;) {
        char *end = strchrnul(s, '\n');
        char kept = *end;
        bool good;

        *end = '\0';
        good = is_comment(s);
        *end = kept;
        p->line++;
        if (!good)
            return fail(p, p->line,
                        "before the first line that begins with "
                        "--@ there may only be comments");
        s = end + (kept != '\0');
    }
    while (*at != '\0') {
        char *head = at + strlen(MARK);
        char *end = strchrnul(at, '\n');
        char *body = end + (*end != '\0');
        int rc;

        p->line = line++;
        *end = '\0';
        at = find_mark(body, &line);
        if (at > body)
            at[-1] = '\0'; /* the line feed before the next section */
        rc = take_section(p, head, at > body ? body : "");
        if (rc < 0)
            return rc;
    }
    if (p->d->name == NULL)
        return fail(p, 1, "there is no line '--@ projection NAME'");
    if (p->d->handler_count == 0)
        return fail(p, 1, "there is no section '--@ on TYPE'");
    return 0;
}

int
definition_load(const char *path, struct definition *ret_definition,
                struct err *err)
{
    struct definition d = { .path = path };
    struct parser p = { .path = path, .d = &d, .err = err };
    uint8_t digest[crypto_generichash_BYTES];
    int rc = read_file(path, &d.text, err);

    _Static_assert(sizeof d.digest == 2 * sizeof digest + 1, "digest");
    (void)crypto_generichash_init(&p.digest, NULL, 0, sizeof digest);
    if (rc == 0)
        rc = parse(&p, d.text);
    if (rc == -ENOMEM)
        (void)err_sys(err, rc, "%s", path);
    if (rc < 0) {
        definition_free(&d);
        return rc;
    }
    (void)crypto_generichash_final(&p.digest, digest, sizeof digest);
    (void)sodium_bin2hex(d.digest, sizeof d.digest, digest, sizeof digest);
    *ret_definition = d;
    return 0;
}

void
definition_free(struct definition *d)
{
    for (uint32_t i = 0; i < d->handler_count; i++)
        free(d->handlers[i].type);
    free(d->handlers);
    free(d->name);
    free(d->text);
    *d = (struct definition){ 0 };
}
