# SPDX-License-Identifier: MPL-2.0
"""What can go wrong, as exceptions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .model import Outcome


class CairnError(Exception):
    """The root of all of them."""


class ProtocolError(CairnError):
    """What came is not what the protocol says."""


class DamagedError(CairnError):
    """Events could not be read, or do not pass their checksums."""


class UnreachableError(CairnError):
    """Nobody answered until the deadline."""


class ClosedError(CairnError):
    """The client has been closed."""


class RefusedError(CairnError):
    """A request was answered with an error; `code` is its name."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text


class WaitTimeoutError(CairnError, TimeoutError):
    """A projection did not come as far as it should in time."""


class ProjectionFailedError(CairnError):
    """A projection has stopped at an event that it cannot take in."""


class AppendError(CairnError):
    """A command was not accepted; `outcome` says all about it."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.text())
        self.outcome = outcome


class ConflictError(AppendError):
    """Checks failed; nothing was stored."""


class RejectedError(AppendError):
    """A handler said no; nothing was stored."""


class InvalidError(AppendError):
    """The command can never be accepted as it is; nothing was stored."""


class TooLargeError(AppendError):
    """A limit is exceeded; nothing was stored."""


class DeniedError(AppendError):
    """The sender has no right to this; nothing was stored."""


class NoSpaceError(AppendError):
    """The disk is full; nothing was stored."""


class UnknownOutcomeError(AppendError):
    """The deadline has passed.  `outcome.sent` says whether the command may
    have arrived; ask again with the same command id to know."""


_BY_CODE: dict[str, type[AppendError]] = {
    "conflict": ConflictError,
    "rejected": RejectedError,
    "invalid": InvalidError,
    "too large": TooLargeError,
    "denied": DeniedError,
    "no space": NoSpaceError,
    "unknown": UnknownOutcomeError,
}


def append_error(outcome: Outcome) -> AppendError:
    """The exception for an outcome that is not accepted."""
    return _BY_CODE.get(outcome.code, AppendError)(outcome)
