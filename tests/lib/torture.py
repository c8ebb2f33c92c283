# SPDX-License-Identifier: MPL-2.0
"""Tortures a pipeline: many clients, random kills, and a judgement.

Every client is a real `cairn append`, which is killed now and then itself;
what it was told is written down here, outside the pipeline (journal.py).
"""

import argparse
import json
import os
import random
import struct
import subprocess
import sys
import threading
import time
import uuid

import wire
from journal import Command, check, digest, read_log
from system import BUILD, Failure, Pipeline, equal, expect

import zmq

CONTEXT = zmq.Context()
HOT_STREAMS = 6        # at a time: few, so that there are conflicts
ERA_COMMANDS = 400     # of all clients; then there are other hot streams
ROUND_MAX = 16         # commands of one client in flight
GIVE_UP_S = "1"        # after so long a command's outcome is unknown
ANSWER_S = 60          # a client that says nothing for so long is stuck

STREAMS_SQL = """--@ projection streams
--@ schema
CREATE TABLE streams (stream TEXT PRIMARY KEY, version INTEGER NOT NULL,
                      events INTEGER NOT NULL);
--@ on A B
INSERT INTO streams VALUES (:stream, :version, 1) ON CONFLICT (stream) DO
UPDATE SET version = :version, events = events + 1;
"""

# Small segments and tables, so that all that may go wrong happens often.
WRITER_CONF = """log
    segment = 1M
table
    checkpoint = 256K
    slots = 256
"""


class Common:
    """What the threads share."""

    def __init__(self, pipeline, seed):
        self.pipeline = pipeline
        self.seed = seed
        self.stop = threading.Event()
        self.failures = []
        self.known = {}   # stream: a version that somebody was told of
        self.commands = 0

    def streams(self):
        era = self.commands // ERA_COMMANDS
        return [f"s-{era}-{i}" for i in range(HOT_STREAMS)]


class Worker(threading.Thread):
    """Works until it is told to stop, and keeps a journal."""

    def __init__(self, common, name):
        super().__init__(daemon=True)
        self.common, self.who = common, name
        self.rng = random.Random(f"{common.seed}/{name}")
        self.journal = []

    def run(self):
        try:
            self.work()
        except Exception as problem:  # pylint: disable=broad-except
            self.common.failures.append(f"{self.who}: {problem!r}")
            self.common.stop.set()


# ---- clients ---------------------------------------------------------------

