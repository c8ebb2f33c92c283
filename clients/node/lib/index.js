// SPDX-License-Identifier: MPL-2.0
// A client of the event store Cairn: append, read, follow, wait.

export {
    Client,
    atVersion,
    command,
    jsonEvent,
    noEvent,
    noMatch,
    noStream,
    streamExists,
    uuid7,
} from "./client.js";
export {
    AppendError,
    CairnError,
    ClosedError,
    ConflictError,
    DamagedError,
    DeniedError,
    InvalidError,
    NoSpaceError,
    ProjectionFailedError,
    ProtocolError,
    RefusedError,
    RejectedError,
    TooLargeError,
    UnknownOutcomeError,
    UnreachableError,
    WaitTimeoutError,
} from "./errors.js";
