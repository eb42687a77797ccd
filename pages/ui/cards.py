"""Small cards with a thumbnail each, as one piece of HTML. Every word from a file is escaped here."""

from __future__ import annotations

import html
from collections.abc import Sequence

STYLE = """<style>
.fvm-cards {display: grid; grid-template-columns: repeat(auto-fill, minmax(138px, 1fr)); gap: 0.8rem;}
.fvm-card {border: 1px solid rgba(128,128,128,0.35); border-radius: 0.4rem; padding: 0.55rem; font-size: 0.82rem;
  line-height: 1.35; overflow-wrap: anywhere;}
.fvm-card img, .fvm-card .none {width: 100%; aspect-ratio: 1; object-fit: contain; image-rendering: pixelated;
  border-radius: 0.25rem; background: rgba(128,128,128,0.12); display: block; margin-bottom: 0.4rem;}
.fvm-card .none {display: flex; align-items: center; justify-content: center; opacity: 0.7;}
.fvm-card .labels {font-weight: 600;}
.fvm-card .truth {opacity: 0.8; min-height: 1.35em;}
.fvm-card .bar {position: relative; height: 0.4rem; border-radius: 0.2rem; background: rgba(128,128,128,0.22);
  overflow: hidden;}
.fvm-card .bar i {position: absolute; inset: 0 auto 0 0; display: block;}
.fvm-card .row {display: flex; justify-content: space-between; gap: 0.4rem; margin-top: 0.3rem;}
.fvm-card .row b {font-variant-numeric: tabular-nums; white-space: nowrap;}
</style>"""


def card(
    image: str,
    *,
    name: str,
    given: str,
    suggested: str,
    truth: str,
    bars: Sequence[tuple[str, str, float]],
) -> str:
    """Return one card: image as a data URI ("": not readable), labels ("" if unknown), bars of (label, colour, %)."""
    shown = html.escape(name)
    picture = '<div class="none">not readable</div>'
    if image:
        picture = f'<img src="{html.escape(image)}" alt="{shown}" title="{shown}">'
    arrow = f" → {html.escape(suggested)}" if suggested and suggested != given else ""
    note = f"true: {html.escape(truth)}" if truth else ""
    rows = "".join(_bar(*bar) for bar in bars)
    return (
        f'<div class="fvm-card">{picture}<div class="labels">{html.escape(given)}{arrow}</div>'
        f'<div class="truth">{note}</div>{rows}</div>'
    )


def _bar(label: str, colour: str, value: float) -> str:
    width = min(max(value, 0.0), 100.0)
    return (
        f'<div class="row"><span>{html.escape(label)}</span><b>{value:.1f}</b></div>'
        f'<div class="bar"><i style="width:{width:.1f}%;background:{html.escape(colour)}"></i></div>'
    )


def grid(cards: Sequence[str]) -> str:
    """Return the cards of `card` in a grid that fits the width."""
    return f'{STYLE}<div class="fvm-cards">{"".join(cards)}</div>'
