/* SPDX-License-Identifier: MPL-2.0 */
#include "cairn/condition.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

/* Doubles hold every whole number up to here. */
#define WHOLE_MAX 9007199254740992.0

#define NAMES_MAX 1024u /* types, or tags, of one item; the gateway has less */

/* Types and tags of the item that is being read. */
struct item {
    struct span types[NAMES_MAX], tags[NAMES_MAX];
    uint32_t type_count, tag_count;
};

int
json_whole(const json_t *value, uint64_t *ret_number)
{
    double number = json_real_value(value);

    if (!json_is_real(value) || number < 0 || number > WHOLE_MAX ||
        number != (double)(uint64_t)number)
        return -EINVAL;
    *ret_number = (uint64_t)number;
    return 0;
}

static int
bad(struct err *err, const char *reason)
{
    return err_set(err, -EINVAL, "fail_if: %s", reason);
}

static int
add_item(struct line_commit *commit, struct item *item, struct err *err)
{
    int rc;

    if (item->type_count + item->tag_count == 0)
        return bad(err,
                   "an alternative has neither types nor tags; to be "
                   "stopped by any event say all");
    rc = line_add_item(commit, item->types, item->type_count, item->tags,
                       item->tag_count, err);
    item->type_count = item->tag_count = 0;
    return rc;
}

/* ---- from words -------------------------------------------------------- */

/* Takes names between commas. */
static int
take_names(const char *p, const char *end, struct span *names, uint32_t *count,
           struct err *err)
{
    while (p <= end) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        const char *stop = comma != NULL ? comma : end;

        if (*count == NAMES_MAX)
            return bad(err, "there are too many names");
        names[(*count)++] = (struct span){ p, (uint32_t)(stop - p) };
        p = stop + 1;
    }
    return 0;
}

static bool
begins(const char *word, size_t len, const char *with)
{
    return len >= strlen(with) && memcmp(word, with, strlen(with)) == 0;
}

static int
take_after(struct wire_check *check, const char *word, size_t len,
           struct err *err)
{
    char number[24];

    if (len >= sizeof number)
        return bad(err, "after must be a position");
    memcpy(number, word, len);
    number[len] = '\0';
    return number_parse(number, &check->version)
        ? 0
        : bad(err, "after must be a position");
}

static int
take_word(struct line_commit *commit, struct item *item, const char *word,
          size_t len, struct err *err)
{
    struct wire_check *check = &commit->checks[commit->check_count - 1];

    if (begins(word, len, "tags="))
        return take_names(word + 5, word + len, item->tags, &item->tag_count,
                          err);
    if (begins(word, len, "types="))
        return take_names(word + 6, word + len, item->types, &item->type_count,
                          err);
    if (begins(word, len, "after="))
        return take_after(check, word + 6, len - 6, err);
    if (len == 2 && begins(word, len, "or"))
        return add_item(commit, item, err);
    if (len == 3 && begins(word, len, "all")) {
        check->expect = WIRE_EXPECT_NO_EVENT;
        return 0;
    }
    return err_set(err, -EINVAL,
                   "fail_if: '%.*s': it must look like "
                   "'types=X,Y tags=a:1,b:2 or tags=c after=N', 'all after=N', "
                   "or JSON",
                   (int)len, word);
}

static int
take_words(struct line_commit *commit, struct item *item, const char *text,
           struct err *err)
{
    struct wire_check *check;
    int rc = line_begin_condition(commit, WIRE_EXPECT_NO_MATCH, 0, err);

    while (rc == 0 && *text != '\0') {
        size_t len = strcspn(text, " ");

        if (len > 0)
            rc = take_word(commit, item, text, len, err);
        text += len;
        text += strspn(text, " ");
    }
    if (rc < 0)
        return rc;
    check = &commit->checks[commit->check_count - 1];
    if (check->expect == WIRE_EXPECT_NO_MATCH)
        return add_item(commit, item, err);
    return item->type_count + item->tag_count + check->item_count == 0
        ? 0
        : bad(err, "all stands alone");
}

int
condition_from_text(struct line_commit *commit, const char *text,
                    struct err *err)
{
    struct item *item;
    json_t *json;
    int rc;

    if (text[0] == '{' || text[0] == '[') {
        json = json_loads(text, LINE_JSON_FLAGS, NULL);
        rc = json == NULL ? bad(err, "it is not valid JSON")
                          : condition_from_json(commit, json, err);
        json_decref(json);
        return rc;
    }
    item = calloc(1, sizeof *item);
    if (item == NULL)
        return err_sys(err, -ENOMEM, "fail_if");
    rc = take_words(commit, item, text, err);
    free(item);
    return rc;
}

/* ---- from JSON --------------------------------------------------------- */

static int
names_from_json(const json_t *value, struct span *names, uint32_t *count,
                struct err *err)
{
    const json_t *name;
    size_t i;

    if (value == NULL)
        return 0;
    if (!json_is_array(value) || json_array_size(value) > NAMES_MAX)
        return bad(err, "types and tags are arrays of texts");
    json_array_foreach(value, i, name)
    {
        if (!json_is_string(name))
            return bad(err, "types and tags are arrays of texts");
        names[(*count)++] = (struct span){ json_string_value(name),
                                           (uint32_t)json_string_length(name) };
    }
    return 0;
}

