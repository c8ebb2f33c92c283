#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""Every limit of the public endpoints that test_protocol.py does not reach, at
it and one beyond."""

import array
import fcntl
import os
import signal
import socket
import sys
import termios
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
# pylint: disable=wrong-import-position
import wire  # noqa: E402
from peer import frame, local, receive, shake_hands  # noqa: E402
from system import Pipeline, equal, expect, run, wait_until  # noqa: E402

MIB = 1 << 20


def event(stream, text="x", **more):
    return wire.Event(stream, data=text.encode(), **more)


def refused(frames, code, said):
    """The frames of REFUSED with this code and reason."""
    equal(wire.kind_of(frames[0]), "REFUSED", said)
    equal(wire.CODES[wire.fields("REFUSED", frames[0])[0]], code, said)
    expect(said in frames[1].decode(), frames[1])


def frame_beyond_all_limits(p, name, client):
    """It is not read, but its client is told; then the connection ends."""
    refused(client.ask([b"x" * (64 * MIB + 1)]), "too large",
            "may be read (64 MiB)")
    wait_until(lambda: client.socket.send_multipart([wire.header("PING", 1)])
               or client.socket.poll(50), "the next connection")
    while client.socket.poll(100):
        equal(wire.kind_of(client.answer()[0]), "PONG", "there")
    refused(client.ask([wire.header("PING", 1), b"x" * (65 * MIB)]),
            "too large", "may be read (64 MiB)")
    # What counts is the length that is said, not what comes.
    for length in (64 * MIB + 1, 1 << 63, (1 << 64) - 1):
        stream = shake_hands(p, name)
        head = frame(wire.header("PING", 1), more=True) + \
            b"\x02" + length.to_bytes(8, "big")
        for i in range(len(head)):  # as cut as can be
            stream.sendall(head[i:i + 1])
            time.sleep(0.002)
        first = receive(stream, receive(stream, 2)[1])
        refused([first, receive(stream, receive(stream, 2)[1])], "too large",
                "may be read (64 MiB)")
        began = time.monotonic()
        try:
            while time.monotonic() < began + 10:
                stream.sendall(frame(wire.header("PING", 1)) * 1000)
        except OSError:
            pass
        expect(time.monotonic() < began + 10, "the connection ends")
        stream.close()
    # Nor may it hide behind too many others.
    stream = shake_hands(p, name)
    stream.sendall(frame(b"", more=True) * 20 + b"\x02" + b"\xff" * 8)
    for part in (b"", b"tpl", b"the message has too many frames"):
        data = receive(stream, receive(stream, 2)[1])
        equal(data[:len(part)], part, "an answer")
    equal(receive(stream, 1), b"", "the connection ends")
    stream.close()
    said = p.log("gateway" if name == "commands" else "publisher")
    equal(said.count("told so and closed"), 1, "lines about it, in a minute")
    expect("a frame of 67108865 bytes" in said, said)


def messages_have_limits():
    p = Pipeline()
    try:
        p.up()
        client = local(p)
        refused(client.ask([b"x" * (32 * MIB + 1)]), "too large", "longer")
        refused(client.ask([b"x" * (32 * MIB)]), "invalid", "no message")
        refused(client.ask([b"x"] * 8), "too large", "too many frames")
        refused(client.ask([b"x"] * 7), "invalid", "no message")
        refused(client.ask([b"x" * (64 * MIB)]), "too large", "longer")
        frame_beyond_all_limits(p, "commands", client)
        one = [wire.Command([event("a-1", "")]) for _ in range(4097)]
        refused(client.ask(wire.append(one)), "too large", "4096 commands")
        refused(client.ask(wire.append([])), "invalid", "no command")
        equal({o.code for o in client.append(*one[:4096])}, {"accepted"},
              "4096 commands")
        many = [wire.Event("m-1", data=b"")] * 4096
        commands = [wire.Command(many) for _ in range(16)]
        more = wire.Command([event("m-1", "")])
        refused(client.ask(wire.append([*commands, more])), "too large",
                "65536 events")
        refused(client.ask(wire.append(commands * 4)), "too large",
                "more of something")
        equal({o.code for o in client.append(*commands)}, {"accepted"},
              "65536 events")
        checks = [(f"c-{i}", wire.EXACT, 0) for i in range(4096)]
        checked = [wire.Command([event("m-2", "")], checks)
                   for _ in range(16)]
        equal({o.code for o in client.append(*checked)}, {"accepted"},
              "65536 checks")
        refused(client.ask(wire.append(
            [*checked, wire.Command([event("m-2", "")], checks[:1])])),
            "too large", "checks")
        never = wire.Condition([(["Never"], [])] * 64)
        guarded = [wire.Command([event("m-3", "")], [never])
                   for _ in range(1024)]
        equal({o.code for o in client.append(*guarded)}, {"accepted"},
              "65536 items of conditions")
        never = wire.Condition([(["Never"], [])])
        refused(client.ask(wire.append(
            [*guarded, wire.Command([event("m-3", "")], [never])])),
            "too large", "items")
        for count, code in ((2048, "accepted"), (2049, "too large")):
            outcome, = client.append(wire.Command(
                [event(f"s-{i}", "") for i in range(count)]))
            equal(outcome.code, code, outcome.detail)
        expect("2049 streams" in outcome.detail, outcome.detail)
        client.close()

        client = local(p, "queries")
        refused(client.ask([b"x" * (64 * 1024 + 1)]), "too large", "longer")
        refused(client.ask([b"x" * (64 * 1024)]), "invalid", "no message")
        good = [("s", "a-1")] * 64
        equal(wire.events(client.ask(wire.read(selectors=good, event_max=1)))
              [0]["code"], 0, "64 selectors")
        refused(client.ask(wire.read(selectors=good + good[:1])), "too large",
                "64 filters")
        refused(client.ask([b"x" * (64 * MIB)]), "too large", "longer")
        frame_beyond_all_limits(p, "queries", client)
        client.close()
    finally:
        p.close()


def a_commit_has_a_limit_to_the_byte():
    """As it lies in the log, where events begin at multiples of eight."""
    p, limit = Pipeline(), 8 * MIB
    try:
        p.up()
        client = local(p)

        def try_with(last):
            outcome, = client.append(wire.Command(
                [event("a-1", "x" * MIB)] * 7 + [event("a-1", "x" * last)]))
            return outcome

        outcome = try_with(MIB)
        equal(outcome.code, "too large", "8 MiB of data")
        said = int(outcome.detail.split()[1])
        last = MIB - (said - limit)
        outcome = try_with(last + 8)
        equal((outcome.code, outcome.detail),
              ("too large", f"commit: {limit + 8} bytes in the log, at most "
               f"{limit} may be"), "beyond it")
        equal(try_with(last).code, "accepted", "at the limit")
        client.close()
    finally:
        p.close()


def long_polls_have_limits():
    p = Pipeline()
    p.config("publisher", "queries\n    client_polls_max = 10\n"
             "    polls_max = 19\n")
    try:
        p.up()
        clients = [local(p, "queries") for _ in range(2)]
        writer = local(p)
        # One client may have ten; the second has half of what is left of all.
        for client, room, said in ((clients[0], 10, "client_polls_max"),
                                   (clients[1], 5, "polls_max")):
            for number in range(room + 2):
                client.socket.send_multipart(
                    wire.read(request=number, wait_ms=60000))
            for number in (room, room + 1):
                answer = wire.events(client.answer())[0]
                equal((answer["request"], wire.CODES[answer["code"]]),
                      (number, "busy"), said)
                expect(said in answer["text"], answer["text"])
        # Whoever goes makes room for others.
        clients[0].close()
        clients[0] = local(p, "queries")
        wait_until(lambda: clients[0].read(request=99, wait_ms=60)[0]["code"]
                   == 0, "a long poll after another client has gone")
        writer.append(wire.Command([event("a-1")]))
        for number in range(5):
            answer, events = wire.events(clients[1].answer())
            equal((answer["request"], len(events)), (number, 1), "a poll")
        for client in (*clients, writer):
            client.close()
    finally:
        p.close()


def what_came(stream, closed=False):
    """Messages that have come, until nothing does for a second, or until the
    other side has closed."""
    found, more = [], False
    stream.settimeout(20 if closed else 1)
    try:
        while True:
            head = receive(stream, 2)
            if closed and len(head) < 2:
                return found[:-1] if more else found
            flags, length = head
            if flags & 2:
                length = int.from_bytes(bytes([length]) + receive(stream, 7),
                                        "big")
            data = receive(stream, length)
            if len(data) < length:  # closed in the midst of it
                return found[:-1] if more else found
            if more:
                found[-1].append(data)
            else:
                found.append([data])
            more = flags & 1
    except TimeoutError:
        expect(not closed, "it is not cut off")
        return found


def wait_until_taken(stream):
    """Until the kernel holds nothing more of what was sent."""
    left = array.array("i", [0])

    def is_taken():
        fcntl.ioctl(stream, termios.TIOCOUTQ, left)
        return left[0] == 0

    wait_until(is_taken, "the daemon to take what was sent")


class Notified:
    """What the daemons of a pipeline tell systemd."""

    def __init__(self, pipeline):
        path = pipeline.env["NOTIFY_SOCKET"] = pipeline.path("notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.texts = []
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        while text := self.socket.recv(4096):
            self.texts.append(text.decode())


def queues_have_limits():
    """Who does not read its answers is cut off when its queue is full, so that
    it knows; a subscriber misses events, and the next one comes.  The journal
    and the status tell of it."""
    p, count = Pipeline(), 20000
    notified = Notified(p)
    p.config("gateway", "client\n    queue = 10\n")
    p.config("publisher", "queries\n    queue = 10\nlive\n    queue = 10\n")
    try:
        p.up()
        writer = local(p)
        header, body = wire.append([wire.Command([event("")])])
        for name, question, answers in (
                ("commands", frame(header, more=True) + frame(body),
                 lambda message: len(wire.outcomes(message))),
                ("queries", frame(wire.header("PING", 1)), lambda _: 1)):
            honest, stream = local(p, name), shake_hands(p, name)
            try:
                stream.sendall(question * count)
                wait_until_taken(stream)
            except ConnectionError:
                pass  # it is cut off already
            equal(honest.ping(), "PONG", "beside one that does not read")
            found = sum(answers(m) for m in what_came(stream, closed=True))
            expect(found < count, f"{name}: all {found} answers")
            honest.close()
            stream.close()
        for who, serving in (("gateway", "serving; "),
                             ("publisher", "serving up to ")):
            wait_until(lambda w=who: "does not read its answers: its "
                       "connection was closed" in p.log(w),
                       f"a line of the {who}")
            equal(p.log(who).count("does not read"), 1, "lines of one minute")
            wait_until(lambda w=serving: any(
                f"STATUS={w}" in text and "; 1 did not read" in text
                for text in notified.texts), f"the status of the {who}")
        stream = shake_hands(p, "live", b"SUB")
        stream.sendall(frame(b"\x01"))
        wait_until(lambda: writer.append(wire.Command([event("a-1")])) and
                   what_came(stream), "an event")
        for _ in range(5):
            outcome, = writer.append(wire.Command([event("b-1", "")] * 4096))
        found = len(what_came(stream))
        expect(0 < found < 5 * 4096, f"{found} of {5 * 4096} events")
        outcome, = writer.append(wire.Command([event("c-1")]))
        expect(what_came(stream), f"the event at {outcome.last} does not come")
        stream.close()
        writer.close()
    finally:
        p.close()


class SlowReads:
    """A publisher of a log with reads that take long: they look at as much as
    one may, and find nothing."""

    QUESTION = [("t", f"{n:0250}") for n in range(64)]

    def __init__(self, in_flight_max):
        self.p = Pipeline()
        self.p.config("publisher", "queries\n    queue = 2000\n"
                      f"    in_flight_max = {in_flight_max}\n")
        self.clients = []

    def __enter__(self):
        self.p.up()
        writer = local(self.p)
        for _ in range(16):
            writer.append(wire.Command([event("b-1", "")] * 4096))
        writer.close()
        return self

    def come(self):
        self.clients.append(local(self.p, "queries"))
        return self.clients[-1]

    def ask(self, client, numbers):
        for number in numbers:
            client.socket.send_multipart(
                wire.read(request=number, selectors=self.QUESTION))

    def __exit__(self, *what):
        for client in self.clients:
            client.close()
        self.p.close()


def what_it_says(frames):
    """Number, code and text of an answer."""
    answer = wire.events(frames)[0]
    return answer["request"], wire.CODES[answer["code"]], answer.get("text")


def answer_to_read(client):
    return what_it_says(client.answer())


def told_until_pong(client):
    """Answers that come before that to a PING, which waits for no turn."""
    said = []
    client.socket.send_multipart([wire.header("PING", 1)])
    while wire.kind_of((frames := client.answer())[0]) != "PONG":
        said.append(what_it_says(frames))
    return said


def reads_that_wait_have_a_limit():
    """Above it they are told so; the others are answered in order, though
    nothing comes after them that would wake the publisher."""
    count, numbers = 300, {}
    for limit in (1, 64, 1024):
        with SlowReads(limit) as slow:
            client = slow.come()
            equal(client.ping(), "PONG", "connected")
            slow.ask(client, range(count))
            said = [answer_to_read(client) for _ in range(count)]
            equal(sorted(n for n, _, _ in said), list(range(count)),
                  "each is answered")
            done = [n for n, code, _ in said if code == "accepted"]
            equal(done, sorted(done), "in order")
            equal({code for _, code, _ in said} - {"busy"}, {"accepted"},
                  "codes")
            for _, code, text in said:
                expect(code != "busy" or "queries.in_flight_max: your share"
                       in text, text)
            numbers[limit] = len(done)
            # It is free again.
            slow.ask(client, [count])
            equal(answer_to_read(client)[:2], (count, "accepted"), "later")
    print(f"of {count} reads at once, by in_flight_max, answered:", numbers)
    expect(numbers[1] < numbers[64] < numbers[1024] == count, numbers)


def a_read_has_its_turn_beside_a_flood():
    """Who has one read at a time gets as many answers as one who has more of
    them than may wait, and is never told to come later."""
    count, rounds = 1200, 60
    with SlowReads(1024) as slow:
        flood, honest = slow.come(), slow.come()
        for client in (flood, honest):
            equal(client.ping(), "PONG", "connected")
        slow.ask(flood, range(count))
        wait_until(lambda: answer_to_read(flood)[1] == "busy",
                   "the flood to have all that it may")
        codes, began = [], time.monotonic()
        for number in range(rounds):
            slow.ask(honest, [number])
            codes.append(answer_to_read(honest)[1])
        took = time.monotonic() - began
        equal(codes, ["accepted"] * rounds, "beside a flood")
        others = []
        while flood.socket.poll(0):
            others.append(answer_to_read(flood))
        served = sum(code == "accepted" for _, code, _ in others)
        refused = [text for _, code, text in others if code == "busy"]
        expect(refused and all("queries.in_flight_max" in t for t in refused),
               f"{refused[:3]}")
        print(f"{rounds} reads one at a time beside a flood: {took:.2f} s; "
              f"{served} of the flood were answered meanwhile, {len(refused)} "
              f"are put off: share {rounds / (rounds + served):.2f}")
        expect(rounds / 2 < served < 3 * rounds, f"{served} to {rounds}")


def many_wait(slow, client):
    """Whether most of 500 that were asked do; asks again if this process was
    too slow for that."""
    codes = [code for _, code, _ in told_until_pong(client)]
    if codes.count("accepted") < 250:
        return True
    slow.ask(client, range(500))
    return False


def processor_time(pid):
    """Seconds that a process has had."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def reads_of_who_has_gone_are_dropped():
    """And a publisher with nothing to do does nothing."""
    with SlowReads(1024) as slow:
        for _ in range(2):
            client = slow.come()
            equal(client.ping(), "PONG", "connected")
            slow.ask(client, range(500))
            wait_until(lambda c=client: many_wait(slow, c), "reads to wait")
            slow.clients.pop().close()
        time.sleep(0.2)
        before = processor_time(slow.p.pid("publisher"))
        time.sleep(0.5)
        used = processor_time(slow.p.pid("publisher")) - before
        print(f"processor time in 0.5 s after they have gone: {used:.2f} s")
        expect(used < 0.15, f"{used} s of 0.5 s")


