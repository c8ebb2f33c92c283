/* SPDX-License-Identifier: MPL-2.0 */
/* log - the command: the files of a log, without daemons. */
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "cairn/cli.h"
#include "cairn/line.h"
#include "store/evlog.h"
#include "store/verify.h"

static const char help[] =
    "cairn log - the files of a log, without daemons\n\n"
    "usage: cairn log verify [--quick] DIRECTORY\n"
    "       cairn log dump [--from POSITION] [--limit N] DIRECTORY\n"
    "       cairn log backup [--control FILE] DIRECTORY BACKUP\n"
    "       cairn log restore [--to POSITION|@TIME] BACKUP DIRECTORY\n\n"
    "  verify   reads everything and says what is damaged: segment, byte and\n"
    "           positions, streams if they can be told; exit code 1 if "
    "anything is.  --quick leaves the\n"
    "           links of events out\n"
    "  dump     shows groups, commits and events as they lie in the files\n"
    "  backup   copies what is new of the log into BACKUP, which is made if\n"
    "           need be, and checks what the device gives back; at any time,\n"
    "           beside a writer or without one.  BACKUP is a log itself, and\n"
    "           a whole one at every moment.  --control FILE is the writer's\n"
    "           control page (RUN/log.control)\n"
    "  restore  makes a log of a backup, in an empty or a new directory: a "
    "new\n"
    "           log, with an id of its own, that holds all commits, or all "
    "that\n"
    "           end at or before a position or time.  Read models of the old\n"
    "           log have to be reset\n\n"
    "All but restore may run beside a writer; what it is writing just then\n"
    "shows as an unfinished end in verify and dump, and is in no backup.\n\n"
    "  --json   findings, records, or what was done, as lines of JSON\n";

struct log_options {
    bool quick;
    uint64_t from, limit;
};

/* ---- verify ------------------------------------------------------------ */

struct verify_run {
    struct cli *cli;
    uint64_t began_ms;
};

static void
print_finding_json(const struct verify_finding *f)
{
    printf("{\"damage\":");
    json_print_text(stdout, f->what, strlen(f->what));
    printf(",\"segment\":\"%s\",\"byte\":%" PRIu64, f->segment, f->byte);
    if (f->first_position > 0)
        printf(",\"first_position\":%" PRIu64, f->first_position);
    if (f->last_position > 0)
        printf(",\"last_position\":%" PRIu64, f->last_position);
    printf(",\"streams\":[");
    for (uint32_t i = 0; i < f->stream_count; i++) {
        printf(i > 0 ? "," : "");
        json_print_text(stdout, f->streams[i].p, f->streams[i].len);
    }
    printf("]}\n");
}

static void
on_finding(void *arg, const struct verify_finding *f)
{
    struct verify_run *run = arg;

    cli_progress_end(run->cli);
    if (run->cli->json) {
        print_finding_json(f);
        return;
    }
    printf("segment %s, byte %" PRIu64 ": %s", f->segment, f->byte, f->what);
    if (f->first_position > 0 && f->last_position >= f->first_position)
        printf("; positions %" PRIu64 " to %" PRIu64, f->first_position,
               f->last_position);
    else if (f->first_position > 0)
        printf("; from position %" PRIu64 " on", f->first_position);
    for (uint32_t i = 0; i < f->stream_count; i++)
        printf("%s%.*s", i > 0 ? ", " : "; streams, as far as can be told: ",
               (int)f->streams[i].len, f->streams[i].p);
    printf("\n");
}

static void
on_verify_progress(void *arg, uint64_t done, uint64_t all, uint64_t position)
{
    struct verify_run *run = arg;
    double rate, left = cli_seconds_left(run->began_ms, done, all, &rate);

    cli_progress(run->cli,
                 "verifying: %3.0f %%, position %s, %s/s, about %.0f s left",
                 100.0 * (double)done / (double)all, cli_number(position),
                 cli_bytes((uint64_t)rate), left);
}

