/* SPDX-License-Identifier: MPL-2.0 */
#include "store/table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <sodium.h>

#include "base/crc32c.h"
#include "base/text.h"
#include "store/segment.h"

#define TABLE_MAGIC "CAIRNTAB"
#define TABLE_PREFIX "table."
#define TABLE_VERSION 1u
#define SLOTS_OFFSET 4096u

/* Slots copied with every put while the table grows.  From half full, with
 * 16 per put, copying ends long before seven eighths are reached. */
#define COPY_PER_PUT 16u

/* A run of used slots longer than this asks for growth. */
#define PROBES_MAX 256u

/* Bytes of the file that a sync takes at a time. */
#define PIECE_LEN (UINT64_C(1) << 20)

/* What was stored to is known by units of one page, or of more where the table
 * is so long that there would be more of them than this. */
#define UNITS_MAX 32768u
#define PAGE_SLOTS 256u

struct table_header {
    uint8_t magic[8];
    struct le32 version, reserved;
    struct uuid log_id;
    struct le64 generation, slot_count;
    uint8_t hash_key[crypto_shorthash_KEYBYTES];
    uint8_t reserved2[444];
    struct le32 crc;
};

struct table_checkpoint {
    struct le64 sequence, position, next_address, group, key_count;
    struct le32 group_crc;
    uint8_t reserved[464];
    struct le32 crc;
};

_Static_assert(sizeof(struct table_header) == SECTOR_LEN, "format");
_Static_assert(sizeof(struct table_checkpoint) == SECTOR_LEN, "format");

struct slot {
    _Atomic uint64_t hash, address;
};

_Static_assert(sizeof(struct slot) == TABLE_SLOT_LEN, "format");

struct table {
    const struct sys *sys;
    int fd; /* -1 when read-only */
    void *data;
    size_t len;
    struct slot *slots;
    uint64_t slot_count, generation;
    uint8_t hash_key[crypto_shorthash_KEYBYTES];
    uint64_t key_count;
    bool long_runs;
    struct table_mark mark;
    uint64_t sequence; /* of the mark */
    struct table *next;
    uint64_t copied; /* slots below this are in next, too */
    unsigned unit_shift;
    _Atomic uint64_t stored[UNITS_MAX / 64]; /* a bit per unit, see sync */
};

/* ---- files ------------------------------------------------------------- */

static int
table_path(char path[PATH_LEN_MAX], const char *dir, uint64_t generation)
{
    char name[40];

    (void)snprintf(name, sizeof name, TABLE_PREFIX "%" PRIu64, generation);
    return store_path(path, dir, name);
}

bool
table_name_parse(const char *name, uint64_t *ret_generation)
{
    size_t prefix_len = strlen(TABLE_PREFIX);

    return strncmp(name, TABLE_PREFIX, prefix_len) == 0 &&
        number_parse(name + prefix_len, ret_generation);
}

int
table_remove(const struct sys *sys, const char *dir, uint64_t generation)
{
    char path[PATH_LEN_MAX];
    int rc = table_path(path, dir, generation);

    return rc < 0 ? rc : sys_call(sys, remove, path);
}

static size_t
table_len(uint64_t slot_count)
{
    return SLOTS_OFFSET + (size_t)slot_count * sizeof(struct slot);
}

static int
table_map(struct table *table, int fd, bool writable)
{
    table->len = table_len(table->slot_count);
    table->slots = NULL;
    while (table->slot_count >> table->unit_shift > UNITS_MAX ||
           UINT64_C(1) << table->unit_shift < PAGE_SLOTS)
        table->unit_shift++;
    int rc = sys_call(table->sys, map, fd, table->len, writable, &table->data);

    if (rc == 0)
        table->slots = (void *)((uint8_t *)table->data + SLOTS_OFFSET);
    return rc;
}

void
table_close(struct table **table)
{
    struct table *t = *table;

    *table = NULL;
    if (t == NULL)
        return;
    table_close(&t->next);
    if (t->data != NULL)
        sys_call(t->sys, unmap, t->data, t->len);
    if (t->fd >= 0)
        sys_call(t->sys, close, t->fd);
    free(t);
}

static int
write_header(struct table *table, struct uuid log_id)
{
    struct table_header h = {
        .magic = TABLE_MAGIC,
        .version = le32_of(TABLE_VERSION),
        .log_id = log_id,
        .generation = le64_of(table->generation),
        .slot_count = le64_of(table->slot_count),
    };

    memcpy(h.hash_key, table->hash_key, sizeof h.hash_key);
    h.crc = le32_of(crc32c(&h, offsetof(struct table_header, crc)));
    return sys_call(table->sys, write, table->fd, &h, sizeof h, 0);
}

