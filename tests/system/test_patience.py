#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""The command waits as long as there is something to wait for, not longer."""

import os
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
# pylint: disable=wrong-import-position
import wire  # noqa: E402
from system import Pipeline, equal, expect, run, wait_until  # noqa: E402

try:
    import zmq
except ImportError:
    print("SKIP: python3-zmq is not installed")
    sys.exit(77)

DONE, FAILED, USAGE, CONFLICT, UNREACHABLE, UNKNOWN = range(6)
SEEN_SQL = """--@ projection seen
--@ schema
CREATE TABLE seen (position INTEGER);
--@ on Happened
INSERT INTO seen VALUES (:position);
"""
PIPELINE = Pipeline()
with open(PIPELINE.path("projections", "seen.sql"), "w",
          encoding="utf-8") as file:
    file.write(SEEN_SQL)


def happened(stream):
    return PIPELINE.json("append", stream, "Happened", "{}")[0]["last"]


def ends(process, code, what):
    try:
        equal(process.wait(10), code, f"exit code of {what}")
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        expect(False, f"{what} does not end")


def connections(path):
    with open("/proc/net/unix", encoding="ascii") as sockets:
        return sum(line.endswith(PIPELINE.path("run", path) + "\n")
                   for line in sockets)


def following_ends_at_the_last_event_that_was_asked_for():
    happened("a-1")
    last = str(happened("a-1"))
    for more in ((), ("--category", "a")):
        process = PIPELINE.start_cairn("read", "--follow", "--to", last,
                                       *more, stdout=subprocess.PIPE)
        ends(process, DONE, "read --follow --to")
        with process.stdout as out:
            equal(out.read().count(b"\n"), int(last), "events shown")


def an_append_that_was_refused_does_not_wait_for_more_lines():
    process = PIPELINE.start_cairn("append", stdin=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL)
    with process.stdin as lines:
        lines.write(b'{"stream":"b-1","type":"Happened","expect":7}\n'
                    b'{"stream":"b-2","type":"Happe')
        lines.flush()
        ends(process, CONFLICT, "append")


def waiting_for_a_projection_outlives_a_restart_of_its_projector():
    wanted = happened("c-1") + 1
    process = PIPELINE.start_cairn("projection", "wait", "seen", str(wanted),
                                   stdout=subprocess.DEVNULL)
    try:
        # Its connection is there: the path of the socket a second time.
        wait_until(lambda: connections("projections/seen") > 1, "it to wait")
        PIPELINE.dev("crash", "projector@seen")
        equal(happened("c-1"), wanted, "position")
        ends(process, DONE, "projection wait")
    finally:
        process.kill()
        process.wait()


def a_slow_answer_is_an_answer():
    """A publisher that takes longer than the command's patience before it
    asks once more."""
    endpoint = "ipc://" + PIPELINE.path("run", "slow")
    socket = zmq.Context.instance().socket(zmq.ROUTER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.bind(endpoint)
    stop = threading.Event()

    def serve():
        while not stop.is_set():
            if socket.poll(100) == 0:
                continue
            who, head, _ = socket.recv_multipart()
            request = wire.fields("READ", head)[0]
            time.sleep(1.3)  # the slowness itself, which is under test
            socket.send_multipart([who, wire.header(
                "EVENTS", request, 0, 1, 1, 0, 0, 0)])

    server = threading.Thread(target=serve)
    server.start()
    try:
        PIPELINE.cairn("--queries", endpoint, "read", code=DONE)
    finally:
        stop.set()
        server.join()
        socket.close()


try:
    PIPELINE.up()
    run([following_ends_at_the_last_event_that_was_asked_for,
         an_append_that_was_refused_does_not_wait_for_more_lines,
         waiting_for_a_projection_outlives_a_restart_of_its_projector,
         a_slow_answer_is_an_answer])
finally:
    PIPELINE.close()
