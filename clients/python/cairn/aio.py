# SPDX-License-Identifier: MPL-2.0
"""The client of asyncio."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Iterable
from types import TracebackType
from typing import Any, Self, cast

import zmq
import zmq.asyncio

from . import wire
from .client import WAIT_STEP, continued, waited
from .errors import (CairnError, ClosedError, DamagedError, RefusedError,
                     append_error)
from .model import Command, Event, Outcome, Page, Projection, Query
from .peer import Options, Peer
from .session import (CLOSED, AppendSession, Backoff, Call, News,
                      answered_by)


class _Peer(Peer):
    """A connection whose messages and news go to a receiver."""

    def __init__(self, context: zmq.asyncio.Context, options: Options,
                 name: str) -> None:
        super().__init__(context, options, name)
        self._tasks = [asyncio.create_task(self._receive()),
                       asyncio.create_task(self._watch())]

    def send(self, frames: list[bytes]) -> bool:
        """Whether it was taken."""
        if not self.is_connected:
            return False  # libzmq might take it for the connection before
        # With NOBLOCK the future is done when it is returned.
        future = cast("asyncio.Future[Any]", self.socket.send_multipart(
            frames, flags=zmq.NOBLOCK))
        return future.exception() is None

    async def _receive(self) -> None:
        while True:
            self.on_message(await self.socket.recv_multipart())

    async def _watch(self) -> None:
        while True:
            self.on_news(self.told(await self.monitor.recv_multipart()))

    def on_message(self, frames: list[bytes]) -> None:
        raise NotImplementedError

    def on_news(self, news: News) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.close_sockets()


class _Commands(_Peer):
    """The gateway; a task of its own sends, and sends again."""

    def __init__(self, context: zmq.asyncio.Context, options: Options) -> None:
        self.session = AppendSession(options.verify, options.silence)
        self._work = asyncio.Event()
        super().__init__(context, options, "commands")
        self._tasks.append(asyncio.create_task(self._send()))

    def add(self, command: Command,
            deadline: float) -> asyncio.Future[Outcome]:
        future: asyncio.Future[Outcome] = \
            asyncio.get_running_loop().create_future()

        def done(outcome: Outcome) -> None:
            if not future.done():
                future.set_result(outcome)

        self.session.add(command, time.monotonic(), deadline, done)
        self.reopen_if_denied()
        self._work.set()
        return future

    async def _send(self) -> None:
        while True:
            self._work.clear()
            for frames, group in self.session.outgoing(time.monotonic()):
                if not self.send(frames):
                    break
                self.session.mark_sent(group)
            try:
                async with asyncio.timeout(
                        self.session.wait(time.monotonic()) + 0.001):
                    await self._work.wait()
            except TimeoutError:
                pass
            if self.session.tick(time.monotonic()) and self.connect_anew():
                self.session.connected = False

    def on_message(self, frames: list[bytes]) -> None:
        try:
            self.session.received(frames, time.monotonic())
        except CairnError:
            pass  # not of this protocol: the deadline ends the wait
        self._work.set()

    def on_news(self, news: News) -> None:
        self.session.connection(news, time.monotonic())
        self._work.set()

    async def close(self) -> None:
        await super().close()
        self.session.close()


class _Requests(_Peer):
    """The publisher, or a projector: requests by their numbers."""

    def __init__(self, context: zmq.asyncio.Context, options: Options,
                 name: str) -> None:
        self._deadline = options.deadline
        self._silence = options.silence
        self._calls: dict[int, tuple[Call, asyncio.Future[list[bytes]],
                                     asyncio.Event]] = {}
        super().__init__(context, options, name)

    async def ask(self, number: int, frames: list[bytes],
                  extra: float = 0.0) -> list[bytes]:
        future: asyncio.Future[list[bytes]] = \
            asyncio.get_running_loop().create_future()
        call = Call(number, frames,
                    time.monotonic() + self._deadline + extra, extra,
                    self._silence)
        woken = asyncio.Event()
        self.reopen_if_denied()
        self._calls[number] = call, future, woken
        future.add_done_callback(lambda _: woken.set())
        try:
            while not future.done():
                now = time.monotonic()
                if now >= call.deadline:
                    raise call.failure(self.endpoint)
                woken.clear()
                if call.silent(now) and self.connect_anew():
                    self._all_lost()
                if call.due(now):
                    call.was_sent(now, self.send(frames))
                try:
                    async with asyncio.timeout(call.wait(now) + 0.001):
                        await woken.wait()
                except TimeoutError:
                    pass
            return future.result()
        finally:
            del self._calls[number]

    def _all_lost(self) -> None:
        for call, _, woken in self._calls.values():
            call.lost()
            woken.set()

    def _fail(self, problem: CairnError) -> None:
        for _, future, _ in self._calls.values():
            if not future.done():
                future.set_exception(problem)

    def _refused(self, refusal: RefusedError) -> None:
        for call, future, woken in self._calls.values():
            if future.done():
                continue
            try:
                call.refused(time.monotonic(), refusal)
                woken.set()
            except RefusedError:
                future.set_exception(refusal)

    def on_message(self, frames: list[bytes]) -> None:
        for call, _, _ in self._calls.values():
            call.heard(time.monotonic())
        try:
            number = answered_by(frames)
        except RefusedError as refusal:
            # It does not say which: requests of ours are all of one kind.
            self._refused(refusal)
            return
        if number in self._calls and not self._calls[number][1].done():
            self._calls[number][1].set_result(frames)

    def on_news(self, news: News) -> None:
        if news is News.DENIED:
            self._fail(self.denial())
        else:  # or was never sent over this connection
            self._all_lost()

    async def close(self) -> None:
        self._fail(ClosedError(CLOSED))
        await super().close()


class AsyncClient:
    """A client of one event loop; as Client otherwise.  Any number of its
    coroutines may run at once."""

    def __init__(self, options: Options | None = None, **more: Any) -> None:
        self.options = dataclasses.replace(options or Options(), **more)
        self._context = zmq.asyncio.Context()
        self._commands: _Commands | None = None
        self._requests: dict[str, _Requests] = {}
        self._window = asyncio.Semaphore(self.options.window)
        self._number = 0
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None,
                        value: BaseException | None,
                        trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes it.  Commands without an outcome get one: unknown."""
        self._closed = True
        peers: list[_Peer] = [*self._requests.values()]
        if self._commands is not None:
            peers.append(self._commands)
        self._commands = None
        self._requests.clear()
        for peer in peers:
            await peer.close()
        self._context.term()

    def _check(self) -> None:
        if self._closed:
            raise ClosedError(CLOSED)

    # ---- commands ----------------------------------------------------------

    async def outcome(self, command: Command) -> Outcome:
        """Appends; returns the outcome, accepted or not."""
        self._check()
        deadline = time.monotonic() + self.options.deadline
        async with self._window:
            if self._closed:
                return Outcome(command.id, "unknown", sent=False,
                               detail=CLOSED)
            if self._commands is None:
                self._commands = _Commands(self._context, self.options)
            return await self._commands.add(command, deadline)

    async def append(self, command: Command) -> Outcome:
        """Appends; returns the outcome if it is accepted, else raises an
        AppendError.  Cancelling it does not take the command back."""
        outcome = await self.outcome(command)
        if not outcome.accepted:
            raise append_error(outcome)
        return outcome

    async def append_many(self, commands: Iterable[Command]) -> list[Outcome]:
        """Appends many commands, `window` of them in flight; outcomes in the
        order of the commands, accepted or not."""
        return await asyncio.gather(*map(self.outcome, commands))

    # ---- requests ----------------------------------------------------------

    async def _ask(self, name: str, number: int, frames: list[bytes],
                   extra: float = 0.0) -> list[bytes]:
        self._check()
        if name not in self._requests:
            self._requests[name] = _Requests(self._context, self.options, name)
        return await self._requests[name].ask(number, frames, extra)

    def _next(self) -> int:
        self._number += 1
        return self._number

    async def page(self, query: Query, wait: float = 0.0) -> Page:
        """One page of events; waits so many seconds for its first event."""
        backoff = Backoff(time.monotonic() + self.options.deadline)
        while True:
            number = self._next()
            frames = await self._ask("queries", number, wire.encode_read(
                number, query, int(wait * 1000)), wait)
            answer = wire.decode_events(frames, self.options.verify)
            if answer.code == "accepted":
                return answer.page
            if answer.code == "damaged":
                raise DamagedError(answer.text)
            pause = backoff.next(time.monotonic())
            if answer.code not in ("busy", "stopping") or pause is None:
                raise RefusedError(answer.code, answer.text)
            await asyncio.sleep(pause)

    async def read(self, query: Query | None = None) -> AsyncIterator[Event]:
        """Every event up to the present end, page by page."""
        query = query or Query()
        while True:
            page = await self.page(query)
            for event in page.events:
                yield event
            if page.at_end:
                return
            query = continued(query, page)

    async def follow(self, query: Query | None = None) -> AsyncIterator[Event]:
        """Every event, and then what comes, as it comes, without an end."""
        query = query or Query()
        if query.backward:
            raise ValueError("only a forward query can be followed")
        while True:
            page = await self.page(query, WAIT_STEP)
            for event in page.events:
                yield event
            query = continued(query, page)

    async def watermark(self) -> int:
        """The highest durable position."""
        number = self._next()
        return wire.decode_pong(await self._ask(
            "queries", number, wire.encode_ping(number)))[3]

    async def projection(self, name: str) -> Projection:
        """How a projection is."""
        return await self._projection(name, wire.INFO, 0, 0.0)

    async def _projection(self, name: str, operation: int, position: int,
                          wait: float) -> Projection:
        number = self._next()
        frames = await self._ask(
            f"projections/{name}", number, wire.encode_projection(
                number, operation, position, int(wait * 1000)), wait)
        return wire.decode_projected(frames)[1]

    async def wait(self, name: str, position: int,
                   timeout: float = 60.0) -> int:
        """Waits until a projection has taken in every event up to `position`;
        returns its checkpoint."""
        until = time.monotonic() + timeout
        while True:
            left = max(until - time.monotonic(), 0.0)
            found = await self._projection(name, wire.WAIT, position,
                                           min(left, WAIT_STEP))
            checkpoint = waited(found, time.monotonic() >= until)
            if checkpoint is not None:
                return checkpoint
