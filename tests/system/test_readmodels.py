#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""Read models in trouble: each event takes effect once, in order, or the
projection says that it does not."""

import os
import resource
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
# pylint: disable=wrong-import-position
from system import (BUILD, Pipeline, equal, expect, run,  # noqa: E402
                    wait_until)

try:
    import sqlite3
except ImportError:
    print("SKIP: python3 without sqlite3")
    sys.exit(77)

PUBLISHER = "source\n    kind = publisher\n"
TOTALS = """--@ projection totals
{select}
--@ schema
CREATE TABLE totals (n INTEGER NOT NULL, seen TEXT NOT NULL);
INSERT INTO totals VALUES (0, '');
--@ on Placed
UPDATE totals SET n = n + 1,
       seen = seen || ' ' || json_extract(:data, '$.n');
"""


class Projections:
    """A pipeline with projections, each given as SQL and configuration."""

    def __init__(self, **projections):
        self.pipeline = Pipeline()
        self.pipeline.config("writer", "log\n    segment = 128K\n")
        for name, (sql, config) in projections.items():
            with open(self.pipeline.path("projections", name + ".sql"), "w",
                      encoding="utf-8") as file:
                file.write(sql)
            if config:
                self.pipeline.config(f"projector@{name}", config)

    def __enter__(self):
        self.pipeline.up()
        return self.pipeline

    def __exit__(self, *what):
        self.pipeline.close()


def placed(*numbers, stream="order-1", event="Placed"):
    return b"".join(
        f'{{"stream":"{stream}","type":"{event}","data":{{"n":{n}}}}}\n'
        .encode() for n in numbers)


def query(pipeline, name, sql="SELECT n, seen FROM totals"):
    with sqlite3.connect(f"file:{pipeline.path('models', name + '.db')}"
                         "?mode=ro", uri=True) as database:
        return database.execute(sql).fetchall()


def info(pipeline, name):
    return pipeline.json("projection", "info", name)[0]


def failed(pipeline, name):
    return wait_until(lambda: [i for i in [info(pipeline, name)]
                               if i["state"] == "failed"],
                      f"projection {name} to fail", 10)[0]


# ---- the same through a publisher ------------------------------------------

def one_stream_is_projected_by_position_through_a_publisher():
    sql = TOTALS.format(select="--@ select stream order-1")
    with Projections(near=(sql, ""), far=(sql, PUBLISHER)) as pipeline:
        pipeline.cairn("append", "--quiet",
                       data=placed(*range(9), stream="stock-1") +
                       placed(1, 2, 3))
        pipeline.cairn("projection", "wait", "near", "end")
        pipeline.cairn("projection", "wait", "far", "end", "--timeout", "5")
        equal(query(pipeline, "near"), [(3, " 1 2 3")], "rows of the log")
        equal(query(pipeline, "far"), [(3, " 1 2 3")],
              "rows through a publisher")


def a_bad_event_behind_a_filter_stops_a_projection_through_a_publisher():
    sql = TOTALS.format(select="--@ select category order")
    with Projections(far=(sql, PUBLISHER)) as pipeline:
        # One commit, so that it is one batch; 'seen' may not be NULL.
        pipeline.cairn("append", "--quiet", data=b"".join(
            line.replace(b"}}\n", b'},"more":true}\n')
            for line in (placed(*range(5), stream="stock-1") +
                         placed(1)).splitlines(True)) +
            b'{"stream":"order-2","type":"Placed","data":{}}\n')
        equal(failed(pipeline, "far")["checkpoint"], 6, "checkpoint")
        equal(query(pipeline, "far"), [(1, " 1")], "rows")


# ---- transactions ----------------------------------------------------------

def a_statement_may_not_end_the_transaction():
    sql = TOTALS.format(select="") + "COMMIT;\n"
    with Projections() as pipeline:
        with open(pipeline.path("projections", "sly.sql"), "w",
                  encoding="utf-8") as file:
            file.write(sql)
        done = pipeline.dev("up", check=False)
        equal(done.returncode, 1, "exit code of dev up")
        for part in ("sly.sql:9", "not authorized"):
            expect(part in done.stderr, done.stderr)


def two_projectors_of_one_database_take_each_event_in_once():
    sql = TOTALS.format(select="")
    with Projections(once=(sql, "")) as pipeline:
        twin = subprocess.Popen(
            [os.path.join(BUILD, "bin", "cairn-projector"),
             "-c", pipeline.path("etc", "projector@once.conf"),
             "-o", "control.endpoint=ipc://" +
             pipeline.path("run", "projections", "twin")],
            stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: info(pipeline, "twin")["state"] == "live",
                       "the second projector")
            numbers = range(1, 41)
            for number in numbers:
                pipeline.cairn("append", "--quiet", data=placed(number))
            pipeline.cairn("projection", "wait", "once", "end")
            pipeline.cairn("projection", "wait", "twin", "end")
            equal(query(pipeline, "once"),
                  [(40, "".join(f" {n}" for n in numbers))], "rows")
        finally:
            twin.kill()
            twin.wait()


# ---- another log, or one that has lost its end -----------------------------

def replace_log(pipeline, other):
    shutil.rmtree(pipeline.path("log"))
    shutil.copytree(other, pipeline.path("log"))


def a_read_model_ahead_of_the_log_stops_until_it_is_reset():
    sql = TOTALS.format(select="")
    with Projections(near=(sql, ""), far=(sql, PUBLISHER)) as pipeline:
        pipeline.cairn("append", "--quiet", data=placed(1, 2))
        pipeline.dev("down")
        backup = os.path.join(pipeline.top, "backup")
        shutil.copytree(pipeline.path("log"), backup)
        pipeline.up()
        pipeline.cairn("append", "--quiet", data=placed(3, 4))
        for name in ("near", "far"):
            pipeline.cairn("projection", "wait", name, "end")
        pipeline.dev("down")
        replace_log(pipeline, backup)
        pipeline.dev("up")
        for name in ("near", "far"):
            reason = failed(pipeline, name)["reason"]
            expect("ahead of the log" in reason and "reset" in reason, reason)
        # The log overtakes it; what it has taken in stays wrong.
        pipeline.cairn("append", "--quiet", data=placed(5, 6, 7))
        for name in ("near", "far"):
            equal(info(pipeline, name)["state"], "failed", "state")
            pipeline.cairn("projection", "reset", name)
            pipeline.cairn("projection", "wait", name, "end")
            equal(query(pipeline, name), [(5, " 1 2 5 6 7")], "rows")


HISTORIES = {"near": ("", ""), "some": ("--@ select category order", ""),
             "far": ("", PUBLISHER),
             "afar": ("--@ select category order", PUBLISHER)}


def histories():
    """Projections of all kinds, for a log that will lose its end."""
    return Projections(**{name: (TOTALS.format(select=select), config)
                          for name, (select, config) in HISTORIES.items()})


def all_have(pipeline, rows):
    for name in HISTORIES:
        pipeline.cairn("projection", "wait", name, "end")
        equal(query(pipeline, name), [rows], f"rows of {name}")


def take_in_what_will_be_lost(pipeline):
    """A copy of the log before its last events; what comes last is not of
    the projections with a filter."""
    pipeline.cairn("append", "--quiet", data=placed(1, 2))
    pipeline.dev("down")
    backup = os.path.join(pipeline.top, "backup")
    shutil.copytree(pipeline.path("log"), backup)
    pipeline.up()
    pipeline.cairn("append", "--quiet", data=placed(3) +
                   placed(0, stream="stock-1", event="Filled"))
    all_have(pipeline, (3, " 1 2 3"))
    return backup


def each_stops_until_it_is_reset(pipeline):
    for name in HISTORIES:
        reason = failed(pipeline, name)["reason"]
        expect("position 4 holds another event" in reason and
               "reset" in reason, reason)
        equal(query(pipeline, name), [(3, " 1 2 3")], f"rows of {name}")
        pipeline.cairn("projection", "reset", name)
    all_have(pipeline, (5, " 1 2 5 6 7"))


def a_log_that_outgrows_a_sleeping_read_model_is_another_history():
    with histories() as pipeline:
        backup = take_in_what_will_be_lost(pipeline)
        pipeline.dev("down")
        replace_log(pipeline, backup)
        os.rename(pipeline.path("projections"), pipeline.path("asleep"))
        pipeline.up()
        pipeline.cairn("append", "--quiet", data=placed(5, 6, 7))
        os.rmdir(pipeline.path("projections"))
        os.rename(pipeline.path("asleep"), pipeline.path("projections"))
        pipeline.up()
        each_stops_until_it_is_reset(pipeline)


def a_log_that_loses_its_end_behind_a_projector_is_another_history():
    with histories() as pipeline:
        backup = take_in_what_will_be_lost(pipeline)
        asleep = [pipeline.pid(f"projector@{name}") for name in HISTORIES]
        for pid in asleep:
            os.kill(pid, signal.SIGSTOP)
        try:
            pipeline.kill("writer")
            replace_log(pipeline, backup)
            pipeline.up()
            pipeline.cairn("append", "--quiet", data=placed(5, 6, 7))
        finally:
            for pid in asleep:
                os.kill(pid, signal.SIGCONT)
        each_stops_until_it_is_reset(pipeline)


def a_read_model_of_before_marks_goes_on():
    with histories() as pipeline:
        pipeline.cairn("append", "--quiet", data=placed(1, 2))
        all_have(pipeline, (2, " 1 2"))
        pipeline.dev("down")
        for name in HISTORIES:
            with sqlite3.connect(pipeline.path("models",
                                               name + ".db")) as database:
                database.execute(
                    "ALTER TABLE cairn_checkpoint DROP COLUMN mark")
        pipeline.up()
        pipeline.cairn("append", "--quiet", data=placed(3))
        all_have(pipeline, (3, " 1 2 3"))
        event = pipeline.json("read", "--from", "3")[0]
        for name in HISTORIES:
            found = query(pipeline, name, "SELECT mark FROM cairn_checkpoint")
            expect(found[0][0].startswith(f"3 {event['id']} "), found)


def another_log_behind_a_publisher_is_not_read_on():
    sql = TOTALS.format(select="")
    with Projections(far=(sql, PUBLISHER)) as pipeline:
        pipeline.cairn("append", "--quiet", data=placed(1, 2))
        pipeline.cairn("projection", "wait", "far", "end")
        for who in ("gateway", "writer"):
            pipeline.kill(who, signal.SIGTERM)
            wait_until(lambda who=who: "stopped" in
                       pipeline.log(who).splitlines()[-1], who + " to stop")
        shutil.rmtree(pipeline.path("log"))
        pipeline.up()
        pipeline.cairn("append", "--quiet", data=placed(*range(11, 16)))
        reason = failed(pipeline, "far")["reason"]
        expect("another log" in reason, reason)
        equal(query(pipeline, "far"), [(2, " 1 2")], "rows")


# ---- a publisher in trouble ------------------------------------------------

def a_publisher_that_cannot_read_for_a_while_stops_nobody():
    sql = TOTALS.format(select="--@ select category order")
    with Projections(far=(sql, PUBLISHER)) as pipeline:
        pipeline.cairn("append", "--quiet", data=placed(1))
        pipeline.cairn("projection", "wait", "far", "1")
        pid = pipeline.pid("publisher")
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        # It cannot open the next segment of the log, but can still poll().
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (8, limits[1]))
        long = "x" * 60000
        for _ in range(3):
            pipeline.cairn("append", "stock-1", "Filled", long)
        pipeline.cairn("append", "--quiet", data=placed(2))
        found = wait_until(
            lambda: [i for i in [info(pipeline, "far")]
                     if "Too many open files" in i.get("reason", "")],
            "trouble", 10)[0]
        equal(found["state"], "waiting", "state")
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        pipeline.cairn("projection", "wait", "far", "end")
        equal(query(pipeline, "far"), [(2, " 1 2")], "rows")


# ---- the file --------------------------------------------------------------

def a_database_that_was_removed_is_built_again():
    sql = TOTALS.format(select="")
    with Projections(near=(sql, "")) as pipeline:
        pipeline.cairn("append", "--quiet", data=placed(1, 2))
        pipeline.cairn("projection", "wait", "near", "end")
        os.remove(pipeline.path("models", "near.db"))
        pipeline.cairn("append", "--quiet", data=placed(3))
        wait_until(lambda: os.path.exists(pipeline.path("models", "near.db")),
                   "a new database", 10)
        pipeline.cairn("projection", "wait", "near", "end")
        equal(query(pipeline, "near"), [(3, " 1 2 3")], "rows")


# ---- what it says ----------------------------------------------------------

def a_projection_without_its_publisher_says_that_it_waits():
    sql = TOTALS.format(select="")
    with Projections(far=(sql, PUBLISHER)) as pipeline:
        pipeline.cairn("append", "--quiet", data=placed(1))
        pipeline.cairn("projection", "wait", "far", "1")
        pipeline.kill("publisher", signal.SIGTERM)
        found = wait_until(lambda: [i for i in [info(pipeline, "far")]
                                    if i["state"] == "waiting"],
                           "it to wait", 8)[0]
        expect("does not answer" in found["reason"], found)
        pipeline.up()
        pipeline.cairn("append", "--quiet", data=placed(2))
        pipeline.cairn("projection", "wait", "far", "2")
        equal(info(pipeline, "far")["state"], "live", "state")


run([one_stream_is_projected_by_position_through_a_publisher,
     a_bad_event_behind_a_filter_stops_a_projection_through_a_publisher,
     a_statement_may_not_end_the_transaction,
     two_projectors_of_one_database_take_each_event_in_once,
     a_read_model_ahead_of_the_log_stops_until_it_is_reset,
     a_log_that_outgrows_a_sleeping_read_model_is_another_history,
     a_log_that_loses_its_end_behind_a_projector_is_another_history,
     a_read_model_of_before_marks_goes_on,
     another_log_behind_a_publisher_is_not_read_on,
     a_publisher_that_cannot_read_for_a_while_stops_nobody,
     a_database_that_was_removed_is_built_again,
     a_projection_without_its_publisher_says_that_it_waits])
