"""A small disk of its own for a workspace, which can be made full and slow to read, and gives everything back.

As root: a loopback ext4 file (full: `fallocate` takes the free blocks; slow: the kernel throttles the reads of one
process by its blkio cgroup, after its pages were dropped from the page cache). Without loop devices a tmpfs that can be
filled but not slowed; without root a plain folder, where a limit on the size of the worker's files stands for the full
disk. What could not be had is said in `full_by` and `slow_by`.
"""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

MIB = 1 << 20
RATE = 64 * 1024
"""Bytes a second that a slowed worker may read from the disk."""
GROUPS = Path("/sys/fs/cgroup/blkio")


class Disk:
    """`root` is the mounted folder. One filling and any number of slowed processes at a time."""

    def __init__(self, *, mib: int = 64) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fvm-endurance-"))
        self.root = self.folder / "disk"
        self.root.mkdir()
        self._loop, self._group, self._mounted = "", Path(), False
        self._hog = self.root / ".hog"
        self.filling = threading.Lock()
        self.last_full = float("-inf")
        self.full_by, self.slow_by = "RLIMIT_FSIZE of the worker (prlimit)", "none"
        try:
            self._mount(mib)
        except BaseException:
            self.close()
            raise

    def _mount(self, mib: int) -> None:
        image = self.folder / "image"
        image.touch()
        os.truncate(image, mib * MIB)
        try:
            _sh("mkfs.ext4", "-q", "-m", "0", "-N", "16384", str(image))
            self._loop = _sh("losetup", "-f", "--show", str(image))
            _sh("mount", "-o", "noatime", self._loop, str(self.root))
            self._mounted, self.full_by = True, f"{mib} MiB ext4 on a loop device, filled with fallocate"
            self._throttle()
        except (OSError, subprocess.CalledProcessError):
            if not self._mounted:
                with suppress(OSError, subprocess.CalledProcessError):
                    _sh("mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(self.root))
                    self._mounted, self.full_by = True, f"{mib} MiB tmpfs, filled with fallocate"

    def _throttle(self) -> None:
        """Make the slow group and see that it is slow: a file of 2 s has to take more than 1 s to read."""
        group = GROUPS / f"fvm-endurance-{os.getpid()}"
        group.mkdir()
        self._group = group
        device = Path(f"/sys/block/{Path(self._loop).name}/dev").read_text().strip()
        (group / "blkio.throttle.read_bps_device").write_text(f"{device} {RATE}")
        probe = self.root / ".probe"
        probe.write_bytes(os.urandom(2 * RATE))
        drop_pages(probe)
        begin = time.monotonic()
        subprocess.run(
            ["sh", "-c", f"echo $$ > {group}/cgroup.procs; exec cat {probe}"], stdout=subprocess.DEVNULL, check=True
        )
        if time.monotonic() - begin > 1.0:
            self.slow_by = f"blkio throttle of the worker, {RATE // 1024} KiB/s, page cache of the workspace dropped"
        probe.unlink()

    def fill(self, leave: int, pid: int | None) -> None:
        """Take all but about `leave` bytes (hold `filling` meanwhile)."""
        self.last_full = time.monotonic()
        if not self._mounted:
            if pid:
                with suppress(OSError):
                    resource.prlimit(pid, resource.RLIMIT_FSIZE, (leave, resource.RLIM_INFINITY))
            return
        with self._hog.open("wb") as file:
            taken = 0
            for step in (8 * MIB, MIB, 64 * 1024, 4096):
                while self.free() - leave >= step:
                    try:
                        os.posix_fallocate(file.fileno(), taken, step)
                    except OSError as error:
                        if error.errno != errno.ENOSPC:
                            raise
                        break
                    taken += step

    def free(self) -> int:
        """Return the free bytes."""
        stat = os.statvfs(self.root)
        return stat.f_bavail * stat.f_frsize

    def give_back(self, pid: int | None) -> None:
        """Free what `fill` took."""
        if self._mounted:
            self._hog.unlink(missing_ok=True)
        elif pid:
            with suppress(OSError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        self.last_full = time.monotonic()

    def slow(self, pid: int) -> None:
        """Forget what the page cache holds of the workspace, and throttle a process."""
        for folder, _, names in os.walk(self.root):  # it passes over what a job removes meanwhile
            for name in names:
                with suppress(OSError):
                    drop_pages(Path(folder, name))
        with suppress(OSError):
            (self._group / "cgroup.procs").write_text(str(pid))

    def fast(self, pid: int) -> None:
        """Put a process back among the others."""
        with suppress(OSError):
            (GROUPS / "cgroup.procs").write_text(str(pid))

    def close(self) -> None:
        """Unmount, detach and remove all of it."""
        if self._mounted:
            for _ in range(50):
                with suppress(subprocess.CalledProcessError):
                    _sh("umount", str(self.root))
                    self._mounted = False
                    break
                time.sleep(0.2)
        if self._loop:
            with suppress(subprocess.CalledProcessError):
                _sh("losetup", "-d", self._loop)
        if self._group.name:
            with suppress(OSError):
                self._group.rmdir()
        if not self._mounted:
            shutil.rmtree(self.folder, ignore_errors=True)


def drop_pages(path: Path) -> None:
    """Write a file's pages to the disk and drop them from memory."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _sh(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
