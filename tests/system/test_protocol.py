#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""A client written from doc/PROTOCOL.md alone (tests/lib/wire.py), and peers
that do not keep to it."""

import os
import random
import sys
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
# pylint: disable=wrong-import-position
import wire  # noqa: E402
from system import (FILES_SQL, Pipeline, equal, expect, run,  # noqa: E402
                    seed)

try:
    import zmq
except ImportError:
    print("SKIP: python3-zmq is not installed")
    sys.exit(77)

from zmqclient import CONTEXT, Client  # noqa: E402


class Running:
    """A pipeline and a client of each endpoint, stopped at the end."""

    def __init__(self, projections=()):
        self.pipeline = Pipeline(projections)

    def __enter__(self):
        self.pipeline.up()
        self.commands = Client(self.pipeline, "commands")
        self.queries = Client(self.pipeline, "queries")
        return self

    def __exit__(self, *what):
        self.commands.close()
        self.queries.close()
        self.pipeline.close()


def event(stream, text="x", **more):
    return wire.Event(stream, data=text.encode(), **more)


def a_command_is_accepted_repeated_and_read():
    with Running() as r:
        command = wire.Command([event("a-1", "1", tags=["t:1"]),
                                event("b-1", "2"), event("a-1", "3")],
                               [("a-1", wire.NONE, 0)])
        first, = r.commands.append(command)
        equal((first.code, first.first, first.last, first.versions,
               first.repeated), ("accepted", 1, 3, [2, 1], False), "outcome")
        again, = r.commands.append(command)
        expect(again.repeated, "the second time is a repeat")
        equal((again.code, again.first, again.last, again.versions,
               again.time_us), ("accepted", 1, 3, [2, 1], first.time_us),
              "the same outcome again")
        answer, events = r.queries.read(selectors=[("s", "a-1")])
        equal([(e["version"], e["data"]) for e in events],
              [(1, b"1"), (2, b"3")], "the stream")
        equal((answer["flags"], answer["next"], answer["stream_version"]),
              (1, 3, 2), "the end of the stream")
        equal([e["position"] for e in
               r.queries.read(selectors=[("g", "t:1")])[1]], [1], "by tag")
        equal([e["position"] for e in
               r.queries.read(direction=1, event_max=2)[1]], [3, 2],
              "backward")


def every_failed_check_is_told():
    with Running() as r:
        r.commands.append(wire.Command([event("a-1"), event("a-1")]))
        outcome, = r.commands.append(wire.Command(
            [event("c-1")],
            [("a-1", wire.EXACT, 1), ("b-1", wire.EXISTS, 0),
             ("a-1", wire.EXACT, 2), ("a-1", wire.NONE, 0),
             ("c-1", wire.NONE, 0), ("a-1", wire.ANY, 0)]))
        equal((outcome.code, outcome.failures),
              ("conflict", [(0, 2), (1, 0), (3, 2)]), "failures")
        equal(r.queries.read(selectors=[("s", "c-1")])[1], [], "c-1")


def the_same_id_with_other_content_is_invalid():
    with Running() as r:
        command = wire.Command([event("a-1", "1")])
        r.commands.append(command)
        other = wire.Command([event("a-1", "2")], command=command.id)
        equal(r.commands.append(other)[0].code, "invalid", "code")
        equal(r.queries.read()[0]["watermark"], 1, "watermark")


def many_commands_in_one_message_keep_their_order():
    with Running() as r:
        commands = [wire.Command([event("a-1", str(i))],
                                 [("a-1", wire.EXACT, i)])
                    for i in range(500)]
        outcomes = r.commands.append(*commands)
        equal([o.code for o in outcomes], ["accepted"] * 500, "codes")
        equal([o.versions for o in outcomes], [[i + 1] for i in range(500)],
              "versions")


def bad_fields_are_named():
    bad = [
        (wire.Event(""), "stream"),
        (wire.Event("a\0b"), "stream"),
        (wire.Event("a\nb"), "stream"),
        (wire.Event("a-1", kind=""), "type"),
        (wire.Event("a-1", tags=["x", "x"]), "tag"),
        (wire.Event("a-1", tags=[""]), "tag"),
        (wire.Event("a-1", content_type="a\x7fb"), "content type"),
    ]
    invalid = wire.Event("a-1")
    invalid.stream = b"\xff\xfe"
    bad.append((invalid, "stream"))
    with Running() as r:
        for broken, field in bad:
            outcome, = r.commands.append(wire.Command([event("g-1"), broken]))
            equal(outcome.code, "invalid", field)
            expect(f"event 1: {field}" in outcome.detail, outcome.detail)
        nil = wire.Command([event("a-1")], command=uuid.UUID(int=0))
        outcome, = r.commands.append(nil)
        equal(outcome.code, "invalid", "a nil command id")
        empty, = r.commands.append(wire.Command([]))
        equal(empty.code, "invalid", "no events")
        equal(r.queries.read()[0]["watermark"], 0, "nothing was stored")


def limits_are_held_and_named():
    with Running() as r:
        cases = [
            ([event("a-1", "x" * (1 << 20))], "accepted"),
            ([event("a-1", "x" * ((1 << 20) + 1))], "data"),
            ([event("a-1", meta=b"x" * 65536)], "accepted"),
            ([event("a-1", meta=b"x" * 65537)], "meta"),
            ([event("a-1", tags=[f"t{i}" for i in range(32)])], "accepted"),
            ([event("a-1", tags=[f"t{i}" for i in range(33)])], "tags"),
            ([event("a-1", "")] * 4096, "accepted"),
            ([event("a-1", "")] * 4097, "events"),
            ([event("a-1", "x" * (1 << 20))] * 8, "commit"),
            ([event("n" * 255)], "accepted"),
        ]
        for events, said in cases:
            outcome, = r.commands.append(wire.Command(events))
            if said == "accepted":
                equal(outcome.code, said, outcome.detail)
            else:
                equal(outcome.code, "too large", said)
                expect(said in outcome.detail, outcome.detail)
        checks = [("a-1", wire.ANY, 0)] * 4097
        outcome, = r.commands.append(wire.Command([event("a-1")], checks))
        equal(outcome.code, "too large", "checks")


def more_in_flight_than_allowed_is_busy():
    r = Running()
    r.pipeline.config("gateway", "client\n    in_flight_max = 16\n")
    with r:
        commands = [wire.Command([event(f"a-{i}")]) for i in range(64)]
        outcomes = r.commands.append(*commands)
        busy = [o for o in outcomes if o.code == "busy"]
        expect(0 < len(busy) <= 48, f"{len(busy)} are busy")
        # The first one says why; those behind it keep their order.
        expect("in_flight_max" in busy[0].detail, busy[0].detail)
        expect(all(o.retry_ms > 0 and
                   ("in_flight_max" in o.detail or "again first" in o.detail)
                   for o in busy), [o.detail for o in busy])
        left = [c for c, o in zip(commands, outcomes) if o.code == "busy"]
        while left:  # again, as the answer says; bounded by the test's limit
            outcomes = r.commands.append(*left[:16])
            equal([o.code for o in outcomes], ["accepted"] * len(outcomes),
                  "the second try")
            left = left[16:]
        equal(r.queries.read()[0]["watermark"], 64, "all are stored, once")


def a_req_socket_works_everywhere():
    with Running([FILES_SQL]) as r:
        for name in ("commands", "queries", "projections/files"):
            client = Client(r.pipeline, name, zmq.REQ)
            frames = client.ask([wire.header("PING", 77)])
            equal(wire.kind_of(frames[0]), "PONG", name)
            equal(wire.fields("PONG", frames[0])[0], 77, "request")
            expect(frames[1].startswith(b"cairn-"), frames[1])
            client.close()
        client = Client(r.pipeline, "commands", zmq.REQ)
        equal(client.append(wire.Command([event("a-1")]))[0].code, "accepted",
              "append over REQ")
        client.close()


def waits_are_answered_by_what_comes():
    with Running() as r:
        r.queries.socket.send_multipart(wire.read(request=5, wait_ms=20000))
        r.commands.append(wire.Command([event("a-1", "now")]))
        answer, events = wire.events(r.queries.answer())
        equal((answer["request"], [e["data"] for e in events]), (5, [b"now"]),
              "what came")
        answer, events = r.queries.read(start=answer["next"], wait_ms=50)
        equal((answer["flags"], events), (1, []), "nothing in time")


def the_live_endpoint_carries_positions():
    with Running() as r:
        client = CONTEXT.socket(zmq.SUB)
        client.setsockopt(zmq.RCVTIMEO, 200)
        client.setsockopt(zmq.LINGER, 0)
        client.setsockopt(zmq.SUBSCRIBE, b"a-")
        client.connect("ipc://" + r.pipeline.path("run", "live"))
        got = []
        for i in range(50):  # it may miss what came before it was there
            r.commands.append(wire.Command([event("a-1", str(i)),
                                            event("b-1")]))
            try:
                got.append(client.recv_multipart())
            except zmq.Again:
                continue
            if len(got) == 3:
                break
        client.close()
        equal(len(got), 3, "messages")
        equal([f[0] for f in got], [b"a-1"] * 3, "topics")
        positions = [wire.event(f[1])["position"] for f in got]
        equal([p - positions[0] for p in positions], [0, 2, 4], "positions")


def bad_reads_are_refused_with_a_reason():
    with Running() as r:
        for more in ({"direction": 2}, {"start_kind": 3},
                     {"direction": 1, "start_kind": 1},
                     {"selectors": [("x", "a")]}, {"selectors": [("s", "")]},
                     {"selectors": [("t", "a\nb")]}):
            answer = wire.events(r.queries.ask(wire.read(**more)))[0]
            equal(answer["code"], 3, more)
            expect(answer["text"], f"a reason for {more}")


def odd_messages_are_refused_and_honest_clients_go_on():
    rng = random.Random(seed())
    with Running([FILES_SQL]) as r:
        good = wire.append([wire.Command([event("a-1")])])
        odd = [[b""], [b"hello"], [good[0]], good + [b"more"], good * 3,
               [good[0], good[1] + b"x"], [good[0], good[1][:-1]],
               [wire.image("vvU", [2, 5, 1])], [wire.image("vvU", [1, 99, 1])],
               [wire.header("APPEND", [(1, 1, 2 ** 32 - 1, 1, 0, 0)], [], [],
                            []), b""],
               [wire.header("APPEND", [(1, 1, 1, 1, 0, 0)], [(5, 65535, 0)],
                            [(65535, 65535, 2 ** 32 - 1)], []), b""],
               [b"x"] * 40, [b"\0" * 100000]]
        for _ in range(300):
            bent = bytearray(good[0])
            for _ in range(rng.randrange(1, 4)):
                bent[rng.randrange(len(bent))] = rng.randrange(256)
            odd.append([bytes(bent[:rng.randrange(len(bent) + 1)]), good[1]])
        for name in ("commands", "queries", "projections/files"):
            client = Client(r.pipeline, name)
            for frames in odd:
                client.socket.send_multipart(frames)
            # One good question behind them all is answered.  Who does not
            # read while it sends may miss answers: then it asks again.
            kind = None
            for _ in range(20):
                client.socket.send_multipart([wire.header("PING", 4711)])
                while kind != "PONG" and client.socket.poll(1000):
                    answer = client.answer()
                    if answer[0] == b"":  # a delimiter, given back
                        answer = answer[1:]
                    kind = wire.kind_of(answer[0])
                    expect(kind in ("REFUSED", "APPENDED", "EVENTS", "PONG"),
                           kind)
                    if kind == "REFUSED":
                        expect(answer[1], "a reason")
                if kind == "PONG":
                    break
            equal(kind, "PONG", f"the last answer at {name}")
            equal(wire.fields("PONG", answer[0])[0], 4711, name)
            client.close()
        outcome, = r.commands.append(wire.Command([event("h-1")]))
        equal(outcome.code, "accepted", "an honest client")


def a_chosen_routing_id_is_not_heard():
    """Both are answered, each what it has asked."""
    with Running() as r:
        for name in ("commands", "queries"):
            clients = [Client(r.pipeline, name, routing_id=b"me")
                       for _ in range(2)]
            for i, client in enumerate(clients * 2):
                answer = client.ask([wire.header("PING", i)])
                equal(wire.kind_of(answer[0]), "PONG", name)
                equal(wire.fields("PONG", answer[0])[0], i, "of its own")
            for client in clients:
                client.close()


run([a_command_is_accepted_repeated_and_read,
     every_failed_check_is_told,
     the_same_id_with_other_content_is_invalid,
     many_commands_in_one_message_keep_their_order,
     bad_fields_are_named,
     limits_are_held_and_named,
     more_in_flight_than_allowed_is_busy,
     a_req_socket_works_everywhere,
     waits_are_answered_by_what_comes,
     the_live_endpoint_carries_positions,
     bad_reads_are_refused_with_a_reason,
     odd_messages_are_refused_and_honest_clients_go_on,
     a_chosen_routing_id_is_not_heard])
