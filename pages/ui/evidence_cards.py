"""An explanation on the screen: two sides, and on each the clean and the training images that are on it."""

from __future__ import annotations

import html
from collections import Counter

import pandas as pd
import streamlit as st

from fvm_core.data.dataset import DatasetSpec, LabeledImages
from fvm_core.errors import FVMError
from fvm_core.influence.explanations import Explanation, strongest
from pages.ui.open_data import open_spec_cached
from pages.ui.text import plain
from pages.ui.theme import CLEAN, MISLABELED
from pages.ui.thumbnails import thumbnail
from pages.ui.times import duration

SHOWN, COUNTED = 8, 20
STYLE = """<style>
.fvm-side {display: grid; grid-template-columns: repeat(auto-fill, minmax(84px, 1fr)); gap: 0.5rem;}
.fvm-side div {font-size: 0.8rem; line-height: 1.3; overflow-wrap: anywhere;}
.fvm-asked {width: 100px;}
.fvm-side img, .fvm-side .none {width: 100%; aspect-ratio: 1; object-fit: contain;
  image-rendering: pixelated; border-radius: 0.25rem; background: rgba(128,128,128,0.12); display: block;}
.fvm-side .none {display: flex; align-items: center; justify-content: center; text-align: center; opacity: 0.7;}
.fvm-side b {font-weight: 600;}
.fvm-side span {float: right; opacity: 0.85; font-variant-numeric: tabular-nums;}
.fvm-side i {display: block; height: 0.35rem; border-radius: 0.2rem; margin: 0.15rem 0;}
</style>"""
ORDERS = {"first": "First-order term", "influence": "With the second-order term"}
TITLES = {"validation": "Clean images", "training": "Training images, by their given labels"}
SIDES = {+1: ("Speaks for", CLEAN), -1: ("Speaks against", MISLABELED)}


def draw(explanation: Explanation, dataset: LabeledImages) -> None:
    """Draw an explanation; `dataset` holds the training images.

    Raises:
        DataError: the validation set cannot be opened any more.
    """
    known = explanation.provenance
    names = [str(name) for name in known["class_names"]]
    by = "first"
    if known["settings"]["second"] != "none":
        by = st.segmented_control(
            "Order", list(ORDERS), default="first", required=True, key="explain_order", format_func=ORDERS.__getitem__,
            help="Eq. 20 adds a second-order term, with a weight of 0.01. Where the Fisher is small it drowns the "
            "first one: on the digits demo the first-order term alone names the true label three times as often.",
        ) or "first"  # fmt: skip
    sources = {"training": dataset, "validation": _validation(known["validation"]["spec"])}
    label = plain(names[known["image"]["label"]])
    for (speaks, (words, colour)), column in zip(SIDES.items(), st.columns(2, gap="large"), strict=True):
        with column:
            st.markdown(f"**{words} {label}**")
            for name, title in TITLES.items():
                if (explanation.frame["set"] == name).any():
                    _side(explanation.frame, sources[name], names, name, title, speaks, by, colour)
    st.caption(_explain(explanation, dataset))


def _side(
    frame: pd.DataFrame, source: LabeledImages | None, names: list[str], name: str, title: str, speaks: int, by: str,
    colour: str,
) -> None:  # fmt: skip
    """Draw the strongest images of one set on one side, and which labels the strongest have."""
    found = strongest(frame, set=name, speaks=speaks, count=COUNTED, by=by)
    if found.empty:
        st.caption(f"{title}: none")
        return
    counts = Counter(names[label] for label in found["label"])
    st.caption(
        f"{title}. Labels of the {len(found)} strongest: "
        + ", ".join(f"{plain(word)} × {count}" for word, count in counts.most_common(4))
    )
    top = frame.loc[frame["set"] == name, by].abs().max()
    cards = []
    for row in found.head(SHOWN).to_dict("records"):
        known = name == "training" and 0 <= row["clean_label"] < len(names) and row["clean_label"] != row["label"]
        truth = names[row["clean_label"]] if known else ""
        picture = image(_thumbnail(source, row["row"], row["id"]), row["id"])
        share = 100 * abs(row[by]) / top
        cards.append(card(picture, names[row["label"]], _number(row[by]), colour, share, truth=truth))
    st.html(f'{STYLE}<div class="fvm-side">{"".join(cards)}</div>')


def _validation(spec: dict[str, object]) -> LabeledImages | None:
    try:
        return open_spec_cached(DatasetSpec.from_json(spec))
    except FVMError as error:
        st.warning(f"The clean images cannot be shown: {plain(error)}", icon=":material/hide_image:")
        return None


def picture(data: str, name: str) -> str:
    """Return the image in question (a data URI, "" if not readable) as HTML."""
    return f'{STYLE}<div class="fvm-side fvm-asked">{image(data, name)}</div>'


def image(data: str, name: str) -> str:
    """Return an image (a data URI, "" if not readable) as HTML, `name` its words."""
    shown = html.escape(name)
    if not data:
        return f'<div class="none" title="{shown}">not readable</div>'
    return f'<img src="{html.escape(data)}" alt="{shown}" title="{shown}">'


def card(picture: str, label: str, number: str, colour: str, share: float, *, truth: str = "") -> str:
    """Return one card: `picture` by `image`, a bar of `share` percent, the number beside the label, the true one."""
    bar = f'<i style="width:{min(max(share, 2.0), 100.0):.1f}%;background:{html.escape(colour)}"></i>'
    note = f"<br>true: {html.escape(truth)}" if truth else ""
    return f"<div>{picture}{bar}<span>{html.escape(number)}</span><b>{html.escape(label)}</b>{note}</div>"


def _number(value: float) -> str:
    """Return a signed number of two digits.

    >>> _number(-2310000.0), _number(0.034)
    ('−2.3e6', '+0.034')
    """
    text = f"{value:+.2g}".replace("e+0", "e").replace("e+", "e").replace("e-0", "e-")
    return text.replace("-", "−")


def _thumbnail(source: LabeledImages | None, row: int, id: str) -> str:
    """Return the image as a data URI, "" when it is not the one that was asked any more."""
    if source is None or not 0 <= row < len(source) or source.ids[row] != id:
        return ""
    return thumbnail(source, row)[0]


def _explain(explanation: Explanation, dataset: LabeledImages) -> str:
    known, counts = explanation.provenance, explanation.frame["set"].value_counts()
    clean, training = int(counts.get("validation", 0)), int(counts.get("training", 0))
    return (
        "For: training on this image lowers the loss of the image in question under this label; against: it raises it "
        "(Eq. 20). Bars: share of the strongest of its set, for or against. Looked at "
        f"{f'{clean:,} clean and ' if clean else ''}{training:,} of {len(dataset):,} training images in "
        f"{duration(known.get('seconds'))}; "
        f"loss under this label {known['image']['loss']:.2f}. "
        + " ".join(plain(note) for note in known.get("notes", ()))
    )
