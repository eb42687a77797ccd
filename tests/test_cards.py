"""Cards of images: every word from a file is escaped, odd values stay inside."""

from __future__ import annotations

from html.parser import HTMLParser

import pandas as pd

from pages.ui.cards import card, grid
from pages.ui.figure_table import table

EVIL = '"><img src=x onerror=alert(1)><script>alert(2)</script>'


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def parse(text: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Tags()
    parser.feed(text)
    return parser.seen


def test_words_from_a_file_make_no_tag_and_no_attribute() -> None:
    text = card(
        "data:image/png;base64,AA==",
        name=EVIL,
        given=EVIL,
        suggested=EVIL + "2",
        truth=EVIL,
        bars=[(EVIL, "#009E73", 50.0)],
    )
    tags = parse(text)
    assert [tag for tag, _ in tags if tag in ("img", "script")] == ["img"]
    assert not any("onerror" in attributes for _, attributes in tags)
    assert dict(tags)["img"]["alt"] == EVIL


def test_unreadable_image_and_unknown_labels() -> None:
    text = card("", name="a", given="cat", suggested="", truth="", bars=[("FVM", "#009E73", 250.0)])
    assert "not readable" in text and "→" not in text and "true:" not in text
    assert "width:100.0%" in text


def test_a_suggestion_equal_to_the_given_label_is_not_an_arrow() -> None:
    assert "→" not in card("", name="a", given="cat", suggested="cat", truth="cat", bars=[])
    assert "cat → dog" in card("", name="a", given="cat", suggested="dog", truth="", bars=[])


def test_grid_holds_all_cards() -> None:
    cards = [card("", name=str(number), given="cat", suggested="", truth="", bars=[]) for number in range(3)]
    assert sum(attributes.get("class") == "fvm-card" for _, attributes in parse(grid(cards))) == 3


def test_a_table_escapes_every_word_and_marks_the_best() -> None:
    evil = "<img src=x onerror=alert(1)>"
    frame = pd.DataFrame({evil: ["1", evil]}, index=pd.Index([evil, "b"], name="Method"))
    body = table(frame, best=[[True], [False]], alt=f'"{evil}')
    assert "<img" not in body and body.count("&lt;img") == 4
    assert "<td><b>1</b></td>" in body and 'aria-label="&quot;&lt;img' in body
