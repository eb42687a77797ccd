"""Landscapes: directions and planes against closed forms, the job exact at its three models, stopped and resumed."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from digits_job import SPEC, fill
from torch import nn
from torch.nn import functional as F

from fvm_core.cli.main import main
from fvm_core.data.registry import open_named
from fvm_core.errors import DataError, SettingsError
from fvm_core.jobs.context import JobStopped
from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.learn import landscape_job
from fvm_core.learn.landscape import filter_normalised, move, plane_through
from fvm_core.learn.settings import LandscapeSettings
from fvm_core.learn.store import LANDSCAPE, landscape_key, read_table
from fvm_core.models.build import build_model
from fvm_core.models.checkpoint import load_model, save_model
from fvm_core.models.inputs import to_input
from fvm_core.models.store import ModelRecord, read_record
from fvm_core.workspace import Workspace

SIDE = 5
SETTINGS = {"side": SIDE, "samples": 40, "seed": 2}


class Quadratic(nn.Module):
    """A loss of its own weights: w^T A w / 2 summed over the filters (rows), and a bias that must not move."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(4, 3, generator=generator, dtype=torch.float64))
        self.bias = nn.Parameter(torch.randn(4, generator=generator, dtype=torch.float64))
        root = torch.randn(3, 3, generator=generator, dtype=torch.float64)
        self.curvature = root @ root.t()

    def loss(self) -> float:
        return float((self.weight @ self.curvature * self.weight).detach().sum() / 2)


def test_filter_normalised_filters_are_as_long_as_the_models_and_biases_still() -> None:
    model = Quadratic()
    one, two = (filter_normalised(model, seed=3, number=number) for number in (0, 1))
    for direction in (one, two):
        torch.testing.assert_close(direction["weight"].norm(dim=1), model.weight.norm(dim=1).detach())
        assert not direction["bias"].any()
    assert not torch.allclose(one["weight"], two["weight"])
    torch.testing.assert_close(filter_normalised(model, seed=3, number=0), one, rtol=0, atol=0)
    with torch.no_grad():
        model.weight[1] = 0
    assert not filter_normalised(model, seed=3, number=0)["weight"][1].any()


def test_loss_along_directions_is_the_quadratics_closed_form() -> None:
    model = Quadratic()
    centre = {name: value.detach().clone() for name, value in model.named_parameters()}
    first, second = (filter_normalised(model, seed=1, number=number) for number in (0, 1))
    w, d, e, a = centre["weight"], first["weight"], second["weight"], model.curvature

    def form(left: torch.Tensor, right: torch.Tensor) -> float:
        return float((left @ a * right).sum())

    for x, y in ((0.0, 0.0), (0.7, -0.3), (-1.0, 1.0)):
        move(model, centre, (first, second), x, y)
        wanted = form(w, w) / 2 + x * form(w, d) + y * form(w, e) + x * y * form(d, e)
        assert model.loss() == pytest.approx(wanted + x**2 * form(d, d) / 2 + y**2 * form(e, e) / 2)
        assert torch.equal(model.bias.detach(), centre["bias"])


def random_states(model: nn.Module, count: int = 3) -> tuple[dict[str, torch.Tensor], ...]:
    out = []
    for seed in range(count):
        generator = torch.Generator().manual_seed(seed)
        out.append(
            {name: torch.rand(value.shape, generator=generator, dtype=value.dtype) + 0.1
             if value.is_floating_point() else value.clone() for name, value in model.state_dict().items()}
        )  # fmt: skip
    return tuple(out)


def test_plane_keeps_lengths_and_angles_and_is_exact_at_its_points() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3)).double()
    states = random_states(model)
    plane = plane_through(model, states)  # type: ignore[arg-type]
    names = [name for name, _ in model.named_parameters()]
    flat = [torch.cat([state[name].flatten() for name in names]) for state in states]
    for i in range(3):
        for j in range(i):
            between = math.dist(plane.points[i], plane.points[j])
            assert between == pytest.approx(float((flat[i] - flat[j]).norm()))
        plane.put(model, *plane.points[i])
        for name, value in model.state_dict().items():
            assert torch.equal(value, states[i][name]), name
    x, y = 0.3 * plane.points[1][0], 0.4 * plane.points[2][1]
    plane.put(model, x, y)
    here = torch.cat([dict(model.named_parameters())[name].detach().flatten() for name in names])
    for point, state in zip(plane.points, flat, strict=True):
        assert math.dist(point, (x, y)) == pytest.approx(float((here - state).norm())), "an orthonormal basis"
    for far in ((-50.0, 50.0), (50.0, -50.0)):
        plane.put(model, *far)
        assert (model[1].running_var >= 0).all() and torch.isfinite(model[1].running_var).all()  # type: ignore[operator]


def test_loss_on_the_plane_is_the_quadratics_closed_form() -> None:
    model = Quadratic()
    states = random_states(model)
    plane = plane_through(model, states)  # type: ignore[arg-type]
    for x, y in ((0.2, 0.9), (-1.0, 2.0)):
        plane.put(model, x, y)
        shares = plane.shares(x, y)
        w = sum(share * state["weight"] for share, state in zip(shares, states, strict=True))
        assert model.loss() == pytest.approx(float((w @ model.curvature * w).sum() / 2))  # type: ignore[operator]
        assert sum(shares) == pytest.approx(1)


def test_three_models_in_a_row_have_no_plane() -> None:
    model = Quadratic()
    one, two, _ = random_states(model)
    middle = {name: (one[name] + two[name]) / 2 for name in one}
    for states in ((one, two, middle), (one, one, two), (one, two, two)):
        with pytest.raises(DataError, match="must not lie on one line"):
            plane_through(model, states)


