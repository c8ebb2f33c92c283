/* SPDX-License-Identifier: MPL-2.0 */
/* key - the command: keys for tcp, and the rights that they have. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/zpl.h"
#include "cairn/cli.h"
#include "wire/curve.h"
#include "wire/rights.h"

#define RIGHTS_FILE "/etc/cairn/rights.conf"
#define LINES_MAX 64

static const char help[] =
    "cairn key - keys for tcp, and the rights that they have\n\n"
    "usage: cairn key new FILE\n"
    "       cairn key show FILE\n"
    "       cairn key authorize [options] NAME KEY\n"
    "       cairn key ls [--rights FILE]\n\n"
    "new makes a key: FILE is the secret (mode 0600), FILE.pub may be given "
    "to\n"
    "anybody.  show prints the public half of either.  authorize adds NAME "
    "with\n"
    "a public key (itself, or its file) to the rights file, which the gateway\n"
    "and the publisher read again on SIGHUP.  ls checks that file and lists "
    "it.\n\n"
    "  --rights FILE       the rights file (" RIGHTS_FILE ")\n"
    "  --append WHAT       what it may append to: all, stream:NAME,\n"
    "                      prefix:TEXT or category:NAME; may be repeated\n"
    "  --read WHAT         what it may read, likewise\n"
    "  --send WHAT         all or command:NAME, for handlers, likewise\n"
    "  --administer        everything\n"
    "  --json              answers as JSON\n";

/* What `authorize` is asked for. */
struct grant {
    const char *rights; /* the file */
    const char *rights_words[LINES_MAX], *about[LINES_MAX];
    int count;
};

static int
new_key(const char *path, struct err *err)
{
    struct curve_key key;
    int rc = curve_key_new(&key, err);

    if (rc == 0)
        rc = curve_key_save(path, &key, err);
    if (rc == 0)
        printf("%s\n", key.public_key);
    explicit_bzero(&key, sizeof key);
    return rc;
}

static int
show_key(struct cli *cli, const char *path, struct err *err)
{
    char key[CURVE_KEY_LEN + 1];
    int rc = curve_public_key(path, key, err);

    if (rc == 0)
        printf(cli->json ? "{\"public\":\"%s\"}\n" : "%s\n", key);
    return rc;
}

/* ---- authorize --------------------------------------------------------- */

/* The text of the file as it is; none yet is an empty one. */
static int
read_rights(const char *path, char **ret_text, mode_t *ret_mode,
            struct err *err)
{
    struct stat st;

    *ret_mode = 0644;
    if (stat(path, &st) < 0 && errno == ENOENT) {
        *ret_text = strdup("# What the holders of keys may do; see "
                           "cairn-rights.conf(5).\n");
        return *ret_text == NULL ? err_sys(err, -ENOMEM, "%s", path) : 0;
    }
    *ret_mode = st.st_mode & 0777;
    return text_read(path, S_IWOTH, ret_text, err);
}

/* Writes the old text and the new section; the file is complete, or not there.
 */
static int
write_rights(const char *path, mode_t mode, const char *text, const char *name,
             const char *key, const struct grant *grant, struct err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    size_t len = strlen(text);
    bool good;

    if (fd < 0)
        return err_sys(err, -errno, "%s", path);
    good = fchmod(fd, mode) == 0 &&
        dprintf(fd, "%s%s%s\n    key = \"%s\"\n", text,
                len > 0 && text[len - 1] != '\n' ? "\n" : "", name, key) > 0;
    for (int i = 0; good && i < grant->count; i++) {
        const char *quote = strchr(grant->about[i], '"') == NULL ? "\"" : "'";

        good = dprintf(fd, "    %s = %s%s%s\n", grant->rights_words[i], quote,
                       grant->about[i], quote) > 0;
    }
    good = good && fsync(fd) == 0;
    if (close(fd) < 0 || !good)
        return err_sys(err, -errno, "%s", path);
    return 0;
}

/* Replaces the file by one with the new section, which is checked first. */
static int
authorize(const struct grant *grant, const char *name, const char *public,
          struct err *err)
{
    char key[CURVE_KEY_LEN + 1], path[PATH_MAX], *text = NULL;
    struct rights *rights = NULL;
    mode_t mode;
    int rc = curve_public_key(public, key, err);

