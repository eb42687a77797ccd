"""The review in a real browser, as its tests work it: made-up data, the gallery's grid, and what is on disk."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from app_server import Server, settle
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Locator, Page, expect
from score_files import write_score_file

from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.registry import add_dataset, open_named
from fvm_core.review.decision import Decision
from fvm_core.review.keys import read_keys
from fvm_core.review.log import DecisionLog
from fvm_core.review.session import list_sessions

GRID = "Images in order of suspicion"


def make(
    server: Server,
    name: str,
    images: list[bytes],
    names: list[str],
    given: NDArray[np.int64],
    scores: NDArray[np.float64],
) -> None:
    """Register a dataset of these images and a score file that suggests the class of the lowest score."""
    path = server.workspace.root / f"{name}.parquet"
    pq.write_table(pa.table({"image": images, "label": [names[k] for k in given]}), path)
    add_dataset(server.workspace, name, DatasetSpec("parquet", path=str(path), image="image", label="label"))
    data = open_named(server.workspace, name)
    order = [names.index(one) for one in data.class_names]
    write_score_file(server.workspace.scores / name / "influence.parquet", data, scores[:, order], name=name)


def pictures(n: int, side: int = 16, seed: int = 1) -> list[bytes]:
    """Return `n` PNG files of noise."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        out = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(out, "PNG")
        found.append(out.getvalue())
    return found


def open_review(server: Server, page: Page, scores: str | None = None) -> Locator:
    """Open the review (of one score file, where `scores` names it), start it if there is none, and return the
    gallery's grid; with `scores` the grid has the focus."""
    server.goto(page, "review")
    if scores is not None:
        choose_scores(server, page, scores)
    page.wait_for_selector('.card, button:has-text("Start the review")')
    start = page.get_by_role("button", name="Start the review")
    if start.count():
        start.click()
    grid = page.get_by_role("listbox", name=GRID)
    expect(grid.get_by_role("option").first).to_be_visible()
    settle(page)
    if scores is not None:
        grid.focus()
    return grid


def choose_scores(server: Server, page: Page, scores: str) -> None:
    """Choose a score file on the Review page, where there are several."""
    choice = page.get_by_role("combobox", name="Scores")
    choice.wait_for()
    settle(page)
    if len(list(server.workspace.scores.iterdir())) < 2 or choice.input_value() == scores:
        return
    earlier = page.locator(".card")
    shown = earlier.first.get_attribute("data-id") if earlier.count() else None
    choice.click()
    page.get_by_role("option", name=scores, exact=True).click()
    if shown is not None:  # the old list stays on the screen until the new one is there
        expect(page.locator(f'.card[data-id="{shown}"]')).to_have_count(0)
    settle(page)


def decisions(server: Server, url: str = "") -> list[Decision]:
    """Return every decision of all reviews, oldest first; `url` is the review database where it is a team's."""
    log = DecisionLog(url or server.workspace.review_url)
    try:
        found = [decision for session in list_sessions(log) for decision in log.read(session.id)]
        return sorted(found, key=lambda decision: decision.number)
    finally:
        log.close()


def holding(server: Server) -> dict[str, tuple[str, int | None]]:
    """Return {id: (action, label)} of the decisions that hold."""
    log = DecisionLog(server.workspace.review_url)
    try:
        states = [log.replay(session.id).states() for session in list_sessions(log)]
        return {sample: (one.action, one.label) for found in states for sample, one in found.items()}
    finally:
        log.close()


def keys_of(server: Server, reviewer: str) -> dict[str, str]:
    """Return a person's keys as they are on disk."""
    log = DecisionLog(server.workspace.review_url)
    try:
        return read_keys(log, reviewer)
    finally:
        log.close()


def saved(page: Page, decided: int | None = None) -> None:
    """Wait until the gallery says that all is on disk, and so many decided."""
    if decided is not None:
        expect(page.locator(".figure").first).to_have_text(f"{decided}decided")
    expect(page.locator(".saving")).to_have_text("All saved")


def ids(grid: Locator) -> list[str]:
    """Return the ids of the images on the page, in order."""
    return [card.get_attribute("data-id") or "" for card in grid.get_by_role("option").all()]