int
table_create(const struct sys *sys, const char *dir, struct uuid log_id,
             uint64_t generation, uint64_t slot_count, const struct table *like,
             struct table **ret_table, struct err *err)
{
    struct table *table = calloc(1, sizeof *table);
    char path[PATH_LEN_MAX];
    int rc = table_path(path, dir, generation);

    if (table == NULL)
        return err_sys(err, -ENOMEM, "version table in %s", dir);
    table->sys = sys;
    table->fd = -1;
    table->slot_count = slot_count;
    table->generation = generation;
    if (like != NULL)
        memcpy(table->hash_key, like->hash_key, sizeof table->hash_key);
    else
        randombytes_buf(table->hash_key, sizeof table->hash_key);
    if (rc == 0)
        rc = table->fd = sys_call(sys, open, path, SYS_CREATE);
    if (rc >= 0)
        rc = sys_call(sys, allocate, table->fd, table_len(slot_count));
    if (rc == 0)
        rc = write_header(table, log_id);
    if (rc == 0)
        rc = sys_call(sys, sync, table->fd);
    if (rc == 0)
        rc = sys_call(sys, sync_dir, dir);
    if (rc == 0)
        rc = table_map(table, table->fd, true);
    if (rc < 0) {
        (void)err_sys(err, rc, "cannot make the version table %s", path);
        if (table->fd >= 0)
            (void)sys_call(sys, remove, path); /* emptied next time anyway */
        table_close(&table);
        return rc;
    }
    *ret_table = table;
    return 0;
}

static bool
checkpoint_decode(const uint8_t *data, struct table_mark *ret_mark,
                  uint64_t *ret_sequence)
{
    const struct table_checkpoint *c = (const void *)data;

    if (le64_get(c->sequence) == 0 ||
        le32_get(c->crc) != crc32c(c, offsetof(struct table_checkpoint, crc)))
        return false;
    *ret_sequence = le64_get(c->sequence);
    *ret_mark = (struct table_mark){
        .position = le64_get(c->position),
        .next_address = le64_get(c->next_address),
        .group = le64_get(c->group),
        .key_count = le64_get(c->key_count),
        .group_crc = le32_get(c->group_crc),
    };
    return true;
}

static int
read_header(struct table *table, int fd, struct uuid log_id, bool writable,
            struct err *err)
{
    uint8_t page[3 * SECTOR_LEN];
    const struct table_header *h = (const void *)page;
    uint64_t file_len;
    int rc;
    int64_t n = sys_call(table->sys, read, fd, page, sizeof page, 0);

    if (n < 0)
        return err_sys(err, (int)n, "cannot read");
    rc = sys_call(table->sys, length, fd, &file_len);
    if (rc < 0)
        return err_sys(err, rc, "cannot tell the length");
    if (n < (int64_t)sizeof page ||
        memcmp(h->magic, TABLE_MAGIC, sizeof h->magic) != 0 ||
        le32_get(h->crc) != crc32c(h, offsetof(struct table_header, crc)) ||
        le32_get(h->version) != TABLE_VERSION)
        return err_set(err, -CAIRN_ETABLE, "the header is not valid");
    if (!uuid_equal(h->log_id, log_id))
        return err_sys(err, -CAIRN_EOTHERLOG, "the table");
    table->generation = le64_get(h->generation);
    table->slot_count = le64_get(h->slot_count);
    memcpy(table->hash_key, h->hash_key, sizeof table->hash_key);
    if (table->slot_count < TABLE_SLOTS_MIN ||
        table->slot_count > TABLE_SLOTS_MAX ||
        (table->slot_count & (table->slot_count - 1)) != 0 ||
        file_len < table_len(table->slot_count))
        return err_set(err, -CAIRN_ETABLE, "its length is not valid");
    for (int i = 1; i <= 2; i++) {
        struct table_mark mark;
        uint64_t sequence;

        if (checkpoint_decode(page + i * SECTOR_LEN, &mark, &sequence) &&
            sequence > table->sequence) {
            table->sequence = sequence;
            table->mark = mark;
        }
    }
    table->key_count = table->mark.key_count;
    if (writable && table->sequence == 0)
        return err_set(err, -CAIRN_ETABLE, "it has no checkpoint");
    return 0;
}

