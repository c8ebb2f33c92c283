#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""Over tcp only known keys come, and each may do what its rights say."""

import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
# pylint: disable=wrong-import-position
import wire  # noqa: E402
from curve import Curve  # noqa: E402
from peer import (CONTEXT, GREETING, Client, Key, Shop,  # noqa: E402
                  TcpPipeline, frame, local, raw, receive)
from proxy import Proxy  # noqa: E402
from system import (BUILD, FILES_SQL, Pipeline, equal, expect,  # noqa: E402
                    run, wait_until)
import zmq  # noqa: E402
from zmq.utils.monitor import recv_monitor_message  # noqa: E402


def event(stream, text="x", **more):
    return wire.Event(stream, data=text.encode(), **more)


def command(stream, checks=(), **more):
    return wire.Command([event(stream, **more)], checks)


def the_command_works_over_tcp():
    with Shop() as s:
        p = s.pipeline
        over = ("--commands", p.commands, "--queries", p.queries,
                "--server-key", p.server.path + ".pub", "--key",
                s.operator.path)
        p.cairn(*over, "append", "order-1", "Placed", "{}")
        lines = b"".join(json.dumps({"stream": f"order-{i % 7}", "type": "T",
                                     "data": i}).encode() + b"\n"
                         for i in range(2000))
        p.cairn(*over, "append", "--quiet", data=lines)
        events = [json.loads(line) for line in
                  p.cairn(*over, "--json", "read").stdout.splitlines()]
        equal(len(events), 2001, "events over tcp")
        # The same by variables, and with the key itself.
        p.env.update(CAIRN_COMMANDS=p.commands, CAIRN_QUERIES=p.queries,
                     CAIRN_SERVER_KEY=p.server.public.decode(),
                     CAIRN_KEY=s.shop.path)
        p.cairn("append", "order-1", "Placed", "{}")
        out = p.cairn("append", "cart-1", "Placed", code=1).stderr
        expect(b"denied" in out and b"cart-1" in out, out)
        out = p.cairn("read", code=1).stderr
        expect(b"denied" in out and b"everything" in out, out)
        # A client without keys is told what is missing.
        del p.env["CAIRN_KEY"], p.env["CAIRN_SERVER_KEY"]
        out = p.cairn("append", "order-1", "Placed", code=2).stderr
        expect(b"only with CURVE" in out, out)


def a_projector_reads_over_tcp():
    p = TcpPipeline([FILES_SQL])
    proxy = Proxy(p.queries)
    try:
        key = Key(p, "files")
        p.cairn("key", "authorize", "--rights", p.rights, "--read", "all",
                "files", key.path)
        p.config("projector@files",
                 f"source\n    kind = publisher\n"
                 f"    endpoint = \"{proxy.endpoint}\"\n"
                 f"    server_key = \"{p.server.path}.pub\"\n"
                 f"    key = \"{key.path}\"\n")
        p.up()
        p.cairn("append", "file-1", "T", "1")
        p.cairn("projection", "wait", "files", "end")
        equal(p.json("projection", "info", "files")[0]["checkpoint"], 1,
              "checkpoint")
        # A connection that is dead without anybody having said so.
        proxy.forget()
        p.cairn("append", "file-1", "T", "2")
        p.cairn("projection", "wait", "files", "end")
        equal(p.json("projection", "info", "files")[0]["checkpoint"], 2,
              "checkpoint")
        equal(proxy.connections, 2, "one more connection is enough")
    finally:
        proxy.close()
        p.close()


