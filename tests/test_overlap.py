from pathlib import Path

import pytest
from data_samples import png, write_parquet

from fvm_core.data import overlap as overlap_module
from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.open import open_dataset
from fvm_core.data.overlap import overlap
from fvm_core.errors import StorageError


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
    assert steps == [(2, 8), (3, 8), (5, 8), (7, 8), (8, 8)]


def test_arrays_overlap_with_themselves_but_the_demo_splits_only_by_chance() -> None:
    train = open_dataset(DatasetSpec("digits"))
    same = overlap(train, train)
    assert len(same) == len(train)
    assert len(overlap(train, open_dataset(DatasetSpec("digits", options={"split": "validation"})))) == 0


def test_first_of_equal_validation_images_is_named_and_unreadable_ones_never_match(tmp_path: Path) -> None:
    train = open_dataset(write_parquet(tmp_path / "a.parquet", [None, png(7), b"junk"], [0, 1, 0]))
    validation = open_dataset(write_parquet(tmp_path / "b.parquet", [None, png(7), png(7), b"junk"], [0, 1, 0, 1]))
    found = overlap(train, validation)
    assert found.pairs == (("a-00001", "b-00001"), ("a-00002", "b-00003"))
    assert found.unreadable == 2


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
def test_cut_comparison_goes_on_and_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: int) -> None:
    monkeypatch.setattr(overlap_module, "CHUNK", 2)
    train = open_dataset(write_parquet(tmp_path / "a.parquet", [png(1), png(2), png(3), None, png(2)], [0, 1, 0, 1, 0]))
    validation = open_dataset(write_parquet(tmp_path / "b.parquet", [png(9), png(2), png(3)], [0, 1, 0]))
    calls: list[int] = []
    read = type(train).read
    monkeypatch.setattr(type(train), "read", lambda self, index: calls.append(index) or read(self, index))

    class Cut(Exception):
        pass

    def report(done: int, total: int) -> None:
        steps.append(done)
        if len(steps) == cut:
            raise Cut

    steps: list[int] = []
    (tmp_path / "job").mkdir()
    with pytest.raises(Cut):
        overlap(train, validation, report, folder=tmp_path / "job")
    if cut == 2:
        with (tmp_path / "job" / "validation.digests").open("ab") as file:
            file.write(b"half")
    resumed = overlap(train, validation, folder=tmp_path / "job")
    whole = overlap(train, validation)
    assert resumed.pairs == whole.pairs and resumed.unreadable == whole.unreadable == 1
    assert len(calls) == 2 * 8, "no image is read twice"
    assert list((tmp_path / "job").iterdir()) == []


def test_disk_that_refuses_the_digests_is_named(tmp_path: Path) -> None:
    train = open_dataset(write_parquet(tmp_path / "a.parquet", [png(1), png(2)], [0, 1]))
    (tmp_path / "validation.digests").mkdir()
    with pytest.raises(StorageError, match=r"validation\.digests` could not be written .*Free disk space"):
        overlap(train, train, folder=tmp_path)
    with pytest.raises(StorageError, match=r"could not be written \(No such file or directory\)"):
        overlap(train, train, folder=tmp_path / "gone")
