/* SPDX-License-Identifier: MPL-2.0 */
/*
 * door - the public endpoint of a daemon: a ROUTER on ipc, where the mode of
 * the socket's file decides who comes, and if wanted on tcp, where only known
 * keys come and each may do what the rights say.
 *
 * Who is behind a message is the key that the connection has proved, which
 * libzmq hands over as User-Id with its first body frame.  The routing id says
 * nothing but where an answer goes.
 *
 * What is bounded here: the length of a frame, the number of frames, the
 * number of connections, the time of a handshake, and the memory of the
 * process: above it every message is answered busy, and connections are shut
 * down, first those that do not bring a whole one, then all.  Between two looks
 * at the memory only a part of it can come in (intake.h).
 *
 * Threads: one.
 */
#ifndef CAIRN_WIRE_DOOR_H
#define CAIRN_WIRE_DOOR_H

#include "base/conf.h"
#include "base/log.h"
#include "wire/front.h"
#include "wire/peers.h"
#include "wire/rights.h"
#include "wire/zap.h"

/* The keys of every daemon with a door; for its table. */
/* clang-format off */
#define DOOR_KEYS                                                              \
    { "curve.secret", CONF_TEXT, "/etc/cairn/server.key",                      \
      "the server's secret key, for tcp: a file of mode 0600, or "             \
      "credential:NAME for one that systemd loads", 0, 0, NULL },              \
    { "curve.rights", CONF_PATH, "/etc/cairn/rights.conf",                     \
      "which keys may come over tcp, and what each may do; read again on "     \
      "SIGHUP", 0, 0, NULL },                                                  \
    { "connections.max", CONF_COUNT, "10000",                                  \
      "clients that are connected at a time; above: busy", 1, 1 << 20, NULL }, \
    { "connections.handshake", CONF_MSEC, "3s",                                \
      "how long a client may take to say who it is", 100, 60000, NULL },       \
    { "memory.max", CONF_BYTES, "768M",                                        \
      "memory of this process; above: busy, and connections are closed, "      \
      "first those that send a message without an end", UINT64_C(32) << 20,    \
      UINT64_C(1) << 40, NULL }
/* clang-format on */

#define DENIED_KEYS 64u /* unknown ones with a line of their own in a minute */

struct door_options {
    const char *endpoint_key, *tcp_key; /* names in the configuration */
    uint32_t sockets;                   /* that face clients in this process */
    uint32_t queue_max; /* messages that wait for one client, and from one */
    uint64_t frame_max; /* bytes; above: too large */
};

/* An unknown key that was denied something lately. */
struct denied {
    char key[CURVE_KEY_LEN + 1];
    struct log_limit limit;
};

struct door {
    struct sock sock;
    struct zap zap;
    struct peers peers;
    struct peers *also; /* of another public socket, bounded as well, or NULL */
    struct rights *rights; /* NULL: no tcp */
    const char *rights_path;
    bool serving; /* tcp */
    uint64_t frame_max;
    uint64_t look_ms; /* when to look at everything again */
    uint64_t memory_max;
    int statm_fd;
    uint32_t pressure_ticks; /* since memory is above the limit */
    int64_t intake;          /* bytes that may come in until the next look */
    uint64_t unlooked;       /* bytes sent, or read, since the last one */
    bool full;               /* it was above the limit then */
    uint64_t refused_told;   /* connections in excess, in the log */
    uint64_t cut_told;       /* clients that did not read, likewise */
    uint64_t foreign_told;   /* those that do not speak ZMTP, likewise */
    struct log_limit excess, relief, strangers, cut, unread, foreign;
    struct log_limit *known; /* by rights_index() */
    struct share **shares;   /* likewise */
    struct share **former;   /* of keys that were taken out, until empty */
    size_t share_count, former_count;
    struct denied denied[DENIED_KEYS];
    uint32_t denied_next;
    void (*on_reload)(void *arg); /* rights have changed; may be NULL */
    void *arg;
};

/*
 * Opens and binds it.  For tcp it reads secret and rights, answers ZAP before
 * anything is bound, and shows that an unknown key is refused.
 */
int door_open(struct door *door, const struct conf *conf,
              const struct door_options *options, struct err *err);

/* For another public socket of the process; see `also`. */
struct peers_options door_peers_options(const struct conf *conf,
                                        uint32_t sockets);

/* Hangs its own handlers into the loop; the daemon reads door.sock. */
int door_attach(struct door *door, zloop_t *loop);

void door_close(struct door *door);

/*
 * As front_receive(); ret_from also says who it is.  The principal is borrowed
 * until the rights are read again, so not beyond this turn of the loop.  The
 * share stays as long as there is something in it.
 */
int door_receive(struct door *door, struct message *message,
                 struct address *ret_from, int *ret_at);

/*
 * Whether there is memory for answers of some size; if not, say busy.  Looks at
 * it again after every sixteenth of memory.max that was told to door_sent(),
 * for much can be asked for between two ticks.
 */
bool door_has_room(struct door *door);

/* Looks at connections and memory now.  The loop does so by itself; who waits
 * outside of it calls this every 50 ms, or nothing comes in any more. */
void door_watch(struct door *door);

/* Bytes of an answer that was sent, and may lie here unread. */
void door_sent(struct door *door, size_t len);

/*
 * Logs that a key was denied something, once in a minute for each key.
 */
void door_log_denied(struct door *door, const struct principal *principal,
                     const char *what);

/*
 * Who holds this key now; NULL if nobody does any more.  "" is a client on
 * ipc: *ret_principal is NULL and the result true.
 */
bool door_find(const struct door *door, const char *key,
               const struct principal **ret_principal);

/* Reads the rights again.  A bad file is reported, and the old rights stay. */
void door_reload(struct door *door);

/* "; 12 clients" and so on, for the status line. */
#define DOOR_STATUS_LEN 128
void door_status(const struct door *door, char *text, size_t len);

#endif
