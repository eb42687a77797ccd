"""The running app as browser tests see it: `from app_server import Server, running_app, screenshot, settle`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Page

from fvm_core.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120_000
"""Milliseconds to wait for the app on a machine that is busy with other work."""
ARTIFACTS = ROOT / "tests" / "artifacts"


@dataclass(frozen=True)
class Server:
    """A running app: its address and the workspace it reads and writes."""

    url: str
    workspace: Workspace
    log: Path

    def goto(self, page: Page, path: str = "") -> None:
        """Open a page of the app and wait until Streamlit has drawn it."""
        page.goto(f"{self.url}/{path}", wait_until="domcontentloaded", timeout=PATIENCE)
        page.wait_for_selector('[data-testid="stMain"]', timeout=PATIENCE)
        settle(page)


@contextmanager
def running_app(
    root: Path, *, options: Sequence[str] = (), environment: Mapping[str, str] | None = None, port: int = 0
) -> Iterator[Server]:
    """Run the app with the workspace `root`/home on a free port of this machine (or on `port`), stopped at the end.

    `options` go to `streamlit run`, `environment` is laid over this process's own.
    """
    log, workspace, port = root / "server.log", Workspace(root / "home"), port or free_port()
    workspace.root.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    command += ["--server.headless", "true", "--server.fileWatcherType", "none", *options]
    around = os.environ | {"FVM_STUDIO_HOME": str(workspace.root), **(environment or {})}
    with log.open("ab") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=around, stdout=output, stderr=subprocess.STDOUT)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_healthy(url, process, log)
        yield Server(url, workspace, log)
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_until_healthy(url: str, process: subprocess.Popen[bytes], log: Path, *, seconds: float = 120) -> None:
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


def settle(page: Page, *, timeout: float = PATIENCE) -> None:
    """Wait until no script run is under way."""
    page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]', timeout=timeout)


def screenshot(page: Page, name: str, *, full: bool = False) -> Path:
    """Keep a picture of the page as tests/artifacts/NAME.png."""
    ARTIFACTS.mkdir(exist_ok=True)
    path = ARTIFACTS / f"{name}.png"
    page.screenshot(path=path, full_page=full)
    return path
