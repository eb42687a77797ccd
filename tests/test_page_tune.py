"""Tune: nothing to tune, the paper's defaults, starting, live and finished curves, and what may not be started."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pandas as pd
import pytest
from app_pages import (
    DIGITS,
    add_digits,
    add_model,
    button,
    ended_job,
    labels,
    open_page,
    run_jobs_here,
    running_job,
    texts,
    visible,
)
from streamlit.testing.v1 import AppTest

from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.registry import add_dataset, open_named
from fvm_core.jobs.find import find_jobs
from fvm_core.models.store import ModelRecord, write_record
from fvm_core.tuning.settings import TRAIN_PRESETS, TuneSettings
from fvm_core.workspace import Workspace
from pages.ui import theme
from pages.ui.curves import TUNING_PANELS, Run, legend, panel, points
from pages.ui.train_form import with_epochs
from pages.ui.tune_watch import Watched, defaults, find

ROWS = [{"step": 0, "val_loss": 0.8, "sam_gap": 0.2}, {"step": 50, "val_loss": 0.4, "sam_gap": 0.1, "train_loss": 0.5}]


@pytest.fixture(autouse=True)
def overlap_is_looked_for_here(monkeypatch: pytest.MonkeyPatch) -> None:
    run_jobs_here(monkeypatch, "overlap_view")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Jobs that the page wanted to start; none runs."""
    jobs: list[tuple[str, dict[str, Any]]] = []

    def record(workspace: Workspace, kind: str, args: dict[str, Any], *, title: str = "") -> str:
        jobs.append((kind, args))
        return "20260101-000000-000-tune-000000"

    monkeypatch.setattr("fvm_core.jobs.launch.start_job", record)
    return jobs


def test_empty_page_names_what_is_missing(workspace: Workspace) -> None:
    app = open_page("tune")
    assert "lacks a checkpoint and a dataset" in app.info[0].value
    assert "Start tuning" not in labels(app)


def test_start_hands_over_the_papers_settings(workspace: Workspace, started: list[tuple[str, dict[str, Any]]]) -> None:
    add_digits(workspace)
    add_model(workspace, "digits-base", "base")
    app = button(open_page("tune"), "Start tuning").click().run()
    assert not app.exception
    ((kind, args),) = started
    assert kind == "tune"
    assert args["settings"] == TuneSettings(solver="sam").to_json()
    assert (args["model"], args["validation"], args["dataset"]) == ("digits-base", "digits-validation", "digits")
    assert args["name"] == "digits-fvm"


def test_vm_is_plain_sgd_under_its_own_name(workspace: Workspace, started: list[tuple[str, dict[str, Any]]]) -> None:
    add_digits(workspace)
    add_model(workspace, "digits-base", "base")
    app = open_page("tune")
    app.get("button_group")[0].set_value("sgd").run()
    app.number_input(key="tune_steps").set_value(40).run()
    button(app, "Start tuning").click().run()
    settings = started[0][1]["settings"]
    assert (settings["solver"], settings["steps"], started[0][1]["name"]) == ("sgd", 40, "digits-vm")
    assert settings["rho"] == app.number_input(key="tune_sharpness_rho").value == 0.05
    assert "tune_rho" not in fields(app)


def fields(app: AppTest) -> set[str]:
    return {str(field.key) for field in app.number_input}


def choose_solver(app: AppTest, solver: str) -> AppTest:
    return app.get("button_group")[0].set_value(solver).run()


