/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Header and footer of a segment.
 *
 * Input: a byte (bit 0: put the checksums right), the length of the file in
 * pages of 4096 (2 bytes), 512 bytes of header, the footer area.
 */
#include "fuzz/input.h"

#include <stdlib.h>

#include "lib/bytefix.h"
#include "store/index.h"
#include "store/segment.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct input input = { data, len };
    uint64_t fix = input_number(&input, 1) & 1;
    uint64_t file_len = input_number(&input, 2) * SEGMENT_LEN_UNIT;
    struct input head = input_part(&input, SECTOR_LEN);
    uint8_t *header, *footer = input_copy(input);
    const struct index_entry *index;
    struct segment_info info;
    struct segment_end end;
    struct err err;

    if (head.left == SECTOR_LEN) {
        header = input_copy(head);
        if (fix) {
            reseal_segment_header(header, head.left);
            reseal_footer(footer, input.left);
        }
        if (segment_header_decode(header, file_len, &info, &err) == 0) {
            (void)segment_check_writable(&info, &err);
            if (segment_footer_decode(footer, input.left, &info, &end,
                                      &index) == 0) {
                uint32_t count = end.index_count;

                input_must((const uint8_t *)(index + count) <=
                               footer + input.left,
                           "the index lies inside the footer");
                for (uint32_t i = 0; i < count; i++)
                    input_must(le32_get(index[i].offset) < file_len,
                               "an index entry points into the file");
            }
        }
        free(header);
    }
    free(footer);
    return 0;
}
