#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""What the README tells people to type: its tour, word by word, and the demo."""

import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
# pylint: disable=wrong-import-position
from system import (BUILD, ROOT, History, equal, expect, run)  # noqa: E402

# Reports every command that fails, and goes on.
PRELUDE = """set -u
trap 'echo "exit $?: $BASH_COMMAND" >&3' ERR
"""


def tour():
    """The commands of the section "Five minutes", as one script."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        section = file.read().split("\n## Five minutes\n")[1]
    section = section.split("\n## ")[0]
    lines = [l[4:] for l in section.splitlines() if l.startswith("    ")]
    text = "\n".join(lines) + "\n"
    # It would go on for ever; that it shows what comes is tested elsewhere.
    equal(text.count("\ncairn watch\n"), 1, "lines that watch")
    return text.replace("\ncairn watch\n", "\ntimeout 1 cairn watch || true\n")


def stand_in(folder):
    """A folder that looks like a clone and shares what has been built."""
    for name in os.listdir(ROOT):
        if name not in ("run", ".git"):
            os.symlink(os.path.join(ROOT, name), os.path.join(folder, name))


def the_tour_of_the_readme_works_word_by_word():
    folder = tempfile.mkdtemp(prefix="cairn-tour-")
    try:
        stand_in(folder)
        failures = os.path.join(folder, "failures")
        with open(failures, "w", encoding="utf-8") as out:
            done = subprocess.run(
                ["bash", "-c", f"exec 3>&{out.fileno()}\n{PRELUDE}{tour()}"],
                cwd=folder, capture_output=True, text=True, timeout=300,
                pass_fds=[out.fileno()], check=False, stdin=subprocess.DEVNULL)
        with open(failures, encoding="utf-8") as file:
            failed = file.read().splitlines()
        equal([re.sub(":.*--expect none", ": --expect none", f)
               for f in failed], ["exit 3: --expect none"],
              f"commands that failed; they said {done.stderr}")
        for words in ("accepted: position 1, version 1", "order-1@2  Shipped",
                      "1|12|shipped", "writer is ready again",
                      "writer      serving", "gateway     answers",
                      "whole: 3 events in 2 commits"):
            expect(words in done.stdout, f"'{words}' is not in {done.stdout}")
    finally:
        subprocess.run([os.path.join(ROOT, "scripts", "dev"), "down",
                        os.path.join(folder, "run")], capture_output=True,
                       check=False)
        shutil.rmtree(folder, ignore_errors=True)


def demo(*arguments):
    return subprocess.run([os.path.join(ROOT, "scripts", "demo"), *arguments],
                          env=dict(os.environ, BUILD=BUILD), text=True,
                          capture_output=True, timeout=300, check=False,
                          stdin=subprocess.DEVNULL)


def the_demo_proves_a_history_and_tells_a_wrong_number():
    folder = tempfile.mkdtemp(prefix="cairn-demo-test-")
    try:
        history = History(folder)
        numstat = os.path.join(folder, "numstat")
        done = demo(numstat, history.truth)
        equal(done.returncode, 0, f"the demo said {done.stdout}{done.stderr}")
        if history.name == "libzmq":
            expect("821 of 821 text files agree" in done.stdout, done.stdout)
        count = f"{len(history.commits):,}"
        expect(f"0 commits with 0 events stored, {count} repeated" in
               done.stderr, done.stderr)
        expect("commits/s" in done.stderr, "no rates are shown")
        with open(history.truth, encoding="utf-8") as file:
            text = file.read()
        wrong = re.search(r"^([1-9][0-9]*)\t[0-9]+\t([^\"\n]+)$", text, re.M)
        with open(history.truth, "w", encoding="utf-8") as file:
            file.write(text[:wrong.start()] + "9" + text[wrong.start():])
        done = demo(numstat, history.truth)
        equal(done.returncode, 1, "exit code with a wrong truth")
        expect(wrong.group(2) in done.stdout, done.stdout)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def the_demo_takes_the_history_of_a_repository():
    if not os.path.isdir(os.path.join(ROOT, ".git")) and \
            not os.path.isfile(os.path.join(ROOT, ".git")):
        print("SKIP: this is no clone, so there is no history to take")
        return
    with tempfile.TemporaryDirectory(prefix="cairn demo ") as folder:
        named = os.path.join(folder, "a clone")
        os.symlink(ROOT, named)
        for arguments in ([], [named]):
            done = demo(*arguments)
            equal(done.returncode, 0,
                  f"the demo said {done.stdout}{done.stderr}")
            expect(" text files agree" in done.stdout, done.stdout)
            expect("whole: " in done.stdout, done.stdout)


if not BUILD.endswith("/build/gcc"):
    print("SKIP: the README builds with gcc; this is " + BUILD)
    sys.exit(77)
if shutil.which("sqlite3") is None or shutil.which("bash") is None:
    print("SKIP: sqlite3 or bash is not installed")
    sys.exit(77)
run([the_tour_of_the_readme_works_word_by_word,
     the_demo_proves_a_history_and_tells_a_wrong_number,
     the_demo_takes_the_history_of_a_repository])
