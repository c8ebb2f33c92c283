#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""The grammar of doc/PROTOCOL.md, read from there and held against the test
vectors: it has all rules and no other, takes every vector as the kind that it
is, and refuses a header that is cut, bent or longer."""

import os
import re
import struct

HERE = os.path.dirname(os.path.abspath(__file__))
PAGE = os.path.join(HERE, "..", "..", "doc", "PROTOCOL.md")
VECTORS = os.path.join(HERE, "..", "data", "protocol-1", "vectors")
CORE = {"OCTET": ("range", 0, 255)}
ROOTS = {"message", "live"}
# Spoken between our own daemons; not in the grammar.
OTHERS = {"hello", "welcome", "doorbell", "farewell"}
TOKEN = re.compile(
    r'\s*(?:(%s)?"([^"]*)"|%x([0-9A-F]+(?:-[0-9A-F]+|(?:\.[0-9A-F]+)*))'
    r'|(\d*\*\d*|\d+)(?=["%(\[A-Za-z])|([A-Za-z][A-Za-z0-9-]*)|([\[\]()/]))')


# ---- ABNF (RFC 5234, 7405), without incremental alternatives ----------------

def tokens(text):
    at = 0
    while text[at:].strip():
        found = TOKEN.match(text, at)
        assert found, f"no ABNF: {text[at:at + 40]!r}"
        yield found.groups()
        at = found.end()


def parse(text):
    """The tree of what stands behind the '=' of a rule."""
    left = list(tokens(text))

    def alternation(end):
        branches, parts = [], []
        while left and not (end and left[0][5] == end):
            if left[0][5] == "/":
                del left[0]
                branches.append(("all", parts))
                parts = []
            else:
                parts.append(element())
                # None but %s"..." has a case of its own.
        if end:
            assert left, f"no {end!r} in {text!r}"
            del left[0]
        branches.append(("all", parts))
        return ("any", branches)

    def element():
        sensitive, chars, number, repeat, name, sign = left.pop(0)
        if repeat:
            low, star, high = repeat.partition("*")
            least = int(low or 0)
            return ("repeat", least, (int(high) if high else None)
                    if star else least, element())
        if name:
            return ("rule", name)
        if sign:
            assert sign in "([", f"{sign!r} in {text!r}"
            inner = alternation(")" if sign == "(" else "]")
            return inner if sign == "(" else ("repeat", 0, 1, inner)
        if number:
            low, dash, high = number.partition("-")
            if dash:
                return ("range", int(low, 16), int(high, 16))
            return ("text", bytes(int(n, 16) for n in number.split(".")))
        assert sensitive or not chars, f'"{chars}" of any case'
        return ("text", chars.encode())
    return alternation(None)


def grammar():
    """The two blocks of the page: of frames, and of octets."""
    with open(PAGE, encoding="utf-8") as file:
        page = file.read()
    page = page[page.index("\n## Grammar\n"):]
    page = page[:page.index("\n## ", 3)]
    blocks = []
    for block in re.findall(r"(?:^ {4}.*\n|^\n(?= {4}))+", page, re.M):
        text = re.sub(r";.*", "", block)
        rules = re.findall(r"^ {4}(\S+)\s+=((?:.*\n(?! {4}\S))*.*\n?)", text,
                           re.M)
        blocks.append({name: parse(what) for name, what in rules})
        assert len(blocks[-1]) == len(rules), "a rule is there twice"
        assert len(re.findall(r"^ {4}\S", text, re.M)) == len(rules), block
    frames, octets = blocks
    return frames, octets


def names(node):
    if node[0] == "rule":
        yield node[1]
    for part in node[1:]:
        for child in part if isinstance(part, list) else [part]:
            if isinstance(child, tuple):
                yield from names(child)


class Matcher:
    """Where a match of a node can end, from each place.  Items are octets, or
    frames, which `leaf` is asked about."""

    def __init__(self, rules, items, leaf=None):
        self.rules, self.items, self.leaf = rules, items, leaf
        self.known = {}

    def ends(self, node, at):
        key = (id(node), at)
        if key not in self.known:
            self.known[key] = frozenset(getattr(self, node[0])(at, *node[1:]))
        return self.known[key]

    def any(self, at, branches):
        return set().union(*(self.ends(b, at) for b in branches))

    def all(self, at, parts):
        found, count = {at}, None
        for part in parts:
            if count and part[0] == "repeat":
                # As many as the count before says, and no other number.
                found = set().union(*(
                    self.repeat(p, count[p], count[p], part[3])
                    for p in found if count[p] <= len(self.items)))
                count = None
                continue
            begun = found
            found = set().union(*(self.ends(part, p) for p in found))
            count = part == ("rule", "count") and {
                p + 4: struct.unpack_from("<I", self.items, p)[0]
                for p in begun if p + 4 in found}
        return found

    def repeat(self, at, least, most, node):
        found = {at} if least == 0 else set()
        reached, n = {at}, 0
        while reached and (most is None or n < most):
            n += 1
            reached = set().union(*(self.ends(node, p) for p in reached))
            if n > least:
                reached -= found
            if n >= least:
                found |= reached
        return found

    def rule(self, at, name):
        if name not in self.rules and self.leaf:
            fits = at < len(self.items) and self.leaf(name, self.items[at])
            return {at + 1} if fits else set()
        if name == "length" and \
                self.items[at:at + 4] != struct.pack("<I", len(self.items)):
            return set()
        return self.ends(self.rules[name], at)

    def range(self, at, low, high):
        fits = at < len(self.items) and low <= self.items[at] <= high
        return {at + 1} if fits else set()

    def text(self, at, octets):
        fits = self.items[at:at + len(octets)] == octets
        return {at + len(octets)} if fits else set()


FRAMES, OCTETS = grammar()
OCTETS |= CORE


def is_frame(rule, octets):
    return len(octets) in Matcher(OCTETS, octets).ends(OCTETS[rule], 0)


def is_message(rule, frames):
    return len(frames) in Matcher(FRAMES, frames, is_frame).ends(
        FRAMES[rule], 0)


# ---- tests ------------------------------------------------------------------

def vectors():
    with open(VECTORS, encoding="ascii") as file:
        for name, *frames in map(str.split, file):
            if name not in OTHERS:
                yield name, [bytes.fromhex(f.strip("-")) for f in frames]


def kind(name):
    return {"busy": "appended"}.get(name, name.split("-")[0])


def every_rule_is_defined_and_used():
    for rules, known in ((FRAMES, FRAMES | OCTETS), (OCTETS, OCTETS)):
        for rule, node in rules.items():
            missing = set(names(node)) - set(known)
            assert not missing, f"{rule}: {missing}"
    used, new = set(), set(ROOTS)
    while new:
        used |= new
        new = {n for rule in new
               for n in names((FRAMES | OCTETS)[rule])} - used
    assert used == set(FRAMES | OCTETS), set(FRAMES | OCTETS) - used


def every_vector_is_a_message_of_its_kind_alone():
    kinds = [n for n in names(FRAMES["message"]) if n != "delimiter"]
    seen = set()
    for name, frames in vectors():
        assert is_message("message", frames), name
        assert is_message("message", [b"", *frames]), name
        found = [k for k in kinds if is_message(k, frames)]
        assert found == [kind(name)], (name, found)
        seen |= set(found)
    assert seen == set(kinds), set(kinds) - seen


def a_header_with_a_byte_too_few_too_many_or_wrong_is_none():
    for name, frames in vectors():
        head, rule = frames[0], "header-" + kind(name)
        for cut in range(len(head)):
            assert not is_frame(rule, head[:cut]), (name, cut)
            # Nor if the length says that this is all.
            if cut >= 8:
                bent = head[:4] + struct.pack("<I", cut) + head[8:cut]
                assert not is_frame(rule, bent), (name, cut)
        more = struct.pack("<I", len(head) + 1)
        assert not is_frame(rule, head + b"\0"), name
        assert not is_frame(rule, head[:4] + more + head[8:] + b"\0"), name
        for at in range(head.index(b"\0", 8) + 5):  # up to the kind
            for bit in range(8):
                bent = bytearray(head)
                bent[at] ^= 1 << bit
                assert not is_frame(rule, bytes(bent)), (name, at, bit)


def the_table_of_kinds_names_the_same_formats():
    with open(PAGE, encoding="utf-8") as file:
        table = re.findall(r"^\| (\d+) \| ([A-Z]+) \| `(vv\S*)` \| ",
                           file.read(), re.M)
    told = {"header-" + name.lower(): (format_.encode(), int(number))
            for number, name, format_ in table if int(number) < 16}
    for rule in (r for r in OCTETS if r.startswith("header-")):
        texts = [part[1] for part in OCTETS[rule][1][0][1]
                 if part[0] == "text"]
        assert texts == [told[rule][0], told[rule][1].to_bytes(2, "little")], \
            rule
        del told[rule]
    assert not told, told


def too_many_frames_are_no_message():
    for name, frames in vectors():
        if kind(name) != "events":
            assert not is_message("message", [*frames, b""]), name
    head, records = dict(vectors())["events-record"]
    assert is_message("events", [head] + [records] * 5)
    assert not is_message("events", [head] + [records] * 6)
    assert is_message("live", [b"order-1", records])
    assert is_message("live", [b"\0connections.max"])
    assert not is_message("live", [b"connections.max"])


def bytes_that_are_no_name_are_none():
    for octets, fits in ((b"a", True), ("aé€😀".encode(), True), (b"", False),
                         (b"a\n", False), (b"\x7f", False), (b"\xff", False),
                         (b"\xc0\x80", False), (b"\xed\xa0\x80", False),
                         (b"\xf4\x90\x80\x80", False), (b"\xe2\x82", False)):
        assert is_frame("name", octets) == fits, octets
        try:
            octets.decode()
        except UnicodeDecodeError:
            assert not is_frame("text", octets), octets
        else:
            assert is_frame("text", octets), octets


if __name__ == "__main__":
    for case in (every_rule_is_defined_and_used,
                 every_vector_is_a_message_of_its_kind_alone,
                 a_header_with_a_byte_too_few_too_many_or_wrong_is_none,
                 the_table_of_kinds_names_the_same_formats,
                 too_many_frames_are_no_message,
                 bytes_that_are_no_name_are_none):
        case()
        print(f"[       OK ] {case.__name__}")
