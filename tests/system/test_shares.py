#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""What one key may have of what all have together, over all its connections:
connections, long polls, commands and bytes on their way."""

import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
# pylint: disable=wrong-import-position
import wire  # noqa: E402
from peer import Key, TcpPipeline, local  # noqa: E402
from system import equal, expect, run, wait_until  # noqa: E402


def event(stream, text="x"):
    return wire.Event(stream, data=text.encode())


class Two:
    """A pipeline, and two keys with all rights: who has much, and who comes
    later."""

    def __init__(self, **more):
        self.p = TcpPipeline(**more)
        self.greedy = Key(self.p, "greedy")
        self.honest = Key(self.p, "honest")
        self.clients = []

    def __enter__(self):
        for key in (self.greedy, self.honest):
            self.p.cairn("key", "authorize", "--rights", self.p.rights,
                         "--administer", key.name, key.path)
        self.p.up()
        return self

    def come(self, key, endpoint, **more):
        self.clients.append(self.p.connect(key, endpoint, **more))
        return self.clients[-1]

    def leave(self):
        for client in self.clients:
            client.close()
        self.clients = []

    def __exit__(self, *what):
        self.leave()
        self.p.close()


def ping(client):
    """PONG; or the code and the text of what it is refused with."""
    frames = client.ask([wire.header("PING", 1)])
    if wire.kind_of(frames[0]) == "PONG":
        return "PONG", ""
    return (wire.CODES[wire.fields("REFUSED", frames[0])[0]],
            frames[1].decode())


def is_let_in(client):
    """Who is cut off as a silent one connects again, and asks again."""
    for _ in range(20):
        client.socket.send_multipart([wire.header("PING", 1)])
        if client.socket.poll(1000) and \
                wire.kind_of(client.answer()[0]) == "PONG":
            return True
    return False


def the_connections_of_a_key_have_a_limit():
    limits = "connections\n    max = 40\n"
    with Two(gateway=limits, publisher=limits) as two:
        for who, endpoint in (("gateway", two.p.commands),
                              ("publisher", two.p.queries)):
            first = [two.come(two.greedy, endpoint) for _ in range(20)]
            equal([ping(c) for c in first], [("PONG", "")] * 20, "its half")
            for _ in range(3):
                code, text = ping(two.come(two.greedy, endpoint))
                equal(code, "busy", "one more")
                expect("your key has its share" in text, text)
            # Another key gets its share of what is left.
            second = [two.come(two.honest, endpoint) for _ in range(10)]
            equal([ping(c) for c in second], [("PONG", "")] * 10, "another")
            code, text = ping(two.come(two.honest, endpoint))
            equal(code, "busy", "half of what was left")
            wait_until(lambda w=who: two.p.log(w).count(
                "its share of the connections") >= 2, "a line for each key")
            expect(f"({two.greedy.name})" in two.p.log(who), two.p.log(who))
            # Those that were there have not noticed; who goes makes room.
            equal([ping(c) for c in first + second], [("PONG", "")] * 30,
                  "who was there")
            for client in first[:10]:
                client.close()
            last = two.come(two.greedy, endpoint)
            wait_until(lambda c=last: ping(c)[0] == "PONG", "a free place")
            two.leave()


def silent_connections_of_a_key_keep_nobody_out():
    limits = "connections\n    max = 200\n    handshake = 300ms\n"
    with Two(gateway=limits, publisher=limits) as two:
        for endpoint in (two.p.commands, two.p.queries):
            # Of a known key, with their handshakes over for long: each that is
            # cut off connects again, and never says a word.
            for _ in range(250):
                two.come(two.greedy, endpoint, reconnect_ms=200)
            time.sleep(3)
            for _ in range(10):
                client = two.come(two.honest, endpoint)
                expect(is_let_in(client), "who has something to say")
            two.leave()


def long_polls_of_a_key_have_a_limit():
    with Two(publisher="queries\n    client_polls_max = 10\n"
             "    polls_max = 40\n") as two:
        for _ in range(3):
            client = two.come(two.greedy, two.p.queries)
            for i in range(10):
                client.socket.send_multipart(
                    wire.read(request=i, wait_ms=60000))
            time.sleep(0.2)  # parked, one after the other
        for i in range(10):  # those of the third connection
            answer = wire.events(client.answer())[0]
            equal((answer["request"], wire.CODES[answer["code"]]), (i, "busy"),
                  "above the share")
            expect("queries.polls_max: your share" in answer["text"],
                   answer["text"])
        other = two.come(two.honest, two.p.queries)
        other.socket.send_multipart(wire.read(request=7, wait_ms=60000))
        equal(ping(other)[0], "PONG", "a long poll of another key")
        writer = local(two.p)
        equal(writer.append(wire.Command([event("a-1")]))[0].code, "accepted",
              "something new")
        answer, events = wire.events(other.answer())
        equal((answer["request"], len(events)), (7, 1), "its answer")
        writer.close()
        # They are answered, and all of it is free again.
        wait_until(lambda: two.come(two.greedy, two.p.queries).read(
            wait_ms=10, start=100)[0]["code"] == 0, "room for a long poll")


def reads_of_a_key_share_over_its_connections():
    """A key that floods over many connections has its turn as often as another
    key with one; and when it may come no more, what waits of it is denied."""
    slow = [("t", f"{n:0250}") for n in range(64)]
    with Two(publisher="queries\n    in_flight_max = 400\n"
             "    queue = 1000\n") as two:
        writer = local(two.p)
        for _ in range(16):  # much to look at, and nothing to find
            writer.append(wire.Command([event("b-1", "")] * 4096))
        writer.close()
        flood = [two.come(two.greedy, two.p.queries) for _ in range(5)]
        other = two.come(two.honest, two.p.queries)
        equal([ping(c)[0] for c in (*flood, other)], ["PONG"] * 6, "all")
        for number in range(60):
            for client in flood:
                client.socket.send_multipart(
                    wire.read(request=number, selectors=slow))
        codes = []

        def take(client):
            frames = client.answer()
            if wire.kind_of(frames[0]) != "EVENTS":
                return wire.kind_of(frames[0])
            answer = wire.events(frames)[0]
            codes.append((wire.CODES[answer["code"]], answer.get("text")))
            return "EVENTS"

        for client in flood:  # behind its reads: all of them have been taken
            client.socket.send_multipart([wire.header("PING", 1)])
        for client in flood:
            while take(client) != "PONG":
                pass
        busy = [text for code, text in codes if code == "busy"]
        expect(busy and all("queries.in_flight_max: your share" in t
                            for t in busy), f"{codes[:5]}")
        before, rounds = len(codes) - len(busy), 20
        for number in range(rounds):
            other.socket.send_multipart(
                wire.read(request=number, selectors=slow))
            answer = wire.events(other.answer())[0]
            equal((answer["request"], wire.CODES[answer["code"]]),
                  (number, "accepted"), "another key beside it")
        for client in flood:
            while client.socket.poll(0):
                take(client)
        served = sum(code == "accepted" for code, _ in codes) - before
        print(f"{rounds} reads of another key, one at a time, and {served} of "
              f"a key with 5 connections; {len(busy)} of its 300 were busy")
        expect(rounds / 2 < served < 3 * rounds, f"{served} to {rounds}")
        with open(two.p.rights, encoding="utf-8") as file:
            rights = file.read()
        first, second = sorted(
            (rights.index(f"{key.name}\n"), key.name)
            for key in (two.greedy, two.honest))
        two.p.write_rights(
            rights[second[0]:] if first[1] == two.greedy.name
            else rights[:second[0]])
        two.p.reload()
        for client in flood:
            while client.socket.poll(500) and len(codes) < 300:
                take(client)
        denied = [text for code, text in codes if code == "denied"]
        print(f"{len(denied)} of the reads that waited are denied")
        equal(len(codes), 300, "each has an answer")
        expect(len(denied) > 50 and set(denied) ==
               {"this key has no rights here any more"}, f"{codes[-3:]}")
        equal(ping(other)[0], "PONG", "another key")


def commands_of_a_key_share_over_its_connections():
    """A key that floods over many connections has half of the room.  Another
    one has half of the rest, more than so many connections would leave it."""
    with Two(gateway="commands\n    in_flight_max = 64\n"
             "    bytes_max = 2M\n") as two:
        flood = [two.come(two.greedy, two.p.commands) for _ in range(8)]
        honest = two.come(two.honest, two.p.commands)
        for size, mine, theirs in ((20000, 32, 16), (100000, 10, 5)):
            equal([ping(c)[0] for c in (*flood, honest)], ["PONG"] * 9, "all")
            two.p.kill("writer", signal.SIGSTOP)  # what comes in stays
            for client in flood:
                client.socket.send_multipart(wire.append(
                    [wire.Command([event("f-1", "x" * size)])
                     for _ in range(30)]))
            expect(flood[-1].socket.poll(5000), "they are put off")
            wanted = [wire.Command([event("h-1", "x" * size)])
                      for _ in range(theirs)]
            honest.socket.send_multipart(wire.append(wanted))
            expect(not honest.socket.poll(300), "nothing of it is put off")
            two.p.kill("writer", signal.SIGCONT)
            equal([o.code for o in wire.outcomes(honest.answer())],
                  ["accepted"] * theirs, "another key beside it")
            codes = []
            while len(codes) < 8 * 30:
                for client in flood:
                    while client.socket.poll(10):
                        codes += [o.code for o in
                                  wire.outcomes(client.answer())]
            equal(codes.count("accepted"), mine, f"{size} bytes each")
            time.sleep(2.1)  # then they are not held any more


run([the_connections_of_a_key_have_a_limit,
     silent_connections_of_a_key_keep_nobody_out,
     long_polls_of_a_key_have_a_limit,
     reads_of_a_key_share_over_its_connections,
     commands_of_a_key_share_over_its_connections])
