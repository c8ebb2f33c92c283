/* SPDX-License-Identifier: MPL-2.0 */
/*
 * input - what fuzz targets make of their bytes: numbers, exact copies that
 * the sanitizer guards on both sides, frames, files.
 */
#ifndef CAIRN_TESTS_FUZZ_INPUT_H
#define CAIRN_TESTS_FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>
#include <zmq.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* What a target has not used yet. */
struct input {
    const uint8_t *p;
    size_t left;
};

/* The next bytes as a little-endian number; zeros behind the end. */
uint64_t input_number(struct input *input, size_t bytes);

/* The next `len` bytes, or what is left of them; borrowed. */
struct input input_part(struct input *input, size_t len);

/* All of a part in memory of its own, not a byte more; freed by free(). */
uint8_t *input_copy(struct input part);

/* A frame with these bytes; closed by the caller. */
void input_frame(zmq_msg_t *frame, struct input part);

/* The path of a file with these bytes, until the next call. */
const char *input_file(struct input part);

/* An empty directory in memory, until the next call. */
const char *input_dir(void);

/* Writes DIR/NAME with `len` bytes: these, then zeros, then `end` as its end. */
void input_write(const char *dir, const char *name, struct input begin,
                 struct input end, size_t len);

/* Aborts the target: something that must hold does not. */
void input_must(int holds, const char *what);

#endif
