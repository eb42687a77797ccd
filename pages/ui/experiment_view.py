"""Experiments page, last part: tables and figures of one experiment, ours beside the paper's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import streamlit as st

from fvm_core.experiments.differences import differences
from fvm_core.experiments.published import METRICS, PLACES, PUBLISHED, SETTINGS
from fvm_core.experiments.render import BEATEN, csv, markdown, notes, pivot, shown, verdicts
from fvm_core.experiments.results import Result, list_experiments, read_results, result_path
from fvm_core.experiments.store import experiment_folder
from fvm_core.experiments.tables import TABLES
from fvm_core.workspace import Workspace
from pages.ui import chart
from pages.ui.experiment_figures import along_training, newton_gaps
from pages.ui.experiment_form import TITLES
from pages.ui.figures import snapshot_auc, snapshot_boxes
from pages.ui.links import ROOT
from pages.ui.scales import fit_scale
from pages.ui.text import plain

COMMITTED = ROOT / "assets" / "experiments"


def sources(workspace: Workspace) -> dict[str, Path]:
    """Return the folders with results by what they are called: the workspace's, then those that came with the app."""
    found = {name: experiment_folder(workspace, name) for name in list_experiments(workspace)}
    for folder in (COMMITTED, *sorted(path for path in COMMITTED.glob("*") if path.is_dir())):
        if any(folder.glob("*.parquet")):
            label = "came with the app" if folder == COMMITTED else f"{folder.name} (came with the app)"
            found[label] = folder
    return found


def draw(workspace: Workspace) -> None:
    """Draw the choice of experiment and of table, then that table."""
    known = sources(workspace)
    if not known:
        st.info("No experiment has been run yet. Start one above.", icon=":material/science:")
        return
    label = next(iter(known))
    if len(known) > 1:
        label = st.selectbox("Experiment", list(known), key="experiment_shown")
    folder = known[label]
    results = read_results(folder)
    if not results:
        st.info("This experiment has no table yet.", icon=":material/science:")
        return
    if folder.is_relative_to(COMMITTED):
        st.info(
            "These results came with the app; they were not measured on this machine.", icon=":material/inventory_2:"
        )
    key = st.pills(
        "Table or figure", list(results), default=next(iter(results)), required=True, key=f"experiment_key_{label}",
        format_func=lambda key: TITLES[key].partition(":")[0],
    )  # fmt: skip
    result = results[key]
    st.subheader(TITLES[key], anchor=False)
    st.caption(plain(origin(result), limit=1000))
    if key in TABLES:
        draw_table(result)
    else:
        draw_figure(result)
    found = differences(result)
    if found:
        with st.expander("What differs from the paper's settings", icon=":material/difference:"):
            st.markdown("\n".join(f"- {plain(each, limit=600)}" for each in found))
    downloads(folder, results, key)


def origin(result: Result) -> str:
    """Return in one line what was measured, on what, where and when."""
    frame, about = result.frame, result.about
    preset: Mapping[str, object] = about.get("preset", {})
    build: Mapping[str, object] = preset.get("build", {})  # type: ignore[assignment]
    model = about.get("grid", {}).get("model")
    network = f"base model {model}" if model else f"{build.get('arch')}, width {build.get('width')}"
    seeds = {str(name): sorted(set(part["seed"])) for name, part in frame.groupby("dataset")}
    data = "; ".join(f"{name}, seeds {', '.join(map(str, each))}" for name, each in seeds.items())
    where = " · ".join(str(about.get(name, "?")) for name in ("machine", "created"))
    return f"{network} · {data} · preset {preset.get('name')} · {where}"


