# SPDX-License-Identifier: MPL-2.0
"""Clients and pipelines for tests of the public endpoints: honest ones over
ipc and over tcp with CURVE, and bare sockets for those that are not."""

import os
import random
import socket
import struct
import sys
import threading
import time

import wire
from system import Failure, Pipeline, equal, wait_until

try:
    import zmq
except ImportError:
    print("SKIP: python3-zmq is not installed")
    sys.exit(77)

CONTEXT = zmq.Context()
CONTEXT.set(zmq.MAX_SOCKETS, 4096)


class Client:
    """A DEALER, or a REQ, at an endpoint."""

    def __init__(self, endpoint, kind=zmq.DEALER, server=None, key=None,
                 timeout_ms=20000, reconnect_ms=20):
        self.socket = CONTEXT.socket(kind)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.RCVTIMEO, timeout_ms)
        self.socket.setsockopt(zmq.SNDTIMEO, timeout_ms)
        self.socket.setsockopt(zmq.RECONNECT_IVL, reconnect_ms)
        if server is not None:
            self.socket.curve_serverkey = server.public
            self.socket.curve_publickey = key.public
            self.socket.curve_secretkey = key.secret
        self.socket.connect(endpoint)

    def ask(self, frames):
        self.socket.send_multipart(frames)
        return self.answer()

    def answer(self):
        try:
            return self.socket.recv_multipart()
        except zmq.Again as problem:
            raise Failure("no answer in time") from problem

    def append(self, *commands):
        """Outcomes in the order of the commands."""
        self.socket.send_multipart(wire.append(commands))
        found = {}
        while len(found) < len(commands):
            for outcome in wire.outcomes(self.answer()):
                found[outcome.id] = outcome
        return [found[c.id] for c in commands]

    def append_at_last(self, command, note=lambda code: None):
        """Appends as a client must: again with the same id while it is put
        off or gets no answer, until the deadline of the client libraries."""
        end = time.monotonic() + 30
        while time.monotonic() < end:
            self.socket.send_multipart(wire.append([command]))
            if not self.socket.poll(2000):
                continue
            frames = self.answer()
            if wire.kind_of(frames[0]) != "APPENDED":
                time.sleep(0.02)  # REFUSED names no time
                continue
            found = [o for o in wire.outcomes(frames) if o.id == command.id]
            for outcome in found:
                note(outcome.code)
            if found and found[0].code not in ("busy", "unknown", "stopping"):
                return found[0]
            if found:  # as the answer says
                time.sleep(found[0].retry_ms / 1000)
        raise Failure("no outcome in 30 s")

    def read(self, **more):
        return wire.events(self.ask(wire.read(**more)))

    def ping(self, number=1):
        frames = self.ask([wire.header("PING", number)])
        return wire.kind_of(frames[0])

    def close(self):
        self.socket.close()


class Key:
    """A key, made by `cairn key new` in the folder of the pipeline."""

    def __init__(self, pipeline, name):
        self.name = name
        self.path = os.path.join(pipeline.top, name + ".key")
        pipeline.cairn("key", "new", self.path)
        done = pipeline.cairn("key", "show", self.path)
        self.public = done.stdout.strip()
        with open(self.path, encoding="ascii") as file:
            text = file.read()
        self.secret = text.split("secret-key = \"")[1].split("\"")[0].encode()


