#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""The daemons within what their units allow them: LimitNOFILE= with as many
clients as come, MemoryMax= under a flood; the configuration is the default."""

import os
import re
import resource
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
# pylint: disable=wrong-import-position
import peer  # noqa: E402
import wire  # noqa: E402
from peer import Witness, memory  # noqa: E402
from system import (ROOT, Pipeline, equal, expect, run,  # noqa: E402
                    wait_until)

CONNECTIONS_MAX = 10000  # connections.max, and
RESERVED = 1024          # what is held in reserve: see wire/peers.h
MIB = 1 << 20
UNITS = {"commands": "gateway", "queries": "publisher"}
SOCKETS = {"commands": 1, "queries": 2}  # public ones of each


def setting(who, name):
    """A number of the unit, with its suffix."""
    path = os.path.join(ROOT, "systemd", f"cairn-{who}.service")
    with open(path, encoding="utf-8") as file:
        found = re.search(rf"^{name}=(\d+)([KMG]?)$", file.read(), re.M)
    expect(found, f"no {name}= in {path}")
    return int(found[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[found[2]]


class Descriptors:
    """Daemons that are started meanwhile may open so many."""

    def __init__(self, count):
        self.before = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.count = count
        if self.before[1] not in (-1, resource.RLIM_INFINITY) and \
                count > self.before[1]:
            self.count = self.before[1]
            print(f"SKIP: {count} descriptors are not allowed here; going on "
                  f"with {self.count}")

    def start(self, pipeline):
        # Only the soft limit could be raised again, so children get theirs
        # from a shell.
        dev = ["sh", "-c", f"ulimit -n {self.count}; exec \"$0\" \"$@\""]
        pipeline.dev("up", before=dev)
        limits = resource.prlimit(pipeline.pid("gateway"),
                                  resource.RLIMIT_NOFILE)
        equal(limits[1], self.count, "the limit of the gateway")
        return self.count


def room(name, limit):
    """Clients at once, with a limit of descriptors."""
    return min(CONNECTIONS_MAX, (limit - RESERVED) // SOCKETS[name])


def greet(pipeline, name):
    stream = peer.raw(pipeline, name)
    try:
        stream.sendall(peer.GREETING + peer.READY)
    except OSError:
        pass  # it is one too many, and has been closed already
    return stream


PING = peer.frame(wire.header("PING", 7))


def first_answer(stream):
    """PONG or REFUSED, or None if the connection was closed without one."""
    try:
        stream.sendall(PING)
    except OSError:
        return None
    peer.receive(stream, 64)
    head = peer.receive(stream, 2)
    if len(head) == 2:
        peer.receive(stream, head[1])
        head = peer.receive(stream, 2)
    if len(head) < 2:
        return None
    return wire.kind_of(peer.receive(stream, head[1]))


def fill(pipeline, name, allowed):
    """Opens more connections than there is room for; all that there is room
    for are served, no more are, and nobody runs out of anything."""
    who = UNITS[name]
    pid = pipeline.pid(who)
    # More at once than there are descriptors for.
    streams = [greet(pipeline, name) for _ in range(allowed + 2 * RESERVED)]
    answers = [first_answer(stream) for stream in streams]
    served = answers.count("PONG")
    files = len(os.listdir(f"/proc/{pid}/fd"))
    print(f"{who}: {served} of {len(streams)} served, "
          f"{answers.count('REFUSED')} told busy, "
          f"{answers.count(None)} closed; {files} descriptors, "
          f"{memory(pid):.0f} MiB")
    # A few of ours come in beside them: the witness, and who has just gone.
    expect(allowed - 16 <= served <= allowed, f"{served} not {allowed}")
    expect(memory(pid) < setting(who, "MemoryMax") / MIB, "too much memory")
    for stream in streams:
        stream.close()
    equal(pipeline.pid(who), pid, who)
    os.kill(pid, 0)
    expect("too many open files" not in pipeline.log(who).lower(),
           pipeline.log(who)[-500:])
    expect("connections.max" in pipeline.log(who), pipeline.log(who)[-500:])


def fits_here(clients):
    """Whether this process may open so many connections itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return clients + 100 < hard


def as_many_clients_as_allowed_fit_into_the_unit():
    limit = setting("gateway", "LimitNOFILE")
    equal(setting("publisher", "LimitNOFILE"), limit, "both doors")
    expect(2 * CONNECTIONS_MAX + RESERVED < limit, "connections.max fits in")
    if not fits_here(CONNECTIONS_MAX + 2 * RESERVED):
        print("SKIP: this process may not open as many connections")
        return
    p = Pipeline()
    try:
        limit = Descriptors(limit).start(p)
        with Witness(p) as witness:
            for name in UNITS:
                fill(p, name, room(name, limit))
                witness.go_on()
    finally:
        p.close()


def fewer_descriptors_are_fewer_clients():
    p = Pipeline()
    try:
        Descriptors(4096).start(p)
        expect("it can be 3072 only" in p.log("gateway"), p.log("gateway"))
        expect("it can be 1536 only" in p.log("publisher"),
               p.log("publisher"))
        with Witness(p) as witness:
            for name in UNITS:
                fill(p, name, room(name, 4096))
                witness.go_on()
    finally:
        p.close()


