// SPDX-License-Identifier: MPL-2.0
// The messages of doc/PROTOCOL.md, as frames and as values.

import { Buffer } from "node:buffer";

import { DamagedError, ProtocolError } from "./errors.js";

export const VERSION = 1;
export const COMMANDS_MAX = 4096; // in one message, as checks and events below
export const ELEMENTS_MAX = 65536;
const NAME_BYTES_MAX = 65535; // what a length can say; the server allows 255
const FRAME_BYTES_MAX = 32 << 20;

export const FORMATS = {
    APPEND: [1, "vvA(UUuuvv)A(cvU)A(vvu)A(UUUUUUuvvvvvuu)"],
    APPENDED: [2, "vvA(UUvvuUUUuuuu)A(U)A(uccUU)"],
    READ: [3, "vvUccUuuuA(cv)"],
    EVENTS: [4, "vvUvvUUUu"],
    PING: [5, "vvU"],
    PONG: [6, "vvUUUUU"],
    REFUSED: [7, "vvv"],
    PROJECTION: [8, "vvUcUu"],
    PROJECTED: [9, "vvUvvUUUUU"],
};
const kindNames = new Map(
    Object.entries(FORMATS).map(([name, [kind]]) => [kind, name]),
);

export const CODES = [
    "accepted",
    "conflict",
    "rejected",
    "invalid",
    "too large",
    "denied",
    "busy",
    "no space",
    "stopping",
    "unknown",
    "damaged",
];
export const STATES = ["waiting", "catching up", "live", "failed"];
export const EXPECTATIONS = [
    "any",
    "none",
    "exists",
    "exact",
    "no_event",
    "no_match",
];

const nameOf = (names, number) => names[number] ?? `code ${number}`;

// ---- headers --------------------------------------------------------------

const sizes = { c: 1, v: 2, u: 4, U: 8 };

const writers = {
    c: (b, value, at) => b.writeUInt8(Number(value), at),
    v: (b, value, at) => b.writeUInt16LE(Number(value), at),
    u: (b, value, at) => b.writeUInt32LE(Number(value), at),
    U: (b, value, at) => b.writeBigUInt64LE(BigInt(value), at),
};

const readers = {
    c: (b, at) => b.readUInt8(at),
    v: (b, at) => b.readUInt16LE(at),
    u: (b, at) => b.readUInt32LE(at),
    U: (b, at) => b.readBigUInt64LE(at),
};

const parsed = new Map();

/** A format as runs of numbers and arrays of them. */
function partsOf(text) {
    let parts = parsed.get(text);
    if (parts === undefined) {
        parts = [...text.matchAll(/A\((\w+)\)|([cvuU]+)/g)].map((match) => {
            const fields = match[1] ?? match[2];
            const size = [...fields].reduce((sum, c) => sum + sizes[c], 0);
            return { isArray: match[1] !== undefined, fields, size };
        });
        parsed.set(text, parts);
    }
    return parts;
}

function put(buffer, at, fields, row) {
    for (let i = 0; i < fields.length; i++) {
        writers[fields[i]](buffer, row[i], at);
        at += sizes[fields[i]];
    }
    return at;
}

function take(buffer, at, fields) {
    const row = [];
    for (const c of fields) {
        row.push(readers[c](buffer, at));
        at += sizes[c];
    }
    return row;
}

/** An image: the numbers behind version and kind, then the arrays. */
export function encodeHeader(name, numbers, ...arrays) {
    const [kind, text] = FORMATS[name];
    const parts = partsOf(text);
    const head = Buffer.from(`${text}\0`, "ascii");
    let length = 8 + head.length;
    let array = 0;
    for (const part of parts) {
        length += part.isArray
            ? 4 + part.size * arrays[array++].length
            : part.size;
    }
    const image = Buffer.alloc(length);
    image.write("tpl\0", 0, "ascii");
    image.writeUInt32LE(length, 4);
    head.copy(image, 8);
    let at = 8 + head.length;
    array = 0;
    for (const part of parts) {
        if (!part.isArray) {
            at = put(image, at, part.fields, [VERSION, kind, ...numbers]);
            continue;
        }
        const rows = arrays[array++];
        at = image.writeUInt32LE(rows.length, at);
        for (const row of rows) {
            at = put(image, at, part.fields, row);
        }
    }
    return image;
}

