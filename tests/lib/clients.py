# SPDX-License-Identifier: MPL-2.0
"""The client libraries, and how to run programs that use them."""

import importlib.util
import os
import sys

from system import BUILD, ROOT

HAS_ZMQ = importlib.util.find_spec("zmq") is not None
PYTHON = os.path.join(ROOT, "clients", "python")


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
