"""The scoring job on the digits: its files against direct computation, kills, stops, bad input."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from digits_job import ROWS, SPEC, arguments, fill, frames

from fvm_core import files
from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.registry import add_dataset, open_named
from fvm_core.demo import TRAINING
from fvm_core.distributed.fisher import shared_fisher
from fvm_core.errors import CheckpointError, DataError, FVMError, SettingsError
from fvm_core.influence import rows, score
from fvm_core.influence.baselines import confident_quality, loss_scores
from fvm_core.influence.fisher import fisher_diagonal
from fvm_core.influence.flat import inverse_fisher
from fvm_core.influence.methods import DEFAULT_METHODS, METHODS
from fvm_core.influence.passes import influence as influence_pass
from fvm_core.influence.passes import validation_fisher
from fvm_core.influence.per_sample import squared_scores
from fvm_core.influence.store import display_name, list_runs, read_scores
from fvm_core.influence.summary import summarize
from fvm_core.influence.task import open_task
from fvm_core.jobs.context import JobStopped
from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.models.build import build_model
from fvm_core.models.checkpoint import load_model, save_model
from fvm_core.models.inputs import to_input
from fvm_core.models.store import ModelRecord, read_record, write_record
from fvm_core.workspace import Workspace

TIMES = ("created", "seconds", "preparation_seconds", "samples_per_second")


@pytest.fixture
def ready(workspace: Workspace, tmp_path: Path) -> Workspace:
    """A workspace with the digits, 40 of them as validation set, and a model of random weights."""
    return fill(workspace, tmp_path)


def test_files_hold_what_a_direct_computation_gives(ready: Workspace) -> None:
    context = MemoryContext()
    result = score.run(context, arguments(), ready)
    found = frames(ready, "run-1")
    assert set(found) == set(DEFAULT_METHODS) == set(result["files"]) and result["samples"] == ROWS
    data, clean = open_named(ready, "digits"), open_named(ready, "clean")
    model, _ = load_model(ready, "m")
    rows = found["influence"]["row"].to_numpy()
    assert len(set(rows)) == ROWS and (np.diff(rows) > 0).all() and rows.max() > ROWS, "a random sample, in order"

    def pixels(dataset: Any, index: Any) -> torch.Tensor:
        return to_input(np.stack([np.asarray(dataset.read(i)) for i in index])[..., None].astype(np.uint8), SPEC)

    from fvm_core.data.cache import PixelCache

    cache = PixelCache(data, size=8, channels=1, folder=ready.cache)
    x, y = to_input(cache.read(rows), SPEC), torch.from_numpy(data.labels[rows])
    clean_cache = PixelCache(clean, size=8, channels=1, folder=ready.cache)
    x_val, y_val = to_input(clean_cache.read(np.arange(40)), SPEC), torch.from_numpy(clean.labels)
    weights = inverse_fisher(fisher_diagonal(model, [(x_val, y_val)]), damping=1e-6)
    s = squared_scores(model, x, y, weights).numpy()
    np.testing.assert_allclose(found["influence"]["score"], s, rtol=1e-4)
    for label in (0, 7):
        one = squared_scores(model, x, torch.full_like(y, label), weights).numpy()
        np.testing.assert_allclose(np.stack(found["influence"]["label_scores"])[:, label], one, rtol=1e-4)
    logits = model(x).detach()
    np.testing.assert_allclose(found["loss"]["score"], loss_scores(logits)[torch.arange(ROWS), y], rtol=1e-5)
    quality = confident_quality(data.labels[rows], torch.softmax(logits.double(), 1).numpy())
    np.testing.assert_allclose(found["confident"]["score"], quality, rtol=1e-5)
    for method, frame in found.items():
        assert list(frame["id"]) == list(data.ids[rows]) and (frame["label"] == data.labels[rows]).all()
        assert data.clean_labels is not None and (frame["clean_label"] == data.clean_labels[rows]).all()
        np.testing.assert_array_equal(frame["suspicion"], METHODS[method].suspicious * frame["score"])
        if method == "confident":
            assert frame["label_scores"].isna().all()
            continue
        scores = np.stack(frame["label_scores"])
        np.testing.assert_allclose(scores[np.arange(ROWS), frame["label"]], frame["score"], rtol=1e-5, atol=1e-7)
        sign = METHODS[method].suspicious
        np.testing.assert_array_equal((sign * scores).argmin(1), frame["suggested"])
        assert np.stack(frame["label_exact"]).all()
    assert (found["confident"]["suggested"] == logits.argmax(1).numpy()).all()
    done, total, _ = context.messages[-1]
    assert done == total


def test_provenance_tells_the_solver_and_old_parts_stay_valid(ready: Workspace) -> None:
    """The weights' hash is in the plan already, so parts scored before the solver was told are used again."""
    args = arguments(methods=["loss"])
    untold = open_task(MemoryContext(), args, ready)
    write_record(ready, replace(read_record(ready, "m"), settings={"solver": "asam"}))
    told = open_task(MemoryContext(), args, ready)
    assert told.plan == untold.plan
    assert "solver" not in untold.provenance("loss")["model"] and told.provenance("loss")["model"]["solver"] == "asam"
    score.run(MemoryContext(), args, ready)
    (info,) = list_runs(ready)
    assert display_name(info.provenance) == "FVM (ASAM) · Cross-entropy loss"
    assert summarize(ready)["model"].tolist() == ["fvm (ASAM)"]


