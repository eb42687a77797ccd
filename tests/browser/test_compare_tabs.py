"""Compare's tabs in a real browser: what was set in one is still set, and meant, when a person comes back to it."""

from __future__ import annotations

import re

import pytest
from app_server import PATIENCE, Server, settle
from invented_scores import invent, write_run
from playwright.sync_api import Locator, Page, expect

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def compared(server: Server) -> Server:
    for role in ("base", "vm", "fvm"):
        write_run(server.workspace, f"m-{role}", invent(400), role=role)
    return server


def tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def thumb(page: Page) -> Locator:
    return page.get_by_test_id("stSliderThumbValue").first


def test_what_was_set_in_a_tab_holds_after_a_look_at_another(compared: Server, page: Page) -> None:
    compared.goto(page, "compare")
    tab(page, "Detection")
    column = page.locator("th", has_text="Precision@")
    expect(column).to_be_visible(timeout=PATIENCE)
    before = column.inner_text()
    page.get_by_role("slider").first.focus()
    page.keyboard.press("ArrowLeft")
    expect(column).not_to_have_text(before)
    chosen = column.inner_text()
    expect(thumb(page)).to_have_text(re.search(r"@([\d,]+)", chosen)[1])  # type: ignore[index]
    tab(page, "Agreement")
    expect(page.get_by_text("Rank correlation")).to_be_visible()
    tab(page, "Detection")
    expect(column).to_have_text(chosen)
    expect(thumb(page)).to_have_text(re.search(r"@([\d,]+)", chosen)[1])  # type: ignore[index]


def test_a_histogram_tells_its_bin_and_violins_stay_violins(compared: Server, page: Page) -> None:
    """All charts of the tab share one pair of axes: each still has its title, and a hover names bin and group."""
    compared.goto(page, "compare")
    chart = page.locator(".js-plotly-plot")
    expect(chart.locator("text", has_text="VM · Posterior").first).to_be_visible(timeout=PATIENCE)
    box = chart.locator(".js-fill").first.bounding_box()
    assert box is not None
    # Of all charts the first one's left half: somewhere there a bin's outline is near.
    named = chart.locator(".hoverlayer .hovertext")
    for step in range(40):
        page.mouse.move(box["x"] + 4 + 3 * step, box["y"] + 60 + 2 * step)
        page.wait_for_timeout(40)
        if named.count():
            break
    expect(named.first).to_contain_text(re.compile(r" to .*: \d+\.\d\d%"))
    page.get_by_role("radio", name="Violins").click()
    expect(page.get_by_text("points are medians")).to_be_visible()
    tab(page, "Agreement")
    expect(page.get_by_text("Rank correlation")).to_be_visible()
    tab(page, "Distributions")
    expect(page.get_by_text("points are medians")).to_be_visible()
    expect(page.get_by_role("radio", name="Violins")).to_be_checked()


OVERLAPS = """chart => {
  const words = [...chart.querySelectorAll('.textpoint text, .legendtext, .ytitle, .modebar-group')]
    .map(e => [e.textContent, e.getBoundingClientRect()]).filter(([, box]) => box.width);
  const over = chart.getBoundingClientRect(), found = [];
  words.forEach(([name, a], at) => {
    if (a.left < over.left - 1 || a.right > over.right + 1) found.push(`${name} is cut`);
    words.slice(at + 1).forEach(([other, b]) => {
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (wide > 2 && high > 5) found.push(`${name} on ${other}`);
    });
  });
  return found;
}"""


@pytest.mark.parametrize("width", [400, 900, 1366])
def test_words_of_the_distributions_stand_apart_on_a_page_of_any_width(
    compared: Server, page: Page, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    compared.goto(page, "compare")
    chart = page.locator(".js-plotly-plot")
    expect(chart.locator("text", has_text="VM · Posterior").first).to_be_visible(timeout=PATIENCE)
    page.wait_for_timeout(2000)
    settle(page)
    chart.locator(".main-svg").first.hover(position={"x": 100, "y": 200})
    for shape in ("Histograms", "Violins"):
        page.get_by_role("radio", name=shape).click()
        page.wait_for_timeout(2000)
        settle(page)
        assert chart.evaluate(OVERLAPS) == [], shape