def a_key_appends_where_it_may_and_nowhere_else():
    with Shop() as s:
        client = s.commands(s.shop)
        cases = [
            (command("order-1"), None),
            (command("audit"), None),
            (command("audit-1"), "audit-1"),
            (command("orders-1"), "orders-1"),
            (wire.Command([event("order-1"), event("cart-1")]), "event 1"),
            # A check tells a version: it takes a right, to read or append.
            (command("order-1", [("news", wire.NONE, 0)]), None),
            (command("order-1", [("cart-1", wire.NONE, 0)]), "check 0"),
            # Events of a conflict are shown to whoever may read them.
            (wire.Command([event("order-1")], [("order-9", wire.NONE)],
                          show=5), None),
            (wire.Command([event("order-1")], [("audit", wire.EXISTS)],
                          show=5), "audit"),
            # A condition looks at everything.
            (wire.Command([event("order-1")],
                          [wire.Condition([(["X"], [])])]), "condition"),
        ]
        outcomes = client.append(*[c for c, _ in cases])
        for (_, said), outcome in zip(cases, outcomes):
            if said is None:
                equal(outcome.code, "accepted", outcome.detail)
            else:
                equal(outcome.code, "denied", said)
                expect(said in outcome.detail, outcome.detail)
        reader = s.commands(s.backup)
        equal(reader.append(command("order-1"))[0].code, "denied",
              "who may only read")
        operator = s.commands(s.operator)
        equal(operator.append(command("cart-1"))[0].code, "accepted",
              "who may all")
        streams = [e["stream"] for e in
                   s.queries(s.backup).read(event_max=0)[1]]
        equal(streams, ["order-1", "audit", "order-1", "order-1", "cart-1"],
              "the log, after all that was denied")


def a_key_reads_what_it_may_and_nothing_else():
    with Shop() as s:
        s.commands(s.operator).append(
            command("order-1", tags=["t"]), command("news", tags=["t"]),
            command("cart-1", tags=["t"]))
        client = s.queries(s.shop)
        cases = [
            ({"selectors": [("s", "order-1")]}, ["order-1"]),
            ({"selectors": [("c", "order")]}, ["order-1"]),
            ({"selectors": [("s", "order-1"), ("s", "news")]},
             ["order-1", "news"]),
            ({"selectors": [("c", "order"), ("g", "t")]}, ["order-1"]),
            ({}, None),
            ({"selectors": [("g", "t")]}, None),
            ({"selectors": [("t", "T")]}, None),
            ({"selectors": [("s", "cart-1")]}, None),
            ({"selectors": [("c", "cart")]}, None),
            ({"selectors": [("c", "news")]}, None),
            ({"selectors": [("c", "order"), ("s", "cart-1")]}, None),
            ({"selectors": [("s", "cart-1")], "wait_ms": 20000}, None),
        ]
        for more, wanted in cases:
            answer, events = client.read(**more)
            if wanted is None:
                equal(wire.CODES[answer["code"]], "denied", more)
                expect("right" in answer["text"], answer["text"])
            else:
                equal([e["stream"] for e in events], wanted, more)
        equal(len(s.queries(s.backup).read()[1]), 3, "who may read all")
        equal(len(local(s.pipeline, "queries").read()[1]), 3, "over ipc")


def refused_by(pipeline, key, endpoint=None):
    """Whether the server says in the handshake that it does not know a key."""
    client = CONTEXT.socket(zmq.DEALER)
    client.setsockopt(zmq.LINGER, 0)
    client.curve_serverkey = pipeline.server.public
    client.curve_publickey, client.curve_secretkey = key
    monitor = client.get_monitor_socket(
        zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_AUTH)
    client.connect(endpoint or pipeline.commands)
    expect(monitor.poll(20000), "an end of the handshake")
    found = recv_monitor_message(monitor)
    client.disable_monitor()
    client.close()
    return found["event"] == zmq.EVENT_HANDSHAKE_FAILED_AUTH and \
        found["value"] == 400


