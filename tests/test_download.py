"""Images from the network: what arrives, what is continued, and what is refused, against a server on this machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from cifar_server import CifarServer, cifar_archive, cifar_served, point_cifar10
from torchvision.datasets import CIFAR10, CIFAR100

from fvm_core.data import download as module
from fvm_core.data.cifar import has_batches
from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.download import ARCHIVES, Archive, fetch_images
from fvm_core.data.open import open_dataset
from fvm_core.errors import DataError, StorageError

ARCHIVE = "cifar-10-python.tar.gz"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[CifarServer]:
    monkeypatch.setattr(module, "PIECE", 1000)
    with cifar_served(monkeypatch, cifar_archive()) as running:
        yield running


@pytest.fixture
def keep(tmp_path: Path) -> Path:
    (tmp_path / "job").mkdir()
    return tmp_path / "job"


def test_address_and_checksum_are_torchvisions() -> None:
    assert ARCHIVES["cifar10n"] == Archive(CIFAR10.url, CIFAR10.filename, CIFAR10.tgz_md5)
    assert ARCHIVES["cifar100n"] == Archive(CIFAR100.url, CIFAR100.filename, CIFAR100.tgz_md5)


def test_images_arrive_and_open_as_torchvision_opens_them(server: CifarServer, tmp_path: Path, keep: Path) -> None:
    steps: list[tuple[int, int]] = []
    fetch_images("cifar10n", tmp_path / "new" / "cifar", keep=keep, progress=lambda *step: steps.append(step))
    assert steps[0] == (1000, len(server.data)) and steps[-1] == (len(server.data),) * 2
    dataset = open_dataset(DatasetSpec("cifar10n", str(tmp_path / "new" / "cifar"), label="clean"))
    assert len(dataset) == 20
    assert list(keep.iterdir()) == []
    assert [path.name for path in (tmp_path / "new" / "cifar").iterdir()] == ["cifar-10-batches-py"]
    fetch_images("cifar10n", tmp_path / "new" / "cifar", keep=keep)
    assert len(server.requests) == 1, "images that are there are not fetched again"


@pytest.mark.parametrize("ranges", [True, False])
def test_stopped_download_goes_on(server: CifarServer, tmp_path: Path, keep: Path, ranges: bool) -> None:
    class Stop(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done >= 5000:
            raise Stop

    server.ranges = ranges
    with pytest.raises(Stop):
        fetch_images("cifar10n", tmp_path, keep=keep, progress=stop)
    assert (keep / ARCHIVE).read_bytes() == server.data[:5000]
    assert not has_batches("cifar10n", tmp_path)
    steps: list[int] = []
    fetch_images("cifar10n", tmp_path, keep=keep, progress=lambda done, total: steps.append(done))
    assert server.requests == ["", "bytes=5000-"]
    assert steps[0] == (6000 if ranges else 1000) and steps[-1] == len(server.data)
    assert len(open_dataset(DatasetSpec("cifar10n", str(tmp_path), label="clean"))) == 20


def test_connection_that_ends_early_is_told_and_continued(server: CifarServer, tmp_path: Path, keep: Path) -> None:
    server.cut = 3000
    with pytest.raises(DataError, match=r"could not be downloaded from http.*ended after 3,000 of .* Go online, or"):
        fetch_images("cifar10n", tmp_path, keep=keep)
    server.cut = 0
    fetch_images("cifar10n", tmp_path, keep=keep)
    assert server.requests == ["", "bytes=3000-"] and has_batches("cifar10n", tmp_path)


def test_changed_bytes_are_refused_and_not_kept(
    server: CifarServer, tmp_path: Path, keep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point_cifar10(monkeypatch, server.url)
    with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz could not be downloaded .*its checksum is wrong"):
        fetch_images("cifar10n", tmp_path, keep=keep)
    assert list(keep.iterdir()) == [] and not has_batches("cifar10n", tmp_path)


def test_too_long_a_rest_is_fetched_anew(server: CifarServer, tmp_path: Path, keep: Path) -> None:
    (keep / ARCHIVE).write_bytes(b"x" * (len(server.data) + 5))
    fetch_images("cifar10n", tmp_path, keep=keep)
    assert server.requests[1:] == [""] and has_batches("cifar10n", tmp_path)


def test_offline_is_a_friendly_error(tmp_path: Path, keep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point_cifar10(monkeypatch, "http://127.0.0.1:9/cifar-10-python.tar.gz")
    with pytest.raises(
        DataError,
        match=r"cifar-10-python\.tar\.gz could not be downloaded from http:.* \(\[Errno 111\] Connection refused\)\. "
        rf"Go online, .*`{tmp_path}`",
    ):
        fetch_images("cifar10n", tmp_path, keep=keep)


def test_archive_put_there_by_hand_needs_no_network(
    server: CifarServer, tmp_path: Path, keep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ARCHIVE).write_bytes(server.data)
    fetch_images("cifar10n", tmp_path, keep=keep)
    assert server.requests == [] and has_batches("cifar10n", tmp_path)
    assert (tmp_path / ARCHIVE).exists(), "somebody's own file stays"


def test_half_unpacked_folder_is_completed(server: CifarServer, tmp_path: Path, keep: Path) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"cut")
    fetch_images("cifar10n", tmp_path, keep=keep)
    assert len(open_dataset(DatasetSpec("cifar10n", str(tmp_path), label="clean"))) == 20


def test_disk_that_refuses_is_named(server: CifarServer, tmp_path: Path, keep: Path) -> None:
    shutil.rmtree(keep)
    with pytest.raises(StorageError, match=r"job/cifar-10-python\.tar\.gz` could not be written .*Free disk space"):
        fetch_images("cifar10n", tmp_path, keep=keep)
    keep.mkdir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match=r"file/deeper` could not be written .*or choose another folder"):
        fetch_images("cifar10n", tmp_path / "file" / "deeper", keep=keep)
    assert (keep / ARCHIVE).exists(), "what was fetched is kept for the next try"
