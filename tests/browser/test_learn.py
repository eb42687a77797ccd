"""The Learn page and the guided tour in a real browser, on the digits: each part moves, each chart comes home whole."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from app_server import PATIENCE, Server, screenshot, settle
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Download, Locator, Page, expect

from fvm_core.demo import TUNE, arguments, install
from fvm_core.influence.store import read_scores
from fvm_core.jobs.kinds import load_kind
from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.jobs.status import list_jobs
from fvm_core.learn.store import FLAG, LANDSCAPE, read_table
from fvm_core.learn.toy_risk import foretell
from fvm_core.pipeline import plan
from fvm_core.review.log import DecisionLog
from fvm_core.workspace import Workspace
from pages.ui import learn_risk
from pages.ui.learn_questions import PARTS, QUESTIONS

pytestmark = pytest.mark.browser
MINUTE = 60_000
RISK, SAM, REAL, FADING, BOUND, FLAGS = PARTS.values()


@dataclass
class Demo:
    """The demo's main job, small, in pieces: what a person would have done on Load, then on Tune and Score."""

    workspace: Workspace
    loaded: bool = False
    done: bool = False

    def load(self) -> None:
        if not self.loaded:
            install(self.workspace)
        self.loaded = True

    def tune_and_score(self) -> None:
        self.load()
        if self.done:
            return
        tune = {**TUNE.to_json(), "steps": 30, "hessian_every": 0, "snapshots": 3, "save_every": 30}
        tune = {key: value for key, value in tune.items() if key not in ("solver", "rho")}
        score = {"relabel": "all", "lissa_depth": 10, "limit": 120}
        given = {**arguments(), "tune": tune, "score": score, "snapshot_sample": 120}
        for name, kind, args in plan(given, self.workspace):
            if name in ("score-base", "score-vm"):
                continue
            if kind == "score":
                args = {**args, "methods": ["influence", "loss"]}
            context = MemoryContext()
            load_kind(kind)(context, args, self.workspace)
            if kind == "tune":  # a job's folder keeps its curves; this context kept them in memory
                rows = "".join(json.dumps(row) + "\n" for row in context.metrics)
                (self.workspace.models / args["name"] / "metrics.jsonl").write_text(rows)
        self.done = True


@pytest.fixture(scope="module")
def demo(server: Server) -> Demo:
    return Demo(server.workspace)


@pytest.fixture
def learn(server: Server, demo: Demo, page: Page) -> Iterator[Page]:
    """The Learn page of a workspace in which the small demo is done; no exception may show at the end."""
    demo.tune_and_score()
    server.goto(page, "learn")
    yield page
    expect(page.get_by_test_id("stException")).to_have_count(0)


def part(page: Page, title: str) -> Locator:
    """Open a part of the page, and return its panel once it is drawn."""
    page.get_by_role("tab", name=title, exact=True).click()
    panel = page.get_by_role("tabpanel").filter(visible=True)
    expect(panel.get_by_role("link").or_(panel.get_by_role("button")).first).to_be_visible(timeout=MINUTE)
    settle(page)
    return panel


def chart(panel: Locator, name: str) -> Locator:
    """Return the chart of a name once plotly has drawn it."""
    found = panel.locator(f"[class*='st-key-learn_{name}'] .js-plotly-plot")
    expect(found).to_have_count(1, timeout=MINUTE)  # while one is drawn anew there may be two
    expect(found.locator(".main-svg").first).to_be_visible(timeout=MINUTE)
    return found


def until(found: Locator, condition: str) -> None:
    """Wait until the JavaScript function `condition` is true of the drawn chart (which a rerun may make anew)."""
    for _ in range(600):
        if found.count() == 1 and found.evaluate(f"g => !!g._fullData && !!({condition})(g)"):
            return
        found.page.wait_for_timeout(100)
    pytest.fail(f"the chart never came to {condition}")


def traces(found: Locator) -> list[dict[str, Any]]:
    """Return what plotly has drawn: type, name, and the numbers x and y of each trace."""
    return found.evaluate(
        "g => g._fullData.map(t => ({type: t.type, name: t.name, axis: t.coloraxis || '',"
        " x: Array.from(t.x || []), y: Array.from(t.y || [])}))"
    )


def trace(found: Locator, name: str) -> dict[str, Any]:
    (one,) = [item for item in traces(found) if item["name"] == name]
    return one


