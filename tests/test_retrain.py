"""The loop closed: the same recipe on corrected labels, compared on clean images by an independent count."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import binom

from fvm_core.data.corrections import with_corrections
from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.registry import add_dataset, open_named
from fvm_core.errors import SettingsError
from fvm_core.jobs.context import JobStopped
from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.models.checkpoint import load_model
from fvm_core.models.store import ModelRecord, list_models, read_record, write_record
from fvm_core.tuning import train
from fvm_core.tuning.before_after import compare
from fvm_core.tuning.retrain import recipe, run, trained_on
from fvm_core.tuning.settings import TRAIN_PRESETS, TrainSettings
from fvm_core.workspace import Workspace

SETTINGS = TrainSettings(
    epochs=4, batch_size=64, schedule="onecycle", drop_epochs=(), augment=False, checkpoint_epochs=(), seed=3
)
MODEL = {"arch": "digits_cnn", "num_classes": 10, "in_channels": 1, "image_size": 8, "mean": [0.5], "std": [0.5]}


@pytest.fixture
def reviewed(workspace: Workspace) -> Workspace:
    """Digits with half of the labels wrong, all of them corrected, a clean set and a base model of four epochs."""
    add_dataset(workspace, "noisy", DatasetSpec("digits", label="noisy", options={"rate": 0.5}))
    add_dataset(workspace, "clean", DatasetSpec("digits", label="clean", options={"split": "validation"}))
    noisy = open_named(workspace, "noisy")
    table = pd.DataFrame({"id": noisy.ids, "label": noisy.clean_labels, "dataset_fingerprint": noisy.fingerprint})
    table.to_parquet(path := workspace.root / "labels.parquet")
    add_dataset(workspace, "right", with_corrections(noisy.spec, str(path)))
    train.run(MemoryContext(), {"dataset": "noisy", "validation": "clean", "model": MODEL, "name": "base",
              "settings": SETTINGS.to_json()}, workspace)  # fmt: skip
    return workspace


def arguments(**more: Any) -> dict[str, Any]:
    return {"base": "base", "dataset": "noisy", "corrected": "right", "validation": "clean", "name": "again", **more}


def accuracy(workspace: Workspace, name: str) -> float:
    model, _ = load_model(workspace, name)
    clean = open_named(workspace, "clean")
    pixels = np.stack([clean.read(k) for k in range(len(clean))]).astype(np.float32)
    x = torch.from_numpy((pixels / 255 - 0.5) / 0.5).unsqueeze(1)
    with torch.no_grad():
        return float((model(x).argmax(1).numpy() == clean.labels).mean())


def test_retraining_uses_the_recipe_of_the_base_and_counts_right(reviewed: Workspace) -> None:
    said = run(MemoryContext(), arguments(), reviewed)
    assert (said["before"], said["model"]) == ("base", "again") and set(list_models(reviewed)) == {"base", "again"}
    old, new = read_record(reviewed, "base"), read_record(reviewed, "again")
    assert new.settings == old.settings and new.settings["seed"] == 3 and new.dataset["name"] == "right"
    noisy, right = open_named(reviewed, "noisy"), open_named(reviewed, "right")
    assert said["changed"] == int((noisy.labels != right.labels).sum()) > 0
    found = said["comparison"]
    assert found["before"] == pytest.approx(accuracy(reviewed, "base"))
    assert found["after"] == pytest.approx(accuracy(reviewed, "again"))
    assert found["after"] > found["before"]
    assert sum(row["count"] for row in found["classes"]) == found["count"] == 500
    for side in ("before", "after"):
        assert sum(row["count"] * row[side] for row in found["classes"]) / 500 == pytest.approx(found[side])


def test_a_base_from_elsewhere_gets_a_twin_on_the_old_labels_and_a_stopped_job_goes_on(reviewed: Workspace) -> None:
    record = read_record(reviewed, "base")
    write_record(reviewed, ModelRecord(**{**record.__dict__, "role": "imported"}))
    with pytest.raises(SettingsError, match="`preset` must be one of"):
        run(MemoryContext(), arguments(), reviewed)
    quick = TRAIN_PRESETS | {"quick": SETTINGS}
    context = MemoryContext(stop_at=120)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fvm_core.tuning.retrain.TRAIN_PRESETS", quick)
        with pytest.raises(JobStopped):
            run(context, arguments(preset="quick"), reviewed)
        made = set(list_models(reviewed))
        assert "again" not in made and "again-before" in made
        context.stop_at = None
        said = run(context, arguments(preset="quick"), reviewed)
    assert said["before"] == "again-before" and "was not trained here" in said["notes"][0]
    twin, base = (load_model(reviewed, name)[0].state_dict() for name in ("again-before", "base"))
    assert all(torch.equal(twin[key], base[key]) for key in base), "same recipe, seed and labels: the same weights"


def test_datasets_that_do_not_belong_together_are_refused(reviewed: Workspace) -> None:
    with pytest.raises(SettingsError, match="`corrected` must hold the images of `dataset`"):
        run(MemoryContext(), arguments(corrected="clean"), reviewed)
    with pytest.raises(SettingsError, match="`corrected` must have at least one label"):
        run(MemoryContext(), arguments(corrected="noisy"), reviewed)
    record = read_record(reviewed, "base")
    assert recipe(record) == SETTINGS and trained_on(record, open_named(reviewed, "noisy").fingerprint)
    assert not trained_on(record, open_named(reviewed, "right").fingerprint)


def test_compare_counts_pairs_and_tests_their_signs() -> None:
    before = np.array([True] * 50 + [False] * 30 + [True] * 5 + [False] * 15)
    after = np.array([True] * 50 + [True] * 30 + [False] * 5 + [False] * 15)
    found = compare(before, after, np.arange(100) % 2, ("even", "odd", "none"))
    assert (found["before"], found["after"], found["won"], found["lost"]) == (0.55, 0.8, 30, 5)
    assert found["p"] == pytest.approx(2 * binom.cdf(5, 35, 0.5))
    assert found["classes"][2] == {"name": "none", "count": 0, "before": None, "after": None}
    assert compare(before, before, np.arange(100) % 2, ("a", "b"))["p"] == 1.0
