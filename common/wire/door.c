/* SPDX-License-Identifier: MPL-2.0 */
#include "wire/door.h"

#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <sys/socket.h>

#include "wire/intake.h"

#define LINGER_MS 1000u
#define TICK_MS 50u
#define SELF_TEST_MS 10000u
#define LOG_MS 60000u
#define PATIENCE 10u /* ticks */
/* What may come in between two looks at the memory: so much of memory.max; and
 * while it is above it. */
#define INTAKE_PART 16u
#define INTAKE_PART_FULL 64u

/* ---- who may connect --------------------------------------------------- */

/* The entry of a key that was denied something: its own, or the oldest. */
static struct log_limit *
limit_of(struct door *door, const char *key)
{
    const struct principal *known = rights_find(door->rights, key);
    struct denied *d;

    if (known != NULL)
        return &door->known[rights_index(door->rights, known)];
    for (uint32_t i = 0; i < DENIED_KEYS; i++)
        if (strcmp(door->denied[i].key, key) == 0)
            return &door->denied[i].limit;
    d = &door->denied[door->denied_next];
    /* Whoever makes up keys shall not fill the log: they share one limit. */
    if (d->key[0] != '\0' && clock_ms() < d->limit.next_ms)
        return &door->strangers;
    door->denied_next = (door->denied_next + 1) % DENIED_KEYS;
    *d = (struct denied){ .limit = { .every_ms = LOG_MS } };
    memcpy(d->key, key, sizeof d->key);
    return &d->limit;
}

static void
log_key(struct door *door, const char *code, const char *key, const char *name,
        const char *what)
{
    uint64_t suppressed;

    if (log_limited(limit_of(door, key), &suppressed))
        log_warn("%s: key %s (%s): %s (%" PRIu64
                 " more of this key since the last such line)",
                 code, key, name, what, suppressed);
}

void
door_log_denied(struct door *door, const struct principal *p, const char *what)
{
    log_key(door, "denied", principal_key(p), principal_name(p), what);
}

static bool
may_connect(void *arg, const char *key)
{
    struct door *door = arg;

    if (rights_find(door->rights, key) != NULL)
        return true;
    if (door->serving) /* else it is the self-test */
        log_key(door, "denied", key, "unknown",
                "it is not in the rights file; not let in");
    return false;
}

bool
door_find(const struct door *door, const char *key,
          const struct principal **ret_principal)
{
    *ret_principal = NULL;
    if (key[0] == '\0')
        return true;
    *ret_principal =
        door->rights == NULL ? NULL : rights_find(door->rights, key);
    return *ret_principal != NULL;
}

/* What is kept for each key, by rights_index(). */
struct keep {
    struct log_limit *known;
    struct share **shares;
    struct share **former; /* room for all that can become it */
};

static void
free_keep(struct keep *keep, size_t count)
{
    for (size_t i = 0; keep->shares != NULL && i < count; i++)
        free(keep->shares[i]);
    free(keep->known);
    free(keep->shares);
    free(keep->former);
}

static size_t
share_at(const struct door *door, const char *key)
{
    const struct principal *p =
        door->rights == NULL ? NULL : rights_find(door->rights, key);

    return p == NULL ? SIZE_MAX : rights_index(door->rights, p);
}

/* For every key of `rights`; of those that are known, no share. */
static int
make_keep(const struct door *door, const struct rights *rights,
          struct keep *ret_keep)
{
    size_t count = rights_count(rights);
    bool ok;

    *ret_keep = (struct keep){
        .known = calloc(count + 1, sizeof *ret_keep->known),
        .shares = calloc(count + 1, sizeof *ret_keep->shares),
        .former = calloc(door->share_count + door->former_count + 1,
                         sizeof *ret_keep->former),
    };
    ok = ret_keep->known != NULL && ret_keep->shares != NULL &&
        ret_keep->former != NULL;
    for (size_t i = 0; ok && i < count; i++) {
        ret_keep->known[i].every_ms = LOG_MS;
        if (share_at(door, principal_key(rights_at(rights, i))) != SIZE_MAX)
            continue;
        ret_keep->shares[i] = calloc(1, sizeof **ret_keep->shares);
        ok = ret_keep->shares[i] != NULL;
    }
    if (!ok)
        free_keep(ret_keep, count);
    return ok ? 0 : -ENOMEM;
}