class Client(Worker):
    def __init__(self, common, name):
        super().__init__(common, name)
        self.commands = []
        self.process = None
        self.deaths = 0

    def expectation(self, stream):
        known = self.common.known.get(stream, 0)
        return self.rng.choices(
            ["any", "none", "exists", known, max(0, known - 1), known + 1],
            [12, 1, 3, 6, 1, 1])[0]

    def new_command(self):
        rng, streams = self.rng, self.common.streams()
        self.common.commands += 1
        written = rng.sample(streams, rng.choice([1, 1, 1, 2, 3]))
        events = [(rng.choice(written), rng.choice(["A", "B"]),
                   rng.choice([0, 20, 200, 200, 1000, 600, 20000]))
                  for _ in range(rng.randint(1, 5))]
        checked = {e[0] for e in events} | set(rng.sample(streams, 1))
        checks = [(s, self.expectation(s)) for s in sorted(checked)
                  if rng.random() < 0.8]
        made = Command(str(uuid.UUID(int=rng.getrandbits(128), version=4)),
                       events, checks)
        self.commands.append(made)
        return made

    def next_command(self):
        """A new one, or one that was sent before, with the same id."""
        if self.commands and self.rng.random() < 0.15:
            return self.rng.choice(self.commands[-200:])
        return self.new_command()

    def start_process(self):
        self.process = self.common.pipeline.start_cairn(
            "append", "--json", "--keep-going", "--timeout", GIVE_UP_S,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL)

    def send(self, batch):
        for command in batch:
            self.journal.append(("sent", command))
        try:
            self.process.stdin.write(b"".join(c.lines() for c in batch))
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # killed: the outcomes stay open

    def hear(self, line):
        told = json.loads(line)
        self.journal.append(("told", told["command"], told))
        if told["outcome"] == "conflict":
            command = next(c for c in reversed(self.commands)
                           if c.id == told["command"])
            for failure in told["failed"]:
                stream = command.checks[failure["check"]][0]
                self.common.known[stream] = failure["actual"]
        elif told["outcome"] == "accepted" and not told["repeated"]:
            command = next(c for c in reversed(self.commands)
                           if c.id == told["command"])
            streams = list(dict.fromkeys(e[0] for e in command.events))
            self.common.known.update(zip(streams, told["versions"]))

    def round(self):
        batch = [self.next_command()
                 for _ in range(self.rng.randint(1, ROUND_MAX))]
        killer = None
        if self.rng.random() < 0.02:
            killer = threading.Timer(self.rng.random() * 0.02,
                                     self.process.kill)
            killer.start()
        watchdog = threading.Timer(ANSWER_S, self.process.kill)
        watchdog.start()
        self.send(batch)
        heard = 0
        for _ in batch:
            line = self.process.stdout.readline()
            if not line.endswith(b"\n"):
                break
            self.hear(line)
            heard += 1
        stuck = not watchdog.is_alive()
        watchdog.cancel()
        if killer is not None:
            killer.join()
        expect(not stuck, "no outcome for a minute")
        if heard < len(batch) or killer is not None:
            self.close_process()
            self.deaths += 1
            self.start_process()

    def close_process(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass  # it was killed before it had read everything

    def work(self):
        self.start_process()
        while not self.common.stop.is_set():
            self.round()
        self.close_process()


# ---- readers ---------------------------------------------------------------

def records(frame):
    """The event records in a frame of an answer."""
    at = 0
    while at < len(frame):
        shape = struct.unpack_from("<I", frame, at + 4)[0]
        length = (shape & 0xFFFFFF) * 8
        if shape >> 24 == 4:
            yield frame[at:at + length]
        at += length


class Reader(Worker):
    """Asks the publisher, as often as it takes."""

    def __init__(self, common, name):
        super().__init__(common, name)
        self.socket = None
        self.asked = 0

    def ask(self, **request):
        """The header of an answer and its records; None if there is none."""
        if self.socket is None:
            self.socket = CONTEXT.socket(zmq.DEALER)
            self.socket.setsockopt(zmq.LINGER, 0)
            self.socket.setsockopt(zmq.RCVTIMEO, 1500)
            self.socket.connect(
                "ipc://" + self.common.pipeline.path("run", "queries"))
        self.asked += 1
        try:
            self.socket.send_multipart(wire.read(request=self.asked,
                                                 **request))
            frames = self.socket.recv_multipart()
        except zmq.Again:
            self.forget()
            return None
        answer, _ = wire.events(frames)
        if answer["request"] != self.asked:
            self.forget()
            return None
        if answer["code"] != 0:
            code = wire.CODES[answer["code"]]
            expect(code in ("busy", "stopping"),
                   f"a read was answered {code}: {answer.get('text')}")
            time.sleep(0.01)
            return None
        return answer, [bytes(r) for frame in frames[1:]
                        for r in records(frame)]

    def forget(self):
        self.socket.close()
        self.socket = None


class Follower(Reader):
    """Reads all with long polls; now and then from the beginning again."""

    def work(self):
        start, at_most = 1, self.rng.choice([0, 0, 17, 500])
        while not self.common.stop.is_set():
            got = self.ask(start=start, wait_ms=200, event_max=at_most)
            if got is None:
                continue
            answer, events = got
            for i, record in enumerate(events):
                equal(wire.event(record)["position"], start + i,
                      "the next position")
            expect(start + len(events) <= answer["watermark"] + 1,
                   "a position above the watermark")
            equal(answer["next"], start + len(events), "where to go on")
            self.journal.append(("shown", [(start + i, digest(r))
                                           for i, r in enumerate(events)]))
            start = answer["next"]
            if self.rng.random() < 0.002:
                start = 1


class StreamReader(Reader):
    """Reads hot streams whole, through the version table."""

    def work(self):
        while not self.common.stop.is_set():
            stream = self.rng.choice(self.common.streams())
            floor = self.common.known.get(stream, 0)
            got = self.ask(start=1, selectors=[("s", stream)])
            if got is None:
                continue
            answer, shown = got[0], []
            for i, record in enumerate(got[1]):
                event = wire.event(record)
                equal((event["stream"], event["version"]), (stream, i + 1),
                      "what comes next in a stream")
                shown.append((event["position"], digest(record)))
            expect(answer["stream_version"] >= floor,
                   f"{stream} is shown at {answer['stream_version']}, and "
                   f"somebody had been told {floor}")
            self.journal.append(("shown", shown))
            time.sleep(0.02)


# ---- kills -----------------------------------------------------------------

class Killer(Worker):
    VICTIMS = [["writer"], ["writer"], ["gateway"], ["writer", "gateway"],
               ["publisher"], ["projector@streams"],
               ["writer", "gateway", "publisher", "projector@streams"]]

    def __init__(self, common, name):
        super().__init__(common, name)
        self.kills = {}

    def work(self):
        pipeline = self.common.pipeline
        while not self.common.stop.wait(self.rng.uniform(0.05, 0.6)):
            victims = self.rng.choice(self.VICTIMS)
            for victim in victims:
                pipeline.kill(victim)
                self.kills[victim] = self.kills.get(victim, 0) + 1
            if self.rng.random() < 0.1:  # longer than clients have patience
                self.common.stop.wait(1.5)
            pipeline.up()


# ---- the whole -------------------------------------------------------------

class Torture:
    def __init__(self, seed, clients):
        self.pipeline = Pipeline()
        with open(self.pipeline.path("projections", "streams.sql"), "w",
                  encoding="utf-8") as file:
            file.write(STREAMS_SQL)
        self.pipeline.config("writer", WRITER_CONF)
        self.common = Common(self.pipeline, seed)
        self.clients = [Client(self.common, f"client {i}")
                        for i in range(clients)]
        self.readers = [Follower(self.common, f"follower {i}")
                        for i in range(3)]
        self.readers += [StreamReader(self.common, "stream reader")]
        self.killer = Killer(self.common, "killer")

    def load(self, seconds, progress=None):
        """Lets it all run for so long."""
        self.pipeline.up()
        workers = self.clients + self.readers + [self.killer]
        for worker in workers:
            worker.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.common.stop.wait(
                min(10, max(0, end - time.monotonic()))):
            if progress is not None:
                progress(self)
        self.common.stop.set()
        for worker in workers:
            worker.join(2 * ANSWER_S)
            expect(not worker.is_alive(), f"{worker.who} does not end")
        if self.common.failures:
            raise Failure("; ".join(self.common.failures))
        self.pipeline.up()

    def final_events(self):
        """What the publisher serves in the end: position to digest."""
        reader, start, final = Reader(self.common, "final"), 1, {}
        while True:
            got = reader.ask(start=start)
            if got is None:
                continue
            for record in got[1]:
                final[wire.event(record)["position"]] = digest(record)
            start = got[0]["next"]
            if start > got[0]["watermark"]:
                return final

    def judge(self):
        """The findings and a summary, of journal.check()."""
        pipeline = self.pipeline
        # The commands of killed clients may still be on their way: an empty
        # turn of the gateway and the writer behind them.
        pipeline.cairn("append", "barrier", "B", "--command",
                       str(uuid.UUID(int=1 << 62, version=4)))
        log = read_log(os.path.join(BUILD, "bin", "cairn"),
                       pipeline.path("log"))
        barrier = log.pop()
        final = self.final_events()
        if final.pop(barrier.first, None) is None:
            raise Failure("the last event is not served")
        journals = [w.journal for w in self.clients + self.readers]
        findings, summary = check(journals, log, final)
        report = pipeline.json("log", "verify", pipeline.path("log"))[-1]
        if report["findings"] > 0:
            findings.append("log verify finds damage")
        findings += self.check_projection(log)
        return findings, summary

    def check_projection(self, log):
        """The read model, killed as often as all else, knows every event."""
        import sqlite3  # pylint: disable=import-outside-toplevel
        self.pipeline.cairn("projection", "wait", "streams", "end")
        wanted = {"barrier": (1, 1)}
        for commit in log:
            for stream, version, _, _ in commit.events:
                wanted[stream] = (version, version)
        path = self.pipeline.path("models", "streams.db")
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
            found = {row[0]: row[1:] for row in database.execute(
                "SELECT stream, version, events FROM streams")}
        return [] if found == wanted else \
            ["the read model is not what the log makes of it"]

    def close(self):
        self.common.stop.set()
        self.pipeline.close()

    def print_summary(self, summary, seconds):
        kills = sum(self.killer.kills.values())
        outcomes = ", ".join(f"{n} {name}" for name, n in
                             sorted(summary.outcomes.items()))
        print(f"{summary.commands} commands of {len(self.clients)} clients in "
              f"{seconds:.0f} s: {outcomes}; {summary.open} never known")
        victims = ", ".join(f"{who} {n}" for who, n in
                            sorted(self.killer.kills.items()))
        print(f"{kills} kills of daemons ({victims}), "
              f"{sum(c.deaths for c in self.clients)} of clients; "
              f"{summary.shown} events shown to {len(self.readers)} readers")


ROUND_S = 300


def progress(torture):
    print(f"  {torture.common.commands} commands, "
          f"{sum(torture.killer.kills.values())} kills")


def one_round(seed, clients, seconds):
    """Whether a round has passed without a finding."""
    print(f"seed {seed}, {clients} clients, {seconds:.0f} s")
    torture, began = Torture(seed, clients), time.monotonic()
    findings = []
    try:
        torture.load(seconds, progress)
        findings, summary = torture.judge()
        torture.print_summary(summary, time.monotonic() - began)
    except Failure as problem:
        findings = [str(problem)]
    for finding in findings[:100]:
        print(f"FINDING: {finding}")
    if findings:
        torture.pipeline.dev("down", check=False)
        print(f"{len(findings)} findings; the pipeline is kept in "
              f"{torture.pipeline.dir}")
    else:
        torture.close()
    return not findings


def number(text):
    value = float(text)
    if value <= 0:
        raise ValueError(text)
    return value


def main():
    parser = argparse.ArgumentParser(prog="torture")
    parser.add_argument("--minutes", type=number, default=5)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    seed = options.seed
    if seed is None:
        seed = random.SystemRandom().randrange(10**9)
    left = options.minutes * 60
    rounds = 0
    while left > 0:
        if not one_round(seed + rounds, options.clients, min(left, ROUND_S)):
            sys.exit(1)
        left -= ROUND_S
        rounds += 1
    print(f"{rounds} rounds, no finding")


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    main()
