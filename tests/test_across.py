"""Near-duplicates across two sets: the nearest by brute force, and the job on planted copies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from digits_job import SPEC, fill
from PIL import Image
from sklearn.datasets import load_digits

from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.registry import add_dataset, open_named
from fvm_core.embedding import neighbours as neighbours_module
from fvm_core.embedding.across import run
from fvm_core.embedding.duplicates import pairs_across
from fvm_core.embedding.neighbours import nearest_among, pixel_distance
from fvm_core.embedding.store import NeighbourTable, Seen, across_path, read_neighbours
from fvm_core.errors import DataError
from fvm_core.jobs.context import JobStopped
from fvm_core.jobs.kinds import KINDS
from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.models.checkpoint import load_model
from fvm_core.workspace import Workspace

COPIES = {3: 0, 11: 5, 20: 7}
"""Row of the training set: row of the clean set whose image it has, a little brighter."""


def test_nearest_among_is_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours_module, "CHUNK", 7)
    rng = np.random.default_rng(0)
    features, others = (rng.normal(size=(n, 6)).astype(np.float32) for n in (20, 45))
    features[4], features[9] = 0, 3 * others[17]
    told: list[tuple[int, int]] = []
    found = nearest_among(features, others, count=3, told=lambda *at: told.append(at))
    length = np.linalg.norm(features, axis=1)[:, None] * np.linalg.norm(others, axis=1)
    cosine = np.divide(features @ others.T, length, out=np.zeros_like(length), where=length > 0)
    wanted = np.sort(cosine, axis=1)[:, ::-1][:, :3]
    np.testing.assert_allclose(found.similarity, wanted, atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(cosine, found.places, 1), found.similarity, atol=1e-5)
    assert found.places[9, 0] == 17 and found.exact and told[-1] == (20, 20)
    assert nearest_among(features, others[:2], count=3).places.shape == (20, 2)
    assert nearest_among(features, others[:0], count=3).places.shape == (20, 0)


def test_pixel_distance_reads_the_other_set() -> None:
    rng = np.random.default_rng(0)
    first, second = (rng.integers(0, 256, (n, 3, 3, 1), np.uint8) for n in (4, 6))
    places = np.array([[1, 5], [0, 2], [3, 3], [4, 1]])
    found = pixel_distance(lambda at: first[at], places, others=lambda at: second[at])
    wanted = np.sqrt(((first[:, None].astype(float) - second[places]) ** 2).mean((2, 3, 4)))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_pairs_across_are_sorted_by_their_pixels_and_keep_both_rows() -> None:
    table = NeighbourTable(
        np.array([2, 5]), np.array([[0, 7], [7, 1]]), np.full((2, 2), 0.9, np.float32),
        np.array([[30, 4], [2, 50]], np.float32), {},
    )  # fmt: skip
    found = pairs_across(table, within=30)
    assert (found.first.tolist(), found.second.tolist()) == ([5, 2, 2], [7, 7, 0])
    assert found.pixel_rms.tolist() == [2, 4, 30] and len(pairs_across(table, within=1)) == 0


def with_copies(workspace: Workspace, folder: Path) -> Workspace:
    """Add to `fill` a training set of 40 images: noise, but for COPIES of clean ones."""
    fill(workspace, folder)
    clean = open_named(workspace, "clean")
    digits = load_digits()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    by_id = {name: np.asarray(clean.read(row)) for row, name in enumerate(clean.ids.tolist())}
    assert digits.images.max() == 16
    for row, of in COPIES.items():
        image = by_id[str(clean.ids[of])].astype(int)
        pixels[row] = np.clip(image.reshape(8, 8) + 3, 0, 255)
    (root := folder / "train").mkdir()
    for row, image in enumerate(pixels):
        (root / str(row % 10)).mkdir(exist_ok=True)
        Image.fromarray(image).save(root / str(row % 10) / f"{row:02d}.png")
    add_dataset(workspace, "train", DatasetSpec("folder", path=str(root)))
    return workspace


@pytest.fixture
def copied(workspace: Workspace, tmp_path: Path) -> Workspace:
    return with_copies(workspace, tmp_path)


def arguments(workspace: Workspace, **more: Any) -> dict[str, Any]:
    return {"model": "m", "dataset": "train", "validation": "clean", **more}


def test_the_job_finds_planted_copies_and_only_them(copied: Workspace) -> None:
    result = run(MemoryContext(), arguments(copied), copied)
    train, clean = open_named(copied, "train"), open_named(copied, "clean")
    assert result["images"] == [40, 40] and KINDS["across"] == "fvm_core.embedding.across:run"
    table = read_neighbours(Path(result["across"]))
    found = pairs_across(table, within=15)
    names = {str(train.ids[a]).rpartition("/")[2]: int(b) for a, b in zip(found.first, found.second, strict=True)}
    assert names == {f"{row:02d}.png": of for row, of in COPIES.items()} and (found.pixel_rms <= 3.01).all()
    assert (found.similarity > 0.9).all() and table.provenance["validation"]["name"] == "clean"
    _, record = load_model(copied, "m")
    seen = Seen.behind({"model": {"sha256": record.sha256, "spec": SPEC.to_json()},
                        "dataset": {"fingerprint": train.fingerprint}})  # fmt: skip
    assert result["across"] == str(across_path(copied, seen, clean.fingerprint))
    before = Path(result["across"]).stat().st_mtime_ns
    assert run(MemoryContext(), arguments(copied), copied)["across"] == result["across"]
    assert Path(result["across"]).stat().st_mtime_ns == before


def test_the_job_goes_on_after_a_stop_and_refuses_what_changed(copied: Workspace, tmp_path: Path) -> None:
    context = MemoryContext(tmp_path / "job", stop_at=1)
    with pytest.raises(JobStopped):
        run(context, arguments(copied), copied)
    context.stop_at = None
    assert len(pairs_across(read_neighbours(Path(run(context, arguments(copied), copied)["across"])), within=15)) == 3
    with pytest.raises(DataError, match="the dataset changed since these scores were made"):
        run(MemoryContext(), arguments(copied, expected={"validation": "0"}), copied)
    with pytest.raises(DataError, match="the model changed since"):
        run(MemoryContext(), arguments(copied, expected={"model": "0"}), copied)
    with pytest.raises(DataError, match="`validation` must be another dataset than 'clean', got the same one"):
        run(MemoryContext(), arguments(copied, dataset="clean"), copied)