def a_publisher_that_stops_tells_who_waits():
    with SlowReads(1024) as slow:
        client, count = slow.come(), 400
        equal(client.ping(), "PONG", "connected")
        slow.ask(client, range(count))
        said = told_until_pong(client)  # all of them have been taken
        slow.p.kill("publisher", signal.SIGTERM)
        while len(said) < count and client.socket.poll(2000):
            said.append(answer_to_read(client))
        codes = [code for _, code, _ in said]
        stopping = codes.count("stopping")
        print(f"of {count} reads {codes.count('accepted')} were answered, "
              f"{stopping} told 'stopping'")
        equal(set(codes), {"accepted", "stopping"}, "codes")
        equal(codes, sorted(codes), "in order")
        equal(len(said), count, "each has an answer")


def the_longest_name_can_be_subscribed_to():
    """As ZMTP 3.0 says it, in a message, and as 3.1 does, in a command.  (By
    hand: libzmq 4.3.4 makes a broken frame of more than 245 bytes.)"""
    p, name = Pipeline(), "n" * 255
    try:
        p.up()
        writer = local(p)
        for minor, ask, longer in (
                (0, frame(b"\x01" + name.encode()), None),
                (1, frame(b"\x09SUBSCRIBE" + name.encode(), command=True),
                 frame(b"\x09SUBSCRIBE" + b"n" * 256, command=True))):
            stream = shake_hands(p, "live", b"SUB", minor)
            stream.sendall(ask)
            wait_until(lambda: writer.append(wire.Command([event(name)])) and
                       what_came(stream), "an event")
            if longer:
                stream.settimeout(10)
                stream.sendall(longer)
                receive(stream, MIB)  # ends only when it is closed
            stream.close()
        writer.close()
    finally:
        p.close()


