"""Score: empty, jobs with the right arguments, live progress, replaced and busy runs, provenance, bad settings."""

from __future__ import annotations

from typing import Any

import pytest
from app_pages import DIGITS, add_digits, add_model, button, ended_job, labels, open_page, running_job, texts
from invented_scores import invent, write_run

from fvm_core.errors import JobError
from fvm_core.influence.methods import DEFAULT_METHODS, METHODS
from fvm_core.influence.settings import ScoreSettings
from fvm_core.models.store import ModelRecord, write_record
from fvm_core.workspace import Workspace


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any], str]]:
    """Jobs that the page asked for, as (kind, args, title); none is run."""
    calls: list[tuple[str, dict[str, Any], str]] = []

    def start(workspace: Workspace, kind: str, args: dict[str, Any], *, title: str = "") -> str:
        calls.append((kind, args, title))
        return ended_job(workspace, kind, args, title=title, state="done").id

    monkeypatch.setattr("pages.ui.score_jobs.start_job", start)
    return calls


def prepared(workspace: Workspace) -> None:
    add_digits(workspace)
    for role in ("base", "vm", "fvm"):
        add_model(workspace, f"d-{role}", role)


def test_empty_page_says_what_to_do_next(workspace: Workspace) -> None:
    app = open_page("score")
    assert "lacks a model and a training and a validation set" in app.info[0].value
    assert "built-in demo" in app.get("page_link")[0].proto.label
    assert [link.proto.page for link in app.get("page_link")[:2]] == ["home", "load"]


def test_button_starts_one_job_a_model_with_the_chosen_settings(
    workspace: Workspace, started: list[tuple[str, dict[str, Any], str]]
) -> None:
    prepared(workspace)
    app = open_page("score")
    app.number_input(key="score_limit").set_value(200)
    app.selectbox(key="score_relabel").set_value("all")
    app.number_input(key="score_lissa_depth").set_value(50)
    button(app, "Score with 3 models").click().run()
    assert not app.exception and not app.error
    assert [args["model"] for _, args, _ in started] == ["d-base", "d-vm", "d-fvm"]
    kind, args, title = started[-1]
    assert (kind, title) == ("score", "Score digits with d-fvm")
    assert (args["dataset"], args["validation"], args["run"]) == ("digits", "digits-validation", "d-fvm")
    assert args["methods"] == list(DEFAULT_METHODS)
    assert ScoreSettings.from_json(args["settings"]) == ScoreSettings(limit=200, relabel="all", lissa_depth=50)
    assert "Just ended" in texts(app)


def test_methods_are_explained_with_sign_and_source(workspace: Workspace) -> None:
    prepared(workspace)
    table = open_page("score").table[0].value
    assert list(table.index) == [method.title for method in METHODS.values()]
    assert table.loc["Standard influence (LiSSA)", "Likely mislabeled"] == "low score"
    assert table.loc["Influence at the minimum", "Source"] == "Eq. 21, 24"


def test_fewer_methods_and_models_are_obeyed(
    workspace: Workspace, started: list[tuple[str, dict[str, Any], str]]
) -> None:
    prepared(workspace)
    app = open_page("score")
    app.multiselect(key="score_models").set_value(["d-vm"])
    app.get("button_group")[0].set_value(["loss", "influence"]).run()
    assert not [item for item in app.number_input if str(item.key).startswith("score_lissa")]
    button(app, "Score with 1 model").click().run()
    assert [(args["model"], args["methods"]) for _, args, _ in started] == [("d-vm", ["influence", "loss"])]


def test_snapshots_job_takes_the_tuned_model(
    workspace: Workspace, started: list[tuple[str, dict[str, Any], str]]
) -> None:
    prepared(workspace)
    snapshots = tuple({"step": step, "file": f"snapshots/step_{step:06d}.safetensors"} for step in (0, 100))
    write_record(workspace, ModelRecord("d-fvm", "fvm", DIGITS, snapshots=snapshots, created="2026-01-02T00:00:00"))
    app = open_page("score")
    app.number_input(key="snapshots_sample").set_value(300)
    button(app, "Score the snapshots").click().run()
    expected = {"model": "d-fvm", "dataset": "digits", "validation": "digits-validation", "sample": 300, "seed": 0}
    assert started == [("snapshots", {**expected, "run": "d-fvm"}, "Snapshots of d-fvm")]


def test_without_snapshots_the_page_leads_to_tuning(workspace: Workspace) -> None:
    prepared(workspace)
    app = open_page("score")
    assert any("No model has snapshots yet" in info.value for info in app.info)
    assert "Score the snapshots" not in labels(app)


def test_running_job_is_shown_and_its_run_is_not_scored_twice(workspace: Workspace) -> None:
    prepared(workspace)
    with running_job(
        workspace, "score", {"run": "d-vm", "model": "d-vm"}, title="Score digits with d-vm", done=40, total=100
    ):
        app = open_page("score")
        assert app.get("progress")[0].proto.value == 40
        assert button(app, "Score with 3 models").disabled
        assert "already writing the scores of `d-vm`" in texts(app)


def test_existing_files_are_listed_with_provenance_and_replacing_is_announced(workspace: Workspace) -> None:
    prepared(workspace)
    write_run(workspace, "d-fvm", invent(50, name="digits"), methods=["influence", "loss"])
    app = open_page("score")
    table = app.dataframe[0].value
    assert list(table["Scores"]) == ["FVM", "FVM · Loss"]
    assert set(table["Speed (samples/s)"]) == {167.6} and table["Dataset fingerprint"][0] == "c0ffee000000"
    assert "2 score files of an earlier run will be replaced" in texts(app)
    assert '"damping": 1e-08' in app.code[0].value


def test_scores_of_another_dataset_under_the_same_model_get_a_run_of_their_own(workspace: Workspace) -> None:
    prepared(workspace)
    write_run(workspace, "d-fvm", invent(50, name="cifar"), methods=["loss"])
    assert "`d-fvm-digits`" in texts(open_page("score"))


def test_job_that_cannot_start_is_an_error_on_the_page(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **options: Any) -> str:
        raise JobError("the process could not be started. Free some memory.")

    monkeypatch.setattr("pages.ui.score_jobs.start_job", refuse)
    prepared(workspace)
    app = open_page("score")
    button(app, "Score with 3 models").click().run()
    assert "could not be started" in app.error[0].value


def test_setting_out_of_range_names_the_rule(workspace: Workspace) -> None:
    prepared(workspace)
    app = open_page("score")
    app.number_input(key="score_lissa_damping").set_value(1.5).run()
    assert "`lissa_damping` must be in" in app.error[0].value


def test_same_set_for_training_and_validation_is_warned_of(workspace: Workspace) -> None:
    prepared(workspace)
    app = open_page("score", dataset="digits", validation="digits")
    assert "also chosen as the validation set" in app.warning[0].value