def unknown_keys_do_not_come_in():
    with Shop() as s:
        p = s.pipeline
        for endpoint in (p.commands, p.queries):
            expect(refused_by(p, zmq.curve_keypair(), endpoint),
                   "a new key is refused")
            expect(not refused_by(p, (s.shop.public, s.shop.secret), endpoint),
                   "a known key is let in")
        # Whoever speaks no CURVE at all gets no answer.
        client = Client(p.commands, timeout_ms=500)
        try:
            client.socket.send_multipart([wire.header("PING", 1)])
        except zmq.Again:
            pass  # it knows already
        expect(not client.socket.poll(500), "an answer without CURVE")
        client.close()
        # The command says so at once, not after its deadline.
        stranger = Key(p, "stranger")
        over = ("--commands", p.commands, "--queries", p.queries,
                "--server-key", p.server.path + ".pub", "--key",
                stranger.path)
        began = time.monotonic()
        for args in (("append", "order-1", "Placed"), ("read",)):
            out = p.cairn(*over, *args, "--timeout", "60", code=1).stderr
            expect(b"does not know this key" in out, out)
        expect(time.monotonic() - began < 60, "it says so early")


def denials_are_logged_once_per_key():
    with Shop() as s:
        commands, queries = s.commands(s.shop), s.queries(s.shop)
        for endpoint in (s.pipeline.commands, s.pipeline.queries):
            keys = [zmq.curve_keypair() for _ in range(3)]
            # More than have lines of their own: whoever makes up keys can
            # neither fill the log nor keep a known key out of it.
            keys += [zmq.curve_keypair() for _ in range(70)]
            for key in keys + keys[:3]:
                expect(refused_by(s.pipeline, key, endpoint), "refused")
            for _ in range(50):
                if endpoint == s.pipeline.commands:
                    outcome, = commands.append(command("cart-1"))
                    equal(outcome.code, "denied", "code")
                else:
                    answer, _ = queries.read(selectors=[("s", "cart-1")])
                    equal(wire.CODES[answer["code"]], "denied", "code")
            log = s.pipeline.log("gateway" if endpoint == s.pipeline.commands
                                 else "publisher")
            for public in [s.shop.public] + [public for public, _ in keys[:3]]:
                equal(log.count("denied: key " + public.decode()), 1,
                      "lines about a key")
            expect("(shop): " in log, log)
            equal(log.count("denied: key "), 1 + 64 + 1, "lines in all")


def who_comes_over_ipc_cannot_pretend_a_key():
    """ZMTP lets a peer say any property of itself, also User-Id."""
    with Shop() as s:
        p = s.pipeline
        for who, name in (("gateway", "commands"), ("publisher", "queries")):
            for said in (b"", b"x", b"x\n<3>forged line", b"\x1b[2J" * 50,
                         b"x" * 40, b"x" * 41, s.shop.public + b"x"):
                stream = raw(p, name)
                stream.sendall(GREETING + frame(
                    b"\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x07User-Id" +
                    len(said).to_bytes(4, "big") + said, command=True))
                receive(stream, 64)
                receive(stream, receive(stream, 2)[1])
                for _ in range(3):
                    stream.sendall(frame(wire.header("PING", 1)))
                    answer = receive(stream, receive(stream, 2)[1])
                    equal(wire.kind_of(answer), "REFUSED", said)
                    equal(wire.fields("REFUSED", answer), [5], "denied")
                    expect(receive(stream, receive(stream, 2)[1]), "a reason")
                stream.close()
            log = p.log(who)
            expect("forged" not in log and "\x1b" not in log, log)
            # What could be a key is told of once.
            equal(log.count("denied: "), 1, f"lines of the {who}: {log}")


def a_key_cannot_pretend_another():
    """It is the key that was proved in the handshake, whatever the client
    says of itself."""
    with Shop() as s:
        p = s.pipeline
        claim = [(b"User-Id", s.operator.public)]
        commands = Curve(p.commands, p.server, s.shop, claim)
        for stream, code in (("order-1", "accepted"), ("cart-1", "denied")):
            outcome, = wire.outcomes(commands.ask(wire.append(
                [command(stream)])))
            equal(outcome.code, code, outcome.detail)
        queries = Curve(p.queries, p.server, s.shop, claim)
        for stream, code in (("order-1", 0), ("cart-1", 5)):
            answer, _ = wire.events(queries.ask(wire.read(
                selectors=[("s", stream)])))
            equal(answer["code"], code, stream)
        for connection in (commands, queries):
            connection.close()