def test_the_tour_leads_from_load_to_review_and_is_taken_up_after_a_reload(
    server: Server, demo: Demo, page: Page
) -> None:
    bar = page.locator(".st-key-tour_bar")

    def go_on(title: str) -> None:
        following = bar.get_by_role("link", name=f"Next: {title}")
        expect(following).to_be_visible()
        following.click()
        expect(page.get_by_role("heading", name=title, exact=True)).to_be_visible(timeout=MINUTE)
        settle(page)

    server.goto(page, "learn")
    for title in (REAL, FADING, BOUND, FLAGS):  # an empty workspace says what is missing, and where it is made
        panel = part(page, title)
        expect(panel.get_by_test_id("stAlert")).to_be_visible()
        expect(panel.get_by_role("link").first).to_be_visible()
    expect(bar).to_have_count(0)
    page.get_by_role("button", name="Guided tour of the main job").click()
    go_on("Load")
    expect(bar).to_contain_text("Describe the noisy training set")
    demo.load()
    server.goto(page, "load")
    expect(bar).to_contain_text("Can you find a wrong one")
    go_on("Tune")
    expect(bar).to_contain_text("press Start tuning")
    expect(bar.get_by_role("link")).to_have_count(0)
    demo.tune_and_score()
    server.goto(page, "tune")
    expect(bar).to_contain_text("Which of the two ends lower?")
    go_on("Score")
    bar.get_by_role("button", name="Leave").click()
    expect(bar).to_have_count(0)
    server.goto(page, "compare")
    expect(bar).to_have_count(0)
    server.goto(page, "learn")
    page.get_by_role("button", name="Go on with the guided tour").click()
    go_on("Compare")
    screenshot(page, "learn-tour")
    page.reload()
    go_on("Review")
    expect(bar).to_contain_text("press Start the review", ignore_case=True)
    page.get_by_role("button", name="Start the review").click()
    grid = page.get_by_role("listbox", name="Images in order of suspicion")
    expect(grid.get_by_role("option").first).to_be_visible(timeout=MINUTE)
    page.keyboard.press("a")
    expect(page.locator(".saving")).to_have_text("All saved", timeout=MINUTE)
    log = DecisionLog(server.workspace.review_url)
    assert log.total() == 1
    log.close()
    page.reload()
    expect(bar).to_contain_text("That was the whole way", timeout=MINUTE)
    bar.get_by_role("button", name="Again").click()
    expect(bar.get_by_role("link", name="Next: Load")).to_be_visible()
    bar.get_by_role("button", name="Leave").click()


def test_figure_1_is_reshaped_and_its_change_dragged(learn: Page) -> None:
    panel = part(learn, RISK)
    found = chart(panel, "figure-1")
    before = trace(found, "estimate, sharp")
    thumb = panel.locator(".st-key-risk_delta").get_by_role("slider")
    box = thumb.bounding_box()
    assert box is not None
    learn.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    learn.mouse.down()
    learn.mouse.move(box["x"] - 60, box["y"] + box["height"] / 2, steps=6)
    learn.mouse.up()
    expect(thumb).not_to_have_value(str(learn_risk.CHANGE))
    settle(learn)
    delta = float(thumb.input_value())
    width = panel.locator(".st-key-risk_sharp").get_by_role("slider")
    width.focus()
    for _ in range(4):
        learn.keyboard.press("ArrowRight")
    expect(width).to_have_value("0.55")
    risk = learn_risk.risk_of((0.55, learn_risk.WIDTHS[1]), (learn_risk.DEPTH, learn_risk.DEPTH))
    wanted = foretell(risk, risk.minimum(0), delta)
    row = panel.get_by_role("row").filter(has_text="sharp minimum")
    expect(row).to_contain_text(f"{wanted.actual:+.3f}")
    expect(row).to_contain_text(f"{wanted.second_gap:+.3f}")
    settle(learn)
    after = trace(found, "estimate, sharp")
    assert after["x"][-1] - after["x"][0] == pytest.approx(delta, rel=1e-5) and before["x"][-1] != after["x"][-1]
    assert after["y"][-1] - after["y"][0] == pytest.approx(wanted.second, rel=1e-5)
    gap = trace(found, "gap, sharp")["y"]
    assert gap[1] - gap[0] == pytest.approx(wanted.second_gap, rel=1e-5)
    panel.get_by_role("radio", name="first").click()  # no slope at a minimum: the first order foretells no change
    until(found, "g => (y => Math.abs(y[39] - y[0]) < 1e-6)(g._fullData.find(t => t.name === 'estimate, sharp').y)")
    expect(panel.locator(".katex").first).to_be_visible()
    question, answer = QUESTIONS["risk"][0]
    panel.get_by_text(question).click()
    expect(panel.get_by_text(answer[:40])).to_be_visible()


