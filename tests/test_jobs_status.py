"""What is said of a job whatever its worker and its files have come to."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from fvm_core.errors import JobError, StorageError
from fvm_core.jobs import status as status_module
from fvm_core.jobs.control import write_request
from fvm_core.jobs.folder import JobFolder, new_job_id, prepare_folder, publish_folder
from fvm_core.jobs.launch import resume_job, wait_job
from fvm_core.jobs.lock import FileLock
from fvm_core.jobs.status import (
    JobStatus,
    StatusWriter,
    folder_status,
    job_status,
    list_jobs,
    read_request,
    read_status,
)
from fvm_core.jobs.worker import fresh_status, work
from fvm_core.workspace import Workspace


@pytest.fixture
def folder(workspace: Workspace) -> JobFolder:
    folder = publish_folder(prepare_folder(workspace, "selftest", {"steps": 3, "seconds": 0}, title="Count"))
    StatusWriter(folder, fresh_status(folder.read_spec())).update(now=True)
    return folder


def held(folder: JobFolder) -> FileLock:
    lock = FileLock.acquire(folder.lock)
    assert lock is not None
    return lock


def write(folder: JobFolder, **changes: Any) -> None:
    values = {"id": folder.id, "kind": "selftest", "title": "Count", "state": "running"}
    folder.status.write_text(json.dumps(values | changes))


@pytest.mark.parametrize(
    ("state", "alive", "expected"),
    [
        ("queued", True, "queued"),
        ("running", True, "running"),
        ("paused", True, "paused"),
        ("queued", False, "interrupted"),
        ("running", False, "interrupted"),
        ("paused", False, "interrupted"),
        ("stopped", False, "stopped"),
        ("failed", False, "failed"),
        ("done", False, "done"),
        ("done", True, "done"),
    ],
)
def test_state_follows_the_lock(folder: JobFolder, state: str, alive: bool, expected: str) -> None:
    lock = held(folder) if alive else None
    write(folder, state=state, seconds_left=5)
    status = folder_status(folder)
    assert status.state == expected
    assert status.active == (expected in ("queued", "running", "paused"))
    assert status.resumable == (expected in ("stopped", "failed", "interrupted"))
    assert expected != "interrupted" or status.seconds_left is None
    if lock:
        lock.release()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"state": "running"}',
        b'{"id": "other", "kind": "x", "title": "", "state": "running"}',
        b'{"id": "ID", "kind": "x", "title": "", "state": "eating"}',
        b'{"id": "ID", "kind": "x", "title": "", "state": ["running"]}',
        b'{"id": "ID", "kind": "x", "title": "", "state": "running", "done": "many"}',
        b'{"id": "ID", "kind": "x", "title": "", "state": "running", "updated": null}',
    ],
)
def test_damaged_status_is_interrupted_and_can_be_resumed(
    workspace: Workspace, folder: JobFolder, content: bytes
) -> None:
    folder.status.write_bytes(content.replace(b"ID", folder.id.encode()))
    assert read_status(folder) is None
    status = job_status(workspace, folder.id)
    assert (status.state, status.title, status.kind) == ("interrupted", "Count", "selftest")
    lock = held(folder)
    assert job_status(workspace, folder.id).state == "running"
    lock.release()
    resume_job(workspace, folder.id)
    assert wait_job(workspace, folder.id, timeout=300).state == "done"


def test_unknown_fields_of_a_later_version_are_left_out(folder: JobFolder) -> None:
    write(folder, colour="blue")
    assert read_status(folder) is not None


def test_job_that_ends_between_two_looks_is_not_called_interrupted(
    folder: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, state="running")
    looks = iter([False, False])

    def look(path: Path) -> bool:
        answer = next(looks)
        if not answer:
            write(folder, state="done")
        return answer

    first = read_status(folder)
    reads = iter([first])
    real = status_module.read_status
    monkeypatch.setattr(status_module, "is_locked", look)
    monkeypatch.setattr(status_module, "read_status", lambda folder: next(reads, None) or real(folder))
    assert folder_status(folder).state == "done"


def test_job_without_a_spec_is_listed_as_failed_and_not_resumed(workspace: Workspace, folder: JobFolder) -> None:
    folder.spec.unlink()
    folder.status.unlink()
    (status,) = list_jobs(workspace)
    assert (status.state, status.kind) == ("failed", "selftest") and "Delete it and start it anew" in status.error
    with pytest.raises(JobError, match=r"is damaged: .*Delete it and start it anew"):
        resume_job(workspace, folder.id)


def test_list_jobs_is_newest_first_and_ignores_other_folders(workspace: Workspace) -> None:
    assert list_jobs(workspace) == []
    made = [publish_folder(prepare_folder(workspace, "selftest", {}, title=str(number))) for number in range(3)]
    for name in (".new-abc", ".slots", "notes"):
        (workspace.jobs / name).mkdir()
    listed = [status.id for status in list_jobs(workspace)]
    assert listed == sorted((folder.id for folder in made), reverse=True)


def test_job_ids_sort_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [new_job_id("tune") for _ in range(50)]
    assert len(set(ids)) == 50
    assert [job_id[:19] for job_id in ids] == sorted(job_id[:19] for job_id in ids)


def test_status_writer_writes_at_most_once_an_interval(folder: JobFolder) -> None:
    heard: list[JobStatus] = []
    writer = StatusWriter(folder, fresh_status(folder.read_spec()), interval=3600, echo=heard.append)
    for done in range(1, 1000):
        writer.update(now=False, done=done)
    stored = read_status(folder)
    assert stored is not None and stored.done == 1
    writer.update(now=True, state="paused")
    stored = read_status(folder)
    assert stored is not None and (stored.done, stored.state) == (999, "paused")
    assert [status.done for status in heard] == [1, 999]


@pytest.mark.parametrize(("done", "total", "expected"), [(0, 0, 0.0), (1, 4, 0.25), (5, 4, 1.0), (-1, 4, 0.0)])
def test_fraction(done: int, total: int, expected: float) -> None:
    assert JobStatus("x", "train", "", "running", done=done, total=total).fraction == expected


@pytest.mark.parametrize(
    ("done", "total", "expected"),
    [(0, 0, 0), (29, 100, 29), (1, 3, 33), (299_999, 300_000, 99), (7, 7, 100), (5, 4, 100), (-1, 4, 0)],
)
def test_percent_is_rounded_down(done: int, total: int, expected: int) -> None:
    assert JobStatus("x", "train", "", "running", done=done, total=total).percent == expected


@pytest.mark.parametrize("content", [b"dance", b"", b"\xff"])
def test_damaged_request_means_run(folder: JobFolder, content: bytes) -> None:
    folder.control.write_bytes(content)
    assert read_request(folder) == "run"


def test_write_request_refuses_other_words(folder: JobFolder) -> None:
    with pytest.raises(JobError, match="`request` must be one of run, pause, stop, got 'dance'"):
        write_request(folder, "dance")


def test_full_disk_while_writing_metrics_fails_clearly_and_keeps_the_state(folder: JobFolder) -> None:
    (folder.root / "count.json").write_text('{"step": 1, "total": 1, "runs": 1}')
    folder.metrics.symlink_to("/dev/full")
    outcome = work(folder, held(folder))
    assert isinstance(outcome.error, StorageError)
    status = folder_status(folder)
    assert status.state == "failed" and "No space left on device" in status.error and "resume" in status.error
    assert json.loads((folder.root / "count.json").read_text())["step"] == 1
    folder.metrics.unlink()
    assert work(folder, held(folder)).status.result == {"total": 6, "runs": 2}


def test_full_disk_while_writing_status_ends_failed_once_the_reserve_is_given_back(
    folder: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.replace

    def replace(source: str, target: Path) -> None:
        text = Path(source).read_text()
        if Path(target) == folder.status and folder.reserve.exists() and '"state": "running"' in text:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    work(folder, held(folder))
    status = folder_status(folder)
    assert status.state == "failed" and "No space left on device" in status.error


def test_next_start_removes_what_a_killed_worker_left_half_written(folder: JobFolder) -> None:
    write(folder, state="running")
    staged = folder.root / "model" / "snapshots"
    staged.mkdir(parents=True)
    orphans = [folder.root / ".status.json.a1b2.tmp", staged / ".step_000000.safetensors.c3d4.tmp"]
    for orphan in orphans:
        orphan.write_bytes(b"half")
    (staged / "step_000000.safetensors").write_bytes(b"whole")
    assert work(folder, held(folder)).status.state == "done"
    assert not any(orphan.exists() for orphan in orphans)
    assert (staged / "step_000000.safetensors").read_bytes() == b"whole"


def test_disk_that_stays_full_ends_interrupted_not_running(folder: JobFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def replace(source: str, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write(folder, state="running")
    monkeypatch.setattr(os, "replace", replace)
    work(folder, held(folder))
    assert folder_status(folder).state == "interrupted"
