#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""The units under a real systemd: process 1 of namespaces of its own, onto
which Cairn is installed as the README says."""

import glob
import os
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from system import BUILD, ROOT, Failure, equal, expect, run, wait_until

BOOT = os.path.join(ROOT, "tests", "lib", "boot-systemd")
SERVICES = ("cairn-writer", "cairn-gateway", "cairn-publisher")
SQL = """--@ projection orders
--@ select category order
--@ schema
CREATE TABLE orders (id TEXT PRIMARY KEY, state TEXT);
--@ on Placed
INSERT INTO orders VALUES (:key, 'placed');
"""
# alice is a member of the group, bob is not.
USERS = """u alice - - - /bin/sh
u bob - - - /bin/sh
g cairn -
m alice cairn
"""
# Whether a connection to a local socket is let through.
CONNECT = """import socket, sys
try:
    socket.socket(socket.AF_UNIX).connect(sys.argv[1])
except PermissionError:
    sys.exit(13)
"""

# Starts a writer by hand, as cairn(7) says, and interrupts it when it is
# ready, as a terminal does.
BY_HAND = """import os, signal, subprocess, sys
writer = subprocess.Popen(["runuser", "-u", "cairn", "--", "cairn-writer",
                           "--accept-tail-loss"], stderr=subprocess.PIPE,
                          text=True, start_new_session=True)
for line in writer.stderr:
    print(line, end="")
    if line.endswith(": ready\\n"):
        os.killpg(writer.pid, signal.SIGINT)
sys.exit(writer.wait())
"""


def skip(reason):
    print(f"SKIP: {reason}")
    sys.exit(77)


def unified():
    """Where the kernel's one hierarchy of control groups is mounted."""
    with open("/proc/mounts", encoding="utf-8") as file:
        for line in file:
            _, place, kind = line.split()[:3]
            if kind == "cgroup2":
                return place
    return None