def free_port():
    """Not one that the kernel gives to connections, which come and go."""
    while True:
        port = random.randrange(12000, 32000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass  # somebody else has it


class TcpPipeline(Pipeline):
    """A pipeline that also listens on tcp; its files lie in self.top."""

    def __init__(self, projections=(), gateway="", publisher=""):
        super().__init__(projections)
        self.rights = os.path.join(self.top, "rights.conf")
        self.server = Key(self, "server")
        self.commands = f"tcp://127.0.0.1:{free_port()}"
        self.queries = f"tcp://127.0.0.1:{free_port()}"
        curve = (f"curve\n    secret = \"{self.server.path}\"\n"
                 f"    rights = \"{self.rights}\"\n")
        self.write_rights("# nobody\n")
        self.config("gateway", f"commands\n    tcp = \"{self.commands}\"\n"
                    + curve + gateway)
        self.config("publisher", f"queries\n    tcp = \"{self.queries}\"\n"
                    + curve + publisher)

    def write_rights(self, text):
        with open(self.rights, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(self.rights, 0o644)

    def reload(self, said="SIGHUP"):
        """Sends SIGHUP to both, and waits until they have said so."""
        before = {who: self.log(who).count(said)
                  for who in ("gateway", "publisher")}
        for who in before:
            self.kill(who, 1)
        for who, count in before.items():
            wait_until(lambda w=who, c=count: self.log(w).count(said) > c,
                       f"{said} in the log of the {who}")

    def connect(self, key, endpoint=None, **more):
        return Client(endpoint or self.commands, server=self.server, key=key,
                      **more)


class Shop:
    """A pipeline with three keys and their rights."""

    def __init__(self, **more):
        self.pipeline = TcpPipeline(**more)
        self.shop = Key(self.pipeline, "shop")
        self.backup = Key(self.pipeline, "backup")
        self.operator = Key(self.pipeline, "operator")
        self.clients = []

    def __enter__(self):
        p = self.pipeline
        p.cairn("key", "authorize", "--rights", p.rights, "--append",
                "category:order", "--append", "stream:audit", "--read",
                "category:order", "--read", "stream:news", "shop",
                self.shop.path + ".pub")
        p.cairn("key", "authorize", "--rights", p.rights, "--read", "all",
                "backup", "--", self.backup.public.decode())
        p.cairn("key", "authorize", "--rights", p.rights, "--administer",
                "operator", self.operator.path)
        p.up()
        return self

    def commands(self, key, **more):
        self.clients.append(self.pipeline.connect(key, **more))
        return self.clients[-1]

    def queries(self, key, **more):
        self.clients.append(
            self.pipeline.connect(key, self.pipeline.queries, **more))
        return self.clients[-1]

    def __exit__(self, *what):
        for client in self.clients:
            client.close()
        self.pipeline.close()


def local(pipeline, name="commands", **more):
    return Client("ipc://" + pipeline.path("run", name), **more)


def raw(pipeline, name="commands"):
    """A bare stream socket at an ipc endpoint."""
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stream.connect(pipeline.path("run", name))  # waits for the backlog
    stream.settimeout(10)
    return stream


class Witness:
    """An honest client in a thread of its own: it appends one event after
    the other, each with the version that it expects, and asks again with the
    same command id when it must.  Nothing that others do may spoil that."""

    def __init__(self, pipeline, client=None):
        self.pipeline = pipeline
        self.client = client or local(pipeline)
        self.stream = "honest-" + os.urandom(4).hex()
        self.writer = pipeline.pid("writer")
        self.count = 0
        self.latencies = []
        self.put_off = 0
        self.problem = None
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        wait_until(lambda: self.count > 0 or self.problem, "the first event")
        self.began = self.count
        return self

    def run(self):
        try:
            while not self.stop.is_set():
                began = time.monotonic()
                outcome = self.client.append_at_last(wire.Command(
                    [wire.Event(self.stream, data=b"x" * 100)],
                    [(self.stream, wire.EXACT, self.count)]), self.note)
                self.latencies.append(time.monotonic() - began)
                equal((outcome.code, outcome.versions),
                      ("accepted", [self.count + 1]), outcome.detail)
                self.count += 1
        except Exception as problem:  # pylint: disable=broad-except
            self.problem = problem

    def note(self, code):
        self.put_off += code == "busy"

    def go_on(self, events=3):
        """Waits until it has got ahead by so many events."""
        goal = self.count + events
        wait_until(lambda: self.count >= goal or self.problem,
                   "an honest client to go on")
        if self.problem:
            raise Failure(f"an honest client: {self.problem}")

    def __exit__(self, kind, *what):
        if kind is None:
            self.go_on()
        self.stop.set()
        self.thread.join()
        self.client.close()
        if kind is not None:
            return
        if self.problem:
            raise Failure(f"an honest client: {self.problem}")
        equal(self.pipeline.pid("writer"), self.writer, "the writer's pid")
        os.kill(self.writer, 0)
        reader = local(self.pipeline, "queries")
        answer = {}

        def is_read():
            # Busy while what others left behind still fills its memory.
            reader.socket.send_multipart(wire.read(
                direction=1, event_max=1, selectors=[("s", self.stream)]))
            if not reader.socket.poll(2000):
                return False
            frames = reader.answer()
            if wire.kind_of(frames[0]) != "EVENTS":
                return False
            answer.update(wire.events(frames)[0])
            return answer["code"] == 0

        wait_until(is_read, "the publisher to serve an honest client")
        reader.close()
        equal(answer["stream_version"], self.count,
              "what an honest client was told is stored, once")


GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL" + bytes(16) + \
    b"\x00" + bytes(31)


def frame(data, more=False, command=False):
    """A ZMTP 3 frame."""
    flags = (1 if more else 0) | (4 if command else 0)
    if len(data) > 255:
        return bytes([flags | 2]) + struct.pack(">Q", len(data)) + data
    return bytes([flags, len(data)]) + data


READY = frame(b"\x05READY\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER" +
              b"\x08Identity" + bytes(4), command=True)


def shake_hands(pipeline, name="commands", kind=b"DEALER", minor=0):
    """A bare socket behind its handshake, as a socket of this kind, by ZMTP
    3.0 or another."""
    stream = raw(pipeline, name)
    stream.sendall(GREETING[:11] + bytes([minor]) + GREETING[12:])
    receive(stream, 64)
    stream.sendall(frame(b"\x05READY\x0bSocket-Type" +
                         struct.pack(">I", len(kind)) + kind, command=True))
    head = receive(stream, 2)
    receive(stream, head[1])
    return stream


def receive(stream, count):
    """So many bytes; fewer if the other side has closed."""
    data = b""
    while len(data) < count:
        try:
            more = stream.recv(count - len(data))
        except ConnectionError:
            break
        if not more:
            break
        data += more
    return data


def memory(pid, key="RssAnon"):
    """In MiB."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        for line in file:
            if line.startswith(key + ":"):
                return int(line.split()[1]) / 1024
    raise Failure(f"no {key} of process {pid}")
