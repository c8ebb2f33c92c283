# SPDX-License-Identifier: MPL-2.0
"""A connection to one of the daemons, and the news of it."""

from __future__ import annotations

import dataclasses
from typing import Any

import zmq
from zmq.utils.monitor import parse_monitor_message

from . import wire
from .errors import RefusedError
from .session import SILENCE, News

HANDSHAKE = 5.0  # until it is tried again
DEADLINE_MAX = 86400.0
WINDOW_MAX = 16384
_EVENTS = {zmq.EVENT_HANDSHAKE_SUCCEEDED: News.CONNECTED,
           zmq.EVENT_DISCONNECTED: News.DISCONNECTED,
           zmq.EVENT_HANDSHAKE_FAILED_AUTH: News.DENIED}


def is_tcp(endpoint: str) -> bool:
    """Whether it may die without anybody being told, and speaks CURVE."""
    return endpoint.startswith("tcp://")


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """How to reach Cairn, and how long to try."""

    run: str = "/run/cairn"
    """The directory with the daemons' sockets."""
    commands: str = ""
    """Endpoint of the gateway; ipc://RUN/commands."""
    queries: str = ""
    """Endpoint of the publisher; ipc://RUN/queries."""
    projections: str = ""
    """Endpoint of the projectors without their names."""
    deadline: float = 30.0
    """Seconds that anything is tried; at most a day."""
    window: int = 256
    """Commands in flight at most; at most 16384."""
    verify: bool = True
    """Check the checksums of events; they cost about 0.1 us a byte."""
    server_key: str | bytes | None = None
    public_key: str | bytes | None = None
    secret_key: str | bytes | None = None
    """CURVE keys in Z85; needed over tcp, and used for nothing else."""

    def __post_init__(self) -> None:
        if not 0 < self.deadline <= DEADLINE_MAX:
            raise ValueError(f"deadline: above 0, at most {DEADLINE_MAX:g} s")
        if not 1 <= self.window <= WINDOW_MAX:
            raise ValueError(f"window: from 1 to {WINDOW_MAX}")

    @property
    def silence(self) -> float:
        """Seconds without a word after which a connection may be dead; short
        enough that there is time for another one."""
        return min(SILENCE, self.deadline / 2)

    def endpoint(self, name: str) -> str:
        """Of "commands", "queries", or a projection ("projections/x")."""
        if name.startswith("projections/"):
            base = self.projections or f"ipc://{self.run}/projections/"
            return base + name.removeprefix("projections/")
        said = self.commands if name == "commands" else self.queries
        return said or f"ipc://{self.run}/{name}"

    def set_up(self, socket: zmq.Socket[Any], endpoint: str) -> None:
        """Sets the options of a socket.  Nothing is sent to a peer that is
        not there: what waits, waits with us.  Raises ValueError for keys that
        are none, or are missing."""
        socket.linger = 0
        socket.sndtimeo = 0
        socket.sndhwm = socket.rcvhwm = 10000
        socket.immediate = 1
        socket.reconnect_ivl = 20
        socket.reconnect_ivl_max = 1000
        socket.handshake_ivl = int(HANDSHAKE * 1000)
        socket.maxmsgsize = wire.FRAME_BYTES_MAX
        if is_tcp(endpoint):
            self._set_keys(socket)

    def _set_keys(self, socket: zmq.Socket[Any]) -> None:
        given = self.server_key, self.public_key, self.secret_key
        keys = [k.encode() if isinstance(k, str) else k for k in given]
        if None in keys:
            raise ValueError("tcp is spoken only with CURVE; give the server's "
                             "public key and a key of your own")
        try:
            socket.curve_serverkey, socket.curve_publickey, \
                socket.curve_secretkey = keys
        except zmq.ZMQError as problem:
            raise ValueError("a key is not 40 characters of Z85, or this "
                             "libzmq was built without CURVE") from problem


class Peer:
    """A DEALER, and the socket that tells the news of its connection; the
    part that both clients have in common."""

    def __init__(self, context: zmq.Context[Any], options: Options,
                 name: str) -> None:
        self.endpoint = options.endpoint(name)
        self.is_connected = False
        self.is_denied = False  # the server does not know our key
        self.socket = context.socket(zmq.DEALER)
        try:
            options.set_up(self.socket, self.endpoint)
        except ValueError:
            self.socket.close(0)
            raise
        self.monitor = self.socket.get_monitor_socket(sum(_EVENTS))
        self.monitor.linger = 0
        self.socket.connect(self.endpoint)

    def connect_anew(self) -> bool:
        """Gives a connection up that may be dead without anybody having said
        so, and makes it anew; only over tcp, for the kernel tells when a local
        peer goes.  Whether it did."""
        if not is_tcp(self.endpoint):
            return False
        self.is_connected = self.is_denied = False
        try:
            self.socket.disconnect(self.endpoint)
        except zmq.ZMQError:
            pass  # it is gone
        self.socket.connect(self.endpoint)
        return True

    def reopen_if_denied(self) -> None:
        """Connects anew if our key was not known: it may be by now."""
        if self.is_denied:
            self.connect_anew()

    def told(self, frames: list[bytes]) -> News:
        """A piece of news from what the monitor says."""
        news = _EVENTS[parse_monitor_message(frames)["event"]]
        self.is_connected = news is News.CONNECTED
        self.is_denied = self.is_denied or news is News.DENIED
        return news

    def denial(self) -> RefusedError:
        """That our key is not known, as an error."""
        return RefusedError(
            "denied",
            f"the server at {self.endpoint} does not know this key")

    def close_sockets(self) -> None:
        """Closes both."""
        self.socket.disable_monitor()
        self.monitor.close(0)
        self.socket.close(0)
