#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""doc/PROTOCOL.md is enough to write a client: tests/lib/fromdoc.py is one,
written from that page alone, and here it speaks with real daemons.  What is
expected of them is what the page says; keep both so."""

import json
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
# pylint: disable=wrong-import-position
from system import (FILES_SQL, ROOT, Pipeline, equal, expect,  # noqa: E402
                    run, wait_until)

try:
    import zmq
except ImportError:
    print("SKIP: python3-zmq is not installed")
    sys.exit(77)

import fromdoc  # noqa: E402

DATA = os.path.join(ROOT, "tests", "data", "protocol-1")


class Daemons:
    def __init__(self, **configs):
        self.pipeline = Pipeline([FILES_SQL])
        for who, text in configs.items():
            self.pipeline.config(who, text)
        self.clients = []

    def __enter__(self):
        self.pipeline.up()
        return self

    def __exit__(self, *_):
        for client in self.clients:
            client.close()
        self.pipeline.close()

    def client(self, name, kind=zmq.DEALER):
        client = fromdoc.Client("ipc://" + self.pipeline.path("run", name),
                                kind)
        self.clients.append(client)
        return client


def event(stream, kind="T", **more):
    return dict(stream=stream, type=kind, **more)


def command(*events, **more):
    return dict(events=list(events), **more)


def check(stream, expectation, version=0):
    return {"stream": stream, "expect": expectation, "version": version}


def condition(after, *items):
    query = {"after": after}
    if items:
        query["items"] = list(items)
    return {"condition": query}


def it_makes_and_reads_the_vectors():
    with open(os.path.join(DATA, "vectors"), encoding="ascii") as file:
        vectors = {name: [bytes.fromhex(f.strip("-")) for f in frames]
                   for name, *frames in map(str.split, file)}
    with open(os.path.join(DATA, "values.json"), encoding="utf-8") as file:
        values = json.load(file)
    for case in values:
        name, v = case["vector"], case["values"]
        frames = vectors[name]
        if case["kind"] == "APPEND":
            equal(fromdoc.append(v["commands"]), frames, name)
        elif case["kind"] == "READ":
            kind, start = next(
                ((k, v[w]) for k, w in enumerate(("from", "from_end",
                                                  "from_time")) if w in v))
            equal(fromdoc.read(v["request"], v.get("backward", 0), start, kind,
                               v.get("events", 0), v.get("bytes", 0),
                               v["wait_ms"], **{
                                   w: v.get(w, ()) for w in (
                                       "streams", "categories", "types",
                                       "tags")}), frames, name)
        elif case["kind"] == "PING":
            equal([fromdoc.image(fromdoc.PING, v["request"])], frames, name)
        elif case["kind"] == "PROJECTION":
            equal([fromdoc.image(fromdoc.PROJECTION, v["request"],
                                 v["operation"], v["position"],
                                 v["wait_ms"])], frames, name)
        else:
            equal(fromdoc.answer(frames)[1], v, name)
            for cut in range(len(frames[0])):
                try:
                    fromdoc.answer([frames[0][:cut], *frames[1:]])
                except fromdoc.Malformed:
                    continue
                expect(False, f"{name}: read with {cut} bytes of its header")
    record = vectors["events-record"][1]
    for at in range(len(record)):
        changed = bytearray(record)
        changed[at] ^= 1
        try:
            fromdoc.records(bytes(changed))
        except fromdoc.Malformed:
            continue
        # Only a record of another kind may be stepped over.
        equal(at, 7, "a changed byte that is not found")


def appends(daemons):
    commands = daemons.client("commands")

    def one(c):
        return commands.append([c])[0]

    def failed(outcome):
        return [(v["check"], v["holds"], v["expect"], v["expected"],
                 v["actual"]) for v in outcome["verdicts"]]

    first = command(event("order-1", "Placed", tags=["shop:1"], data="1"),
                    event("stock-1", "Reserved"), event("order-1", "Paid"))
    said = one(first)
    equal((said["code"], said["first"], said["last"], said["versions"],
           said["repeated"]), ("accepted", 1, 3, [2, 1], False), "accepted")
    again = one(first)
    equal((again["repeated"], again["first"], again["time"],
           again["versions"]), (True, 1, said["time"], [2, 1]), "a retry")
    equal(one(command(event("order-1", "Other"), id=first["id"]))["code"],
          "invalid", "the id with other events")

    # Every expectation that holds, then all that do not.
    said = one(command(event("order-1", tags=["shop:1"]), checks=[
        check("x-1", "any"), check("x-1", "none"), check("order-1", "exists"),
        check("order-1", "exact", 2), check("x-1", "exact"),
        condition(3), condition(1, {"tags": ["shop:1"]})]))
    equal((said["code"], said["first"], said["verdicts"]), ("accepted", 4, []),
          "all checks hold")
    bad = command(event("order-1"), show=10, checks=[
        check("order-1", "none"), check("x-1", "exists"),
        check("order-1", "exact", 2), check("stock-1", "exists"),
        condition(3), condition(0, {"types": ["Placed", "No"]},
                                {"tags": ["shop:1"], "types": ["T"]})])
    said = one(bad)
    equal(said["code"], "conflict", "checks that do not hold")
    equal(failed(said), [
        (0, False, "none", 0, 3), (1, False, "exists", 0, 0),
        (2, False, "exact", 2, 3), (4, False, "no_event", 3, 4),
        (5, False, "no_match", 0, 4)], "verdicts")
    equal(([e["position"] for e in said["events"]], said["more"]),
          ([1, 3, 4], False), "events of the conflict")
    said = one(dict(bad, show=1, id=None) | {"id": fromdoc.command_id()})
    equal(([e["position"] for e in said["events"]], said["more"]),
          ([1], True), "one event of the conflict")

    # Dry run: a verdict of each check, and nothing is stored.
    dry = command(event("order-1"), dry_run=True,
                  checks=[check("order-1", "exact", 3)])
    said = one(dry)
    equal((said["code"], said["dry_run"], said["first"], said["time"],
           failed(said)), ("accepted", True, 5, 0, [(0, True, "exact", 3, 3)]),
          "dry run")
    said = one(dict(dry, dry_run=False))
    equal((said["code"], said["repeated"], said["first"]),
          ("accepted", False, 5), "the same id afterwards")
    said = one(dict(dry))
    equal((said["repeated"], said["first"]), (True, 5), "dry run of a done id")

    # The id of an event can be told beforehand; a REQ gets its answer.
    asked = daemons.client("commands", zmq.REQ)
    made = command(event("order-2", meta="m", schema=7, content_type="x"))
    equal(asked.append([made])[0]["last"], 6, "by REQ")
    many = [command(event("many-1", data=str(i))) for i in range(300)]
    said = commands.append(many)
    equal([o["versions"] for o in said], [[i + 1] for i in range(300)],
          "in the order sent")
    return made["id"]


def reads(daemons, made):
    queries = daemons.client("queries")

    def at(**what):
        page = queries.read(**what)
        equal(page["code"], "accepted", str(what))
        return [e["position"] for e in page["events"]], page

    found, page = at(events=6)
    equal((found, page["next"], page["at_end"], page["watermark"]),
          ([1, 2, 3, 4, 5, 6], 7, False, 306), "all, forward")
    last = page["events"][5]
    equal((last["id"], last["schema"], last["content_type"], last["meta"],
           last["data"], last["version"]),
          (fromdoc.event_id(made, 0), 7, "x", "m", "", 1), "the fields")
    equal(at(start=7, events=2)[0], [7, 8], "going on")
    found, page = at(backward=True, events=2)
    equal((found, page["next"]), ([306, 305], 304), "all, backward")
    found, page = at(backward=True, start=2)
    equal((found, page["next"], page["at_end"]), ([2, 1], 0, True),
          "to the beginning")
    found, page = at(streams=["order-1"])
    equal((found, page["stream_version"], page["at_end"]),
          ([1, 3, 4, 5], 4, True), "a stream")
    equal(at(streams=["order-1"], start=2, events=2)[0], [3, 4], "by version")
    equal(at(streams=["order-1"], backward=True, events=1)[0], [5], "newest")
    found, page = at(streams=["nobody-1"])
    equal((found, page["stream_version"]), ([], 0), "an empty stream")
    equal(at(tags=["shop:1"])[0], [1, 4], "by tag")
    equal(at(categories=["order"], types=["T"])[0], [4, 5, 6], "by both")
    equal(at(streams=["stock-1", "order-2"])[0], [2, 6], "two streams")
    equal(at(types=["Placed", "Paid"])[0], [1, 3], "two types")
    equal(at(start_kind=1, start=2)[0], [305, 306], "the last two")
    moment = at(start=4, events=1)[1]["events"][0]["time"]
    equal(at(start_kind=2, start=moment, events=1)[0], [4], "from a time")
    equal(len(at(size=1)[0]), 1, "at least one event")


def waits(daemons):
    queries, live = daemons.client("queries"), daemons.client("live", zmq.SUB)
    live.socket.set(zmq.SUBSCRIBE, b"late-")
    began = time.monotonic()
    page = queries.read(start=307, wait=300)
    equal((page["events"], page["at_end"], page["next"]), ([], True, 307),
          "a long poll in vain")
    expect(time.monotonic() - began >= 0.29, "it came before its time")
    began = time.monotonic()
    queries.read(backward=True, start=1, wait=3000, types=["nothing"])
    expect(time.monotonic() - began < 2, "it waits backward")
    writer = daemons.client("commands")

    def write():
        time.sleep(0.3)
        for name in ("late-1", "other-1", "late-2"):
            writer.append([command(event(name))])
    thread = threading.Thread(target=write)
    start = queries.read(start_kind=1)["next"]
    thread.start()
    began = time.monotonic()
    got = queries.follow(2, start=start, wait=5000, categories=["late"])
    thread.join()
    expect(time.monotonic() - began < 4, "the long poll slept on")
    equal([e["stream"] for e in got], ["late-1", "late-2"], "followed")
    for name in ("late-1", "late-2"):
        expect(live.socket.poll(5000), "nothing on live")
        stream, record = live.socket.recv_multipart()
        equal((stream.decode(), fromdoc.records(record)[0]["stream"]),
              (name, name), "live")

    projection = daemons.client("projections/files")
    said = projection.projection(1, 309, 5000)
    equal((said["code"], said["name"]), ("accepted", "files"), "a wait")
    expect(said["checkpoint"] >= 309, f"checkpoint {said['checkpoint']}")
    equal(projection.projection(0)["state"], "live", "state")
    _, said = projection.raw([fromdoc.image(8, 99, 1, 1000, 100)])
    equal((said["request"], said["code"]), (99, "busy"), "a wait in vain")
    pongs = [daemons.client(n).ping() for n in ("commands", "queries")]
    equal(pongs[0]["log_id"], pongs[1]["log_id"], "log ids")
    expect(pongs[0]["log_id"] is not None, "no log id")
    expect(pongs[1]["name"].startswith("cairn-publisher "), pongs[1]["name"])
    equal(projection.ping()["log_id"], None, "a projector's log id")


def says_no(daemons):
    commands, queries = daemons.client("commands"), daemons.client("queries")

    def refused(client, frames, code, part=""):
        kind, said = client.raw(frames)
        equal((kind, said["code"]), (fromdoc.REFUSED, code), str(said))
        expect(part in said["text"], said["text"])

    for client in (commands, queries, daemons.client("projections/files")):
        refused(client, [b"no image"], "invalid")
        refused(client, [fromdoc.image(5, 1, version=2)], "invalid", "1")
        refused(client, [fromdoc.image(5, 1) + b"\0"], "invalid")
        refused(client, [fromdoc.image(5, 1)] + [b""] * 9, "too_large")
        refused(client, [fromdoc.image(7, 1)], "invalid")
    refused(queries, fromdoc.append([command(event("a-1"))]), "invalid")
    refused(commands, fromdoc.read(), "invalid")
    refused(commands, fromdoc.append([]), "invalid")
    head, body = fromdoc.append([command(event("a-1"),
                                         id=fromdoc.command_id())])
    refused(commands, [head, body + b"x"], "invalid")
    refused(commands, fromdoc.append([{}] * 4097), "too_large")
    refused(queries, [fromdoc.read()[0], bytes(65537)], "too_large")
    chosen = fromdoc.Client.__new__(fromdoc.Client)
    chosen.socket = zmq.Context.instance().socket(zmq.DEALER)
    chosen.socket.set(zmq.LINGER, 0)
    chosen.socket.set(zmq.ROUTING_ID, b"me")
    chosen.socket.connect("ipc://" + daemons.pipeline.path("run", "commands"))
    daemons.clients.append(chosen)
    equal(chosen.raw([fromdoc.image(5, 1)])[0], fromdoc.PONG, "a name")
    kind, said = daemons.client("queries").raw([bytes((64 << 20) + 1)])
    equal((kind, said["code"]), (fromdoc.REFUSED, "too_large"), str(said))

    ok, item = event("a-1"), {"tags": ["t"]}
    for code, where, bad in [
            ("invalid", "", command()),
            ("invalid", "", command(ok, flags=4)),
            ("invalid", "event 1: ", command(ok, event("a\n1"))),
            ("invalid", "event 0: ", command(event(""))),
            ("invalid", "event 0: ", command(event(b"\xff"))),
            ("too_large", "event 0: ", command(event("s" * 256))),
            ("invalid", "event 0: ", command(event("$a"))),
            ("invalid", "check 0: ",
             command(ok, checks=[check("$a", "any")])),
            ("invalid", "event 0: tag 1: ",
             command(event("a-1", tags=["t", "t"]))),
            ("invalid", "check 0: ", command(ok, checks=[condition(10**9)])),
            ("invalid", "check 0: ", command(ok, checks=[
                condition(0, {"tags": ["t", "t"]})])),
            ("invalid", "check 0: ", command(ok, checks=[condition(0, {})])),
            ("too_large", "", command(*[ok] * 4097)),
            ("too_large", "", command(ok, checks=[condition(0, *[item] * 65)])),
            ("too_large", "event 0: ",
             command(event("a-1", tags=[str(n) for n in range(33)]))),
            ("too_large", "event 0: ",
             command(event("a-1", data=bytes(1024**2 + 1))))]:
        said = commands.append([bad])[0]
        equal(said["code"], code, f"{str(bad)[:200]}: {said}")
        expect(said.get("detail", "").startswith(where), f"{where}: {said}")
        expect(said.get("detail"), f"no detail: {said}")
    _, said = commands.raw(fromdoc.append([command(ok)]))
    equal((said["outcomes"][0]["code"], said["outcomes"][0]["id"]),
          ("invalid", None), "no command id")
    for field, what in (("from", dict(start_kind=3)),
                        ("direction", dict(backward=2)),
                        ("from", dict(backward=True, start_kind=1)),
                        ("selector", dict(streams=["\n"]))):
        said = queries.read(**what)
        equal(said["code"], "invalid", f"{what}: {said}")
        expect(said["text"].startswith(field + ": "), f"{what}: {said}")
    said = queries.read(tags=["g" * 256])
    equal((said["code"], said["text"][:10]), ("too_large", "selector: "), said)
    refused(queries, fromdoc.read(types=["t"] * 65), "too_large")


def it_speaks_with_the_daemons():
    with Daemons() as daemons:
        made = appends(daemons)
        reads(daemons, made)
        waits(daemons)
        says_no(daemons)


def what_is_put_off_comes_again_with_the_same_id():
    with Daemons() as daemons:
        commands = daemons.client("commands")
        commands.append([command(event("a-1"))])
        daemons.pipeline.kill("writer")
        late = threading.Timer(
            1.0, lambda: daemons.pipeline.dev("up"))
        late.start()
        said = commands.append([command(event("a-1")) for _ in range(3)], 30)
        late.join()
        equal([(o["code"], o["versions"]) for o in said],
              [("accepted", [n]) for n in (2, 3, 4)], "outcomes")
        page = daemons.client("queries").read(streams=["a-1"])
        equal(page["stream_version"], 4, "each is stored once")
        # A gateway that has just begun knows where the log is.
        daemons.pipeline.dev("restart", "gateway")
        again = daemons.client("commands")
        wait_until(lambda: again.ping()["log_id"], "the log's id")
        equal(again.ping()["watermark"], page["watermark"], "watermark")


run([it_makes_and_reads_the_vectors, it_speaks_with_the_daemons,
     what_is_put_off_comes_again_with_the_same_id])
