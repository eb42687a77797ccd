"""The snapshots job: one sample under every kept weights file of a tuning."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from fvm_core.data.registry import add_dataset, open_named
from fvm_core.demo import TRAINING, VALIDATION
from fvm_core.errors import CheckpointError, SettingsError
from fvm_core.influence import score, snapshots
from fvm_core.influence.metrics import auc_ap
from fvm_core.influence.store import read_scores
from fvm_core.jobs.context import JobStopped
from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.models.build import build_model
from fvm_core.models.checkpoint import load_model, save_model, save_weights
from fvm_core.models.spec import ModelSpec
from fvm_core.models.store import ModelRecord, read_record, write_record
from fvm_core.workspace import Workspace

SPEC = ModelSpec("digits_cnn", 10, width=8, in_channels=1, image_size=8)
STEPS = (0, 50, 100)


@pytest.fixture
def tuned(workspace: Workspace, tmp_path: Path) -> Workspace:
    """A model whose last snapshot is its weights and whose others have other weights."""
    add_dataset(workspace, "digits", TRAINING)
    clean = add_dataset(workspace, "all-clean", VALIDATION)
    (tmp_path / "ids.txt").write_text("\n".join(open_named(workspace, clean).ids[:30]))
    add_dataset(workspace, "clean", replace(VALIDATION, include=str(tmp_path / "ids.txt")))
    folder, kept = workspace.models / "m", []
    for step in STEPS:
        torch.manual_seed(step)
        model = build_model(SPEC)
        file = f"snapshots/step_{step:06d}.safetensors"
        save_weights(folder / file, model)
        kept.append({"step": step, "file": file})
    save_model(folder, model, ModelRecord("m", "fvm", SPEC, snapshots=tuple(kept)))
    return workspace


def arguments(**changes: Any) -> dict[str, Any]:
    args = {"model": "m", "dataset": "digits", "validation": "clean", "run": "m", "sample": 60, "seed": 3}
    return {**args, "settings": {"batch_size": 16, "lissa_depth": 3, "lissa_scale": 500.0, "relabel": "all"}, **changes}


def test_every_snapshot_is_scored_by_both_methods(tuned: Workspace) -> None:
    context = MemoryContext()
    result = snapshots.run(context, arguments(), tuned)
    found = read_scores(tuned.scores / "m" / "snapshots.parquet")
    frame, provenance = found.frame, found.provenance
    assert result["samples"] == 60 and provenance["method"] == "snapshots" and provenance["snapshots"] == list(STEPS)
    assert frame.groupby(["step", "method"]).size().to_dict() == {
        (step, method): 60 for step in STEPS for method in ("standard", "influence")
    }
    assert frame.groupby(["step", "method"])["id"].apply(tuple).nunique() == 1, "the same sample everywhere"
    influence = frame[frame["method"] == "influence"]
    standard = frame[frame["method"] == "standard"]
    np.testing.assert_array_equal(influence["suspicion"], influence["score"])
    np.testing.assert_array_equal(standard["suspicion"], -standard["score"])
    data = open_named(tuned, "digits")
    wrong = dict(zip(data.ids, data.mislabeled(), strict=True))
    assert [wrong[name] for name in frame["id"]] == list(frame["mislabeled"])
    for row in context.metrics:
        at = influence[influence["step"] == row["step"]]
        assert row["influence_auc"] == pytest.approx(auc_ap(at["suspicion"], at["mislabeled"].astype(bool))[0])
    assert [row["step"] for row in context.metrics] == list(STEPS)


def test_the_last_snapshot_scores_as_the_model_itself(tuned: Workspace) -> None:
    snapshots.run(MemoryContext(), arguments(), tuned)
    settings = {"batch_size": 16, "lissa_depth": 3, "lissa_scale": 500.0, "relabel": "none", "limit": 60, "seed": 3}
    args = {"model": "m", "dataset": "digits", "validation": "clean", "run": "m", "methods": ["influence", "standard"]}
    score.run(MemoryContext(), {**args, "settings": settings}, tuned)
    frame = read_scores(tuned.scores / "m" / "snapshots.parquet").frame
    for method in ("influence", "standard"):
        last = frame[(frame["step"] == STEPS[-1]) & (frame["method"] == method)].reset_index(drop=True)
        whole = read_scores(tuned.scores / "m" / f"{method}.parquet").frame
        assert list(last["id"]) == list(whole["id"])
        np.testing.assert_allclose(last["score"], whole["score"], rtol=1e-5)
        first = frame[(frame["step"] == STEPS[0]) & (frame["method"] == method)]
        assert not np.allclose(first["score"], whole["score"])


def test_a_stopped_job_goes_on_where_it_was(tuned: Workspace) -> None:
    snapshots.run(MemoryContext(), arguments(run="whole"), tuned)
    context = MemoryContext(stop_at=25)
    with pytest.raises(JobStopped):
        snapshots.run(context, arguments(), tuned)
    kept = {path: path.stat().st_mtime_ns for path in context.folder.rglob("*.parquet")}
    assert 1 <= len(kept) < len(STEPS)
    context.stop_at = None
    snapshots.run(context, arguments(), tuned)
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    one, two = (read_scores(tuned.scores / run / "snapshots.parquet") for run in ("whole", "m"))
    pd.testing.assert_frame_equal(one.frame, two.frame)
    assert one.provenance["notes"] == two.provenance["notes"]


def test_a_model_without_snapshots_is_named(tuned: Workspace) -> None:
    model, record = load_model(tuned, "m")
    save_model(tuned.models / "m", model, replace(record, snapshots=()))
    with pytest.raises(CheckpointError, match="model 'm' has no snapshots"):
        snapshots.run(MemoryContext(), arguments(), tuned)


def test_a_custom_architecture_is_loaded_only_when_allowed(
    tuned: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_net.py").write_text(
        "from fvm_core.models.build import build_model\n"
        "from fvm_core.models.spec import ModelSpec\n"
        "def make(num_classes=10, **_):\n"
        "    return build_model(ModelSpec('digits_cnn', 10, width=8, in_channels=1, image_size=8))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    record = read_record(tuned, "m")
    write_record(tuned, replace(record, spec=replace(SPEC, arch="custom:own_net:make")))
    with pytest.raises(SettingsError, match="custom"):
        snapshots.run(MemoryContext(), arguments(sample=8), tuned)
    assert snapshots.run(MemoryContext(), arguments(sample=8, allow_custom=True), tuned)["samples"] == 8
