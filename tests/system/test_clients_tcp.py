#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""The client libraries over tcp: keys and rights, and connections that are
dead without anybody having said so."""

import os
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
# pylint: disable=wrong-import-position
import clients  # noqa: E402
from peer import Key, Shop  # noqa: E402
from proxy import Proxy  # noqa: E402
from system import (FILES_SQL, Failure, equal, expect, run,  # noqa: E402
                    wait_until)

import conformance  # noqa: E402

LIBRARIES = [lib for lib in clients.libraries() if lib.only is None]
DEADLINE_MS = 60000


class Drivers:
    """The drivers of a library with keys of a shop's pipeline."""

    def __init__(self, shop, library):
        self.shop, self.library, self.drivers = shop, library, []

    def __enter__(self):
        return self

    def driver(self, key, deadline_ms=DEADLINE_MS, **endpoints):
        p = self.shop.pipeline
        options = {"commands": p.commands, "queries": p.queries,
                   "server_key": p.server.public.decode(),
                   "public_key": key.public.decode(),
                   "secret_key": key.secret.decode(),
                   "deadline_ms": deadline_ms, **endpoints}
        self.drivers.append(conformance.Driver(
            self.library.driver, p.path("run"),
            [f"{name}={value}" for name, value in options.items()],
            env=dict(os.environ, **self.library.env)))
        return self.drivers[-1]

    def __exit__(self, kind, *what):
        for driver in self.drivers:
            try:
                driver.close()
            except Failure:
                if kind is None:
                    raise


def with_each(case, **more):
    """A case with each library, all of them at once on one pipeline."""
    faults = []

    def one(shop, library):
        try:
            with Drivers(shop, library) as drivers:
                case(shop, drivers, library.name)
        except Exception as problem:  # pylint: disable=broad-except
            faults.append(f"{library.name}: {problem!r}")

    with Shop(**more) as shop:
        threads = [threading.Thread(target=one, args=(shop, library))
                   for library in LIBRARIES]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    expect(not faults, "\n".join(faults))


def event(stream, n=0):
    return {"stream": stream, "type": "T", "data": str(n)}


def append(driver, stream, version=None, **more):
    """The outcome of one command, at a version if one is given."""
    checks = [] if version is None else [
        {"stream": stream, "expect": "exact", "version": version}]
    answer = driver.ask({"op": "append", "commands": [
        {"id": str(conformance.uuid7()), "events": [event(stream, version)],
         "checks": checks, **more}]})
    return answer["outcomes"][0]


def is_denied(answer, said, what):
    """An outcome or an error."""
    equal(answer.get("code", answer.get("error")), "denied",
          f"{what}: {answer}; the code")
    expect(said in answer["detail"], f"{what}: {answer['detail']!r} does not "
           f"say {said!r}")


# ---- keys ------------------------------------------------------------------

def a_key_may_do(shop, drivers, name):
    driver = drivers.driver(shop.operator)
    order = f"order-{name}"
    equal(append(driver, order, 0)["code"], "accepted", "append")
    found = []
    follower = threading.Thread(target=lambda: found.append(
        driver.ask({"op": "follow", "streams": [order], "count": 3})))
    follower.start()
    other = drivers.driver(shop.shop)
    for n in (1, 2):
        outcome = append(other, order, n)
        equal(outcome["versions"], [n + 1], f"{outcome}; versions")
    follower.join()
    equal([e["version"] for e in found[0]["events"]], [1, 2, 3], "followed")
    page = driver.ask({"op": "read", "streams": [order]})
    equal([e["data"] for e in page["events"]], ["0", "1", "2"], "read")
    # A projector is asked over ipc, by whoever has keys for tcp as well.
    found = driver.ask({"op": "wait", "projection": "files",
                        "position": outcome["last"], "wait_ms": 20000})
    expect(found.get("checkpoint", 0) >= outcome["last"], found)


def every_client_works_over_tcp():
    with_each(a_key_may_do, projections=[FILES_SQL])


