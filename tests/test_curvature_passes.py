"""The scoring job with the estimators of curvature: files, signs, stops, settings, notes, on the digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from digits_job import SPEC, arguments, fill, frames
from small_nets import label_gradients

from fvm_core.data.cache import PixelCache
from fvm_core.data.registry import open_named
from fvm_core.errors import FVMError, SettingsError
from fvm_core.influence import score
from fvm_core.influence.ekfac import fit_ekfac
from fvm_core.influence.gauss_newton import RandomSigns
from fvm_core.influence.lissa import hessian_product
from fvm_core.influence.methods import METHODS
from fvm_core.influence.passes import curvature, random_vectors
from fvm_core.influence.passes.registry import PASSES, passes_for
from fvm_core.influence.per_sample import SquaredGradients
from fvm_core.influence.random_vectors import random_vector
from fvm_core.influence.settings import ScoreSettings
from fvm_core.influence.store import list_runs
from fvm_core.jobs.context import JobStopped
from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.models.checkpoint import load_model, save_model
from fvm_core.models.inputs import to_input
from fvm_core.workspace import Workspace

NEW = (
    "datainf", "ekfac", "influence_ekfac", "influence_lissa", "influence_datainf", "first_train", "first_val",
    "second_train",
)  # fmt: skip
SIGNS = dict(zip(NEW, (-1, -1, 1, 1, 1, -1, -1, 1), strict=True))
FEW = {"curvature_samples": 100, "random_vectors": 2, "lissa_depth": 2, "relabel": "all"}
Gradients = dict[str, torch.Tensor]


def pixels(workspace: Workspace, name: str, rows: Any) -> torch.Tensor:
    return to_input(
        PixelCache(open_named(workspace, name), size=8, channels=1, folder=workspace.cache).read(rows), SPEC
    )


class Direct:
    """What the job should find, from per-sample gradients of torch.func and dense algebra."""

    def __init__(self, workspace: Workspace, rows: Any, training: Any) -> None:
        self.model, _ = load_model(workspace, "m")
        data, clean = open_named(workspace, "digits"), open_named(workspace, "clean")
        self.labels = torch.from_numpy(data.labels[rows])
        self.x = pixels(workspace, "digits", rows)
        self.train = self.of(pixels(workspace, "digits", training), torch.from_numpy(data.labels[training]))
        self.x_val, self.y_val = pixels(workspace, "clean", np.arange(40)), torch.from_numpy(clean.labels)
        self.val = self.of(self.x_val, self.y_val)
        self.g_val = {name: value.mean(0) for name, value in self.val.items()}

    def of(self, x: torch.Tensor, y: torch.Tensor) -> Gradients:
        return label_gradients(self.model, x, y)

    def along(self, direction: Gradients) -> np.ndarray:
        """Return (n, c): g_(x, k) . direction."""
        out = [self.of(self.x, torch.full_like(self.labels, k)) for k in range(10)]
        return np.stack([sum((g[n] * direction[n]).flatten(1).sum(1) for n in direction).numpy() for g in out], axis=1)  # type: ignore[union-attr]

    def weighted(self, weights: Gradients) -> np.ndarray:
        """Return (n, c): sum of weight * g_(x, k)^2."""
        out = [self.of(self.x, torch.full_like(self.labels, k)) for k in range(10)]
        return np.stack(
            [sum((g[n].square() * weights[n]).flatten(1).sum(1) for n in weights).numpy() for g in out], axis=1
        )  # type: ignore[union-attr]

    def datainf(self, gradients: Gradients, v: Gradients, share: float) -> Gradients:
        """Return DataInf's H^-1 v, layer by layer, from all gradients at once."""
        out: Gradients = {}
        for layer in {name.rpartition(".")[0] for name in v}:
            names = [name for name in v if name.rpartition(".")[0] == layer]
            g = torch.cat([gradients[name].flatten(1) for name in names], dim=1).double()
            vector = torch.cat([v[name].flatten() for name in names]).double()
            scale = share * g.square().mean()
            solved = (vector - (g * ((g @ vector) / (scale + g.square().sum(1)))[:, None]).mean(0)) / scale
            for name, part in zip(names, solved.split([v[name].numel() for name in names]), strict=True):
                out[name] = part.view_as(v[name]).float()
        return out


