"""Learn page: from a gradient to a flag. One image, the terms of its score by layer, and why the smallest sum wins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from fvm_core.errors import FVMError
from fvm_core.influence.explanations import Question
from fvm_core.influence.store import read_scores
from fvm_core.jobs.find import find_jobs
from fvm_core.learn.flag_key import flag_key
from fvm_core.learn.settings import FlagSettings
from fvm_core.learn.store import FLAG, learn_path, read_table
from fvm_core.workspace import Workspace
from pages.ui import job_view, learn_questions, take_away
from pages.ui.evidence_cards import picture
from pages.ui.figures import finish, text
from pages.ui.links import link
from pages.ui.score_choice import scored_dataset
from pages.ui.score_sets import FileKey, ScoreFile
from pages.ui.text import plain
from pages.ui.theme import CLEAN, FVM, MISLABELED, NEUTRAL
from pages.ui.thumbnails import thumbnail

NUMBERS = ("gradient g", "Fisher F", "g² / (F + d)")
BY_LAYER = ("length of g", "mean of F", "sum of g² / (F + d)")
INKS = (CLEAN, MISLABELED, FVM, "#E69F00", "#56B4E9", "#CC79A7", NEUTRAL)


@st.cache_data(show_spinner=False, max_entries=4)
def _scores(key: FileKey) -> pd.DataFrame:
    frame = read_scores(key[0], columns=["id", "row", "label", "clean_label", "score", "suggested"]).frame
    return frame.sort_values("score", ascending=False, ignore_index=True)


def draw(workspace: Workspace, files: Sequence[ScoreFile]) -> None:
    """Draw the part from the influence scores there are."""
    st.markdown("The score of an image is a sum with one term for each weight of the network:")
    st.latex(
        r"s(z)=\sum_j\frac{g_j^2}{F_j+d}\quad\text{(Eq. 21, 24)},\qquad g=\nabla_\theta\,\ell(z,\tilde\theta),\qquad "
        r"\hat y=\arg\min_k\, s(x,k)\quad\text{(Eq. 22)}"
    )
    able = [item for item in files if item.method == "influence"]
    if not able:
        st.info("There are no influence scores yet. The demo makes some; else the Score page.", icon=":material/flag:")
        link("score", "Score a dataset under a tuned model")
        return
    paths = {item.path: item for item in reversed(able)}
    bar = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    file = paths[
        bar.selectbox("Scores", list(paths), key="flag_file", width=330, format_func=lambda path: paths[path].label)
    ]
    frame = _scores(file.key)
    names = [str(name) for name in file.provenance.get("class_names", ())]
    place = int(bar.number_input("Rank, most suspicious first", 1, len(frame), 1, key="flag_rank", width=240)) - 1
    row = frame.iloc[place]
    _picture(file, row, names)
    question = Question.about(file.provenance, of="training", id=str(row["id"]), label=int(row["label"]))
    settings = FlagSettings(damping=float(file.provenance.get("settings", {}).get("damping", 1e-8)))
    key = flag_key(question, settings)
    path = learn_path(workspace, "flag", key)
    if not path.exists():
        _ask(workspace, file, question, settings, key)
        return
    found = read_table(path, FLAG)
    _terms(found.frame, row, names)
    learn_questions.draw("flag")


def _picture(file: ScoreFile, row: pd.Series, names: Sequence[str]) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        try:
            dataset = scored_dataset(file)
            st.html(picture(thumbnail(dataset, int(row["row"]))[0], str(row["id"])), width="content")
        except FVMError as error:
            st.caption(plain(error))
        truth = f", true label **{plain(names[int(row['clean_label'])])}**" if row["clean_label"] >= 0 else ""
        st.markdown(
            f"{plain(row['id'])}: given label **{plain(names[int(row['label'])])}**{truth}, s = **{row['score']:.4g}**"
        )


def _ask(workspace: Workspace, file: ScoreFile, question: Question, settings: FlagSettings, key: str) -> None:
    jobs = find_jobs(workspace, "flag", key=key)
    if jobs and job_view.watch(workspace, jobs[0].id, key="flag").active:
        return
    if not jobs:
        job_view.show_error()
    args: dict[str, Any] = {
        "model": file.model, "dataset": file.dataset, "validation": str(file.provenance["validation"].get("name", "")),
        "id": question.id, "settings": settings.to_json(), "expected": question.hashes(), "key": key,
    }  # fmt: skip
    epoch = file.provenance["model"].get("epoch")
    if epoch is not None:
        args["checkpoint"] = epoch
    st.button(
        "Open up this score", type="primary", icon=":material/flag:", key="flag_start", on_click=job_view.start,
        args=(workspace, "flag", args, f"Terms of {args['id']} under {args['model']}"),
    )  # fmt: skip
    st.caption("A few seconds; the first image of a model takes longer, as its Fisher is made then and kept.")


@st.fragment
def _terms(frame: pd.DataFrame, row: pd.Series, names: Sequence[str]) -> None:
    sums = layer_sums(frame)
    totals = sums.sum(axis=1).to_numpy()
    given, best = int(row["label"]), int(totals.argmin())
    away = abs(totals[given] / row["score"] - 1) if row["score"] else abs(totals[given])
    st.markdown(
        f"All terms of the given label add up to **{totals[given]:.6g}**; the score file has **{row['score']:.6g}** "
        f"(they differ by {away:.1e}). The smallest sum is that of **{plain(names[best])}**, {totals[best]:.3g}: "
        f"{'the given label' if best == given else 'the suggested label'}."
    )
    take_away.draw(
        sums_chart(sums, names, given, best), name="flag-labels",
        data=sums.rename_axis("label").reset_index().melt("label", var_name="layer", value_name="sum of terms"),
        alt="Sum of the terms under each label, by layer",
    )  # fmt: skip
    st.caption(
        "Why the smallest wins: a label that the model already believes leaves it almost no gradient, so believing it "
        "would hardly move the weights; a wrong one pulls hard, and counts most at weights that no clean image needs "
        "(small F)."
    )
    label = st.selectbox(
        "Largest terms of the label", range(len(names)), index=given, key=f"flag_label_{row['row']}", width=260,
        format_func=names.__getitem__,
    )  # fmt: skip
    number = {key: st.column_config.NumberColumn(key, format="scientific") for key in (*NUMBERS, *BY_LAYER)}
    st.markdown(f"**By layer**, given that the image were labelled {plain(names[int(label)])}:")
    st.dataframe(by_layer(frame, int(label)), hide_index=True, key="flag_layers", column_config=number)
    st.markdown("**The largest single terms**, over all layers:")
    st.dataframe(largest(frame, int(label)), hide_index=True, key="flag_terms", column_config=number)


def layer_sums(frame: pd.DataFrame) -> pd.DataFrame:
    """Return (labels, layers): the sum of a layer's terms under each label, layers in the network's order."""
    whole = frame[frame["index"] < 0]
    table = whole.pivot_table(index="label", columns="layer", values="term", aggfunc="sum", sort=False)
    order = whole["layer"].drop_duplicates()
    return table[sorted(order, key=list(order)[::-1].index)].sort_index()


def by_layer(frame: pd.DataFrame, label: int) -> pd.DataFrame:
    """Return one row a layer, in the network's order: the gradient's length, F's mean over the layer's parameters (each
    of them counted alike), the sum of its terms, and the share of s that it is."""
    rows = frame[(frame["label"] == label) & (frame["index"] < 0)]
    parts = rows.assign(square=rows["gradient"] ** 2).groupby("layer", sort=False)
    table = parts.agg(square=("square", "sum"), fisher=("fisher", "mean"), term=("term", "sum")).iloc[::-1]
    total = table["term"].sum()
    shares = [f"{value:.1%}" for value in table["term"] / total] if total else ""
    return pd.DataFrame(
        {"layer": table.index, BY_LAYER[0]: table["square"].to_numpy() ** 0.5, BY_LAYER[1]: table["fisher"].to_numpy(),
         BY_LAYER[2]: table["term"].to_numpy(), "share of s": shares}
    )  # fmt: skip


def largest(frame: pd.DataFrame, label: int, *, count: int = 15) -> pd.DataFrame:
    """Return the largest listed terms of a label over all layers, with the share of s that each is."""
    of_label = frame[frame["label"] == label]
    total = of_label.loc[of_label["index"] < 0, "term"].sum()
    rows = of_label[of_label["index"] >= 0].nlargest(count, "term")
    return pd.DataFrame(
        {
            "parameter": rows["parameter"], "entry": rows["index"], "gradient g": rows["gradient"],
            "Fisher F": rows["fisher"], "g² / (F + d)": rows["term"],
            "share of s": [f"{value:.1%}" for value in rows["term"] / total] if total else "",
        }
    )  # fmt: skip


def sums_chart(sums: pd.DataFrame, names: Sequence[str], given: int, best: int) -> go.Figure:
    """Return one bar a label, stacked by layer (six, the rest together); given and smallest are named."""
    marks = {given: " (given)"} | {best: " (smallest)" if best != given else " (given, smallest)"}
    labels = [f"{text(names[int(k)])}{marks.get(int(k), '')}" for k in sums.index]
    order = sums.sum().sort_values(ascending=False).index
    shown = list(order[: len(INKS) - 1])
    figure = go.Figure()
    for ink, layer in zip(INKS, shown, strict=False):
        figure.add_bar(x=labels, y=sums[layer], name=text(layer), marker={"color": ink})
    if len(order) > len(shown):
        figure.add_bar(
            x=labels, y=sums[list(order[len(shown) :])].sum(axis=1), name="other layers", marker={"color": INKS[-1]}
        )
    figure.update_xaxes(type="category", categoryorder="array", categoryarray=labels)
    figure.update_yaxes(title_text="s, as a sum over layers", exponentformat="power")
    return finish(figure, height=400, barmode="stack", legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"})
