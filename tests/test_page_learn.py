"""Learn page: every part empty and on the digits, its jobs, charts to take away, and that its answers are true."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from app_pages import button, labels, open_page, run_jobs_here, texts, visible
from digits_job import SPEC, arguments, fill
from invented_scores import Invented, write_run, write_snapshots

from fvm_core.data.registry import open_named
from fvm_core.influence import score
from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.learn.bound import bound_of
from fvm_core.learn.fading import fading
from fvm_core.learn.settings import LandscapeSettings
from fvm_core.learn.store import FLAG, LANDSCAPE, landscape_key, learn_path, read_table, write_table
from fvm_core.learn.toy_risk import foretell
from fvm_core.learn.toy_steps import SOLVERS, ToySettings, points_of, toy_path
from fvm_core.learn.toy_surface import FLAT, SHARP, START, two_basins
from fvm_core.models.store import ModelRecord, read_record, write_record
from fvm_core.tuning.solvers import SOLVER_INFO
from fvm_core.workspace import Workspace
from pages.ui import (
    learn_bound,
    learn_flag,
    learn_paths,
    learn_questions,
    learn_risk,
    learn_sam,
    learn_surface,
    take_away,
)

TABS = list(learn_questions.PARTS.values())
RISK, SAM, REAL, FADING, BOUND, FLAGS = TABS


def digits(workspace: Workspace) -> Invented:
    found = open_named(workspace, "digits")
    assert found.clean_labels is not None
    return Invented(
        found.ids.tolist(), found.labels, found.clean_labels, found.class_names, "digits", found.fingerprint
    )  # fmt: skip


@pytest.mark.parametrize("tab", TABS)
def test_every_part_works_in_an_empty_workspace(workspace: Workspace, tab: str) -> None:
    app = open_page("learn", learn_tab=tab)
    assert not app.error
    if tab in (RISK, SAM):
        assert len(app.get("plotly_chart")) == (1 if tab == RISK else 2)
        assert "Questions to try" in texts(app)
    else:
        assert len(app.info) == 1 and len(app.get("page_link")) == 1


def test_figure_1_moves_with_its_sliders_and_tells_the_numbers(workspace: Workspace) -> None:
    app = open_page("learn", learn_tab=RISK)
    app.slider(key="risk_delta").set_value(-0.5).run()
    risk = learn_risk.risk_of(learn_risk.WIDTHS, (learn_risk.DEPTH, learn_risk.DEPTH))
    wanted = foretell(risk, risk.minimum(0), -0.5)
    assert app.table[0].value.loc["sharp minimum", "true change"] == f"{wanted.actual:+.3f}"
    assert app.table[0].value.loc["sharp minimum", "gap, second"] == f"{wanted.second_gap:+.3f}"
    app.slider(key="risk_sharp").set_value(1.5).run()
    app.slider(key="risk_deep").set_value(0.3).run()
    assert not app.exception


def test_a_step_of_sam_is_turned_piece_by_piece(workspace: Workspace) -> None:
    app = open_page("learn", learn_tab=SAM)
    assert "1 of 5" in texts(app)
    for _ in range(2):
        button(app, "Next").click().run()
    assert "3 of 5: ascent to w + e" in texts(app)
    button(app, "Back").click().run()
    assert "2 of 5" in texts(app) and "SGD: sharp" in texts(app) and "SAM: flat" in texts(app)
    for _ in range(4):
        button(app, "Next").click().run()
    assert "1 of 5" in texts(app) and app.number_input(key="sam_step").value == 2
    button(app, "Back").click().run()
    assert "5 of 5" in texts(app) and app.number_input(key="sam_step").value == 1
    app.get("button_group")[-1].set_value("sgd").run()
    assert "3 of 3: the step" in texts(app)


def test_the_paths_chart_has_a_frame_a_step_with_play_and_pause() -> None:
    surface, settings = two_basins(), ToySettings()
    paths = {name: toy_path(surface, name, np.array(START), settings, steps=7) for name in SOLVERS}
    figure = learn_paths.paths_chart(surface, paths)
    assert len(figure.frames) == 8 and len(figure.layout.sliders[0].steps) == 8
    assert [item.label for item in figure.layout.updatemenus[0].buttons] == ["Play", "Pause"]
    for number, name in enumerate(SOLVERS):
        line, dot = figure.frames[3].data[2 * number : 2 * number + 2]
        np.testing.assert_allclose(line.x, points_of(paths[name])[:4, 0], atol=1e-4)
        np.testing.assert_allclose((*dot.x, *dot.y), points_of(paths[name])[3], atol=1e-4)
        drawn = figure.data[figure.frames[3].traces[2 * number]]
        assert (drawn.name, drawn.mode) == (SOLVER_INFO[name].title, "lines+markers")
    table = learn_paths.paths_table(paths)
    assert table.groupby("solver").size().to_dict() == dict.fromkeys(SOLVERS, 8)
    for piece, traces in enumerate((3, 4, 8, 12, 13)):
        assert len(learn_paths.step_chart(surface, paths["lpf"], 2, piece, "#000000").data) == traces
    for path in paths.values():
        x, y = learn_paths.near(path[4])
        for point in (path[4].start, path[4].end, *path[4].probes, path[4].start + path[4].gradient):
            assert x[0] < point[0] < x[1] and y[0] < point[1] < y[1]
    assert (learn_paths.step_table(paths["lpf"][0])["what"] == "w + e").sum() == settings.draws == 4


@pytest.fixture
def ready(workspace: Workspace, tmp_path: Path) -> Workspace:
    """The digits with a base `m`, and records of a VM and an FVM that were tuned from it."""
    fill(workspace, tmp_path)
    known = {key: {"name": name} for key, name in (("dataset", "digits"), ("validation", "clean"))}
    base = read_record(workspace, "m")
    write_record(workspace, ModelRecord("m", "base", SPEC, sha256=base.sha256, dataset=known["dataset"]))
    for role in ("vm", "fvm"):
        (workspace.models / role).mkdir()
        write_record(workspace, ModelRecord(role, role, SPEC, sha256=role, parent="m", **known))  # type: ignore[arg-type]
    return workspace


def test_the_landscape_is_asked_for_with_the_key_it_is_found_by(
    ready: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(
        "pages.ui.job_view.start_job", lambda ws, kind, args, title: calls.append({"kind": kind, **args})
    )
    app = open_page("learn", learn_tab=REAL)
    assert "4 panels of 21 × 21 points" in texts(app)
    button(app, "Compute the landscape").click().run()
    prints = [open_named(ready, name).fingerprint for name in ("digits", "clean")]
    key = landscape_key([read_record(ready, "m").sha256, "vm", "fvm"], prints[0], prints[1], LandscapeSettings())
    assert calls[0]["models"] == ["m", "vm", "fvm"] and calls[0]["key"] == key and calls[0]["kind"] == "landscape"
    write_table(learn_path(ready, "landscape", key), landscape(), LANDSCAPE, {"notes": ["a note"]})
    app = open_page("learn", learn_tab=REAL)
    assert not app.error and len(app.get("plotly_chart")) == 2 and "a note" in visible(texts(app))
    app.get("button_group")[-2].set_value(True).run()
    assert not app.exception


def landscape(models: tuple[str, ...] = ("m", "vm", "fvm")) -> pd.DataFrame:
    grid = [(x, y) for x in (-1.0, 0.0, 1.0) for y in (-1.0, 0.0, 1.0)]
    rows = [("point", name, float(i), 0.5 * i, 0.1 * (i + 1), 1.0) for i, name in enumerate(models)]
    rows += [("plane", "", x, y, 0.2 + x * x + y, 2.0 + y) for x, y in grid]
    rows += [("random", name, x, y, 0.5 + x * x, 1.5 + y) for name in models for x, y in grid]
    return pd.DataFrame(rows, columns=["panel", "model", "x", "y", "validation_loss", "training_loss"])


@pytest.mark.parametrize("solid", [False, True])
def test_all_panels_share_one_colour_scale(solid: bool) -> None:
    frame = landscape()
    spread = learn_surface.colour_range(frame)
    panels = [(name, frame[frame["model"] == name], "validation_loss") for name in ("m", "vm", "fvm")]
    figure = learn_surface.surface_chart(
        [(name, rows[rows["panel"] == "random"], loss) for name, rows, loss in panels], spread, solid=solid,
        axes=("one", "two"), points=frame[frame["panel"] == "point"], titles={name: name for name, _, _ in panels},
    )  # fmt: skip
    drawn = [trace for trace in figure.data if trace.type in ("contour", "surface")]
    assert len(drawn) == 3 and {trace.coloraxis for trace in drawn} == {"coloraxis"}
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == spread
    np.testing.assert_allclose(drawn[0].customdata, [[1.5, 0.5, 1.5]] * 3)
    assert sum(trace.type.startswith("scatter") for trace in figure.data) == 9


@pytest.fixture
def tuned(ready: Workspace) -> Workspace:
    """With snapshots of an FVM scored and its curves kept."""
    data = digits(ready)
    write_snapshots(ready, "fvm", data, sample=150)
    frame = pd.DataFrame({"step": range(0, 1001, 50), "val_loss": 0.5, "sam_gap": 0.25})
    (ready.models / "fvm" / "metrics.jsonl").write_text(frame.to_json(orient="records", lines=True))
    return ready


def test_the_slider_over_snapshots_turns_both_histograms(tuned: Workspace) -> None:
    app = open_page("learn", learn_tab=FADING)
    assert not app.error and len(app.get("plotly_chart")) == 1
    first = texts(app)
    button(app, "Next").click().run()
    assert not app.exception and texts(app) != first
    assert app.session_state["fading_step"] == sorted(_steps(tuned))[1]


def _steps(workspace: Workspace) -> list[int]:
    (path,) = workspace.scores.glob("*/snapshots.parquet")
    return sorted(pd.read_parquet(path)["step"].unique().tolist())


def test_the_bound_is_told_with_its_sentences_and_what_is_left_out(tuned: Workspace) -> None:
    app = open_page("learn", learn_tab=BOUND)
    said = texts(app)
    assert not app.error and "Perturbed risk = 0.75 nats" in said
    for part in ("μ =", "Bound by the risk (Eq. 11)", "Bound by the range (Eq. 37)", "Measured sign error",
                 "The target is a guess", "Units."):  # fmt: skip
        assert part in said
    (path,) = tuned.scores.glob("*/snapshots.parquet")
    frame = pd.read_parquet(path)
    last = frame[(frame["step"] == frame["step"].max()) & (frame["method"] == "standard")]
    right = last["score"][~last["mislabeled"].astype(bool)].mean()
    assert f"right labels {right:+.3g}" in said
    app.get("button_group")[-1].set_value("share").run()
    assert "Bound by the risk (Eq. 11) = 1.0000" in texts(app)


def test_one_image_is_opened_up_and_its_sum_is_the_files(ready: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    run_jobs_here(monkeypatch, "job_view")
    score.run(MemoryContext(), arguments(methods=["influence"]), ready)
    app = open_page("learn", learn_tab=FLAGS)
    assert "Open up this score" in labels(app)
    button(app, "Open up this score").click().run()
    assert not app.exception and not app.error
    said = visible(texts(app))
    assert "All terms of the given label add up to" in said and "Why the smallest wins" in said
    assert len(app.get("plotly_chart")) == 1 and len(app.dataframe) == 2
    (path,) = (ready.root / "learn").glob("flag-*.parquet")
    frame = read_table(path, FLAG).frame
    sums = learn_flag.layer_sums(frame)
    assert list(sums.columns) == ["conv1", "bn1", "conv2", "bn2", "fc"] and len(sums) == 10
    layers = learn_flag.by_layer(frame, 3)
    assert layers["layer"].tolist() == list(sums.columns)
    np.testing.assert_allclose(layers["sum of g² / (F + d)"], sums.loc[3])
    conv = frame[(frame["label"] == 3) & (frame["layer"] == "conv1") & (frame["index"] < 0)]
    assert layers["length of g"][0] == pytest.approx(np.linalg.norm(conv["gradient"]))
    table = learn_flag.largest(frame, 3, count=6)
    assert table["g² / (F + d)"].is_monotonic_decreasing and len(table) == 6
    totals = sums.sum(axis=1)
    figure = learn_flag.sums_chart(sums, [str(k) for k in range(10)], 2, 2)
    heights = np.sum([trace.y for trace in figure.data], axis=0)
    np.testing.assert_allclose(heights, totals, rtol=1e-5)
    assert figure.layout.xaxis.type == "category" and figure.data[0].x[2] == "2 (given, smallest)"


def test_large_type_and_pictures_are_chosen_for_the_whole_page(workspace: Workspace) -> None:
    app = open_page("learn", learn_tab=RISK)
    small = app.get("plotly_chart")[0].proto
    assert '"format": "png"' in small.config or '"format":"png"' in small.config
    app.toggle(key=take_away.LARGE).set_value(True).run()
    app.get("button_group")[0].set_value("svg").run()
    large = app.get("plotly_chart")[0].proto
    assert '"format": "svg"' in large.config or '"format":"svg"' in large.config
    assert large.spec != small.spec and any("font-size: 23px" in item.proto.body for item in app.get("html"))


def test_a_chart_as_html_needs_no_network() -> None:
    page = take_away.as_html(go.Figure(go.Scatter(x=[1], y=[2])), title="A chart").decode()
    assert "A chart" in page and len(page) > 1_000_000 and "<script src=" not in page


def test_the_numbers_behind_figure_1_are_the_curves_and_both_estimates() -> None:
    risk = learn_risk.risk_of(learn_risk.WIDTHS, (learn_risk.DEPTH, learn_risk.DEPTH))
    starts = [risk.minimum(0) + 0.2, risk.minimum(1) + 0.2]
    table = learn_risk.table(risk, starts, -0.4)
    assert set(table["curve"]) == {"risk"} | {f"{o} order, {n}" for o in ("first", "second") for n in learn_risk.NAMES}
    wanted = foretell(risk, starts[0], -0.4)
    for order, change in (("first", wanted.first), ("second", wanted.second)):
        part = table[table["curve"] == f"{order} order, sharp"]
        assert part["risk"].iloc[-1] - part["risk"].iloc[0] == pytest.approx(change)
        assert part["theta"].iloc[[0, -1]].tolist() == pytest.approx([starts[0], starts[0] - 0.4])


@pytest.mark.parametrize("dark", [False, True])
def test_a_picture_has_the_paper_that_its_words_are_for(dark: bool) -> None:
    figure = take_away.Look(large=True, dark=dark).put_on(go.Figure(layout={"height": 400}))
    assert (figure.layout.paper_bgcolor, figure.layout.font.color) == (take_away.PAPER[dark], take_away.INK[dark])
    assert figure.layout.height == 1.25 * 400 + 24 and figure.layout.xaxis.tickfont.color == take_away.INK[dark]


def test_answers_about_the_risk_are_true() -> None:
    risk = learn_risk.risk_of(learn_risk.WIDTHS, (learn_risk.DEPTH, learn_risk.DEPTH))
    for delta in (-1.5, 0.3, learn_risk.CHANGE):
        assert foretell(risk, risk.minimum(1), delta).first == pytest.approx(0, abs=1e-9)
    gaps = [abs(foretell(risk, risk.minimum(which), learn_risk.CHANGE).second_gap) for which in (0, 1)]
    assert gaps[0] > 20 * gaps[1]
    same = learn_risk.risk_of((0.35, 0.35), (learn_risk.DEPTH, learn_risk.DEPTH))
    one, two = (abs(foretell(same, same.minimum(which), delta).second_gap) for which, delta in ((0, 0.6), (1, 0.6)))
    assert one == pytest.approx(two, rel=1e-6)


def test_answers_about_the_solvers_are_true() -> None:
    surface, start = two_basins(), np.array(START)

    def walk(solver: str, **settings: Any) -> np.ndarray:
        return points_of(toy_path(surface, solver, start, ToySettings(**settings), steps=learn_sam.STEPS))

    for solver in ("sam", "asam", "fsam"):
        np.testing.assert_array_equal(walk(solver, radius=0.0), walk("sgd", radius=0.0))
    np.testing.assert_array_equal(walk("fsam", sigma=0.0), walk("sam"))
    for solver in SOLVERS:
        centre = SHARP if solver == "sgd" else FLAT
        assert np.linalg.norm(walk(solver)[-10:].mean(0) - centre) < 0.5, solver


def test_answers_about_snapshots_and_the_bound_are_true(tuned: Workspace) -> None:
    (path,) = tuned.scores.glob("*/snapshots.parquet")
    frame = pd.read_parquet(path)
    assert len({item.edges.tobytes() for item in fading(frame, "standard")}) == 1
    part = frame[(frame["step"] == 0) & (frame["method"] == "standard")]
    whole, share = (
        bound_of(part["score"].to_numpy(), part["mislabeled"].to_numpy(dtype=bool), risk=0.5, epsilon=epsilon)
        for epsilon in (1.0, 1 / 1297)
    )
    assert share.by_range == pytest.approx(whole.by_range) and share.by_risk > whole.by_risk
    metrics = pd.DataFrame({"step": [0], "val_loss": [0.5], "sam_gap": [0.1]})
    found = learn_bound.bounds_over_steps(frame, metrics, epsilon=1.0)
    assert list(found) == _steps(tuned) and learn_bound.bound_table(found)["risk"].tolist() == [0.6] * len(found)


def test_every_part_has_questions() -> None:
    assert list(learn_questions.QUESTIONS) == list(learn_questions.PARTS)


def test_runs_without_an_influence_score_lead_to_the_score_page(ready: Workspace) -> None:
    write_run(ready, "m-base", digits(ready), role="base", methods=["loss"])
    app = open_page("learn", learn_tab=FLAGS)
    assert "no influence scores yet" in app.info[0].value
