import os
from pathlib import Path

import numpy as np
import pytest
from data_samples import png

from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.open import open_dataset
from fvm_core.errors import DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three images in two classes, one of them deeper, and two files that are no images."""
    for name, value in (("cat/a.png", 1), ("cat/deep/b.PNG", 2), ("dog/c.png", 3)):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(value))
    (tmp_path / "set/cat/notes.txt").write_text("no image")
    (tmp_path / "set/cat/.hidden.png").write_bytes(b"")
    (tmp_path / "outside.png").write_bytes(png(9))
    return tmp_path / "set"


def open_root(root: Path, **options: object) -> object:
    return open_dataset(DatasetSpec("folder", str(root), options=options))


def test_classes_are_the_folders_and_ids_the_paths(root: Path) -> None:
    dataset = open_dataset(DatasetSpec("folder", str(root)))
    assert dataset.ids.tolist() == ["cat/a.png", "cat/deep/b.PNG", "dog/c.png"]
    assert dataset.labels.tolist() == [0, 0, 1]
    assert dataset.class_names == ("cat", "dog")
    assert [dataset.read(row) for row in range(3)] == [png(1), png(2), png(3)]
    assert dataset.notes == ("1 files that are not images were left out.",)


def test_given_class_names_fix_the_order_and_may_have_no_images(root: Path) -> None:
    dataset = open_dataset(DatasetSpec("folder", str(root), options={"class_names": ["dog", "cow", "cat"]}))
    assert dataset.labels.tolist() == [2, 2, 0]
    assert "1 classes have no image: cow." in dataset.notes
    with pytest.raises(DataError, match="folder 'dog' must be one of the class names"):
        open_root(root, class_names="cat")


def test_links_inside_are_read_and_links_outside_are_refused(root: Path) -> None:
    (root / "dog/same.png").symlink_to("../cat/a.png")
    dataset = open_dataset(DatasetSpec("folder", str(root)))
    assert dataset.read(dataset.ids.tolist().index("dog/same.png")) == png(1)
    (root / "dog/out.png").symlink_to(root.parent / "outside.png")
    with pytest.raises(DataError, match=r"'dog/out.png' must stay inside"):
        open_root(root)


def test_linked_folders_are_refused(root: Path) -> None:
    (root / "dog/loop").symlink_to(root / "dog")
    with pytest.raises(DataError, match="must be a real folder, not a link"):
        open_root(root)
    os.unlink(root / "dog/loop")
    (root / "bird").symlink_to("/etc")
    with pytest.raises(DataError, match="folder `bird` must be a real folder"):
        open_root(root)


def test_link_laid_after_opening_is_refused_when_read(root: Path) -> None:
    dataset = open_dataset(DatasetSpec("folder", str(root)))
    os.unlink(root / "dog/c.png")
    (root / "dog/c.png").symlink_to(root.parent / "outside.png")
    with pytest.raises(DataError, match="must stay inside"):
        dataset.read(2)


def test_pipes_and_missing_files_do_not_hang_or_crash(root: Path) -> None:
    os.mkfifo(root / "dog/pipe.png")
    dataset = open_dataset(DatasetSpec("folder", str(root)))
    with pytest.raises(DataError, match=r"`dog/pipe.png` must be a plain file"):
        dataset.read(dataset.ids.tolist().index("dog/pipe.png"))
    os.unlink(root / "cat/a.png")
    with pytest.raises(DataError, match=r"`cat/a.png` cannot be read \(No such file"):
        dataset.read(0)


def test_fingerprint_survives_a_copy_and_the_cache_stamp_follows_time(root: Path) -> None:
    first = open_dataset(DatasetSpec("folder", str(root)))
    stamp = first.source.stamp()
    os.utime(root / "cat/a.png", (1, 1))
    again = open_dataset(DatasetSpec("folder", str(root)))
    assert again.fingerprint == first.fingerprint
    assert again.source.stamp() != stamp
    (root / "cat/a.png").write_bytes(png(1, side=64))
    assert open_dataset(DatasetSpec("folder", str(root))).fingerprint != first.fingerprint


def test_folders_without_classes_or_images_are_named(root: Path, tmp_path: Path) -> None:
    for path, match in (
        (tmp_path / "none", "must be a folder with one folder a class"),
        (root / "dog", "must hold one folder a class, but holds none"),
    ):
        with pytest.raises(DataError, match=match):
            open_root(path)
    (tmp_path / "empty/x").mkdir(parents=True)
    with pytest.raises(DataError, match="must hold images"):
        open_root(tmp_path / "empty")


def test_labels_are_int64(root: Path) -> None:
    assert open_dataset(DatasetSpec("folder", str(root))).labels.dtype == np.int64
