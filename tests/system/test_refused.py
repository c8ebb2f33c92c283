#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""Every client library asks again when it is told *busy*: as a REFUSED, which
names no time, after a back-off of its own; as an outcome, not before the time
that it names.  The commands keep their ids.  What they do not understand they
take for no answer, and codes and flags that they do not know for what
doc/PROTOCOL.md says.  What tells them so stands in for the gateway and the
publisher."""

import os
import shutil
import sys
import tempfile
import threading
import time
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
# pylint: disable=wrong-import-position
import clients  # noqa: E402
from system import equal, expect, run  # noqa: E402

if not clients.HAS_ZMQ:
    print("SKIP: python3-zmq is not installed")
    sys.exit(77)

import conformance  # noqa: E402
import fromdoc  # noqa: E402
import zmq  # noqa: E402

BACKOFF_MAX = 1.0
RETRY_MS = 700  # longer than the first back-offs


class Door(threading.Thread):
    """A ROUTER that gives one answer, or a list of them, after the other; the
    last one stays."""

    def __init__(self, endpoint, answers):
        super().__init__(daemon=True)
        self.socket = zmq.Context.instance().socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(endpoint)
        self.answers, self.ended = answers, threading.Event()
        self.came = []  # when, and what
        self.start()

    def run(self):
        while not self.ended.is_set():
            if self.socket.poll(50) == 0:
                continue
            who, *frames = self.socket.recv_multipart()
            kind, values = fromdoc.parse(frames[0])
            if kind == fromdoc.PING:
                self.socket.send_multipart([who, fromdoc.image(
                    fromdoc.PONG, values[0], 1, 1, 1, 0), b"stand-in 1"])
                continue
            answer = self.answers[min(len(self.came), len(self.answers) - 1)]
            self.came.append((time.monotonic(), values))
            said = answer(values)
            for message in said if isinstance(said[0], list) else [said]:
                self.socket.send_multipart([who, *message])
        self.socket.close()

    def close(self):
        self.ended.set()
        self.join()

    def gaps(self):
        times = [at for at, _ in self.came]
        return [b - a for a, b in zip(times, times[1:])]


def refusal(code):
    return lambda values: [fromdoc.image(fromdoc.REFUSED, code), b"not now"]


def outcome(code, retry_ms=0, flags=0):
    """An answer to an APPEND of one command of one event."""
    def make(values):
        first = 1 if code == 0 else 0
        return [fromdoc.image(fromdoc.APPENDED, [
            (*values[0][0][:2], code, flags, retry_ms, first, first, first,
             first, 0, 0, 0)], [(1,)] * first, []), b""]
    return make


def page(values, code=0, flags=1, events=0):
    return [fromdoc.image(fromdoc.EVENTS, values[0], code, flags, 1, 0, 0,
                          events), *([b"why"] if code else [])]


BUSY, STOPPING = 6, 8


def with_door(library, name, answers, request, options=()):
    """What the library makes of the answers; the door as it was then."""
    folder = tempfile.mkdtemp(prefix="cairn-door-")
    door = Door("ipc://" + os.path.join(folder, name), answers)
    try:
        driver = conformance.Driver(library.driver, folder, options,
                                    env=dict(os.environ, **library.env))
        said = driver.ask(request)
        driver.close()
    finally:
        door.close()
        shutil.rmtree(folder)
    return said, door


def one_append():
    return {"op": "append", "commands": [{
        "id": str(uuid.UUID(fromdoc.command_id())),
        "events": [{"stream": "a-1", "type": "T"}]}]}


def asks_again(library):
    append = one_append()
    refused = [refusal(BUSY), refusal(STOPPING), refusal(BUSY)]

    said, door = with_door(library, "commands", refused + [outcome(0)], append)
    equal([o["code"] for o in said["outcomes"]], ["accepted"], f"{said}")
    equal(len(door.came), 4, "tries of an append")
    equal({fromdoc.uuid_in(*v[0][0][:2]) for _, v in door.came},
          {append["commands"][0]["id"]}, "its ids")
    gaps = door.gaps()
    expect(all(0.005 < g < BACKOFF_MAX + 1 for g in gaps), f"{gaps}")
    expect(gaps[2] > gaps[0], f"the back-off does not grow: {gaps}")

    said, door = with_door(library, "commands",
                           [outcome(BUSY, RETRY_MS), outcome(0)], append)
    equal([o["code"] for o in said["outcomes"]], ["accepted"], f"{said}")
    gaps = door.gaps()
    equal(len(gaps), 1, "tries after an outcome")
    expect(RETRY_MS / 1000 - 0.02 <= gaps[0] < RETRY_MS / 1000 + 2, f"{gaps}")

    said, door = with_door(library, "queries", refused + [page],
                           {"op": "read"})
    equal((said.get("events"), said.get("at_end")), ([], True), f"{said}")
    equal(len(door.came), 4, "tries of a read")
    expect(all(0.005 < g < BACKOFF_MAX + 1 for g in door.gaps()),
           f"{door.gaps()}")

    # As an answer to the READ itself, which is how the publisher says it.
    put_off = [lambda v: page(v, BUSY)] * 4 + [lambda v: page(v, STOPPING)]
    said, door = with_door(library, "queries", [*put_off, page],
                           {"op": "read"})
    equal((said.get("events"), said.get("at_end")), ([], True), f"{said}")
    gaps = door.gaps()
    equal(len(gaps), 5, "pauses of a read")
    expect(all(0.04 < g < BACKOFF_MAX + 1 for g in gaps), f"{gaps}")
    expect(gaps[4] > 4 * gaps[0], f"the back-off does not grow: {gaps}")
    began = time.monotonic()
    said, door = with_door(library, "queries", [put_off[0]], {"op": "read"},
                           ["deadline_ms=1000"])
    took = time.monotonic() - began
    equal(said.get("error"), "busy", f"{said}; at the deadline")
    expect(3 < len(door.came) < 9, f"{len(door.came)} tries in 1 s")
    expect(took < 3, f"{took:.1f} s for a deadline of 1 s")


def other_counts(values):
    """An outcome with more versions than there are."""
    return [fromdoc.image(fromdoc.APPENDED, [
        (*values[0][0][:2], 0, 0, 0, 1, 1, 1, 4000000000, 0, 0, 0)], [], []),
        b""]


def bears_nonsense(library):
    nonsense = [lambda values: [b"garbage", b""], lambda values: [b"", b""],
                lambda values: outcome(0)(values)[:1],
                lambda values: [*outcome(0)(values), b""],
                lambda values: page([5]), other_counts]
    # A command is sent again after half of the deadline.
    for sent in ([nonsense[0], outcome(0)],
                 [lambda values: [a(values) for a in (*nonsense, outcome(0))]]):
        said, door = with_door(library, "commands", sent, one_append(),
                               ["deadline_ms=4000"])
        equal([(o["code"], o["versions"]) for o in said.get("outcomes", ())],
              [("accepted", [1])], f"{said}; outcomes")
        equal(len(door.came), len(sent), "tries")

    said, _ = with_door(library, "commands", [outcome(77)], one_append())
    expect(said["outcomes"][0]["code"] not in fromdoc.CODES, f"code 77: {said}")
    said, _ = with_door(library, "commands", [outcome(0, flags=0xfff0)],
                        one_append())
    equal(said["outcomes"][0]["code"], "accepted", f"flags: {said}; code")
    equal([said["outcomes"][0][f] for f in ("repeated", "dry_run", "more")],
          [False] * 3, f"flags: {said}; those that are known")

    read = {"op": "read"}
    said, _ = with_door(library, "queries", [lambda v: page(v, 77)], read)
    expect(said["error"] not in fromdoc.CODES, f"code 77: {said}")
    said, _ = with_door(library, "queries", [lambda v: page(v, 0, 0xfff1)],
                        read)
    equal((said.get("events"), said.get("at_end")), ([], True), f"{said}")
    said, _ = with_door(library, "queries", [lambda v: page(v, events=5)],
                        read)
    equal(said.get("error"), "damaged", f"events that are not there: {said}")


def the_client_of_the_page_asks_again():
    folder = tempfile.mkdtemp(prefix="cairn-door-")
    endpoint = "ipc://" + os.path.join(folder, "commands")
    door = Door(endpoint, [refusal(BUSY), outcome(BUSY, RETRY_MS), outcome(0)])
    client = fromdoc.Client(endpoint)
    try:
        said = client.append([{"events": [{"stream": "a-1", "type": "T"}]}])
    finally:
        client.close()
        door.close()
        shutil.rmtree(folder)
    equal([o["code"] for o in said], ["accepted"], "outcome")
    gaps = door.gaps()
    expect(0.04 < gaps[0] < 1 and gaps[1] >= RETRY_MS / 1000 - 0.02, f"{gaps}")


def cases():
    for library in clients.libraries():
        def case(library=library):
            asks_again(library)
        case.__name__ = f"{library.name}_asks_again_when_it_is_told_busy"
        yield case

        def nonsense(library=library):
            bears_nonsense(library)
        nonsense.__name__ = f"{library.name}_bears_what_it_does_not_know"
        yield nonsense


run([the_client_of_the_page_asks_again, *cases()])
