"""What every method and model says of one image, and the images that the model sees as most alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from fvm_core.data.dataset import LabeledImages
from fvm_core.embedding.store import Seen, neighbours_path
from fvm_core.errors import FVMError
from fvm_core.influence.methods import METHODS
from fvm_core.influence.standing import Standing, quantiles, standing
from fvm_core.influence.store import ROLES
from fvm_core.workspace import Workspace
from pages.ui.evidence_cards import STYLE, card, image
from pages.ui.links import link
from pages.ui.neighbours import neighbour_table
from pages.ui.score_sets import FileKey, ScoreFile, modified
from pages.ui.text import plain
from pages.ui.theme import CLEAN, MISLABELED
from pages.ui.thumbnails import thumbnail

APART = 20.0
"""Points between two percentiles from which on VM and FVM are said to differ."""


def draw_table(files: Sequence[ScoreFile], file: ScoreFile, names: Sequence[str], row: int) -> None:
    """Draw a line for each score file of the dataset of `file` that has the sample at `row`: `file` comes first, then
    the other methods of its model."""
    same = sorted(
        (item for item in files if item.fingerprint == file.fingerprint),
        key=lambda item: (item.run != file.run, item.key != file.key),
    )
    found: list[tuple[ScoreFile, Standing]] = []
    for item in same:
        try:
            where = _standing(item.key, row)
        except FVMError:
            continue
        if where is not None:
            found.append((item, where))
    st.markdown("**What each method says of it**")
    st.dataframe(
        table(found, names), hide_index=True, key="evidence_methods", height=min(38 * len(found) + 40, 320),
        column_config={
            "method": st.column_config.TextColumn(width=330),
            "score": st.column_config.NumberColumn(format="%.4g"),
            "more suspicious than": st.column_config.ProgressColumn(format="%.1f %%", min_value=0, max_value=100),
        },
    )  # fmt: skip
    if words := differences(found, names):
        st.caption(words)


def table(found: Sequence[tuple[ScoreFile, Standing]], names: Sequence[str]) -> pd.DataFrame:
    """Return columns model, method, score, more suspicious than (percent of the list), suggests."""
    rows = [
        {
            "model": _model(item), "method": METHODS[item.method].title, "score": where.score,
            "more suspicious than": where.percentile, "suggests": _name(names, where.suggested),
        }
        for item, where in found
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["model", "method", "score", "more suspicious than", "suggests"])


def differences(found: Sequence[tuple[ScoreFile, Standing]], names: Sequence[str]) -> str:
    """Say, a sentence a method, where VM (SGD) and FVM (a sharpness-aware solver) disagree; "" where they do not."""
    by_method: dict[str, dict[str, Standing]] = {}
    for item, where in found:
        if item.final and item.role in ("vm", "fvm"):
            by_method.setdefault(item.method, {}).setdefault(item.role, where)
    words = []
    for method, pair in by_method.items():
        if len(pair) < 2:
            continue
        vm, fvm = pair["vm"], pair["fvm"]
        parts = []
        if vm.suggested != fvm.suggested:
            parts.append(f"VM suggests {_name(names, vm.suggested)}, FVM {_name(names, fvm.suggested)}")
        if abs(vm.percentile - fvm.percentile) >= APART:
            parts.append(f"VM finds it more suspicious than {vm.percentile:.0f} %, FVM than {fvm.percentile:.0f} %")
        if parts:
            words.append(f"{METHODS[method].title}: {'; '.join(parts)}.")
    return plain(" ".join(words))


def _model(item: ScoreFile) -> str:
    epoch = item.provenance.get("model", {}).get("epoch")
    name = ROLES.get(item.role, item.model)
    return name if epoch is None else f"{name}, epoch {epoch}"


def _name(names: Sequence[str], label: int) -> str:
    return names[label] if 0 <= label < len(names) else "–"


@st.cache_data(max_entries=512, show_spinner=False)
def _standing(file: FileKey, row: int) -> Standing | None:
    return standing(file[0], row, _quantiles(file))


@st.cache_resource(max_entries=128, show_spinner=False)
def _quantiles(file: FileKey) -> NDArray[np.float64]:
    return quantiles(file[0])


def draw_nearest(workspace: Workspace, file: ScoreFile, dataset: LabeledImages, row: int) -> None:
    """Draw the training images that are nearest to the one at `row` in the model's features, with their labels."""
    st.markdown("**The most alike training images, to the model**")
    try:
        path = neighbours_path(workspace, Seen.behind(file.provenance))
        near = neighbour_table((str(path), modified(path))) if path.exists() else None
    except FVMError as error:
        st.caption(plain(str(error)))
        return
    if near is None:
        st.caption("They are found when the map of this model is made.")
        link("map", "Make the map")
        return
    places, similarity, _ = near.of(row)
    given = int(dataset.labels[row])
    alike = int((dataset.labels[places] == given).sum())
    st.caption(f"{alike} of the {len(places)} have the label {plain(dataset.class_names[given])}.")
    pairs = zip(places.tolist(), similarity.tolist(), strict=True)
    cards = "".join(_card(dataset, given, place, value) for place, value in pairs)
    st.html(f'{STYLE}<div class="fvm-side">{cards}</div>')


def _card(dataset: LabeledImages, given: int, place: int, similarity: float) -> str:
    label = int(dataset.labels[place])
    picture = image(thumbnail(dataset, place)[0], str(dataset.ids[place]))
    colour = CLEAN if label == given else MISLABELED
    return card(picture, dataset.class_names[label], f"{similarity:.2f}", colour, 100 * similarity)
