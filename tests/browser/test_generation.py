"""The Generation page in a real browser: verdicts by key reach the log in order, nothing of a file runs, all fits."""

from __future__ import annotations

import pytest
from app_server import PATIENCE, Server, screenshot, settle
from pair_score_files import HOSTILE, invented
from playwright.sync_api import Page, expect

from fvm_core.generation.pairs import PairSet
from fvm_core.review.log import DecisionLog
from fvm_core.review.session import list_sessions, open_session

pytestmark = pytest.mark.browser
KEYS = "aaksuakskaau"
MEANS = {"a": "accept", "k": "keep", "s": "skip", "u": "undo"}


@pytest.fixture(scope="module")
def training(server: Server) -> PairSet:
    pairs, _ = invented(server.workspace)
    log = DecisionLog(server.workspace.review_url)
    open_session(log, name="First pass", reviewer="Ada", dataset="demo-train", fingerprint=pairs.fingerprint)
    log.close()
    return pairs


def open_tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name).click()
    settle(page)


def fits(page: Page) -> bool:
    """Say whether the page's main part can be seen without scrolling to the side."""
    return bool(
        page.evaluate("(e => e.scrollWidth <= e.clientWidth + 1)(document.querySelector('[data-testid=stMain]'))")
    )


def test_rapid_keys_are_on_disk_in_their_order(server: Server, page: Page, training: PairSet) -> None:
    server.goto(page, "generation")
    open_tab(page, "Wrong pairs")
    rows = page.locator(".pair-review .row")
    expect(rows).to_have_count(len(training), timeout=PATIENCE)
    page.locator(".pair-review .list").focus()
    for key in KEYS:
        page.keyboard.press(key)
    expect(page.locator(".pair-review .saving")).to_have_text("all saved", timeout=PATIENCE)
    log = DecisionLog(server.workspace.review_url)
    session = list_sessions(log, fingerprint=training.fingerprint)[0].id
    decisions = log.read(session)
    assert [one.action for one in decisions] == [MEANS[key] for key in KEYS]
    states = log.replay(session).states()
    words = page.locator(".pair-review .counts").inner_text()
    wrong, right, skipped = (sum(one.action == name for one in states.values()) for name in ("accept", "keep", "skip"))
    assert words == f"{wrong} wrong · {right} right · {skipped} skipped · {len(training) - len(states)} left"
    screenshot(page, "generation-wrong-pairs")
    page.locator(".pair-review .do-accept").click()
    expect(page.locator(".pair-review .saving")).to_have_text("all saved", timeout=PATIENCE)
    assert len(log.read(session)) == len(KEYS) + 1
    log.close()
    server.goto(page, "generation")
    open_tab(page, "Wrong pairs")
    expect(rows).to_have_count(len(training) - len(states) - 1, timeout=PATIENCE)
    assert fits(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_tab_fits_and_no_word_of_a_file_runs(server: Server, page: Page, training: PairSet, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    server.goto(page, "generation")
    for name, seen in (
        ("Models and pairs", "Pairs of prompt and target"), ("Tune", "no base model"), ("Scores", "Scores by class"),
        ("Prompts", "Speak most for it"),
    ):  # fmt: skip
        open_tab(page, name)
        expect(page.get_by_text(seen).first).to_be_visible(timeout=PATIENCE)
        settle(page)
        screenshot(page, f"generation-{name.split()[0].lower()}-{scheme}")
        assert fits(page), name
    expect(page.locator(".fvm-pair", has_text=HOSTILE).first).to_be_visible()
    assert page.title() != "1" and page.locator("img[src=x]").count() == 0
