"""Random kills, stops, full disks and slow reads under real jobs: is a row lost or double, does a job hang?

    OMP_NUM_THREADS=1 python -m tests.benchmarks.endurance --minutes 60 --seed 0 --out endurance.csv

In a fresh workspace (on a disk of its own where root may make one: `endurance_disk`) two lanes start one detached job
after another on the built-in digits (`endurance_work`), so that one mostly waits for the other's slot. At moments drawn
by the seed a job is killed (`kill`: SIGKILL), asked to stop (`term`: SIGTERM, `stop`: the page's button), meets a full
disk (`full`), slow reads (`slow`) or is frozen in bursts (`freeze`: SIGSTOP and SIGCONT), and is resumed. Meanwhile an
observer lists jobs, metrics and score files as a server does. An ended job must have left what an undisturbed one left:
the same rows, ids, order and values bit for bit, weights, metrics; no temporary file; no lock held, no process alive.

One CSV row an episode, written as it ends. Ctrl-C ends the run after the episodes under way. Exit status 1 if anything
was violated. The drawn plan is a function of the seed; where it hits depends on the machine.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd

from fvm_core.errors import FVMError, JobError, StorageError
from fvm_core.jobs import delete_job, job_status, list_jobs, read_metrics, resume_job, start_job, stop_job, wait_job
from fvm_core.jobs.folder import open_folder
from fvm_core.jobs.lock import is_locked
from fvm_core.jobs.status import JobStatus, read_status
from fvm_core.provenance import machine
from fvm_core.workspace import Workspace
from tests.benchmarks import endurance_work as works
from tests.benchmarks.endurance_disk import Disk

ACTIONS = {"kill": 5, "term": 2, "stop": 2, "full": 4, "slow": 3, "freeze": 2}
WAIT = 900.0
GRACE = 120.0
"""Seconds in which a process that was killed has to be gone: a starved machine takes its time."""
LEAVE = (0, 4096, 20_000, 60_000, 150_000, 400_000)


@dataclass
class Episode:
    """One job from start to end; `wrong` collects what was violated."""

    number: int
    lane: int
    work: str
    plan: list[tuple[str, float, bool]]
    began: float
    job: str = ""
    log: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    resumes: int = 0

    @property
    def name(self) -> str:
        return f"e{self.number}-{self.work}"


class Run:
    """The whole of it: the disk, the references, the observer, the lanes."""

    def __init__(self, disk: Disk, *, seed: int, out: Path | None) -> None:
        self.disk, self.seed, self.out = disk, seed, out
        self.workspace = Workspace(disk.root / "workspace")
        self.workspace.root.mkdir()
        self.start = time.monotonic()
        self.until = self.start
        self.references: dict[str, tuple[str, str, float]] = {}
        self.rows: list[dict[str, Any]] = []
        self.seen: list[str] = []
        self.looks = 0
        self.ended = threading.Event()
        self.guard = threading.Lock()

    def make_references(self) -> None:
        """Run every kind of job undisturbed."""
        works.prepare(self.workspace)
        for work in sorted(works.WORKS, key=lambda work: work != "train"):
            name = "base" if work == "train" else f"reference-{work}"
            begin = time.monotonic()
            kind, args = works.job_of(self.workspace, work, name)
            job = start_job(self.workspace, kind, args, title=name)
            status = wait_job(self.workspace, job, timeout=WAIT)
            if status.state != "done":
                raise SystemExit(f"the undisturbed {work} ended {status.state}: {status.error}")
            self.references[work] = (job, name, time.monotonic() - begin)
            print(f"{work}: {self.references[work][2]:.1f} s undisturbed", flush=True)

    def observe(self) -> None:
        """Look as a server does, until the run has ended; a job that is active without a process for GRACE seconds is
        stuck."""
        rows = works.expected_rows(self.workspace)
        since: dict[str, float] = {}
        while not self.ended.wait(0.25):
            try:
                active = [status.id for status in list_jobs(self.workspace) if status.active]
                alive = workers(self.workspace)
                since = {job: since.get(job, time.monotonic()) for job in active if job not in alive}
                self.seen += [f"{job} active without a worker" for job, at in since.items() if _ago(at) > GRACE]
                self.seen += works.whole_files(self.workspace, rows)
                for job in active:
                    with suppress(JobError):
                        read_metrics(self.workspace, job)
                self.looks += 1
            except Exception as error:  # whatever a server would have shown as a crash
                self.seen.append(f"observer: {type(error).__name__}: {error}")

    def lane(self, lane: int) -> None:
        """One job after another until the time is over."""
        draw, number = Random(f"{self.seed}/{lane}"), 0
        while time.monotonic() < self.until:
            work = draw.choice(works.WORKS)
            kinds = draw.choices(list(ACTIONS), weights=list(ACTIONS.values()), k=draw.randint(1, 3))
            plan = [(kind, draw.uniform(0, 1.1), draw.random() < 0.8) for kind in kinds]
            episode = Episode(2 * number + lane, lane, work, plan, time.monotonic())
            number += 1
            try:
                self.live(episode, draw)
            except Exception as error:
                episode.wrong.append(f"{type(error).__name__}: {error}")
            self.record(episode)

    def live(self, episode: Episode, draw: Random) -> None:
        """Start, disturb, wait, check, remove."""
        usual = self.references[episode.work][2]
        kind, args = works.job_of(self.workspace, episode.work, episode.name)
        while not episode.job:
            try:
                episode.job = start_job(self.workspace, kind, args, title=episode.name)
            except StorageError:
                self.after_full(episode, "start refused: disk full")
        for action, share, running in episode.plan:
            status = self.until_due(episode, share * usual, running)
            if not status.active:
                break
            begin, pid = time.monotonic(), workers(self.workspace).get(episode.job)
            said = getattr(self, action)(episode, pid, draw)
            episode.log.append(f"{action} at {status.state} {status.fraction:.0%}: {said} ({_ago(begin):.1f} s)")
            self.resume(episode)
        self.settle(episode)
        self.check(episode)

    def until_due(self, episode: Episode, seconds: float, running: bool) -> JobStatus:
        """Wait until the job runs (where so drawn) and `seconds` are over, or it has ended."""
        begin = limit = time.monotonic()
        while (status := job_status(self.workspace, episode.job)).active and _ago(limit) < WAIT:
            if running and status.state == "queued":
                begin = time.monotonic()
            elif _ago(begin) >= seconds:
                break
            time.sleep(0.02)
        return status

    def kill(self, episode: Episode, pid: int | None, draw: Random) -> str:
        return self._signal(episode, pid, signal.SIGKILL, ("interrupted", "done", "failed"))

    def term(self, episode: Episode, pid: int | None, draw: Random) -> str:
        return self._signal(episode, pid, signal.SIGTERM, ("stopped", "interrupted", "done", "failed"))

    def _signal(self, episode: Episode, pid: int | None, number: int, expected: tuple[str, ...]) -> str:
        if pid is None:
            return "too late"
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        return self._ends(episode, expected)

    def stop(self, episode: Episode, pid: int | None, draw: Random) -> str:
        try:
            stop_job(self.workspace, episode.job)
        except JobError:
            return "too late"
        except StorageError:
            return "refused: disk full"
        return self._ends(episode, ("stopped", "done", "failed"))

    def _ends(self, episode: Episode, expected: tuple[str, ...]) -> str:
        status = wait_job(self.workspace, episode.job, timeout=WAIT)
        if status.state not in expected:
            episode.wrong.append(f"{status.state} where one of {expected} was due: {status.error}")
        return status.state

    def full(self, episode: Episode, pid: int | None, draw: Random) -> str:
        """A full disk for some seconds; with luck a resume meets it too."""
        leave, hold, again = draw.choice(LEAVE), draw.uniform(1, 5), draw.random() < 0.3
        with self.disk.filling:
            try:
                self.disk.fill(leave, pid)
                status = wait_job(self.workspace, episode.job, timeout=hold)
                said = f"{leave} bytes left: {status.state}"
                if again and status.resumable:
                    try:
                        resume_job(self.workspace, episode.job)
                        status = wait_job(self.workspace, episode.job, timeout=hold)
                        said += f", resumed: {status.state}"
                    except FVMError as error:
                        said += f", resume: {type(error).__name__}"
                        status = job_status(self.workspace, episode.job)
            finally:
                self.disk.give_back(pid)
        return said

    def slow(self, episode: Episode, pid: int | None, draw: Random) -> str:
        hold = draw.uniform(1, 4)
        if pid is None or self.disk.slow_by == "none":
            return "not done"
        self.disk.slow(pid)
        status = wait_job(self.workspace, episode.job, timeout=hold)
        self.disk.fast(pid)
        return status.state

    def freeze(self, episode: Episode, pid: int | None, draw: Random) -> str:
        bursts = [(draw.uniform(0.05, 0.6), draw.uniform(0.02, 0.2)) for _ in range(draw.randint(2, 6))]
        for still, going in bursts if pid else ():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                time.sleep(still)
                if not job_status(self.workspace, episode.job).active and alive(pid):
                    episode.wrong.append("a frozen worker's job is not active")
                os.kill(pid, signal.SIGCONT)
                time.sleep(going)
        return job_status(self.workspace, episode.job).state

    def resume(self, episode: Episode) -> None:
        """Take a job up again that did not end well; what it says must name a cause that we made."""
        status = job_status(self.workspace, episode.job)
        if not status.resumable:
            return
        full = self.disk.last_full >= episode.began
        if status.state == "failed" and not (full and "Free disk space" in status.error):
            episode.wrong.append(f"failed: {status.error}")
        if status.state == "interrupted" and not status.error:
            episode.wrong.append("interrupted without a word")
        episode.resumes += 1
        try:
            resume_job(self.workspace, episode.job)
        except StorageError:
            self.after_full(episode, "resume refused: disk full")

    def after_full(self, episode: Episode, said: str) -> None:
        """Note a refusal, and wait until the disk has room."""
        if self.disk.last_full < episode.began:
            raise RuntimeError(f"{said}, but it was not")
        episode.log.append(said)
        with self.disk.filling:
            pass
        time.sleep(0.05)

    def settle(self, episode: Episode) -> None:
        """Wait for the end, resuming what another lane's full disk has ended."""
        for _ in range(10):
            status = wait_job(self.workspace, episode.job, timeout=WAIT)
            if status.active:
                episode.wrong.append(f"still {status.state} after {WAIT:.0f} s: {status.message}")
                with suppress(FVMError):
                    stop_job(self.workspace, episode.job)
                return
            if status.state == "done":
                return
            episode.log.append(f"{status.state}: {status.error}")
            with self.disk.filling:
                pass
            self.resume(episode)
        episode.wrong.append(f"never done: {status.state}: {status.error}")

    def check(self, episode: Episode) -> None:
        """Compare with the reference, then remove the job and its result."""
        folder = open_folder(self.workspace, episode.job)
        said = read_status(folder)
        if said is None or said.state != "done":
            episode.wrong.append(f"status.json says {said and said.state}")
        if not _soon(lambda: not is_locked(folder.lock) and episode.job not in workers(self.workspace)):
            episode.wrong.append("ended, but its lock is held or its process alive")
        job, name, _ = self.references[episode.work]
        episode.wrong += works.wrongs(self.workspace, episode.work, episode.job, episode.name, (job, name))
        episode.wrong += [f"left behind: {path}" for path in works.leftovers(self.workspace, episode.job, episode.name)]
        if not episode.wrong:
            works.remove(self.workspace, episode.work, episode.name)
            delete_job(self.workspace, episode.job)

    def record(self, episode: Episode) -> None:
        with self.guard:
            self.rows.append(
                {
                    "episode": episode.number, "lane": episode.lane, "work": episode.work,
                    "at_s": round(episode.began - self.start, 1), "seconds": round(_ago(episode.began), 1),
                    "undisturbed_s": round(self.references[episode.work][2], 1),
                    "planned": " ".join(action for action, _, _ in episode.plan), "done": "; ".join(episode.log),
                    "resumes": episode.resumes, "outcome": "VIOLATED" if episode.wrong else "right",
                    "violations": "; ".join(episode.wrong),
                }
            )  # fmt: skip
            self.table()
            last = self.rows[-1]
            print(*(last[key] for key in ("at_s", "work", "done", "outcome", "violations")), sep=" | ", flush=True)

    def table(self) -> pd.DataFrame:
        """Return one row an episode, with what all of them have in common; it is also written to the file."""
        more = {
            "seed": self.seed, "minutes": round(_ago(self.start) / 60, 1), "looks": self.looks,
            "load": round(os.getloadavg()[1], 1), "machine": machine(), "full_disk": self.disk.full_by,
            "slow_reads": self.disk.slow_by,
        }  # fmt: skip
        table = pd.DataFrame(self.rows).sort_values("at_s").assign(**more)
        if self.out:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            table.to_csv(self.out, index=False)
        return table