def a_key_may_not_do(shop, drivers, name):
    driver = drivers.driver(shop.shop)
    is_denied(append(driver, f"cart-{name}"), f"cart-{name}", "append")
    is_denied(driver.ask({"op": "read"}), "right", "read everything")
    is_denied(driver.ask({"op": "follow", "streams": ["cart-1"],
                          "count": 1}), "right", "follow")
    is_denied(append(drivers.driver(shop.backup), f"order-{name}"),
              f"order-{name}", "append by who may only read")
    equal(append(driver, f"order-{name}")["code"], "accepted", "afterwards")


def what_rights_do_not_give_is_denied():
    with_each(a_key_may_not_do)


PYTHON_TYPES = """
import asyncio, sys
from cairn import *
commands, queries, server, public, secret = sys.argv[1:]
options = Options(commands=commands, queries=queries,
                  server_key=server.encode(), public_key=public,
                  secret_key=secret)
command = Command([NewEvent("cart-1", "T")])

def say(problem):
    print(type(problem).__name__, problem)

async def more():
    async with AsyncClient(options) as client:
        try:
            await client.append(command)
        except DeniedError as problem:
            say(problem)
        try:
            await client.page(Query())
        except RefusedError as problem:
            say(problem)

with Client(options) as client:
    try:
        client.append(command)
    except DeniedError as problem:
        say(problem)
    try:
        client.page(Query())
    except RefusedError as problem:
        say(problem)
asyncio.run(more())
for wrong in ({"server_key": None}, {"secret_key": b"short"}):
    with Client(options, **wrong) as client:
        try:
            client.append(command)
        except ValueError as problem:
            say(problem)
"""

NODE_TYPES = """
import * as cairn from "./lib/index.js";
const [commands, queries, serverKey, publicKey, secretKey] =
    process.argv.slice(2);
const options = { commands, queries, serverKey, publicKey, secretKey };
const command = { events: [{ stream: "cart-1", type: "T" }] };
const say = (kind) => (e) => {
    if (!(e instanceof kind)) throw e;
    console.log(e.name, e.message);
};
const client = new cairn.Client(options);
await client.append(command).catch(say(cairn.DeniedError));
await client.page().catch(say(cairn.RefusedError));
await client.close();
for (const wrong of [{ serverKey: undefined }, { secretKey: "short" }]) {
    const other = new cairn.Client({ ...options, ...wrong });
    await other.append(command).catch(say(RangeError));
    await other.close();
}
"""


def programs():
    """Each with what it calls the error of an argument, and how many clients
    it has."""
    yield [sys.executable, "-c", PYTHON_TYPES], "ValueError", 2
    if any(lib.name == "node" for lib in LIBRARIES):
        path = os.path.join(clients.NODE, "types.mjs")
        with open(path, "w", encoding="utf-8") as file:
            file.write(NODE_TYPES)
        yield ["node", path], "RangeError", 1


def errors_of_keys_have_types_of_their_own():
    with Shop() as s:
        p = s.pipeline
        stranger = Key(p, "stranger")
        for key, denied, refused in (
                (s.shop, "cart-1", "everything"),
                (stranger, "the server does not know this key",
                 f"the server at {p.queries} does not know this key")):
            for program, wrong, count in programs():
                done = subprocess.run(
                    [*program, p.commands, p.queries,
                     p.server.public.decode(), key.public.decode(),
                     key.secret.decode()], capture_output=True, text=True,
                    timeout=60, check=False, cwd=p.top,
                    env=dict(os.environ, PYTHONPATH=clients.PYTHON))
                equal(done.returncode, 0, f"{done.stderr}; exit code")
                wanted = [("DeniedError denied: ", denied),
                          ("RefusedError denied: ", refused)] * count + \
                    [(wrong, "only with CURVE"), (wrong, "40 characters")]
                lines = done.stdout.splitlines()
                equal(len(lines), len(wanted), f"{lines}; lines")
                for line, (start, part) in zip(lines, wanted):
                    expect(line.startswith(start) and part in line,
                           f"{line!r}, not {start!r} with {part!r}")


def is_early(began, what):
    """Several questions took less time than one would that waits for its
    deadline."""
    took = time.monotonic() - began
    expect(took < DEADLINE_MS / 1000, f"{what}: after {took:.1f} s")