def test_provenance_names_everything(ready: Workspace) -> None:
    args = arguments(methods=["influence", "standard", "loss"], settings={"lissa_scale": None, "lissa_depth": 2})
    score.run(MemoryContext(), args, ready)
    for item in list_runs(ready):
        provenance = item.provenance
        assert (
            provenance["model"]["sha256"] == load_model(ready, "m")[1].sha256 and provenance["model"]["role"] == "fvm"
        )
        assert provenance["dataset"]["fingerprint"] == open_named(ready, "digits").fingerprint
        assert provenance["validation"]["fingerprint"] == open_named(ready, "clean").fingerprint
        assert provenance["settings"]["damping"] == 1e-6 and provenance["seed"] == 0
        assert provenance["method"] == item.method and len(provenance["class_names"]) == 10
        assert provenance["seconds"] > 0 and provenance["samples_per_second"] > 0
        assert {"version", "created", "machine", "notes"} <= set(provenance)
        assert (item.method == "standard") == any("twice the top eigenvalue" in note for note in provenance["notes"])


def test_shortlist_and_none_agree_with_all(ready: Workspace) -> None:
    for mode in ("all", "shortlist", "none"):
        score.run(MemoryContext(), arguments(run=mode, methods=["influence"], settings={"relabel": mode}), ready)
    every, short, none = (frames(ready, mode)["influence"] for mode in ("all", "shortlist", "none"))
    assert list(short["suggested"]) == list(every["suggested"]) and (none["suggested"] == -1).all()
    np.testing.assert_allclose(short["score"], every["score"], rtol=1e-4)
    np.testing.assert_allclose(none["score"], every["score"], rtol=1e-4)
    assert none["label_scores"].isna().all() and none["label_exact"].isna().all()


class Killed(BaseException):
    """As sudden as a kill: nothing in the job may catch it."""


class DyingContext(MemoryContext):
    """Dies at its n-th checkpoint."""

    def checkpoint(self) -> bool:
        if super().checkpoint():
            raise Killed
        return False


@pytest.mark.parametrize("at", [4, 7, 11, 15])
def test_a_killed_job_ends_with_the_same_content(
    ready: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, at: int
) -> None:
    monkeypatch.setattr(rows, "PART_ROWS", 32)
    args = arguments(methods=["influence", "loss", "confident"], settings={"relabel": "none"})
    score.run(MemoryContext(), {**args, "run": "whole"}, ready)
    context = DyingContext(folder=tmp_path / "job", stop_at=at)
    with pytest.raises(Killed):
        score.run(context, args, ready)
    assert not list(ready.scores.glob("run-1/influence.parquet"))
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "job").rglob("*.parquet")}
    context.stop_at = None
    score.run(context, args, ready)
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items()), "a whole part was made again"
    whole, resumed = frames(ready, "whole"), frames(ready, "run-1")
    for method, frame in whole.items():
        pd.testing.assert_frame_equal(resumed[method], frame)
    first, second = (
        {
            item.method: {k: v for k, v in item.provenance.items() if k not in TIMES}
            for item in list_runs(ready)
            if item.run == run
        }
        for run in ("whole", "run-1")
    )
    assert first == second


