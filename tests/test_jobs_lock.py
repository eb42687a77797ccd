"""Locks and turns: what the kernel knows about living and dead processes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fvm_core.errors import SettingsError
from fvm_core.jobs.launch import ROOT
from fvm_core.jobs.lock import FileLock, is_locked
from fvm_core.jobs.slots import Slot, max_running
from fvm_core.workspace import Workspace

HOLD = "import sys, time; from pathlib import Path; from fvm_core.jobs.lock import FileLock\n"


def test_lock_is_exclusive_until_released(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_locked(path)
    first = FileLock.acquire(path)
    assert first is not None and is_locked(path)
    assert FileLock.acquire(path, patience=0.05) is None
    first.release()
    first.release()
    assert not is_locked(path)
    second = FileLock.acquire(path)
    assert second is not None
    first.let_go()
    assert is_locked(path)
    second.release()


def test_many_readers_never_make_a_free_lock_look_held(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    code = (
        HOLD
        + f"from fvm_core.jobs.lock import is_locked\nprint(any(is_locked(Path({str(path)!r})) for _ in range(20000)))"
    )
    readers = [
        subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    assert [reader.communicate(timeout=300)[0] for reader in readers] == ["False\n", "False\n"]


def test_lock_dies_with_its_process_even_if_a_forked_child_lives_on(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = HOLD + (
        "import os\n"
        f"lock = FileLock.acquire(Path({str(path)!r}))\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    lock.release(); print(os.getpid(), flush=True)\n"
        "time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    child = int(holder.stdout.readline())
    try:
        assert is_locked(path)
        holder.kill()
        holder.wait()
        assert not is_locked(path)
        os.kill(child, 0)
    finally:
        os.kill(child, signal.SIGKILL)
        holder.stdout.close()


def test_adopt_takes_only_the_lock_that_was_handed_down(tmp_path: Path) -> None:
    path, other = tmp_path / "lock", tmp_path / "other"
    other.touch()
    lock = FileLock.acquire(path)
    assert lock is not None
    copy = FileLock.adopt(os.dup(lock.descriptor), path)
    assert copy is not None
    stranger = os.open(path, os.O_RDWR)
    assert FileLock.adopt(stranger, path) is None
    assert FileLock.adopt(lock.descriptor, other) is None
    assert FileLock.adopt(9999, path) is None
    os.close(stranger)
    lock.let_go()
    assert is_locked(path)
    copy.release()
    assert not is_locked(path)


def test_slots_are_given_in_the_order_of_asking(workspace: Workspace) -> None:
    slots = [Slot(workspace, count=1) for _ in range(5)]
    assert [slot.try_acquire() for slot in slots] == [True, False, False, False, False]
    chance, served = random.Random(0), [0]
    waiting = [1, 2, 3, 4]
    slots[2].leave()
    waiting.remove(2)
    while waiting:
        slots[served[-1]].leave()
        for number in chance.sample(waiting, len(waiting)) * 2:
            if slots[number].try_acquire() and number not in served:
                served.append(number)
        waiting = [number for number in waiting if number not in served]
    assert served == [0, 1, 3, 4]
    slots[4].leave()
    assert sorted(path.name for path in (workspace.jobs / ".slots").iterdir()) == ["slot-0"]


def test_slots_of_killed_workers_and_their_tickets_are_free(workspace: Workspace) -> None:
    code = HOLD + (
        "from fvm_core.jobs.slots import Slot; from fvm_core.workspace import Workspace\n"
        f"slots = [Slot(Workspace(Path({str(workspace.root)!r})), count=1) for _ in range(2)]\n"
        "print(slots[0].try_acquire(), slots[1].try_acquire(), flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "True False\n"
    mine = Slot(workspace, count=1)
    assert not mine.try_acquire()
    holder.kill()
    holder.communicate()
    assert mine.try_acquire() and mine.try_acquire()
    mine.leave()


def test_two_slots(workspace: Workspace) -> None:
    slots = [Slot(workspace, count=2) for _ in range(3)]
    assert [slot.try_acquire() for slot in slots] == [True, True, False]
    slots[0].leave()
    assert slots[2].try_acquire()
    for slot in slots:
        slot.leave()


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
def test_max_running_refuses(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("FVM_STUDIO_MAX_JOBS", text)
    with pytest.raises(SettingsError, match=f"`FVM_STUDIO_MAX_JOBS` must be a whole number >= 1, got '{text}'"):
        max_running()


def test_max_running_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FVM_STUDIO_MAX_JOBS", raising=False)
    assert max_running() == 1


def test_acquire_waits_for_a_reader_that_looks_for_an_instant(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    code = HOLD + (
        f"import fcntl; file = open({str(path)!r}); fcntl.flock(file, fcntl.LOCK_SH)\n"
        "print('held', flush=True); time.sleep(0.3)"
    )
    reader = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert reader.stdout is not None and reader.stdout.readline() == "held\n"
    started = time.monotonic()
    lock = FileLock.acquire(path, patience=30)
    assert lock is not None and time.monotonic() - started < 30
    lock.release()
    reader.communicate()
