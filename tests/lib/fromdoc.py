# SPDX-License-Identifier: MPL-2.0
"""A client of Cairn, written from doc/PROTOCOL.md alone, and to be kept so: no look at the project's code or at its other
clients, nothing from the project imported. What it cannot do with the words of that page is a gap of that page."""
import os
import re
import struct
import time
import uuid

import zmq

KINDS = {1: "vvA(UUuuvv)A(cvU)A(vvu)A(UUUUUUuvvvvvuu)", 2: "vvA(UUvvuUUUuuuu)A(U)A(uccUU)", 3: "vvUccUuuuA(cv)",
         4: "vvUvvUUUu", 5: "vvU", 6: "vvUUUUU", 7: "vvv", 8: "vvUcUu", 9: "vvUvvUUUUU"}
APPEND, APPENDED, READ, EVENTS, PING, PONG, REFUSED, PROJECTION, PROJECTED = range(1, 10)
CODES = ["accepted", "conflict", "rejected", "invalid", "too_large", "denied", "busy", "no_space", "stopping", "unknown",
         "damaged"]
EXPECT = ["any", "none", "exists", "exact", "no_event", "no_match"]
STATES = ["waiting", "catching_up", "live", "failed"]
NUMBER = {"c": "B", "v": "H", "u": "I", "U": "Q"}


class Malformed(Exception):
    pass


def code_name(code):
    return CODES[code] if code < len(CODES) else "code %d" % code


def parts(fmt):
    """Letters and shape of each value: one number, or an array of rows."""
    return [(row or one, "A" if row else "1")
            for row, one in re.findall(r"A\((\w+)\)|(\w)", fmt)]


def packing(letters):
    return struct.Struct("<" + "".join(NUMBER[c] for c in letters))


def image(kind, *values, version=1):
    fmt = KINDS[kind]
    body = b""
    for (letters, shape), value in zip(parts(fmt), (version, kind) + values, strict=True):
        s = packing(letters)
        if shape == "A":
            body += struct.pack("<I", len(value)) + b"".join(s.pack(*v) for v in value)
        else:
            body += s.pack(value)
    head = fmt.encode() + b"\0"
    return b"tpl\0" + struct.pack("<I", 8 + len(head) + len(body)) + head + body


def parse(frame):
    if frame[:4] != b"tpl\0" or len(frame) < 8 or struct.unpack_from("<I", frame, 4)[0] != len(frame):
        raise Malformed("image")
    end = frame.find(b"\0", 8)
    try:
        version, kind = struct.unpack_from("<HH", frame, end + 1)
        if end < 0 or version != 1 or frame[8:end] != KINDS[kind].encode():
            raise Malformed("format")
        at, values = end + 1, []
        for letters, shape in parts(KINDS[kind]):
            s = packing(letters)
            if shape == "A":
                n, = struct.unpack_from("<I", frame, at)
                at += 4
                if n * s.size > len(frame) - at:
                    raise Malformed("count")
                values.append([s.unpack_from(frame, at + i * s.size) for i in range(n)])
                at += n * s.size
            else:
                values.append(s.unpack_from(frame, at)[0])
                at += s.size
    except (struct.error, KeyError) as e:
        raise Malformed(str(e)) from e
    if at != len(frame):
        raise Malformed("length")
    return kind, values[2:]


def uuid_out(text):
    return struct.unpack(">QQ", uuid.UUID(text).bytes) if text else (0, 0)


def uuid_in(high, low):
    return str(uuid.UUID(bytes=struct.pack(">QQ", high, low))) if high or low else None


def utf8(value):
    return value if isinstance(value, bytes) else value.encode()


def crc_of(n):
    for _ in range(8):
        n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
    return n


CRC = [crc_of(n) for n in range(256)]


def crc32c(data):
    crc = 0xFFFFFFFF
    for b in data:
        crc = crc >> 8 ^ CRC[(crc ^ b) & 255]
    return crc ^ 0xFFFFFFFF


