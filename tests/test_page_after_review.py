"""After the review: retraining and joining from the page, with real jobs on the digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from app_pages import DIGITS, button, run_jobs_here, texts, visible
from streamlit.testing.v1 import AppTest

from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.registry import add_dataset, list_datasets, open_named
from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.models.store import list_models
from fvm_core.review.decision import Entry
from fvm_core.review.log import DecisionLog
from fvm_core.review.session import open_session
from fvm_core.tuning import train
from fvm_core.tuning.settings import TrainSettings
from fvm_core.workspace import Workspace
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


def test_retraining_and_joining_from_the_page(reviewed: Workspace) -> None:
    app = AppTest.from_function(page, default_timeout=120, args=(str(reviewed.root),)).run()
    assert not app.exception and not app.error
    app.button(key="after_retrain").click().run()
    assert not app.exception and not app.error, app.error
    assert set(list_models(reviewed)) == {"base", "base-corrected"}
    assert [metric.label for metric in app.metric] == ["Accuracy before", "after"]
    assert "images are right only after" in texts(app) and len(app.dataframe[0].value) == 10
    versions = set(list_datasets(reviewed)) - {"digits", "clean"}
    corrected = open_named(reviewed, versions.pop())
    assert np.array_equal(corrected.labels, open_named(reviewed, "digits").clean_labels)
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
    app = AppTest.from_function(page, default_timeout=60, args=(str(workspace.root),)).run()
    said = [info.value for info in app.info]
    assert said == ["A base model and a clean set of the same classes are needed.", "There is no clean set yet."]


def test_classes_come_in_the_order_of_their_change() -> None:
    rows = [
        {"name": "same", "count": 3, "before": 0.5, "after": 0.5},
        {"name": "none", "count": 0, "before": None, "after": None},
        {"name": "lost", "count": 4, "before": 1.0, "after": 0.25},
    ]
    assert class_table(rows)["Class"].tolist() == ["lost", "same", "none"]
    assert "chance alone" in verdict({"won": 3, "lost": 2, "p": 1.0})
