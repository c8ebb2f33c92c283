#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""Backups of a log that grows, restores, and what a projector says to them."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
# pylint: disable=wrong-import-position
from system import (FILES_SQL, History, Pipeline, equal, expect,  # noqa: E402
                    run, seed, wait_until)

SMALL = "log\n    segment = 1M\n    group_max = 256K\n"
EVENTS_MAX = 300000


def lines_of(count, first=1):
    """Commits of one to five events, about 300 bytes each."""
    out = []
    for n in range(first, first + count):
        fields = {"stream": f"item-{n % 97}", "type": "Counted",
                  "data": {"n": n, "text": "x" * 150},
                  "tags": [f"group:{n % 7}"]}
        if n % 5 != 0 and n != first + count - 1:
            fields["more"] = n % 3 != 0
        out.append(json.dumps(fields).encode() + b"\n")
    return b"".join(out)


def load(pipeline, data):
    """Appends lines in the background."""
    path = pipeline.path("lines")
    with open(path, "wb") as file:
        file.write(data)
    with open(path, "rb") as file:
        return pipeline.start_cairn("append", "--quiet", stdin=file,
                                    stdout=subprocess.DEVNULL)


def back_up(pipeline, code=0):
    done = pipeline.cairn("log", "backup", "--json", pipeline.path("log"),
                          pipeline.path("backup"), code=code)
    return json.loads(done.stdout) if code == 0 else done


def restore(pipeline, name, *args, code=0):
    done = pipeline.cairn("log", "restore", "--json",
                          pipeline.path("backup"), pipeline.path(name), *args,
                          code=code)
    return json.loads(done.stdout) if code == 0 else done


def verify(pipeline, name):
    report = pipeline.json("log", "verify", pipeline.path(name))[-1]
    equal(report["findings"], 0, f"damage in {name}")
    equal(report["unfinished"], False, f"an unfinished end of {name}")
    return report


def export(pipeline, name, *args):
    return pipeline.cairn("export", "--quiet", pipeline.path(name),
                          *args).stdout.splitlines(keepends=True)


def commits_of(lines):
    commits, commit = [], []
    for line in lines:
        commit.append(line)
        if not json.loads(line).get("more"):
            commits.append(commit)
            commit = []
    equal(commit, [], "lines behind the last commit")
    return commits


def inodes(pipeline):
    folder = pipeline.path("backup")
    return {name: os.stat(os.path.join(folder, name)).st_ino
            for name in sorted(os.listdir(folder)) if name.endswith(".log")}


class Small:
    """A pipeline with short segments, for the length of a case."""

    def __init__(self, projections=()):
        self.projections = projections

    def __enter__(self):
        self.pipeline = Pipeline(self.projections)
        self.pipeline.config("writer", SMALL)
        self.pipeline.up()
        return self.pipeline

    def __exit__(self, *what):
        self.pipeline.close()


class Feeder(threading.Thread):
    """Appends events for as long as it is not stopped."""

    def __init__(self, pipeline):
        super().__init__(daemon=True)
        self.process = pipeline.start_cairn("append", "--quiet",
                                            stdin=subprocess.PIPE,
                                            stdout=subprocess.DEVNULL)
        self.count = 0
        self.stop = False

    def run(self):
        with self.process.stdin as pipe:
            while not self.stop and self.count < EVENTS_MAX:
                pipe.write(lines_of(200, self.count + 1))
                self.count += 200

    def finish(self):
        self.stop = True
        self.join()
        equal(self.process.wait(), 0, "the exit code of the load")


def backups_under_load_are_prefixes_of_the_log():
    with Small() as p:
        feeder = Feeder(p)
        feeder.start()
        ends = [0]
        while len(ends) < 4:
            wait_until(lambda: p.status()["writer"].get("position", 0) >
                       ends[-1] + 1000, "more events")
            report = back_up(p)
            found = verify(p, "backup")
            equal(found["last_position"], report["last_position"],
                  "the end of the backup")
            expect(report["last_position"] > ends[-1],
                   f"no backup has more than {ends}")
            saved = restore(p, f"restored-{len(ends)}")
            ends.append(report["last_position"])
            equal(saved["last_position"], ends[-1], "the end of the restore")
            expect(saved["log"] != report["log"], "a restore keeps the log id")
        feeder.finish()
        live = export(p, "log")
        equal(len(live), feeder.count, "events in the log")
        for number, end in enumerate(ends[1:], 1):
            verify(p, f"restored-{number}")
            expect(export(p, f"restored-{number}") == live[:end],
                   f"backup {number} is no prefix of the log")
        only_what_is_new_is_copied(p)


