#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""Readers that follow with long polls while a real history is imported see
every position once, in order, none above the watermark."""

import os
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
# pylint: disable=wrong-import-position
import wire  # noqa: E402
from system import (BUILD, Failure, History, Pipeline, equal,  # noqa: E402
                    expect, run, wait_until)

try:
    import zmq
except ImportError:
    print("SKIP: python3-zmq is not installed")
    sys.exit(77)

CONTEXT = zmq.Context()


class Follower(threading.Thread):
    """Reads on from position 1 until it has seen `last`."""

    def __init__(self, pipeline, event_max):
        super().__init__(daemon=True)
        self.endpoint = "ipc://" + pipeline.path("run", "queries")
        self.control = pipeline.path("run", "log.control")
        self.event_max = event_max
        self.last = None  # set when it is known
        self.failure = None
        self.answers = self.waits = self.seen = 0

    def watermark_now(self):
        with open(self.control, "rb") as file:
            file.seek(48)
            return int.from_bytes(file.read(8), "little")

    def follow(self):
        socket = CONTEXT.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVTIMEO, 30000)
        socket.connect(self.endpoint)
        start = 1
        while self.last is None or self.seen < self.last:
            socket.send_multipart(wire.read(start=start, wait_ms=500,
                                            event_max=self.event_max))
            answer, events = wire.events(socket.recv_multipart())
            equal(answer["code"], 0, "code")
            limit = self.watermark_now()
            expect(answer["watermark"] <= limit,
                   f"the answer says {answer['watermark']}, the page {limit}")
            self.answers += 1
            self.waits += not events
            for event in events:
                equal(event["position"], self.seen + 1, "the next position")
                expect(event["position"] <= answer["watermark"],
                       f"{event['position']} is above the watermark")
                self.seen += 1
            start = answer["next"]
            equal(start, self.seen + 1, "where to go on")
        socket.close()

    def run(self):
        try:
            self.follow()
        except Exception as problem:  # pylint: disable=broad-except
            self.failure = problem


def followers_see_every_position_once_in_order():
    pipeline = Pipeline()
    try:
        history = History(pipeline.top)
        pipeline.up()
        followers = [Follower(pipeline, n) for n in (1000, 17, 0)]
        for follower in followers:
            follower.start()
        # The longer part at once, then a dozen pieces that all have to see.
        commits, appended = history.commits, 0
        size = len(commits) // 24
        pieces = [commits[:-12 * size]] + [commits[len(commits) - i * size:]
                                           [:size] for i in range(12, 0, -1)]
        for piece in pieces:
            lines = b"".join(piece)
            pipeline.cairn("append", "--quiet", data=lines)
            appended += lines.count(b"\n")
            wait_until(lambda: all(f.seen == appended or f.failure
                                   for f in followers), "those who follow")
        equal(appended, history.events, "events appended")
        for follower in followers:
            follower.last = history.events
        for follower in followers:
            follower.join(60)
            if follower.failure is not None:
                raise Failure(follower.failure)
            expect(not follower.is_alive(), "a follower does not end")
            equal(follower.seen, history.events, "events seen")
            expect(follower.answers >= len(pieces), "in few answers")
    finally:
        pipeline.close()


def cairn_read_follow_shows_the_same():
    pipeline = Pipeline()
    try:
        history = History(pipeline.top)
        pipeline.up()
        with tempfile.TemporaryFile() as out:
            follower = pipeline.start_cairn(
                "read", "--follow", "--json", "--limit", str(history.events),
                stdout=out)
            pipeline.cairn("append", "--quiet", data=history.lines)
            try:
                equal(follower.wait(60), 0, "its exit code")
            except subprocess.TimeoutExpired as problem:
                follower.kill()
                raise Failure("cairn read --follow does not end") from problem
            out.seek(0)
            positions = [int(line.split(b":", 1)[1].split(b",", 1)[0])
                         for line in out]
        equal(positions, list(range(1, history.events + 1)), "positions")
    finally:
        pipeline.close()


expect(os.path.exists(BUILD), BUILD)
run([followers_see_every_position_once_in_order,
     cairn_read_follow_shows_the_same])
