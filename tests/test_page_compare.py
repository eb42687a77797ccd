"""Compare: empty, every tab with three models, no truth, mixed datasets, damaged and limited files."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pyarrow.parquet as pq
import pytest
from app_pages import add_digits, open_page, texts
from invented_scores import Invented, invent, write_run, write_snapshots
from streamlit.testing.v1 import AppTest

from fvm_core.data.registry import open_named
from fvm_core.influence.methods import DEFAULT_METHODS
from fvm_core.workspace import Workspace

DATA = invent(400)
EVIL = "<img src=x onerror=alert(1)> [x](http://e) :red[boo]"


def detection_cells(app: AppTest) -> dict[str, list[tuple[str, bool]]]:
    """Return the rows of the table of the Detection tab: each cell's text, and whether it is bold."""
    body = next(str(one.proto.body) for one in app.get("html") if "fvm-table" in str(one.proto.body))
    found = re.search("<table.*</table>", body, re.DOTALL)
    assert found
    rows = ElementTree.fromstring(found[0]).iterfind("tbody/tr")
    return {
        str(row[0].text): [("".join(cell.itertext()), cell.find("b") is not None) for cell in row[1:]] for row in rows
    }


def three_models(workspace: Workspace, data: Invented = DATA) -> None:
    for role in ("base", "vm", "fvm"):
        write_run(workspace, f"m-{role}", data, role=role)


def test_empty_page_says_what_to_do_next(workspace: Workspace) -> None:
    app = open_page("compare")
    assert "no scores to compare" in app.info[0].value
    assert "Score a dataset" in app.get("page_link")[0].proto.label


def test_default_choice_is_standard_vm_fvm_and_their_baselines(workspace: Workspace) -> None:
    three_models(workspace)
    app = open_page("compare", compare_choice=True)
    chosen = {pills.key: list(pills.value) for pills in app.get("button_group") if pills.key.startswith("compare_m")}
    baselines = ["loss", "margin", "el2n", "confident"]
    assert chosen["compare_methods_m-base"] == ["standard", *baselines]
    assert chosen["compare_methods_m-vm"] == chosen["compare_methods_m-fvm"] == ["influence", "posterior", *baselines]
    assert len(app.get("plotly_chart")) == 1
    assert f"17 of {3 * len(DEFAULT_METHODS)} scores" in app.caption[0].value


def test_detection_table_equals_sklearn_and_tells_who_beats_whom(workspace: Workspace) -> None:
    from sklearn.metrics import average_precision_score, roc_auc_score

    three_models(workspace)
    app = open_page("compare", compare_tab="Detection")
    table = detection_cells(app)
    frame = pq.read_table(workspace.scores / "m-fvm" / "influence.parquet").to_pandas()
    wrong = frame["label"] != frame["clean_label"]
    cells = [text for text, _ in table["FVM"]]
    assert cells[0] == f"{100 * roc_auc_score(wrong, frame['suspicion']):.2f}"
    assert cells[1] == f"{100 * average_precision_score(wrong, frame['suspicion']):.2f}"
    top = frame.sort_values("suspicion", ascending=False, kind="stable").head(int(wrong.sum()))
    assert cells[2] == f"{100 * (top['label'] != top['clean_label']).mean():.2f}"
    assert cells[4] == f"{100 * (frame['suggested'] == frame['clean_label'])[wrong].mean():.2f}"
    best = max(float(row[0][0]) for row in table.values())
    assert all(bold == (float(text) == best) for ((text, bold), *_) in table.values())
    assert "is beaten by a plain baseline of the same model" in texts(app)


def test_verdict_uses_baselines_that_are_not_chosen(workspace: Workspace) -> None:
    three_models(workspace)
    app = open_page("compare", compare_tab="Detection", compare_choice=True)
    app.get("button_group")[-1].set_value(["influence"]).run()
    assert "FVM is beaten" in texts(app).replace("\\", "")


def test_what_is_chosen_holds_while_the_choice_is_closed(workspace: Workspace) -> None:
    three_models(workspace)
    app = open_page("compare")
    assert not [pills for pills in app.get("button_group") if pills.key.startswith("compare_m")]
    summary = app.caption[0].value
    app.session_state["compare_choice"] = True
    app.run()
    assert app.caption[0].value == summary
    next(pills for pills in app.get("button_group") if pills.key == "compare_methods_m-fvm").set_value(["loss"]).run()
    summary = app.caption[0].value
    assert summary.replace("\\", "").endswith("**m-fvm**: Loss")
    app.session_state["compare_choice"] = False
    app.run()
    assert app.caption[0].value == summary
    app.switch_page("pages/home.py").run()
    app.switch_page("pages/compare.py").run()
    assert app.caption[0].value == summary
    app.session_state["compare_choice"] = True
    app.run()
    again = {pills.key: list(pills.value) for pills in app.get("button_group")}
    assert again["compare_methods_m-fvm"] == ["loss"] and app.caption[0].value == summary


