"""Pairs of prompt and target as HTML. Every word of a person's file is escaped here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from fvm_core.visible import visible
from pages.ui.generation_pictures import picture
from pages.ui.theme import CLEAN, MISLABELED

MOST = 600
STYLE = f"""<style>
.fvm-pairs {{display: flex; flex-direction: column; gap: 0.4rem;}}
.fvm-pair {{border: 1px solid rgba(128,128,128,0.35); border-left: 4px solid rgba(128,128,128,0.35);
  border-radius: 0.35rem; padding: 0.4rem 0.6rem; font-size: 0.86rem; line-height: 1.35; display: flex; gap: 0.6rem;
  overflow-wrap: anywhere;}}
.fvm-pair.same {{border-left-color: {CLEAN};}}
.fvm-pair.other {{border-left-color: {MISLABELED};}}
.fvm-pair img {{width: 72px; height: 72px; object-fit: contain; image-rendering: pixelated; flex: none;
  background: rgba(128,128,128,0.12); border-radius: 0.25rem;}}
.fvm-pair .words {{min-width: 0; flex: 1;}}
.fvm-pair .target {{font-weight: 600;}}
.fvm-pair .line {{display: flex; justify-content: space-between; gap: 0.6rem; opacity: 0.85; font-size: 0.8rem;}}
.fvm-pair .line b {{font-variant-numeric: tabular-nums; white-space: nowrap;}}
.fvm-pair.large {{font-size: 0.95rem;}}
.fvm-pair.large img {{width: 160px; height: 160px;}}
</style>"""


@dataclass(frozen=True)
class PairCard:
    """What one card shows. `same`: of the class in question, None where classes are not known. `score`: in words."""

    prompt: str
    target: str
    group: str = ""
    score: str = ""
    same: bool | None = None


def shown_text(text: str, *, limit: int = MOST) -> str:
    """Return HTML of a person's text: line breaks kept, everything else escaped or written out."""
    lines = str(text)[: 4 * limit].split("\n")
    cut = "\n".join(visible(line, limit=limit) for line in lines)
    return escape(cut if len(cut) <= limit else cut[:limit] + "…").replace("\n", "<br>")


def card(pair: PairCard, *, root: str = "", image: bool = False, large: bool = False) -> str:
    """Return the HTML of one pair; an `image` target is drawn from below `root`."""
    mark = "" if pair.same is None else " same" if pair.same else " other"
    if image:
        uri, problem = picture(root, pair.target)
        seen = f'<img src="{escape(uri)}" alt="{escape(visible(pair.target))}">' if uri else ""
        target = "" if uri else f'<div class="target">{escape(visible(problem, limit=200))}</div>'
    else:
        seen, target = "", f'<div class="target">{shown_text(pair.target)}</div>'
    word = "" if pair.same is None else " · same class" if pair.same else ""
    line = f'<div class="line"><span>{escape(visible(pair.group))}{word}</span><b>{escape(pair.score)}</b></div>'
    size = " large" if large else ""
    return (
        f'<div class="fvm-pair{mark}{size}">{seen}<div class="words"><div>{shown_text(pair.prompt)}</div>{target}'
        f"{line if pair.group or pair.score else ''}</div></div>"
    )


def cards(pairs: Sequence[PairCard], *, root: str = "", image: bool = False, large: bool = False) -> str:
    """Return the HTML of these pairs, one below the other."""
    drawn = "".join(card(one, root=root, image=image, large=large) for one in pairs)
    return f'{STYLE}<div class="fvm-pairs">{drawn}</div>'
