/* SPDX-License-Identifier: MPL-2.0 */
/*
 * bench_store - reading the store itself, next to the memory's floors:
 *
 *   C  one pass over the mapped segments with the checksum, and nothing else;
 *      against reading the whole log, checks included: as it goes into the
 *      answers of a READ, and event by event
 *   H  random reads, each depending on the one before, in an array as long as
 *      the version table; against looking up the version of a random stream
 *   H2 the same with a second read, which depends on the first, of any place
 *      of the log: a slot holds only where the newest event lies, and the
 *      version and the name to compare stand there
 *
 *   bench_store SECONDS-PER-RUN ROUNDS EVENTS STREAMS
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "contest.h"
#include "fill.h"
#include "lib/tmpdir.h"
#include "publisher/query.h"
#include "store/reader.h"

#define NAMES 65536u           /* random ones, looked up in turn */
#define PIECE (64u << 10)      /* of a floor's pass: it stays in the cache */
#define LOOKUPS_PER_LOOK 4096u /* at the clock */

struct store {
    struct reader *reader;
    uint64_t watermark;
    char (*names)[FILL_NAME_LEN + 1];
    uint64_t *array;
    uint64_t array_mask;  /* of words */
    const uint8_t *first; /* segment of the log */
    uint64_t first_len;
    struct err err;
};

static void
must(struct store *s, int rc)
{
    if (rc < 0)
        bench_die("%s", s->err.text);
}

