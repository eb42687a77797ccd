"""The Map page without a browser: what it offers, what goes to the component, and whose word counts."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from app_pages import button, ended_job, labels, open_page, running_job, texts, visible
from map_files import frame_of, scored_digits, write_map
from streamlit.testing.v1 import AppTest

from fvm_core.embedding.settings import MapSettings
from fvm_core.embedding.store import Seen, map_path
from fvm_core.review.log import DecisionLog
from fvm_core.review.session import open_session
from fvm_core.workspace import Workspace
from pages.ui import gallery as gallery_module
from pages.ui import map_plot
from pages.ui.map_plot import KEY, packed
from pages.ui.review_selection import IDS, OF, PAGE


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the component would get, run after run; it needs a browser."""
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(map_plot, "_component", lambda **options: calls.append(options["data"]))
    monkeypatch.setattr(gallery_module, "_component", lambda **_: None)
    return calls


def pick(page: AppTest, data: dict[str, Any], places: list[int], *, number: int = 1, **changes: Any) -> AppTest:
    """Return the page after the browser said that these points are selected."""
    mask = packed(np.array(places, np.int64), len(data["ids"]))
    picked = {"token": data["token"], "client": "tab", "number": number, "mask": mask, **changes}
    page.session_state[KEY] = {"picked": picked}
    page.run()
    assert not page.exception, page.exception[0].message
    return page


def test_without_scores_it_leads_to_the_score_page(workspace: Workspace) -> None:
    assert "no scores yet" in texts(open_page("map"))


def test_the_button_starts_a_job_of_these_very_scores(
    workspace: Workspace, sent: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    digits, provenance = scored_digits(workspace)
    started: list[dict[str, Any]] = []
    monkeypatch.setattr("pages.ui.job_view.start_job", lambda ws, kind, args, title: started.append({kind: args}))
    page = open_page("map")
    button(page, "Make the map").click().run()
    key = map_path(workspace, Seen.behind(provenance), MapSettings()).stem
    assert started == [
        {"map": {"model": "digits-fvm", "dataset": "digits", "settings": MapSettings().to_json(), "key": key,
                 "expected": {"model": "0" * 64, "dataset": digits.fingerprint}}}
    ]  # fmt: skip
    assert sent == []


def test_principal_components_are_shown_while_umap_is_made(workspace: Workspace, sent: list[dict[str, Any]]) -> None:
    digits, provenance = scored_digits(workspace)
    write_map(workspace, digits, provenance, umap=False)
    key = map_path(workspace, Seen.behind(provenance), MapSettings()).stem
    with running_job(workspace, "map", {"key": key}, title="Map it", done=500, total=1000):
        page = open_page("map")
        assert page.get("progress") and sent and "PCA of what digits" in visible(texts(page))
    ended_job(workspace, "map", {"key": key}, title="Map it", state="failed", error="the disk is full")
    page = open_page("map")
    assert "the disk is full" in visible(page.error[0].value) and "Make the map" in labels(page)


def test_points_carry_labels_percentiles_states_and_the_review_s_page(
    workspace: Workspace, sent: list[dict[str, Any]]
) -> None:
    digits, provenance = scored_digits(workspace)
    laid = write_map(workspace, digits, provenance)
    log = DecisionLog(workspace.review_url)
    open_session(log, name="First", reviewer="Ada", dataset="digits", fingerprint=digits.fingerprint)
    page = open_page("map", **{PAGE: (digits.fingerprint, digits.ids[[3, 8]].tolist())})
    next(item for item in page.toggle if item.key == "map_ring").set_value(True).run()
    data = sent[-1]
    table = frame_of(workspace)

    def array(name: str, kind: str) -> Any:
        return np.frombuffer(base64.b64decode(data[name]), kind)

    assert data["ids"] == table["id"].tolist() and data["marks"] == [3, 8]
    assert (array("given", "<i2") == digits.labels).all() and (array("truth", "<i2") == digits.clean_labels).all()
    positions = array("positions", "<f4").reshape(-1, 2)
    low, high = laid.min(0), laid.max(0)
    np.testing.assert_allclose(positions, (laid - (low + high) / 2) / (high - low).max() + 0.5, atol=1e-6)
    ranks = (table["suspicion"].to_numpy()[:, None] > table["suspicion"].to_numpy()[None]).mean(1)
    np.testing.assert_allclose(array("percentile", "u1"), 100 * ranks, atol=1.01)
    assert array("colours", "u1").shape == (3 * len(digits),) and "review “First”" in visible(texts(page))


@pytest.mark.parametrize("mode", ["given", "suggested", "state", "truth", "wrong"])
def test_every_colour_has_a_legend_that_counts_the_images(
    workspace: Workspace, sent: list[dict[str, Any]], mode: str
) -> None:
    digits, provenance = scored_digits(workspace)
    write_map(workspace, digits, provenance)
    page = open_page("map")
    next(item for item in page.get("button_group") if item.key == "map_colour").set_value(mode).run()
    items = sent[-1]["legend"]["items"]
    counts = [int(words.rsplit(" ", 1)[1].replace(",", "")) for _, words in items]
    assert sum(counts) == len(digits)
    if mode == "wrong":
        assert digits.clean_labels is not None
        assert counts[1] == (digits.labels != digits.clean_labels).sum()


def test_a_selection_is_listed_and_goes_to_the_review(workspace: Workspace, sent: list[dict[str, Any]]) -> None:
    digits, provenance = scored_digits(workspace)
    write_map(workspace, digits, provenance)
    page = open_page("map")
    assert "Draw a lasso or a box" in texts(page)
    places = [4, 90, 12, 700]
    pick(page, sent[-1], places)
    assert "4 images selected" in [item.value for item in page.subheader]
    pick(page, sent[-1], [1], number=2, token="of other points")
    pick(page, sent[-1], [1], number=3, mask="###")
    pick(page, sent[-1], [1], number="4")  # type: ignore[arg-type]
    assert "4 images selected" in [item.value for item in page.subheader], "a wrong word changes nothing"
    button(page, "Review these").click().run()
    assert not page.exception, page.exception[0].message
    suspicion = frame_of(workspace)["suspicion"].to_numpy()
    wanted = digits.ids[sorted(places, key=lambda place: -suspicion[place])].tolist()
    assert page.session_state[IDS] == wanted and page.session_state[OF] == digits.fingerprint
