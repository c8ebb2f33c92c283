/* SPDX-License-Identifier: MPL-2.0 */
/* cairn-writer - appends events to the log; the only process that does. */
#include "writer/writer.h"

int
main(int argc, char **argv)
{
    struct writer writer = { 0 };
    const struct daemon_flag flags[] = {
        { "accept-tail-loss",
          "give up a damaged end of the log that start-up refuses to cut",
          &writer.accept_tail_loss },
        { 0 },
    };
    const struct daemon_spec spec = {
        .name = "cairn-writer",
        .summary = "appends events to the log",
        .config = "/etc/cairn/writer.conf",
        .keys = writer_keys,
        .flags = flags,
        .start = writer_start,
        .stop = writer_stop,
        .status = writer_status,
        .healthy = writer_healthy,
    };

    return daemon_run(argc, argv, &spec, &writer);
}
