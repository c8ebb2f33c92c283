/* SPDX-License-Identifier: MPL-2.0 */
/*
 * cairn - the client library: pkg-config cairn, or -lcairn.
 */
#ifndef CAIRN_CAIRN_H
#define CAIRN_CAIRN_H

#include <cairn/append.h>
#include <cairn/base.h>
#include <cairn/read.h>

#endif