@pytest.mark.parametrize("tab", ["Distributions", "Detection", "Tuning snapshots", "Agreement", "Disagreement"])
def test_every_tab_works_without_truth_and_says_so(workspace: Workspace, tab: str) -> None:
    data = invent(300, hidden=True)
    three_models(workspace, data)
    write_snapshots(workspace, "m-fvm", data, sample=100)
    app = open_page("compare", compare_tab=tab)
    assert not app.error
    said = texts(app).replace("\\", "")
    wanted = {
        "Distributions": "No clean labels are known",
        "Detection": "cannot be computed",
        "Tuning snapshots": "AUC needs samples known",
        "Agreement": "chance would share",
        "Disagreement": "images cannot be shown",
    }
    assert wanted[tab] in said


def test_snapshots_tab_draws_both_parts_of_fig_3(workspace: Workspace) -> None:
    three_models(workspace)
    write_snapshots(workspace, "m-fvm", DATA, sample=200)
    app = open_page("compare", compare_tab="Tuning snapshots")
    assert len(app.get("plotly_chart")) == 2
    assert "200 samples of the training set under 6 snapshots" in texts(app)


def test_snapshots_tab_without_snapshots_leads_to_the_score_page(workspace: Workspace) -> None:
    three_models(workspace)
    app = open_page("compare", compare_tab="Tuning snapshots")
    assert "No tuning snapshots" in app.info[0].value
    assert any("Score the snapshots" in link.proto.label for link in app.get("page_link"))


def test_disagreement_shows_the_images_of_the_dataset(workspace: Workspace) -> None:
    add_digits(workspace)
    opened = open_named(workspace, "digits")
    assert opened.clean_labels is not None
    data = Invented(
        opened.ids.tolist(), opened.labels, opened.clean_labels, opened.class_names, "digits", opened.fingerprint
    )
    three_models(workspace, data)
    app = open_page("compare", compare_tab="Disagreement")
    cards = "".join(element.proto.body for element in app.get("html"))
    assert cards.count("data:image/png;base64,") == cards.count('class="fvm-card"') == 18
    assert not app.warning


def test_scores_of_another_dataset_are_explained_not_mixed(workspace: Workspace) -> None:
    three_models(workspace)
    write_run(workspace, "other", invent(100, name=f"cats {EVIL}", fingerprint="d" * 64))
    app = open_page("compare")
    said = texts(app)
    assert f"{len(DEFAULT_METHODS)} more score files cannot join in" in said
    assert EVIL not in said
    assert "**m-fvm**" in said.replace("\\", "") and "**other**" not in said


def test_limited_run_is_compared_on_the_samples_all_share(workspace: Workspace) -> None:
    write_run(workspace, "m-base", DATA, role="base")
    write_run(workspace, "m-fvm", DATA, rows=np.arange(50, 250))
    app = open_page("compare", compare_tab="Detection")
    assert "Over 200 samples" in texts(app)


def test_damaged_file_is_an_error_with_a_remedy(workspace: Workspace) -> None:
    three_models(workspace)
    path = workspace.scores / "m-fvm" / "influence.parquet"
    data = bytearray(path.read_bytes())
    footer = pq.read_metadata(path).row_group(0)
    damaged = next(part for part in map(footer.column, range(9)) if part.path_in_schema == "suspicion")
    start = damaged.dictionary_page_offset or damaged.data_page_offset
    data[start : start + 1000] = b"\0" * 1000
    path.write_bytes(bytes(data))
    app = open_page("compare", compare_tab="Detection")
    assert "cannot be read" in app.error[0].value.replace("\\", "") and "Score the dataset again" in app.error[0].value


def test_nothing_chosen_asks_for_a_choice(workspace: Workspace) -> None:
    write_run(workspace, "m-fvm", DATA, methods=["influence"])
    app = open_page("compare", compare_tab="Agreement")
    assert "second method" in app.info[0].value
    app.get("button_group")[0].set_value([]).run()
    assert "Choose at least one run" in app.info[0].value
