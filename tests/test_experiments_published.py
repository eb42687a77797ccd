"""The printed figures: held against the paper's text where it is at hand, and against the tables that use them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fvm_core.experiments.published import PRINTED, PUBLISHED, SETTINGS, Printed, published
from fvm_core.experiments.tables import TABLES

PAPER = Path(__file__).resolve().parents[2] / "shared" / "design" / "paper.md"


def numbers(line: str) -> list[float]:
    """Return the decimals of a line of the paper, those in brackets (relative changes) left out."""
    return [float(found) for found in re.findall(r"\d+\.\d+", re.sub(r"\([^)]*\)", "", line))]


@pytest.mark.parametrize("printed", PRINTED, ids=lambda item: item.table)
def test_every_number_stands_in_the_papers_table(printed: Printed) -> None:
    if not PAPER.exists():
        pytest.skip(f"the paper's text is not at {PAPER}")
    text = PAPER.read_text(encoding="utf-8")
    start = text.index(f"{printed.name}. ")
    block = text[start : start + 6000]
    lines = [numbers(line) for line in block.splitlines()]
    if printed.table == "table3":  # one line for all methods
        mine = [value for cell in printed.cells() for value in (cell.mean, cell.std)]
        assert mine in lines
        return
    wanted = [numbers(line.partition("|")[2]) for line in printed.rows.strip().splitlines()]
    if printed.table == "table11":  # methods are columns there
        table = {tuple(numbers(line)) for line in block.splitlines() if len(numbers(line)) == 6}
        by = {(cell.row, cell.share, cell.metric): (cell.mean, cell.std) for cell in printed.cells()}
        mine = {
            tuple(number for row in ("LiSSA", "VM", "FVM") for number in by[row, share, metric])
            for share in (1.0, 0.5, 0.2, 0.1)
            for metric in ("auc", "ap")
        }
        assert mine <= table
        return
    for row in wanted:
        assert any(line == row for line in lines), row


def test_the_targets_of_the_paper() -> None:
    cell = published("table1", "FVM", "worse", "auc")
    assert cell is not None and (cell.mean, cell.std) == (96.46, 0.08)
    assert published("table13", "VM / EK-FAC", "worse", "auc") is None
    cell = published("table6", "ours / ours", "worse", "ap")
    assert cell is not None and (cell.mean, cell.std) == (94.97, None)
    assert len(PUBLISHED) == 220 and {cell.setting for cell in PUBLISHED} == set(SETTINGS)


def test_rows_of_the_tables_and_of_the_print_are_the_same() -> None:
    ours = {(key, row.label, row.share) for key, table in TABLES.items() for row in table.rows if row.kind == "paper"}
    assert ours == {(cell.table, cell.row, cell.share) for cell in PUBLISHED}
    for cell in PUBLISHED:
        table = TABLES[cell.table]
        assert cell.metric in table.metrics and (not table.only or cell.setting in table.only)
