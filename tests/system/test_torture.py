#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""Many clients while every daemon is killed at random: what they were told is
true.  SECONDS and CLIENTS make it longer; scripts/torture runs it for hours."""

import copy
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
# pylint: disable=wrong-import-position
from journal import Command, Commit, check  # noqa: E402
from system import Failure, equal, expect, run, seed  # noqa: E402

try:
    from torture import Torture
except ImportError as problem:
    print(f"SKIP: {problem} (python3-zmq and python3-sqlite3 are needed)")
    sys.exit(77)


def what_clients_were_told_is_true_whatever_is_killed():
    seconds = float(os.environ.get("SECONDS", "15"))
    torture = Torture(seed(), int(os.environ.get("CLIENTS", "8")))
    began = time.monotonic()
    try:
        torture.load(seconds)
        findings, summary = torture.judge()
        torture.print_summary(summary, time.monotonic() - began)
        for finding in findings[:20]:
            print(f"FINDING: {finding}")
        equal(len(findings), 0, "findings")
        # It was a torture, and not a walk.
        expect(sum(torture.killer.kills.values()) >= 5, "too few kills")
        for outcome in ("accepted", "repeated", "conflict"):
            expect(summary.outcomes.get(outcome, 0) >= 20,
                   f"hardly any {outcome} in {summary.outcomes}")
        expect(summary.shown > 100, "the readers have seen next to nothing")
    finally:
        torture.close()


# ---- the checker itself ----------------------------------------------------

ONE, TWO, THREE, FOUR = (f"00000000-0000-4000-8000-00000000000{i}"
                         for i in range(1, 5))


def commit(command, first, versions):
    return Commit(command.id, first,
                  [(stream, version, kind, command.data(i))
                   for i, ((stream, kind, _), version) in
                   enumerate(zip(command.events, versions))])


def accepted(made, repeated=False):
    return ("told", made.id,
            {"outcome": "accepted", "first": made.first, "last": made.last,
             "time": "T" + made.id, "versions": made.versions(),
             "repeated": repeated})


def conflict(command, *failed):
    return ("told", command.id,
            {"outcome": "conflict",
             "failed": [{"check": c, "actual": a} for c, a in failed]})


class Small:
    """A journal of two clients and a reader that is true, to be doctored."""

    def __init__(self):
        self.one = Command(ONE, [("a", "T", 30), ("b", "T", 40),
                                 ("a", "U", 50)], [("a", "none")])
        self.two = Command(TWO, [("b", "T", 60)], [("b", 1), ("a", "exists")])
        self.three = Command(THREE, [("a", "T", 70)], [("a", 1), ("b", 1)])
        self.four = Command(FOUR, [("c", "T", 80)])
        self.log = [commit(self.one, 1, [1, 1, 2]),
                    commit(self.two, 4, [2])]
        self.first = [("sent", self.one), accepted(self.log[0]),
                      ("sent", self.three), conflict(self.three, (0, 2)),
                      ("sent", self.one), accepted(self.log[0], True)]
        self.second = [("sent", self.two), accepted(self.log[1]),
                       ("sent", self.four)]
        self.final = {i: f"bytes{i}" for i in range(1, 5)}
        self.reader = [("shown", [(2, "bytes2"), (3, "bytes3")])]

    def findings(self):
        return check([self.first, self.second, self.reader], self.log,
                     self.final)[0]


def drop_accepted(s):
    s.log.pop()
    del s.final[4]


def accept_elsewhere(s):
    s.second[1][2]["first"] = s.second[1][2]["last"] = 5


def tell_other_version(s):
    s.second[1][2]["versions"] = [3]


def answer_repeated_with_another_position(s):
    s.first[5][2]["first"] = 2


def accept_twice(s):
    s.first[5][2]["repeated"] = False


def refuse_what_was_accepted(s):
    s.first[5] = conflict(s.one, (0, 2))


def store_twice(s):
    s.log.append(commit(s.two, 5, [3]))
    s.final[5] = "bytes5"


def store_a_conflict(s):
    s.log.append(commit(s.three, 5, [3]))
    s.final[5] = "bytes5"


def store_in_another_order(s):
    events = s.log[0].events
    events[0], events[2] = events[2], events[0]


def store_half(s):
    s.second = [("sent", s.two)]
    s.log[0].events.pop()
    s.first[1][2]["last"] = s.first[5][2]["last"] = 2
    s.log.pop()
    s.first[1][2]["versions"] = s.first[5][2]["versions"] = [1, 1]
    del s.first[2:4], s.final[4], s.final[3]
    s.reader = []


def store_half_of_an_unknown_one(s):
    five = Command("00000000-0000-4000-8000-000000000005",
                   [("c", "T", 10), ("c", "T", 11)])
    s.second.append(("sent", five))
    s.log.append(Commit(five.id, 5, [("c", 1, "T", five.data(0))]))
    s.final[5] = "bytes5"


def change_data(s):
    stream, version, kind, data = s.log[1].events[0]
    s.log[1].events[0] = (stream, version, kind, data[:-1] + "X")


def leave_a_version_out(s):
    s.log[1].events[0] = ("b", 3) + s.log[1].events[0][2:]
    s.second[1][2]["versions"] = [3]


def leave_a_position_out(s):
    s.log[1].first = 5
    s.second[1][2]["first"] = s.second[1][2]["last"] = 5
    s.final[5] = s.final.pop(4)


def store_against_an_expectation(s):
    s.two.checks = [("b", 0)]


def tell_a_version_that_never_was(s):
    s.first[3] = conflict(s.three, (0, 7))


def tell_a_conflict_that_is_none(s):
    s.first[3] = conflict(s.three, (0, 1))


def tell_a_stale_conflict(s):
    s.first[3] = conflict(s.three, (0, 0))


def tell_half_of_a_conflict(s):
    # When b was still at 0, a was, too: the failure of a is not told.
    s.three.checks = [("a", 1), ("b", 1)]
    s.first[3] = conflict(s.three, (1, 0))
    s.first = s.first[2:4] + s.first[:2] + s.first[4:]


def show_what_is_gone(s):
    s.reader[0][1].append((9, "bytes9"))


def show_other_bytes(s):
    s.reader[0][1][0] = (2, "something else")


def serve_too_little(s):
    del s.final[4]


def invent_a_commit(s):
    s.second.remove(("sent", s.four))
    s.log.append(commit(s.four, 5, [1]))
    s.final[5] = "bytes5"


DOCTORED = [
    (drop_accepted, "is not there"),
    (accept_elsewhere, "is at 4 to 4"),
    (tell_other_version, "told the versions"),
    (answer_repeated_with_another_position, "accepted twice, as"),
    (accept_twice, "does not say repeated"),
    (refuse_what_was_accepted, "then answered conflict"),
    (store_twice, "is there twice"),
    (store_a_conflict, "was refused and is in the log"),
    (store_in_another_order, "not whole, or not in order"),
    (store_half, "not whole, or not in order"),
    (store_half_of_an_unknown_one, "not whole, or not in order"),
    (change_data, "not whole, or not in order"),
    (leave_a_version_out, "version 3 of b where 2 is next"),
    (leave_a_position_out, "follows position 3"),
    (store_against_an_expectation, "although b is not 0"),
    (tell_a_version_that_never_was, "fits no moment"),
    (tell_a_conflict_that_is_none, "which is 1"),
    (tell_a_stale_conflict, "fits no moment"),
    (tell_half_of_a_conflict, "fits no moment"),
    (show_what_is_gone, "shown to a reader and is not there"),
    (show_other_bytes, "other bytes"),
    (serve_too_little, "does not serve just the positions"),
    (invent_a_commit, "was never sent"),
]


def the_checker_passes_what_is_true():
    small = Small()
    equal(small.findings(), [], "findings")
    # An outcome that is unknown may have come true, or not.
    small.log.append(commit(small.four, 5, [1]))
    small.final[5] = "bytes5"
    equal(small.findings(), [], "findings with an unknown one stored")


def the_checker_flags_every_lie():
    for doctor, text in DOCTORED:
        small = copy.deepcopy(Small())
        doctor(small)
        findings = small.findings()
        if not any(text in f for f in findings):
            raise Failure(f"{doctor.__name__}: {findings} does not say "
                          f"'{text}'")
    print(f"{len(DOCTORED)} doctored journals")


if __name__ == "__main__":
    run([the_checker_passes_what_is_true, the_checker_flags_every_lie,
         what_clients_were_told_is_true_whatever_is_killed])
