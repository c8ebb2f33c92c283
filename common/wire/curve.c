/* SPDX-License-Identifier: MPL-2.0 */
#include "wire/curve.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/zpl.h"
#include "wire/tcp.h"
#include "wire/zap.h"

/* ZMQ_ZAP_ENFORCE_DOMAIN: a draft in libzmq 4.3.4, so that its headers hide
 * the name, but the library knows the number. */
#define OPTION_ZAP_ENFORCE_DOMAIN 93
#define CREDENTIAL_PREFIX "credential:"
#define PUBLIC_SUFFIX ".pub"

/* ---- keys -------------------------------------------------------------- */

bool
curve_key_valid(const char *text)
{
    uint8_t bytes[32];

    return strlen(text) == CURVE_KEY_LEN && zmq_z85_decode(bytes, text) != NULL;
}

int
curve_key_new(struct curve_key *ret_key, struct err *err)
{
    if (zmq_curve_keypair(ret_key->public_key, ret_key->secret_key) != 0)
        return err_set(err, -errno, "cannot make a key: %s",
                       zmq_strerror(errno));
    return 0;
}

static int
write_key(const char *path, mode_t mode, const struct curve_key *key,
          struct err *err)
{
    bool secret = (mode & 0077) == 0;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    int rc = 0;

    if (fd < 0)
        return err_sys(err, -errno, "%s", path);
    /* The mode must hold whatever the umask is. */
    if (fchmod(fd, mode) < 0 ||
        dprintf(fd,
                "#   A key of Cairn: %s\n"
                "curve\n"
                "    public-key = \"%s\"\n",
                secret ? "SECRET, for its owner's eyes alone"
                       : "the public half",
                key->public_key) < 0 ||
        (secret &&
         dprintf(fd, "    secret-key = \"%s\"\n", key->secret_key) < 0) ||
        fsync(fd) < 0)
        rc = err_sys(err, -errno, "%s", path);
    if (close(fd) < 0 && rc == 0)
        rc = err_sys(err, -errno, "%s", path);
    if (rc < 0)
        (void)unlink(path); /* it is not a key */
    return rc;
}

int
curve_key_save(const char *path, const struct curve_key *key, struct err *err)
{
    char public[PATH_MAX];
    int rc;

    if (snprintf(public, sizeof public, "%s" PUBLIC_SUFFIX, path) >=
        (int)sizeof public)
        return err_sys(err, -ENAMETOOLONG, "%s", path);
    rc = write_key(public, 0644, key, err);
    if (rc < 0)
        return rc;
    rc = write_key(path, 0600, key, err);
    if (rc < 0)
        (void)unlink(public); /* half of nothing */
    return rc;
}

/* Takes one item of a key file; NULL, or what is wrong with it. */
static const char *
take_item(const struct zpl_item *item, const char *section,
          struct curve_key *key)
{
    char *half = strcmp(item->name, "public-key") == 0 ? key->public_key
        : strcmp(item->name, "secret-key") == 0        ? key->secret_key
                                                       : NULL;

    if (item->level == 0)
        return strcmp(item->name, "curve") == 0 ||
                strcmp(item->name, "metadata") == 0
            ? NULL
            : "a key file has the sections curve and metadata, no others";
    if (strcmp(section, "metadata") == 0)
        return NULL; /* czmq's zcert puts what it likes there */
    if (half == NULL || item->level != 1)
        return "in curve only public-key and secret-key are known";
    if (half[0] != '\0')
        return "this is given a second time";
    if (!curve_key_valid(item->value))
        return "a key has 40 characters of Z85";
    memcpy(half, item->value, CURVE_KEY_LEN + 1);
    return NULL;
}

static int
parse_key(const char *text, const char *path, struct curve_key *key,
          struct err *err)
{
    struct zpl zpl = zpl_begin(text, path);
    char section[ZPL_NAME_LEN_MAX + 1] = "";
    struct zpl_item item;
    int rc;

    *key = (struct curve_key){ 0 };
    while ((rc = zpl_next(&zpl, &item, err)) > 0) {
        const char *wrong;

        if (item.level == 0)
            memcpy(section, item.name, sizeof section);
        wrong = take_item(&item, section, key);
        if (wrong != NULL)
            return err_set(err, -CAIRN_ECONFIG, "%s:%u: %s: %s", path,
                           item.line, item.name, wrong);
    }
    return rc;
}

