/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/tmpdir.h"
#include "wire/curve.h"
#include "wire/rights.h"

#define KEY_A "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
#define KEY_B "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"

static char *dir;

static int
setup(void **state)
{
    (void)state;
    dir = tmpdir_make();
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    tmpdir_remove(&dir);
    return 0;
}

static struct rights *
load(const char *text)
{
    const char *path = tmpdir_path(dir, "rights.conf");
    struct rights *rights;
    struct err err;

    file_write(path, text, strlen(text));
    if (rights_load(path, &rights, &err) < 0)
        fail_msg("%s", err.text);
    return rights;
}

/* Loads a text that must be refused, in this line, with these words. */
static void
refused(const char *text, unsigned line, const char *words)
{
    const char *path = tmpdir_path(dir, "rights.conf");
    struct rights *rights;
    struct err err;
    char place[32];

    file_write(path, text, strlen(text));
    assert_int_equal(rights_load(path, &rights, &err), -CAIRN_ECONFIG);
    (void)snprintf(place, sizeof place, "rights.conf:%u:", line);
    if (strstr(err.text, place) == NULL || strstr(err.text, words) == NULL)
        fail_msg("'%s' does not say '%s' and '%s'", err.text, place, words);
}

static bool
stream(const struct principal *p, enum right right, const char *name)
{
    return may_stream(p, right, name, strlen(name));
}

static bool
category(const struct principal *p, enum right right, const char *name)
{
    return may_category(p, right, name, strlen(name));
}

static void
what_no_line_gives_is_denied(void **state)
{
    struct rights *rights = load("shop\n"
                                 "    key = \"" KEY_A "\" # a comment\n");
    const struct principal *p = rights_find(rights, KEY_A);

    (void)state;
    assert_non_null(p);
    assert_string_equal(principal_name(p), "shop");
    assert_false(stream(p, RIGHT_APPEND, "order-1"));
    assert_false(stream(p, RIGHT_READ, "order-1"));
    assert_false(category(p, RIGHT_READ, "order"));
    assert_false(may_all(p, RIGHT_READ));
    assert_false(may_send(p, "ShipOrder", 9));
    assert_null(rights_find(rights, KEY_B));
    rights_free(&rights);
}

static void
a_right_covers_what_it_names_and_no_more(void **state)
{
    struct rights *rights = load("# rights\n"
                                 "shop\n"
                                 "    key = '" KEY_A "'\n"
                                 "    append = \"category:order\"\n"
                                 "    append = stream:audit\n"
                                 "    read = \"prefix:order-eu-\"\n"
                                 "    read = \"prefix:cart\"\n"
                                 "    send = \"command:ShipOrder\"\n");
    const struct principal *p = rights_find(rights, KEY_A);

    (void)state;
    assert_true(stream(p, RIGHT_APPEND, "order-1"));
    assert_true(stream(p, RIGHT_APPEND, "order"));
    assert_true(stream(p, RIGHT_APPEND, "order-"));
    assert_false(stream(p, RIGHT_APPEND, "orders-1"));
    assert_false(stream(p, RIGHT_APPEND, "orde"));
    assert_true(stream(p, RIGHT_APPEND, "audit"));
    assert_false(stream(p, RIGHT_APPEND, "audit-1"));
    assert_false(stream(p, RIGHT_APPEND, "audi"));
    assert_false(stream(p, RIGHT_APPEND, "cart-1"));

    assert_true(stream(p, RIGHT_READ, "order-eu-7"));
    assert_false(stream(p, RIGHT_READ, "order-us-7"));
    assert_false(stream(p, RIGHT_READ, "order-eu"));
    /* A part of a category is not the category; a prefix of its name is. */
    assert_false(category(p, RIGHT_READ, "order"));
    assert_true(category(p, RIGHT_READ, "cart"));
    assert_true(category(p, RIGHT_READ, "carts"));
    assert_false(category(p, RIGHT_READ, "car"));
    assert_false(may_all(p, RIGHT_READ));
    assert_false(may_all(p, RIGHT_APPEND));

    assert_true(may_send(p, "ShipOrder", 9));
    assert_false(may_send(p, "ShipOrders", 10));
    rights_free(&rights);
}

