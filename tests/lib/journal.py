# SPDX-License-Identifier: MPL-2.0
"""What clients of a tortured pipeline were told, against what its log holds.

A journal is what one client wrote down outside the pipeline, in order:

    ("sent", command)          before the command goes to `cairn append`
    ("told", command id, outcome)   an outcome, as `cairn append --json` says
                               it; a command that was sent more often than told
                               has an open end
    ("shown", [(position, digest), ...])   what a reader was given

A log is a list of commits in the order of their positions.  check() returns
a text for everything that does not fit; nothing else is a judgement here.
"""

import hashlib
import json
import subprocess

FOREVER = 1 << 62


class Command:
    """A command: events are (stream, type, length of data), checks are
    (stream, "any", "none", "exists" or a version)."""

    def __init__(self, command, events, checks=()):
        self.id = command
        self.events = [tuple(e) for e in events]
        self.checks = [tuple(c) for c in checks]

    def data(self, index):
        """The data of one event: of its length, and of no other event."""
        _, _, length = self.events[index]
        unit = f"{self.id}/{index} "
        return (unit * (length // len(unit) + 1))[:length]

    def lines(self):
        """The command as lines for `cairn append`."""
        out = []
        for i, (stream, kind, _) in enumerate(self.events):
            line = {"stream": stream, "type": kind, "data_text": self.data(i),
                    "command": self.id}
            if i == 0 and self.checks:
                line["checks"] = dict(self.checks)
            if i + 1 < len(self.events):
                line["more"] = True
            out.append(json.dumps(line) + "\n")
        return "".join(out).encode()


class Commit:
    """A commit of the log; events are (stream, version, type, data)."""

    def __init__(self, command, first, events=()):
        self.id = command
        self.first = first
        self.events = list(events)

    @property
    def last(self):
        return self.first + len(self.events) - 1

    def versions(self):
        """The new version of each stream, in the order of appearance."""
        new = {}
        for stream, version, _, _ in self.events:
            new[stream] = version
        return list(new.values())


def read_log(cairn, directory):
    """The commits of a log, as its files hold them."""
    dump = subprocess.Popen([cairn, "log", "dump", "--json", directory],
                            stdout=subprocess.PIPE)
    commits = []
    for line in dump.stdout:
        record = json.loads(line)
        if record.get("record") == "commit":
            commits.append(Commit(record["command"],
                                  record["first_position"]))
        elif "record" not in record:
            if record["position"] != commits[-1].last + 1:
                raise ValueError(f"position {record['position']} is not where "
                                 f"its commit has it")
            commits[-1].events.append((record["stream"], record["version"],
                                       record["type"],
                                       record.get("data_text", "")))
    if dump.wait() != 0:
        raise ValueError("cairn log dump failed")
    return commits


def digest(record):
    """Stands for the bytes of an event record."""
    return hashlib.blake2b(record, digest_size=12).hexdigest()


# ---- the log alone ---------------------------------------------------------

class Timeline:
    """The versions of every stream after each commit."""

    def __init__(self, log, findings):
        self.by_id = {}
        self.reached = {}  # stream: index of the commit that made each version
        position = 0
        for index, commit in enumerate(log):
            if commit.id in self.by_id:
                findings.append(f"command {commit.id} is there twice, at "
                                f"{self.by_id[commit.id][1].first} and "
                                f"{commit.first}")
            self.by_id[commit.id] = (index, commit)
            if commit.first != position + 1:
                findings.append(f"a commit at position {commit.first} "
                                f"follows position {position}")
            position = commit.last
            for at, (stream, version, _, _) in enumerate(commit.events):
                made = self.reached.setdefault(stream, [])
                made.append(index)
                if version != len(made):
                    findings.append(
                        f"position {commit.first + at}: version {version} of "
                        f"{stream} where {len(made)} is next")
        self.last = position

    def when(self, stream, check):
        """The moments [from, to) at which a check holds, counted in commits
        that are in the log by then."""
        made = self.reached.get(stream, [])
        if check == "any":
            return 0, FOREVER
        if check == "exists":
            return (made[0] + 1, FOREVER) if made else (FOREVER, FOREVER)
        version = 0 if check == "none" else check
        begin = 0 if version == 0 else \
            made[version - 1] + 1 if version <= len(made) else FOREVER
        return begin, made[version] + 1 if version < len(made) else FOREVER


# ---- a command -------------------------------------------------------------

class Fate:
    """All that a client knows of one of its commands."""

    def __init__(self, command):
        self.command = command
        self.open = 0        # sent, and not told
        self.floors = []     # commits that were in the log when it was sent
        self.accepted = None
        self.unknown = False  # an outcome said so


def check_place(fate, timeline, findings):
    """An accepted command is in the log, whole, where its answer says."""
    command, told = fate.command, fate.accepted
    index, commit = timeline.by_id.get(command.id, (None, None))
    if commit is None:
        findings.append(f"command {command.id} was accepted at position "
                        f"{told['first']} and is not there")
        return
    if (commit.first, commit.last) != (told["first"], told["last"]):
        findings.append(f"command {command.id} was accepted at positions "
                        f"{told['first']} to {told['last']} and is at "
                        f"{commit.first} to {commit.last}")
    if commit.versions() != told["versions"]:
        findings.append(f"command {command.id} was told the versions "
                        f"{told['versions']} and has {commit.versions()}")
    if index < fate.floors[0]:
        findings.append(f"command {command.id} is in the log before what its "
                        f"client had been told when it was sent")


def check_whole(fate, timeline, findings):
    """What is in the log of a command is all of it, in order, and its checks
    held there."""
    command = fate.command
    index, commit = timeline.by_id[command.id]
    wanted = [(stream, kind, command.data(i))
              for i, (stream, kind, _) in enumerate(command.events)]
    if [(s, t, d) for s, _, t, d in commit.events] != wanted:
        findings.append(f"command {command.id} is not whole, or not in order, "
                        f"at position {commit.first}")
    for stream, check in command.checks:
        begin, end = timeline.when(stream, check)
        if not begin <= index < end:
            findings.append(f"command {command.id} was stored at position "
                            f"{commit.first} although {stream} is not "
                            f"{check} there")


def holds(check, version):
    """Whether a check passes when its stream is at this version."""
    return check == "any" or (check == "exists" and version > 0) or \
        version == (0 if check == "none" else check)


def check_conflict(fate, told, floor, timeline, findings):
    """There was a moment, not before the command was sent, at which just
    these checks failed, with just these versions."""
    command, failed = fate.command, {}
    for failure in told.get("failed", []):
        failed[failure["check"]] = failure["actual"]
    if not failed:
        findings.append(f"command {command.id}: a conflict without a reason")
    begin, end = floor, FOREVER
    for i, (stream, check) in enumerate(command.checks):
        if i in failed:
            moment = timeline.when(stream, failed[i])
            if holds(check, failed[i]):
                findings.append(f"command {command.id}: {stream} failed as "
                                f"{failed[i]}, which is {check}")
        else:
            moment = timeline.when(stream, check)
        begin, end = max(begin, moment[0]), min(end, moment[1])
    if begin >= end:
        findings.append(f"command {command.id}: its conflict {failed} fits no "
                        f"moment of the log since it was sent")


def take_outcome(fate, told, timeline, findings):
    """Notes an outcome, and holds it against the earlier ones."""
    outcome, command = told["outcome"], fate.command
    # Which of several tries this answers is not known: the oldest will do.
    floor = fate.floors[0]
    fate.open -= 1
    if outcome == "accepted":
        first = {k: told[k] for k in ("first", "last", "time", "versions")}
        if fate.accepted is None:
            fate.accepted = first
        elif first != fate.accepted:
            findings.append(f"command {command.id} was accepted twice, as "
                            f"{fate.accepted} and as {first}")
        elif not told["repeated"]:
            findings.append(f"command {command.id} was accepted twice, and "
                            f"the second answer does not say repeated")
        return
    if outcome == "unknown":
        fate.unknown = True
    elif outcome == "conflict":
        check_conflict(fate, told, floor, timeline, findings)
    if fate.accepted is not None and outcome not in ("unknown",
                                                     "not reachable"):
        findings.append(f"command {command.id} had been accepted and was then "
                        f"answered {outcome}")


# ---- everything ------------------------------------------------------------

class Summary:
    def __init__(self):
        self.outcomes = {}
        self.commands = self.open = self.shown = 0


def read_journal(journal, fates, timeline, findings, summary):
    """Follows one client through what it did and was told."""
    floor = 0
    shown = []
    for kind, *rest in journal:
        if kind == "sent":
            command = rest[0]
            fate = fates.setdefault(command.id, Fate(command))
            fate.open += 1
            fate.floors.append(floor)
        elif kind == "told":
            told = rest[1]
            fate = fates[rest[0]]
            name = "repeated" if told.get("repeated") else told["outcome"]
            summary.outcomes[name] = summary.outcomes.get(name, 0) + 1
            take_outcome(fate, told, timeline, findings)
            if told["outcome"] == "accepted" and rest[0] in timeline.by_id:
                floor = max(floor, timeline.by_id[rest[0]][0] + 1)
        else:
            shown.extend(rest[0])
    return shown


def check_shown(shown, final, findings):
    for position, was in shown:
        now = final.get(position)
        if now is None:
            findings.append(f"position {position} was shown to a reader and "
                            f"is not there")
        elif now != was:
            findings.append(f"position {position} was shown to a reader with "
                            f"other bytes")


def check(journals, log, final):
    """Everything that does not fit, as texts, and a Summary.  `final` are the
    digests of the events that the publisher serves in the end."""
    findings, fates, summary = [], {}, Summary()
    timeline = Timeline(log, findings)
    for journal in journals:
        shown = read_journal(journal, fates, timeline, findings, summary)
        check_shown(shown, final, findings)
        summary.shown += len(shown)
    for fate in fates.values():
        there = fate.command.id in timeline.by_id
        if fate.accepted is not None:
            check_place(fate, timeline, findings)
        elif there and fate.open == 0 and not fate.unknown:
            findings.append(f"command {fate.command.id} was refused and is in "
                            f"the log all the same")
        if there:
            check_whole(fate, timeline, findings)
        summary.open += fate.open > 0 or fate.unknown
    for command in timeline.by_id.keys() - fates.keys():
        findings.append(f"command {command} is in the log and was never sent")
    if sorted(final) != list(range(1, timeline.last + 1)):
        findings.append("the publisher does not serve just the positions of "
                        "the log")
    summary.commands = len(fates)
    return findings, summary