def only_what_is_new_is_copied(p):
    back_up(p)
    before = inodes(p)
    equal(back_up(p)["copied"], 0, "segments copied when nothing is new")
    equal(inodes(p), before, "files when nothing is new")
    p.cairn("append", "one-1", "More", "1")
    report = back_up(p)
    after = inodes(p)
    changed = [name for name in after if after[name] != before.get(name)]
    equal((report["copied"], changed), (1, [max(after)]),
          "what one more event copies")
    process = load(p, lines_of(4000))
    equal(process.wait(), 0, "the exit code of the load")
    report = back_up(p)
    later = inodes(p)
    changed = [name for name in later if later[name] != after.get(name)]
    equal(changed, sorted(later)[len(after) - 1:], "files that are new")
    equal(report["copied"], len(changed), "segments copied")
    equal(report["segments"], len(later), "segments of the backup")
    verify(p, "backup")


def a_point_in_time_is_the_end_of_a_commit():
    rng = random.Random(seed())
    with Small() as p:
        for part in range(4):
            p.cairn("append", "--quiet", data=lines_of(1000, part * 1000 + 1))
        back_up(p)
        lines = export(p, "backup")
        commits = commits_of(lines)
        chosen = [1, 2, 3, len(lines) - 1, len(lines), len(lines) + 5]
        chosen += [rng.randrange(1, len(lines)) for _ in range(3)]
        for position in chosen:
            wanted = [line for commit in commits for line in commit
                      if json.loads(commit[-1])["position"] <= position]
            check_restored(p, wanted, "--to", str(position))
        for _ in range(3):
            at = json.loads(rng.choice(lines))
            wanted = [line for line in lines
                      if json.loads(line)["time_us"] <= at["time_us"]]
            check_restored(p, wanted, "--to", "@" + at["time"])
        for time in ("@2001-01-01", "@0"):
            done = restore(p, "restored", "--to", time, code=1)
            expect(b"nothing to restore" in done.stderr, done.stderr)
        check_writable(p, lines)


def check_restored(p, wanted, *args):
    if not wanted:
        done = restore(p, "restored", *args, code=1)
        expect(b"nothing to restore" in done.stderr, done.stderr)
        return
    restore(p, "restored", *args)
    verify(p, "restored")
    expect(export(p, "restored") == wanted, f"another content at {args}")
    shutil.rmtree(p.path("restored"))


def check_writable(p, lines):
    """The daemons go on with a restored log."""
    restore(p, "restored", "--to", "1500")
    p.dev("down")
    shutil.rmtree(p.path("log"))
    os.rename(p.path("restored"), p.path("log"))
    p.up()
    p.cairn("append", "new-1", "Begun", "1")
    events = p.json("read")
    end = len(events) - 1
    expect(1495 <= end <= 1500, f"the restored log ended at {end}")
    equal(events[:-1], [{name: value for name, value in json.loads(l).items()
                         if name not in ("command", "more")}
                        for l in lines[:end]], "events")
    verify(p, "log")
    done = back_up(p, code=1)
    expect(b"another log" in done.stderr, done.stderr)


def a_killed_backup_is_whole_and_goes_on():
    rng = random.Random(seed())
    with Small() as p:
        p.cairn("append", "--quiet", data=lines_of(1000))
        end = back_up(p)["last_position"]
        p.cairn("append", "--quiet", data=lines_of(11000))
        killed = 0
        for number in range(60):
            p.cairn("append", "--quiet", data=lines_of(100))
            process = p.start_cairn("log", "backup", p.path("log"),
                                    p.path("backup"),
                                    stdout=subprocess.DEVNULL,
                                    stderr=subprocess.PIPE)
            try:
                process.wait(timeout=rng.uniform(0.002, 0.015))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL if number % 2 == 0
                                    else signal.SIGINT)
            code = process.wait()
            expect(code in (0, 130, -signal.SIGKILL, -signal.SIGINT),
                   f"exit code {code}: {process.stderr.read()!r}")
            process.stderr.close()
            killed += code != 0
            found = verify(p, "backup")["last_position"]
            expect(found >= end, f"the backup went back from {end} to {found}")
            end = found
            if killed == 6:
                break
        expect(killed == 6, "backups end before they can be killed")
        back_up(p)
        verify(p, "backup")
        expect(export(p, "backup") == export(p, "log"), "another content")


