/* SPDX-License-Identifier: MPL-2.0 */
#include "publisher/waiting.h"

void
waiting_init(struct waiting *waiting, uint32_t max, bool polls)
{
    *waiting = (struct waiting){ .max = max, .polls = polls };
    TAILQ_INIT(&waiting->list);
}

struct waiting_read *
waiting_read_new(const struct address *from, const struct read_request *request)
{
    struct waiting_read *read;
    size_t len = 0;

    for (uint32_t i = 0; i < request->selector_count; i++)
        len += request->selectors[i].len;
    read = malloc(sizeof *read + len);
    if (read == NULL)
        return NULL;
    read->share = from->share;
    read->connection = from->connection;
    read->deadline_ms = 0;
    read->delimiter = from->delimiter;
    read->key[0] = '\0';
    read->request = *request;
    memcpy(read->routing_id, from->routing_id, ROUTING_ID_LEN);
    if (from->principal != NULL)
        memcpy(read->key, principal_key(from->principal), sizeof read->key);
    len = 0;
    for (uint32_t i = 0; i < request->selector_count; i++) {
        struct read_selector *s = &read->request.selectors[i];

        memcpy(read->texts + len, s->text, s->len);
        s->text = read->texts + len;
        len += s->len;
    }
    return read;
}

void
waiting_read_free(struct waiting_read *read)
{
    free(read);
}

struct address
waiting_address(const struct waiting_read *read, struct peers *peers)
{
    return (struct address){ .routing_id = read->routing_id,
                             .delimiter = read->delimiter,
                             .share = read->share,
                             .peers = peers,
                             .connection = read->connection };
}

/* ---- of one client ------------------------------------------------------ */

static uint32_t *
share_count(const struct waiting *waiting, struct share *share)
{
    return waiting->polls ? &share->polls : &share->reads;
}

static bool
is_of(const struct waiting_read *read, const struct share *share,
      uint64_t connection)
{
    return share != NULL
        ? read->share == share
        : read->share == NULL && read->connection == connection;
}

uint32_t
waiting_of(const struct waiting *waiting, uint64_t connection)
{
    const struct waiting_read *read;
    uint32_t count = 0;

    for (read = TAILQ_FIRST(&waiting->list); read != NULL;
         read = TAILQ_NEXT(read, link))
        count += read->connection == connection;
    return count;
}

bool
waiting_is_full(const struct waiting *waiting, struct share *share,
                uint64_t connection)
{
    return share_is_full(share != NULL ? *share_count(waiting, share)
                                       : waiting_of(waiting, connection),
                         waiting->count, waiting->max);
}

/* ---- turns -------------------------------------------------------------- */

/* The newest of the same client; NULL: it has none. */
static const struct waiting_read *
last_of(const struct waiting *waiting, const struct waiting_read *of)
{
    const struct waiting_read *read = TAILQ_LAST(&waiting->list, waiting_list);

    while (read != NULL && !is_of(read, of->share, of->connection))
        read = TAILQ_PREV(read, waiting_list, link);
    return read;
}

static bool
is_before(const struct waiting_read *a, const struct waiting_read *b)
{
    return a->turn < b->turn || (a->turn == b->turn && a->alone && !b->alone);
}

static void
take_turn(struct waiting *waiting, struct waiting_read *read)
{
    struct waiting_read *at = TAILQ_LAST(&waiting->list, waiting_list);
    const struct waiting_read *last = last_of(waiting, read);

    read->alone = last == NULL;
    read->turn = waiting->turn + 1;
    if (last != NULL && last->turn >= read->turn)
        read->turn = last->turn + 1;
    while (at != NULL && is_before(read, at))
        at = TAILQ_PREV(at, waiting_list, link);
    if (at != NULL)
        TAILQ_INSERT_AFTER(&waiting->list, at, read, link);
    else
        TAILQ_INSERT_HEAD(&waiting->list, read, link);
}

void
waiting_add(struct waiting *waiting, struct waiting_read *read)
{
    if (waiting->polls)
        TAILQ_INSERT_TAIL(&waiting->list, read, link);
    else
        take_turn(waiting, read);
    waiting->count++;
    if (read->share != NULL)
        (*share_count(waiting, read->share))++;
}

void
waiting_remove(struct waiting *waiting, struct waiting_read *read)
{
    TAILQ_REMOVE(&waiting->list, read, link);
    waiting->count--;
    if (read->share != NULL)
        (*share_count(waiting, read->share))--;
}

struct waiting_read *
waiting_next(struct waiting *waiting)
{
    struct waiting_read *read = TAILQ_FIRST(&waiting->list);

    if (read == NULL)
        return NULL;
    waiting_remove(waiting, read);
    waiting->turn = read->turn;
    return read;
}

void
waiting_drop_gone(struct waiting *waiting, const struct peers *peers)
{
    struct waiting_read *read, *next;

    for (read = TAILQ_FIRST(&waiting->list); read != NULL; read = next) {
        next = TAILQ_NEXT(read, link);
        if (peers_has(peers, read->connection))
            continue;
        waiting_remove(waiting, read);
        waiting_read_free(read);
    }
}