static int
load_key(const char *path, bool secret, mode_t forbidden,
         struct curve_key *ret_key, struct err *err)
{
    char *text, public_key[CURVE_KEY_LEN + 1];
    struct curve_key key;
    int rc = text_read(path, forbidden, &text, err);

    if (rc < 0)
        return rc;
    rc = parse_key(text, path, &key, err);
    explicit_bzero(text, strlen(text));
    free(text);
    if (rc == 0 && secret && key.secret_key[0] == '\0')
        rc = err_set(err, -CAIRN_ECONFIG,
                     "%s: there is no secret-key in it; 'cairn key new FILE' "
                     "makes a file with one",
                     path);
    if (rc == 0 && key.secret_key[0] != '\0' &&
        zmq_curve_public(public_key, key.secret_key) != 0)
        rc = err_set(err, -errno, "%s: secret-key: %s", path,
                     zmq_strerror(errno));
    if (rc == 0 && key.secret_key[0] != '\0' && key.public_key[0] == '\0')
        memcpy(key.public_key, public_key, sizeof public_key);
    if (rc == 0 && key.secret_key[0] != '\0' &&
        strcmp(key.public_key, public_key) != 0)
        rc = err_set(err, -CAIRN_ECONFIG,
                     "%s: public-key and secret-key are no pair", path);
    if (rc == 0 && key.public_key[0] == '\0')
        rc = err_set(err, -CAIRN_ECONFIG, "%s: there is no key in it", path);
    if (rc == 0)
        *ret_key = key;
    explicit_bzero(&key, sizeof key);
    return rc;
}

int
curve_key_load(const char *path, bool secret, struct curve_key *ret_key,
               struct err *err)
{
    return load_key(path, secret, secret ? 0077 : 0, ret_key, err);
}

int
curve_secret_key(const char *where, struct curve_key *ret_key, struct err *err)
{
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    const char *name = where + strlen(CREDENTIAL_PREFIX);
    char path[PATH_MAX];

    if (strncmp(where, CREDENTIAL_PREFIX, strlen(CREDENTIAL_PREFIX)) != 0)
        return curve_key_load(where, true, ret_key, err);
    if (folder == NULL)
        return err_set(err, -CAIRN_ECONFIG,
                       "%s: there are no credentials here; does the unit say "
                       "LoadCredential=%s:/path/of/the/file?",
                       where, name);
    if (name[0] == '\0' || name[0] == '.' || strchr(name, '/') != NULL)
        return err_set(err, -CAIRN_ECONFIG,
                       "%s: what follows 'credential:' is the name of a "
                       "credential",
                       where);
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return err_sys(err, -ENAMETOOLONG, "%s", where);
    /* systemd keeps others out of the folder; the mode of a file in it may
     * show the mask of its access list in place of the group's rights. */
    return load_key(path, true, 0, ret_key, err);
}

int
curve_public_key(const char *text, char ret_key[CURVE_KEY_LEN + 1],
                 struct err *err)
{
    struct curve_key key;
    int rc;

    if (curve_key_valid(text)) {
        memcpy(ret_key, text, CURVE_KEY_LEN + 1);
        return 0;
    }
    rc = curve_key_load(text, false, &key, err);
    if (rc == 0)
        memcpy(ret_key, key.public_key, CURVE_KEY_LEN + 1);
    explicit_bzero(&key, sizeof key);
    return rc;
}

int
curve_client_load(const char *server_key, const char *key_file,
                  struct curve_client *ret_client, bool *ret_given,
                  struct err *err)
{
    int rc;

    *ret_given = server_key != NULL || key_file != NULL;
    if (!*ret_given)
        return 0;
    if (server_key == NULL || key_file == NULL)
        return err_set(err, -CAIRN_EUSAGE,
                       "the server's public key and the file of one's own key "
                       "go together; only one of them is given");
    rc = curve_public_key(server_key, ret_client->server_key, err);
    if (rc < 0)
        return err_wrap(err, "server key");
    rc = curve_secret_key(key_file, &ret_client->own, err);
    return rc < 0 ? err_wrap(err, "key") : 0;
}

/* ---- sockets ----------------------------------------------------------- */

static int
set_int(void *handle, int option, int value)
{
    return zmq_setsockopt(handle, option, &value, sizeof value);
}

static int
set_key(void *handle, int option, const char *key)
{
    return zmq_setsockopt(handle, option, key, CURVE_KEY_LEN + 1);
}

