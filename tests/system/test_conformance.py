#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""The conformance kit, tests/conformance, against every client library.

SCENARIO=part runs only the scenarios whose names contain it.
"""

import copy
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
# pylint: disable=wrong-import-position
import clients  # noqa: E402
from system import Failure, Pipeline, equal, expect, run  # noqa: E402

if not clients.HAS_ZMQ:
    print("SKIP: python3-zmq is not installed")
    sys.exit(77)

import conformance  # noqa: E402
from zmqclient import Client  # noqa: E402

WANTED = os.environ.get("SCENARIO", "")


def pass_all(library):
    """All scenarios with the driver of one library."""
    pipeline = Pipeline()
    faults, count = [], 0
    try:
        pipeline.up()
        commands = Client(pipeline, "commands")
        queries = Client(pipeline, "queries")
        runner = conformance.Runner(pipeline, commands, queries)
        driver = conformance.Driver(library.driver, pipeline.path("run"),
                                    env=dict(os.environ, **library.env))
        for name, scenario in conformance.scenarios():
            if WANTED not in scenario["name"] or \
                    library.only not in (None, name):
                continue
            count += 1
            try:
                runner.run(driver, scenario)
            except Failure as problem:
                faults.append(f"{name}: {scenario['name']}: {problem}")
                if driver.process.poll() is not None:
                    driver = conformance.Driver(
                        library.driver, pipeline.path("run"),
                        env=dict(os.environ, **library.env))
        driver.close()
        commands.close()
        queries.close()
    finally:
        pipeline.close()
    expect(count > 0, "no scenario was run")
    expect(not faults, f"{len(faults)} of {count} scenarios fail:\n" +
           "\n".join(faults))
    print(f"{library.name}: {count} scenarios")


def cases():
    for library in clients.libraries():
        def case(library=library):
            pass_all(library)
        case.__name__ = f"{library.name}_passes_{library.only or 'every scenario'}".replace(" ", "_")
        yield case


def the_runner_notices_every_wrong_answer():
    """Whatever is changed in an answer, something is said about it."""
    room = conformance.Room("r.", 10)
    wanted = {"outcomes": [{"code": "accepted", "first": 11, "versions": [1],
                            "repeated": False, "detail": "", "more": True}]}
    equal(conformance.differs(wanted, wanted, room), None, "the same")
    for path in (["outcomes"], ["outcomes", 0, "code"],
                 ["outcomes", 0, "first"], ["outcomes", 0, "versions"],
                 ["outcomes", 0, "versions", 0], ["outcomes", 0, "repeated"]):
        for wrong in (None, 1, [1, 2], "x", {}, False, [], True, 10, 12):
            bent = copy.deepcopy(wanted)
            at = bent
            for key in path[:-1]:
                at = at[key]
            if type(at[path[-1]]) is type(wrong) and at[path[-1]] == wrong:
                continue
            at[path[-1]] = wrong
            expect(conformance.differs(bent, wanted, room),
                   f"{path} may be {wrong!r}")
    for key in wanted["outcomes"][0]:
        bent = copy.deepcopy(wanted)
        del bent["outcomes"][0][key]
        expect(conformance.differs(bent, wanted, room), f"{key} is missing")


def scenarios_have_names_of_their_own():
    names = [scenario["name"] for _, scenario in conformance.scenarios()]
    equal(sorted(set(names)), sorted(names), "names")


run([the_runner_notices_every_wrong_answer, scenarios_have_names_of_their_own,
     *cases()])
