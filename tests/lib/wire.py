# SPDX-License-Identifier: MPL-2.0
"""The protocol, written down a second time from doc/PROTOCOL.md alone.

It shares no code with common/wire, so that each finds the other's mistakes.
"""

import struct
import uuid

NUMBERS = {"c": "b", "j": "h", "v": "H", "i": "i", "u": "I", "I": "q",
           "U": "Q", "f": "d"}

FORMATS = {
    "APPEND": (1, "vvA(UUuuvv)A(cvU)A(vvu)A(UUUUUUuvvvvvuu)"),
    "APPENDED": (2, "vvA(UUvvuUUUuuuu)A(U)A(uccUU)"),
    "READ": (3, "vvUccUuuuA(cv)"),
    "EVENTS": (4, "vvUvvUUUu"),
    "PING": (5, "vvU"),
    "PONG": (6, "vvUUUUU"),
    "REFUSED": (7, "vvv"),
    "PROJECTION": (8, "vvUcUu"),
    "PROJECTED": (9, "vvUvvUUUUU"),
    "SUBMIT": (16, "vvUA(Uuuuvv)A(cvU)A(vvu)"),
    "OUTCOMES": (17, "vvA(UUvvuUUUuuuu)A(U)A(uccUU)"),
    "HELLO": (18, "vvUU"),
    "WELCOME": (19, "vvUUUuU"),
    "DOORBELL": (20, "vvUU"),
    "FAREWELL": (21, "vvUv"),
}
NAMES = {kind: name for name, (kind, _) in FORMATS.items()}

CODES = ["accepted", "conflict", "rejected", "invalid", "too large", "denied",
         "busy", "no space", "stopping", "unknown", "damaged"]


def _parts(text):
    """A format as a list of characters and, for arrays, lists of them."""
    parts, at = [], 0
    while at < len(text):
        if text[at] == "A":
            end = text.index(")", at)
            parts.append(text[at + 2:end])
            at = end + 1
        else:
            parts.append(text[at])
            at += 1
    return parts


def image(text, values):
    """A tpl image of the format with these values; arrays are lists."""
    pieces = []
    for part, value in zip(_parts(text), values, strict=True):
        if part in NUMBERS and not isinstance(value, list):
            pieces.append(struct.pack("<" + NUMBERS[part], value))
        else:
            pieces.append(struct.pack("<I", len(value)))
            row_of = struct.Struct("<" + "".join(NUMBERS[c] for c in part))
            pieces += [row_of.pack(*row) for row in value]
    body = b"".join(pieces)
    head = text.encode() + b"\0"
    return b"tpl\0" + struct.pack("<I", 8 + len(head) + len(body)) + \
        head + body


def values_of(text, data):
    """The values in an image; raises ValueError unless it is whole."""
    head = text.encode() + b"\0"
    if data[:4] != b"tpl\0" or len(data) < 8 + len(head) or \
            struct.unpack_from("<I", data, 4)[0] != len(data) or \
            data[8:8 + len(head)] != head:
        raise ValueError("not this image")
    at, values = 8 + len(head), []
    for part in _parts(text):
        if len(part) == 1 and f"({part})" not in text:
            code = "<" + NUMBERS[part]
            values.append(struct.unpack_from(code, data, at)[0])
            at += struct.calcsize(code)
        else:
            count = struct.unpack_from("<I", data, at)[0]
            at += 4
            code = "<" + "".join(NUMBERS[c] for c in part)
            rows = []
            for _ in range(count):
                rows.append(struct.unpack_from(code, data, at))
                at += struct.calcsize(code)
            values.append(rows)
    if at != len(data):
        raise ValueError("bytes are left")
    return values


def kind_of(data):
    """The name of the message with this header."""
    end = data.index(b"\0", 8)
    version, kind = struct.unpack_from("<HH", data, end + 1)
    if version != 1:
        raise ValueError(f"version {version}")
    return NAMES[kind]


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def header(name, *values):
    kind, text = FORMATS[name]
    return image(text, [1, kind, *values])


def fields(name, data):
    """The fields behind version and kind."""
    kind, text = FORMATS[name]
    version, said, *rest = values_of(text, data)
    if (version, said) != (1, kind):
        raise ValueError(f"not {name}")
    return rest


def halves(value):
    """A UUID as the two numbers that headers carry."""
    return struct.unpack(">QQ", value.bytes if isinstance(value, uuid.UUID)
                         else value)


NIL = bytes(16)
ANY, NONE, EXISTS, EXACT, NO_EVENT, NO_MATCH = range(6)
DRY_RUN = 1


class Event:
    def __init__(self, stream, kind="T", data=b"", meta=b"", tags=(),
                 content_type="", schema=1, ids=(NIL, NIL, NIL)):
        self.stream, self.type = stream.encode(), kind.encode()
        self.content_type = content_type.encode()
        self.tags = [t.encode() for t in tags]
        self.data, self.meta, self.schema, self.ids = data, meta, schema, ids

    def row(self):
        return (*halves(self.ids[0]), *halves(self.ids[1]),
                *halves(self.ids[2]), self.schema, len(self.stream),
                len(self.type), len(self.content_type), len(self.tags),
                sum(map(len, self.tags)), len(self.meta), len(self.data))

    def text(self):
        return bytes(map(len, self.tags)) + self.stream + self.type + \
            self.content_type + b"".join(self.tags) + self.meta + self.data


