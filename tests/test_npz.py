import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fvm_core.data import npz
from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.npz import npz_headers
from fvm_core.data.open import open_dataset
from fvm_core.errors import DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), dtype=np.uint8)
LABELS = np.array([0, 1, 0, 1, 2, 2])


def spec_of(path: Path, **options: object) -> DatasetSpec:
    return DatasetSpec("npz", str(path), options=options)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_images_and_labels_by_usual_names(tmp_path: Path, save) -> None:
    save(tmp_path / "a.npz", images=IMAGES, labels=LABELS, class_names=np.array(["x", "y", "z"]))
    dataset = open_dataset(spec_of(tmp_path / "a.npz"))
    assert dataset.class_names == ("x", "y", "z")
    assert dataset.ids[5] == "a-00005"
    for row in (5, 0):
        np.testing.assert_array_equal(dataset.read(row), IMAGES[row])
    copy = pickle.loads(pickle.dumps(dataset.source))  # noqa: S301
    np.testing.assert_array_equal(copy.read(3), IMAGES[3])


def test_uncompressed_images_stay_on_disk(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.asfortranarray(IMAGES), labels=LABELS)
    dataset = open_dataset(spec_of(tmp_path / "a.npz", max_bytes=1))
    np.testing.assert_array_equal(dataset.read(4), IMAGES[4])
    assert isinstance(dataset.source._array, np.memmap)


def test_named_arrays_layouts_and_ids(tmp_path: Path) -> None:
    channels_first = np.ascontiguousarray(IMAGES.transpose(0, 3, 1, 2))
    np.savez(
        tmp_path / "a.npz", pics=channels_first, noisy=LABELS.astype(">i2"), truth=LABELS, key=np.array(list("abcdef"))
    )
    dataset = open_dataset(DatasetSpec("npz", str(tmp_path / "a.npz"), "pics", "noisy", "truth", options={"id": "key"}))
    np.testing.assert_array_equal(dataset.read(1), IMAGES[1])
    assert dataset.labels.tolist() == LABELS.tolist()
    assert dataset.ids.tolist() == list("abcdef")
    assert not dataset.mislabeled().any()


def test_words_as_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=IMAGES[..., 0], labels=np.array([b"b", b"a"] * 3))
    dataset = open_dataset(spec_of(tmp_path / "a.npz"))
    assert dataset.class_names == ("a", "b")
    assert dataset.read(0).shape == (4, 5)


def test_pickled_objects_are_refused_and_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self):
            return Path.mkdir, (tmp_path / "made",)

    np.savez(tmp_path / "a.npz", images=IMAGES, labels=np.array([Evil()] * 6, object))
    with pytest.raises(DataError, match=r"holds pickled Python objects.*Nothing was run"):
        open_dataset(spec_of(tmp_path / "a.npz"))
    assert not (tmp_path / "made").exists()


def write_member(path: Path, header: str, body: bytes, compression: int = zipfile.ZIP_STORED) -> None:
    """Write an archive whose images have a header of our own making."""
    text = header.encode().ljust(117) + b"\n"
    images = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body
    labels = io.BytesIO()
    np.save(labels, LABELS)
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("images.npy", images)
        archive.writestr("labels.npy", labels.getvalue())


@pytest.mark.parametrize(
    ("header", "match"),
    [
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (6, 1000000, 1000000), }", "its header says shape"),
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (6, -4, -4), }", "its header says shape"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (6,), }", "pickled Python objects"),
        ("{'descr': __import__('os'), 'fortran_order': False, 'shape': (6,), }", "must be a whole .npz archive"),
    ],
)
def test_headers_that_lie_are_refused_before_memory_is_taken(tmp_path: Path, header: str, match: str) -> None:
    write_member(tmp_path / "a.npz", header, bytes(96))
    with pytest.raises(DataError, match=match):
        open_dataset(spec_of(tmp_path / "a.npz"))


def test_zip_bombs_are_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "bomb.npz", images=np.zeros((6, 1_800, 1_800), np.uint8), labels=LABELS)
    assert (tmp_path / "bomb.npz").stat().st_size < 100_000
    with pytest.raises(DataError, match=r"at most 200 times its size.*Nothing was unpacked"):
        open_dataset(spec_of(tmp_path / "bomb.npz"))
    np.savez_compressed(tmp_path / "big.npz", images=IMAGES, labels=LABELS)
    with pytest.raises(DataError, match="must unpack to at most 100 bytes, but takes"):
        open_dataset(spec_of(tmp_path / "big.npz", max_bytes=100))


def test_cut_and_damaged_archives_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    noise = np.random.default_rng(1).integers(0, 256, (6, 200, 200), dtype=np.uint8)
    np.savez_compressed(path, images=noise, labels=LABELS)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"must be a whole \.npz archive"):
        open_dataset(spec_of(path))
    damaged = bytearray(whole)
    damaged[100_000:100_060] = bytes(60)
    path.write_bytes(damaged)
    dataset = open_dataset(spec_of(path))
    with pytest.raises(DataError, match=r"`images` in .* is damaged"):
        dataset.read(0)


@pytest.mark.parametrize(
    ("arrays", "options", "match"),
    [
        ({"labels": LABELS}, {}, r"`image` must name an array .*\['labels'\]"),
        ({"images": IMAGES}, {}, "`label` must name an array"),
        ({"images": IMAGES, "labels": LABELS[:5]}, {}, r"`labels` must have shape \(6,\)"),
        ({"images": IMAGES.reshape(6, -1), "labels": LABELS}, {}, r"must have shape \(n, h, w\)"),
        ({"images": IMAGES, "labels": LABELS}, {"layout": "cwh"}, "`layout` must be 'hwc' or 'chw'"),
        ({"images": np.full((6, 2, 2), "a"), "labels": LABELS}, {}, "must hold numbers"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, {}, "at least one sample"),
        ({"images": IMAGES, "labels": LABELS, "class_names": np.array(["a"])}, {}, "0 <= label < 1"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, arrays: dict, options: dict, match: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=match):
        open_dataset(spec_of(tmp_path / "a.npz", **options))


def test_headers_read_no_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=LABELS)
    monkeypatch.setattr(npz, "_read_array", None)
    assert npz_headers(tmp_path / "a.npz")["images"].shape == IMAGES.shape
