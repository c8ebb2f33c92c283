# SPDX-License-Identifier: MPL-2.0
"""The client libraries, and how to run programs that use them."""

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys

from system import BUILD, ROOT

HAS_ZMQ = importlib.util.find_spec("zmq") is not None
PYTHON = os.path.join(ROOT, "clients", "python")
NODE = os.path.join(BUILD, "clients", "node")
NODE_MIN = 18
NPM_SECONDS = 120


def copy_node():
    """Puts the Node.js client beside what is built, where its packages may
    lie: they are no part of the sources."""
    os.makedirs(NODE, exist_ok=True)
    source = os.path.join(ROOT, "clients", "node")
    for name in ("package.json", "package-lock.json", "conformance.js"):
        shutil.copy2(os.path.join(source, name), NODE)
    shutil.copytree(os.path.join(source, "lib"), os.path.join(NODE, "lib"),
                    dirs_exist_ok=True)


def install_node():
    """What is wrong, if npm cannot install what the client needs."""
    lock = os.path.join(NODE, "package-lock.json")
    done = os.path.join(NODE, "node_modules", ".package-lock.json")
    if os.path.exists(done) and \
            os.path.getmtime(done) >= os.path.getmtime(lock):
        return None
    # The packages bring their binaries with them: no script has to run.
    try:
        made = subprocess.run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund",
             "--fetch-timeout=20000", "--fetch-retries=1"],
            cwd=NODE, capture_output=True, text=True, timeout=NPM_SECONDS,
            check=False)
    except subprocess.TimeoutExpired:
        return f"npm ci was not done in {NPM_SECONDS} s"
    if made.returncode != 0:
        return "npm ci failed; the registry cannot be reached? " + \
            made.stderr.strip().replace("\n", " ")[-200:]
    return None


def node_fault():
    """Why the Node.js client cannot be run here; None: it can."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "there is no node, or no npm, on this machine"
    version = subprocess.run(["node", "--version"], capture_output=True,
                             text=True, check=True).stdout
    if int(version[1:].split(".")[0]) < NODE_MIN:
        return f"node {version.strip()} is older than {NODE_MIN}"
    os.makedirs(os.path.dirname(NODE), exist_ok=True)
    # Tests run side by side.
    with open(NODE + ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        copy_node()
        return install_node()


class Library:
    """One of them: its name, the command of its conformance driver, the
    environment in which that runs, and the only file of the kit that it
    needs to pass, if it is another build of one that passes all."""

    def __init__(self, name, driver, env=None, only=None):
        self.name, self.driver, self.env = name, driver, env or {}
        self.only = only


def libraries():
    """Those that can run here."""
    driver = os.path.join(BUILD, "clients", "libcairn", "conformance")
    yield Library("c", [driver])
    yield Library("c_static", [driver + "-static"], only="commits.json")
    python = [sys.executable, "-m", "cairn.conformance"]
    yield Library("python", python, {"PYTHONPATH": PYTHON})
    yield Library("python_asyncio", [*python, "--async"],
                  {"PYTHONPATH": PYTHON})
    fault = node_fault()
    if fault is None:
        yield Library("node", ["node", os.path.join(NODE, "conformance.js")])
    else:
        print(f"SKIP: the Node.js client: {fault}")
