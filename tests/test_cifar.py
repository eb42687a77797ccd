import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from fvm_core.data import cifar
from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.open import open_dataset
from fvm_core.errors import DataError

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def batch(pixels: np.ndarray, labels: list[int], key: str = "labels") -> bytes:
    """The layout of the published batches: protocol 2, flat rows of red, green and blue planes, a list of labels."""
    flat = pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)
    return pickle.dumps({"batch_label": "b", key: labels, "data": flat, "filenames": ["x.png"] * len(labels)}, 2)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Five batches of four images, a test batch, and the label file, in torchvision's layout."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    chance = np.random.default_rng(0)
    clean = []
    for name in (*cifar.KINDS["cifar10n"].train, "test_batch"):
        labels = chance.integers(0, 10, 4).tolist()
        (folder / name).write_bytes(batch(chance.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8), labels))
        clean += labels if name != "test_batch" else []
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": NAMES, "num_cases_per_batch": 4}, 2))
    truth = np.array(clean)
    columns = {"clean_label": truth, "worse_label": (truth + 1) % 10, "random_label2": truth, "aggre_label": truth[:5]}
    (tmp_path / "CIFAR-10_human.pt").write_bytes(pickle.dumps(columns, 2))
    return tmp_path


def test_batches_are_read_as_torchvision_reads_them(root: Path) -> None:
    """The expected side is torchvision's CIFAR10.__init__, line by line."""
    for split in ("train", "test"):
        dataset = open_dataset(DatasetSpec("cifar10n", str(root), options={"split": split}))
        names = cifar.KINDS["cifar10n"].train if split == "train" else ("test_batch",)
        data, targets = [], []
        for name in names:
            entry = pickle.loads((root / "cifar-10-batches-py" / name).read_bytes(), encoding="latin1")  # noqa: S301
            data.append(entry["data"])
            targets += entry["labels"]
        theirs = np.vstack(data).reshape(-1, 3, 32, 32).transpose((0, 2, 3, 1))
        assert dataset.clean_labels.tolist() == targets
        for row in (len(dataset) - 1, 0):
            np.testing.assert_array_equal(dataset.read(row), theirs[row])


def test_labels_by_name_with_truth_and_class_names(root: Path) -> None:
    dataset = open_dataset(DatasetSpec("cifar10n", str(root)))
    assert dataset.class_names == tuple(NAMES)
    assert dataset.mislabeled().all()
    assert dataset.ids[-1] == "cifar10-train-00019"
    assert not open_dataset(DatasetSpec("cifar10n", str(root), label="random2")).mislabeled().any()
    assert (
        not open_dataset(DatasetSpec("cifar10n", str(root / "cifar-10-batches-py"), label="clean")).mislabeled().any()
    )


def test_python_2_batches_are_read() -> None:
    """numpy's state as Python 2 wrote it: words and bytes are both plain strings, dtype flags are numbers."""
    raw = bytes(range(256)) * 12
    code = (
        b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87Rq\x05"
        b"(K\x01K\x01M\x00\x0c\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89T\x00\x0c\x00\x00" + raw + b"tbU\x06labelsq\x08]q\x09K\x07au."
    )
    expected = pickle.loads(code, encoding="latin1")  # noqa: S301
    found = cifar.read_pickle(code, what="batch")
    assert found["labels"] == expected["labels"] == [7]
    np.testing.assert_array_equal(found["data"], expected["data"])


def test_cifar100n_layout(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    pixels = np.zeros((3, 32, 32, 3), np.uint8)
    (folder / "train").write_bytes(batch(pixels, [5, 99, 0], "fine_labels"))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": [f"c{i}" for i in range(100)]}, 2))
    content = {"clean_label": np.array([5, 99, 0]), "noisy_label": np.array([5, 98, 0])}
    (tmp_path / "labels.pt").write_bytes(pickle.dumps(content, 2))
    options = {"label_file": str(tmp_path / "labels.pt")}
    dataset = open_dataset(DatasetSpec("cifar100n", str(tmp_path), options=options))
    assert dataset.mislabeled().tolist() == [False, True, False]
    assert dataset.num_classes == 100


def test_wrong_choices_and_files_are_named(root: Path, tmp_path: Path) -> None:
    for spec, match in (
        (DatasetSpec("cifar10n", str(root), label="noisy"), r"`label` must be one of \['aggre'"),
        (
            DatasetSpec("cifar10n", str(root), label="worse", options={"split": "test"}),
            r"`label` must be one of \['clean'\]",
        ),
        (DatasetSpec("cifar10n", str(root), options={"split": "val"}), "`split` must be"),
        (DatasetSpec("cifar10n", str(root), label="random3"), "has no labels 'random3'"),
        (DatasetSpec("cifar10n", str(root), label="aggre"), "must have 20 labels, one an image, got 5"),
        (DatasetSpec("cifar10n", str(root / "none")), r"must hold `cifar-10-batches-py` or `train\.parquet`"),
        (DatasetSpec("cifar100n", str(root)), "must hold `cifar-100-python`"),
    ):
        with pytest.raises(DataError, match=match):
            open_dataset(spec)
    shutil.copytree(root, root.parent / "other", dirs_exist_ok=True)
    content = {"clean_label": np.full(20, 3), "worse_label": np.full(20, 3)}
    (root / "CIFAR-10_human.pt").write_bytes(pickle.dumps(content, 2))
    with pytest.raises(DataError, match="must be in the order of the images"):
        open_dataset(DatasetSpec("cifar10n", str(root)))
    (root / "CIFAR-10_human.pt").write_bytes(pickle.dumps({"worse_label": np.full(20, 10)}, 2))
    with pytest.raises(DataError, match="must be 0 to 9, got 10 to 10"):
        open_dataset(DatasetSpec("cifar10n", str(root)))


def test_evil_and_damaged_batches_are_refused(root: Path) -> None:
    path = root / "cifar-10-batches-py" / "data_batch_3"
    whole = path.read_bytes()
    for data, match in (
        (b"cos\nsystem\n(S'touch evil'\ntR.", "Nothing was run"),
        (whole[:-100], "cut off"),
        (batch(np.zeros((2, 32, 32, 3), np.uint8), [1]), "one label an image, got 1 for 2"),
        (batch(np.zeros((1, 32, 32, 3), np.uint8), [10]), "must be 0 to 9"),
        (pickle.dumps({"data": np.zeros((1, 9), np.uint8), "labels": [1]}, 2), r"must hold \(n, 3072\) uint8"),
        (batch(np.zeros((1, 32, 32, 3), np.uint8), [1], "other"), "must hold `labels`"),
    ):
        path.write_bytes(data)
        with pytest.raises(DataError, match=match):
            open_dataset(DatasetSpec("cifar10n", str(root)))


def test_opening_never_downloads(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    assert len(open_dataset(DatasetSpec("cifar10n", str(root), options={"download": True}))) == 20
    with pytest.raises(DataError, match=r"or let the Load page or `dataset add \.\.\. --option download=true` fetch"):
        open_dataset(DatasetSpec("cifar10n", str(root / "empty"), options={"download": True}))


@pytest.mark.data
def test_real_parquet_and_label_file_agree(cifar10n: Path) -> None:
    by_name = open_dataset(DatasetSpec("cifar10n", str(cifar10n), label="worse"))
    column = open_dataset(
        DatasetSpec("parquet", str(cifar10n / "train.parquet"), "image", "worse_label", "clean_label")
    )
    np.testing.assert_array_equal(by_name.labels, column.labels)
    np.testing.assert_array_equal(by_name.clean_labels, column.clean_labels)
    assert by_name.read(7) == column.read(7)
