#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""Peers that mean harm.  Each case is an attack while an honest client goes on
(peer.Witness): the writer lives, and what was acknowledged is there.

HOSTILE_CONNECTIONS=10000 opens so many in place of 2,000.
"""

import atexit
import os
import random
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
# pylint: disable=wrong-import-position
import peer  # noqa: E402
import wire  # noqa: E402
from peer import Client, Key, TcpPipeline, Witness, local, memory  # noqa: E402
from system import (FILES_SQL, Failure, Pipeline, equal, expect,  # noqa: E402
                    run, seed, wait_until)
import zmq  # noqa: E402

CONNECTIONS = int(os.environ.get("HOSTILE_CONNECTIONS", "2000"))
HANDSHAKE = "connections\n    handshake = 500ms\n    max = 12000\n"
PUBLIC = ("commands", "queries")

RNG = random.Random(seed())
SHARED = {}


def shared():
    """A pipeline for the cases that need no configuration of their own."""
    if not SHARED:
        p = SHARED["p"] = Pipeline([FILES_SQL])
        atexit.register(p.close)
        for who in ("gateway", "publisher"):
            p.config(who, HANDSHAKE)
        p.up()
    return SHARED["p"]


def lives(pipeline):
    return {who: pipeline.pid(who) for who in ("gateway", "publisher",
                                               "projector@files")}


def event(stream, text="x", **more):
    return wire.Event(stream, data=text.encode(), **more)


def closed_by_peer(stream, said=None):
    """Whether the other side closes the connection within its timeout; puts
    what it says until then into a list."""
    try:
        while data := stream.recv(65536):
            if said is not None:
                said.append(data)
    except ConnectionError:
        pass
    except socket.timeout:
        return False
    finally:
        stream.close()
    return True


def greets_well(data):
    """As far as it goes."""
    return data[0] == 0xff and (len(data) < 10 or data[9] & 1) and \
        (len(data) < 11 or data[10] >= 3) and \
        peer.GREETING[12:32].startswith(data[12:32])


def garbage_in_place_of_a_greeting_is_told_so():
    p = shared()
    before = lives(p)
    garbage = [b"\0" * 64, b"\xff" * 64, b"GET / HTTP/1.1\r\n\r\n" * 8,
               peer.GREETING[:10] + b"\x09" + peer.GREETING[11:],
               peer.GREETING[:12] + b"NO" + peer.GREETING[14:],
               peer.GREETING + b"\xff" * 100,
               peer.GREETING + peer.frame(b"\x05READY" + b"\xff" * 90,
                                          command=True),
               peer.GREETING + peer.frame(b"no command"),
               peer.GREETING + peer.READY + b"\x02" + b"\xff" * 8,
               peer.GREETING + peer.READY + b"\x78" * 300]
    garbage += [RNG.randbytes(RNG.randrange(1, 300)) for _ in range(30)]
    with Witness(p):
        for name in PUBLIC + ("live", "projections/files"):
            streams = []
            for data in garbage:
                streams.append(peer.raw(p, name))
                try:
                    streams[-1].sendall(data)
                except OSError:
                    pass  # hung up on already
            for stream, data in zip(streams, garbage):
                said = []
                # The projector's endpoint has the long handshake of libzmq.
                if greets_well(data) and name == "projections/files":
                    stream.close()
                    continue
                expect(closed_by_peer(stream, said), f"{name} hangs up")
                if not greets_well(data):
                    expect(b"refused: " in b"".join(said), (data, said))
        wait_until(lambda: "did not begin as ZeroMQ's" in p.log("gateway"),
                   "a line about them")
    equal(lives(p), before, "the daemons")


def garbage_frames_behind_the_handshake_harm_nobody():
    """Commands of ZMTP among them, whole and cut short."""
    p = shared()
    before = lives(p)
    words = [b"\x04PING", b"\x04PONG", b"\x05READY", b"\x05ERROR", b"\x04JOIN",
             b"\x09SUBSCRIBE", b"\x06CANCEL", b"\x05HELLO", b"\x07MESSAGE",
             b"", b"\0", b"\x01", b"\xff", wire.header("PING", 1)]
    whole = [bytes([flags]) + (bytes([len(word)]) if not flags & 2 else
                               len(word).to_bytes(8, "big")) + word
             for flags in range(8) for word in words]
    with Witness(p) as witness:
        for name, kind in (("commands", b"DEALER"), ("queries", b"REQ"),
                           ("queries", b"DEALER"), ("live", b"SUB")):
            for i in range(150):
                stream = peer.shake_hands(p, name, kind)
                try:
                    for _ in range(1 + i % 7):
                        data = RNG.choice(whole) if i < 100 else \
                            RNG.choice(whole)[:1] + RNG.randbytes(
                                RNG.randrange(20))
                        stream.sendall(data)
                except OSError:
                    pass  # hung up on already
                stream.close()
            # Each by itself, so that none hides behind one before it.
            for data in whole:
                stream = peer.shake_hands(p, name, kind)
                stream.sendall(data)
                stream.close()
            witness.go_on()
    equal(lives(p), before, "the daemons")
    for pid in before.values():
        os.kill(pid, 0)


def half_open_connections_do_not_stay():
    p = shared()
    with Witness(p):
        for name in PUBLIC + ("live",):
            streams = [peer.raw(p, name) for _ in range(100)]
            for i, stream in enumerate(streams):
                stream.sendall((peer.GREETING + peer.READY)[:i])
            for stream in streams[:64 + 1]:
                expect(closed_by_peer(stream), "a half-open one is closed")
            for stream in streams:
                stream.close()


def flood_frames(stream, data, until):
    """Sends frames that promise another one, until it is cut off."""
    sent = 0
    try:
        while sent < until:
            stream.sendall(data)
            sent += len(data)
    except OSError:
        return sent
    return None


def a_message_without_an_end_is_cut_off():
    p = Pipeline()
    limit = 64
    for who in ("gateway", "publisher"):
        p.config(who, f"memory\n    max = {limit}M\n")
    try:
        p.up()
        before = p.pid("gateway"), p.pid("publisher")
        peak = {pid: 0 for pid in before}
        with Witness(p) as witness:
            large = peer.frame(b"x" * 60000, more=True) * 16
            small = peer.frame(b"x", more=True) * 20000
            results = {}

            def attack(name, data, number):
                stream = peer.shake_hands(p, name)
                results[name, number] = flood_frames(stream, data, 1 << 30)
                stream.close()

            threads = [threading.Thread(target=attack, args=(name, data, i))
                       for name in PUBLIC
                       for i, data in enumerate((large, small))]
            for thread in threads:
                thread.start()
            while any(t.is_alive() for t in threads):
                for pid in before:
                    peak[pid] = max(peak[pid], memory(pid))
                time.sleep(0.02)
            witness.go_on()
            for who, sent in results.items():
                expect(sent is not None, f"{who} could send 1 GiB")
            for who in ("gateway", "publisher"):
                expect("memory.max: " in p.log(who), f"no flood to the {who}")
            # The watch looks every 50 ms; so much may come in meanwhile.
            for name, pid in zip(PUBLIC, before):
                expect(peak[pid] < 2 * limit, f"{name}: {peak[pid]:.0f} MiB")
                wait_until(lambda pid=pid: memory(pid) < limit,
                           "the memory to be given back")
            print("peaks: " + ", ".join(f"{m:.0f} MiB" for m in peak.values())
                  + f" with memory.max {limit} MiB")
        equal((p.pid("gateway"), p.pid("publisher")), before, "the daemons")
    finally:
        p.close()


def large_messages_do_not_keep_the_daemon_from_looking_at_its_memory():
    """Commands whose last event is bad: all others are looked at before.  No
    more than a part of memory.max comes in between two looks."""
    p, limit = Pipeline(), 400
    p.config("gateway", f"memory\n    max = {limit}M\n")
    tags = [f"{i:02}" for i in range(32)]
    question = wire.append([wire.Command(
        [wire.Event("a-1", tags=tags)] * 4095 + [wire.Event("a-1", kind="")])
        for _ in range(16)])
    stop, sent, put_off = threading.Event(), [], []

    def ask():
        client = local(p)
        for _ in range(8):
            client.socket.send_multipart(question)
        while not stop.is_set():
            if client.socket.poll(100):
                frames = client.answer()
                if wire.kind_of(frames[0]) == "REFUSED":
                    put_off.append(frames[1])
                    client.socket.send_multipart(question)
                    continue
                for _ in range(len(wire.outcomes(frames)) // 16):
                    client.socket.send_multipart(question)
        client.close()

    def flood():
        stream = peer.shake_hands(p)
        stream.settimeout(60)
        sent.append(flood_frames(
            stream, peer.frame(b"x" * 60000, more=True) * 16, 8 << 30))
        stream.close()

    try:
        p.up()
        pid = p.pid("gateway")
        askers = [threading.Thread(target=ask) for _ in range(3)]
        floods = [threading.Thread(target=flood) for _ in range(2)]
        with Witness(p) as witness:
            try:
                for thread in askers:
                    thread.start()
                witness.go_on()
                for thread in floods:
                    thread.start()
                peak = 0
                while any(t.is_alive() for t in floods):
                    peak = max(peak, memory(pid))
                    time.sleep(0.005)
                witness.go_on()
            finally:
                stop.set()
                for thread in askers:
                    thread.join()
        print(f"peak: {peak:.0f} MiB with memory.max {limit} MiB")
        expect(None not in sent, "8 GiB were taken")
        expect(any(b"memory.max" in text for text in put_off),
               "whoever asks meanwhile is told busy")
        expect(peak < 1.25 * limit, f"{peak:.0f} MiB")
        equal(p.pid("gateway"), pid, "the gateway")
        os.kill(pid, 0)
    finally:
        p.close()


def shake_hands_when_let(pipeline, name):
    """While memory is short, who has just come is cut off as well."""
    found = []

    def is_let():
        try:
            found.append(peer.shake_hands(pipeline, name))
        except (OSError, IndexError):
            return False
        return True
    wait_until(is_let, "a handshake")
    return found[0]


def who_never_reads_answers_costs_a_bounded_amount():
    p = Pipeline()
    limit = 64
    for who in ("gateway", "publisher"):
        p.config(who, f"memory\n    max = {limit}M\n")
    try:
        p.up()
        reader = local(p)
        equal({o.code for o in reader.append(
            *[wire.Command([event("big-1", "x" * 100000)])
              for _ in range(64)])}, {"accepted"}, "something to read")
        reader.close()
        before = p.pid("gateway"), p.pid("publisher")
        ping = wire.header("PING", 1)
        read, body = wire.read(selectors=[("c", "big")])
        many = wire.append([wire.Command([event("")]) for _ in range(1000)])
        # Each asks for more than it could ever take, and takes nothing.
        asks = {"commands": [peer.frame(ping) * 1000,
                             (peer.frame(many[0], more=True) +
                              peer.frame(many[1])) * 20],
                "queries": [peer.frame(ping) * 1000,
                            (peer.frame(read, more=True) +
                             peer.frame(body)) * 50]}
        peak = [0, 0]
        with Witness(p) as witness:
            streams = []
            for name, wanted in asks.items():
                for data in wanted * 2:
                    stream = shake_hands_when_let(p, name)
                    stream.settimeout(0.3)
                    streams.append(stream)
                    try:
                        for _ in range(50):
                            stream.sendall(data)
                    except OSError:
                        pass  # it is not read from any more, or cut off
                    for i, pid in enumerate(before):
                        peak[i] = max(peak[i], memory(pid))
            witness.go_on(20)
            print("peaks: " + ", ".join(f"{m:.0f} MiB" for m in peak)
                  + f" with memory.max {limit} MiB")
            for most in peak:
                expect(most < 2 * limit, f"{most:.0f} MiB")
            for stream in streams:
                stream.close()
        equal((p.pid("gateway"), p.pid("publisher")), before, "the daemons")
    finally:
        p.close()


def a_subscriber_without_an_end_is_cut_off():
    p = Pipeline()
    p.config("publisher", "live\n    topics_max = 1000\n")
    topic = lambda i, on=1: peer.frame(b"%c%08x" % (on, i))
    try:
        p.up()
        pid = p.pid("publisher")
        reader, writer = local(p, "queries"), local(p)
        with Witness(p):
            honest = peer.shake_hands(p, "live", b"SUB")
            honest.sendall(b"".join(topic(i) for i in range(1000)))
            # Topics that are given back, or that others have, are no more.
            honest.sendall(topic(5, 0) + topic(5))

            def heard(stream, name):
                writer.append(wire.Command([event(name)]))
                stream.settimeout(0.2)
                try:
                    return name.encode() in stream.recv(65536)
                except TimeoutError:
                    return False
            wait_until(lambda: heard(honest, f"{999:08x}"), "an event")
            second = peer.shake_hands(p, "live", b"SUB")
            second.sendall(b"".join(topic(i) for i in range(2000)))
            wait_until(lambda: heard(second, f"{1999:08x}"), "an event")
            # One more than it may have.
            second.settimeout(10)
            second.sendall(topic(2000))
            expect(closed_by_peer(second), "a subscriber beyond the limit")
            # And as many as it can send.
            result = []
            flood = peer.shake_hands(p, "live", b"SUB")
            data = b"".join(topic(i) for i in range(10000, 1000000))
            thread = threading.Thread(target=lambda: result.append(
                flood_frames(flood, data, len(data))))
            thread.start()
            worst = 0
            while thread.is_alive():
                began = time.monotonic()
                equal(reader.ping(), "PONG", "beside a flood")
                worst = max(worst, time.monotonic() - began)
            thread.join()
            print(f"worst answer beside a million topics: {worst:.3f} s")
            expect(result[0] is not None, "a million topics were taken")
            wait_until(lambda: heard(honest, f"{998:08x}"), "an event")
        equal(p.pid("publisher"), pid, "the publisher")
        expect("live.topics_max" in p.log("publisher"), p.log("publisher"))
        for stream in (honest, second, flood):
            stream.close()
        reader.close()
        writer.close()
    finally:
        p.close()


def a_subscriber_takes_nothing_from_others():
    """Whatever it says; and the first event of a log is live, too."""
    p = Pipeline()
    try:
        p.up()
        honest = peer.CONTEXT.socket(zmq.SUB)
        honest.subscribe(b"a-")
        honest.connect("ipc://" + p.path("run", "live"))
        client = local(p)
        said = 0

        def append():
            outcome, = client.append(wire.Command([event("a-1")]))
            equal(outcome.code, "accepted", outcome.detail)

        def heard(position):
            expect(honest.poll(10000), f"event {position}, live")
            topic, record = honest.recv_multipart()
            equal((topic, wire.event(record)["position"]), (b"a-1", position),
                  "live")
        time.sleep(0.5)  # nothing tells when a subscription has arrived
        append()
        heard(1)
        for data in (b"Z", b"", b"\xff" * 200, wire.header("PING", 1),
                     b"\x02a-"):
            stream = peer.shake_hands(p, "live", b"SUB")
            try:
                for _ in range(3):
                    stream.sendall(peer.frame(data))
            except OSError:
                pass  # hung up on already
            time.sleep(0.1)
            said += 1
            append()
            heard(1 + said)
            stream.close()
        client.close()
        honest.close(0)
    finally:
        p.close()


def thousands_of_connections_stay_within_the_bound():
    p = shared()
    pid = p.pid("gateway")
    base = memory(pid)
    ping = peer.frame(wire.header("PING", 7))
    with Witness(p) as witness:
        streams = []
        for _ in range(CONNECTIONS):
            streams.append(peer.raw(p))
            streams[-1].sendall(peer.GREETING + peer.READY)
        for stream in streams:
            peer.receive(stream, 64)
            peer.receive(stream, peer.receive(stream, 2)[1])
            stream.sendall(ping * 10)
        for stream in streams:
            expect(len(peer.receive(stream, 100)) == 100, "an answer")
        used = memory(pid) - base
        print(f"{CONNECTIONS} connections took {used:.0f} MiB, "
              f"{used * 1024 / CONNECTIONS:.0f} KiB each")
        expect(used < CONNECTIONS * 64 / 1024, f"{used:.0f} MiB")
        witness.go_on()
        for stream in streams:
            stream.close()
    equal(p.pid("gateway"), pid, "the gateway")


def more_connections_than_allowed_are_told_busy():
    p = Pipeline()
    for who in ("gateway", "publisher"):
        p.config(who, "connections\n    max = 50\n")
    try:
        p.up()
        before = p.pid("gateway"), p.pid("publisher")
        with Witness(p) as witness:
            for name in PUBLIC:
                clients = [local(p, name) for _ in range(100)]
                for client in clients:
                    client.socket.send_multipart([wire.header("PING", 1)])
                # Each of them hears, that it is there or that it is not.
                kinds = [wire.kind_of(c.answer()[0]) for c in clients]
                expect(40 <= kinds.count("PONG") <= 50 + 16, kinds)
                equal(kinds.count("PONG") + kinds.count("REFUSED"), 100, name)
                for client in clients:
                    client.close()
                # There is room again for others.
                def come_again(name=name):
                    client = local(p, name, timeout_ms=2000)
                    try:
                        return client.ping() == "PONG"
                    except Failure:
                        return False
                    finally:
                        client.close()
                wait_until(come_again, "room for another client")
            # And if they are more than there is room to tell at a time: who
            # finds none is closed before its handshake, and loses nothing.
            for name in PUBLIC:
                clients = [local(p, name) for _ in range(1000)]
                for client in clients:
                    client.socket.send_multipart([wire.header("PING", 1)])
                kinds = [wire.kind_of(c.answer()[0]) for c in clients]
                expect(kinds.count("REFUSED") >= 900, kinds)
                for client in clients:
                    client.close()
                wait_until(lambda n=name: come_again(n), "room again")
            # Far more than there are descriptors in reserve.
            deadline = time.monotonic() + 3
            count = 0
            while count < 3000 and time.monotonic() < deadline:
                streams = [peer.raw(p) for _ in range(50)]
                count += len(streams)
                for stream in streams:
                    stream.close()
            witness.go_on()
        equal((p.pid("gateway"), p.pid("publisher")), before, "the daemons")
        expect("connections.max" in p.log("gateway"), p.log("gateway"))
    finally:
        p.close()


def more_subscribers_than_allowed_are_closed():
    p = Pipeline()
    p.config("publisher", "connections\n    max = 50\n")
    try:
        p.up()
        with Witness(p):
            streams = [peer.shake_hands(p, "live", b"SUB") for _ in range(50)]
            time.sleep(0.5)
            streams += [peer.shake_hands(p, "live", b"SUB") for _ in range(30)]
            honest = peer.CONTEXT.socket(zmq.SUB)
            honest.subscribe(b"\0")
            honest.connect("ipc://" + p.path("run", "live"))
            expect(honest.poll(5000), "a SUB socket is told")
            expect(b"come again later" in honest.recv(), "why")
            honest.close(0)
            for stream in streams[50:]:
                flags, length = peer.receive(stream, 2)
                text = peer.receive(stream, length)
                equal((flags, text[:16]), (0, b"\0connections.max"), "why")
            closed = []

            def is_closed(stream):
                stream.settimeout(0.01)
                try:
                    return stream.recv(1) == b""
                except ConnectionError:
                    return True
                except TimeoutError:
                    return False

            def enough():
                closed.extend([s for s in streams
                               if s not in closed and is_closed(s)])
                return len(closed) == 30
            wait_until(enough, "those beyond the limit to be closed")
            equal(closed, streams[50:], "the last that came")
            wait_until(lambda: "connections.max" in p.log("publisher"),
                       "a line about them")
            for stream in streams:
                stream.close()
    finally:
        p.close()


def stranger(pipeline, endpoint):
    """A client with a key that nobody knows, which asks."""
    public, secret = zmq.curve_keypair()
    client = Client(endpoint, timeout_ms=100)
    client.socket.close()
    client.socket = peer.CONTEXT.socket(zmq.DEALER)
    client.socket.setsockopt(zmq.LINGER, 0)
    client.socket.curve_serverkey = pipeline.server.public
    client.socket.curve_publickey = public
    client.socket.curve_secretkey = secret
    client.socket.connect(endpoint)
    client.socket.send_multipart([wire.header("PING", 1)])
    return client


def strangers_at_the_door_do_not_keep_others_out():
    p = TcpPipeline(gateway=HANDSHAKE, publisher=HANDSHAKE)
    ping = peer.frame(wire.header("PING", 1))
    curve = peer.GREETING.replace(b"NULL" + bytes(1), b"CURVE")
    hello = b"\x04\xc8\x05HELLO" + b"\x01\x00" + bytes(192)
    try:
        key = Key(p, "honest")
        p.cairn("key", "authorize", "--rights", p.rights, "--append", "all",
                "--read", "all", "honest", key.path)
        p.up()
        before = p.pid("gateway"), p.pid("publisher")
        with Witness(p, p.connect(key)) as witness:
            for endpoint in (p.commands, p.queries):
                port = int(endpoint.rsplit(":", 1)[1])
                strangers = [stranger(p, endpoint) for _ in range(100)]
                for data in (b"", b"x" * 1000, peer.GREETING + peer.READY,
                             peer.GREETING.replace(b"NULL" + bytes(1),
                                                   b"PLAIN") + b"\x04\x10" +
                             b"\x05HELLO\x05admin\x04root",
                             curve + hello, curve + peer.READY + ping,
                             # ZMTP 1.0 and 2.0, which know no keys.
                             b"\x01\x00\x1a\x00" + wire.header("PING", 1),
                             b"\xff" + bytes(8) + b"\x7f\x00\x01\x00" + ping,
                             b"\xff" + bytes(8) + b"\x7f\x01\x05\x00\x00" +
                             ping):
                    with socket.create_connection(("127.0.0.1",
                                                   port)) as stream:
                        stream.settimeout(10)
                        stream.sendall(data)
                        said = peer.receive(stream, 4096)
                        expect(b"PONG" not in said and b"cairn" not in said,
                               "a stranger got an answer")
                        expect(len(said) < 256, f"{said!r}")
                        if data[12:32] != curve[12:32]:
                            equal(b"refused: " in said, data != b"", said)
                fresh = p.connect(key, endpoint)
                equal(fresh.ping(), "PONG", "a known key still comes in")
                fresh.close()
                expect(not any(s.socket.poll(0) for s in strangers),
                       "a stranger got an answer")
                for client in strangers:
                    client.close()
            witness.go_on()
        equal((p.pid("gateway"), p.pid("publisher")), before, "the daemons")
    finally:
        p.close()


class Siege:
    """More connections over tcp than there may be, which never say who they
    are; for each that is closed another one comes."""

    def __init__(self, endpoint, count):
        self.address = "127.0.0.1", int(endpoint.rsplit(":", 1)[1])
        self.streams = [self.come() for _ in range(count)]
        self.stop = threading.Event()
        self.again = 0
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def come(self):
        stream = socket.create_connection(self.address)
        stream.setblocking(False)
        return stream

    def run(self):
        while not self.stop.is_set():
            for i, stream in enumerate(self.streams):
                try:
                    while stream.recv(100):
                        pass
                except BlockingIOError:
                    continue
                except OSError:
                    pass
                stream.close()
                self.streams[i] = self.come()
                self.again += 1
                time.sleep(0.005)  # so fast do they come
            time.sleep(0.001)

    def close(self):
        self.stop.set()
        self.thread.join()
        for stream in self.streams:
            stream.close()


def strangers_cannot_take_all_places():
    limits = "connections\n    max = 200\n    handshake = 60s\n"
    p = TcpPipeline(gateway=limits, publisher=limits)
    try:
        key = Key(p, "honest")
        p.cairn("key", "authorize", "--rights", p.rights, "--administer",
                "honest", key.path)
        p.up()
        for endpoint in (p.commands, p.queries):
            first = p.connect(key, endpoint)
            equal(first.ping(), "PONG", "before them")
            monitor = first.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
            siege = Siege(endpoint, 300)
            try:
                wait_until(lambda s=siege: s.again > 20, "too many to come")
                for _ in range(20):
                    client = p.connect(key, endpoint)
                    for _ in range(20):  # who is cut off asks again
                        client.socket.send_multipart([wire.header("PING", 1)])
                        if client.socket.poll(2000):
                            break
                    equal(wire.kind_of(client.answer()[0]), "PONG",
                          "a known key")
                    client.close()
                equal(first.ping(), "PONG", "who was there before them")
                expect(not monitor.poll(0), "it was not cut off")
                first.socket.disable_monitor()
                first.close()
            finally:
                siege.close()
    finally:
        p.close()


def a_forged_routing_id_is_nobody_elses():
    p = shared()
    before = lives(p)
    ping = peer.frame(wire.header("PING", 1))
    with Witness(p):
        for identity in (b"me", b"x" * 255, b"\0abc", b"\0" * 200):
            for name in PUBLIC:
                ready = peer.frame(
                    b"\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity" +
                    len(identity).to_bytes(4, "big") + identity, command=True)
                stream = peer.raw(p, name)
                stream.sendall(peer.GREETING + ready)
                peer.receive(stream, 64)
                peer.receive(stream, peer.receive(stream, 2)[1])
                stream.sendall(ping)
                head = peer.receive(stream, 2)
                answer = peer.receive(stream, head[1])
                equal(wire.kind_of(answer), "PONG", identity)
                stream.close()
        # Nor does one that looks like libzmq's own name anything: all are
        # served that have the same.
        identity = b"\0" + RNG.randbytes(4)
        ready = peer.frame(
            b"\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\x05" +
            identity, command=True)
        for name in PUBLIC:
            streams = []
            for _ in range(3):
                streams.append(peer.raw(p, name))
                streams[-1].sendall(peer.GREETING + ready)
                peer.receive(streams[-1], 64)
                peer.receive(streams[-1], peer.receive(streams[-1], 2)[1])
                streams[-1].sendall(ping)
            for stream in streams:
                answer = peer.receive(stream, peer.receive(stream, 2)[1])
                equal(wire.kind_of(answer), "PONG", "each of a name")
            for stream in streams:
                stream.close()
    equal(lives(p), before, "the daemons")


def odd_envelopes_are_answered_where_they_came_from():
    p = shared()
    ping = wire.header("PING", 1)
    cases = [([b"", ping], "PONG"), ([b"", b"", ping], "REFUSED"),
             ([b""], "REFUSED"), ([b"", b""], "REFUSED"),
             ([ping, b""], "REFUSED"), ([b"", ping, b""], "REFUSED"),
             ([b"x", b"", ping], "REFUSED"), ([b"", b"x", ping], "REFUSED"),
             ([b""] * 7, "REFUSED"), ([b""] * 8, "REFUSED"),
             ([b""] * 100, "REFUSED")]
    with Witness(p):
        for name in PUBLIC + ("projections/files",):
            client = local(p, name)
            for frames, wanted in cases:
                answer = client.ask(frames)
                if frames[0] == b"":
                    equal(answer.pop(0), b"", "the delimiter is given back")
                equal(wire.kind_of(answer[0]), wanted, (name, frames))
                expect(answer[1], "a reason")
            client.close()


def images():
    """A good message for each endpoint, by name."""
    full = wire.append([wire.Command(
        [event("a-1", tags=["t"]), event("b-1")],
        [("a-1", wire.EXACT, 7), ("c-1", wire.ANY, 0),
         wire.Condition([(["T"], ["t"])])], show=3)])
    yield "commands", full
    yield "queries", wire.read(selectors=[("s", "a-1"), ("g", "t")],
                               event_max=3)
    yield "projections/files", [wire.header("PROJECTION", 1, 0, 0, 0)]
    for name in PUBLIC:
        yield name, [wire.header("PING", 1)]


def an_image_cut_or_bent_at_any_byte_gets_one_answer():
    p = shared()
    before = lives(p)
    with Witness(p):
        for name, (head, *rest) in images():
            bent = [head[:i] for i in range(len(head))]
            for i, old in enumerate(head):
                for new in {old ^ 1, old ^ 0x80, 0, 0xff} - {old}:
                    bent.append(head[:i] + bytes([new]) + head[i + 1:])
            bent += [head + b"\0", head + head]
            client = local(p, name)
            for at in range(0, len(bent), 40):
                for data in bent[at:at + 40]:
                    client.socket.send_multipart([data, *rest])
                wanted = len(bent[at:at + 40])
                while wanted > 0:
                    answer = client.answer()
                    if answer[0] == b"":
                        answer.pop(0)  # a delimiter, given back
                    kind = wire.kind_of(answer[0])
                    expect(kind in ("REFUSED", "APPENDED", "EVENTS", "PONG",
                                    "PROJECTED"), kind)
                    # Outcomes of many messages come in one.
                    wanted -= len(wire.outcomes(answer)) \
                        if kind == "APPENDED" else 1
                equal(wanted, 0, "answers too few or too many")
            expect(not client.socket.poll(0), "one answer for each")
            client.close()
    equal(lives(p), before, "the daemons")


def bad_texts_are_refused_wherever_they_stand():
    p = shared()
    bad = [b"", b"a\0b", b"\0", b"a\x01", b"a\nb", b"a\x7f", b"\xc2\x9b", b"\xff\xfe",
           b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82",
           b"x" * 256, b"x" * 65535]
    with Witness(p):
        commands, queries = local(p), local(p, "queries")
        for text in bad:
            broken = wire.Command([event("g-1")], [("x", wire.ANY, 0)])
            broken.checks[0].stream = text
            outcome, = commands.append(broken)
            expect(outcome.code in ("invalid", "too large"), outcome.code)
            expect("check 0" in outcome.detail, outcome.detail)
            for field in ("stream", "type", "content_type"):
                if field == "content_type" and text == b"":
                    continue
                broken = event("g-1")
                setattr(broken, field, text)
                outcome, = commands.append(wire.Command([broken]))
                expect(outcome.code in ("invalid", "too large"), outcome.code)
                expect(field.replace("_", " ") in outcome.detail,
                       outcome.detail)
            broken = event("g-1")
            broken.tags = [text]
            conditions = [wire.Condition([(["T"], ["t"])]) for _ in range(2)]
            conditions[0].queries = [([text], [b"t"])]
            conditions[1].queries = [([b"T"], [text])]
            for more in (wire.Command([broken]),
                         *[wire.Command([event("g-1")], [condition])
                           for condition in conditions]):
                if len(text) > 255:
                    break  # these lengths have one byte
                outcome, = commands.append(more)
                equal(outcome.code, "invalid", (text, outcome.detail))
                expect("tag 0" in outcome.detail or
                       "check 0" in outcome.detail, outcome.detail)
            for kind in "scgt":
                answer = wire.events(queries.ask(
                    [wire.header("READ", 1, 0, 0, 0, 0, 0, 0,
                                 [(ord(kind), len(text))]), text]))[0]
                expect(wire.CODES[answer["code"]] in ("invalid", "too large"),
                       answer)
                expect(answer["text"], "a reason")
        equal(queries.read(selectors=[("s", "g-1")])[1], [], "g-1")
        commands.close()
        queries.close()


def data_does_not_speak_to_a_terminal():
    p = shared()
    client = local(p)
    outcome, = client.append(wire.Command([wire.Event(
        "terminal-1", data=b"a\x1b[2Jb\xc2\x9b2Jc\x07\x7f\xc2\xa0\xc3\xa9d")]))
    equal(outcome.code, "accepted", outcome.detail)
    out = p.cairn("read", "terminal-1").stdout
    expect(b"a [2Jb 2Jc  \xc2\xa0\xc3\xa9d\n" in out, out)
    client.close()


def numbers_at_their_ends_are_judged():
    p = shared()
    ends = {"c": (0, 1, 127, -128, -1), "v": (0, 1, 0xffff),
            "u": (0, 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1),
            "U": (0, 1, 2 ** 63 - 1, 2 ** 63, 2 ** 64 - 1)}
    messages = []
    kind, text = wire.FORMATS["READ"]
    good = [1, kind, 5, 0, 0, 0, 10, 0, 0]
    for i, letter in enumerate("vvUccUuuu"):
        for number in ends[letter]:
            if i == 8 and number > 1:
                continue  # a wait: such a one would be held
            values = good[:i] + [number] + good[i + 1:]
            messages.append(("queries", [wire.image(text, [*values, []]),
                                         b""]))
            for direction, start in ((0, 1), (0, 2), (1, 0), (1, 2)):
                tried = list(values)
                if i != 3:
                    tried[3] = direction
                if i != 4:
                    tried[4] = start
                messages.append(("queries",
                                 [wire.image(text, [*tried, []]), b""]))
    kind, text = wire.FORMATS["PROJECTION"]
    good = [1, kind, 5, 0, 0, 0]
    for i, letter in enumerate("vvUcUu"):
        for number in ends[letter]:
            if (i, number) != (3, 2):
                messages.append(("projections/files", [wire.image(
                    text, good[:i] + [number] + good[i + 1:])]))
    kind, text = wire.FORMATS["APPEND"]
    rows = ([(1, 2, 1, 1, 0, 0)], [(0, 1, 0)], [(1, 1, 2)],
            [(*[0] * 6, 1, 1, 1, 0, 0, 0, 0, 1)])
    body = b"s" + b"st" + b"d"
    for table, letters in enumerate(("UUuuvv", "cvU", "vvu",
                                 "UUUUUUuvvvvvuu")):
        for i, letter in enumerate(letters):
            for number in ends[letter]:
                bent = [list(r[0]) for r in rows]
                bent[table][i] = number
                messages.append(("commands", [wire.image(
                    text, [1, kind, *[[tuple(r)] for r in bent]]), body]))
    with Witness(p):
        clients = {name: local(p, name)
                   for name in PUBLIC + ("projections/files",)}
        for name, frames in messages:
            answer = clients[name].ask(frames)
            expect(wire.kind_of(answer[0]) in
                   ("REFUSED", "APPENDED", "EVENTS", "PROJECTED", "PONG"),
                   (name, frames))
        for client in clients.values():
            client.close()


run([garbage_in_place_of_a_greeting_is_told_so,
     garbage_frames_behind_the_handshake_harm_nobody,
     half_open_connections_do_not_stay,
     a_forged_routing_id_is_nobody_elses,
     odd_envelopes_are_answered_where_they_came_from,
     an_image_cut_or_bent_at_any_byte_gets_one_answer,
     bad_texts_are_refused_wherever_they_stand,
     a_subscriber_without_an_end_is_cut_off,
     a_subscriber_takes_nothing_from_others,
     thousands_of_connections_stay_within_the_bound,
     numbers_at_their_ends_are_judged,
     data_does_not_speak_to_a_terminal,
     a_message_without_an_end_is_cut_off,
     large_messages_do_not_keep_the_daemon_from_looking_at_its_memory,
     who_never_reads_answers_costs_a_bounded_amount,
     more_connections_than_allowed_are_told_busy,
     more_subscribers_than_allowed_are_closed,
     strangers_at_the_door_do_not_keep_others_out,
     strangers_cannot_take_all_places])