/* A share of a key that was taken out is kept until nothing is in it. */
static void
retire(struct keep *keep, size_t *count, struct share *share)
{
    if (share == NULL || share_is_empty(share))
        free(share);
    else
        keep->former[(*count)++] = share;
}

/* Puts rights and what is kept for them in the place of others. */
static void
take_rights(struct door *door, struct rights *rights, struct keep *keep)
{
    size_t former_count = 0;

    for (size_t i = 0; i < rights_count(rights); i++) {
        size_t at = share_at(door, principal_key(rights_at(rights, i)));

        if (at == SIZE_MAX)
            continue;
        keep->shares[i] = door->shares[at];
        door->shares[at] = NULL;
    }
    for (size_t i = 0; i < door->share_count; i++) {
        if (door->shares[i] != NULL)
            peers_dismiss(&door->peers, door->shares[i], clock_ms());
        retire(keep, &former_count, door->shares[i]);
    }
    for (size_t i = 0; i < door->former_count; i++)
        retire(keep, &former_count, door->former[i]);
    rights_free(&door->rights);
    free(door->known);
    free(door->shares);
    free(door->former);
    door->rights = rights;
    door->known = keep->known;
    door->shares = keep->shares;
    door->share_count = rights_count(rights);
    door->former = keep->former;
    door->former_count = former_count;
}

static int
load_rights(struct door *door, struct err *err)
{
    struct rights *rights;
    struct keep keep;
    int rc = rights_load(door->rights_path, &rights, err);

    if (rc < 0)
        return rc;
    if (make_keep(door, rights, &keep) < 0) {
        rights_free(&rights);
        return err_sys(err, -ENOMEM, "%s", door->rights_path);
    }
    take_rights(door, rights, &keep);
    return 0;
}

void
door_reload(struct door *door)
{
    struct err err;

    if (door->rights == NULL) {
        log_info("SIGHUP: there is no tcp here, so no rights to read again; "
                 "restart to read a changed configuration");
        return;
    }
    if (load_rights(door, &err) < 0) {
        log_error("SIGHUP: %s; the rights stay as they were", err.text);
        return;
    }
    log_info("SIGHUP: %s: %zu keys", door->rights_path,
             rights_count(door->rights));
    if (door->on_reload != NULL)
        door->on_reload(door->arg);
}

/* Lets come in what may until the next look. */
static void
allow_intake(struct door *door)
{
    door->intake = (int64_t)(door->memory_max /
                             (door->full ? INTAKE_PART_FULL : INTAKE_PART));
    intake_allow(door->intake);
}

/* ---- opening ----------------------------------------------------------- */

static int
open_tcp(struct door *door, const struct conf *conf, const char *tcp,
         struct err *err)
{
    struct curve_key key;
    int rc = curve_secret_key(conf_text(conf, "curve.secret"), &key, err);

    if (rc < 0)
        return err_wrap(err, "%s: curve.secret",
                        conf_origin(conf, "curve.secret"));
    door->rights_path = conf_text(conf, "curve.rights");
    rc = load_rights(door, err);
    if (rc < 0)
        (void)err_wrap(err, "%s: curve.rights",
                       conf_origin(conf, "curve.rights"));
    if (rc == 0)
        rc = zap_open(&door->zap, may_connect, door, err);
    if (rc == 0)
        rc = curve_serve(&door->sock, &key, err);
    if (rc == 0)
        rc = curve_self_test(&door->sock, &key, &door->zap, SELF_TEST_MS, err);
    explicit_bzero(&key, sizeof key);
    if (rc == 0)
        rc = sock_bind(&door->sock, tcp, err);
    door->serving = rc == 0;
    if (rc == 0)
        log_info("serving %s with CURVE, %zu keys are known", tcp,
                 rights_count(door->rights));
    return rc;
}

struct peers_options
door_peers_options(const struct conf *conf, uint32_t sockets)
{
    return (struct peers_options){
        .sockets = sockets,
        .connection_max = (uint32_t)conf_number(conf, "connections.max"),
        .handshake_ms = (uint32_t)conf_number(conf, "connections.handshake"),
    };
}

