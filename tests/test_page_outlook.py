"""The Review page's panel on how far to go: yield, cuts, each class, and the self-test."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from app_pages import button, open_page, texts
from score_files import write_score_file
from streamlit.proto.Metric_pb2 import Metric
from streamlit.testing.v1 import AppTest

from fvm_core.data.dataset import DatasetSpec, LabeledImages
from fvm_core.data.registry import add_dataset, open_named
from fvm_core.files import write_json
from fvm_core.influence.planted import PlantSettings, self_test_key, self_test_path
from fvm_core.review.adjudicate import adjudicate
from fvm_core.review.assign import Given, assign
from fvm_core.review.decision import Entry
from fvm_core.review.log import DecisionLog
from fvm_core.review.session import list_sessions, open_session
from fvm_core.review.thresholds import Cuts, chances, per_class
from fvm_core.workspace import Workspace
from pages.ui import gallery as gallery_module
from pages.ui.review_outlook import TABS

N_JUDGED = 60


@pytest.fixture(autouse=True)
def component(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gallery's component needs a browser."""
    monkeypatch.setattr(gallery_module, "_component", lambda **_: None)


def scored(workspace: Workspace, *, posterior: bool = True) -> tuple[LabeledImages, np.ndarray, np.ndarray]:
    """Write influence (and posterior) scores of the digits; return them with suspicion and posterior score."""
    add_dataset(workspace, "digits", DatasetSpec("digits", label="noisy"))
    digits = open_named(workspace, "digits")
    rng = np.random.default_rng(0)
    suspicion, score = rng.lognormal(0, 1, len(digits)), rng.exponential(0.7, len(digits))
    write_score_file(workspace.scores / "digits-fvm" / "influence.parquet", digits, None, score=suspicion)
    if posterior:
        path = workspace.scores / "digits-fvm" / "posterior.parquet"
        write_score_file(path, digits, None, score=score, method="posterior")
    return digits, suspicion, score


def reviewed(workspace: Workspace, digits: LabeledImages, suspicion: np.ndarray, *, wrong: int) -> None:
    """Judge the N_JUDGED most suspicious: the first `wrong` get another label, the others keep theirs."""
    log = DecisionLog(workspace.review_url)
    session = open_session(log, name="first", reviewer="Ada", dataset="digits", fingerprint=digits.fingerprint)
    entries = [
        Entry(
            client="t", seq=rank + 1, sample=str(digits.ids[row]), action="pick" if rank < wrong else "keep",
            label=int(digits.labels[row] + (rank < wrong)) % 10, given=int(digits.labels[row]),
        )
        for rank, row in enumerate(np.argsort(-suspicion)[:N_JUDGED])
    ]  # fmt: skip
    log.append(session.id, entries, reviewer="Ada")


def review(tab: int = 0) -> AppTest:
    page = open_page("review", review_outlook=True, outlook_tab=TABS[tab])
    page.selectbox(key="review_scores").select_index(1).run()
    assert not page.exception, page.exception[0].message
    return page


def metrics(page: AppTest) -> dict[str, str]:
    return {item.label: item.value for item in page.metric}


def test_it_counts_what_was_confirmed_and_says_when_to_stop(workspace: Workspace) -> None:
    digits, suspicion, _ = scored(workspace)
    reviewed(workspace, digits, suspicion, wrong=10)
    page = review()
    assert metrics(page)["Judged"] == "60" and metrics(page)["Wrong labels confirmed"] == "10"
    (share,) = (item for item in page.metric if item.delta)
    assert share.delta == "17% of those judged" and share.proto.direction == Metric.NONE, "a share is no rise"
    assert any("You can stop: 0 of the 50 deepest judged images" in item.value for item in page.success)
    page.number_input(key="outlook_window").set_value(60).run()
    assert any("Go on: 10 of the 60 deepest" in item.value for item in page.info)
    page.number_input(key="outlook_window").set_value(70).run()
    assert any("Judge 10 more for an advice" in item.value for item in page.info)


