/* SPDX-License-Identifier: MPL-2.0 */
/*
 * table - from a key (stream, tag, event type) to its newest event.
 *
 * A hash table in a mapped file beside the log: derived from the log, and
 * disposable.  A slot is a hash and an address, nothing else: version, name
 * and position stand in the event itself, so there is nothing that could
 * disagree with it.  Hashes are SipHash-2-4 (Aumasson, Bernstein, 2012) with a
 * random key; a hash that matches is verified against the name in the log.
 *
 * One process writes.  A put is one aligned 8-byte store of an address, an
 * insertion an address and then its hash, and addresses of a key only grow.
 * So other processes may read through a read-only map at any time and never
 * see half an entry, and neither does recovery after a kill or a power cut.
 *
 * A checkpoint says: all keys of events up to this position are durable in
 * this file.  The file may hold newer ones too; all it ever holds are
 * durable events, and putting an event again changes nothing, so recovery
 * replays the log from the checkpoint on (doc/decisions/0003).
 *
 * It grows into a second file of twice the length while it is used: a few
 * slots are copied with every put.
 *
 *   file  DIR/table.N, N the generation
 *   off  size  field
 *     0   512  struct table_header
 *   512   512  struct table_checkpoint, even sequence
 *  1024   512  struct table_checkpoint, odd sequence
 *  4096  16*n  slots: hash (0: empty), address
 *
 * Errors:   0, or negative; -CAIRN_ETABLE: not usable, build it again.
 * Threads:  one writer thread; table_sync() may run beside it.
 */
#ifndef CAIRN_STORE_TABLE_H
#define CAIRN_STORE_TABLE_H

#include "store/chain.h"
#include "store/sys.h"

#define TABLE_SLOT_LEN 16u /* bytes */
#define TABLE_SLOTS_MIN UINT64_C(256)
#define TABLE_SLOTS_MAX (UINT64_C(1) << 36)

struct table;

/* What a checkpoint says about the log. */
struct table_mark {
    uint64_t position;     /* the last one that the file reflects */
    uint64_t next_address; /* where the next group begins */
    uint64_t group;        /* number of the last group; 0: none */
    uint64_t key_count;
    uint32_t group_crc; /* its header checksum; in an empty log 0 */
};

/*
 * Makes DIR/table.GENERATION with `slot_count` empty slots, a power of two.
 * With `like`, the hash key is that of another table, else random.
 */
int table_create(const struct sys *sys, const char *dir, struct uuid log_id,
                 uint64_t generation, uint64_t slot_count,
                 const struct table *like, struct table **ret_table,
                 struct err *err);

/*
 * Opens DIR/table.GENERATION.
 *
 *   -CAIRN_ETABLE     not valid, or no valid checkpoint (unless read-only)
 *   -CAIRN_EOTHERLOG  made for another log
 */
int table_open(const struct sys *sys, const char *dir, struct uuid log_id,
               uint64_t generation, bool writable, struct table **ret_table,
               struct err *err);

/* Closes without syncing and sets *table to NULL; NULL is fine. */
void table_close(struct table **table);

uint64_t table_generation(const struct table *table);
uint64_t table_slot_count(const struct table *table);
uint64_t table_key_count(const struct table *table);

/* The last checkpoint that the file holds. */
const struct table_mark *table_mark(const struct table *table);

/* The hash of a name, as struct key wants it. */
uint64_t table_hash(const struct table *table, enum key_kind kind,
                    struct span name);

/*
 * The newest event of a key in *ret_address: 1; or 0 if there is none.  Events
 * are looked at through `source`, to tell keys of equal hash apart.
 */
int table_find(const struct table *table, const struct key *key,
               const struct event_source *source, uint64_t *ret_address,
               struct err *err);

/* The same with the event, as `source` returns it, and its link. */
int table_find_event(const struct table *table, const struct key *key,
                     const struct event_source *source, uint64_t *ret_address,
                     struct event *ret_event, struct link *ret_link,
                     struct err *err);

/*
 * Says that the newest event of a key lies at `address`.  An address below
 * the present one changes nothing.  With `first`, no older event of the key
 * exists in the log: it counts as a new key even if a slot is there already,
 * as after a crash.
 *
 *   -ENOSPC  seven eighths are used: it must grow first
 */
int table_put(struct table *table, const struct key *key, uint64_t address,
              bool first, const struct event_source *source, struct err *err);

/*
 * The same for a caller who has looked the key up: its newest event so far is
 * at `previous`, or ADDRESS_NONE if it has none.  No event is looked at, unless
 * the table turns out to be of another opinion.
 */
int table_move(struct table *table, const struct key *key, uint64_t previous,
               uint64_t address, const struct event_source *source,
               struct err *err);

/* Asks for the memory in which a hash will be looked for. */
void table_prefetch(const struct table *table, uint64_t hash);

/*
 * Where the newest event of a key with this hash is likely to lie, without
 * looking at it; ADDRESS_NONE if there is none.
 */
uint64_t table_guess(const struct table *table, uint64_t hash);

/*
 * Makes what the file holds now durable; may run in another thread.  Pages
 * leave the map for it, piece by piece, and those in use are put back, so that
 * the writer does not wait for them (doc/decisions/0003, "How it is synced").
 */
int table_sync(struct table *table);

/*
 * Writes a checkpoint, after table_sync() returned 0 for a call that began
 * when `mark` was true; then it is durable.
 */
int table_write_mark(struct table *table, const struct table_mark *mark);

/* ---- growth ------------------------------------------------------------ */

/* Keys that a table should hold at most, so that puts never fail. */
static inline uint64_t
table_room(uint64_t slot_count)
{
    return slot_count / 4 * 3;
}

/* Half full, or with long runs of slots: time to grow. */
bool table_wants_growth(const struct table *table);

/*
 * Begins to copy everything into `next`, an empty table made with `like`.
 * From now on puts go to both.  *next is owned by the table until it is taken
 * back by table_take_next(), or closed.
 */
void table_grow_into(struct table *table, struct table **next);

/* Copies all that is left, at once; does nothing unless it is growing. */
void table_copy_all(struct table *table);

/* Whether everything has been copied. */
bool table_grown(const struct table *table);

/* The table that is being filled, or NULL. */
struct table *table_next(struct table *table);

/* Takes the filled table out; `table` is only good for closing, then. */
struct table *table_take_next(struct table *table);

/* The generation in a file name "table.N"; false if it names no table. */
bool table_name_parse(const char *name, uint64_t *ret_generation);

/* Removes DIR/table.GENERATION. */
int table_remove(const struct sys *sys, const char *dir, uint64_t generation);

#endif
