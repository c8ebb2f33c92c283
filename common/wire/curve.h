/* SPDX-License-Identifier: MPL-2.0 */
/*
 * curve - keys, and sockets that speak tcp only with CURVE (ZeroMQ RFC 26).
 *
 * A key is the principal: whoever holds the secret half is whom the rights
 * name by the public half.  Keys are 32 bytes, written in Z85 as 40 characters
 * (ZeroMQ RFC 32).  A key file is ZPL, and one that czmq's zcert can read:
 *
 *     curve
 *         public-key = "..."
 *         secret-key = "..."      # only in the secret file, mode 0600
 *
 * On a server socket libzmq 4.3.4 lets every key in if there is no ZAP handler;
 * option 93 (ZMQ_ZAP_ENFORCE_DOMAIN, a draft there) makes that a refusal.  It
 * is set by its number and read back, and curve_self_test() shows that a key
 * that nobody knows is refused.
 *
 * Errors:   0, or negative.
 * Threads:  as the sockets.
 */
#ifndef CAIRN_WIRE_CURVE_H
#define CAIRN_WIRE_CURVE_H

#include "wire/sock.h"

#define CURVE_KEY_LEN 40 /* characters of Z85 */

struct curve_key {
    char public_key[CURVE_KEY_LEN + 1];
    char secret_key[CURVE_KEY_LEN + 1]; /* "": only the public half is known */
};

/* What a client needs: its own key and the public one of the server. */
struct curve_client {
    char server_key[CURVE_KEY_LEN + 1];
    struct curve_key own;
};

/* Whether a text is a key in Z85. */
bool curve_key_valid(const char *text);

int curve_key_new(struct curve_key *ret_key, struct err *err);

/*
 * Writes FILE with both halves, mode 0600, and FILE.pub with the public one.
 * -EEXIST if one of them is there.
 */
int curve_key_save(const char *path, const struct curve_key *key,
                   struct err *err);

/*
 * Reads a key file.  With `secret`, the secret half must be there, fit the
 * public one, and nobody else may read the file.
 */
int curve_key_load(const char *path, bool secret, struct curve_key *ret_key,
                   struct err *err);

/*
 * The secret key of a daemon: a path, or "credential:NAME" for a file below
 * $CREDENTIALS_DIRECTORY, which systemd has made for this service alone.
 */
int curve_secret_key(const char *where, struct curve_key *ret_key,
                     struct err *err);

/* The public key in a text: a key, or the path of a file that holds one. */
int curve_public_key(const char *text, char ret_key[CURVE_KEY_LEN + 1],
                     struct err *err);

/*
 * What a client on tcp says who it is with: the server's public key (a text
 * as above) and its own secret file.  Both NULL: *ret_given is false.
 */
int curve_client_load(const char *server_key, const char *key_file,
                      struct curve_client *ret_client, bool *ret_given,
                      struct err *err);

/*
 * Makes a socket a CURVE server for every endpoint that it binds from now on.
 *
 *   -CAIRN_ECONFIG  option 93 does not hold
 */
int curve_serve(struct sock *sock, const struct curve_key *key,
                struct err *err);

/* Makes a socket a CURVE client for every endpoint that it connects to. */
int curve_join(struct sock *sock, const struct curve_client *client,
               struct err *err);

struct zap;

/*
 * Binds the server to a free port of 127.0.0.1 for a moment and comes with a
 * key that nobody knows.  It must be refused; if it is not, or there is no
 * answer within so many ms: -CAIRN_ECONFIG.  `zap` may be NULL.
 */
int curve_self_test(struct sock *server, const struct curve_key *key,
                    struct zap *zap, uint32_t within_ms, struct err *err);

#endif