def an_unknown_key_is_told_at_once_and_known_when_it_is():
    with Shop() as s:
        p = s.pipeline
        stranger = Key(p, "stranger")
        drivers = [(lib.name, Drivers(s, lib)) for lib in LIBRARIES]
        drivers = [(name, d, d.driver(stranger)) for name, d in drivers]
        for name, _, driver in drivers:
            began = time.monotonic()
            for _ in range(2):  # every time, not only the first
                is_denied(append(driver, f"order-{name}"),
                          "does not know this key", f"{name}: append")
                is_denied(driver.ask({"op": "read"}),
                          "does not know this key", f"{name}: read")
            is_early(began, name)
        p.cairn("key", "authorize", "--rights", p.rights, "--administer",
                "stranger", stranger.path)
        p.reload()
        for name, folder, driver in drivers:
            equal(append(driver, f"order-{name}", 0)["code"], "accepted",
                  f"{name}: append with a key that is known by now")
            answer = driver.ask({"op": "read", "streams": [f"order-{name}"]})
            equal(len(answer.get("events", ())), 1, f"{name}: {answer}; read")
            with folder:
                pass


def a_revoked_key_is_told_at_once():
    with Shop() as s:
        p = s.pipeline
        drivers = [(lib.name, Drivers(s, lib)) for lib in LIBRARIES]
        drivers = [(name, d, d.driver(s.shop)) for name, d in drivers]
        for name, _, driver in drivers:
            equal(append(driver, f"order-{name}")["code"], "accepted", name)
            driver.ask({"op": "read", "streams": [f"order-{name}"]})
        with open(p.rights, encoding="utf-8") as file:
            before = file.read()
        p.write_rights(before[:before.index("shop\n")] +
                       before[before.index("backup\n"):])
        p.reload()

        def all_denied(when):
            for name, _, driver in drivers:
                began = time.monotonic()
                for said in (append(driver, f"order-{name}"), driver.ask(
                        {"op": "read", "streams": [f"order-{name}"]})):
                    is_denied(said, "key", f"{name}, {when}")
                is_early(began, f"{name}: {when}")

        all_denied("on the connection that it had")
        p.dev("crash", "gateway")
        p.dev("crash", "publisher")
        all_denied("when it connects again")
        for _, folder, _ in drivers:
            with folder:
                pass


def what_may_have_been_stored_is_not_said_to_be_denied():
    """A key is revoked while the answer to a command is lost."""
    with Shop() as s:
        p, found, threads, proxies = s.pipeline, {}, [], []
        try:
            for library in LIBRARIES:
                proxies.append(Proxy(p.commands))

                def one(library=library, proxy=proxies[-1]):
                    with Drivers(s, library) as drivers:
                        driver = drivers.driver(s.shop,
                                                commands=proxy.endpoint)
                        append(driver, f"order-{library.name}", 0)
                        # Nor is one heard on another connection, before
                        # the key is revoked.
                        proxy.forget(answers_only=True, to_come=1000)
                        found[library.name] = append(
                            driver, f"order-{library.name}", 1)

                threads.append(threading.Thread(target=one))
                threads[-1].start()
            reader = s.queries(s.operator)
            wait_until(lambda: len(reader.read()[1]) == 2 * len(LIBRARIES),
                       "all of them to be stored")
            p.write_rights("# nobody\n")
            p.reload()
            for proxy in proxies:
                proxy.forget()
        finally:
            for thread in threads:
                thread.join()
            for proxy in proxies:
                proxy.close()
        equal(sorted(found), sorted(lib.name for lib in LIBRARIES), "outcomes")
        for name, outcome in found.items():
            equal(outcome["code"], "unknown", f"{name}: {outcome}; the code")
            expect("does not know this key" in outcome["detail"], outcome)


# ---- silence ---------------------------------------------------------------

def append_over_a_dead_connection(shop, drivers, name, **forgotten):
    """What is appended while its connection is forgotten is stored once."""
    proxy = Proxy(shop.pipeline.commands)
    try:
        driver = drivers.driver(shop.operator, commands=proxy.endpoint)
        stream = f"order-{name}"
        equal(append(driver, stream, 0)["code"], "accepted", "the first")
        proxy.forget(**forgotten)
        outcome = append(driver, stream, 1)
        equal((outcome["code"], outcome["versions"]), ("accepted", [2]),
              f"{outcome}; the second")
        # It may have arrived the first time, without its answer.
        equal(outcome["repeated"], forgotten.get("answers_only", False),
              "repeated")
        expect(proxy.connections > 1, "there was no new connection")
        equal(append(driver, stream, 2)["code"], "accepted", "the third")
        events = driver.ask({"op": "read_all", "streams": [stream]})["events"]
        equal([e["data"] for e in events], ["0", "1", "2"], "the stream")
    finally:
        proxy.close()


