from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fvm_core.data.corrections import with_corrections
from fvm_core.data.dataset import DatasetSpec, LabeledImages
from fvm_core.data.open import open_dataset
from fvm_core.data.subset import write_ids
from fvm_core.errors import DataError

SPEC = DatasetSpec("digits")


def export(path: Path, dataset: LabeledImages, labels: np.ndarray, **more: object) -> str:
    """Write what the Review page exports, as far as loading it back is concerned."""
    names = [dataset.class_names[label] for label in labels]
    frame = pd.DataFrame({
        "id": dataset.ids, "given_label": dataset.labels, "label": labels, "name": names, "action": "",
        "dataset_fingerprint": dataset.fingerprint, **more,
    })  # fmt: skip
    frame.to_csv(path, index=False) if path.suffix == ".csv" else frame.to_parquet(path, index=False)
    return str(path)


@pytest.mark.parametrize("name", ["fixed.csv", "fixed.parquet"])
def test_corrected_labels_take_the_place_of_the_given_ones(tmp_path: Path, name: str) -> None:
    base = open_dataset(SPEC)
    path = export(tmp_path / name, base, base.clean_labels)
    fixed = open_dataset(DatasetSpec("digits", corrections=path))
    assert not fixed.mislabeled().any()
    assert fixed.fingerprint != base.fingerprint
    assert f"{base.mislabeled().sum():,} labels were changed" in fixed.notes[-1]


def test_a_few_hand_made_rows_are_enough(tmp_path: Path) -> None:
    base = open_dataset(SPEC)
    (tmp_path / "few.csv").write_text(f"id,name\n{base.ids[3]},{(base.labels[3] + 1) % 10}\n")
    fixed = open_dataset(DatasetSpec("digits", corrections=str(tmp_path / "few.csv")))
    assert np.flatnonzero(fixed.labels != base.labels).tolist() == [3]
    assert any("only ids were compared" in note for note in fixed.notes)


def test_a_second_review_goes_on_top_of_the_first(tmp_path: Path) -> None:
    base = open_dataset(SPEC)
    labels = base.labels.copy()
    labels[0] = (labels[0] + 1) % 10
    once = with_corrections(SPEC, export(tmp_path / "one.csv", base, labels))
    first = open_dataset(once)
    labels[1] = (labels[1] + 1) % 10
    path = export(tmp_path / "two.csv", first, labels)
    twice = open_dataset(with_corrections(once, path))
    assert twice.labels.tolist() == labels.tolist()
    with pytest.raises(DataError, match="were made for another"):
        open_dataset(with_corrections(SPEC, path))
    unchecked = DatasetSpec("digits", corrections=path, options={"corrections_check": "ids"})
    assert open_dataset(unchecked).labels.tolist() == labels.tolist()


def test_review_of_chosen_rows_loads_with_the_same_rows(tmp_path: Path) -> None:
    base = open_dataset(SPEC)
    write_ids(tmp_path / "some.txt", base.ids[:50])
    some = DatasetSpec("digits", include=str(tmp_path / "some.txt"))
    part = open_dataset(some)
    fixed = open_dataset(with_corrections(some, export(tmp_path / "a.csv", part, part.clean_labels)))
    assert len(fixed) == 50
    assert not fixed.mislabeled().any()


def test_another_dataset_is_refused(tmp_path: Path) -> None:
    other = open_dataset(DatasetSpec("digits", options={"seed": 1}))
    path = export(tmp_path / "a.parquet", other, other.labels)
    with pytest.raises(DataError, match=r"must be made for this dataset \(\w{12}\), but were made for another"):
        open_dataset(DatasetSpec("digits", corrections=path))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("key,label\na,1\n", "must have the columns `id` and `label` or `name`"),
        ("id,label\nnobody,1\n", "1 are not in it, such as 'nobody'"),
        ("id,label\n{0},1\n{0},2\n", "must name each id once, got 'digits-"),
        ("id,label\n{0},10\n", r"must be 0 to 9, got 10 in row 0"),
        ("id,label\n{0},\n", r"must be 0 to 9, got -1 in row 0"),
        ("id,label\n{0},x\n", "`label` in corrections .* must hold class numbers"),
        ("id,name\n{0},cat\n", "`name` in corrections .* must be one of .*got 'cat' in row 0"),
        ("id,label,name\n{0},1,2\n", r"`label` and `name` .* must agree, got 1 \('1'\) and '2' in row 0"),
        ("", "cannot be read as a table"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, match: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text.format(str(open_dataset(SPEC).ids[0])))
    with pytest.raises(DataError, match=match):
        open_dataset(DatasetSpec("digits", corrections=str(path)))
