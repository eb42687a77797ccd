"""Two images beside each other with their labels, as the Label noise page shows pairs."""

from __future__ import annotations

import html
from collections.abc import Iterable

from fvm_core.data.dataset import UNKNOWN, LabeledImages
from fvm_core.embedding.duplicates import NearPairs
from fvm_core.visible import visible
from pages.ui.thumbnails import thumbnail

STYLE = """<style>
.fvm-pairs {display: grid; grid-template-columns: repeat(auto-fill, minmax(250px, 1fr)); gap: 0.8rem;}
.fvm-pair {border: 1px solid rgba(128,128,128,0.35); border-radius: 0.4rem; padding: 0.55rem; font-size: 0.82rem;
  line-height: 1.35; overflow-wrap: anywhere;}
.fvm-pair .two {display: grid; grid-template-columns: 1fr 1fr; gap: 0.5rem;}
.fvm-pair img, .fvm-pair .none {width: 100%; aspect-ratio: 1; object-fit: contain; image-rendering: pixelated;
  border-radius: 0.25rem; background: rgba(128,128,128,0.12); display: block; margin-bottom: 0.3rem;}
.fvm-pair b {font-weight: 600;}
.fvm-pair .id {opacity: 0.8;}
.fvm-pair .apart {margin-top: 0.35rem; opacity: 0.8; font-variant-numeric: tabular-nums;}
</style>"""


def pair_cards(
    pairs: NearPairs, shown: Iterable[int], first: LabeledImages, second: LabeledImages, *, ids: bool = False
) -> str:
    """Return HTML of the pairs at `shown`, one card each; `first` and `second` are the sets that the two rows of a pair
    are of, `ids` writes each image's id below it."""
    return f'{STYLE}<div class="fvm-pairs">{"".join(_card(pairs, at, first, second, ids) for at in shown)}</div>'


def _card(pairs: NearPairs, at: int, first: LabeledImages, second: LabeledImages, ids: bool) -> str:
    halves = _half(first, int(pairs.first[at]), ids) + _half(second, int(pairs.second[at]), ids)
    apart = f"pixels differ by {pairs.pixel_rms[at]:.1f}, cosine {pairs.similarity[at]:.3f}"
    return f'<div class="fvm-pair"><div class="two">{halves}</div><div class="apart">{apart}</div></div>'


def _half(dataset: LabeledImages, row: int, ids: bool) -> str:
    image, name = thumbnail(dataset, row)[0], html.escape(visible(dataset.ids[row]))
    picture = '<div class="none">not readable</div>'
    if image:
        picture = f'<img src="{html.escape(image)}" alt="{name}" title="{name}">'
    truth = UNKNOWN if dataset.clean_labels is None else int(dataset.clean_labels[row])
    note = f"<br>true: {html.escape(visible(dataset.class_names[truth]))}" if truth != UNKNOWN else ""
    told = f'<br><span class="id">{name}</span>' if ids else ""
    return f"<div>{picture}<b>{html.escape(visible(dataset.class_names[dataset.labels[row]]))}</b>{note}{told}</div>"