static int
open_peers(struct door *door, const struct conf *conf, uint32_t sockets,
           struct err *err)
{
    const struct peers_options options = door_peers_options(conf, sockets);
    uint32_t wanted = options.connection_max, max;
    int rc = peers_open(&door->peers, &door->sock, &options, &max, err);

    if (rc == 0 && max < wanted)
        log_warn("connections.max is %u, but with the limit of descriptors "
                 "(LimitNOFILE=, ulimit -n) it can be %u only",
                 wanted, max);
    return rc;
}

int
door_open(struct door *door, const struct conf *conf,
          const struct door_options *o, struct err *err)
{
    const char *tcp = conf_endpoint(conf, o->tcp_key);
    const struct sock_options options = {
        .type = ZMQ_ROUTER,
        .queue_max = o->queue_max,
        .frame_max = FRAME_LEN_READ, /* up to here: an answer */
        .linger_ms = LINGER_MS,
    };
    int rc = sock_open(&door->sock, &options, err);

    door->frame_max = o->frame_max;
    door->memory_max = conf_number(conf, "memory.max");
    door->excess.every_ms = door->relief.every_ms = door->strangers.every_ms =
        door->cut.every_ms = door->unread.every_ms = door->foreign.every_ms =
            LOG_MS;
    door->statm_fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (rc == 0 && door->statm_fd < 0)
        rc = err_sys(err, -errno, "/proc/self/statm");
    if (rc == 0)
        rc = open_peers(door, conf, o->sockets, err);
    /* What is bound before CURVE is set is without it: ipc, and only ipc. */
    if (rc == 0)
        rc = sock_bind(&door->sock, conf_text(conf, o->endpoint_key), err);
    if (rc == 0 && tcp != NULL)
        rc = open_tcp(door, conf, tcp, err);
    return rc;
}

void
door_close(struct door *door)
{
    if (door->sock.zsock != NULL && door->statm_fd >= 0)
        (void)close(door->statm_fd);
    peers_close(&door->peers);
    sock_close(&door->sock);
    if (door->zap.sock.zsock != NULL)
        zap_close(&door->zap);
    rights_free(&door->rights);
    for (size_t i = 0; i < door->former_count; i++)
        free(door->former[i]);
    free_keep(&(struct keep){ door->known, door->shares, door->former },
              door->share_count);
}

/* ---- memory ------------------------------------------------------------ */

/* Bytes of memory that belong to this process alone. */
static uint64_t
memory_used(const struct door *door)
{
    char text[128] = "", *at = text;
    uint64_t resident, shared;

    /* All pages, those in memory, and of these the shared ones. */
    if (pread(door->statm_fd, text, sizeof text - 1, 0) <= 0)
        return 0;
    (void)strtoull(at, &at, 10);
    resident = strtoull(at, &at, 10);
    shared = strtoull(at, &at, 10);
    return (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE);
}

bool
door_has_room(struct door *door)
{
    if (door->unlooked > door->memory_max / INTAKE_PART) {
        door->unlooked = 0;
        door->full = memory_used(door) > door->memory_max;
    }
    return !door->full;
}

void
door_sent(struct door *door, size_t len)
{
    door->unlooked += len;
}

/*
 * Above the limit: what malloc() holds back is given back first.  If that is
 * not enough, we listen for one tick who brings whole messages, and shut the
 * others down; if that does not help in PATIENCE ticks, all.
 */
static void
watch_memory(struct door *door)
{
    uint64_t suppressed, used = memory_used(door);
    uint32_t count = 0;
    bool all;

    if (used > door->memory_max) {
        (void)malloc_trim(0);
        used = memory_used(door);
    }
    door->full = used > door->memory_max;
    allow_intake(door);
    if (!door->full) {
        door->pressure_ticks = 0;
        return;
    }
    all = door->pressure_ticks > 0 && door->pressure_ticks % PATIENCE == 0;
    if (door->pressure_ticks++ > 0) {
        count = peers_relieve(&door->peers, all);
        if (door->also != NULL)
            count += peers_relieve(door->also, all);
    }
    if (door->pressure_ticks == 1 || all)
        peers_listen(&door->peers);
    if (count > 0 && log_limited(&door->relief, &suppressed))
        log_warn("memory.max: %" PRIu64 " MiB are in use; %u connections were "
                 "shut down (%" PRIu64 " more such times since the last line)",
                 used >> 20, count, suppressed);
}

