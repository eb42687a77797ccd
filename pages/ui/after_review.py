"""What a review is for: train again on the corrected labels, and let verified images join the clean set."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from fvm_core.data.dataset import DatasetSpec, LabeledImages
from fvm_core.data.registry import list_datasets
from fvm_core.files import slug, write_json
from fvm_core.jobs.find import find_jobs
from fvm_core.jobs.launch import start_job
from fvm_core.jobs.status import JobStatus
from fvm_core.models.store import ModelRecord, list_models
from fvm_core.provenance import digest
from fvm_core.review.decision import Decision
from fvm_core.review.export import Exported, corrected_labels, use_as_dataset, write_export
from fvm_core.review.log import DecisionLog
from fvm_core.review.outcome import outcome_of
from fvm_core.review.session import ReviewSession
from fvm_core.workspace import Workspace
from pages.ui import job_view, selection
from pages.ui.before_after import draw_comparison
from pages.ui.errors import shown
from pages.ui.links import link
from pages.ui.review_states import open_disputes
from pages.ui.text import plain
from pages.ui.train_form import PRESETS, preset_for
from pages.ui.tune_form import free_name, taken_names

VERIFIED = ("accept", "keep", "pick")
PART = "after_review"
TITLE = "After the review: train again on the corrected labels, let verified images join the clean set"
TABS = ("Retrain on the corrected labels", "Verified images join the clean set")


@st.fragment
def after_review(workspace: Workspace, log: DecisionLog, session: ReviewSession, dataset: LabeledImages) -> None:
    """Draw both ways on, each with its last job and what that came to; closed until somebody opens it, or while such a
    job runs. What counts is the outcome of all reviewers (`fvm_core.review.outcome`), whoever looks."""
    if PART not in st.session_state:
        with shown(stop=False):
            jobs = [_newest(workspace, kind, title) for kind, title in _titles(session).items()]
            st.session_state[PART] = any(job is not None and job.active for job in jobs)
    with st.expander(TITLE, icon=":material/model_training:", key=PART, on_change="rerun") as part:
        if part.open:
            _ways(workspace, log, session, dataset)


def _titles(session: ReviewSession) -> dict[str, str]:
    """Return the kinds of job that can be started here and the title of this review's."""
    return {
        "retrain": f"Retrain {session.dataset}, {session.name}",
        "join": f"Join {session.dataset}, {session.name}",
    }


def _ways(workspace: Workspace, log: DecisionLog, session: ReviewSession, dataset: LabeledImages) -> None:
    with shown():
        outcome = outcome_of(log, session.id)
        datasets = list_datasets(workspace)
    states = {sample: one for sample, one in outcome.states.items() if one.action in VERIFIED}
    if outcome.open:
        st.caption(open_disputes(outcome) + " Here such images keep their given label and are not verified.")
    others = [name for name in datasets if name != session.dataset]
    tabs = st.tabs(TABS, key="after_tab", on_change="rerun")  # only the open one is drawn
    for name, tab in zip(TABS, tabs, strict=True):
        if tab.open:
            with tab, shown(stop=False):
                draw = _retrain if name == TABS[0] else _join
                draw(workspace, session, dataset, states, datasets, others)


def _retrain(
    workspace: Workspace, session: ReviewSession, dataset: LabeledImages, states: Mapping[str, Decision],
    datasets: Mapping[str, DatasetSpec], others: list[str],
) -> None:  # fmt: skip
    st.markdown(
        "The same architecture, recipe and seed on the labels after your review; then both models on the clean images. "
        "A model that was not trained here on these labels is trained on the old ones first: only the labels differ."
    )
    changed = sum(one.label != one.given for one in states.values())
    records = list_models(workspace)
    fitting = [
        name for name, one in records.items()
        if one.role in ("base", "imported") and one.spec.num_classes == dataset.num_classes
    ]  # fmt: skip
    if not fitting or not others:
        st.info("A base model and a clean set of the same classes are needed.", icon=":material/info:")
        link("load" if not others else "tune")
        return
    ours = [name for name in fitting if records[name].dataset.get("fingerprint") == dataset.fingerprint]
    left, middle, right = st.columns(3, vertical_alignment="bottom")
    start = fitting.index(ours[0]) if ours else 0
    base = left.selectbox("Base model", fitting, index=start, key="after_base")
    clean = _clean_set(middle, others, "after_clean")
    name = right.text_input(
        "Name of the new model", f"{slug(base)[:50]}-corrected", max_chars=64, key=f"after_name_{base}"
    )
    preset = _preset(records[base], dataset)
    st.caption(f"{changed:,} labels changed so far. The clean images only measure: they train neither model.")
    title = _titles(session)["retrain"]
    if st.button("Retrain", icon=":material/model_training:", key="after_retrain", disabled=not changed):
        corrected = corrected_dataset(workspace, session, dataset, states)
        args = {
            "base": base, "dataset": session.dataset, "corrected": corrected, "validation": clean,
            "name": free_name(name, taken_names(workspace, records)), "preset": preset,
        }  # fmt: skip
        start_job(workspace, "retrain", args, title=title)
    status = _last(workspace, "retrain", title)
    if status is not None and status.state == "done" and status.result:
        draw_comparison(status.result)


