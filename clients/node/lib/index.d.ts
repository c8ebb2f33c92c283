// SPDX-License-Identifier: MPL-2.0
// A client of the event store Cairn: append, read, follow, wait.
//
// It connects when it is first used, connects again whenever a connection
// breaks or, over tcp, has been silent for long, and sends again, with the
// same command id, what may have been lost, until the deadline.  Positions,
// versions and times are bigint.

export interface Options {
    /** The directory with the daemons' sockets; /run/cairn. */
    run?: string;
    /** Endpoint of the gateway; ipc://RUN/commands. */
    commands?: string;
    /** Endpoint of the publisher; ipc://RUN/queries. */
    queries?: string;
    /** Endpoint of the projectors without their names. */
    projections?: string;
    /** How long anything is tried; 30000, at most a day. */
    deadlineMs?: number;
    /** Commands in flight at most; 256, at most 16384. */
    window?: number;
    /** CURVE keys in Z85; needed over tcp, and used for nothing else. */
    serverKey?: string;
    publicKey?: string;
    secretKey?: string;
}

export type Integer = number | bigint;

export interface NewEvent {
    stream: string;
    type: string;
    /** Text travels as UTF-8. */
    data?: string | Uint8Array;
    meta?: string | Uint8Array;
    tags?: Iterable<string>;
    contentType?: string;
    /** Version of the shape of the data; 1. */
    schema?: number;
    /** A UUID; without it the event gets one by itself. */
    id?: string;
    correlationId?: string;
    causationId?: string;
}

export type StreamExpectation = "any" | "none" | "exists" | "exact";
export type Expectation = StreamExpectation | "no_event" | "no_match";

/** An expectation of a stream, whether the command writes to it or not. */
export interface StreamCheck {
    stream: string;
    expect: StreamExpectation;
    version?: Integer;
}

/** One alternative of a condition: any of the types, all of the tags. */
export interface Item {
    types?: Iterable<string>;
    tags?: Iterable<string>;
}

/**
 * Fails if an event behind position `after` matches one of the items; without
 * items, if there is any event.
 */
export interface Condition {
    items?: Item[];
    after?: Integer;
}

export type Check = StreamCheck | Condition;

/** Events that are stored as one commit, or not at all. */
export interface Command {
    /** A UUID, best a UUIDv7.  The same id never takes effect twice: keep it
     * to ask again after a crash. */
    id?: string;
    events: NewEvent[];
    checks?: Check[];
    /** So many of the events that cause a conflict are shown at most. */
    show?: number;
    /** Decide, and store nothing. */
    dryRun?: boolean;
}

export interface Verdict {
    /** Its place among the checks of the command, from 0. */
    check: number;
    holds: boolean;
    expect: Expectation;
    expected: bigint;
    /** The version of the stream, 0: none; of a condition the position of the
     * newest event that matches. */
    actual: bigint;
}

/** An event as it was stored. */
export interface Event {
    position: bigint;
    version: bigint;
    timeUs: bigint;
    id: string;
    correlationId: string | null;
    causationId: string | null;
    schema: number;
    stream: string;
    type: string;
    contentType: string;
    tags: string[];
    meta: Buffer;
    data: Buffer;
}

export type Code =
    | "accepted"
    | "conflict"
    | "rejected"
    | "invalid"
    | "too large"
    | "denied"
    | "no space"
    | "unknown"
    | "damaged"
    | (string & {});

/** What became of a command. */
export interface Outcome {
    id: string;
    code: Code;
    accepted: boolean;
    /** It had taken effect before: this is the outcome of then. */
    repeated: boolean;
    dryRun: boolean;
    /** Not all of the events that caused a conflict are in `events`. */
    more: boolean;
    retryMs: number;
    firstPosition: bigint;
    lastPosition: bigint;
    timeUs: bigint;
    /** Of each stream, in the order in which they first appear. */
    versions: bigint[];
    verdicts: Verdict[];
    detail: string;
    events: Event[];
    /** False: it never left, so nothing can have happened. */
    sent: boolean;
}

