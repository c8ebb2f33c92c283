# SPDX-License-Identifier: MPL-2.0
"""Real daemons for system tests, started and stopped by scripts/dev.

A test file defines cases, functions named as statements, and ends with
run([case, ...]).  BUILD names the build folder; CASE=part runs only the cases
whose names contain it.
"""

import gzip
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build/gcc"))
EXAMPLE = os.path.join(BUILD, "examples", "git-history")
DEV = os.path.join(ROOT, "scripts", "dev")
FILES_SQL = os.path.join(ROOT, "examples", "git-history", "files.sql")
DATA = os.environ.get("CAIRN_TEST_DATA",
                      os.path.join(ROOT, "..", "shared", "data"))


class Failure(Exception):
    """What a test expected did not hold."""


def expect(condition, text):
    if not condition:
        raise Failure(text)


def equal(found, wanted, what):
    if found != wanted:
        raise Failure(f"{what}: found {found!r}, expected {wanted!r}")


def wait_until(condition, what, seconds=30):
    """Asks again and again, with a deadline; returns what is true."""
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise Failure(f"waited {seconds} s in vain for {what}")
        time.sleep(0.01)


class Pipeline:
    """The daemons in a directory of their own."""

    def __init__(self, projections=()):
        self.top = tempfile.mkdtemp(prefix="cairn-system-")
        self.dir = os.path.join(self.top, "r")
        os.makedirs(os.path.join(self.dir, "projections"))
        for path in projections:
            shutil.copy(path, os.path.join(self.dir, "projections"))
        self.env = dict(os.environ, BUILD=BUILD,
                        CAIRN_RUN=os.path.join(self.dir, "run"))

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def dev(self, *args, check=True, before=()):
        """Runs scripts/dev; `before` is a command that runs commands."""
        done = subprocess.run([*before, DEV, args[0], *args[1:], self.dir],
                              env=self.env, capture_output=True, text=True,
                              timeout=120, check=False)
        if check and done.returncode != 0:
            raise Failure(f"dev {' '.join(args)}: {done.stdout}{done.stderr}")
        return done

    def up(self):
        try:
            self.dev("up")
        except Failure:
            self.dev("down", check=False)  # some may run
            raise

    def close(self):
        self.dev("down", check=False)
        shutil.rmtree(self.top, ignore_errors=True)

    def pid(self, who):
        with open(self.path("pids", who), encoding="ascii") as file:
            return int(file.read())

    def kill(self, who, sig=signal.SIGKILL):
        os.kill(self.pid(who), sig)

    def log(self, who):
        with open(self.path("logs", who + ".log"), encoding="utf-8") as file:
            return file.read()

    def config(self, who, text):
        """Writes a drop-in that overrides what dev has written."""
        folder = self.path("etc", who + ".conf.d")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "test.conf"), "w",
                  encoding="utf-8") as file:
            file.write(text)

    def cairn(self, *args, data=None, code=0, timeout=120):
        """Runs the command; its exit code must be the one given, if any."""
        done = subprocess.run([os.path.join(BUILD, "bin", "cairn"), *args],
                              env=self.env, input=data, capture_output=True,
                              timeout=timeout, check=False)
        if code is not None and done.returncode != code:
            raise Failure(f"cairn {' '.join(args)}: exit {done.returncode}, "
                          f"expected {code}: {done.stdout[-500:]!r} "
                          f"{done.stderr[-1000:]!r}")
        return done

    def start_cairn(self, *args, **more):
        return subprocess.Popen([os.path.join(BUILD, "bin", "cairn"), *args],
                                env=self.env, **more)

    def json(self, *args):
        """What a command says with --json, as one object per line."""
        out = self.cairn(*args, "--json").stdout
        return [json.loads(line) for line in out.splitlines()]

    def status(self):
        done = self.cairn("status", "--json", code=None)
        return json.loads(done.stdout)


def not_restarted(code):
    """The unit of the writer leaves it as it is after this exit code."""
    with open(os.path.join(ROOT, "systemd", "cairn-writer.service"),
              encoding="utf-8") as file:
        codes, = re.findall(r"^RestartPreventExitStatus=(.*)$", file.read(),
                            re.M)
    expect(str(code) in codes.split(), f"systemd would restart after {code}")


