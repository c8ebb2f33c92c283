# SPDX-License-Identifier: MPL-2.0
"""What is in flight, and when it is sent again; without any socket.

Both clients, the blocking one and that of asyncio, drive these.  Times are
seconds of a clock that never goes back.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from . import wire
from .errors import (CairnError, ProtocolError, RefusedError,
                     UnreachableError)
from .model import Command, Outcome

BACKOFF_MIN = 0.05
BACKOFF_MAX = 1.0
SILENCE = 5.0  # without any answer: the connection may be dead
RESEND = 1.0  # a request without an answer is asked again
MESSAGE_BYTES = 256 << 10
AGAIN = ("busy", "unknown", "stopping")
CLOSED = "the client has been closed"


class Backoff:
    """How long to wait until something that was put off is asked again, at
    most until its deadline; None: it has passed."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._next = BACKOFF_MIN

    def next(self, now: float) -> float | None:
        if now >= self._deadline:
            return None
        pause = min(self._next, self._deadline - now)
        self._next = min(2 * self._next, BACKOFF_MAX)
        return pause


class News(enum.Enum):
    """What can become of a connection."""

    CONNECTED = enum.auto()
    DISCONNECTED = enum.auto()  # what was on its way may be lost
    DENIED = enum.auto()  # our key is not known; libzmq tries no more


@dataclass(slots=True, eq=False)
class Pending:
    """A command without an outcome."""

    command: wire.EncodedCommand
    deadline: float
    done: Callable[[Outcome], None]
    sent: bool = False  # and no reason to send it again
    reached: bool = False  # was sent once


@dataclass(slots=True)
class AppendSession:
    """Commands in the order in which they were added."""

    verify: bool = True
    silence: float = SILENCE
    connected: bool = False
    pending: dict[int, Pending] = field(default_factory=dict)
    _by_id: dict[bytes, list[int]] = field(default_factory=dict)
    _serial: int = 0
    _unsent: int = 0
    _resume: float = 0.0
    _backoff: float = BACKOFF_MIN
    _heard: float = 0.0

    def add(self, command: Command, now: float, deadline: float,
            done: Callable[[Outcome], None]) -> None:
        """Takes a command to be tried until the deadline; `done` is called
        once.  Raises ValueError for what no message can carry."""
        self._serial += 1
        entry = Pending(wire.encode_command(command), deadline, done)
        if not self.pending:
            self._heard = now
        self.pending[self._serial] = entry
        self._by_id.setdefault(command.id.bytes, []).append(self._serial)
        self._unsent += 1

    def outgoing(self, now: float) -> Iterator[tuple[list[bytes],
                                                     list[Pending]]]:
        """Messages to send now.  Call mark_sent() for each that was taken,
        and stop at the first that was not."""
        if not self._unsent or not self.connected or now < self._resume:
            return
        if self._unsent == len(self.pending):
            self._heard = now
        group: list[Pending] = []
        size = elements = 0
        for entry in list(self.pending.values()):
            if entry.sent:
                continue
            c = entry.command
            more = max(len(c.checks), len(c.items), len(c.events))
            if group and (len(group) == wire.COMMANDS_MAX or
                          size + len(c.body) > MESSAGE_BYTES or
                          elements + more > wire.ELEMENTS_MAX):
                yield wire.encode_append([p.command for p in group]), group
                group, size, elements = [], 0, 0
            group.append(entry)
            size += len(c.body)
            elements += more
        if group:
            yield wire.encode_append([p.command for p in group]), group

    def mark_sent(self, group: list[Pending]) -> None:
        """The message of this group is on its way."""
        for entry in group:
            if not entry.sent:
                entry.sent = entry.reached = True
                self._unsent -= 1

    def received(self, frames: list[bytes], now: float) -> None:
        """Takes a message of the gateway in."""
        self._heard = now
        if wire.header_kind(frames[0]) == "REFUSED":
            code, text = wire.decode_refused(frames)
            if code in AGAIN:
                self._all_again(now)
            else:
                self._refused(code, text)
            return
        for outcome in wire.decode_appended(frames, self.verify):
            serials = self._by_id.get(outcome.id.bytes)
            if not serials:
                continue  # an answer to an earlier try
            if outcome.code in AGAIN:
                self._again(self.pending[serials[0]], now,
                            outcome.retry_ms / 1000)
            else:
                self._backoff = BACKOFF_MIN
                self._finish(serials[0], outcome)

    def _refused(self, code: str, text: str) -> None:
        """It was not understood: there is no use in sending it again."""
        for serial, entry in list(self.pending.items()):
            if entry.sent:
                self._finish(serial, Outcome(entry.command.id, code,
                                             detail=text))

    def _finish(self, serial: int, outcome: Outcome) -> None:
        entry = self.pending.pop(serial)
        if not entry.sent:
            self._unsent -= 1
        serials = self._by_id[entry.command.id.bytes]
        serials.remove(serial)
        if not serials:
            del self._by_id[entry.command.id.bytes]
        entry.done(outcome)

    def _again(self, entry: Pending, now: float, retry: float) -> None:
        """Sends a command again, not before a while."""
        if not entry.sent:
            return
        entry.sent = False
        self._unsent += 1
        if now < self._resume:
            return  # one failure for many commands: one wait
        self._resume = now + max(retry, self._backoff)
        self._backoff = min(2 * self._backoff, BACKOFF_MAX)

    def _all_again(self, now: float) -> None:
        for entry in self.pending.values():
            self._again(entry, now, 0)

    def connection(self, news: News, now: float) -> None:
        """The connection came, or went, or is not to be had."""
        self.connected = news is News.CONNECTED
        if news is News.CONNECTED:
            self._resume = 0.0
        elif news is News.DENIED:
            self._denied()
        else:
            self._all_again(now)

    def _denied(self) -> None:
        """The server does not know our key: nothing will get there.  What was
        sent while it knew it may have taken effect."""
        for serial, entry in list(self.pending.items()):
            self._finish(serial, Outcome(
                entry.command.id, "unknown" if entry.reached else "denied",
                sent=entry.reached,
                detail="the server does not know this key"))

    def tick(self, now: float) -> bool:
        """Gives up what is past its deadline, and ends a silence.  True: it
        was silent for long, and the connection may be dead."""
        silent = len(self.pending) > self._unsent and \
            now - self._heard > self.silence
        if silent:
            self._heard = now
            self._all_again(now)
        self._give_up(now, "no answer until the deadline")
        return silent

    def close(self) -> None:
        """Gives everything up: the client is closed."""
        self._give_up(math.inf, CLOSED)

    def _give_up(self, now: float, why: str) -> None:
        for serial, entry in list(self.pending.items()):
            if now >= entry.deadline:
                self._finish(serial, Outcome(
                    entry.command.id, "unknown", sent=entry.reached,
                    detail=why))

    def wait(self, now: float) -> float:
        """Seconds until there is something to do."""
        after = 0.1 if self.pending else 3600.0  # deadlines and silences
        if self._unsent and self.connected:
            after = min(after, self._resume - now)
        return max(after, 0.0)


