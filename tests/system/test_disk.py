#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""Real daemons on a disk that is full, and on one that fails."""

import json
import os
import subprocess
import sys
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
# pylint: disable=wrong-import-position
import disk  # noqa: E402
import wire  # noqa: E402
from system import (BUILD, Pipeline, equal, expect,  # noqa: E402
                    not_restarted, run, wait_until)

try:
    import zmq
except ImportError:
    print("SKIP: python3-zmq is not installed")
    sys.exit(77)

CONTEXT = zmq.Context()
SQL = """--@ projection counts
--@ schema
CREATE TABLE counts (stream TEXT PRIMARY KEY, events INTEGER);
--@ on T
INSERT INTO counts VALUES (:stream, 1) ON CONFLICT (stream) DO
UPDATE SET events = events + 1;
"""


class Client:
    """Speaks to the gateway and the publisher, and remembers what it was
    told was stored."""

    def __init__(self, pipeline):
        self.pipeline = pipeline
        self.commands = self.connect("commands")
        self.queries = self.connect("queries")
        self.accepted = []  # commands

    def connect(self, name):
        socket = CONTEXT.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVTIMEO, 20000)
        socket.connect("ipc://" + self.pipeline.path("run", name))
        return socket

    def send(self, commands):
        """The outcomes, by command id."""
        self.commands.send_multipart(wire.append(commands))
        outcomes = []
        while len(outcomes) < len(commands):
            outcomes += wire.outcomes(self.commands.recv_multipart())
        self.accepted += [c for c in commands for o in outcomes
                          if o.id == c.id and o.code == "accepted"
                          and not o.repeated]
        return outcomes

    def read(self, **request):
        self.queries.send_multipart(wire.read(**request))
        answer, events = wire.events(self.queries.recv_multipart())
        equal(answer["code"], 0, f"code of a read: {answer.get('text')}")
        return answer, events

    def log(self):
        """Every event there is."""
        found, start = [], 1
        while True:
            answer, events = self.read(start=start)
            found += events
            start = answer["next"]
            if start > answer["watermark"]:
                return found

    def check_all(self):
        """What was accepted is there, in order, and nothing else is."""
        wanted = [e.data for c in self.accepted for e in c.events]
        equal([e["data"] for e in self.log()] == wanted, True,
              "whether the log holds just what was accepted")


