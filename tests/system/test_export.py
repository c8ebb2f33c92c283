#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""Export and import: whatever was stored comes out the same in another log."""

import base64
import json
import os
import random
import signal
import subprocess
import sys
import threading
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
# pylint: disable=wrong-import-position
from system import (Pipeline, equal, expect, run, seed,  # noqa: E402
                    wait_until)
import wire  # noqa: E402

try:
    import zmq
except ImportError:
    print("SKIP: python3-zmq is not installed")
    sys.exit(77)

# JSON that a re-encoder would change, and bytes that only look like it.
ODD_JSON = [b'{"a":1,"a":2}', b'{ "a" :  1.50 }', b' {"a":1}', b'{"a":1} ',
            b'\t1', b'1\t', b'1e400', b'-0', b'1E5', b'12345678901234567890',
            b'"\\u00e9\\/"', b'"\xc3\xa9"', b'"\\ud800"', b'"\\u0000"',
            b'{"a":1}\n', b'[1,\n2]', b'[1,\r2]', b'1,2', b'1],[2', b'nul',
            b'"a', b'{"a":}', b'null', b'true', b'[]', b'{}', b'""', b'"',
            b'[' * 2046 + b']' * 2046, b'[' * 2047 + b']' * 2047,
            b'[' * 2048 + b']' * 2048, b'[' * 2049 + b']' * 2049,
            b'{"stream":"x","more":true,"command":"y"}', b'\xef\xbb\xbf1',
            b'"\x7f"', b'"\xed\xa0\x80"', b'{"\\u0061":1,"a":2}']
TYPES = ["application/json", "text/plain", "application/octet-stream",
         "x", "", "\u00e4" * 127 + "x"]


def odd_bytes(rng):
    kind = rng.randrange(6)
    if kind == 0:
        return b""
    if kind == 1:
        return rng.choice(ODD_JSON)
    if kind == 2:
        return rng.randbytes(rng.randrange(1, 400))
    if kind == 3:
        return bytes(rng.randrange(128) for _ in range(rng.randrange(1, 60)))
    if kind == 4:
        return "".join(chr(rng.choice((rng.randrange(0x20, 0x800), 0, 10, 13,
                                       0x1f600, 0x2028)))
                       for _ in range(rng.randrange(1, 40))).encode()
    return json.dumps({"n": rng.random(), "l": [1, None, "x"]}).encode()


def odd_name(rng, prefix=""):
    text = prefix
    wanted = rng.choice((len(prefix.encode()) + 1, 20, 254, 255))
    while len(text.encode()) < wanted:
        char = chr(rng.choice((rng.randrange(0x21, 0x7f),
                               rng.randrange(0xa1, 0x800),
                               rng.randrange(0x1f300, 0x1f600))))
        room = wanted - len(text.encode())
        text += char if len(char.encode()) <= room else "x" * room
    return text


def new_id(rng):
    return str(uuid.UUID(bytes=rng.randbytes(16), version=4))


def odd_event(rng, streams):
    data, meta = odd_bytes(rng), odd_bytes(rng)
    fields = {"stream": rng.choice(streams), "type": odd_name(rng),
              "content_type": rng.choice(TYPES)}
    if data or rng.random() < 0.5:
        fields["data_base64"] = base64.b64encode(data).decode()
    if meta:
        fields["meta_base64"] = base64.b64encode(meta).decode()
    if rng.random() < 0.5:
        fields["schema"] = rng.choice((0, 2, 77, 2**32 - 1))
    for name in ("id", "correlation", "causation"):
        if rng.random() < 0.5:
            fields[name] = new_id(rng)
    if rng.random() < 0.5:
        count = rng.choice((1, 3, 32))
        fields["tags"] = [odd_name(rng, f"{n}:") for n in range(count)]
    return fields, data, meta


def odd_commits(rng, count):
    """Lines, and what they hold: an event each."""
    streams = [odd_name(rng, f"s{n}-") for n in range(20)]
    lines, events = [], []
    for _ in range(count):
        size = rng.choice((1, 1, 1, 2, 5, 20))
        command = new_id(rng) if rng.random() < 0.5 else None
        for n in range(size):
            fields, data, meta = odd_event(rng, streams)
            events.append((fields, data, meta))
            fields = dict(fields)
            if command:
                fields["command"] = command
            if n < size - 1:
                fields["more"] = True
            lines.append(json.dumps(fields,
                                    ensure_ascii=rng.random() < 0.5).encode())
    return b"\n".join(lines) + b"\n", events