def test_solvers_paths_play_pause_and_step_and_the_radius_moves_them(
    server: Server, demo: Demo, context: BrowserContext
) -> None:
    demo.tune_and_score()
    learn = context.new_page()
    learn.set_default_timeout(PATIENCE)
    problems: list[str] = []
    learn.on("pageerror", lambda error: problems.append(str(error)))
    server.goto(learn, "learn")
    panel = part(learn, SAM)
    found = chart(panel, "solver-paths")
    assert {"SGD", "SAM", "ASAM", "F-SAM", "LPF"} <= {item["name"] for item in traces(found)}
    lines = "g => Object.fromEntries(g._fullData.filter(t => t.mode === 'lines+markers')" \
            ".map(t => [t.name, Array.from(t.x)]))"  # fmt: skip

    def at() -> int:
        return int(found.evaluate("g => g.layout.sliders[0].active"))

    found.scroll_into_view_if_needed()
    found.locator(".updatemenu-button", has_text="Play").click()
    until(found, "g => g.layout.sliders[0].active > 2 && g.layout.sliders[0].active < 50")
    found.locator(".updatemenu-button", has_text="Pause").click()
    learn.wait_for_timeout(400)
    paused = at()
    learn.wait_for_timeout(600)
    assert at() == paused and 2 < paused < 60, "paused means that it stands"
    assert {name: len(x) for name, x in found.evaluate(lines).items()}["SAM"] == paused + 1
    rail = found.locator(".slider-rail-touch-rect").bounding_box()
    assert rail is not None
    learn.mouse.click(rail["x"] + rail["width"] / 2, rail["y"] + rail["height"] / 2)
    until(found, "g => Math.abs(g.layout.sliders[0].active - 30) < 4")
    until(found, f"g => ({lines})(g).SGD.length === g.layout.sliders[0].active + 1")
    radius = panel.locator(".st-key-sam_radius").get_by_role("slider")
    radius.focus()
    for _ in range(8):
        learn.keyboard.press("ArrowLeft")
    expect(panel.get_by_text("SAM: sharp").first).to_be_visible()
    until(found, f"g => (l => l.SAM.length === 61 && l.SAM[60] === l.SGD[60])(({lines})(g))")
    paths = found.evaluate(lines)
    assert paths["SAM"] == paths["SGD"] == paths["ASAM"] == paths["F-SAM"] != paths["LPF"]
    assert set(problems) <= {"undefined"}, "plotly itself rejects an animation that is interrupted, without a reason"


def test_one_step_of_sam_is_turned_piece_by_piece(learn: Page) -> None:
    panel = part(learn, SAM)
    one = chart(panel, "one-step")
    for number, name in (
        (2, "the gradient"),
        (3, "ascent to w + e"),
        (4, "the gradient there"),
        (5, "the step, from w"),
    ):
        panel.get_by_role("button", name="Next").click()
        expect(panel.get_by_text(f"{number} of 5: {name}")).to_be_visible()
    settle(learn)
    start, end, up = (trace(one, name) for name in ("w", "the step", "e"))
    assert np.hypot(up["x"][1] - up["x"][0], up["y"][1] - up["y"][0]) == pytest.approx(0.4, rel=1e-4)
    assert (end["x"][0], end["y"][0]) == (start["x"][0], start["y"][0]), "the step is taken from w, not from w + e"
    screenshot(learn, "learn-step")
    panel.get_by_role("button", name="Next").click()
    expect(panel.get_by_text("1 of 5")).to_be_visible()
    expect(panel.get_by_label("Step of the path")).to_have_value("2")
    settle(learn)
    after = trace(one, "w")
    assert (after["x"][0], after["y"][0]) == pytest.approx((end["x"][1], end["y"][1]), rel=1e-4)
    panel.get_by_role("radio", name="LPF").click()
    expect(panel.get_by_text("average", exact=False).first).to_be_visible()


