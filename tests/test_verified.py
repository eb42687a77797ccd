"""Verified images join the clean set: two datasets that share no image."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fvm_core.data.dataset import DatasetSpec, LabeledImages
from fvm_core.data.joined import joined_spec
from fvm_core.data.open import open_dataset
from fvm_core.data.overlap import overlap
from fvm_core.data.registry import add_dataset, open_named
from fvm_core.data.stamp import spec_stamp
from fvm_core.data.verified import run
from fvm_core.errors import DataError
from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.workspace import Workspace


def archive(folder: Path, name: str, images: np.ndarray, labels: list[int]) -> DatasetSpec:
    np.savez(path := folder / f"{name}.npz", images=images, labels=np.array(labels))
    return DatasetSpec("npz", path=str(path), options={"class_names": ["a", "b", "c"]})


@pytest.fixture
def sets(workspace: Workspace) -> tuple[LabeledImages, LabeledImages]:
    """Ten training images: 3 is in the clean set, 5 and 7 are one image. Labels 1 and 5 were corrected."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (14, 4, 4), dtype=np.uint8)
    images[7], images[10] = images[5], images[3]
    spec = archive(workspace.root, "train", images[:10], [0, 1, 2, 0, 1, 2, 0, 1, 2, 0])
    train = open_dataset(spec)
    table = pd.DataFrame({"id": train.ids[[1, 5]], "label": [2, 0], "dataset_fingerprint": train.fingerprint})
    table.to_csv(path := workspace.root / "labels.csv", index=False)
    add_dataset(workspace, "train", replace(spec, corrections=str(path)))
    add_dataset(workspace, "clean", archive(workspace.root, "clean", images[10:], [0, 1, 2, 0]))
    return open_named(workspace, "train"), open_named(workspace, "clean")


def join(workspace: Workspace, rows: list[int], sets: tuple[LabeledImages, LabeledImages], **more: Any) -> Any:
    (path := workspace.root / "verified.json").write_text(json.dumps(sets[0].ids[rows].tolist()))
    args = {"corrected": "train", "validation": "clean", "verified": str(path), "clean": "Clean 2", "rest": "Rest"}
    return run(MemoryContext(), {**args, **more}, workspace)


def test_verified_images_join_with_their_reviewed_labels_and_nothing_is_in_both(
    workspace: Workspace, sets: tuple[LabeledImages, LabeledImages]
) -> None:
    train, clean = sets
    said = join(workspace, [1, 3, 5], sets)
    assert said == {"clean": "clean-2", "rest": "rest", "added": 2, "known": 1, "copies": 1}
    joined, rest = open_named(workspace, "clean-2"), open_named(workspace, "rest")
    assert joined.ids.tolist() == [*clean.ids.tolist(), *train.ids[[1, 5]].tolist()]
    assert joined.labels.tolist() == [*clean.labels.tolist(), 2, 0]
    for place, row in ((4, 1), (5, 5)):
        assert np.array_equal(joined.read(place), train.read(row))
    assert all(np.array_equal(joined.read(k), clean.read(k)) for k in range(4))
    assert rest.ids.tolist() == train.ids[[0, 2, 4, 6, 8, 9]].tolist(), "7 is a copy of 5, 3 is in the clean set"
    assert len(overlap(rest, joined)) == 0
    again = join(workspace, [0], sets, corrected="rest", validation="clean-2", clean="clean-3", rest="rest-2")
    assert again["added"] == 1 and len(open_named(workspace, "clean-3")) == 7


def test_nothing_to_join_is_said(workspace: Workspace, sets: tuple[LabeledImages, LabeledImages]) -> None:
    with pytest.raises(DataError, match="`verified` must name at least one image"):
        join(workspace, [], sets)
    with pytest.raises(DataError, match="are in the clean set already"):
        join(workspace, [3], sets)
    with pytest.raises(DataError, match="no training image would be left"):
        join(workspace, list(range(10)), sets)
    with pytest.raises(DataError, match="another dataset is called 'train'"):
        join(workspace, [1], sets, rest="train")


def test_joined_dataset_matches_classes_by_name_and_names_what_is_wrong(workspace: Workspace) -> None:
    images = np.random.default_rng(1).integers(0, 256, (4, 3, 3), dtype=np.uint8)
    one = archive(workspace.root, "one", images, [0, 1, 2, 0])
    turned = replace(one, options={"class_names": ["c", "b", "a"]})
    joined = open_dataset(joined_spec([one, turned]))
    assert joined.labels.tolist() == [0, 1, 2, 0, 2, 1, 0, 2] and joined.clean_labels is None
    assert joined.ids.tolist()[4] == f"2/{joined.ids[0]}" and len(set(joined.ids.tolist())) == 8
    before, fingerprint = spec_stamp(joined.spec), joined.fingerprint
    archive(workspace.root, "one", images[::-1], [0, 1, 2, 0])
    assert spec_stamp(joined.spec) != before
    assert open_dataset(joined.spec).fingerprint != fingerprint
    with pytest.raises(DataError, match="`parts` must be 2 to 16 datasets"):
        open_dataset(joined_spec([one]))
    with pytest.raises(DataError, match="none of them joined"):
        open_dataset(joined_spec([one, joined.spec]))
    wider = replace(one, options={"class_names": ["a", "b", "c", "d"]})
    with pytest.raises(DataError, match=r"'x' must be one of"):
        open_dataset(joined_spec([wider, replace(one, options={"class_names": ["a", "b", "x"]})]))
    with pytest.raises(DataError, match="`parts` must be a list of datasets"):
        open_dataset(DatasetSpec("joined", options={"parts": ["a", "b"]}))