@pytest.mark.parametrize(
    ("solver", "own", "name"),
    [
        ("sam", {"tune_rho": ("rho", 0.05)}, "digits-fvm"),
        ("asam", {"tune_rho_asam": ("rho", 0.5), "tune_asam_eta": ("asam_eta", 0.01)}, "digits-fvm-asam"),
        ("fsam", {"tune_rho_fsam": ("rho", 0.1), "tune_fsam_sigma": ("fsam_sigma", 1.0),
                  "tune_fsam_lambda": ("fsam_lambda", 0.9)}, "digits-fvm-fsam"),
        ("lpf", {"tune_lpf_gamma": ("lpf_gamma", 0.001), "tune_lpf_draws": ("lpf_draws", 1),
                 "tune_lpf_growth": ("lpf_growth", 1.0)}, "digits-fvm-lpf"),
        ("sgd", {}, "digits-vm"),
    ],
)  # fmt: skip
def test_each_solver_has_its_own_settings_and_defaults(
    workspace: Workspace, started: list[tuple[str, dict[str, Any]]], solver: str, own: dict[str, Any], name: str
) -> None:
    add_digits(workspace)
    add_model(workspace, "digits-base", "base")
    app = choose_solver(open_page("tune"), solver)
    shared = {"steps", "batch_size", "lr", "momentum", "weight_decay", "seed", "clip_norm", "eval_every", "probe_size",
              "sharpness_every", "sharpness_rho", "hessian_every", "snapshots"}  # fmt: skip
    assert {key for key in fields(app) if key.startswith("tune_")} == {f"tune_{item}" for item in shared} | set(own)
    assert all(app.number_input(key=key).help for key in own)
    button(app, "Start tuning").click().run()
    assert not app.error
    args = started[0][1]
    expected = TuneSettings(solver=solver, rho=own[next(iter(own))][1] if solver in ("asam", "fsam") else 0.05)
    assert args["settings"] == expected.to_json() and args["name"] == name
    assert {key: app.number_input(key=key).value for key in own} == {key: value for key, (_, value) in own.items()}
    assert all(args["settings"][setting] == value for setting, value in own.values())


def test_settings_of_a_solver_are_handed_over_and_outlive_a_look_at_another(
    workspace: Workspace, started: list[tuple[str, dict[str, Any]]]
) -> None:
    add_digits(workspace)
    add_model(workspace, "digits-base", "base")
    app = choose_solver(open_page("tune"), "lpf")
    app.number_input(key="tune_lpf_draws").set_value(4).run()
    app.number_input(key="tune_clip_norm").set_value(2.0).run()
    app.number_input(key="tune_sharpness_rho").set_value(0.2).run()
    app = choose_solver(choose_solver(app, "fsam"), "lpf")
    button(app, "Start tuning").click().run()
    settings = started[0][1]["settings"]
    wanted = {"solver": "lpf", "lpf_draws": 4, "clip_norm": 2.0, "rho": 0.2, "sharpness_rho": None}
    assert {key: settings[key] for key in wanted} == wanted
    app = choose_solver(app, "asam")
    button(app, "Start tuning").click().run()
    settings = started[1][1]["settings"]
    wanted = {"solver": "asam", "clip_norm": 2.0, "rho": 0.5, "sharpness_rho": 0.2, "lpf_draws": 1}
    assert {key: settings[key] for key in wanted} == wanted


@pytest.mark.parametrize(
    ("solver", "wanted"),
    [("sam", {"rho": 0.1}), ("asam", {"rho": 1.0, "sharpness_rho": 0.1}), ("fsam", {"rho": 0.1, "sharpness_rho": 0.1}),
     ("lpf", {"rho": 0.1}), ("sgd", {"rho": 0.1})],
)  # fmt: skip
def test_a_hundred_classes_have_radii_of_their_own(solver: str, wanted: dict[str, float]) -> None:
    """All are measured at 0.1, as SAM tunes there."""

    def form(solver: str) -> None:
        import streamlit as st

        from pages.ui.tune_form import settings_form

        st.session_state["values"] = settings_form(solver, hundred_classes=True)

    app = AppTest.from_function(form, kwargs={"solver": solver}, default_timeout=60).run()
    assert not app.exception
    settings = TuneSettings(**app.session_state["values"])
    assert settings == TuneSettings(solver=solver, **wanted) and settings.measured_rho == 0.1


def test_impossible_setting_of_a_solver_is_named(
    workspace: Workspace, started: list[tuple[str, dict[str, Any]]]
) -> None:
    add_digits(workspace)
    add_model(workspace, "digits-base", "base")
    app = choose_solver(open_page("tune"), "fsam")
    app.number_input(key="tune_fsam_lambda").set_value(1.0).run()
    button(app, "Start tuning").click().run()
    assert "`fsam_lambda` must be in [0, 1), got 1.0" in visible(app.error[0].value)
    assert started == []


def test_setting_out_of_range_is_named_and_nothing_starts(
    workspace: Workspace, started: list[tuple[str, dict[str, Any]]]
) -> None:
    add_digits(workspace)
    add_model(workspace, "digits-base", "base")
    app = open_page("tune")
    app.number_input(key="tune_momentum").set_value(1.0).run()
    button(app, "Start tuning").click().run()
    assert "`momentum` must be in [0, 1), got 1.0" in visible(app.error[0].value)
    assert started == []


