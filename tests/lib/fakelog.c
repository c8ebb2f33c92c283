/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/fakelog.h"

#include <stdlib.h>

static int
fake_event_at(void *self, uint64_t address, struct event *ret_event,
              struct err *err)
{
    struct fakelog *log = self;

    log->reads++;
    if (log->fail_rc != 0)
        return err_set(err, log->fail_rc, "as told");
    if (address == 0 || address > log->count)
        return err_set(err, -CAIRN_EDAMAGED, "there is no such event");
    return event_view(log->commits[address - 1] + sizeof(struct commit_record),
                      RECORD_LEN_MAX, ret_event);
}

void
fakelog_begin(struct fakelog *log)
{
    *log = (struct fakelog){ .source = { log, fake_event_at } };
}

void
fakelog_end(struct fakelog *log)
{
    for (size_t i = 0; i < log->count; i++)
        free(log->commits[i]);
    free(log->commits);
    *log = (struct fakelog){ 0 };
}

uint64_t
fakelog_add(struct fakelog *log, const struct event_text *text)
{
    struct uuid id = { { 1 } };
    uint32_t len;
    uint8_t *commit = commit_make(id, text, 1, &len);

    if (log->count == log->capacity) {
        log->capacity = log->capacity == 0 ? 64 : log->capacity * 2;
        log->commits =
            reallocarray(log->commits, log->capacity, sizeof *log->commits);
    }
    log->commits[log->count++] = realloc(commit, len);
    return log->count;
}

uint64_t
fakelog_add_to(struct fakelog *log, const char *stream)
{
    struct event_text text = { stream, "T", NULL, NULL, { NULL } };

    return fakelog_add(log, &text);
}
