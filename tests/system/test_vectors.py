#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""tests/data/protocol-1: each client library makes the bytes of the vectors
out of the values beside them, or the values out of the bytes.  What is in
libcairn is held against the same bytes by tests/unit/test_vectors.c."""

import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
# pylint: disable=wrong-import-position
import clients  # noqa: E402
from system import BUILD, ROOT, equal, expect, run  # noqa: E402

if not clients.HAS_ZMQ:
    print("SKIP: python3-zmq is not installed")
    sys.exit(77)

import conformance  # noqa: E402

DATA = os.path.join(ROOT, "tests", "data", "protocol-1")
SENT = ("APPEND", "READ", "PING", "PROJECTION")
# No whole message; spoken between daemons.
OTHERS = {"events", "hello", "welcome", "doorbell", "farewell"}


def vectors():
    """Frames, in hexadecimal, by name."""
    with open(os.path.join(DATA, "vectors"), encoding="ascii") as file:
        return {name: ["" if f == "-" else f for f in frames]
                for name, *frames in map(str.split, file)}


def values():
    with open(os.path.join(DATA, "values.json"), encoding="utf-8") as file:
        return json.load(file)


def every_vector_has_values():
    equal({v["vector"] for v in values()} | OTHERS, set(vectors()), "names")


def what_is_in_libcairn_makes_the_same_bytes():
    done = subprocess.run(
        [os.path.join(BUILD, "tests", "unit", "test_vectors_libcairn")],
        cwd=ROOT, capture_output=True, text=True, check=False)
    equal(done.returncode, 0, f"it said {done.stdout}{done.stderr}; exit code")


def make_and_read(library):
    frames = vectors()
    room = conformance.Room("", 0)
    driver = conformance.Driver(library.driver, "/nonexistent",
                                env=dict(os.environ, **library.env))
    for v in values():
        name = v["vector"]
        if v["kind"] in SENT:
            made = driver.ask({"op": "encode", "kind": v["kind"],
                               "values": v["values"]})
            equal(made, {"frames": frames[name]}, name)
            continue
        read = driver.ask({"op": "decode", "frames": frames[name]})
        fault = conformance.differs(read, v["values"], room, name)
        expect(fault is None, fault)
        # Cut or bent anywhere, it is refused, or says something else.
        header = frames[name][0]
        for cut in range(0, len(header), 2):
            bent = driver.ask({"op": "decode", "frames": [
                header[:cut], *frames[name][1:]]})
            equal(bent.get("error"), "protocol", f"{name} cut at {cut // 2}")
    bent = frames["events-record"]
    for at in range(0, len(bent[1]), 2):
        byte = int(bent[1][at:at + 2], 16) ^ 1
        other = bent[1][:at] + f"{byte:02x}" + bent[1][at + 2:]
        found = driver.ask({"op": "decode", "frames": [bent[0], other]})
        equal(found.get("error"), "damaged", f"record bent at {at // 2}")
    driver.close()


def cases():
    for library in clients.libraries():
        if not library.name.startswith(("python", "node")) or \
                library.name == "python_asyncio":
            continue

        def case(library=library):
            make_and_read(library)
        case.__name__ = f"{library.name}_makes_and_reads_every_vector"
        yield case


run([every_vector_has_values, what_is_in_libcairn_makes_the_same_bytes,
     *cases()])