static void
all_and_administer_are_everything(void **state)
{
    struct rights *rights = load("backup\n"
                                 "    key = \"" KEY_A "\"\n"
                                 "    read = all\n"
                                 "operator\n"
                                 "    key = \"" KEY_B "\"\n"
                                 "    administer = yes\n");
    const struct principal *a = rights_find(rights, KEY_A);
    const struct principal *b = rights_find(rights, KEY_B);

    (void)state;
    assert_int_equal(rights_count(rights), 2);
    assert_true(may_all(a, RIGHT_READ));
    assert_true(category(a, RIGHT_READ, "x"));
    assert_false(may_all(a, RIGHT_APPEND));
    assert_false(stream(a, RIGHT_APPEND, "x"));
    assert_true(may_all(b, RIGHT_READ));
    assert_true(may_all(b, RIGHT_APPEND));
    assert_true(may_send(b, "x", 1));
    assert_ptr_equal(rights_at(rights, 1), b);
    assert_null(rights_at(rights, 2));
    rights_free(&rights);
}

static void
nobody_in_particular_comes_over_ipc_and_may_all(void **state)
{
    (void)state;
    assert_true(may_all(NULL, RIGHT_READ));
    assert_true(stream(NULL, RIGHT_APPEND, "x"));
}

static void
a_bad_line_is_named(void **state)
{
    (void)state;
    refused("    key = \"" KEY_A "\"\n", 1, "indented too far");
    refused("a\n  key = x\n", 2, "four spaces");
    refused("a\n\tkey = x\n", 2, "four spaces");
    refused("a\n    key = \"" KEY_A "\n", 2, "closing quote");
    refused("a\n    key = \"short\"\n", 2, "40 characters");
    refused("a\n    read = all\n", 1, "its key is missing");
    refused("a = 1\n", 1, "stands alone");
    refused("a\n    key = \"" KEY_A "\"\n    key = \"" KEY_B "\"\n", 3,
            "a second time");
    refused("a\n    key = \"" KEY_A "\"\nb\n    key = \"" KEY_A "\"\n", 3,
            "the same key as a in line 1");
    refused("a\n    key = \"" KEY_A "\"\na\n", 3, "a second time");
    refused("a\n    key = \"" KEY_A "\"\n    wirte = all\n", 3, "unknown");
    refused("a\n    key = \"" KEY_A "\"\n    read = order\n", 3, "prefix:TEXT");
    refused("a\n    key = \"" KEY_A "\"\n    read = \"category:a-b\"\n", 3,
            "first '-'");
    refused("a\n    key = \"" KEY_A "\"\n    read = \"stream:\"\n", 3,
            "must be a name");
    refused("a\n    key = \"" KEY_A "\"\n    read\n", 3, "a value is missing");
    refused("a\n    key = \"" KEY_A "\"\n    send = \"stream:x\"\n", 3,
            "command:NAME");
    refused("a\n    key = \"" KEY_A "\"\n    administer = 1\n", 3, "yes");
    refused("a\n    key = \"" KEY_A "\"\n        x = 1\n", 3, "too far");
    refused("a b\n", 1, "behind the value");
    refused("!\n", 1, "a name must stand here");
}

/* As many keys as may be, each with a number for a name. */
static size_t
write_keys(char *text, unsigned count)
{
    size_t len = 0;

    for (unsigned i = 0; i < count; i++)
        len += (size_t)sprintf(text + len, "k%u\n    key = \"%040u\"\n", i, i);
    return len;
}

static void
keys_and_lines_have_limits_that_are_named(void **state)
{
    enum { ROOM = 1 << 20 };
    char *text = malloc(ROOM);
    struct rights *rights;
    size_t len;

    (void)state;
    assert_non_null(text);
    len = (size_t)sprintf(text, "a\n    key = \"%s\"\n", KEY_A);
    for (unsigned i = 0; i < RIGHTS_RULES_MAX; i++)
        len += (size_t)sprintf(text + len, "    read = \"stream:s%u\"\n", i);
    rights = load(text);
    rights_free(&rights);
    (void)strcpy(text + len, "    read = \"stream:more\"\n");
    refused(text, RIGHTS_RULES_MAX + 3, "at most 1000");

    len = write_keys(text, RIGHTS_KEYS_MAX);
    rights = load(text);
    rights_free(&rights);
    (void)strcpy(text + len, "more\n");
    refused(text, 2 * RIGHTS_KEYS_MAX + 1, "at most 10000");
    free(text);
}

static void
a_file_that_others_may_write_is_refused(void **state)
{
    const char *path = tmpdir_path(dir, "rights.conf");
    struct rights *rights;
    struct err err;

    (void)state;
    file_write(path, "", 0);
    assert_int_equal(chmod(path, 0666), 0);
    assert_int_equal(rights_load(path, &rights, &err), -CAIRN_ECONFIG);
    assert_non_null(strstr(err.text, "chmod go-w"));
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(rights_load(path, &rights, &err), 0);
    rights_free(&rights);
}