/* SplitMix64 (Steele, Lea, Flood, 2014). */
static uint64_t
mix(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* ---- scans ------------------------------------------------------------- */

/* In pieces as the publisher sends them. */
static uint64_t
ranges_run(void *self, const struct load *load, uint32_t connection)
{
    struct store *s = self;
    struct evlog *log = reader_log(s->reader);
    double began = seconds_now();
    uint64_t count = 0;

    (void)connection;
    do {
        struct cursor cursor;
        struct log_range range;
        int rc;

        must(s, evlog_seek(log, 1, s->watermark, &cursor, &s->err));
        while ((rc = evlog_range(log, &cursor, s->watermark, ANSWER_FRAME_LEN,
                                 UINT32_MAX, &range, &s->err)) > 0) {
            count += range.event_count;
            segment_unref(&range.segment);
        }
        must(s, rc);
    } while (seconds_now() - began < load->seconds);
    return count;
}

static uint64_t
events_run(void *self, const struct load *load, uint32_t connection)
{
    struct store *s = self;
    struct evlog *log = reader_log(s->reader);
    double began = seconds_now();
    uint64_t count = 0;

    (void)connection;
    do {
        struct cursor cursor;
        struct event event;
        int rc;

        must(s, evlog_seek(log, 1, s->watermark, &cursor, &s->err));
        while ((rc = evlog_next(log, &cursor, s->watermark, &event, &s->err)) >
               0)
            count++;
        must(s, rc);
    } while (seconds_now() - began < load->seconds);
    return count;
}

/* Passes over what the scan reads; counts the events that lie there. */
static uint64_t
crc_run(void *self, const struct load *load, uint32_t connection)
{
    struct store *s = self;
    struct evlog *log = reader_log(s->reader);
    double began = seconds_now();
    uint32_t sum = 0;
    struct cursor end;
    uint64_t passes = 0;

    (void)connection;
    must(s, evlog_seek(log, s->watermark, s->watermark, &end, &s->err));
    do {
        for (uint64_t n = 1; n <= evlog_segment_count(log); n++) {
            struct segment *segment;
            uint64_t len;

            must(s, evlog_segment(log, n, &segment, &s->err));
            len = segment->sealed ? segment->end.data_end
                                  : address_offset(end.address);
            for (uint64_t at = SECTOR_LEN; at < len; at += PIECE)
                sum += crc32c(segment->data + at,
                              len - at < PIECE ? len - at : PIECE);
        }
        passes++;
    } while (seconds_now() - began < load->seconds);
    /* So that the sum is not left out; it is hardly ever 1. */
    return passes * s->watermark + (sum == 1);
}

/* ---- lookups ----------------------------------------------------------- */

static uint64_t
lookup_run(void *self, const struct load *load, uint32_t connection)
{
    struct store *s = self;
    double began = seconds_now();
    uint64_t count = 0;

    (void)connection;
    do {
        for (uint32_t i = 0; i < LOOKUPS_PER_LOOK; i++, count++) {
            struct span name = { s->names[count % NAMES], FILL_NAME_LEN };
            struct event event;
            uint64_t address;
            int rc = reader_find(s->reader, KEY_STREAM, name, s->watermark,
                                 &address, &event, &s->err);

            must(s, rc);
            if (rc == 0 || event.version == 0)
                bench_die("a stream is not found");
        }
    } while (seconds_now() - began < load->seconds);
    return count;
}

static uint64_t
array_run(void *self, const struct load *load, uint32_t connection)
{
    struct store *s = self;
    double began = seconds_now();
    uint64_t count = 0, at = 0;

    (void)connection;
    do {
        for (uint32_t i = 0; i < LOOKUPS_PER_LOOK; i++, count++)
            at = s->array[at & s->array_mask];
    } while (seconds_now() - began < load->seconds);
    return count + (at == UINT64_MAX); /* so that the reads are not left out */
}

static uint64_t
array_log_run(void *self, const struct load *load, uint32_t connection)
{
    struct store *s = self;
    double began = seconds_now();
    uint64_t count = 0, at = 0;

    (void)connection;
    do {
        for (uint32_t i = 0; i < LOOKUPS_PER_LOOK; i++, count++) {
            uint64_t word;

            at = s->array[at & s->array_mask];
            memcpy(&word, s->first + (at >> 32) % s->first_len / 8 * 8,
                   sizeof word);
            at ^= word == UINT64_MAX; /* never; but it waits for it */
        }
    } while (seconds_now() - began < load->seconds);
    return count + (at == UINT64_MAX);
}

/* ---- both -------------------------------------------------------------- */

/*
 * One cycle through the whole array in random order (Sattolo, 1986), so that
 * the reads do not soon go round in a part of it that a cache holds.  The low
 * bits say where to go on, the high ones are random.
 */
static void
make_cycle(struct store *s, uint64_t *state)
{
    for (uint64_t i = 0; i <= s->array_mask; i++)
        s->array[i] = i;
    for (uint64_t i = s->array_mask; i > 0; i--) {
        uint64_t other = mix(state) % i, word = s->array[i];

        s->array[i] = s->array[other];
        s->array[other] = word;
    }
    for (uint64_t i = 0; i <= s->array_mask; i++)
        s->array[i] |= mix(state) & ~s->array_mask;
}

static void
open_store(struct store *s, const char *dir, uint32_t streams)
{
    const char *control = tmpdir_path(dir, "control");
    uint64_t slots = TABLE_SLOTS_MIN, state = 1;
    struct segment *segment;

    must(s,
         reader_open(&sys_real, tmpdir_path(dir, "log"), control, &s->reader,
                     &s->err));
    must(s, reader_watermark(s->reader, &s->watermark, &s->err));
    must(s, evlog_segment(reader_log(s->reader), 1, &segment, &s->err));
    segment = segment_ref(segment); /* until the program ends */
    s->first = segment->data;
    s->first_len = segment->info.segment_len - sizeof(uint64_t);
    s->names = calloc(NAMES, sizeof *s->names);
    /* A stream has a slot of two words, and slots are at most half full; the
     * table has as many as the next power of two. */
    while (slots < 2 * (uint64_t)streams)
        slots *= 2;
    s->array_mask = slots * 2 - 1;
    s->array = malloc(slots * 2 * sizeof *s->array);
    if (s->names == NULL || s->array == NULL)
        bench_die("no memory");
    make_cycle(s, &state);
    for (uint32_t i = 0; i < NAMES; i++)
        fill_name(s->names[i], (uint32_t)(mix(&state) % streams));
}

int
main(int argc, char **argv)
{
    static struct store s;
    const struct engine ranges = { "cairn", &s, ranges_run };
    const struct engine by_event = { "by event", &s, events_run };
    const struct engine crc = { "C", &s, crc_run };
    const struct engine lookup = { "cairn", &s, lookup_run };
    const struct engine array = { "H", &s, array_run };
    const struct engine array_log = { "H2", &s, array_log_run };
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 0;
    int rounds = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 0;
    uint64_t events = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
    uint32_t streams = argc > 4 ? (uint32_t)strtoul(argv[4], NULL, 10) : 0;
    struct load load = {
        .connections = 1, .outstanding = 1, .batch = 1, .seconds = seconds
    };
    char *dir;

    if (argc != 5 || seconds <= 0 || rounds < 1 || rounds > 64 ||
        streams == 0 || events < streams) {
        fprintf(stderr, "usage: bench_store SECONDS ROUNDS EVENTS STREAMS\n");
        return 64;
    }
    dir = tmpdir_make();
    (void)fill_log(tmpdir_path(dir, "log"), tmpdir_path(dir, "control"), events,
                   streams);
    open_store(&s, dir, streams);
    contest_run(&(struct contest){ .row = "scan",
                                   .name = "mapped scan with checksums",
                                   .unit = "events/s",
                                   .load = load,
                                   .engines = { &ranges, &by_event, &crc },
                                   .rounds = rounds });
    contest_run(&(struct contest){ .row = "lookup",
                                   .name = "version lookup",
                                   .unit = "lookups/s",
                                   .load = load,
                                   .engines = { &lookup, &array, &array_log },
                                   .rounds = rounds });
    reader_close(&s.reader);
    tmpdir_remove(&dir);
    return 0;
}