def test_overlap_is_warned_of_before_tuning(workspace: Workspace, started: list[tuple[str, dict[str, Any]]]) -> None:
    add_digits(workspace)
    add_dataset(workspace, "leak-clean", DatasetSpec("digits", label="clean", options={"split": "train"}))
    add_model(workspace, "digits-base", "base")
    app = open_page("tune", validation="leak-clean", dataset="digits")
    assert "training images are also in the validation set" in app.warning[0].value
    assert "1,297" in app.warning[0].value
    (job,) = find_jobs(workspace, "overlap", train="digits", validation="leak-clean")
    assert (job.state, job.result and job.result["pairs"]) == ("done", 1297)
    assert button(app, "Start tuning").disabled
    app.checkbox[[box.label.startswith("Start all the same") for box in app.checkbox].index(True)].check().run()
    button(app, "Start tuning").click().run()
    assert len(started) == 1


def test_overlap_with_the_checkpoints_own_set_is_looked_for(workspace: Workspace) -> None:
    add_digits(workspace)
    add_dataset(workspace, "leak-clean", DatasetSpec("digits", label="clean", options={"split": "train"}))
    (workspace.models / "digits-base").mkdir(parents=True)
    write_record(workspace, ModelRecord("digits-base", "base", DIGITS, dataset={"name": "digits"}))
    app = open_page("tune", validation="leak-clean")
    app.selectbox[[box.label == "Noisy training set" for box in app.selectbox].index(True)].set_value(None).run()
    assert "1,297" in app.warning[0].value and button(app, "Start tuning").disabled


