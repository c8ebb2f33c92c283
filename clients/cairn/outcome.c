/* SPDX-License-Identifier: MPL-2.0 */
/* outcome - what `cairn append` says of an outcome. */
#include <inttypes.h>

#include "cairn/append.h"
#include "cairn/condition.h"

static const char *const expectations[] = { "any", "none", "exists" };

/* The check of a verdict; NULL if the command had no such check. */
static const struct wire_check *
check_of(const struct wire_command *command, const struct wire_verdict *v)
{
    return v->check < command->check_count ? &command->checks[v->check] : NULL;
}

/* ---- as JSON ----------------------------------------------------------- */

static void
print_verdict_json(const struct wire_command *command,
                   const struct wire_verdict *v)
{
    const struct wire_check *check = check_of(command, v);

    printf("{\"check\":%u,\"holds\":%s", v->check, v->holds ? "true" : "false");
    if (check != NULL && expect_is_condition(check->expect)) {
        printf(",\"fail_if\":");
        condition_print_json(stdout, check);
    } else if (check != NULL) {
        printf(",\"stream\":");
        json_print_text(stdout, check->stream, check->stream_len);
        if (v->expect < WIRE_EXPECT_EXACT)
            printf(",\"expected\":\"%s\"", expectations[v->expect]);
        else
            printf(",\"expected\":%" PRIu64, v->expected);
    }
    printf(",\"actual\":%" PRIu64 "}", v->actual);
}

static void
print_events_json(const struct wire_outcome *o)
{
    const uint8_t *p = o->records, *end = p + o->records_len;
    struct event event;

    printf(",\"more\":%s,\"events\":[", o->more ? "true" : "false");
    while (p < end && event_decode_whole(p, (size_t)(end - p), &event) == 0) {
        fputs(p > o->records ? "," : "", stdout);
        json_print_event(stdout, &event);
        p += event.record_len;
    }
    printf("]");
}

static void
print_json(const struct append_run *run, const struct wire_command *command,
           const struct wire_outcome *o, uint64_t line, bool reached)
{
    bool unreachable = o->code == ANSWER_UNKNOWN && !reached;
    char id[UUID_TEXT_LEN + 1], time[32];

    uuid_format(o->id, id);
    printf("{\"outcome\":\"%s\",\"command\":\"%s\"",
           unreachable ? "not reachable" : answer_name(o->code), id);
    if (line > 0)
        printf(",\"line\":%" PRIu64, line);
    if (o->dry_run)
        printf(",\"dry_run\":true");
    if (o->code == ANSWER_ACCEPTED) {
        printf(",\"first\":%" PRIu64 ",\"last\":%" PRIu64, o->first_position,
               o->last_position);
        if (o->time_us > 0)
            printf(",\"time\":\"%s\"", time_format(o->time_us, time));
        printf(",\"repeated\":%s,\"versions\":[",
               o->repeated ? "true" : "false");
        for (uint32_t i = 0; i < o->version_count; i++)
            printf("%s%" PRIu64, i > 0 ? "," : "", o->versions[i]);
        printf("]");
    }
    if (o->verdict_count > 0) {
        printf(",\"%s\":[", o->dry_run ? "checks" : "failed");
        for (uint32_t i = 0; i < o->verdict_count; i++) {
            fputs(i > 0 ? "," : "", stdout);
            print_verdict_json(command, &o->verdicts[i]);
        }
        printf("]");
    }
    if (o->code == ANSWER_CONFLICT && run->options->show > 0)
        print_events_json(o);
    if (o->detail_len > 0) {
        printf(",\"detail\":");
        json_print_text(stdout, o->detail, o->detail_len);
    }
    printf("}\n");
}

/* ---- for people -------------------------------------------------------- */

static void
print_condition(FILE *out, const struct wire_check *check,
                const struct wire_verdict *v)
{
    if (v->holds)
        fprintf(out, "no event matches '");
    else
        fprintf(out, "the event at position %" PRIu64 " matches '", v->actual);
    condition_print(out, check);
    fprintf(out, "' behind position %" PRIu64, v->expected);
}

