"""Penultimate features, principal components, neighbours and the job that makes a map of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from digits_job import fill
from sklearn.decomposition import PCA
from small_nets import small_data, small_net
from torch import nn

from fvm_core.data.registry import open_named
from fvm_core.embedding import job as job_module
from fvm_core.embedding import neighbours as neighbours_module
from fvm_core.embedding.features import find_head, penultimate
from fvm_core.embedding.job import run
from fvm_core.embedding.layout import principal, umap_layout
from fvm_core.embedding.neighbours import nearest, pixel_distance
from fvm_core.embedding.settings import MapSettings
from fvm_core.embedding.store import Seen, features_path, map_path, neighbours_path, read_map, read_neighbours
from fvm_core.errors import CheckpointError, DataError, SettingsError
from fvm_core.jobs.context import JobStopped
from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.models.build import build_model
from fvm_core.models.checkpoint import load_model
from fvm_core.models.resnet import CifarResNet
from fvm_core.models.spec import ModelSpec
from fvm_core.workspace import Workspace

ARGS = {"model": "m", "dataset": "clean", "settings": {"n_neighbors": 5, "batch_size": 16, "seed": 3}}


def random_features(n: int, d: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


@pytest.fixture
def filled(workspace: Workspace, tmp_path: Path) -> Workspace:
    """The digits, 40 clean ones and a model of random weights."""
    return fill(workspace, tmp_path)


@pytest.fixture
def flat_umap(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Stand in for UMAP, which takes seconds to compile, where a test is not about it: counts its calls."""
    calls: list[int] = []

    def layout(features: Any, settings: MapSettings, told: Any) -> Any:
        calls.append(len(features))
        told(0.5)
        return features[:, :2] + settings.seed

    monkeypatch.setattr(job_module, "umap_layout", layout)
    return calls


def test_features_are_what_the_head_gets() -> None:
    torch.manual_seed(0)
    net = CifarResNet((1, 1), num_classes=3, width=4).train()
    x = torch.randn(5, 3, 8, 8)
    assert find_head(net, x[:1]) == ("fc", 8)
    found = penultimate(net, "fc", x)
    assert net.training and all(parameter.requires_grad for parameter in net.parameters())
    torch.testing.assert_close(found, net.eval().features(x).detach())
    small, (inputs, _) = small_net(), small_data(4)
    name, width = find_head(small, inputs[:1])
    assert (name, width) == ("head", 5)
    logits = penultimate(small, name, inputs).double() @ small.head.weight.T + small.head.bias
    torch.testing.assert_close(logits, small(inputs), atol=1e-5, rtol=1e-5)


def test_the_head_is_the_last_layer_that_runs_even_if_called_by_name() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head, self.unused, self.stem = nn.Linear(4, 2), nn.Linear(7, 2), nn.Linear(3, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(input=self.stem(x).relu())

    net, x = Backwards(), torch.randn(6, 3)
    assert find_head(net, x[:1]) == ("head", 4)
    torch.testing.assert_close(penultimate(net, "head", x), net.stem(x).relu().detach())


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (nn.Sequential(nn.Flatten()), "has none"),
        (nn.Sequential(nn.Linear(3, 2), nn.Softmax(1)), "something else after `0`"),
    ],
)
def test_a_model_without_a_linear_head_is_an_error(net: nn.Module, words: str) -> None:
    with pytest.raises(CheckpointError, match=f"must end in a linear layer.*{words}.*with a linear head"):
        find_head(net, -torch.ones(1, 3))


def test_squeezenet_has_no_linear_head_and_others_of_torchvision_do() -> None:
    x = torch.randn(1, 3, 64, 64)
    with pytest.raises(CheckpointError, match="must end in a linear layer"):
        find_head(build_model(ModelSpec("torchvision:squeezenet1_1", 4, image_size=64)), x)
    net = build_model(ModelSpec("torchvision:shufflenet_v2_x0_5", 4, image_size=64))
    assert find_head(net, x) == ("fc", 1024)


@pytest.mark.parametrize("shape", [(40, 7), (3, 9), (30, 1), (1, 4)])
def test_principal_components_are_sklearns_up_to_their_sign(shape: tuple[int, int]) -> None:
    features = random_features(*shape)
    found = principal(features)
    assert found.shape == (shape[0], 2)
    centred = (features - features.mean(0)).astype(np.float64)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    assert shape[0] > 1 or not found.any()
    for axis in range(min(2, *shape)):
        np.testing.assert_allclose(np.abs(found[:, axis]), np.abs(u[:, axis] * s[axis]), atol=1e-4)
    if min(shape) >= 2:
        reference = PCA(2, svd_solver="arpack" if min(shape) > 2 else "full").fit(features).explained_variance_
        np.testing.assert_allclose(found.var(0, ddof=1), reference, rtol=1e-3)