/** The name of the message with this header. */
export function headerKind(data) {
    const end = data.indexOf(0, 8);
    if (
        data.length < 12 ||
        data.toString("latin1", 0, 4) !== "tpl\0" ||
        end < 0 ||
        data.length < end + 5
    ) {
        throw new ProtocolError("not a header");
    }
    const version = data.readUInt16LE(end + 1);
    const name = kindNames.get(data.readUInt16LE(end + 3));
    if (version !== VERSION || name === undefined) {
        throw new ProtocolError("another version, or an unknown kind");
    }
    return name;
}

/** The numbers behind version and kind, and the arrays. */
export function decodeHeader(name, data) {
    const [kind, text] = FORMATS[name];
    let at = 8 + text.length + 1;
    if (
        data.length < at ||
        data.toString("latin1", 0, 4) !== "tpl\0" ||
        data.toString("latin1", 8, at) !== `${text}\0` ||
        data.readUInt32LE(4) !== data.length
    ) {
        throw new ProtocolError(`not a header of ${name}`);
    }
    let numbers = [];
    const arrays = [];
    for (const part of partsOf(text)) {
        let count = 1;
        if (part.isArray) {
            if (data.length - at < 4) {
                throw new ProtocolError(`${name}: it is cut short`);
            }
            count = data.readUInt32LE(at);
            at += 4;
        }
        if (count * part.size > data.length - at) {
            throw new ProtocolError(`${name}: it is cut short`);
        }
        const rows = [];
        for (let i = 0; i < count; i++, at += part.size) {
            rows.push(take(data, at, part.fields));
        }
        if (part.isArray) {
            arrays.push(rows);
        } else {
            numbers = rows[0];
        }
    }
    if (at !== data.length || numbers[0] !== VERSION || numbers[1] !== kind) {
        throw new ProtocolError(`not a header of ${name}`);
    }
    return { numbers: numbers.slice(2), arrays };
}

// ---- ids ------------------------------------------------------------------

export const NIL = "00000000-0000-0000-0000-000000000000";

function idBytes(id) {
    const hex = (id ?? NIL).replaceAll("-", "");
    if (!/^[0-9a-fA-F]{32}$/.test(hex)) {
        throw new RangeError(`not a UUID: ${id}`);
    }
    return Buffer.from(hex, "hex");
}

function halves(id) {
    const bytes = idBytes(id);
    return [bytes.readBigUInt64BE(0), bytes.readBigUInt64BE(8)];
}

