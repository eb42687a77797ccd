"""Jobs: empty, every state with its buttons, deletion, and a job that was interrupted."""

from __future__ import annotations

import re

import pytest
from app_pages import button, ended_job, labels, open_page, running_job, texts, visible

from fvm_core.jobs.status import job_status, list_jobs
from fvm_core.workspace import Workspace

EVIL = "[x](javascript:alert) <img src=x onerror=alert(1)> :red[boo]"


def test_empty_page_says_what_to_do_next(workspace: Workspace) -> None:
    app = open_page("jobs")
    assert "No job has run yet" in app.info[0].value
    assert {link.proto.label for link in app.get("page_link")} >= {"Try the demo", "Load your data"}


def test_table_shows_state_progress_and_time_left(workspace: Workspace) -> None:
    with running_job(
        workspace, "tune", {"name": "m"}, title="Tune m", done=250, total=1000, message="step 250", seconds_left=90.0
    ):
        app = open_page("jobs")
    row = app.dataframe[0].value.iloc[0]
    assert (row["state"], row["progress"], row["time left"]) == ("running", 0.25, "1 min 30 s")
    assert {"Pause", "Stop"} <= set(labels(app))
    assert "Delete this job" not in labels(app)


def test_pause_continue_and_stop_reach_the_control_file(workspace: Workspace) -> None:
    with running_job(workspace, "tune", {"name": "m"}, title="Tune m", done=1, total=10) as folder:
        app = open_page("jobs")
        button(app, "Pause").click().run()
        assert folder.control.read_text().strip() == "pause"
        button(app, "Continue").click().run()
        assert folder.control.read_text().strip() == "run"
        button(app, "Stop").click().run()
        assert folder.control.read_text().strip() == "stop"
        assert "stopping at the next step" in app.get("progress")[0].proto.text
        assert not {"Pause", "Stop", "Continue"} & set(labels(app))


def test_interrupted_job_is_explained_and_can_be_resumed(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    resumed: list[str] = []
    monkeypatch.setattr("pages.ui.job_view.resume_job", lambda ws, job: resumed.append(job))
    folder = ended_job(workspace, "tune", {"name": "m"}, title="Tune m", state="running", done=3, total=10)
    folder.log.write_text("step 3\nKilled\n")
    app = open_page("jobs", **{f"details_{folder.id}": True})
    assert "process ended without a word" in app.warning[0].value
    assert "Killed" in app.code[0].value
    button(app, "Resume").click().run()
    assert resumed == [folder.id]


def test_failed_job_shows_its_error_as_plain_text(workspace: Workspace) -> None:
    ended_job(workspace, "score", {}, title=EVIL, state="failed", error=f"`rho` must be >= 0. {EVIL}")
    app = open_page("jobs")
    assert app.error[0].value.startswith("`rho` must be")
    title = next(element.value for element in app.markdown if "javascript" in element.value)
    assert EVIL in visible(title)
    for text in (title, app.error[0].value):
        left = re.sub(r"\\.", "", text).replace("`rho`", "")
        assert not re.search(r"[\[\]()<>:`]", left), left
    assert "Resume" in labels(app)


def test_delete_removes_the_job(workspace: Workspace) -> None:
    folder = ended_job(workspace, "tune", {"name": "m"}, title="Tune m", state="done", done=10, total=10, result={})
    app = open_page("jobs")
    button(app, "Delete this job").click().run()
    assert not folder.root.exists()
    assert "No job has run yet" in app.info[0].value


def test_action_on_a_job_that_moved_on_is_an_error_not_a_crash(workspace: Workspace) -> None:
    with running_job(workspace, "tune", {"name": "m"}, title="Tune m", done=1, total=10) as folder:
        app = open_page("jobs")
        pause = button(app, "Pause").click()
    app = pause.run()
    assert not app.exception
    assert any("only a running, queued or paused job" in visible(error.value) for error in app.error)
    assert job_status(workspace, folder.id).state == "interrupted"


def test_damaged_job_is_listed_and_can_be_deleted(workspace: Workspace) -> None:
    folder = ended_job(workspace, "tune", {"name": "m"}, title="Tune m", state="done")
    folder.spec.write_text("{")
    folder.status.unlink()
    app = open_page("jobs")
    assert "is damaged" in texts(app)
    button(app, "Delete this job").click().run()
    assert list_jobs(workspace) == []


def test_many_jobs_come_in_pages(workspace: Workspace) -> None:
    titles = [f"job {number}" for number in range(10)]
    for title in titles:
        ended_job(workspace, "tune", {"name": "m"}, title=title, state="done", result={})
    app = open_page("jobs")
    assert len(app.dataframe[0].value) == 10
    assert labels(app).count("Delete this job") == 8
