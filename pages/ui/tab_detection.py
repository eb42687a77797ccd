"""Compare page, second tab: how well each method finds wrong labels and suggests right ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from fvm_core.visible import visible
from pages.ui import chart, figure_table
from pages.ui.comparison import Samples, keys_of, shared_samples, values
from pages.ui.detection import detection_curves, detection_table
from pages.ui.figures import detection
from pages.ui.kept import kept
from pages.ui.score_sets import BASELINES, FileKey, ScoreFile, labels_of, line_styles
from pages.ui.text import plain
from pages.ui.verdict import verdicts

COLUMNS = {
    "auc": "ROC AUC (%)",
    "ap": "AP (%)",
    "precision": "Precision@k (%)",
    "relabel_all": "Relabel, all (%)",
    "relabel_wrong": "Relabel, wrong labels (%)",
    "speed": "Samples/s",
}
LOOK = {
    "beaten": ("orange", ":material/balance:"),
    "ahead": ("green", ":material/trending_up:"),
    "level": ("gray", ":material/balance:"),
    "alone": ("gray", ":material/help:"),
}


def printed(table: pd.DataFrame, k: int) -> tuple[pd.DataFrame, list[list[bool]]]:
    """Return the table as texts, figures in percent with two decimals, and which cells are the best of their column."""
    result = pd.DataFrame(index=pd.Index([visible(label, limit=300) for label in table["label"]], name="Method"))
    best = []
    for key, name in COLUMNS.items():
        numbers = table[key].to_numpy(dtype=float)
        digits = 0 if key == "speed" else 2
        result[name.replace("@k", f"@{k:,}")] = [
            "–" if np.isnan(number) else f"{number:,.{digits}f}" for number in numbers
        ]
        ranked = key != "speed" and len(numbers) > 1 and not np.isnan(numbers).all()
        top = round(float(np.nanmax(numbers)), 2) if ranked else np.nan
        best.append([round(float(number), 2) == top for number in numbers])
    return result, [list(row) for row in zip(*best, strict=True)]


def draw(files: Sequence[ScoreFile], everything: Sequence[ScoreFile]) -> None:
    """Draw the tab; `everything` are all files of the dataset, so that baselines not chosen are still held against."""
    samples = shared_samples(files)
    total, wrong = int(samples.known.sum()), int(samples.wrong.sum())
    if not total or wrong in (0, total):
        _without_truth(files, samples, total, wrong)
        return
    options = sorted({k for k in (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000) if k < total} | {wrong})
    k = st.select_slider(
        "k: how many of the most suspicious samples are looked at", options, persist_state="session",
        key=kept("detection_k", options, wrong),
        format_func=lambda k: f"{k:,}" + (" (all wrong labels)" if k == wrong else ""), width=420,
    )  # fmt: skip
    table = detection_table(files, k=k)
    cells, best = printed(table, k)
    st.html(figure_table.table(cells, best=best, alt="How well each method finds wrong labels and suggests right ones"))
    chart.csv_button(table.drop(columns="model"), name="detection")
    st.caption(
        f"Over {total:,} samples whose true label is known, {wrong:,} of them mislabeled ({100 * wrong / total:.1f}%). "
        "Relabel: share of suggested labels that are the true one, over all samples and over the mislabeled ones."
    )
    _verdicts(files, everything)

    def both() -> pd.DataFrame:
        roc, recall = detection_curves(files)
        return pd.concat([roc.assign(curve="roc"), recall.assign(curve="precision-recall")], ignore_index=True)

    chart.draw(
        _figure(keys_of(files), labels_of(files), files, wrong / total), name="detection-curves", data=both,
        alt="ROC and precision-recall curves of the chosen methods",
    )  # fmt: skip


@st.cache_resource(show_spinner=False, max_entries=24)
def _figure(
    keys: tuple[FileKey, ...], labels: tuple[str, ...], _files: Sequence[ScoreFile], prevalence: float
) -> go.Figure:
    return detection(*detection_curves(_files), line_styles(_files), prevalence)


def _verdicts(files: Sequence[ScoreFile], everything: Sequence[ScoreFile]) -> None:
    """Say for each chosen influence score whether a plain baseline of its model does better."""
    judged = [item for item in files if item.method not in BASELINES]
    models = {(item.run, item.model_hash) for item in judged}
    rivals = [item for item in everything if item.method in BASELINES and (item.run, item.model_hash) in models]
    if not judged:
        return
    court = [*judged, *rivals]
    samples = shared_samples(court)
    wrong, clean = int(samples.wrong.sum()), int((samples.known & ~samples.wrong).sum())
    if not wrong or not clean:
        return
    said = [
        ":{}[{}] {}".format(*LOOK[kind], plain(sentence, limit=600))
        for kind, sentence in verdicts(detection_table(court, k=1), wrong=wrong, clean=clean)
    ]
    st.markdown("\n\n".join(said))  # one element: a browser takes longer for an element than for its words


def _without_truth(files: Sequence[ScoreFile], samples: Samples, total: int, wrong: int) -> None:
    """Say why there are no figures and show what can be shown: how often labels would be changed."""
    if not total:
        reason = "No clean labels are known for this dataset, so AUC, AP and relabel accuracy cannot be computed."
    else:
        kind = "mislabeled" if wrong else "clean"
        reason = f"All {total:,} samples with a known truth are {kind}: there is nothing to tell apart."
    st.info(
        f"{reason} What can be seen without the truth: how many labels each method would change, and (in the other "
        "tabs) where methods agree and disagree. The Review page lets you check the top of the list by eye.",
        icon=":material/visibility_off:",
    )
    rows = []
    for item in files:
        suggested = values(files, item, "suggested")
        changed = (suggested != -1) & (suggested != samples.labels)
        rows.append(
            {
                "Method": item.label,
                "Samples": len(samples),
                "Labels it would change": int(changed.sum()) if (suggested != -1).any() else None,
                "Share (%)": 100 * float(np.mean(changed)) if (suggested != -1).any() else None,
            }
        )
    frame = pd.DataFrame(rows)
    st.dataframe(
        frame, hide_index=True, alt="How many labels each method would change",
        column_config={"Share (%)": st.column_config.NumberColumn(format="%.1f")},
    )  # fmt: skip
    chart.csv_button(frame, name="suggested-changes")
