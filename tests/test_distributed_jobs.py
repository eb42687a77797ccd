"""The commands `score` and `tune` by two workers: one is lost or asked to stop, the command is started again."""

from __future__ import annotations

import re
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from digits_job import arguments, fill, frames
from killed_job import weights
from shared_worker import PART_ROWS, ends_of, start_pair, torchrun

from fvm_core.distributed.environment import Launch
from fvm_core.distributed.launch import share_job
from fvm_core.influence import rows as scoring
from fvm_core.influence import score
from fvm_core.influence.parts import find_parts, fold, part_path, read_part, write_part
from fvm_core.influence.store import SCHEMA, list_runs
from fvm_core.jobs.context import JobStopped
from fvm_core.jobs.launch import claim_job
from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.jobs.status import list_jobs
from fvm_core.tuning import tune
from fvm_core.tuning.settings import TuneSettings
from fvm_core.workspace import Workspace

WORKER = str(Path(__file__).with_name("shared_worker.py"))
METHODS = ["loss", "typical_influence", "influence", "confident", "standard"]
SETTINGS = {"relabel": "all", "batch_size": 16, "limit": 400, "lissa_depth": 2, "lissa_scale": 500.0, "damping": 1e-6}
PARTS = -(-400 // PART_ROWS)
SCORE = [
    WORKER, "score", "--model", "m", "--dataset", "digits", "--validation", "clean", "--run", "shared", "--methods",
    ",".join(METHODS), "--relabel", "all",
    *(word for key, value in SETTINGS.items() if key != "relabel" for word in ("--set", f"{key}={value}")),
]  # fmt: skip
SCORE_ARGS = {
    "model": "m", "dataset": "digits", "validation": "clean", "methods": METHODS, "run": "shared", "settings": SETTINGS,
}  # fmt: skip
TUNING = TuneSettings(steps=60, batch_size=12, save_every=3, hessian_every=0, snapshots=2, rho=0.1)
CHANGED = ("steps", "batch_size", "save_every", "hessian_every", "snapshots", "rho")
TUNE = [
    WORKER, "tune", "--model", "m", "--validation", "clean", "--name", "shared", "--solver", "sam",
    *(word for key in CHANGED for word in ("--set", f"{key}={getattr(TUNING, key)}")),
]  # fmt: skip


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "PART_ROWS", PART_ROWS)


@pytest.fixture
def ready(workspace: Workspace, tmp_path: Path) -> Workspace:
    return fill(workspace, tmp_path)


def parts_of(workspace: Workspace, method: str) -> list[Path]:
    return sorted(workspace.jobs.glob(f"*-score-*/scores/{method}/*.parquet"))


def assert_same_scores(workspace: Workspace, one: str, two: str) -> None:
    """Every row of both runs once and in order; numbers equal to 1e-6, everything else equal."""
    first, second = frames(workspace, one), frames(workspace, two)
    assert set(first) == set(second) == set(METHODS)
    for method, frame in first.items():
        other = second[method]
        assert len(other) == 400 and other["id"].is_unique
        numbers = ["score", "suspicion"]
        lists = ["label_scores", "label_exact"]
        pd.testing.assert_frame_equal(other.drop(columns=numbers + lists), frame.drop(columns=numbers + lists))
        for column in numbers:
            np.testing.assert_allclose(other[column], frame[column], rtol=1e-6, atol=0)
        if method != "confident":
            ours, theirs = (np.stack(f["label_scores"].tolist()) for f in (other, frame))
            np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_scores_survive_the_loss_of_a_worker_and_another_number_of_workers(ready: Workspace) -> None:
    score.run(MemoryContext(), arguments(run="whole", methods=METHODS, settings=SETTINGS), ready)
    pair = start_pair(SCORE, ready.root, HARM="1:kill:3", FVM_STUDIO_WORKER_TIMEOUT="8")
    (code, out, said), (killed, silent, _) = ends_of(pair)
    assert killed == -signal.SIGKILL and silent == "" and out == "" and code == 2
    assert re.search(r"worker 1 of 2 ended without a word .* within 8 s .*Start the same command again", said)
    kept = {path: path.stat().st_mtime_ns for path in parts_of(ready, "loss")}
    assert 3 < len(kept) + 1 < PARTS, "both did some, not all"
    assert [job.state for job in list_jobs(ready)] == ["failed"] and not list((ready.scores / "shared").glob("*"))

    status = share_job(Launch(0, 1), ready, "score", SCORE_ARGS, title="")
    assert status is not None and status.state == "done" and len(list_jobs(ready)) == 1, "one worker resumed the job"
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items()), "a whole part was made again"
    assert_same_scores(ready, "whole", "shared")


