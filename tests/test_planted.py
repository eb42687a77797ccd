"""Planted wrong labels: which are changed, what finding them means, and the job on the digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from digits_job import fill
from sklearn.metrics import roc_auc_score

from fvm_core.data.registry import list_datasets, open_named
from fvm_core.errors import DataError, SettingsError
from fvm_core.influence.planted import PlantSettings, plant, read_self_test, recall_table
from fvm_core.influence.planted_job import run
from fvm_core.influence.store import list_runs, read_scores
from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.workspace import Workspace

LABELS = np.random.default_rng(0).integers(0, 4, 20_000)


def test_a_share_of_the_chosen_samples_gets_another_label() -> None:
    made = plant(LABELS, 4, PlantSettings(share=0.2, limit=1000, pattern="uniform"))
    assert len(made.rows) == 1000 == len(set(made.rows)) and len(made.flipped) == 200
    assert set(made.flipped) <= set(made.rows) and (made.labels != LABELS[made.flipped]).all()
    again = plant(LABELS, 4, PlantSettings(share=0.2, limit=1000, pattern="uniform"))
    assert (again.flipped == made.flipped).all() and (again.labels == made.labels).all()
    other = plant(LABELS, 4, PlantSettings(share=0.2, limit=1000, pattern="uniform", seed=1))
    assert set(other.flipped) != set(made.flipped)


def test_confusions_follow_the_matrix_beside_its_diagonal() -> None:
    matrix = np.array([[0.7, 0.3, 0, 0], [0, 1, 0, 0], [0.1, 0, 0.6, 0.3], [0.2, 0.2, 0.2, 0.4]])
    made = plant(LABELS, 4, PlantSettings(share=0.5, limit=None), matrix)
    given = LABELS[made.flipped]
    counts = np.zeros((4, 4))
    np.add.at(counts, (given, made.labels), 1)
    expected = np.array([[0, 1, 0, 0], [1 / 3, 0, 1 / 3, 1 / 3], [0.25, 0, 0, 0.75], [1 / 3, 1 / 3, 1 / 3, 0]])
    assert counts / counts.sum(1, keepdims=True) == pytest.approx(expected, abs=0.04)
    assert (counts[expected == 0] == 0).all()


def test_found_means_among_the_most_suspicious() -> None:
    frame = pd.DataFrame(
        {"id": list("abcdefgh"), "suspicion": [8.0, 7, 6, 5, 4, 3, 2, 1], "suggested": [1, 1, 0, 0, 2, 0, 0, 0]}
    )
    found = recall_table(frame, ["a", "c", "e", "g"], {"a": 1, "c": 1, "e": 2, "g": 0})
    assert [(item["count"], item["found"]) for item in found["at"]] == [(2, 1), (4, 2), (8, 4)]
    assert found["at"][1]["recall"] == 0.5 == found["at"][1]["precision"] and found["relabel"] == 0.75
    assert found["auc"] == pytest.approx(roc_auc_score([1, 0, 1, 0, 1, 0, 1, 0], frame["suspicion"]))
    frame["suggested"] = -1
    assert recall_table(frame, ["a"], {"a": 1})["relabel"] is None


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"share": 1.0}, r"`share` must be in \(0, 1\), got 1.0"),
        ({"limit": 1}, "`limit` must be >= 2, or none for all, got 1"),
        ({"pattern": "pairs"}, "`pattern` must be one of .*'confusions'.*, got 'pairs'"),
        ({"seed": -1}, "`seed` must be >= 0, got -1"),
    ],
)
def test_bad_settings_are_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        PlantSettings.from_json(values)


def test_too_few_samples_or_no_matrix_are_errors() -> None:
    with pytest.raises(DataError, match="must change at least one label and leave one"):
        plant(LABELS, 4, PlantSettings(share=0.01, limit=10, pattern="uniform"))
    with pytest.raises(SettingsError, match=r"`matrix` must be \(4, 4\) for `confusions`, got \(\)"):
        plant(LABELS, 4, PlantSettings(limit=100))


@pytest.mark.parametrize("pattern", ["uniform", "confusions"])
def test_the_job_scores_planted_labels_apart_from_the_real_ones(
    workspace: Workspace, tmp_path: Path, pattern: str
) -> None:
    fill(workspace, tmp_path)
    args = {
        "model": "m", "dataset": "digits", "validation": "clean", "methods": ["loss", "influence"],
        "settings": {"limit": 60, "share": 0.25, "pattern": pattern}, "scoring": {"relabel": "all", "damping": 1e-6},
    }  # fmt: skip
    key = run(MemoryContext(tmp_path / "job"), args, workspace)["key"]
    found = read_self_test(workspace, key)
    assert (found["samples"], found["planted"]) == (60, 15) and set(found["methods"]) == {"loss", "influence"}
    assert list_runs(workspace) == [] and set(list_datasets(workspace)) == {"digits", "all-clean", "clean"}
    folder = workspace.root / "self_tests" / key
    planted = pd.read_parquet(folder / "labels.parquet").set_index("id")["label"]
    digits = open_named(workspace, "digits")
    before = dict(zip(digits.ids.tolist(), digits.labels.tolist(), strict=True))
    frame = read_scores(folder / "scores" / "planted" / "loss.parquet").frame
    assert [planted.get(one, before[one]) for one in frame["id"]] == frame["label"].tolist()
    order = frame.sort_values("suspicion", ascending=False, kind="stable")["id"].tolist()
    at = next(item for item in found["methods"]["loss"]["at"] if item["count"] == 15)
    assert at["found"] == len(set(order[:15]) & set(planted.index))
    context = MemoryContext(tmp_path / "job")
    assert run(context, args, workspace)["key"] == key and not any("Scoring" in item[2] for item in context.messages)