def an_interrupt_says_so():
    with Small() as p:
        p.cairn("append", "--quiet", data=lines_of(11000))
        for _ in range(50):
            process = p.start_cairn("log", "backup", p.path("log"),
                                    p.path("backup"),
                                    stdout=subprocess.DEVNULL,
                                    stderr=subprocess.PIPE)
            wait_until(lambda pid=process:
                       os.path.exists(p.path("backup", "backup.tmp")) or
                       pid.poll() is not None, "the first segment")
            process.send_signal(signal.SIGINT)
            text = process.communicate()[1]
            if process.returncode == 130:
                expect(b"the next run goes on" in text, text)
                break
            shutil.rmtree(p.path("backup"))
        equal(process.returncode, 130, "the exit code of an interrupted run")
        back_up(p)
        expect(export(p, "backup") == export(p, "log"), "another content")


def an_interrupted_restore_leaves_no_log():
    with Small() as p:
        p.cairn("append", "--quiet", data=lines_of(11000))
        back_up(p)
        for _ in range(50):
            process = p.start_cairn("log", "restore", p.path("backup"),
                                    p.path("restored"),
                                    stdout=subprocess.DEVNULL,
                                    stderr=subprocess.PIPE)
            wait_until(lambda pid=process:
                       os.path.exists(p.path("restored", "restoring")) or
                       pid.poll() is not None, "it to begin")
            process.send_signal(signal.SIGINT)
            text = process.communicate()[1]
            if process.returncode == 130:
                break
            shutil.rmtree(p.path("restored"))
        equal(process.returncode, 130, f"the exit code, with {text}")
        equal([n for n in os.listdir(p.path("restored")) if n != "lock"], [],
              "what an interrupted restore leaves")
        restore(p, "restored")
        expect(export(p, "restored") == export(p, "log"), "another content")


def on_terminal(p, *args, **more):
    """What a command writes to standard error, which is a terminal."""
    master, slave = os.openpty()
    try:
        process = p.start_cairn(*args, stderr=slave, **more)
        os.close(slave)
        text = b""
        while True:
            try:
                part = os.read(master, 65536)
            except OSError:  # nobody has it open any more
                break
            text += part
        equal(process.wait(), 0, f"exit code of {args}, which said {text}")
        return text.decode()
    finally:
        os.close(master)


def a_terminal_is_told_how_far_it_is():
    progress = (r"%s: +\d+ %%, position [\d,]+, [\d.,]+ ?(\w+|events)/s, "
                r"about \d+ s left")
    with Small() as p:
        p.cairn("append", "--quiet", data=lines_of(4000))
        with open(p.path("lines"), "wb") as lines:
            said = on_terminal(p, "export", p.path("log"), stdout=lines)
        expect(re.search(progress % "export", said), said)
        for verb, source, name in (("backup", "log", "backup"),
                                   ("restore", "backup", "restored")):
            said = on_terminal(p, "log", verb, p.path(source), p.path(name),
                               stdout=subprocess.DEVNULL)
            expect(re.search(progress % verb, said), said)
            expect(said.endswith("\r\x1b[K"), f"the line stays: {said}")
        with open(p.path("lines"), "rb") as lines:
            said = on_terminal(p, "import", stdin=lines,
                               stdout=subprocess.DEVNULL)
        expect(re.search(r"\d+ %, [\d.]+ \w+/s, about \d+ s left", said), said)
        for args in (("log", "backup", p.path("log"), p.path("again")),
                     ("log", "restore", p.path("backup"), p.path("r2")),
                     ("export", p.path("log"))):
            expect(b"left" not in p.cairn(*args).stderr, "progress in a pipe")