def test_large_sets_are_not_compared_unasked(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pages.ui.overlap_view.AT_ONCE", 100)
    add_digits(workspace)
    add_model(workspace, "digits-base", "base")
    app = open_page("tune", validation="digits-validation", dataset="digits")
    assert "Not checked" in app.warning[0].value and button(app, "Start tuning").disabled
    button(app, "Look for overlap among 1,797 images").click().run()
    assert not app.warning and not button(app, "Start tuning").disabled


def overlap_args(workspace: Workspace) -> dict[str, Any]:
    return {
        "train": "digits", "train_fingerprint": open_named(workspace, "digits").fingerprint,
        "validation": "digits-validation",
        "validation_fingerprint": open_named(workspace, "digits-validation").fingerprint,
    }  # fmt: skip


def test_tuning_waits_for_the_overlap_check_unless_told(
    workspace: Workspace, started: list[tuple[str, dict[str, Any]]]
) -> None:
    add_digits(workspace)
    add_model(workspace, "digits-base", "base")
    with running_job(workspace, "overlap", overlap_args(workspace), title="Overlap", done=512, total=1797):
        app = open_page("tune", validation="digits-validation", dataset="digits")
        assert "28 %" in visible(app.get("progress")[0].proto.text)
        assert {"Pause", "Stop"} <= set(labels(app)) and not app.warning
        assert button(app, "Start tuning").disabled
        app.checkbox[[box.label for box in app.checkbox].index("Start without this check")].check().run()
        button(app, "Start tuning").click().run()
    assert [kind for kind, _ in started] == ["tune"]
    assert len(find_jobs(workspace, "overlap")) == 1


def test_failed_overlap_check_does_not_clear_the_way(workspace: Workspace) -> None:
    add_digits(workspace)
    add_model(workspace, "digits-base", "base")
    ended_job(workspace, "overlap", overlap_args(workspace), title="Overlap", state="failed", error="the disk is full")
    app = open_page("tune", validation="digits-validation", dataset="digits")
    assert "the disk is full" in app.error[0].value and "Resume" in labels(app)
    assert "Not checked yet" in app.warning[0].value and button(app, "Start tuning").disabled


def test_names_of_models_and_of_unfinished_jobs_are_avoided_and_refused(
    workspace: Workspace, started: list[tuple[str, dict[str, Any]]]
) -> None:
    add_digits(workspace)
    add_model(workspace, "digits-base", "base")
    with running_job(workspace, "tune", {"name": "digits-fvm", "settings": {}}, title="Tune digits-fvm"):
        app = open_page("tune")
        (field,) = [box for box in app.text_input if box.label == "Name of the tuned model"]
        assert field.value == "digits-fvm-2"
        field.set_value("Digits FVM").run()
        button(app, "Start tuning").click().run()
        assert 'job "Tune digits-fvm" is to make a model `digits-fvm`' in visible(app.error[0].value)
        (field,) = [box for box in app.text_input if box.label == "Name of the model"]
        assert field.value == "digits-base-2"
        field.set_value("digits-base").run()
        button(app, "Start training").click().run()
        assert "a model `digits-base` exists already" in visible("".join(error.value for error in app.error))
        assert started == []


def test_same_set_twice_is_refused(workspace: Workspace) -> None:
    add_digits(workspace)
    add_model(workspace, "digits-base", "base")
    app = open_page("tune", validation="digits", dataset="digits")
    assert "Choose two different sets" in app.error[0].value
    assert button(app, "Start tuning").disabled


def test_broken_validation_set_is_an_error_with_a_remedy(workspace: Workspace) -> None:
    add_digits(workspace)
    (workspace.datasets / "gone.json").write_text(json.dumps(DatasetSpec("npz", "/nowhere/x.npz").to_json()))
    add_model(workspace, "digits-base", "base")
    app = open_page("tune", validation="gone", dataset="digits")
    assert "/nowhere/x.npz" in visible(app.error[0].value)


def test_running_tuning_is_drawn_with_its_buttons_and_curves(workspace: Workspace) -> None:
    add_digits(workspace)
    add_model(workspace, "digits-base", "base")
    add_model(workspace, "digits-vm", "vm", ROWS)
    args = {"name": "digits-fvm", "settings": TuneSettings().to_json()}
    with running_job(
        workspace, "tune", args, title="Tune digits-fvm", done=50, total=1000, seconds_left=30.0
    ) as folder:
        folder.metrics.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
        app = open_page("tune")
        assert {"Pause", "Stop"} <= set(labels(app))
        assert app.multiselect(key="tune_watch").value == ["digits-fvm", "digits-vm"]
        assert "30 s left" in app.get("progress")[0].proto.text
        assert len(app.get("vega_lite_chart")) == len(TUNING_PANELS)


def tuned(workspace: Workspace, name: str, *, seconds: float) -> None:
    """Leave the job behind that made the model, after so much work."""
    args = {"name": name, "settings": {}}
    folder = ended_job(workspace, "tune", args, title=f"Tune {name}", state="done", result={"model": name})
    folder.status.write_text(json.dumps(json.loads(folder.status.read_text()) | {"worked": seconds}))


def test_a_tuning_that_is_done_says_how_long_it_took_and_what_it_brought(workspace: Workspace) -> None:
    add_digits(workspace)
    add_model(workspace, "digits-base", "base")
    rows = [ROWS[0] | {"val_accuracy": 0.734, "random_sharpness": 3.1e-6}, *ROWS[1:], {"step": 60, "val_accuracy": 1.0}]
    add_model(workspace, "digits-fvm", "fvm", rows)
    tuned(workspace, "digits-fvm", seconds=130)
    told = visible(texts(open_page("tune")))
    assert "digits-fvm is tuned, in 2 min 10 s: validation loss 0.8 → 0.4; " in told.replace("**", "")
    assert "validation accuracy 73.4 → 100.0 %; SAM gap 0.2 → 0.1; sharpness along random directions 3.1×10⁻⁶" in told
    assert "top Hessian eigenvalue" not in told


def test_nothing_is_said_of_a_tuning_that_failed_since_or_whose_model_is_gone(workspace: Workspace) -> None:
    add_digits(workspace)
    add_model(workspace, "digits-base", "base")
    tuned(workspace, "gone", seconds=130)
    assert "is tuned" not in texts(open_page("tune"))
    add_model(workspace, "gone", "fvm")
    assert "is tuned, in 2 min 10 s" in texts(open_page("tune"))
    ended_job(workspace, "tune", {"name": "next", "settings": {}}, title="Tune next", state="failed", error="no")
    assert "is tuned" not in texts(open_page("tune"))


def test_curves_that_are_the_same_are_all_seen_and_axes_say_what_they_are() -> None:
    frame = pd.DataFrame(ROWS)
    (line,) = panel([Run(name, "vm", frame) for name in "abc"], "sam_gap", "SAM gap").to_dict()["layer"]
    encoding = line["encoding"]
    widths = encoding["size"]["scale"]["range"]
    assert all(below >= above + 2 for below, above in pairwise(widths)), "the first is at the back"
    assert encoding["x"]["title"] == "step" and "clip" not in line["mark"]
    assert encoding["x"]["axis"]["labelFlush"] is encoding["y"]["axis"]["labelFlush"] is False


def test_curves_use_one_colour_a_solver_and_dash_the_second() -> None:
    frame = pd.DataFrame(ROWS)
    runs = [Run("a", "vm", frame), Run("b", "fvm", frame), Run("<b>c</b>", "fvm", frame)]
    chart = panel(runs, "sam_gap", "SAM gap").to_dict()
    (line,) = chart["layer"]
    assert line["encoding"]["color"]["scale"] == {
        "domain": ["a", "b", "<b>c</b>"],
        "range": [theme.VM, theme.FVM, theme.FVM],
    }
    assert line["encoding"]["strokeDash"]["scale"]["range"] == [[1, 0], [1, 0], [7, 4]]
    words = legend(runs)
    assert "&lt;b&gt;c&lt;/b&gt;" in words and "<b>" not in words
    assert words.count(theme.FVM) == 2


def test_metric_not_measured_says_so_and_batches_run_behind_the_loss() -> None:
    runs = [Run("a", "vm", pd.DataFrame(ROWS))]
    assert "not measured yet" in str(panel(runs, "top_eigenvalue", "Top").to_dict())
    thin, thick = panel(runs, "val_loss", "Loss").to_dict()["layer"]
    assert thin["mark"]["strokeWidth"] < thick["mark"]["strokeWidth"]
    assert len(points(runs, "train_loss")) == 1


def test_logarithmic_axes_leave_out_what_they_cannot_show() -> None:
    frame = pd.DataFrame({"step": [0, 1, 2], "sam_gap": [0.1, 0.0, -0.2]})
    runs = [Run("a", "vm", frame)]
    assert points(runs, "sam_gap", positive=True)["step"].tolist() == [0]
    (line,) = panel(runs, "sam_gap", "Gap", log=True).to_dict()["layer"]
    assert line["encoding"]["y"]["scale"] == {"type": "log"}


def test_long_curves_are_thinned_and_keep_their_last_point() -> None:
    frame = pd.DataFrame({"step": range(10_001), "val_loss": range(10_001)})
    table = points([Run("a", "vm", frame)], "val_loss")
    assert len(table) <= 260
    assert table["step"].iloc[-1] == 10_000
    assert table["step"].is_monotonic_increasing


def test_watch_prefers_finished_models_and_proposes_one_of_each_role(workspace: Workspace) -> None:
    for name, role in (("a-vm", "vm"), ("b-vm", "vm"), ("c-fvm", "fvm"), ("d-base", "base")):
        add_model(workspace, name, role, ROWS)
    found = find(workspace, kind="tune")
    assert {item.name for item in found} == {"a-vm", "b-vm", "c-fvm"}
    assert len(defaults(found)) == 2
    (workspace.models / "f-lpf").mkdir()
    write_record(workspace, ModelRecord("f-lpf", "fvm", DIGITS, settings={"solver": "lpf"}, created="2026-01-02"))
    (workspace.models / "f-lpf" / "metrics.jsonl").write_text("")
    again = find(workspace, kind="tune")
    assert [item.label for item in again if item.name == "f-lpf"] == ["f-lpf · FVM (LPF)"]
    assert len(defaults(again)) == 3 and {"c-fvm", "f-lpf"} <= set(defaults(again))
    running = Watched("e", "fvm", job="x", active=True)
    assert defaults([running, *found])[0] == "e"
    assert [item.name for item in find(workspace, kind="train")] == ["d-base"]


def test_base_training_starts_with_the_preset_and_the_datasets_classes(
    workspace: Workspace, started: list[tuple[str, dict[str, Any]]]
) -> None:
    add_digits(workspace)
    app = button(open_page("tune"), "Start training").click().run()
    assert not app.exception
    ((kind, args),) = started
    assert (kind, args["name"], args["dataset"]) == ("train", "digits-base", "digits")
    assert args["settings"] == TRAIN_PRESETS["digits"].to_json()
    assert (args["model"]["arch"], args["model"]["num_classes"]) == ("digits_cnn", 10)
    assert args["model"]["class_names"] == list("0123456789")


def test_stretched_recipe_keeps_its_proportions() -> None:
    short = with_epochs(TRAIN_PRESETS["paper"], 20)
    assert (short.drop_epochs, short.checkpoint_epochs[-1], short.epochs) == ((10,), 20, 20)
    assert with_epochs(TRAIN_PRESETS["paper"], 100) == TRAIN_PRESETS["paper"]


def test_page_without_a_base_still_lets_one_watch(workspace: Workspace) -> None:
    add_digits(workspace)
    add_model(workspace, "digits-fvm", "fvm", ROWS)
    app = open_page("tune")
    assert app.multiselect(key="tune_watch").value == ["digits-fvm"]
    assert "Tune" in texts(app)
