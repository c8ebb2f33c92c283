/* SPDX-License-Identifier: MPL-2.0 */
#include "wire/front.h"

#include "wire/image.h"

const char front_misfit[] = "the message does not fit doc/PROTOCOL.md: "
                            "header, counts and lengths must agree";
const char front_excess[] = "there is more of something in it than one message "
                            "may have (doc/PROTOCOL.md)";

int
front_receive(struct sock *sock, struct message *message,
              struct address *ret_from, int *ret_at)
{
    int rc = message_receive(sock, message);

    if (rc == 0 || (rc < 0 && message->count == 0))
        return rc == 0 ? 0 : -EAGAIN;
    *ret_from = (struct address){ .routing_id = message_data(message, 0) };
    if (!message_routed_by_us(message)) {
        struct message answer = { .count = 0 };

        message_move(&answer, &message->frames[0]);
        if (refused_encode(ANSWER_DENIED, "leave ZMQ_ROUTING_ID unset",
                           &answer) == 0)
            (void)message_send(sock, &answer); /* it may be gone */
        message_clear(&answer);
        return -EAGAIN;
    }
    ret_from->delimiter = message->count > 1 && message_len(message, 1) == 0;
    *ret_at = ret_from->delimiter ? 2 : 1;
    if (rc < 0) {
        front_refuse(sock, ret_from, ANSWER_TOO_LARGE,
                     "the message has too many frames");
        return -EAGAIN;
    }
    return 1;
}

void
front_reply(struct sock *sock, const struct address *to, struct message *head,
            struct message *body)
{
    struct message message = { .count = 0 };
    int rc = message_add(&message, to->routing_id, ROUTING_ID_LEN);

    if (rc == 0 && to->delimiter)
        rc = message_add(&message, NULL, 0);
    for (int i = 0; rc == 0 && i < head->count; i++)
        message_move(&message, &head->frames[i]);
    for (int i = 0; rc == 0 && body != NULL && i < body->count; i++)
        message_move(&message, &body->frames[i]);
    if (rc == 0)
        rc = message_send(sock, &message);
    if (rc == -EAGAIN && to->peers != NULL)
        peers_cut(to->peers, to->connection);
    message_clear(&message);
    message_clear(head);
    if (body != NULL)
        message_clear(body);
}

void
front_refuse(struct sock *sock, const struct address *to, enum answer_code code,
             const char *text)
{
    struct message head = { .count = 0 };

    if (refused_encode((uint16_t)code, text, &head) == 0)
        front_reply(sock, to, &head, NULL);
    message_clear(&head);
}

void
front_pong(struct sock *sock, const struct address *to, const struct pong *pong,
           const char *name)
{
    struct message head = { .count = 0 };

    if (pong_encode(pong, name, &head) == 0)
        front_reply(sock, to, &head, NULL);
    message_clear(&head);
}

const char *
front_fault(struct message *message, int at, uint16_t *ret_kind)
{
    uint16_t version;

    if (at >= message->count ||
        image_kind(message_data(message, at), message_len(message, at),
                   &version, ret_kind) < 0)
        return "the header is no message of the Cairn protocol";
    if (version != PROTOCOL_VERSION)
        return "the protocol version is not 1, the only one here";
    return NULL;
}
