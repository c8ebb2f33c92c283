#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""Projections: the same read model whatever its source and batches."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from system import (FILES_SQL, History, Pipeline, equal, expect, run,
                    wait_until)

try:
    import sqlite3
except ImportError:
    print("SKIP: python3 without sqlite3")
    sys.exit(77)

BAD_SQL = """--@ projection orders
--@ select category order
--@ schema
CREATE TABLE orders (id TEXT PRIMARY KEY, total INTEGER NOT NULL);
--@ on Placed
INSERT INTO orders VALUES (:key, json_extract(:data, '$.total'));
"""


def dump(path):
    """All that a database holds, as SQL text."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        return list(database.iterdump())


def source(kind, batch):
    return f"source\n    kind = {kind}\nbatch\n    max = {batch}\n"


def every_source_and_batch_gives_the_same_database():
    variants = [(kind, batch) for kind in ("mapped", "publisher")
                for batch in (1, 7, 1000, 10000)]
    pipeline = Pipeline()
    try:
        history = History(pipeline.top)
        for kind, batch in variants:
            name = f"{kind}-{batch}"
            with open(FILES_SQL, encoding="utf-8") as file:
                text = file.read()
            # All call themselves files, so that the databases can be equal.
            with open(pipeline.path("projections", name + ".sql"), "w",
                      encoding="utf-8") as file:
                file.write(text)
            pipeline.config(f"projector@{name}", source(kind, batch))
        pipeline.up()
        # Half of it live, while they follow; half while they are away.
        half = len(history.commits) // 2
        pipeline.cairn("append", "--quiet",
                       data=b"".join(history.commits[:half]))
        for kind, batch in variants[::2]:
            pipeline.kill(f"projector@{kind}-{batch}")
        pipeline.cairn("append", "--quiet",
                       data=b"".join(history.commits[half:]))
        pipeline.up()
        dumps = []
        for kind, batch in variants:
            pipeline.cairn("projection", "wait", f"{kind}-{batch}", "end")
        pipeline.dev("down")
        for kind, batch in variants:
            dumps.append(dump(pipeline.path("models", f"{kind}-{batch}.db")))
        expect(len(dumps[0]) > 100, "the databases are empty")
        for (kind, batch), one in zip(variants[1:], dumps[1:]):
            equal(one == dumps[0], True,
                  f"{kind} in batches of {batch} gives the same database")
    finally:
        pipeline.close()


def a_reset_builds_the_same_again():
    pipeline = Pipeline([FILES_SQL])
    try:
        history = History(pipeline.top)
        pipeline.up()
        pipeline.cairn("append", "--quiet", data=history.lines)
        pipeline.cairn("projection", "wait", "files", "end")
        before = dump(pipeline.path("models", "files.db"))
        pipeline.cairn("projection", "reset", "files")
        pipeline.cairn("projection", "wait", "files", "end")
        equal(dump(pipeline.path("models", "files.db")) == before, True,
              "the read model after a reset is the same")
        info = pipeline.json("projection", "info", "files")[0]
        expect(info["events"] > 1000, f"nothing was projected again: {info}")
        history.verify(pipeline)
    finally:
        pipeline.close()


def order(number, data, event="Placed"):
    return (f'{{"stream":"order-{number}","type":"{event}",'
            f'"data":{data}}}\n').encode()


def orders(pipeline):
    with sqlite3.connect(f"file:{pipeline.path('models', 'orders.db')}"
                         "?mode=ro", uri=True) as database:
        return database.execute("SELECT id, total FROM orders "
                                "ORDER BY id").fetchall()


def a_bad_event_stops_the_projection_and_keeps_what_lies_before():
    pipeline = Pipeline()
    try:
        path = pipeline.path("projections", "orders.sql")
        with open(path, "w", encoding="utf-8") as file:
            file.write(BAD_SQL)
        pipeline.up()
        pipeline.cairn("append", "--quiet", data=b"".join(
            [order(1, '{"total":1}'), order(2, '{"total":2}'),
             order(3, '{"sum":3}'), order(4, '{"total":4}')]))
        info = wait_until(
            lambda: [i for i in pipeline.json("projection", "info", "orders")
                     if i["state"] == "failed"], "the projection to fail")[0]
        equal(info["checkpoint"], 2, "checkpoint")
        for part in ("position 3", "order-3", "Placed", "NOT NULL"):
            expect(part in info["reason"], f"{part} not in {info['reason']}")
        equal(orders(pipeline), [("1", 1), ("2", 2)], "rows")
        done = pipeline.cairn("projection", "wait", "orders", "3", code=1)
        expect(b"failed at position 2" in done.stderr, done.stderr)
        expect("stopped behind position 2" in pipeline.log("projector@orders"),
               "the journal does not say where it stopped")
        # A restart tries again, and fails again.
        pipeline.dev("restart", "projector@orders")
        wait_until(lambda: pipeline.json("projection", "info", "orders")[0]
                   ["state"] == "failed", "it to fail again")
        # The file is put right: it wants a reset, and then goes on.
        with open(path, "w", encoding="utf-8") as file:
            file.write(BAD_SQL.replace("json_extract(:data, '$.total')",
                                       "coalesce(json_extract(:data, "
                                       "'$.total'), -1)"))
        pipeline.dev("restart", "projector@orders")
        info = wait_until(
            lambda: [i for i in pipeline.json("projection", "info", "orders")
                     if i["state"] == "failed"], "it to want a reset")[0]
        expect("has changed" in info["reason"] and "reset" in info["reason"],
               info["reason"])
        pipeline.cairn("projection", "reset", "orders")
        pipeline.cairn("projection", "wait", "orders", "end")
        equal(orders(pipeline), [("1", 1), ("2", 2), ("3", -1), ("4", 4)],
              "rows after the reset")
    finally:
        pipeline.close()


def two_projections_live_side_by_side():
    pipeline = Pipeline([FILES_SQL])
    try:
        with open(pipeline.path("projections", "orders.sql"), "w",
                  encoding="utf-8") as file:
            file.write(BAD_SQL)
        pipeline.up()
        listed = [p["name"] for p in
                  pipeline.json("projection", "ls")[0]]
        equal(listed, ["files", "orders"], "projections listed")
        pipeline.cairn("append", "order-1", "Placed", '{"total": 5}')
        pipeline.cairn("projection", "wait", "orders")
        pipeline.cairn("projection", "wait", "files")
        equal(orders(pipeline), [("1", 5)], "rows")
    finally:
        pipeline.close()


def waiting_for_a_position_reads_what_was_just_written():
    pipeline = Pipeline()
    try:
        with open(pipeline.path("projections", "orders.sql"), "w",
                  encoding="utf-8") as file:
            file.write(BAD_SQL)
        pipeline.up()
        for i in range(1, 30):
            said = pipeline.json("append", f"order-{i:02}", "Placed",
                                 f'{{"total": {i}}}')[0]
            pipeline.cairn("projection", "wait", "orders", str(said["last"]))
            equal(len(orders(pipeline)), i, "rows after waiting")
        done = pipeline.cairn("projection", "wait", "orders", "1000",
                              "--timeout", "1", code=1)
        expect(b"has not taken 1000 in" in done.stderr, done.stderr)
        pipeline.cairn("projection", "wait", "nobody", "1", "--timeout", "1",
                       code=4)
    finally:
        pipeline.close()


run([every_source_and_batch_gives_the_same_database,
     a_reset_builds_the_same_again,
     a_bad_event_stops_the_projection_and_keeps_what_lies_before,
     two_projections_live_side_by_side,
     waiting_for_a_position_reads_what_was_just_written])
