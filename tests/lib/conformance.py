# SPDX-License-Identifier: MPL-2.0
"""Runs the scenarios of tests/conformance against a client's driver; the
README there tells the words."""

import json
import os
import subprocess
import threading
import time
import uuid

import wire
from system import ROOT, Failure

KIT = os.path.join(ROOT, "tests", "conformance")
SAFE = 2 ** 53  # beyond it numbers travel as text
ANSWER_SECONDS = 60
AGAIN = ("busy", "unknown", "stopping")  # a daemon is coming up
CONDITIONS = ("no_event", "no_match")
POSITIONS = ("first", "last", "position", "watermark", "after")
NAMES = ("stream", "streams", "categories", "tags")
EXPECTATIONS = ["any", "none", "exists", "exact", "no_event", "no_match"]
# The key that an event id follows from; told in doc/PROTOCOL.md.
EVENT_ID_KEY = b"cairn event id 1"


def siphash24(key, data):
    """The 128-bit SipHash-2-4 of doc/FORMAT.md (Aumasson and Bernstein)."""
    mask = 2 ** 64 - 1

    def rotate(x, n):
        return (x << n | x >> 64 - n) & mask

    k0, k1 = (int.from_bytes(key[i:i + 8], "little") for i in (0, 8))
    v = [k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d ^ 0xee,
         k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573]

    def rounds(count):
        for _ in range(count):
            v[0] = (v[0] + v[1]) & mask
            v[1] = rotate(v[1], 13) ^ v[0]
            v[0] = rotate(v[0], 32)
            v[2] = (v[2] + v[3]) & mask
            v[3] = rotate(v[3], 16) ^ v[2]
            v[0] = (v[0] + v[3]) & mask
            v[3] = rotate(v[3], 21) ^ v[0]
            v[2] = (v[2] + v[1]) & mask
            v[1] = rotate(v[1], 17) ^ v[2]
            v[2] = rotate(v[2], 32)

    whole = len(data) // 8 * 8
    words = [data[i:i + 8] for i in range(0, whole, 8)]
    words.append(data[whole:].ljust(7, b"\0") + bytes([len(data) % 256]))
    for word in words:
        number = int.from_bytes(word, "little")
        v[3] ^= number
        rounds(2)
        v[0] ^= number
    v[2] ^= 0xee
    rounds(4)
    low = v[0] ^ v[1] ^ v[2] ^ v[3]
    v[1] ^= 0xdd
    rounds(4)
    high = v[0] ^ v[1] ^ v[2] ^ v[3]
    return low.to_bytes(8, "little") + high.to_bytes(8, "little")


def event_id(command, index):
    """The id that an event gets if its sender gives none."""
    digest = bytearray(siphash24(
        EVENT_ID_KEY, command.bytes + index.to_bytes(4, "little")))
    digest[6] = digest[6] & 0x0f | 0x80
    digest[8] = digest[8] & 0x3f | 0x80
    return uuid.UUID(bytes=bytes(digest))


def uuid7():
    number = time.time_ns() // 1_000_000 << 80 | \
        int.from_bytes(os.urandom(10), "big")
    number = number & ~(0xf << 76) | 7 << 76
    return uuid.UUID(int=number & ~(3 << 62) | 2 << 62)


class Room:
    """The names and numbers of one run of a scenario."""

    def __init__(self, prefix, base):
        self.prefix, self.base = prefix, base
        self.ids, self.said = {}, {}

    def _id(self, text):
        name, _, index = text.partition("/")
        if name not in self.ids:
            self.ids[name] = uuid.uuid4() if "v4" in name else uuid7()
        found = self.ids[name]
        return str(event_id(found, int(index)) if index else found)

    def _name(self, text):
        return text if text.startswith("$") else self.prefix + text

    def _number(self, number):
        return number + self.base if number else 0

    def fill(self, value, by_version=False, key=None, owner=None):
        """A value of a scenario as the driver gets it, or must give it."""
        if isinstance(value, dict):
            return self._fill_object(value, by_version, key)
        if isinstance(value, list):
            filled = []
            for element in value:
                if isinstance(element, dict) and "each" in element:
                    text = json.dumps(element["of"])
                    filled += [self.fill(json.loads(text.replace(
                        "%d", str(i))), by_version, key)
                        for i in range(element["each"])]
                else:
                    filled.append(self.fill(element, by_version, key))
            return filled
        if isinstance(value, str):
            if value.startswith("#"):
                return self._id(value)
            return self._name(value) if key in NAMES else value
        if isinstance(value, int) and not isinstance(value, bool):
            positional = key in POSITIONS or (
                key in ("from", "next") and not by_version) or (
                key in ("expected", "actual") and
                (owner or {}).get("expect") in CONDITIONS)
            return self._number(value) if positional else value
        return value

    def _fill_object(self, value, by_version, key):
        if "raw" in value:
            return value["raw"]
        if "times" in value:
            return value["times"][0] * value["times"][1]
        if "pad" in value:
            text, length = value["pad"]
            return self._name(text).ljust(length, "x")
        return {k: self.fill(v, by_version, k, value)
                for k, v in value.items()}


