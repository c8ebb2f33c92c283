/* SPDX-License-Identifier: MPL-2.0 */
#include "base/conf.h"

#include <assert.h>
#include <czmq.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>

#include "base/text.h"
#include "base/zpl.h"

#define NAME_PARTS_MAX 4
#define ORIGIN_LEN 512

struct value {
    char *text;
    uint64_t number;
    char origin[ORIGIN_LEN];
    const void *given_by; /* the file that gave it, to find doubles */
};

struct conf {
    const struct conf_key *keys;
    size_t count;
    struct value *values;
};

/* ---- values ------------------------------------------------------------ */

static bool
parse_scaled(const char *text, const char *const *suffixes,
             const uint64_t *factors, uint64_t *ret_number)
{
    char digits[24];
    size_t len = strspn(text, "0123456789");
    const char *suffix = text + len;

    if (len == 0 || len >= sizeof digits)
        return false;
    memcpy(digits, text, len);
    digits[len] = '\0';
    if (!number_parse(digits, ret_number))
        return false;
    for (size_t i = 0; suffixes[i] != NULL; i++)
        if (strcmp(suffix, suffixes[i]) == 0)
            return !__builtin_mul_overflow(*ret_number, factors[i], ret_number);
    return false;
}

static bool
parse_bytes(const char *text, uint64_t *ret_number)
{
    static const char *const suffixes[] = { "",    "K",   "M",   "G",
                                            "KiB", "MiB", "GiB", NULL };
    static const uint64_t factors[] = { 1,       1 << 10, 1 << 20, 1 << 30,
                                        1 << 10, 1 << 20, 1 << 30 };

    return parse_scaled(text, suffixes, factors, ret_number);
}

static bool
parse_msec(const char *text, uint64_t *ret_number)
{
    static const char *const suffixes[] = { "", "ms", "s", "m", "h", NULL };
    static const uint64_t factors[] = { 1, 1, 1000, 60000, 3600000 };

    return parse_scaled(text, suffixes, factors, ret_number);
}

static bool
is_choice(const char *choices, const char *text)
{
    size_t len = strlen(text);

    for (const char *p = choices; *p != '\0';) {
        size_t word = strcspn(p, " ");

        if (word == len && memcmp(p, text, len) == 0)
            return true;
        p += word + strspn(p + word, " ");
    }
    return false;
}

/* What a value of this type looks like, for messages. */
static const char *
type_form(enum conf_type type)
{
    switch (type) {
    case CONF_PATH:
        return "a path";
    case CONF_ENDPOINT:
        return "an endpoint, ipc://PATH or tcp://ADDRESS:PORT, or -";
    case CONF_COUNT:
        return "a whole number";
    case CONF_BYTES:
        return "a number of bytes, as in 4096, 64K, 128M or 1G";
    case CONF_MSEC:
        return "a time, as in 250ms, 5s, 10m or 1h";
    case CONF_CHOICE:
    case CONF_TEXT:
    default:
        return "a text";
    }
}

/* Whether a text fits a key; *ret_number of numbers. */
static bool
value_fits(const struct conf_key *key, const char *text, uint64_t *ret_number)
{
    switch (key->type) {
    case CONF_COUNT:
        return number_parse(text, ret_number);
    case CONF_BYTES:
        return parse_bytes(text, ret_number);
    case CONF_MSEC:
        return parse_msec(text, ret_number);
    case CONF_ENDPOINT:
        return strcmp(text, "-") == 0 ||
            (strncmp(text, "ipc://", 6) == 0 && text[6] != '\0') ||
            (strncmp(text, "tcp://", 6) == 0 && strchr(text + 6, ':'));
    case CONF_CHOICE:
        return is_choice(key->choices, text);
    case CONF_PATH:
        return text[0] != '\0';
    case CONF_TEXT:
    default:
        return true;
    }
}

static int
set_value(struct conf *conf, size_t index, const char *text, const char *origin,
          struct err *err)
{
    const struct conf_key *key = &conf->keys[index];
    struct value *value = &conf->values[index];
    uint64_t number = 0;

    if (!value_fits(key, text, &number)) {
        if (key->type == CONF_CHOICE)
            return err_set(err, -CAIRN_ECONFIG,
                           "%s: %s = '%s': it must be one of: %s", origin,
                           key->name, text, key->choices);
        return err_set(err, -CAIRN_ECONFIG, "%s: %s = '%s': it must be %s",
                       origin, key->name, text, type_form(key->type));
    }
    if (key->max != 0 && (number < key->min || number > key->max))
        return err_set(err, -CAIRN_ECONFIG,
                       "%s: %s = '%s': it must lie between %" PRIu64
                       " and %" PRIu64,
                       origin, key->name, text, key->min, key->max);
    free(value->text);
    value->text = strdup(text);
    if (value->text == NULL)
        return err_sys(err, -ENOMEM, "configuration");
    value->number = number;
    (void)snprintf(value->origin, sizeof value->origin, "%s", origin);
    return 0;
}

