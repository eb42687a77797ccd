"""Layout in a real browser: nothing is cut on half a screen, and nothing jumps while one reviews."""

from __future__ import annotations

import numpy as np
import pytest
from app_pages import add_digits, add_model
from app_server import Server, settle
from playwright.sync_api import Page, expect
from review_gallery import open_review
from score_files import write_score_file

from fvm_core.data.registry import open_named

pytestmark = pytest.mark.browser

CUT = """() => [...document.querySelectorAll('[data-testid="stMain"] *')].filter((one) => {
  const wide = one.offsetParent && one.clientWidth > 0 && one.scrollWidth > one.clientWidth + 1;
  const ends = getComputedStyle(one).textOverflow === "ellipsis" && getComputedStyle(one).overflowX !== "visible";
  return wide && (ends || one.closest('[data-testid="stButtonGroup"]'));
}).map((one) => one.innerText)"""
LINES = """(heading) => {
  const walker = document.createTreeWalker(heading, NodeFilter.SHOW_TEXT);
  const range = document.createRange();
  range.selectNodeContents(walker.nextNode());
  return new Set([...range.getClientRects()].map((box) => Math.round(box.bottom))).size;
}"""


@pytest.fixture(scope="module")
def scored(server: Server) -> Server:
    add_digits(server.workspace)
    add_model(server.workspace, "digits-base", "base")
    digits = open_named(server.workspace, "digits")
    assert digits.clean_labels is not None
    scores = np.random.default_rng(0).lognormal(0, 1, (len(digits), 10))
    scores[np.arange(len(digits)), digits.clean_labels] = 1e-3
    write_score_file(server.workspace.scores / "digits-fvm" / "influence.parquet", digits, scores)
    return server


def top(page: Page, selector: str) -> float:
    box = page.locator(selector).first.bounding_box()
    assert box is not None
    return box["y"]


def test_the_first_screen_of_the_review_begins_at_the_top(scored: Server, page: Page) -> None:
    scored.goto(page, "review")
    start = page.get_by_role("button", name="Start the review")
    expect(start).to_be_visible()
    settle(page)
    assert top(page, "h1") < 150 and top(page, ".st-key-review_scores") < 150


def test_on_half_a_screen_no_label_and_no_figure_is_cut(scored: Server, page: Page) -> None:
    page.set_viewport_size({"width": 900, "height": 768})
    open_review(scored, page)
    columns = page.locator(".grid").evaluate("(grid) => getComputedStyle(grid).gridTemplateColumns.split(' ').length")
    assert columns >= 5
    for name, sign in {
        "review": ".card",
        "load": '[data-testid="stMetric"]',
        "tune": ".st-key-start_tuning",
        "score": ".st-key-score_start",
        "noise": '[class*="st-key-noise_pair"]',
        "generation": 'button:has-text("Make pairs")',
    }.items():
        scored.goto(page, name)
        expect(page.locator(sign).first).to_be_visible()
        settle(page)
        assert page.evaluate(CUT) == [], name
        assert page.locator("h1").evaluate(LINES) == 1, name


@pytest.mark.parametrize("width", [1366, 1150, 900, 400])
def test_the_gallery_stays_where_it_is_while_one_works(scored: Server, page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 1400})
    grid = open_review(scored, page)
    grid.focus()
    said, begin = page.locator(".notice"), top(page, ".card")
    for key, words in (("a", ""), ("u", "Undone"), ("s", ""), ("u", "Undone"), ("ArrowRight", "")):
        page.keyboard.press(key)
        expect(said).to_contain_text(words) if words else expect(said).to_be_empty()
        assert top(page, ".card") == begin, key
    expect(page.locator(".saving")).to_have_text("All saved")
    page.locator(".figure b").evaluate_all("(all) => all.forEach((one) => { one.textContent = '12,345'; })")
    assert top(page, ".card") == begin
    wide = page.locator(".gallery").evaluate("(one) => one.scrollWidth - one.clientWidth")
    assert wide <= 0, "nothing is cut off at the side"


def test_the_counts_say_of_what_they_are(scored: Server, page: Page) -> None:
    """A list of its own, so what is left in it is not all that is undecided; the skipped one is not in the share."""
    grid = open_review(scored, page)
    page.get_by_role("button", name="More").click()
    page.get_by_role("spinbutton", name="Only the k most suspicious").fill("5")
    page.keyboard.press("Enter")
    expect(grid.get_by_role("option")).to_have_count(5)
    page.keyboard.press("Escape")
    grid.focus()
    for key in "aks":
        page.keyboard.press(key)
    counts = page.locator(".figure")
    expect(counts).to_have_text(["3decided", "50 %accepted, skips aside", "1changed", "2left in this list"])
    for _ in range(3):
        page.keyboard.press("u")
    expect(counts.first).to_have_text("0decided")


def test_e_brings_the_heading_below_the_app_s_header(scored: Server, page: Page) -> None:
    grid = open_review(scored, page)
    grid.focus()
    page.keyboard.press("e")
    expect(page.locator(".st-key-review_explain")).to_contain_text("What each method says of it")
    expect(page.locator(".notice")).to_contain_text("Below the gallery")
    settle(page)
    header = page.get_by_test_id("stHeader").bounding_box()
    assert header is not None
    assert header["y"] + header["height"] <= top(page, "#explain") < 200


def test_a_number_out_of_range_says_that_it_is_not_used(scored: Server, page: Page) -> None:
    scored.goto(page, "score")
    field = page.get_by_role("spinbutton", name="Damping").first
    said = "(one) => getComputedStyle(one.closest('[data-testid=\"stNumberInput\"]'), '::after').content"
    assert field.evaluate(said) == "none"
    field.fill("-1")
    field.press("Tab")
    expect(field).to_have_attribute("aria-invalid", "true")
    assert "not used" in field.evaluate(said)