/* ---- looking after it all ---------------------------------------------- */

static void
tell_excess(struct door *door)
{
    uint64_t suppressed, refused = door->peers.refused;

    if (door->also != NULL)
        refused += door->also->refused;
    if (refused == door->refused_told ||
        !log_limited(&door->excess, &suppressed))
        return;
    door->refused_told = refused;
    log_warn("connections.max: %u clients are connected; more are told busy "
             "and closed (%" PRIu64 " so far)",
             door->peers.count + (door->also == NULL ? 0 : door->also->count),
             refused);
}

static void
tell_strangers(struct door *door)
{
    uint64_t suppressed, count = intake_strangers();

    if (count == door->foreign_told ||
        !log_limited(&door->foreign, &suppressed))
        return;
    log_warn("%" PRIu64 " connections did not begin as ZeroMQ's do (ZMTP 3; "
             "CURVE over tcp, NULL over ipc): they were told so and closed",
             count - door->foreign_told);
    door->foreign_told = count;
}

static void
tell_cut(struct door *door)
{
    uint64_t suppressed;

    if (door->peers.cut == door->cut_told ||
        !log_limited(&door->cut, &suppressed))
        return;
    log_warn("a client does not read its answers: its connection was closed "
             "(%" PRIu64 " such since the last line)",
             door->peers.cut - door->cut_told);
    door->cut_told = door->peers.cut;
}

/* Looks at connections and memory. */
static void
look(struct door *door, uint64_t now)
{
    door->look_ms = now + TICK_MS;
    peers_update(&door->peers, now);
    peers_expire(&door->peers, now);
    if (door->also != NULL) {
        peers_update(door->also, now);
        peers_expire(door->also, now);
    }
    tell_excess(door);
    tell_cut(door);
    tell_strangers(door);
    watch_memory(door);
}

void
door_watch(struct door *door)
{
    look(door, clock_ms());
}

/* ---- messages ---------------------------------------------------------- */

static const char too_long[] =
    "a frame is longer than may be read (64 MiB): it was not, nor is anything "
    "behind it, and the connection is closed";

/* Whether the message came in through ipc. */
static bool
is_local(zmq_msg_t *frame)
{
    int fd = zmq_msg_get(frame, ZMQ_SRCFD), domain;
    socklen_t len = sizeof domain;

    return fd >= 0 &&
        getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 &&
        domain == AF_UNIX;
}

/* Finds out who has sent a frame; NULL, or why that will not do. */
static const char *
identify(struct door *door, zmq_msg_t *frame, struct address *from)
{
    const char *key;

    if (door->rights == NULL)
        return NULL; /* there is only ipc */
    key = zmq_msg_gets(frame, "User-Id");
    if (key == NULL)
        return is_local(frame) ? NULL : "the connection has proved no key";
    /* Who comes over ipc may say anything of itself, this as well. */
    if (!curve_key_valid(key))
        return "what the connection says of itself is no key";
    if (door_find(door, key, &from->principal) && from->principal != NULL) {
        from->share = door->shares[rights_index(door->rights, from->principal)];
        return NULL;
    }
    log_key(door, "denied", key, "unknown",
            "it is not in the rights file any more; its message was refused");
    return "this key has no rights here any more";
}

/* Whether a frame is too long, and what its client said how long it would be if
 * it was not read for that; else 0.  Also counts what has come. */
static bool
is_too_large(struct door *door, struct message *message, uint64_t *ret_unread)
{
    bool found = false;

    *ret_unread = 0;
    for (int i = 0; i < message->count; i++) {
        size_t len = message_len(message, i);

        door->unlooked += len;
        found |= len > door->frame_max ||
            intake_is_mark(message_data(message, i), len, ret_unread);
    }
    return found;
}

/* After a frame that was not read, nothing of its connection is. */
static void
end_unread(struct door *door, const struct address *from, uint64_t len,
           uint64_t now)
{
    uint64_t suppressed;

    peers_end(&door->peers, from->connection, too_long, now);
    if (log_limited(&door->unread, &suppressed))
        log_warn("too large: a client has sent a frame of %" PRIu64
                 " bytes, and more than %" PRIu64 " are not read; it was told "
                 "so and closed (%" PRIu64 " more since the last such line)",
                 len, FRAME_LEN_READ, suppressed);
}