static bool
find_key(const struct conf *conf, const char *name, size_t *ret_index)
{
    for (size_t i = 0; i < conf->count; i++)
        if (strcmp(conf->keys[i].name, name) == 0) {
            *ret_index = i;
            return true;
        }
    return false;
}

/* Whether some key lies below this section. */
static bool
is_section(const struct conf *conf, const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < conf->count; i++)
        if (strncmp(conf->keys[i].name, name, len) == 0 &&
            conf->keys[i].name[len] == '.')
            return true;
    return false;
}

/* ---- files ------------------------------------------------------------- */

/*
 * The line of the n-th item with this full name.  zconfig does not keep lines,
 * so the indentation is read once more, as it read it.
 */
static unsigned
line_of(const char *text, const char *name, unsigned nth)
{
    char parts[NAME_PARTS_MAX][128] = { "" };
    unsigned number = 0;

    for (const char *line = text; *line != '\0';) {
        const char *end = strchrnul(line, '\n');
        size_t indent = strspn(line, " ");
        size_t level = indent / 4;
        size_t len = strcspn(line + indent, " \t=#\r\n");

        number++;
        if (len > 0 && len < sizeof parts[0] && level < NAME_PARTS_MAX) {
            char full[NAME_PARTS_MAX * 130];
            size_t used = 0;

            memcpy(parts[level], line + indent, len);
            parts[level][len] = '\0';
            for (size_t i = 0; i <= level; i++)
                used += (size_t)snprintf(full + used, sizeof full - used,
                                         i == 0 ? "%s" : ".%s", parts[i]);
            if (strcmp(full, name) == 0 && nth-- == 0)
                return number;
        }
        line = *end == '\0' ? end : end + 1;
    }
    return 0;
}

/* One file while it is read. */
struct source {
    struct conf *conf;
    const char *path;
    const char *text;
};

static void
origin_of(const struct source *source, const char *name, unsigned nth,
          char origin[ORIGIN_LEN])
{
    (void)snprintf(origin, ORIGIN_LEN, "%s:%u", source->path,
                   line_of(source->text, name, nth));
}

static int
take_items(struct source *source, zconfig_t *item, const char *section,
           struct err *err)
{
    struct conf *conf = source->conf;

