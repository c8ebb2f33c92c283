// SPDX-License-Identifier: MPL-2.0
// A driver for the conformance kit: node conformance.js RUN [NAME=VALUE...].
//
// Reads requests as lines of JSON on standard input and writes the answers as
// lines of JSON on standard output; tests/conformance/README.md tells both.

import { createInterface } from "node:readline";

import {
    Client,
    DamagedError,
    ProjectionFailedError,
    ProtocolError,
    RefusedError,
    UnreachableError,
    WaitTimeoutError,
} from "./lib/index.js";
import * as wire from "./lib/wire.js";

const SAFE = 2n ** 53n; // beyond it numbers travel as text

const big = (value) => (value === undefined ? undefined : BigInt(value));
const out = (n) => (n < SAFE ? Number(n) : String(n));

function commandOf(spec) {
    return {
        id: spec.id,
        show: spec.show,
        dryRun: spec.dry_run,
        events: (spec.events ?? []).map((e) => ({
            ...e,
            contentType: e.content_type,
            correlationId: e.correlation_id,
            causationId: e.causation_id,
        })),
        checks: (spec.checks ?? []).map((check) =>
            check.condition === undefined
                ? { ...check, version: big(check.version) }
                : {
                      items: check.condition.items,
                      after: big(check.condition.after),
                  },
        ),
    };
}

function queryOf(spec) {
    return {
        streams: spec.streams,
        categories: spec.categories,
        types: spec.types,
        tags: spec.tags,
        from: big(spec.from),
        fromEnd: big(spec.from_end),
        fromTimeUs: big(spec.from_time),
        backward: spec.backward,
        maxEvents: spec.events,
        maxBytes: spec.bytes,
    };
}

const eventOut = (e) => ({
    position: out(e.position),
    version: out(e.version),
    time: out(e.timeUs),
    id: e.id,
    correlation_id: e.correlationId,
    causation_id: e.causationId,
    schema: e.schema,
    stream: e.stream,
    type: e.type,
    content_type: e.contentType,
    tags: e.tags,
    meta: e.meta.toString("utf8"),
    data: e.data.toString("utf8"),
});

const outcomeOut = (o) => ({
    id: o.id,
    code: o.code,
    retry_ms: o.retryMs,
    repeated: o.repeated,
    dry_run: o.dryRun,
    more: o.more,
    first: out(o.firstPosition),
    last: out(o.lastPosition),
    time: out(o.timeUs),
    versions: o.versions.map(out),
    verdicts: o.verdicts.map((v) => ({
        ...v,
        expected: out(v.expected),
        actual: out(v.actual),
    })),
    detail: o.detail,
    events: o.events.map(eventOut),
});

const pageOut = (page) => ({
    events: page.events.map(eventOut),
    at_end: page.atEnd,
    next: out(page.next),
    watermark: out(page.watermark),
    stream_version: out(page.streamVersion),
});

/** A message that a client sends: its values as frames. */
function encode(client, { kind, values }) {
    const encoders = {
        APPEND: () =>
            wire.encodeAppend(
                values.commands.map((c) => wire.encodeCommand(commandOf(c))),
            ),
        READ: () =>
            wire.encodeRead(values.request, queryOf(values), values.wait_ms),
        PING: () => wire.encodePing(values.request),
        PROJECTION: () =>
            wire.encodeProjection(
                values.request,
                values.operation,
                values.position,
                values.wait_ms,
            ),
    };
    return { frames: encoders[kind]().map((frame) => frame.toString("hex")) };
}

/** A message that a client gets: its frames as values. */
function decode(client, spec) {
    const frames = spec.frames.map((frame) => Buffer.from(frame, "hex"));
    const decoders = {
        APPENDED: () => ({
            outcomes: wire.decodeAppended(frames).map(outcomeOut),
        }),
        EVENTS() {
            const answer = wire.decodeEvents(frames);
            return {
                request: out(answer.request),
                code: answer.code,
                text: answer.text,
                ...pageOut(answer.page),
            };
        },
        PONG() {
            const pong = wire.decodePong(frames);
            return {
                request: out(pong.request),
                instance: out(pong.instance),
                log_id: pong.logId,
                watermark: out(pong.watermark),
                name: pong.name,
            };
        },
        REFUSED: () => wire.decodeRefused(frames),
        PROJECTED() {
            const { timeUs, ...found } = wire.decodeProjected(frames);
            const numbers = Object.entries(found).map(([key, value]) => [
                key,
                typeof value === "bigint" ? out(value) : value,
            ]);
            return { ...Object.fromEntries(numbers), time: out(timeUs) };
        },
    };
    return decoders[wire.headerKind(frames[0])]();
}

async function collect(events, count) {
    const found = [];
    for await (const event of events) {
        found.push(eventOut(event));
        if (found.length === count) {
            break;
        }
    }
    return { events: found };
}

const operations = {
    encode,
    decode,
    async append(client, spec) {
        const outcomes = await client.appendMany(spec.commands.map(commandOf));
        return { outcomes: outcomes.map(outcomeOut) };
    },
    async read(client, spec) {
        const page = await client.page(queryOf(spec), { waitMs: spec.wait_ms });
        return pageOut(page);
    },
    read_all: (client, spec) => collect(client.read(queryOf(spec))),
    follow: (client, spec) => collect(client.follow(queryOf(spec)), spec.count),
    async wait(client, spec) {
        const checkpoint = await client.wait(
            spec.projection,
            big(spec.position),
            { timeoutMs: spec.wait_ms },
        );
        return { checkpoint: out(checkpoint) };
    },
};

function failure(error) {
    if (error instanceof RefusedError) {
        return { error: error.code, detail: error.text };
    }
    const names = [
        [RangeError, "argument"],
        [WaitTimeoutError, "timeout"],
        [UnreachableError, "unreachable"],
        [DamagedError, "damaged"],
        [ProjectionFailedError, "failed"],
        [ProtocolError, "protocol"],
    ];
    const found = names.find(([kind]) => error instanceof kind);
    if (found === undefined) {
        throw error;
    }
    return { error: found[1], detail: error.message };
}

/** NAME=VALUE as an option: the names of the kit have underscores. */
function option(text) {
    const [name, value] = text.split(/=(.*)/s);
    return [
        name.replace(/_(.)/g, (_, letter) => letter.toUpperCase()),
        name === "deadline_ms" ? Number(value) : value,
    ];
}

const [run, ...more] = process.argv.slice(2);
const client = new Client({ run, ...Object.fromEntries(more.map(option)) });
for await (const line of createInterface({ input: process.stdin })) {
    const spec = JSON.parse(line);
    let answer;
    try {
        answer = await operations[spec.op](client, spec);
    } catch (error) {
        answer = failure(error);
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await client.close();
