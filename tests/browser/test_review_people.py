"""Two reviewers and an adjudicator, each in a browser of their own, on one log: SQLite, and a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from app_server import PATIENCE, Server, running_app, screenshot, settle
from playwright.sync_api import Browser, Locator, Page, expect
from postgres_server import postgres_server
from review_gallery import GRID, decisions, ids, make, pictures, saved
from sklearn.metrics import cohen_kappa_score

from fvm_core.data.registry import open_named
from fvm_core.review.log import DecisionLog
from fvm_core.review.session import list_sessions

pytestmark = pytest.mark.browser
N, SHARED = 24, 6
NAMES = ["ant", "bee", "cat"]


class Team:
    """One log, a server that can be started anew, and people with a browser profile each."""

    def __init__(self, root: Path, browser: Browser, url: str) -> None:
        self.root, self.browser, self.environment = root, browser, {"FVM_STUDIO_REVIEW_URL": url} if url else {}
        self.url = url or f"sqlite:///{root / 'home' / 'review.sqlite'}"
        self.server: Server
        self._running = ExitStack()

    def start(self) -> None:
        self._running.close()
        self.server = self._running.enter_context(running_app(self.root, environment=self.environment))

    def stop(self) -> None:
        self._running.close()

    def blind(self) -> frozenset[str]:
        log = DecisionLog(self.url)
        try:
            return log.assignments(list_sessions(log)[0].id).blind
        finally:
            log.close()

    def enter(self, name: str) -> Page:
        """Open the review in a fresh profile and say who one is, where that is asked."""
        page = self.browser.new_context(viewport={"width": 1366, "height": 900}).new_page()
        page.set_default_timeout(PATIENCE)
        self.server.goto(page, "review")
        page.wait_for_selector('button:has-text("Start the review"), button:has-text("Go on")')
        page.get_by_role("textbox", name="Your name").fill(name)
        page.get_by_role("button", name="Go on").or_(page.get_by_role("button", name="Start the review")).click()
        expect(page.get_by_text(f"you are {name}")).to_be_visible()
        settle(page)
        return page


@pytest.fixture(params=["sqlite", "postgresql"])
def team(request: pytest.FixtureRequest, tmp_path: Path, browser: Browser) -> Iterator[Team]:
    expect.set_options(timeout=PATIENCE / 4)
    with ExitStack() as stack:
        url = stack.enter_context(postgres_server()).new_database("team") if request.param == "postgresql" else ""
        found = Team(tmp_path, browser, url)
        stack.callback(found.stop)
        found.start()
        given = np.arange(N) % 3
        scores = np.random.default_rng(0).lognormal(0, 1, (N, 3))
        scores[np.arange(N), given] += 100 - np.arange(N)  # the suggestion is always another label
        make(found.server, "animals", pictures(N), NAMES, given, scores)
        yield found
        for context in browser.contexts:
            context.close()


def gallery(page: Page) -> Locator:
    grid = page.get_by_role("listbox", name=GRID)
    expect(grid.get_by_role("option").first).to_be_visible()
    return grid


def tab(page: Page, name: str) -> None:
    """Open a part of the panel for several reviewers."""
    panel = page.locator(".st-key-review_team")
    if not panel.get_by_role("tab", name="People", exact=True).is_visible():
        panel.get_by_text("Several reviewers").click()
    panel.get_by_role("tab", name=name, exact=True).click()
    settle(page)


def rows(page: Page) -> list[list[str]]:
    """Return the cells of the first table in the panel for several reviewers, as a screen reader gets them."""
    table = page.locator(".st-key-review_team").get_by_test_id("stDataFrame").first.locator("table[role=grid]")
    table.locator("[role=gridcell]").first.wait_for(state="attached")
    found = [row.locator("[role=gridcell]").all_text_contents() for row in table.locator("[role=row]").all()]
    return [cells for cells in found if cells]


def test_assignment_blind_opinions_a_dispute_and_its_settlement(team: Team) -> None:
    # Ada begins the review and shares it out: all images, a quarter of them to both.
    ada = team.enter("Ada")
    tab(ada, "People")
    form = ada.get_by_test_id("stForm").filter(has_text="Share out the queue above")
    form.get_by_label("Names, with commas between").fill("Ada, Bob")
    form.get_by_role("spinbutton", name="Images").fill(str(N))
    form.get_by_role("spinbutton", name="Seen by several, %").fill("25")
    form.get_by_role("button", name="Assign").click()
    expect(ada.locator(".place")).to_contain_text(f"of {(N + SHARED) // 2}")
    settle(ada)
    blind = team.blind()
    hers = ids(gallery(ada))
    assert len(blind) == SHARED and blind < set(hers) and len(hers) == (N + SHARED) // 2

    # She keeps every label of hers. Bob sees his own share, nothing of hers, and the shared images as untouched.
    gallery(ada).focus()
    ada.keyboard.press("Control+a")
    ada.keyboard.press("k")
    saved(ada, len(hers))
    bob = team.enter("Bob")
    his = ids(gallery(bob))
    assert set(his) & set(hers) == blind and set(his) | set(hers) == {*open_named(team.server.workspace, "animals").ids}
    others = len(hers) - SHARED  # what she decided in the open counts for him too
    saved(bob, others)
    assert {card.get_attribute("data-state") for card in gallery(bob).get_by_role("option").all()} == {"undecided"}
    tab(bob, "One image")
    some = sorted(blind)[0]
    bob.get_by_label("Id of the image").fill(some)
    bob.keyboard.press("Enter")
    expect(bob.get_by_text("hidden until this image's blind review is over")).to_be_visible()
    screenshot(bob, "people-blind")

    # He contradicts her on the first two of the shared images, and undoes one of his own decisions, none of hers.
    contradicted = [one for one in his if one in blind][:2]
    gallery(bob).focus()
    for sample in his:
        bob.locator(f'.card[data-id="{sample}"]').click()
        bob.keyboard.press("a" if sample in contradicted else "k")
    saved(bob, others + len(his))
    bob.keyboard.press("u")
    saved(bob, others + len(his) - 1)
    stored = decisions(team.server, team.url)
    undo = stored[-1]
    undone = next(one for one in stored if one.number == undo.undoes)
    assert (undo.reviewer, undone.reviewer, undone.sample) == ("Bob", "Bob", his[-1])
    assert sum(one.reviewer == "Ada" and one.action == "keep" for one in stored) == len(hers)
    for _ in range(len(his) + 2):
        bob.keyboard.press("u")
    saved(bob, others)
    own = [one for one in decisions(team.server, team.url) if one.action == "undo" and one.undoes is not None]
    assert len(own) == len(his) and {one.reviewer for one in own} == {"Bob"}, "undo stops at one's own first decision"
    gallery(bob).focus()
    for sample in his:
        bob.locator(f'.card[data-id="{sample}"]').click()
        bob.keyboard.press("a" if sample in contradicted else "k")
    saved(bob, others + len(his))

    # The server is started anew; a reload shows everybody their own.
    team.start()
    for page in (ada, bob):
        page.context.close()
    ada, cy = team.enter("Ada"), team.enter("Cy")
    expect(ada.locator(".figure").first).to_have_text(f"{N}decided")

    # How far they agree, by the table on the screen and by scikit-learn from the log.
    tab(cy, "Agreement")
    said = {(one.reviewer, one.sample): one.label for one in decisions(team.server, team.url) if one.action != "undo"}
    answers = [[said[who, sample] for sample in sorted(blind)] for who in ("Ada", "Bob")]
    assert sum(one != other for one, other in zip(*answers, strict=True)) == 2
    expect(cy.locator(".st-key-review_team").get_by_test_id("stDataFrame").first).to_be_visible()
    shown = {(row[0], row[1]): row for row in rows(cy)}
    row = shown[("Which class is it?", "Ada and Bob")]
    wanted = cohen_kappa_score(*answers)
    assert row[2:4] == ["Cohen", str(SHARED)] and float(row[5]) == pytest.approx(wanted, abs=5e-4)
    screenshot(cy, "people-kappa")

    # Two disputes; a third person settles one with a label of their own, takes it back, and settles it again.
    tab(cy, "Disagreements")
    panel = cy.locator(".st-key-review_team")
    expect(panel).to_contain_text("2 open, 0 settled")
    expect(cy.get_by_text("2 images are disputed and not settled").first).to_be_visible()
    first = panel.get_by_role("combobox", name="Image").input_value()
    assert first in contradicted
    screenshot(cy, "people-dispute")
    panel.get_by_role("button", name="Settle").click()
    expect(panel).to_contain_text("1 open, 1 settled")
    panel.get_by_role("button", name="Take back").click()
    expect(panel).to_contain_text("2 open, 0 settled")
    settle(cy)
    first = panel.get_by_role("combobox", name="Image").input_value()
    panel.get_by_role("button", name="Settle").click()
    expect(panel).to_contain_text("1 open, 1 settled")
    cy.reload()
    settle(cy)
    expect(cy.get_by_text("you are Cy")).to_be_visible()  # the browser remembers who sits at it
    tab(cy, "Disagreements")
    expect(panel).to_contain_text("1 open, 1 settled")

    # What goes home says how each label came about.
    cy.get_by_role("button", name="Write CSV and Parquet").click()
    with cy.expect_download() as started:
        cy.get_by_role("button", name="CSV", exact=True).click()
    table = pd.read_csv(started.value.path(), keep_default_na=False, dtype={"id": str}).set_index("id")
    (other,) = set(contradicted) - {first}
    assert table["outcome"].value_counts().to_dict() == {
        "decided": N - SHARED, "agreed": SHARED - 2, "adjudicated": 1, "disputed": 1,
    }  # fmt: skip
    assert table.loc[first, "outcome"] == "adjudicated" and table.loc[first, "reviewer"] == "Cy"
    assert table.loc[other, "outcome"] == "disputed" and table.loc[other, "label"] == table.loc[other, "given_label"]