    if (rc < 0)
        return rc;
    if (snprintf(path, sizeof path, "%s.new", grant->rights) >=
        (int)sizeof path)
        return err_sys(err, -ENAMETOOLONG, "%s", grant->rights);
    rc = read_rights(grant->rights, &text, &mode, err);
    if (rc < 0)
        return rc;
    rc = write_rights(path, mode, text, name, key, grant, err);
    free(text);
    if (rc == 0)
        rc = rights_load(path, &rights, err);
    if (rc == 0 && rename(path, grant->rights) < 0)
        rc = err_sys(err, -errno, "%s", grant->rights);
    rights_free(&rights);
    if (rc < 0) {
        (void)unlink(path); /* the old file has not been touched */
        return err_wrap(err, "%s stays as it was", grant->rights);
    }
    printf("%s may come with key %s; send SIGHUP to the gateway and the "
           "publisher\n",
           name, key);
    return 0;
}

static int
list_rights(struct cli *cli, const char *path, struct err *err)
{
    const struct principal *p;
    struct rights *rights;
    int rc = rights_load(path, &rights, err);

    if (rc < 0)
        return rc;
    for (size_t i = 0; (p = rights_at(rights, i)) != NULL; i++)
        if (cli->json)
            printf("{\"name\":\"%s\",\"key\":\"%s\"}\n", principal_name(p),
                   principal_key(p));
        else
            printf("%s  %s\n", principal_key(p), principal_name(p));
    rights_free(&rights);
    return 0;
}

/* ---- options ----------------------------------------------------------- */

enum { OPT_RIGHTS = 256, OPT_APPEND, OPT_READ, OPT_SEND, OPT_ADMINISTER };

static const struct option long_options[] = {
    { "rights", required_argument, NULL, OPT_RIGHTS },
    { "append", required_argument, NULL, OPT_APPEND },
    { "read", required_argument, NULL, OPT_READ },
    { "send", required_argument, NULL, OPT_SEND },
    { "administer", no_argument, NULL, OPT_ADMINISTER },
    CLI_COMMON_OPTIONS,
    { 0 },
};

/* Takes an option of `authorize`; false if it is none, or too many. */
static bool
take_option(struct grant *grant, int c, const char *value)
{
    static const char *const words[] = { "append", "read", "send",
                                         "administer" };

    if (c == OPT_RIGHTS) {
        grant->rights = value;
        return true;
    }
    if (c < OPT_APPEND || c > OPT_ADMINISTER || grant->count == LINES_MAX)
        return false;
    grant->rights_words[grant->count] = words[c - OPT_APPEND];
    grant->about[grant->count++] = c == OPT_ADMINISTER ? "yes" : value;
    return true;
}

int
cli_key(struct cli *cli, int argc, char **argv)
{
    struct grant grant = { .rights = RIGHTS_FILE };
    const char *verb;
    struct err err;
    int c, rc;

    while ((c = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
        if (c == 'h') {
            fputs(help, stdout);
            return CLI_DONE;
        }
        if (c == '?' ||
            (!cli_common_option(cli, c, optarg) &&
             !take_option(&grant, c, optarg)))
            return cli_usage("key", "the options are wrong");
    }
    argc -= optind;
    argv += optind;
    verb = argc > 0 ? argv[0] : "";
    if (strcmp(verb, "new") == 0 && argc == 2)
        rc = new_key(argv[1], &err);
    else if (strcmp(verb, "show") == 0 && argc == 2)
        rc = show_key(cli, argv[1], &err);
    else if (strcmp(verb, "authorize") == 0 && argc == 3)
        rc = authorize(&grant, argv[1], argv[2], &err);
    else if (strcmp(verb, "ls") == 0 && argc == 1)
        rc = list_rights(cli, grant.rights, &err);
    else
        return cli_usage("key",
                         "say new FILE, show FILE, authorize NAME KEY, "
                         "or ls");
    return rc < 0 ? cli_fail(&err) : CLI_DONE;
}
