#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""The command `cairn`, as a person at a terminal and a script use it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
# pylint: disable=wrong-import-position
from system import (Pipeline, equal, expect, run,  # noqa: E402
                    wait_until)

DONE, FAILED, USAGE, CONFLICT, UNREACHABLE, UNKNOWN = range(6)


def line(stream, **more):
    fields = {"stream": stream, "type": "Happened", **more}
    return json.dumps(fields).encode() + b"\n"


def said(done):
    return (done.stdout + done.stderr).decode()


def count_of(pipeline):
    return pipeline.status()["writer"]["position"]


class Up:
    """A running pipeline for the length of a case."""

    def __enter__(self):
        self.pipeline = Pipeline()
        self.pipeline.up()
        return self.pipeline

    def __exit__(self, *what):
        self.pipeline.close()


# ---- appending -------------------------------------------------------------

def one_event_is_stored_as_it_was_given():
    with Up() as p:
        done = p.cairn("append", "order-1", "Placed", '{"total":  1.50}',
                       "--meta", '{"by":"me"}', "--tag", "customer:1",
                       "--tag", "shop:2", "--schema", "3", "--expect", "none")
        equal(said(done), "accepted: position 1, version 1\n", "what it says")
        p.cairn("append", "order-1", "Noted", "no JSON at all")
        p.cairn("append", "order-1", "Seen", "-", data=b"\xff\x00\xfe")
        p.cairn("append", "order-1", "Empty")
        found = p.json("read", "order-1")
        equal([(e["version"], e["type"]) for e in found],
              [(1, "Placed"), (2, "Noted"), (3, "Seen"), (4, "Empty")],
              "versions and types")
        equal(found[0]["data"], {"total": 1.5}, "data")
        equal(found[0]["meta"], {"by": "me"}, "meta")
        equal(found[0]["tags"], ["customer:1", "shop:2"], "tags")
        equal(found[0]["schema"], 3, "schema")
        equal(found[1]["data_text"], "no JSON at all", "text")
        equal(found[2]["data_base64"], "/wD+", "bytes")
        # What is stored is what came, blanks and all.
        raw = p.cairn("read", "order-1", "--limit", "1").stdout
        expect(b'{"total":  1.50}' in raw, raw)


def every_outcome_has_its_exit_code():
    with Up() as p:
        command = str(uuid.uuid4())
        p.cairn("append", "a-1", "X", "--expect", "exists", code=CONFLICT)
        p.cairn("append", "a-1", "X", "--expect", "none", "--command",
                command)
        again = p.cairn("append", "a-1", "X", "--expect", "none",
                        "--command", command)
        equal(said(again), "repeated: position 1, version 1\n", "a retry")
        done = p.cairn("append", "a-1", "X", "--expect", "none",
                       code=CONFLICT)
        expect("conflict" in said(done) and "version 1" in said(done),
               said(done))
        done = p.cairn("append", "a-1", "Y", "--command", command,
                       code=FAILED)
        expect("command id" in said(done), said(done))
        for wrong in (["append", "a-1"], ["append", "--colour", "a-1", "X"],
                      ["append", "a-1", "X", "--expect", "maybe"],
                      ["append", "a-1", "X", "--meta", "{"],
                      ["append", "a-1", "X", "--command", "12"],
                      ["append", "", "X"], ["append", "$own", "X"],
                      ["read", "--from", "yesterday"],
                      ["read", "--limit", "0"], ["read", "--to", "0"],
                      ["read", "--to", "@noon"], ["stream", "info"],
                      ["projection", "dance"], ["log", "verify"], ["dance"],
                      []):
            done = p.cairn(*wrong, code=USAGE)
            expect("try: cairn" in said(done), f"{wrong}: {said(done)}")
        equal(count_of(p), 1, "events stored by all this")
        p.kill("publisher")
        done = p.cairn("read", "--timeout", "1", code=UNREACHABLE)
        expect("queries" in said(done), said(done))
        p.kill("gateway")
        done = p.cairn("append", "a-1", "X", "--timeout", "1",
                       code=UNREACHABLE)
        expect("not reachable" in said(done), said(done))
        done = p.cairn("status", code=UNREACHABLE)
        equal(said(done).count("DOES NOT ANSWER"), 2, said(done))