def differs(found, wanted, room, where="answer"):
    """Where an answer is not as it must be; None: nowhere."""
    if isinstance(wanted, dict) and "any" in wanted:
        return None
    if isinstance(wanted, dict) and "same" in wanted:
        wanted = room.said.setdefault(wanted["same"], found)
    if isinstance(wanted, dict) and "has" in wanted:
        if isinstance(found, str) and wanted["has"] in found:
            return None
        return f"{where}: {found!r} does not say {wanted['has']!r}"
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key, value in wanted.items():
            if key not in found:
                return f"{where}: there is no {key} in {found!r}"
            fault = differs(found[key], value, room, f"{where}.{key}")
            if fault:
                return fault
        return None
    if isinstance(wanted, list) and isinstance(found, list):
        if len(found) != len(wanted):
            return f"{where}: {len(found)} elements, not {len(wanted)}: " \
                f"{found!r:.300}"
        for i, (one, other) in enumerate(zip(found, wanted)):
            fault = differs(one, other, room, f"{where}[{i}]")
            if fault:
                return fault
        return None
    if isinstance(wanted, int) and not isinstance(wanted, bool) and \
            wanted >= SAFE:
        wanted = str(wanted)
    if type(found) is not type(wanted) or found != wanted:
        return f"{where}: {found!r:.200}, not {wanted!r:.200}"
    return None


def portable(value):
    """Numbers that not every language can read in JSON become texts."""
    if isinstance(value, dict):
        return {k: portable(v) for k, v in value.items()}
    if isinstance(value, list):
        return [portable(v) for v in value]
    if isinstance(value, int) and not isinstance(value, bool) and \
            value >= SAFE:
        return str(value)
    return value


def command_of(spec):
    """A command of a scenario for tests/lib/wire.py."""
    events = [wire.Event(e["stream"], e["type"], e.get("data", "").encode(),
                         e.get("meta", "").encode(), e.get("tags", ()))
              for e in spec["events"]]
    return wire.Command(events, command=uuid.UUID(spec["id"]))


class Driver:
    """A client's driver, one process for all scenarios."""

    def __init__(self, command, run_dir, options=(), **more):
        self.process = subprocess.Popen(  # pylint: disable=consider-using-with
            [*command, run_dir, *options], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, encoding="utf-8", **more)

    def ask(self, request):
        timer = threading.Timer(ANSWER_SECONDS, self.process.kill)
        timer.start()
        try:
            self.process.stdin.write(json.dumps(portable(request)) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            raise Failure(f"the driver has ended, or did not answer in "
                          f"{ANSWER_SECONDS} s: {json.dumps(request):.300}")
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        try:
            code = self.process.wait(20)
        except subprocess.TimeoutExpired as problem:
            self.process.kill()
            raise Failure("the driver does not end") from problem
        if code != 0:
            raise Failure(f"the driver ended with code {code}")


def scenarios():
    """All of the kit, each with the name of its file."""
    for name in sorted(os.listdir(KIT)):
        if name.endswith(".json"):
            with open(os.path.join(KIT, name), encoding="utf-8") as file:
                for scenario in json.load(file):
                    yield name, scenario


class Runner:
    """Scenarios against a pipeline; `commands` and `queries` are clients of
    the runner's own."""

    def __init__(self, pipeline, commands, queries):
        self.pipeline, self.commands, self.queries = \
            pipeline, commands, queries
        self.count = 0

    def store(self, room, specs):
        """Stores commands that belong to a scenario; all are accepted."""
        commands = [command_of(spec) for spec in room.fill(specs)]
        until = time.monotonic() + ANSWER_SECONDS
        while commands:
            outcomes = self.commands.append(*commands)
            bad = [o for o in outcomes if o.code not in ("accepted", *AGAIN)]
            if bad or time.monotonic() > until:
                raise Failure(f"the state: {bad[0].code}: {bad[0].detail}"
                              if bad else "the state: no outcome")
            commands = [c for c, o in zip(commands, outcomes)
                        if o.code in AGAIN]

    def watermark(self):
        return self.queries.read(start_kind=1)[0]["watermark"]

    def log_since(self, base):
        found, start = [], base + 1
        while True:
            answer, events = self.queries.read(start=start)
            found += [[e["stream"], e["type"], e["data"].decode()]
                      for e in events]
            if answer["flags"] & 1:
                return found
            start = answer["next"]

    def run(self, driver, scenario):
        """Raises Failure unless everything is as the scenario says."""
        self.count += 1
        room = Room(f"r{self.count}.", self.watermark())
        self.store(room, scenario.get("state", []))
        for number, step in enumerate(scenario["steps"]):
            if "do" in step:
                verb, who = step["do"].split()
                assert verb == "restart"
                self.pipeline.dev("crash", who)
                continue
            self.step(room, driver, step, f"step {number}")
        if "log" in scenario:
            wanted = [[room.fill(stream, key="stream"), kind, room.fill(data)]
                      for stream, kind, data in self.rows(scenario["log"])]
            found = self.log_since(room.base)
            fault = differs(found, [[s, room.fill(t), d]
                                    for s, t, d in wanted], room, "the log")
            if fault:
                raise Failure(fault)

    @staticmethod
    def rows(log):
        """The rows of a log, `each` written out."""
        for row in log:
            if isinstance(row, dict):
                text = json.dumps(row["of"])
                for i in range(row["each"]):
                    yield json.loads(text.replace("%d", str(i)))
            else:
                yield row

    def step(self, room, driver, step, where):
        spec = step["request"]
        by_version = len(spec.get("streams", ())) == 1 and not any(
            spec.get(k) for k in ("categories", "types", "tags"))
        request = room.fill(spec, by_version)
        meanwhile = None
        if "meanwhile" in step:
            meanwhile = threading.Thread(target=self.store_soon,
                                         args=(room, step["meanwhile"]))
            meanwhile.start()
        answer = driver.ask(request)
        if meanwhile is not None:
            meanwhile.join()
        fault = differs(answer, room.fill(step["answer"], by_version), room,
                        where)
        if fault:
            raise Failure(fault)

    def store_soon(self, room, specs):
        """The answer is the same whether this comes before or after the
        request; a moment makes it likely that something waits for it."""
        time.sleep(0.05)
        for spec in specs:
            self.store(room, [spec])
