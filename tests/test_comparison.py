"""Joining score files by id, percentiles, labels and default choices: against pandas merges and scipy ranks."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from invented_scores import invent, write_run, write_snapshots
from scipy.stats import rankdata

from fvm_core.errors import DataError
from fvm_core.workspace import Workspace
from pages.ui.comparison import doubled_ranks, percentiles, shared_samples, values
from pages.ui.score_sets import (
    ScoreFile,
    by_fingerprint,
    default_methods,
    line_styles,
    listed,
    score_files,
    selected_runs,
)
from pages.ui.tab_distributions import arranged, sketch

DATA = invent(300)


def files_of(workspace: Workspace) -> dict[str, ScoreFile]:
    return {f"{item.run}/{item.method}": item for item in score_files(workspace)}


def test_values_join_by_id_whatever_the_order_of_rows(workspace: Workspace) -> None:
    random = np.random.default_rng(0)
    write_run(workspace, "a", DATA, role="base", methods=["loss"], rows=random.permutation(300)[:200])
    write_run(workspace, "b", DATA, methods=["margin"], rows=random.permutation(300)[:250])
    one, two = score_files(workspace)
    frames = [pq.read_table(item.path).to_pandas() for item in (one, two)]
    expected = frames[0].merge(frames[1], on="id", suffixes=("", "_two"))
    samples = shared_samples([one, two])
    assert samples.ids_at(np.arange(len(samples))) == expected["id"].tolist()
    assert samples.totals == (200, 250)
    assert np.array_equal(samples.wrong, expected["label"] != expected["clean_label"])
    assert np.array_equal(values([one, two], two, "suspicion"), expected["suspicion_two"])
    assert np.array_equal(values([one, two], one, "suspicion"), expected["suspicion"])


def test_percentiles_are_ranks_with_ties_in_the_middle(workspace: Workspace) -> None:
    write_run(workspace, "a", DATA, methods=["loss"])
    (one,) = score_files(workspace)
    suspicion = pq.read_table(one.path)["suspicion"].to_numpy()
    assert np.allclose(percentiles([one], one), 100 * (rankdata(suspicion) - 0.5) / 300)


def test_files_without_a_common_sample_are_refused(workspace: Workspace) -> None:
    write_run(workspace, "a", DATA, methods=["loss"], rows=np.arange(100))
    write_run(workspace, "b", DATA, methods=["loss"], rows=np.arange(100, 200))
    with pytest.raises(DataError, match=r"share no sample.*Choose others"):
        shared_samples(score_files(workspace))


def test_an_id_twice_is_refused(workspace: Workspace) -> None:
    write_run(workspace, "a", DATA, methods=["loss"], rows=np.array([1, 2, 2]))
    with pytest.raises(DataError, match="holds a sample id twice"):
        shared_samples(score_files(workspace))


def test_a_rewritten_file_is_read_again(workspace: Workspace) -> None:
    write_run(workspace, "a", DATA, methods=["loss"])
    before = shared_samples(score_files(workspace))
    write_run(workspace, "a", DATA, methods=["loss"], rows=np.arange(10))
    files, _ = listed(workspace)
    assert len(before) == 300 and len(shared_samples(files)) == 10


def test_labels_are_unique_within_a_dataset_only(workspace: Workspace) -> None:
    write_run(workspace, "a", DATA, methods=["influence"])
    write_run(workspace, "b", DATA, methods=["influence", "loss"])
    write_run(workspace, "c", invent(20, fingerprint="d" * 64), methods=["influence"])
    labels = {key: item.label for key, item in files_of(workspace).items()}
    assert labels == {
        "a/influence": "FVM (a)", "b/influence": "FVM (b)", "b/loss": "FVM · Loss", "c/influence": "FVM"
    }  # fmt: skip


def test_snapshots_are_listed_apart(workspace: Workspace) -> None:
    write_run(workspace, "a", DATA, methods=["loss"])
    write_snapshots(workspace, "a", DATA, sample=20)
    files, snapshots = listed(workspace)
    assert [item.method for item in files] == ["loss"] and [item.method for item in snapshots] == ["snapshots"]


def test_groups_put_the_dataset_with_most_files_first(workspace: Workspace) -> None:
    write_run(workspace, "a", invent(20, fingerprint="d" * 64), methods=["loss"])
    write_run(workspace, "b", DATA, methods=["loss", "margin"])
    assert [len(group) for group in by_fingerprint(score_files(workspace)).values()] == [2, 1]


def test_default_methods_fall_back_to_what_there_is(workspace: Workspace) -> None:
    write_run(workspace, "a", DATA, role="base", methods=["influence"])
    assert default_methods(score_files(workspace)) == ["influence"]


def test_selected_runs_takes_one_of_each_role(workspace: Workspace) -> None:
    for run, role in (("x", "base"), ("y", "fvm"), ("z", "vm")):
        write_run(workspace, run, DATA, role=role, methods=["loss"])
    runs = {item.run: [item] for item in score_files(workspace)}
    assert selected_runs(runs) == ["x", "z", "y"]


def test_two_models_of_one_role_get_different_colours(workspace: Workspace) -> None:
    write_run(workspace, "a", DATA, methods=["influence", "loss"])
    write_run(workspace, "b", DATA, methods=["influence"])
    files = score_files(workspace)
    styles = line_styles(files)
    assert styles["FVM (a)"].colour == styles["FVM · Loss"].colour != styles["FVM (b)"].colour
    assert styles["FVM (a)"].dash != styles["FVM · Loss"].dash
    assert pd.Series([style.colour for style in styles.values()]).nunique() == 2


def test_doubled_ranks_equal_scipy_with_ties() -> None:
    numbers = np.random.default_rng(4).normal(size=500).round(1)
    assert np.array_equal(doubled_ranks(numbers), 2 * rankdata(numbers))


def test_ids_are_read_for_some_samples_only(workspace: Workspace) -> None:
    write_run(workspace, "a", DATA, methods=["loss"], rows=np.arange(10, 200))
    write_run(workspace, "b", DATA, methods=["margin"], rows=np.arange(250)[::-1])
    samples = shared_samples(score_files(workspace))
    assert samples.ids_at([3, 0]) == [DATA.ids[row] for row in samples.rows[[3, 0]]]


def test_a_sketch_keeps_ends_and_quantiles() -> None:
    numbers = np.random.default_rng(5).normal(size=50_000)
    numbers[:3] = np.nan
    few = sketch(numbers, most=1001)
    whole = np.sort(numbers[3:])
    assert len(few) == 1001 and (few[0], few[-1]) == (whole[0], whole[-1])
    for share in (0.01, 0.5, 0.9):
        assert abs(np.searchsorted(whole, np.quantile(few, share)) / len(whole) - share) <= 1 / 1001
    assert np.array_equal(sketch(numbers, most=60_000), whole)


def test_runs_fill_rows_where_their_methods_fit_and_flow_in_equal_rows_where_not() -> None:
    files = [SimpleNamespace(run=run, method=method) for run in "ab" for method in ("loss", "margin", "el2n", "gex")]
    panels = [f"{item.run} {item.method}" for item in files[:-1]]
    whole, columns = arranged(files[:-1], panels, 6)  # type: ignore[arg-type]
    assert columns == 4 and len(whole) == 8 and whole.count(None) == 1 and None in whole[4:]
    narrow, columns = arranged(files[:-1], panels, 3)  # type: ignore[arg-type]
    assert columns == 2 and [one and str(one)[0] for one in narrow] == ["a"] * 4 + ["b"] * 3 + [None]
    assert arranged(files[:-1], panels, 1)[0] == [one for one in narrow if one]  # type: ignore[arg-type]
