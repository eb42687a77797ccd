"""Bars: a long bar is a well supported label, whatever the method's sign."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from score_files import small_dataset, write_score_file

from fvm_core.errors import DataError
from fvm_core.influence.methods import METHODS
from fvm_core.review.support import LabelScores, caption, lengths


@pytest.mark.parametrize("method", list(METHODS))
def test_longest_bar_is_the_suggested_label(method: str) -> None:
    scores = np.random.default_rng(1).lognormal(0, 3, (50, 7))
    for row in scores:
        drawn = lengths(row, method)
        assert drawn.argmax() == np.argmin(METHODS[method].suspicious * row)
        assert drawn.max() == 1.0 and drawn.min() == pytest.approx(0.04)


def test_influence_bars_keep_equal_ratios_at_equal_distances() -> None:
    drawn = lengths([1e-3, 1e-1, 1e1, 1e3], "influence")
    assert np.allclose(np.diff(drawn), np.diff(drawn)[0])
    assert lengths([0.0, 1.0, 1e3], "influence")[1] == pytest.approx(0.04 + 0.96 * 3 / 9), "0 counts as 9 decades down"


def test_bars_of_equal_and_broken_scores() -> None:
    assert lengths([2.0, 2.0], "loss").tolist() == [1.0, 1.0]
    assert lengths([0.0, 0.0], "influence").tolist() == [1.0, 1.0]
    assert lengths([np.nan, 1.0, 2.0], "loss").tolist() == [0.0, 1.0, pytest.approx(0.04)]
    assert lengths([np.nan, np.nan], "loss").tolist() == [0.0, 0.0]
    with pytest.raises(DataError, match="`method` must be one of"):
        lengths([1.0], "guess")


def test_caption_says_which_end_wins() -> None:
    assert "smallest score s wins" in caption("influence")
    assert "smallest score wins" in caption("loss") and "largest score wins" in caption("confident")


def test_label_scores_reads_any_rows_in_any_order(tmp_path: Path) -> None:
    dataset = small_dataset(100, 4)
    scores = np.random.default_rng(0).lognormal(0, 2, (100, 4))
    exact = np.random.default_rng(0).random((100, 4)) < 0.5
    write_score_file(tmp_path / "influence.parquet", dataset, scores, exact=exact, row_group_size=16)
    wanted = [99, 0, 17, 16, 15, 17]
    found = LabelScores(str(tmp_path / "influence.parquet")).read(wanted, "influence")
    for position, bars in zip(wanted, found, strict=True):
        assert bars is not None
        assert np.array_equal(bars.scores, scores[position].astype(np.float32))
        assert np.array_equal(bars.exact, exact[position])


def test_label_scores_without_relabeling_are_none(tmp_path: Path) -> None:
    write_score_file(tmp_path / "loss.parquet", small_dataset(), None, method="loss", score=np.arange(12.0))
    assert LabelScores(str(tmp_path / "loss.parquet")).read([3, 4], "loss") == [None, None]


def test_label_scores_names_a_file_of_another_kind(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="no columns `label_scores` and `label_exact`"):
        LabelScores(str(tmp_path / "x.parquet"))
