#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""Reads tests/data/format-1 with nothing but what doc/FORMAT.md says."""

import glob
import json
import os
import struct
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, "..", "data", "format-1")
SECTOR = 512


def crc_table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
        table.append(n)
    return table


TABLE = crc_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


assert crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C


def u32(data, at):
    return struct.unpack_from("<I", data, at)[0]


def u64(data, at):
    return struct.unpack_from("<Q", data, at)[0]


def jump(n):
    """J(n) of doc/FORMAT.md."""
    left = n
    step = 0
    while left:
        step = (1 << left.bit_length()) - 1
        if step > left:
            step >>= 1
        left -= step
    return n - step


assert [jump(n) for n in range(1, 8)] == [0, 1, 0, 3, 4, 3, 0]


class Log:
    def __init__(self):
        self.log_id = None
        self.number = 0  # of the segment
        self.group = 0
        self.crc = 0
        self.position = 0
        self.time = 0
        self.events = []
        self.keys = {}  # key: addresses, in order
        self.commits = []

    def record(self, data, at):
        shape = u32(data, at + 4)
        return shape >> 24, (shape & 0xFFFFFF) * 8

    def segment(self, name, data):
        self.number += 1
        assert data[:8] == b"CAIRNSEG" and u32(data, 8) == 1
        assert u32(data, 12) == 512 and u32(data, 508) == crc32c(data[:508])
        self.log_id = self.log_id or data[16:32]
        assert data[16:32] == self.log_id and u64(data, 32) == self.number
        assert u64(data, 40) == self.position + 1 == int(name[:20])
        assert u64(data, 48) == len(data)
        assert u64(data, 56) == 0 and u64(data, 64) == 0
        assert u64(data, 80) == self.group and u64(data, 88) == self.time
        assert u32(data, 112) == self.crc
        assert data[116:508] == bytes(392)
        end = len(data) - (128 + 12 * (len(data) // 65536 + 1) + 511) // 512 * 512
        first, at, commits = self.position + 1, SECTOR, len(self.commits)
        while at < end and data[at:at + 8] != bytes(8):
            at += self.read_group(data, at, end)
        assert data[at:end] == bytes(end - at)
        if data[end:end + 8] == b"CAIRNEND":
            self.footer(data[end:], first, at, len(self.commits) - commits)
            return True
        assert data[end:] == bytes(len(data) - end)
        return False

    def footer(self, data, first, data_end, commits):
        count = u32(data, 72)
        assert data[8:24] == self.log_id and u64(data, 24) == self.number
        assert u64(data, 32) == first and u64(data, 40) == self.position
        assert u64(data, 48) == self.group and u64(data, 56) == self.time
        assert u32(data, 64) == data_end and u32(data, 68) == self.crc
        assert u32(data, 76) == commits
        index = data[128:128 + 12 * count]
        assert u32(data, 124) == crc32c(data[:124] + index)
        seen, expected = None, []
        for address, position in self.commits[-commits:]:
            offset = address & 0xFFFFFFFF
            if offset // 65536 != seen:
                seen = offset // 65536
                expected.append((position, offset))
        assert [(u64(index, i), u32(index, i + 8))
                for i in range(0, len(index), 12)] == expected

    def read_group(self, data, at, end):
        kind, length = self.record(data, at)
        assert (kind, length) == (2, 128)
        assert u32(data, at) == crc32c(data[at + 4:at + 128])
        assert data[at + 8:at + 24] == self.log_id
        self.group += 1
        assert u64(data, at + 24) == self.group
        assert u64(data, at + 32) == self.number << 32 | at
        assert u64(data, at + 40) == self.position + 1
        group_len = u32(data, at + 56)
        assert group_len % SECTOR == 0 and at + group_len <= end
        body = data[at + 128:at + group_len]
        assert u32(data, at + 64) == crc32c(body)
        assert u32(data, at + 68) == self.crc
        self.crc = u32(data, at)
        sectors = [data[i:i + SECTOR]
                   for i in range(at, at + group_len, SECTOR)]
        assert u32(data, at + 72) == sectors.count(bytes(SECTOR))
        stop, commits, here = at + group_len, 0, at + 128
        while here < stop:
            kind, length = self.record(data, here)
            if kind == 1:
                assert here + length == stop and length < SECTOR
                assert u32(data, here) == crc32c(data[here + 4:stop])
                here += length
            else:
                here += self.read_commit(data, here)
                commits += 1
        assert here == stop and commits == u32(data, at + 60)
        assert u64(data, at + 48) == self.position
        assert u64(data, at + 80) == self.time
        return group_len

    def read_commit(self, data, at):
        kind, length = self.record(data, at)
        assert (kind, length) == (3, 64)
        assert u32(data, at) == crc32c(data[at + 4:at + 64])
        assert u64(data, at + 8) == self.position + 1
        assert u64(data, at + 32) >= self.time
        self.time = u64(data, at + 32)
        self.commits.append((self.number << 32 | at, self.position + 1))
        here = at + 64
        for _ in range(u32(data, at + 40)):
            here += self.read_event(data, at, here)
        assert here - at == u32(data, at + 44)
        return here - at

    def read_event(self, data, commit, at):
        kind, length = self.record(data, at)
        assert kind == 4
        self.position += 1
        assert u64(data, at + 8) == self.position
        assert u64(data, at + 40) == self.time
        assert u32(data, at + 104) == at - commit
        lens = list(data[at + 112:at + 115])
        tags = data[at + 115]
        links = [at + 16] + [at + 128 + 24 * i for i in range(tags)]
        here = at + 128 + 24 * tags
        lens += list(data[here:here + tags])
        assert sum(lens[3:]) == struct.unpack_from("<H", data, at + 116)[0]
        here += tags
        texts = []
        for n in lens:
            texts.append(data[here:here + n].decode())
            here += n
        assert u32(data, at) == crc32c(data[at + 4:here])
        body = here
        meta = data[here:here + u32(data, at + 100)]
        here += len(meta)
        payload = data[here:here + u32(data, at + 96)]
        here += len(payload)
        assert here + -here % 8 == at + length
        assert data[here:at + length] == bytes(at + length - here)
        assert u32(data, at + 120) == crc32c(data[body:at + length])
        stream, kind_name, content_type, *tag_names = texts
        for link, key in zip(links, [("stream", stream)] +
                             [("tag", t) for t in tag_names]):
            self.read_link(data, link, self.keys.setdefault(key, [0]),
                           self.number << 32 | at)
        self.events.append({
            "position": self.position, "stream": stream,
            "version": u64(data, at + 16), "type": kind_name,
            "time_us": self.time, "id": data[at + 48:at + 64].hex(),
            "tags": tag_names, "content_type": content_type,
            "meta": meta, "data": payload})
        return length

    def read_link(self, data, at, addresses, address):
        ordinal = len(addresses)
        assert u64(data, at) == ordinal
        assert u64(data, at + 8) == addresses[ordinal - 1]
        assert u64(data, at + 16) == addresses[jump(ordinal)]
        addresses.append(address)


def read_log(directory):
    log = Log()
    sealed = []
    for path in sorted(glob.glob(os.path.join(directory, "*.log"))):
        with open(path, "rb") as file:
            sealed.append(log.segment(os.path.basename(path), file.read()))
    assert all(sealed[:-1])
    return log


def it_holds_what_was_put_in():
    log = read_log(GOLDEN)
    assert len(log.events) == 28 and len(log.commits) == 13
    first = log.events[0]
    assert first["stream"] == "order-1" and first["type"] == "Placed"
    assert first["tags"] == ["customer:7", "shop:1"]
    assert first["data"] == b'{"total":12}' and first["meta"] == b'{"by":"k"}'
    assert first["time_us"] == 1700000000000000
    assert log.events[3]["stream"] == "caf\u00e9-\u2615"
    assert log.events[20]["data"] == b"a" * 12000
    assert len(log.keys["tag", "customer:7"]) == 16  # 15 and the zero


def cairn_log_dump_says_the_same():
    build = os.environ.get("BUILD", "build/gcc")
    said = subprocess.run(
        [os.path.join(build, "bin", "cairn"), "log", "dump", "--json", GOLDEN],
        check=True, stdout=subprocess.PIPE).stdout
    lines = [json.loads(line) for line in said.decode().splitlines()]
    events = [line for line in lines if "position" in line]
    read = read_log(GOLDEN).events
    assert len(events) == len(read)
    for shown, event in zip(events, read):
        for key in ("position", "stream", "version", "type", "time_us",
                    "content_type"):
            assert shown[key] == event[key], (shown, key)
        assert shown["id"].replace("-", "") == event["id"]
        assert shown.get("tags", []) == event["tags"]


def main():
    for case in (it_holds_what_was_put_in, cairn_log_dump_says_the_same):
        case()
        print(f"[       OK ] {case.__name__}")


if __name__ == "__main__":
    sys.exit(main())
