/* SPDX-License-Identifier: MPL-2.0 */
/* cairn-gateway - takes commands from clients and hands them to the writer. */
#include "gateway/gateway.h"

int
main(int argc, char **argv)
{
    struct gateway gateway = { 0 };
    const struct daemon_spec spec = {
        .name = "cairn-gateway",
        .summary = "takes commands from clients",
        .config = "/etc/cairn/gateway.conf",
        .keys = gateway_keys,
        .start = gateway_start,
        .stop = gateway_stop,
        .reload = gateway_reload,
        .status = gateway_status,
    };

    return daemon_run(argc, argv, &spec, &gateway);
}
