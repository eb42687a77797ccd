import errno
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from data_samples import png, write_parquet
from PIL import Image

from fvm_core.data.cache import PixelCache
from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.open import open_dataset
from fvm_core.errors import DataError, StorageError


@pytest.fixture
def spec(tmp_path: Path) -> DatasetSpec:
    """Ten pictures of grey level = row, of which row 3 is garbage and row 6 has no bytes; four a row group."""
    images: list[bytes | None] = [png(row) for row in range(10)]
    images[3], images[6] = b"garbage", None
    return write_parquet(tmp_path / "ten.parquet", images, [0, 1] * 5, row_group_size=4)


def test_read_decodes_in_the_order_asked(spec: DatasetSpec, tmp_path: Path) -> None:
    cache = PixelCache(open_dataset(spec), size=2, channels=3, folder=tmp_path / "cache")
    pixels = cache.read([9, 0, 9, 4])
    assert pixels.shape == (4, 2, 2, 3)
    assert pixels[:, 0, 0, 0].tolist() == [9, 0, 9, 4]


def test_fill_sets_unreadable_images_aside_and_keeps_that_on_disk(spec: DatasetSpec, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    cache = PixelCache(open_dataset(spec), size=2, channels=1, folder=tmp_path / "cache")
    cache.fill(lambda done, total: steps.append((done, total)))
    assert steps[0] == (0, 10)
    assert steps[-1] == (10, 10)
    again = PixelCache(open_dataset(spec), size=2, channels=1, folder=tmp_path / "cache")
    assert sorted(again.set_aside) == [3, 6]
    assert "unknown format" in again.set_aside[3]
    assert "no image bytes in row 6" in again.set_aside[6]
    assert again.usable().tolist() == [0, 1, 2, 4, 5, 7, 8, 9]
    with pytest.raises(DataError, match=r"image 'ten-00003' is unreadable: .*Leave out"):
        again.read([2, 3])


def test_second_reader_decodes_nothing(spec: DatasetSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = PixelCache(open_dataset(spec), size=2, channels=1, folder=tmp_path / "cache")
    second = PixelCache(open_dataset(spec), size=2, channels=1, folder=tmp_path / "cache")
    first.fill()
    monkeypatch.setattr("fvm_core.data.cache.decode_image", None)
    assert second.read([5])[0, 0, 0, 0] == 5
    assert sorted(second.set_aside) == [3, 6]


def watched(cache: PixelCache, see: Callable[[int], None]) -> Callable[[int], Any]:
    """What decodes an image of this cache, after `see` has heard of it."""
    decode = cache._try

    def run(index: int) -> Any:
        see(index)
        return decode(index)

    return run


def test_processes_that_begin_elsewhere_share_the_decoding(
    spec: DatasetSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one runs as a whole in the middle of the first; what both do is every image once, garbage too."""
    monkeypatch.setattr("fvm_core.data.cache.CHUNK", 2)
    caches = [PixelCache(open_dataset(spec), size=2, channels=1, folder=tmp_path / "cache") for _ in range(2)]
    order: list[tuple[int, int]] = []
    for number, cache in enumerate(caches):
        monkeypatch.setattr(cache, "_try", watched(cache, lambda index, n=number: order.append((n, index))))
    told: list[int] = []

    def between(done: int, total: int) -> None:
        told.append(done)
        if done == 4:
            caches[1].fill(begin=0.5)

    caches[0].fill(between)
    assert sorted(index for _, index in order) == list(range(10))
    assert [sorted(index for n, index in order if n == number) for number in (0, 1)] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7, 8, 9],
    ]
    assert told == [0, 2, 4, 6, 8, 10]
    for cache in caches:
        assert cache.read([9, 0, 4])[:, 0, 0, 0].tolist() == [9, 0, 4] and sorted(cache.set_aside) == [3, 6]


def test_one_begins_in_the_middle_and_ends_with_all(
    spec: DatasetSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fvm_core.data.cache.CHUNK", 1)
    cache = PixelCache(open_dataset(spec), size=2, channels=1, folder=tmp_path / "cache")
    order: list[int] = []
    monkeypatch.setattr(cache, "_try", watched(cache, order.append))
    cache.fill(begin=0.75)
    assert order == [7, 8, 9, 0, 1, 2, 3, 4, 5, 6]


def test_other_labels_share_the_cache_and_other_rows_do_not(spec: DatasetSpec, tmp_path: Path) -> None:
    dataset = open_dataset(spec)
    (tmp_path / "some.txt").write_text("ten-00001\nten-00009\n")
    some = open_dataset(DatasetSpec(spec.kind, spec.path, "image", "label", include=str(tmp_path / "some.txt")))
    whole = PixelCache(dataset, size=2, channels=1, folder=tmp_path / "cache")
    part = PixelCache(some, size=2, channels=1, folder=tmp_path / "cache")
    assert whole.path != part.path
    assert part.read([1, 0])[:, 0, 0, 0].tolist() == [9, 1]
    flipped = type(dataset)(**{**vars(dataset), "labels": 1 - dataset.labels})
    assert flipped.fingerprint != dataset.fingerprint
    assert PixelCache(flipped, size=2, channels=1, folder=tmp_path / "cache").path == whole.path


def test_retry_reads_a_repaired_image(tmp_path: Path) -> None:
    for name, data in (("a/1.png", png(1)), ("b/2.png", b"broken")):
        (tmp_path / "set" / name).parent.mkdir(parents=True)
        (tmp_path / "set" / name).write_bytes(data)
    dataset = open_dataset(DatasetSpec("folder", str(tmp_path / "set")))
    cache = PixelCache(dataset, size=4, channels=1, folder=tmp_path / "cache")
    cache.fill()
    assert cache.usable().tolist() == [0]
    (tmp_path / "set" / "b/2.png").write_bytes(png(2))
    cache.fill(retry=True)
    assert cache.set_aside == {}
    assert cache.read([1])[0, 0, 0, 0] == 2


def test_all_unreadable_is_an_error(tmp_path: Path) -> None:
    spec = write_parquet(tmp_path / "bad.parquet", [b"x", b"y"], [0, 1])
    with pytest.raises(DataError, match=r"all 2 were set aside: image cannot be decoded"):
        PixelCache(open_dataset(spec), size=2, channels=1, folder=tmp_path / "cache").fill()


def test_full_disk_is_a_storage_error_and_loses_nothing(
    spec: DatasetSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = PixelCache(open_dataset(spec), size=2, channels=1, folder=tmp_path / "cache")
    cache.read([0, 1])
    write = os.pwrite

    def full(descriptor: int, data: bytes, offset: int) -> int:
        if offset >= 16:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data, offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(StorageError, match=r"No space left on device.*stays valid"):
            cache.fill()
    assert cache.read([1, 0])[:, 0, 0, 0].tolist() == [1, 0]
    cache.fill()
    assert cache.read([9])[0, 0, 0, 0] == 9
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=5))
        other = PixelCache(open_dataset(spec), size=8, channels=1, folder=tmp_path / "cache")
        with pytest.raises(StorageError, match=r"need 0\.0 GiB.*Free disk space"):
            other.fill()


def test_truncated_pixel_file_is_decoded_anew(spec: DatasetSpec, tmp_path: Path) -> None:
    cache = PixelCache(open_dataset(spec), size=2, channels=1, folder=tmp_path / "cache")
    cache.fill()
    with open(cache.path / "pixels.bin", "r+b") as file:
        file.truncate(8)
    again = PixelCache(open_dataset(spec), size=2, channels=1, folder=tmp_path / "cache")
    assert again.read([9])[0, 0, 0, 0] == 9


def test_two_processes_fill_one_cache(spec: DatasetSpec, tmp_path: Path) -> None:
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                PixelCache(open_dataset(spec), size=2, channels=1, folder=tmp_path / "cache").fill()
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    cache = PixelCache(open_dataset(spec), size=2, channels=1, folder=tmp_path / "cache")
    assert sorted(cache.set_aside) == [3, 6]
    assert cache.read(cache.usable())[:, 0, 0, 0].tolist() == [0, 1, 2, 4, 5, 7, 8, 9]


def test_forked_child_reads_the_same_parquet(spec: DatasetSpec, tmp_path: Path) -> None:
    dataset = open_dataset(spec)
    assert dataset.read(0) == png(0)
    child = os.fork()
    if child == 0:
        os._exit(0 if dataset.read(9) == png(9) and dataset.read(0) == png(0) else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(("size", "channels", "match"), [(0, 1, "`size`"), (5000, 1, "`size`"), (8, 2, "`channels`")])
def test_sizes_out_of_range_are_refused(
    spec: DatasetSpec, tmp_path: Path, size: int, channels: int, match: str
) -> None:
    with pytest.raises(DataError, match=match):
        PixelCache(open_dataset(spec), size=size, channels=channels, folder=tmp_path)


@pytest.mark.data
def test_real_cifar_images_equal_pillows_own(cifar10n: Path, tmp_path: Path) -> None:
    (tmp_path / "few.txt").write_text("\n".join(f"test-{row:05d}" for row in range(0, 40, 2)))
    path = cifar10n / "test.parquet"
    dataset = open_dataset(DatasetSpec("parquet", str(path), include=str(tmp_path / "few.txt"), label="clean_label"))
    table = pq.ParquetFile(path).read_row_group(0).slice(0, 40)
    assert dataset.labels.tolist() == table["clean_label"].to_pylist()[::2]
    expected = [np.asarray(Image.open(io.BytesIO(data))) for data in table["image"].to_pylist()[::2]]
    cache = PixelCache(dataset, size=32, channels=3, folder=tmp_path / "cache")
    np.testing.assert_array_equal(cache.read(np.arange(20)), expected)
