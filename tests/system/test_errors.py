#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""What daemons say, and their exit codes, when something is wrong from
outside: what a person finds in the journal at three in the morning."""

import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
# pylint: disable=wrong-import-position
import wire  # noqa: E402
from system import (BUILD, FILES_SQL, Failure, Pipeline, equal,  # noqa: E402
                    expect, run, wait_until)

USAGE, DAMAGED, STORAGE, BUSY, PERMISSION, CONFIG = 64, 65, 74, 75, 77, 78


class Folder:
    """A directory for single daemons that are started by hand."""

    def __init__(self):
        self.top = tempfile.mkdtemp(prefix="cairn-errors-")
        self.bin = os.path.join(BUILD, "bin")
        self.started = []

    def __enter__(self):
        os.mkdir(self.path("run"))
        return self

    def __exit__(self, *what):
        for daemon in self.started:
            if daemon.poll() is None:
                daemon.kill()
            daemon.wait()
            daemon.stderr.close()
        shutil.rmtree(self.top, ignore_errors=True)

    def path(self, *parts):
        return os.path.join(self.top, *parts)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        return self.path(name)

    def arguments(self, daemon):
        keys = {"log.control": "run/log.control"}
        ipc = {"doorbell.endpoint": "run/doorbell"}
        if daemon == "writer":
            keys["log.directory"] = "log"
            ipc["commands.endpoint"] = "run/writer"
        elif daemon == "gateway":
            keys = {}
            ipc = {"commands.endpoint": "run/commands",
                   "writer.endpoint": "run/writer"}
        elif daemon == "publisher":
            keys["log.directory"] = "log"
            ipc["queries.endpoint"] = "run/queries"
            ipc["live.endpoint"] = "run/live"
        else:
            keys["log.directory"] = "log"
            keys["target.sqlite"] = "model.db"
            ipc["control.endpoint"] = "run/p"
        found = [f"{k}={self.path(v)}" for k, v in keys.items()]
        found += [f"{k}=ipc://{self.path(v)}" for k, v in ipc.items()]
        return [a for key in found for a in ("-o", key)]

    def command(self, daemon, *more):
        return [os.path.join(self.bin, "cairn-" + daemon),
                *self.arguments(daemon), *more]

    def start(self, daemon, *more, **options):
        process = subprocess.Popen(self.command(daemon, *more),
                                   stderr=subprocess.PIPE,
                                   stdout=subprocess.DEVNULL, **options)
        os.set_blocking(process.stderr.fileno(), False)
        process.said = ""
        self.started.append(process)
        return process

    def says(self, process, words, seconds=20):
        def look():
            text = process.stderr.read()
            process.said += (text or b"").decode()
            return re.search(words, process.said)
        try:
            wait_until(look, words, seconds)
        except Failure as problem:
            raise Failure(f"'{words}' is not in: {process.said}") from problem

    def fails(self, daemon, code, *words, args=(), **options):
        """It ends with this code and one error that has all these words."""
        done = subprocess.run(self.command(daemon, *args), text=True,
                              capture_output=True, timeout=30, check=False,
                              **options)
        equal(done.returncode, code, f"{daemon} said {done.stderr}; its code")
        for word in words:
            expect(word in done.stderr, f"'{word}' is not in: {done.stderr}")
        return done.stderr


# ---- configuration ---------------------------------------------------------

def an_unknown_key_is_named_with_file_and_line():
    with Folder() as f:
        for daemon in ("writer", "gateway", "publisher", "projector"):
            name = f.write("x.conf", "# comment\nlog\n    colour = blue\n")
            f.fails(daemon, CONFIG, f"{name}:3", "log.colour",
                    args=("-c", name))


def a_bad_value_is_named_with_what_would_be_right():
    with Folder() as f:
        cases = [("writer", "log\n    segment = 12\n", 2, "65536"),
                 ("writer", "log\n    segment = many\n", 2, "log.segment"),
                 ("writer", "log\n    group_max = 1T\n", 2, "group_max"),
                 ("gateway", "client\n    queue = -1\n", 2, "client.queue"),
                 ("gateway", "writer\n    endpoint = http://x\n", 2,
                  "writer.endpoint"),
                 ("projector", "source\n    kind = pigeons\n", 2,
                  "mapped publisher"),
                 ("publisher", "queries\n    queue = 1\n    queue = 2\n", 3,
                  "queries.queue")]
        for daemon, text, line, word in cases:
            name = f.write("x.conf", text)
            f.fails(daemon, CONFIG, f"{name}:{line}", word, args=("-c", name))


def a_missing_file_and_a_bad_drop_in_are_named():
    with Folder() as f:
        f.fails("writer", CONFIG, f.path("none.conf"),
                args=("-c", f.path("none.conf")))
        f.write("x.conf", "")
        os.mkdir(f.path("x.conf.d"))
        f.write("x.conf.d/50-mine.conf", "lgo\n    directory = /x\n")
        f.fails("writer", CONFIG, "x.conf.d/50-mine.conf:2",
                "lgo.directory",
                args=("-c", f.path("x.conf")))


def a_wrong_option_shows_the_usage():
    with Folder() as f:
        f.fails("writer", USAGE, "--help", args=("--colour",))
        f.fails("writer", CONFIG, "log.colour", args=("-o", "log.colour=1"))


def a_key_that_must_be_given_is_asked_for():
    with Folder() as f:
        f.fails("projector", CONFIG, "projection.file", "must be given")


def test_says_whether_the_configuration_is_right():
    with Folder() as f:
        done = subprocess.run(f.command("writer", "-t"), check=False,
                              capture_output=True, text=True)
        equal(done.returncode, 0, done.stderr)
        expect(not os.path.exists(f.path("log")), "-t has started something")


def tcp_without_a_secret_key_is_refused():
    with Folder() as f:
        for daemon, key in (("gateway", "commands.tcp"),
                            ("publisher", "queries.tcp")):
            for host in ("127.0.0.1", "*", "192.0.2.1", "[::]"):
                f.fails(daemon, 1, "curve.secret", f.path("none"),
                        args=("-o", f"{key}=tcp://{host}:9999", "-o",
                              "curve.secret=" + f.path("none")))


def a_path_that_is_too_long_for_a_socket_is_refused():
    with Folder() as f:
        f.fails("gateway", CONFIG, "too long",
                args=("-o", "commands.endpoint=ipc:///" + "x" * 120))


# ---- who else is there -----------------------------------------------------

def an_endpoint_in_use_is_told():
    with Folder() as f:
        writer = f.start("writer")
        f.says(writer, ": ready")
        gateway = f.start("gateway")
        f.says(gateway, "the writer is there")
        f.fails("gateway", BUSY, f.path("run/commands"), "another process")
        publisher = f.start("publisher")
        f.says(publisher, "reading log")
        f.fails("publisher", BUSY, f.path("run/queries"), "another process")


def a_second_writer_is_told_who_has_the_log():
    with Folder() as f:
        writer = f.start("writer")
        f.says(writer, ": ready")
        f.fails("writer", BUSY, f.path("log"), "another writer",
                args=("-o", "commands.endpoint=ipc://" + f.path("run/w2"),
                      "-o", "doorbell.endpoint=ipc://" + f.path("run/d2")))
        equal(writer.poll(), None, "the first goes on")


def every_order_of_starting_works():
    orders = [["publisher", "gateway", "projector@files", "writer"],
              ["projector@files", "writer", "gateway", "publisher"],
              ["gateway", "publisher", "writer", "projector@files"]]
    for order in orders:
        pipeline = Pipeline([FILES_SQL])
        processes = []
        try:
            pipeline.up()  # writes the configuration
            pipeline.dev("down")
            for who in order:
                processes.append(subprocess.Popen(
                    [os.path.join(BUILD, "bin",
                                  "cairn-" + who.split("@")[0]), "-c",
                     pipeline.path("etc", who + ".conf")],
                    stderr=subprocess.DEVNULL))
                time.sleep(0.3)
            wait_until(lambda p=pipeline: p.cairn(
                "append", "a-1", "T", "{}", code=None).returncode == 0,
                "an append")
            pipeline.cairn("projection", "wait", "files", "end")
        finally:
            for process in processes:
                process.terminate()
            codes = [process.wait(20) for process in processes]
            pipeline.close()
        equal(codes, [0] * 4, f"exit codes of {order}")


def who_waits_says_for_what():
    with Folder() as f:
        gateway = f.start("gateway")
        f.says(gateway, "waiting for the writer")
        publisher = f.start("publisher")
        f.says(publisher, "waiting for the log")


# ---- files -----------------------------------------------------------------

def make_log(f, stop=True):
    """A log with ten groups; the writer stopped."""
    writer = f.start("writer", "-o", "log.segment=65536", "-o",
                     "log.group_max=16K")
    f.says(writer, ": ready")
    gateway = f.start("gateway")
    f.says(gateway, "the writer is there")
    env = dict(os.environ, CAIRN_RUN=f.path("run"))
    for i in range(10):
        subprocess.run([os.path.join(BUILD, "bin", "cairn"), "append",
                        f"a-{i}", "T", "x" * 700], check=True, env=env,
                       capture_output=True)
    gateway.terminate()
    equal(gateway.wait(20), 0, "the gateway's exit code")
    if stop:
        writer.terminate()
        equal(writer.wait(20), 0, "the writer's exit code")
    return writer


SMALL = ("-o", "log.segment=65536", "-o", "log.group_max=16K",
         "-o", "table.slots=256")
FIRST = "log/00000000000000000001.log"


def patch(f, offset, data):
    os.chmod(f.path(FIRST), 0o600)
    with open(f.path(FIRST), "r+b") as file:
        file.seek(offset)
        file.write(data)


def a_newer_format_is_told():
    with Folder() as f:
        make_log(f)
        with open(f.path(FIRST), "rb") as file:
            header = bytearray(file.read(512))
        header[8] = 9
        header[508:] = wire.crc32c(header[:508]).to_bytes(4, "little")
        patch(f, 0, header)
        f.fails("writer", DAMAGED, f.path(FIRST), "format version 9",
                "newer cairn", args=SMALL)


def a_damaged_log_is_not_opened():
    with Folder() as f:
        make_log(f)
        patch(f, 512 + 300, b"\xff\xff")
        said = f.fails("writer", DAMAGED, f.path(FIRST), "byte 512",
                       "from position 1 on", "backup", args=SMALL)
        expect("--accept-tail-loss" not in said, said)
        f.fails("writer", DAMAGED, "byte 512",
                args=(*SMALL, "--accept-tail-loss"))
        done = subprocess.run([os.path.join(BUILD, "bin", "cairn"), "log",
                               "verify", f.path("log")], check=False,
                              capture_output=True, text=True)
        equal(done.returncode, 1, done.stdout)
        expect("512" in done.stdout + done.stderr, done.stdout + done.stderr)


def a_damaged_end_is_a_question_to_a_person():
    with Folder() as f:
        make_log(f)
        with open(f.path(FIRST), "rb") as file:
            data = file.read()
        end = len(data[:60000].rstrip(b"\0"))
        os.remove(f.path("log/table.1"))
        patch(f, end - 300, b"\xff\xff")
        f.fails("writer", DAMAGED, "--accept-tail-loss", "position 10",
                args=SMALL)
        writer = f.start("writer", *SMALL, "--accept-tail-loss")
        f.says(writer, ": ready")
        expect("cut-" in writer.said, writer.said)


# ---- where lines go --------------------------------------------------------

def a_journal_of_somebody_else_is_not_written_to():
    with Folder() as f:
        strange = dict(os.environ, JOURNAL_STREAM="1:2")
        writer = f.start("writer", *SMALL, env=strange)
        f.says(writer, r"cairn-writer\[\d+\]: ready")
        with open(f.path("stream"), "wb") as stream:
            found = os.fstat(stream.fileno())
            mine = dict(os.environ,
                        JOURNAL_STREAM=f"{found.st_dev}:{found.st_ino}")
            subprocess.run(f.command("writer", *SMALL), stderr=stream,
                           env=mine, check=False)
        with open(f.path("stream"), "rb") as stream:
            expect(stream.read().startswith(b"<3>cannot start"),
                   "no priorities for the journal")


# ---- permission and space --------------------------------------------------

def no_permission_is_told():
    if os.geteuid() != 0:
        print("SKIP: no_permission_is_told needs root")
        return
    nobody = pwd.getpwnam("nobody")
    with Folder() as f:
        os.chmod(f.top, 0o755)
        # The user nobody need not have a right to look into this repository.
        f.bin = shutil.copytree(f.bin, f.path("bin"))
        f.fails("writer", PERMISSION, f.path("log"), "ermission",
                user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[])
        make_log(f)
        os.chmod(f.path("run"), 0o777)
        f.fails("writer", PERMISSION, f.path("log"), "ermission",
                user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[])
        os.chmod(f.path("run"), 0o755)
        f.fails("gateway", PERMISSION, f.path("run/commands"), "ermission",
                user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[])


def a_full_disk_refuses_and_goes_on_when_there_is_space():
    if os.geteuid() != 0:
        print("SKIP: a_full_disk_... needs root")
        return
    with Folder() as f:
        os.mkdir(f.path("log"))
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M", "none",
                           f.path("log")], check=False,
                          capture_output=True).returncode != 0:
            print("SKIP: a_full_disk_... needs to mount a tmpfs")
            return
        try:
            fill_disk(f)
        finally:
            for daemon in f.started:
                daemon.kill()
                daemon.wait()
            subprocess.run(["umount", f.path("log")], check=True)


def fill_disk(f):
    with open(f.path("log/ballast"), "wb") as file:
        file.write(bytes(500 * 1024))
    writer = f.start("writer", *SMALL)
    f.says(writer, ": ready")
    gateway = f.start("gateway")
    f.says(gateway, "the writer is there")
    publisher = f.start("publisher")
    f.says(publisher, "reading log")
    env = dict(os.environ, CAIRN_RUN=f.path("run"))
    cairn = os.path.join(BUILD, "bin", "cairn")

    def append():
        return subprocess.run([cairn, "append", "a-1", "T", "x" * 9000],
                              check=False, env=env, capture_output=True,
                              text=True)
    accepted, done = 0, append()
    while done.returncode == 0 and accepted < 200:
        accepted += 1
        done = append()
    expect(5 < accepted < 200, f"{accepted} were accepted, then {done}")
    expect("no space" in done.stderr, done.stderr)
    f.says(writer, "no space for another segment")
    shown = subprocess.run([cairn, "read", "--json"], check=True, env=env,
                           capture_output=True).stdout
    equal(len(shown.splitlines()), accepted, "reads go on")
    os.remove(f.path("log/ballast"))
    wait_until(lambda: append().returncode == 0, "an append again")
    equal(writer.poll(), None, "without a restart")


def a_bad_projection_is_told_with_file_and_line():
    with Folder() as f:
        cases = [("--@ on T\nDELETE FROM x;\n", 1, "projection"),
                 ("--@ projection p\n", 1, "--@ on"),
                 ("--@ projection p\n--@ no T\n", 2, "no"),
                 ("--@ projection p\n--@ on T\nINSRT INTO x;\n", 3, "INSRT"),
                 ("--@ projection p\n--@ schema\nCREATE TABLE x(a);\n"
                  "--@ on T\nINSERT INTO x VALUES(:nonesuch);\n", 5,
                  "nonesuch")]
        for text, line, word in cases:
            name = f.write("p.sql", text)
            process = f.start("projector", "-o", f"projection.file={name}")
            f.says(process, re.escape(f"{name}:{line}"))
            expect(word in process.said, process.said)
            process.kill()


# ---- ending ----------------------------------------------------------------

def sigterm_under_load_loses_nothing():
    pipeline = Pipeline()
    try:
        pipeline.up()
        lines = b"".join(b'{"stream":"a-%d","type":"T","data":%d}\n'
                         % (i % 50, i) for i in range(30000))
        with open(pipeline.path("lines"), "wb") as file:
            file.write(lines)
        with open(pipeline.path("lines"), "rb") as file:
            # Unbuffered, or communicate() would not see what is read ahead.
            feeder = pipeline.start_cairn("append", "--json", stdin=file,
                                          stdout=subprocess.PIPE, bufsize=0,
                                          stderr=subprocess.DEVNULL)
            head = [feeder.stdout.readline() for _ in range(500)]
            for who in ("writer", "gateway", "writer"):
                began = time.monotonic()
                pipeline.dev("restart", who)
                expect(time.monotonic() - began < 20, f"{who} ends slowly")
            rest, _ = feeder.communicate(timeout=120)
        equal(feeder.returncode, 0, "the client's exit code")
        accepted = b"".join(head).count(b"accepted") + rest.count(b"accepted")
        equal(accepted, 30000, "accepted")
        events = pipeline.json("read")
        equal(sorted(e["data"] for e in events), list(range(30000)),
              "events in the log")
    finally:
        pipeline.close()


run([an_unknown_key_is_named_with_file_and_line,
     a_bad_value_is_named_with_what_would_be_right,
     a_missing_file_and_a_bad_drop_in_are_named,
     a_wrong_option_shows_the_usage,
     a_key_that_must_be_given_is_asked_for,
     test_says_whether_the_configuration_is_right,
     tcp_without_a_secret_key_is_refused,
     a_path_that_is_too_long_for_a_socket_is_refused,
     an_endpoint_in_use_is_told,
     a_second_writer_is_told_who_has_the_log,
     every_order_of_starting_works,
     who_waits_says_for_what,
     a_newer_format_is_told,
     a_damaged_log_is_not_opened,
     a_damaged_end_is_a_question_to_a_person,
     a_journal_of_somebody_else_is_not_written_to,
     no_permission_is_told,
     a_full_disk_refuses_and_goes_on_when_there_is_space,
     a_bad_projection_is_told_with_file_and_line,
     sigterm_under_load_loses_nothing])