def draw_table(result: Result) -> None:
    """Draw ours beside the paper's, what beats it, and what has to be said; of several datasets one at a time."""
    frame = result.frame
    names = sorted(set(frame["dataset"]))
    if len(names) > 1:
        first = next((name for name in names if "worse" in name), names[0])
        name = st.segmented_control(
            "Dataset", names, default=first, required=True, format_func=plain, key=f"experiment_data_{result.key}"
        )
        frame = frame[frame["dataset"] == name]
    table = pivot(result.key, frame).rename(columns=plain)
    table["Method"] = table["Method"].map(plain)
    st.table(table.set_index("Method"), border="horizontal")
    title, place = PLACES[result.key]
    st.caption(f"Mean ± standard deviation over seeds, in percent. Paper: {title}, {place}.")
    for sentence in verdicts(result.key, frame):
        st.markdown(f":orange[:material/balance:] {BEATEN} {plain(sentence, limit=400)}")
    for sentence in notes(result):
        st.caption(plain(sentence, limit=1200))
    with st.expander("The paper's table in full", icon=":material/menu_book:"):
        st.table(printed(result.key), border="horizontal")


def printed(key: str) -> pd.DataFrame:
    """Return the paper's table as it is printed, a column a dataset and metric."""
    rows: dict[str, dict[str, str]] = {}
    for cell in PUBLISHED:
        if cell.table == key:
            label = cell.row if cell.share == 1 else f"{cell.row}, {cell.share:g} of the validation set"
            std = float("nan") if cell.std is None else cell.std
            rows.setdefault(label, {})[f"{SETTINGS[cell.setting]}, {METRICS[cell.metric]}"] = shown(cell.mean, std)
    frame = pd.DataFrame.from_dict(rows, orient="index").fillna("–")
    return frame.set_axis([plain(label) for label in frame.index], axis=0)


def draw_figure(result: Result) -> None:
    """Draw the figure of the paper with our numbers."""
    frame = result.frame
    if result.key == "figure1":
        chart.draw(newton_gaps(frame), name="figure1", data=frame, alt="Gap of first- and second-order estimates")
        st.caption(
            f"Medians over {frame['sample'].nunique()} training samples. Each moves the weights by its Newton step "
            "(Eq. 18) under the diagonal Fisher of the validation set, scaled to the lengths shown; SAM's radius is "
            "0.05. The gap is |true change - estimate| of the validation risk."
        )
    elif result.key == "figure2":
        chart.draw(along_training(frame), name="figure2", data=frame, alt="Accuracy and AUC over the epochs")
        st.caption("TracIn at an epoch sums over the checkpoints up to it.")
    else:
        left, right = st.columns(2, gap="medium")
        with left:
            st.markdown("**(a) Finding wrong labels**")
            curves = frame[["step", "method", "auc"]].assign(auc=frame["auc"] / 100)
            chart.draw(snapshot_auc(curves), name="figure3a", data=curves, alt="ROC AUC over tuning steps")
        with right:
            st.markdown("**(b) Standard influence of clean samples**")
            boxes = frame[frame["method"] == "standard"]
            scale = fit_scale(boxes[["low", "q1", "median", "q3", "high"]])
            figure = snapshot_boxes(boxes, axis="Standard influence (negative = harmful)", scale=scale)
            chart.draw(figure, name="figure3b", data=boxes, alt="Box plots of the standard influence over steps")
        st.caption("Boxes: quartiles and median; whiskers: 5% and 95%.")


def downloads(folder: Path, results: dict[str, Result], key: str) -> None:
    """Draw the buttons that take the results home."""
    with st.container(horizontal=True):
        for label, name, mime, data in (
            ("Markdown", f"{key}.md", "text/markdown", lambda: markdown(results[key]).encode()),
            ("All tables as CSV", "tables.csv", "text/csv", lambda: csv(results).encode()),
            ("Parquet", f"{key}.parquet", "application/octet-stream", result_path(folder, key).read_bytes),
        ):
            st.download_button(
                label, data=data, file_name=name, mime=mime, key=f"experiment_{name}", icon=":material/download:",
                type="tertiary", on_click="ignore",
            )  # fmt: skip
