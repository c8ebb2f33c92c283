/* SPDX-License-Identifier: MPL-2.0 */
/* In which order a door is opened: whoever finds it open must be asked. */
#include "lib/cmocka.h"

#include <dlfcn.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/tmpdir.h"
#include "wire/door.h"

#define ENFORCE 93 /* ZMQ_ZAP_ENFORCE_DOMAIN */
#define ZAP_ENDPOINT "inproc://zeromq.zap.01"
#define CALLS_MAX 64

/* ---- what libzmq is told, in order -------------------------------------- */

static char calls[CALLS_MAX][128];
static int call_count;
static bool forgets; /* option 93 */

static void
note(const char *what, const char *about)
{
    if (call_count < CALLS_MAX)
        (void)snprintf(calls[call_count++], sizeof *calls, "%s %s", what,
                       about);
}

/* The first call from `from` on that begins so; CALLS_MAX: none does. */
static int
find(int from, const char *text)
{
    for (int i = from; i < call_count; i++)
        if (strncmp(calls[i], text, strlen(text)) == 0)
            return i;
    return CALLS_MAX;
}

/* The dynamic linker looks into the program before libzmq. */
static void *
real(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);

    assert_non_null(found);
    return found;
}

int
zmq_bind(void *handle, const char *endpoint)
{
    int (*call)(void *, const char *);

    *(void **)&call = real("zmq_bind");
    note("bind", endpoint);
    return call(handle, endpoint);
}

int
zmq_setsockopt(void *handle, int option, const void *value, size_t len)
{
    int (*call)(void *, int, const void *, size_t);
    const int zero = 0;

    *(void **)&call = real("zmq_setsockopt");
    if (option == ENFORCE) {
        note("set", *(const int *)value == 1 ? "93 to 1" : "93");
        if (forgets)
            value = &zero;
    } else if (option == ZMQ_CURVE_SERVER) {
        note("set", "curve");
    }
    return call(handle, option, value, len);
}

int
zmq_getsockopt(void *handle, int option, void *value, size_t *len)
{
    int (*call)(void *, int, void *, size_t *);

    *(void **)&call = real("zmq_getsockopt");
    if (option == ENFORCE)
        note("get", "93");
    return call(handle, option, value, len);
}

/* ---- a door ------------------------------------------------------------- */

static const struct conf_key keys[] = {
    { "test.endpoint", CONF_ENDPOINT, "-", "on ipc", 0, 0, NULL },
    { "test.tcp", CONF_ENDPOINT, "-", "on tcp", 0, 0, NULL },
    DOOR_KEYS,
    { 0 },
};

static int
open_door(struct door *door, const char *dir, struct conf **ret_conf,
          struct err *err)
{
    const struct door_options options = {
        .endpoint_key = "test.endpoint",
        .tcp_key = "test.tcp",
        .sockets = 1,
        .queue_max = 10,
        .frame_max = 1024,
    };
    char texts[4][PATH_MAX];
    const char *overrides[] = {
        texts[0], texts[1], texts[2], texts[3], "test.tcp=tcp://127.0.0.1:*",
        NULL
    };
    struct curve_key key;

    call_count = 0;
    *door = (struct door){ 0 };
    (void)snprintf(texts[0], PATH_MAX, "curve.secret=%s/server.key", dir);
    (void)snprintf(texts[1], PATH_MAX, "curve.rights=%s/rights.conf", dir);
    (void)snprintf(texts[2], PATH_MAX, "test.endpoint=ipc://%s/door", dir);
    (void)snprintf(texts[3], PATH_MAX, "connections.max=10");
    file_write(tmpdir_path(dir, "rights.conf"), "# nobody\n", 9);
    (void)chmod(tmpdir_path(dir, "rights.conf"), 0644);
    assert_int_equal(curve_key_new(&key, err), 0);
    assert_int_equal(curve_key_save(tmpdir_path(dir, "server.key"), &key, err),
                     0);
    assert_int_equal(conf_load(keys, NULL, overrides, ret_conf, err), 0);
    return door_open(door, *ret_conf, &options, err);
}

static void
who_comes_is_judged_before_anybody_can_come(void **state)
{
    char *dir = tmpdir_make();
    int zap, set, get, first_tcp;
    struct conf *conf = NULL;
    struct door door;
    struct err err;

    (void)state;
    forgets = false;
    if (open_door(&door, dir, &conf, &err) < 0)
        fail_msg("%s", err.text);
    zap = find(0, "bind " ZAP_ENDPOINT);
    set = find(0, "set 93 to 1");
    get = find(0, "get 93");
    first_tcp = find(0, "bind tcp:");
    assert_true(find(0, "bind ipc:") < find(0, "set curve"));
    assert_true(zap < set);
    assert_true(set < get);
    assert_true(get < first_tcp);
    /* The self-test has one of its own; then it is served. */
    assert_string_equal(calls[first_tcp], "bind tcp://127.0.0.1:*");
    assert_true(find(first_tcp + 1, "bind tcp:") < CALLS_MAX);
    door_close(&door);
    conf_free(&conf);
    tmpdir_remove(&dir);
}

static void
a_libzmq_that_forgets_option_93_serves_no_tcp(void **state)
{
    char *dir = tmpdir_make();
    struct conf *conf = NULL;
    struct door door;
    struct err err;

    (void)state;
    forgets = true;
    assert_int_equal(open_door(&door, dir, &conf, &err), -CAIRN_ECONFIG);
    assert_non_null(strstr(err.text, "option 93"));
    assert_int_equal(find(0, "bind tcp:"), CALLS_MAX);
    door_close(&door);
    conf_free(&conf);
    tmpdir_remove(&dir);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_comes_is_judged_before_anybody_can_come),
        cmocka_unit_test(a_libzmq_that_forgets_option_93_serves_no_tcp),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
