#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""A benchmark runs, and the report understands what it prints; what the report
concludes is the matter of tests/unit/test_bench_stats.py."""

import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
sys.path.insert(0, os.path.join(HERE, "..", "..", "bench"))
from report import judge_all, plots, rates_table, verdicts_table  # noqa: E402
from system import BUILD, equal, expect, run  # noqa: E402


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
    run([a_program_runs_and_its_rows_are_understood])