class History:
    """A git history as lines for `cairn append`, and its truth."""

    def __init__(self, folder):
        real = os.path.join(DATA, "git-history", "libzmq.numstat.gz")
        self.truth = os.path.join(folder, "truth.tsv")
        numstat = os.path.join(folder, "numstat")
        if os.path.exists(real):
            self.name = "libzmq"
            with gzip.open(real, "rb") as file:
                text = file.read()
            with open(numstat, "wb") as file:
                file.write(text)
            shutil.copy(os.path.join(DATA, "git-history",
                                     "libzmq.truth.tsv"), self.truth)
        else:
            print(f"SKIP: {real} is not there; using a synthetic history")
            self.name = "synthetic"
            make_history(numstat, self.truth)
        self.lines = subprocess.run([os.path.join(EXAMPLE, "convert"),
                                     numstat], check=True,
                                    capture_output=True).stdout
        self.commits = []
        commit = []
        for line in self.lines.splitlines(keepends=True):
            commit.append(line)
            if b'"more":true' not in line:
                self.commits.append(b"".join(commit))
                commit = []
        equal(commit, [], "lines behind the last commit")
        self.events = sum(c.count(b"\n") for c in self.commits)

    def verify(self, pipeline, code=0):
        done = subprocess.run([os.path.join(EXAMPLE, "verify"),
                               pipeline.path("models", "files.db"),
                               self.truth], capture_output=True, text=True,
                              check=False)
        equal(done.returncode, code,
              f"verify said {done.stdout}{done.stderr}; its exit code")
        if self.name == "libzmq" and code == 0:
            expect("821 of 821 text files agree" in done.stdout, done.stdout)
        return done.stdout


def make_history(numstat, truth):
    subprocess.run([os.path.join(EXAMPLE, "make-history"), "--commits",
                    "1500", numstat, truth], check=True,
                   stdout=subprocess.DEVNULL)


def check_log(pipeline, history, each_once=True):
    """Every commit of the history is in the log, once, whole, in one piece;
    positions and the versions of every stream are dense.  Returns the events.
    """
    events = pipeline.json("read")
    equal([e["position"] for e in events], list(range(1, len(events) + 1)),
          "positions")
    versions = {}
    for event in events:
        stream = event["stream"]
        equal(event["version"], versions.get(stream, 0) + 1,
              f"the version of {stream} at position {event['position']}")
        versions[stream] = event["version"]
    found = {}
    at = 0
    while at < len(events):
        commit = events[at]["meta"]["commit"]
        end = at
        while end < len(events) and events[end]["meta"]["commit"] == commit:
            end += 1
        expect(commit not in found, f"commit {commit} is there twice, or in "
               f"two pieces, at position {at + 1}")
        found[commit] = [(e["stream"], e["type"], e["data"], e["meta"])
                         for e in events[at:end]]
        at = end
    for lines in history.commits if each_once else []:
        wanted = [json.loads(line) for line in lines.splitlines()]
        commit = wanted[0]["meta"]["commit"]
        equal(found.get(commit), [(e["stream"], e["type"], e["data"],
                                   e["meta"]) for e in wanted],
              f"commit {commit}")
    if each_once:
        equal(len(found), len(history.commits), "commits in the log")
    report = pipeline.json("log", "verify", pipeline.path("log"))[-1]
    equal(report["findings"], 0, "damage that log verify finds")
    return events


def seed():
    """The seed of this run; SEED=n repeats one."""
    value = int(os.environ.get("SEED") or random.SystemRandom().randrange(10**9))
    print(f"SEED={value}")
    return value


def run(cases):
    """Runs the cases, each with a name; ends the program."""
    failed = 0
    wanted = os.environ.get("CASE", "")
    for case in cases:
        if wanted not in case.__name__:
            continue
        began = time.monotonic()
        try:
            case()
        except Exception as problem:  # pylint: disable=broad-except
            failed += 1
            print(f"[  FAILED  ] {case.__name__}: {problem}")
            if not isinstance(problem, Failure):
                traceback.print_exc()
        else:
            print(f"[       OK ] {case.__name__} "
                  f"({time.monotonic() - began:.1f} s)")
        sys.stdout.flush()
    sys.exit(1 if failed else 0)