def test_disputed_images_count_as_not_judged_whoever_looks(workspace: Workspace) -> None:
    digits, suspicion, _ = scored(workspace)
    reviewed(workspace, digits, suspicion, wrong=10)
    log = DecisionLog(workspace.review_url)
    (session,) = list_sessions(log)
    first, second, third = np.argsort(-suspicion)[[0, 1, 12]]
    for row, label in ((first, 2), (second, 1), (third, 0)):
        given, sample = int(digits.labels[row]), str(digits.ids[row])
        entry = Entry(
            client=f"b{row}", seq=1, sample=sample, action="pick" if label else "keep", label=(given + label) % 10,
            given=given,
        )  # fmt: skip
        log.append(session.id, [entry], reviewer="Bob")
        assign(log, session.id, [Given(sample, "Bob", True)], by="Ada")
    for who in ("Ada", "Bob"):
        page = open_page("review", review_outlook=True, outlook_tab=TABS[0], reviewer_name=who)
        page.selectbox(key="review_scores").select_index(1).run()
        assert metrics(page)["Judged"] == "59" and metrics(page)["Wrong labels confirmed"] == "9"
        assert "1 image is disputed and not settled (Several reviewers, Disagreements). Such images" in texts(page)
    adjudicate(log, session.id, str(digits.ids[first]), int(digits.labels[first]), classes=10, reviewer="Cy")
    page.button(key="outlook_again").click().run()
    assert metrics(page)["Judged"] == "60" and metrics(page)["Wrong labels confirmed"] == "9"
    assert "disputed" not in texts(page)


def test_a_budget_says_what_it_should_bring_and_becomes_the_queue(workspace: Workspace) -> None:
    digits, suspicion, score = scored(workspace)
    reviewed(workspace, digits, suspicion, wrong=10)
    page = review(1)
    page.number_input(key="outlook_budget").set_value(200).run()
    cut = Cuts(suspicion, chances(score)).by_budget(200)
    assert f"**{cut.precision:.0%}** of them are expected to be wrong" in texts(page)
    assert f"which is **{cut.recall:.0%}** of the {cut.wrong:,.0f} wrong labels" in texts(page)
    button(page, "Review only these").click().run()
    assert page.session_state["review_top"] == 200 and not page.exception


def test_precision_that_no_cut_reaches_is_said_and_classes_have_their_own(workspace: Workspace) -> None:
    digits, suspicion, score = scored(workspace)
    reviewed(workspace, digits, suspicion, wrong=10)
    page = review(1)
    way = next(item for item in page.get("button_group") if item.key == "outlook_way")
    way.set_value("precision").run()
    page.slider(key="outlook_precision").set_value(99).run()
    assert any("No cut is expected to reach that" in item.value for item in page.info)
    next(item for item in page.get("button_group") if item.key == "outlook_way").set_value("class").run()
    page.slider(key="outlook_each").set_value(50).run()
    shown = next(item.value for item in page.dataframe if "threshold" in item.value.columns)
    expected = per_class(suspicion, chances(score), digits.labels, classes=10, precision=0.5)
    assert shown["count"].tolist() == expected["count"].tolist()


def test_without_a_posterior_it_says_how_to_get_one(workspace: Workspace) -> None:
    digits, suspicion, _ = scored(workspace, posterior=False)
    reviewed(workspace, digits, suspicion, wrong=10)
    page = open_page("review")
    assert not page.metric and not page.get("plotly_chart")  # closed: nothing of it is sent
    page.session_state["review_outlook"] = True
    assert metrics(page.run())["Judged"] == "60"
    page = open_page("review", review_outlook=True, outlook_tab=TABS[1])
    assert "Score with that method too" in texts(page) and not page.exception


def test_the_self_test_starts_a_job_and_shows_its_result(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[dict[str, Any]] = []
    monkeypatch.setattr(
        "pages.ui.job_view.start_job", lambda ws, kind, args, title: started.append({"kind": kind, **args})
    )
    digits, suspicion, _ = scored(workspace)
    reviewed(workspace, digits, suspicion, wrong=10)
    page = review(2)
    page.number_input(key="plant_limit").set_value(100).run()
    button(page, "Run the test").click().run()
    settings = PlantSettings(limit=100)
    methods = ("posterior", "influence", "loss")
    key = self_test_key("0" * 64, digits.fingerprint, "1" * 64, methods, settings, started[0]["scoring"])
    assert [(item["kind"], item["key"], item["settings"]) for item in started] == [
        ("self_test", key, settings.to_json())
    ]
    at = [{"count": 10, "found": 7, "recall": 0.7, "precision": 0.7}]
    result = {"auc": 0.91, "ap": 0.8, "relabel": None, "at": at}
    write_json(
        self_test_path(workspace, key),
        {"planted": 10, "samples": 100, "methods": {"loss": result, "influence": result}},
    )
    page = review(2)
    page.number_input(key="plant_limit").set_value(100).run()
    assert "10 wrong labels planted in 100 images" in texts(page) and not page.exception
    table = next(item.value for item in page.dataframe if "found after 10" in item.value.columns)
    assert table["found after 10"].tolist() == [0.7, 0.7] and table["ROC AUC"].tolist() == [91.0, 91.0]