def what_is_on_its_way_is_shared_out():
    p = Pipeline()
    p.config("gateway", "commands\n    in_flight_max = 64\n"
             "    bytes_max = 1M\n")
    try:
        p.up()
        client = local(p)
        # A client may have as much on its way as is free: half, alone.
        for commands, room, said in (
                ([wire.Command([event("a-1")]) for _ in range(100)], 32,
                 "commands.in_flight_max"),
                ([wire.Command([event("a-1", "x" * 65000)])
                  for _ in range(20)], 8, "commands.bytes_max")):
            outcomes = client.append(*commands)
            equal([o.code for o in outcomes[:room]], ["accepted"] * room, said)
            equal({o.code for o in outcomes[room:]}, {"busy"}, said)
            expect(said in outcomes[room].detail, outcomes[room].detail)
            expect("come again" in outcomes[-1].detail, outcomes[-1].detail)
            expect(all(o.retry_ms > 0 for o in outcomes[room:]), "retry")
            # The one that was put off first is what the client must send.
            equal(client.append(commands[room])[0].code, "accepted", said)
        # A single commit may be larger than any share.
        equal(client.append(wire.Command([event("a-1", "x" * 900000)]))[0]
              .code, "accepted", "a large one, alone")
        client.close()
    finally:
        p.close()


run([messages_have_limits,
     a_commit_has_a_limit_to_the_byte,
     long_polls_have_limits,
     queues_have_limits,
     reads_that_wait_have_a_limit,
     a_read_has_its_turn_beside_a_flood,
     reads_of_who_has_gone_are_dropped,
     a_publisher_that_stops_tells_who_waits,
     the_longest_name_can_be_subscribed_to,
     what_is_on_its_way_is_shared_out])