def a_routing_id_names_nothing():
    """It is as if it were not said: several may say the same, also one that
    looks like libzmq's own."""
    with Shop() as s:
        p = s.pipeline
        for endpoint in (p.commands, p.queries):
            several = [Curve(endpoint, p.server, s.shop, [(b"Identity", name)])
                       for name in (b"\0abcd", b"me") for _ in range(3)]
            for connection in several * 2:
                answer = connection.ask([wire.header("PING", 1)])
                equal(wire.kind_of(answer[0]), "PONG", "each of them")
            for connection in several:
                connection.close()


def a_frame_beyond_all_limits_is_answered():
    """Over CURVE it can be judged by the length that it says of itself."""
    with Shop() as s:
        p = s.pipeline
        for who, endpoint in (("gateway", p.commands),
                              ("publisher", p.queries)):
            for cut in (0, 1, 5, 9, 12, 40, 9000):
                connection = Curve(endpoint, p.server, s.shop)
                connection.ask([wire.header("PING", 1)])
                begin = connection.message([b"", wire.header("PING", 1)])
                data = begin[:-2 - 8 - 8 - 16 - 1 -
                             len(wire.header("PING", 1))] + \
                    b"\x02" + (1 << 40).to_bytes(8, "big") + \
                    b"\x07MESSAGE" + os.urandom(20000)
                head = len(data) - 20000 - 8 - 9
                connection.stream.sendall(data[:head + cut])
                time.sleep(0.01)
                connection.stream.sendall(data[head + cut:])
                answer = connection.answer()
                equal(answer[0], b"", "the empty frame in front")
                equal(wire.kind_of(answer[1]), "REFUSED", cut)
                equal(wire.fields("REFUSED", answer[1]), [4], "too large")
                expect(b"may be read (64 MiB)" in answer[2], answer[2])
                # Nothing behind it is heard.
                connection.stream.sendall(
                    connection.message([wire.header("PING", 1)]))
                equal(receive(connection.stream, 1), b"", "the end")
                connection.close()
            # A mark is a secret: who makes one up has a bad frame.
            connection = Curve(endpoint, p.server, s.shop)
            connection.stream.sendall(frame(
                b"\x07MESSAGE" + b"\xff" * 8 + bytes(17) + b"X" * 40))
            equal(receive(connection.stream, 1), b"", "hung up on")
            connection.close()
            client = s.commands(s.shop) if who == "gateway" else \
                s.queries(s.shop)
            answer = client.ask([b"x" * (65 << 20)])
            equal(wire.fields("REFUSED", answer[0]), [4], "a ZeroMQ client")
            wait_until(lambda c=client: c.socket.send_multipart(
                [wire.header("PING", 1)]) or c.socket.poll(50),
                       "it to connect again")


def a_bad_frame_ends_its_connection():
    """Over CURVE as well, where libzmq may forget to, and keep it for ever."""
    with Shop() as s:
        p = s.pipeline
        for who, endpoint in (("gateway", p.commands),
                              ("publisher", p.queries)):
            bad = [b"\x07MESSAGE" + os.urandom(40), b"\x07MESSAGE", b"x" * 99,
                   b"\x07MESSAGE" + bytes(40)]
            files = len(os.listdir(f"/proc/{p.pid(who)}/fd"))
            for data in bad:
                connection = Curve(endpoint, p.server, s.shop)
                connection.ask([wire.header("PING", 1)])
                time.sleep(0.05)  # for that, libzmq must have had time
                connection.stream.sendall(frame(data))
                equal(receive(connection.stream, 1), b"", data)
                connection.close()
            wait_until(lambda w=who, f=files:
                       len(os.listdir(f"/proc/{p.pid(w)}/fd")) <= f,
                       "the descriptors to be given back")