def event_id(command, place):
    """SipHash-2-4 of 128 bits."""
    m64 = (1 << 64) - 1
    k0, k1 = struct.unpack("<QQ", b"cairn event id 1")
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D ^ 0xEE, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def rot(x, n):
        return (x << n | x >> 64 - n) & m64

    def rounds(n):
        for _ in range(n):
            for one, two, left, right in ((0, 2, 13, 16), (2, 0, 17, 21)):
                v[one] = v[one] + v[1] & m64
                v[1] = rot(v[1], left) ^ v[one]
                v[one] = rot(v[one], 32)
                v[two] = v[two] + v[3] & m64
                v[3] = rot(v[3], right) ^ v[two]

    data = uuid.UUID(command).bytes + struct.pack("<I", place)
    size = len(data)
    data += bytes(7 - size % 8) + bytes([size])
    for (m,) in struct.iter_unpack("<Q", data):
        v[3] ^= m
        rounds(2)
        v[0] ^= m
    v[2] ^= 0xEE
    rounds(4)
    one = v[0] ^ v[1] ^ v[2] ^ v[3]
    v[1] ^= 0xDD
    rounds(4)
    out = bytearray(struct.pack("<QQ", one, v[0] ^ v[1] ^ v[2] ^ v[3]))
    out[6] = out[6] & 0x0F | 0x80
    out[8] = out[8] & 0x3F | 0x80
    return str(uuid.UUID(bytes=bytes(out)))


def append(commands):
    """The frames of an APPEND, of commands in the words of values.json."""
    heads, checks, items, events, body = [], [], [], [], b""
    for c in commands:
        for k in c.get("checks", ()):
            if "condition" in k:
                q = k["condition"]
                checks.append((5 if "items" in q else 4, len(q.get("items", ())), q.get("after", 0)))
                for item in q.get("items", ()):
                    texts = [[utf8(t) for t in item.get(w, ())] for w in ("types", "tags")]
                    every = texts[0] + texts[1]
                    items.append((len(texts[0]), len(texts[1]), sum(map(len, every))))
                    body += bytes(map(len, every)) + b"".join(every)
            else:
                name = utf8(k["stream"])
                checks.append((EXPECT.index(k["expect"]), len(name), k.get("version", 0)))
                body += name
        for e in c.get("events", ()):
            stream, kind, content = (utf8(e.get(w, "")) for w in ("stream", "type", "content_type"))
            tags = [utf8(t) for t in e.get("tags", ())]
            meta, data = utf8(e.get("meta", "")), utf8(e.get("data", ""))
            events.append((*uuid_out(e.get("id")), *uuid_out(e.get("correlation_id")), *uuid_out(e.get("causation_id")),
                           e.get("schema", 1), len(stream), len(kind), len(content), len(tags), sum(map(len, tags)),
                           len(meta), len(data)))
            body += bytes(map(len, tags)) + stream + kind + content + b"".join(tags) + meta + data
        heads.append((*uuid_out(c.get("id")), len(c.get("checks", ())), len(c.get("events", ())),
                      c.get("flags", 1 if c.get("dry_run") else 0), c.get("show", 0)))
    return [image(APPEND, heads, checks, items, events), body]


def read(request=1, backward=False, start=0, start_kind=0, events=0, size=0, wait=0, streams=(), categories=(), types=(),
         tags=()):
    texts = [(ord(k), utf8(t)) for k, some in zip("sctg", (streams, categories, types, tags)) for t in some]
    return [image(READ, request, int(backward), start_kind, start, events, size, wait, [(k, len(t)) for k, t in texts]),
            b"".join(t for _, t in texts)]


