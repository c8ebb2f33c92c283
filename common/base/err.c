/* SPDX-License-Identifier: MPL-2.0 */
#include "base/err.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

const char *
err_text(int code)
{
    static const char *const texts[] = {
#define CAIRN_ERROR_TEXT(name, text) text,
        CAIRN_ERRORS(CAIRN_ERROR_TEXT)
#undef CAIRN_ERROR_TEXT
    };
    int own = -code - CAIRN_ERROR_BASE - 1;

    if (code == 0)
        return "done";
    if (own >= 0 && -code < CAIRN_ERROR_END)
        return texts[own];
    if (code < 0 && -code < CAIRN_ERROR_BASE) {
        const char *text = strerrordesc_np(-code);

        if (text != NULL)
            return text;
    }
    return "an error without a name";
}

int
err_set(struct err *err, int code, const char *format, ...)
{
    va_list args;

    if (err == NULL)
        return code;
    err->code = code;
    va_start(args, format);
    (void)vsnprintf(err->text, sizeof err->text, format, args); /* may cut */
    va_end(args);
    return code;
}

int
err_sys(struct err *err, int code, const char *format, ...)
{
    va_list args;
    int len;

    if (err == NULL)
        return code;
    err->code = code;
    va_start(args, format);
    len = vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    if (len >= 0 && (size_t)len < sizeof err->text)
        (void)snprintf(err->text + len, sizeof err->text - (size_t)len, ": %s",
                       err_text(code));
    return code;
}

int
err_wrap(struct err *err, const char *format, ...)
{
    char inner[ERR_TEXT_LEN];
    va_list args;
    int len;

    if (err == NULL)
        return -EINVAL;
    memcpy(inner, err->text, sizeof inner);
    va_start(args, format);
    len = vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    if (len >= 0 && (size_t)len < sizeof err->text)
        (void)snprintf(err->text + len, sizeof err->text - (size_t)len, ": %s",
                       inner);
    return err->code;
}

int
err_exit_code(int code)
{
    switch (-code) {
    case 0:
        return EXIT_DONE;
    case CAIRN_EUSAGE:
        return EXIT_USAGE;
    case CAIRN_ECONFIG:
        return EXIT_CONFIG;
    case CAIRN_EDAMAGED:
    case CAIRN_EAMBIGUOUS:
    case CAIRN_EFORMAT:
    case CAIRN_ENOTLOG:
    case CAIRN_EOTHERLOG:
        return EXIT_DAMAGED;
    case CAIRN_ELOCKED:
    case EADDRINUSE:
        return EXIT_BUSY;
    case EACCES:
    case EPERM:
        return EXIT_PERMISSION;
    case EIO:
    case ENOSPC:
    case EDQUOT:
    case EROFS:
        return EXIT_STORAGE;
    default:
        return EXIT_FAILED;
    }
}

int
err_store_exit_code(int code)
{
    bool is_ours = code <= -CAIRN_ERROR_BASE;
    bool is_short = code == -ENOMEM || code == -EMFILE || code == -ENFILE;
    int exit_code = err_exit_code(code);

    return exit_code == EXIT_FAILED && !is_ours && !is_short ? EXIT_STORAGE
                                                             : exit_code;
}
