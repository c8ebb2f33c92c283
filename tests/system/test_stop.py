#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""A daemon that is told to stop says first what it has to say."""

import glob
import os
import random
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
# pylint: disable=wrong-import-position
import journal  # noqa: E402
import wire  # noqa: E402
from peer import local  # noqa: E402
from system import (BUILD, DEV, Pipeline, equal, expect, run,  # noqa: E402
                    seed, wait_until)
import zmq  # noqa: E402

CLIENTS = 24
WINDOW = 64   # commands of a client on their way
STOPS = 12
LONG = 400000  # events: to build their table again takes a while
SECONDS = 60  # for whatever is waited for
PUT_OFF = ("busy", "unknown", "stopping")


class Asker:
    """A client that never asks twice: it notes the first answer to each of
    its commands.  One that was put off would be held until it comes again,
    so it goes on over a new connection."""

    def __init__(self, pipeline, number, firsts):
        self.pipeline, self.number, self.firsts = pipeline, number, firsts
        self.count, self.open, self.again = 0, set(), False
        self.connect()

    def connect(self):
        self.client = local(self.pipeline)
        self.monitor = self.client.socket.get_monitor_socket(
            zmq.EVENT_DISCONNECTED)

    def close(self):
        self.client.socket.disable_monitor()
        self.client.close()

    def has_all(self):
        """Whether the daemon has gone, and all that it said is here."""
        return self.monitor.poll(0) != 0

    def send(self):
        """Fills the window."""
        room = WINDOW - len(self.open)
        if self.again or room < WINDOW // 2:
            return
        commands = []
        for _ in range(room):
            self.count += 1
            commands.append(wire.Command([wire.Event(
                f"s-{self.number}", data=b"x" * 200)]))
        self.client.socket.send_multipart(wire.append(commands))
        self.open.update(c.id for c in commands)

    def take(self):
        """Takes in one message if there is one; true if there was."""
        try:
            frames = self.client.socket.recv_multipart(zmq.DONTWAIT)
        except zmq.Again:
            return False
        for outcome in wire.outcomes(frames):
            self.firsts.setdefault(outcome.id, outcome.code)
            self.open.discard(outcome.id)
            self.again |= outcome.code in PUT_OFF
        return True

    def renew(self):
        """A new connection, once all is answered; or what is not is lost."""
        self.close()
        self.connect()
        self.open.clear()
        self.again = False


class Crowd:
    """Many of them, and what they and those before them were told."""

    def __init__(self, pipeline, firsts=None):
        self.firsts = {} if firsts is None else firsts
        self.askers = [Asker(pipeline, i, self.firsts)
                       for i in range(CLIENTS)]

    def turn(self):
        for asker in self.askers:
            while asker.take():
                pass
            if asker.again and not asker.open:
                asker.renew()
            asker.send()

    def work(self, done, what):
        """Goes on until done() is true."""
        end = time.monotonic() + SECONDS
        while not done():
            expect(time.monotonic() < end, f"waited in vain for {what}")
            self.turn()

    def take(self, done, what):
        """Takes in answers, and sends nothing, until done() is true."""
        end = time.monotonic() + SECONDS
        over = False
        while not over:
            expect(time.monotonic() < end, f"waited in vain for {what}")
            over = done()
            for asker in self.askers:
                while asker.take():
                    pass

    def finish(self):
        self.take(lambda: not any(a.open for a in self.askers), "answers")

    def close(self):
        for asker in self.askers:
            asker.close()


def ids_in_log(pipeline):
    commits = journal.read_log(os.path.join(BUILD, "bin", "cairn"),
                               pipeline.path("log"))
    return {commit.id for commit in commits}


def restart(pipeline, who):
    """As systemd does it, while others go on."""
    return subprocess.Popen([DEV, "restart", who, pipeline.dir],
                            env=pipeline.env, stdout=subprocess.DEVNULL)


def stop(pipeline, who):
    """SIGTERM; returns what tells whether the process has ended."""
    pid = pipeline.pid(who)
    pipeline.kill(who, signal.SIGTERM)

    def ended():
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                return file.read().rpartition(")")[2].split()[0] == "Z"
        except FileNotFoundError:
            return True
    return ended


def accepted(crowd):
    return sum(code == "accepted" for code in crowd.firsts.values())


def stop_the_writer_again_and_again(pipeline, crowd):
    rng = random.Random(seed())
    for _ in range(STOPS):
        goal = accepted(crowd) + 500
        crowd.work(lambda g=goal: accepted(crowd) >= g, "500 more")
        pause = time.monotonic() + rng.random() * 0.05
        crowd.work(lambda p=pause: time.monotonic() > p, "a moment")
        again = restart(pipeline, "writer")
        crowd.work(lambda a=again: a.poll() is not None, "the writer")
        expect(again.returncode == 0, "the writer did not come up again")
    crowd.finish()


def told(crowd, code):
    return {str(i) for i, c in crowd.firsts.items() if c == code}