static int
verify(struct cli *cli, const struct log_options *o, const char *dir)
{
    struct verify_run run = { .cli = cli, .began_ms = clock_ms() };
    const struct verify_events events = {
        .arg = &run,
        .finding = on_finding,
        .progress = on_verify_progress,
    };
    struct verify_report r;
    struct err err;
    int rc = log_verify(&sys_real, dir, o->quick, &events, &r, &err);

    cli_progress_end(cli);
    if (rc < 0)
        return cli_fail(&err);
    if (cli->json)
        printf("{\"segments\":%" PRIu64 ",\"groups\":%" PRIu64
               ",\"commits\":%" PRIu64 ",\"events\":%" PRIu64
               ",\"bytes\":%" PRIu64 ",\"last_position\":%" PRIu64
               ",\"findings\":%" PRIu64 ",\"unfinished\":%s}\n",
               r.segments, r.groups, r.commits, r.events, r.bytes,
               r.last_position, r.findings, r.unfinished ? "true" : "false");
    else
        printf("%s: %s events in %s commits, %s groups, %s segments (%s), up "
               "to position %s%s\n",
               r.findings == 0 ? "whole" : "DAMAGED", cli_number(r.events),
               cli_number(r.commits), cli_number(r.groups),
               cli_number(r.segments), cli_bytes(r.bytes),
               cli_number(r.last_position),
               r.unfinished ? "; an unfinished write at the end, which a "
                              "start of the writer judges"
                            : "");
    return r.findings == 0 ? CLI_DONE : CLI_FAILED;
}

/* ---- dump -------------------------------------------------------------- */

static void
dump_group(const struct cli *cli, const struct group_info *g)
{
    uint64_t offset = address_offset(g->address);
    char time[32];

    if (cli->json) {
        printf("{\"record\":\"group\",\"number\":%" PRIu64
               ",\"segment\":%" PRIu64 ",\"byte\":%" PRIu64
               ",\"first_position\":%" PRIu64 ",\"last_position\":%" PRIu64
               ",\"length\":%u,\"commits\":%u,\"checksum\":\"%08x\","
               "\"previous\":\"%08x\"}\n",
               g->number, address_segment(g->address), offset,
               g->first_position, g->last_position, g->group_len,
               g->commit_count, g->crc, g->prev_crc);
        return;
    }
    printf("group %" PRIu64 "  segment %" PRIu64 " byte %" PRIu64
           "  positions %" PRIu64 " to %" PRIu64 "  %u bytes, %u commits  %s\n",
           g->number, address_segment(g->address), offset, g->first_position,
           g->last_position, g->group_len, g->commit_count,
           time_format(g->time_us, time));
}

static void
dump_commit(const struct cli *cli, const struct commit *c)
{
    char id[UUID_TEXT_LEN + 1];

    uuid_format(c->command_id, id);
    if (cli->json)
        printf("{\"record\":\"commit\",\"command\":\"%s\","
               "\"first_position\":%" PRIu64 ",\"events\":%u,\"length\":%u}\n",
               id, c->first_position, c->event_count, c->commit_len);
    else
        printf("  commit %s  %u events from position %" PRIu64 ", %u bytes\n",
               id, c->event_count, c->first_position, c->commit_len);
}

static void
dump_event(const struct cli *cli, const struct event *e)
{
    struct link link = event_stream_link(e);

    if (cli->json) {
        line_print(stdout, e);
        return;
    }
    printf("    event %" PRIu64 "  %.*s@%" PRIu64 "  %.*s  meta %u, data %u "
           "bytes  prev %" PRIu64 ":%" PRIu64 " jump %" PRIu64 ":%" PRIu64 "\n",
           e->position, (int)e->stream.len, e->stream.p, e->version,
           (int)e->type.len, e->type.p, e->meta.len, e->data.len,
           address_segment(link.prev), address_offset(link.prev),
           address_segment(link.jump), address_offset(link.jump));
    for (uint32_t i = 0; i < e->tag_count; i++) {
        link = event_tag_link(e, i);
        printf("      tag %.*s  number %" PRIu64 "\n", (int)link.name.len,
               link.name.p, link.ordinal);
    }
}

