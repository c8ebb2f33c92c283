/* SPDX-License-Identifier: MPL-2.0 */
/*
 * definition - a projection as its author wrote it: a file of SQL.
 *
 *   --@ projection NAME           must be given
 *   --@ select category NAME...   or stream, type, tag; may be repeated;
 *                                 none: every event (store/select.h)
 *   --@ schema                    statements that make the read model
 *   --@ on TYPE...                statements for each event of these types
 *   --@ reset                     statements that take the read model down
 *
 * Before the first section there is room for comments only.  Statements of a
 * section end with ';' and may use the parameters that model.h lists.
 *
 * Threads: no state.
 */
#ifndef CAIRN_PROJECTOR_DEFINITION_H
#define CAIRN_PROJECTOR_DEFINITION_H

#include "base/err.h"
#include "store/select.h"

#define DEFINITION_LEN_MAX (1u << 20)
#define DEFINITION_SELECTORS_MAX 64u
#define DEFINITION_HANDLERS_MAX 1024u /* event types */

/* Statements for one type of event; several types may share them. */
struct handler {
    char *type;
    const char *sql; /* borrowed from the text */
    unsigned line;   /* where they begin in the file */
};

struct definition {
    const char *path; /* of the file; borrowed */
    char *text;       /* of it, cut at the sections */
    char *name;
    struct selector selectors[DEFINITION_SELECTORS_MAX];
    uint32_t selector_count;
    const char *schema, *reset; /* NULL: none */
    unsigned schema_line, reset_line;
    struct handler *handlers;
    uint32_t handler_count;
    char digest[65]; /* of all that matters for the read model, as hex */
};

/*
 * Reads the file; borrows its path.  -CAIRN_EPROJECTION with file, line and what is wrong;
 * -errno if it cannot be read.
 */
int definition_load(const char *path, struct definition *ret_definition,
                    struct err *err);

void definition_free(struct definition *definition);

#endif
