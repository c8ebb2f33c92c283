#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""Kills every daemon at random moments of an import, and looks what is left."""

import os
import random
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from system import (FILES_SQL, History, Pipeline, check_log, equal, expect,
                    run, seed)

KILLS_EACH = 6
DAEMONS = ["writer", "gateway", "publisher", "projector@files"]


class Feeder:
    """Feeds lines to `cairn append` and counts the outcomes that it prints."""

    def __init__(self, pipeline, *args):
        self.process = pipeline.start_cairn(
            "append", "--timeout", "60", "--json", *args,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        self.fed = 0
        self.outcomes = []
        self.errors = b""
        self.threads = [threading.Thread(target=self.read_out),
                        threading.Thread(target=self.read_err)]
        for thread in self.threads:
            thread.start()

    def read_out(self):
        for line in self.process.stdout:
            self.outcomes.append(line)

    def read_err(self):
        self.errors = self.process.stderr.read()

    def feed(self, commits):
        self.fed += len(commits)
        self.process.stdin.write(b"".join(commits))
        self.process.stdin.flush()

    def finish(self):
        self.process.stdin.close()
        code = self.process.wait(timeout=120)
        for thread in self.threads:
            thread.join()
        return code


def import_with_kills(pipeline, history, victims, rng, window):
    """Kills one after the other while the history is imported; returns how
    many of the kills came while commands were without an outcome."""
    feeder = Feeder(pipeline, "--window", str(window))
    step = len(history.commits) // (len(victims) + 1)
    in_flight = 0
    for i, victim in enumerate(victims):
        chunk = history.commits[i * step:(i + 1) * step]
        # The kill falls somewhere into the chunk.
        writer = threading.Thread(target=feeder.feed, args=(chunk,))
        writer.start()
        time.sleep(rng.random() * 0.01)
        waiting = feeder.fed - len(feeder.outcomes)
        pipeline.kill(victim)
        in_flight += waiting > 0
        pipeline.up()
        writer.join()
    feeder.feed(history.commits[len(victims) * step:])
    code = feeder.finish()
    equal(code, 0, f"exit code of the import, which said "
          f"{feeder.errors[-500:]!r}")
    equal(len(feeder.outcomes), len(history.commits), "outcomes")
    print(feeder.errors.decode().strip().splitlines()[-1])
    return in_flight


def check_all(pipeline, history):
    check_log(pipeline, history)
    pipeline.cairn("projection", "wait", "files", "end")
    history.verify(pipeline)


def an_import_survives_the_death_of_every_daemon():
    pipeline = Pipeline([FILES_SQL])
    try:
        rng = random.Random(seed())
        history = History(pipeline.top)
        victims = DAEMONS * KILLS_EACH
        rng.shuffle(victims)
        pipeline.up()
        in_flight = import_with_kills(pipeline, history, victims, rng, 32)
        print(f"{len(victims)} kills, {in_flight} of them while commands "
              f"were without an outcome")
        expect(len(victims) >= 20, "too few kills")
        expect(in_flight >= len(victims) // 2,
               f"only {in_flight} kills fell into the import")
        check_all(pipeline, history)
    finally:
        pipeline.close()


def the_writer_may_die_with_many_commands_in_flight():
    pipeline = Pipeline([FILES_SQL])
    try:
        rng = random.Random(seed())
        history = History(pipeline.top)
        pipeline.up()
        in_flight = import_with_kills(pipeline, history,
                                      ["writer", "gateway"] * 5, rng, 1024)
        expect(in_flight >= 5, f"only {in_flight} kills hit the import")
        check_all(pipeline, history)
    finally:
        pipeline.close()


def a_projector_may_die_again_and_again_while_it_catches_up():
    pipeline = Pipeline([FILES_SQL])
    try:
        rng = random.Random(seed())
        history = History(pipeline.top)
        pipeline.config("projector@files", "batch\n    max = 50\n")
        pipeline.up()
        pipeline.kill("projector@files")
        pipeline.cairn("append", "--quiet", data=history.lines)
        before = []
        for _ in range(20):
            pipeline.up()
            time.sleep(rng.random() * 0.05)
            before.append(pipeline.json("projection", "info",
                                        "files")[0]["checkpoint"])
            pipeline.kill("projector@files")
        expect(before == sorted(before), f"a checkpoint went back: {before}")
        pipeline.up()
        check_all(pipeline, history)
    finally:
        pipeline.close()


run([an_import_survives_the_death_of_every_daemon,
     the_writer_may_die_with_many_commands_in_flight,
     a_projector_may_die_again_and_again_while_it_catches_up])