def records(frame):
    at, out = 0, []
    while at < len(frame):
        if len(frame) - at < 8:
            raise Malformed("record cut")
        crc, shape = struct.unpack_from("<II", frame, at)
        r = frame[at:at + (shape & 0xFFFFFF) * 8]
        if not r or len(r) != (shape & 0xFFFFFF) * 8:
            raise Malformed("length of a record")
        at += len(r)
        if shape >> 24 != 4:
            continue
        position, version = struct.unpack_from("<QQ", r, 8)
        moment, = struct.unpack_from("<Q", r, 40)
        n_data, n_meta, _, schema, n_stream, n_type, n_content, n_tags, n_tag_bytes, _, body_crc = \
            struct.unpack_from("<IIIIBBBBHHI", r, 96)
        lengths = r[128 + 24 * n_tags:128 + 25 * n_tags]
        p, texts = 128 + 25 * n_tags, []
        for n in (n_stream, n_type, n_content, *lengths):
            texts.append(r[p:p + n])
            p += n
        if sum(lengths) != n_tag_bytes or p + n_meta + n_data > len(r) or crc32c(r[4:p]) != crc or crc32c(r[p:]) != body_crc:
            raise Malformed("checksum of a record")
        texts = [t.decode() for t in texts]
        ids = [uuid_in(*struct.unpack_from(">QQ", r, o)) for o in (48, 64, 80)]
        out.append({"position": position, "version": version, "time": moment, "id": ids[0], "correlation_id": ids[1],
                    "causation_id": ids[2], "schema": schema, "stream": texts[0], "type": texts[1], "content_type": texts[2],
                    "tags": texts[3:], "meta": r[p:p + n_meta].decode(), "data": r[p + n_meta:p + n_meta + n_data].decode()})
    return out


def answer(frames):
    """What an answer says, in the words of values.json."""
    kind, v = parse(frames[0])
    rest = frames[1:]
    if kind == APPENDED:
        versions, verdicts, body, out = [x[0] for x in v[1]], list(v[2]), rest[0], []
        for h, low, code, flags, retry, first, last, moment, nv, nd, ntext, nrec in v[0]:
            if nv > len(versions) or nd > len(verdicts) or ntext + nrec > len(body):
                raise Malformed("counts")
            out.append({"id": uuid_in(h, low), "code": code_name(code), "repeated": bool(flags & 1), "dry_run": bool(flags & 2),
                        "more": bool(flags & 4), "retry_ms": retry, "first": first, "last": last, "time": moment,
                        "versions": versions[:nv], "verdicts": [
                            {"check": c, "holds": bool(ok), "expect": EXPECT[x], "expected": e, "actual": a}
                            for c, ok, x, e, a in verdicts[:nd]],
                        "detail": body[:ntext].decode(), "events": records(body[ntext:ntext + nrec])})
            versions, verdicts, body = versions[nv:], verdicts[nd:], body[ntext + nrec:]
        if versions or verdicts or body:
            raise Malformed("counts")
        return kind, {"outcomes": out}
    if kind == EVENTS:
        some = [e for f in rest for e in records(f)] if v[1] == 0 else []
        if len(some) != v[6]:
            raise Malformed("number of events")
        return kind, {"request": v[0], "code": code_name(v[1]), "text": rest[0].decode() if v[1] else "",
                      "at_end": bool(v[2] & 1), "next": v[3], "watermark": v[4], "stream_version": v[5], "events": some}
    if kind == PONG:
        return kind, {"request": v[0], "instance": v[1], "log_id": uuid_in(v[2], v[3]), "watermark": v[4],
                      "name": rest[0].decode()}
    if kind == REFUSED:
        return kind, {"code": code_name(v[0]), "text": rest[0].decode()}
    if kind == PROJECTED:
        return kind, {"request": v[0], "code": code_name(v[1]), "state": STATES[v[2]], "checkpoint": v[3], "watermark": v[4],
                      "events": v[5], "transactions": v[6], "time": v[7], "name": rest[0].decode(), "text": rest[1].decode()}
    raise Malformed("kind %d" % kind)