@dataclass(slots=True)
class Call:
    """A request and, at last, its answer; all tries have one number."""

    number: int
    frames: list[bytes]
    deadline: float
    extra: float  # that the other side may take its time
    silence: float = SILENCE
    refusal: RefusedError | None = None  # why it was put off
    _backoff: float = BACKOFF_MIN
    _resend: float = 0.0
    _heard: float | None = None  # since it was first sent; None: it was not

    def due(self, now: float) -> bool:
        """Whether to send it now."""
        return now >= self._resend

    def was_sent(self, now: float, taken: bool) -> None:
        """Not connected yet: again soon; else when it may be lost."""
        self._resend = now + (RESEND + self.extra if taken else 0.01)
        if taken and self._heard is None:
            self._heard = now

    def heard(self, now: float) -> None:
        """Something came over the connection, whatever it was."""
        if self._heard is not None:
            self._heard = now

    def silent(self, now: float) -> bool:
        """Whether the connection over which it was sent may be dead; true
        once for each such time."""
        if self._heard is None or \
                now - self._heard <= self.silence + self.extra:
            return False
        self._heard = now
        return True

    def lost(self) -> None:
        """The connection over which it was asked is gone."""
        self._resend = 0.0
        self._heard = None

    def refused(self, now: float, refusal: RefusedError) -> None:
        """Asks again after a while if it was put off; else raises it."""
        if refusal.code not in ("busy", "stopping"):
            raise refusal
        self.refusal = refusal
        self._resend = now + self._backoff
        self._backoff = min(2 * self._backoff, BACKOFF_MAX)

    def failure(self, endpoint: str) -> CairnError:
        """Why there is no answer at the deadline."""
        return self.refusal or \
            UnreachableError(f"nobody answers at {endpoint}")

    def wait(self, now: float) -> float:
        """Seconds until there is something to do."""
        until = min(self._resend, self.deadline)
        if self._heard is not None:
            until = min(until, self._heard + self.silence + self.extra)
        return max(until - now, 0.0)


def answered_by(frames: list[bytes]) -> int | None:
    """The number of the request that a message answers; None: none.  Raises
    RefusedError for a request that was not understood."""
    try:
        kind = wire.header_kind(frames[0])
        if kind == "REFUSED":
            raise RefusedError(*wire.decode_refused(frames))
        if kind not in ("EVENTS", "PONG", "PROJECTED"):
            return None
        return wire.decode_header(kind, frames[0])[0][0]
    except ProtocolError:
        return None