class Cage:
    """A control group of the kernel that bounds the memory of a process."""

    def __init__(self, name, limit):
        self.path = None
        for top, limit_file, peak_file, swap in (
                ("/sys/fs/cgroup", "memory.max", "memory.peak",
                 "memory.swap.max"),
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes",
                 "memory.max_usage_in_bytes", None)):
            path = os.path.join(top, f"cairn-{name}-{os.getpid()}")
            try:
                os.mkdir(path)
            except OSError:
                continue
            try:
                self.write(os.path.join(path, limit_file), limit)
                if swap:
                    self.write(os.path.join(path, swap), 0)
            except OSError:
                os.rmdir(path)
                continue
            self.path, self.peak_file = path, peak_file
            return

    @staticmethod
    def write(path, value):
        with open(path, "r+", encoding="ascii") as file:  # makes none
            file.write(str(value))

    def take(self, pid):
        self.write(os.path.join(self.path, "cgroup.procs"), pid)

    def peak(self):
        path = os.path.join(self.path, self.peak_file)
        with open(path, encoding="ascii") as file:
            return int(file.read())

    def close(self):
        if self.path:
            wait_until(lambda: not self.members(), "an empty group")
            os.rmdir(self.path)

    def members(self):
        path = os.path.join(self.path, "cgroup.procs")
        with open(path, encoding="ascii") as file:
            return file.read().split()


def flood(pipeline, name, data, number, results):
    """Sends frames of one message without an end until it is cut off."""
    stream = peer.shake_hands(pipeline, name)
    sent = 0
    try:
        while sent < 4 << 30:
            stream.sendall(data)
            sent += len(data)
        results[name, number] = None
    except OSError:
        results[name, number] = sent
    stream.close()


def ask_much(pipeline, stop):
    """Sends whole messages that take long, one after the other; answers are
    not read.  Comes again when it is cut off."""
    tags = [f"{i:02}" for i in range(32)]
    head, body = wire.append([wire.Command(
        [wire.Event("a-1", tags=tags)] * 4095 + [wire.Event("a-1", kind="")])
        for _ in range(16)])
    data = memoryview(peer.frame(head, more=True) + peer.frame(body))
    while not stop.is_set():
        try:
            stream = peer.shake_hands(pipeline, "commands")
            stream.settimeout(0.1)
            at = 0
            while not stop.is_set():
                try:
                    at = (at + stream.send(data[at:at + (1 << 20)])) % len(data)
                except TimeoutError:
                    pass  # it is not read from at this moment
        except (OSError, IndexError):
            pass
        stream.close()


def a_flood_does_not_fill_the_memory_of_the_unit():
    p = Pipeline()
    limits = {who: setting(who, "MemoryMax") for who in UNITS.values()}
    cages = {who: Cage(who, limit) for who, limit in limits.items()}
    caged = all(cage.path for cage in cages.values())
    if not caged:
        print("SKIP: no control group for memory can be made here; what the "
              "processes use is compared with MemoryMax=")
    try:
        p.up()
        pids = {who: p.pid(who) for who in limits}
        for who, pid in pids.items() if caged else ():
            cages[who].take(pid)
        large = peer.frame(b"x" * 60000, more=True) * 16
        small = peer.frame(b"x", more=True) * 20000
        results, peak = {}, dict.fromkeys(limits, 0)
        with Witness(p) as witness:
            # Beside all the clients that there may be at the gateway.
            crowd = CONNECTIONS_MAX - 100
            if not fits_here(crowd):
                print(f"SKIP: this process may not open {crowd} connections")
                crowd = 0
            streams = [greet(p, "commands") for _ in range(crowd)]
            threads = [threading.Thread(target=flood,
                                        args=(p, name, data, i, results))
                       for name in UNITS
                       for i, data in enumerate((large, large, small))]
            stop = threading.Event()
            askers = [threading.Thread(target=ask_much, args=(p, stop))
                      for _ in range(8)]
            for thread in threads + askers:
                thread.start()
            while any(t.is_alive() for t in threads):
                for who, pid in pids.items():
                    peak[who] = max(peak[who], memory(pid))
                time.sleep(0.02)
            stop.set()
            for thread in askers:
                thread.join()
            witness.go_on()
            for stream in streams:
                stream.close()
        for who, limit in limits.items():
            most = cages[who].peak() / MIB if caged else peak[who]
            print(f"{who}: peak {peak[who]:.0f} MiB of its own, "
                  f"{most:.0f} MiB in all, MemoryMax={limit // MIB}M")
            expect(most < limit / MIB, f"{who}: {most:.0f} MiB")
        expect(None not in results.values(), "a message without an end")
        equal({who: p.pid(who) for who in limits}, pids, "the daemons")
        for pid in pids.values():
            os.kill(pid, 0)
        expect("memory.max" in p.log("gateway"), "not a flood")
    finally:
        p.close()
        for cage in cages.values():
            cage.close()


run([as_many_clients_as_allowed_fit_into_the_unit,
     fewer_descriptors_are_fewer_clients,
     a_flood_does_not_fill_the_memory_of_the_unit])