@pytest.fixture
def ready(workspace: Workspace, tmp_path: Path) -> Workspace:
    """Models m, vm and fvm of random weights and statistics."""
    fill(workspace, tmp_path)
    for seed, name in enumerate(("vm", "fvm"), start=1):
        torch.manual_seed(seed)
        model = build_model(SPEC)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None and module.running_var is not None
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
        save_model(workspace.models / name, model, ModelRecord(name, name, SPEC))
    return workspace


def arguments(**changes: Any) -> dict[str, Any]:
    args = {"models": ["m", "vm", "fvm"], "dataset": "digits", "validation": "clean", "settings": SETTINGS}
    return {**args, **changes}


def whole_loss(workspace: Workspace, model: nn.Module, name: str) -> float:
    """Return the loss over the whole dataset, computed here."""
    data = open_named(workspace, name)
    x = to_input(np.stack([data.read(i) for i in range(len(data))])[..., None].astype(np.uint8), SPEC)
    with torch.no_grad():
        return float(F.cross_entropy(model(x), torch.from_numpy(data.labels)))


def test_the_job_is_exact_at_the_three_models_and_complete(ready: Workspace) -> None:
    context = MemoryContext()
    result = landscape_job.run(context, arguments(), ready)
    found = read_table(Path(result["file"]), LANDSCAPE)
    frame, origin = found.frame, found.provenance
    assert frame.groupby("panel").size().to_dict() == {"plane": SIDE**2, "point": 3, "random": 3 * SIDE**2}
    assert result["points"] == len(frame) and context.messages[-1][:2] == (len(frame), len(frame))
    assert "running statistics" in origin["notes"][0] and set(origin["models"]) == {"m", "vm", "fvm"}
    assert frame[["validation_loss", "training_loss"]].notna().all(axis=None)
    points = frame[frame["panel"] == "point"].set_index("model")
    for name in ("m", "vm", "fvm"):
        exact = whole_loss(ready, load_model(ready, name)[0], "clean")  # 40 clean images: the sample is the set
        assert points.loc[name, "validation_loss"] == pytest.approx(exact, rel=1e-5)
        around = frame[(frame["panel"] == "random") & (frame["model"] == name)]
        centre = around[(around["x"] == 0) & (around["y"] == 0)]
        assert len(centre) == 1
        for column in ("validation_loss", "training_loss"):
            assert centre[column].item() == pytest.approx(points.loc[name, column], rel=1e-6)
        assert around["validation_loss"].nunique() > SIDE


def test_a_stopped_job_resumes_to_the_same_landscape_and_a_made_one_is_kept(ready: Workspace) -> None:
    context = MemoryContext(stop_at=9)
    with pytest.raises(JobStopped):
        landscape_job.run(context, arguments(), ready)
    context.stop_at = None
    begun = len(context.messages)
    first = landscape_job.run(context, arguments(), ready)
    after = [message for message in context.messages[begun:] if not message[2].startswith("Decoding")]
    assert after[0][0] > 3, "finished rows are not computed again"
    resumed = read_table(Path(first["file"]), LANDSCAPE).frame
    Path(first["file"]).unlink()
    again = landscape_job.run(MemoryContext(), arguments(), ready)
    assert again == first
    np.testing.assert_array_equal(read_table(Path(again["file"]), LANDSCAPE).frame, resumed)
    kept = Path(again["file"]).stat().st_mtime_ns
    landscape_job.run(MemoryContext(), arguments(), ready)
    assert Path(again["file"]).stat().st_mtime_ns == kept
    hashes = [read_record(ready, name).sha256 for name in ("m", "vm", "fvm")]
    prints = [open_named(ready, name).fingerprint for name in ("digits", "clean")]
    assert first["key"] == landscape_key(hashes, prints[0], prints[1], LandscapeSettings(**SETTINGS))  # type: ignore[arg-type]


def test_one_model_has_no_plane_and_the_command_line_does_it_too(
    ready: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["landscape", "--models", "vm", "--dataset", "digits", "--validation", "clean"]
    assert main([*command, "--set", "side=3", "--set", "samples=20"]) == 0
    (path,) = (ready.root / "learn").glob("landscape-*.parquet")
    assert set(read_table(path, LANDSCAPE).frame["panel"]) == {"random"}
    assert '"points": 9' in capsys.readouterr().out


def test_errors_say_what_to_change(ready: Workspace) -> None:
    for models in ([], ["m", "m"], ["m", "vm", "fvm", "other"]):
        with pytest.raises(DataError, match="`models` must be one to 3 different models"):
            landscape_job.run(MemoryContext(), arguments(models=models), ready)
    wide = replace(SPEC, arch="cifar_resnet18", width=2)
    save_model(ready.models / "wide", build_model(wide), ModelRecord("wide", "base", wide))
    with pytest.raises(DataError, match="must have one architecture, but 'wide'"):
        landscape_job.run(MemoryContext(), arguments(models=["m", "wide"]), ready)
    for name, bad in (("side", 4), ("side", 1), ("extent", 0.0), ("margin", -1.0), ("samples", 0),
                      ("batch_size", 0), ("seed", -1)):  # fmt: skip
        with pytest.raises(SettingsError, match=f"`{name}` must be"):
            LandscapeSettings(**{name: bad})
    with pytest.raises(SettingsError, match="unknown settings"):
        LandscapeSettings.from_json({"depth": 3})
    with pytest.raises(DataError, match="cannot be read"):
        read_table(ready.root / "learn" / "landscape-x.parquet", LANDSCAPE)
