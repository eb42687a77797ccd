"""The review in a real browser: rapid keys all land on disk, and a fresh browser goes on where the last one stopped."""

from __future__ import annotations

import io
import json
import sqlite3
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from app_server import Server, screenshot
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect
from review_gallery import decisions, ids, open_review, saved
from score_files import write_score_file

from fvm_core.data.dataset import DatasetSpec, LabeledImages
from fvm_core.data.registry import add_dataset, open_named

pytestmark = pytest.mark.browser
DECIDED = {"a": "accept", "k": "keep", "s": "skip", "u": "undo", "5": "pick"}


@pytest.fixture(scope="module")
def dataset(server: Server) -> LabeledImages:
    """The digits demo with made-up scores: the true label is the best supported one."""
    add_dataset(server.workspace, "digits", DatasetSpec("digits", label="noisy"))
    digits = open_named(server.workspace, "digits")
    assert digits.clean_labels is not None
    n = len(digits)
    scores = np.random.default_rng(0).lognormal(0, 2, (n, 10))
    scores[np.arange(n), digits.clean_labels] *= 1e-4
    exact = scores.argsort(axis=1).argsort(axis=1) < 6
    exact[np.arange(n), digits.labels] = True
    write_score_file(server.workspace.scores / "digits-fvm" / "influence.parquet", digits, scores, exact=exact)
    write_score_file(server.workspace.scores / "digits-fvm" / "loss.parquet", digits, scores**0.3, method="loss")
    return digits


def test_sixty_keys_at_twenty_a_second_all_land(
    server: Server, dataset: LabeledImages, page: Page, browser: Browser
) -> None:
    grid = open_review(server, page)
    expect(grid).to_be_focused()
    screenshot(page, "review-start")
    first_page = ids(grid)
    assert len(first_page) == 24
    keys = ("aak5as" * 10)[:60]
    start = time.monotonic()
    for number, key in enumerate(keys):
        time.sleep(max(0.0, start + number * 0.05 - time.monotonic()))
        page.keyboard.press(key)
    rate = 59 / (time.monotonic() - start)
    saved(page)
    expect(grid).to_be_focused()
    expect(page.locator(".place")).to_contain_text("Page 3 of 55 · image 61 of 1,297")
    screenshot(page, "review-after-60-keys")

    stored = decisions(server)
    assert [decision.action for decision in stored] == [DECIDED[key] for key in keys], f"at {rate:.1f} keys a second"
    assert [decision.seq for decision in stored] == list(range(1, 61))
    order = np.argsort(-np.asarray(_suspicion(server)), kind="stable")[:60]
    assert [decision.sample for decision in stored] == dataset.ids[order].tolist()
    assert [decision.sample for decision in stored[:24]] == first_page
    for decision, row in zip(stored, order, strict=True):
        assert decision.given == dataset.labels[row]
        wanted = {"accept": decision.suggested, "pick": 5}.get(decision.action, decision.given)
        assert decision.label == wanted and decision.method == "influence" and decision.score is not None

    fresh = browser.new_context(viewport={"width": 1366, "height": 768})
    try:
        again = fresh.new_page()
        grid = open_review(server, again)
        expect(again.locator(".figure").first).to_have_text("60decided")
        expect(again.locator(".place")).to_contain_text("image 1 of 1,237")
        assert not set(ids(grid)) & {decision.sample for decision in stored}
        again.keyboard.press("u")
        saved(again)
        expect(again.locator(".figure").first).to_have_text("59decided")
    finally:
        fresh.close()
    undo = decisions(server)[-1]
    assert (undo.action, undo.sample, undo.undoes) == ("undo", stored[-1].sample, stored[-1].number)


def _suspicion(server: Server) -> list[float]:
    table = pq.read_table(server.workspace.scores / "digits-fvm" / "influence.parquet", columns=["suspicion"])
    return list(table["suspicion"].to_pylist())