int
table_open(const struct sys *sys, const char *dir, struct uuid log_id,
           uint64_t generation, bool writable, struct table **ret_table,
           struct err *err)
{
    struct table *table = calloc(1, sizeof *table);
    char path[PATH_LEN_MAX];
    int fd, rc = table_path(path, dir, generation);

    if (table == NULL)
        return err_sys(err, -ENOMEM, "version table in %s", dir);
    table->sys = sys;
    table->fd = -1;
    fd = rc < 0 ? rc
                : sys_call(sys, open, path, writable ? SYS_WRITE : SYS_READ);
    if (fd < 0) {
        rc = err_sys(err, fd, "cannot open the version table %s", path);
        table_close(&table);
        return rc;
    }
    rc = read_header(table, fd, log_id, writable, err);
    if (rc == 0) {
        rc = table_map(table, fd, writable);
        if (rc < 0)
            (void)err_sys(err, rc, "cannot map");
    }
    if (writable)
        table->fd = fd;
    else
        sys_call(sys, close, fd);
    if (rc == 0 && table->generation != generation)
        rc = err_set(err, -CAIRN_ETABLE, "it has another generation");
    if (rc < 0) {
        table_close(&table);
        (void)err_wrap(err, "version table %s", path); /* may be NULL */
        return rc;
    }
    *ret_table = table;
    return 0;
}

uint64_t
table_generation(const struct table *table)
{
    return table->generation;
}

uint64_t
table_slot_count(const struct table *table)
{
    return table->slot_count;
}

uint64_t
table_key_count(const struct table *table)
{
    return table->key_count;
}

const struct table_mark *
table_mark(const struct table *table)
{
    return &table->mark;
}

/* ---- slots ------------------------------------------------------------- */

uint64_t
table_hash(const struct table *table, enum key_kind kind, struct span name)
{
    uint8_t key[crypto_shorthash_KEYBYTES];
    uint64_t hash;

    memcpy(key, table->hash_key, sizeof key);
    key[0] ^= (uint8_t)kind;
    (void)crypto_shorthash((uint8_t *)&hash, (const uint8_t *)name.p, name.len,
                           key);
    return hash == 0 ? 1 : hash;
}

/* Where a key was found, or where it belongs. */
struct place {
    uint64_t index; /* of its slot */
    uint64_t address;
    unsigned probes;
    struct event event; /* its newest one, if it was found */
    struct link link;
};

/*
 * The slot of a key, or the empty one where it belongs; 1 or 0 accordingly.
 * -ENOSPC if the whole table is full of others, which put() never lets be.
 */
static int
probe(const struct table *table, const struct key *key,
      const struct event_source *source, struct place *ret_place,
      struct err *err)
{
    uint64_t mask = table->slot_count - 1;

    for (uint64_t i = 0; i < table->slot_count; i++) {
        uint64_t index = (key->hash + i) & mask;
        struct slot *slot = &table->slots[index];
        uint64_t hash = atomic_load_explicit(&slot->hash, memory_order_acquire);

        ret_place->index = index;
        ret_place->probes = (unsigned)(i < UINT32_MAX ? i : UINT32_MAX);
        if (hash == 0)
            return 0;
        if (hash == key->hash) {
            uint64_t address =
                atomic_load_explicit(&slot->address, memory_order_acquire);
            int rc =
                source->event_at(source->self, address, &ret_place->event, err);

            if (rc < 0)
                return rc;
            ret_place->address = address;
            if (key_link(key, &ret_place->event, &ret_place->link))
                return 1;
        }
    }
    return err_set(err, -ENOSPC, "the version table is full");
}

int
table_find(const struct table *table, const struct key *key,
           const struct event_source *source, uint64_t *ret_address,
           struct err *err)
{
    struct place place;
    int rc = probe(table, key, source, &place, err);

    if (rc > 0)
        *ret_address = place.address;
    return rc;
}

int
table_find_event(const struct table *table, const struct key *key,
                 const struct event_source *source, uint64_t *ret_address,
                 struct event *ret_event, struct link *ret_link,
                 struct err *err)
{
    struct place place;
    int rc = probe(table, key, source, &place, err);

    if (rc > 0) {
        *ret_address = place.address;
        *ret_event = place.event;
        *ret_link = place.link;
    }
    return rc;
}

