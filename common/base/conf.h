/* SPDX-License-Identifier: MPL-2.0 */
/*
 * conf - configuration in ZPL (RFC 4/ZPL of the ZeroMQ project, read by
 * czmq's zconfig), held against a table of keys.
 *
 * Values come, each overriding the ones before, from the defaults in the
 * table, from FILE, from FILE.d/ in order of their names (those that end in
 * .conf), and from overrides on the command line.  An unknown key, a key given
 * twice in one file and a value that does not fit are errors that name file
 * and line.
 *
 * Threads: load it in one; after that any may read.
 */
#ifndef CAIRN_BASE_CONF_H
#define CAIRN_BASE_CONF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum conf_type {
    CONF_TEXT,
    CONF_PATH,     /* absolute, or relative to the working directory */
    CONF_ENDPOINT, /* ipc://PATH or tcp://ADDRESS:PORT; "-": none */
    CONF_COUNT,
    CONF_BYTES,  /* a number with an optional K, M or G (1024, ...) */
    CONF_MSEC,   /* a number with ms, s, m or h; without: milliseconds */
    CONF_CHOICE, /* one of the words in `choices` */
};

struct conf_key {
    const char *name; /* as in "log.directory" */
    enum conf_type type;
    const char *fallback; /* NULL: must be given */
    const char *help;
    uint64_t min, max;   /* of numbers; max 0: no limits beyond the type's */
    const char *choices; /* "mapped publisher" */
};

struct conf;

/*
 * Loads `file` (NULL: none) and its drop-ins.  Both tables are borrowed until
 * conf_free(); overrides are "key=value" up to a NULL, or NULL for none.
 *
 *   -CAIRN_ECONFIG  with file, line, key and what would be right
 *   -ENOENT, -EACCES  the file cannot be read
 */
int conf_load(const struct conf_key *keys, const char *file,
              const char *const *overrides, struct conf **ret_conf,
              struct err *err);

/* Frees it and sets *conf to NULL; NULL is fine. */
void conf_free(struct conf **conf);

/* The value of a key of the table; asking for another one is our mistake. */
const char *conf_text(const struct conf *conf, const char *name);
uint64_t conf_number(const struct conf *conf, const char *name);

/* An endpoint, or NULL if it is "-". */
const char *conf_endpoint(const struct conf *conf, const char *name);

/* Where a value came from, as in "/etc/cairn/writer.conf:12". */
const char *conf_origin(const struct conf *conf, const char *name);

/* The table as text for --help: key, default, limits, help. */
void conf_print_keys(const struct conf_key *keys);

#endif
