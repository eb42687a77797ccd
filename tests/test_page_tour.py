"""The guided tour: off at first, follows what the workspace holds, can be left and taken up again where it was."""

from __future__ import annotations

from app_pages import add_digits, add_model, button, labels, open_page, texts

from fvm_core.workspace import Workspace
from pages.ui import tour


def following() -> list[str]:
    """Return what the bar links to as next. app.py draws it above any page; AppTest runs app.py at home only."""
    return [item.proto.label for item in open_page("home").get("page_link") if item.proto.label.startswith("**Next")]


def test_the_tour_is_off_until_asked_for(workspace: Workspace) -> None:
    assert following() == [] and not tour.is_on(workspace)
    button(open_page("learn"), "Guided tour of the main job").click().run()
    assert tour.is_on(workspace) and following() == ["**Next: Load**"]


def test_the_next_step_follows_the_workspace(workspace: Workspace) -> None:
    tour.switch(workspace, True)
    add_digits(workspace)
    add_model(workspace, "base", "base")
    assert following() == ["**Next: Tune**"]
    add_model(workspace, "fvm", "fvm")
    assert following() == ["**Next: Score**"]
    assert "check_circle:] Load" in texts(open_page("home"))


def test_the_tour_is_left_and_taken_up_where_the_workspace_stands(workspace: Workspace) -> None:
    tour.switch(workspace, True)
    button(open_page("home"), "Leave").click().run()
    assert not tour.is_on(workspace) and "Leave" not in labels(open_page("home"))
    add_digits(workspace)
    add_model(workspace, "base", "base")
    button(open_page("learn"), "Guided tour of the main job").click().run()
    assert following() == ["**Next: Tune**"]


def test_a_damaged_file_is_a_tour_that_is_off(workspace: Workspace) -> None:
    for content in ("{", "[]", '{"on": 1}'):
        (workspace.root / "tour.json").write_text(content)
        assert not tour.is_on(workspace)
