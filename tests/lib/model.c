/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/model.h"

#include <errno.h>
#include <inttypes.h>

#include "lib/cmocka.h"
#include "store/jump.h"
#include "store/reader.h"

struct model_key {
    enum key_kind kind;
    struct span name; /* in the bytes of a commit */
    uint64_t hash;
    uint64_t *addresses;
    size_t count, capacity;
};

void
model_fail(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fprintf(stderr, "\n");
    if (seeds_now() != 0)
        (void)fprintf(stderr, "to run it again: SEED=%" PRIu64 "\n",
                      seeds_now());
    fail();
    abort(); /* not reached: fail() jumps */
}

static void *
grow(void *array, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return array;
    *capacity = *capacity * 2 + 16;
    array = reallocarray(array, *capacity, size);
    if (array == NULL)
        abort();
    return array;
}

/* ---- commits ----------------------------------------------------------- */

void
model_commit_free(struct model_commit *commit)
{
    free(commit->bytes);
    free(commit->versions);
    *commit = (struct model_commit){ 0 };
}

static void
forget_keys(struct model *model)
{
    for (uint32_t i = 0; i < model->key_count; i++)
        free(model->keys[i].addresses);
    model->key_count = 0;
    model->address_count = 0;
}

void
model_free(struct model *model)
{
    for (size_t i = 0; i < model->count; i++)
        model_commit_free(&model->commits[i]);
    for (size_t i = 0; i < model->lost_count; i++)
        model_commit_free(&model->lost[i]);
    forget_keys(model);
    free(model->commits);
    free(model->lost);
    free(model->keys);
    free(model->slots);
    free(model->addresses);
    *model = (struct model){ 0 };
}

void
model_told(struct model *model, uint8_t *bytes, uint32_t len,
           const struct append_result *result)
{
    struct model_commit commit = { .bytes = bytes, .len = len };
    struct commit c;

    if (commit_check_unstamped(bytes, len, &c) < 0)
        abort();
    if (result->first_position != model_told_position(model) + 1 ||
        result->last_position != result->first_position + c.event_count - 1)
        model_fail("accepted at positions %" PRIu64 " to %" PRIu64
                   ", but %" PRIu64 " was the last one",
                   result->first_position, result->last_position,
                   model_told_position(model));
    if (model->count > 0 &&
        result->time_us < model->commits[model->count - 1].time_us)
        model_fail("time went back");
    commit.id = c.command_id;
    commit.event_count = c.event_count;
    commit.group = result->group;
    commit.first_position = result->first_position;
    commit.time_us = result->time_us;
    commit.version_count = result->version_count;
    commit.versions = malloc((result->version_count + 1) * sizeof(uint64_t));
    if (commit.versions == NULL)
        abort();
    memcpy(commit.versions, result->versions,
           result->version_count * sizeof(uint64_t));
    model->commits = grow(model->commits, model->count, &model->capacity,
                          sizeof *model->commits);
    model->commits[model->count++] = commit;
}

void
model_settled(struct model *model, uint64_t group)
{
    while (model->settled_count < model->count &&
           model->commits[model->settled_count].group <= group)
        model->settled_count++;
}

void
model_check_answer(const struct model_commit *commit,
                   const struct append_result *result)
{
    if (result->code != APPEND_ACCEPTED || !result->repeated)
        model_fail("a command that had taken effect was answered with %d%s",
                   (int)result->code, result->repeated ? " (repeated)" : "");
    if (result->first_position != commit->first_position ||
        result->last_position !=
            commit->first_position + commit->event_count - 1 ||
        result->time_us != commit->time_us)
        model_fail("the answer to a repeated command has position %" PRIu64
                   ", not %" PRIu64,
                   result->first_position, commit->first_position);
    if (result->version_count != commit->version_count ||
        memcmp(result->versions, commit->versions,
               commit->version_count * sizeof(uint64_t)) != 0)
        model_fail("the answer to a repeated command has other versions");
}

static uint64_t
position_after(const struct model *model, size_t count)
{
    const struct model_commit *last;

    if (count == 0)
        return 0;
    last = &model->commits[count - 1];
    return last->first_position + last->event_count - 1;
}

