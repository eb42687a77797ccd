"""The columns that a review reads, against pandas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from score_files import small_dataset, write_score_file

from fvm_core.errors import DataError
from fvm_core.review.score_rows import read_score_rows


def test_columns_and_order_equal_pandas(tmp_path: Path) -> None:
    data = small_dataset(300, 4)
    path = tmp_path / "loss.parquet"
    write_score_file(path, data, np.random.default_rng(0).random((300, 4)).round(2), method="loss", row_group_size=64)
    table, frame = read_score_rows(path), pd.read_parquet(path)
    for column, name in (("rows", "row"), ("labels", "label"), ("suggested", "suggested"), ("scores", "score")):
        assert np.array_equal(getattr(table, column), frame[name])
    expected = frame["suspicion"].sort_values(ascending=False, kind="stable").index
    assert table.order.tolist() == expected.tolist()
    assert np.array_equal(table.containing("IMG-001"), frame["id"].str.contains("img-001"))
    assert np.array_equal(table.containing("-001"), frame["id"].str.contains("-001"))
    assert np.flatnonzero(table.among(["img-0005", "nobody"])).tolist() == [5]
    assert table.range == (frame["score"].min(), frame["score"].max())
    assert table.positions([-1, 0, 299, 300]).tolist() == [-1, 0, 299, -1]


def test_a_file_that_lacks_a_column_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pd.DataFrame({"row": [0]}).to_parquet(path)
    with pytest.raises(DataError, match=r"lacks the columns \['label'\].*Score the dataset again"):
        read_score_rows(path)