@pytest.fixture
def ready(workspace: Workspace, tmp_path: Path) -> Workspace:
    return fill(workspace, tmp_path)


@pytest.fixture
def scored(ready: Workspace) -> tuple[Workspace, dict[str, pd.DataFrame], MemoryContext]:
    context = MemoryContext()
    score.run(context, arguments(methods=list(NEW), settings=FEW), ready)
    return ready, frames(ready, "run-1"), context


def test_every_method_has_files_signs_and_suggestions(
    scored: tuple[Workspace, dict[str, pd.DataFrame], MemoryContext],
) -> None:
    workspace, found, context = scored
    assert set(found) == set(NEW)
    for method, frame in found.items():
        sign = METHODS[method].suspicious
        assert sign == SIGNS[method] and len(frame) == 90
        np.testing.assert_array_equal(frame["suspicion"], sign * frame["score"])
        scores = np.stack(frame["label_scores"])
        np.testing.assert_allclose(scores[np.arange(90), frame["label"]], frame["score"], rtol=1e-4, atol=1e-5)
        assert (frame["suggested"] == (sign * scores).argmin(1)).all()
        if method in ("influence_ekfac", "second_train"):
            assert (scores >= 0).all()
        elif sign < 0:
            assert (scores < 0).any() and (scores > 0).any()
    done, total, _ = context.messages[-1]
    assert done == total
    notes = {item.method: " ".join(item.provenance["notes"]) for item in list_runs(workspace)}
    for method in ("datainf", "ekfac", "first_train", "second_train"):
        assert "run over 100 of its" in notes[method]
    for method in ("ekfac", "influence_ekfac"):
        assert "Gauss-Newton" in notes[method] and "own diagonal" in notes[method]
    for method in ("influence_lissa", "influence_datainf"):
        assert "2 random vectors" in notes[method]
    assert "Table 6 used" in METHODS["first_val"].explains and "ours is diagonal" in METHODS["second_train"].explains


def test_linear_and_diagonal_methods_equal_a_direct_computation(
    scored: tuple[Workspace, dict[str, pd.DataFrame], MemoryContext],
) -> None:
    workspace, found, _ = scored
    rows = found["datainf"]["row"].to_numpy()
    size = len(open_named(workspace, "digits"))
    training = np.sort(np.random.default_rng([0, size]).choice(size, 100, replace=False))
    direct = Direct(workspace, rows, training)
    fishers = {
        key: {n: g.double().square().mean(0) for n, g in grads.items()}
        for key, grads in (("train", direct.train), ("val", direct.val))
    }
    expected = {
        "datainf": direct.along(direct.datainf(direct.train, direct.g_val, 0.1)),
        "first_train": direct.along({n: (g / (fishers["train"][n] + 1e-6)).float() for n, g in direct.g_val.items()}),
        "first_val": direct.along({n: (g / (fishers["val"][n] + 1e-6)).float() for n, g in direct.g_val.items()}),
        "second_train": direct.weighted(
            {n: (f / (fishers["train"][n] + 1e-6).square()).float() for n, f in fishers["val"].items()}
        ),
    }
    estimates = []
    for draw in range(2):
        v = random_vector(direct.model, seed=0, draw=draw)
        estimates.append(direct.along(direct.datainf(direct.val, v, 0.1)) * direct.along(v))
    expected["influence_datainf"] = np.mean(estimates, axis=0)
    for method, wanted in expected.items():
        scores = np.stack(found[method]["label_scores"])
        np.testing.assert_allclose(scores, wanted, rtol=2e-3, atol=2e-4 * np.abs(wanted).max(), err_msg=method)


