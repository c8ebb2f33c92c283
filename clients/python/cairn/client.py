# SPDX-License-Identifier: MPL-2.0
"""The blocking client."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Iterator
from functools import partial
from types import TracebackType
from typing import Any, Self

import zmq

from . import wire
from .errors import (CairnError, ClosedError, DamagedError,
                     ProjectionFailedError, RefusedError, WaitTimeoutError,
                     append_error)
from .model import Command, Event, Outcome, Page, Projection, Query
from .peer import Options, Peer
from .session import (CLOSED, AppendSession, Backoff, Call, News,
                      answered_by)

WAIT_STEP = 10.0  # of one request, so that a lost answer is soon noticed


class _Peer(Peer):
    """A connection that is asked whether there is something."""

    def __init__(self, context: zmq.Context[Any], options: Options,
                 name: str) -> None:
        super().__init__(context, options, name)
        self._poller = zmq.Poller()
        self._poller.register(self.socket, zmq.POLLIN)
        self._poller.register(self.monitor, zmq.POLLIN)

    def send(self, frames: list[bytes]) -> bool:
        """Whether it was taken."""
        if not self.is_connected:
            return False  # libzmq might take it for the connection before
        try:
            self.socket.send_multipart(frames, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def wait(self, seconds: float) -> None:
        """Until there is a message or news."""
        self._poller.poll(int(seconds * 1000) + 1)

    def messages(self) -> Iterator[list[bytes]]:
        """What has come."""
        while True:
            try:
                yield self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return

    def news(self) -> Iterator[News]:
        """What has become of the connection."""
        while True:
            try:
                yield self.told(self.monitor.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                return


class Client:
    """A client of one thread.

    It connects when it is first used, connects again whenever a connection
    breaks or, over tcp, has been silent for long, and sends again, with the
    same command id, what may have been lost, until the deadline.
    """

    def __init__(self, options: Options | None = None, **more: Any) -> None:
        self.options = dataclasses.replace(options or Options(), **more)
        self._context = zmq.Context()
        self._peers: dict[str, _Peer] = {}
        self._session = AppendSession(self.options.verify,
                                      self.options.silence)
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None,
                 value: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes it.  Commands without an outcome get none."""
        for peer in self._peers.values():
            peer.close_sockets()
        self._peers.clear()
        self._context.term()

    def _peer(self, name: str) -> _Peer:
        if self._context.closed:
            raise ClosedError(CLOSED)
        if name not in self._peers:
            self._peers[name] = _Peer(self._context, self.options, name)
        return self._peers[name]

    # ---- commands ----------------------------------------------------------

    def append(self, command: Command) -> Outcome:
        """Appends; returns the outcome if it is accepted, else raises an
        AppendError."""
        outcome, = self.append_many([command])
        if not outcome.accepted:
            raise append_error(outcome)
        return outcome

    def append_many(self, commands: Iterable[Command]) -> list[Outcome]:
        """Appends many commands, `window` of them in flight, each a commit of
        its own; outcomes in the order of the commands, accepted or not.  They
        take effect in this order, but for those that the server was too busy
        for."""
        self._take_news()
        found: dict[int, Outcome] = {}
        count = 0
        for number, command in enumerate(commands):
            count = number + 1
            while len(self._session.pending) >= self.options.window:
                self._pump()
            now = time.monotonic()
            self._session.add(command, now, now + self.options.deadline,
                              partial(found.__setitem__, number))
        while len(found) < count:
            self._pump()
        return [found[n] for n in range(count)]

    def _pump(self) -> None:
        """Sends what is to be sent, and takes in what comes."""
        peer, session = self._peer("commands"), self._session
        peer.reopen_if_denied()
        for frames, group in session.outgoing(time.monotonic()):
            if not peer.send(frames):
                break
            session.mark_sent(group)
        peer.wait(session.wait(time.monotonic()))
        for frames in peer.messages():
            try:
                session.received(frames, time.monotonic())
            except CairnError:
                pass  # not of this protocol: the deadline ends the wait
        self._take_news()
        if session.tick(time.monotonic()) and peer.connect_anew():
            session.connected = False

    def _take_news(self) -> None:
        for news in self._peer("commands").news():
            self._session.connection(news, time.monotonic())

    # ---- requests ----------------------------------------------------------

    def _ask(self, name: str, number: int, frames: list[bytes],
             extra: float = 0.0) -> list[bytes]:
        peer = self._peer(name)
        for _ in peer.news():
            pass  # what became of it meanwhile
        peer.reopen_if_denied()
        call = Call(number, frames, time.monotonic() + self.options.deadline +
                    extra, extra, self.options.silence)
        while True:
            now = time.monotonic()
            if now >= call.deadline:
                raise call.failure(peer.endpoint)
            if call.silent(now) and peer.connect_anew():
                call.lost()
            if call.due(now):
                call.was_sent(now, peer.send(frames))
            peer.wait(call.wait(now))
            for answer in peer.messages():
                call.heard(time.monotonic())
                try:
                    if answered_by(answer) == number:
                        return answer
                except RefusedError as refusal:
                    call.refused(time.monotonic(), refusal)
            for news in peer.news():
                if news is News.DENIED:
                    raise peer.denial()
                call.lost()  # or was never sent over this connection

    def _next(self) -> int:
        self._number += 1
        return self._number

    def page(self, query: Query, wait: float = 0.0) -> Page:
        """One page of events; waits so many seconds for its first event."""
        backoff = Backoff(time.monotonic() + self.options.deadline)
        while True:
            number = self._next()
            frames = self._ask("queries", number, wire.encode_read(
                number, query, int(wait * 1000)), wait)
            answer = wire.decode_events(frames, self.options.verify)
            if answer.code == "accepted":
                return answer.page
            if answer.code == "damaged":
                raise DamagedError(answer.text)
            pause = backoff.next(time.monotonic())
            if answer.code not in ("busy", "stopping") or pause is None:
                raise RefusedError(answer.code, answer.text)
            time.sleep(pause)

    def read(self, query: Query | None = None) -> Iterator[Event]:
        """Every event up to the present end, page by page."""
        query = query or Query()
        while True:
            page = self.page(query)
            yield from page.events
            if page.at_end:
                return
            query = continued(query, page)

    def follow(self, query: Query | None = None) -> Iterator[Event]:
        """Every event, and then what comes, as it comes, without an end.
        After an UnreachableError go on behind the last event."""
        query = query or Query()
        if query.backward:
            raise ValueError("only a forward query can be followed")
        while True:
            page = self.page(query, WAIT_STEP)
            yield from page.events
            query = continued(query, page)

    def watermark(self) -> int:
        """The highest durable position."""
        number = self._next()
        return wire.decode_pong(self._ask("queries", number,
                                          wire.encode_ping(number)))[3]

    def projection(self, name: str) -> Projection:
        """How a projection is."""
        return self._projection(name, wire.INFO, 0, 0.0)

    def _projection(self, name: str, operation: int, position: int,
                    wait: float) -> Projection:
        number = self._next()
        frames = self._ask(
            f"projections/{name}", number, wire.encode_projection(
                number, operation, position, int(wait * 1000)), wait)
        return wire.decode_projected(frames)[1]

    def wait(self, name: str, position: int, timeout: float = 60.0) -> int:
        """Waits until a projection has taken in every event up to `position`,
        so that you can read your own writes.  Returns its checkpoint."""
        until = time.monotonic() + timeout
        while True:
            left = max(until - time.monotonic(), 0.0)
            found = self._projection(name, wire.WAIT, position,
                                     min(left, WAIT_STEP))
            checkpoint = waited(found, time.monotonic() >= until)
            if checkpoint is not None:
                return checkpoint


def continued(query: Query, page: Page) -> Query:
    """The query that goes on behind a page."""
    return dataclasses.replace(query, start=page.next, from_end=None,
                               from_time_us=None)


def waited(found: Projection, is_late: bool) -> int | None:
    """The checkpoint if it has come far enough, None if it may yet."""
    if found.code == "accepted":
        return found.checkpoint
    if found.state == "failed":
        raise ProjectionFailedError(found.text)
    if found.code != "busy":
        raise RefusedError(found.code, found.text)
    if is_late:
        raise WaitTimeoutError(f"{found.name} is at {found.checkpoint}")
    return None
