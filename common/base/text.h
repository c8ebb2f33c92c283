/* SPDX-License-Identifier: MPL-2.0 */
/*
 * text - names that people choose: UTF-8 without control characters.
 */
#ifndef CAIRN_BASE_TEXT_H
#define CAIRN_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Longest stream name, event type, content type or tag, in bytes. */
#define NAME_LEN_MAX 255

/*
 * Why [text, text + len) cannot be a name, as a phrase that follows "it";
 * NULL if it can.  A name is valid UTF-8 (RFC 3629: no overlong forms, no
 * surrogates) of 1 to NAME_LEN_MAX bytes without U+0000-001F and
 * U+007F-009F.
 */
const char *name_fault(const char *text, size_t len);

/* The same for a stream: names that begin with '$' are Cairn's own. */
const char *stream_fault(const char *text, size_t len);

/* Bytes of the category: what stands before the first '-', or all of it. */
size_t category_len(const char *stream, size_t len);

/* Whether [text, text + len) is valid UTF-8; may hold control characters. */
bool utf8_valid(const char *text, size_t len);

/* Reads a whole decimal number; false on anything else and on overflow. */
bool number_parse(const char *text, uint64_t *ret_number);

/* "3,367" or "1,234,567"; returns buf. */
char *number_format(uint64_t number, char buf[32]);

#endif
