/* SPDX-License-Identifier: MPL-2.0 */
/*
 * image - tpl images, behind a strict check.
 *
 * Message headers are tpl images (tpl 1.6.1, doc/PROTOCOL.md).  tpl reads and
 * writes out of bounds on crafted images, so no byte from a socket reaches it
 * before image_check() has accepted every one of them against a literal
 * format.  Only the files of wire/ use tpl, and only like this:
 *
 *     tpl_node *node = image_map("vvA(Uu)", &a, &b, &c, &d);
 *     rc = image_load(node, "vvA(Uu)", frame, element_max);
 *     ... tpl_unpack() ...
 *     image_free(node);
 *
 * Formats use the characters c j v i u I U f s B and A(..) only, all begin
 * with "vv" (protocol version and kind of message), and every node is fresh.
 *
 * tpl takes its memory from an arena of the calling thread that is emptied by
 * image_free(): after warm-up a message costs no allocation.  So there is one
 * node at a time per thread.  A fatal error inside tpl aborts the process.
 *
 * Errors:   -CAIRN_EMESSAGE; -EMSGSIZE: there are more elements than may be.
 * Threads:  any; a node belongs to the thread that mapped it.
 */
#ifndef CAIRN_WIRE_IMAGE_H
#define CAIRN_WIRE_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include <tpl.h>

#include "wire/protocol.h"
#include "wire/sock.h"

/*
 * Whether [data, data + len) is a little-endian image of exactly this format,
 * with at most element_max strings, blobs and array elements, no NULL string
 * and no NUL byte in a string: 0, and tpl_load() on a fresh node is safe.
 */
int image_check(const char *format, const void *data, size_t len,
                uint32_t element_max);

/*
 * Reads the two numbers that every header begins with, out of an image whose
 * format begins with "vv", so that the receiver can tell which literal format
 * to hold it against.
 */
int image_kind(const void *data, size_t len, uint16_t *ret_version,
               uint16_t *ret_kind);

/* tpl_map(), in the arena. */
tpl_node *image_map(const char *format, ...);

/* Checks a frame against the format of the node, and loads it. */
int image_load(tpl_node *node, const char *format, zmq_msg_t *frame,
               uint32_t element_max);

/* Makes the packed image into a frame that the caller sends or closes. */
int image_dump(tpl_node *node, zmq_msg_t *ret_frame);

/* Frees the node and empties the arena. */
void image_free(tpl_node *node);

/* For a header without arrays: packs it, adds it as a frame, frees the node. */
int image_pack_small(tpl_node *node, struct message *message);

/* For a header without arrays: loads and unpacks it, frees the node. */
int image_unpack_small(tpl_node *node, const char *format, zmq_msg_t *header);

/* Passes a negative rc on; -CAIRN_EMESSAGE if it is another message. */
int image_check_kind(int rc, uint16_t version, uint16_t kind,
                     enum message_kind wanted);

#endif
