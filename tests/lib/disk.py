# SPDX-License-Identifier: MPL-2.0
"""File systems on loop devices, for tests that fill or break a disk.

Needs root.  Everything that is made is taken down by name in close().
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile

MKFS = {"ext4": ["mkfs.ext4", "-q", "-F", "-m", "0"],
        "xfs": ["mkfs.xfs", "-q", "-f"]}
# The smallest that mkfs.xfs makes; the file behind it is sparse.
DEVICE_LEN = 320 << 20


def _end(*_):
    raise SystemExit("stopped by a signal")


# Who is stopped by a time limit still takes down what was mounted.
signal.signal(signal.SIGTERM, _end)


def call(*args):
    done = subprocess.run(args, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"{' '.join(args)}: {done.stderr.strip()}")
    return done.stdout.strip()


def skip_unless_possible():
    """Ends the program with 77 where loop devices cannot be made."""
    reason = None
    if os.geteuid() != 0:
        reason = "only root can mount loop devices"
    for tool in ("losetup", "mount", "umount", "fallocate"):
        if reason is None and shutil.which(tool) is None:
            reason = f"{tool} is not installed"
    if reason is None:
        disk = None
        try:
            kind = kinds()[0] if kinds() else None
            if kind is None:
                reason = "neither mkfs.ext4 nor mkfs.xfs is installed"
            else:
                disk = Disk(kind)
        except OSError as problem:
            reason = f"loop devices do not work here: {problem}"
        finally:
            if disk is not None:
                disk.close()
    if reason is not None:
        print(f"SKIP: {reason}")
        sys.exit(77)


def kinds():
    """The file systems that can be made here."""
    return [kind for kind in MKFS if shutil.which(MKFS[kind][0])]


class Disk:
    """A mounted file system; with `store_len`, on a tmpfs of that size."""

    def __init__(self, kind, store_len=None):
        self.kind = kind
        self.top = tempfile.mkdtemp(prefix="cairn-disk-")
        self.store = os.path.join(self.top, "store")
        self.path = os.path.join(self.top, "mnt")
        self.undo = []
        os.mkdir(self.store)
        os.mkdir(self.path)
        try:
            if store_len is not None:
                call("mount", "-t", "tmpfs", "-o", f"size={store_len}",
                     "cairn-test", self.store)
                self.undo.append(["umount", self.store])
            self.image = os.path.join(self.store, "image")
            with open(self.image, "wb") as file:
                file.truncate(DEVICE_LEN)
            call(*MKFS[kind], self.image)
            self.device = call("losetup", "--find", "--show", self.image)
            self.undo.append(["losetup", "-d", self.device])
            self.mount()
        except OSError:
            self.close()
            raise

    def mount(self):
        call("mount", self.device, self.path)
        self.undo.append(["umount", self.path])

    def unmount(self):
        call("umount", self.path)
        self.undo.remove(["umount", self.path])

    def fill(self):
        """Uses up all space with a file, to the last block."""
        self._fill(os.path.join(self.path, "filler"))

    def free(self):
        os.unlink(os.path.join(self.path, "filler"))

    def break_store(self):
        """What has only zeros behind it cannot be written any more."""
        os.sync()
        call("fallocate", "--dig-holes", self.image)
        self._fill(os.path.join(self.store, "filler"))

    def mend_store(self):
        os.unlink(os.path.join(self.store, "filler"))

    @staticmethod
    def _fill(path):
        fd = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
        try:
            length, step = 0, 64 << 20
            while step >= 4096:
                try:
                    os.posix_fallocate(fd, length, step)
                    length += step
                except OSError:
                    step //= 2
            os.fsync(fd)
        finally:
            os.close(fd)

    def close(self):
        failed = []
        for args in reversed(self.undo):
            try:
                call(*args)
            except OSError as problem:
                failed.append(str(problem))
        self.undo = []
        if failed:
            raise OSError("; ".join(failed))
        shutil.rmtree(self.top)
