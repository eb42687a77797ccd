"""Experiments: empty, the form with its cost and its errors, a running job, results of the workspace and of the app."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from app_pages import add_digits, add_model, button, ended_job, open_page, running_job, texts, visible
from experiment_rows import about, figure1, rows, write_all

from fvm_core.errors import StorageError
from fvm_core.experiments.grid import Grid
from fvm_core.experiments.results import Result, write_rows
from fvm_core.experiments.store import experiment_folder
from fvm_core.experiments.tables import TABLES, WHAT
from fvm_core.workspace import Workspace
from pages.ui import experiment_view
from pages.ui.experiment_figures import along_training, newton_gaps
from pages.ui.experiment_form import PRESET_TITLES, TITLES


@pytest.fixture(autouse=True)
def nothing_committed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Results that came with the app are those that a test puts there."""
    folder = tmp_path / "committed"
    monkeypatch.setattr("pages.ui.experiment_view.COMMITTED", folder)
    return folder


def test_empty_workspace_says_what_is_missing(workspace: Workspace) -> None:
    app = open_page("experiments")
    assert (
        "the workspace lacks a dataset" in app.info[0].value and "No experiment has been run yet" in app.info[1].value
    )
    assert "Load a noisy dataset" in app.get("page_link")[0].proto.label