function idText(bytes) {
    return bytes
        .toString("hex")
        .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

function idOfHalves(high, low) {
    const bytes = Buffer.alloc(16);
    bytes.writeBigUInt64BE(high, 0);
    bytes.writeBigUInt64BE(low, 8);
    return idText(bytes);
}

// ---- commands -------------------------------------------------------------

function bytesOf(value) {
    return typeof value === "string"
        ? Buffer.from(value, "utf8")
        : Buffer.from(value ?? []);
}

/** A number that would be cut is none. */
function whole(value, what) {
    if (!Number.isInteger(value)) {
        throw new RangeError(`${what} is no whole number: ${value}`);
    }
    return value;
}

function nameBytes(value, what) {
    if (/\p{Surrogate}/u.test(value ?? "")) {
        throw new RangeError(`${what} holds half of a surrogate pair`);
    }
    const bytes = Buffer.from(value ?? "", "utf8");
    if (bytes.length > NAME_BYTES_MAX) {
        throw new RangeError(`${what} is longer than ${NAME_BYTES_MAX} bytes`);
    }
    return bytes;
}

function shortNames(values, what) {
    const names = [...(values ?? [])].map((value) => nameBytes(value, what));
    if (names.some((name) => name.length > 255)) {
        throw new RangeError(`${what} is longer than 255 bytes`);
    }
    return names;
}

const sum = (buffers) => buffers.reduce((total, b) => total + b.length, 0);
const lengths = (names) => Buffer.from(names.map((name) => name.length));

function encodeEvent(event) {
    const stream = nameBytes(event.stream, "stream");
    const type = nameBytes(event.type, "type");
    const contentType = nameBytes(event.contentType, "content type");
    const tags = shortNames(event.tags, "tag");
    const meta = bytesOf(event.meta);
    const data = bytesOf(event.data);
    return {
        row: [
            ...halves(event.id),
            ...halves(event.correlationId),
            ...halves(event.causationId),
            whole(event.schema ?? 1, "schema"),
            stream.length,
            type.length,
            contentType.length,
            tags.length,
            sum(tags),
            meta.length,
            data.length,
        ],
        body: [lengths(tags), stream, type, contentType, ...tags, meta, data],
    };
}

function encodeCheck(check) {
    if (check.stream !== undefined) {
        const expect = EXPECTATIONS.indexOf(check.expect ?? "any");
        if (expect < 0 || expect > 3) {
            throw new RangeError(`no expectation of a stream: ${check.expect}`);
        }
        const name = nameBytes(check.stream, "stream");
        return {
            row: [expect, name.length, expect === 3 ? check.version : 0],
            items: [],
            body: [name],
        };
    }
    const items = [];
    const body = [];
    for (const item of check.items ?? []) {
        const types = shortNames(item.types, "type");
        const tags = shortNames(item.tags, "tag");
        const names = [...types, ...tags];
        items.push([types.length, tags.length, sum(names)]);
        body.push(lengths(names), ...names);
    }
    return {
        row: [check.items ? 5 : 4, items.length, check.after ?? 0],
        items,
        body,
    };
}

/** Everything of a command; throws RangeError for what no message carries. */
export function encodeCommand(command) {
    const checks = (command.checks ?? []).map(encodeCheck);
    const events = command.events.map(encodeEvent);
    const encoded = {
        id: idText(idBytes(command.id)),
        row: [
            ...halves(command.id),
            checks.length,
            events.length,
            command.dryRun ? 1 : 0,
            whole(command.show ?? 0, "show"),
        ],
        checks: checks.map((check) => check.row),
        items: checks.flatMap((check) => check.items),
        events: events.map((event) => event.row),
        body: Buffer.concat([
            ...checks.flatMap((check) => check.body),
            ...events.flatMap((event) => event.body),
        ]),
    };
    encoded.elements = Math.max(
        encoded.checks.length,
        encoded.items.length,
        encoded.events.length,
    );
    if (
        encoded.elements > ELEMENTS_MAX ||
        encoded.body.length > FRAME_BYTES_MAX
    ) {
        throw new RangeError("the command is longer than a message may be");
    }
    // Numbers that do not fit are the caller's mistake, told at once.
    encodeAppend([encoded]);
    return encoded;
}

/** The frames of an APPEND. */
export function encodeAppend(commands) {
    return [
        encodeHeader(
            "APPEND",
            [],
            commands.map((c) => c.row),
            commands.flatMap((c) => c.checks),
            commands.flatMap((c) => c.items),
            commands.flatMap((c) => c.events),
        ),
        Buffer.concat(commands.map((c) => c.body)),
    ];
}

// ---- outcomes -------------------------------------------------------------

/** The outcomes in an APPENDED. */
export function decodeAppended(frames) {
    if (frames.length !== 2) {
        throw new ProtocolError("APPENDED has two frames");
    }
    const [rows, versions, verdicts] = decodeHeader(
        "APPENDED",
        frames[0],
    ).arrays;
    const body = frames[1];
    let at = 0;
    let versionAt = 0;
    let verdictAt = 0;
    const outcomes = rows.map((row) => {
        const [versionCount, verdictCount, detailLength, recordsLength] =
            row.slice(8);
        const detailEnd = at + detailLength;
        const end = detailEnd + recordsLength;
        if (
            versionAt + versionCount > versions.length ||
            verdictAt + verdictCount > verdicts.length ||
            end > body.length
        ) {
            throw new ProtocolError("APPENDED: its counts do not add up");
        }
        const outcome = {
            id: idOfHalves(row[0], row[1]),
            code: nameOf(CODES, row[2]),
            accepted: row[2] === 0,
            repeated: (row[3] & 1) !== 0,
            dryRun: (row[3] & 2) !== 0,
            more: (row[3] & 4) !== 0,
            retryMs: row[4],
            firstPosition: row[5],
            lastPosition: row[6],
            timeUs: row[7],
            versions: versions
                .slice(versionAt, versionAt + versionCount)
                .map(([version]) => version),
            verdicts: verdicts
                .slice(verdictAt, verdictAt + verdictCount)
                .map(([check, holds, expect, expected, actual]) => ({
                    check,
                    holds: holds !== 0,
                    expect: nameOf(EXPECTATIONS, expect),
                    expected,
                    actual,
                })),
            detail: body.toString("utf8", at, detailEnd),
            events: decodeRecords(body.subarray(detailEnd, end)),
            sent: true,
        };
        at = end;
        versionAt += versionCount;
        verdictAt += verdictCount;
        return outcome;
    });
    if (
        at !== body.length ||
        versionAt !== versions.length ||
        verdictAt !== verdicts.length
    ) {
        throw new ProtocolError("APPENDED: something is left");
    }
    return outcomes;
}

// ---- records --------------------------------------------------------------

const EVENT = 4;
const HEAD_LENGTH = 128;
const LINK_LENGTH = 24;

const crcTable = new Uint32Array(256).map((_, byte) => {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) {
        crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
    }
    return crc;
});

