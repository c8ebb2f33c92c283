#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""The client libraries as somebody uses them: the example of each README,
word by word; what they do when daemons go and come; what they export."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
# pylint: disable=wrong-import-position
import clients  # noqa: E402
from system import (BUILD, FILES_SQL, ROOT, Failure, Pipeline, equal,  # noqa: E402
                    expect, run)

if not clients.HAS_ZMQ:
    print("SKIP: python3-zmq is not installed")
    sys.exit(77)

import conformance  # noqa: E402

PREFIX = "/usr/local"
LIBRARIES = [lib for lib in clients.libraries() if lib.only is None]
HAS_NODE = any(lib.name == "node" for lib in LIBRARIES)


class Running:
    """A pipeline, and a folder for programs."""

    def __init__(self, projections=()):
        self.pipeline = Pipeline(projections)
        self.dir = self.pipeline.top

    def __enter__(self):
        self.pipeline.up()
        return self

    def __exit__(self, *what):
        self.pipeline.close()

    def say(self, *command, code=0, **env):
        done = subprocess.run(
            command, cwd=self.dir, capture_output=True, text=True, timeout=120,
            env=dict(os.environ, CAIRN_RUN=self.pipeline.path("run"), **env),
            check=False)
        if done.returncode != code:
            raise Failure(f"{' '.join(command)}: exit {done.returncode}: "
                          f"{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stdout

    def driver(self, library, **options):
        return conformance.Driver(library.driver, self.pipeline.path("run"),
                                  env=dict(os.environ, **library.env,
                                           **options))


def block(path, language, word=""):
    """The first block of this language, with this word, in a file of
    Markdown."""
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        found = [text for text in re.findall(
            rf"^```{language}\n(.*?)^```$", file.read(), re.M | re.S)
            if word in text]
    expect(found, f"{path} has a block of {language} {word}")
    return found[0]


def write(*parts, text):
    with open(os.path.join(*parts), "w", encoding="utf-8") as file:
        file.write(text)


class Installed:
    """`make install` into a folder, and pkg-config that looks there."""

    def __init__(self, top):
        self.dest = os.path.join(top, "dest")
        done = subprocess.run(
            [os.path.join(ROOT, "scripts", "install"), BUILD, self.dest,
             PREFIX], capture_output=True, text=True, check=False)
        equal(done.returncode, 0, f"install said {done.stderr}; its exit code")
        lib = self.dest + PREFIX + "/lib"
        self.env = {"PKG_CONFIG_PATH": lib + "/pkgconfig",
                    "PKG_CONFIG_SYSROOT_DIR": self.dest,
                    "LD_LIBRARY_PATH": lib}


# ---- the examples of the READMEs -------------------------------------------

def the_c_example_says_what_its_readme_says():
    path = "clients/libcairn/README.md"
    with Running() as r:
        installed = Installed(r.dir)
        write(r.dir, "order.c", text=block(path, "c"))
        said = r.say("sh", "-ec", block(path, "sh"), **installed.env)
        equal(said, block(path, "text"), "output")
        # The archive, as the README says, and no library at run time.
        said = r.say("sh", "-ec", block(path, "sh", "libcairn.a"),
                     **dict(installed.env, LD_LIBRARY_PATH=""))
        equal(said, "conflict\nconflict, repeated: 0\n" +
              block(path, "text").splitlines(True)[-1], "output, with order-1")


def the_python_example_says_what_its_readme_says():
    path = "clients/python/README.md"
    with Running() as r:
        home = os.path.join(r.dir, "site")
        command = [sys.executable, "-m", "pip", "install", "--quiet",
                   "--no-index", "--no-deps", "--no-build-isolation",
                   "--disable-pip-version-check", "--target", home]
        if subprocess.run([sys.executable, "-c", "import setuptools, wheel, pip"],
                          capture_output=True, check=False).returncode != 0:
            print("SKIP: pip, setuptools or wheel is not there; the Python "
                  "client is used where it lies")
            home = clients.PYTHON
        else:
            source = os.path.join(r.dir, "python")  # pip writes beside it
            shutil.copytree(clients.PYTHON, source)
            r.say(*command, source)
            expect(os.path.exists(os.path.join(home, "cairn", "py.typed")),
                   "the types are installed")
        write(r.dir, "order.py", text=block(path, "python"))
        said = r.say(sys.executable, "order.py", PYTHONPATH=home)
        equal(said, block(path, "text"), "output")


def the_node_example_says_what_its_readme_says():
    path = "clients/node/README.md"
    with Running() as r:
        os.mkdir(os.path.join(r.dir, "node_modules"))
        os.symlink(clients.NODE,
                   os.path.join(r.dir, "node_modules", "cairn-client"))
        write(r.dir, "order.mjs", text=block(path, "js"))
        equal(r.say("node", "order.mjs"), block(path, "text"), "output")


# ---- daemons that go and come ----------------------------------------------

IN_FLIGHT_MAX = 64  # of a client: above, the gateway is busy
KILLS = 2


def stream_of(stream, n):
    """A command of one event for a stream, at version n."""
    return {"id": str(conformance.uuid7()),
            "events": [{"stream": stream, "type": "T", "data": str(n)}],
            "checks": [{"stream": stream, "expect": "exact", "version": n}]}


def append_under_kills(r, driver, stream, who):
    """Killed, and started again, in the midst of many commands: each takes
    effect once, in order, and nobody sees an error."""
    killer = threading.Thread(target=lambda: [
        r.pipeline.dev("crash", who) for _ in range(KILLS)])
    killer.start()
    done = 0
    while killer.is_alive() or done < 4 * IN_FLIGHT_MAX:
        commands = [stream_of(stream, done + i) for i in range(IN_FLIGHT_MAX)]
        answer = driver.ask({"op": "append", "commands": commands})
        for i, outcome in enumerate(answer["outcomes"]):
            equal((outcome["code"], outcome.get("versions")),
                  ("accepted", [done + i + 1]),
                  f"{who} killed; the outcome of command {done + i}: "
                  f"{outcome}")
        done += IN_FLIGHT_MAX
    killer.join()
    events = driver.ask({"op": "read_all", "streams": [stream]})["events"]
    equal([e["data"] for e in events], [str(i) for i in range(done)],
          f"the stream after {who} was killed")


def follow_under_kills(r, driver, other, category):
    """The publisher is killed while it is asked to wait."""
    answers = []
    follower = threading.Thread(target=lambda: answers.append(driver.ask(
        {"op": "follow", "categories": [category], "count": 60})))
    follower.start()
    for round_ in range(3):
        commands = [stream_of(f"{category}-1", 20 * round_ + i)
                    for i in range(20)]
        other.ask({"op": "append", "commands": commands})
        r.pipeline.dev("crash", "publisher")
    follower.join()
    equal([e["version"] for e in answers[0]["events"]], list(range(1, 61)),
          "versions")


def append_to_a_busy_gateway(driver, category):
    """More at once than the gateway takes: all are accepted at last."""
    commands = [{"id": str(conformance.uuid7()), "events": [
        {"stream": f"{category}-{i}", "type": "T"}]}
        for i in range(4 * IN_FLIGHT_MAX)]
    answer = driver.ask({"op": "append", "commands": commands})
    equal({o["code"] for o in answer["outcomes"]}, {"accepted"}, "codes")


def wait_for_a_projection(driver, stream):
    answer = driver.ask({"op": "append", "commands": [stream_of(stream, 0)]})
    last = answer["outcomes"][0]["last"]
    found = driver.ask({"op": "wait", "projection": "files", "position": last,
                        "wait_ms": 30000})
    expect(found["checkpoint"] >= last, f"{found} after {last}")
    found = driver.ask({"op": "wait", "projection": "files",
                        "position": last + 1000, "wait_ms": 200})
    equal(found.get("error"), "timeout", f"{found}; the error")


def every_client_survives_daemons_that_are_killed():
    r = Running([FILES_SQL])
    r.pipeline.config("gateway",
                      f"client\n    in_flight_max = {IN_FLIGHT_MAX}\n")
    faults = []
    with r:
        for library in LIBRARIES:
            name = library.name
            driver, other = r.driver(library), r.driver(library)
            try:
                wait_for_a_projection(driver, f"{name}.projected-1")
                append_under_kills(r, driver, f"{name}.gateway-1", "gateway")
                append_under_kills(r, driver, f"{name}.writer-1", "writer")
                follow_under_kills(r, driver, other, f"{name}.followed")
                append_to_a_busy_gateway(driver, f"{name}.busy")
            except Failure as problem:
                faults.append(f"{name}: {problem}")
            driver.close()
            other.close()
    expect(not faults, "\n".join(faults))


PYTHON_DEADLINES = """
import sys
from cairn import *
client = Client(run=sys.argv[1], deadline=0.5)
try:
    client.append(Command([NewEvent("a-1", "T")]))
except UnknownOutcomeError as problem:
    print("unknown", problem.outcome.sent)
try:
    client.page(Query())
except UnreachableError:
    print("unreachable")
client.close()
"""

NODE_DEADLINES = """
import * as cairn from "cairn-client";
const client = new cairn.Client({ run: process.argv[2], deadlineMs: 500 });
try {
    await client.append({ events: [{ stream: "a-1", type: "T" }] });
} catch (e) {
    if (!(e instanceof cairn.UnknownOutcomeError)) throw e;
    console.log("unknown", e.outcome.sent ? "True" : "False");
}
try {
    await client.page();
} catch (e) {
    if (!(e instanceof cairn.UnreachableError)) throw e;
    console.log("unreachable");
}
await client.close();
"""

C_DEADLINES = """
#include <stdio.h>
#include <cairn/cairn.h>
int
main(int argc, char **argv)
{
    struct cairn *cairn = NULL;
    struct cairn_command *command = NULL;
    struct cairn_outcome *outcome = NULL;
    struct cairn_query *query = NULL;
    struct cairn_page *page = NULL;

    if (argc != 2 || cairn_new(&cairn) < 0 ||
        cairn_set(cairn, "run", argv[1]) < 0 ||
        cairn_set(cairn, "deadline_ms", "500") < 0 ||
        cairn_command_new(&command) < 0 || cairn_query_new(&query) < 0 ||
        cairn_command_event(command, "a-1", "T", NULL, 0) < 0 ||
        cairn_append(cairn, command, &outcome) < 0)
        return 1;
    printf("%s %s\\n", cairn_code_name(cairn_outcome_code(outcome)),
           cairn_outcome_sent(outcome) ? "True" : "False");
    if (cairn_read(cairn, query, &page) == CAIRN_ERR_UNREACHABLE)
        printf("unreachable\\n");
    cairn_query_free(&query);
    cairn_outcome_free(&outcome);
    cairn_command_free(&command);
    cairn_free(&cairn);
    return 0;
}
"""


def nobody_there_is_told_at_the_deadline():
    """A command that never left is told apart from one that may have."""
    top = tempfile.mkdtemp(prefix="cairn-clients-")
    try:
        installed = Installed(top)
        write(top, "late.c", text=C_DEADLINES)
        write(top, "late.py", text=PYTHON_DEADLINES)
        write(top, "late.mjs", text=NODE_DEADLINES)
        os.mkdir(os.path.join(top, "node_modules"))
        os.symlink(clients.NODE, os.path.join(top, "node_modules",
                                              "cairn-client"))
        subprocess.run(["sh", "-ec", "cc late.c -o late $(pkg-config --cflags "
                        "--libs cairn)"], cwd=top, check=True,
                       env=dict(os.environ, **installed.env))
        programs = [["./late"], [sys.executable, "late.py"]]
        if HAS_NODE:
            programs.append(["node", "late.mjs"])
        for program in programs:
            done = subprocess.run(
                [*program, os.path.join(top, "nowhere")], cwd=top, check=False,
                capture_output=True, text=True, timeout=60,
                env=dict(os.environ, PYTHONPATH=clients.PYTHON,
                         **installed.env))
            equal(done.stdout, "unknown False\nunreachable\n",
                  f"{program}: {done.stderr}; output")
    finally:
        shutil.rmtree(top)


PYTHON_CLOSED = """
import asyncio, sys, time
from cairn import *
there, nowhere = sys.argv[1:]
for wrong in ({"window": 0}, {"window": 16385}, {"deadline": 0},
              {"deadline": -1}, {"deadline": float("nan")}):
    try:
        Client(**wrong)
    except ValueError:
        continue
    print("taken:", wrong)
client = Client(run=there)
client.watermark()
client.close()
client.close()
for use in (lambda: client.append(Command([NewEvent("a-1", "T")])),
            client.watermark, lambda: next(client.follow())):
    try:
        use()
    except ClosedError:
        print("closed")

async def main():
    here, far = AsyncClient(run=there), AsyncClient(run=nowhere, window=1)
    await here.watermark()
    waiting = [asyncio.create_task(c) for c in (
        anext(here.follow(Query(from_end=0))), *(far.outcome(
            Command([NewEvent("a-1", "T")])) for _ in range(2)))]
    await asyncio.sleep(0.1)
    for client in (here, far, here):
        await client.close()
    for found in await asyncio.gather(*waiting, return_exceptions=True):
        print("closed" if isinstance(found, ClosedError) else
              f"{found.code} {found.sent}")
    for use in (here.watermark(), here.append(
            Command([NewEvent("a-1", "T")]))):
        try:
            await use
        except ClosedError:
            print("closed")
    # Those that wait for others have no more time than these.
    async with AsyncClient(run=nowhere, window=1, deadline=2.0) as client:
        began = time.monotonic()
        await client.append_many(Command([NewEvent("a-1", "T")])
                                 for _ in range(8))
        print("in time" if time.monotonic() - began < 10 else "late")
asyncio.run(main())
"""

NODE_CLOSED = """
import * as cairn from "cairn-client";
const [there, nowhere] = process.argv.slice(2);
const event = { stream: "a-1", type: "T" };
for (const wrong of [{ window: 0 }, { window: 1.5 }, { window: 16385 },
                     { deadlineMs: 0 }, { deadlineMs: NaN }]) {
    try {
        new cairn.Client(wrong);
        console.log("taken:", wrong);
    } catch (e) {
        if (!(e instanceof RangeError)) throw e;
    }
}
const here = new cairn.Client({ run: there });
const far = new cairn.Client({ run: nowhere, window: 1,
                               deadlineMs: undefined });
for (const wrong of [{ schema: 1.5 }, { type: "\\ud800" }]) {
    try {
        await here.append({ events: [{ ...event, ...wrong }] });
        console.log("taken:", wrong);
    } catch (e) {
        if (!(e instanceof RangeError)) throw e;
    }
}
await here.watermark();
const waiting = [here.follow({ fromEnd: 0 }).next(),
                 far.outcome({ events: [event] }),
                 far.outcome({ events: [event] })];
setTimeout(async () => {
    for (const client of [here, far, here]) await client.close();
}, 100);
const say = async (promise) => {
    try {
        const { code, sent } = await promise;
        console.log(code, sent ? "True" : "False");
    } catch (e) {
        if (!(e instanceof cairn.ClosedError)) throw e;
        console.log("closed");
    }
};
for (const promise of waiting) await say(promise);
await say(here.watermark());
await say(here.append({ events: [event] }));
const late = new cairn.Client({ run: nowhere, window: 1, deadlineMs: 2000 });
const began = performance.now();
await late.appendMany(Array(8).fill({ events: [event] }));
console.log(performance.now() - began < 10000 ? "in time" : "late");
await late.close();
"""


def a_closed_client_lets_nobody_wait():
    """Nor does one that was given options which cannot be."""
    with Running() as r:
        write(r.dir, "closed.py", text=PYTHON_CLOSED)
        write(r.dir, "closed.mjs", text=NODE_CLOSED)
        nowhere = os.path.join(r.dir, "nowhere")
        closed = "closed\nunknown False\nunknown False\n" + 2 * "closed\n" + \
            "in time\n"
        equal(r.say(sys.executable, "closed.py", r.pipeline.path("run"),
                    nowhere, PYTHONPATH=clients.PYTHON),
              3 * "closed\n" + closed, "Python")
        if HAS_NODE:
            os.mkdir(os.path.join(r.dir, "node_modules"))
            os.symlink(clients.NODE,
                       os.path.join(r.dir, "node_modules", "cairn-client"))
            equal(r.say("node", "closed.mjs", r.pipeline.path("run"), nowhere),
                  closed, "Node.js")


NODE_COLLECTED = """
import { Client } from "cairn-client";
async function use() {
    const client = new Client({ run: process.argv[2] });
    await client.watermark();
    await client.append({ events: [{ stream: "gone-1", type: "T" }] });
    await client.close();
}
for (let i = 0; i < 10; i++) {
    await use();
    gc();
    await null;
    gc();
}
"""


def node_ends_when_closed_clients_are_collected():
    """A collection at once after close() takes nothing away that its sockets
    still wait for; on one processor they wait for sure."""
    with Running() as r:
        write(r.dir, "gone.mjs", text=NODE_COLLECTED)
        os.mkdir(os.path.join(r.dir, "node_modules"))
        os.symlink(clients.NODE,
                   os.path.join(r.dir, "node_modules", "cairn-client"))
        r.say("taskset", "-c", str(min(os.sched_getaffinity(0))), "node",
              "--expose-gc", "gone.mjs", r.pipeline.path("run"))


# ---- what they are ---------------------------------------------------------

def symbols(*args):
    said = subprocess.run(["nm", "--defined-only", *args], check=True,
                          capture_output=True, text=True).stdout
    return sorted({line.split()[2].partition("@")[0]
                   for line in said.splitlines() if len(line.split()) == 3})


def declared():
    """Every function of the public headers."""
    found = set()
    folder = os.path.join(ROOT, "include", "cairn")
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
        expect(not re.search(r"\b(struct|union)\b[^;()]*\{", text),
               f"{name} shows what is in a struct")
        found |= set(re.findall(r"CAIRN_API[^;]*?\b(cairn_\w+)\(", text))
    return sorted(found)


def libcairn_exports_what_its_headers_declare_and_nothing_else():
    lib = os.path.join(BUILD, "lib", "libcairn.so")
    equal(symbols("-D", lib), ["CAIRN_0", *declared()], "the shared library")
    said = subprocess.run(["nm", "-D", "--defined-only", lib], check=True,
                          capture_output=True, text=True).stdout
    equal(sorted(re.findall(r" T (\w+)@@CAIRN_0$", said, re.M)), declared(),
          "what has a version")
    equal(symbols("-g", lib[:-2] + "a"), declared(), "the archive")
    said = subprocess.run(["readelf", "-d", lib], check=True,
                          capture_output=True, text=True).stdout
    needed = set(re.findall(r"NEEDED.*\[(\w+)", said))
    expect(not needed & {"libczmq", "libtpl", "libsystemd", "libjansson"},
           f"libcairn needs {needed}")


def libcairn_has_no_globals():
    """Nothing that can be written, in common or for each thread, but what
    the loader fills in: pointers to texts."""
    said = subprocess.run(
        ["readelf", "-SW", os.path.join(BUILD, "lib", "libcairn.a")],
        check=True, capture_output=True, text=True).stdout
    sections = re.findall(r"\] (\.\S+) +\S+ +[0-9a-f]+ [0-9a-f]+ ([0-9a-f]+)",
                          said)
    expect(any(n.startswith(".text") for n, _ in sections), "no sections")
    found = [name for name, size in sections if int(size, 16) > 0 and
             re.match(r"\.(t?data|t?bss)(?!\.rel\.ro)", name)]
    equal(found, [], "sections that can be written")


C_THREADS = """
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <cairn/cairn.h>
#define THREADS 8
#define COMMANDS 100

/* One client of each thread; all commands are made by the first one. */
static struct cairn_command *commands[THREADS][COMMANDS];

static void *
use(void *arg)
{
    struct cairn *cairn = NULL;
    struct cairn_query *query = NULL;
    struct cairn_page *page = NULL;
    struct cairn_outcome *outcome = NULL;
    const struct cairn_event *event;
    size_t n = (size_t)arg, done = 0;
    char stream[32];

    (void)snprintf(stream, sizeof stream, "thread-%zu", n);
    if (cairn_new(&cairn) < 0 ||
        cairn_set(cairn, "run", getenv("CAIRN_RUN")) < 0 ||
        cairn_query_new(&query) < 0 || cairn_query_stream(query, stream) < 0)
        return NULL;
    for (size_t i = 0; i < COMMANDS; i++) {
        if (cairn_append(cairn, commands[n][i], &outcome) == CAIRN_OK)
            done += cairn_outcome_code(outcome) == CAIRN_ACCEPTED;
        cairn_outcome_free(&outcome);
    }
    if (cairn_read(cairn, query, &page) == CAIRN_OK)
        while (cairn_page_next(page, &event) > 0)
            done++;
    cairn_page_free(&page);
    cairn_query_free(&query);
    cairn_free(&cairn);
    return (void *)done;
}

int
main(void)
{
    pthread_t threads[THREADS];
    char stream[32];

    for (size_t n = 0; n < THREADS; n++) {
        (void)snprintf(stream, sizeof stream, "thread-%zu", n);
        for (size_t i = 0; i < COMMANDS; i++)
            if (cairn_command_new(&commands[n][i]) < 0 ||
                cairn_command_expect(commands[n][i], stream,
                                     CAIRN_EXPECT_EXACT, i) < 0 ||
                cairn_command_event(commands[n][i], stream, "T", NULL, 0) < 0)
                return 1;
    }
    for (size_t n = 0; n < THREADS; n++)
        if (pthread_create(&threads[n], NULL, use, (void *)n) != 0)
            return 1;
    for (size_t n = 0; n < THREADS; n++) {
        void *done;

        (void)pthread_join(threads[n], &done);
        for (size_t i = 0; i < COMMANDS; i++)
            cairn_command_free(&commands[n][i]);
        printf("%zu\\n", (size_t)done);
    }
    return 0;
}
"""


def threads_use_clients_of_their_own_at_once():
    """Whatever was made by another thread before."""
    with Running() as r:
        installed = Installed(r.dir)
        write(r.dir, "threads.c", text=C_THREADS)
        said = r.say("sh", "-ec", "cc threads.c -o threads -pthread "
                     "$(pkg-config --cflags --libs cairn) && ./threads",
                     **installed.env)
        equal(said, "200\n" * 8, "stored and read by each")


C_MISUSE = """
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cairn/cairn.h>

int
main(void)
{
    struct cairn *cairn = NULL;
    struct cairn_command *command = NULL;
    struct cairn_query *query = NULL;
    struct cairn_outcome *outcome = NULL;
    struct cairn_page *page = NULL;
    char *longest = malloc(65537);
    static const char *const wrong[][2] = {
        { "nothing", "1" }, { "deadline_ms", "-5" }, { "deadline_ms", "" },
        { "deadline_ms", "86400001" }, { "window", "0" },
        { "window", "16385" }, { "window", "99999999999999999999" },
        { "window", "1x" }, { "server_key", "short" },
    };

    assert(longest != NULL);
    memset(longest, 'a', 65536);
    longest[65536] = '\\0';
    cairn_free(NULL);
    cairn_command_free(NULL);
    cairn_query_free(NULL);
    cairn_outcome_free(NULL);
    cairn_page_free(NULL);
    cairn_free(&cairn);
    cairn_outcome_free(&outcome);
    cairn_page_free(&page);

    assert(cairn_new(&cairn) == CAIRN_OK);
    assert(cairn_set(cairn, "run", getenv("CAIRN_RUN")) == CAIRN_OK);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert(cairn_set(cairn, wrong[i][0], wrong[i][1]) ==
               CAIRN_ERR_ARGUMENT);
    assert(cairn_set(cairn, "run", longest) == CAIRN_ERR_ARGUMENT);
    assert(cairn_error(cairn)[0] != '\\0');

    /* What cannot be sent changes nothing. */
    assert(cairn_command_new(&command) == CAIRN_OK);
    assert(cairn_command_event_tag(command, "t") == CAIRN_ERR_ARGUMENT);
    assert(cairn_command_event_meta(command, "m", 1) == CAIRN_ERR_ARGUMENT);
    assert(cairn_command_match_type(command, "T") == CAIRN_ERR_ARGUMENT);
    assert(cairn_command_expect(command, longest, CAIRN_EXPECT_NONE, 0) ==
           CAIRN_ERR_ARGUMENT);
    assert(cairn_command_event(command, longest, "T", NULL, 0) ==
           CAIRN_ERR_ARGUMENT);
    assert(cairn_command_event(command, "a-1", "T", NULL, 1) ==
           CAIRN_ERR_ARGUMENT);
    assert(cairn_command_event(command, "a-1", "T", "", SIZE_MAX) ==
           CAIRN_ERR_ARGUMENT);
    assert(cairn_append(cairn, command, &outcome) == CAIRN_OK);
    assert(cairn_outcome_code(outcome) == CAIRN_INVALID);
    cairn_outcome_free(&outcome);
    assert(cairn_set(cairn, "window", "1") == CAIRN_ERR_ARGUMENT);

    longest[256] = '\\0';
    assert(cairn_command_event(command, "a-1", "T", NULL, 0) == CAIRN_OK);
    assert(cairn_command_event_tag(command, longest) == CAIRN_ERR_ARGUMENT);
    for (int i = 0; i < 255; i++)
        assert(cairn_command_event_tag(command, "t") == CAIRN_OK);
    assert(cairn_command_event_tag(command, "t") == CAIRN_ERR_ARGUMENT);

    assert(cairn_query_new(&query) == CAIRN_OK);
    assert(cairn_query_tag(query, longest) == CAIRN_ERR_ARGUMENT);
    for (int i = 0; i < 64; i++)
        assert(cairn_query_tag(query, "t") == CAIRN_OK);
    assert(cairn_query_tag(query, "t") == CAIRN_ERR_ARGUMENT);
    cairn_query_backward(query);
    assert(cairn_follow(cairn, query, NULL, NULL) == CAIRN_ERR_ARGUMENT);

    cairn_query_free(&query);
    cairn_command_free(&command);
    cairn_free(&cairn);
    free(longest);
    return 0;
}
"""


def libcairn_says_no_to_what_it_cannot_send():
    with Running() as r:
        installed = Installed(r.dir)
        write(r.dir, "misuse.c", text=C_MISUSE)
        r.say("sh", "-ec", "cc misuse.c -o misuse $(pkg-config --cflags "
              "--libs cairn) && ./misuse", **installed.env)


def the_headers_are_c11_and_cpp():
    with tempfile.TemporaryDirectory(prefix="cairn-clients-") as top:
        installed = Installed(top)
        write(top, "use.c", text="#include <cairn/cairn.h>\n"
              "int main(void) { return cairn_version() == NULL; }\n")
        for compiler, flags in (("cc", "-std=c11 -pedantic-errors"),
                                ("c++", "-x c++ -std=c++11 -pedantic-errors")):
            if shutil.which(compiler) is None:
                print(f"SKIP: there is no {compiler}")
                continue
            subprocess.run(
                ["sh", "-ec", f"{compiler} {flags} -Wall -Wextra -Werror "
                 "use.c -o use $(pkg-config --cflags --libs cairn) && ./use"],
                cwd=top, check=True, env=dict(os.environ, **installed.env))
        for name in ("client", "command", "event"):
            write(top, "one.c", text=f"#include <cairn/{name}.h>\n")
            subprocess.run(
                ["sh", "-ec", "cc -std=c11 -c one.c $(pkg-config --cflags "
                 "cairn)"], cwd=top, check=True,
                env=dict(os.environ, **installed.env))


def the_types_of_python_hold():
    if shutil.which("mypy") is None:
        print("SKIP: mypy is not installed")
        return
    done = subprocess.run(["mypy", "--strict", "--cache-dir", os.devnull,
                           "cairn"], cwd=clients.PYTHON, text=True,
                          capture_output=True, check=False)
    equal(done.returncode, 0, f"mypy said {done.stdout}; its exit code")
    with tempfile.TemporaryDirectory(prefix="cairn-clients-") as top:
        text = block("clients/python/README.md", "python")
        write(top, "order.py", text=text)
        write(top, "wrong.py", text=text.replace("page.events", "page.event"))
        said = subprocess.run(
            ["mypy", "--strict", "--cache-dir", os.devnull, "order.py",
             "wrong.py"], cwd=top, text=True, capture_output=True, check=False,
            env=dict(os.environ, MYPYPATH=clients.PYTHON)).stdout
        expect("order.py" not in said, said)
        expect("wrong.py" in said, "a wrong field is not noticed: " + said)


def the_types_of_node_hold():
    """The example of the README is a program of TypeScript too."""
    tsc = os.path.join(clients.NODE, "node_modules", ".bin", "tsc")
    if not os.path.exists(tsc):
        print("SKIP: typescript is not installed")
        return
    with tempfile.TemporaryDirectory(prefix="cairn-clients-") as top:
        modules = os.path.join(top, "node_modules")
        os.mkdir(modules)
        os.symlink(clients.NODE, os.path.join(modules, "cairn-client"))
        os.symlink(os.path.join(clients.NODE, "node_modules", "@types"),
                   os.path.join(modules, "@types"))
        text = block("clients/node/README.md", "js")
        text = text.replace("JSON.parse(e.data)",
                            "JSON.parse(e.data.toString())")
        write(top, "order.mts", text=text)
        write(top, "wrong.mts", text=text.replace("checks:", "cheques:"))
        said = subprocess.run(
            ["node", tsc, "--noEmit", "--strict", "--target", "es2022",
             "--module", "nodenext", "--types", "node", "order.mts",
             "wrong.mts"], cwd=top, text=True, capture_output=True,
            check=False).stdout
        expect("order.mts" not in said, said)
        expect("wrong.mts" in said, "a wrong field is not noticed: " + said)
    exported = re.findall(r"^export (?:class|function) (\w+)", open(
        os.path.join(clients.NODE, "lib", "index.d.ts"),
        encoding="utf-8").read(), re.M)
    said = subprocess.run(
        ["node", "-e", "import('./lib/index.js').then(m => "
         "console.log(Object.keys(m).join(' ')))"], cwd=clients.NODE,
        check=True, capture_output=True, text=True).stdout.split()
    equal(sorted(said), sorted(exported), "what is exported, and its types")


def the_python_client_needs_nothing_but_zmq():
    allowed = {"zmq", "cairn", *sys.stdlib_module_names}
    folder = os.path.join(clients.PYTHON, "cairn")
    for name in sorted(os.listdir(folder)):
        if not name.endswith(".py"):
            continue
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            tree = ast.parse(file.read())
        for node in ast.walk(tree):
            names = [a.name for a in node.names] \
                if isinstance(node, ast.Import) else [node.module] \
                if isinstance(node, ast.ImportFrom) and not node.level else []
            for module in names:
                expect(module.split(".")[0] in allowed,
                       f"{name} imports {module}")


CASES = [the_c_example_says_what_its_readme_says,
         the_python_example_says_what_its_readme_says,
         *([the_node_example_says_what_its_readme_says] if HAS_NODE else []),
         every_client_survives_daemons_that_are_killed,
         nobody_there_is_told_at_the_deadline,
         a_closed_client_lets_nobody_wait,
         libcairn_exports_what_its_headers_declare_and_nothing_else,
         libcairn_has_no_globals,
         threads_use_clients_of_their_own_at_once,
         libcairn_says_no_to_what_it_cannot_send,
         the_headers_are_c11_and_cpp,
         the_types_of_python_hold,
         *([node_ends_when_closed_clients_are_collected,
            the_types_of_node_hold] if HAS_NODE else []),
         the_python_client_needs_nothing_but_zmq]
run(CASES)