def test_form_shows_the_cost_and_starts_what_it_asks_for(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr("fvm_core.jobs.launch.start_job", lambda ws, kind, args, title="": started.append((kind, args)))
    add_digits(workspace)
    add_model(workspace, "mine", "base")
    add_model(workspace, "tuned", "fvm")
    app = open_page("experiments")
    assert "Expected: about" in texts(app) and app.selectbox(key="experiment_preset_True").value == "digits"
    assert "tuned" not in str(app.selectbox(key="experiment_model").options)
    app.number_input(key="experiment_seeds").set_value(2)
    app.get("button_group")[0].set_value(["table6", "figure1"])
    app.text_input(key="experiment_name").set_value("My first")
    app.run()
    assert "Table 6" in app.table[0].value.index[0]
    button(app, "Start").click().run()
    ((kind, args),) = started
    assert kind == "reproduce" and Grid.from_json(args) == Grid(
        what=("table6", "figure1"), data=("digits",), validation="digits-validation", preset="digits", seeds=(0, 1),
        seeds_elsewhere=2, name="My first",
    )  # fmt: skip


def test_form_without_a_choice_cannot_start_and_a_dataset_without_truth_is_named(workspace: Workspace) -> None:
    add_digits(workspace)
    app = open_page("experiments", experiment_data=["digits-validation"])
    assert "must have known clean labels that differ" in app.error[0].value
    assert button(app, "Start").disabled
    app.multiselect(key="experiment_data").set_value([]).run()
    assert "Choose at least one dataset" in texts(app) and button(app, "Start").disabled and not app.error


def test_a_start_that_the_disk_refuses_is_told(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> str:
        raise StorageError("No job folder could be made in `/x` (disk full). Free disk space.")

    monkeypatch.setattr("fvm_core.jobs.launch.start_job", refuse)
    add_digits(workspace)
    app = button(open_page("experiments"), "Start").click().run()
    assert not app.exception and "Free disk space" in app.error[0].value


def test_running_experiment_is_watched_and_one_with_failures_is_pointed_at(workspace: Workspace) -> None:
    add_digits(workspace)
    with running_job(workspace, "reproduce", {}, title="Experiment cpu", done=30, total=100, message="standard, base"):
        app = open_page("experiments")
    assert app.get("progress")[0].proto.value == 30 and "standard, base" in visible(app.get("progress")[0].proto.text)
    ended_job(
        workspace, "reproduce", {}, title="Experiment cpu", state="done", done=1, total=1,
        result={"failed": {"diverged": 2}},
    )  # fmt: skip
    assert "2 cells could not be filled" in open_page("experiments").warning[0].value


def test_every_table_and_figure_is_drawn(workspace: Workspace) -> None:
    write_all(experiment_folder(workspace, "cpu"))
    charts = {"figure1": 1, "figure2": 1, "figure3": 2}
    for key in WHAT:
        app = open_page("experiments", experiment_key_cpu=key)
        assert not app.exception and not app.error, key
        assert TITLES[key] in [element.value for element in app.subheader]
        assert len(app.get("plotly_chart")) == charts.get(key, 0)
        if key in TABLES:
            ours, paper = app.table[0].value, app.table[1].value
            assert len(ours) == len(TABLES[key].rows) and any("paper" in visible(name) for name in ours.columns)
            assert paper.shape[0] > 0
        assert "What differs from the paper" in str([element.label for element in app.expander])
    labels = {element.proto.label for element in app.get("download_button")}
    assert {"Markdown", "All tables as CSV", "Parquet"} <= labels


def test_a_baseline_that_wins_is_said_and_failures_are_named(workspace: Workspace) -> None:
    found = rows("table1", seeds=(0,), auc=60.0, ap=60.0)
    for row in found:
        if row["row"] == "Loss (FVM)":
            row["auc"] = 99.0
        if row["row"] == "GEX":
            row |= {"auc": np.nan, "ap": np.nan, "error": "gex: <b>diverged</b>"}
    write_rows(experiment_folder(workspace, "cpu"), "table1", found, about())
    app = open_page("experiments")
    shown = visible(texts(app))
    assert "Loss (FVM) 99.00 is better than FVM 60.00" in shown
    assert "Failed (1 cells of GEX): gex: <b>diverged</b>" in shown
    cells = app.table[0].value["noisy ROC AUC"]
    assert cells.loc["GEX"] == "failed" and "▼" in cells.loc["FVM"]


def test_results_that_came_with_the_app_are_called_so(workspace: Workspace, nothing_committed: Path) -> None:
    write_all(nothing_committed, dataset="cifar10n-worse")
    app = open_page("experiments")
    shown = visible(texts(app))
    assert "These results came with the app" in shown
    assert "cifar_resnet18, width 8 · cifar10n-worse, seeds 0, 1 · preset cpu · a machine · 2026-01-02" in shown
    write_all(experiment_folder(workspace, "mine"))
    app = open_page("experiments")
    assert app.selectbox(key="experiment_shown").options == ["mine", "came with the app"]
    assert "These results came with the app" not in texts(app)


def test_hostile_names_stay_plain(workspace: Workspace) -> None:
    write_rows(
        experiment_folder(workspace, "cpu"), "table6",
        rows("table6", dataset="[x](http://e) :red[boo]", setting="", seeds=(0,)), about(),
    )  # fmt: skip
    app = open_page("experiments")
    assert not app.exception
    assert "[x](http://e) :red[boo] ROC AUC" in [visible(name) for name in app.table[0].value.columns]
    assert all("](http" not in str(name) for name in app.table[0].value.columns)


def test_figure_1_draws_the_medians_of_each_model() -> None:
    figure = newton_gaps(figure1())
    lines = {trace.name: trace for trace in figure.data if trace.xaxis == "x2"}
    assert list(lines) == ["Base", "VM", "FVM"]
    assert list(lines["Base"].x) == [0.1, 0.2] and lines["Base"].y[1] == pytest.approx(2 * 4 * 0.04)
    assert lines["FVM"].y[1] == pytest.approx(2 * 1 * 0.04)


def test_figure_2_draws_each_series_by_epoch() -> None:
    frame = pd.DataFrame(
        [{"epoch": epoch, "series": name, "value": 10.0 * epoch} for epoch in (2, 1) for name in ("tracin", "accuracy")]
    )
    figure = along_training(frame)
    assert [trace.name for trace in figure.data] == ["Validation accuracy", "TracIn (first-order), AUC"]
    assert all(list(trace.x) == [1, 2] and list(trace.y) == [10.0, 20.0] for trace in figure.data)


def test_every_preset_has_a_title_and_the_origin_names_a_given_model() -> None:
    from fvm_core.experiments.presets import PRESETS

    assert set(PRESET_TITLES) == set(PRESETS) and set(TITLES) == set(WHAT)
    frame = pd.DataFrame(rows("table6", seeds=(0,)))
    assert experiment_view.origin(Result("table6", frame, about(model="mine"))).startswith("base model mine · noisy")


def test_committed_table_1_shows_one_dataset_at_a_time(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files in assets/experiments can be read, and a switch of the dataset changes the table."""
    monkeypatch.setattr("pages.ui.experiment_view.COMMITTED", experiment_view.ROOT / "assets" / "experiments")
    app = open_page("experiments")
    (data,) = (group for group in app.get("button_group") if group.key == "experiment_data_table1")
    first = app.table[0].value
    assert data.value == "cifar10n-worse" and all("worse" in column for column in first.columns)
    data.set_value("cifar10n-aggre").run()
    second = app.table[0].value
    assert all("aggre" in column for column in second.columns) and list(first.index) == list(second.index)
    assert any("Label error posterior" in label and "FVM" in label for label in second.index)
