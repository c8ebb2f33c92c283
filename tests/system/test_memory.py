#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""What the writer keeps in memory of its own, which is no file that it maps,
does not grow with the number of streams."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
# pylint: disable=wrong-import-position
import wire  # noqa: E402
from peer import local  # noqa: E402
from system import Pipeline, equal, expect, run, wait_until  # noqa: E402

FEW, MANY = 1000, 200000
PER_COMMIT = 1000
# man/cairn-writer.8 says so: what one word a stream would take, and less.
MORE_MAX = 1024  # KiB


def anonymous(pid):
    """KiB that are not of files."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        for line in file:
            if line.startswith("Anonymous:"):
                return int(line.split()[1])
    raise RuntimeError("smaps_rollup without Anonymous")


def commit(first, streams):
    return wire.Command([wire.Event(f"stream-{(first + i) % streams:07}")
                         for i in range(PER_COMMIT)])


def memory_with(streams):
    """KiB of a writer after MANY events in so many streams."""
    p = Pipeline()
    try:
        p.up()
        client = local(p)
        for first in range(0, MANY, PER_COMMIT):
            outcome, = client.append(commit(first, streams))
            equal(outcome.code, "accepted", outcome.detail)
        # The last table is the one for so many, and is in use.
        keys = wait_until(lambda: p.status()["writer"]["position"] == MANY
                          and os.listdir(p.path("log")), "the watermark")
        outcome, = client.append(wire.Command(
            [wire.Event("stream-0000000")],
            [("stream-0000000", wire.EXACT, MANY // streams)]))
        equal(outcome.code, "accepted", "the version of a stream")
        client.close()
        found = anonymous(p.pid("writer"))
        tables = [os.path.getsize(p.path("log", name)) for name in keys
                  if name.startswith("table.")]
        print(f"{streams} streams: {found} KiB, and tables of "
              f"{sum(tables) >> 10} KiB")
        return found, max(tables)
    finally:
        p.close()


def the_writer_takes_no_more_memory_for_more_streams():
    few, small = memory_with(FEW)
    many, large = memory_with(MANY)
    expect(large >= 16 * MANY and large > small,
           f"tables of {small} and {large} bytes: are there so many streams?")
    expect(many - few <= MORE_MAX,
           f"{FEW} streams: {few} KiB, {MANY} streams: {many} KiB")


run([the_writer_takes_no_more_memory_for_more_streams])
