/* SPDX-License-Identifier: MPL-2.0 */
/*
 * farewell - the last words of a writer to its gateways.
 *
 * What a gateway has received and not read yet is lost when the connection
 * ends, and outcomes with it.  So a writer that stops says farewell behind the
 * last outcome, and closes when each gateway has said it back.
 */
#ifndef CAIRN_WRITER_FAREWELL_H
#define CAIRN_WRITER_FAREWELL_H

#include "wire/hop.h"
#include "writer/fence.h"

/*
 * Says it to every gateway that counts and is there, and waits wait_ms at most
 * until all have answered.  Whatever else they send is dropped: it is not read,
 * so it is not stored.
 */
void farewell_say(struct sock *sock, const struct fence *fence,
                  const struct farewell *farewell, uint32_t wait_ms);

#endif
