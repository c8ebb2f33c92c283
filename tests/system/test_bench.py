#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""The instrument itself: what it calls reached, missed, inconclusive and out
of reach; and that its programs run, and print what the report reads."""

import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
sys.path.insert(0, os.path.join(HERE, "..", "..", "bench"))
from report import judge_all, plots, rates_table, verdicts_table  # noqa: E402
from stats import interval, median  # noqa: E402
from system import BUILD, equal, expect, run  # noqa: E402

NOISE = (1.0, 1.01, 0.99, 1.02, 0.98, 1.0)


def row(kind, name, batch=1, noise=NOISE, **rates):
    """Six rounds of two runs for each engine, around a rate."""
    return {"row": kind, "name": name, "unit": "commits/s", "connections": 4,
            "outstanding": 64, "batch": batch, "quantiles": [0.5, 1],
            "engines": {e.replace("_", " "): {
                "rates": [r * n for n in noise for _ in range(2)],
                "latency_us": [[10, 20]] * 2 * len(noise)}
                for e, r in rates.items()}}


def verdict_of(*rows, what):
    found = [j for j in judge_all(list(rows)) if j["what"] == what]
    equal(len(found), 1, what)
    return found[0]


def a_ratio_is_reached_missed_or_out_of_reach():
    for ours, bound, wanted in ((650, 900, "reached"), (400, 900, "missed"),
                                (400, 500, "out of reach"),
                                (600, 900, "inconclusive"),
                                (400, 600, "missed")):
        found = verdict_of(row("append", "256 outstanding", cairn=ours, P=1000,
                               L=bound), what="256 outstanding / P")
        equal(found["verdict"], wanted, f"{ours} of 1000, bound {bound}")
        expect(abs(found["bound"]["middle"] - bound / 1000) < 1e-9, found)


def a_time_is_better_low():
    for ours, bound, wanted in ((900, 950, "reached"), (500, 950, "missed"),
                                (500, 600, "out of reach")):
        found = verdict_of(row("append", "1 outstanding", cairn=ours, P=1000,
                               L=bound), what="time of an append alone / P")
        equal(found["verdict"], wanted, f"{ours} of 1000, bound {bound}")
    # A lookup has a floor of its own, and where none is known nothing is.
    rows = row("lookup", "version lookup", cairn=10, H=300, H2=11)
    equal(verdict_of(rows, what="time of a version lookup / H")["verdict"],
          "out of reach", "H")
    found = verdict_of(rows,
                       what="time of a version lookup / H2, slot and event")
    equal((found["verdict"], found["bound"]), ("reached", None), "H2")


def few_rounds_and_blurred_ones_say_nothing():
    found = verdict_of(row("append", "256 outstanding", noise=(1, 1, 1),
                           cairn=100, P=1000, L=100),
                       what="256 outstanding / P")
    equal(found["verdict"], "inconclusive", "three rounds")
    blurred = row("append", "256 outstanding", cairn=580, P=1000, L=900)
    rates = blurred["engines"]["cairn"]["rates"]
    rates[::2] = [r * 0.6 for r in rates[::2]]
    equal(verdict_of(blurred, what="256 outstanding / P")["verdict"],
          "inconclusive", "A/A of 0.6")


def batches_are_each_at_their_best():
    rows = [row("peers", "batches of 100, 4 on 4 connections", batch=100,
                cairn=100, redis=50, postgres=9, L=200),
            row("peers", "batches of 100, 64 on 4 connections", batch=100,
                cairn=500, redis=40, postgres=8, L=600)]
    found = verdict_of(*rows, what="batches of 100, each at its best / Redis")
    expect(abs(found["ratio"]["middle"] - 10) < 1e-9, found)
    expect(abs(found["bound"]["middle"] - 12) < 1e-9, found)


def an_interval_holds_the_median_in_nineteen_of_twenty():
    low, high, held = interval([5, 1, 4, 2, 3, 6, 7])
    equal((low, high, median([5, 1, 4, 2, 3, 6, 7])), (1, 7, 4), "seven")
    expect(held > 0.98, held)
    low, high, held = interval(range(1, 21))
    equal((low, high), (6, 15), "twenty")
    expect(0.95 < held < 0.97, held)


def a_program_runs_and_its_rows_are_understood():
    program = os.path.join(BUILD, "bench", "bench_append")
    with tempfile.TemporaryDirectory(prefix="cairn-bench-") as place:
        done = subprocess.run([program, BUILD, "0.05", "1", "1 outstanding"],
                              env=dict(os.environ, TMPDIR=place), check=True,
                              capture_output=True, text=True, timeout=120)
        equal(os.listdir(place), [], "left behind")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    equal([r["name"] for r in rows], ["1 outstanding"], "rows")
    equal(list(rows[0]["engines"]),
          ["cairn", "P", "L", "M", "S", "S512", "S64K"], "engines")
    for name, engine in rows[0]["engines"].items():
        expect(min(engine["rates"]) > 0 and len(engine["rates"]) == 2, name)
    text = "\n".join([*rates_table(rows), *verdicts_table(judge_all(rows))])
    for word in ("time of an append alone / P", "inconclusive", "bound"):
        expect(word in text, text)
    expect("latency.svg" in plots(rows), "a plot")


if __name__ == "__main__":
    run([a_ratio_is_reached_missed_or_out_of_reach,
         a_time_is_better_low,
         few_rounds_and_blurred_ones_say_nothing,
         batches_are_each_at_their_best,
         an_interval_holds_the_median_in_nineteen_of_twenty,
         a_program_runs_and_its_rows_are_understood])