def a_writer_that_stops_leaves_no_stored_command_unknown():
    pipeline = Pipeline()
    try:
        pipeline.up()
        crowd = Crowd(pipeline)
        stop_the_writer_again_and_again(pipeline, crowd)
        crowd.close()
        stored = ids_in_log(pipeline)
        counts = {c: len(told(crowd, c)) for c in
                  sorted(set(crowd.firsts.values()))}
        print(f"first answers: {counts}; {len(stored)} are stored")
        wrong = told(crowd, "unknown") & stored
        expect(not wrong, f"{len(wrong)} commands are stored, and were "
               f"answered 'unknown'")
        wrong = told(crowd, "accepted") - stored
        expect(not wrong, f"{len(wrong)} accepted commands are not there")
        wrong = (told(crowd, "stopping") | told(crowd, "busy")) & stored
        expect(not wrong, f"{len(wrong)} commands are stored, and were "
               f"answered 'nothing was stored'")
    finally:
        pipeline.close()


def a_gateway_that_stops_answers_what_it_has_handed_over():
    pipeline = Pipeline()
    rng = random.Random(seed())
    firsts = {}
    try:
        for _ in range(STOPS):
            pipeline.up()
            crowd = Crowd(pipeline, firsts)
            goal = accepted(crowd) + 500
            crowd.work(lambda c=crowd, g=goal: accepted(c) >= g, "500 more")
            pause = time.monotonic() + rng.random() * 0.05
            crowd.work(lambda p=pause: time.monotonic() > p, "a moment")
            crowd.take(stop(pipeline, "gateway"), "the end of the gateway")
            crowd.take(lambda c=crowd: all(a.has_all() for a in c.askers),
                       "what it said")
            # All of it has arrived; nothing may reach the next one.
            crowd.close()
        stored = ids_in_log(pipeline)
        silent = stored - {str(i) for i in firsts}
        print(f"{len(firsts)} first answers, {len(stored)} are stored")
        expect(not silent, f"{len(silent)} commands are stored, and were "
               f"never answered")
        wrong = told(crowd, "unknown") & stored
        expect(not wrong, f"{len(wrong)} commands are stored, and were "
               f"answered 'unknown'")
    finally:
        pipeline.close()


def a_gateway_that_does_not_listen_delays_the_end_for_a_second():
    pipeline = Pipeline()
    try:
        pipeline.up()
        mute = local(pipeline, "writer")
        mute.socket.send_multipart([wire.header("HELLO", 1, 2)])
        expect(wire.kind_of(mute.answer()[0]) == "WELCOME", "no welcome")
        began = time.monotonic()
        wait_until(stop(pipeline, "writer"), "the end of the writer")
        took = time.monotonic() - began
        expect(took > 0.9, f"it took {took:.1f} s")
        expect("did not take in" in pipeline.log("writer"),
               pipeline.log("writer")[-500:])
        expect(wire.kind_of(mute.answer()[0]) == "FAREWELL", "no farewell")
        mute.close()
    finally:
        pipeline.close()


def lines(count):
    """So many events, all of streams of their own, in large commits."""
    more, text = b'"more":true', []
    for i in range(count):
        last = i % 2000 == 1999 or i == count - 1
        text.append(b'{"stream":"s-%d","type":"T","data":1%s}\n' %
                    (i, b"" if last else b"," + more))
    return b"".join(text)


def a_start_that_takes_long_ends_when_it_is_told_to():
    pipeline = Pipeline()
    try:
        pipeline.up()
        pipeline.cairn("append", "--quiet", data=lines(LONG))
        pipeline.dev("down")
        tables = pipeline.path("log", "table.*")
        for path in glob.glob(tables):
            os.remove(path)
        with open(pipeline.path("logs", "alone.log"), "wb") as log:
            writer = subprocess.Popen(
                [os.path.join(BUILD, "bin", "cairn-writer"), "-c",
                 pipeline.path("etc", "writer.conf")], stderr=log)
        wait_until(lambda: glob.glob(tables) or writer.poll() is not None,
                   "a new version table")
        writer.send_signal(signal.SIGTERM)
        equal(writer.wait(timeout=20), 0, "its exit code")
        said = pipeline.log("alone")
        expect("told to stop" in said and ": ready" not in said, said)
        pipeline.up()
        expect("version table was built again" in pipeline.log("writer") or
               f"{LONG} of them were read again" in pipeline.log("writer"),
               pipeline.log("writer"))
        equal(pipeline.status()["writer"]["position"], LONG, "position")
        pipeline.cairn("append", "--expect", "1", "s-7", "T", "2")
    finally:
        pipeline.close()


def a_gateway_says_when_the_writer_goes_and_when_it_is_back():
    pipeline = Pipeline()
    try:
        pipeline.up()
        client, gone = local(pipeline), "the writer went away: clients are " \
            "told 'busy' until it is back"
        for times in range(1, 4):
            pipeline.kill("writer")
            wait_until(lambda n=times: pipeline.log("gateway").count(gone)
                       == n, "the gateway to notice it")
            command = wire.Command([wire.Event("a-1")])
            outcome, = client.append(command)
            equal(outcome.code, "busy", "without a writer")
            # Behind this a command is taken: the gateway has found it.
            pipeline.up()
            outcome, = client.append(command)
            equal((outcome.code, outcome.versions), ("accepted", [times]),
                  outcome.detail)
        client.close()
    finally:
        pipeline.close()


run([a_writer_that_stops_leaves_no_stored_command_unknown,
     a_gateway_that_stops_answers_what_it_has_handed_over,
     a_gateway_that_does_not_listen_delays_the_end_for_a_second,
     a_gateway_says_when_the_writer_goes_and_when_it_is_back,
     a_start_that_takes_long_ends_when_it_is_told_to])