def rights_change_on_sighup_and_no_connection_is_lost():
    with Shop() as s:
        p = s.pipeline
        commands, queries = s.commands(s.shop), s.queries(s.shop)
        local_client = local(p)
        equal(commands.append(command("order-1"))[0].code, "accepted", "first")
        equal(commands.append(command("cart-1"))[0].code, "denied", "cart")
        instances = [wire.fields("PONG", c.ask([wire.header("PING", 1)])[0])[1]
                     for c in (commands, queries)]
        stays = s.commands(s.operator)
        equal(stays.ping(), "PONG", "a key that stays")
        kept, gone = [c.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
                      for c in (stays, commands)]
        # More rights, at once, on the open connection.
        with open(p.rights, encoding="utf-8") as file:
            before = file.read()
        p.write_rights(before.replace("category:order", "all"))
        p.reload()
        equal(commands.append(command("cart-1"))[0].code, "accepted", "more")
        equal(len(queries.read()[1]), 2, "more to read")
        # A bad file changes nothing, and its line is named.
        p.write_rights(before.replace("administer", "adminster"))
        p.reload("the rights stay as they were")
        line = before[:before.index("administer")].count("\n") + 1
        expect(f"rights.conf:{line}: adminster" in p.log("gateway"),
               p.log("gateway"))
        equal(commands.append(command("cart-1"))[0].code, "accepted", "kept")
        # So does one that others may write, and one that is not there.
        os.chmod(p.rights, 0o666)
        p.reload("the rights stay as they were")
        os.remove(p.rights)
        p.reload("the rights stay as they were")
        equal(commands.append(command("cart-1"))[0].code, "accepted", "kept")
        # A long poll that is no longer allowed ends, and shows nothing.
        queries.socket.send_multipart(
            wire.read(request=9, wait_ms=30000, selectors=[("s", "later")]))
        parked = s.queries(s.backup)
        parked.socket.send_multipart(wire.read(request=8, wait_ms=30000,
                                               start=100))
        for client in (queries, parked):  # answered behind the long poll
            client.socket.send_multipart([wire.header("PING", 1)])
            equal(wire.kind_of(client.answer()[0]), "PONG", "parked")
        # Without the section the key is revoked, at once.
        p.write_rights(before[:before.index("shop\n")] +
                       before[before.index("backup\n"):])
        p.reload()
        answer, events = wire.events(queries.answer())
        equal((answer["request"], wire.CODES[answer["code"]], events),
              (9, "denied", []), "the long poll of a revoked key")
        frames = commands.ask(wire.append([command("order-1")]))
        equal(wire.kind_of(frames[0]), "REFUSED", "a revoked key")
        equal(wire.fields("REFUSED", frames[0]), [5], "denied")
        for client in (commands, queries):
            equal(client.ping(), "REFUSED", "a ping of a revoked key")
        frames = queries.ask(wire.read(selectors=[("s", "order-1")]))
        equal((wire.kind_of(frames[0]), frames[1]),
              ("REFUSED", b"this key has no rights here any more"), "a read")
        for endpoint in (p.commands, p.queries):
            expect(refused_by(p, (s.shop.public, s.shop.secret), endpoint),
                   "and it does not come in again")
        # Its connection is closed behind that, and that of no other key.
        expect(gone.poll(5000), "the connection of a revoked key is closed")
        expect(not kept.poll(0), "no other connection was lost")
        # The others have not noticed.
        equal(local_client.append(command("cart-2"))[0].code, "accepted",
              "over ipc")
        equal([wire.fields("PONG", c.ask([wire.header("PING", 1)])[0])[1]
               for c in (s.commands(s.operator), s.queries(s.backup))],
              instances, "the lives of the daemons")
        commands_of_all = s.commands(s.operator)
        commands_of_all.append(*[command("later") for _ in range(99)])
        answer, events = wire.events(parked.answer())
        equal((answer["request"], events[0]["position"]), (8, 100),
              "the long poll of another key")
        for client in (stays, commands):
            client.socket.disable_monitor()
        local_client.close()