def a_command_on_a_dead_connection_is_stored_once():
    with_each(append_over_a_dead_connection)


def a_command_whose_answer_is_lost_is_stored_once():
    with_each(lambda *args: append_over_a_dead_connection(
        *args, answers_only=True))


def a_second_dead_connection_is_given_up_as_well():
    """This one dies in its handshake."""
    with_each(lambda *args: append_over_a_dead_connection(*args, to_come=1))


def a_short_deadline_is_time_enough(shop, drivers, name):
    """Shorter than the silence after which others give a connection up."""
    proxy = Proxy(shop.pipeline.commands)
    try:
        driver = drivers.driver(shop.operator, 4900, commands=proxy.endpoint)
        append(driver, f"order-{name}", 0)
        proxy.forget()
        equal(append(driver, f"order-{name}", 1)["code"], "accepted", "code")
    finally:
        proxy.close()


def a_deadline_leaves_time_for_a_new_connection():
    with_each(a_short_deadline_is_time_enough)


def read_over_a_dead_connection(shop, drivers, name):
    """A read, and one that waits for what comes."""
    proxy = Proxy(shop.pipeline.queries)
    stream = f"order-{name}"
    try:
        writer = drivers.driver(shop.operator)
        driver = drivers.driver(shop.operator, queries=proxy.endpoint)
        append(writer, stream, 0)
        query = {"op": "read", "streams": [stream]}
        equal(len(driver.ask(query)["events"]), 1, "the first")
        proxy.forget()
        equal(len(driver.ask(query).get("events", ())), 1, "the second")
        found = []
        follower = threading.Thread(target=lambda: found.append(
            driver.ask({"op": "follow", "streams": [stream], "count": 2})))
        follower.start()
        equal(append(writer, "order-other")["code"], "accepted", "another")
        time.sleep(1)  # it waits by now; if not, this tests a little less
        connections = proxy.connections
        proxy.forget()
        append(writer, stream, 1)
        follower.join()
        equal([e["data"] for e in found[0].get("events", ())], ["0", "1"],
              f"{found}; followed")
        expect(proxy.connections > connections, "there was no new connection")
    finally:
        proxy.close()


def a_read_on_a_dead_connection_is_asked_again():
    with_each(read_over_a_dead_connection)


def a_slow_answer_over_tcp(shop, drivers, name):
    """Later than a client asks once more, earlier than a silence: a new
    connection would be as slow, again and again."""
    proxy = Proxy(shop.pipeline.queries)
    try:
        append(drivers.driver(shop.operator), f"order-{name}", 0)
        driver = drivers.driver(shop.operator, queries=proxy.endpoint)
        query = {"op": "read", "streams": [f"order-{name}"]}
        equal(len(driver.ask(query)["events"]), 1, "at once")
        wait_until(lambda: proxy.connections == 1, "one connection")
        proxy.delay = 1.5
        equal(len(driver.ask(query).get("events", ())), 1, "slowly")
        equal(proxy.connections, 1, "connections")
    finally:
        proxy.close()


def a_slow_answer_is_an_answer_over_tcp_too():
    with_each(a_slow_answer_over_tcp)


run([every_client_works_over_tcp,
     what_rights_do_not_give_is_denied,
     errors_of_keys_have_types_of_their_own,
     an_unknown_key_is_told_at_once_and_known_when_it_is,
     a_revoked_key_is_told_at_once,
     what_may_have_been_stored_is_not_said_to_be_denied,
     a_command_on_a_dead_connection_is_stored_once,
     a_command_whose_answer_is_lost_is_stored_once,
     a_second_dead_connection_is_given_up_as_well,
     a_deadline_leaves_time_for_a_new_connection,
     a_read_on_a_dead_connection_is_asked_again,
     a_slow_answer_is_an_answer_over_tcp_too])