/** CRC-32C, the checksum of records. */
export function crc32c(data) {
    let crc = 0xffffffff;
    for (let i = 0; i < data.length; i++) {
        crc = crcTable[(crc ^ data[i]) & 0xff] ^ (crc >>> 8);
    }
    return (crc ^ 0xffffffff) >>> 0;
}

/** The events among records as they lie in the log. */
export function decodeRecords(data) {
    const events = [];
    for (let at = 0; at < data.length; ) {
        if (data.length - at < 8) {
            throw new DamagedError("a record is cut short");
        }
        const shape = data.readUInt32LE(at + 4);
        const length = (shape & 0xffffff) * 8;
        if (length < 8 || length > data.length - at) {
            throw new DamagedError("a record has an impossible length");
        }
        if (shape >>> 24 === EVENT) {
            events.push(decodeEvent(data.subarray(at, at + length)));
        }
        at += length;
    }
    return events;
}

function decodeEvent(record) {
    if (record.length < HEAD_LENGTH) {
        throw new DamagedError("an event is cut short");
    }
    const tagCount = record[115];
    const dataLength = record.readUInt32LE(96);
    const metaLength = record.readUInt32LE(100);
    let at = HEAD_LENGTH + LINK_LENGTH * tagCount;
    const lens = [
        ...record.subarray(112, 115),
        ...record.subarray(at, at + tagCount),
    ];
    at += tagCount;
    const headEnd = at + lens.reduce((total, length) => total + length, 0);
    const dataEnd = headEnd + metaLength + dataLength;
    const tagsLength = lens.slice(3).reduce((total, n) => total + n, 0);
    if (tagsLength !== record.readUInt16LE(116) || dataEnd > record.length) {
        throw new DamagedError("an event has impossible lengths");
    }
    const position = record.readBigUInt64LE(8);
    if (
        crc32c(record.subarray(4, headEnd)) !== record.readUInt32LE(0) ||
        crc32c(record.subarray(headEnd)) !== record.readUInt32LE(120)
    ) {
        throw new DamagedError(`event ${position} does not pass its checksums`);
    }
    const texts = lens.map((length) => {
        at += length;
        return record.toString("utf8", at - length, at);
    });
    const [stream, type, contentType, ...tags] = texts;
    const idAt = (offset) => idText(record.subarray(offset, offset + 16));
    const orNull = (id) => (id === NIL ? null : id);
    return {
        position,
        version: record.readBigUInt64LE(16),
        timeUs: record.readBigUInt64LE(40),
        id: idAt(48),
        correlationId: orNull(idAt(64)),
        causationId: orNull(idAt(80)),
        schema: record.readUInt32LE(108),
        stream,
        type,
        contentType,
        tags,
        meta: record.subarray(headEnd, headEnd + metaLength),
        data: record.subarray(headEnd + metaLength, dataEnd),
    };
}

