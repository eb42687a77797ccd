"""Real worker processes: they outlive their parent, a kill, a pause; no two ever share a folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fvm_core.errors import DataError, JobError
from fvm_core.jobs.control import pause_job, stop_job, unpause_job
from fvm_core.jobs.folder import open_folder
from fvm_core.jobs.kinds import KINDS
from fvm_core.jobs.launch import ROOT, delete_job, resume_job, run_job, start_job, wait_job
from fvm_core.jobs.lock import FileLock
from fvm_core.jobs.metrics import read_metrics
from fvm_core.jobs.status import JobStatus, job_status, list_jobs
from fvm_core.jobs.worker import work
from fvm_core.workspace import Workspace

WAIT = 300.0
ENDLESS = 20_000


def count(workspace: Workspace, **args: Any) -> str:
    return start_job(workspace, "selftest", {"steps": 20, "seconds": 0.02, **args}, title="Count")


def until(workspace: Workspace, job_id: str, holds: Callable[[JobStatus], bool]) -> JobStatus:
    end = time.monotonic() + WAIT
    while not holds(status := job_status(workspace, job_id)):
        assert time.monotonic() < end, status
        time.sleep(0.02)
    return status


def worker_pid(workspace: Workspace, job_id: str) -> int:
    """Find the process by its command line, as nothing in the folder is to be trusted."""
    folder = str(open_folder(workspace, job_id).root)
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if folder in path.read_bytes().decode().split("\0"):
                return int(path.parent.name)
        except OSError:
            continue
    raise AssertionError("no worker")


@pytest.fixture(autouse=True)
def nobody_left(workspace: Workspace) -> Iterator[None]:
    yield
    for status in list_jobs(workspace):
        if status.active:
            stop_job(workspace, status.id)
            wait_job(workspace, status.id, timeout=WAIT)


def test_start_job_runs_to_done(workspace: Workspace) -> None:
    job_id = count(workspace)
    assert job_status(workspace, job_id).active
    status = wait_job(workspace, job_id, timeout=WAIT)
    assert (status.state, status.done, status.total, status.result) == ("done", 20, 20, {"total": 210, "runs": 1})
    assert status.started is not None and status.created <= status.started <= status.updated
    assert 0.4 <= status.worked <= status.updated - status.started + 0.1
    assert status.seconds_left is None and not status.resumable
    assert read_metrics(workspace, job_id)["total"].iloc[-1] == 210


def test_start_job_detaches_nices_and_says_nothing_to_our_terminal(workspace: Workspace) -> None:
    job_id = count(workspace, steps=ENDLESS)
    until(workspace, job_id, lambda status: status.state == "running")
    pid = worker_pid(workspace, job_id)
    assert os.getsid(pid) == pid != os.getsid(0)
    assert os.readlink(f"/proc/{pid}/fd/0") == os.devnull
    assert os.readlink(f"/proc/{pid}/fd/1") == os.readlink(f"/proc/{pid}/fd/2")
    assert Path(os.readlink(f"/proc/{pid}/fd/1")).name == "log.txt"
    assert os.getpriority(os.PRIO_PROCESS, pid) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 5)


def test_job_survives_the_exit_of_its_parent(workspace: Workspace) -> None:
    code = (
        "from fvm_core.workspace import current_workspace; from fvm_core.jobs import start_job\n"
        "print(start_job(current_workspace(), 'selftest', {'steps': 20000, 'seconds': 0.02}, title='Count'))"
    )
    parent = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, env=os.environ
    )
    job_id = parent.stdout.strip()
    before = job_status(workspace, job_id)
    assert before.active
    until(workspace, job_id, lambda status: status.done > before.done)


def test_kill_9_shows_interrupted_and_resume_ends_as_if_uninterrupted(workspace: Workspace) -> None:
    job_id = count(workspace, steps=100)
    until(workspace, job_id, lambda status: status.done > 5)
    os.kill(worker_pid(workspace, job_id), signal.SIGKILL)
    status = until(workspace, job_id, lambda status: not status.active)
    assert status.state == "interrupted" and status.resumable
    assert json.loads(open_folder(workspace, job_id).status.read_text())["state"] == "running"
    assert "Resume it" in status.error
    for ask in (pause_job, unpause_job, stop_job):
        with pytest.raises(JobError, match=r"is interrupted: only a running.*Resume it first"):
            ask(workspace, job_id)

    with open(open_folder(workspace, job_id).metrics, "ab") as file:
        file.write(b'{"step": 99, "tot')
    resume_job(workspace, job_id)
    assert job_status(workspace, job_id).error == ""
    status = wait_job(workspace, job_id, timeout=WAIT)
    assert status.state == "done" and status.result == {"total": 5050, "runs": 2}
    frame = read_metrics(workspace, job_id)
    assert frame["step"].tolist() == list(range(1, 101))
    assert frame["total"].tolist() == [step * (step + 1) / 2 for step in range(1, 101)]
    assert set(frame["run"]) == {1.0, 2.0}


def test_pause_unpause_stop_resume(workspace: Workspace) -> None:
    job_id = count(workspace, steps=300)
    until(workspace, job_id, lambda status: status.state == "running")
    pause_job(workspace, job_id)
    paused = until(workspace, job_id, lambda status: status.state == "paused")
    assert paused.active and paused.request == "pause"
    rows = len(read_metrics(workspace, job_id))
    time.sleep(0.5)
    assert len(read_metrics(workspace, job_id)) == rows
    with pytest.raises(JobError, match=r"is paused and cannot be resumed\. Stop it first"):
        resume_job(workspace, job_id)
    with pytest.raises(JobError, match=r"is paused and cannot be deleted\. Stop it first"):
        delete_job(workspace, job_id)

    unpause_job(workspace, job_id)
    until(workspace, job_id, lambda status: status.state == "running")
    stop_job(workspace, job_id)
    status = wait_job(workspace, job_id, timeout=WAIT)
    assert status.state == "stopped" and 0 < len(read_metrics(workspace, job_id)) < 300
    assert status.worked < status.updated - (status.started or 0) - 0.4

    resume_job(workspace, job_id)
    assert wait_job(workspace, job_id, timeout=WAIT).result == {"total": 45150, "runs": 2}
    with pytest.raises(JobError, match=r"is done and cannot be resumed\. Start a new job"):
        resume_job(workspace, job_id)
    with pytest.raises(JobError, match=r"is done: only a running.*Start a new job"):
        stop_job(workspace, job_id)


def test_stop_reaches_a_paused_job(workspace: Workspace) -> None:
    job_id = count(workspace, steps=ENDLESS)
    pause_job(workspace, job_id)
    until(workspace, job_id, lambda status: status.state == "paused")
    stop_job(workspace, job_id)
    ended = wait_job(workspace, job_id, timeout=WAIT)
    assert ended.state == "stopped" and not ended.error, "a person who asks need not be told"


def test_sigterm_saves_and_stops(workspace: Workspace) -> None:
    job_id = count(workspace, steps=ENDLESS)
    until(workspace, job_id, lambda status: status.done > 0)
    os.kill(worker_pid(workspace, job_id), signal.SIGTERM)
    ended = wait_job(workspace, job_id, timeout=WAIT)
    assert ended.state == "stopped" and "told to end (SIGTERM)" in ended.error and "it goes on" in ended.error
    resume_job(workspace, job_id)
    until(workspace, job_id, lambda status: status.state == "running" and not status.error)


def test_second_worker_is_refused(workspace: Workspace) -> None:
    job_id = count(workspace, steps=ENDLESS)
    with pytest.raises(JobError, match=r"is (queued|running) and cannot be resumed"):
        resume_job(workspace, job_id)
    folder = open_folder(workspace, job_id)
    command = [sys.executable, "-m", "fvm_core", "job", str(folder.root)]
    by_hand = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert by_hand.returncode == 2 and "already has a worker" in by_hand.stderr
    with folder.spec.open() as other:
        forged = subprocess.run(
            [*command, "--lock", str(other.fileno())],
            cwd=ROOT, capture_output=True, text=True, pass_fds=[other.fileno()],
        )  # fmt: skip
    assert forged.returncode == 2 and "already has a worker" in forged.stderr
    assert job_status(workspace, job_id).active


def test_only_one_of_many_resumes_wins(workspace: Workspace) -> None:
    job_id = count(workspace, steps=ENDLESS)
    stop_job(workspace, job_id)
    wait_job(workspace, job_id, timeout=WAIT)
    code = (
        "import sys; from fvm_core.workspace import current_workspace; from fvm_core.jobs import resume_job\n"
        f"resume_job(current_workspace(), {job_id!r})"
    )
    racers = [
        subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(4)
    ]
    errors = [racer.communicate(timeout=WAIT)[1] for racer in racers]
    assert [racer.returncode for racer in racers].count(0) == 1
    assert sum("cannot be resumed" in error for error in errors) == 3


def test_failed_by_a_fault_of_the_input_keeps_the_message_as_such(workspace: Workspace) -> None:
    job_id = count(workspace, fail_at=3)
    status = wait_job(workspace, job_id, timeout=WAIT)
    assert (status.state, status.error) == ("failed", "planted fault at step 3")
    assert "Traceback" not in open_folder(workspace, job_id).log.read_text()
    resume_job(workspace, job_id)
    status = wait_job(workspace, job_id, timeout=WAIT)
    assert (status.state, status.error, status.result) == ("done", "", {"total": 210, "runs": 2})


def test_failed_by_a_defect_keeps_the_traceback_in_the_log(workspace: Workspace) -> None:
    job_id = count(workspace, fail_at=3, fail_with="defect")
    status = wait_job(workspace, job_id, timeout=WAIT)
    assert status.state == "failed"
    assert status.error.startswith("RuntimeError: planted defect at step 3") and "\n" not in status.error
    assert "Traceback (most recent call last)" in open_folder(workspace, job_id).log.read_text()


def test_worker_that_dies_at_birth_is_interrupted_with_the_last_line_of_its_log(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'library not found' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    job_id = count(workspace)
    status = wait_job(workspace, job_id, timeout=WAIT)
    assert status.state == "interrupted" and status.error.endswith("Last line of its log: library not found")
    monkeypatch.undo()


def test_worker_that_cannot_be_spawned_fails_with_the_reason(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/nonexistent/python")
        with pytest.raises(JobError, match=r"could not be started .*Try to resume it"):
            count(workspace)
    (status,) = list_jobs(workspace)
    assert status.state == "failed" and "could not be started" in status.error
    resume_job(workspace, status.id)
    assert wait_job(workspace, status.id, timeout=WAIT).state == "done"


def test_heavy_jobs_take_turns_and_a_paused_one_gives_way(workspace: Workspace) -> None:
    first = count(workspace, steps=ENDLESS)
    until(workspace, first, lambda status: status.state == "running")
    second = count(workspace, steps=ENDLESS)
    waiting = until(workspace, second, lambda status: status.message != "")
    assert waiting.state == "queued" and waiting.message == "waiting for another job to end"
    pause_job(workspace, first)
    until(workspace, second, lambda status: status.state == "running")
    unpause_job(workspace, first)
    until(workspace, first, lambda status: status.state == "queued")
    stop_job(workspace, second)
    until(workspace, first, lambda status: status.state == "running")
    assert job_status(workspace, second).state == "stopped"


def test_stop_reaches_a_queued_job(workspace: Workspace) -> None:
    first = count(workspace, steps=ENDLESS)
    until(workspace, first, lambda status: status.state == "running")
    second = count(workspace)
    stop_job(workspace, second)
    status = wait_job(workspace, second, timeout=WAIT)
    assert status.state == "stopped" and status.started is None
    assert job_status(workspace, first).state == "running"


def test_more_slots_by_the_environment(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FVM_STUDIO_MAX_JOBS", "2")
    jobs = [count(workspace, steps=ENDLESS) for _ in range(3)]
    until(workspace, jobs[2], lambda status: status.message != "")
    assert sorted(job_status(workspace, job).state for job in jobs) == ["queued", "running", "running"]


def test_relative_paths_hold_from_where_the_job_was_started(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fvm_core").mkdir()
    (tmp_path / "fvm_core" / "__init__.py").write_text("raise SystemExit('the wrong package')")
    job_id = count(workspace, steps=ENDLESS)
    until(workspace, job_id, lambda status: status.state == "running")
    assert os.readlink(f"/proc/{worker_pid(workspace, job_id)}/cwd") == str(tmp_path)


def test_delete_job_removes_the_folder(workspace: Workspace) -> None:
    job_id = count(workspace, steps=1)
    wait_job(workspace, job_id, timeout=WAIT)
    delete_job(workspace, job_id)
    assert list_jobs(workspace) == []
    assert [path.name for path in workspace.jobs.iterdir()] == [".slots"]
    with pytest.raises(JobError, match="must be the id of a job"):
        job_status(workspace, job_id)


@pytest.mark.parametrize("job_id", ["", "..", "../models", "20260101-000000-000-train-zzzzzz", "x" * 300])
def test_open_folder_refuses_what_is_no_job(workspace: Workspace, job_id: str) -> None:
    with pytest.raises(JobError, match="`job` must be the id of a job"):
        open_folder(workspace, job_id)


def test_start_job_refuses_an_unknown_kind_and_leaves_nothing(workspace: Workspace) -> None:
    with pytest.raises(JobError, match=r"`kind` must be one of across, .*, got 'bake'"):
        start_job(workspace, "bake", {}, title="Bread")
    with pytest.raises(TypeError, match="not JSON serializable"):
        start_job(workspace, "selftest", {"path": Path("x")}, title="Path")
    assert list_jobs(workspace) == [] and not workspace.jobs.exists()


def test_run_job_returns_the_status_and_tells_progress(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    status = run_job(workspace, "selftest", {"steps": 3, "seconds": 0}, title="Count", foreground=True)
    assert status.state == "done" and status.result == {"total": 6, "runs": 1}
    assert job_status(workspace, status.id) == status
    output = capsys.readouterr()
    assert output.out == "" and output.err.splitlines()[-1] == "Count: done, step 3"


def test_run_job_raises_what_the_work_raised(workspace: Workspace) -> None:
    with pytest.raises(DataError, match="planted fault at step 2"):
        run_job(workspace, "selftest", {"fail_at": 2, "seconds": 0}, title="Count")
    with pytest.raises(RuntimeError, match="planted defect at step 2"):
        run_job(workspace, "selftest", {"fail_at": 2, "seconds": 0, "fail_with": "defect"}, title="Count")
    assert [status.state for status in list_jobs(workspace)] == ["failed", "failed"]


def test_state_with_tensors_is_resumed_from_disk(workspace: Workspace) -> None:
    with pytest.raises(DataError, match="planted fault at step 3"):
        run_job(workspace, "selftest", {"steps": 5, "fail_at": 3, "seconds": 0, "torch": True})
    folder = open_folder(workspace, list_jobs(workspace)[0].id)
    assert folder.state.exists()
    lock = FileLock.acquire(folder.lock)
    assert lock is not None
    assert work(folder, lock).status.result == {"total": 15, "runs": 2}


def test_run_job_stops_on_ctrl_c_and_resumes(workspace: Workspace) -> None:
    code = (
        "from fvm_core.workspace import current_workspace; from fvm_core.jobs import run_job\n"
        "print(run_job(current_workspace(), 'selftest', {'steps': 20000, 'seconds': 0.02}, title='Count').state)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    end = time.monotonic() + WAIT
    while not (jobs := list_jobs(workspace)) or jobs[0].done == 0:
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=WAIT)[0] == "stopped\n"
    assert job_status(workspace, jobs[0].id).state == "stopped"
    resume_job(workspace, jobs[0].id)
    until(workspace, jobs[0].id, lambda status: status.done > jobs[0].done)


def test_forked_children_of_the_work_die_of_sigterm_as_usual() -> None:
    code = (
        "import multiprocessing, time; from fvm_core.jobs.worker import stop_on_signals\n"
        "fork = multiprocessing.get_context('fork'); begun = fork.Event()\n"
        "def sleep():\n"
        "    begun.set(); time.sleep(600)\n"
        "with stop_on_signals() as halt:\n"
        "    child = fork.Process(target=sleep, daemon=True)\n"
        "    child.start(); begun.wait(); child.terminate(); child.join(200)\n"
        "    print(child.exitcode, halt.is_set())"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=WAIT)
    assert result.stdout == f"{-signal.SIGTERM} False\n"


def test_nohup_is_kept(workspace: Workspace) -> None:
    code = (
        "import os, signal; from fvm_core.jobs.worker import stop_on_signals\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "with stop_on_signals() as halt:\n"
        "    os.kill(os.getpid(), signal.SIGHUP); print(halt.is_set())\n"
        "    os.kill(os.getpid(), signal.SIGTERM); print(halt.is_set())"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=WAIT)
    assert result.stdout == "False\nTrue\n"


def test_every_kind_names_a_function_of_ours() -> None:
    for target in KINDS.values():
        module, _, function = target.partition(":")
        assert module.startswith("fvm_core.") and function in ("run", "pretrain")


def test_lock_is_free_after_every_end(workspace: Workspace) -> None:
    job_id = run_job(workspace, "selftest", {"steps": 1, "seconds": 0}, title="Count").id
    lock = FileLock.acquire(open_folder(workspace, job_id).lock)
    assert lock is not None
    lock.release()
