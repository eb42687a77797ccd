"""The running app as browser tests see it: `from app_server import Server, screenshot, settle`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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


def settle(page: Page, *, timeout: float = PATIENCE) -> None:
    """Wait until no script run is under way."""
    page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]', timeout=timeout)


def screenshot(page: Page, name: str, *, full: bool = False) -> Path:
    """Keep a picture of the page as tests/artifacts/NAME.png."""
    ARTIFACTS.mkdir(exist_ok=True)
    path = ARTIFACTS / f"{name}.png"
    page.screenshot(path=path, full_page=full)
    return path
