# SPDX-License-Identifier: MPL-2.0
"""Commands, outcomes, queries and events, as values."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

ENDLESS = 0
NIL = uuid.UUID(int=0)


def uuid7() -> uuid.UUID:
    """A new UUIDv7: command ids carry their time, so that looking for an
    earlier use of a new one costs nothing."""
    number = (time.time_ns() // 1_000_000) << 80
    number |= int.from_bytes(os.urandom(10), "big")
    number = number & ~(0xF << 76) | 7 << 76
    return uuid.UUID(int=number & ~(0x3 << 62) | 0x2 << 62)


class Expect(IntEnum):
    """What a check wants; the numbers of the protocol."""

    ANY = 0
    NONE = 1
    EXISTS = 2
    EXACT = 3
    NO_EVENT = 4
    NO_MATCH = 5


@dataclass(frozen=True, slots=True)
class Check:
    """An expectation of a stream, whether the command writes to it or not."""

    stream: str
    expect: Expect
    version: int = 0


def no_stream(stream: str) -> Check:
    """The stream has no event."""
    return Check(stream, Expect.NONE)


def stream_exists(stream: str) -> Check:
    """The stream has at least one event."""
    return Check(stream, Expect.EXISTS)


def at_version(stream: str, version: int) -> Check:
    """The stream is at this version; 0: it has no event."""
    return Check(stream, Expect.EXACT, version)


@dataclass(frozen=True, slots=True)
class Item:
    """One alternative of a condition: any of the types, all of the tags."""

    types: Sequence[str] = ()
    tags: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Condition:
    """Fails if an event behind position `after` matches one of the items;
    without `items`, if there is any event."""

    items: Sequence[Item] | None
    after: int = 0


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to be stored."""

    stream: str
    type: str
    data: bytes = b""
    meta: bytes = b""
    tags: Sequence[str] = ()
    content_type: str = ""
    schema: int = 1
    id: uuid.UUID | None = None
    correlation_id: uuid.UUID | None = None
    causation_id: uuid.UUID | None = None

    @classmethod
    def json(cls, stream: str, type: str, value: Any, **more: Any) -> NewEvent:
        """An event whose data is a value as JSON."""
        data = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        return cls(stream, type, data.encode(),
                   content_type="application/json", **more)


@dataclass(frozen=True, slots=True)
class Command:
    """Events that are stored as one commit, or not at all.

    The same id never takes effect twice: to ask again, also after a crash,
    send the same events with the same id.
    """

    events: Sequence[NewEvent]
    checks: Sequence[Check | Condition] = ()
    id: uuid.UUID = field(default_factory=uuid7)
    show: int = 0
    """So many of the events that caused a conflict are shown at most."""
    dry_run: bool = False
    """Decide, and store nothing."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a check came out."""

    check: int
    """Its place among the checks of the command, from 0."""
    holds: bool
    expect: Expect | int
    expected: int
    """The version, or the position of a condition, as in the command."""
    actual: int
    """The version of the stream, 0: none; of a condition the position of the
    newest event that matches."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event as it was stored."""

    position: int
    version: int
    time_us: int
    id: uuid.UUID
    correlation_id: uuid.UUID | None
    causation_id: uuid.UUID | None
    schema: int
    stream: str
    type: str
    content_type: str
    tags: tuple[str, ...]
    meta: bytes
    data: bytes

    def json(self) -> Any:
        """The data, read as JSON."""
        return json.loads(self.data)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a command."""

    id: uuid.UUID
    code: str
    """accepted, conflict, rejected, invalid, too large, denied, no space,
    damaged; or unknown, if the deadline has passed."""
    repeated: bool = False
    """It had taken effect before: this is the outcome of then."""
    dry_run: bool = False
    more: bool = False
    """Not all of the events that caused a conflict are in `events`."""
    retry_ms: int = 0
    first_position: int = 0
    last_position: int = 0
    time_us: int = 0
    versions: tuple[int, ...] = ()
    """Of each stream, in the order in which they first appear."""
    verdicts: tuple[Verdict, ...] = ()
    detail: str = ""
    events: tuple[Event, ...] = ()
    sent: bool = True
    """False: it never left, so nothing can have happened."""

    @property
    def accepted(self) -> bool:
        """Its events are on stable storage."""
        return self.code == "accepted"

    @property
    def failures(self) -> tuple[Verdict, ...]:
        """The checks that do not hold."""
        return tuple(v for v in self.verdicts if not v.holds)

    def text(self) -> str:
        """It as a sentence."""
        text = f"{self.code}: {self.detail}" if self.detail else self.code
        for v in self.failures:
            text += (f"; check {v.check}: expected "
                     f"{_name_of(v.expect)} {v.expected}, found {v.actual}")
        return text


def _name_of(expect: int) -> str:
    try:
        return Expect(expect).name.lower().replace("_", " ")
    except ValueError:
        return str(expect)


@dataclass(frozen=True, slots=True)
class Query:
    """What to read.  One stream and nothing else is read by versions, all
    else by positions."""

    streams: Sequence[str] = ()
    categories: Sequence[str] = ()
    types: Sequence[str] = ()
    tags: Sequence[str] = ()
    start: int = 0
    """A version or position; 0: the first, or backward the newest."""
    from_end: int | None = None
    """Instead: the last n events and what comes; forward only."""
    from_time_us: int | None = None
    """Instead: the first event at or after this time."""
    backward: bool = False
    max_events: int = ENDLESS
    """In one page."""
    max_bytes: int = ENDLESS

    @property
    def by_version(self) -> bool:
        """Whether it reads one stream, by versions."""
        return len(self.streams) == 1 and not (
            self.categories or self.types or self.tags)


@dataclass(frozen=True, slots=True)
class Page:
    """One answer to a query."""

    events: tuple[Event, ...]
    at_end: bool
    """There was no more in this direction when it was read."""
    next: int
    """Where the next page starts; 0: a backward read is at the beginning."""
    watermark: int
    """The highest durable position."""
    stream_version: int


@dataclass(frozen=True, slots=True)
class Projection:
    """How a projection is."""

    name: str
    code: str
    state: str
    checkpoint: int
    watermark: int
    events: int
    transactions: int
    time_us: int
    text: str