def bytes_of(line, name):
    """The bytes of data or meta in an exported line, whatever form it has."""
    fields = json.loads(line)
    if name + "_base64" in fields:
        return base64.b64decode(fields[name + "_base64"])
    if name + "_text" in fields:
        return fields[name + "_text"].encode()
    if name not in fields:
        return b""
    # Raw JSON: from the line itself, for the parser would change it.
    text = line.decode()
    decoder = json.JSONDecoder()
    at = 1
    while True:
        key, at = decoder.raw_decode(text, at)
        start = at + 1
        _, at = decoder.raw_decode(text, start)
        if key == name:
            return text[start:at].encode()
        at += 1


def without_times(lines):
    out = []
    for line in lines:
        head, rest = line.split(b',"time":"', 1)
        out.append(head + rest[rest.index(b',"time_us":') + 11:].lstrip(
            b"0123456789"))
    return out


def export(p, *args):
    return p.cairn("export", "--quiet", p.path("log"),
                   *args).stdout.splitlines(keepends=True)


def store(p, data):
    p.cairn("append", "--quiet", data=data)


def odd_events_come_out_as_they_went_in():
    rng = random.Random(seed())
    sys.setrecursionlimit(10000)
    first, second = Pipeline(), Pipeline()
    try:
        first.up()
        second.up()
        data, events = odd_commits(rng, 250)
        store(first, data)
        lines = export(first)
        equal(len(lines), len(events), "events exported")
        for line, (fields, payload, meta) in zip(lines, events):
            found = json.loads(line)
            for name in ("stream", "type", "tags", "schema", "id",
                         "correlation", "causation"):
                if name in fields and (name, fields[name]) != ("schema", 1):
                    equal(found.get(name), fields[name], name)
            equal(bytes_of(line, "data"), payload, "data")
            equal(bytes_of(line, "meta"), meta, "meta")
        second.cairn("import", "--quiet", data=b"".join(lines))
        again = export(second)
        equal(without_times(again), without_times(lines), "the second export")
        report = second.json("log", "verify", second.path("log"))[-1]
        equal(report["findings"], 0, "damage")
        equal(report["commits"],
              first.json("log", "verify", first.path("log"))[-1]["commits"],
              "commits")
        repeat(second, lines)
        equal(export(second), again, "the export after a second import")
    finally:
        first.close()
        second.close()


def repeat(p, lines):
    outcomes = [json.loads(o) for o in p.cairn(
        "import", "--json", data=b"".join(lines)).stdout.splitlines()]
    expect(outcomes and all(o["outcome"] == "accepted" and o["repeated"]
                            for o in outcomes),
           "a second import stores something")


def filters_and_ends_are_those_of_read():
    p = Pipeline()
    try:
        p.up()
        lines = [{"stream": f"{'order' if n % 2 else 'stock'}-{n % 5}",
                  "type": "T" if n % 3 else "U", "tags": [f"g:{n % 4}"],
                  "data": n, "more": n % 4 != 0} for n in range(1, 201)]
        store(p, b"".join(json.dumps(l).encode() + b"\n" for l in lines))
        at = p.json("read", "--from", "57", "--limit", "1")[0]["time"]
        for args in ([], ["--category", "order"], ["--type", "U"],
                     ["--tag", "g:1", "--category", "stock"],
                     ["--from", "50", "--to", "60"], ["--from", "-7"],
                     ["--from", "end"], ["--to", "@" + at], ["--to", "@0"],
                     ["--from", "@" + at], ["--limit", "13"],
                     ["--type", "T", "--type", "U", "--stream", "order-1",
                      "--stream", "stock-2", "--limit", "9"]):
            wanted = [e for e in p.json("read", *args)] if len(
                [a for a in args if a == "--stream"]) != 1 else []
            found = [json.loads(line) for line in export(p, *args)]
            for event in found:
                expect(event.pop("command"), "a line without its command")
                event.pop("more", None)
            equal(found, wanted, f"export {args}")
        # What is left of a commit is held together.
        found = [json.loads(line) for line in export(p, "--category", "order")]
        for event, following in zip(found, found[1:]):
            equal(event.get("more", False),
                  event["command"] == following["command"], "more")
        p.cairn("export", p.path("log"), "--from", "noon", code=2)
        p.cairn("export", p.path("nothing"), code=1)
        p.cairn("export", code=2)
        done = p.cairn("export", "--json", p.path("log"), "--limit", "5")
        summary = json.loads(done.stderr)
        equal((summary["events"], summary["last_position"]), (5, 5), "summary")
    finally:
        p.close()


