# SPDX-License-Identifier: MPL-2.0
"""Redis and PostgreSQL from Debian's packages, each in a directory of its own
that is gone afterwards, on a unix socket, with settings that let them be fast
and still sync before they answer."""

import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time

START_SECONDS = 60
USERS = ("postgres", "nobody")


def missing():
    """What keeps the peers from running here; empty: nothing."""
    wanted = []
    if not shutil.which("redis-server"):
        wanted.append("redis-server")
    if not postgres_bin():
        wanted.append("postgresql-15")
    return wanted


def postgres_bin():
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"))
    return os.path.dirname(found[-1]) if found else None


def await_path(path, process, what):
    end = time.monotonic() + START_SECONDS
    while not os.path.exists(path):
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"{what} does not start")
        time.sleep(0.01)


def stop(process):
    """Only the one process that was started here, by its id."""
    process.terminate()
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Redis:
    """A server with appendfsync always and nothing that rewrites its file."""

    settings = ["--port", "0", "--save", "", "--appendonly", "yes",
                "--appendfsync", "always", "--auto-aof-rewrite-percentage",
                "0", "--daemonize", "no", "--logfile", "log"]

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="cairn-redis-")
        self.socket = os.path.join(self.dir, "socket")
        self.process = subprocess.Popen(
            ["redis-server", "--dir", self.dir, "--unixsocket", self.socket,
             *self.settings], stdout=subprocess.DEVNULL)
        await_path(self.socket, self.process, "redis-server")
        return self

    def __exit__(self, *_):
        stop(self.process)
        shutil.rmtree(self.dir, ignore_errors=True)

    def version(self):
        return subprocess.run(["redis-server", "--version"], check=True,
                              capture_output=True, text=True).stdout.strip()


class Postgres:
    """A cluster; as root it runs as another user, for it refuses root."""

    settings = {
        "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on",
        "shared_buffers": "512MB", "max_wal_size": "8GB",
        "checkpoint_timeout": "30min", "jit": "off", "listen_addresses": "''",
        "log_min_messages": "fatal",
    }

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="cairn-postgres-")
        self.prefix = []
        if os.getuid() == 0:
            user = next(u for u in USERS if self.known(u))
            entry = pwd.getpwnam(user)
            os.chown(self.dir, entry.pw_uid, entry.pw_gid)
            self.prefix = ["setpriv", "--reuid", user, "--regid",
                           str(entry.pw_gid), "--clear-groups"]
        data = os.path.join(self.dir, "data")
        self.bin = postgres_bin()
        subprocess.run([*self.prefix, os.path.join(self.bin, "initdb"), "-D",
                        data, "-A", "trust", "-U", "bench", "-E", "UTF8",
                        "--no-locale"], check=True, cwd="/",
                       stdout=subprocess.DEVNULL)
        options = [part for name, value in self.settings.items()
                   for part in ("-c", f"{name}={value.strip(chr(39))}")]
        self.process = subprocess.Popen(
            [*self.prefix, os.path.join(self.bin, "postgres"), "-D", data,
             "-k", self.dir, *options], cwd="/")
        await_path(os.path.join(self.dir, ".s.PGSQL.5432"), self.process,
                   "postgres")
        self.conninfo = f"host={self.dir} user=bench dbname=postgres"
        self.await_connection()
        return self

    @staticmethod
    def known(user):
        try:
            pwd.getpwnam(user)
        except KeyError:
            return False
        return True

    def await_connection(self):
        end = time.monotonic() + START_SECONDS
        while subprocess.run([os.path.join(self.bin, "pg_isready"), "-q",
                              "-h", self.dir, "-U", "bench", "-d",
                              "postgres"], check=False).returncode != 0:
            if time.monotonic() > end:
                raise RuntimeError("postgres does not take connections")
            time.sleep(0.05)

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)  # do not wait for clients
        stop(self.process)
        shutil.rmtree(self.dir, ignore_errors=True)

    def version(self):
        return subprocess.run([os.path.join(self.bin, "postgres"),
                               "--version"], check=True, capture_output=True,
                              text=True).stdout.strip()
