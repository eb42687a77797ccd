"""The report in a real browser: charts are drawn in light and dark, and a hostile dataset runs nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from fvm_core.workspace import Workspace

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from hostile import SCRIPT, dataset
from test_report import made, reviewed, scored

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_charts_are_drawn_and_nothing_of_the_data_runs(workspace: Workspace, browser: Browser, scheme: str) -> None:
    found = scored(workspace, dataset(workspace.root))
    made(workspace, session=reviewed(workspace, found))
    page = browser.new_page(color_scheme=scheme)  # type: ignore[arg-type]
    asked: list[str] = []
    troubles: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.goto(f"file://{workspace.exports / 'r.html'}")
    page.wait_for_selector("body[data-drawn=yes]", timeout=60_000)
    assert page.evaluate("window.hacked") is None and troubles == []
    assert page.locator(".plot .main-svg").count() >= 2
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    page.evaluate(
        f"document.body.insertAdjacentHTML('beforeend', {('<img src=x onerror=window.hacked=1>' + SCRIPT)!r})"
    )
    page.wait_for_timeout(300)
    assert page.evaluate("window.hacked") is None, "the policy stops markup even where escaping would fail"
    page.close()
