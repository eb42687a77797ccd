"""Many small charts drawn on one pair of axes: plotly takes longer for a pair of axes than for all curves on it.

A chart's own positions (0 to 1 from its left and from its bottom) become places on the common axes, whose unit is a
column across and a pixel up. Ticks, titles and frames are words and lines on these axes, one trace a kind.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike, NDArray

from pages.ui.figures import GRID, finish, text

TICK_ROOM, TITLE_SIZE, LINE = 27, 14, 17
WIDTH, LETTER, WIDE_LETTER, DIGIT = 900, 6, 7.3, 7.5
"""About how many pixels a figure, a letter, one of a title and one at a tick are wide: words are kept apart by it."""
BESIDE = 0.012
"""Share of a chart's width between its left and the numbers there."""
TOP, BOTTOM = 40, 6


@dataclass
class Multiples:
    """Charts in rows of `columns`, each `height` pixels high; `above` and `below` are kept free for words, and `left`
    (a share of the column). All are about `width` pixels wide together."""

    count: int
    columns: int
    height: int
    above: int = 30
    below: int = 48
    left: float = 0.2
    width: int = WIDTH
    _lines: list[NDArray[np.float64]] = field(default_factory=list)
    _words: dict[str, list[tuple[float, float, str]]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return -(-self.count // self.columns)

    def across(self, number: int, share: ArrayLike) -> NDArray[np.float64]:
        """Return where `share` (0 at the left, 1 at the right) of a chart lies on the common axis."""
        return number % self.columns + self.left + (1 - self.left) * np.asarray(share, dtype=np.float64)

    def up(self, number: int, share: ArrayLike) -> NDArray[np.float64]:
        """Return where `share` (0 at the bottom, 1 at the top) of a chart lies on the common axis."""
        row = self.rows - 1 - number // self.columns
        return row * self._each + self.below + self.height * np.asarray(share, dtype=np.float64)

    @property
    def _each(self) -> int:
        return self.above + self.height + self.below

    def title(self, number: int, words: str) -> None:
        """Put `words` above a chart."""
        self._put("title", number, 0.5, 1, words, up=6)

    def caption(self, number: int, words: str) -> None:
        """Put `words` below a chart and its ticks."""
        self._put("caption", number, 0.5, 0, words, up=-TICK_ROOM)

    def ticks_across(self, number: int, shares: Sequence[float], words: Sequence[str]) -> None:
        """Put words below a chart at rising `shares` of its width, but for one that would run into the one before."""
        letter = DIGIT * self.columns / (self.width * (1 - self.left))
        free = -1.0
        for share, word in zip(shares, words, strict=True):
            half = letter * len(word) / 2
            if share - half >= free:
                self._put("caption", number, share, 0, word, up=-8)
                free = share + half + letter / 2

    def ticks_up(self, number: int, shares: Sequence[float], words: Sequence[str]) -> None:
        """Put words to the left of a chart at `shares` of its height, and a line across it at each."""
        for share, word in zip(shares, words, strict=True):
            self._put("tick", number, -BESIDE, share, word)
            self._lines.append(np.c_[self.across(number, [0, 1]), self.up(number, [share, share])])

    def _put(self, kind: str, number: int, x: float, y: float, words: str, *, up: float = 0) -> None:
        place = float(self.across(number, x)), float(self.up(number, y)) + up
        self._words.setdefault(kind, []).append((*place, words))

    def figure(self, traces: Sequence[go.Scatter], **layout: Any) -> go.Figure:
        """Return the figure: lines at ticks, then `traces`, then words; one pair of axes without marks of its own."""
        figure = go.Figure()
        still = {"hoverinfo": "skip", "showlegend": False}
        if self._lines:
            x, y = broken(self._lines)
            figure.add_scatter(x=x, y=y, mode="lines", line={"color": GRID, "width": 1}, **still)
        figure.add_traces(list(traces))
        looks: dict[str, tuple[str, dict[str, Any]]] = {
            "title": ("top center", {"size": TITLE_SIZE, "weight": 600}), "caption": ("bottom center", {}),
            "tick": ("middle left", {}),
        }  # fmt: skip
        for kind, words in self._words.items():
            position, font = looks[kind]
            xs, ys, texts = zip(*words, strict=True)
            figure.add_scatter(
                x=list(xs), y=list(ys), text=list(texts), mode="text", textposition=position, textfont=font,
                cliponaxis=False, **still,
            )  # fmt: skip
        total = self.rows * self._each
        bare = {"showgrid": False, "showticklabels": False, "ticks": "", "zeroline": False}
        finish(figure, height=total + TOP + BOTTOM, room={"l": 30, "r": 10, "t": TOP, "b": BOTTOM}, **layout)
        figure.update_xaxes(range=[0, self.columns], **bare)
        figure.update_yaxes(range=[0, total], **bare)
        return figure


def fold(words: str, *, pixels: float, letter: float = LETTER) -> str:
    """Return `words` safe for plotly, in at most two lines where they do not fit into `pixels`; an arrow stays at its
    word.

    >>> fold("VM · Loss", pixels=150), fold("s (random vectors) →", pixels=100), fold("one two three", pixels=30)
    ('VM · Loss', 's (random<br>vectors) →', 'one<br>two …')
    """
    together = words.replace(" →", "\u00a0→").replace("− ", "−\u00a0").replace("· ", "·\u00a0")
    lines = textwrap.wrap(together, max(int(pixels / letter), 1), max_lines=2, placeholder=" …")
    return "<br>".join(text(line.replace("\u00a0", " ")) for line in lines)


def second_line(folded: Iterable[str]) -> int:
    """Return the pixels that a second line needs, 0 where none of the words has one."""
    return LINE * any("<br>" in words for words in folded)


def broken(parts: Sequence[NDArray[np.float64]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return x and y of several lines (n, 2) as one, with a gap (NaN) after each.

    >>> broken([np.zeros((1, 2)), np.ones((1, 2))])[0]
    array([ 0., nan,  1., nan])
    """
    gap = np.full((1, 2), np.nan)
    x, y = np.concatenate([line for part in parts for line in (part, gap)]).T
    return x, y
