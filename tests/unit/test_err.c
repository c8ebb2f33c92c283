/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/cmocka.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"

static void
every_code_has_a_text_of_its_own(void **state)
{
    (void)state;
    for (int a = CAIRN_ERROR_BASE + 1; a < CAIRN_ERROR_END; a++) {
        assert_non_null(err_text(-a));
        assert_string_not_equal(err_text(-a), "an error without a name");
        for (int b = CAIRN_ERROR_BASE + 1; b < a; b++)
            assert_string_not_equal(err_text(-a), err_text(-b));
    }
    assert_string_equal(err_text(-CAIRN_EDAMAGED), "the log is damaged");
    assert_string_equal(err_text(-CAIRN_EPROJECTION), "the projection failed");
}

static void
codes_of_the_kernel_keep_its_text(void **state)
{
    (void)state;
    assert_string_equal(err_text(0), "done");
    assert_string_equal(err_text(-ENOSPC), "No space left on device");
    assert_string_equal(err_text(-ENOENT), "No such file or directory");
}

static void
an_unknown_code_still_has_a_text(void **state)
{
    static const int codes[] = {
        1, ENOSPC, -9999, -CAIRN_ERROR_BASE, 9999, -CAIRN_ERROR_END, -20000
    };

    (void)state;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        assert_string_equal(err_text(codes[i]), "an error without a name");
}

static void
a_message_grows_on_its_way_up(void **state)
{
    struct err err;

    (void)state;
    assert_int_equal(err_set(&err, -CAIRN_EDAMAGED, "byte %d: bad", 7),
                     -CAIRN_EDAMAGED);
    assert_int_equal(err_wrap(&err, "segment %d", 3), -CAIRN_EDAMAGED);
    assert_int_equal(err_wrap(&err, "log %s", "x"), -CAIRN_EDAMAGED);
    assert_string_equal(err.text, "log x: segment 3: byte 7: bad");
    assert_int_equal(err.code, -CAIRN_EDAMAGED);
    assert_int_equal(err_sys(&err, -ENOSPC, "cannot write %s", "f"), -ENOSPC);
    assert_string_equal(err.text, "cannot write f: No space left on device");
}

static void
a_long_message_is_cut_and_ends(void **state)
{
    struct err err;
    char *long_text = malloc(3 * ERR_TEXT_LEN);

    (void)state;
    memset(long_text, 'y', 3 * ERR_TEXT_LEN);
    long_text[3 * ERR_TEXT_LEN - 1] = '\0';
    (void)err_set(&err, -EIO, "%s", long_text);
    assert_int_equal(strlen(err.text), ERR_TEXT_LEN - 1);
    assert_int_equal(err_wrap(&err, "in front"), -EIO);
    assert_int_equal(strlen(err.text), ERR_TEXT_LEN - 1);
    assert_memory_equal(err.text, "in front: y", 11);
    (void)err_wrap(&err, "%s", long_text);
    assert_int_equal(strlen(err.text), ERR_TEXT_LEN - 1);
    (void)err_sys(&err, -EIO, "%s", long_text);
    assert_int_equal(strlen(err.text), ERR_TEXT_LEN - 1);
    /* Exactly full: there is no room for the text of the code. */
    long_text[ERR_TEXT_LEN - 1] = '\0';
    (void)err_sys(&err, -EIO, "%s", long_text);
    assert_string_equal(err.text, long_text);
    free(long_text);
}

static void
no_err_is_fine(void **state)
{
    (void)state;
    assert_int_equal(err_set(NULL, -ENOENT, "x"), -ENOENT);
    assert_int_equal(err_sys(NULL, -ENOENT, "x"), -ENOENT);
    assert_true(err_wrap(NULL, "x") < 0);
}

static void
exit_codes_tell_systemd_what_to_do(void **state)
{
    static const struct {
        int code, exit_code;
    } pairs[] = {
        { 0, 0 },
        { -CAIRN_EUSAGE, 64 },
        { -CAIRN_ECONFIG, 78 },
        { -CAIRN_EDAMAGED, 65 },
        { -CAIRN_EAMBIGUOUS, 65 },
        { -CAIRN_EFORMAT, 65 },
        { -CAIRN_ENOTLOG, 65 },
        { -CAIRN_EOTHERLOG, 65 },
        { -CAIRN_ELOCKED, 75 },
        { -EADDRINUSE, 75 },
        { -EACCES, 77 },
        { -EPERM, 77 },
        { -EIO, 74 },
        { -ENOSPC, 74 },
        { -EDQUOT, 74 },
        { -EROFS, 74 },
        { -ENOMEM, 1 },
        { -CAIRN_ECONFLICT, 1 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        assert_int_equal(err_exit_code(pairs[i].code), pairs[i].exit_code);
}

/* However the kernel calls it: EUCLEAN is what xfs says of its own damage. */
static void
a_sick_device_is_never_asked_again(void **state)
{
    static const int sick[] = { EIO,     ENOSPC,  EDQUOT,  EROFS,    EUCLEAN,
                                ENODATA, ENXIO,   EILSEQ,  EFBIG,    EREMOTEIO,
                                ENODEV,  ENOLINK, EBADMSG, ETIMEDOUT };

    (void)state;
    for (size_t i = 0; i < sizeof sick / sizeof *sick; i++)
        assert_int_equal(err_store_exit_code(-sick[i]), EXIT_STORAGE);
    assert_int_equal(err_store_exit_code(-ENOMEM), EXIT_FAILED);
    assert_int_equal(err_store_exit_code(-EMFILE), EXIT_FAILED);
    assert_int_equal(err_store_exit_code(-CAIRN_EDAMAGED), EXIT_DAMAGED);
    assert_int_equal(err_store_exit_code(-CAIRN_ERECORD), EXIT_FAILED);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_a_text_of_its_own),
        cmocka_unit_test(codes_of_the_kernel_keep_its_text),
        cmocka_unit_test(an_unknown_code_still_has_a_text),
        cmocka_unit_test(a_message_grows_on_its_way_up),
        cmocka_unit_test(a_long_message_is_cut_and_ends),
        cmocka_unit_test(no_err_is_fine),
        cmocka_unit_test(exit_codes_tell_systemd_what_to_do),
        cmocka_unit_test(a_sick_device_is_never_asked_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
