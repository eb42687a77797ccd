"""Home in windows of three widths: no word is cut, neither of a step, its state nor a button."""

from __future__ import annotations

import pytest
from app_pages import add_digits, add_model, ended_job, running_job
from app_server import Server, screenshot
from playwright.sync_api import Page

from fvm_core.workspace import Workspace

CUT = """() => [...document.querySelectorAll(
    '[data-testid="stMain"] .stMarkdownBadge, [data-testid="stMain"] p, [data-testid="stMain"] button')]
  .flatMap(leaf => {
    const box = leaf.getBoundingClientRect(), hidden = [];
    for (let at = leaf; at.dataset.testid !== 'stMain'; at = at.parentElement) {
      const out = at.getBoundingClientRect();
      const clips = getComputedStyle(at).overflowX !== 'visible';
      if (clips && (at.scrollWidth > at.clientWidth + 1 || box.right > out.right + 1)) hidden.push(leaf.innerText);
    }
    return box.right > innerWidth ? [...hidden, leaf.innerText] : hidden;
  })"""
"""Texts of which a part is hidden: by an element around them that clips, or by the edge of the window."""


def prepare(workspace: Workspace) -> None:
    add_digits(workspace)
    for role in ("base", "vm"):
        add_model(workspace, f"digits-{role}", role)
    ended_job(workspace, "demo", {}, title="Demo: handwritten digits", state="done", done=9, total=9, result={})


@pytest.mark.parametrize("width", [1366, 900, 400])
def test_nothing_is_cut_on_home(server: Server, page: Page, width: int) -> None:
    if not (server.workspace.models / "digits-vm").exists():
        prepare(server.workspace)
    page.set_viewport_size({"width": width, "height": 900})
    with running_job(server.workspace, "tune", {"name": "m"}, title="Tune m (FVM · SAM)", done=1, total=10):
        server.goto(page)
        page.get_by_text("under way").wait_for()
        page.get_by_text("Run the demo again").wait_for()
        assert page.evaluate(CUT) == []
        screenshot(page, f"home-{width}", full=True)
