/* SPDX-License-Identifier: MPL-2.0 */
/* cairn-projector - keeps one read model up to date. */
#include "projector/projector.h"

int
main(int argc, char **argv)
{
    struct projector projector = { 0 };
    const struct daemon_spec spec = {
        .name = "cairn-projector",
        .summary = "keeps one read model up to date",
        .config = "/etc/cairn/projector@%i.conf",
        .keys = projector_keys,
        .named = true,
        .start = projector_start,
        .stop = projector_stop,
        .status = projector_status,
    };

    return daemon_run(argc, argv, &spec, &projector);
}