class Machine:
    """A systemd with Cairn installed; everything of it lies in one folder."""

    def __init__(self):
        self.top = tempfile.mkdtemp(prefix="cairn-systemd-")
        self.group = os.path.join(unified(), os.path.basename(self.top))
        self.process = None
        try:
            os.mkdir(self.group)
        except OSError as problem:
            os.rmdir(self.top)
            skip(f"no control group can be made here: {problem}")
        try:
            self.boot()
        except BaseException:
            self.close()
            raise

    def boot(self):
        for folder in ("root", "var"):
            os.mkdir(os.path.join(self.top, folder), 0o755)
        os.chmod(self.top, 0o755)
        with open(os.path.join(self.top, "console"), "w",
                  encoding="utf-8") as console:
            # The shell enters the group first, so that all begins inside.
            self.process = subprocess.Popen(
                ["sh", "-c", 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"',
                 "sh", self.group, "setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork",
                 "--kill-child", "--uts", "--ipc", "--net", "--cgroup", BOOT,
                 os.path.join(self.top, "root"), ROOT,
                 os.path.join(self.top, "var")],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        wait_until(self.is_booted, "systemd to come up", 90)

    def init_pid(self):
        pid = self.process.pid
        if self.process.poll() is not None:
            with open(os.path.join(self.top, "console"),
                      encoding="utf-8") as console:
                raise Failure(f"it did not boot: {console.read()[-2000:]}")
        with open(f"/proc/{pid}/task/{pid}/children",
                  encoding="ascii") as file:
            children = file.read().split()
        return children[0] if children else None

    def is_booted(self):
        pid = self.init_pid()
        if pid is None:
            return False
        try:
            with open(f"/proc/{pid}/comm", encoding="ascii") as file:
                if file.read().strip() != "systemd":
                    return False
        except FileNotFoundError:
            return False
        return self.do("systemctl", "is-active", "--quiet", "basic.target",
                       code=None).returncode == 0

    def close(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()  # takes its child with it, and all below
        wait_until(lambda: not self.processes(), "all processes to end")
        for folder, _, _ in sorted(os.walk(self.group), reverse=True):
            os.rmdir(folder)
        shutil.rmtree(self.top)

    def processes(self):
        found = []
        for folder, _, _ in os.walk(self.group):
            with open(os.path.join(folder, "cgroup.procs"),
                      encoding="ascii") as file:
                found += file.read().split()
        return found

    def do(self, *args, code=0, user=None):
        """Runs a program inside; its exit code must be the one given."""
        as_user = [] if user is None else [
            "setpriv", "--reuid", user, "--regid", user, "--init-groups"]
        done = subprocess.run(
            ["nsenter", "--target", self.init_pid(), "--mount", "--pid",
             "--uts", "--ipc", "--net", "--cgroup", "--wd=/", "env", "-C",
             "/", "-i",
             "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin",
             *as_user, *args],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=120, check=False)
        if code is not None and done.returncode != code:
            raise Failure(f"{' '.join(args)}: exit {done.returncode}, "
                          f"expected {code}: {done.stdout[-2000:]}"
                          f"{self.journal()}")
        return done

    def journal(self):
        done = self.do("journalctl", "--no-pager", "-n", "40", "-o", "cat",
                       "-u", "cairn*", code=None)
        return f"\n--- journal:\n{done.stdout}"

    def show(self, unit, what):
        return self.do("systemctl", "show", "--value", "-p", what,
                       unit).stdout.strip()

    def place(self, *parts):
        """A path of the machine, seen from outside."""
        return os.path.join(f"/proc/{self.init_pid()}/root", *parts)

    def append(self, stream, user="alice"):
        said = self.do("cairn", "append", stream, "Placed", user=user).stdout
        expect("accepted" in said, said)


MACHINE = None


def the_readme_brings_it_up_and_a_member_of_the_group_can_use_it():
    m = MACHINE
    with open(m.place("etc/sysusers.d/people.conf"), "w",
              encoding="utf-8") as file:
        file.write(USERS)
    m.do(os.path.join(ROOT, "scripts", "install"), BUILD, "", "/usr/local")
    m.do("systemd-sysusers")
    m.do("systemctl", "enable", "--now", "cairn.target")
    for service in SERVICES:
        equal(m.show(service, "ActiveState"), "active", service)
    with open(m.place("etc/cairn/projections/orders.sql"), "w",
              encoding="utf-8") as file:
        file.write(SQL)
    m.do("systemctl", "enable", "--now", "cairn-projector@orders")
    m.append("order-1")
    m.do("cairn", "projection", "wait", "orders", user="alice")
    m.do("cairn", "status", user="alice")
    said = m.do("python3", "-c", "import sqlite3; print(sqlite3.connect("
                "'file:/var/lib/cairn/models/orders.db?mode=ro', uri=True)"
                ".execute('SELECT * FROM orders').fetchall())",
                user="alice").stdout
    equal(said.strip(), "[('1', 'placed')]", "the read model")
    said = m.do("cairn", "log", "verify", "/var/lib/cairn/log",
                user="alice").stdout
    expect("whole: 1 events" in said, said)
    wait_until(lambda: "serving at position 1" in
               m.show("cairn-writer", "StatusText"), "the status text")


def nobody_else_can_and_nobody_at_all_can_reach_the_writer():
    m = MACHINE
    for user, path, code in (("alice", "commands", 0), ("alice", "queries", 0),
                             ("alice", "writer", 13), ("alice", "doorbell", 13),
                             ("bob", "commands", 13), ("bob", "queries", 13)):
        m.do("python3", "-c", CONNECT, "/run/cairn/" + path, user=user,
             code=code)
    m.do("cat", "/var/lib/cairn/log/lock", user="bob", code=1)


def every_daemon_lives_in_its_sandbox():
    m = MACHINE
    for unit in SERVICES + ("cairn-projector@orders",):
        pid = m.show(unit, "MainPID")
        status = m.do("cat", f"/proc/{pid}/status").stdout
        for line in ("NoNewPrivs:\t1", "Seccomp:\t2",
                     "CapEff:\t0000000000000000"):
            expect(line in status, f"{unit}: no {line!r} in {status}")
        writes = {
            folder: m.do("nsenter", "--target", pid, "--mount", "touch",
                         f"{folder}/.touched", code=None).returncode == 0
            for folder in ("/etc", "/usr/local/bin", "/var/lib/cairn/log",
                           "/var/lib/cairn/models", "/run/cairn")}
        equal([folder for folder, can in writes.items() if can],
              {"cairn-writer": ["/var/lib/cairn/log"],
               "cairn-projector@orders": ["/var/lib/cairn/models"]
               }.get(unit, []) + ["/run/cairn"], f"where {unit} can write")


def a_killed_daemon_comes_back_and_the_stop_of_one_leaves_the_others():
    m = MACHINE
    for service in SERVICES:
        before = m.show(service, "MainPID")
        m.do("systemctl", "kill", "--signal=KILL", service)
        wait_until(lambda s=service, b=before:
                   m.show(s, "ActiveState") == "active" and
                   m.show(s, "MainPID") != b, f"{service} to come back")
    m.append("order-2")
    m.do("systemctl", "stop", "cairn-publisher", "cairn-projector@orders")
    m.append("order-3")
    m.do("systemctl", "start", "cairn-publisher", "cairn-projector@orders")
    m.do("cairn", "projection", "wait", "orders", user="alice")


def a_key_that_systemd_loads_opens_the_doors_on_tcp():
    """As the manual says: the secret is for root's eyes, a credential for the
    daemon; rights are read again by systemctl reload."""
    m, keys = MACHINE, "/run/keys"
    commands, queries = "tcp://127.0.0.1:4890", "tcp://127.0.0.1:4891"
    doors = ("cairn-gateway", "cairn-publisher")
    m.do("mkdir", keys)
    for name in ("server", "shop", "orders"):
        m.do("cairn", "key", "new", f"{keys}/{name}.key")
    for name, right in (("shop", "--administer"), ("orders", "--read=all")):
        m.do("cairn", "key", "authorize", "--rights", f"{keys}/rights", right,
             name, f"{keys}/{name}.key.pub")
    # Who binds asks netlink for the names of interfaces.
    network = "PrivateNetwork=no\nIPAddressAllow=127.0.0.0/8\n" \
        "RestrictAddressFamilies=AF_INET AF_INET6"
    curve = "curve\n    secret = \"credential:key\"\n" \
        f"    rights = \"{keys}/rights\"\n"
    changes = (
        ("cairn-gateway", "server", "",
         f"commands\n    tcp = \"{commands}\"\n" + curve),
        ("cairn-publisher", "server", network + " AF_NETLINK\n",
         f"queries\n    tcp = \"{queries}\"\n" + curve),
        ("cairn-projector@orders", "orders", network + "\n",
         f"source\n    kind = publisher\n    endpoint = \"{queries}\"\n"
         f"    server_key = \"{keys}/server.key.pub\"\n"
         "    key = \"credential:key\"\n"))
    units = [m.place(f"run/systemd/system/{unit}.service.d")
             for unit, *_ in changes]
    configs = [m.place(f"etc/cairn/{unit[6:]}.conf.d")
               for unit, *_ in changes]

    def write(folder, text):
        os.makedirs(folder)
        with open(os.path.join(folder, "tcp.conf"), "w",
                  encoding="utf-8") as file:
            file.write(text)

    for i, (_, key, more, config) in enumerate(changes):
        write(units[i],
              f"[Service]\nLoadCredential=key:{keys}/{key}.key\n{more}")
        write(configs[i], config)
    m.do("systemctl", "daemon-reload")
    m.do("systemctl", "restart", *[unit for unit, *_ in changes])
    over = ("cairn", "--commands", commands, "--queries", queries,
            "--server-key", f"{keys}/server.key.pub", "--key",
            f"{keys}/shop.key")
    m.do(*over, "append", "order-1", "Came")
    expect("Came" in m.do(*over, "read").stdout, "an event over tcp")
    m.do("cairn", "projection", "wait", "orders", user="alice")
    # The daemons cannot read the files themselves.
    m.do("cat", f"{keys}/server.key", user="cairn", code=1)
    pids = [m.show(unit, "MainPID") for unit in doors]
    m.do("cp", "/dev/null", f"{keys}/rights")
    m.do("systemctl", "reload", *doors)
    for args in (("append", "order-1", "Came"), ("read",)):
        said = m.do(*over, *args, code=1).stdout
        expect("does not know this key" in said, said)
    equal([m.show(unit, "MainPID") for unit in doors], pids, "processes")
    # Without the credential a daemon does not even start, and says why.
    for folder in units:
        shutil.rmtree(folder)
    m.do("systemctl", "daemon-reload")
    m.do("systemctl", "restart", "cairn-gateway", code=1)
    expect("LoadCredential=key:" in m.journal(), m.journal())
    for folder in configs:
        shutil.rmtree(folder)
    m.do("systemctl", "restart", *[unit for unit, *_ in changes])


def a_watchdog_that_is_not_fed_brings_a_new_process():
    m = MACHINE
    service = "cairn-gateway"
    folder = m.place("run/systemd/system", service + ".service.d")
    os.makedirs(folder)
    with open(os.path.join(folder, "test.conf"), "w",
              encoding="utf-8") as file:
        file.write("[Service]\nWatchdogSec=2s\n")
    m.do("systemctl", "daemon-reload")
    m.do("systemctl", "restart", service)
    before = m.show(service, "MainPID")
    fed = m.show(service, "WatchdogTimestampMonotonic")
    wait_until(lambda: m.show(service, "WatchdogTimestampMonotonic") != fed,
               "the watchdog to be fed")
    equal(m.show(service, "MainPID"), before, "the process that feeds it")
    m.do("systemctl", "kill", "--signal=STOP", service)
    wait_until(lambda: m.show(service, "ActiveState") == "active" and
               m.show(service, "MainPID") not in (before, "0"),
               "another process")
    m.append("order-4")


def a_damaged_log_is_not_tried_again_and_serves_when_it_is_repaired():
    m = MACHINE
    m.do("systemctl", "stop", "cairn-writer")
    segment = sorted(glob.glob(m.place("var/lib/cairn/log/*.log")))[0]
    with open(segment, "r+b") as file:
        whole = file.read()
        file.seek(whole.index(b"order-1"))
        file.write(b"ORDER-1")
    m.do("systemctl", "start", "cairn-writer", code=1)
    equal([m.show("cairn-writer", what) for what in
           ("ActiveState", "ExecMainStatus", "NRestarts")],
          ["failed", "65", "0"], "state, exit code and restarts")
    with open(segment, "r+b") as file:
        file.write(whole)
    m.do("systemctl", "start", "cairn-writer")
    m.append("order-5")


def the_target_stops_all_in_good_order_and_starts_all_again():
    m = MACHINE
    units = SERVICES + ("cairn-projector@orders",)
    m.do("systemctl", "stop", "cairn.target")
    for unit in units:
        # systemctl waits for the target, which stops first.
        wait_until(lambda u=unit: m.show(u, "ActiveState") not in
                   ("active", "deactivating"), f"{unit} to stop")
        equal([m.show(unit, what) for what in
               ("ActiveState", "Result", "ExecMainStatus")],
              ["inactive", "success", "0"], f"{unit} after the stop")
    said = m.do("python3", "-c", BY_HAND, code=None).stdout
    expect(": ready" in said and ": stopped" in said, said)
    m.do("systemctl", "start", "cairn.target")
    for unit in units:
        wait_until(lambda u=unit: m.show(u, "ActiveState") == "active", unit)
    m.append("order-6")
    m.do("cairn", "projection", "wait", "orders", user="alice")
    said = m.do("cairn", "read", "--json", user="alice").stdout
    equal(said.count('"type":"Placed"'), 6, f"events: {said}")


def removing_it_leaves_the_data():
    m = MACHINE
    m.do("systemctl", "disable", "--now", "cairn.target",
         "cairn-projector@orders")
    said = m.do(os.path.join(ROOT, "scripts", "install"), "--remove", "",
                "/usr/local").stdout
    equal(said, "", "what uninstall says")
    equal(m.show("cairn-writer", "LoadState"), "not-found", "the unit")
    equal(os.listdir(m.place("usr/local")), [], "left in /usr/local")
    equal(os.listdir(m.place("etc/cairn")), ["projections"],
          "left in /etc/cairn")
    expect(glob.glob(m.place("var/lib/cairn/log/*.log")), "the log has gone")


def main():
    global MACHINE
    if os.geteuid() != 0:
        skip("a systemd of its own needs root")
    for program in ("unshare", "nsenter", "setpriv", "systemctl"):
        if shutil.which(program) is None:
            skip(f"no {program}")
    if not os.path.exists("/usr/lib/systemd/systemd"):
        skip("no systemd")
    if unified() is None:
        skip("no cgroup2 is mounted")
    if subprocess.run(["unshare", "--mount", "--pid", "--fork", "--uts",
                       "--ipc", "--net", "--cgroup", "mount",
                       "--make-rprivate", "/"], check=False).returncode != 0:
        skip("no namespaces can be made here")
    # So that what is below is also undone when the time is up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    MACHINE = Machine()
    try:
        run([the_readme_brings_it_up_and_a_member_of_the_group_can_use_it,
             nobody_else_can_and_nobody_at_all_can_reach_the_writer,
             every_daemon_lives_in_its_sandbox,
             a_killed_daemon_comes_back_and_the_stop_of_one_leaves_the_others,
             a_key_that_systemd_loads_opens_the_doors_on_tcp,
             a_watchdog_that_is_not_fed_brings_a_new_process,
             a_damaged_log_is_not_tried_again_and_serves_when_it_is_repaired,
             the_target_stops_all_in_good_order_and_starts_all_again,
             removing_it_leaves_the_data])
    finally:
        MACHINE.close()


main()