/* Remembers that there was a store; a hint for table_sync(). */
static void
note_store(struct table *table, uint64_t index)
{
    uint64_t unit = index >> table->unit_shift;
    _Atomic uint64_t *word = &table->stored[unit / 64];
    uint64_t bit = UINT64_C(1) << (unit % 64);

    if ((atomic_load_explicit(word, memory_order_relaxed) & bit) == 0)
        atomic_fetch_or_explicit(word, bit, memory_order_relaxed);
}

static void
store_address(struct table *table, uint64_t index, uint64_t address)
{
    atomic_store_explicit(&table->slots[index].address, address,
                          memory_order_release);
    note_store(table, index);
}

static void
fill_slot(struct table *table, uint64_t index, uint64_t hash, uint64_t address)
{
    store_address(table, index, address);
    atomic_store_explicit(&table->slots[index].hash, hash,
                          memory_order_release);
}

/* Puts a slot that is known to be absent into the first empty place. */
static void
copy_slot(struct table *table, uint64_t hash, uint64_t address)
{
    uint64_t mask = table->slot_count - 1;
    uint64_t index = hash & mask;

    while (atomic_load_explicit(&table->slots[index].hash,
                                memory_order_relaxed) != 0)
        index = (index + 1) & mask; /* ends: it is twice as large */
    fill_slot(table, index, hash, address);
    table->key_count++;
}

static void
copy_slots(struct table *table, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        struct slot *slot;
        uint64_t hash;

        if (table->copied == table->slot_count)
            return;
        slot = &table->slots[table->copied++];
        hash = atomic_load_explicit(&slot->hash, memory_order_relaxed);
        if (hash != 0)
            copy_slot(
                table->next, hash,
                atomic_load_explicit(&slot->address, memory_order_relaxed));
    }
}

int
table_put(struct table *table, const struct key *key, uint64_t address,
          bool first, const struct event_source *source, struct err *err)
{
    struct place place = { .index = 0 };
    int found = probe(table, key, source, &place, err);

    if (found < 0)
        return found;
    if (found && place.address <= address) {
        /* Stored even if it is there already: after a sync that failed the
         * page may be in the cache only, and clean.  Replaying must make it
         * dirty, or the next checkpoint would promise what the device never
         * got. */
        store_address(table, place.index, address);
    } else if (!found) {
        if (table->key_count >= table->slot_count / 8 * 7)
            return err_set(err, -ENOSPC, "the version table must grow first");
        fill_slot(table, place.index, key->hash, address);
        if (place.probes > PROBES_MAX)
            table->long_runs = true;
    }
    if (first || (!found && key->kind == KEY_TYPE))
        table->key_count++;
    if (table->next != NULL) {
        if (place.index < table->copied) {
            int rc = table_put(table->next, key, address, first, source, err);

            if (rc < 0)
                return rc;
        }
        copy_slots(table, COPY_PER_PUT);
    }
    return 0;
}

/* The slot with this hash and address; or with `previous` ADDRESS_NONE, the
 * first empty one.  False if it is not where it belongs. */
static bool
find_known(const struct table *table, uint64_t hash, uint64_t previous,
           uint64_t *ret_index, unsigned *ret_probes)
{
    uint64_t mask = table->slot_count - 1;

    for (unsigned i = 0; i < table->slot_count; i++) {
        uint64_t index = (hash + i) & mask;
        const struct slot *slot = &table->slots[index];
        uint64_t found =
            atomic_load_explicit(&slot->hash, memory_order_relaxed);

        *ret_index = index;
        *ret_probes = i;
        if (found == 0)
            return previous == ADDRESS_NONE;
        if (found == hash && previous != ADDRESS_NONE &&
            atomic_load_explicit(&slot->address, memory_order_relaxed) ==
                previous)
            return true;
    }
    return false;
}

int
table_move(struct table *table, const struct key *key, uint64_t previous,
           uint64_t address, const struct event_source *source, struct err *err)
{
    bool first = previous == ADDRESS_NONE;
    uint64_t index;
    unsigned probes;

    if (!find_known(table, key->hash, previous, &index, &probes))
        return table_put(table, key, address, first && key->kind != KEY_TYPE,
                         source, err);
    if (first) {
        if (table->key_count >= table->slot_count / 8 * 7)
            return err_set(err, -ENOSPC, "the version table must grow first");
        fill_slot(table, index, key->hash, address);
        table->key_count++;
        if (probes > PROBES_MAX)
            table->long_runs = true;
    } else {
        store_address(table, index, address);
    }
    if (table->next != NULL) {
        if (index < table->copied) {
            int rc =
                table_move(table->next, key, previous, address, source, err);

            if (rc < 0)
                return rc;
        }
        copy_slots(table, COPY_PER_PUT);
    }
    return 0;
}

