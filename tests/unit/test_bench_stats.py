#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""What the benchmarks conclude from their numbers."""

import os
import random
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
sys.path.insert(0, os.path.join(ROOT, "bench"))
sys.path.insert(0, os.path.join(ROOT, "tests", "lib"))
from report import judge_all
from stats import control, interval, ratio, verdict
from svg import plot
from system import equal, expect, run


def an_interval_holds_the_median_as_often_as_it_says():
    rng = random.Random(1)
    for n in (6, 7, 12, 20):
        held, tries = 0, 4000
        for _ in range(tries):
            low, high, confidence = interval(
                [rng.expovariate(1) for _ in range(n)])
            held += low <= 0.6931471805599453 <= high
        expect(abs(held / tries - confidence) < 0.03,
               f"{n} values: held {held / tries}, said {confidence}")
        expect(confidence >= 0.95, f"{n} values give {confidence}")


def slow_drift_falls_out_of_a_ratio():
    ours, theirs = [], []
    speed = 1000.0
    for _ in range(8):  # A B B A while the machine gets slower
        ours.append(speed)
        theirs.append((speed - 10) / 2)
        theirs.append((speed - 20) / 2)
        ours.append(speed - 30)
        speed -= 40
    found = ratio(ours, theirs)
    expect(abs(found["middle"] - 2) < 0.001, found)


def a_clear_ratio_is_judged_and_a_close_one_is_not():
    theirs = [100.0] * 14
    clear = ratio([90.0 + i % 3 for i in range(14)], theirs)
    equal(verdict(clear, 0.6), "reached", "0.9 of at least 0.6")
    equal(verdict(clear, 1.3), "missed", "0.9 of at least 1.3")
    equal(verdict(clear, 1.3, at_least=False), "reached", "0.9, at most 1.3")
    close = ratio([40.0 + 5 * (i // 2) for i in range(14)], theirs)
    equal(verdict(close, 0.6), "inconclusive", "0.4 to 0.7, at least 0.6")


def a_restless_machine_makes_it_inconclusive():
    theirs = [100.0] * 14
    ours = [65.0] * 14
    found = ratio(ours, theirs)
    equal(verdict(found, 0.6, aa=control(ours)), "reached", "quiet")
    restless = control([130.0, 100.0] * 7)
    equal(verdict(found, 0.6, aa=restless), "inconclusive", "A/A is 1.3")


def too_few_rounds_are_inconclusive():
    equal(verdict(ratio([90.0] * 4, [100.0] * 4), 0.6), "inconclusive",
          "two rounds")


def row(name, engines, **more):
    return {"row": "append", "name": name, "connections": 1, "batch": 1,
            "outstanding": 1, "unit": "commits/s",
            "engines": {k: {"rates": v, "latency_us": [[1, 1, 1, 1, 1]]}
                        for k, v in engines.items()}, **more}


def a_time_is_the_inverse_of_a_rate():
    judged = judge_all([row("1 outstanding", {"cairn": [50.0] * 14,
                                              "P": [100.0] * 14,
                                              "L": [90.0] * 14})])
    equal(len(judged), 1, "ratios")
    equal(judged[0]["ratio"]["middle"], 2.0, "alone, twice as slow as P")
    equal(judged[0]["verdict"], "missed", "2.0 of at most 1.3")


def what_the_bound_misses_too_is_out_of_reach():
    for ours, bound, wanted in ((65.0, 90.0, "reached"), (40.0, 90.0, "missed"),
                                (40.0, 50.0, "out of reach"),
                                (65.0, 50.0, "reached"),
                                (40.0, 60.0, "missed")):
        found = judge_all([row("256 outstanding", {
            "cairn": [ours] * 14, "P": [100.0] * 14, "L": [bound] * 14})])[0]
        equal(found["verdict"], wanted, f"{ours} of 100, bound {bound}")
        equal(found["bound"]["middle"], bound / 100, "the bound")
    # It is judged by its own control: a restless bound proves nothing.
    found = judge_all([row("256 outstanding", {
        "cairn": [40.0] * 14, "P": [100.0] * 14, "L": [80.0, 40.0] * 7})])[0]
    equal(found["verdict"], "missed", "A/A of the bound is 2")
    # A time: the bound is high. A lookup has a floor, H2 none below it.
    found = judge_all([row("version lookup", {
        "cairn": [10.0] * 14, "H": [300.0] * 14, "H2": [11.0] * 14},
        row="lookup")])
    equal([f["verdict"] for f in found], ["out of reach", "reached"], "lookup")
    equal(found[1]["bound"], None, "below H2")


def batches_are_compared_each_at_its_best():
    rows = [row(f"batches {i}", {"cairn": [c] * 14, "redis": [r] * 14,
                                 "postgres": [1.0] * 14, "L": [c + 50] * 14},
                row="peers", batch=100)
            for i, (c, r) in enumerate(((100.0, 50.0), (400.0, 20.0)))]
    judged = judge_all(rows)
    equal([j["ratio"]["middle"] for j in judged], [8.0, 400.0],
          "400 / 50, and 400 / 1")
    equal([j["bound"]["middle"] for j in judged], [9.0, 450.0],
          "450 / 50, and 450 / 1")


def a_plot_is_well_formed_and_inside_its_frame():
    import xml.etree.ElementTree as tree
    picture = tree.fromstring(plot(
        "a < b", "x", "y", {"one & all": [(1, 10, 5, 20), (64, 1e5, 9e4, 2e5)],
                            "other": [(1, 7, 7, 7), (1024, 3e6, 1e6, 4e6)]},
        y_log=True))
    circles = picture.findall("{http://www.w3.org/2000/svg}circle")
    equal(len(circles), 4, "points")
    for circle in circles:
        expect(86 <= float(circle.get("cx")) <= 590 and
               52 <= float(circle.get("cy")) <= 396, "a point lies outside")


run([an_interval_holds_the_median_as_often_as_it_says,
     slow_drift_falls_out_of_a_ratio,
     a_clear_ratio_is_judged_and_a_close_one_is_not,
     a_restless_machine_makes_it_inconclusive,
     too_few_rounds_are_inconclusive,
     a_time_is_the_inverse_of_a_rate,
     what_the_bound_misses_too_is_out_of_reach,
     batches_are_compared_each_at_its_best,
     a_plot_is_well_formed_and_inside_its_frame])