def an_import_keeps_the_order_whatever_happens():
    """The gateway is busy all the time, and daemons are killed."""
    rng = random.Random(seed())
    first, second = Pipeline(), Pipeline()
    try:
        first.up()
        second.config("gateway", "client\n    in_flight_max = 40\n")
        second.up()
        store(first, b"".join(
            json.dumps({"stream": f"s-{n % 50}", "type": "T",
                        "data": n}).encode() + b"\n" for n in range(8000)))
        lines = export(first)
        path = second.path("lines")
        with open(path, "wb") as file:
            file.write(b"".join(lines))
        with open(path, "rb") as file:
            process = second.start_cairn("import", "--quiet", stdin=file)
        for victim in ("writer", "gateway"):
            wait_until(lambda: process.poll() is not None or
                       second.status()["writer"].get("position", 0) >
                       rng.randrange(1, 3000), "some of the import")
            second.dev("crash", victim)
        equal(process.wait(), 0, "the exit code of the import")
        equal(without_times(export(second)), without_times(lines), "the order")
    finally:
        first.close()
        second.close()


class Between(threading.Thread):
    """Passes messages on to a gateway, slowly, and notes whether one came
    before all commands of the one before had their outcomes."""

    def __init__(self, pipeline, address):
        super().__init__(daemon=True)
        context = zmq.Context.instance()
        self.front = context.socket(zmq.ROUTER)
        self.front.bind(address)
        self.back = context.socket(zmq.DEALER)
        self.back.connect("ipc://" + pipeline.path("run", "commands"))
        self.stop = False
        self.client = None
        self.open = self.messages = self.early = 0

    def run(self):
        poller = zmq.Poller()
        poller.register(self.front, zmq.POLLIN)
        poller.register(self.back, zmq.POLLIN)
        while not self.stop:
            ready = dict(poller.poll(50))
            if self.back in ready:
                self.answer(self.back.recv_multipart())
            if self.front in ready:
                self.ask(self.front.recv_multipart())
        self.front.close(0)
        self.back.close(0)

    def ask(self, frames):
        self.client, *frames = frames
        head = next(f for f in frames if f.startswith(b"tpl"))
        if wire.kind_of(head) == "APPEND":
            self.early += self.open > 0
            self.messages += 1
            self.open += len(wire.fields("APPEND", head)[0])
            self.front.poll(20)  # the next one has the time to come
        self.back.send_multipart(frames)

    def answer(self, frames):
        at = next(n for n, f in enumerate(frames) if f.startswith(b"tpl"))
        if wire.kind_of(frames[at]) == "APPENDED":
            self.open -= len(wire.outcomes(frames[at:]))
        self.front.send_multipart([self.client, *frames])


def an_import_has_one_message_on_its_way():
    p = Pipeline()
    try:
        p.up()
        store(p, b"".join(
            json.dumps({"stream": f"s-{n % 50}", "type": "T",
                        "data": "x" * (n % 3000)}).encode() + b"\n"
            for n in range(1000)))
        lines = export(p)
        address = "ipc://" + p.path("run", "between")
        between = Between(p, address)
        between.start()
        outcomes = p.cairn("--commands", address, "import", "--json",
                           data=b"".join(lines)).stdout.splitlines()
        between.stop = True
        between.join()
        equal(len(outcomes), len(lines), "outcomes")
        expect(between.messages >= 10, f"only {between.messages} messages")
        equal(between.early, 0, "messages before the one before was answered")
    finally:
        p.close()


def an_interrupted_export_ends_with_a_commit():
    p = Pipeline()
    try:
        p.up()
        store(p, b"".join(
            json.dumps({"stream": f"s-{n % 50}", "type": "T", "data": "x" * 200,
                        "more": n % 10 != 9}).encode() + b"\n"
            for n in range(20000)))
        process = p.start_cairn("export", p.path("log"),
                                stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL)
        head = process.stdout.read(100000)  # then the pipe is full
        process.send_signal(signal.SIGINT)
        lines = (head + process.stdout.read()).splitlines()
        equal(process.wait(), 130, "the exit code")
        process.stdout.close()
        expect(len(lines) < 20000, "it went on to the end")
        expect("more" not in json.loads(lines[-1]), "half a commit at the end")
    finally:
        p.close()


run([odd_events_come_out_as_they_went_in,
     filters_and_ends_are_those_of_read,
     an_import_keeps_the_order_whatever_happens,
     an_import_has_one_message_on_its_way,
     an_interrupted_export_ends_with_a_commit])
