/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What people write: configuration, projections, lines of JSON for
 * `cairn append`.
 *
 * Input: a byte that says which, the text.
 */
#include "fuzz/input.h"

#include <stdlib.h>
#include <string.h>

#include "base/conf.h"
#include "cairn/line.h"
#include "gateway/commands.h"
#include "projector/definition.h"

static const struct conf_key keys[] = {
    { "log.directory", CONF_PATH, "/tmp", "a path", 0, 0, NULL },
    { "endpoint", CONF_ENDPOINT, "-", "an endpoint", 0, 0, NULL },
    { "limits.count", CONF_COUNT, "5", "a count", 1, 1000, NULL },
    { "limits.bytes", CONF_BYTES, "1K", "bytes", 1, 1 << 30, NULL },
    { "wait", CONF_MSEC, "1s", "a time", 0, 60000, NULL },
    { "source", CONF_CHOICE, "log", "a choice", 0, 0, "log publisher" },
    { "name", CONF_TEXT, "x", "a text", 0, 0, NULL },
    { NULL, 0, NULL, NULL, 0, 0, NULL },
};

static void
try_conf(struct input text)
{
    struct conf *conf = NULL;
    struct err err;
    int rc = conf_load(keys, input_file(text), NULL, &conf, &err);

    if (rc < 0) {
        input_must(err.text[0] != '\0', "a bad file is told apart");
    } else {
        uint64_t count = conf_number(conf, "limits.count");

        input_must(count >= 1 && count <= 1000, "limits of numbers hold");
        input_must(conf_text(conf, "name") != NULL, "a text is there");
        (void)conf_endpoint(conf, "endpoint");
    }
    conf_free(&conf);
}

static void
try_definition(struct input text)
{
    struct definition definition;
    struct err err;

    if (definition_load(input_file(text), &definition, &err) == 0) {
        input_must(definition.name[0] != '\0' && definition.handler_count > 0,
                   "a projection has a name and does something");
        definition_free(&definition);
    } else {
        input_must(err.text[0] != '\0', "a bad projection is told apart");
    }
}

/* What is read from a line can be sent, or is refused with a reason. */
static void
try_line(struct input text)
{
    static const struct command_limits limits = { 100, 100, 65536, 4096,
                                                  1 << 20 };
    static struct line_commit commit;
    char *line = (char *)input_copy(text);
    struct err err;
    bool more;

    if (line_parse(&commit, line, text.left, &err) == 0) {
        struct wire_command command = line_finish(&commit);
        char reason[REASON_LEN] = "";
        uint32_t len;

        command.id.b[0] |= 1;
        input_must(command.event_count == 1, "a line is an event");
        if (command_check(&command, &limits, &len, reason) != ANSWER_ACCEPTED)
            input_must(reason[0] != '\0', "a refusal has a reason");
    } else {
        input_must(err.text[0] != '\0', "a bad line is told apart");
    }
    (void)line_command(line, text.left, &more);
    line_clear(&commit);
    free(line);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct input input = { data, len };

    switch (input_number(&input, 1) % 3) {
    case 0:
        try_conf(input);
        break;
    case 1:
        try_definition(input);
        break;
    default:
        try_line(input);
        break;
    }
    return 0;
}