/* No field but those two. */
static int
check_fields(const json_t *object, const char *one, const char *other,
             struct err *err)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)object, name, value)
    {
        if (strcmp(name, one) != 0 && strcmp(name, other) != 0)
            return err_set(err, -EINVAL, "fail_if: %s: there is no such field",
                           name);
    }
    return 0;
}

static int
items_from_json(struct line_commit *commit, const json_t *items,
                struct item *item, struct err *err)
{
    const json_t *value;
    size_t i;

    if (!json_is_array(items) || json_array_size(items) == 0)
        return bad(err, "items is \"all\", or an array of alternatives");
    json_array_foreach(items, i, value)
    {
        int rc = json_is_object(value)
            ? check_fields(value, "types", "tags", err)
            : bad(err, "an alternative is an object of types and tags");

        if (rc == 0)
            rc = names_from_json(json_object_get(value, "types"), item->types,
                                 &item->type_count, err);
        if (rc == 0)
            rc = names_from_json(json_object_get(value, "tags"), item->tags,
                                 &item->tag_count, err);
        if (rc == 0)
            rc = add_item(commit, item, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static bool
is_all(const json_t *value)
{
    return json_is_string(value) &&
        strcmp(json_string_value(value), "all") == 0;
}

static int
one_from_json(struct line_commit *commit, const json_t *value,
              struct item *item, struct err *err)
{
    const json_t *items = value, *position = NULL;
    uint64_t after = 0;
    int rc = 0;

    if (json_is_object(value)) {
        items = json_object_get(value, "items");
        position = json_object_get(value, "after");
        rc = check_fields(value, "items", "after", err);
    } else if (!is_all(value)) {
        rc = bad(err,
                 "a condition is \"all\", or an object of items and "
                 "after");
    }
    if (rc == 0 && position != NULL && json_whole(position, &after) < 0)
        rc = bad(err, "after must be a position");
    if (rc < 0)
        return rc;
    rc = line_begin_condition(
        commit, is_all(items) ? WIRE_EXPECT_NO_EVENT : WIRE_EXPECT_NO_MATCH,
        after, err);
    return rc < 0 || is_all(items) ? rc
                                   : items_from_json(commit, items, item, err);
}

int
condition_from_json(struct line_commit *commit, const json_t *value,
                    struct err *err)
{
    struct item *item;
    const json_t *one;
    size_t i;
    int rc = 0;

    if (value == NULL)
        return 0;
    item = calloc(1, sizeof *item);
    if (item == NULL)
        return err_sys(err, -ENOMEM, "fail_if");
    if (json_is_array(value)) {
        for (i = 0; rc == 0 && (one = json_array_get(value, i)) != NULL; i++)
            rc = one_from_json(commit, one, item, err);
    } else {
        rc = one_from_json(commit, value, item, err);
    }
    free(item);
    return rc;
}

/* ---- writing ----------------------------------------------------------- */

static void
print_names(FILE *out, const struct wire_item *item, uint32_t from,
            uint32_t count, const char *what)
{
    uint32_t index = 0, at = 0;
    struct wire_name name;

    if (count == 0)
        return;
    fprintf(out, "%s%s=", from > 0 ? " " : "", what); /* types come first */
    while (wire_item_next(item, &index, &at, &name))
        if (index > from && index <= from + count)
            fprintf(out, "%s%.*s", index > from + 1 ? "," : "", (int)name.len,
                    name.p);
}

void
condition_print(FILE *out, const struct wire_check *check)
{
    if (check->expect == WIRE_EXPECT_NO_EVENT)
        fputs("all", out);
    for (uint32_t i = 0; i < check->item_count; i++) {
        const struct wire_item *item = &check->items[i];

        fputs(i > 0 ? " or " : "", out);
        print_names(out, item, 0, item->type_count, "types");
        print_names(out, item, item->type_count, item->tag_count, "tags");
    }
}

static void
print_names_json(FILE *out, const struct wire_item *item, uint32_t from,
                 uint32_t count)
{
    uint32_t index = 0, at = 0;
    struct wire_name name;

    putc('[', out);
    while (wire_item_next(item, &index, &at, &name))
        if (index > from && index <= from + count) {
            fputs(index > from + 1 ? "," : "", out);
            json_print_text(out, name.p, name.len);
        }
    putc(']', out);
}

void
condition_print_json(FILE *out, const struct wire_check *check)
{
    fputs("{\"items\":", out);
    if (check->expect == WIRE_EXPECT_NO_EVENT)
        fputs("\"all\"", out);
    for (uint32_t i = 0; i < check->item_count; i++) {
        const struct wire_item *item = &check->items[i];

        fputs(i == 0 ? "[{\"types\":" : ",{\"types\":", out);
        print_names_json(out, item, 0, item->type_count);
        fputs(",\"tags\":", out);
        print_names_json(out, item, item->type_count, item->tag_count);
        fputs(i + 1 == check->item_count ? "}]" : "}", out);
    }
    fprintf(out, ",\"after\":%" PRIu64 "}", check->version);
}