def command(stream, length=2000):
    made = wire.Command([], command=uuid.uuid4())
    made.events = [wire.Event(stream, data=made.id.bytes * (length // 16))]
    return made


class Setup:
    """A pipeline whose log lies on a disk of its own."""

    def __init__(self, kind, writer, store_len=None):
        self.disk = disk.Disk(kind, store_len)
        self.pipeline = Pipeline()
        log = os.path.join(self.disk.path, "log")
        self.log_dir = log
        with open(self.pipeline.path("projections", "counts.sql"), "w",
                  encoding="utf-8") as file:
            file.write(SQL)
        self.pipeline.config("writer", f'log\n    directory = "{log}"\n'
                             + writer)
        for who in ("publisher", "projector@counts"):
            self.pipeline.config(who, f'log\n    directory = "{log}"\n')

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        try:
            self.pipeline.close()
        finally:
            self.disk.close()

    def has(self, suffix):
        return sorted(name for name in os.listdir(self.log_dir)
                      if name.endswith(suffix))

    def fill_all(self):
        """Takes also the space that a start makes for itself."""
        for name in self.has("prepared.tmp"):
            os.unlink(os.path.join(self.log_dir, name))
        self.disk.fill()

    def verify(self):
        report = self.pipeline.json("log", "verify", self.log_dir)[-1]
        equal(report["findings"], 0, "damage that log verify finds")


def fill_until_refused(client, next_stream, tries=3000):
    """Appends until there is no space; then nothing is stored any more."""
    for _ in range(tries):
        outcomes = client.send([command(next_stream()) for _ in range(16)])
        codes = {o.code for o in outcomes}
        expect(codes <= {"accepted", "no space"}, f"outcomes {codes}")
        if "no space" in codes:
            expect("full" in [o for o in outcomes
                              if o.code == "no space"][0].detail,
                   "the detail does not say that the disk is full")
            return
    raise AssertionError("the disk is not full")


def goes_on_reading(setup, client, stream):
    """While commands are refused, everything that reads does its work."""
    client.check_all()
    watermark = client.read(start=1, event_max=1)[0]["watermark"]
    answer, events = client.read(start=watermark + 1, wait_ms=50)
    equal(events, [], "events of a long poll on a full disk")
    answer, _ = client.read(start=1, selectors=[("s", stream)])
    expect(answer["stream_version"] > 0, "the stream is not found")
    setup.pipeline.cairn("projection", "wait", "counts", "end")
    setup.verify()


def resumes(setup, client, pid):
    """Space is back: so are writes, in the same process."""
    follower = setup.pipeline.start_cairn(
        "read", "--follow", "--json", "--limit", "1", "--from",
        str(len(client.log()) + 1), stdout=subprocess.PIPE)
    setup.disk.free()
    try:
        wait_until(lambda: client.send([command("back-1")])[0].code ==
                   "accepted", "a command to be accepted")
        wait_until(lambda: setup.pipeline.status()["writer"]["state"] ==
                   "serving", "the writer to serve")
        line = json.loads(follower.communicate(timeout=20)[0])
        equal(line["stream"], "back-1", "what the subscriber sees next")
    finally:
        follower.kill()
        follower.wait()
    equal(setup.pipeline.pid("writer"), pid, "pid of the writer")
    os.kill(pid, 0)
    expect("there is space again" in setup.pipeline.log("writer"),
           "the writer does not say that there is space again")


def starts_on_a_full_disk(setup, client, stream, next_stream):
    """A writer that is killed meanwhile comes back to where it was."""
    setup.pipeline.kill("writer")
    setup.fill_all()
    setup.pipeline.up()
    fill_until_refused(client, next_stream)
    equal(setup.pipeline.status()["writer"]["state"], "no space", "state")
    goes_on_reading(setup, client, stream)
    for again in client.accepted[0], client.accepted[-1]:
        outcome = client.send([again])[0]
        equal((outcome.code, outcome.repeated), ("accepted", True),
              "outcome of what had been accepted")
    return setup.pipeline.pid("writer")


def segments_on_a_full_disk(kind):
    """Neither the next segment can be made, nor the full one be sealed."""
    with Setup(kind, "    segment = 1M\n") as setup:
        setup.pipeline.up()
        client = Client(setup.pipeline)
        client.send([command("a-1")])
        wait_until(lambda: setup.has("prepared.tmp"), "the next segment")
        setup.disk.fill()
        fill_until_refused(client, lambda: "a-1")
        equal(len(setup.has(".log")), 2, "segments on a full disk")
        equal(setup.has(".ids"), [], "sealed segments on a full disk")
        equal(setup.pipeline.status()["writer"]["state"], "no space", "state")
        goes_on_reading(setup, client, "a-1")
        pid = starts_on_a_full_disk(setup, client, "a-1", lambda: "a-1")
        equal(setup.has(".ids"), [], "sealed segments on a full disk")
        refused = command("a-1")
        equal(client.send([refused])[0].code, "no space", "outcome")
        resumes(setup, client, pid)
        outcome = client.send([refused])[0]
        equal((outcome.code, outcome.repeated), ("accepted", False),
              "outcome of what was refused, with the same command id")
        for _ in range(60):  # through several more segments
            expect({o.code for o in client.send([command("a-1")] * 1)} ==
                   {"accepted"}, "a command is refused again")
        wait_until(lambda: len(setup.has(".ids")) ==
                   len(setup.has(".log")) - 1, "the segments to be sealed")
        client.check_all()
        setup.verify()


def a_table_on_a_full_disk(kind):
    """The version table cannot grow for the streams that come."""
    with Setup(kind, "    segment = 16M\ntable\n    slots = 256\n") as setup:
        setup.pipeline.up()
        client = Client(setup.pipeline)
        client.send([command("n-0", 16)])
        wait_until(lambda: setup.has("prepared.tmp"), "the next segment")
        setup.disk.fill()
        names = iter(range(1, 100000))
        fill_until_refused(client, lambda: f"n-{next(names)}")
        equal(len(setup.has(".log")), 1, "segments: it is not they")
        equal(setup.pipeline.status()["writer"]["state"], "no space", "state")
        goes_on_reading(setup, client, "n-1")
        pid = starts_on_a_full_disk(setup, client, "n-1",
                                    lambda: f"n-{next(names)}")
        resumes(setup, client, pid)
        outcomes = client.send([command(f"m-{i}") for i in range(1000)])
        equal({o.code for o in outcomes}, {"accepted"}, "outcomes")
        client.check_all()
        setup.verify()


def a_read_model_and_a_backup_on_a_full_disk(kind):
    """They are on a disk of their own; the pipeline goes on without them."""
    place = disk.Disk(kind)
    pipeline = Pipeline()
    backup = os.path.join(place.path, "backup")
    try:
        with open(pipeline.path("projections", "counts.sql"), "w",
                  encoding="utf-8") as file:
            file.write(SQL)
        pipeline.config("writer", "log\n    segment = 1M\n")
        pipeline.config("projector@counts", "target\n    sqlite = "
                        f'"{os.path.join(place.path, "counts.db")}"\n')
        pipeline.up()
        client = Client(pipeline)
        client.send([command("a-1")])
        pipeline.cairn("projection", "wait", "counts", "end")
        pipeline.cairn("log", "backup", pipeline.path("log"), backup)
        place.fill()
        for part in range(10):
            outcomes = client.send([command(f"b-{part}-{i}")
                                    for i in range(100)])
            equal({o.code for o in outcomes}, {"accepted"}, "outcomes")
        stuck = wait_until(
            lambda: [i for i in pipeline.json("projection", "info", "counts")
                     if i["state"] == "waiting"], "the projector to wait")[0]
        expect("full" in stuck["reason"], stuck)
        done = pipeline.cairn("log", "backup", pipeline.path("log"), backup,
                              code=1)
        expect(b"No space left" in done.stderr, done.stderr)
        equal(pipeline.json("log", "verify", backup)[-1]["last_position"], 1,
              "the end of the backup before")
        client.check_all()
        place.free()
        pipeline.cairn("projection", "wait", "counts", "end")
        equal(pipeline.json("projection", "info", "counts")[0]["state"],
              "live", "state of the projection")
        pipeline.cairn("log", "backup", pipeline.path("log"), backup)
        equal(pipeline.json("log", "verify", backup)[-1]["last_position"],
              1001, "the end of the backup")
    finally:
        try:
            pipeline.close()
        finally:
            place.close()


def start_writer(setup):
    """As dev does it, but ours to wait for."""
    log = open(setup.pipeline.path("logs", "writer.log"), "ab")
    log.write(b"--- start\n")
    log.flush()
    process = subprocess.Popen(
        [os.path.join(BUILD, "bin", "cairn-writer"), "-c",
         setup.pipeline.path("etc", "writer.conf")], stdout=log, stderr=log)
    log.close()
    with open(setup.pipeline.path("pids", "writer"), "w",
              encoding="ascii") as file:
        file.write(f"{process.pid}\n")
    return process


def forget_log(setup, client):
    for name in os.listdir(setup.log_dir):
        os.unlink(os.path.join(setup.log_dir, name))
    client.accepted.clear()


def forget_table(setup, _):
    os.unlink(os.path.join(setup.log_dir, "table.1"))


def tear_end(setup, client):
    """As if the power had gone in the last write, before a checkpoint."""
    forget_table(setup, client)
    dump = setup.pipeline.cairn("log", "dump", "--json", setup.log_dir).stdout
    last = [r for r in map(json.loads, dump.splitlines())
            if r.get("record") == "group"][-1]
    segment = os.path.join(setup.log_dir, setup.has(".log")[-1])
    with open(segment, "r+b") as file:
        file.seek(last["byte"] + 1024)
        file.write(bytes(512))
    client.accepted.pop()


def a_start_that_needs_space(kind):
    """For a new log, for what is to be made again, and for a copy of what is
    cut off: it waits."""
    with Setup(kind, "    segment = 1M\n") as setup:
        client = Client(setup.pipeline)
        setup.pipeline.up()
        for change in (forget_log, forget_table, tear_end):
            setup.pipeline.dev("down")
            change(setup, client)
            setup.fill_all()
            process = start_writer(setup)
            try:
                wait_until(lambda: "trying again" in
                           setup.pipeline.log("writer").rsplit("---", 1)[1],
                           "the writer to wait for space")
                if change != forget_log:  # else there is nothing to say of
                    equal(setup.pipeline.status()["writer"]["state"],
                          "recovering", "state")
                process.terminate()
                equal(process.wait(20), 0, "exit code while it waits")
                process = start_writer(setup)
                setup.disk.free()
                setup.pipeline.up()
                equal(client.send([command("a-1", 40000)])[0].code,
                      "accepted", "outcome")
                equal(process.poll(), None, "exit code of the writer")
                client.check_all()
                setup.verify()
                equal(len(setup.has(".bak")), change == tear_end,
                      "copies of what was cut off")
            finally:
                process.terminate()
                process.wait()


def a_sync_that_fails(kind):
    """The first failed sync ends the writer; what the page cache still shows
    afterwards is not believed."""
    with Setup(kind, "    segment = 4M\n", 160 << 20) as setup:
        for folder in ("logs", "pids"):
            os.makedirs(setup.pipeline.path(folder), exist_ok=True)
        setup.pipeline.up()
        setup.pipeline.dev("down")
        process = start_writer(setup)
        try:
            setup.pipeline.up()
            client = Client(setup.pipeline)
            for i in range(20):
                outcome = client.send([command(f"a-{i % 3}")])[0]
                equal(outcome.code, "accepted", "outcome")
            setup.disk.break_store()
            # So much that it reaches beyond what the store has room for
            # around the bytes that are there.
            lost = [command("lost-1", 40000) for _ in range(50)]
            codes = {o.code for o in client.send(lost)}
            equal(codes, {"unknown"}, "outcomes of the open group")
            equal(process.wait(20), 74, "exit code of the writer")
            not_restarted(74)
        finally:
            process.kill()
            process.wait()
        said = setup.pipeline.log("writer")
        expect("will not trust the page cache" in said, said[-1000:])
        client.check_all()  # reading goes on without it
        equal(setup.pipeline.status()["writer"]["state"], "failed", "state")

        # The page cache shows the group, the device does not have it.
        setup.disk.mend_store()
        segment = os.path.join(setup.log_dir, setup.has(".log")[-1])
        with open(segment, "rb") as file:
            cached = lost[-1].events[0].data in file.read()
        setup.pipeline.up()
        client.check_all()
        outcomes = client.send(lost)
        equal({o.code for o in outcomes}, {"accepted"}, "outcomes, again")
        equal({o.repeated for o in outcomes}, {False}, "repeated")
        client.check_all()
        setup.verify()

        # And the device, not only the page cache, has all of it now.
        setup.pipeline.dev("down")
        setup.disk.unmount()
        setup.disk.mount()
        setup.pipeline.up()
        client.check_all()
        setup.verify()
        print(f"{kind}: the page cache still {'' if cached else 'un'}"
              f"showed the lost group")
        expect(cached, "the page cache did not show the lost group: this "
               "test has shown nothing")


def case(function, kind):
    def named():
        function(kind)
    named.__name__ = f"{function.__name__}_of_{kind}"
    return named


disk.skip_unless_possible()
for missing in disk.MKFS.keys() - set(disk.kinds()):
    print(f"SKIP: {disk.MKFS[missing][0]} is not installed")
run([case(function, kind)
     for function in (segments_on_a_full_disk, a_table_on_a_full_disk,
                      a_start_that_needs_space,
                      a_read_model_and_a_backup_on_a_full_disk, a_sync_that_fails)
     for kind in disk.kinds()])
