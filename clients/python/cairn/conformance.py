# SPDX-License-Identifier: MPL-2.0
"""A driver for the conformance kit: conformance [--async] RUN [NAME=VALUE...].

Reads requests as lines of JSON on standard input and writes the answers as
lines of JSON on standard output; tests/conformance/README.md tells both.
"""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from . import (AsyncClient, Check, Client, Command, Condition, DamagedError,
               Event, Expect, Item, NewEvent, Options, Outcome, Page,
               ProjectionFailedError, ProtocolError, Query, RefusedError,
               UnreachableError, WaitTimeoutError, wire)

SAFE = 2 ** 53  # beyond it numbers travel as text


def _out(number: int) -> int | str:
    return number if number < SAFE else str(number)


def _id(text: str | None) -> uuid.UUID | None:
    return None if text is None else uuid.UUID(text)


def _check(spec: dict[str, Any]) -> Check | Condition:
    if "condition" in spec:
        items = spec["condition"].get("items")
        return Condition(None if items is None else [
            Item(i.get("types", ()), i.get("tags", ())) for i in items],
            int(spec["condition"].get("after", 0)))
    return Check(spec["stream"], Expect[spec["expect"].upper()],
                 int(spec.get("version", 0)))


def _new_event(spec: dict[str, Any]) -> NewEvent:
    return NewEvent(
        spec["stream"], spec["type"], spec.get("data", "").encode(),
        spec.get("meta", "").encode(), spec.get("tags", ()),
        spec.get("content_type", ""), spec.get("schema", 1),
        _id(spec.get("id")), _id(spec.get("correlation_id")),
        _id(spec.get("causation_id")))


def _command(spec: dict[str, Any]) -> Command:
    return Command([_new_event(e) for e in spec.get("events", ())],
                   [_check(c) for c in spec.get("checks", ())],
                   uuid.UUID(spec["id"]), spec.get("show", 0),
                   spec.get("dry_run", False))


def _query(spec: dict[str, Any]) -> Query:
    def number(key: str) -> int | None:
        return int(spec[key]) if key in spec else None

    return Query(
        spec.get("streams", ()), spec.get("categories", ()),
        spec.get("types", ()), spec.get("tags", ()),
        int(spec.get("from", 0)), number("from_end"), number("from_time"),
        spec.get("backward", False), spec.get("events", 0),
        spec.get("bytes", 0))


def _event(e: Event) -> dict[str, Any]:
    return {"position": _out(e.position), "version": _out(e.version),
            "time": _out(e.time_us), "id": str(e.id),
            "correlation_id": e.correlation_id and str(e.correlation_id),
            "causation_id": e.causation_id and str(e.causation_id),
            "schema": e.schema, "stream": e.stream, "type": e.type,
            "content_type": e.content_type, "tags": list(e.tags),
            "meta": e.meta.decode(), "data": e.data.decode()}


def _outcome(o: Outcome) -> dict[str, Any]:
    return {"id": str(o.id), "code": o.code, "repeated": o.repeated,
            "dry_run": o.dry_run, "more": o.more, "retry_ms": o.retry_ms,
            "first": _out(o.first_position),
            "last": _out(o.last_position), "time": _out(o.time_us),
            "versions": [_out(v) for v in o.versions],
            "verdicts": [{"check": v.check, "holds": v.holds,
                          "expect": Expect(v.expect).name.lower(),
                          "expected": _out(v.expected),
                          "actual": _out(v.actual)} for v in o.verdicts],
            "detail": o.detail, "events": [_event(e) for e in o.events]}


def _page(p: Page) -> dict[str, Any]:
    return {"events": [_event(e) for e in p.events], "at_end": p.at_end,
            "next": _out(p.next), "watermark": _out(p.watermark),
            "stream_version": _out(p.stream_version)}


class Blocking:
    """The requests with Client."""

    def __init__(self, options: Options) -> None:
        self.client = Client(options)

    def append(self, spec: dict[str, Any]) -> dict[str, Any]:
        commands = [_command(c) for c in spec["commands"]]
        return {"outcomes": [_outcome(o) for o in
                             self.client.append_many(commands)]}

    def read(self, spec: dict[str, Any]) -> dict[str, Any]:
        page = self.client.page(_query(spec), spec.get("wait_ms", 0) / 1000)
        return _page(page)

    def read_all(self, spec: dict[str, Any]) -> dict[str, Any]:
        return {"events": [_event(e) for e in self.client.read(_query(spec))]}

    def follow(self, spec: dict[str, Any]) -> dict[str, Any]:
        found: list[dict[str, Any]] = []
        for event in self.client.follow(_query(spec)):
            found.append(_event(event))
            if len(found) == spec["count"]:
                break
        return {"events": found}

    def wait(self, spec: dict[str, Any]) -> dict[str, Any]:
        checkpoint = self.client.wait(spec["projection"], int(spec["position"]),
                                      spec["wait_ms"] / 1000)
        return {"checkpoint": _out(checkpoint)}


