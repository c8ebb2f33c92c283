/* SPDX-License-Identifier: MPL-2.0 */
/*
 * tcp - what a socket needs before it may speak tcp, on either side.
 *
 * Threads: as the socket.
 */
#ifndef CAIRN_WIRE_TCP_H
#define CAIRN_WIRE_TCP_H

#include <stdbool.h>

bool tcp_endpoint(const char *endpoint);

/* IPv6, and finding out about peers that are gone without a word; 0, or -1
 * and errno of libzmq. */
int tcp_set_options(void *handle);

/* The same, and makes the socket a CURVE client: keys of 40 characters of
 * Z85. */
int tcp_set_client(void *handle, const char *server_key, const char *public_key,
                   const char *secret_key);

#endif
