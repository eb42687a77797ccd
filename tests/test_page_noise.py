"""The Label noise page: matrices beside the truth, pairs and classes that lead to the review, near-duplicates."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import numpy as np
import pytest
from app_pages import button, open_page, run_jobs_here, texts, visible
from map_files import frame_of, scored_digits, write_neighbours
from streamlit.testing.v1 import AppTest

from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.registry import add_dataset, open_named
from fvm_core.embedding.store import Seen, across_path
from fvm_core.workspace import Workspace
from pages.ui import gallery as gallery_module
from pages.ui.links import ROOT
from pages.ui.noise_classes import class_quality
from pages.ui.noise_data import noise_of
from pages.ui.noise_figures import transition_map
from pages.ui.review_selection import IDS, ORIGIN
from pages.ui.score_sets import score_files


@pytest.fixture(autouse=True)
def component(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery_module, "_component", lambda **_: None)


def open_tab(name: str) -> AppTest:
    return open_page("noise", noise_tab=name)


def test_without_scores_it_leads_to_the_score_page(workspace: Workspace) -> None:
    assert "no scores yet" in texts(open_page("noise"))


def test_flags_stand_beside_the_truth_and_a_pair_leads_to_its_images(workspace: Workspace) -> None:
    digits, _ = scored_digits(workspace)
    page = open_tab("Confusions")
    assert digits.clean_labels is not None
    wrong = 100 * (digits.labels != digits.clean_labels).mean()
    assert f"{wrong:.1f} % of the labels wrong" in visible(texts(page))
    share, frame = page.slider[0].value, frame_of(workspace)
    assert share == round(100 * (1 - np.exp(-frame["score"])).mean()), "starts at what the posterior expects"
    order = np.argsort(-frame["suspicion"].to_numpy(), kind="stable")[: round(share / 100 * len(frame))]
    flagged = frame.iloc[order]
    counts = flagged[flagged["label"] != flagged["suggested"]].groupby(["suggested", "label"]).size()
    true, given = counts.idxmax()
    pressed = next(item for item in page.button if item.key == f"noise_pair_{true}_{given}")
    assert pressed.label == f"Review {counts.max()}"
    pressed.click().run()
    assert not page.exception, page.exception[0].message
    wanted = flagged[(flagged["label"] == given) & (flagged["suggested"] == true)]["id"].tolist()
    assert page.session_state[IDS] == wanted
    assert (
        page.session_state[ORIGIN] == f"label noise: {digits.class_names[given]} that may be {digits.class_names[true]}"
    )


def test_class_quality_counts_what_is_flagged_and_what_is_wrong(workspace: Workspace) -> None:
    digits, _ = scored_digits(workspace)
    (file,) = score_files(workspace)
    noise = noise_of(file, file, 0.2, 10)
    table = class_quality(noise, digits.class_names).sort_index()
    assert digits.clean_labels is not None
    for label in range(10):
        mine = digits.labels == label
        assert table["images"][label] == mine.sum()
        assert table["flagged"][label] == pytest.approx(100 * noise.flagged[mine].mean())
        assert table["wrong"][label] == pytest.approx(100 * (digits.clean_labels[mine] != label).mean())
    assert noise.flagged.sum() == round(0.2 * len(digits))
    page = open_tab("Classes")
    page.selectbox(key="noise_class").set_value(3).run()
    next(item for item in page.button if item.key == "noise_class_review").click().run()
    assert not page.exception, page.exception[0].message
    share = noise_of(file, file, page.session_state[f"noise_share_{digits.fingerprint[:12]}"] / 100, 10)
    assert set(page.session_state[IDS]) == set(digits.ids[share.flagged & (digits.labels == 3)].tolist())


def test_near_duplicates_need_the_map_s_job_and_then_show_contradictions(workspace: Workspace) -> None:
    digits, provenance = scored_digits(workspace)
    assert "Make the map of these scores first" in texts(open_tab("Near-duplicates"))
    one = 0
    same = int(np.flatnonzero(digits.labels == digits.labels[one])[1])
    other = int(np.flatnonzero(digits.labels != digits.labels[one])[0])
    write_neighbours(workspace, digits, provenance, {one: (same, 3.0), other: (one, 2.0)})
    page = open_tab("Near-duplicates")
    assert "2 such pairs, 1 of them with different labels" in visible(texts(page))
    page.slider(key="noise_within").set_value(1).run()
    assert "No near-duplicates have different labels" in texts(page)
    page.slider(key="noise_within").set_value(10).run()
    button(page, "Review these 2 images").click().run()
    assert not page.exception, page.exception[0].message
    assert set(page.session_state[IDS]) == {str(digits.ids[one]), str(digits.ids[other])}


def test_shared_images_are_looked_for_by_the_job_of_the_load_page(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored_digits(workspace)
    assert "not in the workspace any more" in visible(texts(open_tab("Training and validation")))
    add_dataset(workspace, "clean", DatasetSpec("digits", label="clean", options={"split": "validation"}))
    run_jobs_here(monkeypatch, "overlap_view")
    assert "The two sets share no image" in texts(open_tab("Training and validation"))


def test_near_duplicates_across_both_sets_are_shown_and_left_out_of_either(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job's file is written by hand: training images 3 and 5 are nearly the clean images 10 and 11."""
    add_dataset(workspace, "clean", DatasetSpec("digits", label="clean", options={"split": "validation"}))
    clean = open_named(workspace, "clean")
    about = {"name": "clean", "spec": {}, "fingerprint": clean.fingerprint}
    digits, provenance = scored_digits(workspace, validation=about)
    run_jobs_here(monkeypatch, "overlap_view")
    started: list[dict[str, Any]] = []
    monkeypatch.setattr("pages.ui.job_view.start_job", lambda ws, kind, args, title: started.append({"k": kind} | args))
    page = open_tab("Training and validation")
    page.button(key="across_start").click().run()
    path = across_path(workspace, Seen.behind(provenance), clean.fingerprint)
    assert not page.exception and [(one["k"], one["validation"], one["key"]) for one in started] == [
        ("across", "clean", path.stem)
    ]
    assert started[0]["expected"] == {
        "model": "0" * 64, "dataset": digits.fingerprint, "validation": clean.fingerprint,
    }  # fmt: skip
    write_neighbours(workspace, digits, provenance, {3: (10, 4.0), 5: (11, 9.0)}, path=path)
    page = open_tab("Training and validation")
    told = visible(texts(page))
    assert "2 such pairs" in told
    (pairs,) = [str(one.proto.body) for one in page.get("html") if "fvm-pairs" in str(one.proto.body)]
    assert pairs.count("<img ") == 4 and pairs.index(str(digits.ids[3])) < pairs.index(str(clean.ids[10]))
    page.slider(key="noise_across_within").set_value(5).run()
    assert "1 such pairs" in visible(texts(page))
    page.button(key="noise_across_make").click().run()
    assert not page.exception and not page.error
    made = open_named(workspace, "digits-no-near-copies")
    assert made.ids.tolist() == [one for one in digits.ids.tolist() if one != digits.ids[3]]
    next(one for one in page.get("button_group") if one.key == "noise_across_side").set_value("validation").run()
    page.button(key="noise_across_make").click().run()
    assert set(clean.ids) - set(open_named(workspace, "clean-no-near-copies").ids) == {clean.ids[10]}
    assert "clean-no-near-copies is clean without 1 images" in visible(texts(page))