@pytest.mark.parametrize("count", [3, 50])
def test_neighbours_are_those_of_brute_force(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(neighbours_module, "CHUNK", 7)
    features = random_features(30, 6)
    features[9], features[11] = 0, 3 * features[4]
    found = nearest(features, count=count)
    length = np.linalg.norm(features, axis=1)
    with np.errstate(invalid="ignore"):
        cosine = np.nan_to_num(features @ features.T / np.outer(length, length))
    np.fill_diagonal(cosine, -np.inf)
    wanted = np.sort(cosine, axis=1)[:, ::-1][:, : min(count, 29)]
    np.testing.assert_allclose(found.similarity, wanted, atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(cosine, found.places, 1), wanted, atol=1e-6)
    assert not (found.places == np.arange(30)[:, None]).any() and found.places[4, 0] == 11


def test_copies_are_neighbours_but_no_image_is_its_own() -> None:
    features = np.repeat(random_features(2, 4), 6, axis=0)
    found = nearest(features, count=4)
    assert not (found.places == np.arange(12)[:, None]).any()
    assert (found.places // 6 == np.arange(12)[:, None] // 6).all()
    np.testing.assert_allclose(found.similarity, 1, atol=1e-6)
    assert nearest(features[:1], count=4).places.shape == (1, 0)


def test_pixel_distance_is_the_root_mean_square(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours_module, "CHUNK", 8)
    pixels = np.random.default_rng(0).integers(0, 256, (9, 3, 3, 2), np.uint8)
    places = np.array([[1, 2], [0, 1]] * 4 + [[8, 0]])
    found = pixel_distance(lambda rows: pixels[rows], places)
    wanted = [
        [np.sqrt(((pixels[i].astype(float) - pixels[j]) ** 2).mean()) for j in row] for i, row in enumerate(places)
    ]
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    assert found[1, 1] == 0 and found[8, 0] == 0


def test_job_writes_a_map_and_neighbours_of_the_model_s_features(filled: Workspace, flat_umap: list[int]) -> None:
    result = run(MemoryContext(), ARGS, filled)
    model, record = load_model(filled, "m")
    dataset = open_named(filled, "clean")
    pixels = np.stack([np.asarray(dataset.read(index)) for index in range(40)])
    x = torch.from_numpy(pixels).float().reshape(40, 1, 8, 8)
    x = (x * (255 / 16) if pixels.max() <= 16 else x) / 255
    features = model.eval().features(x).detach().numpy()
    seen = Seen(record.sha256, Seen.behind(provenance(filled)).spec, dataset.fingerprint)
    np.testing.assert_allclose(np.load(features_path(filled, seen)), features, atol=1e-4)
    assert (result["images"], result["width"], result["notes"]) == (40, 512, [])
    settings = MapSettings.from_json(ARGS["settings"])
    assert result["map"] == str(map_path(filled, seen, settings))
    frame = read_map(Path(result["map"]))
    assert frame["id"].tolist() == dataset.ids.tolist() and frame["row"].tolist() == list(range(40))
    np.testing.assert_allclose(frame[["x", "y"]], features[:, :2] + 3, atol=1e-4)
    components = PCA(2, svd_solver="full").fit_transform(features)
    np.testing.assert_allclose(np.abs(frame[["pca_x", "pca_y"]]), np.abs(components), atol=1e-3)
    assert result["neighbours"] == str(neighbours_path(filled, seen))
    table = read_neighbours(Path(result["neighbours"]))
    wanted = nearest(features, count=10)
    np.testing.assert_allclose(table.similarity, wanted.similarity, atol=1e-5)
    places, similarity, apart = table.of(7)
    assert len(places) == 10 and similarity[0] == table.similarity[7, 0]
    gap = pixels[7].astype(float) - pixels[places[0]]
    scale = 255 / 16 if pixels.max() <= 16 else 1
    np.testing.assert_allclose(apart[0], np.sqrt((gap**2).mean()) * scale, atol=1.5)
    assert len(table.of(99)[0]) == 0


def provenance(workspace: Workspace) -> dict[str, Any]:
    record = load_model(workspace, "m")[1]
    dataset = open_named(workspace, "clean")
    return {
        "model": {"sha256": record.sha256, "spec": record.spec.to_json()},
        "dataset": {"fingerprint": dataset.fingerprint},
    }


@pytest.mark.parametrize("stop", range(1, 9))
def test_job_goes_on_after_a_stop_and_ends_the_same(
    filled: Workspace, flat_umap: list[int], monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    batches: list[int] = []
    from fvm_core.embedding import source as source_module

    real = source_module.penultimate
    monkeypatch.setattr(source_module, "penultimate", lambda m, h, x: batches.append(len(x)) or real(m, h, x))
    context = MemoryContext(stop_at=stop)
    try:
        run(context, ARGS, filled)
        stopped = False
    except JobStopped:
        stopped = True
    context.stop_at = None
    result = run(context, ARGS, filled)
    assert stopped and sum(batches) == 40, "no image goes through the model twice"
    first, near = (Path(result[key]).read_bytes() for key in ("map", "neighbours"))
    frame, table = read_map(Path(result["map"])), read_neighbours(Path(result["neighbours"]))
    for path in filled.cache.rglob("*.parquet"):
        path.unlink()
    for path in filled.cache.rglob("*.npy"):
        path.unlink()
    whole = run(MemoryContext(), ARGS, filled)
    assert first and near and read_map(Path(whole["map"])).equals(frame)
    np.testing.assert_array_equal(read_neighbours(Path(whole["neighbours"])).neighbours, table.neighbours)


def test_finished_parts_come_from_the_cache_and_damaged_ones_are_made_anew(
    filled: Workspace, flat_umap: list[int]
) -> None:
    result = run(MemoryContext(), ARGS, filled)
    run(MemoryContext(), ARGS, filled)
    assert flat_umap == [40]
    run(MemoryContext(), {**ARGS, "settings": {**ARGS["settings"], "min_dist": 0.5}}, filled)
    assert flat_umap == [40, 40]
    Path(result["map"]).write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"map .* cannot be read .*Delete the file and make the map again"):
        read_map(Path(result["map"]))
    next((filled.cache / "features").glob("*.npy")).write_bytes(b"damaged")
    run(MemoryContext(), ARGS, filled)
    assert len(flat_umap) == 3 and read_map(Path(result["map"]))["x"].notna().all()
    with pytest.raises(DataError, match=r"map .* is not one of ours\. Delete the file"):
        read_map(Path(result["neighbours"]))


def test_a_stop_during_umap_leaves_the_principal_components(filled: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any) -> None:
        raise JobStopped

    monkeypatch.setattr(job_module, "umap_layout", stop)
    with pytest.raises(JobStopped):
        run(MemoryContext(), ARGS, filled)
    frame = read_map(next((filled.cache / "maps").glob("*.parquet")))
    assert frame["pca_x"].notna().all() and frame["x"].isna().all()


def test_a_model_or_dataset_that_changed_is_refused(filled: Workspace) -> None:
    with pytest.raises(DataError, match=r"the model and the dataset changed since these scores were made.*Score again"):
        run(MemoryContext(), {**ARGS, "expected": {"model": "0", "dataset": "1"}}, filled)
    with pytest.raises(DataError, match=r"which model or data .*'spec' is missing"):
        Seen.behind({"model": {"sha256": "0"}, "dataset": {"fingerprint": "1"}})


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [("n_neighbors", 1, "from 2 to 200"), ("min_dist", 2.0, "from 0 to 1"),
     ("limit", 5, ">= 100"), ("seed", -1, ">= 0"),
     ("batch_size", 0, ">= 1")],
)  # fmt: skip
def test_settings_out_of_range_are_named(name: str, value: float, rule: str) -> None:
    with pytest.raises(SettingsError, match=f"`{name}` must be {rule}, got {value}"):
        MapSettings.from_json({name: value})


def test_umap_keeps_groups_together_places_the_rest_and_stops_when_told() -> None:
    rng = np.random.default_rng(0)
    centres = 4 * rng.normal(size=(3, 8))
    group = np.repeat(np.arange(3), 70)
    features = (centres[group] + 0.3 * rng.normal(size=(210, 8))).astype(np.float32)
    settings = MapSettings(n_neighbors=8, limit=150, seed=1)
    shares: list[float] = []
    found = umap_layout(features, settings, shares.append)
    assert found.shape == (210, 2) and np.isfinite(found).all()
    apart = np.linalg.norm(found[:, None] - found[None], axis=2) + np.diag(np.full(210, np.inf))
    assert (group[apart.argmin(1)] == group).mean() > 0.98
    assert shares and shares[-1] == pytest.approx(1.0) and shares == sorted(shares)
    np.testing.assert_array_equal(found, umap_layout(features, settings))

    def stop(_: float) -> None:
        raise JobStopped

    with pytest.raises(JobStopped):
        umap_layout(features, settings, stop)
    assert umap_layout(features[:3], settings).shape == (3, 2)