def _join(
    workspace: Workspace, session: ReviewSession, dataset: LabeledImages, states: Mapping[str, Decision],
    datasets: Mapping[str, DatasetSpec], others: list[str],
) -> None:  # fmt: skip
    st.markdown(
        "Images whose label you accepted, kept or picked become clean images and leave the training set that is "
        "scored. Copies of them, byte for byte, leave it too. Then tune again: a larger clean set, the same base model."
    )
    if not others:
        st.info("There is no clean set yet.", icon=":material/info:")
        link("load")
        return
    left, middle, right = st.columns(3, vertical_alignment="bottom")
    clean = _clean_set(left, others, "join_clean")
    wide = middle.text_input(
        "Name of the new clean set", free_name(f"{clean}-verified", datasets), key=f"join_name_{clean}"
    )
    rest = right.text_input("Name of the others", free_name(f"{session.dataset}-unverified", datasets), key="join_rest")
    st.caption("A review starts with the most suspicious images: the new clean set holds more hard ones than chance.")
    title = _titles(session)["join"]
    if st.button(f"Join {len(states):,} verified images", icon=":material/merge:", key="join", disabled=not states):
        corrected = corrected_dataset(workspace, session, dataset, states)
        path = workspace.exports / f"dataset-{corrected}.verified-{digest(sorted(states))[:12]}.json"
        write_json(path, sorted(states))
        args = {"corrected": corrected, "validation": clean, "verified": str(path), "clean": wide, "rest": rest}
        start_job(workspace, "join", args, title=title)
    status = _last(workspace, "join", title)
    if status is not None and status.state == "done" and status.result:
        said = status.result
        st.success(
            f"{plain(said['clean'])} has {int(said['added']):,} images more; {plain(said['rest'])} has the others. "
            f"{int(said['known']):,} were in the clean set already, {int(said['copies']):,} copies were left out.",
            icon=":material/check:",
        )
        if st.button("Tune with it", icon=":material/tune:", key="join_tune"):
            selection.remember("validation", str(said["clean"]))
            selection.remember("dataset", str(said["rest"]))
            st.switch_page("pages/tune.py")


def corrected_dataset(
    workspace: Workspace, session: ReviewSession, dataset: LabeledImages, states: Mapping[str, Decision]
) -> str:
    """Return the name of the dataset version with the labels as they stand; made now unless these very labels were."""
    frame = corrected_labels(dataset, states)
    key = slug(f"{session.dataset[:48]}-{digest([dataset.fingerprint, frame['label'].tolist()])[:12]}")
    if key in list_datasets(workspace):
        return key

    def write(name: str) -> Exported:
        return write_export(workspace, name, frame, {"session": {"id": session.id, "name": session.name}})

    return use_as_dataset(workspace, key, dataset.spec, write)


def _clean_set(column: st.delta_generator.DeltaGenerator, others: list[str], key: str) -> str:
    preferred = selection.selected("validation")
    found = preferred if preferred in others else next((name for name in others if selection.held_out(name)), others[0])
    return str(column.selectbox("Clean set", others, index=others.index(found), key=key))


def _preset(record: ModelRecord, dataset: LabeledImages) -> str | None:
    """Ask for a recipe where the model's own is not known; None where it is."""
    if record.role == "base" and "epochs" in record.settings:
        return None
    options = list(PRESETS)
    return st.selectbox(
        "Recipe (this model was not trained here)", options, index=options.index(preset_for(dataset.spec)),
        format_func=PRESETS.__getitem__, key="after_preset",
    )  # fmt: skip


def _newest(workspace: Workspace, kind: str, title: str) -> JobStatus | None:
    return next((one for one in find_jobs(workspace, kind) if one.title == title), None)


def _last(workspace: Workspace, kind: str, title: str) -> JobStatus | None:
    found = _newest(workspace, kind, title)
    return job_view.watch(workspace, found.id, key=kind) if found else None