def workers(workspace: Workspace) -> dict[str, int]:
    """Return {job: pid} of the living workers by their command lines, as nothing in the folders is to be trusted."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = path.read_bytes().decode("utf-8", "replace").split("\0")
            if "fvm_core" in words and (job := next((w for w in words if w.startswith(str(workspace.jobs))), "")):
                found[Path(job).name] = int(path.parent.name)
    return found


def alive(pid: int) -> bool:
    """Return whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _ago(moment: float) -> float:
    return time.monotonic() - moment


def _soon(holds: Callable[[], bool]) -> bool:
    until = time.monotonic() + GRACE
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def run(disk: Disk, *, minutes: float, seed: int, lanes: int, out: Path | None) -> tuple[pd.DataFrame, list[str]]:
    """Return the table of episodes, and what the observer saw wrong."""
    whole = Run(disk, seed=seed, out=out)
    try:
        whole.make_references()
        whole.until = time.monotonic() + 60 * minutes

        def enough(*_: object) -> None:
            whole.until = 0.0

        signal.signal(signal.SIGINT, enough)
        watcher = threading.Thread(target=whole.observe, daemon=True)
        threads = [threading.Thread(target=whole.lane, args=(lane,), daemon=True) for lane in range(lanes)]
        for thread in (watcher, *threads):
            thread.start()
        for thread in threads:
            thread.join()
        whole.ended.set()
        watcher.join()
    finally:
        for pid in workers(whole.workspace).values():
            os.kill(pid, signal.SIGKILL)
    left = [f"{status.id} is {status.state} at the end" for status in list_jobs(whole.workspace) if status.active]
    return whole.table(), sorted(set(whole.seen)) + left


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lanes", type=int, default=2)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the disk is unmounted
    disk = Disk()
    print(f"full disk: {disk.full_by}\nslow reads: {disk.slow_by}", flush=True)
    try:
        table, seen = run(disk, minutes=args.minutes, seed=args.seed, lanes=args.lanes, out=args.out)
    finally:
        disk.close()
    wrong = int((table["outcome"] != "right").sum())
    print(f"{len(table)} episodes, {wrong} violated, {table['resumes'].sum()} resumes, {table['looks'][0]} looks")
    print(*seen, sep="\n")
    sys.exit(1 if wrong or seen else 0)


if __name__ == "__main__":
    main()