@pytest.mark.parametrize("gap", [50, 0], ids=["every 50 ms", "all at once"])
def test_sixty_keys_timed_by_the_browser_all_land(
    server: Server, dataset: LabeledImages, page: Page, gap: int, record_property: Callable[[str, object], None]
) -> None:
    """The page's own clock sets the pace, so that a slow test machine cannot slow the keys down."""
    grid = open_review(server, page)
    before = len(decisions(server))
    keys = ("kas" * 20)[:60]
    took = grid.evaluate(
        """async (grid, [keys, gap]) => {
            const start = performance.now();
            for (const [number, key] of [...keys].entries()) {
                const wait = start + number * gap - performance.now();
                if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
                grid.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, composed: true }));
            }
            return performance.now() - start;
        }""",
        [keys, gap],
    )
    record_property("milliseconds", took)
    print(f"60 keys in {took:.0f} ms")
    expect(page.locator(".place")).to_contain_text("Page 3 of", timeout=60_000)
    saved(page)
    new = decisions(server)[before:]
    assert [decision.action for decision in new] == [DECIDED[key] for key in keys]
    assert len({decision.sample for decision in new}) == 60
    assert [decision.seq for decision in new] == list(range(1, 61))


def test_keys_move_pick_by_name_and_undo(server: Server, dataset: LabeledImages, page: Page) -> None:
    grid = open_review(server, page)
    before = len(decisions(server))
    shown = ids(grid)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    current = grid.locator('[aria-selected="true"]')
    columns = grid.evaluate("grid => getComputedStyle(grid).gridTemplateColumns.split(' ').length")
    expect(current).to_have_attribute("data-id", shown[1 + columns])
    page.keyboard.press("p")
    expect(page.get_by_role("combobox", name="Class name")).to_be_focused()
    page.keyboard.type("8")
    screenshot(page, "review-pick")
    page.keyboard.press("Enter")
    expect(grid).to_be_focused()
    picked = grid.locator(f'[data-id="{shown[1 + columns]}"]')
    expect(picked).to_have_attribute("data-state", "saved", timeout=20_000)
    expect(picked).to_contain_text("✎ 8")
    expect(current).to_have_attribute("data-id", shown[2 + columns])
    page.keyboard.press("u")
    expect(picked).to_have_attribute("data-state", "undecided", timeout=20_000)
    expect(current).to_have_attribute("data-id", shown[1 + columns])
    page.keyboard.press("PageDown")
    expect(page.locator(".place")).to_contain_text("Page 2")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".place")).to_contain_text("Page 1")
    assert [d.action for d in decisions(server)[before:]] == ["pick", "undo"]
    # Letters typed into the picker are Streamlit's own shortcuts elsewhere (c: clear caches, r: rerun).
    page.keyboard.press("p")
    page.keyboard.type("crc")
    expect(page.get_by_role("combobox", name="Class name")).to_have_value("crc")
    expect(page.get_by_role("dialog", name="Pick a class by name")).to_contain_text("No class has this name.")
    page.keyboard.press("Escape")
    expect(grid).to_be_focused()
    assert page.get_by_text("Clear caches").count() == 0