void
table_prefetch(const struct table *table, uint64_t hash)
{
    __builtin_prefetch(&table->slots[hash & (table->slot_count - 1)]);
}

uint64_t
table_guess(const struct table *table, uint64_t hash)
{
    const struct slot *slot = &table->slots[hash & (table->slot_count - 1)];

    return atomic_load_explicit(&slot->hash, memory_order_relaxed) == hash
        ? atomic_load_explicit(&slot->address, memory_order_relaxed)
        : ADDRESS_NONE;
}

/* ---- durability -------------------------------------------------------- */

/*
 * Has a page mapped for writing, by a store that changes nothing: the value is
 * replaced by itself, and not even that if the writer was faster.
 */
static void
touch(struct slot *slot)
{
    uint64_t seen = atomic_load_explicit(&slot->address, memory_order_relaxed);

    (void)atomic_compare_exchange_strong_explicit(&slot->address, &seen, seen,
                                                  memory_order_relaxed,
                                                  memory_order_relaxed);
}

/*
 * Takes those pages of these slots into use again that were stored to since
 * this was last done: they will be again, and who touches a page for the first
 * time waits for it.
 */
static void
touch_stored(struct table *table, uint64_t first, uint64_t end)
{
    uint64_t unit_slots = UINT64_C(1) << table->unit_shift;

    for (uint64_t i = first; i < end; i += PAGE_SLOTS) {
        uint64_t unit = i >> table->unit_shift;
        _Atomic uint64_t *word = &table->stored[unit / 64];
        uint64_t bit = UINT64_C(1) << (unit % 64);

        if ((atomic_load_explicit(word, memory_order_relaxed) & bit) == 0)
            continue;
        touch(&table->slots[i]);
        if ((i + PAGE_SLOTS) % unit_slots == 0)
            atomic_fetch_and_explicit(word, ~bit, memory_order_relaxed);
    }
}

/* The slots that begin below this offset in the file. */
static uint64_t
slots_below(uint64_t offset)
{
    return offset < SLOTS_OFFSET ? 0 : (offset - SLOTS_OFFSET) / TABLE_SLOT_LEN;
}

int
table_sync(struct table *table)
{
    for (uint64_t at = 0; at < table->len; at += PIECE_LEN) {
        uint64_t end =
            at + PIECE_LEN < table->len ? at + PIECE_LEN : table->len;
        int rc = sys_call(table->sys, sync_map, table->fd, table->data, at,
                          end - at);

        if (rc < 0)
            return rc;
        touch_stored(table, slots_below(at), slots_below(end));
    }
    return 0;
}

int
table_write_mark(struct table *table, const struct table_mark *mark)
{
    uint64_t sequence = table->sequence + 1;
    struct table_checkpoint c = {
        .sequence = le64_of(sequence),
        .position = le64_of(mark->position),
        .next_address = le64_of(mark->next_address),
        .group = le64_of(mark->group),
        .key_count = le64_of(mark->key_count),
        .group_crc = le32_of(mark->group_crc),
    };
    int rc;

    c.crc = le32_of(crc32c(&c, offsetof(struct table_checkpoint, crc)));
    rc = sys_call(table->sys, write, table->fd, &c, sizeof c,
                  sequence % 2 == 0 ? SECTOR_LEN : 2 * SECTOR_LEN);
    if (rc == 0)
        rc = sys_call(table->sys, sync_map, table->fd, table->data, 0,
                      SLOTS_OFFSET);
    if (rc < 0)
        return rc;
    table->sequence = sequence;
    table->mark = *mark;
    return 0;
}

/* ---- growth ------------------------------------------------------------ */

bool
table_wants_growth(const struct table *table)
{
    return table->next == NULL && table->slot_count < TABLE_SLOTS_MAX &&
        (table->key_count > table->slot_count / 2 || table->long_runs);
}

void
table_grow_into(struct table *table, struct table **next)
{
    table->next = *next;
    table->copied = 0;
    *next = NULL;
}

void
table_copy_all(struct table *table)
{
    if (table->next != NULL)
        copy_slots(table, table->slot_count);
}

bool
table_grown(const struct table *table)
{
    return table->next != NULL && table->copied == table->slot_count;
}

struct table *
table_next(struct table *table)
{
    return table->next;
}

struct table *
table_take_next(struct table *table)
{
    struct table *next = table->next;

    table->next = NULL;
    return next;
}
