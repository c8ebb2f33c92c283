// SPDX-License-Identifier: MPL-2.0
// A DEALER whose messages and news go to a receiver.

import * as zmq from "zeromq";

import {
    CairnError,
    ClosedError,
    RefusedError,
    UnreachableError,
} from "./errors.js";
import {
    AppendSession,
    CLOSED,
    CONNECTED,
    Call,
    DENIED,
    DISCONNECTED,
    silenceMs,
    unsentOutcome,
} from "./session.js";
import * as wire from "./wire.js";

const FRAME_BYTES_MAX = 32 << 20;
const HANDSHAKE_MS = 5000; // until it is tried again

const KEY_LENGTH = 40;

const isTcp = (endpoint) => endpoint.startsWith("tcp://");
const now = () => performance.now();

/** The keys of a socket: only tcp has them, and has to have them. */
function curve(endpoint, { serverKey, publicKey, secretKey }) {
    if (!isTcp(endpoint)) {
        return {};
    }
    for (const key of [serverKey, publicKey, secretKey]) {
        if (key === undefined) {
            throw new RangeError(
                "tcp is spoken only with CURVE; give the server's public " +
                    "key and a key of your own",
            );
        }
        if (key.length !== KEY_LENGTH) {
            throw new RangeError("a key is 40 characters of Z85");
        }
    }
    return {
        curveServerKey: serverKey,
        curvePublicKey: publicKey,
        curveSecretKey: secretKey,
    };
}

/** Nothing is sent to a peer that is not there: what waits, waits with us. */
class Peer {
    #sending = Promise.resolve();
    #closed = false;
    #isConnected = false;
    #isDenied = false; // the server does not know our key

    constructor(endpoint, keys) {
        this.endpoint = endpoint;
        // In the context of the process: one of our own could be collected,
        // and with it shut down, before the observer of a closed socket has
        // heard of its end; it would wait for it for ever, and keep the
        // process from ending.
        this.socket = new zmq.Dealer({
            linger: 0,
            sendTimeout: 0,
            sendHighWaterMark: 10000,
            receiveHighWaterMark: 10000,
            immediate: true,
            reconnectInterval: 20,
            reconnectMaxInterval: 1000,
            handshakeInterval: HANDSHAKE_MS,
            maxMessageSize: FRAME_BYTES_MAX,
            ...curve(endpoint, keys),
        });
        const { events } = this.socket;
        events.on("handshake", () => this.#told(CONNECTED));
        events.on("disconnect", () => this.#told(DISCONNECTED));
        events.on("handshake:error:auth", () => this.#told(DENIED));
        this.socket.connect(endpoint);
        this.done = this.#receive();
    }

    #told(news) {
        this.#isConnected = news === CONNECTED;
        this.#isDenied ||= news === DENIED;
        this.onNews(news);
    }

    /** Whether it was taken; one after the other. */
    send(frames) {
        const sent = this.#sending.then(async () => {
            if (!this.#isConnected) {
                return false; // libzmq might take it for the one before
            }
            try {
                await this.socket.send(frames);
                return true;
            } catch (error) {
                if (error.code === "EAGAIN" || this.#closed) {
                    return false;
                }
                throw error;
            }
        });
        this.#sending = sent.catch(() => false);
        return sent;
    }

    /**
     * Gives a connection up that may be dead without anybody having said so,
     * and makes it anew; only over tcp, for the kernel tells when a local peer
     * goes.  Whether it did.
     */
    connectAnew() {
        if (!isTcp(this.endpoint) || this.#closed) {
            return false;
        }
        this.#isConnected = this.#isDenied = false;
        try {
            this.socket.disconnect(this.endpoint);
        } catch {
            // it is gone
        }
        this.socket.connect(this.endpoint);
        return true;
    }

    /** Connects anew if our key was not known: it may be by now. */
    reopenIfDenied() {
        if (this.#isDenied) {
            this.connectAnew();
        }
    }

    async #receive() {
        for await (const frames of this.socket) {
            this.onMessage(frames);
        }
    }

    async close() {
        this.#closed = true;
        await this.#sending;
        this.socket.close();
        await this.done.catch(() => undefined);
    }
}

/** The gateway. */
export class Commands extends Peer {
    #session;
    #deadlineMs;
    #window;
    #waiting = []; // beyond the window, in order
    #timer = null;
    #isSending = false;

    constructor(endpoint, keys, deadlineMs, window) {
        super(endpoint, keys);
        this.#deadlineMs = deadlineMs;
        this.#window = window;
        this.#session = new AppendSession(silenceMs(deadlineMs));
    }

    /** The outcome of a command. */
    outcome(command) {
        const encoded = wire.encodeCommand(command);
        const deadline = now() + this.#deadlineMs;
        return new Promise((resolve) => {
            this.#waiting.push({ encoded, deadline, resolve });
            this.#work();
        });
    }