def silence_is_an_unknown_outcome_and_a_retry_tells():
    with Up() as p:
        command = str(uuid.uuid4())
        p.kill("writer", signal.SIGSTOP)
        try:
            done = p.cairn("append", "a-1", "X", "--command", command,
                           "--timeout", "1", code=UNKNOWN)
            expect("same command id" in said(done), said(done))
        finally:
            p.kill("writer", signal.SIGCONT)
        done = p.cairn("append", "a-1", "X", "--command", command)
        equal(len(p.json("read")), 1, "events after the retry")


BAD_LINES = [
    (b'{"stream":"a-1"', "not valid JSON"),
    (b'[1]', "object"),
    (b'{"type":"X"}', "stream"),
    (b'{"stream":"a-1"}', "type"),
    (b'{"stream":5,"type":"X"}', "stream"),
    (b'{"stream":"a-1","type":"X","colour":1}', "colour"),
    (b'{"stream":"a-1","type":"X","type":"Y"}', "type"),
    (b'{"stream":"a\\u0000b","type":"X"}', "stream"),
    (b'{"stream":"a\\u0007","type":"X"}', "stream"),
    (b'{"stream":"$a","type":"X"}', "stream"),
    (b'{"stream":"' + b"s" * 256 + b'","type":"X"}', "stream"),
    (b'{"stream":"a-1","type":"X","id":"12"}', "id"),
    (b'{"stream":"a-1","type":"X","command":"12"}', "command"),
    (b'{"stream":"a-1","type":"X","expect":"maybe"}', "expect"),
    (b'{"stream":"a-1","type":"X","expect":-1}', "expect"),
    (b'{"stream":"a-1","type":"X","expect":1.5}', "expect"),
    (b'{"stream":"a-1","type":"X","tags":"t"}', "tags"),
    (b'{"stream":"a-1","type":"X","tags":[' +
     b",".join(b'"t%d"' % i for i in range(33)) + b']}', "tags"),
    (b'{"stream":"a-1","type":"X","data_base64":"!"}', "data_base64"),
    (b'{"stream":"a-1","type":"X","data":1,"data_text":"1"}', "data"),
    (b'{"stream":"a-1","type":"X","more":1}', "more"),
    (b'{"stream":"a-1","type":"X","schema":-1}', "schema"),
    (b'{"stream":"a-\xff","type":"X"}', "byte 0xff"),
]


def a_bad_line_is_named_with_field_and_reason():
    with Up() as p:
        stored = 0
        for bad, word in BAD_LINES:
            data = line("good-1") + b"\n" + bad + b"\n" + line("good-2")
            done = p.cairn("append", data=data, code=FAILED)
            expect("line 3: " in said(done) and word in said(done) and
                   "line 3: not stored" not in said(done),
                   f"{bad[:60]}: {said(done)}")
            stored += 1
            equal(count_of(p), stored,
                  f"events, for it stops at {bad[:60]}")
        data = b"".join(line("g-1") + bad + b"\n" for bad, _ in BAD_LINES)
        done = p.cairn("append", "--keep-going", data=data, code=FAILED)
        for number in range(len(BAD_LINES)):
            expect(f"line {number * 2 + 2}: " in said(done), said(done))
        equal(count_of(p), stored + len(BAD_LINES),
              "events, for it goes on behind bad lines")


def a_bad_line_keeps_its_whole_commit_out():
    with Up() as p:
        data = (line("a-1", more=True) + line("b-1", more=True) +
                b'{"stream":"c-1","type":7,"more":true}\n' + line("d-1") +
                line("e-1"))
        done = p.cairn("append", "--keep-going", data=data, code=FAILED)
        expect("line 3: type" in said(done) and "line 1" in said(done),
               said(done))
        equal([e["stream"] for e in p.json("read")], ["e-1"], "streams")
        done = p.cairn("append", data=line("f-1", more=True), code=FAILED)
        expect("ends inside the commit" in said(done), said(done))
        equal(count_of(p), 1, "events")


