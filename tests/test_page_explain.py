"""The Review page's panel on what speaks for and against a label: empty, to be asked, running, failed, done."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from app_pages import button, ended_job, labels, open_page, running_job, texts, visible
from score_files import write_score_file
from streamlit.testing.v1 import AppTest

from fvm_core.data.dataset import DatasetSpec, LabeledImages
from fvm_core.data.registry import add_dataset, open_named
from fvm_core.embedding.store import NEIGHBOUR_SCHEMA, Seen, neighbours_path, write_frame
from fvm_core.errors import JobError
from fvm_core.influence.explain_settings import ExplainSettings
from fvm_core.influence.explanations import Question, explanation_path, write_explanation
from fvm_core.review.log import DecisionLog
from fvm_core.review.session import open_session
from fvm_core.workspace import Workspace
from pages.ui import gallery as gallery_module
from pages.ui.gallery import KEY

CLEAN = DatasetSpec("digits", label="clean", options={"split": "validation"})
PLACE = 5


@pytest.fixture(autouse=True)
def component(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gallery's component needs a browser."""
    monkeypatch.setattr(gallery_module, "_component", lambda **_: None)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Jobs that the panel asked for; none is run."""
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(
        "pages.ui.job_view.start_job", lambda ws, kind, args, title: calls.append({"kind": kind, **args})
    )
    return calls


def scored(
    workspace: Workspace, clean: LabeledImages | None = None, *, fingerprint: str = ""
) -> tuple[LabeledImages, dict[str, Any]]:
    """Return the digits and what their score file says of itself; a review of them is open. `clean`: the clean set that
    the file names, by its own fingerprint or another one."""
    add_dataset(workspace, "digits", DatasetSpec("digits", label="noisy"))
    digits = open_named(workspace, "digits")
    assert digits.clean_labels is not None
    scores = np.random.default_rng(0).lognormal(0, 1, (len(digits), 10))
    scores[np.arange(len(digits)), (digits.labels + 1) % 10] = 1e-3
    known = clean and {
        "name": "clean", "spec": clean.spec.to_json(), "fingerprint": fingerprint or clean.fingerprint
    }  # fmt: skip
    provenance = write_score_file(
        workspace.scores / "digits-fvm" / "influence.parquet", digits, scores, validation=known
    )
    log = DecisionLog(workspace.review_url)
    open_session(log, name="first", reviewer="Ada", dataset="digits", fingerprint=digits.fingerprint)
    return digits, provenance


def ask(picked: object) -> AppTest:
    """Return the page after the browser asked about an image."""
    page = open_page("review")
    page.session_state[KEY] = {"asked": {"id": picked}}
    page.run()
    assert not page.exception, page.exception[0].message
    return page


def question(digits: LabeledImages, provenance: dict[str, Any], label: int | None = None) -> Question:
    given = int(digits.labels[PLACE])
    return Question.about(
        provenance, of="training", id=str(digits.ids[PLACE]), label=given if label is None else label
    )  # fmt: skip


def explain(
    workspace: Workspace, digits: LabeledImages, provenance: dict[str, Any], *, spec: DatasetSpec = CLEAN
) -> None:
    """Put an explanation there: of the clean images those with odd places speak for the label, a third of the training
    images against it."""
    asked = question(digits, provenance)
    add_dataset(workspace, "clean", CLEAN)
    clean_set = open_named(workspace, "clean")
    rows = np.arange(30)
    parts = []
    for name, source in (("validation", clean_set), ("training", digits)):
        first = np.where(rows % 2 == 1, 1.0, -0.5) * (rows + 1) if name == "validation" else -1.0 * (rows % 3 == 0)
        known = digits.clean_labels[rows] if name == "training" else source.labels[rows]  # type: ignore[index]
        parts.append(
            pd.DataFrame(
                {"set": name, "id": source.ids[rows].tolist(), "row": rows, "label": source.labels[rows],
                 "clean_label": known, "first": first, "second": 100.0, "influence": first + 100.0}
            )
        )  # fmt: skip
    origin = {
        "validation": {"name": "clean", "spec": spec.to_json()}, "settings": ExplainSettings().to_json(),
        "class_names": list(digits.class_names), "notes": ["a note"], "seconds": 2.0,
        "image": {"of": "training", "id": asked.id, "row": PLACE, "label": asked.label, "given": asked.label,
                  "loss": 4.5},
    }  # fmt: skip
    write_explanation(explanation_path(workspace, asked.key(ExplainSettings())), pd.concat(parts), origin)


@pytest.mark.parametrize("picked", [None, "nobody has this id", 7])
def test_before_an_image_is_picked_it_says_how(workspace: Workspace, picked: object) -> None:
    scored(workspace)
    page = open_page("review") if picked is None else ask(picked)
    assert "What speaks for and against this label" in texts(page) and "Press **E** on an image" in texts(page)
    assert "**Explain this image** looks for" in texts(page), "E alone looks for nothing"
    assert "Explain this image" not in labels(page)


def test_the_button_starts_a_job_about_the_chosen_label(workspace: Workspace, started: list[dict[str, Any]]) -> None:
    digits, provenance = scored(workspace)
    page = ask(digits.ids[PLACE])
    button(page, "Explain this image").click().run()
    given, suggested = int(digits.labels[PLACE]), int(digits.labels[PLACE] + 1) % 10
    choice = next(item for item in page.get("button_group") if str(item.key).startswith("explain_label"))
    choice.set_value(suggested).run()
    button(page, "Explain this image").click().run()
    assert not page.exception and not page.error
    assert [item["label"] for item in started] == [given, suggested]
    asked = question(digits, provenance)
    assert started[0] == {
        "kind": "explain", "model": "digits-fvm", "dataset": "digits", "validation": "clean", "of": "training",
        "id": str(digits.ids[PLACE]), "label": given, "settings": ExplainSettings().to_json(),
        "expected": {"model": "0" * 64, "dataset": digits.fingerprint, "validation": "1" * 64},
        "key": asked.key(ExplainSettings()),
    }  # fmt: skip
    assert started[1]["key"] == question(digits, provenance, suggested).key(ExplainSettings())


def ask_about_clean(number: int) -> AppTest:
    page = open_page("review")
    next(item for item in page.get("button_group") if item.key == "explain_of").set_value("validation").run()
    page.number_input(key="explain_clean").set_value(number).run()
    assert not page.exception, page.exception[0].message
    return page


def test_a_clean_image_is_asked_about_under_its_own_label(workspace: Workspace, started: list[dict[str, Any]]) -> None:
    """Eq. 20 as the paper has it: z_val is a clean image, and training images speak for or against it."""
    add_dataset(workspace, "clean", CLEAN)
    clean_set = open_named(workspace, "clean")
    digits, provenance = scored(workspace, clean_set)
    page = ask_about_clean(8)
    button(page, "Explain this image").click().run()
    asked = Question.about(provenance, of="validation", id=str(clean_set.ids[7]), label=int(clean_set.labels[7]))
    assert [(item["of"], item["id"], item["label"], item["key"]) for item in started] == [
        ("validation", asked.id, asked.label, asked.key(ExplainSettings()))
    ]
    assert page.number_input(key="explain_clean").max == len(clean_set)
    assert started[0]["expected"]["validation"] == clean_set.fingerprint and digits.fingerprint != clean_set.fingerprint


def test_a_clean_set_that_changed_is_an_error_in_the_panel(workspace: Workspace) -> None:
    add_dataset(workspace, "clean", CLEAN)
    scored(workspace, open_named(workspace, "clean"), fingerprint="2" * 64)
    page = open_page("review")
    next(item for item in page.get("button_group") if item.key == "explain_of").set_value("validation").run()
    assert "its labels or images have changed" in visible(page.error[0].value) and not page.exception


def test_a_running_job_is_shown_instead_of_the_button(workspace: Workspace) -> None:
    digits, provenance = scored(workspace)
    args = {"key": question(digits, provenance).key(ExplainSettings()), "model": "digits-fvm"}
    with running_job(workspace, "explain", {**args, "key": "of another image"}, title="Explain another"):
        page = ask(digits.ids[PLACE])
        assert not page.get("progress") and "Explain this image" in labels(page)
    with running_job(workspace, "explain", args, title="Explain it", done=30, total=100):
        page = ask(digits.ids[PLACE])
        assert page.get("progress")[0].proto.value == 30 and "Explain this image" not in labels(page)


def test_a_failed_job_says_why_and_can_be_tried_again(workspace: Workspace) -> None:
    digits, provenance = scored(workspace)
    args = {"key": question(digits, provenance).key(ExplainSettings()), "model": "digits-fvm"}
    ended_job(workspace, "explain", args, title="Explain it", state="failed", error="the model changed. Score again.")
    page = ask(digits.ids[PLACE])
    assert "the model changed" in visible(page.error[0].value) and "Explain this image" in labels(page)


def test_a_job_that_cannot_start_is_an_error_in_the_panel(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise JobError("the worker could not be started. Free some memory.")

    monkeypatch.setattr("pages.ui.job_view.start_job", refuse)
    digits, _ = scored(workspace)
    page = ask(digits.ids[PLACE])
    button(page, "Explain this image").click().run()
    assert not page.exception and "could not be started" in visible(page.error[0].value)


def test_an_explanation_that_is_there_is_shown_at_once(workspace: Workspace) -> None:
    digits, provenance = scored(workspace)
    explain(workspace, digits, provenance)
    page = ask(digits.ids[PLACE])
    assert "Explain this image" not in labels(page) and not page.error
    said = visible(texts(page))
    name = digits.class_names[digits.labels[PLACE]]
    assert f"**Speaks for {name}**" in said and f"**Speaks against {name}**" in said
    assert (
        "Clean images. Labels of the 15 strongest:" in said and "Training images, by their given labels: none" in said
    )
    assert "Looked at 30 clean and 30 of 1,297 training images" in said and "a note" in said
    cards = [item.proto.body for item in page.get("html") if "fvm-side" in item.proto.body]
    clean = open_named(workspace, "clean")
    assert len(cards) == 4 and cards[0].count("data:image/png") == 1 and cards[1].count("data:image/png") == 8
    assert [cards[1].index(str(clean.ids[row])) for row in (29, 27, 25)] == sorted(
        cards[1].index(str(clean.ids[row])) for row in (29, 27, 25)
    ), "the strongest first"
    assert str(clean.ids[28]) in cards[2] and "true: " in cards[3] and "true: " not in cards[1]
    order = next(item for item in page.get("button_group") if item.key == "explain_order")
    order.set_value("influence").run()
    assert "Training images, by their given labels. Labels of the 20 strongest" in visible(texts(page))


def test_every_method_is_asked_where_the_image_stands(workspace: Workspace) -> None:
    """VM and FVM differ on it: the table has both below what is under review, and a sentence says so."""
    digits, _ = scored(workspace)
    n = len(digits)
    for role, suspicious in (("vm", False), ("fvm", True)):
        score = np.arange(n, dtype=float)
        score[PLACE] = 2.0 * n if suspicious else -1.0
        path = workspace.scores / f"digits-{role}-loss" / "loss.parquet"
        write_score_file(path, digits, None, score=score, method="loss", role=role)
    page = ask(digits.ids[PLACE])
    table = next(item.value for item in page.dataframe if "more suspicious than" in item.value.columns)
    assert list(zip(table["model"], table["method"], strict=True)) == [
        ("FVM", "Influence at the minimum"), ("VM", "Cross-entropy loss"), ("FVM", "Cross-entropy loss"),
    ]  # fmt: skip
    loss = table[table["method"] == "Cross-entropy loss"]["more suspicious than"].tolist()
    assert loss == pytest.approx([50 / n, 100 - 50 / n], abs=0.01)
    assert "VM finds it more suspicious than 0 %, FVM than 100 %" in visible(texts(page))
    assert "They are found when the map of this model is made" in texts(page)


def test_the_most_alike_images_are_shown_with_their_labels(workspace: Workspace) -> None:
    digits, provenance = scored(workspace)
    near = np.array([[7, 9, 11]] * len(digits))
    columns = {
        "id": digits.ids.tolist(), "row": np.arange(len(digits)), "neighbours": near,
        "similarity": np.full(near.shape, 0.9, np.float32), "pixel_rms": np.full(near.shape, 5.0, np.float32),
    }  # fmt: skip
    path = neighbours_path(workspace, Seen.behind(provenance))
    write_frame(path, NEIGHBOUR_SCHEMA, columns, provenance)
    page = ask(digits.ids[PLACE])
    given = digits.labels[PLACE]
    alike = int((digits.labels[[7, 9, 11]] == given).sum())
    assert f"{alike} of the 3 have the label {digits.class_names[given]}" in visible(texts(page))
    cards = [item.proto.body for item in page.get("html") if str(digits.ids[9]) in item.proto.body]
    assert len(cards) == 1 and cards[0].count("data:image/png") == 3 and not page.exception


def test_an_explanation_that_cannot_be_read_is_an_error(workspace: Workspace) -> None:
    digits, provenance = scored(workspace)
    path = explanation_path(workspace, question(digits, provenance).key(ExplainSettings()))
    path.parent.mkdir()
    path.write_bytes(b"not parquet")
    page = ask(digits.ids[PLACE])
    assert "cannot be read" in visible(page.error[0].value)


def test_clean_images_that_are_gone_are_cards_without_a_picture(workspace: Workspace) -> None:
    digits, provenance = scored(workspace)
    explain(workspace, digits, provenance, spec=DatasetSpec("npz", path="/nowhere/clean.npz"))
    page = ask(digits.ids[PLACE])
    assert "The clean images cannot be shown" in texts(page)
    assert any("not readable" in item.proto.body for item in page.get("html"))
