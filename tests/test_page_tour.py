"""The guided tour: off at first, leads through every step, can be left and taken up again where it was."""

from __future__ import annotations

import json

import pytest
import streamlit as st
from app_pages import add_digits, add_model, button, labels, open_page, texts
from streamlit.testing.v1 import AppTest

from fvm_core.workspace import Workspace
from pages.ui import progress, tour, tour_hints
from pages.ui.links import PAGES


def bar(workspace: Workspace, page: str) -> AppTest:
    """Return the bar as it is above a page, its link as a text; AppTest itself runs app.py at home only."""

    def script(root: str, page: str) -> None:
        from pathlib import Path

        from fvm_core.workspace import Workspace
        from pages.ui import tour

        tour.draw(Workspace(Path(root)), page)

    app = AppTest.from_function(script, kwargs={"root": str(workspace.root), "page": page}, default_timeout=60)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tour, "link", lambda page, label, help="": st.markdown(f"to {page}: {label}"))
        return app.run()


def following() -> list[str]:
    """Return what the bar links to as next, at home."""
    return [item.proto.label for item in open_page("home").get("page_link") if item.proto.label.startswith("**Next")]


def go(workspace: Workspace, *pages: str) -> None:
    """Mark pages as seen on the tour."""
    (workspace.root / "tour.json").write_text(json.dumps({"on": True, "seen": list(pages)}))


def test_the_tour_is_off_until_asked_for(workspace: Workspace) -> None:
    assert following() == [] and not tour.is_on(workspace)
    button(open_page("learn"), "Guided tour of the main job").click().run()
    assert tour.is_on(workspace) and following() == ["**Next: Load**"]
    assert "Try the demo** below" in texts(open_page("home"))


def test_the_next_step_is_the_first_that_is_not_done_or_not_seen(workspace: Workspace) -> None:
    none = progress.steps(datasets=0, models={}, scores=0, decisions=0)
    every = progress.steps(datasets=2, models={"base": 1, "fvm": 1}, scores=3, decisions=1)
    assert tour.following(none, tuple(tour_hints.HINTS)) == "load"
    assert tour.following(every, ()) == "load"
    assert tour.following(every, ("load", "score")) == "tune"
    assert tour.following(every, tuple(tour_hints.HINTS)) == ""


def test_the_steps_of_the_tour_are_those_of_the_way() -> None:
    assert list(tour_hints.HINTS) == [
        step.page for step in progress.steps(datasets=0, models={}, scores=0, decisions=0)
    ]
    assert set(tour_hints.HINTS) <= set(PAGES)


def test_the_next_step_follows_the_workspace(workspace: Workspace) -> None:
    go(workspace, "load", "tune")
    assert following() == ["**Next: Load**"]
    add_digits(workspace)
    add_model(workspace, "base", "base")
    assert following() == ["**Next: Tune**"]
    add_model(workspace, "fvm", "fvm")
    assert following() == ["**Next: Score**"]
    assert "check_circle:] Load" in texts(open_page("home"))


def test_a_page_is_seen_only_when_its_work_is_done(workspace: Workspace) -> None:
    tour.switch(workspace, True)
    app = bar(workspace, "load")
    assert not app.exception and tour.seen(workspace) == ()
    assert tour_hints.HINTS["load"].do in texts(app) and ":blue-background[" in texts(app)
    add_digits(workspace)
    add_model(workspace, "base", "base")
    app = bar(workspace, "load")
    assert tour.seen(workspace) == ("load",) and tour_hints.HINTS["load"].look in texts(app)
    assert "to tune: **Next: Tune**" in texts(app)


def test_the_tour_is_left_and_taken_up_where_it_was(workspace: Workspace) -> None:
    add_digits(workspace)
    add_model(workspace, "base", "base")
    go(workspace, "load")
    button(open_page("home"), "Leave").click().run()
    assert not tour.is_on(workspace) and "Leave" not in labels(open_page("home"))
    button(open_page("learn"), "Go on with the guided tour").click().run()
    assert following() == ["**Next: Tune**"]


def test_at_its_end_the_tour_says_so_and_can_be_taken_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = progress.steps(datasets=2, models={"base": 1, "fvm": 1}, scores=3, decisions=1)
    monkeypatch.setattr("pages.ui.progress.find_steps", lambda workspace: done)
    go(workspace, *tour_hints.HINTS)
    app = bar(workspace, "review")
    assert tour_hints.END in texts(app) and "Next:" not in texts(app)
    tour.switch(workspace, True, again=True)
    app = bar(workspace, "review")
    assert tour.seen(workspace) == ("review",) and "to load: **Next: Load**" in texts(app)
    assert "Again" not in labels(app)


def test_a_damaged_file_is_a_tour_that_is_off(workspace: Workspace) -> None:
    for content in ("{", "[]", '{"on": 1}', "3"):
        (workspace.root / "tour.json").write_text(content)
        assert not tour.is_on(workspace) and tour.seen(workspace) == ()
    (workspace.root / "tour.json").write_text('{"on": true, "seen": 5}')
    assert tour.is_on(workspace) and tour.seen(workspace) == ()
