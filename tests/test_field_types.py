"""Values of a wrong kind are refused by name, wherever settings come from."""

from __future__ import annotations

import re
from typing import Any

import pytest

from fvm_core.cli.main import main
from fvm_core.errors import SettingsError
from fvm_core.influence.settings import ScoreSettings
from fvm_core.tuning.settings import TrainSettings, TuneSettings
from fvm_core.workspace import Workspace


@pytest.mark.parametrize(
    ("kind", "value", "told"),
    [
        (TuneSettings, {"steps": "abc"}, "`steps` must be a whole number, got 'abc'"),
        (TuneSettings, {"steps": 1.5}, "`steps` must be a whole number, got 1.5"),
        (TuneSettings, {"steps": True}, "`steps` must be a whole number, got True"),
        (TuneSettings, {"lr": float("inf")}, "`lr` must be a finite number, got inf"),
        (TuneSettings, {"rho": None}, "`rho` must be a finite number, got None"),
        (TrainSettings, {"augment": "no"}, "`augment` must be true or false, got 'no'"),
        (TrainSettings, {"drop_epochs": [1.5]}, "`drop_epochs` must be a list of whole numbers, got (1.5,)"),
        (TrainSettings, {"schedule": 3}, "`schedule` must be text, got 3"),
        (ScoreSettings, {"limit": "x"}, "`limit` must be a whole number or none, got 'x'"),
        (ScoreSettings, {"damping": float("nan")}, "`damping` must be a finite number, got nan"),
        (ScoreSettings, {"seed": -1}, "`seed` must be >= 0, got -1"),
    ],
)
def test_wrong_kinds_are_named(kind: Any, value: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(told)):
        kind.from_json(value)


def test_whole_numbers_lists_and_none_are_fine() -> None:
    assert TuneSettings.from_json({"lr": 1}).lr == 1
    assert TrainSettings.from_json({"drop_epochs": [3, 4]}).drop_epochs == (3, 4)
    assert ScoreSettings.from_json({"limit": None, "lissa_scale": 5}).lissa_scale == 5


@pytest.mark.parametrize(
    "argv",
    [
        ["tune", "--model", "b", "--validation", "v", "--name", "t", "--set", "steps=abc"],
        ["tune", "--model", "b", "--validation", "v", "--name", "t", "--set", "lr=Infinity"],
        ["score", "--model", "b", "--dataset", "d", "--validation", "v", "--set", "seed=1.5"],
        ["snapshots", "--model", "b", "--dataset", "d", "--validation", "v", "--set", "batch_size=x"],
    ],
)
def test_a_wrong_set_exits_with_2_before_any_job(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], argv: list[str]
) -> None:
    assert main(argv) == 2
    assert re.search(r"error: `(steps|lr|seed|batch_size)` must be a", capsys.readouterr().err)
    assert not workspace.jobs.exists()
