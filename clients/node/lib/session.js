// SPDX-License-Identifier: MPL-2.0
// What is in flight, and when it is sent again; without any socket.  Times are
// milliseconds of a clock that never goes back.

import * as wire from "./wire.js";

const BACKOFF_MIN_MS = 50;
const BACKOFF_MAX_MS = 1000;
const SILENCE_MS = 5000; // without any answer: the connection may be dead
const RESEND_MS = 1000; // a request without an answer is asked again
const MESSAGE_BYTES = 256 << 10;
const AGAIN = new Set(["busy", "unknown", "stopping"]);
const LATE = "no answer until the deadline";

export const CLOSED = "the client has been closed";

/** How long to wait until something that was put off is asked again, at most
 * until its deadline; undefined: it has passed. */
export class Backoff {
    #deadline;
    #next = BACKOFF_MIN_MS;

    constructor(deadline) {
        this.#deadline = deadline;
    }

    next(now) {
        if (now >= this.#deadline) {
            return undefined;
        }
        const pause = Math.min(this.#next, this.#deadline - now);
        this.#next = Math.min(2 * this.#next, BACKOFF_MAX_MS);
        return pause;
    }
}

/** What can become of a connection. */
export const CONNECTED = "connected";
export const DISCONNECTED = "disconnected"; // what was on its way may be lost
export const DENIED = "denied"; // our key is not known; libzmq tries no more

/** How long a connection may be without a word, if anything is tried for so
 * long: short enough that there is time for another one. */
export const silenceMs = (deadlineMs) => Math.min(SILENCE_MS, deadlineMs / 2);

/** Commands in the order in which they were added. */
export class AppendSession {
    connected = false;
    #silenceMs;
    #pending = new Map(); // by serial number
    #byId = new Map(); // serial numbers, oldest first
    #serial = 0;
    #unsent = 0;
    #resume = 0;
    #backoff = BACKOFF_MIN_MS;
    #heard = 0;

    constructor(silence) {
        this.#silenceMs = silence;
    }

    get size() {
        return this.#pending.size;
    }

    /** Takes an encoded command to be tried until the deadline; `done` is
     * called once with its outcome. */
    add(command, now, deadline, done) {
        const serial = ++this.#serial;
        if (this.#pending.size === 0) {
            this.#heard = now;
        }
        this.#pending.set(serial, {
            command,
            done,
            deadline,
            sent: false, // and no reason to send it again
            reached: false, // was sent once
        });
        const serials = this.#byId.get(command.id);
        if (serials === undefined) {
            this.#byId.set(command.id, [serial]);
        } else {
            serials.push(serial);
        }
        this.#unsent++;
    }

    /**
     * The entries of the next message to send, marked as sent; null: there is
     * none now.  Call unsend() if it could not be sent.
     */
    next(now) {
        if (this.#unsent === 0 || !this.connected || now < this.#resume) {
            return null;
        }
        if (this.#unsent === this.#pending.size) {
            this.#heard = now;
        }
        const group = [];
        let size = 0;
        let elements = 0;
        for (const entry of this.#pending.values()) {
            if (entry.sent) {
                continue;
            }
            const { body, elements: more } = entry.command;
            if (
                group.length > 0 &&
                (group.length === wire.COMMANDS_MAX ||
                    size + body.length > MESSAGE_BYTES ||
                    elements + more > wire.ELEMENTS_MAX)
            ) {
                break;
            }
            group.push(entry);
            size += body.length;
            elements += more;
        }
        for (const entry of group) {
            entry.wasReached = entry.reached;
            entry.sent = entry.reached = true;
        }
        this.#unsent -= group.length;
        return group;
    }

    /** The message of this group was not taken. */
    unsend(group) {
        for (const entry of group) {
            if (entry.sent && !entry.finished) {
                entry.sent = false;
                entry.reached = entry.wasReached;
                this.#unsent++;
            }
        }
    }

    /** Takes a message of the gateway in. */
    received(frames, now) {
        this.#heard = now;
        if (wire.headerKind(frames[0]) === "REFUSED") {
            const refusal = wire.decodeRefused(frames);
            if (AGAIN.has(refusal.code)) {
                this.#allAgain(now);
            } else {
                this.#refused(refusal);
            }
            return;
        }
        for (const outcome of wire.decodeAppended(frames)) {
            const serials = this.#byId.get(outcome.id);
            if (serials === undefined) {
                continue; // an answer to an earlier try
            }
            if (AGAIN.has(outcome.code)) {
                const entry = this.#pending.get(serials[0]);
                this.#again(entry, now, outcome.retryMs);
            } else {
                this.#backoff = BACKOFF_MIN_MS;
                this.#finish(serials[0], outcome);
            }
        }
    }

    /** It was not understood: there is no use in sending it again. */
    #refused({ code, text }) {
        for (const [serial, entry] of [...this.#pending]) {
            if (entry.sent) {
                this.#finish(serial, bareOutcome(entry, code, text));
            }
        }
    }

    #finish(serial, outcome) {
        const entry = this.#pending.get(serial);
        this.#pending.delete(serial);
        entry.finished = true;
        if (!entry.sent) {
            this.#unsent--;
        }
        const serials = this.#byId.get(entry.command.id);
        serials.splice(serials.indexOf(serial), 1);
        if (serials.length === 0) {
            this.#byId.delete(entry.command.id);
        }
        entry.done(outcome);
    }

    /** Sends a command again, not before a while. */
    #again(entry, now, retryMs) {
        if (!entry.sent) {
            return;
        }
        entry.sent = false;
        this.#unsent++;
        if (now < this.#resume) {
            return; // one failure for many commands: one wait
        }
        this.#resume = now + Math.max(retryMs, this.#backoff);
        this.#backoff = Math.min(2 * this.#backoff, BACKOFF_MAX_MS);
    }

    #allAgain(now) {
        for (const entry of this.#pending.values()) {
            this.#again(entry, now, 0);
        }
    }

    /** The connection came, or went, or is not to be had. */
    connection(news, now) {
        this.connected = news === CONNECTED;
        if (news === CONNECTED) {
            this.#resume = 0;
        } else if (news === DENIED) {
            this.#denied();
        } else {
            this.#allAgain(now);
        }
    }

    /**
     * The server does not know our key: nothing will get there.  What was sent
     * while it knew it may have taken effect.
     */
    #denied() {
        for (const [serial, entry] of [...this.#pending]) {
            this.#finish(
                serial,
                bareOutcome(
                    entry,
                    entry.reached ? "unknown" : "denied",
                    "the server does not know this key",
                ),
            );
        }
    }

    /**
     * Gives up what is past its deadline, and ends a silence.  True: it was
     * silent for long, and the connection may be dead.
     */
    tick(now) {
        const silent =
            this.#pending.size > this.#unsent &&
            now - this.#heard > this.#silenceMs;
        if (silent) {
            this.#heard = now;
            this.#allAgain(now);
        }
        this.#giveUp(now, LATE);
        return silent;
    }

    /** Gives everything up: the client is closed. */
    close() {
        this.#giveUp(Infinity, CLOSED);
    }

    #giveUp(now, why) {
        for (const [serial, entry] of [...this.#pending]) {
            if (now >= entry.deadline) {
                this.#finish(serial, bareOutcome(entry, "unknown", why));
            }
        }
    }

    /** Milliseconds until there is something to do; null: nothing. */
    wait(now) {
        if (this.#pending.size === 0) {
            return null;
        }
        let after = 100; // deadlines and silences
        if (this.#unsent > 0 && this.connected) {
            after = Math.min(after, this.#resume - now);
        }
        return Math.max(after, 1);
    }
}

