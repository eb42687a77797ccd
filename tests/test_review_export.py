"""Export: all samples, what the reviewer saw, and the same labels when loaded back."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from review_states import decision, states
from score_files import small_dataset

from fvm_core.data.corrections import with_corrections
from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.open import open_dataset
from fvm_core.data.registry import add_dataset, open_named
from fvm_core.errors import ReviewError, StorageError
from fvm_core.files import file_sha256
from fvm_core.review.export import COLUMNS, Exported, corrected_labels, export_provenance, use_as_dataset, write_export
from fvm_core.review.replay import Counts
from fvm_core.review.session import ReviewSession
from fvm_core.workspace import Workspace

SESSION = ReviewSession("s1", "first", "Ada", "digits", "f1", "2026-01-01T00:00:00+00:00")


STATES = states("influence")


def test_corrected_labels_have_every_sample_and_only_decided_ones_change() -> None:
    dataset = small_dataset(8, 4)
    frame = corrected_labels(dataset, STATES)
    assert tuple(frame.columns) == COLUMNS and frame["id"].tolist() == dataset.ids.tolist()
    assert frame["given_label"].tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    assert frame["label"].tolist() == [0, 2, 2, 3, 3, 1, 2, 3]
    assert frame["name"].tolist() == [f"class {k}" for k in frame["label"]]
    assert frame["action"].tolist() == ["", "accept", "", "keep", "pick", "skip", "", ""]
    assert frame["reviewer"].tolist()[:2] == ["", "Ada"]
    assert set(frame["dataset_fingerprint"]) == {dataset.fingerprint}
    assert frame["suggested"].tolist() == [-1, 2, -1, 2, 2, 2, -1, -1] and np.isnan(frame["score"][0])


def test_corrected_labels_fill_undecided_rows_from_the_run_and_keep_what_was_seen() -> None:
    dataset = small_dataset(8, 4)
    scores = pd.DataFrame({"id": dataset.ids[::-1][:6], "score": np.arange(6.0), "suggested": [1] * 6})
    frame = corrected_labels(dataset, STATES, scores=scores, method="loss", score_provenance="cd").set_index("id")
    assert frame.loc["img-0007", ["method", "score", "suggested", "score_provenance"]].tolist() == [
        "loss",
        0.0,
        1,
        "cd",
    ]
    assert frame.loc["img-0004", ["method", "score", "score_provenance"]].tolist() == ["influence", 7.5, "ab12"]
    assert np.isnan(frame.loc["img-0000", "score"]) and frame.loc["img-0000", "suggested"] == -1


def test_corrected_labels_refuse_decisions_of_another_dataset() -> None:
    with pytest.raises(ReviewError, match=r"samples that the dataset does not have, e\.g\. 'img-0005'"):
        corrected_labels(small_dataset(5, 4), STATES)
    with pytest.raises(ReviewError, match="names class 9, but the dataset has 4"):
        corrected_labels(small_dataset(8, 4), {"img-0001": replace(STATES["img-0001"], label=9)})


def test_write_export_round_trips_with_provenance(workspace: Workspace) -> None:
    dataset = small_dataset(8, 4)
    frame = corrected_labels(dataset, STATES)
    provenance = export_provenance(SESSION, dataset, Counts(8, 1, 1, 1, 1), {"method": "influence"})
    files = write_export(workspace, "Digits, first pass", frame, provenance)
    assert files.csv == workspace.exports / "digits-first-pass.csv"
    pd.testing.assert_frame_equal(
        pd.read_csv(files.csv, keep_default_na=False, na_values={"score": [""]}, dtype={"id": str}),
        pd.read_parquet(files.parquet), check_dtype=False,
    )  # fmt: skip
    inside = json.loads(pq.read_schema(files.parquet).metadata[b"fvm_provenance"])
    beside = json.loads(files.provenance.read_text())
    assert inside["session"]["name"] == "first" and inside["counts"]["accepted"] == 1
    assert inside["dataset"]["fingerprint"] == dataset.fingerprint and len(inside["score_provenance"]) == 64
    assert beside["sha256"] == {path.name: file_sha256(path) for path in (files.csv, files.parquet)}


def test_write_export_leaves_the_old_file_when_the_disk_refuses(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = corrected_labels(small_dataset(8, 4), STATES)
    files = write_export(workspace, "mine", frame, {})
    before = files.parquet.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(StorageError, match="No space left on device"):
        write_export(workspace, "mine", frame.assign(label=0), {})
    assert files.parquet.read_bytes() == before


def test_use_as_dataset_loads_the_corrected_labels_back(workspace: Workspace) -> None:
    spec = DatasetSpec("digits", label="noisy")
    add_dataset(workspace, "digits", spec)
    dataset = open_named(workspace, "digits")
    sample, given = str(dataset.ids[5]), int(dataset.labels[5])
    states = {sample: decision(sample, "pick", (given + 1) % 10, given)}

    def write(name: str) -> Exported:
        return write_export(workspace, name, corrected_labels(dataset, states), {})

    name = use_as_dataset(workspace, "Corrected once", spec, write)
    corrected = open_named(workspace, name)
    assert name == "corrected-once" and np.flatnonzero(corrected.labels != dataset.labels).tolist() == [5]
    assert corrected.labels[5] == (given + 1) % 10
    with pytest.raises(ReviewError, match="a dataset 'corrected-once' exists"):
        use_as_dataset(workspace, "corrected once", spec, write)


def test_a_second_review_lies_on_top_of_the_first(workspace: Workspace) -> None:
    first = open_dataset(DatasetSpec("digits", label="noisy"))
    a, b = str(first.ids[5]), str(first.ids[9])
    once = write_export(workspace, "one", corrected_labels(first, {a: decision(a, "pick", 3, 0)}), {})
    second = open_dataset(with_corrections(first.spec, str(once.csv)))
    assert second.labels[5] == 3
    twice = write_export(workspace, "two", corrected_labels(second, {b: decision(b, "pick", 4, 0)}), {})
    third = open_dataset(with_corrections(second.spec, str(twice.parquet)))
    assert (third.labels[5], third.labels[9]) == (3, 4)
    assert np.array_equal(np.delete(third.labels, [5, 9]), np.delete(first.labels, [5, 9]))
