# SPDX-License-Identifier: MPL-2.0
"""A bare client of tests/lib/wire.py, that neither waits nor tries again."""

import wire
import zmq
from system import Failure

CONTEXT = zmq.Context()


class Client:
    """A DEALER, or a REQ, at one of the pipeline's endpoints."""

    def __init__(self, pipeline, name, kind=zmq.DEALER, routing_id=None):
        self.socket = CONTEXT.socket(kind)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.RCVTIMEO, 10000)
        self.socket.setsockopt(zmq.SNDTIMEO, 10000)
        if routing_id is not None:
            self.socket.setsockopt(zmq.ROUTING_ID, routing_id)
        self.socket.connect("ipc://" + pipeline.path("run", name))

    def ask(self, frames):
        self.socket.send_multipart(frames)
        return self.answer()

    def answer(self):
        try:
            return self.socket.recv_multipart()
        except zmq.Again as problem:
            raise Failure("no answer in 10 s") from problem

    def append(self, *commands):
        """Outcomes by command id."""
        self.socket.send_multipart(wire.append(commands))
        found = {}
        while len(found) < len(commands):
            for outcome in wire.outcomes(self.answer()):
                found[outcome.id] = outcome
        return [found[c.id] for c in commands]

    def read(self, **more):
        answer, events = wire.events(self.ask(wire.read(**more)))
        return answer, events

    def close(self):
        self.socket.close()
