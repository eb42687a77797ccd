"""The whole main job in a real browser, on the built-in demo: from the click to corrected labels."""

from __future__ import annotations

import pandas as pd
import pytest
from app_server import Server, screenshot, settle
from playwright.sync_api import Page, expect

from fvm_core.data.registry import list_datasets, open_named
from fvm_core.influence.store import list_runs
from fvm_core.jobs.status import list_jobs
from fvm_core.models.store import list_models

pytestmark = pytest.mark.browser
MINUTES = 60_000
TABS = {
    "Distributions": ".js-plotly-plot",
    "Detection": "table",
    "Tuning snapshots": ".js-plotly-plot",
    "Agreement": ".js-plotly-plot",
    "Disagreement": "img",
}


def test_demo_from_the_click_to_scores(server: Server, page: Page) -> None:
    server.goto(page)
    page.get_by_role("button", name="Try the demo").click()
    expect(page.get_by_role("link", name="Compare the methods")).to_be_visible(timeout=12 * MINUTES)
    settle(page)
    screenshot(page, "main-1-home")
    assert [job.state for job in list_jobs(server.workspace)] == ["done"]
    assert {record.role for record in list_models(server.workspace).values()} == {"base", "vm", "fvm"}


def test_compare_shows_every_tab(server: Server, page: Page) -> None:
    server.goto(page, "compare")
    for number, (name, content) in enumerate(TABS.items()):
        page.get_by_role("tab", name=name, exact=True).click()
        part = page.locator(f".st-key-compare_part_{number}")
        expect(part.locator(content).first).to_be_visible(timeout=2 * MINUTES)
        settle(page)
        expect(page.locator('[data-testid="stException"]')).to_have_count(0)
        screenshot(page, f"main-2-compare-{number}", full=True)


def test_tune_draws_live_curves(server: Server, page: Page) -> None:
    server.goto(page, "tune")
    page.get_by_text("Settings", exact=True).first.click()
    page.get_by_label("Steps", exact=True).first.fill("40")
    page.get_by_label("Steps", exact=True).first.press("Enter")
    settle(page)
    page.get_by_role("button", name="Start tuning").click()
    expect(page.get_by_test_id("stVegaLiteChart").first).to_be_visible(timeout=3 * MINUTES)
    for _ in range(600):
        newest = list_jobs(server.workspace)[0]
        if newest.kind == "tune" and not newest.active:
            break
        page.wait_for_timeout(500)
    assert (newest.kind, newest.state) == ("tune", "done")
    expect(page.get_by_text("digits-fvm-2").first).to_be_visible(timeout=MINUTES)
    screenshot(page, "main-3-tune", full=True)


def test_review_exports_and_the_corrected_labels_load_again(server: Server, page: Page) -> None:
    server.goto(page, "review")
    page.get_by_role("button", name="Start the review").click()
    grid = page.get_by_role("listbox", name="Images in order of suspicion")
    expect(grid.get_by_role("option").first).to_be_visible(timeout=2 * MINUTES)
    expect(grid).to_be_focused()
    for key in "aaaaaaks":
        page.keyboard.press(key)
    expect(page.locator(".saving")).to_have_text("All saved", timeout=MINUTES)
    screenshot(page, "main-4-review")

    page.get_by_role("button", name="Write CSV and Parquet").click()
    expect(page.get_by_role("button", name="CSV", exact=True)).to_be_visible(timeout=MINUTES)
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV", exact=True).click()
    frame = pd.read_csv(download.value.path(), keep_default_na=False)
    noisy = open_named(server.workspace, "digits")
    assert frame["id"].tolist() == noisy.ids.tolist()
    assert frame["action"].value_counts().to_dict() == {"": len(noisy) - 8, "accept": 6, "keep": 1, "skip": 1}
    assert set(frame["dataset_fingerprint"]) == {noisy.fingerprint}

    page.get_by_role("button", name="Use as dataset").click()
    expect(page.get_by_text("digits-corrected").first).to_be_visible(timeout=MINUTES)
    settle(page)
    assert "digits-corrected" in list_datasets(server.workspace)
    corrected = open_named(server.workspace, "digits-corrected")
    accepted = (frame["action"] == "accept").to_numpy()
    assert (corrected.labels == frame["label"].to_numpy()).all()
    assert (corrected.labels[accepted] != noisy.labels[accepted]).all()
    truth = noisy.clean_labels
    assert truth is not None and (corrected.labels[accepted] == truth[accepted]).mean() > 0.5


def test_every_page_opens_in_the_dark(server: Server, page: Page) -> None:
    page.emulate_media(color_scheme="dark")
    for path in ("", "load", "tune", "score", "compare", "review", "jobs"):
        server.goto(page, path)
        expect(page.locator('[data-testid="stException"]')).to_have_count(0)
        expect(page.locator('[data-testid="stMain"] h1, [data-testid="stMain"] h2').first).to_be_visible()
        screenshot(page, f"main-5-dark-{path or 'home'}")
    assert len({info.run for info in list_runs(server.workspace)}) == 3
