#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""Imports a history twice: the second time nothing may happen."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from system import (FILES_SQL, History, Pipeline, check_log, equal, expect,
                    run)


def summary(done):
    return done.stderr.decode().strip().splitlines()[-1]


def a_second_import_stores_nothing_and_is_answered_repeated():
    pipeline = Pipeline([FILES_SQL])
    try:
        history = History(pipeline.top)
        count = len(history.commits)
        pipeline.up()
        pipeline.cairn("append", data=history.lines)
        events = check_log(pipeline, history)
        pipeline.cairn("projection", "wait", "files", "end")
        history.verify(pipeline)
        for restart in (False, True):
            if restart:
                pipeline.dev("down")
                pipeline.up()
            done = pipeline.cairn("append", data=history.lines)
            expect(f"0 commits with 0 events stored, {count:,} repeated" in
                   summary(done), summary(done))
            status = pipeline.status()["writer"]
            equal(status["repeated"], count,
                  "repeated commands, by the writer's count")
            equal(status["position"], len(events), "position")
        equal([(e["position"], e["id"]) for e in check_log(pipeline, history)],
              [(e["position"], e["id"]) for e in events],
              "positions and ids after the second import")
    finally:
        pipeline.close()


def every_group_is_one_sync_and_holds_many_commits():
    pipeline = Pipeline()
    try:
        history = History(pipeline.top)
        pipeline.up()
        pipeline.cairn("append", data=history.lines)
        status = pipeline.status()["writer"]
        equal(status["syncs"], status["groups"], "syncs for the groups")
        equal(status["commits"], len(history.commits), "commits")
        equal(status["events"], history.events, "events")
        expect(status["groups"] * 5 < status["commits"],
               f"{status['groups']} groups for {status['commits']} commits")
        expect(status["bytes"] < 5 * status["data_bytes"],
               f"{status['bytes']} bytes written for "
               f"{status['data_bytes']} of data")
    finally:
        pipeline.close()


def a_changed_truth_is_told_apart():
    pipeline = Pipeline([FILES_SQL])
    try:
        history = History(pipeline.top)
        pipeline.up()
        pipeline.cairn("append", "--quiet", data=history.lines)
        pipeline.cairn("projection", "wait", "files", "end")
        history.verify(pipeline)
        with open(history.truth, encoding="utf-8") as file:
            lines = file.readlines()
        for i, line in enumerate(lines):
            added, deleted, path = line.rstrip("\n").split("\t")
            if added.isdigit() and not path.startswith('"') and \
                    int(added) > 100 and len(path) < 200:
                lines[i] = f"{int(added) + 1}\t{deleted}\t{path}\n"
                break
        with open(history.truth, "w", encoding="utf-8") as file:
            file.writelines(lines)
        said = history.verify(pipeline, code=1)
        expect(path in said, f"{path} is not named in {said}")
    finally:
        pipeline.close()


run([a_second_import_stores_nothing_and_is_answered_repeated,
     every_group_is_one_sync_and_holds_many_commits,
     a_changed_truth_is_told_apart])