    #admit() {
        while (this.#waiting.length > 0 && this.#session.size < this.#window) {
            const { encoded, deadline, resolve } = this.#waiting.shift();
            if (now() < deadline) {
                this.#session.add(encoded, now(), deadline, resolve);
            } else {
                resolve(unsentOutcome(encoded, false));
            }
        }
    }

    #work() {
        this.#admit();
        if (this.#session.size > 0) {
            this.reopenIfDenied();
        }
        this.#send();
        this.#schedule();
    }

    async #send() {
        if (this.#isSending) {
            return;
        }
        this.#isSending = true;
        try {
            // What is queued in this turn of the loop goes out together.
            await Promise.resolve();
            for (
                let group = this.#session.next(now());
                group !== null;
                group = this.#session.next(now())
            ) {
                const frames = wire.encodeAppend(group.map((e) => e.command));
                if (!(await this.send(frames))) {
                    this.#session.unsend(group);
                    break;
                }
            }
        } finally {
            this.#isSending = false;
        }
    }

    /** A timer only while something is in flight. */
    #schedule() {
        clearTimeout(this.#timer);
        const after = this.#session.wait(now());
        this.#timer =
            after === null
                ? null
                : setTimeout(() => {
                      if (this.#session.tick(now()) && this.connectAnew()) {
                          this.#session.connected = false;
                      }
                      this.#work();
                  }, after);
    }

    onMessage(frames) {
        try {
            this.#session.received(frames, now());
        } catch (error) {
            if (!(error instanceof CairnError)) {
                throw error;
            } // not of this protocol: the deadline ends the wait
        }
        this.#work();
    }

    onNews(news) {
        this.#session.connection(news, now());
        this.#work();
    }

    async close() {
        await super.close();
        for (const { encoded, resolve } of this.#waiting.splice(0)) {
            resolve(unsentOutcome(encoded, true));
        }
        this.#session.close();
        clearTimeout(this.#timer);
    }
}

/** The publisher, or a projector: requests by their numbers. */
export class Requests extends Peer {
    #calls = new Map();
    #deadlineMs;

    constructor(endpoint, keys, deadlineMs) {
        super(endpoint, keys);
        this.#deadlineMs = deadlineMs;
    }

    /** The frames that answer a request; `signal` ends the wait. */
    async ask(number, frames, extraMs = 0, signal = undefined) {
        const call = new Call(number, frames, now(), this.#deadlineMs, extraMs);
        const entry = { call, answer: null, error: null, wake: () => {} };
        const onAbort = () => {
            entry.error = signal.reason;
            entry.wake();
        };
        this.reopenIfDenied();
        this.#calls.set(BigInt(number), entry);
        signal?.addEventListener("abort", onAbort);
        try {
            while (entry.answer === null) {
                signal?.throwIfAborted();
                if (entry.error !== null) {
                    throw entry.error;
                }
                if (now() >= call.deadline) {
                    throw (
                        call.refusal ??
                        new UnreachableError(
                            `nobody answers at ${this.endpoint}`,
                        )
                    );
                }
                if (call.silent(now()) && this.connectAnew()) {
                    this.#allLost();
                }
                if (call.due(now())) {
                    call.wasSent(now(), await this.send(frames));
                }
                if (entry.answer === null && entry.error === null) {
                    await this.#pause(entry, call.wait(now()));
                }
            }
            return entry.answer;
        } finally {
            signal?.removeEventListener("abort", onAbort);
            this.#calls.delete(BigInt(number));
        }
    }

    #pause(entry, ms) {
        return new Promise((resolve) => {
            const timer = setTimeout(resolve, ms);
            entry.wake = () => {
                clearTimeout(timer);
                resolve();
            };
        });
    }

    #allLost() {
        for (const entry of this.#calls.values()) {
            entry.call.lost();
            entry.wake();
        }
    }

    onMessage(frames) {
        for (const { call } of this.#calls.values()) {
            call.heard(now());
        }
        let kind;
        try {
            kind = wire.headerKind(frames[0]);
            if (kind === "REFUSED") {
                // It does not say which: they are all of one kind.
                const { code, text } = wire.decodeRefused(frames);
                this.#refused(new RefusedError(code, text));
                return;
            }
            const { numbers } = wire.decodeHeader(kind, frames[0]);
            const entry = this.#calls.get(numbers[0]);
            if (entry !== undefined) {
                entry.answer = frames;
                entry.wake();
            }
        } catch (error) {
            if (!(error instanceof CairnError)) {
                throw error;
            } // not of this protocol: the deadline ends the wait
        }
    }

    #fail(error) {
        for (const entry of this.#calls.values()) {
            entry.error = error;
            entry.wake();
        }
    }

    #refused(refusal) {
        for (const entry of this.#calls.values()) {
            if (!entry.call.refused(now(), refusal)) {
                entry.error = refusal;
            }
            entry.wake();
        }
    }

    onNews(news) {
        if (news === DENIED) {
            const text = `the server at ${this.endpoint} does not know this key`;
            this.#fail(new RefusedError("denied", text));
        } else {
            this.#allLost(); // or was never sent over this connection
        }
    }

    async close() {
        this.#fail(new ClosedError(CLOSED));
        await super.close();
    }
}