def test_nothing_is_saved_before_it_is_on_disk(server: Server, dataset: LabeledImages, page: Page) -> None:
    """While another program holds the write lock, cards say `saving`; when it lets go they say `saved`."""
    grid = open_review(server, page)
    shown = ids(grid)
    before = len(decisions(server))
    blocker = sqlite3.connect(server.workspace.root / "review.sqlite", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    try:
        page.keyboard.press("k")
        page.keyboard.press("a")
        card = grid.locator(f'[data-id="{shown[0]}"]')
        expect(card).to_have_attribute("data-state", "saving")
        page.wait_for_timeout(3000)
        expect(card).to_have_attribute("data-state", "saving")
        expect(page.locator(".saving")).to_contain_text("Saving 2")
        assert len(decisions(server)) == before
    finally:
        blocker.execute("ROLLBACK")
        blocker.close()
    expect(card).to_have_attribute("data-state", "saved", timeout=30_000)
    saved(page)
    assert [d.action for d in decisions(server)[before:]] == ["keep", "accept"]


def test_labels_come_home_through_the_browser(server: Server, dataset: LabeledImages, page: Page) -> None:
    open_review(server, page)
    page.get_by_role("button", name="Write CSV and Parquet").click()
    with page.expect_download(timeout=60_000) as started:
        page.get_by_role("button", name="CSV", exact=True).click()
    table = pd.read_csv(started.value.path(), keep_default_na=False, dtype={"id": str})
    assert table["id"].tolist() == dataset.ids.tolist()
    changed = table.loc[table["label"] != table["given_label"], "id"]
    assert len(changed) and set(changed) <= {d.sample for d in decisions(server) if d.action in ("accept", "pick")}


def test_words_from_files_stay_words(server: Server, dataset: LabeledImages, page: Page) -> None:
    """Class names with markup run no script, an unreadable image is named, and more than ten classes can be typed."""
    names = ['<img src=x onerror="window.hacked=1">', "</style><script>window.hacked=1</script>"]
    names += [f"class {k}" for k in range(10)]
    picture = io.BytesIO()
    Image.new("RGB", (300, 200), (200, 60, 0)).save(picture, "JPEG")
    images = [picture.getvalue()] * 35 + [b"no image at all"]
    path = server.workspace.root / "hostile.parquet"
    pq.write_table(pa.table({"image": images, "label": names * 3}), path)
    add_dataset(server.workspace, "hostile", DatasetSpec("parquet", path=str(path), image="image", label="label"))
    hostile = open_named(server.workspace, "hostile")
    scores = np.random.default_rng(0).lognormal(0, 2, (36, 12))
    scores[35] = 1e6
    write_score_file(server.workspace.scores / "hostile" / "influence.parquet", hostile, scores, name="hostile")

    open_review(server, page)
    page.get_by_role("combobox", name="Scores").click()
    page.get_by_role("option", name="hostile · FVM").click()
    page.get_by_role("button", name="Start the review").click()
    grid = page.get_by_role("listbox", name="Images in order of suspicion")
    expect(grid.locator(f'[data-id="{hostile.ids[35]}"]')).to_be_visible(timeout=60_000)
    expect(grid.locator(".noimage")).to_have_count(1)
    expect(grid.locator(".labels", has_text="onerror").first).to_be_visible()
    before = len(decisions(server))
    grid.focus()
    page.keyboard.press("a")
    page.keyboard.press("p")
    page.keyboard.type("class 9")
    page.keyboard.press("Enter")
    saved(page)
    screenshot(page, "review-hostile")
    first, second = decisions(server)[-2:]
    assert len(decisions(server)) == before + 2
    assert first.action == "accept" and second.action == "pick"
    assert second.label == hostile.class_names.index("class 9")
    assert page.evaluate("window.hacked") is None


def test_a_tab_closed_too_soon_delivers_later(
    server: Server, dataset: LabeledImages, context: BrowserContext, page: Page
) -> None:
    open_review(server, page)
    before = len(decisions(server))
    page.evaluate("WebSocket.prototype.send = () => {}")
    page.keyboard.press("s")
    page.keyboard.press("s")
    kept = page.evaluate("Object.entries(localStorage).filter(([k]) => k.startsWith('fvm-review:')).map(([, v]) => v)")
    assert sum(len(json.loads(value)) for value in kept) == 2
    page.close()
    again = context.new_page()
    open_review(server, again)
    saved(again)
    expect(again.locator(".saving")).to_have_text("All saved")
    again.wait_for_timeout(500)
    assert [d.action for d in decisions(server)[before:]] == ["skip", "skip"]
    left = again.evaluate("Object.keys(localStorage).filter((key) => key.startsWith('fvm-review:')).length")
    assert left == 0
