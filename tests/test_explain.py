"""The explain job on the digits: its file against autograd, what is kept between clicks, stops, bad questions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from checkpointed import add_checkpointed, inputs
from torch import Tensor, nn
from torch.nn import functional as F

from fvm_core.cli.main import main
from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.registry import add_dataset, open_named
from fvm_core.errors import CheckpointError, DataError, SettingsError
from fvm_core.influence import explain, fisher_cache
from fvm_core.influence.explain_settings import ExplainSettings
from fvm_core.influence.explanations import Question, explanation_path, read_explanation, strongest
from fvm_core.jobs.context import JobStopped
from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.models.checkpoint import load_model, load_snapshot
from fvm_core.models.store import read_record, write_record
from fvm_core.workspace import Workspace

SETTINGS = {"limit": 30, "batch_size": 16, "damping": 1e-3, "top": 7}


@pytest.fixture
def ready(workspace: Workspace, tmp_path: Path) -> Workspace:
    add_checkpointed(workspace, tmp_path)
    return workspace


def some_id(workspace: Workspace, name: str = "digits", place: int = 5) -> str:
    return str(open_named(workspace, name).ids[place])


def arguments(workspace: Workspace, **changes: Any) -> dict[str, Any]:
    settings = {**SETTINGS, **changes.pop("settings", {})}
    return {
        "model": "b", "dataset": "digits", "validation": "clean", "of": "training", "id": some_id(workspace),
        "settings": settings, **changes,
    }  # fmt: skip


def explained(workspace: Workspace, **changes: Any) -> tuple[pd.DataFrame, dict[str, Any]]:
    result = explain.run(MemoryContext(), arguments(workspace, **changes), workspace)
    found = read_explanation(Path(result["file"]))
    return found.frame, found.provenance


def gradient(model: nn.Module, x: Tensor, y: int) -> Tensor:
    found = torch.autograd.grad(F.cross_entropy(model(x[None]), torch.tensor([y])), list(model.parameters()))
    return torch.cat([value.flatten() for value in found])


def by_hand(workspace: Workspace, frame: pd.DataFrame, label: int, model: nn.Module) -> tuple[np.ndarray, np.ndarray]:
    """Return first- and second-order terms by autograd twice, with the Fisher summed sample by sample, in fp64."""
    model = model.double()
    x_val, y_val = inputs(workspace, "clean")
    fisher = sum(gradient(model, x.double(), int(y)).square() for x, y in zip(x_val, y_val, strict=True)) / len(y_val)
    p = 1 / (fisher + SETTINGS["damping"])
    x = inputs(workspace, "digits", [5])[0].double()
    grads = torch.autograd.grad(
        F.cross_entropy(model(x), torch.tensor([label])), list(model.parameters()), create_graph=True
    )
    g = torch.cat([value.flatten() for value in grads])
    first, second = [], []
    for row in frame.itertuples():
        x_tr, _ = inputs(workspace, "digits" if row.set == "training" else "clean", [row.row])
        u = p * gradient(model, x_tr[0].double(), row.label)
        first.append((g.detach() @ u).item())
        rows = torch.autograd.grad(g @ u, list(model.parameters()), retain_graph=True)
        second.append(0.5 * 0.01 * (torch.cat([value.flatten() for value in rows]) @ u).item())
    return np.array(first), np.array(second)


def gauss_newton_by_hand(workspace: Workspace, frame: pd.DataFrame) -> np.ndarray:
    """Return 1/2 eps (J P g)^T S (J P g) with the Jacobian row by row, in fp64."""
    model = load_model(workspace, "b")[0].double()
    x_val, y_val = inputs(workspace, "clean")
    fisher = sum(gradient(model, x.double(), int(y)).square() for x, y in zip(x_val, y_val, strict=True)) / len(y_val)
    logits = model(inputs(workspace, "digits", [5])[0].double())[0]
    rows = [torch.autograd.grad(value, list(model.parameters()), retain_graph=True) for value in logits]
    jacobian = torch.stack([torch.cat([value.flatten() for value in row]) for row in rows])
    p = torch.softmax(logits.detach(), 0)
    out = []
    for row in frame.itertuples():
        x_tr, _ = inputs(workspace, "digits" if row.set == "training" else "clean", [row.row])
        moved = jacobian @ (gradient(model, x_tr[0].double(), row.label) / (fisher + SETTINGS["damping"]))
        out.append(0.005 * ((p * moved.square()).sum() - (p @ moved) ** 2).item())
    return np.array(out)


@pytest.mark.parametrize("label", [None, "8", 8])
def test_the_file_holds_both_terms_of_eq_20(ready: Workspace, label: Any) -> None:
    frame, provenance = explained(ready, label=label)
    data, clean = open_named(ready, "digits"), open_named(ready, "clean")
    asked = int(data.labels[5]) if label is None else 8
    assert frame.groupby("set").size().to_dict() == {"training": 30, "validation": 30}
    for name, source in (("training", data), ("validation", clean)):
        part = frame[frame["set"] == name]
        assert list(part["id"]) == list(source.ids[part["row"]]) and list(part["label"]) == list(
            source.labels[part["row"]]
        )
        known = part[part["second"].notna()]
        assert len(known) == 7 and set(known["id"]) == set(part.loc[part["first"].abs().nlargest(7).index, "id"])
    assert (frame["clean_label"] >= 0).all()
    first, second = by_hand(ready, frame, asked, load_model(ready, "b")[0])
    np.testing.assert_allclose(frame["first"], first, rtol=2e-3, atol=1e-4 * np.abs(first).max())
    known = frame["second"].notna()
    np.testing.assert_allclose(frame["second"][known], second[known], rtol=2e-3, atol=1e-4 * np.abs(second).max())
    np.testing.assert_allclose(frame["influence"], frame["first"] + frame["second"])
    with torch.no_grad():
        x, _ = inputs(ready, "digits", [5])
        loss = F.cross_entropy(load_model(ready, "b")[0](x), torch.tensor([asked])).item()
    assert provenance["image"] == {
        "of": "training", "id": str(data.ids[5]), "row": 5, "label": asked, "given": int(data.labels[5]),
        "loss": pytest.approx(loss, rel=1e-5),
    }  # fmt: skip
    assert provenance["model"]["sha256"] == read_record(ready, "b").sha256 and provenance["settings"]["top"] == 7
    assert any("was not tuned to one" in note for note in provenance["notes"])


def test_a_checkpoint_is_explained_by_its_own_weights(ready: Workspace) -> None:
    frame, provenance = explained(ready, checkpoint=4, settings={"second": "none"})
    model = load_snapshot(ready, "b", "checkpoints/epoch_004.safetensors")
    first, _ = by_hand(ready, frame, int(open_named(ready, "digits").labels[5]), model)
    np.testing.assert_allclose(frame["first"], first, rtol=2e-3, atol=1e-4 * np.abs(first).max())
    assert provenance["model"]["epoch"] == 4


def test_ways_to_the_second_term(ready: Workspace) -> None:
    every, _ = explained(ready, settings={"second": "all"})
    assert every["second"].notna().all()
    newton, told = explained(ready, settings={"second": "gauss-newton"})
    assert (newton["second"] >= 0).all() and any("Gauss-Newton" in note for note in told["notes"])
    np.testing.assert_allclose(newton["influence"], newton["first"] + newton["second"])
    wanted = gauss_newton_by_hand(ready, newton)
    np.testing.assert_allclose(newton["second"], wanted, rtol=0.02, atol=1e-3 * wanted.max())
    none, told = explained(ready, settings={"second": "none"})
    assert none["second"].isna().all() and any("first-order term alone" in note for note in told["notes"])
    np.testing.assert_array_equal(none["influence"], none["first"])


def test_the_image_itself_is_not_asked(ready: Workspace) -> None:
    frame, _ = explained(ready, settings={"limit": None, "second": "none"})
    data, clean = open_named(ready, "digits"), open_named(ready, "clean")
    training = frame[frame["set"] == "training"]
    assert set(training["id"]) == set(data.ids) - {data.ids[5]} and (frame["set"] == "validation").sum() == len(clean)
    frame, provenance = explained(ready, of="validation", id=some_id(ready, "clean", 3), settings={"second": "none"})
    assert set(frame["set"]) == {"training"} and len(frame) == 30
    assert provenance["image"]["of"] == "validation" and provenance["image"]["row"] == 3


def test_what_is_there_is_not_made_again(ready: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    result = explain.run(MemoryContext(), arguments(ready), ready)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(fisher_cache, "fisher_diagonal", refuse)
    other = explain.run(MemoryContext(), arguments(ready, id=some_id(ready, place=9)), ready)
    assert other["key"] != result["key"], "another image, with the Fisher of the first click"
    monkeypatch.setattr(explain, "evidence", refuse)
    assert explain.run(MemoryContext(), arguments(ready), ready) == result
    with pytest.raises(AssertionError, match="made again"):
        explain.run(MemoryContext(), arguments(ready, settings={"damping": 0.5}), ready)
    with pytest.raises(AssertionError, match="made again"):
        explain.run(MemoryContext(), arguments(ready, checkpoint=2), ready)


def test_a_damaged_fisher_is_made_anew_and_old_ones_go(ready: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = explained(ready)
    (file,) = (ready.cache / "fisher").glob("*.safetensors")
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    explanation_path(ready, explain.run(MemoryContext(), arguments(ready), ready)["key"]).unlink()
    again, _ = explained(ready)
    pd.testing.assert_frame_equal(first, again)
    assert file.read_bytes() == whole
    monkeypatch.setattr(fisher_cache, "KEPT", 2)
    for epoch in (2, 4, 6):
        explained(ready, checkpoint=epoch, settings={"second": "none"})
    assert len(list((ready.cache / "fisher").glob("*.safetensors"))) == 2 and not file.exists()


def test_a_stopped_job_leaves_nothing_half_and_can_be_started_again(ready: Workspace) -> None:
    explain.run(MemoryContext(), arguments(ready, id=some_id(ready, place=9)), ready)
    context = MemoryContext(stop_at=5)
    with pytest.raises(JobStopped):
        explain.run(context, arguments(ready), ready)
    assert len(list(ready.explanations.iterdir())) == 1
    context.stop_at = None
    explain.run(context, arguments(ready), ready)
    done, total, message = context.messages[-1]
    assert (done, message) == (total, "Done") and len(list(ready.explanations.iterdir())) == 2


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"id": "nobody"}, DataError, "`id` must be that of an image in the training set, got 'nobody'"),
        ({"id": "nobody", "of": "validation"}, DataError, "in the validation set, got 'nobody'"),
        ({"of": "test"}, DataError, r"`of` must be one of \['validation', 'training'\], got 'test'"),
        ({"label": "cat"}, DataError, r"`label` must be one of \['0', .* or a number below 10, got 'cat'"),
        ({"label": 10}, DataError, "a number below 10, got 10"),
        ({"label": -1}, DataError, "a number below 10, got -1"),
        ({"settings": {"second": "half"}}, SettingsError, "`second` must be one of"),
        ({"settings": {"epsilon": 0.0}}, SettingsError, "`epsilon` must be > 0, got 0.0"),
        ({"settings": {"top": 0}}, SettingsError, "`top` must be >= 1, got 0"),
        ({"settings": {"limit": 0}}, SettingsError, "`limit` must be >= 1, or none for all, got 0"),
        ({"settings": {"seed": -1}}, SettingsError, "`seed` must be >= 0, got -1"),
        ({"settings": {"damping": -1.0}}, SettingsError, "`damping` must be >= 0, got -1.0"),
        ({"settings": {"batch_size": 0}}, SettingsError, "`batch_size` must be >= 1, got 0"),
        ({"settings": {"radius": 1}}, SettingsError, r"unknown settings \['radius'\]"),
        ({"model": "nobody"}, CheckpointError, "nobody"),
        ({"expected": {"model": "other"}}, DataError, "the model's weights changed since these scores were made"),
        (
            {"expected": {"dataset": "x", "validation": "y"}}, DataError,
            "the training set and the validation set changed since",
        ),
    ],
)  # fmt: skip
def test_bad_questions_are_named(
    ready: Workspace, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        explain.run(MemoryContext(), arguments(ready, **changes), ready)


def test_what_a_score_file_says_of_itself_is_expected(ready: Workspace) -> None:
    _, provenance = explained(ready)
    image = some_id(ready)
    question = Question.about(provenance, of="training", id=image, label=int(open_named(ready, "digits").labels[5]))
    result = explain.run(MemoryContext(), arguments(ready, expected=question.hashes()), ready)
    assert result["key"] == question.key(ExplainSettings.from_json(SETTINGS))
    with pytest.raises(DataError, match="do not say which model or data they come from"):
        Question.about({"model": {"sha256": "0"}, "dataset": {}}, of="training", id=image, label=0)


def test_an_unreadable_image_is_named(ready: Workspace, tmp_path: Path) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    for k in range(12):
        Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8)).save(tmp_path / f"{k:02d}.png")
    (tmp_path / "03.png").write_bytes(b"not an image")
    lines = ["path,label", *(f"{k:02d}.png,{k % 10}" for k in range(12))]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    add_dataset(ready, "files", DatasetSpec("manifest", path=str(tmp_path / "list.csv"), image="path", label="label"))
    broken, whole = some_id(ready, "files", 3), some_id(ready, "files", 4)
    with pytest.raises(DataError, match=f"image '{broken}' of the training set is unreadable"):
        explain.run(MemoryContext(), arguments(ready, dataset="files", id=broken), ready)
    frame, provenance = explained(ready, dataset="files", id=whole, settings={"second": "none", "limit": None})
    assert provenance["image"]["row"] == 4 and len(frame[frame["set"] == "training"]) == 10
    assert any("1 unreadable images" in note for note in provenance["notes"])


def test_the_strongest_are_chosen_by_either_value() -> None:
    frame = pd.DataFrame(
        {"set": ["training"] * 5 + ["validation"], "id": list("abcdef"), "first": [3.0, -1.0, 1.0, -2.0, 0.0, 9.0],
         "influence": [0.5, 4.0, np.nan, -1.0, 2.0, 9.0]}
    )  # fmt: skip

    def ids(**options: Any) -> list[str]:
        return strongest(frame, set="training", **options)["id"].tolist()

    assert ids(speaks=1, count=5) == ["a", "c"] and ids(speaks=-1, count=5) == ["d", "b"]
    assert ids(speaks=1, count=1) == ["a"]
    assert ids(speaks=1, count=5, by="influence") == ["b", "e", "a"]
    assert ids(speaks=-1, count=5, by="influence") == ["d"]


def test_files_that_are_no_explanations_are_named(ready: Workspace, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_explanation(tmp_path / "missing.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="cannot be read"):
        read_explanation(tmp_path / "bad.parquet")
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(DataError, match="is not one of ours"):
        read_explanation(tmp_path / "other.parquet")


def test_the_note_on_untuned_models_is_for_those_alone(ready: Workspace) -> None:
    write_record(ready, replace(read_record(ready, "b"), role="fvm"))
    _, provenance = explained(ready)
    assert not any("was not tuned" in note for note in provenance["notes"])


def test_the_command_line_asks_the_same(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(
        "fvm_core.cli.explain.run_and_print", lambda ws, kind, work, title: calls.append((kind, work)) or 0
    )
    common = ["explain", "--model", "m", "--dataset", "d", "--validation", "v", "--id", "i"]
    assert main(common) == 0
    assert main([*common, "--of", "validation", "--label", "cat", "--checkpoint", "4", "--set", "limit=null"]) == 0
    assert main([*common, "--set", "radius=1"]) == 2
    base = {"model": "m", "dataset": "d", "validation": "v", "id": "i"}
    assert calls == [
        ("explain", {**base, "of": "training", "label": None, "checkpoint": None,
                     "settings": ExplainSettings().to_json()}),
        ("explain", {**base, "of": "validation", "label": "cat", "checkpoint": 4,
                     "settings": ExplainSettings(limit=None).to_json()}),
    ]  # fmt: skip