def refused_commits_stop_or_do_not_as_one_likes():
    with Up() as p:
        data = (line("a-1", expect=0) + line("a-1", expect=0) +
                line("b-1", expect="exists") + line("c-1"))
        done = p.cairn("append", "--window", "1", data=data, code=CONFLICT)
        expect("line 2: conflict" in said(done), said(done))
        equal(count_of(p), 1, "events, for it stops at the first conflict")
        done = p.cairn("append", "--keep-going", "--json", data=data,
                       code=CONFLICT)
        outcomes = {o["line"]: o["outcome"]
                    for o in map(json.loads, done.stdout.splitlines())}
        equal(outcomes, {1: "conflict", 2: "conflict", 3: "conflict",
                         4: "accepted"}, "outcomes by line")
        # What only the gateway judges is told with its line, too.
        done = p.cairn("append", code=FAILED, data=line("d-1") +
                       line("d-1", tags=["t", "t"]))
        expect("line 2: invalid: event 0: tag 1" in said(done), said(done))


# ---- reading ---------------------------------------------------------------

def fill(p):
    """Twelve events: order-1..3 in turn, two types, a tag on every third."""
    data = b"".join(
        line(f"order-{i % 3 + 1}", type="Even" if i % 2 else "Odd",
             data={"n": i + 1}, tags=["third"] if i % 3 == 0 else [])
        for i in range(12))
    p.cairn("append", "--quiet", data=data)


def numbers(p, *args):
    return [e["data"]["n"] for e in p.json("read", *args)]


def a_read_begins_and_ends_where_it_is_told():
    with Up() as p:
        fill(p)
        every = list(range(1, 13))
        times = [e["time"] for e in p.json("read")]
        cases = [([], every), (["--from", "start"], every),
                 (["--from", "5"], every[4:]), (["--from", "-3"], every[9:]),
                 (["--from", "-100"], every), (["--from", "end"], []),
                 (["--from", "13"], []), (["--limit", "2"], [1, 2]),
                 (["--from", "4", "--to", "6"], [4, 5, 6]),
                 (["--from", "@2001-01-01"], every),
                 (["--from", "@1"], every),
                 (["--from", "@2970-01-01T00:00:00Z"], []),
                 (["--from", "@" + times[0][:19] + "Z"], every),
                 (["--backward"], every[::-1]),
                 (["--backward", "--from", "3"], [3, 2, 1]),
                 (["--backward", "--limit", "2"], [12, 11]),
                 (["--backward", "--to", "11"], [12, 11]),
                 (["--to", "@2970-01-01"], every), (["--to", "@1"], []),
                 (["--to", "@0"], []), (["--from", "@0"], every),
                 (["--backward", "--to", "@0"], every[::-1]),
                 (["--to", "@" + times[0][:10]], []),
                 (["--backward", "--to", "@1"], every[::-1]),
                 (["--backward", "--to", "@2970-01-01"], []),
                 (["order-2"], [2, 5, 8, 11]),
                 (["order-2", "--from", "3"], [8, 11]),
                 (["order-2", "--from", "-1"], [11]),
                 (["order-2", "--backward", "--from", "2"], [5, 2]),
                 (["--tag", "third"], [1, 4, 7, 10]),
                 (["--tag", "third", "--type", "Even"], [4, 10]),
                 (["--category", "order", "--type", "Odd"], every[::2]),
                 (["--category", "stock"], []),
                 (["--stream", "order-1", "--stream", "order-3", "--limit",
                   "3"], [1, 3, 4])]
        for args, wanted in cases:
            equal(numbers(p, *args), wanted, f"read {' '.join(args)}")
        done = p.cairn("read", "order-9", code=FAILED)
        expect("no stream 'order-9'" in said(done), said(done))


def a_watch_shows_what_comes():
    with Up() as p:
        fill(p)
        with tempfile.TemporaryFile() as out:
            watcher = p.start_cairn("watch", "--json", "--limit", "3",
                                    "--type", "New", stdout=out)
            try:
                # It begins at the end of whenever it began, so send until it
                # has seen enough.
                def ended():
                    p.cairn("append", "order-1", "New", "1")
                    return watcher.poll() is not None
                wait_until(ended, "the end of the watch")
                equal(watcher.returncode, DONE, "its exit code")
            finally:
                if watcher.poll() is None:
                    watcher.kill()
                    watcher.wait()
            out.seek(0)
            seen = [json.loads(x) for x in out]
        equal(len(seen), 3, "events seen")
        expect(all(e["position"] > 12 for e in seen), seen)
        equal([e["version"] for e in seen],
              list(range(seen[0]["version"], seen[0]["version"] + 3)),
              "versions")


