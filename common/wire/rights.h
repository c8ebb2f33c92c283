/* SPDX-License-Identifier: MPL-2.0 */
/*
 * rights - what the holder of a key may do.
 *
 * One file for the gateway and the publisher, in ZPL: a section for each key,
 * named as people call its holder.
 *
 *     shop
 *         key = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
 *         append = "category:order"
 *         append = "stream:audit"
 *         read = "prefix:order-eu-"
 *         send = "command:ShipOrder"
 *     backup
 *         key = "..."
 *         read = "all"
 *     operator
 *         key = "..."
 *         administer = "yes"
 *
 * What a right is about is "all", "stream:NAME", "prefix:TEXT" (streams whose
 * names begin so) or "category:NAME".  "send" is about "all" or "command:NAME"
 * and is kept for handlers.  "administer" is every right there is.  A right may
 * be given many times; what no line gives is denied.
 *
 * Threads: any may ask; nothing changes after rights_load().
 */
#ifndef CAIRN_WIRE_RIGHTS_H
#define CAIRN_WIRE_RIGHTS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define RIGHTS_KEYS_MAX 10000u
#define RIGHTS_RULES_MAX 1000u /* of one key */

enum right { RIGHT_APPEND, RIGHT_READ, RIGHT_SEND };

struct rights;
struct principal;

/*
 * Reads the file, strictly.
 *
 *   -CAIRN_ECONFIG  with file and line; also if others may write the file
 *   -errno          it cannot be read
 */
int rights_load(const char *path, struct rights **ret_rights, struct err *err);

/* Frees it and sets *rights to NULL; NULL is fine. */
void rights_free(struct rights **rights);

/* How many keys there are. */
size_t rights_count(const struct rights *rights);

/* Who holds a key (CURVE_KEY_LEN characters); NULL: nobody that is known. */
const struct principal *rights_find(const struct rights *rights,
                                    const char *key);

/* By place in the file, from 0; NULL behind the last. */
const struct principal *rights_at(const struct rights *rights, size_t index);
size_t rights_index(const struct rights *rights,
                    const struct principal *principal);

const char *principal_name(const struct principal *principal);
const char *principal_key(const struct principal *principal);

/*
 * Whether the principal may do this to one stream; to every stream of a
 * category; to everything.  NULL as the principal may: it has come over ipc,
 * where the mode of the socket's file decides who comes.
 */
bool may_stream(const struct principal *principal, enum right right,
                const char *stream, size_t len);
bool may_category(const struct principal *principal, enum right right,
                  const char *category, size_t len);
bool may_all(const struct principal *principal, enum right right);

/* Whether it may send this command to a handler. */
bool may_send(const struct principal *principal, const char *command,
              size_t len);

#endif