int
curve_serve(struct sock *sock, const struct curve_key *key, struct err *err)
{
    int enforced = 0, rc = tcp_set_options(sock->handle);
    size_t len = sizeof enforced;

    rc |= set_int(sock->handle, ZMQ_CURVE_SERVER, 1);
    rc |= set_key(sock->handle, ZMQ_CURVE_SECRETKEY, key->secret_key);
    rc |= zmq_setsockopt(sock->handle, ZMQ_ZAP_DOMAIN, ZAP_DOMAIN,
                         strlen(ZAP_DOMAIN));
    rc |= set_int(sock->handle, OPTION_ZAP_ENFORCE_DOMAIN, 1);
    if (rc != 0)
        return err_set(err, -CAIRN_ECONFIG,
                       "CURVE cannot be set up on a socket: %s; is libzmq "
                       "built with it?",
                       zmq_strerror(errno));
    if (zmq_getsockopt(sock->handle, OPTION_ZAP_ENFORCE_DOMAIN, &enforced,
                       &len) != 0 ||
        enforced != 1)
        return err_set(err, -CAIRN_ECONFIG,
                       "libzmq does not keep option %d (enforce the ZAP "
                       "domain): it might let unknown keys in",
                       OPTION_ZAP_ENFORCE_DOMAIN);
    sock->curve = true;
    return 0;
}

int
curve_join(struct sock *sock, const struct curve_client *client,
           struct err *err)
{
    if (tcp_set_client(sock->handle, client->server_key, client->own.public_key,
                       client->own.secret_key) != 0)
        return err_set(err, -CAIRN_ECONFIG,
                       "CURVE cannot be set up on a socket: %s; is libzmq "
                       "built with it?",
                       zmq_strerror(errno));
    sock->curve = true;
    return 0;
}

/* ---- the self-test ----------------------------------------------------- */

/* Whether the stranger was refused, before the time is up. */
static int
await_refusal(struct sock_monitor *monitor, struct zap *zap, uint32_t within_ms,
              struct err *err)
{
    uint64_t deadline = clock_ms() + within_ms;
    struct sock_event event;

    while (clock_ms() < deadline) {
        zmq_pollitem_t items[2] = {
            { .socket = monitor->handle, .events = ZMQ_POLLIN },
            { .socket = zap == NULL ? NULL : zap->sock.handle,
              .fd = -1,
              .events = ZMQ_POLLIN },
        };

        (void)zmq_poll(items, zap == NULL ? 1 : 2, 100);
        if (zap != NULL)
            zap_answer(zap);
        while (sock_monitor_next(monitor, &event)) {
            if (event.what == ZMQ_EVENT_HANDSHAKE_SUCCEEDED)
                return err_set(err, -CAIRN_ECONFIG,
                               "the self-test failed: a key that nobody knows "
                               "was let in; tcp is not served");
            if (event.what == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)
                return 0;
        }
    }
    return err_set(err, -CAIRN_ECONFIG,
                   "the self-test failed: whether an unknown key is refused "
                   "could not be found out in %u ms; tcp is not served",
                   within_ms);
}

int
curve_self_test(struct sock *server, const struct curve_key *key,
                struct zap *zap, uint32_t within_ms, struct err *err)
{
    const struct sock_options options = {
        .type = ZMQ_DEALER,
        .queue_max = 1,
        .frame_max = 1024,
    };
    struct curve_client stranger;
    struct sock client = { .lock_fd = -1 };
    struct sock_monitor monitor = { 0 };
    char endpoint[64];
    size_t len = sizeof endpoint;
    int rc = curve_key_new(&stranger.own, err);

    memcpy(stranger.server_key, key->public_key, sizeof stranger.server_key);
    if (rc == 0)
        rc = sock_open(&client, &options, err);
    if (rc == 0)
        rc = curve_join(&client, &stranger, err);
    if (rc == 0)
        rc = sock_monitor_open(&client, &monitor, err);
    if (rc == 0)
        rc = sock_bind(server, "tcp://127.0.0.1:*", err);
    if (rc == 0) {
        (void)zmq_getsockopt(server->handle, ZMQ_LAST_ENDPOINT, endpoint, &len);
        rc = sock_connect(&client, endpoint, err);
        if (rc == 0)
            rc = await_refusal(&monitor, zap, within_ms, err);
        (void)zmq_unbind(server->handle, endpoint);
    }
    sock_monitor_close(&monitor);
    sock_close(&client);
    return rc;
}
