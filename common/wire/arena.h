/* SPDX-License-Identifier: MPL-2.0 */
/*
 * arena - the memory of tpl, one of each thread.
 *
 * tpl's hooks have no argument and are global, and so is what they need.  A
 * library for other people's programs can have neither: libcairn has functions
 * of the same names in clients/libcairn/tpl.c, and not this.
 *
 * Threads:  any.
 */
#ifndef CAIRN_WIRE_ARENA_H
#define CAIRN_WIRE_ARENA_H

/* Makes tpl use the arena; before the first node.  May be called again. */
void arena_begin(void);

/* Gives all back that the calling thread has taken. */
void arena_empty(void);

#endif