def a_flipped_bit_in_a_backup_is_named():
    rng = random.Random(seed())
    with Small() as p:
        p.cairn("append", "--quiet", data=lines_of(6000))
        back_up(p)
        name = min(inodes(p))
        path = p.path("backup", name)
        os.chmod(path, 0o600)
        for _ in range(5):
            at = rng.randrange(os.path.getsize(path))
            flip(path, at)
            done = restore(p, "restored", code=1)
            expect(name.encode() in done.stderr and b"byte" in done.stderr,
                   f"byte {at}: {done.stderr}")
            equal([name for name in os.listdir(p.path("restored"))
                   if name != "lock"], [], "what a failed restore leaves")
            flip(path, at)
        restore(p, "restored")


def flip(path, at):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 8]))


def wrong_places_are_refused():
    with Small() as p:
        p.cairn("append", "a-1", "T", "1")
        log = p.path("log")
        inside = os.path.join(log, "backup")
        os.symlink(log, p.path("link"))
        for place in (log, inside, p.path("link"), log + "/./",
                      os.path.join(p.path("link"), "b")):
            done = p.cairn("log", "backup", log, place, code=2)
            expect(b"a backup belongs elsewhere" in done.stderr, done.stderr)
        expect(not os.path.exists(inside), "a directory was made in the log")
        back_up(p)
        done = p.cairn("log", "restore", p.path("backup"), log, code=1)
        expect(b"not empty" in done.stderr, done.stderr)
        done = p.cairn("log", "restore", p.path("backup"),
                       p.path("backup", "x"), code=2)
        expect(b"lies in it" in done.stderr, done.stderr)
        other = os.path.join(p.top, "elsewhere")
        done = p.cairn("--run", other, "log", "backup", log, p.path("b2"),
                       code=1)
        expect(b"--control" in done.stderr, done.stderr)
        p.cairn("--run", other, "log", "backup", log, p.path("b2"),
                "--control", p.path("run", "log.control"))
        for words in (("backup", log), ("restore", log),
                      ("restore", log, "x", "--to", "0"),
                      ("restore", log, "x", "--to", "@noon")):
            p.cairn("log", *words, code=2)


# ---- read models -----------------------------------------------------------

def state_of(p):
    return p.json("projection", "info", "files")[-1]


def stopped(p, words):
    def check():
        state = state_of(p)
        return state["state"] == "failed" and words in state["reason"]
    wait_until(check, f"a projection that says '{words}'")


def put_log(p, source):
    """Puts another log in the place of the pipeline's."""
    p.dev("down")
    shutil.rmtree(p.path("log"))
    shutil.copytree(source, p.path("log"))
    p.up()


def read_models_notice_another_log(kind):
    with Small([FILES_SQL]) as p:
        history = History(p.top)
        half = len(history.commits) // 2
        if kind == "publisher":
            p.dev("down")
            p.config("projector@files", "source\n    kind = publisher\n")
            p.up()
        p.cairn("append", "--quiet", data=b"".join(history.commits[:half]))
        back_up(p)
        p.cairn("append", "--quiet", data=b"".join(history.commits[half:]))
        p.cairn("projection", "wait", "files")
        # An old copy with the same id: the read model is ahead, and stays
        # where it is when the log has become as long again.
        put_log(p, p.path("backup"))
        stopped(p, "ahead of the log")
        p.cairn("append", "--quiet", data=b"".join(history.commits[half:]))
        equal(state_of(p)["state"], "failed", "the state of the projection")
        # A restored log is another one, wherever it ends.
        p.dev("down")
        shutil.rmtree(p.path("log"))
        restore(p, "log")
        p.up()
        stopped(p, "another log")
        p.cairn("append", "--quiet", data=b"".join(history.commits[half:]))
        equal(state_of(p)["state"], "failed", "the state of the projection")
        p.cairn("projection", "reset", "files")
        p.cairn("projection", "wait", "files")
        history.verify(p)


def a_mapped_read_model_notices_another_log():
    read_models_notice_another_log("mapped")


def a_read_model_behind_a_publisher_notices_another_log():
    read_models_notice_another_log("publisher")


run([backups_under_load_are_prefixes_of_the_log,
     a_point_in_time_is_the_end_of_a_commit,
     a_killed_backup_is_whole_and_goes_on,
     an_interrupt_says_so,
     an_interrupted_restore_leaves_no_log,
     a_terminal_is_told_how_far_it_is,
     a_flipped_bit_in_a_backup_is_named,
     wrong_places_are_refused,
     a_mapped_read_model_notices_another_log,
     a_read_model_behind_a_publisher_notices_another_log])