/** Of a command that was never sent, for its time is over; or the client is
 * closed. */
export const unsentOutcome = (command, isClosed) =>
    bareOutcome(
        { command, reached: false },
        "unknown",
        isClosed ? CLOSED : LATE,
    );

function bareOutcome(entry, code, detail) {
    return {
        id: entry.command.id,
        code,
        accepted: false,
        repeated: false,
        dryRun: false,
        more: false,
        retryMs: 0,
        firstPosition: 0n,
        lastPosition: 0n,
        timeUs: 0n,
        versions: [],
        verdicts: [],
        detail,
        events: [],
        sent: entry.reached,
    };
}

/** A request and, at last, its answer; all tries have one number. */
export class Call {
    #resend = 0;
    #backoff = BACKOFF_MIN_MS;
    refusal = null; // why it was put off
    #heard = null; // since it was first sent; null: it was not
    #silenceMs;

    constructor(number, frames, now, deadlineMs, extraMs) {
        this.number = number;
        this.frames = frames;
        this.deadline = now + deadlineMs + extraMs;
        this.extraMs = extraMs; // that the other side may take its time
        this.#silenceMs = silenceMs(deadlineMs) + extraMs;
    }

    due(now) {
        return now >= this.#resend;
    }

    /** Not connected yet: again soon; else when it may be lost. */
    wasSent(now, taken) {
        this.#resend = now + (taken ? RESEND_MS + this.extraMs : 10);
        if (taken) {
            this.#heard ??= now;
        }
    }

    /** Something came over the connection, whatever it was. */
    heard(now) {
        if (this.#heard !== null) {
            this.#heard = now;
        }
    }

    /**
     * Whether the connection over which it was sent may be dead; true once for
     * each such time.
     */
    silent(now) {
        if (this.#heard === null || now - this.#heard <= this.#silenceMs) {
            return false;
        }
        this.#heard = now;
        return true;
    }

    /** The connection over which it was asked is gone. */
    lost() {
        this.#resend = 0;
        this.#heard = null;
    }

    /** Whether it was only put off: then it is asked again after a while. */
    refused(now, refusal) {
        if (refusal.code !== "busy" && refusal.code !== "stopping") {
            return false;
        }
        this.refusal = refusal;
        this.#resend = now + this.#backoff;
        this.#backoff = Math.min(2 * this.#backoff, BACKOFF_MAX_MS);
        return true;
    }

    wait(now) {
        const until = Math.min(
            this.#resend,
            this.deadline,
            this.#heard === null ? Infinity : this.#heard + this.#silenceMs,
        );
        return Math.max(until - now, 1);
    }
}