def test_the_matrix_writes_shares_and_leaves_the_diagonal_uncoloured() -> None:
    figure = transition_map(np.array([[0.9, 0.1], [0.25, 0.75]]), ["<b>a</b>", "b"], top=0.25)
    heat = figure.data[0]
    assert np.isnan(np.diag(np.array(heat.z, dtype=float))).all() and heat.z[1][0] == 25 and heat.zmax == 25
    assert [note.text for note in figure.layout.annotations] == ["90", "10", "25", "75"]
    assert heat.x[0] == "&lt;b&gt;a&lt;/b&gt;"


def test_every_class_of_the_matrix_is_named_though_its_name_is_a_number() -> None:
    digits = [str(digit) for digit in (3, 1, 4, 0, 5, 9, 2, 6, 8, 7)]
    layout = transition_map(np.eye(10), digits, top=0.1, rows="True class").layout
    for axis in (layout.xaxis, layout.yaxis):
        assert axis.type == "category" and list(axis.tickvals) == list(axis.ticktext) == digits
    assert layout.yaxis.title.text == "True class"


def test_long_names_are_shortened_at_the_axes_only_and_of_many_some_are_named() -> None:
    long = ["a class with a very long name, one", "a class with a very long name, two"]
    figure = transition_map(np.eye(2), long, top=0.1)
    assert list(figure.data[0].x) == long == list(figure.layout.xaxis.tickvals)
    assert max(map(len, figure.layout.xaxis.ticktext)) < 20
    many = transition_map(np.eye(100), [f"class {k}" for k in range(100)], top=0.1)
    assert list(many.layout.xaxis.tickvals)[:3] == ["class 0", "class 5", "class 10"]


@pytest.mark.parametrize("dark", [False, True])
def test_the_deepest_cell_leaves_the_pages_ink_legible(dark: bool) -> None:
    figure = transition_map(np.array([[0.5, 0.5], [0.0, 1.0]]), ["a", "b"], top=0.5)
    assert all(note.font.color is None for note in figure.layout.annotations)
    red, green, blue, alpha = map(float, re.findall(r"[\d.]+", figure.data[0].colorscale[-1][1]))
    theme = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())["theme"]["dark" if dark else "light"]
    paper, ink = (
        np.array([int(theme[key][k : k + 2], 16) for k in (1, 3, 5)]) for key in ("backgroundColor", "textColor")
    )
    cell = alpha * np.array([red, green, blue]) + (1 - alpha) * paper
    light, deep = sorted((luminance(cell), luminance(0.82 * ink + 0.18 * cell)), reverse=True)  # as INK_RULE mixes it
    assert (light + 0.05) / (deep + 0.05) >= 4.5


def luminance(colour: np.ndarray) -> float:
    """Return WCAG's relative luminance of sRGB 0 to 255."""
    share = colour / 255
    return float(np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722])
