"""A server of the app's own and a real Chromium. `server` has a fresh workspace for each test module."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from app_server import PATIENCE, ROOT, Server, screenshot
from playwright.sync_api import Browser, BrowserContext, Error, Page, expect, sync_playwright

from fvm_core.workspace import Workspace

CHROMIUM = ("/usr/bin/chromium", "/usr/bin/google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking"]
VIEWPORT = {"width": 1366, "height": 768}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until_healthy(url: str, process: subprocess.Popen[bytes], log: Path, *, seconds: float = 120) -> None:
    for _ in range(int(seconds * 5)):
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{url}/_stcore/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    pytest.fail(f"the app did not start:\n{log.read_text(errors='replace')[-4000:]}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app on a free port of this machine, stopped when the module's tests are done."""
    root = tmp_path_factory.mktemp("studio")
    log = root / "server.log"
    workspace = Workspace(root / "home")
    workspace.root.mkdir()
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    command += ["--server.headless", "true", "--server.fileWatcherType", "none"]
    environment = os.environ | {"FVM_STUDIO_HOME": str(workspace.root)}
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_healthy(url, process, log)
        yield Server(url, workspace, log)
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


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