/* The same if the mark was one frame too many, and is gone with the others. */
static void
end_if_over(struct door *door, zmq_msg_t *frame, uint64_t now)
{
    if (!intake_is_over(zmq_msg_get(frame, ZMQ_SRCFD)))
        return;
    peers_update(&door->peers, now);
    peers_end(&door->peers, peers_of(&door->peers, frame), too_long, now);
}

/* NULL, or why a message is refused, with the code in *ret_code. */
static const char *
judge(struct door *door, struct message *message, int at, struct address *from,
      uint64_t now, enum answer_code *ret_code)
{
    zmq_msg_t *frame = &message->frames[message->count > at ? at : 1];
    const char *fault = identify(door, frame, from);
    uint64_t unread;
    bool too_large = is_too_large(door, message, &unread);

    /* It may have only just come, with the descriptor of one that has gone:
     * both were told before its message. */
    peers_update(&door->peers, now);
    from->peers = &door->peers;
    from->connection = peers_of(&door->peers, frame);
    if (unread > 0 && intake_is_over(zmq_msg_get(frame, ZMQ_SRCFD)))
        end_unread(door, from, unread, now);
    *ret_code = ANSWER_DENIED;
    if (fault != NULL)
        return fault;
    *ret_code = ANSWER_TOO_LARGE;
    if (unread > 0)
        return too_long;
    *ret_code = ANSWER_BUSY;
    fault = peers_hear(&door->peers, from->connection, from->share, now);
    if (fault != NULL) {
        if (from->principal != NULL)
            log_key(door, "busy", principal_key(from->principal),
                    principal_name(from->principal), fault);
        return fault;
    }
    if (!door_has_room(door))
        return "memory.max: too much has come in, or was not taken; come "
               "again later";
    *ret_code = ANSWER_TOO_LARGE;
    if (too_large)
        return "a frame is longer than it may be";
    return NULL;
}

int
door_receive(struct door *door, struct message *message,
             struct address *ret_from, int *ret_at)
{
    uint64_t now = clock_ms();
    enum answer_code code;
    const char *fault;
    int rc;

    /* A turn of large messages takes long, and much may come in meanwhile. */
    if (now >= door->look_ms || intake_left() < door->intake / 2)
        look(door, now);
    rc = front_receive(&door->sock, message, ret_from, ret_at);
    if (rc < 0 && message->count > 1)
        end_if_over(door, &message->frames[1], now);
    if (rc <= 0)
        return rc;
    if (message->count < 2)
        return 1; /* a routing id and nothing else: no message, see front */
    fault = judge(door, message, *ret_at, ret_from, now, &code);
    if (fault == NULL)
        return 1;
    front_refuse(&door->sock, ret_from, code, fault);
    return -EAGAIN;
}

/* ---- the loop ---------------------------------------------------------- */

static int
on_tick(zloop_t *loop, int timer, void *arg)
{
    (void)loop;
    (void)timer;
    look(arg, clock_ms());
    return 0;
}

static int
on_zap(zloop_t *loop, zsock_t *reader, void *arg)
{
    struct door *door = arg;

    (void)loop;
    (void)reader;
    zap_answer(&door->zap);
    return 0;
}

int
door_attach(struct door *door, zloop_t *loop)
{
    int rc = 0;

    /* Not before: nobody looks while the door is opened and tested. */
    allow_intake(door);
    if (door->rights != NULL)
        rc = zloop_reader(loop, door->zap.sock.zsock, on_zap, door);
    if (zloop_timer(loop, TICK_MS, 0, on_tick, door) < 0)
        rc = -1;
    return rc < 0 ? -ENOMEM : 0;
}

void
door_status(const struct door *door, char *text, size_t len)
{
    char cut[48] = "";

    if (door->peers.cut > 0)
        (void)snprintf(cut, sizeof cut, "; %" PRIu64 " did not read",
                       door->peers.cut);
    (void)snprintf(text, len, "; %u clients%s%s", door->peers.count, cut,
                   door->pressure_ticks == 0 ? "" : "; SHORT OF MEMORY");
}
