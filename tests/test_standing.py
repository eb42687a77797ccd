"""Where one image stands in a list, against scipy on the whole list."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import percentileofscore
from score_files import small_dataset, write_score_file

from fvm_core.errors import DataError
from fvm_core.influence.standing import GRID, quantiles, standing


def test_percentile_and_score_are_those_of_the_whole_list(tmp_path: Path) -> None:
    data = small_dataset(500)
    score = np.random.default_rng(0).integers(0, 60, 500) / 7.0
    path = tmp_path / "loss.parquet"
    write_score_file(path, data, None, score=score, method="loss")
    grid = quantiles(path)
    for row in (0, 77, 499):
        found = standing(path, row, grid)
        assert found is not None
        assert found.percentile == pytest.approx(percentileofscore(score, score[row], kind="mean"))
        assert (found.score, found.suggested, found.label) == (score[row], -1, data.labels[row])
    assert standing(path, 500, grid) is None


def test_long_lists_are_read_within_a_grid_step(tmp_path: Path) -> None:
    data = small_dataset(9000)
    score = np.random.default_rng(0).lognormal(0, 2, 9000)
    path = tmp_path / "confident.parquet"
    write_score_file(path, data, None, score=score, method="confident")
    grid = quantiles(path)
    assert len(grid) == GRID
    for row in range(0, 9000, 731):
        found = standing(path, row, grid)
        assert found is not None and found.suspicion == -score[row]
        assert found.percentile == pytest.approx(percentileofscore(-score, -score[row], kind="mean"), abs=0.06)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        quantiles(tmp_path / "loss.parquet")
    with pytest.raises(DataError, match="cannot be read"):
        standing(tmp_path / "loss.parquet", 1, np.zeros(1))
