"""What the colour of a point says: how suspicious it is, a label, or what the review decided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pages.ui.map_points import STATES, Points
from pages.ui.theme import BASE, CLEAN, FVM, MISLABELED, NEUTRAL, VM

MODES = {
    "suspicion": "Suspicion", "given": "Given label", "suggested": "Suggested label", "state": "Review",
    "truth": "True label", "wrong": "Right or wrong",
}  # fmt: skip
PALETTE = (CLEAN, MISLABELED, FVM, VM, BASE, "#CC79A7", "#8C564B", "#B3A300", "#7B5EA7", NEUTRAL)
RAMP = ("#8FA3B5", "#8FA3B5", "#C9A24A", "#E08214", "#C51B1B")
STATE_COLOURS = ("#8A8F98", CLEAN, FVM, "#CC79A7", VM)
STATE_WORDS = ("undecided", "accepted", "kept", "picked", "skipped")
UNKNOWN_COLOUR = "#8A8F98"
MOST = 20


def modes(points: Points) -> list[str]:
    """Return the modes that these points have something to show in."""
    known = bool((points.truth >= 0).any())
    return [mode for mode in MODES if (mode not in ("truth", "wrong") or known)
            and (mode != "suggested" or (points.suggested >= 0).any())]  # fmt: skip


def rgb(colour: str) -> tuple[int, int, int]:
    """Return the three parts of `#RRGGBB`.

    >>> rgb("#0072B2")
    (0, 114, 178)
    """
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def class_colours(count: int) -> list[str]:
    """Return a colour for each class: ten that differ for colour-blind readers too, beyond them hues of three
    lightnesses."""
    if count <= len(PALETTE):
        return list(PALETTE[:count])
    return [_hue((0.618034 * k) % 1.0, (0.45, 0.62, 0.35)[k % 3]) for k in range(count)]


def _hue(hue: float, lightness: float) -> str:
    import colorsys

    return "#" + "".join(f"{round(255 * part):02X}" for part in colorsys.hls_to_rgb(hue, lightness, 0.65))


def coloured(
    mode: str, points: Points, states: NDArray[np.int16], names: Sequence[str]
) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """Return (n, 3) uint8 colours and the legend: {"title", "items": [[colour, words]]} or a ramp {"stops", "low",
    "high"}."""
    title = MODES[mode]
    if mode == "suspicion":
        stops = np.array([rgb(colour) for colour in RAMP], float)
        at = points.percentile / 100 * (len(stops) - 1)
        channels = [np.interp(at, np.arange(len(stops)), stops[:, channel]) for channel in range(3)]
        legend = {"title": "Suspicion, percentile", "stops": list(RAMP), "low": "0", "high": "100"}
        return np.stack(channels, 1).round().astype(np.uint8), legend
    if mode == "state":
        return _listed(title, states, STATE_COLOURS, STATE_WORDS)
    if mode == "wrong":
        kinds = np.where(points.truth < 0, 2, points.truth != points.given).astype(np.int16)
        return _listed(title, kinds, (CLEAN, MISLABELED, UNKNOWN_COLOUR), ("right", "wrong", "unknown"))
    return _listed(title, getattr(points, mode), class_colours(len(names)), names)


def _listed(
    title: str, codes: NDArray[np.int16], colours: Sequence[str], words: Sequence[str]
) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    table = np.array([*(rgb(colour) for colour in colours), rgb(UNKNOWN_COLOUR)], np.uint8)
    counts = np.bincount(codes[codes >= 0], minlength=len(colours))
    items = [[colours[k], f"{words[k]} {counts[k]:,}"] for k in np.flatnonzero(counts)[:MOST]]
    left = int((counts > 0).sum()) - len(items)
    if left > 0:
        items.append([UNKNOWN_COLOUR, f"and {left} more"])
    if (codes < 0).any():
        items.append([UNKNOWN_COLOUR, f"unknown {int((codes < 0).sum()):,}"])
    return table[codes], {"title": title, "items": items}


assert len(STATES) == len(STATE_COLOURS) == len(STATE_WORDS)
