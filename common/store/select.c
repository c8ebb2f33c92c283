/* SPDX-License-Identifier: MPL-2.0 */
#include "store/select.h"

#include "base/text.h"

struct span
stream_category(struct span stream)
{
    return (struct span){ stream.p,
                          (uint32_t)category_len(stream.p, stream.len) };
}

bool
selectors_pass(const struct selector *selectors, uint32_t count,
               const struct event *event)
{
    bool place_wanted = false, place_found = false;
    bool type_wanted = false, type_found = false;

    for (uint32_t i = 0; i < count; i++) {
        struct span text = selectors[i].text;
        struct link link;

        switch (selectors[i].kind) {
        case 's':
            place_wanted = true;
            place_found = place_found || span_equal(text, event->stream);
            break;
        case 'c':
            place_wanted = true;
            place_found =
                place_found || span_equal(text, stream_category(event->stream));
            break;
        case 't':
            type_wanted = true;
            type_found = type_found || span_equal(text, event->type);
            break;
        default:
            if (!event_find_tag(event, text, &link))
                return false;
            break;
        }
    }
    return (!place_wanted || place_found) && (!type_wanted || type_found);
}
