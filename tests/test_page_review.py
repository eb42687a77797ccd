"""The Review page without a browser: empty, happy, error. Keys are tested in tests/browser."""

from __future__ import annotations

import json
import zipfile
from typing import Any

import numpy as np
import pytest
from app_pages import open_page, run_jobs_here
from score_files import write_score_file
from streamlit.testing.v1 import AppTest

from fvm_core.data.dataset import DatasetSpec, LabeledImages
from fvm_core.data.registry import add_dataset, list_datasets, open_named
from fvm_core.review.decision import Decision
from fvm_core.review.log import DecisionLog
from fvm_core.review.session import list_sessions, open_session
from fvm_core.workspace import Workspace
from pages.ui import gallery as gallery_module
from pages.ui.gallery import KEY, number_keys


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the page hands to the component, newest last; the component itself needs a browser."""
    seen: list[dict[str, Any]] = []

    def mount(*, data: dict[str, Any], **_: object) -> None:
        json.dumps(data, allow_nan=False)
        seen.append(data)

    monkeypatch.setattr(gallery_module, "_component", mount)
    return seen


def scored(workspace: Workspace, *, method: str = "influence", run: str = "digits-fvm") -> LabeledImages:
    spec = DatasetSpec("digits", label="noisy")
    add_dataset(workspace, "digits", spec)
    digits = open_named(workspace, "digits")
    assert digits.clean_labels is not None
    scores = np.random.default_rng(0).lognormal(0, 1, (len(digits), 10))
    scores[np.arange(len(digits)), digits.clean_labels] = 1e-3
    write_score_file(workspace.scores / run / f"{method}.parquet", digits, scores, method=method)
    return digits


def started(workspace: Workspace, digits: LabeledImages) -> str:
    log = DecisionLog(workspace.review_url)
    return open_session(log, name="first", reviewer="Ada", dataset="digits", fingerprint=digits.fingerprint).id


def run(**state: Any) -> AppTest:
    return open_page("review", **state)


def stored(workspace: Workspace) -> list[Decision]:
    log = DecisionLog(workspace.review_url)
    return [decision for session in list_sessions(log) for decision in log.read(session.id)]


def key_press(session: str, data: dict[str, Any], seq: int, place: int, action: str, **more: Any) -> dict[str, Any]:
    item = data["pages"]["0"][place]
    label = {"accept": item["suggested"], "undo": None}.get(action, item["given"])
    entry = {
        "client": "tab", "seq": seq, "id": item["id"], "action": action, "label": label, "run": data["run"],
        "score": item["score"], "suggested": item["suggested"],
    } | more  # fmt: skip
    return {"client": "tab", "session": session, "entries": [entry], "view": None, "echo": seq}


def test_starts_with_the_posterior_of_a_tuned_model_then_with_the_paper_s_score(workspace: Workspace) -> None:
    for method in ("loss", "influence"):
        scored(workspace, method=method)
    assert run().selectbox(key="review_scores").value.endswith("digits-fvm/influence.parquet")
    scored(workspace, method="posterior")
    assert run().selectbox(key="review_scores").value.endswith("digits-fvm/posterior.parquet")


def test_without_scores_it_points_to_the_score_page(workspace: Workspace) -> None:
    page = run()
    assert not page.exception and page.title[0].value == "Review"
    assert "no scores yet" in page.info[0].value


def test_the_first_visit_starts_a_review(workspace: Workspace, sent: list[dict[str, Any]]) -> None:
    digits = scored(workspace)
    page = run()
    assert not page.exception and not sent
    page.text_input[0].set_value("Monday")
    page.text_input[1].set_value("Grace")
    page.button[0].click().run()
    assert not page.exception and not page.error
    (session,) = list_sessions(DecisionLog(workspace.review_url))
    assert (session.name, session.reviewer, session.fingerprint) == ("Monday", "Grace", digits.fingerprint)
    assert sent[-1]["session"] == session.id


def test_the_gallery_gets_the_most_suspicious_images_first(workspace: Workspace, sent: list[dict[str, Any]]) -> None:
    digits = scored(workspace)
    started(workspace, digits)
    page = run()
    assert not page.exception and not page.error
    data = sent[-1]
    assert data["total"] == len(digits) and set(data["pages"]) == {"0"}, "one page at first"
    view = {"queue": data["queue"], "page": 0, "have": [0]}
    page.session_state[KEY] = {"sent": {"client": "tab", "session": data["session"], "entries": [], "view": view}}
    page.run()
    assert set(sent[-1]["pages"]) == {"1"}, "then the one that the browser asks for"
    items = data["pages"]["0"] + sent[-1]["pages"]["1"]
    assert len(items) == 48
    scores = [item["score"] for item in items]
    assert scores == sorted(scores, reverse=True)
    clean = dict(zip(digits.ids.tolist(), digits.clean_labels.tolist(), strict=True))  # type: ignore[union-attr]
    assert all(item["suggested"] == clean[item["id"]] for item in items)
    best = [int(np.argmax(item["bars"]["lengths"])) for item in items]
    assert best == [item["suggested"] for item in items]
    assert all(item["thumb"].startswith("data:image/png;base64,") for item in items)
    assert data["keys"] == {str(k): k for k in range(10)} and "smallest score s wins" in data["caption"]
    assert data["counts"] == {"decided": 0, "left": len(digits), "changed": 0, "rate": None}


def test_a_key_press_is_on_disk_when_the_component_is_told(workspace: Workspace, sent: list[dict[str, Any]]) -> None:
    session = started(workspace, scored(workspace))
    page = run()
    order = [item["id"] for item in sent[-1]["pages"]["0"]]
    page.session_state[KEY] = {"sent": key_press(session, sent[-1], 1, 0, "accept")}
    page.run()
    assert not page.exception and not page.error
    data = sent[-1]
    (decision,) = stored(workspace)
    assert (decision.sample, decision.action, decision.reviewer) == (order[0], "accept", "Ada")
    assert data["acked"] == {"tab": 1} and data["problem"] == "" and data["echo"] == 1
    assert data["states"][order[0]] == ["accept", decision.label] and data["history"] == [(order[0], 0, "")]
    assert data["counts"]["decided"] == 1 and data["counts"]["rate"] == 1.0
    assert [item["id"] for item in data["pages"]["0"]] == order, "deciding must not reshuffle the page"
    undo = key_press(session, data, 2, 0, "undo")
    page.session_state[KEY] = {"sent": undo}
    page.run()
    assert sent[-1]["states"] == {} and sent[-1]["history"] == [] and len(stored(workspace)) == 2


def test_filters_narrow_the_queue(workspace: Workspace, sent: list[dict[str, Any]]) -> None:
    digits = scored(workspace)
    started(workspace, digits)
    page = run()
    page.multiselect(key="review_given").set_value([3])
    page.number_input(key="review_top").set_value(200).run()
    data = sent[-1]
    assert 0 < data["total"] < 200 and all(item["given"] == 3 for item in data["pages"]["0"])
    page.text_input(key="review_search").set_value("nothing has this id").run()
    assert sent[-1]["total"] == 0 and sent[-1]["pages"] == {"0": []}
    page.number_input(key="review_low").set_value(5.0)
    page.number_input(key="review_high").set_value(1.0).run()
    assert not page.exception and "must be" in page.error[0].value


def test_a_full_disk_is_said_and_nothing_is_acknowledged(
    workspace: Workspace, sent: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from fvm_core.errors import StorageError

    session = started(workspace, scored(workspace))
    page = run()

    def full(*_: object, **__: object) -> None:
        raise StorageError("`review.sqlite` could not be written (database or disk is full).")

    monkeypatch.setattr(DecisionLog, "append", full)
    page.session_state[KEY] = {"sent": key_press(session, sent[-1], 1, 0, "keep")}
    page.run()
    assert not page.exception
    assert "disk is full" in sent[-1]["problem"] and sent[-1]["acked"] == {} and sent[-1]["states"] == {}


def test_a_dataset_that_changed_is_an_error(workspace: Workspace, sent: list[dict[str, Any]]) -> None:
    digits = scored(workspace)
    path = workspace.scores / "digits-fvm" / "influence.parquet"
    other = open_named(workspace, "digits").labels.copy()
    from dataclasses import replace

    write_score_file(path, replace(digits, labels=(other + 1) % 10), np.ones((len(digits), 10)))
    page = run()
    assert not page.exception and "must be as it was when it was scored" in page.error[0].value and not sent


def test_export_writes_files_and_registers_a_dataset(workspace: Workspace, sent: list[dict[str, Any]]) -> None:
    digits = scored(workspace)
    session = started(workspace, digits)
    page = run()
    page.session_state[KEY] = {"sent": key_press(session, sent[-1], 1, 0, "accept")}
    page.run()
    next(button for button in page.button if button.label == "Write CSV and Parquet").click().run()
    assert not page.exception and not page.error
    assert {path.suffix for path in workspace.exports.iterdir()} == {".csv", ".parquet", ".json"}
    next(button for button in page.button if button.label == "Use as dataset").click().run()
    assert not page.exception and not page.error
    assert "digits-corrected" in list_datasets(workspace)
    corrected = open_named(workspace, "digits-corrected")
    (decision,) = stored(workspace)
    changed = np.flatnonzero(corrected.labels != digits.labels)
    assert digits.ids[changed].tolist() == [decision.sample] and corrected.labels[changed[0]] == decision.label


def test_export_in_another_form_of_the_images_chosen_above(
    workspace: Workspace, sent: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_jobs_here(monkeypatch, "export_forms")
    digits = scored(workspace)
    started(workspace, digits)
    page = run(export_forms=True)
    page.number_input(key="review_top").set_value(7).run()
    page.selectbox(key="export_form").set_value("imagefolder")
    page.selectbox(key="export_rows").set_value("ids")
    page.button(key="export_start").click().run()
    assert not page.exception and not page.error
    (path,) = workspace.exports.glob("digits-first-imagefolder-*.zip")
    with zipfile.ZipFile(path) as archive:
        files = [name for name in archive.namelist() if name.endswith(".png")]
    chosen = {item["id"] for item in sent[-1]["pages"]["0"]}
    assert len(files) == 7 and {digits.ids[int(name[-12:-4])] for name in files} == chosen
    assert any("7 images" in caption.value for caption in page.caption)


def test_report_of_the_review(
    workspace: Workspace, sent: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_jobs_here(monkeypatch, "report_part")
    started(workspace, scored(workspace))
    page = run(report=True)
    page.slider(key="report_flagged").set_value(20)
    page.button(key="report_start").click().run()
    assert not page.exception and not page.error
    (path,) = workspace.exports.glob("report-digits-*.html")
    text = path.read_text(encoding="utf-8")
    assert text.count("<div class=card>") == 20 and "Review first by Ada" in text
    assert any("20 images" in caption.value for caption in page.caption)


@pytest.mark.parametrize("count", [2, 10, 11])
def test_number_keys_cover_ten_classes_at_most(count: int) -> None:
    keys = number_keys([f"class {k}" for k in range(count)])
    assert keys is None if count > 10 else keys == {str((k + 1) % 10): k for k in range(count)}