def test_ekfac_with_a_large_damping_tends_to_the_scaled_identity(ready: Workspace) -> None:
    """With d = 1e6 times the mean eigenvalue a layer's curvature is d alone, so s is a weighted gradient length."""
    args = arguments(
        methods=["influence_ekfac", "ekfac"], settings={"relabel": "all", "ekfac_damping": 1e6, "limit": 40}
    )
    score.run(MemoryContext(), args, ready)
    found = frames(ready, "run-1")
    rows = found["ekfac"]["row"].to_numpy()
    direct = Direct(ready, rows, rows)
    batches = list(zip(direct.x_val.split(16), direct.y_val.split(16), strict=True))
    fitted = fit_ekfac(SquaredGradients(direct.model, direct.x), lambda: batches, RandomSigns(0))
    weights: Gradients = {}
    for name, value in direct.g_val.items():
        layer = next((key for key, basis in fitted.bases.items() if name in basis.names), name)
        weights[name] = torch.full_like(value, 1 / (1e6 * float(fitted.values[layer].mean())))
    wanted = direct.weighted(weights)
    np.testing.assert_allclose(np.stack(found["influence_ekfac"]["label_scores"]), wanted, rtol=2e-3)


def test_lissa_solves_each_vector_on_validation_batches(
    ready: Workspace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The pairs that the job scores with satisfy H x = V as well as LiSSA can, H the damped Hessian of validation."""
    pairs: list[Any] = []
    inner = random_vectors.random_vector_scores

    def seen(model: Any, x: Any, given: Any) -> Any:
        pairs[:] = given
        return inner(model, x, given)

    monkeypatch.setattr(random_vectors, "random_vector_scores", seen)
    settings = {"lissa_depth": 60, "lissa_scale": 40.0, "lissa_damping": 0.15, "random_vectors": 2, "batch_size": 64}
    score.run(MemoryContext(), arguments(methods=["influence_lissa"], settings={**settings, "limit": 4}), ready)
    direct = Direct(ready, np.arange(2), np.arange(2))
    direct.model.requires_grad_(True)
    product = hessian_product(direct.model, lambda step: (direct.x_val, direct.y_val), list(direct.model.parameters()))
    assert len(pairs) == 2
    for v, solved in pairs:
        image = product(list(solved.values()), 0)
        for (name, part), want in zip(solved.items(), v.values(), strict=True):
            back = image[list(solved).index(name)] + 0.15 * 40 * part
            torch.testing.assert_close(back, want, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("method", NEW)
def test_a_stopped_job_resumes_to_the_same_scores(ready: Workspace, method: str) -> None:
    args = arguments(methods=[method], settings={**FEW, "limit": 20})
    score.run(MemoryContext(), {**args, "run": "whole"}, ready)
    context = MemoryContext(stop_at=3)
    with pytest.raises(JobStopped):
        score.run(context, args, ready)
    context.stop_at = None
    score.run(context, args, ready)
    whole, resumed = frames(ready, "whole")[method], frames(ready, "run-1")[method]
    pd.testing.assert_frame_equal(whole, resumed)


@pytest.mark.parametrize("method", NEW)
def test_what_was_prepared_is_kept_and_used_again(ready: Workspace, method: str) -> None:
    """A second start that only finds the kept state, as after a kill in the middle of the rows."""
    args = arguments(methods=[method], settings={**FEW, "limit": 20})
    context = MemoryContext()
    score.run(context, args, ready)
    first = frames(ready, "run-1")[method]
    again = MemoryContext(state=context.state)
    score.run(again, args, ready)
    pd.testing.assert_frame_equal(first, frames(ready, "run-1")[method])
    assert again.saves == 0, "prepared a second time"


def test_shortlist_and_none_agree_with_all(ready: Workspace) -> None:
    methods = ["influence_ekfac", "second_train"]
    for mode in ("all", "shortlist", "none"):
        args = arguments(run=mode, methods=methods, settings={**FEW, "limit": 30, "relabel": mode})
        score.run(MemoryContext(), args, ready)
    for method in methods:
        every, short, none = (frames(ready, mode)[method] for mode in ("all", "shortlist", "none"))
        assert list(short["suggested"]) == list(every["suggested"]) and (none["suggested"] == -1).all()
        for other in (short, none):
            np.testing.assert_allclose(other["score"], every["score"], rtol=2e-3)


def test_curvature_samples_are_drawn_by_the_seed_and_never_more_than_there_are() -> None:
    class Fake:
        train = range(50)

        def __init__(self, **settings: Any) -> None:
            self.settings = ScoreSettings(**settings)

    def rows(**settings: Any) -> list[int]:
        return curvature.curvature_rows(Fake(**settings)).tolist()  # type: ignore[arg-type]

    assert rows() == rows(curvature_samples=50) == rows(curvature_samples=99) == list(range(50))
    drawn = rows(curvature_samples=20, seed=3)
    assert drawn == sorted(set(drawn)) and len(drawn) == 20 and drawn != rows(curvature_samples=20, seed=4)


def test_only_what_a_method_needs_is_computed(ready: Workspace) -> None:
    context = MemoryContext()
    score.run(context, arguments(methods=["first_val"], settings={**FEW, "limit": 10}), ready)
    state = context.load_state()
    assert state is not None and set(state["ablation"]["made"]) == {"gradient", "validation"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"curvature_samples": 0}, "`curvature_samples` must be >= 1, or none for all, got 0"),
        ({"curvature_samples": 1.5}, "`curvature_samples` must be a whole number or none"),
        ({"datainf_damping": 0.0}, r"`datainf_damping` must be > 0, got 0\.0"),
        ({"datainf_damping": float("nan")}, "`datainf_damping` must be a finite number"),
        ({"ekfac_damping": -1.0}, r"`ekfac_damping` must be > 0, got -1\.0"),
        ({"ekfac_damping": "much"}, "`ekfac_damping` must be a finite number"),
        ({"random_vectors": 0}, "`random_vectors` must be >= 1, got 0"),
        ({"random_vectors": True}, "`random_vectors` must be a whole number"),
    ],
)
def test_settings_are_checked_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        ScoreSettings(**changes)


def test_lissa_that_grows_names_the_setting(ready: Workspace) -> None:
    settings = {"lissa_scale": 1e-3, "lissa_depth": 50, "limit": 4}
    with pytest.raises(SettingsError, match="`lissa_scale` must be large enough for the recursion to shrink"):
        score.run(MemoryContext(), arguments(methods=["influence_lissa"], settings=settings), ready)


@pytest.mark.parametrize("method", NEW)
def test_weights_that_overflow_are_an_error(ready: Workspace, method: str) -> None:
    model, record = load_model(ready, "m")
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(1e30)
    save_model(ready.models / "m", model, record)
    with pytest.raises(FVMError, match=r"not finite|lissa_scale"):
        score.run(MemoryContext(), arguments(methods=[method], settings={**FEW, "limit": 10}), ready)


def test_every_method_has_one_pass() -> None:
    filled = [method for methods in PASSES.values() for method in methods]
    assert sorted(filled) == sorted(METHODS) and len(set(filled)) == len(filled)
    found = passes_for(["ekfac", "influence_ekfac", "first_val", "second_train", "influence_lissa"])
    assert {item.name: item.methods for item in found} == {
        "influence_ekfac": ("influence_ekfac",), "ablation": ("first_val", "second_train"), "ekfac": ("ekfac",),
        "influence_lissa": ("influence_lissa",),
    }  # fmt: skip
    with pytest.raises(SettingsError, match="has no pass for"):
        passes_for(["magic"])
