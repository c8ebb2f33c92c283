# SPDX-License-Identifier: MPL-2.0
"""A CURVE client by hand (rfc.zeromq.org/spec/26), which may say of itself
what it likes."""

import ctypes
import ctypes.util
import os
import socket
import sys

from peer import GREETING, frame, receive
from system import Failure, expect
import zmq
from zmq.utils import z85

NAME = ctypes.util.find_library("sodium")
if NAME is None:
    print("SKIP: libsodium is not installed")
    sys.exit(77)
SODIUM = ctypes.CDLL(NAME)


def box(data, nonce, public, secret):
    out = ctypes.create_string_buffer(len(data) + 16)
    expect(SODIUM.crypto_box_easy(out, data, ctypes.c_ulonglong(len(data)),
                                  nonce, public, secret) == 0, "box")
    return out.raw


def unbox(data, nonce, public, secret):
    out = ctypes.create_string_buffer(len(data) - 16)
    expect(SODIUM.crypto_box_open_easy(
        out, data, ctypes.c_ulonglong(len(data)), nonce, public, secret) == 0,
        "unbox")
    return out.raw


def property_of(name, value):
    return bytes([len(name)]) + name + len(value).to_bytes(4, "big") + value


class Curve:
    """A connection to tcp://HOST:PORT with a peer.Key, behind its handshake;
    `more` are properties that it says of itself."""

    def __init__(self, endpoint, server, key, more=()):
        self.count = 0
        self.server = z85.decode(server.public)
        self.long = [z85.decode(k) for k in (key.public, key.secret)]
        self.short = [z85.decode(k) for k in zmq.curve_keypair()]
        host, port = endpoint.removeprefix("tcp://").split(":")
        self.stream = socket.create_connection((host, int(port)))
        self.stream.settimeout(20)
        self.stream.sendall(GREETING.replace(b"NULL" + bytes(1), b"CURVE"))
        receive(self.stream, 64)
        nonce = self.nonce()
        self.command(b"\x05HELLO\x01\x00" + bytes(72) + self.short[0] + nonce +
                     box(bytes(64), b"CurveZMQHELLO---" + nonce, self.server,
                         self.short[1]))
        said = self.receive(b"\x07WELCOME")
        said = unbox(said[16:], b"WELCOME-" + said[:16], self.server,
                     self.short[1])
        self.peer, cookie = said[:32], said[32:]
        data = b"".join(property_of(*item) for item in (
            (b"Socket-Type", b"DEALER"), (b"Identity", b""), *more))
        nonce, random = self.nonce(), os.urandom(16)
        vouch = box(self.short[0] + self.server, b"VOUCH---" + random,
                    self.peer, self.long[1])
        self.command(b"\x08INITIATE" + cookie + nonce +
                     box(self.long[0] + random + vouch + data,
                         b"CurveZMQINITIATE" + nonce, self.peer,
                         self.short[1]))
        self.receive(b"\x05READY")

    def nonce(self):
        self.count += 1
        return self.count.to_bytes(8, "big")

    def command(self, data):
        self.stream.sendall(frame(data, command=True))

    def receive(self, name):
        """The next frame, which must begin so, without its beginning."""
        flags, length = receive(self.stream, 2)
        if flags & 2:
            length = int.from_bytes(
                bytes([length]) + receive(self.stream, 7), "big")
        data = receive(self.stream, length)
        if not data.startswith(name):
            raise Failure(f"{data[:40]!r} in place of {name!r}")
        return data[len(name):]

    def message(self, frames):
        """The bytes of a message, each frame with a nonce of its own."""
        out = b""
        for i, data in enumerate(frames):
            nonce = self.nonce()
            out += frame(b"\x07MESSAGE" + nonce +
                         box(bytes([i + 1 < len(frames)]) + data,
                             b"CurveZMQMESSAGEC" + nonce, self.peer,
                             self.short[1]))
        return out

    def ask(self, frames):
        self.stream.sendall(self.message(frames))
        return self.answer()

    def answer(self):
        frames, more = [], True
        while more:
            said = self.receive(b"\x07MESSAGE")
            said = unbox(said[8:], b"CurveZMQMESSAGES" + said[:8], self.peer,
                         self.short[1])
            more = said[0] & 1
            frames.append(said[1:])
        return frames

    def close(self):
        self.stream.close()