    for (; item != NULL; item = zconfig_next(item)) {
        char name[256], origin[ORIGIN_LEN];
        size_t index;
        int rc;

        if (snprintf(name, sizeof name, "%s%s%s", section, *section ? "." : "",
                     zconfig_name(item)) >= (int)sizeof name)
            return err_set(err, -CAIRN_ECONFIG, "%s: a name is too long",
                           source->path);
        if (find_key(conf, name, &index)) {
            if (conf->values[index].given_by == source) {
                origin_of(source, name, 1, origin);
                return err_set(err, -CAIRN_ECONFIG,
                               "%s: %s is given a second time", origin, name);
            }
            conf->values[index].given_by = source;
            origin_of(source, name, 0, origin);
            rc = set_value(conf, index, zconfig_value(item), origin, err);
        } else if (zconfig_child(item) != NULL) {
            rc = take_items(source, zconfig_child(item), name, err);
        } else if (is_section(conf, name)) {
            rc = 0; /* a section without a key in it */
        } else {
            origin_of(source, name, 0, origin);
            rc = err_set(err, -CAIRN_ECONFIG,
                         "%s: unknown key %s (see --help for the known ones)",
                         origin, name);
        }
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* What zconfig says about bad syntax goes to czmq's log: catch it there. */
static zconfig_t *
parse_text(const char *text, char *complaint, size_t complaint_len)
{
    FILE *catcher = fmemopen(complaint, complaint_len - 1, "w");
    zconfig_t *root;
    char *at;

    memset(complaint, 0, complaint_len);
    if (catcher != NULL)
        zsys_set_logstream(catcher);
    root = zconfig_str_load(text);
    zsys_set_logstream(stderr);
    if (catcher != NULL)
        (void)fclose(catcher); /* memory */
    at = strstr(complaint, "(zconfig): ");
    if (at != NULL) {
        at += strlen("(zconfig): ");
        memmove(complaint, at, strlen(at) + 1);
    }
    complaint[strcspn(complaint, "\n")] = '\0';
    return root;
}

static int
load_file(struct conf *conf, const char *path, struct err *err)
{
    struct source source = { .conf = conf, .path = path };
    char complaint[256], *text;
    zconfig_t *root;
    int rc = text_read(path, 0, &text, err);

    if (rc < 0)
        return err_wrap(err, "configuration");
    source.text = text;
    root = parse_text(text, complaint, sizeof complaint);
    if (root == NULL)
        rc = err_set(err, -CAIRN_ECONFIG,
                     "configuration %s: line %s (sections are indented by "
                     "four spaces, values stand behind =)",
                     path, complaint[0] != '\0' ? complaint : "not readable");
    else
        rc = take_items(&source, zconfig_child(root), "", err);
    for (size_t i = 0; i < conf->count; i++)
        conf->values[i].given_by = NULL;
    zconfig_destroy(&root);
    free(text);
    return rc;
}

static int
is_drop_in(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);

    return entry->d_name[0] != '.' && len > 5 &&
        strcmp(entry->d_name + len - 5, ".conf") == 0;
}

static int
load_drop_ins(struct conf *conf, const char *file, struct err *err)
{
    struct dirent **names = NULL;
    char path[PATH_MAX];
    int count, rc = 0;

    (void)snprintf(path, sizeof path, "%s.d", file);
    count = scandir(path, &names, is_drop_in, alphasort);
    if (count < 0)
        return errno == ENOENT || errno == ENOTDIR
            ? 0
            : err_sys(err, -errno, "configuration %s", path);
    for (int i = 0; i < count; i++) {
        if (rc == 0) {
            (void)snprintf(path, sizeof path, "%s.d/%s", file,
                           names[i]->d_name);
            rc = load_file(conf, path, err);
        }
        free(names[i]);
    }
    free(names);
    return rc;
}

static int
take_override(struct conf *conf, const char *text, struct err *err)
{
    const char *equals = strchr(text, '=');
    char name[256];
    size_t index;

    if (equals == NULL || (size_t)(equals - text) >= sizeof name)
        return err_set(err, -CAIRN_ECONFIG,
                       "-o %s: it must look like key=value", text);
    memcpy(name, text, (size_t)(equals - text));
    name[equals - text] = '\0';
    if (!find_key(conf, name, &index))
        return err_set(err, -CAIRN_ECONFIG,
                       "-o %s: unknown key %s (see --help for the known ones)",
                       text, name);
    return set_value(conf, index, equals + 1, "command line", err);
}

/* ---- the whole --------------------------------------------------------- */

static int
set_defaults(struct conf *conf, struct err *err)
{
    for (size_t i = 0; i < conf->count; i++) {
        int rc;

        if (conf->keys[i].fallback == NULL)
            continue;
        rc = set_value(conf, i, conf->keys[i].fallback, "default", err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int
check_given(const struct conf *conf, const char *file, struct err *err)
{
    for (size_t i = 0; i < conf->count; i++)
        if (conf->values[i].text == NULL)
            return err_set(err, -CAIRN_ECONFIG,
                           "configuration%s%s: %s must be given: %s",
                           file == NULL ? "" : " ", file == NULL ? "" : file,
                           conf->keys[i].name, conf->keys[i].help);
    return 0;
}

int
conf_load(const struct conf_key *keys, const char *file,
          const char *const *overrides, struct conf **ret_conf, struct err *err)
{
    struct conf *conf = calloc(1, sizeof *conf);
    int rc = 0;

    if (conf == NULL)
        return err_sys(err, -ENOMEM, "configuration");
    conf->keys = keys;
    while (keys[conf->count].name != NULL)
        conf->count++;
    conf->values = calloc(conf->count + 1, sizeof *conf->values);
    if (conf->values == NULL)
        rc = err_sys(err, -ENOMEM, "configuration");
    if (rc == 0)
        rc = set_defaults(conf, err);
    if (rc == 0 && file != NULL)
        rc = load_file(conf, file, err);
    if (rc == 0 && file != NULL)
        rc = load_drop_ins(conf, file, err);
    for (size_t i = 0; rc == 0 && overrides != NULL && overrides[i]; i++)
        rc = take_override(conf, overrides[i], err);
    if (rc == 0)
        rc = check_given(conf, file, err);
    if (rc < 0)
        conf_free(&conf);
    else
        *ret_conf = conf;
    return rc;
}

void
conf_free(struct conf **conf)
{
    struct conf *c = *conf;

    *conf = NULL;
    if (c == NULL)
        return;
    for (size_t i = 0; c->values != NULL && i < c->count; i++)
        free(c->values[i].text);
    free(c->values);
    free(c);
}

static const struct value *
value_of(const struct conf *conf, const char *name)
{
    size_t index = 0;
    bool known = find_key(conf, name, &index);

    assert(known);
    return &conf->values[index];
}

const char *
conf_text(const struct conf *conf, const char *name)
{
    return value_of(conf, name)->text;
}

uint64_t
conf_number(const struct conf *conf, const char *name)
{
    return value_of(conf, name)->number;
}

const char *
conf_endpoint(const struct conf *conf, const char *name)
{
    const char *text = conf_text(conf, name);

    return strcmp(text, "-") == 0 ? NULL : text;
}

const char *
conf_origin(const struct conf *conf, const char *name)
{
    return value_of(conf, name)->origin;
}

void
conf_print_keys(const struct conf_key *keys)
{
    for (; keys->name != NULL; keys++) {
        printf("  %s = %s\n      %s", keys->name,
               keys->fallback == NULL ? "(must be given)" : keys->fallback,
               keys->help);
        if (keys->type == CONF_CHOICE)
            printf(" (one of: %s)", keys->choices);
        else if (keys->max != 0)
            printf(" (%" PRIu64 " to %" PRIu64 ")", keys->min, keys->max);
        printf("\n");
    }
}
