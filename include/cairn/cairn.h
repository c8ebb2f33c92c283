/* SPDX-License-Identifier: MPL-2.0 */
/*
 * cairn - the client library: pkg-config cairn, or -lcairn.
 */
#ifndef CAIRN_CAIRN_H
#define CAIRN_CAIRN_H

#include <cairn/client.h>
#include <cairn/command.h>
#include <cairn/event.h>

#endif
