"""The gallery in a real browser: several images at once, a closer look, keys of one's own, classes by typing, and what
a person without a mouse or without sight meets."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import numpy as np
import pytest
import review_gallery
from app_server import Server, screenshot, settle
from contrast import check_colours
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect
from review_gallery import decisions, holding, ids, keys_of, make, pictures, saved

from fvm_core.data.dataset import LabeledImages
from fvm_core.data.registry import open_named
from fvm_core.review.keys import DEFAULT_KEYS
from fvm_core.review.steps import step_of

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def animals(server: Server) -> LabeledImages:
    """150 images of ten classes; the first is a large photograph."""
    words = ("ant", "bee", "cat", "dog", "elk", "fox", "gnu", "hen", "ibex", "jay")
    names = [f"{word} {k}" for k, word in enumerate(words)]
    images = pictures(150)
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (600, 800, 3), dtype=np.uint8)).save(out, "JPEG")
    images[0] = out.getvalue()
    scores = np.random.default_rng(0).lognormal(0, 2, (150, 10))
    given = np.arange(150) % 10
    scores[np.arange(150), given] = np.linspace(900, 100, 150)
    make(server, "animals", images, names, given, scores)
    return open_named(server.workspace, "animals")


def open_review(server: Server, page: Page, scores: str = "animals · FVM") -> Locator:
    return review_gallery.open_review(server, page, scores)


def test_a_bulk_step_is_one_step_of_the_log_and_one_undo_takes_it_back_in_a_fresh_browser(
    server: Server, animals: LabeledImages, page: Page, browser: Browser
) -> None:
    grid = open_review(server, page)
    shown = ids(grid)
    cards = grid.get_by_role("option")
    chosen = page.get_by_role("group", name="Selected images")
    expect(chosen).to_be_hidden()
    for _ in range(3):
        page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowLeft")
    expect(chosen).to_contain_text("3 selected")
    cards.nth(6).click(modifiers=["Control"])
    cards.nth(8).click(modifiers=["Shift"])
    cards.nth(7).click(modifiers=["ControlOrMeta"])
    expect(chosen).to_contain_text("5 selected")
    assert [shown.index(one) for one in _meant(grid)] == [0, 1, 2, 6, 8]
    page.keyboard.press("a")
    saved(page, 5)
    expect(chosen).to_be_hidden()
    expect(grid).to_be_focused()
    new = decisions(server)
    assert [one.sample for one in new] == [shown[k] for k in (0, 1, 2, 6, 8)]
    assert {one.action for one in new} == {"accept"} and all(one.label == one.suggested for one in new)
    assert len({step_of(one.client) for one in new}) == 1 and step_of(new[0].client)
    assert len({one.decided_at for one in new}) == 1, "one transaction: all or none"
    expect(grid.locator(".current")).to_have_attribute("data-id", shown[3])
    page.keyboard.press("k")
    saved(page, 6)

    fresh = browser.new_context(viewport={"width": 1366, "height": 768})
    try:
        again = fresh.new_page()
        open_review(server, again)
        again.keyboard.press("u")
        saved(again, 5)
        assert set(holding(server)) == {shown[k] for k in (0, 1, 2, 6, 8)}
        again.keyboard.press("u")
        saved(again, 0)
    finally:
        fresh.close()
    assert holding(server) == {}
    undone = [one for one in decisions(server) if one.action == "undo"]
    assert {one.undoes for one in undone} == {one.number for one in decisions(server) if one.action != "undo"}


def _meant(grid: Locator) -> list[str]:
    return [card.get_attribute("data-id") or "" for card in grid.locator('[aria-selected="true"]').all()]


def test_pages_are_kept_picked_and_skipped_as_a_whole(server: Server, animals: LabeledImages, page: Page) -> None:
    grid = open_review(server, page)
    shown = ids(grid)
    start = len(shown)
    bar = page.get_by_role("group", name="Selected images")
    page.keyboard.press("s")
    page.keyboard.press("Control+a")
    expect(bar).to_contain_text(f"{start - 1} selected")  # what is undecided
    page.keyboard.press("Control+a")
    expect(bar).to_contain_text(f"{start} selected")
    page.keyboard.press("Escape")
    expect(bar).to_be_hidden()
    page.keyboard.press("Control+a")
    page.keyboard.press("3")
    saved(page, start)
    third = animals.class_names[2]
    expect(page.locator(".notice")).to_contain_text(f"Picked as {third}: {start - 1} images.")
    assert list(holding(server).values()) == [("skip", animals.labels[0])] + [("pick", 2)] * (start - 1)
    expect(page.locator(".place")).to_contain_text("Page 2")
    page.keyboard.press(" ")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    page.keyboard.press("PageUp")
    expect(bar).to_contain_text("2 selected, 2 on other pages")
    page.keyboard.press("p")
    expect(page.get_by_role("dialog", name="Pick a class by name")).to_contain_text("A class for 2 images")
    page.keyboard.type("fox")
    page.keyboard.press("Enter")
    saved(page, start + 2)
    expect(page.locator(".place")).to_contain_text("Page 2")
    page.keyboard.press("Control+a")
    bar.get_by_role("button", name="Keep").click()
    saved(page, 2 * start)
    expect(grid).to_be_focused()
    actions = [one.action for one in decisions(server)]
    assert actions.count("keep") == start - 2 + 1  # one of the test before
    for decided in (start + 2, start, 1, 0):
        page.keyboard.press("u")
        saved(page, decided)
    assert holding(server) == {}


def test_a_finger_that_rests_selects_and_taps_add(server: Server, animals: LabeledImages, browser: Browser) -> None:
    context = browser.new_context(viewport={"width": 400, "height": 800}, has_touch=True, is_mobile=True)
    try:
        page = context.new_page()
        page.set_default_timeout(60_000)
        grid = open_review(server, page)
        cards = grid.get_by_role("option")
        bar = page.get_by_role("group", name="Selected images")
        cards.nth(0).tap()
        expect(bar).to_be_hidden()
        cards.nth(1).scroll_into_view_if_needed()
        box = cards.nth(1).bounding_box()
        assert box is not None
        spot = [{"x": box["x"] + box["width"] / 2, "y": box["y"] + 30}]
        touch = context.new_cdp_session(page)
        touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": spot})
        expect(bar).to_contain_text("1 selected")
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        expect(bar).to_contain_text("1 selected")
        cards.nth(2).tap()
        expect(bar).to_contain_text("2 selected")
        screenshot(page, "gallery-narrow")
        before = len(decisions(server))
        page.get_by_role("button", name="Skip 2").tap()
        saved(page, 2)
        assert [one.action for one in decisions(server)[before:]] == ["skip", "skip"]
        page.get_by_role("button", name=re.compile("Undo$")).tap()
        saved(page, 0)
        wide = page.evaluate("document.scrollingElement.scrollWidth")
        assert wide <= 400, "nothing is cut off at the side"
    finally:
        context.close()


def test_a_closer_look_goes_on_with_the_keys_and_gives_the_focus_back(
    server: Server, animals: LabeledImages, page: Page
) -> None:
    grid = open_review(server, page)
    shown = ids(grid)
    dialog = page.get_by_role("dialog", name="A closer look")
    picture = dialog.locator("img")
    page.keyboard.press("z")
    expect(dialog).to_contain_text(shown[0])
    page.wait_for_function("""() => {
        const hosts = [...document.querySelectorAll("*")];
        const host = hosts.find((element) => element.shadowRoot?.querySelector(".zoomframe"));
        return host?.shadowRoot.querySelector(".zoomframe img")?.naturalWidth === 800;
    }""")
    expect(picture).not_to_have_class(re.compile("crisp"))
    dialog.get_by_role("button", name="Smooth").click()
    expect(picture).to_have_class(re.compile("crisp"))
    screenshot(page, "gallery-zoom")
    before = len(decisions(server))
    page.keyboard.press("k")
    expect(dialog).to_contain_text(shown[1])
    page.keyboard.press("ArrowLeft")
    expect(dialog).to_contain_text("kept as")
    page.keyboard.press("u")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(grid).to_be_focused()
    saved(page, 0)
    assert [one.action for one in decisions(server)[before:]] == ["keep", "undo"]
    grid.get_by_role("option").nth(4).dblclick()
    expect(dialog).to_contain_text(shown[4])
    page.keyboard.press("z")
    expect(grid).to_be_focused()


def test_keys_are_the_person_s_own_and_the_help_shows_them(
    server: Server, animals: LabeledImages, page: Page, browser: Browser
) -> None:
    grid = open_review(server, page)
    page.get_by_role("button", name="Keys", exact=True).click()
    dialog = page.get_by_role("dialog", name="Keys")
    dialog.get_by_role("button", name="Skip: S. Change").click()
    page.keyboard.press("k")
    expect(dialog.get_by_role("status")).to_contain_text("K is taken: Keep the given label.")
    page.keyboard.press("5")
    expect(dialog.get_by_role("status")).to_contain_text("digits pick classes")
    page.keyboard.press("F2")
    expect(dialog.get_by_role("status")).to_contain_text("F2 cannot be bound")
    page.keyboard.press("j")
    expect(dialog.get_by_role("button", name="Skip: J. Change")).to_be_focused()
    screenshot(page, "gallery-keys")
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Keys", exact=True)).to_be_focused()
    before = len(decisions(server))
    grid.focus()
    page.keyboard.press("s")
    page.keyboard.press("j")
    saved(page, 1)
    assert [one.action for one in decisions(server)[before:]] == ["skip"]
    (reviewer,) = {one.reviewer for one in decisions(server)}
    assert keys_of(server, reviewer) == {**DEFAULT_KEYS, "skip": "j"}

    fresh = browser.new_context(viewport={"width": 1366, "height": 768})
    try:
        again = fresh.new_page()
        grid = open_review(server, again)
        again.keyboard.press("?")
        help_ = again.get_by_role("dialog", name="Help: the keys of the gallery")
        terms = help_.locator("dt", has_text=re.compile("^J$"))
        expect(terms).to_have_count(1)
        screenshot(again, "gallery-help")
        again.keyboard.press("?")
        expect(grid).to_be_focused()
        again.keyboard.press("u")
        saved(again, 0)
        again.get_by_role("button", name="Keys", exact=True).click()
        again.get_by_role("button", name="Reset all keys").click()
        expect(again.get_by_role("button", name="Skip: S. Change")).to_be_visible()
        again.wait_for_timeout(300)
        settle(again)
    finally:
        fresh.close()
    assert keys_of(server, reviewer) == dict(DEFAULT_KEYS)


def test_the_focus_stays_where_it_was(server: Server, animals: LabeledImages, page: Page) -> None:
    grid = open_review(server, page)
    for key in ("k", "PageDown", "PageUp", "u", "e"):
        page.keyboard.press(key)
        saved(page)
        settle(page)
        page.wait_for_timeout(150)
        expect(grid).to_be_focused()
    skip = page.get_by_role("button", name="S Skip", exact=True)
    skip.focus()
    page.keyboard.press("Enter")
    saved(page, 1)
    expect(skip).to_be_focused()
    page.keyboard.press("u")
    saved(page, 0)
    expect(skip).to_be_focused()
    page.keyboard.press("p")
    expect(page.get_by_role("combobox", name="Class name")).to_be_focused()
    page.keyboard.press("Escape")
    expect(skip).to_be_focused()
    grid.focus()
    for key in "kak":
        page.keyboard.press(key)
    for left in (2, 1, 0):
        page.keyboard.press("u")
        saved(page, left)
    expect(grid).to_be_focused()


@pytest.mark.parametrize("count", [100, 1000])
def test_a_class_of_many_is_found_by_typing(
    server: Server, page: Page, count: int, record_property: Callable[[str, object], None]
) -> None:
    n = 30
    rng = np.random.default_rng(count)
    names = [f"{rng.choice(['red', 'green', 'blue', 'grey'])} thing {k:04d}" for k in range(count)]
    names[7], names[8] = "Éléphant de mer", "green"
    scores = rng.lognormal(0, 1, (n, count))
    given = np.concatenate([rng.permutation(np.arange(0, count))[: n - 1], [7]])
    scores[np.arange(n), given] += 50
    make_all = [*given, *[k for k in range(count) if k not in set(given.tolist())], *range(count)]
    images = pictures(len(make_all), 8, count)
    scores = np.vstack([scores, np.full((len(make_all) - n, count), 1e-3)])
    make(server, f"things{count}", images, names, np.array(make_all), scores)
    data = open_named(server.workspace, f"things{count}")

    grid = open_review(server, page, f"things{count} · FVM")
    before = len(decisions(server))
    page.keyboard.press("p")
    field, dialog = page.get_by_role("combobox", name="Class name"), page.get_by_role("dialog")
    options = dialog.get_by_role("option")
    expect(field).to_be_focused()
    expect(dialog).to_contain_text(f"{count:,} of {count:,} classes")
    page.keyboard.type("elephant")
    expect(options).to_have_count(1)
    page.keyboard.press("Enter")
    page.keyboard.press("p")
    expect(options.first).to_have_text("Éléphant de merrecent")
    page.keyboard.type("green")
    expect(options.first).to_have_text("green")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    expect(options.nth(1)).to_have_attribute("aria-selected", "true")
    active = field.get_attribute("aria-activedescendant")
    assert active == options.nth(1).get_attribute("id")
    wanted = options.nth(1).inner_text()
    assert wanted.startswith("green thing")
    screenshot(page, f"gallery-pick-{count}")
    page.keyboard.press("Enter")
    page.keyboard.press("p")
    for _ in range(12):
        page.keyboard.press("PageDown")  # further than what is drawn at first
    expect(options.nth(96)).to_have_attribute("aria-selected", "true")
    took = field.evaluate("""(field) => {
        const times = [];
        for (const text of ["t", "th", "thi", "thing", "thing 0", "thing 00", "", "r", "re", "red", "red t"]) {
            const start = performance.now();
            field.value = text;
            field.dispatchEvent(new Event("input", { bubbles: true }));
            field.getBoundingClientRect();
            times.push(performance.now() - start);
        }
        return times.sort((a, b) => a - b)[times.length >> 1];
    }""")
    record_property("milliseconds a letter", took)
    print(f"{count} classes: {took:.1f} ms a letter")
    page.keyboard.press("Escape")
    expect(grid).to_be_focused()
    saved(page, 2)
    first, second = decisions(server)[before:]
    assert data.class_names[first.label or 0] == "Éléphant de mer"
    assert data.class_names[second.label or 0] == wanted


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_screen_reader_is_told_and_every_word_can_be_read(
    server: Server, animals: LabeledImages, context: BrowserContext, page: Page, scheme: str
) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    grid = open_review(server, page)
    expect(grid).to_have_attribute("aria-multiselectable", "true")
    first = grid.get_by_role("option").first
    expect(first).to_have_attribute("aria-posinset", "1")
    expect(first).to_have_attribute("aria-setsize", "150")
    names = animals.class_names
    expect(first).to_have_accessible_name(re.compile(f"given {names[0]}, suggested .*, score .*, undecided"))
    spoken = page.locator(".spoken")
    page.keyboard.press("k")
    expect(spoken).to_contain_text("Kept as")
    saved(page, 1)
    expect(spoken).to_contain_text("All saved: 1 decided")
    expect(first).to_have_accessible_name(re.compile(f"kept as {names[0]}, saved"))
    assert grid.get_attribute("aria-activedescendant") == grid.locator(".current").get_attribute("id")
    page.keyboard.press("s")
    page.keyboard.press("a")
    page.keyboard.press("3")
    page.keyboard.press("Shift+ArrowRight")
    expect(spoken).to_contain_text("2 selected.")
    saved(page, 4)
    screenshot(page, f"gallery-{scheme}")
    check_colours(page)
    for key, name in (("p", "Pick a class by name"), ("?", "Help: the keys of the gallery"), ("z", "A closer look")):
        page.keyboard.press(key)
        expect(page.get_by_role("dialog", name=name)).to_be_visible()
        check_colours(page)
        page.keyboard.press("Escape")
        expect(grid).to_be_focused()
    order = []
    for _ in range(9):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.shadowRoot?.activeElement?.innerText"))
    order = [word.replace("\n", " ") for word in order]
    assert order[:7] == ["Accept", "Keep", "Pick a class", "Skip", "Clear", "‹ Previous page", "Next page ›"]
    assert [word.split()[-2:] for word in order[7:]] == [["Accept", "2"], ["Keep", "2"]]
    page.keyboard.press("Escape")
    for left in (3, 2, 1, 0):
        page.keyboard.press("u")
        saved(page, left)
