// SPDX-License-Identifier: MPL-2.0
// What can go wrong.

export class CairnError extends Error {
    constructor(message) {
        super(message);
        this.name = this.constructor.name;
    }
}

/** What came is not what the protocol says. */
export class ProtocolError extends CairnError {}

/** Events could not be read, or do not pass their checksums. */
export class DamagedError extends CairnError {}

/** Nobody answered until the deadline. */
export class UnreachableError extends CairnError {}

/** The client has been closed. */
export class ClosedError extends CairnError {}

/** A request was answered with an error. */
export class RefusedError extends CairnError {
    constructor(code, text) {
        super(`${code}: ${text}`);
        this.code = code;
        this.text = text;
    }
}

/** A projection did not come as far as it should in time. */
export class WaitTimeoutError extends CairnError {}

/** A projection has stopped at an event that it cannot take in. */
export class ProjectionFailedError extends CairnError {}

/** A command was not accepted; `outcome` says all about it. */
export class AppendError extends CairnError {
    constructor(outcome) {
        super(describe(outcome));
        this.outcome = outcome;
        this.code = outcome.code;
    }
}

export class ConflictError extends AppendError {}
export class RejectedError extends AppendError {}
export class InvalidError extends AppendError {}
export class TooLargeError extends AppendError {}
export class DeniedError extends AppendError {}
export class NoSpaceError extends AppendError {}
/** The deadline has passed; `outcome.sent`: whether it may have arrived. */
export class UnknownOutcomeError extends AppendError {}

const byCode = {
    conflict: ConflictError,
    rejected: RejectedError,
    invalid: InvalidError,
    "too large": TooLargeError,
    denied: DeniedError,
    "no space": NoSpaceError,
    unknown: UnknownOutcomeError,
};

function describe(outcome) {
    let text = outcome.detail
        ? `${outcome.code}: ${outcome.detail}`
        : outcome.code;
    for (const v of outcome.verdicts.filter((verdict) => !verdict.holds)) {
        text +=
            `; check ${v.check}: expected ${v.expect} ${v.expected}, ` +
            `found ${v.actual}`;
    }
    return text;
}

/** The error for an outcome that is not accepted. */
export function appendError(outcome) {
    return new (byCode[outcome.code] ?? AppendError)(outcome);
}
