/* SPDX-License-Identifier: MPL-2.0 */
/* cairn-publisher - serves reads and subscriptions from the log. */
#include "publisher/publisher.h"

int
main(int argc, char **argv)
{
    struct publisher publisher = { 0 };
    const struct daemon_spec spec = {
        .name = "cairn-publisher",
        .summary = "serves reads and subscriptions from the log",
        .config = "/etc/cairn/publisher.conf",
        .keys = publisher_keys,
        .start = publisher_start,
        .stop = publisher_stop,
        .reload = publisher_reload,
        .status = publisher_status,
    };

    return daemon_run(argc, argv, &spec, &publisher);
}
