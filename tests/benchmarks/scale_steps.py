"""What a person does on the Review and Compare pages, step by step, for app_at_scale.py."""

from __future__ import annotations

from functools import partial

from playwright.sync_api import Page

from tests.benchmarks.browser_clock import Clock

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
GALLERY = ("Take the labels home", "All saved")
LOADING = ("Loading page",)
TABS = {
    "Detection": ("Precision@", "whose true label is known"),
    "Agreement": ("Rank correlation", "chance would share"),
    "Disagreement": ("Bars: suspicion percentile",),
    "Distributions": ("Arrows point towards",),
}


def go(page: Page, name: str) -> None:
    """Click a page's name in the navigation."""
    page.locator('[data-testid="stSidebarNavLink"]', has_text=name).click()


def home(clock: Clock) -> None:
    if clock.page.get_by_text("The way through").count():
        return
    clock.measure("", lambda: go(clock.page, "Home"), holds=("FVM Studio",), keep=False)


def review_steps(clock: Clock, url: str, repeats: int) -> None:
    """Open, filter, search, sort, page and decide."""
    page = clock.page
    clock.load("Review, a fresh server", f"{url}/review", holds=("Start the review",))
    start = page.get_by_role("button", name="Start the review")
    clock.measure("Review, first time", start.click, holds=GALLERY, lacks=LOADING)
    for _ in range(repeats):
        home(clock)
        clock.measure("Review: open", lambda: go(page, "Review"), holds=GALLERY, lacks=LOADING)
    for _ in range(5):
        clock.load("Review: open in a new tab", f"{url}/review", holds=GALLERY, lacks=LOADING)
    given = page.get_by_role("combobox", name="Given label")
    for number in range(repeats):
        given.click()
        page.keyboard.type(CLASSES[number % 10])
        option = page.get_by_role("option", name=CLASSES[number % 10])
        if number < 10:
            option.wait_for()
            clock.measure("Review: filter", lambda: page.keyboard.press("Enter"), holds=GALLERY, lacks=LOADING)
            page.keyboard.press("Escape")
        else:
            for _ in CLASSES[number % 10]:
                page.keyboard.press("Backspace")
            clock.measure("Review: filter", lambda: page.keyboard.press("Backspace"), holds=GALLERY, lacks=LOADING)
            page.keyboard.press("Escape")
    search(clock, repeats)
    turn(clock, repeats)
    scores(clock, repeats)
    grid = page.get_by_role("listbox", name="Images in order of suspicion")
    grid.focus()
    for _ in range(repeats):
        page.wait_for_timeout(400)
        clock.measure(
            "Review: next page", lambda: page.keyboard.press("PageDown"), holds=GALLERY, lacks=LOADING, idle=False
        )
    for _ in range(repeats):
        page.wait_for_timeout(400)
        page.keyboard.press("PageDown")
        clock.measure(
            "Review: next page, not sent ahead", lambda: page.keyboard.press("PageDown"), holds=GALLERY, lacks=LOADING,
            idle=False,
        )  # fmt: skip
    for _ in range(repeats):
        page.wait_for_timeout(300)
        clock.measure(
            "Review: decision, until on disk", lambda: page.keyboard.press("k"), holds=GALLERY, lacks=LOADING,
            idle=False,
        )  # fmt: skip


def search(clock: Clock, repeats: int) -> None:
    """Filter by part of an id."""
    page = clock.page
    page.get_by_role("button", name="More").click()
    box = page.get_by_role("textbox", name="Part of an id")
    for number in range(repeats):
        box.fill(f"{number}7")
        clock.measure("Review: search by id", lambda: page.keyboard.press("Enter"), holds=GALLERY, lacks=LOADING)
    box.fill("")
    clock.measure("", lambda: page.keyboard.press("Enter"), holds=GALLERY, keep=False)
    page.keyboard.press("Escape")


def turn(clock: Clock, repeats: int) -> None:
    """Sort the other way round."""
    page = clock.page
    page.get_by_role("button", name="More").click()
    for number in range(repeats):
        page.get_by_role("combobox", name="Order").click()
        names = ("Least suspicious first", "As in the dataset", "Most suspicious first")
        choice = page.get_by_role("option", name=names[number % 3], exact=True)
        clock.measure("Review: sort", choice.click, holds=GALLERY, lacks=LOADING)
    page.keyboard.press("Escape")


def scores(clock: Clock, repeats: int) -> None:
    """Sort by the scores of another method."""
    page = clock.page
    names: list[str] = []
    for number in range(repeats):
        page.get_by_role("combobox", name="Scores").click()
        options = page.get_by_role("option")
        options.first.wait_for()
        names = names or [option for option in options.all_inner_texts()][:6]
        choice = page.get_by_role("option", name=names[(number + 1) % len(names)], exact=True)
        first = number + 1 < len(names)
        clock.measure(
            "Review: sort by other scores" + (", first time" if first else ""), choice.click, holds=GALLERY,
            lacks=LOADING,
        )  # fmt: skip


def compare_steps(clock: Clock, url: str, repeats: int) -> None:
    """Open, change the tab, change the threshold."""
    page = clock.page
    home(clock)
    drawn = TABS["Distributions"]
    clock.measure("Compare, first time", lambda: go(page, "Compare"), holds=drawn)
    for _ in range(repeats):
        home(clock)
        clock.measure("Compare: open", lambda: go(page, "Compare"), holds=drawn)
    for turn in range(repeats + 1):
        for name, words in TABS.items():
            title = f"Compare: tab {name}"
            tab = page.get_by_role("tab", name=name, exact=True)
            clock.measure(title if turn else f"{title}, first time", tab.click, holds=words)
    shapes = ("Violins", "Histograms")
    for number in range(2 * len(shapes) + repeats):
        button = page.get_by_role("radio", name=shapes[number % 2])
        clock.measure("Compare: shape" + (", first time" if number < 2 else ""), button.click, holds=drawn)
    page.get_by_role("tab", name="Detection", exact=True).click()
    threshold(clock, "Compare: threshold k", TABS["Detection"], repeats)
    page.get_by_role("tab", name="Agreement", exact=True).click()
    threshold(clock, "Compare: overlap k", TABS["Agreement"], repeats)
    page.get_by_role("tab", name="Detection", exact=True).click()
    page.wait_for_timeout(1500)


def threshold(clock: Clock, name: str, words: tuple[str, ...], repeats: int) -> None:
    page = clock.page
    page.get_by_text(words[0]).first.wait_for()
    page.wait_for_timeout(1500)
    slider = page.get_by_role("slider").first
    slider.focus()
    for number in range(repeats):
        key = "ArrowLeft" if number < 8 else "ArrowRight"
        clock.measure(name + (", first time" if number < 8 else ""), partial(page.keyboard.press, key), holds=words)
