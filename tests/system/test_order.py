#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""Order, fairness, restarts and silence: what a client sees of the others, and
of daemons that come and go."""

import json
import os
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
# pylint: disable=wrong-import-position
import wire  # noqa: E402
from peer import Key, TcpPipeline, Witness, free_port, local  # noqa: E402
from system import (BUILD, Pipeline, equal, expect, run, seed,  # noqa: E402
                    wait_until)
import zmq  # noqa: E402


def lines(stream, count, first=0):
    return b"".join(
        f'{{"stream":"{stream}","type":"T","data":{i}}}\n'.encode()
        for i in range(first, first + count))


def command(stream, text="0"):
    return wire.Command([wire.Event(stream, data=text.encode(),
                                    content_type="application/json")])


def data_of(pipeline, stream):
    return [e["data"] for e in pipeline.json("read", stream)]


def commands_of_one_stream_keep_their_order_across_busy():
    p = Pipeline()
    p.config("gateway", "client\n    in_flight_max = 64\n")
    try:
        p.up()
        # The library, with far more in flight than it may have.
        out = p.cairn("append", "--window", "500", data=lines("a-1", 800))
        expect(b"sent again" in out.stderr, out.stderr)
        equal(data_of(p, "a-1"), list(range(800)), "in the order queued")
        # By hand: what was sent behind a command that is put off does not
        # overtake it, though there is room again when it comes.
        client = local(p)
        commands = [command("b-1", str(i)) for i in range(180)]
        messages = [wire.append(commands[at:at + 60])
                    for at in range(0, 180, 60)]
        p.kill("writer", signal.SIGSTOP)  # or it might be too fast
        for message in messages:
            client.socket.send_multipart(message)
        expect(client.socket.poll(20000), "they are put off")
        p.kill("writer", signal.SIGCONT)
        codes = {}
        while len(codes) < 180:
            for o in wire.outcomes(client.answer()):
                codes[o.id] = o.code
        # They are accepted up to the first that is put off, and no further.
        first = [codes[c.id] for c in commands].index("busy")
        expect(first >= 64, f"command {first} is put off")
        equal({codes[c.id] for c in commands[first:]}, {"busy"},
              "what was sent behind it")
        left = commands[first:]
        while left:
            outcomes = client.append(*left)
            left = [c for c, o in zip(left, outcomes) if o.code == "busy"]
        equal(data_of(p, "b-1"), list(range(180)), "in the order sent")
        # Whoever does not come again is not held for ever.
        outcomes = client.append(*[command("c-1") for _ in range(65)])
        equal(outcomes[64].code, "busy", "the last")
        other = command("c-1")
        equal(client.append(other)[0].code, "busy", "another, at once")
        equal(client.append_at_last(other).code, "accepted",
              "another, at last")
        client.close()
    finally:
        p.close()


def commands_of_one_stream_keep_their_order_when_daemons_die():
    p = Pipeline()
    rng = random.Random(seed())
    try:
        p.up()
        feeder = p.start_cairn("append", "--window", "300", "--quiet",
                               "--timeout", "60", stdin=subprocess.PIPE,
                               stderr=subprocess.PIPE)
        count = 0
        for who in ("writer", "gateway", "writer"):
            thread = threading.Thread(target=feeder.stdin.write,
                                      args=(lines("a-1", 3000, count),))
            thread.start()
            count += 3000
            time.sleep(rng.random() * 0.02)  # anywhere into it
            p.kill(who)
            p.up()
            thread.join()
        _, errors = feeder.communicate(timeout=120)
        equal(feeder.returncode, 0, errors)
        equal(data_of(p, "a-1"), list(range(count)), "in the order queued")
    finally:
        p.close()


def a_flood_does_not_starve_others():
    p = Pipeline()
    p.config("gateway", "commands\n    in_flight_max = 2048\n")
    try:
        p.up()
        window, floods, each = 4096, 3, 12000
        with Witness(p) as alone:
            alone.go_on(100)
        calm = statistics.median(alone.latencies)
        with Witness(p) as honest:
            feeders = []
            for i in range(floods):
                path = os.path.join(p.top, f"flood-{i}")
                with open(path, "wb") as file:
                    file.write(lines(f"flood-{i}", each))
                with open(path, "rb") as file:
                    feeders.append(p.start_cairn(
                        "append", "--quiet", "--window", str(window),
                        "--timeout", "60", stdin=file,
                        stderr=subprocess.PIPE))
            began, first = time.monotonic(), len(honest.latencies)
            while all(f.poll() is None for f in feeders):
                time.sleep(0.01)
            took = time.monotonic() - began
            during = honest.latencies[first:]
            for feeder in feeders:
                feeder.communicate(timeout=120)
                equal(feeder.returncode, 0, "a flooder")
        expect(len(during) >= 5, f"{len(during)} events during the flood")
        # How long a command of the flood takes, by Little's law: the share of
        # the room that each flooder has, over what it gets through.
        share = 2048 / (floods + 1)
        flood = share * took / each
        ratio = statistics.median(during) / flood
        print(f"median latency: {1000 * calm:.2f} ms alone, "
              f"{1000 * statistics.median(during):.2f} ms beside {floods} "
              f"floods of {each / took:.0f} commands/s each, whose own take "
              f"{1000 * flood:.2f} ms: ratio {ratio:.2f}")
        equal(honest.put_off, 0, "times that the honest client was put off")
        expect(ratio < 1, f"ratio {ratio:.2f}")
    finally:
        p.close()


class ReadFlood:
    """Clients that ask for more than is answered; each request looks at as
    much of the log as one may, and finds nothing."""

    def __init__(self, pipeline, clients=3, window=50):
        self.pipeline, self.outstanding = pipeline, clients * window
        self.counts, self.stop = [0] * clients, threading.Event()
        self.threads = [threading.Thread(target=self.ask, args=(i, window))
                        for i in range(clients)]

    def ask(self, number, window):
        client = local(self.pipeline, "queries")
        question = wire.read(selectors=[("t", "Never")])
        for _ in range(window):
            client.socket.send_multipart(question)
        while not self.stop.is_set():
            if client.socket.poll(100):
                client.answer()
                self.counts[number] += 1
                client.socket.send_multipart(question)
        client.close()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        wait_until(lambda: min(self.counts) > 0, "the flood")
        self.began, self.before = time.monotonic(), sum(self.counts)
        return self

    def each(self):
        """Seconds that the publisher takes for one of its requests, by now."""
        # However few of them came in between.
        wait_until(lambda: sum(self.counts) - self.before >= self.outstanding,
                   "the flood")
        return (time.monotonic() - self.began) / \
            (sum(self.counts) - self.before)

    def __exit__(self, *what):
        self.stop.set()
        for thread in self.threads:
            thread.join()


def a_flood_of_reads_starves_neither_readers_nor_newcomers():
    p, rounds = TcpPipeline(), 20
    try:
        key = Key(p, "k")
        p.cairn("key", "authorize", "--rights", p.rights, "--administer", "k",
                key.path)
        p.up()
        p.cairn("append", "--quiet", data=lines("a-1", 70000))
        honest = local(p, "queries")
        reads, visits = [], []
        with ReadFlood(p) as flood:
            for _ in range(rounds):
                began = time.monotonic()
                answer, events = honest.read(direction=1, start=70000,
                                             event_max=1)
                reads.append(time.monotonic() - began)
                equal((answer["code"], len(events)), (0, 1), "an honest read")
                # The loop itself has to let this one in.
                began = time.monotonic()
                newcomer = p.connect(key, p.queries)
                equal(newcomer.ping(), "PONG", "a newcomer")
                visits.append(time.monotonic() - began)
                newcomer.close()
            each = flood.each()
        honest.close()
        own = flood.outstanding * each  # by Little's law
        read, visit = statistics.median(reads), statistics.median(visits)
        print(f"beside a flood of {1 / each:.0f} reads/s, which take "
              f"{1000 * own:.0f} ms each: a read {1000 * read:.1f} ms, ratio "
              f"{read / own:.2f}; a newcomer {1000 * visit:.1f} ms, ratio "
              f"{visit / own:.2f}")
        expect(read < own / 4, "an honest reader waits as the flood does")
        expect(visit < own / 4, "a newcomer waits as the flood does")
    finally:
        p.close()


def in_good_order(who):
    """A daemon that is told to stop under load: what is accepted is stored,
    and the same ids again bring each to its place, once."""
    p = Pipeline()
    try:
        p.up()
        client = local(p)
        client.append(command("a-1"))
        commands = [command("a-1", str(i)) for i in range(8000)]
        codes = {}

        def take_answer():
            frames = client.answer()
            if wire.kind_of(frames[0]) == "APPENDED":
                codes.update((o.id, o.code) for o in wire.outcomes(frames))

        for at in range(0, len(commands), 100):
            client.socket.send_multipart(
                wire.append(commands[at:at + 100]))
            if at == 4000:  # in the midst of it
                take_answer()
                p.kill(who, signal.SIGTERM)
        while client.socket.poll(1000):
            take_answer()
        client.close()  # with what it has not sent yet
        p.up()
        accepted = sum(code == "accepted" for code in codes.values())
        stored = len(data_of(p, "a-1")) - 1
        print(f"{who}: {accepted} accepted, "
              f"{len(codes) - accepted} answered otherwise, "
              f"{len(commands) - len(codes)} not answered")
        expect(accepted > 0, "nothing was in flight")
        expect(stored >= accepted, f"only {stored} are stored")
        if who == "gateway":  # it waits for the outcomes of all that it took
            equal(stored, accepted, "stored")
        # With retries, nothing is seen but delay.
        client = local(p)
        for at in range(0, len(commands), 1000):
            left = commands[at:at + 1000]
            while left:  # bounded by the time that the runner gives a test
                outcomes = client.append(*left)
                left = [c for c, o in zip(left, outcomes)
                        if o.code == "busy"]
                equal({o.code for o in outcomes} - {"busy"}, {"accepted"},
                      "at last")
        client.close()
        equal(sorted(data_of(p, "a-1")), sorted([0, *range(len(commands))]),
              "each once")
    finally:
        p.close()


def a_gateway_that_stops_answers_what_it_has_taken():
    in_good_order("gateway")


def a_writer_that_stops_loses_nothing():
    in_good_order("writer")


class Installed:
    """The programs in a folder of their own, each of which can be replaced by
    the next version while it runs, as a package does it."""

    def __init__(self, pipeline):
        self.bin = os.path.join(pipeline.top, "installed", "bin")
        shutil.copytree(os.path.join(BUILD, "bin"), self.bin)
        pipeline.env["BUILD"] = os.path.dirname(self.bin)
        self.count = 0

    def upgrade(self, who):
        """Its version from now on."""
        path = os.path.join(self.bin, "cairn-" + who)
        with open(path, "rb") as file:
            data = file.read()
        found = re.search(rb"\0(cairn-\w+ )?0\.1\.\d", data)
        self.count += 1
        version = b"0.1.%d" % self.count
        with open(path + ".new", "wb") as file:
            file.write(data.replace(found[0][-5:], version))
        os.chmod(path + ".new", 0o755)
        os.rename(path + ".new", path)
        return version


def version_of(pid):
    """What a process runs, whatever its file is by now."""
    with open(f"/proc/{pid}/exe", "rb") as file:
        return re.search(rb"\0(?:cairn-\w+ )?(0\.1\.\d)", file.read())[1]


def upgrades_under_load_are_seen_as_delay_only():
    p = Pipeline()
    try:
        installed = Installed(p)
        p.up()
        feeder = p.start_cairn("append", "--window", "256", "--quiet",
                               "--timeout", "60", stdin=subprocess.PIPE,
                               stderr=subprocess.PIPE)
        restarts = ("gateway", "writer", "publisher", "gateway", "writer",
                    "publisher")
        follower = p.start_cairn(
            "read", "--follow", "--json", "--category", "a", "--limit",
            str(2000 * len(restarts)), stdout=subprocess.PIPE)
        seen = []
        reader = threading.Thread(target=lambda: seen.extend(follower.stdout))
        reader.start()
        count = 0
        with Witness(p) as witness:
            for who in restarts:
                thread = threading.Thread(target=feeder.stdin.write,
                                          args=(lines("a-1", 2000, count),))
                thread.start()
                count += 2000
                before = version_of(p.pid(who))
                version = installed.upgrade(who)
                p.dev("restart", who)
                equal((version_of(p.pid(who)), before != version),
                      (version, True), "another version")
                thread.join()
                witness.go_on(1)
            _, errors = feeder.communicate(timeout=120)
            equal(feeder.returncode, 0, errors)
            witness.writer = p.pid("writer")
        equal(data_of(p, "a-1"), list(range(count)), "each once, in order")
        equal(follower.wait(timeout=60), 0, "who follows")
        reader.join()
        equal([json.loads(line)["data"] for line in seen],
              list(range(count)), "what who follows has seen")
    finally:
        p.close()


class Proxy:
    """Passes tcp on, until it forgets its connections, as a router may: then
    they stay open and silent for ever.  New ones are passed on."""

    def __init__(self, port):
        self.target = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.life = 0
        self.sockets = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.target))
            self.sockets += [near, far]
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self.carry, args=(*pair, self.life),
                                 daemon=True).start()

    def carry(self, source, sink, life):
        try:
            while data := source.recv(65536):
                if self.life == life:
                    sink.sendall(data)
        except OSError:
            pass

    def forget(self):
        self.life += 1

    def close(self):
        self.listener.close()
        for one in self.sockets:
            one.close()


def a_connection_that_was_idle_for_long_works():
    p = TcpPipeline(gateway="connections\n    handshake = 100ms\n")
    proxy = None
    try:
        key = Key(p, "k")
        p.cairn("key", "authorize", "--rights", p.rights, "--administer", "k",
                key.path)
        p.up()
        # No timer of ours ends a connection that is quiet: ten times what
        # a handshake may take.
        clients = [local(p), p.connect(key)]
        monitors = [c.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
                    for c in clients]
        for client in clients:
            equal(client.ping(), "PONG", "at first")
        time.sleep(1)
        for client, monitor in zip(clients, monitors):
            equal(client.ping(), "PONG", "after a while")
            expect(not monitor.poll(0), "it is the same connection")
            client.socket.disable_monitor()
            client.close()
        # One that is dead without anybody having said so is made anew.
        proxy = Proxy(int(p.commands.rsplit(":", 1)[1]))
        feeder = p.start_cairn(
            "--commands", f"tcp://127.0.0.1:{proxy.port}", "--server-key",
            p.server.public.decode(), "--key", key.path, "append", "--json",
            "--timeout", "60", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for i in range(100):
            feeder.stdin.write(lines("a-1", 1, i))
        feeder.stdin.flush()
        wait_until(lambda: p.status()["writer"]["position"] == 100, "100 events")
        proxy.forget()
        out, _ = feeder.communicate(lines("a-1", 100, 100), timeout=60)
        equal(feeder.returncode, 0, out)
        equal(data_of(p, "a-1"), list(range(200)), "each once, in order")
    finally:
        if proxy:
            proxy.close()
        p.close()


def what_a_gone_gateway_has_left_behind_does_not_count():
    p = Pipeline()
    try:
        p.up()
        p.cairn("append", "a-1", "T", "0")
        # Another connection takes the place of the gateway, as its successor
        # does: from now on nothing that the old one sends may take effect.
        successor = zmq.Context.instance().socket(zmq.DEALER)
        successor.setsockopt(zmq.LINGER, 0)
        successor.setsockopt(zmq.RCVTIMEO, 10000)
        successor.connect("ipc://" + p.path("run", "writer"))
        endpoint = "ipc://" + p.path("run", "commands")
        successor.send(wire.header("HELLO", 1, wire.crc32c(endpoint.encode())))
        wire.fields("WELCOME", successor.recv())
        ids = [str(uuid.uuid4()) for _ in range(2)]
        p.cairn("append", "a-1", "T", "1", "--command", ids[0],
                "--timeout", "1", code=5)
        equal(data_of(p, "a-1"), [0], "data, while the place is taken")
        expect("has left commands" in p.log("writer"), p.log("writer"))
        # The gateway starts again and takes its place back.
        successor.close()
        p.dev("restart", "gateway")
        done = p.cairn("append", "a-1", "T", "1", "--command", ids[0])
        expect(b"accepted" in done.stdout, done.stdout)
        p.cairn("append", "a-1", "T", "2", "--command", ids[1])
        equal(data_of(p, "a-1"), [0, 1, 2], "data")
    finally:
        p.close()


run([commands_of_one_stream_keep_their_order_across_busy,
     commands_of_one_stream_keep_their_order_when_daemons_die,
     a_flood_does_not_starve_others,
     a_flood_of_reads_starves_neither_readers_nor_newcomers,
     what_a_gone_gateway_has_left_behind_does_not_count,
     a_gateway_that_stops_answers_what_it_has_taken,
     a_writer_that_stops_loses_nothing,
     upgrades_under_load_are_seen_as_delay_only,
     a_connection_that_was_idle_for_long_works])
