from pathlib import Path

from data_samples import png, write_parquet

from fvm_core.data import overlap as overlap_module
from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.open import open_dataset
from fvm_core.data.overlap import overlap


def test_same_bytes_are_found_across_kinds_and_unreadable_ones_counted(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(overlap_module, "CHUNK", 2)
    train = open_dataset(
        write_parquet(tmp_path / "train.parquet", [png(1), png(2), png(3), png(2), None], [0, 1, 0, 1, 0])
    )
    for name, data in (("a/two.png", png(2)), ("b/nine.png", png(9)), ("b/three.png", png(3))):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(data)
    validation = open_dataset(DatasetSpec("folder", str(tmp_path / "set")))
    steps: list[tuple[int, int]] = []
    found = overlap(train, validation, lambda done, total: steps.append((done, total)))
    assert found.pairs == (
        ("train-00001", "a/two.png"), ("train-00002", "b/three.png"), ("train-00003", "a/two.png"),
    )  # fmt: skip
    assert found.train.tolist() == [1, 2, 3]
    assert found.validation.tolist() == [0, 2, 0]
    assert (len(found), found.unreadable) == (3, 1)
    assert steps == [(2, 8), (4, 8), (6, 8), (8, 8)]


def test_arrays_overlap_with_themselves_but_the_demo_splits_only_by_chance() -> None:
    train = open_dataset(DatasetSpec("digits"))
    same = overlap(train, train)
    assert len(same) == len(train)
    assert len(overlap(train, open_dataset(DatasetSpec("digits", options={"split": "validation"})))) == 0
