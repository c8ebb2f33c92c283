#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""A damaged log: the writer refuses it, what is whole is served, what is not
is answered damaged, and `cairn log verify` says what and where."""

import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
# pylint: disable=wrong-import-position
import wire  # noqa: E402
from system import (BUILD, Pipeline, equal, expect, run,  # noqa: E402
                    wait_until)

try:
    import zmq
except ImportError:
    print("SKIP: python3-zmq is not installed")
    sys.exit(77)

CONTEXT = zmq.Context()


class Log:
    """A pipeline with a log of `count` groups of one event each, on three
    streams, whose writer has been ended."""

    def __init__(self, count, size, how="TERM"):
        self.pipeline = Pipeline()
        self.pipeline.config("writer", "log\n    segment = 1M\n")
        self.count = count
        self.pipeline.up()
        # One in flight: a group each.
        lines = [{"stream": f"s-{i % 3}", "type": "T",
                  "data_text": f"{i:04}" * (size // 4)} for i in range(count)]
        self.pipeline.cairn("append", "--quiet", "--window", "1",
                            data="".join(json.dumps(line) + "\n"
                                         for line in lines).encode())
        self.groups = [g for g in self.dump() if g["record"] == "group"]
        equal(len(self.groups), count, "groups")
        # The gateway asks on; it hears the new writer.
        if how == "KILL":
            self.pipeline.kill("writer")
            wait_until(lambda: not self.alive(), "the writer to be gone")
            os.unlink(self.pipeline.path("pids", "writer"))
        else:
            self.pipeline.kill("writer", 15)
            wait_until(lambda: not self.alive(), "the writer to end")
        # A publisher that has the files open would go on showing what is
        # damaged next, as far as it is mapped.
        self.pipeline.dev("down")
        self.socket = None

    def alive(self):
        path = f"/proc/{self.pipeline.pid('writer')}/stat"
        if not os.path.exists(path):
            return False
        with open(path, encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        self.pipeline.close()

    def dump(self):
        out = self.pipeline.cairn("log", "dump", "--json",
                                  self.pipeline.path("log")).stdout
        return [r for r in map(json.loads, out.splitlines()) if "record" in r]

    def segments(self):
        return sorted(n for n in os.listdir(self.pipeline.path("log"))
                      if n.endswith(".log"))

    def segment(self, number):
        return self.pipeline.path("log", self.segments()[number - 1])

    def flip(self, group, byte):
        """Flips a bit of a group."""
        where = self.groups[group - 1]
        path = self.segment(where["segment"])
        os.chmod(path, 0o600)
        with open(path, "r+b") as file:
            file.seek(where["byte"] + byte)
            was = file.read(1)[0]
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([was ^ 4]))
        return where

    def flip_event(self, group):
        """Flips a bit in the head of the event in a group."""
        where = self.groups[group - 1]
        with open(self.segment(where["segment"]), "rb") as file:
            file.seek(where["byte"])
            data = file.read(where["length"])
        at = 0
        while data[at + 7] != 4:  # the kind of the record
            at += int.from_bytes(data[at + 4:at + 7], "little") * 8
        return self.flip(group, at + 16)

    def forget_page(self):
        """As after a boot: what lay in memory is gone."""
        os.unlink(self.pipeline.path("run", "log.control"))

    def writer(self, *flags, timeout=20):
        return subprocess.run(
            [os.path.join(BUILD, "bin", "cairn-writer"), "-c",
             self.pipeline.path("etc", "writer.conf"), *flags],
            capture_output=True, text=True, timeout=timeout, check=False)

    def refused(self, *words, flags=()):
        """The writer does not start, and says why."""
        done = self.writer(*flags)
        equal(done.returncode, 65, f"exit code of the writer, which said "
              f"{done.stderr[-600:]}")
        for word in words:
            expect(word in done.stderr, f"'{word}' is not in {done.stderr}")
        self.start_publisher()
        wait_until(lambda: "READ-ONLY" in self.pipeline.log("publisher"),
                   "the publisher to say that it is read-only")
        wait_until(lambda: self.status() == "refused", "status to say so")

    def start_publisher(self):
        # Not dev: the writer is not there to be waited for.
        if not os.path.exists(self.pipeline.path("pids", "publisher")):
            with open(self.pipeline.path("logs", "publisher.log"),
                      "ab") as log:
                publisher = subprocess.Popen(
                    [os.path.join(BUILD, "bin", "cairn-publisher"), "-c",
                     self.pipeline.path("etc", "publisher.conf")],
                    stdout=log, stderr=log)
            with open(self.pipeline.path("pids", "publisher"), "w",
                      encoding="ascii") as file:
                file.write(f"{publisher.pid}\n")

    def status(self):
        return self.pipeline.status()["writer"]["state"]

    def read(self, **request):
        """Code, positions, and the header of one answer."""
        if self.socket is None:
            self.socket = CONTEXT.socket(zmq.DEALER)
            self.socket.setsockopt(zmq.LINGER, 0)
            self.socket.setsockopt(zmq.RCVTIMEO, 10000)
            self.socket.connect("ipc://" +
                                self.pipeline.path("run", "queries"))
        self.socket.send_multipart(wire.read(**request))
        answer, events = wire.events(self.socket.recv_multipart())
        for event in events:
            expect(event["data"] == b"%04d" % (event["position"] - 1) *
                   (len(event["data"]) // 4), "other data")
        return (wire.CODES[answer["code"]], [e["position"] for e in events],
                answer)

    def readable(self):
        """What a client gets that reads on behind damage: the positions that
        came, and those that it was told are damaged."""
        found, damaged, start = [], [], 1
        while start <= self.count:
            code, positions, answer = self.read(start=start)
            found += positions
            if code == "damaged":
                expect(start < answer["next"], "nowhere to go on")
                expect(f"positions {start} to {answer['next'] - 1} are "
                       f"damaged" in answer["text"], answer["text"])
                damaged += range(start, answer["next"])
            else:
                equal(code, "accepted", "code")
                expect(answer["next"] > start, "no progress")
            start = answer["next"]
        return found, damaged

    def readable_backward(self):
        """All that comes from the end on, until it is damaged."""
        found, start = [], 0
        while True:
            code, positions, answer = self.read(direction=1, start=start)
            found += positions
            start = answer["next"]
            if code != "accepted" or start == 0:
                return found, code

    def stream(self, name):
        """The versions of a stream that come, and how that ends."""
        found, start = [], 1
        while True:
            code, positions, answer = self.read(start=start,
                                                selectors=[("s", name)])
            found += positions
            if code != "accepted" or answer["flags"] & 1:
                return found, code
            start = answer["next"]

    def verify(self, *args):
        out = self.pipeline.cairn("log", "verify", "--json", *args,
                                  self.pipeline.path("log"), code=1).stdout
        lines = [json.loads(line) for line in out.splitlines()]
        return lines[:-1], lines[-1]


def all_but(count, *damaged):
    return [p for p in range(1, count + 1) if p not in damaged]


def a_last_group_that_is_damaged_is_given_up_on_demand_only():
    for how in ("TERM", "KILL"):
        with Log(9, 3000, how) as log:
            where = log.flip(9, 1500)
            log.refused("--accept-tail-loss", "position 9",
                        f"byte {where['byte']}",
                        log.segments()[0])
            # The page is from before: 9 had been durable, it says.
            equal(log.readable(), (all_but(9, 9), [9]), "what is readable")
            done = log.pipeline.cairn("read", "--from", "9", code=None)
            equal(done.returncode, 1, "exit code of a read of the damage")
            expect(b"damaged" in done.stderr, done.stderr)
            findings, report = log.verify()
            equal((findings[0]["first_position"], findings[0]["last_position"],
                   findings[0]["byte"], findings[0]["streams"],
                   report["last_position"]), (9, 9, where["byte"], ["s-2"], 8),
                  "what verify says")

            # Given up, with a copy; then it goes on, as dev starts it.
            with open(log.pipeline.path("logs", "writer.log"), "ab") as out:
                out.write(b"--- start\n")
                out.flush()
                writer = subprocess.Popen(
                    [os.path.join(BUILD, "bin", "cairn-writer"), "-c",
                     log.pipeline.path("etc", "writer.conf"),
                     "--accept-tail-loss"], stdout=out, stderr=out)
            with open(log.pipeline.path("pids", "writer"), "w",
                      encoding="ascii") as file:
                file.write(f"{writer.pid}\n")
            try:
                log.pipeline.up()
                log.pipeline.cairn("append", "s-0", "T", "0008" * 750)
                wait_until(lambda: log.readable() ==
                           (list(range(1, 10)), []), "a new position 9")
            finally:
                writer.terminate()
                equal(writer.wait(20), 0, "exit code")
            said = log.pipeline.log("writer")
            expect("was given up" in said and "read models" in said, said)
            copies = [n for n in os.listdir(log.pipeline.path("log"))
                      if n.endswith(".bak")]
            equal(len(copies), 1, "copies of what was cut off")
            log.pipeline.dev("down")
            log.pipeline.up()
            log.pipeline.cairn("log", "verify", log.pipeline.path("log"))


def damage_before_the_end_is_never_given_up():
    for how, reboot in (("TERM", False), ("KILL", False), ("KILL", True)):
        with Log(12, 3000, how) as log:
            if reboot:
                log.forget_page()
                # Nor did the version table get as far as the log.
                for name in os.listdir(log.pipeline.path("log")):
                    if name.startswith("table."):
                        os.unlink(log.pipeline.path("log", name))
            where = log.flip_event(5)
            log.refused("from position 5 on", f"byte {where['byte']}",
                        flags=["--accept-tail-loss"])
            equal(log.readable(), (all_but(12, 5), [5]), "what is readable")
            equal(log.readable_backward(),
                  ([12, 11, 10, 9, 8, 7, 6], "damaged"), "backward")
            # 5 is of s-1.  No stream is said to end where it may not.
            for name, known in (("s-0", [1, 4, 7, 10]), ("s-1", [2]),
                                ("s-2", [3, 6, 9, 12])):
                found, code = log.stream(name)
                equal(found, known[:len(found)], f"what comes of {name}")
                expect(code == "damaged" or found == known,
                       f"{name} ends at {found} with {code}")
                if how == "TERM" and name != "s-1":
                    equal((found, code), (known, "accepted"),
                          f"{name}, which the version table knows")
            findings = log.verify()[0]
            equal((findings[0]["first_position"], findings[0]["last_position"],
                   findings[0]["byte"], findings[0]["segment"]),
                  (5, 5, where["byte"], log.segments()[0]), "what verify says")
            # The head of 5 is gone, but 8 is the next of its stream.
            equal([(f["streams"], f["first_position"]) for f in findings],
                  [([], 5), (["s-1"], 8)], "streams affected")


def the_data_of_an_event_that_is_damaged_is_not_served():
    with Log(6, 3000) as log:
        log.flip(3, 2000)
        log.refused("from position 3 on")
        equal(log.readable(), (all_but(6, 3), [3]), "what is readable")
        code, positions, answer = log.read(selectors=[("t", "T")])
        equal((code, positions), ("accepted", [1, 2]), "of a type")
        code, positions, answer = log.read(start=answer["next"],
                                           selectors=[("t", "T")])
        equal((code, positions, answer["next"]), ("damaged", [], 4),
              "of a type, further on")


def damage_in_an_old_segment_is_answered_while_the_writer_works():
    with Log(40, 100000) as log:
        expect(len(log.segments()) >= 4, "too few segments")
        where = log.flip_event(12)
        equal(where["segment"], 2, "segment")
        log.pipeline.up()
        equal(log.status(), "serving", "the writer reads only what is new")
        equal(log.readable(), (all_but(40, 12), [12]), "what is readable")
        log.pipeline.cairn("append", "other-1", "T", "0040")
        findings, report = log.verify()
        equal([(f["first_position"], f["last_position"], f["segment"],
                f["byte"], f["streams"]) for f in findings[:1]],
              [(12, 12, log.segments()[1], where["byte"], [])],
              "what verify says")
        equal(report["last_position"], 41, "last position")


def a_segment_that_is_missing_is_named():
    for reboot in (False, True):
        with Log(40, 100000) as log:
            first = int(log.segments()[1].split(".")[0])
            behind = int(log.segments()[2].split(".")[0])
            os.unlink(log.segment(2))
            if reboot:
                log.forget_page()
            log.refused("put the missing ones back")
            lost = list(range(first, behind))
            equal(log.readable(), (all_but(40, *lost), lost),
                  "what is readable")
            findings, report = log.verify()
            equal((findings[0]["first_position"],
                   findings[0]["last_position"]), (first, behind - 1),
                  "positions that verify misses")
            expect("segment number 2" in findings[0]["damage"],
                   findings[0]["damage"])
            equal(report["last_position"], 40, "last position")
            log.pipeline.cairn("log", "verify", log.pipeline.path("log"),
                               code=1)


def a_log_that_nobody_has_read_yet_does_not_look_empty():
    with Log(6, 100) as log:
        log.forget_page()
        log.start_publisher()
        equal(log.read()[0], "busy", "code while there is no page")
        path = log.pipeline.path("run", "log.control")
        # As if the writer had come no further than to make the page.
        log.pipeline.up()
        log.pipeline.kill("writer")
        wait_until(lambda: not log.alive(), "the writer to be gone")
        with open(path, "r+b") as file:
            for offset, value in ((40, 1), (48, 0), (56, 0), (72, 0)):
                file.seek(offset)
                file.write(value.to_bytes(8, "little"))
        log.pipeline.kill("publisher")
        os.unlink(log.pipeline.path("pids", "publisher"))
        log.socket = None
        log.start_publisher()
        equal(log.read()[0], "busy", "code before the log was read")


run([a_last_group_that_is_damaged_is_given_up_on_demand_only,
     damage_before_the_end_is_never_given_up,
     the_data_of_an_event_that_is_damaged_is_not_served,
     damage_in_an_old_segment_is_answered_while_the_writer_works,
     a_segment_that_is_missing_is_named,
     a_log_that_nobody_has_read_yet_does_not_look_empty])
