"""Home: empty, with the demo running or done, and with a job that cannot start."""

from __future__ import annotations

import re
from typing import Any

import pytest
from app_pages import add_digits, add_model, button, ended_job, labels, open_page, running_job, texts, visible
from streamlit.testing.v1 import AppTest

from fvm_core.errors import StorageError
from fvm_core.jobs.disk_context import QUEUED
from fvm_core.jobs.status import StatusWriter, read_status
from fvm_core.review.decision import Entry
from fvm_core.review.log import DecisionLog
from fvm_core.review.session import open_session
from fvm_core.workspace import Workspace
from pages.ui.progress import DONE, LATER, NEXT, UNDER_WAY, steps


def badges(app: AppTest) -> list[str]:
    """Return the states of the five steps."""
    found = re.findall(r"-badge\[:material/\w+: ([^\]]+)\]", texts(app))
    return [word for word in found if word in (DONE, UNDER_WAY, NEXT, LATER)]


def test_empty_workspace_offers_the_demo_and_names_the_first_step(workspace: Workspace) -> None:
    app = open_page("home")
    assert "Try the demo" in labels(app)
    assert "Nothing has run yet" in texts(app)
    assert texts(app).count("arrow_forward: next") == 1


def test_demo_button_starts_the_demo_job(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr("pages.ui.job_view.start_job", lambda ws, kind, args, title="": started.append((kind, args)))
    button(open_page("home"), "Try the demo").click().run()
    assert started == [("demo", {})]


def test_running_demo_shows_progress_and_no_second_start(workspace: Workspace) -> None:
    with running_job(
        workspace, "demo", {}, title="Demo: handwritten digits", done=30, total=100, message="FVM: step 3",
        seconds_left=42.0,
    ):  # fmt: skip
        app = open_page("home")
    assert "Try the demo" not in labels(app)
    assert {"Pause", "Stop"} <= set(labels(app))
    bar = app.get("progress")[0].proto
    assert bar.value == 30
    assert "42 s left" in bar.text


def test_units_of_work_are_shown_as_a_share_and_not_as_things(workspace: Workspace) -> None:
    with running_job(
        workspace, "demo", {}, title="Demo", done=16_000, total=80_000, message="tune-fvm: step 90 of 300"
    ):
        bar = open_page("home").get("progress")[0].proto
    assert visible(bar.text) == "tune-fvm: step 90 of 300 · 20 %"


def test_a_job_that_waits_for_nothing_is_starting(workspace: Workspace) -> None:
    with running_job(workspace, "demo", {}, title="Demo", state="queued", started=None):
        assert open_page("home").get("progress")[0].proto.text == "starting …"
    with running_job(workspace, "demo", {}, title="Demo", state="queued", message=QUEUED):
        assert open_page("home").get("progress")[0].proto.text == QUEUED


def test_a_step_that_a_job_is_at_is_not_done_and_the_sessions_follow_it(workspace: Workspace) -> None:
    add_digits(workspace)
    add_model(workspace, "digits-base", "base")
    add_model(workspace, "digits-vm", "vm")
    with running_job(workspace, "demo", {}, title="Demo", state="queued", done=1, total=9) as folder:
        app = open_page("home")
        assert badges(app) == ["done", "done", "next", "later", "later"]
        status = read_status(folder)
        assert status is not None and texts(app).count("hourglass_empty: queued") == 2
        StatusWriter(folder, status).update(now=True, state="running", message="tune-fvm: step 90 of 300")
        app.run()
        assert badges(app) == ["done", "under way", "next", "later", "later"]
        assert "queued" not in texts(app)


def test_finished_demo_links_to_compare_and_review(workspace: Workspace) -> None:
    add_digits(workspace)
    add_model(workspace, "digits-base", "base")
    add_model(workspace, "digits-fvm", "fvm")
    ended_job(workspace, "demo", {}, title="Demo", state="done", done=100, total=100, result={})
    app = open_page("home")
    targets = {link.proto.label for link in app.get("page_link")}
    assert {"Compare the methods", "Review the flagged digits"} <= targets
    assert "2 datasets, 1 checkpoint" in texts(app)


def test_decisions_are_images_decided_not_rows_of_the_log(workspace: Workspace) -> None:
    log = DecisionLog(workspace.review_url)
    session = open_session(log, name="first", reviewer="Ada", dataset="digits", fingerprint="f1")
    words = [("img-1", "accept"), ("img-2", "keep"), ("img-3", "skip"), ("img-1", "keep"), ("img-2", "undo")]
    entries = [
        Entry(client="tab", seq=seq, sample=sample, action=action, label=None if action == "undo" else 1, given=1)
        for seq, (sample, action) in enumerate(words, start=1)
    ]
    log.append(session.id, entries, reviewer="Ada")
    assert "2 decisions" in texts(open_page("home"))


def test_a_damaged_review_database_is_no_decision_and_no_error(workspace: Workspace) -> None:
    (workspace.root / "review.sqlite").write_text("this is no database")
    app = open_page("home")
    assert "0 decisions" in texts(app) and not app.error


def test_disk_error_is_shown_without_traceback(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> str:
        raise StorageError("No job folder could be made in `/x` (disk full). Free disk space.")

    monkeypatch.setattr("pages.ui.job_view.start_job", refuse)
    app = button(open_page("home"), "Try the demo").click().run()
    assert not app.exception
    assert "Free disk space" in app.error[0].value


def test_steps_mark_the_first_open_one_as_next() -> None:
    fresh = steps(datasets=0, models={}, scores=0, decisions=0)
    assert [step.state for step in fresh] == [NEXT, LATER, LATER, LATER, LATER]
    tuned = steps(datasets=2, models={"base": 1, "fvm": 1}, scores=0, decisions=0)
    assert [step.state for step in tuned] == [DONE, DONE, NEXT, LATER, LATER]
    again = steps(datasets=2, models={"base": 1, "fvm": 1}, scores=9, decisions=1, at_work={"tune"})
    assert [step.state for step in again] == [DONE, UNDER_WAY, DONE, DONE, DONE]
    scoring = steps(datasets=2, models={"base": 1, "fvm": 1}, scores=9, decisions=0, at_work={"score"})
    assert [step.state for step in scoring] == [DONE, DONE, UNDER_WAY, NEXT, LATER]
    first = steps(datasets=2, models={"base": 1}, scores=0, decisions=0, at_work={"tune"})
    assert [step.state for step in first] == [DONE, UNDER_WAY, NEXT, LATER, LATER]
    one_score = steps(datasets=2, models={"base": 1, "fvm": 1}, scores=1, decisions=5)
    assert [step.state for step in one_score] == [DONE, DONE, DONE, NEXT, DONE]
