"""The key E in a real browser: the panel below the gallery takes the image, and the review goes on."""

from __future__ import annotations

import numpy as np
import pytest
from app_server import Server, screenshot
from playwright.sync_api import Page, expect
from score_files import write_score_file

from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.registry import add_dataset, open_named

pytestmark = pytest.mark.browser


def test_e_picks_the_image_in_focus_and_deciding_goes_on(server: Server, page: Page) -> None:
    add_dataset(server.workspace, "digits", DatasetSpec("digits", label="noisy"))
    digits = open_named(server.workspace, "digits")
    scores = np.random.default_rng(0).lognormal(0, 2, (len(digits), 10))
    write_score_file(server.workspace.scores / "digits-fvm" / "influence.parquet", digits, scores)
    server.goto(page, "review")
    page.get_by_role("button", name="Start the review").click()
    grid = page.get_by_role("listbox", name="Images in order of suspicion")
    expect(grid.get_by_role("option").first).to_be_visible()
    expect(grid).to_be_focused()
    panel = page.locator(".st-key-review_explain")
    expect(panel).to_contain_text("on an image of the gallery")
    ids = [card.get_attribute("data-id") or "" for card in grid.get_by_role("option").all()]
    page.keyboard.press("e")
    expect(panel).to_contain_text(ids[0])
    expect(panel.get_by_role("button", name="Explain this image")).to_be_visible()
    expect(grid).to_be_focused()
    page.keyboard.press("k")
    page.keyboard.press("e")
    expect(panel).to_contain_text(ids[1])
    expect(page.locator(".saving")).to_have_text("All saved")
    page.get_by_role("button", name="E Explain", exact=True).click()
    expect(panel).to_contain_text(ids[1])
    screenshot(page, "review-explain", full=True)