/**
 * What to read.  One stream and nothing else is read by versions, all else by
 * positions.
 */
export interface Query {
    streams?: Iterable<string>;
    categories?: Iterable<string>;
    types?: Iterable<string>;
    tags?: Iterable<string>;
    /** A version or position; 0: the first, or backward the newest. */
    from?: Integer;
    /** Instead: the last n events and what comes; forward only. */
    fromEnd?: Integer;
    /** Instead: the first event at or after this time. */
    fromTimeUs?: Integer;
    backward?: boolean;
    /** In one page. */
    maxEvents?: number;
    maxBytes?: number;
}

export interface Page {
    events: Event[];
    /** There was no more in this direction when it was read. */
    atEnd: boolean;
    /** Where the next page starts; 0: a backward read is at the beginning. */
    next: bigint;
    /** The highest durable position. */
    watermark: bigint;
    streamVersion: bigint;
}

export interface Projection {
    name: string;
    code: string;
    state: "waiting" | "catching up" | "live" | "failed" | (string & {});
    checkpoint: bigint;
    watermark: bigint;
    events: bigint;
    transactions: bigint;
    timeUs: bigint;
    text: string;
}

export class Client {
    constructor(options?: Options);
    /** Appends; the outcome if it is accepted, else throws an AppendError. */
    append(command: Command): Promise<Outcome>;
    /** Appends; the outcome, accepted or not. */
    outcome(command: Command): Promise<Outcome>;
    /** Appends many, `window` of them in flight; outcomes in the order of the
     * commands.  They take effect in this order, but for those that the
     * server was too busy for. */
    appendMany(commands: Iterable<Command>): Promise<Outcome[]>;
    /** One page of events; waits for its first event. */
    page(
        query?: Query,
        more?: { waitMs?: number; signal?: AbortSignal },
    ): Promise<Page>;
    /** Every event up to the present end, page by page. */
    read(
        query?: Query,
        more?: { signal?: AbortSignal },
    ): AsyncGenerator<Event, void, undefined>;
    /** Every event, and then what comes, as it comes, until it is aborted. */
    follow(
        query?: Query,
        more?: { signal?: AbortSignal },
    ): AsyncGenerator<Event, void, undefined>;
    /** The highest durable position. */
    watermark(): Promise<bigint>;
    /** How a projection is. */
    projection(name: string): Promise<Projection>;
    /** Waits until a projection has taken in every event up to a position, so
     * that you can read your own writes; returns its checkpoint. */
    wait(
        name: string,
        position: Integer,
        more?: { timeoutMs?: number },
    ): Promise<bigint>;
    /** Closes it.  Commands without an outcome get one: unknown. */
    close(): Promise<void>;
}

/** A new UUIDv7. */
export function uuid7(): string;
/** A command with an id, to be kept for asking again. */
export function command(
    events: NewEvent[],
    more?: Omit<Command, "events">,
): Command & { id: string };
/** An event whose data is a value as JSON. */
export function jsonEvent(
    stream: string,
    type: string,
    value: unknown,
    more?: Partial<NewEvent>,
): NewEvent;
export function noStream(stream: string): StreamCheck;
export function streamExists(stream: string): StreamCheck;
export function atVersion(stream: string, version: Integer): StreamCheck;
export function noMatch(items: Item[], after: Integer): Condition;
export function noEvent(after: Integer): Condition;

export class CairnError extends Error {}
export class ProtocolError extends CairnError {}
export class DamagedError extends CairnError {}
export class UnreachableError extends CairnError {}
export class ClosedError extends CairnError {}
export class RefusedError extends CairnError {
    code: string;
    text: string;
}
export class WaitTimeoutError extends CairnError {}
export class ProjectionFailedError extends CairnError {}
export class AppendError extends CairnError {
    outcome: Outcome;
    code: Code;
}
export class ConflictError extends AppendError {}
export class RejectedError extends AppendError {}
export class InvalidError extends AppendError {}
export class TooLargeError extends AppendError {}
export class DeniedError extends AppendError {}
export class NoSpaceError extends AppendError {}
export class UnknownOutcomeError extends AppendError {}
