"""Review page, below the gallery: which images speak for and against a label of the image that was asked about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from fvm_core.data.dataset import DatasetSpec, LabeledImages
from fvm_core.data.validation import with_names_of
from fvm_core.errors import DataError
from fvm_core.influence.explain_settings import ExplainSettings
from fvm_core.influence.explanations import Question, explanation_path, read_explanation
from fvm_core.jobs.find import find_jobs
from fvm_core.workspace import Workspace
from pages.ui import evidence_cards, evidence_methods, job_view
from pages.ui.errors import shown
from pages.ui.open_data import open_scored
from pages.ui.score_sets import ScoreFile
from pages.ui.text import plain
from pages.ui.thumbnails import thumbnail

SETTINGS = ExplainSettings()
SOURCES = {"training": "The image picked above", "validation": "An image of the clean set"}


def draw(
    workspace: Workspace, file: ScoreFile, files: Sequence[ScoreFile], dataset: LabeledImages,
    picked: int | None, proposed: int,
) -> None:  # fmt: skip
    """Draw the panel for the image `picked` (its row) or for one of the clean set, or how to pick one.

    `file` are the scores whose model and validation set are asked, `files` all score files, those of other methods and
    models among them. `proposed` is the label that `file` suggests for the image, -1 for none.
    """
    panel = st.container(key="review_explain")
    panel.subheader("What speaks for and against this label", anchor="explain")
    with panel.container(border=True), shown(stop=False):
        of = st.segmented_control(
            "Ask about", list(SOURCES), default="training", required=True, key="explain_of",
            format_func=SOURCES.__getitem__, label_visibility="collapsed",
        )  # fmt: skip
        if of == "validation":
            source = _clean_set(file, dataset)
            row = _clean_row(source)
            suggested = -1
        elif picked is None:
            st.caption(
                "Press **E** on an image of the gallery, or its Explain button, to see here what every method says of "
                "it and which training images are most alike. From there **Explain this image** looks for the clean "
                "and the training images that speak most for and against its label."
            )
            return
        else:
            source, row, suggested = dataset, picked, proposed
        identity = str(source.ids[row])
        with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
            st.html(evidence_cards.picture(thumbnail(source, row)[0], identity), width="content")
            with st.container():
                st.caption(plain(identity))
                label = _label(source, row, suggested)
        if of == "training":
            evidence_methods.draw_table(files, file, dataset.class_names, row)
            evidence_methods.draw_nearest(workspace, file, dataset, row)
        question = Question.about(file.provenance, of=str(of), id=identity, label=label)
        _explanation(workspace, file, dataset, question)


def _clean_set(file: ScoreFile, dataset: LabeledImages) -> LabeledImages:
    """Return the clean set behind the scores, its classes numbered as those of the training set.

    Raises:
        DataError: it cannot be opened, or it changed since.
    """
    known = file.provenance.get("validation", {})
    if "spec" not in known:
        raise DataError("these scores do not say which clean set they come from. Score again.")
    source = open_scored(
        DatasetSpec.from_json(known["spec"]), name=str(known.get("name", "")), fingerprint=known["fingerprint"]
    )
    return with_names_of(source, dataset.class_names, num_classes=dataset.num_classes)


def _clean_row(source: LabeledImages) -> int:
    number = st.number_input(
        f"Image of the clean set, 1 to {len(source):,}", 1, len(source), key="explain_clean", width=260,
        help="The training images that speak for and against this clean image's label are looked for.",
    )  # fmt: skip
    return int(number) - 1


def _label(dataset: LabeledImages, row: int, suggested: int) -> int:
    """Draw the choice between the given and the suggested label and return it."""
    given = int(dataset.labels[row])
    words = {given: "given"} | ({suggested: "suggested"} if suggested not in (-1, given) else {})
    chosen = st.segmented_control(
        "Label in question", list(words), default=given, required=True, key=f"explain_label_{row}_{suggested}_{given}",
        format_func=lambda label: f"{plain(dataset.class_names[label])} ({words[label]})",
    )  # fmt: skip
    return given if chosen is None else int(chosen)


def _explanation(workspace: Workspace, file: ScoreFile, dataset: LabeledImages, question: Question) -> None:
    """Draw the explanation that is there, the job that makes it, or the button that starts one."""
    key = question.key(SETTINGS)
    path = explanation_path(workspace, key)
    if path.exists():
        evidence_cards.draw(read_explanation(path), dataset)
        return
    jobs = find_jobs(workspace, "explain", key=key)
    if jobs:
        job = job_view.watch(workspace, jobs[0].id, key="explain")
        if job.active:
            return
        if job.state == "done":
            st.warning("The explanation was made, but its file is gone. Make it again.", icon=":material/warning:")
    else:
        job_view.show_error()
    args = _arguments(file, question, key)
    st.button(
        "Explain this image", type="primary", icon=":material/balance:", key="explain_start", on_click=job_view.start,
        args=(workspace, "explain", args, f"Explain {question.id} with {file.model}"),
    )  # fmt: skip
    st.caption(
        f"Asks the model {plain(file.model)} (Eq. 20). The first question to a model takes longer: its Fisher matrix "
        "is kept for the next ones."
    )


def _arguments(file: ScoreFile, question: Question, key: str) -> dict[str, Any]:
    known = file.provenance
    args = {
        "model": file.model, "dataset": file.dataset, "validation": str(known.get("validation", {}).get("name", "")),
        "of": question.of, "id": question.id, "label": question.label, "settings": SETTINGS.to_json(),
        "expected": question.hashes(), "key": key,
    }  # fmt: skip
    epoch = known["model"].get("epoch")
    return args if epoch is None else {**args, "checkpoint": epoch}