uint64_t
model_told_position(const struct model *model)
{
    return position_after(model, model->count);
}

uint64_t
model_settled_position(const struct model *model)
{
    return position_after(model, model->settled_count);
}

void
model_recovered(struct model *model, uint64_t position)
{
    size_t settled = model->settled_count, with_closed = settled;

    while (with_closed < model->count &&
           model->commits[with_closed].group == model->commits[settled].group)
        with_closed++;
    if (position == position_after(model, settled))
        with_closed = settled;
    else if (position != position_after(model, with_closed))
        model_fail("the log ends at position %" PRIu64
                   " after a crash: %" PRIu64 " was settled, and the next "
                   "group would end at %" PRIu64,
                   position, position_after(model, settled),
                   position_after(model, with_closed));
    for (size_t i = with_closed; i < model->count; i++) {
        model->lost = grow(model->lost, model->lost_count,
                           &model->lost_capacity, sizeof *model->lost);
        model->lost[model->lost_count++] = model->commits[i];
    }
    model->count = model->settled_count = with_closed;
}

/* ---- keys -------------------------------------------------------------- */

/* FNV-1a. */
static uint64_t
key_hash(enum key_kind kind, struct span name)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ (uint64_t)kind;

    for (uint32_t i = 0; i < name.len; i++)
        hash = (hash ^ (uint8_t)name.p[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static void
place_key(struct model *model, uint32_t index)
{
    uint32_t mask = model->key_capacity * 2 - 1;
    uint32_t at = (uint32_t)model->keys[index].hash & mask;

    while (model->slots[at] != 0)
        at = (at + 1) & mask;
    model->slots[at] = index + 1;
}

static void
grow_keys(struct model *model)
{
    model->key_capacity =
        model->key_capacity == 0 ? 256 : model->key_capacity * 2;
    model->keys =
        reallocarray(model->keys, model->key_capacity, sizeof *model->keys);
    free(model->slots);
    model->slots = calloc(model->key_capacity * 2, sizeof *model->slots);
    if (model->keys == NULL || model->slots == NULL)
        abort();
    for (uint32_t i = 0; i < model->key_count; i++)
        place_key(model, i);
}

static struct model_key *
find_key(struct model *model, enum key_kind kind, struct span name)
{
    uint64_t hash = key_hash(kind, name);
    uint32_t mask;
    struct model_key *key;

    if (model->key_count == model->key_capacity)
        grow_keys(model);
    mask = model->key_capacity * 2 - 1;
    for (uint32_t at = (uint32_t)hash & mask; model->slots[at] != 0;
         at = (at + 1) & mask) {
        key = &model->keys[model->slots[at] - 1];
        if (key->kind == kind && span_equal(key->name, name))
            return key;
    }
    key = &model->keys[model->key_count];
    *key = (struct model_key){ .kind = kind, .name = name, .hash = hash };
    place_key(model, model->key_count++);
    return key;
}

/* One more event of a key lies at `address`; its link must say so. */
static void
extend_key(struct model *model, enum key_kind kind, struct span name,
           const struct link *link, uint64_t address, uint64_t position)
{
    struct model_key *key = find_key(model, kind, name);
    uint64_t n = key->count + 1, jump;

    if (kind != KEY_TYPE) {
        jump = jump_ordinal(n);
        if (link->ordinal != n)
            model_fail("position %" PRIu64 ": number %" PRIu64 " of '%.*s', "
                       "not %" PRIu64,
                       position, link->ordinal, (int)name.len, name.p, n);
        if (link->prev != (n == 1 ? 0 : key->addresses[n - 2]) ||
            link->jump != (jump == 0 ? 0 : key->addresses[jump - 1]))
            model_fail("position %" PRIu64 ": the link of '%.*s' leads to "
                       "%#" PRIx64 " and %#" PRIx64,
                       position, (int)name.len, name.p, link->prev, link->jump);
    }
    key->addresses = grow(key->addresses, key->count, &key->capacity,
                          sizeof *key->addresses);
    key->addresses[key->count++] = address;
}

/* ---- events ------------------------------------------------------------ */

static bool
same_event(const struct event *found, const struct event *sent)
{
    const uint8_t *a = (const uint8_t *)found->stream.p;
    const uint8_t *b = (const uint8_t *)sent->stream.p;
    size_t text_len = found->record_len - (size_t)(a - found->record);

    return found->record_len == sent->record_len &&
        found->tag_count == sent->tag_count && found->schema == sent->schema &&
        uuid_equal(event_head(found)->id, event_head(sent)->id) &&
        uuid_equal(event_head(found)->correlation_id,
                   event_head(sent)->correlation_id) &&
        uuid_equal(event_head(found)->causation_id,
                   event_head(sent)->causation_id) &&
        a - found->record == b - sent->record && memcmp(a, b, text_len) == 0;
}

/* The commit that holds a position. */
static const struct model_commit *
commit_of(const struct model *model, uint64_t position)
{
    size_t low = 0, high = model->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (model->commits[middle].first_position <= position)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 ? NULL : &model->commits[low - 1];
}

static void
sent_event(const struct model_commit *commit, uint64_t position,
           struct event *ret_event)
{
    const uint8_t *at = commit->bytes + sizeof(struct commit_record);

    for (uint64_t p = commit->first_position;; p++) {
        if (event_view(at, RECORD_LEN_MAX, ret_event) < 0)
            abort();
        if (p == position)
            return;
        at += ret_event->record_len;
    }
}

void
model_sent(const struct model *model, uint64_t position,
           struct event *ret_event)
{
    const struct model_commit *commit = commit_of(model, position);

    if (commit == NULL ||
        position >= commit->first_position + commit->event_count)
        model_fail("an event at position %" PRIu64 ", which nobody sent",
                   position);
    sent_event(commit, position, ret_event);
}

void
model_check_event(const struct model *model, const struct event *event)
{
    const struct model_commit *commit = commit_of(model, event->position);
    struct event sent;

    model_sent(model, event->position, &sent);
    if (!same_event(event, &sent))
        model_fail("position %" PRIu64 " holds another event than was sent",
                   event->position);
    if (event->time_us != commit->time_us)
        model_fail("position %" PRIu64 " has another time than was told",
                   event->position);
}

/* ---- the log ----------------------------------------------------------- */

struct walk {
    struct model *model;
    struct evlog *log;
    struct cursor cursor;
    struct err *err;
};

static int
walk_event(struct walk *walk, const struct model_commit *commit, uint32_t index,
           uint64_t *commit_address, const uint8_t **sent_at)
{
    struct model *model = walk->model;
    uint64_t position = commit->first_position + index, address;
    struct event event, sent;
    struct link link;
    int rc = evlog_next(walk->log, &walk->cursor, position, &event, walk->err);

    if (rc < 0)
        return rc;
    if (rc == 0)
        model_fail("position %" PRIu64 " was settled and is not there",
                   position);
    address = walk->cursor.address - event.record_len;
    if (index == 0)
        *commit_address = address - event.commit_back;
    if (event_view(*sent_at, RECORD_LEN_MAX, &sent) < 0)
        abort();
    *sent_at += sent.record_len;
    if (event.position != position || !same_event(&event, &sent) ||
        event.time_us != commit->time_us ||
        address - event.commit_back != *commit_address)
        model_fail("position %" PRIu64 " holds another event than was sent",
                   position);
    link = event_stream_link(&event);
    extend_key(model, KEY_STREAM, sent.stream, &link, address, position);
    for (uint32_t i = 0; i < event.tag_count; i++) {
        link = event_tag_link(&event, i);
        extend_key(model, KEY_TAG, event_tag_link(&sent, i).name, &link,
                   address, position);
    }
    extend_key(model, KEY_TYPE, sent.type, NULL, address, position);
    model->addresses = grow(model->addresses, model->address_count,
                            &model->address_capacity, sizeof *model->addresses);
    model->addresses[model->address_count++] = address;
    return 0;
}

static int
walk_commit(struct walk *walk, const struct model_commit *commit)
{
    const uint8_t *sent_at = commit->bytes + sizeof(struct commit_record);
    uint64_t address = ADDRESS_NONE;
    struct commit found;
    int rc;

    for (uint32_t i = 0; i < commit->event_count; i++) {
        rc = walk_event(walk, commit, i, &address, &sent_at);
        if (rc < 0)
            return rc;
    }
    rc = evlog_commit_at(walk->log, address, &found, walk->err);
    if (rc < 0)
        return rc;
    if (!uuid_equal(found.command_id, commit->id) ||
        found.first_position != commit->first_position ||
        found.event_count != commit->event_count ||
        found.commit_len != commit->len || found.time_us != commit->time_us)
        model_fail("the commit of position %" PRIu64 " is another",
                   commit->first_position);
    return 0;
}

static int
walk_log(struct walk *walk)
{
    struct model *model = walk->model;
    uint64_t end = model_settled_position(model);
    int rc = evlog_seek(walk->log, 1, end, &walk->cursor, walk->err);

    forget_keys(model);
    if (model->slots != NULL)
        memset(model->slots, 0, model->key_capacity * 2 * sizeof *model->slots);
    for (size_t i = 0; rc == 0 && i < model->settled_count; i++)
        rc = walk_commit(walk, &model->commits[i]);
    return rc;
}

int
model_read_log(struct model *model, const struct sys *sys, const char *dir,
               struct err *err)
{
    struct walk walk = { .model = model, .err = err };
    int rc = evlog_open(sys, dir, &walk.log, err);

    if (rc == 0)
        rc = walk_log(&walk);
    evlog_close(&walk.log);
    return rc;
}

void
model_check_log(struct model *model, const struct sys *sys, const char *dir)
{
    struct err err;

    if (model_read_log(model, sys, dir, &err) < 0)
        model_fail("cannot read the log: %s", err.text);
}

static void
check_seeks(struct model *model, struct evlog *log, struct rng *rng)
{
    uint64_t end = model_settled_position(model);

    for (int i = 0; i < 4 && end > 0; i++) {
        uint64_t position = 1 + rng_below(rng, end);
        struct cursor cursor;
        struct err err;

        if (evlog_seek(log, position, end, &cursor, &err) < 0)
            model_fail("cannot seek %" PRIu64 ": %s", position, err.text);
        if (cursor.address != model->addresses[position - 1])
            model_fail("seek leads to a wrong place for position %" PRIu64,
                       position);
    }
}

static void
check_key(const struct model_key *key, struct reader *reader,
          uint64_t watermark)
{
    uint64_t address;
    struct event event;
    struct err err;
    int rc = reader_find(reader, key->kind, key->name, watermark, &address,
                         &event, &err);

    if (rc < 0)
        model_fail("cannot find '%.*s': %s", (int)key->name.len, key->name.p,
                   err.text);
    if (rc == 0)
        model_fail("the table does not know '%.*s'", (int)key->name.len,
                   key->name.p);
    if (address != key->addresses[key->count - 1])
        model_fail("the table leads to a wrong event of '%.*s' (%#" PRIx64
                   ", not %#" PRIx64 ")",
                   (int)key->name.len, key->name.p, address,
                   key->addresses[key->count - 1]);
}

void
model_check(struct model *model, const struct sys *sys, const char *dir,
            const char *control, struct rng *rng)
{
    static const struct span nobody = { "nobody", 6 };
    struct reader *reader;
    uint64_t watermark, address;
    struct event event;
    struct err err;

    if (reader_open(sys, dir, control, &reader, &err) < 0)
        model_fail("cannot open a reader: %s", err.text);
    if (reader_watermark(reader, &watermark, &err) < 0)
        model_fail("no watermark: %s", err.text);
    if (watermark != model_settled_position(model))
        model_fail("the watermark is %" PRIu64 ", settled is %" PRIu64,
                   watermark, model_settled_position(model));
    model_check_log(model, sys, dir);
    check_seeks(model, reader_log(reader), rng);
    for (uint32_t i = 0; i < model->key_count; i++)
        check_key(&model->keys[i], reader, watermark);
    for (enum key_kind kind = KEY_STREAM; kind <= KEY_TYPE; kind++)
        if (reader_find(reader, kind, nobody, watermark, &address, &event,
                        &err) != 0)
            model_fail("the table knows a key that nobody used");
    reader_close(&reader);
}