def test_torchrun_resumes_what_one_worker_began_and_each_leaves_one_part(ready: Workspace) -> None:
    whole = arguments(run="whole", methods=METHODS, settings=SETTINGS)
    score.run(MemoryContext(), whole, ready)
    folder, lock, old = claim_job(ready, "score", SCORE_ARGS)
    assert not old
    context = MemoryContext(folder=folder.root, stop_at=16)
    with pytest.raises(JobStopped):
        score.run(context, SCORE_ARGS, ready)
    lock.release()
    begun = {path.name: path.stat().st_mtime_ns for path in parts_of(ready, "loss")}
    assert 0 < len(begun) < PARTS
    done = torchrun(SCORE, ready.root)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count('"samples": 400') == 1, "worker 0 alone speaks"
    for method in METHODS:
        paths = parts_of(ready, method)
        assert len(paths) == 2 and paths[0].stem.startswith("0000000000-") and paths[1].stem.endswith("-0000000399")
    assert_same_scores(ready, "whole", "shared")
    notes = {item.method: item.provenance["notes"] for item in list_runs(ready) if item.run == "shared"}
    assert set(notes) == set(METHODS)


def test_a_stop_asked_of_one_worker_stops_both_at_one_step_and_tuning_goes_on(ready: Workspace) -> None:
    args = {"model": "m", "validation": "clean", "dataset": None, "name": "whole", "settings": TUNING.to_json()}
    tune.run(MemoryContext(), args, ready)
    ends = ends_of(start_pair(TUNE, ready.root, HARM="1:term:4", FVM_STUDIO_WORKER_TIMEOUT="60"))
    assert [end[0] for end in ends] == [3, 3], ends
    (job,) = list_jobs(ready)
    assert job.state == "stopped" and 4 <= job.done < TUNING.steps and not (ready.models / "shared").exists()
    state = torch.load(next(ready.jobs.glob("*-tune-*/state.pt")), weights_only=True)
    assert state["step"] == job.done
    asked = {**args, "name": "shared"}
    status = share_job(Launch(0, 1), ready, "tune", asked, title="")
    assert status is not None and status.state == "done" and len(list_jobs(ready)) == 1, "one worker went on"
    one, two = weights(ready, "whole"), weights(ready, "shared")
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-6, atol=1e-6)
    assert any(not torch.equal(value, weights(ready, "m")[name]) for name, value in one.items())


def test_a_job_with_other_arguments_or_a_finished_one_is_not_resumed(ready: Workspace) -> None:
    first, lock, _ = claim_job(ready, "score", SCORE_ARGS)
    lock.release()
    for args, resumed in ((SCORE_ARGS, True), ({**SCORE_ARGS, "run": "other"}, False), ({**SCORE_ARGS, "x": 1}, False)):
        folder, lock, old = claim_job(ready, "score", args)
        lock.release()
        assert old == resumed and (folder.root == first.root) == resumed


def table(start: int, count: int) -> pa.Table:
    filled = {"id": [f"{start + k}" for k in range(count)], "row": list(range(start, start + count))}
    return pa.table([pa.array(filled.get(field.name, [None] * count), field.type) for field in SCHEMA], schema=SCHEMA)


def test_folded_parts_hold_the_same_rows_once_even_if_the_small_ones_are_left(tmp_path: Path) -> None:
    for start in (0, 5, 10):
        write_part(part_path(tmp_path, "loss", start), table(start, 5), plan="p", seconds=1.0, notes=["a"])
    left = part_path(tmp_path, "loss", 5).read_bytes()
    fold(find_parts(tmp_path, "loss", plan="p"), SCHEMA, plan="p")
    part_path(tmp_path, "loss", 5).write_bytes(left)
    (found,) = find_parts(tmp_path, "loss", plan="p")
    assert (found.start, found.stop, found.seconds, found.notes) == (0, 15, 3.0, ("a",))
    assert pd.read_parquet(found.path)["row"].tolist() == list(range(15))
    assert find_parts(tmp_path, "loss", plan="q") == []
    apart = [found, replace(found, path=part_path(tmp_path, "loss", 20))]
    fold(apart, SCHEMA, plan="p")
    assert read_part(found.path, plan="p") is not None, "parts with a gap between them stay as they are"
