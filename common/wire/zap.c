/* SPDX-License-Identifier: MPL-2.0 */
#include "wire/zap.h"

#define ENDPOINT "inproc://zeromq.zap.01"
#define VERSION "1.0"
#define KEY_BYTES 32
#define QUESTIONS_PER_TURN 256

/* The frames of a question. */
enum {
    ASK_VERSION,
    ASK_SEQUENCE,
    ASK_DOMAIN,
    ASK_ADDRESS,
    ASK_IDENTITY,
    ASK_MECHANISM,
    ASK_KEY,
    ASK_FRAMES
};

int
zap_open(struct zap *zap, zap_fn *may_connect, void *arg, struct err *err)
{
    const struct sock_options options = {
        .type = ZMQ_REP,
        .queue_max = 1000,
        .frame_max = 1024,
    };
    int rc;

    *zap = (struct zap){ .may_connect = may_connect, .arg = arg };
    rc = sock_open(&zap->sock, &options, err);
    if (rc == 0)
        rc = sock_bind(&zap->sock, ENDPOINT, err);
    return rc;
}

void
zap_close(struct zap *zap)
{
    /* Closing takes its time in the background; the name is free at once. */
    if (zap->sock.handle != NULL)
        (void)zmq_unbind(zap->sock.handle, ENDPOINT);
    sock_close(&zap->sock);
}

static bool
frame_is(struct message *message, int frame, const char *text)
{
    return message_len(message, frame) == strlen(text) &&
        memcmp(message_data(message, frame), text, strlen(text)) == 0;
}

/* Answers one question; "" as the key lets nobody in. */
static void
reply(struct zap *zap, struct message *question, const char *key)
{
    struct message answer = { .count = 0 };
    const char *status = key[0] == '\0' ? "400" : "200";
    const char *text = key[0] == '\0' ? "this key is not known here" : "OK";
    int rc = message_add(&answer, VERSION, strlen(VERSION));

    if (rc == 0 && question->count > ASK_SEQUENCE)
        message_move(&answer, &question->frames[ASK_SEQUENCE]);
    else if (rc == 0)
        rc = message_add(&answer, NULL, 0);
    if (rc == 0)
        rc = message_add(&answer, status, 3);
    if (rc == 0)
        rc = message_add(&answer, text, strlen(text));
    if (rc == 0)
        rc = message_add(&answer, key, strlen(key)); /* becomes User-Id */
    if (rc == 0)
        rc = message_add(&answer, NULL, 0);
    if (rc == 0)
        (void)message_send(&zap->sock, &answer); /* whoever asked is gone */
    message_clear(&answer);
}

void
zap_answer(struct zap *zap)
{
    struct message question;

    for (int i = 0; i < QUESTIONS_PER_TURN; i++) {
        char key[CURVE_KEY_LEN + 1] = "";

        if (message_receive(&zap->sock, &question) <= 0)
            return;
        if (question.count == ASK_FRAMES &&
            frame_is(&question, ASK_VERSION, VERSION) &&
            frame_is(&question, ASK_DOMAIN, ZAP_DOMAIN) &&
            frame_is(&question, ASK_MECHANISM, "CURVE") &&
            message_len(&question, ASK_KEY) == KEY_BYTES &&
            (zmq_z85_encode(key, message_data(&question, ASK_KEY), KEY_BYTES) ==
                 NULL ||
             !zap->may_connect(zap->arg, key)))
            key[0] = '\0';
        reply(zap, &question, key);
        message_clear(&question);
    }
}
