"""Which rows, datasets and columns belong to which table."""

from __future__ import annotations

import pytest

from fvm_core.data.dataset import DatasetSpec
from fvm_core.errors import SettingsError
from fvm_core.experiments.tables import (
    SOLVERS,
    TABLES,
    WHAT,
    chosen_what,
    datasets_for,
    primary,
    reference,
    setting_of,
)
from fvm_core.influence.methods import METHODS
from fvm_core.tuning.settings import SOLVERS as KNOWN_SOLVERS


def test_rows_name_methods_and_solvers_that_exist() -> None:
    for table in TABLES.values():
        assert len({(row.label, row.share) for row in table.rows}) == len(table.rows)
        for row in table.rows:
            assert row.method in METHODS and (row.model == "base" or SOLVERS[row.model] in KNOWN_SOLVERS)
            assert not (row.starred and row.model != "base"), "starred forms are checkpoints of the base's training"


def test_baselines_of_every_scored_model_stand_in_tables_1_to_3() -> None:
    for key in ("table1", "table2", "table3"):
        rows = TABLES[key].rows
        scored = {row.model for row in rows if row.kind == "paper"}
        assert scored == {row.model for row in rows if row.kind == "baseline"} == {"base", "vm", "fvm"}


@pytest.mark.parametrize(
    ("spec", "setting"),
    [
        (DatasetSpec("cifar10n", "x", label="aggre"), "aggre"),
        (DatasetSpec("cifar10n", "x"), "worse"),
        (DatasetSpec("cifar10n", "x", label="random2"), ""),
        (DatasetSpec("cifar100n", "x"), "cifar100n"),
        (DatasetSpec("parquet", "x", label="random_label1"), "random1"),
        (DatasetSpec("parquet", "x", label="label"), ""),
        (DatasetSpec("npz", "x", label="worse_label"), ""),
    ],
)
def test_setting_of_knows_the_papers_labels(spec: DatasetSpec, setting: str) -> None:
    assert setting_of(spec) == setting


def test_tables_take_the_datasets_they_are_about_and_any_where_there_is_none() -> None:
    settings = ["aggre", "worse", "cifar100n", ""]
    assert primary(settings) == 1 and primary(["", "aggre"]) == 0
    assert datasets_for(TABLES["table1"], settings) == [0, 1, 2, 3]
    assert datasets_for(TABLES["table2"], settings) == [0, 1]
    assert datasets_for(TABLES["table12"], settings) == [1, 2]
    assert datasets_for(TABLES["table11"], ["", ""]) == [0, 1]
    assert reference(TABLES["table2"], "worse") == "worse" and reference(TABLES["table2"], "cifar100n") == "worse"
    assert reference(TABLES["table3"], "") == "cifar100n"


def test_chosen_what_keeps_the_order_and_names_what_it_does_not_know() -> None:
    assert chosen_what(["figure1", "table6"], [""]) == ("table6", "figure1")
    assert "table3" not in chosen_what(["all"], ["worse"]) and chosen_what(["all"], ["cifar100n"]) == WHAT
    for wrong in (["table4"], []):
        with pytest.raises(SettingsError, match=r"`what` must be some of \['all', 'table1'"):
            chosen_what(wrong, [""])
