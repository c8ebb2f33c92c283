/* SPDX-License-Identifier: MPL-2.0 */
#include "wire/rights.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include "base/text.h"
#include "base/zpl.h"
#include "wire/array.h"
#include "wire/curve.h"

enum about { ABOUT_ALL, ABOUT_STREAM, ABOUT_PREFIX, ABOUT_CATEGORY };

/* One line of the file. */
struct rule {
    uint8_t right, about;
    uint8_t len;
    char text[NAME_LEN_MAX + 1];
};

struct principal {
    char key[CURVE_KEY_LEN + 1];
    char name[ZPL_NAME_LEN_MAX + 1];
    unsigned line;
    bool administer;
    struct rule *rules;
    uint32_t rule_count, rule_room;
};

struct rights {
    struct principal *principals; /* in the order of the file */
    uint32_t count, room;
    uint32_t *by_key; /* indexes, sorted by key */
};

/* ---- reading the file -------------------------------------------------- */

/* The rest of `text` if it begins with `word`, or NULL. */
static const char *
behind(const char *text, const char *word)
{
    size_t len = strlen(word);

    return strncmp(text, word, len) == 0 ? text + len : NULL;
}

/* What a right is about; NULL, or what is wrong with the text. */
static const char *
parse_rule(enum right right, const char *value, struct rule *rule)
{
    static const struct {
        const char *word;
        enum about about;
        bool of_commands;
    } forms[] = {
        { "stream:", ABOUT_STREAM, false },
        { "prefix:", ABOUT_PREFIX, false },
        { "category:", ABOUT_CATEGORY, false },
        { "command:", ABOUT_STREAM, true }, /* the whole name, as well */
    };
    const char *text = NULL, *fault;

    *rule = (struct rule){ .right = (uint8_t)right };
    if (strcmp(value, "all") == 0) {
        rule->about = ABOUT_ALL;
        return NULL;
    }
    for (size_t i = 0; i < sizeof forms / sizeof *forms && text == NULL; i++)
        if (forms[i].of_commands == (right == RIGHT_SEND)) {
            text = behind(value, forms[i].word);
            rule->about = (uint8_t)forms[i].about;
        }
    if (text == NULL && right == RIGHT_SEND)
        return "it must be \"all\" or \"command:NAME\"";
    if (text == NULL)
        return "it must be \"all\", \"stream:NAME\", \"prefix:TEXT\" or "
               "\"category:NAME\"";
    fault = name_fault(text, strlen(text));
    if (fault != NULL)
        return "what stands behind the colon must be a name: 1 to 255 bytes "
               "of UTF-8 without control characters";
    if (rule->about == ABOUT_CATEGORY && strchr(text, '-') != NULL)
        return "a category ends before the first '-': there is none in its "
               "name";
    rule->len = (uint8_t)strlen(text);
    memcpy(rule->text, text, rule->len);
    return NULL;
}

static const char *
take_right(struct principal *p, enum right right, const char *value)
{
    struct rule rule;
    const char *wrong = parse_rule(right, value, &rule);

    if (wrong != NULL)
        return wrong;
    if (p->rule_count == RIGHTS_RULES_MAX)
        return "this key has too many lines (at most 1000)";
    if (array_reserve(&p->rules, &p->rule_room, p->rule_count + UINT64_C(1),
                      sizeof *p->rules) < 0)
        return "no memory";
    p->rules[p->rule_count++] = rule;
    return NULL;
}

/* Takes a line below a name; NULL, or what is wrong. */
static const char *
take_line(struct principal *p, const struct zpl_item *item)
{
    const char *value = item->value;

    if (item->level != 1)
        return "this is indented too far";
    if (!item->has_value)
        return "a value is missing";
    if (strcmp(item->name, "append") == 0)
        return take_right(p, RIGHT_APPEND, value);
    if (strcmp(item->name, "read") == 0)
        return take_right(p, RIGHT_READ, value);
    if (strcmp(item->name, "send") == 0)
        return take_right(p, RIGHT_SEND, value);
    if (strcmp(item->name, "administer") == 0) {
        p->administer = strcmp(value, "yes") == 0;
        return p->administer || strcmp(value, "no") == 0
            ? NULL
            : "it must be \"yes\" or \"no\"";
    }
    if (strcmp(item->name, "key") != 0)
        return "unknown; key, append, read, send and administer are known";
    if (p->key[0] != '\0')
        return "this is given a second time";
    if (!curve_key_valid(value))
        return "it must be a public key: 40 characters of Z85, in quotes, as "
               "'cairn key show FILE' prints it";
    memcpy(p->key, value, CURVE_KEY_LEN + 1);
    return NULL;
}

/* Begins a section; NULL, or what is wrong. */
static const char *
take_name(struct rights *rights, const struct zpl_item *item)
{
    struct principal *p;

    if (item->has_value)
        return "a name stands alone on its line";
    for (uint32_t i = 0; i < rights->count; i++)
        if (strcmp(rights->principals[i].name, item->name) == 0)
            return "this name is there a second time";
    if (rights->count == RIGHTS_KEYS_MAX)
        return "there are too many keys (at most 10000)";
    if (array_reserve(&rights->principals, &rights->room,
                      rights->count + UINT64_C(1),
                      sizeof *rights->principals) < 0)
        return "no memory";
    p = &rights->principals[rights->count++];
    *p = (struct principal){ .line = item->line };
    memcpy(p->name, item->name, sizeof p->name);
    return NULL;
}

static int
parse_rights(struct rights *rights, const char *text, const char *path,
             struct err *err)
{
    struct zpl zpl = zpl_begin(text, path);
    struct zpl_item item;
    int rc;

