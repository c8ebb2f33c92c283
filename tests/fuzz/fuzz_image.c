/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The strict check itself, with every character that a format may have: what
 * it accepts, tpl must load and unpack in bounds.
 *
 * Input: the image.
 */
#include "fuzz/input.h"

#include <stdlib.h>
#include <string.h>

#include "wire/image.h"

#define FORMAT "vvcjiuIUfsBA(sA(cB))A(U)"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const char head[] = FORMAT;
    struct input input = { data, len };
    uint16_t version, kind;
    int8_t c;
    int16_t j;
    int32_t i;
    uint32_t u;
    int64_t l;
    uint64_t n, sum = 0;
    double f;
    char *s = NULL, *inner_s = NULL;
    tpl_bin blob = { NULL, 0 }, inner_blob = { NULL, 0 };
    uint8_t byte;
    uint64_t element;
    zmq_msg_t frame;
    tpl_node *node;
    size_t total = 8 + sizeof head + len;
    uint8_t *image = malloc(total);

    input_must(image != NULL, "memory");
    memcpy(image, "tpl\2", 4);
    for (unsigned k = 0; k < 4; k++)
        image[4 + k] = (uint8_t)(total >> 8 * k);
    memcpy(image + 8, head, sizeof head);
    if (len > 0)
        memcpy(image + 8 + sizeof head, input.p, len);
    input_frame(&frame, (struct input){ image, total });
    free(image);
    node = image_map(FORMAT, &version, &kind, &c, &j, &i, &u, &l, &n, &f, &s,
                     &blob, &inner_s, &byte, &inner_blob, &element);
    if (image_load(node, FORMAT, &frame, 1000) == 0) {
        input_must(tpl_unpack(node, 0) > 0, "the fields unpack");
        sum += strlen(s) + blob.sz;
        for (uint32_t k = 0; k < blob.sz; k++)
            sum += ((uint8_t *)blob.addr)[k];
        while (tpl_unpack(node, 1) > 0) {
            sum += strlen(inner_s);
            while (tpl_unpack(node, 2) > 0)
                for (uint32_t k = 0; k < inner_blob.sz; k++)
                    sum += ((uint8_t *)inner_blob.addr)[k];
        }
        while (tpl_unpack(node, 3) > 0)
            sum += element;
    }
    image_free(node);
    (void)zmq_msg_close(&frame);
    return sum == 1 && total == 0; /* 0, in a way that keeps the sum */
}