def start(pipeline, who):
    """Runs a daemon by hand until it ends; exit code and what it said."""
    done = subprocess.run(
        [os.path.join(BUILD, "bin", "cairn-" + who), "-c",
         pipeline.path("etc", who + ".conf")], env=pipeline.env,
        capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr


def what_is_not_safe_does_not_start():
    p = TcpPipeline()
    try:
        p.up()
        p.dev("down")
        key = p.server.path
        with open(p.rights, encoding="utf-8") as file:
            rights = file.read()

        def refused(who, said):
            code, text = start(p, who)
            equal(code, 78, f"exit code of the {who}, which said {text}")
            expect(said in text, text)

        for who in ("gateway", "publisher"):
            os.chmod(key, 0o640)
            refused(who, "chmod 0600")
            os.chmod(key, 0o600)
            os.rename(key, key + ".away")
            os.symlink(key + ".pub", key)
            refused(who, "chmod 0600")
            os.remove(key)
            os.rename(key + ".away", key)
            p.write_rights("someone\n    key = \"short\"\n")
            refused(who, "rights.conf:2")
            p.write_rights(rights)
            os.chmod(p.rights, 0o666)
            refused(who, "go-w")
            os.chmod(p.rights, 0o644)
        # Private endpoints, and the live one, are for ipc alone.
        p.config("publisher", "live\n    endpoint = \"tcp://127.0.0.1:1\"\n")
        refused("publisher", "ipc:// only")
        p.config("writer", "commands\n    endpoint = \"tcp://127.0.0.1:1\"\n")
        refused("writer", "ipc:// only")
    finally:
        p.close()


def the_key_command_says_what_is_wrong():
    p = Pipeline()
    try:
        key = Key(p, "a")
        rights = os.path.join(p.top, "rights")
        equal(os.stat(key.path).st_mode & 0o777, 0o600, "mode")
        out = p.cairn("key", "new", key.path, code=1).stderr
        expect(b"exists" in out, out)
        equal(p.cairn("key", "show", key.path + ".pub").stdout.strip(),
              key.public, "the public file")
        p.cairn("key", "authorize", "--rights", rights, "--read", "all", "a",
                key.path)
        with open(rights, encoding="utf-8") as file:
            before = file.read()
        other = Key(p, "b")
        for args, said in [
                (("a", other.path), b"a second time"),
                (("b", key.path), b"the same key as a"),
                (("b", "--read", "order", other.path), b"prefix:TEXT"),
                (("b", "--append", "category:a-b", other.path), b"first '-'"),
                (("b", os.path.join(p.top, "none")), b"No such file")]:
            out = p.cairn("key", "authorize", "--rights", rights, *args,
                          code=1).stderr
            expect(said in out, out)
            with open(rights, encoding="utf-8") as file:
                equal(file.read(), before, "the rights file")
        expect(not os.path.exists(rights + ".new"), "nothing is left behind")
        p.cairn("key", "authorize", "--rights", rights, "b", other.path)
        equal([json.loads(line)["name"] for line in
               p.cairn("key", "ls", "--rights", rights, "--json")
               .stdout.splitlines()], ["a", "b"], "ls")
        p.cairn("key", "ls", "--rights", key.path, code=1)
        p.cairn("key", "new", code=2)
        p.cairn("key", "lose", key.path, code=2)
    finally:
        p.close()


run([the_command_works_over_tcp,
     a_projector_reads_over_tcp,
     a_key_appends_where_it_may_and_nowhere_else,
     a_key_reads_what_it_may_and_nothing_else,
     unknown_keys_do_not_come_in,
     denials_are_logged_once_per_key,
     who_comes_over_ipc_cannot_pretend_a_key,
     a_key_cannot_pretend_another,
     a_routing_id_names_nothing,
     a_frame_beyond_all_limits_is_answered,
     a_bad_frame_ends_its_connection,
     rights_change_on_sighup_and_no_connection_is_lost,
     what_is_not_safe_does_not_start,
     the_key_command_says_what_is_wrong])
