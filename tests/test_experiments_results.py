"""Rows on disk, the table beside the paper's, and the words under it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from experiment_rows import about, figure1, rows, write_all

from fvm_core.errors import DataError
from fvm_core.experiments.compare import as_frame, compare, dataset_order
from fvm_core.experiments.render import csv, figure_table, gaps, markdown, pivot, write_texts
from fvm_core.experiments.results import (
    SCHEMA,
    Result,
    list_experiments,
    read_result,
    read_results,
    result_path,
    write_rows,
)
from fvm_core.experiments.store import experiment_folder
from fvm_core.experiments.tables import TABLES, WHAT
from fvm_core.workspace import Workspace


def frame(key: str, **options: object) -> pd.DataFrame:
    return pd.DataFrame(rows(key, **options))  # type: ignore[arg-type]


def test_rows_come_back_with_their_provenance(tmp_path: Path) -> None:
    write_rows(tmp_path, "table1", rows("table1"), about())
    result = read_result(result_path(tmp_path, "table1"))
    assert list(result.frame.columns) == SCHEMA.names and result.about == json.loads(json.dumps(about()))
    assert result.frame["row"].tolist() == 2 * [row.label for row in TABLES["table1"].rows]
    back = result.frame.set_index(["seed", "row"])["auc"]
    assert all(back.loc[row["seed"], row["row"]] == row["auc"] for row in rows("table1"))


def test_other_seeds_and_datasets_are_added_and_cells_made_anew_replaced(tmp_path: Path) -> None:
    write_rows(tmp_path, "table6", rows("table6", seeds=(0, 1)), about())
    write_rows(tmp_path, "table6", rows("table6", seeds=(1, 2), auc=12.0), about())
    write_rows(tmp_path, "table6", rows("table6", dataset="other", setting="", seeds=(0,)), about())
    got = read_result(result_path(tmp_path, "table6")).frame
    assert got.groupby(["dataset", "seed"]).size().to_dict() == {
        ("noisy", 0): 4, ("noisy", 1): 4, ("noisy", 2): 4, ("other", 0): 4,
    }  # fmt: skip
    assert (got[(got["dataset"] == "noisy") & (got["seed"] > 0)]["auc"] == 12.0).all()


def test_rows_of_another_recipe_or_of_changed_data_go(tmp_path: Path) -> None:
    write_rows(tmp_path, "table6", rows("table6", seeds=(0, 1)), about())
    write_rows(tmp_path, "table6", rows("table6", seeds=(0,), fingerprint="changed")[:1], about())
    got = read_result(result_path(tmp_path, "table6")).frame
    assert sorted(got["seed"].tolist()) == [0, 1, 1, 1, 1]
    write_rows(tmp_path, "table6", rows("table6", seeds=(2,), recipe="new"), about())
    got = read_result(result_path(tmp_path, "table6")).frame
    assert set(got["seed"]) == {2}


def test_damaged_and_foreign_files_are_named_and_left_out(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "table1.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"result `.*table1.parquet` cannot be read .*Run the experiment again"):
        read_result(tmp_path / "table1.parquet")
    write_rows(tmp_path, "table6", rows("table6"), about())
    (tmp_path / "table6.parquet").rename(tmp_path / "figure1.parquet")
    with pytest.raises(DataError, match="is not a table or figure of ours"):
        read_result(tmp_path / "figure1.parquet")
    assert read_results(tmp_path) == {}
    assert list_experiments(workspace) == []
    write_all(experiment_folder(workspace, "cpu"))
    write_all(experiment_folder(workspace, "later"))
    assert list_experiments(workspace) == ["later", "cpu"]
    assert list(read_results(experiment_folder(workspace, "cpu"))) == list(WHAT)


def test_compare_gives_mean_and_deviation_over_seeds_beside_the_papers(tmp_path: Path) -> None:
    table = frame("table1", seeds=(0, 1, 2))
    lines = {(line.row, line.metric): line for line in compare("table1", table)}
    for row in ("FVM", "LiSSA*", "Loss (VM)"):
        values = table[table["row"] == row]["ap"].to_numpy()
        line = lines[row, "ap"]
        assert line.mean == pytest.approx(np.mean(values)) and line.std == pytest.approx(np.std(values, ddof=1))
        assert line.n == 3
    assert (lines["FVM", "auc"].paper_mean, lines["FVM", "auc"].paper_std) == (96.46, 0.08)
    assert np.isnan(lines["Loss (VM)", "auc"].paper_mean)
    single = compare("table1", frame("table1", seeds=(0,)))
    assert all(np.isnan(line.std) and line.n == 1 for line in single)
    assert len(as_frame(single)) == len(single)


def test_compare_marks_our_score_where_a_baseline_of_the_same_model_is_better() -> None:
    table = frame("table1", seeds=(0,), auc=50.0, ap=50.0)
    for row, value in (("Loss (base)", 95.0), ("Loss (FVM)", 80.0), ("Margin (FVM)", 90.0)):
        table.loc[table["row"] == row, "auc"] = value
    beaten = {(line.row, line.metric): line for line in compare("table1", table) if line.beaten_by}
    assert list(beaten) == [("FVM", "auc")], "a tie beats nobody, and the base's loss is no rival of the FVM model"
    assert (beaten["FVM", "auc"].beaten_by, beaten["FVM", "auc"].beaten_mean) == ("Margin (FVM)", 90.0)


def test_table_11_tells_the_relative_change_as_the_paper_does() -> None:
    table = frame("table11", seeds=(0,))
    table.loc[(table["row"] == "VM") & (table["share"] == 1.0), "auc"] = 80.0
    table.loc[(table["row"] == "VM") & (table["share"] == 0.5), "auc"] = 76.0
    line = next(x for x in compare("table11", table) if (x.row, x.share, x.metric) == ("VM", 0.5, "auc"))
    assert line.change == pytest.approx(-5.0) and round(line.paper_change, 2) == -0.59
    text = pivot("table11", table).set_index("Method")
    assert "76.00 (↓ 5.00)" in text.loc["VM, 1,500", "noisy ROC AUC"]
    assert "(↓ 0.59)" in text.loc["VM, 1,500", "noisy ROC AUC, paper"]


def test_failed_cells_are_shown_as_such_and_have_no_part_in_the_mean() -> None:
    table = frame("table1", seeds=(0, 1))
    gone = (table["row"] == "GEX") | ((table["row"] == "VM") & (table["seed"] == 1))
    table.loc[gone, ["auc", "ap"]] = np.nan
    table.loc[gone, "error"] = "the loss became nan"
    lines = {(line.row, line.metric): line for line in compare("table1", table)}
    assert (lines["GEX", "auc"].n, lines["GEX", "auc"].failed, lines["VM", "auc"].n) == (0, 2, 1)
    assert lines["VM", "auc"].mean == table[(table["row"] == "VM") & (table["seed"] == 0)]["auc"].item()
    text = markdown(Result("table1", table, about()))
    assert "| GEX | failed | 93.28 ± 0.10 |" in text
    assert "Failed (3 cells of GEX, VM): the loss became nan" in text


def test_datasets_stand_in_the_papers_order_and_others_say_whose_column_is_beside_them() -> None:
    table = pd.concat(
        [frame("table1", dataset=name, setting=setting) for name, setting in
         (("mine", ""), ("w", "worse"), ("a", "aggre"))]
    )  # fmt: skip
    assert dataset_order(table) == ["a", "w", "mine"]
    columns = list(pivot("table1", table).columns)
    assert columns[:3] == ["Method", "a ROC AUC", "a ROC AUC, paper"]
    assert "mine ROC AUC, paper, CIFAR-10N Worst" in columns
    text = markdown(Result("table1", table, about()))
    assert "the paper has no figures for mine: its columns are those of other datasets" in text


def test_markdown_names_the_differences_the_choice_of_checkpoints_and_the_verdict() -> None:
    table = frame("table1", seeds=(0, 1), auc=60.0)
    table.loc[table["row"] == "Loss (FVM)", "auc"] = 99.0
    text = markdown(Result("table1", table, about()))
    for words in (
        "network cifar_resnet18 of width 8 (cifar_resnet34 of width 64)", "epochs 6 (100)", "tuning steps 200 (1000)",
        "trained on 25,000 rows of the training set (50,000)", "1,500 rows scored (50,000)",
        "3,000 validation rows (10,000)", "2 seeds on noisy (3)", "GEX members 4 (32)",
        "starred forms choose among 3 checkpoints (10)", "LiSSA depth 50",
        "LiSSA*: the training checkpoint with the best AP of each dataset and seed, a choice that uses the truth "
        "(epochs 4, 4)",
        "- noisy, ROC AUC: Loss (FVM) 99.00 is better than FVM 60.00.",
        "Measured 2026-01-02T03:04:05+00:00 on a machine",
    ):  # fmt: skip
        assert words in text, words
    assert "**99.00 ± 0.00**" in text and "60.00 ± 0.00 ▼" in text
    given = markdown(Result("table1", table, about(model="mine")))
    assert "the base model is `mine` for all seeds" in given and "10,000 rows of the training set" not in given


def test_figure_1_shows_the_median_gap_of_each_model_and_length() -> None:
    medians = gaps(figure1()).set_index(["model", "length"])
    assert medians.loc[("base", 0.2), "gap, first order"] == pytest.approx(2 * 4 * 0.04)
    assert medians.loc[("fvm", 0.2), "gap, second order"] == pytest.approx(1 * 0.04)
    assert list(figure_table(Result("figure1", figure1(), about())).columns)[:2] == ["model", "length"]


def test_texts_hold_every_table_and_figure(tmp_path: Path) -> None:
    write_all(tmp_path)
    write_texts(tmp_path)
    text = (tmp_path / "tables.md").read_text()
    assert all(f"## {table.heading}" in text for table in TABLES.values())
    assert all(f"## Figure {number}:" in text for number in (1, 2, 3))
    read = pd.read_csv(io.StringIO((tmp_path / "tables.csv").read_text()))
    assert read["table"].unique().tolist() == list(TABLES) and {"mean", "std", "paper_mean"} <= set(read.columns)
    mean = read[(read["table"] == "table6") & (read["row"] == "ours / ours") & (read["metric"] == "auc")]["mean"].item()
    assert mean == pytest.approx(
        np.mean([row["auc"] for row in rows("table6") if row["row"] == "ours / ours"]), abs=1e-3
    )
    assert csv({}) == ""
