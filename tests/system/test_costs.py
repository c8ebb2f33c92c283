#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""What a command costs in the running daemons, counted and not timed; and the
commands that measure."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
# pylint: disable=wrong-import-position
import peer  # noqa: E402
import zmq  # noqa: E402
import wire  # noqa: E402
from system import Pipeline, equal, expect, run, wait_until  # noqa: E402


pipeline = Pipeline()


def counters():
    return pipeline.status()["writer"]


def since(before):
    after = counters()
    return {name: after[name] - before[name] for name in
            ("commands", "commits", "events", "groups", "syncs", "bytes",
             "data_bytes", "messages", "repeated")}


def bench(*args):
    done = pipeline.cairn("bench", *args, "--seconds", "1", "--json")
    return json.loads(done.stdout), done.stderr.decode()


def under_load_a_message_carries_many_commands():
    before = counters()
    found, _ = bench("append", "--outstanding", "1024",
                     "--connections", "4")
    spent = since(before)
    equal(spent["commits"], found["commits"], "commits that were counted")
    equal(spent["syncs"], spent["groups"], "syncs, one for each group")
    # A wake-up that is lost would show as a command that was sent again.
    equal(spent["repeated"], 0, "commands that were sent again")
    expect(spent["groups"] * 8 < spent["commits"],
           f"groups are small: {spent}")
    expect(spent["messages"] * 8 < spent["commands"],
           f"messages carry few commands: {spent}")
    expect(spent["bytes"] * 10 < spent["data_bytes"] * 19,
           f"more than 1.9 bytes were written for one of data: {spent}")


def alone_a_command_costs_two_messages_and_one_sync():
    before = counters()
    found, _ = bench("append", "--outstanding", "1")
    spent = since(before)
    equal(spent["groups"], found["commits"], "groups")
    equal(spent["syncs"], found["commits"], "syncs")
    equal(spent["messages"], 2 * found["commits"], "messages")
    equal(spent["repeated"], 0, "commands that were sent again")


def times_woken(pid):
    """How often its threads have slept and been woken, in all."""
    count = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status", encoding="ascii") as file:
            for line in file:
                if line.startswith("voluntary_ctxt_switches:"):
                    count += int(line.split()[1])
    return count


def wait_for_news(client, how):
    """Keeps the publisher waiting for what does not come."""
    if how == "a poll":
        client.socket.send_multipart(wire.read(
            request=1, wait_ms=60000, start=1,
            selectors=[("s", "a-stream-without-events")]))
    elif how == "a subscriber":
        live = zmq.Context.instance().socket(zmq.SUB)
        live.linger = 0
        live.connect("ipc://" + pipeline.path("run", "live"))
        live.subscribe("a-stream-without-events")
        return live
    return None


def the_publisher_sleeps_while_nobody_waits_for_news():
    """It hears the doorbell as long as somebody does, and not much longer."""
    pid = pipeline.pid("publisher")
    for who in ("nobody", "a poll", "nobody", "a subscriber", "nobody"):
        client = peer.local(pipeline, "queries")
        live = wait_for_news(client, who)
        equal(client.ping(), "PONG", "the publisher is there")
        time.sleep(1.2)  # for longer than it hears what nobody waits for
        before, slept = counters(), times_woken(pid)
        bench("append", "--outstanding", "1")
        woken, groups = times_woken(pid) - slept, since(before)["groups"]
        client.close()
        if live is not None:
            live.close()
        print(f"publisher woken {woken} times in {groups} groups for {who}")
        if who == "nobody":
            expect(woken * 2 < groups, "it listens for nobody")
        else:
            expect(woken * 2 > groups, f"it does not listen for {who}")


def bench_stores_only_in_streams_of_its_own_and_says_so():
    before = counters()["position"]
    found, said = bench("append", "--outstanding", "2", "--batch", "3", "--size", "10",
                        "--streams", "7")
    expect("they stay in the log" in said, said)
    equal(found["events"], 3 * found["commits"], "events")
    prefix = found["streams"][:-1]
    events = pipeline.json("read", "--from", str(before + 1))
    equal(len(events), found["events"], "events in the log")
    expect(all(e["stream"].startswith(prefix) for e in events), prefix)
    equal(len({e["stream"] for e in events}), 7, "streams")
    found, _ = bench("read", "--connections", "2",
                     "--outstanding", "2", "--batch", "50")
    expect(found["events"] >= len(events), found)


def an_interrupt_ends_bench_early_with_what_it_has():
    process = pipeline.start_cairn(
        "bench", "append", "--seconds", "600", "--json",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    before = counters()["commits"]
    wait_until(lambda: counters()["commits"] > before + 100, "appends")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    equal(process.returncode, 0, "exit code")
    found = json.loads(out)
    expect(found["interrupted"] and found["commits"] > 0, found)


def floor_measures_the_disk_and_stores_little():
    before = counters()["position"]
    with tempfile.TemporaryDirectory() as folder:
        found = json.loads(pipeline.cairn("floor", "--seconds", "1", "--json",
                                          folder).stdout)
        equal(os.listdir(folder), [], "what is left of it")
        expect(found["sync_block"]["count"] > 0 and
               found["sync_64k"]["count"] > 0, found)
        expect(0 < found["stored"] <= 200, found)
        equal(found["append_alone"]["count"], found["stored"], "appends")
        equal(counters()["position"] - before, found["stored"],
              "events in the log")
        found = json.loads(pipeline.cairn("floor", "--seconds", "1", "--json",
                                          "--no-append", folder).stdout)
        equal(found["stored"], 0, "with --no-append")
        pipeline.kill("gateway")
        found = json.loads(pipeline.cairn("floor", "--seconds", "1", "--json",
                                          "--timeout", "1", folder).stdout)
        equal(found["stored"], 0, "without a gateway")
    done = pipeline.cairn("floor", os.path.join(folder, "gone"), code=1)
    expect(b"cannot make a file in" in done.stderr, done.stderr)


def what_is_out_of_bounds_is_refused():
    for option, largest in (("outstanding", 16384), ("connections", 64),
                            ("size", 1 << 20), ("batch", 1024),
                            ("streams", 10000000), ("seconds", 3600)):
        for value in (0, largest + 1):
            pipeline.cairn("bench", "append", f"--{option}", str(value),
                           code=2)
    pipeline.cairn("bench", "append", "--connections", "2", "--outstanding",
                   "1", code=2)
    pipeline.cairn("bench", "write", code=2)
    pipeline.cairn("floor", "--seconds", "601", code=2)


try:
    pipeline.up()
    run([under_load_a_message_carries_many_commands,
         alone_a_command_costs_two_messages_and_one_sync,
         the_publisher_sleeps_while_nobody_waits_for_news,
         bench_stores_only_in_streams_of_its_own_and_says_so,
         an_interrupt_ends_bench_early_with_what_it_has,
         what_is_out_of_bounds_is_refused,
         floor_measures_the_disk_and_stores_little])  # kills the gateway
finally:
    pipeline.close()