class Asyncio:
    """The requests with AsyncClient."""

    def __init__(self, options: Options) -> None:
        self.client = AsyncClient(options)

    async def append(self, spec: dict[str, Any]) -> dict[str, Any]:
        commands = [_command(c) for c in spec["commands"]]
        return {"outcomes": [_outcome(o) for o in
                             await self.client.append_many(commands)]}

    async def read(self, spec: dict[str, Any]) -> dict[str, Any]:
        page = await self.client.page(_query(spec),
                                      spec.get("wait_ms", 0) / 1000)
        return _page(page)

    async def read_all(self, spec: dict[str, Any]) -> dict[str, Any]:
        return {"events": [_event(e)
                           async for e in self.client.read(_query(spec))]}

    async def follow(self, spec: dict[str, Any]) -> dict[str, Any]:
        found: list[dict[str, Any]] = []
        async for event in self.client.follow(_query(spec)):
            found.append(_event(event))
            if len(found) == spec["count"]:
                break
        return {"events": found}

    async def wait(self, spec: dict[str, Any]) -> dict[str, Any]:
        checkpoint = await self.client.wait(
            spec["projection"], int(spec["position"]), spec["wait_ms"] / 1000)
        return {"checkpoint": _out(checkpoint)}


def encode(spec: dict[str, Any]) -> dict[str, Any]:
    """A message that a client sends: its values as frames."""
    values = spec["values"]
    if spec["kind"] == "APPEND":
        frames = wire.encode_append([wire.encode_command(_command(c))
                                     for c in values["commands"]])
    elif spec["kind"] == "READ":
        frames = wire.encode_read(values["request"], _query(values),
                                  values["wait_ms"])
    elif spec["kind"] == "PING":
        frames = wire.encode_ping(values["request"])
    else:
        frames = wire.encode_projection(
            values["request"], values["operation"], values["position"],
            values["wait_ms"])
    return {"frames": [frame.hex() for frame in frames]}


def decode(spec: dict[str, Any]) -> dict[str, Any]:
    """A message that a client gets: its frames as values."""
    frames = [bytes.fromhex(frame) for frame in spec["frames"]]
    kind = wire.header_kind(frames[0])
    if kind == "APPENDED":
        return {"outcomes": [_outcome(o) for o in wire.decode_appended(frames)]}
    if kind == "EVENTS":
        answer = wire.decode_events(frames)
        return {"request": answer.request, "code": answer.code,
                "text": answer.text, **_page(answer.page)}
    if kind == "PONG":
        request, instance, log_id, watermark, name = wire.decode_pong(frames)
        return {"request": request, "instance": _out(instance),
                "log_id": str(log_id), "watermark": _out(watermark),
                "name": name}
    if kind == "REFUSED":
        code, text = wire.decode_refused(frames)
        return {"code": code, "text": text}
    request, found = wire.decode_projected(frames)
    return {"request": request, "code": found.code, "state": found.state,
            "checkpoint": _out(found.checkpoint),
            "watermark": _out(found.watermark), "events": found.events,
            "transactions": found.transactions, "time": _out(found.time_us),
            "name": found.name, "text": found.text}


def _failure(problem: Exception) -> dict[str, Any]:
    """An exception as an answer."""
    if isinstance(problem, RefusedError):
        return {"error": problem.code, "detail": problem.text}
    names: dict[type, str] = {
        ValueError: "argument", WaitTimeoutError: "timeout",
        UnreachableError: "unreachable", DamagedError: "damaged",
        ProjectionFailedError: "failed", ProtocolError: "protocol"}
    for kind, name in names.items():
        if isinstance(problem, kind):
            return {"error": name, "detail": str(problem)}
    raise problem


def _option(text: str) -> tuple[str, Any]:
    """NAME=VALUE as an argument of Options."""
    name, _, value = text.partition("=")
    if name == "deadline_ms":
        return "deadline", int(value) / 1000
    return name, value.encode() if name.endswith("_key") else value


def serve(options: Options) -> None:
    """Answers with Client."""
    driver = Blocking(options)
    operations: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
        "append": driver.append, "read": driver.read,
        "read_all": driver.read_all, "follow": driver.follow,
        "wait": driver.wait, "encode": encode, "decode": decode}
    for line in sys.stdin:
        spec = json.loads(line)
        try:
            answer = operations[spec["op"]](spec)
        except Exception as problem:  # pylint: disable=broad-except
            answer = _failure(problem)
        print(json.dumps(answer), flush=True)
    driver.client.close()


async def serve_async(options: Options) -> None:
    """Answers with AsyncClient."""
    driver = Asyncio(options)
    operations: dict[str, Callable[[dict[str, Any]],
                                   Awaitable[dict[str, Any]]]] = {
        "append": driver.append, "read": driver.read,
        "read_all": driver.read_all, "follow": driver.follow,
        "wait": driver.wait}
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        spec = json.loads(line)
        try:
            answer = await operations[spec["op"]](spec)
        except Exception as problem:  # pylint: disable=broad-except
            answer = _failure(problem)
        print(json.dumps(answer), flush=True)
    await driver.client.close()


def main() -> None:
    """Serves until the end of standard input."""
    arguments = sys.argv[1:]
    is_async = "--async" in arguments
    run, *more = [a for a in arguments if a != "--async"]
    options = Options(run, **dict(_option(text) for text in more))
    if is_async:
        asyncio.run(serve_async(options))
    else:
        serve(options)


if __name__ == "__main__":
    main()