def what_is_read_can_be_appended_again():
    with Up() as p:
        p.cairn("append", "--quiet", data=(
            line("a-1", data={"x": [1, 2.50, "\u20ac"]}, meta={"m": 1},
                 tags=["t:1", "t:2"], schema=2, more=True,
                 correlation=str(uuid.uuid4()), causation=str(uuid.uuid4())) +
            line("b-1", data_text="line\none", content_type="text/x") +
            line("a-1", data_base64="AAECAw==")))
        kept = ("stream", "version", "type", "data", "data_text",
                "data_base64", "meta", "tags", "schema", "content_type",
                "correlation", "causation", "id")
        text = p.cairn("read", "--json").stdout
        with Up() as other:
            other.cairn("append", "--quiet", data=text)
            found = other.json("read")
        for a, b in zip(map(json.loads, text.splitlines()), found,
                        strict=True):
            equal({k: b.get(k) for k in kept}, {k: a.get(k) for k in kept},
                  "an event read and appended again")


def a_stream_and_the_files_of_a_log_are_told():
    with Up() as p:
        fill(p)
        info = p.json("stream", "info", "order-2")[0]
        equal((info["stream"], info["category"], info["version"],
               info["first_position"], info["last_position"],
               info["last_type"]),
              ("order-2", "order", 4, 2, 11, "Odd"), "stream info")
        expect(b"order-2" in p.cairn("stream", "info", "order-2").stdout,
               "the name")
        p.cairn("stream", "info", "order-9", code=FAILED)
        equal(p.json("log", "verify", p.path("log"))[-1]["events"], 12,
              "events that verify reads")
        records = p.json("log", "dump", p.path("log"), "--from", "11")
        equal([r["position"] for r in records if "position" in r], [11, 12],
              "positions that dump shows")
        status = p.status()
        equal((status["writer"]["state"], status["writer"]["position"],
               status["gateway"]["reachable"], status["publisher"]),
              ("serving", 12, True, {"reachable": True, "position": 12}),
              "status")
        expect(b"serving" in p.cairn("status").stdout, "the plain status")
        p.cairn("log", "verify", p.path("nowhere"), code=FAILED)


def a_writer_that_has_died_is_gone():
    with Up() as p, tempfile.TemporaryDirectory() as folder:
        equal(p.status()["writer"]["state"], "serving", "state")
        page, writer = p.path("run", "log.control"), p.pid("writer")
        os.kill(writer, signal.SIGKILL)
        wait_until(lambda: p.status()["writer"]["state"] == "gone",
                   "status to say so")
        # Dead and not buried, and the pid of somebody else.
        program = os.path.join(folder, "cairn-writer")
        shutil.copy("/bin/true", program)
        zombie = subprocess.Popen([program])
        other = subprocess.Popen(["sleep", "600"])
        try:
            os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
            for pid in (zombie.pid, other.pid):
                with open(page, "r+b") as file:
                    file.seek(64)
                    file.write(pid.to_bytes(8, "little"))
                equal(p.status()["writer"]["state"], "gone", "state")
                expect(b"gone" in p.cairn("status", code=FAILED).stdout,
                       "the plain status")
        finally:
            other.kill()
            other.wait()
            zombie.wait()


def a_closed_pipe_ends_it_and_a_full_disk_is_told():
    with Up() as p:
        fill(p)
        for args in (["read"], ["read", "--json"],
                     ["log", "dump", p.path("log")]):
            with open("/dev/full", "wb") as full:
                process = p.start_cairn(*args, stdout=full,
                                        stderr=subprocess.PIPE)
                _, errors = process.communicate(timeout=30)
            equal(process.returncode, FAILED, f"exit code of {args}")
            expect(b"cannot write the output" in errors, errors)


run([one_event_is_stored_as_it_was_given,
     every_outcome_has_its_exit_code,
     silence_is_an_unknown_outcome_and_a_retry_tells,
     a_bad_line_is_named_with_field_and_reason,
     a_bad_line_keeps_its_whole_commit_out,
     refused_commits_stop_or_do_not_as_one_likes,
     a_read_begins_and_ends_where_it_is_told,
     a_watch_shows_what_comes,
     what_is_read_can_be_appended_again,
     a_stream_and_the_files_of_a_log_are_told,
     a_writer_that_has_died_is_gone,
     a_closed_pipe_ends_it_and_a_full_disk_is_told])
