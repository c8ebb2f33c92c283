# SPDX-License-Identifier: MPL-2.0
"""A client of the event store Cairn: append, read, follow, wait.

Client blocks and belongs to one thread; AsyncClient is the same for asyncio.
Both connect again, and send again with the same command id, by themselves.
"""

from .aio import AsyncClient
from .client import Client
from .errors import (AppendError, CairnError, ClosedError, ConflictError,
                     DamagedError, DeniedError, InvalidError, NoSpaceError,
                     ProjectionFailedError, ProtocolError, RefusedError,
                     RejectedError, TooLargeError, UnknownOutcomeError,
                     UnreachableError, WaitTimeoutError)
from .model import (Check, Command, Condition, Event, Expect, Item, NewEvent,
                    Outcome, Page, Projection, Query, Verdict, at_version,
                    no_stream, stream_exists, uuid7)
from .peer import Options

__all__ = [
    "AppendError", "AsyncClient", "CairnError", "Check", "Client",
    "ClosedError", "Command", "Condition", "ConflictError", "DamagedError", "DeniedError", "Event",
    "Expect", "InvalidError", "Item", "NewEvent", "NoSpaceError", "Options",
    "Outcome", "Page", "Projection", "ProjectionFailedError", "ProtocolError",
    "Query", "RefusedError", "RejectedError", "TooLargeError",
    "UnknownOutcomeError", "UnreachableError", "Verdict", "WaitTimeoutError",
    "at_version", "no_stream", "stream_exists", "uuid7",
]

__version__ = "0.1.0"
