"""A server of the app's own and a real Chromium. `server` has a fresh workspace for each test module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from app_server import PATIENCE, Server, running_app, screenshot
from playwright.sync_api import Browser, BrowserContext, Error, Page, expect, sync_playwright

CHROMIUM = ("/usr/bin/chromium", "/usr/bin/google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking"]
VIEWPORT = {"width": 1366, "height": 768}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app on a free port of this machine, stopped when the module's tests are done."""
    with running_app(tmp_path_factory.mktemp("studio")) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a window."""
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
        executable = next((path for path in (*CHROMIUM, own) if Path(path).exists()), None)
        if executable is None:
            pytest.skip(f"no browser at {', '.join(CHROMIUM)}: `bash tests/run.sh` installs one")
        running = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser profile with nothing in it, 1366 x 768."""
    fresh = browser.new_context(viewport=VIEWPORT)
    yield fresh
    fresh.close()


@pytest.fixture
def page(context: BrowserContext, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A tab; exceptions of the app's scripts fail the test, and a screenshot is kept of a test that fails."""
    tab = context.new_page()
    tab.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE / 4)
    problems: list[str] = []
    tab.on("pageerror", lambda error: problems.append(str(error)))
    failed = request.session.testsfailed
    yield tab
    if request.session.testsfailed > failed:
        try:
            screenshot(tab, f"failed-{request.node.name}")
        except Error as error:
            print(f"no screenshot: {error}")
    assert not problems, problems