class Check:
    """An expectation of a stream."""

    def __init__(self, stream, expect, number=0):
        self.stream, self.expect, self.number = stream.encode(), expect, number

    def row(self):
        return (self.expect, len(self.stream), self.number)

    def items(self):
        return []

    def text(self):
        return self.stream


class Condition:
    """Fails if any event behind `after` matches one of the items, each a pair
    of types and tags; items None: if there is any event."""

    def __init__(self, items=None, after=0):
        self.expect = NO_EVENT if items is None else NO_MATCH
        self.after = after
        self.queries = [([t.encode() for t in types],
                         [t.encode() for t in tags])
                        for types, tags in items or []]

    def row(self):
        return (self.expect, len(self.queries), self.after)

    def items(self):
        return [(len(types), len(tags), sum(map(len, types + tags)))
                for types, tags in self.queries]

    def text(self):
        return b"".join(bytes(map(len, types + tags)) + b"".join(types + tags)
                        for types, tags in self.queries)


class Command:
    """Checks are Check, Condition, or (stream, expectation, version)."""

    def __init__(self, events, checks=(), command=None, show=0, dry_run=False):
        self.id = command or uuid.uuid4()
        self.events, self.show = events, show
        self.flags = DRY_RUN if dry_run else 0
        self.checks = [Check(*c) if isinstance(c, tuple) else c
                       for c in checks]


def append(commands):
    """The frames of an APPEND."""
    checks = [check for c in commands for check in c.checks]
    head = header(
        "APPEND",
        [(*halves(c.id), len(c.checks), len(c.events), c.flags, c.show)
         for c in commands],
        [check.row() for check in checks],
        [item for check in checks for item in check.items()],
        [e.row() for c in commands for e in c.events])
    body = b"".join(
        b"".join(check.text() for check in c.checks) +
        b"".join(e.text() for e in c.events) for c in commands)
    return [head, body]


class Outcome:
    """`verdicts` are (check, holds, expectation, expected, actual)."""

    def __init__(self, row, versions, verdicts, detail, records):
        self.id = uuid.UUID(bytes=struct.pack(">QQ", row[0], row[1]))
        self.code = CODES[row[2]]
        self.repeated = bool(row[3] & 1)
        self.dry_run = bool(row[3] & 2)
        self.more = bool(row[3] & 4)
        self.retry_ms, self.first, self.last, self.time_us = row[4:8]
        self.versions, self.detail = versions, detail
        self.verdicts = [(v[0], bool(v[1]), *v[2:]) for v in verdicts]
        self.shown = event_records(records)

    @property
    def failures(self):
        """Check and actual value of each check that does not hold."""
        return [(v[0], v[4]) for v in self.verdicts if not v[1]]


def outcomes(frames):
    """The outcomes in the frames of an APPENDED."""
    rows, versions, verdicts = fields("APPENDED", frames[0])
    body, found = frames[1], []
    for row in rows:
        n_versions, n_verdicts, n_detail, n_records = row[8:12]
        found.append(Outcome(row, [v for v, in versions[:n_versions]],
                             verdicts[:n_verdicts],
                             body[:n_detail].decode(),
                             body[n_detail:n_detail + n_records]))
        versions, verdicts = versions[n_versions:], verdicts[n_verdicts:]
        body = body[n_detail + n_records:]
    if versions or verdicts or body:
        raise ValueError("something is left")
    return found


def read(request=1, direction=0, start_kind=0, start=0, event_max=0,
         len_max=0, wait_ms=0, selectors=()):
    """The frames of a READ; selectors are pairs like ("s", "order-1")."""
    texts = [text.encode() for _, text in selectors]
    return [header("READ", request, direction, start_kind, start, event_max,
                   len_max, wait_ms,
                   [(ord(kind), len(text))
                    for (kind, _), text in zip(selectors, texts)]),
            b"".join(texts)]


def events(frames):
    """The header of an EVENTS as a dictionary, and its events."""
    names = ("request", "code", "flags", "next", "watermark",
             "stream_version", "count")
    answer = dict(zip(names, fields("EVENTS", frames[0])))
    if answer["code"] != 0:
        answer["text"] = frames[1].decode()
        return answer, []
    found = [e for frame in frames[1:] for e in event_records(frame)]
    if len(found) != answer["count"]:
        raise ValueError("another number of events")
    return answer, found


def event_records(frame):
    """The events among the records of a frame."""
    at, found = 0, []
    while at < len(frame):
        shape = struct.unpack_from("<I", frame, at + 4)[0]
        if shape >> 24 == 4:
            found.append(event(frame[at:]))
        at += (shape & 0xFFFFFF) * 8
    return found


def event(record):
    """An event record of doc/FORMAT.md as a dictionary."""
    lens = list(record[112:115])
    tags = record[115]
    at = 128 + 24 * tags
    lens += list(record[at:at + tags])
    at += tags
    texts = []
    for n in lens:
        texts.append(record[at:at + n].decode())
        at += n
    data_len, meta_len = struct.unpack_from("<II", record, 96)
    position, version = struct.unpack_from("<QQ", record, 8)
    return {"position": position, "version": version, "stream": texts[0],
            "type": texts[1], "content_type": texts[2], "tags": texts[3:],
            "meta": record[at:at + meta_len],
            "data": record[at + meta_len:at + meta_len + data_len]}