// ---- requests -------------------------------------------------------------

/** The frames of a READ. */
export function encodeRead(request, query, waitMs = 0) {
    const names = [
        ["s", query.streams],
        ["c", query.categories],
        ["t", query.types],
        ["g", query.tags],
    ].flatMap(([kind, group]) =>
        [...(group ?? [])].map((name) => [kind, nameBytes(name, "name")]),
    );
    let kind = 0;
    let start = query.from ?? 0;
    if (query.fromEnd !== undefined) {
        kind = 1;
        start = query.fromEnd;
    } else if (query.fromTimeUs !== undefined) {
        kind = 2;
        start = query.fromTimeUs;
    }
    return [
        encodeHeader(
            "READ",
            [
                request,
                query.backward ? 1 : 0,
                kind,
                start,
                query.maxEvents ?? 0,
                query.maxBytes ?? 0,
                Math.round(waitMs),
            ],
            names.map(([select, name]) => [
                select.charCodeAt(0),
                name.length,
            ]),
        ),
        Buffer.concat(names.map(([, name]) => name)),
    ];
}

/** What an EVENTS says: a page, or an error. */
export function decodeEvents(frames) {
    const [request, code, flags, next, watermark, streamVersion, count] =
        decodeHeader("EVENTS", frames[0]).numbers;
    const events =
        code === 0 ? frames.slice(1).flatMap((f) => decodeRecords(f)) : [];
    if (code === 0 && events.length !== count) {
        throw new DamagedError(
            "an answer has another number of events than it says",
        );
    }
    return {
        request,
        code: nameOf(CODES, code),
        text: code === 0 ? "" : (frames[1] ?? "").toString("utf8"),
        page: {
            events,
            atEnd: (flags & 1) !== 0,
            next,
            watermark,
            streamVersion,
        },
    };
}

export function encodePing(request) {
    return [encodeHeader("PING", [request])];
}

export function decodePong(frames) {
    const [request, instance, high, low, watermark] = decodeHeader(
        "PONG",
        frames[0],
    ).numbers;
    return {
        request,
        instance,
        logId: idOfHalves(high, low),
        watermark,
        name: (frames[1] ?? "").toString("utf8"),
    };
}

export function decodeRefused(frames) {
    const [code] = decodeHeader("REFUSED", frames[0]).numbers;
    return {
        code: nameOf(CODES, code),
        text: (frames[1] ?? "").toString("utf8"),
    };
}

export const INFO = 0;
export const WAIT = 1;
export const RESET = 2;

export function encodeProjection(request, operation, position, waitMs) {
    return [
        encodeHeader("PROJECTION", [
            request,
            operation,
            position,
            Math.round(waitMs),
        ]),
    ];
}

export function decodeProjected(frames) {
    if (frames.length !== 3) {
        throw new ProtocolError("PROJECTED has three frames");
    }
    const n = decodeHeader("PROJECTED", frames[0]).numbers;
    return {
        request: n[0],
        code: nameOf(CODES, n[1]),
        state: nameOf(STATES, n[2]),
        checkpoint: n[3],
        watermark: n[4],
        events: n[5],
        transactions: n[6],
        timeUs: n[7],
        name: frames[1].toString("utf8"),
        text: frames[2].toString("utf8"),
    };
}
