"""After the review: retraining and joining from the page, with real jobs on the digits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from app_pages import DIGITS, add_model, button, run_jobs_here, running_job, texts, visible
from streamlit.testing.v1 import AppTest

from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.registry import add_dataset, list_datasets, open_named
from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.models.store import list_models
from fvm_core.review.adjudicate import adjudicate
from fvm_core.review.assign import Given, assign
from fvm_core.review.decision import Entry
from fvm_core.review.log import DecisionLog
from fvm_core.review.session import open_session
from fvm_core.tuning import train
from fvm_core.tuning.settings import TrainSettings
from fvm_core.workspace import Workspace
from pages.ui.after_review import TABS
from pages.ui.before_after import class_table, verdict


def page(root: str) -> None:
    from pathlib import Path

    from fvm_core.data.registry import open_named
    from fvm_core.review.log import DecisionLog
    from fvm_core.review.session import list_sessions
    from fvm_core.workspace import Workspace
    from pages.ui.after_review import after_review

    workspace = Workspace(Path(root))
    log = DecisionLog(workspace.review_url)
    after_review(workspace, log, list_sessions(log)[0], open_named(workspace, "digits"))


@pytest.fixture
def reviewed(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Digits of which every wrong label was corrected by a person, and a base model trained on the wrong ones."""
    run_jobs_here(monkeypatch, "after_review")
    add_dataset(workspace, "digits", DatasetSpec("digits", label="noisy", options={"rate": 0.4}))
    add_dataset(workspace, "clean", DatasetSpec("digits", label="clean", options={"split": "validation"}))
    digits = open_named(workspace, "digits")
    assert digits.clean_labels is not None
    log = DecisionLog(workspace.review_url)
    session = open_session(log, name="first", reviewer="Ada", dataset="digits", fingerprint=digits.fingerprint)
    wrong = np.flatnonzero(digits.labels != digits.clean_labels)
    entries = [
        Entry(client="t", seq=k + 1, sample=str(digits.ids[row]), action="pick", label=int(digits.clean_labels[row]),
              given=int(digits.labels[row]))
        for k, row in enumerate(wrong.tolist())
    ]  # fmt: skip
    log.append(session.id, entries, reviewer="Ada")
    log.close()
    settings = TrainSettings(epochs=3, batch_size=64, schedule="onecycle", drop_epochs=(), augment=False)
    args: dict[str, Any] = {"model": DIGITS.to_json(), "settings": settings.to_json(), "name": "base"}
    train.run(MemoryContext(), {**args, "dataset": "digits", "validation": None}, workspace)
    return workspace


def opened(workspace: Workspace) -> AppTest:
    """Return the part of the page, opened."""
    app = AppTest.from_function(page, default_timeout=120, args=(str(workspace.root),))
    app.session_state["after_review"] = True
    return app.run()


def test_the_part_is_closed_until_somebody_opens_it_or_its_job_runs(workspace: Workspace) -> None:
    add_dataset(workspace, "digits", DatasetSpec("digits", label="noisy"))
    digits = open_named(workspace, "digits")
    log = DecisionLog(workspace.review_url)
    open_session(log, name="first", reviewer="Ada", dataset="digits", fingerprint=digits.fingerprint)
    fresh = AppTest.from_function(page, default_timeout=60, args=(str(workspace.root),))
    assert not fresh.run().tabs and not fresh.exception
    assert opened(workspace).tabs
    with running_job(workspace, "retrain", {}, title="Retrain digits, second"):
        other = AppTest.from_function(page, default_timeout=60, args=(str(workspace.root),))
        assert not other.run().tabs
    with running_job(workspace, "retrain", {}, title="Retrain digits, first"):
        own = AppTest.from_function(page, default_timeout=60, args=(str(workspace.root),))
        assert own.run().tabs