/* ---- key files --------------------------------------------------------- */

static void
a_key_file_gives_back_what_was_saved(void **state)
{
    const char *path = tmpdir_path(dir, "k"), *pub = tmpdir_path(dir, "k.pub");
    char public[CURVE_KEY_LEN + 1];
    struct curve_key key, back;
    struct stat st;
    struct err err;

    (void)state;
    assert_int_equal(curve_key_new(&key, &err), 0);
    assert_int_equal(curve_key_save(path, &key, &err), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(curve_key_load(path, true, &back, &err), 0);
    assert_string_equal(back.secret_key, key.secret_key);
    assert_string_equal(back.public_key, key.public_key);
    assert_int_equal(curve_public_key(pub, public, &err), 0);
    assert_string_equal(public, key.public_key);
    assert_int_equal(curve_public_key(key.public_key, public, &err), 0);
    assert_int_equal(curve_key_load(pub, true, &back, &err), -CAIRN_ECONFIG);
    /* A key is never written over. */
    assert_int_equal(curve_key_save(path, &key, &err), -EEXIST);
    assert_int_equal(remove(pub), 0);
    assert_int_equal(curve_key_save(path, &key, &err), -EEXIST);
    assert_int_equal(stat(pub, &st), -1);
}

static void
a_secret_that_others_may_read_is_refused(void **state)
{
    static const mode_t bad[] = { 0640, 0604, 0620, 0602, 0610, 0601 };
    const char *path = tmpdir_path(dir, "k");
    struct curve_key key;
    struct err err;

    (void)state;
    assert_int_equal(curve_key_new(&key, &err), 0);
    assert_int_equal(curve_key_save(path, &key, &err), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(chmod(path, bad[i]), 0);
        assert_int_equal(curve_secret_key(path, &key, &err), -CAIRN_ECONFIG);
        assert_non_null(strstr(err.text, "chmod 0600"));
    }
    assert_int_equal(chmod(path, 0400), 0);
    assert_int_equal(curve_secret_key(path, &key, &err), 0);
}

static void
a_credential_is_found_below_its_directory_and_nowhere_else(void **state)
{
    const char *path = tmpdir_path(dir, "server.key");
    struct curve_key key, back;
    struct err err;

    (void)state;
    assert_int_equal(curve_key_new(&key, &err), 0);
    assert_int_equal(curve_key_save(path, &key, &err), 0);
    unsetenv("CREDENTIALS_DIRECTORY");
    assert_int_equal(curve_secret_key("credential:server.key", &back, &err),
                     -CAIRN_ECONFIG);
    assert_non_null(strstr(err.text, "LoadCredential="));
    setenv("CREDENTIALS_DIRECTORY", dir, 1);
    assert_int_equal(curve_secret_key("credential:server.key", &back, &err), 0);
    assert_string_equal(back.secret_key, key.secret_key);
    assert_int_equal(curve_secret_key("credential:../k", &back, &err),
                     -CAIRN_ECONFIG);
    assert_int_equal(curve_secret_key("credential:", &back, &err),
                     -CAIRN_ECONFIG);
    unsetenv("CREDENTIALS_DIRECTORY");
}

static void
halves_that_are_no_pair_are_refused(void **state)
{
    const char *path = tmpdir_path(dir, "k");
    struct curve_key key, other, back;
    struct err err;

    (void)state;
    assert_int_equal(curve_key_new(&key, &err), 0);
    assert_int_equal(curve_key_new(&other, &err), 0);
    memcpy(key.public_key, other.public_key, sizeof key.public_key);
    assert_int_equal(curve_key_save(path, &key, &err), 0);
    assert_int_equal(curve_key_load(path, true, &back, &err), -CAIRN_ECONFIG);
    assert_non_null(strstr(err.text, "no pair"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_no_line_gives_is_denied, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            a_right_covers_what_it_names_and_no_more, setup, teardown),
        cmocka_unit_test_setup_teardown(all_and_administer_are_everything,
                                        setup, teardown),
        cmocka_unit_test(nobody_in_particular_comes_over_ipc_and_may_all),
        cmocka_unit_test_setup_teardown(a_bad_line_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(
            keys_and_lines_have_limits_that_are_named, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_that_others_may_write_is_refused,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_key_file_gives_back_what_was_saved,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_secret_that_others_may_read_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_credential_is_found_below_its_directory_and_nowhere_else, setup,
            teardown),
        cmocka_unit_test_setup_teardown(halves_that_are_no_pair_are_refused,
                                        setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
