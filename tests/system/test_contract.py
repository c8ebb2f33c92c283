#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""What an append may rely on: conditions, verdicts, shown events, dry runs.

The worked examples of the Dynamic Consistency Boundary (dcb.events), each as
a decision: read what it rests on, decide, append if nothing relevant came in
between.
"""

import json
import os
import signal
import sys
import threading
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import wire  # noqa: E402
from system import Pipeline, equal, expect, run  # noqa: E402

try:
    import zmq
except ImportError:
    print("SKIP: python3-zmq is not installed")
    sys.exit(77)

TRIES_MAX = 100


class Client:
    """Commands and queries of one client, over the sockets."""

    def __init__(self, pipeline, context):
        self.sockets = []
        for name in ("commands", "queries"):
            socket = context.socket(zmq.DEALER)
            socket.linger = 0
            socket.rcvtimeo = 30000
            socket.connect(f"ipc://{pipeline.path('run', name)}")
            self.sockets.append(socket)

    def append(self, *commands):
        """The outcomes, in the order of the commands."""
        self.sockets[0].send_multipart(wire.append(commands))
        found = {}
        while len(found) < len(commands):
            frames = self.sockets[0].recv_multipart()
            if wire.kind_of(frames[0]) == "REFUSED":
                raise ValueError(frames[1])
            for outcome in wire.outcomes(frames):
                found[outcome.id] = outcome
        return [found[c.id] for c in commands]

    def read(self, **more):
        """All events that the selectors let through, and the watermark."""
        found, start = [], 1
        while True:
            self.sockets[1].send_multipart(wire.read(start=start, **more))
            answer, events = wire.events(self.sockets[1].recv_multipart())
            found += events
            start = answer["next"]
            if answer["flags"] & 1:
                return found, answer["watermark"]

    def query(self, items):
        """The events that match, in order, and the position to go on from."""
        found, after = {}, None
        for types, tags in items:
            events, seen = self.read(selectors=[("t", t) for t in types] +
                                     [("g", t) for t in tags])
            after = seen if after is None else min(after, seen)
            for e in events:
                found[e["position"]] = e
        return [found[p] for p in sorted(found) if p <= after], after

    def close(self):
        for socket in self.sockets:
            socket.close()


class Running:
    """A pipeline and a client."""

    def __init__(self, **config):
        self.pipeline, self.context = Pipeline(), zmq.Context()
        for who, text in config.items():
            self.pipeline.config(who, text)

    def __enter__(self):
        self.pipeline.up()
        self.client = self.connect()
        return self

    def connect(self):
        return Client(self.pipeline, self.context)

    def __exit__(self, *what):
        self.client.close()
        self.context.destroy(linger=0)
        self.pipeline.close()


RUN = None  # the pipeline that the cases without a configuration share


def fact(kind, tags=(), stream=None, **data):
    return wire.Event(stream or "facts-1", kind, json.dumps(data).encode(),
                      tags=tags)


def data(event):
    return json.loads(event["data"])


def decide(client, items, rule):
    """Reads, decides, appends; again while others come first.  The rule gets
    the events and returns new ones, or a text: why not."""
    for _ in range(TRIES_MAX):
        events, after = client.query(items)
        answer = rule(events)
        if isinstance(answer, str):
            return answer
        outcome, = client.append(
            wire.Command(answer, [wire.Condition(items, after)]))
        if outcome.code == "accepted":
            return None
        equal(outcome.code, "conflict", outcome.detail)
    raise ValueError(f"no decision in {TRIES_MAX} tries")


def together(count, work):
    """Runs work(client, i) in threads of their own; what each returned."""
    results = [None] * count
    barrier = threading.Barrier(count)

    def one(i):
        client = RUN.connect()
        try:
            barrier.wait()
            results[i] = work(client, i)
        except Exception as problem:  # pylint: disable=broad-except
            results[i] = problem
        finally:
            client.close()
    threads = [threading.Thread(target=one, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


# ---- the worked examples ----------------------------------------------------

def subscribe(client, course, student, limit=5):
    """A rule over two things at once: seats of a course, and courses of a
    student."""
    items = [(["CourseDefined", "CapacityChanged"], [f"course:{course}"]),
             (["Subscribed"], [f"course:{course}"]),
             (["Subscribed"], [f"student:{student}"])]

    def rule(events):
        seats = [data(e)["seats"] for e in events
                 if e["type"] in ("CourseDefined", "CapacityChanged")]
        taken = [e["tags"] for e in events if e["type"] == "Subscribed"]
        if not seats:
            return "no such course"
        if [f"course:{course}", f"student:{student}"] in taken:
            return "already there"
        if sum(f"course:{course}" in t for t in taken) >= seats[-1]:
            return "full"
        if sum(f"student:{student}" in t for t in taken) >= limit:
            return "too many courses"
        return [fact("Subscribed", [f"course:{course}", f"student:{student}"],
                     f"course-{course}")]
    return decide(client, items, rule)


def define(client, course, seats):
    return decide(
        client, [(["CourseDefined"], [f"course:{course}"])],
        lambda events: "there is one already" if events else
        [fact("CourseDefined", [f"course:{course}"], seats=seats)])


def change(client, course, seats):
    def rule(events):
        if not events:
            return "no such course"
        if data(events[-1])["seats"] == seats:
            return "so it is"
        return [fact("CapacityChanged", [f"course:{course}"], seats=seats)]
    return decide(client, [(["CourseDefined", "CapacityChanged"],
                            [f"course:{course}"])], rule)


def course_subscriptions():
    client = RUN.client
    equal(change(client, "c1", 4), "no such course", "before it is defined")
    equal([define(client, c, seats) for c, seats in
           (("c1", 3), ("c2", 10), ("c1", 7))],
          [None, None, "there is one already"], "courses")
    said = together(8, lambda c, i: define(c, "c3", i))
    equal(sorted(said, key=str), [None] + ["there is one already"] * 7,
          "all define one")
    equal(subscribe(client, "c0", "s1"), "no such course", "an unknown course")
    equal(subscribe(client, "c1", "s1"), None, "the first seat")
    equal(subscribe(client, "c1", "s1"), "already there", "twice")
    equal(subscribe(client, "c1", "s2"), None, "the second seat")
    equal(subscribe(client, "c1", "s3"), None, "the third seat")
    equal(subscribe(client, "c1", "s4"), "full", "a fourth")
    equal([change(client, "c1", 3), change(client, "c1", 4)],
          ["so it is", None], "the capacity")
    equal(subscribe(client, "c1", "s4"), None, "after it has grown")
    equal(subscribe(client, "c2", "s4", limit=1), "too many courses",
          "a student's limit")


def twenty_writers_fill_exactly_the_seats_there_are():
    client, seats = RUN.client, 7
    client.append(wire.Command([fact("CourseDefined", ["course:p"],
                                     seats=seats)]))
    said = together(20, lambda c, i: subscribe(c, "p", f"p{i}"))
    equal(sorted(said, key=str), [None] * seats + ["full"] * (20 - seats),
          "answers")
    found, _ = client.query([(["Subscribed"], ["course:p"])])
    equal(len(found), seats, "seats taken")
    equal(len({tuple(e["tags"]) for e in found}), seats, "students")


def twenty_writers_on_one_position_of_which_one_succeeds():
    _, after = RUN.client.read()
    condition = wire.Condition([([], ["once:x"])], after)
    said = together(20, lambda c, i: c.append(wire.Command(
        [fact("Once", ["once:x"])], [condition]))[0])
    equal(sorted(o.code for o in said), ["accepted"] + ["conflict"] * 19,
          "answers")
    winner, = [o for o in said if o.code == "accepted"]
    equal({o.verdicts[0][4] for o in said if o.code == "conflict"},
          {winner.first}, "whom they name")


def register(client, name, later=0):
    """A name is kept for three days after its account was closed; `later`
    days pass before this is asked."""
    items = [(["Registered", "Closed", "Renamed"], [f"name:{name}"])]

    def rule(events):
        taken = False
        for e in events:
            if e["type"] == "Renamed":
                taken = data(e)["to"] == name
            else:
                taken = e["type"] == "Registered" or later <= 3
        return "taken" if taken else [fact("Registered", [f"name:{name}"],
                                           name=name)]
    return decide(client, items, rule)


def a_unique_username():
    client = RUN.client
    equal(register(client, "ada"), None, "a free name")
    equal(register(client, "ada"), "taken", "a taken name")
    client.append(wire.Command([fact("Renamed", ["name:ada", "name:eva"],
                                     to="eva")]))
    equal(register(client, "eva"), "taken", "the new name")
    equal(register(client, "ada"), None, "the old name is free")
    client.append(wire.Command([fact("Closed", ["name:ada"])]))
    equal(register(client, "ada", 3), "taken", "three days after it was closed")
    equal(register(client, "ada", 4), None, "and the day after")
    said = together(8, lambda c, i: register(c, "bob"))
    equal(sorted(said, key=str), [None] + ["taken"] * 7, "all want bob")


def invoice_numbers_without_gaps():
    items = [(["InvoiceCreated"], [])]

    def create(client, i):
        def rule(events):
            number = data(events[-1])["number"] + 1 if events else 1
            return [fact("InvoiceCreated", [f"invoice:{number}"],
                         number=number, by=i)]
        return [decide(client, items, rule) for _ in range(2)]
    together(6, create)
    found, _ = RUN.client.query(items)
    equal([data(e)["number"] for e in found], list(range(1, 13)), "numbers")


def an_opt_in_token():
    """It belongs to an address, is good for an hour, and once."""
    client = RUN.client

    def confirm(mail, token, minutes=0):
        def rule(events):
            kinds = [e["type"] for e in events]
            if "SignUpStarted" not in kinds:
                return "no such token"
            if "SignUpConfirmed" in kinds:
                return "used"
            if minutes > 60:
                return "expired"
            return [fact("SignUpConfirmed", events[0]["tags"],
                         name=data(events[0])["name"])]
        return decide(client, [(["SignUpStarted", "SignUpConfirmed"],
                                [f"mail:{mail}", f"token:{token}"])], rule)

    def start(mail, token):
        client.append(wire.Command([fact(
            "SignUpStarted", [f"token:{token}", f"mail:{mail}"], name=mail)]))
    equal(confirm("a", 1), "no such token", "before it was sent")
    start("a", 1)
    start("b", 2)
    equal(confirm("a", 2), "no such token", "the token of another")
    equal(confirm("b", 2, 61), "expired", "too late")
    equal(confirm("a", 1, 60), None, "the first time")
    equal(confirm("a", 1), "used", "the second time")
    said = together(8, lambda c, i: c.append(wire.Command(
        [fact("SignUpConfirmed", ["token:2", "mail:b"])],
        [wire.Condition([(["SignUpConfirmed"], ["mail:b", "token:2"])])]
    ))[0].code)
    equal(sorted(said), ["accepted"] + ["conflict"] * 7, "all at once")


def a_dynamic_price():
    client = RUN.client

    def order(basket, meanwhile=None):
        """Basket: product and the price that the customer was shown."""
        items = [(["PriceChanged"], [f"product:{p}"]) for p in basket]

        def rule(events):
            for product, shown in basket.items():
                prices = [data(e)["price"] for e in events
                          if f"product:{product}" in e["tags"]]
                if shown not in prices[-2:]:  # the last but one counts, too
                    return f"{product} has another price"
            if meanwhile:
                meanwhile()
            return [fact("Ordered", [f"product:{p}" for p in basket])]
        return decide(client, items, rule)

    def price(product, amount):
        client.append(wire.Command([fact("PriceChanged",
                                         [f"product:{product}"],
                                         price=amount)]))
    price("a", 10)
    price("b", 20)
    equal(order({"a": 10, "b": 20}), None, "prices as they are")
    price("a", 11)
    equal(order({"a": 10}), None, "the price before is kept for a while")
    price("a", 12)
    equal(order({"a": 10}), "a has another price", "an old price")
    changes = [lambda: price("b", 21), lambda: price("b", 22)]
    equal(order({"b": 20}, lambda: changes and changes.pop(0)()),
          "b has another price", "a price that changes while one orders")


def an_event_sourced_aggregate():
    client, stream = RUN.client, "account-9"

    def add(amount):
        """The classic: one stream, the version that was read."""
        for _ in range(TRIES_MAX):
            events, _ = client.read(selectors=[("s", stream)])
            if sum(data(e)["amount"] for e in events) + amount < 0:
                return "not enough"
            outcome, = client.append(wire.Command(
                [fact("Moved", [], stream, amount=amount)],
                [(stream, wire.EXACT, len(events))]))
            if outcome.code == "accepted":
                return None
        raise ValueError("no decision")
    equal(add(-1), "not enough", "an empty account")
    equal(add(100), None, "a deposit")
    said = together(8, lambda c, i: c.append(wire.Command(
        [fact("Moved", [], stream, amount=-100)],
        [(stream, wire.EXACT, 1)]))[0].code)
    equal(sorted(said), ["accepted"] + ["conflict"] * 7, "withdrawals")
    equal(add(-1), "not enough", "afterwards")

    def take(client, amount):
        """The same without a stream: the events that a tag holds together."""
        return decide(
            client, [([], ["account:8"])],
            lambda events: [fact("Moved", ["account:8"], amount=-amount)]
            if sum(data(e)["amount"] for e in events) >= amount
            else "not enough")
    client.append(wire.Command([fact("Moved", ["account:8"], amount=500)]))
    said = together(8, lambda c, i: take(c, 100))
    equal(sorted(said, key=str), [None] * 5 + ["not enough"] * 3,
          "withdrawals by tag")


def a_duplicate_submission():
    """By the command id, or by a tag that the form carries."""
    client = RUN.client
    command = wire.Command([fact("Paid", ["form:77"])],
                           [wire.Condition([([], ["form:77"])])])
    first, = client.append(command)
    again, = client.append(command)
    equal((first.code, again.code, again.repeated, again.first),
          ("accepted", "accepted", True, first.first), "the same id")
    other, = client.append(wire.Command(
        [fact("Paid", ["form:77"])], [wire.Condition([([], ["form:77"])])]))
    equal((other.code, other.failures), ("conflict", [(0, first.first)]),
          "the same form under another id")


# ---- the contract -----------------------------------------------------------

def later_commands_of_a_message_see_the_earlier_ones():
    condition = wire.Condition([([], ["batch:1"]), (["BatchEnded"], [])])
    said = RUN.client.append(*(
        wire.Command([fact("Batch", ["batch:1"])], [condition])
        for _ in range(50)))
    equal([o.code for o in said], ["accepted"] + ["conflict"] * 49, "answers")
    equal({o.verdicts[0][4] for o in said[1:]}, {said[0].first}, "positions")


def every_failed_check_is_told_with_the_events_in_the_way():
    client = RUN.client
    client.append(*(wire.Command([fact("V", [f"v:{i % 2}"], "v-1", i=i)])
                    for i in range(6)))
    _, head = client.read()
    checks = [("v-1", wire.EXACT, 4), ("v-2", wire.EXISTS, 0),
              ("v-1", wire.EXISTS, 0),
              wire.Condition([(["V"], ["v:0"])], head - 3),
              wire.Condition([(["W"], ["v:0"])], 0), wire.Condition(None, head)]
    outcome, = client.append(wire.Command([fact("X")], checks, show=10))
    equal(outcome.code, "conflict", outcome.detail)
    equal(outcome.verdicts,
          [(0, False, wire.EXACT, 4, 6), (1, False, wire.EXISTS, 0, 0),
           (3, False, wire.NO_MATCH, head - 3, head - 1)], "verdicts")
    equal([e["version"] for e in outcome.shown], [5, 6], "shown")
    equal(outcome.more, False, "more")
    outcome, = client.append(wire.Command(
        [fact("X")], [("v-1", wire.NONE, 0)], show=4))
    equal(([e["version"] for e in outcome.shown], outcome.more),
          ([1, 2, 3, 4], True), "the first four")
    outcome, = client.append(wire.Command([fact("X")],
                                          [("v-1", wire.NONE, 0)]))
    equal((outcome.shown, outcome.more), ([], False), "not asked for")


def a_dry_run_foretells_and_stores_nothing():
    client = RUN.client
    client.append(wire.Command([fact("D", [], "d-1")]))
    _, head = client.read()
    checks = [("d-1", wire.EXACT, 1), ("d-2", wire.NONE, 0),
              wire.Condition([(["D"], [])], head)]
    events = [fact("D", [], "d-1"), fact("D", [], "d-2"),
              fact("D", [], "d-1")]
    command = wire.Command(events, checks)
    dry = wire.Command(events, checks, command.id, dry_run=True)
    told, = client.append(dry)
    equal((told.code, told.dry_run, told.first, told.last, told.versions,
           told.time_us), ("accepted", True, head + 1, head + 3, [3, 1], 0),
          "what would be")
    equal(told.verdicts, [(0, True, wire.EXACT, 1, 1),
                          (1, True, wire.NONE, 0, 0),
                          (2, True, wire.NO_MATCH, head, 0)], "verdicts")
    equal(client.read()[1], head, "the last position")
    real, = client.append(command)
    equal((real.code, real.repeated, real.first, real.versions),
          ("accepted", False, head + 1, [3, 1]), "the command itself")
    told, = client.append(dry)
    equal((told.code, told.dry_run, told.repeated, told.first, told.time_us),
          ("accepted", True, True, head + 1, real.time_us), "afterwards")
    told, = client.append(wire.Command(events, checks, dry_run=True, show=9))
    equal((told.code, [v[1] for v in told.verdicts], len(told.shown)),
          ("conflict", [False, False, False], 3), "with another id")
    equal(client.read()[1], head + 3, "the last position")


def bad_conditions_are_refused_with_a_reason():
    client = RUN.client
    before = client.read()[1]
    good = [([], ["t"])]
    some = wire.Condition(None, 0)
    some.queries = wire.Condition(good).queries
    bent = wire.Condition(good)
    bent.text = lambda: b"\2t"
    unknown = wire.Check("e-1", 6)
    flags = wire.Command([fact("E")])
    flags.flags = 2
    bad = [
        (wire.Condition([]), "items"), (some, "items"),
        (wire.Condition([([], [])]), "item 0"),
        (wire.Condition(good + [([], ["a", "b", "a"])]), "item 1: tag 2"),
        (wire.Condition([(["A", "A"], [])]), "item 0: type 1"),
        (wire.Condition([([""], [])]), "item 0: type 0"),
        (wire.Condition([([], ["a\nb"])]), "item 0: tag 0"),
        (wire.Condition(good, before + 1), "after"),
        (wire.Condition(None, 2 ** 64 - 1), "after"),
        (bent, "item 0"), (unknown, "expectation"),
    ]
    for condition, said in bad:
        outcome, = client.append(wire.Command(
            [fact("E")], [("e-1", wire.ANY, 0), condition]))
        equal(outcome.code, "invalid", said)
        expect(said in outcome.detail and
               ("check 1" in outcome.detail or unknown is condition),
               f"{outcome.detail} does not say {said}")
    outcome, = client.append(wire.Command([], [wire.Condition(good)]))
    equal((outcome.code, "events" in outcome.detail), ("invalid", True),
          "no events")
    outcome, = client.append(flags)
    equal((outcome.code, "flags" in outcome.detail), ("invalid", True),
          outcome.detail)
    equal(client.read()[1], before, "the last position")


def what_one_message_to_the_writer_cannot_hold_goes_in_two():
    """Messages that are read in one turn, with more checks together than one
    may have."""
    client = RUN.client
    checks = [("m-1", wire.ANY, 0)] * 4000
    commands = [wire.Command([fact("M", [], "m-1")], checks)
                for _ in range(60)]
    messages = [wire.append(commands[i:i + 15]) for i in range(0, 60, 15)]
    said = []
    gateway = RUN.pipeline.pid("gateway")
    os.kill(gateway, signal.SIGSTOP)
    for message in messages:
        client.sockets[0].send_multipart(message)
    os.kill(gateway, signal.SIGCONT)
    while len(said) < len(commands):
        said += wire.outcomes(client.sockets[0].recv_multipart())
    equal({o.code for o in said}, {"accepted"}, "answers")
    equal(sorted(o.versions[0] for o in said), list(range(1, 61)), "versions")


def limits_of_conditions_are_held_and_named():
    with Running(gateway="condition\n    items_max = 3\n    types_max = 4\n"
                         "    tags_max = 5\nconflict\n    events_max = 2\n",
                 writer="condition\n    scan_max = 10\nconflict\n"
                        "    bytes_max = 1000\n") as r:
        def ask(items, after=0, **more):
            return r.client.append(wire.Command(
                [fact("L", ["l"])], [wire.Condition(items, after)],
                dry_run=True, **more))[0]
        names = [f"n{i}" for i in range(6)]
        for items, said in [
                ([([n], []) for n in names[:3]], None),
                ([([n], []) for n in names[:4]], "items"),
                ([(names[:4], [])], None), ([(names[:5], [])], "types"),
                ([([], names[:5])], None), ([([], names[:6])], "tags"),
                ([([], names[:3]), ([], names[:3])], "tags")]:
            outcome = ask(items)
            equal(outcome.code, "too large" if said else "accepted", items)
            expect(not said or said in outcome.detail, outcome.detail)
        two = wire.Condition([(names[:2], [])])
        outcome, = r.client.append(wire.Command([fact("L")], [two] * 3))
        equal((outcome.code, "check 2" in outcome.detail),
              ("too large", True), "over all conditions of a command")

        r.client.append(*(wire.Command([fact("L", ["l"], x="x" * 100)])
                          for _ in range(10)))
        r.client.append(wire.Command([fact("O", ["o"])]))
        outcome = ask([(["O"], ["l"])])
        equal(outcome.code, "accepted", "as many events as may be looked at")
        r.client.append(wire.Command([fact("L", ["l"])]))
        outcome = ask([(["O"], ["l"])])
        equal((outcome.code, "condition.scan_max" in outcome.detail),
              ("too large", True), outcome.detail)
        equal(ask([(["O"], ["l"])], 1).code, "accepted", "a later position")
        outcome = ask([([], ["l"])], show=1000)
        equal(([e["position"] for e in outcome.shown], outcome.more),
              ([1, 2], True), "conflict.events_max")
    with Running(writer="conflict\n    bytes_max = 1000\n") as r:
        r.client.append(*(wire.Command([fact("L", [], x="x" * 250)])
                          for _ in range(5)))
        outcome, = r.client.append(wire.Command(
            [fact("L")], [wire.Condition()], show=100))
        equal((len(outcome.shown), outcome.more), (2, True),
              "conflict.bytes_max")


def the_command_takes_and_explains_conditions():
    p = RUN.pipeline
    p.cairn("append", "--tag", "cli:1", "--tag", "cli:2", "cli-1", "Placed",
            '{"n":1}')
    at = p.json("read", "cli-1")[0]["position"]
    for query in ("tags=cli:1", "types=Placed,Paid tags=cli:2,cli:1",
                  "types=None or tags=cli:2 after=0", "all",
                  '{"items":[{"types":["Placed"],"tags":["cli:1"]}]}',
                  '{"items":"all","after":0}'):
        done = p.cairn("append", "--fail-if", query, "cli-2", "T", code=3)
        said = done.stderr.decode()
        expect("check 0: the event at position" in said and
               (query.startswith(("{", "all")) or f"position {at} " in said),
               said)
    for query in ("tags=cli:3", "types=Placed tags=cli:3,cli:1",
                  f"tags=cli:1 after={at}", f"types=Placed after={at}"):
        p.cairn("append", "--fail-if", query, "--dry-run", "cli-2", "T")
    for query in ("", "or", "tags=", "tags=a,,b", "all tags=a", "after=x",
                  "what", "{}", '{"items":[]}', '{"items":[{}]}', '{"x":1}',
                  '{"items":[{"tags":"a"}]}', "[1]"):
        done = p.cairn("append", "--fail-if", query, "cli-2", "T", code=2)
        expect("fail_if" in done.stderr.decode(), done.stderr)
    done = p.cairn("append", "--fail-if", "tags=cli:1", "--expect", "3",
                   "--show-conflict", "5", "--json", "cli-1", "T", code=3)
    told = json.loads(done.stdout)
    equal([(c["check"], c["holds"], c["actual"]) for c in told["failed"]],
          [(0, False, at), (1, False, 1)], "failed checks")
    equal(told["failed"][0]["fail_if"],
          {"items": [{"types": [], "tags": ["cli:1"]}], "after": 0}, "a query")
    equal((told["failed"][1]["stream"], told["failed"][1]["expected"]),
          ("cli-1", 3), "a stream")
    equal(([e["position"] for e in told["events"]], told["more"]),
          ([at], False), "events")
    done = p.cairn("append", "--fail-if", "tags=cli:1", "--show-conflict", "5",
                   "cli-1", "T", code=3)
    expect(b'in the way: {"position":' in done.stderr, done.stderr)

    done = p.cairn("append", "--fail-if", "tags=cli:1", "--expect", "1",
                   "--dry-run", "cli-1", "T", code=3)
    said = done.stdout.decode().splitlines()
    expect(said[0] == "would be a conflict" and
           said[1].startswith("  fails  check 0: the event at position") and
           said[2].startswith("  holds  check 1: the stream 'cli-1' is at"),
           said)
    equal(p.json("read", "cli-1")[-1]["version"], 1, "what is stored")

    line = {"stream": "cli-3", "type": "T", "command": str(uuid.uuid4()),
            "fail_if": [{"items": [{"tags": ["cli:3"]}]},
                        {"items": [{"types": ["T 1, or 2"]}], "after": at}]}
    text = (json.dumps(line) + "\n").encode()
    done = p.cairn("append", "--explain", "--json", data=text)
    told = json.loads(done.stdout)
    equal((told["outcome"], told["dry_run"], [c["holds"] for c in
                                              told["checks"]]),
          ("accepted", True, [True, True]), "a dry run of a line")
    done = p.cairn("append", "--explain", data=text)
    expect(b"line 1: would be accepted" in done.stdout and
           b"holds  check 1: no event matches 'types=T 1, or 2'" in
           done.stdout, done.stdout)
    expect(b"nothing was stored" in done.stderr, done.stderr)
    p.cairn("stream", "info", "cli-3", code=1)
    p.cairn("append", data=text)
    done = p.cairn("append", "--dry-run", data=text)
    expect(b"would be repeated" in done.stdout, done.stdout)
    for value in ('"al"', "1", '{"items":[{"tags":["a\\u0000"]}]}',
                  '{"items":"all","after":-1}'):
        done = p.cairn("append", data=b'{"stream":"x","type":"T","fail_if":' +
                       value.encode() + b"}\n", code=1)
        expect(b"line 1: fail_if" in done.stderr, done.stderr)


if __name__ == "__main__":
    with Running() as RUN:
        run([course_subscriptions,
             twenty_writers_fill_exactly_the_seats_there_are,
             twenty_writers_on_one_position_of_which_one_succeeds,
             a_unique_username,
             invoice_numbers_without_gaps,
             an_opt_in_token,
             a_dynamic_price,
             an_event_sourced_aggregate,
             a_duplicate_submission,
             later_commands_of_a_message_see_the_earlier_ones,
             every_failed_check_is_told_with_the_events_in_the_way,
             a_dry_run_foretells_and_stores_nothing,
             bad_conditions_are_refused_with_a_reason,
             what_one_message_to_the_writer_cannot_hold_goes_in_two,
             limits_of_conditions_are_held_and_named,
             the_command_takes_and_explains_conditions])