def test_retraining_and_joining_from_the_page(reviewed: Workspace) -> None:
    app = opened(reviewed)
    assert not app.exception and not app.error
    app.button(key="after_retrain").click().run()
    assert not app.exception and not app.error, app.error
    assert set(list_models(reviewed)) == {"base", "base-corrected"}
    assert [metric.label for metric in app.metric] == ["Accuracy before", "after"]
    assert "images are right only after" in texts(app) and len(app.dataframe[0].value) == 10
    versions = set(list_datasets(reviewed)) - {"digits", "clean"}
    corrected = open_named(reviewed, versions.pop())
    assert np.array_equal(corrected.labels, open_named(reviewed, "digits").clean_labels)
    app.session_state["after_tab"] = TABS[1]
    app.run()
    app.button(key="join").click().run()
    assert not app.exception and not app.error
    assert set(list_datasets(reviewed)) >= {"clean-verified", "digits-unverified"}
    wide, rest = open_named(reviewed, "clean-verified"), open_named(reviewed, "digits-unverified")
    added = len(wide) - 500
    assert added > 300 and f"clean-verified has {added:,} images more" in visible(texts(app))
    assert not set(rest.ids) & set(wide.ids) and button(app, "Tune with it")


def test_without_changes_or_models_it_says_what_is_needed(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pages.ui.after_review.link", lambda *_: None)
    add_dataset(workspace, "digits", DatasetSpec("digits", label="noisy"))
    digits = open_named(workspace, "digits")
    log = DecisionLog(workspace.review_url)
    open_session(log, name="first", reviewer="Ada", dataset="digits", fingerprint=digits.fingerprint)
    app = opened(workspace)
    said = [info.value for info in app.info]
    app.session_state["after_tab"] = TABS[1]
    said += [info.value for info in app.run().info]
    assert said == ["A base model and a clean set of the same classes are needed.", "There is no clean set yet."]


def test_what_reviewers_dispute_is_neither_retrained_on_nor_verified(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ada and Bob agree on one image, dispute another and skip a third; both see the same outcome."""
    started: list[dict[str, Any]] = []
    monkeypatch.setattr("pages.ui.after_review.start_job", lambda ws, kind, args, title: started.append(args))
    add_dataset(workspace, "digits", DatasetSpec("digits", label="noisy"))
    add_dataset(workspace, "clean", DatasetSpec("digits", label="clean", options={"split": "validation"}))
    add_model(workspace, "base", "base")
    digits = open_named(workspace, "digits")
    log = DecisionLog(workspace.review_url)
    session = open_session(log, name="first", reviewer="Ada", dataset="digits", fingerprint=digits.fingerprint)
    agreed, disputed, skipped = digits.ids[:3].tolist()
    for who, plus in (("Ada", 1), ("Bob", 2)):
        for k, (row, more) in enumerate(((0, 1), (1, plus), (2, None))):
            given = int(digits.labels[row])
            entry = Entry(
                client=who, seq=k + 1, sample=str(digits.ids[row]), action="skip" if more is None else "pick",
                label=(given + (more or 0)) % 10, given=given,
            )  # fmt: skip
            log.append(session.id, [entry], reviewer=who)
    assign(log, session.id, [Given(one, "Bob", True) for one in (agreed, disputed, skipped)], by="Ada")
    app = opened(workspace)
    assert "1 image is disputed and not settled" in visible(texts(app)) and "1 labels changed" in texts(app)
    app.button(key="after_retrain").click().run()
    corrected = open_named(workspace, started[0]["corrected"])
    assert np.flatnonzero(corrected.labels != digits.labels).tolist() == [0]
    adjudicate(log, session.id, disputed, int(digits.labels[1]), classes=10, reviewer="Cy")
    app.session_state["after_tab"] = TABS[1]
    app.run()
    assert "disputed" not in texts(app) and button(app, "Join 2 verified images")
    app.button(key="join").click().run()
    assert json.loads(Path(started[1]["verified"]).read_text()) == sorted([agreed, disputed])


def test_classes_come_in_the_order_of_their_change() -> None:
    rows = [
        {"name": "same", "count": 3, "before": 0.5, "after": 0.5},
        {"name": "none", "count": 0, "before": None, "after": None},
        {"name": "lost", "count": 4, "before": 1.0, "after": 0.25},
    ]
    assert class_table(rows)["Class"].tolist() == ["lost", "same", "none"]
    assert "chance alone" in verdict({"won": 3, "lost": 2, "p": 1.0})