static void
print_verdict(FILE *out, const struct wire_command *command,
              const struct wire_verdict *v)
{
    const struct wire_check *check = check_of(command, v);

    fprintf(out, "check %u: ", v->check);
    if (check != NULL && expect_is_condition(check->expect)) {
        print_condition(out, check, v);
        return;
    }
    fprintf(out, "the stream");
    if (check != NULL)
        fprintf(out, " '%.*s'", (int)check->stream_len, check->stream);
    fprintf(out, " is at version %" PRIu64 ", expected: ", v->actual);
    if (v->expect < WIRE_EXPECT_EXACT)
        fputs(expectations[v->expect], out);
    else
        fprintf(out, "%" PRIu64, v->expected);
}

static void
print_events(const struct wire_outcome *o)
{
    const uint8_t *p = o->records, *end = p + o->records_len;
    struct event event;

    while (p < end && event_decode_whole(p, (size_t)(end - p), &event) == 0) {
        fprintf(stderr, "  in the way: ");
        line_print(stderr, &event);
        p += event.record_len;
    }
    if (o->more)
        fprintf(stderr, "  and perhaps more, behind these\n");
}

static void
print_conflict(const struct append_run *run, const struct wire_command *command,
               const struct wire_outcome *o, const char *where)
{
    fprintf(stderr, "cairn: %sconflict: ", where);
    for (uint32_t i = 0; i < o->verdict_count; i++) {
        fputs(i > 0 ? "; " : "", stderr);
        print_verdict(stderr, command, &o->verdicts[i]);
    }
    fprintf(stderr, "; nothing of this commit was stored\n");
    if (run->options->show > 0)
        print_events(o);
}

static void
print_dry_run(const struct append_run *run, const struct wire_command *command,
              const struct wire_outcome *o, const char *where)
{
    if (o->repeated)
        printf("%swould be repeated: it took effect at position %" PRIu64 "\n",
               where, o->last_position);
    else if (o->code == ANSWER_ACCEPTED)
        printf("%swould be accepted: position %" PRIu64 ", version %" PRIu64
               "\n",
               where, o->last_position,
               o->version_count > 0 ? o->versions[o->version_count - 1] : 0);
    else
        printf("%swould be a conflict\n", where);
    for (uint32_t i = 0; i < o->verdict_count; i++) {
        fputs(o->verdicts[i].holds ? "  holds  " : "  fails  ", stdout);
        print_verdict(stdout, command, &o->verdicts[i]);
        putc('\n', stdout);
    }
    if (run->options->show > 0)
        print_events(o);
}

void
outcome_print(const struct append_run *run, const struct wire_command *command,
              const struct wire_outcome *o, uint64_t line, bool reached)
{
    char where[32] = "";

    if (run->cli->json) {
        print_json(run, command, o, line, reached);
        return;
    }
    if (run->lines)
        (void)snprintf(where, sizeof where, "line %" PRIu64 ": ", line);
    if (o->dry_run &&
        (o->code == ANSWER_ACCEPTED || o->code == ANSWER_CONFLICT)) {
        print_dry_run(run, command, o, where);
    } else if (o->code == ANSWER_ACCEPTED && !run->lines) {
        printf("%s: position %" PRIu64 ", version %" PRIu64 "\n",
               o->repeated ? "repeated" : "accepted", o->last_position,
               o->version_count > 0 ? o->versions[o->version_count - 1] : 0);
    } else if (o->code == ANSWER_CONFLICT) {
        print_conflict(run, command, o, where);
    } else if (o->code == ANSWER_UNKNOWN) {
        fprintf(stderr, "cairn: %s%s\n", where,
                reached ? "outcome unknown: no answer in time; ask again "
                          "with the same command id"
                        : "not reachable: nothing was sent");
    } else if (o->code != ANSWER_ACCEPTED) {
        fprintf(stderr, "cairn: %s%s: %.*s\n", where, answer_name(o->code),
                (int)o->detail_len, o->detail);
    }
}
