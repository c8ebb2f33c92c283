// SPDX-License-Identifier: MPL-2.0
// The client.

import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import {
    ClosedError,
    DamagedError,
    ProjectionFailedError,
    RefusedError,
    WaitTimeoutError,
    appendError,
} from "./errors.js";
import { Commands, Requests } from "./peer.js";
import { Backoff, CLOSED } from "./session.js";
import * as wire from "./wire.js";

const WAIT_STEP_MS = 10000; // of one request, so that a lost answer is noticed
const DEADLINE_MAX_MS = 86400000;
const WINDOW_MAX = 16384;

/** A new UUIDv7: command ids carry their time. */
export function uuid7() {
    const bytes = randomBytes(16);
    bytes.writeUIntBE(Date.now(), 0, 6);
    bytes[6] = (bytes[6] & 0x0f) | 0x70;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    return bytes
        .toString("hex")
        .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** A command with an id, to be kept for asking again. */
export function command(events, more = {}) {
    return { id: uuid7(), ...more, events };
}

/** An event whose data is a value as JSON. */
export function jsonEvent(stream, type, value, more = {}) {
    return {
        ...more,
        stream,
        type,
        contentType: "application/json",
        data: Buffer.from(JSON.stringify(value), "utf8"),
    };
}

export const noStream = (stream) => ({ stream, expect: "none" });
export const streamExists = (stream) => ({ stream, expect: "exists" });
export const atVersion = (stream, version) => ({
    stream,
    expect: "exact",
    version,
});
export const noMatch = (items, after) => ({ items, after });
export const noEvent = (after) => ({ after });

export class Client {
    #options;
    #commands = null;
    #requests = new Map();
    #number = 0;
    #closed = false;

    constructor(options = {}) {
        const run = options.run ?? "/run/cairn";
        const given = Object.entries(options).filter(
            ([, value]) => value !== undefined,
        );
        this.#options = {
            commands: `ipc://${run}/commands`,
            queries: `ipc://${run}/queries`,
            projections: `ipc://${run}/projections/`,
            deadlineMs: 30000,
            window: 256,
            ...Object.fromEntries(given),
        };
        const { deadlineMs, window } = this.#options;
        if (!(deadlineMs > 0 && deadlineMs <= DEADLINE_MAX_MS)) {
            throw new RangeError("deadlineMs: above 0, at most a day");
        }
        if (!Number.isInteger(window) || window < 1 || window > WINDOW_MAX) {
            throw new RangeError(`window: from 1 to ${WINDOW_MAX}`);
        }
    }

    /** Closes it.  Commands without an outcome get one: unknown. */
    async close() {
        this.#closed = true;
        await this.#commands?.close();
        for (const peer of this.#requests.values()) {
            await peer.close();
        }
    }

    async [Symbol.asyncDispose ?? Symbol.for("Symbol.asyncDispose")]() {
        await this.close();
    }

    #check() {
        if (this.#closed) {
            throw new ClosedError(CLOSED);
        }
    }

    // ---- commands ---------------------------------------------------------

    /** Appends; the outcome, accepted or not. */
    async outcome(request) {
        this.#check();
        this.#commands ??= new Commands(
            this.#options.commands,
            this.#options,
            this.#options.deadlineMs,
            this.#options.window,
        );
        return this.#commands.outcome({
            ...request,
            id: request.id ?? uuid7(),
        });
    }

    /** Appends; the outcome if it is accepted, else throws an AppendError. */
    async append(request) {
        const outcome = await this.outcome(request);
        if (!outcome.accepted) {
            throw appendError(outcome);
        }
        return outcome;
    }

    /** Appends many; outcomes in the order of the commands. */
    async appendMany(requests) {
        return Promise.all(
            [...requests].map((request) => this.outcome(request)),
        );
    }

    // ---- requests ---------------------------------------------------------

    #peer(endpoint) {
        this.#check();
        let peer = this.#requests.get(endpoint);
        if (peer === undefined) {
            peer = new Requests(
                endpoint,
                this.#options,
                this.#options.deadlineMs,
            );
            this.#requests.set(endpoint, peer);
        }
        return peer;
    }

    /** One page of events. */
    async page(query = {}, { waitMs = 0, signal = undefined } = {}) {
        const backoff = new Backoff(
            performance.now() + this.#options.deadlineMs,
        );
        for (;;) {
            const number = ++this.#number;
            const { code, text, page } = wire.decodeEvents(
                await this.#peer(this.#options.queries).ask(
                    number,
                    wire.encodeRead(number, query, waitMs),
                    waitMs,
                    signal,
                ),
            );
            if (code === "accepted") {
                return page;
            }
            if (code === "damaged") {
                throw new DamagedError(text);
            }
            const pause = backoff.next(performance.now());
            if (
                (code !== "busy" && code !== "stopping") ||
                pause === undefined
            ) {
                throw new RefusedError(code, text);
            }
            await sleep(pause);
        }
    }

    /** Every event up to the present end, page by page. */
    async *read(query = {}, { signal = undefined } = {}) {
        for (let rest = query; ; ) {
            const page = await this.page(rest, { signal });
            yield* page.events;
            if (page.atEnd) {
                return;
            }
            rest = continued(rest, page);
        }
    }

    /** Every event, and then what comes, as it comes, until it is aborted. */
    async *follow(query = {}, { signal = undefined } = {}) {
        if (query.backward) {
            throw new RangeError("only a forward query can be followed");
        }
        for (let rest = query; ; ) {
            const page = await this.page(rest, {
                waitMs: WAIT_STEP_MS,
                signal,
            });
            yield* page.events;
            rest = continued(rest, page);
        }
    }

    /** The highest durable position. */
    async watermark() {
        const number = ++this.#number;
        const frames = await this.#peer(this.#options.queries).ask(
            number,
            wire.encodePing(number),
        );
        return wire.decodePong(frames).watermark;
    }

    /** How a projection is. */
    async projection(name) {
        return this.#projection(name, wire.INFO, 0, 0);
    }

    async #projection(name, operation, position, waitMs) {
        const number = ++this.#number;
        return wire.decodeProjected(
            await this.#peer(this.#options.projections + name).ask(
                number,
                wire.encodeProjection(number, operation, position, waitMs),
                waitMs,
            ),
        );
    }

    /**
     * Waits until a projection has taken in every event up to a position;
     * returns its checkpoint.
     */
    async wait(name, position, { timeoutMs = 60000 } = {}) {
        const until = performance.now() + timeoutMs;
        for (;;) {
            const left = Math.max(until - performance.now(), 0);
            const found = await this.#projection(
                name,
                wire.WAIT,
                position,
                Math.min(left, WAIT_STEP_MS),
            );
            if (found.code === "accepted") {
                return found.checkpoint;
            }
            if (found.state === "failed") {
                throw new ProjectionFailedError(found.text);
            }
            if (found.code !== "busy") {
                throw new RefusedError(found.code, found.text);
            }
            if (performance.now() >= until) {
                throw new WaitTimeoutError(`${name} is at ${found.checkpoint}`);
            }
        }
    }
}

/** The query that goes on behind a page. */
function continued(query, page) {
    return {
        ...query,
        from: page.next,
        fromEnd: undefined,
        fromTimeUs: undefined,
    };
}
