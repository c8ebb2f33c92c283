#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""What make install puts where; that configuration files, manuals and the
programs themselves say the same; and that what is installed works."""

import filecmp
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from system import BUILD, ROOT, Failure, equal, expect, run, wait_until

PREFIX = "/usr/local"
DAEMONS = ("writer", "gateway", "publisher", "projector")
THRESHOLDS = {"writer": 5, "publisher": 10, "projector@": 10, "gateway": 15}
COMMANDS = ("append", "read", "watch", "stream", "projection", "status",
            "export", "import", "key", "log", "floor", "bench")
SQL = """--@ projection orders
--@ schema
CREATE TABLE orders (id TEXT PRIMARY KEY);
--@ on Placed
INSERT INTO orders VALUES (:key);
"""


def say(*args, code=0, **more):
    """Runs a program; returns what it said, on both of its outputs."""
    done = subprocess.run(args, stdout=subprocess.PIPE, timeout=60,
                          stderr=subprocess.STDOUT, text=True, check=False,
                          **more)
    if done.returncode != code:
        raise Failure(f"{' '.join(args)}: exit {done.returncode}, expected "
                      f"{code}: {done.stdout[-2000:]}")
    return done.stdout


def text_of(*parts):
    with open(os.path.join(*parts), encoding="utf-8") as file:
        return file.read()


def program(name):
    return os.path.join(BUILD, "bin", name)


def config_name(daemon):
    return "projector@.conf" if daemon == "projector" else daemon + ".conf"


class Installed:
    """An installation in a folder of its own."""

    def __init__(self):
        self.top = tempfile.mkdtemp(prefix="cairn-install-")
        self.dest = os.path.join(self.top, "root")
        self.install()

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        shutil.rmtree(self.top)

    def script(self, *args):
        return say(os.path.join(ROOT, "scripts", "install"), *args)

    def install(self):
        return self.script(BUILD, self.dest, PREFIX)

    def remove(self):
        return self.script("--remove", self.dest, PREFIX)

    def path(self, *parts):
        return os.path.join(self.dest, *parts)

    def files(self):
        return sorted(os.path.join(folder, name)[len(self.dest):]
                      for folder, _, names in os.walk(self.dest)
                      for name in names)


# ---- what they say ---------------------------------------------------------


def help_keys(daemon):
    """Keys with their defaults and limits, as --help tells them."""
    keys = {}
    last = None
    for line in say(program("cairn-" + daemon), "--help").splitlines():
        found = re.fullmatch(r"  ([a-z_]+\.[a-z_]+) = (.*)", line)
        limits = re.search(r"\((\d+) to (\d+)\)$", line)
        if found:
            last = found.group(1)
            keys[last] = [found.group(2), ()]
        elif last and limits:
            keys[last][1] = tuple(int(limit) for limit in limits.groups())
    expect(len(keys) >= 9, f"cairn-{daemon} --help tells no keys")
    return keys


def config_keys(path):
    """Keys with default and comment of a configuration file."""
    keys = {}
    section, comment = None, ""
    for line in text_of(path).splitlines():
        found = re.fullmatch(r"    # ([a-z_]+) = (.*)", line)
        if re.fullmatch(r"[a-z]+", line):
            section = line
        elif found:
            keys[f"{section}.{found.group(1)}"] = [found.group(2), comment]
        elif not line or line.startswith("#"):
            comment = ""
        else:
            expect(line.startswith("    # "), f"{path}: what is {line!r}?")
        comment = "" if found or not line else comment + line[5:]
    return keys


def manual_keys(path):
    """Keys with default and text of a manual page."""
    keys = {}
    parts = re.split(r"^\.It Cm (\S+) No = Cm (\S+)$", text_of(path),
                     flags=re.M)
    for key, default, text in zip(parts[1::3], parts[2::3], parts[3::3]):
        keys[key] = [default, text]
    return keys


def numbers(text):
    scale = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    return {int(number) * scale[unit] for number, unit in
            re.findall(r"\b(\d+)([KMG]?)\b", text)}


def configuration_manuals_and_key_tables_agree():
    for daemon in DAEMONS:
        keys = help_keys(daemon)
        page = f"cairn-{daemon}.conf.5"
        for where, found in ((config_name(daemon), config_keys(os.path.join(
                ROOT, "config", config_name(daemon)))),
                             (page, manual_keys(os.path.join(ROOT, "man",
                                                             page)))):
            equal(sorted({(key, value[0]) for key, value in found.items()} ^
                         {(key, value[0]) for key, value in keys.items()}),
                  [], f"keys and defaults that differ in {where}")
            for key, (_, limits) in keys.items():
                missing = set(limits) - {0} - numbers(found[key][1])
                equal(missing, set(), f"limits of {key} not told in {where}")


def options_in(text, pattern):
    return set(re.findall(pattern, text))


def manuals_tell_every_option_and_no_other():
    for daemon in DAEMONS:
        told = options_in(text_of(ROOT, "man", f"cairn-{daemon}.8"),
                          r"Fl Fl ([a-z-]+)")
        usage = say(program("cairn-" + daemon), "--help")
        wanted = options_in(usage.split("configuration keys")[0],
                            r"--([a-z-]+)")
        equal(told ^ wanted, set(), f"options amiss in cairn-{daemon}.8")
    texts = [say(program("cairn"), "--help")]
    page = text_of(ROOT, "man", "cairn.1")
    listed = re.findall(r"^  ([a-z]+)  ", texts[0], flags=re.M)
    equal(tuple(listed), COMMANDS, "commands of cairn")
    for command in listed:
        texts.append(say(program("cairn"), command, "--help"))
        expect(re.search(rf"^\.Ss .*\b{command}\b", page, flags=re.M),
               f"cairn.1 has no part about {command}")
    equal(options_in(page, r"Fl Fl ([a-z-]+)") ^
          options_in("\n".join(texts), r"--([a-z-]+)"), set(),
          "options amiss in cairn.1")


def configuration_files_are_good_as_they_are_and_with_every_key():
    with tempfile.TemporaryDirectory() as folder:
        for daemon in DAEMONS:
            more = ["--name", "orders"] if daemon == "projector" else []
            source = os.path.join(ROOT, "config", config_name(daemon))
            all_keys = os.path.join(folder, daemon + ".conf")
            text = re.sub(r"^    # ([a-z_]+ = )", r"    \1", text_of(source),
                          flags=re.M)
            with open(all_keys, "w", encoding="utf-8") as file:
                file.write(text)
            equal(len(re.findall(r"^    [a-z_]+ = ", text, flags=re.M)),
                  len(help_keys(daemon)), "keys that are set now")
            for path in (source, all_keys):
                said = say(program("cairn-" + daemon), "--test", "--config",
                           path, *more)
                expect("is good" in said, said)


# ---- what lies where -------------------------------------------------------


def units_pass_verify_and_the_thresholds_of_security():
    if shutil.which("systemd-analyze") is None:
        print("SKIP: no systemd-analyze: units are not verified")
        return
    with Installed() as there:
        # verify looks for the programs: let it find them here.
        folder = os.path.join(there.top, "units")
        shutil.copytree(there.path("usr/local/lib/systemd/system"), folder)
        units = sorted(glob.glob(os.path.join(folder, "cairn*")))
        equal(len(units), 5, "units")
        for unit in units:
            text = text_of(unit)
            with open(unit, "w", encoding="utf-8") as file:
                file.write(text.replace(f"={PREFIX}/",
                                        f"={there.dest}{PREFIX}/"))
        names = [re.sub("@", "@orders", os.path.basename(unit))
                 for unit in units]
        said = say("systemd-analyze", "verify", "--man=no", *names,
                   env=dict(os.environ, SYSTEMD_UNIT_PATH=folder + ":"))
        expect("cairn" not in said, said)
        for name, threshold in THRESHOLDS.items():
            say("systemd-analyze", "security", "--offline=true",
                f"--threshold={threshold}",
                os.path.join(folder, f"cairn-{name}.service"))


def manuals_are_clean_and_point_to_pages_that_are_there():
    with Installed() as there:
        pages = glob.glob(there.path("usr/local/share/man/man*/*"))
        names = {os.path.basename(page) for page in pages}
        equal(len(names), 12, f"pages: {names}")
        for page in pages:
            text = text_of(page)
            expect("/usr/share" not in text, f"{page}: not its place")
            for name, section in re.findall(r"^\.Xr (cairn\S*) (\d)", text,
                                            flags=re.M):
                expect(f"{name}.{section}" in names,
                       f"{page} points to {name}({section})")
            if shutil.which("mandoc"):
                said = say("mandoc", "-T", "lint", "-W", "warning", page)
                equal(said, "", f"what mandoc says of {page}")
    if not shutil.which("mandoc"):
        print("SKIP: no mandoc: manuals are not read")


def a_second_install_keeps_what_was_changed_and_renews_what_was_not():
    with Installed() as there:
        before = there.files()
        writer = there.path("etc/cairn/writer.conf")
        gateway = there.path("etc/cairn/gateway.conf")
        kept = there.path("usr/local/share/cairn/config/gateway.conf")
        with open(writer, "a", encoding="utf-8") as file:
            file.write("log\n    segment = 64M\n")
        changed = text_of(writer)
        # As an older version would have left it, and nobody has touched it.
        for path in (gateway, kept):
            with open(path, "w", encoding="utf-8") as file:
                file.write("# an older version\n")
        said = there.install()
        expect("writer.conf was changed, and is kept" in said, said)
        equal(said.count("was changed"), 1, "files called changed")
        equal(text_of(writer), changed, "the changed file")
        expect(filecmp.cmp(gateway, os.path.join(ROOT, "config",
                                                 "gateway.conf")),
               "a file that nobody had changed was not renewed")
        equal(there.files(), before, "files after the second install")


def an_upgrade_takes_files_away_that_are_no_more():
    with Installed() as there:
        old = there.path("usr/local/share/man/man8/cairn-older.8")
        with open(old, "w", encoding="utf-8") as file:
            file.write("of an older version\n")
        with open(there.path("usr/local/share/cairn/installed"), "a",
                  encoding="utf-8") as file:
            file.write("f /usr/local/share/man/man8/cairn-older.8\n")
        there.install()
        expect(not os.path.exists(old), "it is still there")


def uninstall_leaves_only_changed_configuration_and_the_files_of_others():
    with Installed() as there:
        there.install()
        there.remove()
        equal(os.listdir(there.dest), [], "what is left of all")
        os.makedirs(there.path("usr/local/bin"))
        with open(there.path("usr/local/bin/other"), "w",
                  encoding="utf-8") as file:
            file.write("not ours\n")
        there.install()
        with open(there.path("etc/cairn/writer.conf"), "a",
                  encoding="utf-8") as file:
            file.write("# mine\n")
        with open(there.path("etc/cairn/projections/orders.sql"), "w",
                  encoding="utf-8") as file:
            file.write(SQL)
        said = there.remove()
        expect("writer.conf was changed, and is left" in said, said)
        equal(there.files(), ["/etc/cairn/projections/orders.sql",
                              "/etc/cairn/writer.conf",
                              "/usr/local/bin/other"], "files that are left")
        # And what is left is still seen as changed.
        expect("is kept" in there.install(), "it was overwritten")


# ---- that it works ---------------------------------------------------------


def override(there, daemon, keys):
    """Options that bring every path of a daemon below our folder."""
    moved = []
    for key, (default, _) in keys.items():
        place = default.replace("%i", "orders")
        place = re.sub(r"/run/cairn|/var/lib/cairn", there.top + "/r", place)
        place = place.replace("/etc/cairn", there.path("etc/cairn"))
        if place != default:
            moved += ["--set", f"{key}={place}"]
    expect(moved, f"cairn-{daemon} has no paths")
    return moved


def installed_daemons_take_a_command_from_the_installed_configuration():
    daemons = []
    with Installed() as there:
        try:
            for folder in ("r/projections", "r/models"):
                os.makedirs(os.path.join(there.top, folder))
            with open(there.path("etc/cairn/projections/orders.sql"), "w",
                      encoding="utf-8") as file:
                file.write(SQL)
            for daemon in DAEMONS:
                args = [there.path(f"usr/local/sbin/cairn-{daemon}")]
                if daemon == "projector":
                    args += ["--name", "orders"]
                args += ["--config", there.path("etc/cairn",
                                                config_name(daemon))]
                log = os.path.join(there.top, daemon + ".log")
                with open(log, "w", encoding="utf-8") as file:
                    daemons.append(subprocess.Popen(
                        args + override(there, daemon, help_keys(daemon)),
                        stdout=file, stderr=file))
                wait_until(lambda path=log: "ready" in text_of(path),
                           f"{daemon}: {text_of(log)}")
            cairn = [there.path("usr/local/bin/cairn"), "--run",
                     there.top + "/r"]
            said = say(*cairn, "append", "order-1", "Placed")
            expect("accepted: position 1, version 1" in said, said)
            say(*cairn, "projection", "wait", "orders", "1")
            say(*cairn, "status")
            modes = {name: os.stat(os.path.join(there.top, "r", name)).st_mode
                     & 0o777 for name in ("commands", "queries", "live",
                                          "projections/orders", "writer",
                                          "doorbell")}
            # The group may speak to the gateway; to the writer nobody may.
            equal(modes, {"commands": 0o770, "queries": 0o770, "live": 0o770,
                          "projections/orders": 0o770, "writer": 0o700,
                          "doorbell": 0o700}, "modes of the sockets")
        finally:
            for daemon in daemons:
                daemon.send_signal(signal.SIGTERM)
            codes = [daemon.wait(30) for daemon in daemons]
        equal(codes, [0, 0, 0, 0], "exit codes")


def a_name_without_a_projection_or_that_can_be_none_is_refused():
    for name in ("", "a/b", ".hidden", "x" * 256, "a\nb"):
        said = say(program("cairn-projector"), "--test", "--name", name,
                   code=64)
        expect("--name" in said, said)
    said = say(program("cairn-projector"), "--name", "no-such-projection",
               code=78)
    expect("cannot open the projection /etc/cairn/projections/"
           "no-such-projection.sql" in said, said)
    said = say(program("cairn-projector"), "--test", code=78)
    expect("projection.file must be given" in said and "--name" in said, said)
    say(program("cairn-writer"), "--name", "orders", "--test", code=64)


run([configuration_manuals_and_key_tables_agree,
     manuals_tell_every_option_and_no_other,
     configuration_files_are_good_as_they_are_and_with_every_key,
     units_pass_verify_and_the_thresholds_of_security,
     manuals_are_clean_and_point_to_pages_that_are_there,
     a_second_install_keeps_what_was_changed_and_renews_what_was_not,
     an_upgrade_takes_files_away_that_are_no_more,
     uninstall_leaves_only_changed_configuration_and_the_files_of_others,
     installed_daemons_take_a_command_from_the_installed_configuration,
     a_name_without_a_projection_or_that_can_be_none_is_refused])
