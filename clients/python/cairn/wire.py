# SPDX-License-Identifier: MPL-2.0
"""The messages of doc/PROTOCOL.md, as frames and as values."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .errors import DamagedError, ProtocolError
from .model import (NIL, Check, Command, Condition, Event, Expect, NewEvent,
                    Outcome, Page, Projection, Query, Verdict)

VERSION = 1
COMMANDS_MAX = 4096  # in one message, as checks and events below
ELEMENTS_MAX = 65536
FRAME_BYTES_MAX = 32 << 20
NAME_BYTES_MAX = 65535  # what a length can say; the server allows 255

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
}
_NAMES = {kind: name for name, (kind, _) in FORMATS.items()}

CODES = ("accepted", "conflict", "rejected", "invalid", "too large", "denied",
         "busy", "no space", "stopping", "unknown", "damaged")
STATES = ("waiting", "catching up", "live", "failed")

Frames = Sequence[bytes]


def _name(names: Sequence[str], number: int) -> str:
    return names[number] if number < len(names) else f"code {number}"


# ---- headers ---------------------------------------------------------------

_NUMBERS = {"c": "B", "v": "H", "u": "I", "U": "Q"}


@lru_cache(maxsize=None)
def _parts(text: str) -> list[tuple[bool, struct.Struct]]:
    """A format as runs of numbers and, flagged, arrays."""
    parts = []
    while text:
        is_array = text.startswith("A(")
        end = text.index(")") if is_array else (text + "A").index("A")
        numbers = text[2:end] if is_array else text[:end]
        parts.append((is_array, struct.Struct(
            "<" + "".join(_NUMBERS[c] for c in numbers))))
        text = text[end + is_array:]
    return parts


def encode_header(name: str, numbers: Sequence[int],
                  *arrays: Sequence[Sequence[int]]) -> bytes:
    """An image: the numbers behind version and kind, then the arrays."""
    kind, text = FORMATS[name]
    left = list(arrays)
    body = []
    for is_array, shape in _parts(text):
        if is_array:
            rows = left.pop(0)
            body.append(struct.pack("<I", len(rows)))
            body.extend(shape.pack(*row) for row in rows)
        else:
            body.append(shape.pack(VERSION, kind, *numbers))
    head = text.encode() + b"\0"
    data = b"".join(body)
    return (b"tpl\0" + struct.pack("<I", 8 + len(head) + len(data)) +
            head + data)


def header_kind(data: bytes) -> str:
    """The name of the message with this header."""
    end = data.find(b"\0", 8)
    if data[:4] != b"tpl\0" or end < 0 or len(data) < end + 5:
        raise ProtocolError("not a header")
    version, kind = struct.unpack_from("<HH", data, end + 1)
    if version != VERSION or kind not in _NAMES:
        raise ProtocolError(f"version {version}, kind {kind}")
    return _NAMES[kind]


def decode_header(name: str, data: bytes) -> tuple[tuple[int, ...],
                                                   list[list[tuple[int, ...]]]]:
    """The numbers behind version and kind, and the arrays."""
    kind, text = FORMATS[name]
    head = text.encode() + b"\0"
    at = 8 + len(head)
    if data[:4] != b"tpl\0" or data[8:at] != head or \
            struct.unpack_from("<I", data, 4)[0] != len(data):
        raise ProtocolError(f"not a header of {name}")
    numbers: tuple[int, ...] = ()
    arrays: list[list[tuple[int, ...]]] = []
    try:
        for is_array, shape in _parts(text):
            if not is_array:
                numbers = shape.unpack_from(data, at)
                at += shape.size
                continue
            count, = struct.unpack_from("<I", data, at)
            at += 4
            if count * shape.size > len(data) - at:
                raise ProtocolError(f"{name}: an array is too long")
            arrays.append([shape.unpack_from(data, at + i * shape.size)
                           for i in range(count)])
            at += count * shape.size
    except struct.error as problem:
        raise ProtocolError(f"{name}: it is cut short") from problem
    if at != len(data) or numbers[:2] != (VERSION, kind):
        raise ProtocolError(f"not a header of {name}")
    return numbers[2:], arrays


def _halves(value: uuid.UUID | None) -> tuple[int, int]:
    number = 0 if value is None else value.int
    return number >> 64, number & (1 << 64) - 1


def _uuid(high: int, low: int) -> uuid.UUID:
    return uuid.UUID(int=high << 64 | low)


# ---- commands --------------------------------------------------------------

@dataclass(slots=True)
class EncodedCommand:
    """A command as it stands in an APPEND."""

    id: uuid.UUID
    row: tuple[int, ...]
    checks: list[tuple[int, ...]]
    items: list[tuple[int, ...]]
    events: list[tuple[int, ...]]
    body: bytes


def _text(value: str, what: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    if len(data) > NAME_BYTES_MAX:
        raise ValueError(f"{what} is longer than {NAME_BYTES_MAX} bytes")
    return data


def _texts(values: Iterable[str], what: str) -> list[bytes]:
    texts = [_text(value, what) for value in values]
    if any(len(text) > 255 for text in texts):
        raise ValueError(f"{what} is longer than 255 bytes")
    return texts


def _encode_event(e: NewEvent) -> tuple[tuple[int, ...], bytes]:
    stream, kind = _text(e.stream, "stream"), _text(e.type, "type")
    content_type = _text(e.content_type, "content type")
    tags = _texts(e.tags, "tag")
    row = (*_halves(e.id), *_halves(e.correlation_id),
           *_halves(e.causation_id), e.schema, len(stream), len(kind),
           len(content_type), len(tags), sum(map(len, tags)), len(e.meta),
           len(e.data))
    return row, b"".join((bytes(map(len, tags)), stream, kind, content_type,
                          *tags, e.meta, e.data))


def encode_command(c: Command) -> EncodedCommand:
    """Everything of a command; raises ValueError for what no message can
    carry."""
    checks: list[tuple[int, ...]] = []
    items: list[tuple[int, ...]] = []
    events: list[tuple[int, ...]] = []
    body: list[bytes] = []
    for check in c.checks:
        if isinstance(check, Check):
            name = _text(check.stream, "stream")
            exact = check.expect == Expect.EXACT
            checks.append((int(check.expect), len(name),
                           check.version if exact else 0))
            body.append(name)
            continue
        if not isinstance(check, Condition):
            raise TypeError("a check is a Check or a Condition")
        none = check.items is None
        checks.append((int(Expect.NO_EVENT if none else Expect.NO_MATCH),
                       0 if none else len(check.items or ()), check.after))
        for item in check.items or ():
            types, tags = _texts(item.types, "type"), _texts(item.tags, "tag")
            names = types + tags
            items.append((len(types), len(tags), sum(map(len, names))))
            body += [bytes(map(len, names)), *names]
    for event in c.events:
        row, text = _encode_event(event)
        events.append(row)
        body.append(text)
    row = (*_halves(c.id), len(checks), len(events), int(c.dry_run), c.show)
    whole = b"".join(body)
    if max(len(checks), len(items), len(events)) > ELEMENTS_MAX or \
            len(whole) > FRAME_BYTES_MAX:
        raise ValueError("the command is longer than a message may be")
    try:  # numbers that do not fit are the caller's mistake, told at once
        encode_header("APPEND", (), [row], checks, items, events)
    except struct.error as problem:
        raise ValueError(f"a number does not fit: {problem}") from problem
    return EncodedCommand(c.id, row, checks, items, events, whole)


def encode_append(commands: Sequence[EncodedCommand]) -> list[bytes]:
    """The frames of an APPEND."""
    return [encode_header("APPEND", (), [c.row for c in commands],
                          [r for c in commands for r in c.checks],
                          [r for c in commands for r in c.items],
                          [r for c in commands for r in c.events]),
            b"".join(c.body for c in commands)]


# ---- outcomes --------------------------------------------------------------

def _expect(number: int) -> Expect | int:
    try:
        return Expect(number)
    except ValueError:
        return number


def decode_appended(frames: Frames, verify: bool = True) -> list[Outcome]:
    """The outcomes in an APPENDED."""
    if len(frames) != 2:
        raise ProtocolError("APPENDED has two frames")
    _, (rows, versions, verdicts) = decode_header("APPENDED", frames[0])
    body = frames[1]
    at = v_at = f_at = 0
    outcomes = []
    for row in rows:
        n_versions, n_verdicts, n_detail, n_records = row[8:12]
        if v_at + n_versions > len(versions) or \
                f_at + n_verdicts > len(verdicts) or \
                at + n_detail + n_records > len(body):
            raise ProtocolError("APPENDED: its counts do not add up")
        records = body[at + n_detail:at + n_detail + n_records]
        outcomes.append(Outcome(
            id=_uuid(row[0], row[1]), code=_name(CODES, row[2]),
            repeated=bool(row[3] & 1), dry_run=bool(row[3] & 2),
            more=bool(row[3] & 4), retry_ms=row[4], first_position=row[5],
            last_position=row[6], time_us=row[7],
            versions=tuple(v for v, in versions[v_at:v_at + n_versions]),
            verdicts=tuple(Verdict(v[0], bool(v[1]), _expect(v[2]), v[3], v[4])
                           for v in verdicts[f_at:f_at + n_verdicts]),
            detail=body[at:at + n_detail].decode("utf-8", "replace"),
            events=tuple(decode_records(records, verify))))
        at += n_detail + n_records
        v_at += n_versions
        f_at += n_verdicts
    if (at, v_at, f_at) != (len(body), len(versions), len(verdicts)):
        raise ProtocolError("APPENDED: something is left")
    return outcomes


# ---- records ---------------------------------------------------------------

_EVENT = 4
_HEAD = struct.Struct("<II QQ 16x Q 16s16s16s II4xI BBBB HxxI4x")
_HEAD_LEN = 128
_LINK_LEN = 24


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


_CRC = _crc_table()


def crc32c(data: bytes) -> int:
    """The checksum of records."""
    crc = 0xFFFFFFFF
    table = _CRC
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def decode_records(data: bytes, verify: bool = True) -> list[Event]:
    """The events among records as they lie in the log."""
    at, events = 0, []
    while at < len(data):
        if len(data) - at < 8:
            raise DamagedError("a record is cut short")
        shape, = struct.unpack_from("<I", data, at + 4)
        length = (shape & 0xFFFFFF) * 8
        if length < 8 or length > len(data) - at:
            raise DamagedError("a record has an impossible length")
        if shape >> 24 == _EVENT:
            events.append(_decode_event(data[at:at + length], verify))
        at += length
    return events


def _decode_event(record: bytes, verify: bool) -> Event:
    if len(record) < _HEAD_LEN:
        raise DamagedError("an event is cut short")
    (crc, _, position, version, time_us, ident, correlation, causation,
     data_len, meta_len, schema, stream_len, type_len, content_type_len,
     tag_count, tags_len, body_crc) = _HEAD.unpack_from(record)
    at = _HEAD_LEN + _LINK_LEN * tag_count
    lens = [stream_len, type_len, content_type_len,
            *record[at:at + tag_count]]
    at += tag_count
    head_end = at + sum(lens)
    if sum(lens[3:]) != tags_len or \
            head_end + meta_len + data_len > len(record):
        raise DamagedError("an event has impossible lengths")
    if verify and (crc32c(record[4:head_end]) != crc or
                   crc32c(record[head_end:]) != body_crc):
        raise DamagedError(f"event {position} does not pass its checksums")
    texts = []
    for length in lens:
        texts.append(record[at:at + length].decode("utf-8", "replace"))
        at += length
    return Event(position, version, time_us, uuid.UUID(bytes=ident),
                 _or_none(correlation), _or_none(causation), schema, texts[0],
                 texts[1], texts[2], tuple(texts[3:]),
                 record[at:at + meta_len],
                 record[at + meta_len:at + meta_len + data_len])


def _or_none(data: bytes) -> uuid.UUID | None:
    value = uuid.UUID(bytes=data)
    return None if value == NIL else value


# ---- queries ---------------------------------------------------------------

def encode_read(request: int, q: Query, wait_ms: int = 0) -> list[bytes]:
    """The frames of a READ."""
    names = [(kind, _text(name, "name"))
             for kind, group in (("s", q.streams), ("c", q.categories),
                                 ("t", q.types), ("g", q.tags))
             for name in group]
    kind, start = 0, q.start
    if q.from_end is not None:
        kind, start = 1, q.from_end
    elif q.from_time_us is not None:
        kind, start = 2, q.from_time_us
    try:
        header = encode_header(
            "READ", (request, int(q.backward), kind, start, q.max_events,
                     q.max_bytes, wait_ms),
            [(ord(select), len(name)) for select, name in names])
    except struct.error as problem:
        raise ValueError(f"a number does not fit: {problem}") from problem
    return [header, b"".join(name for _, name in names)]


@dataclass(slots=True)
class Answer:
    """An EVENTS: a page, or an error."""

    request: int
    code: str
    text: str
    page: Page


def decode_events(frames: Frames, verify: bool = True) -> Answer:
    """What an EVENTS says."""
    (request, code, flags, following, watermark, version, count), _ = \
        decode_header("EVENTS", frames[0])
    text = ""
    events: list[Event] = []
    if code != 0:
        text = b"".join(frames[1:2]).decode("utf-8", "replace")
    else:
        for frame in frames[1:]:
            events += decode_records(frame, verify)
        if len(events) != count:
            raise DamagedError("an answer has another number of events than "
                               "it says")
    return Answer(request, _name(CODES, code), text,
                  Page(tuple(events), bool(flags & 1), following, watermark,
                       version))


def encode_ping(request: int) -> list[bytes]:
    """The frame of a PING."""
    return [encode_header("PING", (request,))]


def decode_pong(frames: Frames) -> tuple[int, int, uuid.UUID, int, str]:
    """Request, instance, log id, watermark and name of a PONG."""
    if len(frames) != 2:
        raise ProtocolError("PONG has two frames")
    (request, instance, high, low, watermark), _ = decode_header("PONG",
                                                                 frames[0])
    return (request, instance, _uuid(high, low), watermark,
            frames[1].decode("utf-8", "replace"))


def decode_refused(frames: Frames) -> tuple[str, str]:
    """Code and text of a REFUSED."""
    (code,), _ = decode_header("REFUSED", frames[0])
    return _name(CODES, code), b"".join(frames[1:2]).decode("utf-8", "replace")


INFO, WAIT, RESET = range(3)


def encode_projection(request: int, operation: int, position: int = 0,
                      wait_ms: int = 0) -> list[bytes]:
    """The frame of a PROJECTION."""
    return [encode_header("PROJECTION", (request, operation, position,
                                         wait_ms))]


def decode_projected(frames: Frames) -> tuple[int, Projection]:
    """Request and contents of a PROJECTED."""
    if len(frames) != 3:
        raise ProtocolError("PROJECTED has three frames")
    n: Any
    n, _ = decode_header("PROJECTED", frames[0])
    return n[0], Projection(
        name=frames[1].decode("utf-8", "replace"), code=_name(CODES, n[1]),
        state=_name(STATES, n[2]), checkpoint=n[3], watermark=n[4],
        events=n[5], transactions=n[6], time_us=n[7],
        text=frames[2].decode("utf-8", "replace"))