    while ((rc = zpl_next(&zpl, &item, err)) > 0) {
        const char *wrong = item.level == 0
            ? take_name(rights, &item)
            : take_line(&rights->principals[rights->count - 1], &item);

        if (wrong != NULL)
            return err_set(err, -CAIRN_ECONFIG, "%s:%u: %s%s%s: %s", path,
                           item.line, item.name, item.has_value ? " = " : "",
                           item.value, wrong);
    }
    return rc;
}

static int
compare(const void *a, const void *b, void *arg)
{
    const struct principal *p = arg;

    return strcmp(p[*(const uint32_t *)a].key, p[*(const uint32_t *)b].key);
}

/* Sorts the keys; none may be missing or there twice. */
static int
sort_keys(struct rights *rights, const char *path, struct err *err)
{
    struct principal *p = rights->principals;

    rights->by_key = calloc(rights->count + 1, sizeof *rights->by_key);
    if (rights->by_key == NULL)
        return err_sys(err, -ENOMEM, "%s", path);
    for (uint32_t i = 0; i < rights->count; i++) {
        rights->by_key[i] = i;
        if (p[i].key[0] == '\0')
            return err_set(err, -CAIRN_ECONFIG, "%s:%u: %s: its key is missing",
                           path, p[i].line, p[i].name);
    }
    if (rights->count > 0)
        qsort_r(rights->by_key, rights->count, sizeof *rights->by_key, compare,
                p);
    for (uint32_t i = 1; i < rights->count; i++) {
        const struct principal *a = &p[rights->by_key[i - 1]];
        const struct principal *b = &p[rights->by_key[i]];

        if (strcmp(a->key, b->key) == 0)
            return err_set(err, -CAIRN_ECONFIG,
                           "%s:%u: %s has the same key as %s in line %u", path,
                           a->line > b->line ? a->line : b->line,
                           a->line > b->line ? a->name : b->name,
                           a->line > b->line ? b->name : a->name,
                           a->line > b->line ? b->line : a->line);
    }
    return 0;
}

int
rights_load(const char *path, struct rights **ret_rights, struct err *err)
{
    struct rights *rights;
    char *text;
    int rc = text_read(path, S_IWOTH, &text, err);

    if (rc < 0)
        return rc;
    rights = calloc(1, sizeof *rights);
    rc = rights == NULL ? err_sys(err, -ENOMEM, "%s", path)
                        : parse_rights(rights, text, path, err);
    free(text);
    if (rc == 0)
        rc = sort_keys(rights, path, err);
    if (rc < 0)
        rights_free(&rights);
    else
        *ret_rights = rights;
    return rc;
}

void
rights_free(struct rights **rights)
{
    struct rights *r = *rights;

    *rights = NULL;
    if (r == NULL)
        return;
    for (uint32_t i = 0; i < r->count; i++)
        free(r->principals[i].rules);
    free(r->principals);
    free(r->by_key);
    free(r);
}

/* ---- asking ------------------------------------------------------------ */

size_t
rights_count(const struct rights *rights)
{
    return rights->count;
}

const struct principal *
rights_find(const struct rights *rights, const char *key)
{
    uint32_t low = 0, high = rights->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct principal *p = &rights->principals[rights->by_key[middle]];
        int order = strcmp(key, p->key);

        if (order == 0)
            return p;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const struct principal *
rights_at(const struct rights *rights, size_t index)
{
    return index < rights->count ? &rights->principals[index] : NULL;
}

size_t
rights_index(const struct rights *rights, const struct principal *principal)
{
    return (size_t)(principal - rights->principals);
}

const char *
principal_name(const struct principal *principal)
{
    return principal->name;
}

const char *
principal_key(const struct principal *principal)
{
    return principal->key;
}

static bool
begins_with(const char *text, size_t len, const struct rule *rule)
{
    return len >= rule->len && memcmp(text, rule->text, rule->len) == 0;
}

/* Whether all streams of a category, or one stream, lie within a rule. */
static bool
rule_covers(const struct rule *rule, const char *text, size_t len,
            bool category)
{
    switch ((enum about)rule->about) {
    case ABOUT_ALL:
        return true;
    case ABOUT_STREAM:
        return !category && len == rule->len && begins_with(text, len, rule);
    case ABOUT_PREFIX:
        /* The category's name begins the name of each stream in it. */
        return begins_with(text, len, rule);
    case ABOUT_CATEGORY:
    default:
        if (!category)
            len = category_len(text, len);
        return len == rule->len && begins_with(text, len, rule);
    }
}

static bool
may(const struct principal *p, enum right right, const char *text, size_t len,
    bool category)
{
    if (p == NULL || p->administer)
        return true;
    for (uint32_t i = 0; i < p->rule_count; i++)
        if (p->rules[i].right == right &&
            rule_covers(&p->rules[i], text, len, category))
            return true;
    return false;
}

bool
may_stream(const struct principal *p, enum right right, const char *stream,
           size_t len)
{
    return may(p, right, stream, len, false);
}

bool
may_category(const struct principal *p, enum right right, const char *category,
             size_t len)
{
    return may(p, right, category, len, true);
}

bool
may_all(const struct principal *p, enum right right)
{
    if (p == NULL || p->administer)
        return true;
    for (uint32_t i = 0; i < p->rule_count; i++)
        if (p->rules[i].right == right && p->rules[i].about == ABOUT_ALL)
            return true;
    return false;
}

bool
may_send(const struct principal *p, const char *command, size_t len)
{
    return may(p, RIGHT_SEND, command, len, false);
}