def test_the_landscape_is_computed_from_the_page_and_drawn_on_one_scale(learn: Page, server: Server) -> None:
    panel = part(learn, REAL)
    panel.get_by_label("Points a side").fill("5")
    panel.get_by_label("Points a side").press("Enter")
    panel.get_by_label("Samples of each set").fill("64")
    panel.get_by_label("Samples of each set").press("Enter")
    expect(panel.get_by_text("4 panels of 5 × 5 points, 128 images at each")).to_be_visible()
    panel.get_by_role("button", name="Compute the landscape").click()
    around = chart(panel, "landscape-random")
    (path,) = (server.workspace.root / "learn").glob("landscape-*.parquet")
    frame = read_table(path, LANDSCAPE).frame
    assert frame.groupby("panel").size().to_dict() == {"plane": 25, "point": 3, "random": 75}
    contours = [item for item in traces(around) if item["type"] == "contour"]
    assert len(contours) == 3 and {item["axis"] for item in contours} == {"coloraxis"}
    titles = around.locator(".infolayer .annotation-text").all_text_contents()
    assert [title.split(" · ")[0] for title in titles] == ["Base", "VM (SGD)", "FVM (SAM)"]
    plane = chart(panel, "landscape-plane")
    assert len([item for item in traces(plane) if item["type"] == "contour"]) == 2
    assert plane.locator(".infolayer .annotation-text").all_text_contents() == [
        "Clean validation set",
        "Noisy training set",
    ]
    scales = [
        item.evaluate("g => [g._fullLayout.coloraxis.cmin, g._fullLayout.coloraxis.cmax]") for item in (around, plane)
    ]
    assert scales[0] == scales[1]
    panel.get_by_role("radio", name="3-D surface").click()
    until(around, "g => g._fullData.every(t => t.type === 'surface')")
    assert len(traces(around)) == 3
    _, path = saved(learn, camera(around))
    whole_png(path)
    screenshot(learn, "learn-solid", full=True)
    learn.reload()
    settle(learn)
    assert [job.kind for job in list_jobs(server.workspace)].count("landscape") == 1


def test_histograms_follow_the_slider_over_snapshots(learn: Page, server: Server) -> None:
    panel = part(learn, FADING)
    found = chart(panel, "fading")
    (path,) = server.workspace.scores.glob("*/snapshots.parquet")
    scores = read_scores(path).frame
    steps = sorted(scores["step"].unique().tolist())
    first = traces(found)
    expect(panel.get_by_text(f"after {steps[0]} steps")).to_be_visible()
    for step in steps[1:]:
        panel.get_by_role("button", name="Next").click()
        expect(panel.get_by_text(f"after {step} steps")).to_be_visible()
    settle(learn)
    last = traces(found)
    assert len(first) == len(last) == 4
    for before, after in zip(first, last, strict=True):
        assert before["x"] == after["x"] and before["y"] != after["y"] and sum(before["y"]) == sum(after["y"])
    kind = scores[(scores["step"] == steps[-1]) & (scores["method"] == "standard")]
    assert sum(last[0]["y"]) == (~kind["mislabeled"].astype(bool)).sum()
    thumb = panel.locator(".st-key-fading_step").get_by_role("slider")
    thumb.focus()
    learn.keyboard.press("ArrowLeft")
    expect(panel.get_by_text(f"after {steps[-2]} steps")).to_be_visible()


def test_the_bound_tells_the_runs_own_numbers(learn: Page, server: Server) -> None:
    panel = part(learn, BOUND)
    found = chart(panel, "bound")
    metrics = pd.read_json(server.workspace.models / "digits-fvm" / "metrics.jsonl", lines=True)
    known = metrics.dropna(subset=["val_loss", "sam_gap"])
    last = known.iloc[(known["step"] - 30).abs().argmin()]
    expect(panel.get_by_text(f"Perturbed risk = {last['val_loss'] + last['sam_gap']:.3g} nats")).to_be_visible()
    (path,) = server.workspace.scores.glob("*/snapshots.parquet")
    frame = read_scores(path).frame
    rows = frame[(frame["method"] == "standard") & (frame["step"] == frame["step"].max())]
    wrong, score = rows["mislabeled"].astype(bool), rows["score"]
    missed = ((score >= 0) & wrong) | ((score <= 0) & ~wrong)
    assert trace(found, "measured sign error")["y"][-1] == pytest.approx(missed.mean(), rel=1e-5)
    for words in ("μ =", "Measured sign error", "What the assumptions leave out", "It is never small"):
        expect(panel.get_by_text(words).first).to_be_visible()
    panel.get_by_role("radio", name="1/N").click()
    expect(panel.get_by_text("Bound by the risk (Eq. 11) = 1.0000")).to_be_visible()


