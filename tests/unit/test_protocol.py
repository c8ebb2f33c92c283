#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""tests/data/protocol-1/vectors, made again by tests/lib/wire.py.

Each line is NAME FRAME FRAME..., frames in hexadecimal ("-": empty).  The same
file is held against common/wire by tests/unit/test_vectors.c.  UPDATE=1 writes
it: only for a new version of the protocol.
"""

import os
import struct
import sys
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import wire  # noqa: E402  pylint: disable=wrong-import-position

VECTORS = os.path.join(HERE, "..", "data", "protocol-1", "vectors")
GOLDEN = os.path.join(HERE, "..", "data", "format-1",
                      "00000000000000000001.log")
ID = uuid.UUID("018bcfe5-6800-7000-8000-000000000001")
LOG = wire.halves(uuid.UUID("00112233-4455-4677-8899-aabbccddeeff"))


def vectors():
    """Name and frames of each vector; test_vectors.c has the same values."""
    events = [
        wire.Event("order-1", "Placed", b'{"total":12}', b"{}",
                   ["customer:7", "shop:1"], "application/json", 2,
                   (ID.bytes, uuid.UUID(int=1).bytes, uuid.UUID(int=2).bytes)),
        wire.Event("stock-1", "Reserved"),
    ]
    checks = [("order-1", wire.EXACT, 4), ("customer-7", wire.EXISTS, 0)]
    conditions = [
        wire.Condition([(["Placed", "Paid"], ["customer:7"]),
                        ([], ["shop:1", "day:3"]), (["Closed"], [])], 12),
        ("stock-1", wire.NONE, 0), wire.Condition(None, 15)]
    second = uuid.UUID("018bcfe5-6800-7000-8000-000000000002")
    yield "append", wire.append([wire.Command(events, checks, ID),
                                 wire.Command(events[1:], (), second)])
    yield "append-conditions", wire.append([
        wire.Command(events[1:], conditions, ID, show=10),
        wire.Command(events[1:], conditions[2:], second, dry_run=True)])
    outcomes = [
        [(*wire.halves(ID), 0, 1, 0, 7, 8, 1700000000000000, 2, 0, 0, 0),
         (*wire.halves(second), 1, 0, 0, 0, 0, 0, 0, 1, 3, 0)],
        [(5,), (1,)], [(0, 0, 3, 4, 9)]]
    yield "appended", [wire.header("APPENDED", *outcomes), b"why"]
    with open(GOLDEN, "rb") as file:
        record = file.read()[704:]
    record = record[:(struct.unpack_from("<I", record, 4)[0] & 0xFFFFFF) * 8]
    yield "appended-conditions", [wire.header(
        "APPENDED",
        [(*wire.halves(ID), 1, 4, 0, 0, 0, 0, 0, 2, 0, len(record)),
         (*wire.halves(second), 0, 2, 0, 17, 17, 0, 1, 1, 0, 0)],
        [(3,)], [(0, 0, 5, 12, 16), (1, 0, 1, 0, 2), (0, 1, 4, 15, 0)]),
        record]
    yield "busy", [wire.header(
        "APPENDED", [(*wire.halves(ID), 6, 0, 250, 0, 0, 0, 0, 0, 4, 0)], [],
        []), b"full"]
    yield "read", wire.read(7, 1, 0, 100, 10, 65536, 1000,
                            [("c", "order"), ("t", "Placed")])
    yield "read-end", wire.read(8, 0, 1, 20, wait_ms=60000)
    yield "read-time", wire.read(9, 0, 2, 1700000000000000, selectors=[
        ("s", "order-1"), ("s", "order-2"), ("g", "shop:1")])
    yield "events-refused", [wire.header("EVENTS", 7, 3, 0, 0, 0, 0, 0),
                             b"from: ..."]
    yield "events", [wire.header("EVENTS", 7, 0, 1, 9, 8, 0, 2)]
    yield "events-record", [wire.header("EVENTS", 7, 0, 0, 2, 8, 0, 1), record]
    yield "ping", [wire.header("PING", 7)]
    yield "pong", [wire.header("PONG", 7, 42, *LOG, 8),
                   b"cairn-gateway 0.1"]
    yield "refused", [wire.header("REFUSED", 3), b"no message"]
    yield "projection", [wire.header("PROJECTION", 7, 1, 8, 5000)]
    yield "projected", [wire.header("PROJECTED", 7, 0, 2, 8, 8, 8, 1,
                                    1700000000000000), b"files", b""]
    yield "hello", [wire.header("HELLO", 41, 43)]
    yield "welcome", [wire.header("WELCOME", 42, *LOG, 8388608, 8)]
    yield "doorbell", [wire.header("DOORBELL", 8, 42)]
    yield "farewell", [wire.header("FAREWELL", 42, 1)]


def line(name, frames):
    return " ".join([name] + [f.hex() or "-" for f in frames]) + "\n"


def both_make_the_same_bytes():
    text = "".join(line(name, frames) for name, frames in vectors())
    if os.environ.get("UPDATE"):
        with open(VECTORS, "w", encoding="ascii") as file:
            file.write(text)
    with open(VECTORS, encoding="ascii") as file:
        kept = file.read()
    for made, wanted in zip(text.splitlines(), kept.splitlines(), strict=True):
        assert made == wanted, (made, wanted)


def every_vector_is_read():
    for name, frames in vectors():
        kind = wire.kind_of(frames[0])
        wire.fields(kind, frames[0])
        if name == "appended":
            first, second = wire.outcomes(frames)
            assert first.repeated and first.versions == [5, 1]
            assert second.code == "conflict" and second.failures == [(0, 9)]
            assert second.detail == "why"
        if name == "appended-conditions":
            first, second = wire.outcomes(frames)
            assert first.failures == [(0, 16), (1, 2)] and first.more
            assert [e["position"] for e in first.shown] == [1]
            assert second.dry_run and second.versions == [3]
            assert second.verdicts == [(0, True, wire.NO_EVENT, 15, 0)]


if __name__ == "__main__":
    for case in (both_make_the_same_bytes, every_vector_is_read):
        case()
        print(f"[       OK ] {case.__name__}")