/* Shows the records of one group; false if enough has been shown. */
static bool
dump_records(const struct cli *cli, const struct log_options *o,
             const uint8_t *group, uint64_t len, uint64_t *shown)
{
    uint64_t at = sizeof(struct group_header);

    while (at < len) {
        enum record_kind kind;
        struct commit commit;
        struct event event;
        uint32_t record_len;

        if (record_check(group + at, (size_t)(len - at), &kind, &record_len) <
            0)
            break;
        if (kind == RECORD_COMMIT &&
            commit_decode(group + at, (size_t)(len - at), &commit) == 0 &&
            commit.first_position + commit.event_count > o->from)
            dump_commit(cli, &commit);
        if (kind == RECORD_EVENT &&
            event_decode_whole(group + at, (size_t)(len - at), &event) == 0 &&
            event.position >= o->from) {
            dump_event(cli, &event);
            if (++*shown == o->limit)
                return false;
        }
        at += record_len;
    }
    return true;
}

static int
dump_segment(const struct cli *cli, const struct log_options *o,
             struct evlog *log, uint64_t number, uint64_t *shown,
             struct err *err)
{
    struct segment *segment;
    uint64_t offset = SECTOR_LEN;
    int rc = evlog_segment(log, number, &segment, err);

    if (rc < 0)
        return rc;
    while (offset < segment->data_end) {
        const uint8_t *data = segment->data + offset;
        struct group_info group;

        if (bytes_all_zero(data, sizeof(struct record_prefix)))
            return 0;
        rc = group_decode(data, segment->data_end - offset, evlog_id(log),
                          address_of(number, offset), &group);
        if (rc == 0)
            rc = group_check_body(data, &group);
        if (rc < 0)
            return err_set(err, -CAIRN_EDAMAGED,
                           "segment %020" PRIu64 SEGMENT_SUFFIX
                           ", byte %" PRIu64 ": no whole group (an "
                           "unfinished write, or damage: cairn log verify "
                           "tells)",
                           segment->info.first_position, offset);
        if (group.last_position >= o->from) {
            dump_group(cli, &group);
            if (!dump_records(cli, o, data, group.group_len, shown))
                return 1;
        }
        offset += group.group_len;
    }
    return 0;
}

static int
dump(struct cli *cli, const struct log_options *o, const char *dir)
{
    struct evlog *log;
    struct err err;
    uint64_t shown = 0;
    int rc = evlog_open(&sys_real, dir, &log, &err);

    if (rc < 0)
        return cli_fail(&err);
    for (uint64_t n = 1; rc == 0 && n <= evlog_segment_count(log); n++) {
        uint64_t next = n < evlog_segment_count(log)
            ? evlog_segment_first(log, n + 1)
            : UINT64_MAX;

        if (next > o->from)
            rc = dump_segment(cli, o, log, n, &shown, &err);
    }
    evlog_close(&log);
    return rc < 0 ? cli_fail(&err) : CLI_DONE;
}

int
cli_log_help(void)
{
    fputs(help, stdout);
    return CLI_DONE;
}

int
cli_log(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {
        { "quick", no_argument, NULL, 256 },
        { "from", required_argument, NULL, 257 },
        { "limit", required_argument, NULL, 258 },
        CLI_COMMON_OPTIONS,
        { 0 },
    };
    struct log_options o = { .from = 1 };
    int c;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "backup") == 0)
            return cli_log_backup(cli, argc, argv);
        if (strcmp(argv[i], "restore") == 0)
            return cli_log_restore(cli, argc, argv);
        if (argv[i][0] != '-')
            break;
    }
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'h')
            return cli_log_help();
        if (c == 256)
            o.quick = true;
        else if ((c == 257 && !number_parse(optarg, &o.from)) ||
                 (c == 258 && !number_parse(optarg, &o.limit)))
            return cli_usage("log", "'%s': it must be a number", optarg);
        else if (c != 257 && c != 258 && !cli_common_option(cli, c, optarg))
            return cli_usage("log", "the options are wrong");
    }
    if (argc - optind == 2 && strcmp(argv[optind], "verify") == 0)
        return verify(cli, &o, argv[optind + 1]);
    if (argc - optind == 2 && strcmp(argv[optind], "dump") == 0)
        return dump(cli, &o, argv[optind + 1]);
    return cli_usage("log",
                     "say: log verify DIRECTORY, log dump DIRECTORY, log "
                     "backup DIRECTORY BACKUP, or log restore BACKUP "
                     "DIRECTORY");
}