def test_one_image_is_taken_from_its_gradient_to_its_flag(learn: Page, server: Server) -> None:
    panel = part(learn, FLAGS)
    panel.get_by_label("Rank, most suspicious first").fill("2")
    panel.get_by_label("Rank, most suspicious first").press("Enter")
    panel.get_by_role("button", name="Open up this score").click()
    bars = chart(panel, "flag-labels")
    (path,) = (server.workspace.root / "learn").glob("flag-*.parquet")
    terms = read_table(path, FLAG).frame
    sums = terms[terms["index"] < 0].groupby("label")["term"].sum()
    frame = read_scores(server.workspace.scores / "digits-fvm" / "influence.parquet").frame
    row = frame.sort_values("score", ascending=False).iloc[1]
    assert sums[row["label"]] == pytest.approx(row["score"], rel=1e-3)
    assert np.sum([item["y"] for item in traces(bars)], axis=0) == pytest.approx(sums.to_numpy(), rel=1e-5)
    assert int(sums.idxmin()) == row["suggested"]
    expect(panel.get_by_text("Why the smallest wins")).to_be_visible()
    expect(panel.get_by_test_id("stDataFrame")).to_have_count(2)


def saved(page: Page, button: Locator) -> tuple[Download, Path]:
    with page.expect_download(timeout=MINUTE) as download:
        button.click()
    return download.value, download.value.path()


def camera(found: Locator) -> Locator:
    return found.locator(".modebar-btn[data-title^='Download plot']")


def whole_png(path: Path) -> None:
    with Image.open(path) as picture:
        picture.load()
        assert picture.format == "PNG" and picture.width > 1000
        assert len(picture.convert("RGB").getcolors(1 << 24) or []) > 20, "something is drawn"
        assert picture.convert("RGBA").getextrema()[3] == (255, 255), "no see-through paper"


def test_every_chart_comes_home_as_picture_page_and_table(learn: Page, browser: Browser) -> None:
    """PNG and SVG by the camera, HTML that draws itself without a network, CSV with numbers: of every chart."""
    names = {RISK: ["figure-1"], SAM: ["solver-paths", "one-step"], REAL: ["landscape-random", "landscape-plane"],
             FADING: ["fading"], BOUND: ["bound"], FLAGS: ["flag-labels"]}  # fmt: skip
    fields = {REAL: {"Points a side": "5", "Samples of each set": "64"}, FLAGS: {"Rank, most suspicious first": "2"}}
    offline = browser.new_context(offline=True)
    for title, charts in names.items():
        panel = part(learn, title)
        for field, value in fields.get(title, {}).items():
            panel.get_by_label(field).fill(value)
            panel.get_by_label(field).press("Enter")
        for form in ("PNG", "SVG"):
            learn.get_by_role("radio", name=form).click()
            for name in charts:
                found = chart(panel, f"{name}_{form.lower()}")
                download, path = saved(learn, camera(found))
                assert download.suggested_filename == f"{name}.{form.lower()}"
                if form == "PNG":
                    whole_png(path)
                else:
                    root = ET.parse(path).getroot()
                    assert root.tag.endswith("svg") and len(list(root.iter())) > 50
        assert panel.locator(".js-plotly-plot").count() == len(charts), "every chart of the part is in the list"
        for name in charts:
            table, path = saved(learn, panel.locator(f".st-key-csv_{name} button"))
            frame = pd.read_csv(path)
            assert table.suggested_filename == f"{name}.csv" and len(frame) > 0 and len(frame.columns) >= 3
            sheet, path = saved(learn, panel.locator(f".st-key-learn_html_{name} button"))
            assert sheet.suggested_filename == f"{name}.html"
            kept = path.with_suffix(".html")
            path.rename(kept)
            text = kept.read_text()
            assert text.rstrip().endswith("</html>") and "<script src=" not in text and "Plotly.newPlot" in text
            if name in ("figure-1", "landscape-plane"):
                tab = offline.new_page()
                tab.goto(kept.as_uri())
                expect(tab.locator(".js-plotly-plot .main-svg").first).to_be_visible(timeout=MINUTE)
                tab.close()
    offline.close()


def test_large_type_is_larger_and_nothing_runs_over_the_side(learn: Page) -> None:
    small = learn.get_by_text("Why flat minima make").evaluate("e => parseFloat(getComputedStyle(e).fontSize)")
    learn.get_by_text("Large type").click()
    settle(learn)
    learn.set_viewport_size({"width": 1920, "height": 1080})
    large = learn.get_by_text("Why flat minima make").evaluate("e => parseFloat(getComputedStyle(e).fontSize)")
    assert large >= 1.3 * small
    for title in PARTS.values():
        panel = part(learn, title)
        main = learn.get_by_test_id("stMain")
        assert main.evaluate("e => e.scrollWidth <= e.clientWidth + 1"), title
        for formula in panel.locator(".katex-display").all():
            assert formula.evaluate(
                "e => [...e.querySelectorAll('.base')].every(b => b.getBoundingClientRect().right <= innerWidth - 20)"
            ), title
