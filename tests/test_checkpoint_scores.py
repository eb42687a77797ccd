"""Scoring a model at one of its training checkpoints: the weights, the provenance, the names, the page, bad epochs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from app_pages import DIGITS, add_digits, add_model, button, ended_job, open_page, texts, visible
from checkpointed import EPOCHS, add_checkpointed, inputs

from fvm_core.cli.main import main
from fvm_core.errors import CheckpointError
from fvm_core.files import file_sha256
from fvm_core.influence import score
from fvm_core.influence.settings import ScoreSettings
from fvm_core.influence.store import default_run, display_name, list_runs, read_scores
from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.models.checkpoint import load_snapshot
from fvm_core.models.store import ModelRecord, checkpoint_at, read_record, write_record
from fvm_core.workspace import Workspace


@pytest.fixture
def ready(workspace: Workspace, tmp_path: Path) -> Workspace:
    add_checkpointed(workspace, tmp_path)
    return workspace


def arguments(**changes: Any) -> dict[str, Any]:
    settings = {"batch_size": 32, "limit": 50}
    return {
        "model": "b", "dataset": "digits", "validation": "clean", "methods": ["loss"], "settings": settings, **changes
    }  # fmt: skip


def test_the_weights_of_the_epoch_are_scored(ready: Workspace) -> None:
    for epoch in (None, 2, 6):
        score.run(MemoryContext(), arguments(checkpoint=epoch), ready)
    runs = {item.run: item for item in list_runs(ready)}
    assert set(runs) == {"b", "b-epoch-002", "b-epoch-006"}
    for epoch in (2, 6):
        item = runs[f"b-epoch-{epoch:03d}"]
        file = f"checkpoints/epoch_{epoch:03d}.safetensors"
        frame = read_scores(item.path).frame
        x, y = inputs(ready, "digits", frame["row"].tolist())
        with torch.no_grad():
            wanted = torch.nn.functional.cross_entropy(load_snapshot(ready, "b", file)(x), y, reduction="none")
        np.testing.assert_allclose(frame["score"], wanted, rtol=1e-5)
        model = item.provenance["model"]
        assert model["epoch"] == epoch and model["sha256"] == file_sha256(ready.models / "b" / file)
        assert display_name(item.provenance) == f"Base · epoch {epoch} · Cross-entropy loss"
    final = runs["b"].provenance
    assert "epoch" not in final["model"] and final["model"]["sha256"] == read_record(ready, "b").sha256
    assert display_name(final) == "Base · Cross-entropy loss"


def test_a_checkpoint_of_a_tuned_model_is_not_called_by_the_bare_role() -> None:
    origin = {"model": {"role": "fvm", "epoch": 3}, "method": "influence"}
    assert display_name(origin) == "FVM · epoch 3 · Influence at the minimum"


def test_the_default_run_never_loses_its_epoch() -> None:
    assert default_run("x" * 64, 12) == "x" * 54 + "-epoch-012" and default_run("b") == "b"


@pytest.mark.parametrize("epoch", [3, 0, "4", True])
def test_an_epoch_that_was_not_kept_lists_those_that_were(ready: Workspace, epoch: object) -> None:
    with pytest.raises(CheckpointError, match=r"`checkpoint` of model 'b' must be one of the epochs \[2, 4, 6\], got"):
        score.run(MemoryContext(), arguments(checkpoint=epoch), ready)


def test_a_model_without_checkpoints_says_so(ready: Workspace) -> None:
    write_record(ready, replace(read_record(ready, "b"), checkpoints=()))
    with pytest.raises(CheckpointError, match="must be left empty, for no weights of its training were kept, got 2"):
        score.run(MemoryContext(), arguments(checkpoint=2), ready)
    assert [checkpoint_at(ModelRecord("c", "base", DIGITS, checkpoints=({"epoch": 1, "file": "f"},)), 1)["file"]] == [
        "f"
    ]


def test_the_command_line_takes_an_epoch(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr("fvm_core.cli.score.run_and_print", lambda ws, kind, work, title: calls.append(work) or 0)
    common = ["score", "--model", "b", "--dataset", "d", "--validation", "v"]
    main([*common, "--checkpoint", "4"])
    main(common)
    assert (calls[0]["checkpoint"], calls[0]["run"]) == (4, "b-epoch-004")
    assert "checkpoint" not in calls[1] and calls[1]["run"] == "b"


def test_the_page_starts_a_job_for_each_chosen_epoch(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[dict[str, Any]] = []

    def start(workspace: Workspace, kind: str, args: dict[str, Any], *, title: str = "") -> str:
        started.append({**args, "title": title})
        return ended_job(workspace, kind, args, title=title, state="done").id

    monkeypatch.setattr("pages.ui.score_jobs.start_job", start)
    add_digits(workspace)
    add_model(workspace, "d-base", "base")
    kept = tuple({"epoch": epoch, "file": f"checkpoints/epoch_{epoch:03d}.safetensors"} for epoch in EPOCHS)
    write_record(workspace, replace(read_record(workspace, "d-base"), checkpoints=kept))
    app = open_page("score")
    app.multiselect(key="score_checkpoints").set_value([("d-base", 4), ("d-base", 6)]).run()
    app.multiselect(key="score_models").set_value([]).run()
    button(app, "Score with 2 models").click().run()
    assert not app.exception and not app.error
    assert [(item["model"], item["checkpoint"], item["run"]) for item in started] == [
        ("d-base", 4, "d-base-epoch-004"), ("d-base", 6, "d-base-epoch-006")
    ]  # fmt: skip
    assert started[0]["title"] == "Score digits with d-base, epoch 4"


def test_compare_starts_with_the_final_weights() -> None:
    from pages.ui.score_sets import ScoreFile, selected_runs

    def file(run: str, modified: int, **model: Any) -> ScoreFile:
        return ScoreFile(run, "loss", run, modified, run, {"model": {"role": "base", **model}})

    runs = {"b": [file("b", 1)], "b-epoch-004": [file("b-epoch-004", 9, epoch=4)]}
    assert selected_runs(runs) == ["b"]
    assert selected_runs({"b-epoch-004": runs["b-epoch-004"]}) == ["b-epoch-004"]


def test_the_page_leaves_tracin_out_where_nothing_was_kept(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[dict[str, Any]] = []

    def start(workspace: Workspace, kind: str, args: dict[str, Any], *, title: str = "") -> str:
        started.append(args)
        return ended_job(workspace, kind, args, title=title, state="done").id

    monkeypatch.setattr("pages.ui.score_jobs.start_job", start)
    add_digits(workspace)
    for role in ("base", "fvm"):
        add_model(workspace, f"d-{role}", role)
    kept = ({"epoch": 4, "file": "checkpoints/epoch_004.safetensors", "lr": 0.1},)
    write_record(workspace, replace(read_record(workspace, "d-base"), checkpoints=kept))
    app = open_page("score")
    app.get("button_group")[0].set_value(["loss", "tracin", "gex"]).run()
    assert "d-fvm has none and is scored without it" in visible(texts(app))
    app.number_input(key="score_tracin_checkpoints").set_value(3)
    app.number_input(key="score_gex_members").set_value(4)
    app.number_input(key="score_gex_lr").set_value(0.02).run()
    button(app, "Score with 2 models").click().run()
    assert not app.exception and not app.error
    assert [item["methods"] for item in started] == [["loss", "tracin", "gex"], ["loss", "gex"]]
    settings = ScoreSettings.from_json(started[0]["settings"])
    assert settings == ScoreSettings(tracin_checkpoints=3, gex_members=4, gex_lr=0.02)
    app.get("button_group")[0].set_value(["tracin"])
    app.multiselect(key="score_models").set_value(["d-fvm"]).run()
    assert button(app, "Score").disabled