def test_a_kill_within_the_last_write_leaves_nothing_among_the_scores(
    ready: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    args = arguments(methods=["loss"], settings={"relabel": "none"})
    context = MemoryContext(folder=tmp_path / "job")

    def die(table: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(score, "_same", die)
        patch.setattr(files, "_discard", lambda path: None)  # a kill tidies nothing away
        with pytest.raises(Killed):
            score.run(context, args, ready)
    assert not ready.scores.exists() or not [path for path in ready.scores.rglob("*") if path.is_file()]
    assert list(context.folder.rglob(".*.tmp"))
    files.sweep(context.folder)
    score.run(context, args, ready)
    assert [path.name for path in ready.scores.rglob("*") if path.is_file()] == ["loss.parquet"]
    assert not list(context.folder.rglob(".*.tmp")) and len(frames(ready, "run-1")["loss"]) == ROWS


def test_the_fisher_is_not_made_again_after_a_stop(ready: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    args = arguments(methods=["influence"], settings={"relabel": "none"})
    context = MemoryContext(stop_at=11)
    with pytest.raises(JobStopped):
        score.run(context, args, ready)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(influence_pass, "validation_fisher", refuse)
    context.stop_at = None
    assert score.run(context, args, ready)["samples"] == ROWS


def test_passes_of_one_job_share_one_fisher(ready: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def counted(*args: Any, **options: Any) -> Any:
        made.append(1)
        return shared_fisher(*args, **options)

    monkeypatch.setattr(validation_fisher, "shared_fisher", counted)
    methods = ["typical_influence", "second_train", "influence"]
    together = score.run(MemoryContext(), arguments(methods=methods, run="together"), ready)
    assert made == [1]
    for method in methods:
        score.run(MemoryContext(), arguments(methods=[method], run=f"alone-{method}"), ready)
        alone, beside = frames(ready, f"alone-{method}")[method], frames(ready, "together")[method]
        pd.testing.assert_frame_equal(alone, beside)
    files = {method: read_scores(Path(together["files"][method])).provenance for method in methods}
    # Each tells what it would have taken alone.
    assert min(entry["preparation_seconds"] for entry in files.values()) > 0
    assert files["influence"]["preparation_seconds"] <= files["typical_influence"]["preparation_seconds"]


def test_half_precision_is_a_setting(ready: Workspace) -> None:
    for precision in ("fp32", "bf16"):
        settings = {"relabel": "all", "precision": precision}
        score.run(MemoryContext(), arguments(methods=["influence"], run=precision, settings=settings), ready)
    full, half = (frames(ready, precision)["influence"]["score"] for precision in ("fp32", "bf16"))
    assert (full - half).abs().max() > 0 and full.corr(half, method="spearman") > 0.999
    with pytest.raises(SettingsError, match="`precision` must be one of"):
        score.run(MemoryContext(), arguments(methods=["influence"], settings={"precision": "fp16"}), ready)


def test_parts_of_other_settings_are_not_reused(ready: Workspace, tmp_path: Path) -> None:
    context = MemoryContext(folder=tmp_path / "job")
    one = arguments(methods=["influence"], settings={"relabel": "none"})
    score.run(context, one, ready)
    before = frames(ready, "run-1")["influence"]["score"]
    other = arguments(methods=["influence"], settings={"relabel": "none", "damping": 1.0})
    score.run(context, other, ready)
    assert (frames(ready, "run-1")["influence"]["score"] < before).all()


def test_unreadable_images_are_left_out_and_listed(ready: Workspace, tmp_path: Path) -> None:
    from PIL import Image

    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    lines = ["path,label"]
    for k in range(12):
        Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8)).save(folder / f"{k:02d}.png")
        lines.append(f"images/{k:02d}.png,{k % 10}")
    (folder / "03.png").write_bytes(b"not an image")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    add_dataset(ready, "files", DatasetSpec("manifest", path=str(tmp_path / "list.csv"), image="path", label="label"))
    args = arguments(dataset="files", methods=["influence", "loss"], settings={"limit": None})
    result = score.run(MemoryContext(), args, ready)
    assert result["samples"] == 11 and any(
        "1 unreadable images" in note and "03.png" in note for note in result["notes"]
    )
    frame = frames(ready, "run-1")["influence"]
    assert len(frame) == 11 and not any("03" in name for name in frame["id"])
    assert 3 not in set(frame["row"])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"methods": ["influence", "magic"]}, SettingsError, "`methods` must be some of"),
        ({"methods": []}, SettingsError, "`methods` must be some of"),
        ({"settings": {"relabel": "most"}}, SettingsError, "`relabel` must be one of"),
        ({"settings": {"damping": 0.0}}, SettingsError, "`damping` must be > 0 here, got 0.0"),
        (
            {"settings": {"lissa_scale": 1e-3, "lissa_depth": 50}, "methods": ["standard"]},
            SettingsError,
            "`lissa_scale`",
        ),
        ({"model": "nobody"}, FVMError, "nobody"),
        ({"validation": "nothing"}, DataError, "nothing"),
    ],
)
def test_bad_input_is_named(ready: Workspace, changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        score.run(MemoryContext(), arguments(**changes), ready)


def test_weights_that_overflow_are_named(ready: Workspace) -> None:
    model, record = load_model(ready, "m")
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(1e30)
    save_model(ready.models / "m", model, record)
    with pytest.raises(FVMError, match="not finite"):
        score.run(MemoryContext(), arguments(methods=["loss"]), ready)


@pytest.mark.parametrize("mode", ["all", "shortlist"])
def test_a_head_with_fewer_outputs_than_classes_is_refused_although_no_sample_needs_them(
    ready: Workspace, tmp_path: Path, mode: str
) -> None:
    data = open_named(ready, "digits")
    (tmp_path / "low.txt").write_text("\n".join(data.ids[data.labels < 4]))
    add_dataset(ready, "low", replace(TRAINING, include=str(tmp_path / "low.txt")))
    small = replace(SPEC, num_classes=4)
    save_model(ready.models / "small", build_model(small), ModelRecord("small", "fvm", small))
    with pytest.raises(CheckpointError, match="head has 4 classes, the dataset has 10"):
        score.run(MemoryContext(), arguments(model="small", dataset="low", settings={"relabel": mode}), ready)
