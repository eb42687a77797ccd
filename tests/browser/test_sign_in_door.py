"""Sign-in on a server that has just started: no address leads past it, and a read-only link shows its report alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from app_server import PATIENCE, Server, running_app
from playwright.sync_api import Browser

from fvm_core.report.document import Report
from fvm_core.review.shared import make_link

pytestmark = pytest.mark.browser
SECRETS = """[auth]
redirect_uri = "http://127.0.0.1/oauth2callback"
cookie_secret = "of this test alone"
client_id = "test"
client_secret = "test"
server_metadata_url = "http://127.0.0.1:1/nobody"
[fvm_studio]
allowed = ["*"]
"""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("guarded")
    (secrets := root / "secrets.toml").write_text(SECRETS)
    with running_app(root, options=["--secrets.files", str(secrets)]) as running:
        running.workspace.exports.mkdir()
        yield running


def test_the_first_address_after_a_start_is_no_way_past_the_door(guarded: Server, browser: Browser) -> None:
    for path in ("load", "review", ""):
        page = browser.new_page()
        guarded.goto(page, path)
        page.wait_for_selector("text=Sign in to go on", timeout=PATIENCE)
        page.get_by_role("button", name="Sign in").wait_for(timeout=PATIENCE)  # comes after the words
        assert page.locator('[data-testid="stSidebarNav"]').count() == 0
        assert page.locator('[data-testid="stMain"] button').all_inner_texts() == ["login\n\nSign in"]
        page.close()


def test_a_link_shows_its_report_and_no_page(guarded: Server, browser: Browser) -> None:
    report = Report("Report")
    report.section("Figures", report.figure([{"y": [1, 2]}], {}))
    path: Path = guarded.workspace.exports / "r.html"
    path.write_text(report.html(), encoding="utf-8")
    page = browser.new_page()
    guarded.goto(page, f"?view={make_link(guarded.workspace, path)}")
    page.frame_locator("iframe").locator("body[data-drawn=yes]").wait_for(timeout=PATIENCE)
    assert page.locator('[data-testid="stSidebarNav"]').count() == 0
    assert page.locator('[data-testid="stMain"] button').count() == 0
    page.close()
