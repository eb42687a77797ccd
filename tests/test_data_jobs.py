"""The light jobs of the Load page: what they find, how they stop and go on, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from app_pages import ended_job
from cifar_server import cifar_archive, cifar_served, point_cifar10, put_labels
from data_samples import png, write_parquet

from fvm_core.data import cache, check_job, download, download_job, overlap, overlap_job
from fvm_core.data.check_job import read_unreadable
from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.overlap_job import read_pairs
from fvm_core.data.registry import add_dataset, list_datasets, open_named, read_spec
from fvm_core.errors import DataError
from fvm_core.jobs.context import JobStopped
from fvm_core.jobs.find import find_jobs
from fvm_core.jobs.kinds import LIGHT
from fvm_core.jobs.launch import start_job, wait_job
from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.workspace import Workspace


@pytest.fixture
def context(tmp_path: Path) -> MemoryContext:
    (tmp_path / "job").mkdir()
    return MemoryContext(folder=tmp_path / "job")


@pytest.fixture
def sets(workspace: Workspace, tmp_path: Path) -> dict[str, str]:
    """Five training and three validation images, two of them shared; the arguments of an overlap job."""
    add_dataset(workspace, "noisy", write_parquet(tmp_path / "a.parquet", [png(n) for n in range(5)], [0, 1, 0, 1, 0]))
    add_dataset(workspace, "clean", write_parquet(tmp_path / "b.parquet", [png(3), None, png(1)], [0, 1, 0]))
    return {
        "train": "noisy", "train_fingerprint": open_named(workspace, "noisy").fingerprint,
        "validation": "clean", "validation_fingerprint": open_named(workspace, "clean").fingerprint,
    }  # fmt: skip


def test_overlap_job_leaves_its_pairs(workspace: Workspace, context: MemoryContext, sets: dict[str, str]) -> None:
    result = overlap_job.run(context, sets, workspace)
    assert result == {
        "train": sets["train_fingerprint"], "validation": sets["validation_fingerprint"], "samples": 5, "pairs": 2,
        "unreadable": 1,
    }  # fmt: skip
    assert read_pairs(context.folder) == [("a-00001", "b-00002"), ("a-00003", "b-00000")]
    assert context.messages[-1] == (8, 8, "comparing images: 8 of 8")
    json.dumps(result)


def test_overlap_job_stops_and_goes_on(
    workspace: Workspace, context: MemoryContext, sets: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlap, "CHUNK", 1)
    context.stop_at = 5
    with pytest.raises(JobStopped):
        overlap_job.run(context, sets, workspace)
    assert not (context.folder / "pairs.parquet").exists()
    context.stop_at = None
    context.messages.clear()
    assert overlap_job.run(context, sets, workspace)["pairs"] == 2
    assert [done for done, _, message in context.messages if message.startswith("comparing images")] == [6, 7, 8]
    assert [path.name for path in context.folder.iterdir()] == ["pairs.parquet"]


def test_no_overlap_is_an_empty_list(workspace: Workspace, context: MemoryContext, sets: dict[str, str]) -> None:
    ids = workspace.root / "ids.txt"
    ids.write_text("a-00000\na-00002\n")
    spec = read_spec(workspace, "noisy")
    add_dataset(workspace, "rest", DatasetSpec(**{**spec.to_json(), "include": str(ids)}))
    args = {**sets, "train": "rest", "train_fingerprint": open_named(workspace, "rest").fingerprint}
    assert overlap_job.run(context, args, workspace)["pairs"] == 0
    assert read_pairs(context.folder) == []


def test_dataset_that_changed_meanwhile_is_refused(
    workspace: Workspace, context: MemoryContext, sets: dict[str, str], tmp_path: Path
) -> None:
    write_parquet(tmp_path / "a.parquet", [png(9), png(8)], [0, 1])
    with pytest.raises(DataError, match=r"dataset `noisy` must be as it was when this was started.* Start it anew"):
        overlap_job.run(context, sets, workspace)
    args = {"dataset": "noisy", "fingerprint": sets["train_fingerprint"], "size": 4, "channels": 3}
    with pytest.raises(DataError, match="dataset `noisy` must be as it was"):
        check_job.run(context, args, workspace)
    with pytest.raises(DataError, match="`dataset` must be one of"):
        check_job.run(context, {**args, "dataset": "gone"}, workspace)


def test_lost_pairs_are_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"pairs found by job .* cannot be read .*Delete that job on the Jobs page"):
        read_pairs(tmp_path)
    (tmp_path / "pairs.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="cannot be read"):
        read_pairs(tmp_path)


def check_args(workspace: Workspace, name: str) -> dict[str, object]:
    return {"dataset": name, "fingerprint": open_named(workspace, name).fingerprint, "size": 4, "channels": 3}


def test_check_job_names_what_cannot_be_read(
    workspace: Workspace, context: MemoryContext, sets: dict[str, str]
) -> None:
    args = check_args(workspace, "clean")
    result = check_job.run(context, args, workspace)
    assert result == {
        "fingerprint": args["fingerprint"], "size": 4, "channels": 3, "samples": 3, "unreadable": 1,
    }  # fmt: skip
    assert list(read_unreadable(context.folder)) == ["b-00001"]
    assert "no image bytes" in read_unreadable(context.folder)["b-00001"]
    assert context.messages[-1] == (3, 3, "decoding images: 3 of 3")


def test_check_job_stops_and_decodes_nothing_twice(
    workspace: Workspace, context: MemoryContext, sets: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "CHUNK", 1)
    decoded: list[int] = []
    decode = cache.PixelCache._try
    monkeypatch.setattr(cache.PixelCache, "_try", lambda self, index: decoded.append(index) or decode(self, index))
    context.stop_at = 3
    with pytest.raises(JobStopped):
        check_job.run(context, check_args(workspace, "noisy"), workspace)
    context.stop_at = None
    assert check_job.run(context, check_args(workspace, "noisy"), workspace)["unreadable"] == 0
    assert sorted(decoded) == [0, 1, 2, 3, 4]


def test_repaired_image_is_tried_again(workspace: Workspace, context: MemoryContext, tmp_path: Path) -> None:
    for name, data in (("a/1.png", png(1)), ("b/2.png", b"x" * len(png(2)))):
        (tmp_path / "set" / name).parent.mkdir(parents=True)
        (tmp_path / "set" / name).write_bytes(data)
    add_dataset(workspace, "pets", DatasetSpec("folder", str(tmp_path / "set")))
    args = check_args(workspace, "pets")
    assert check_job.run(context, args, workspace)["unreadable"] == 1
    (tmp_path / "set" / "b/2.png").write_bytes(png(2))
    assert check_job.run(context, args, workspace)["unreadable"] == 0
    assert read_unreadable(context.folder) == {}


def test_dataset_without_any_readable_image_fails(workspace: Workspace, context: MemoryContext, tmp_path: Path) -> None:
    add_dataset(workspace, "bad", write_parquet(tmp_path / "bad.parquet", [b"x", b"y"], [0, 1]))
    with pytest.raises(DataError, match="must have a readable image, but all 2 were set aside"):
        check_job.run(context, check_args(workspace, "bad"), workspace)


def test_damaged_list_is_named(tmp_path: Path) -> None:
    (tmp_path / "unreadable.json").write_text('["x", 1]')
    with pytest.raises(DataError, match=r"unreadable\.json` must list ids with reasons"):
        read_unreadable(tmp_path)
    (tmp_path / "unreadable.json").unlink()
    with pytest.raises(DataError, match=r"list of unreadable images .* cannot be read"):
        read_unreadable(tmp_path)


def download_args(folder: Path, label: str = "worse", name: str = "cifar") -> dict[str, object]:
    return {"name": name, "spec": DatasetSpec("cifar10n", str(folder), label=label).to_json()}


def test_download_job_adds_the_dataset_it_was_for(
    workspace: Workspace, context: MemoryContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_labels(tmp_path / "cifar")
    monkeypatch.setattr(download, "PIECE", 2000)
    with cifar_served(monkeypatch, cifar_archive()) as server:
        context.stop_at = 2
        with pytest.raises(JobStopped):
            download_job.run(context, download_args(tmp_path / "cifar"), workspace)
        assert list_datasets(workspace) == {}
        context.stop_at = None
        result = download_job.run(context, download_args(tmp_path / "cifar"), workspace)
        assert server.requests == ["", "bytes=4000-"]
    dataset = open_named(workspace, "cifar")
    assert result == {
        "dataset": "cifar", "fingerprint": dataset.fingerprint, "samples": 20, "folder": str(tmp_path / "cifar"),
    }  # fmt: skip
    assert (dataset.labels == [n % 10 for n in range(20)]).all()
    assert read_spec(workspace, "cifar").options == {}


def test_download_job_refuses_before_it_fetches(
    workspace: Workspace, context: MemoryContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cifar_served(monkeypatch, cifar_archive()) as server:
        with pytest.raises(DataError, match=r"label file `.*CIFAR-10_human\.pt` cannot be read"):
            download_job.run(context, download_args(tmp_path), workspace)
        add_dataset(workspace, "cifar", DatasetSpec("digits"))
        with pytest.raises(DataError, match="another dataset is called 'cifar'"):
            download_job.run(context, download_args(tmp_path, label="clean"), workspace)
        assert server.requests == []


def test_wish_for_a_download_is_granted_only_where_images_are_missing(tmp_path: Path) -> None:
    wish = DatasetSpec("cifar10n", str(tmp_path), label="clean", options={"split": "test", "download": True})
    assert download_job.wants_download(wish)
    assert not download_job.wants_download(download_job.without_wish(wish))
    assert not download_job.wants_download(DatasetSpec("digits", options={"download": True}))
    assert download_job.without_wish(wish).options == {"split": "test"}
    (tmp_path / "test.parquet").write_bytes(b"")
    assert not download_job.wants_download(wish)


def test_offline_download_fails_as_a_job_with_its_message(
    workspace: Workspace, context: MemoryContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point_cifar10(monkeypatch, "http://127.0.0.1:9/x.tar.gz")
    with pytest.raises(DataError, match="Go online, or unpack that file"):
        download_job.run(context, download_args(tmp_path, label="clean"), workspace)
    assert list_datasets(workspace) == {}


def test_jobs_are_found_by_what_was_asked(workspace: Workspace) -> None:
    made = [
        ended_job(workspace, "check_images", {"fingerprint": name, "size": size}, title="", state="done")
        for name, size in (("a", 8), ("b", 8), ("a", 32), ("a", 8))
    ]
    ended_job(workspace, "overlap", {"fingerprint": "a", "size": 8}, title="", state="done")
    found = find_jobs(workspace, "check_images", fingerprint="a", size=8)
    assert [job.id for job in found] == [made[3].id, made[0].id]
    made[3].spec.write_text("{")
    assert [job.id for job in find_jobs(workspace, "check_images", fingerprint="a", size=8)] == [made[0].id]
    assert find_jobs(workspace, "check_images", fingerprint="c") == []


def test_real_worker_compares_without_a_slot(workspace: Workspace, sets: dict[str, str]) -> None:
    assert {"overlap", "check_images", "download"} <= LIGHT
    job = start_job(workspace, "overlap", sets, title="Overlap")
    status = wait_job(workspace, job, timeout=120)
    assert (status.state, status.result and status.result["pairs"]) == ("done", 2), status
    assert len(read_pairs(workspace.jobs / job)) == 2
    assert not (workspace.jobs / ".slots").exists()
