"""The Review page with several people: who one is, whose images one sees, agreement, settling, history, the log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from app_pages import button, open_page, texts, visible
from score_files import write_score_file
from streamlit.testing.v1 import AppTest
from test_page_review import key_press, scored, started, stored
from test_page_review import sent as sent  # a fixture

from fvm_core.data.dataset import LabeledImages
from fvm_core.review.assign import Given, assign
from fvm_core.review.decision import Entry
from fvm_core.review.imports.merge import merge_log
from fvm_core.review.log import DecisionLog
from fvm_core.review.outcome import outcome_of
from fvm_core.review.session import open_session
from fvm_core.workspace import Workspace
from pages.ui.gallery import KEY
from pages.ui.reviewer import NAME

assert write_score_file


@pytest.fixture
def digits(workspace: Workspace) -> LabeledImages:
    return scored(workspace)


@pytest.fixture
def session(workspace: Workspace, digits: LabeledImages) -> str:
    return started(workspace, digits)


def say(workspace: Workspace, session: str, digits: LabeledImages, who: str, row: int, label: int) -> str:
    sample, given = str(digits.ids[row]), int(digits.labels[row])
    log = DecisionLog(workspace.review_url)
    entry = Entry(
        client=f"tab-{who}-{row}-{label}", seq=1, sample=sample, action="keep" if label == given else "pick",
        label=label, given=given, score=2.5, method="influence", run="digits-fvm",
    )  # fmt: skip
    log.append(session, [entry], reviewer=who)
    log.close()
    return sample


def panel(tab: str = "People", **state: Any) -> AppTest:
    return open_page("review", **{"review_team": True, "team_tab": tab, **state})


def test_one_person_alone_is_not_asked_and_the_panel_stays_closed(
    workspace: Workspace, session: str, sent: list[dict[str, Any]]
) -> None:
    page = open_page("review")
    assert sent[-1]["reviewer"] == "" and not [b for b in page.button if b.label in ("Go on", "Assign")]
    assert [e.label for e in page.expander if "Several reviewers" in e.label] == ["Several reviewers · you are Ada"]


def test_a_second_person_is_asked_for_a_name_which_stands_beside_the_decisions(
    workspace: Workspace, session: str, digits: LabeledImages, sent: list[dict[str, Any]]
) -> None:
    say(workspace, session, digits, "Bob", 0, 1)
    page = open_page("review")
    assert not sent and "In this review: Ada, Bob" in visible(texts(page))
    button(page, "Go on").click().run()
    assert not sent and "must have 1 to 80" in visible(page.error[0].value)
    page.text_input(key="review_who_name").set_value(" Cy  Young ")
    button(page, "Go on").click().run()
    data = sent[-1]
    assert page.session_state[NAME] == "Cy Young" and len(data["reviewer"]) == 12
    press = key_press(session, data, 1, 0, "keep")
    page.session_state[KEY] = {"sent": press | {"reviewer": ""}}
    page.run()
    assert len(stored(workspace)) == 1, "what Ada's tab left is not Cy's"
    page.session_state[KEY] = {"sent": press | {"reviewer": data["reviewer"]}}
    page.run()
    assert stored(workspace)[-1].reviewer == "Cy Young" and sent[-1]["history"][0][0] == press["entries"][0]["id"]


def test_a_share_is_all_that_a_person_sees_and_blind_images_hide_what_others_said(
    workspace: Workspace, session: str, digits: LabeledImages, sent: list[dict[str, Any]]
) -> None:
    page = panel(**{NAME: "Ada"})
    names = [field for field in page.text_input if field.label == "Names, with commas between"]
    names[0].set_value("Ada, Bob")
    next(field for field in page.number_input if field.label == "Images").set_value(100)
    button(page, "Assign").click().run()
    assert not page.exception and not page.error
    log = DecisionLog(workspace.review_url)
    given = log.assignments(session)
    assert len(given.assigned) == 100 and len(given.blind) == 10
    page.run()
    assert sent[-1]["total"] == len(given.of["Ada"]) == 55
    shared = sorted(given.blind)[0]
    row = digits.ids.tolist().index(shared)
    say(workspace, session, digits, "Ada", row, 1)
    page.run()
    assert sent[-1]["counts"]["decided"] == 1
    bob = open_page("review", **{NAME: "Bob"})
    assert not bob.exception and sent[-1]["total"] == 55 and sent[-1]["counts"]["decided"] == 0
    open_page("review", **{NAME: "Cy"})
    assert sent[-1]["total"] == len(digits) - 100


def test_a_disagreement_is_seen_settled_and_exported(
    workspace: Workspace, session: str, digits: LabeledImages, sent: list[dict[str, Any]]
) -> None:
    log = DecisionLog(workspace.review_url)
    for row, labels in ((0, (1, 2)), (1, (4, 4)), (2, (5, 5))):
        for who, label in zip(("Ada", "Bob"), labels, strict=True):
            sample = say(workspace, session, digits, who, row, label)
            assign(log, session, [Given(sample, who, True)], by="Ada")
    page = panel("Disagreements", **{NAME: "Cy"})
    assert not page.exception and "1 open, 0 settled" in visible(texts(page)).replace("**", "")
    page = panel("Agreement", **{NAME: "Cy"})
    kappas = page.dataframe[0].value
    assert set(kappas["measure"]) == {"Cohen", "Fleiss"} and set(kappas["images"]) == {3}

    next(b for b in page.button if b.label == "Write CSV and Parquet").click().run()
    first = pd.read_parquet(sorted(workspace.exports.glob("*.parquet"))[-1]).set_index("id")
    sample = str(digits.ids[0])
    assert first.loc[sample, "outcome"] == "disputed" and first.loc[sample, "label"] == digits.labels[0]
    assert "1 image is disputed and not settled" in visible(texts(page))

    page = panel("Disagreements", **{NAME: "Cy"})
    page.selectbox(key=f"team_label_{sample}").set_value(7)
    page.button(key="team_settle").click().run()
    outcome = outcome_of(log, session)
    assert not page.exception and outcome.kinds[sample] == "adjudicated" and outcome.states[sample].label == 7
    assert outcome.states[sample].reviewer == "Cy"
    page.button(key="team_take_back").click().run()
    assert outcome_of(log, session).kinds[sample] == "disputed"


def test_the_history_of_an_image_tells_who_when_and_with_which_score(
    workspace: Workspace, session: str, digits: LabeledImages, sent: list[dict[str, Any]]
) -> None:
    sample = say(workspace, session, digits, "Ada", 0, 1)
    page = panel("One image", **{NAME: "Ada"})
    page.text_input(key="team_image_None").set_value(sample).run()
    (row,) = next(t.value for t in page.dataframe if "who" in t.value and "undone" in t.value).to_dict("records")
    assert (row["who"], row["did"], row["score"], row["method"], row["review"]) == (
        "Ada", "pick", 2.5, "influence", "first",
    )  # fmt: skip
    assert row["when"].startswith("20") and row["undone"] == ""


def test_a_log_is_written_and_one_taken_in_is_independent_and_counted_once(
    workspace: Workspace, session: str, digits: LabeledImages, sent: list[dict[str, Any]], tmp_path: Path
) -> None:
    from fvm_core.review.log_file import log_table, read_log
    from fvm_core.review.session import list_sessions

    say(workspace, session, digits, "Ada", 0, 1)
    page = panel("Log", **{NAME: "Ada"})
    page.button(key="team_log_write").click().run()
    (path,) = workspace.exports.glob("log-*.parquet")
    assert not page.exception and read_log(path)["reviewer"].tolist() == ["Ada"]

    there = DecisionLog(f"sqlite:///{tmp_path / 'there.sqlite'}")
    other = open_session(there, name="x", reviewer="Bob", dataset="digits", fingerprint=digits.fingerprint)
    entry = Entry(client="b", seq=1, sample=str(digits.ids[0]), action="pick", label=2, given=int(digits.labels[0]))
    there.append(other.id, [entry], reviewer="Bob")
    here = DecisionLog(workspace.review_url)
    (mine,) = list_sessions(here)
    for _ in range(2):
        merge_log(here, mine, log_table(there, other), digits, blind=True, by="Ada")
    assert len(here.read(mine.id)) == 2 and not here.assignments(mine.id).assigned
    assert [dispute.sample for dispute in outcome_of(here, mine.id).open] == [digits.ids[0]]