def command_id():
    b = bytearray(struct.pack(">Q", int(time.time() * 1000))[2:] + os.urandom(10))
    b[6], b[8] = b[6] & 0x0F | 0x70, b[8] & 0x3F | 0x80
    return str(uuid.UUID(bytes=bytes(b)))


class Client:
    """One endpoint, asked and listened to by one caller."""

    def __init__(self, endpoint, kind=zmq.DEALER):
        self.socket = zmq.Context.instance().socket(kind)
        self.socket.set(zmq.LINGER, 0)
        self.socket.connect(endpoint)
        self.requests = 0
        self.waits = []                 # the back-offs there were, for who wants to see them

    def close(self):
        self.socket.close()

    def send(self, frames):
        self.socket.send_multipart(frames)

    def receive(self, seconds=5.0):
        if not self.socket.poll(int(seconds * 1000)):
            return None, None
        return answer(self.socket.recv_multipart())

    def raw(self, frames, seconds=5.0):
        self.send(frames)
        return self.receive(seconds)

    def ask(self, make, seconds=10.0, wait=0.0):
        """A request again until it is answered: make gives its frames for a request number."""
        self.requests += 1
        frames, end, pause = make(self.requests), time.monotonic() + seconds, 0.05
        while time.monotonic() < end:
            self.send(frames)
            until = min(end, time.monotonic() + wait + 1)
            kind = value = None
            while time.monotonic() < until:
                kind, value = self.receive(until - time.monotonic())
                if kind is None or kind == REFUSED or value["request"] == self.requests:
                    break
            if kind is None:
                continue
            if value.get("code") not in ("busy", "stopping"):
                return value
            self.waits.append(pause)
            time.sleep(pause)
            pause = min(1.0, pause * 2)
        return {"code": "unknown"}

    def ping(self):
        return self.ask(lambda n: [image(PING, n)])

    def read(self, seconds=10.0, **what):
        return self.ask(lambda n: read(n, **what), seconds, what.get("wait", 0) / 1000)

    def follow(self, enough, seconds=10.0, **what):
        """Reads on until there are enough events."""
        got, end = [], time.monotonic() + seconds
        while len(got) < enough and time.monotonic() < end:
            page = self.read(**what)
            if page["code"] != "accepted":
                break
            got += page["events"]
            what["start_kind"], what["start"] = 0, page["next"]
        return got

    def projection(self, operation, position=0, wait=0):
        return self.ask(lambda n: [image(PROJECTION, n, operation, position, wait)], wait=wait / 1000)

    def append(self, commands, seconds=10.0):
        """Every command until it has an outcome that is final, or the time is over: then unknown."""
        for c in commands:
            c.setdefault("id", command_id())
        waiting, done = {c["id"]: c for c in commands}, {}
        end, pause = time.monotonic() + seconds, 0.05
        while waiting and time.monotonic() < end:
            self.send(append(waiting.values()))
            sent, retry, again = set(waiting), 0.0, False
            while sent:
                kind, value = self.receive(max(0.0, min(5.0, end - time.monotonic())))
                if kind is None:
                    break
                if kind == REFUSED:
                    if value["code"] not in ("busy", "stopping"):
                        return [done.get(c["id"], value) for c in commands]
                    again = True
                    break
                for o in value["outcomes"] if kind == APPENDED else ():
                    if o["id"] not in sent:
                        continue
                    sent.remove(o["id"])
                    if o["code"] in ("busy", "stopping", "unknown"):
                        again, retry = True, max(retry, o["retry_ms"] / 1000)
                    else:
                        del waiting[o["id"]]
                        done[o["id"]] = o
                        pause = 0.05
            if again:
                self.waits.append(max(pause, retry))
                time.sleep(max(0.0, min(self.waits[-1], end - time.monotonic())))
                pause = min(1.0, pause * 2)
        return [done.get(c["id"], {"id": c["id"], "code": "unknown"}) for c in commands]
