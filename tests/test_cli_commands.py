"""The commands that hand work to jobs: what they pass on, what they print, what they refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from score_files import small_dataset, write_score_file
from sklearn.metrics import average_precision_score, roc_auc_score

from fvm_core.cli import foreground
from fvm_core.cli.arguments import parse_set
from fvm_core.cli.main import main
from fvm_core.errors import SettingsError
from fvm_core.tuning.settings import TuneSettings
from fvm_core.workspace import Workspace


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Jobs that the command asked for; none is run."""
    calls: list[tuple[str, dict[str, Any]]] = []

    def note(workspace: Workspace, kind: str, work: dict[str, Any], *, title: str) -> int:
        json.dumps(work)
        calls.append((kind, work))
        return 0

    for command in ("train", "tune", "score", "model", "mainjob", "demo"):
        monkeypatch.setattr(f"fvm_core.cli.{command}.run_and_print", note)
    assert foreground.run_and_print is not note
    return calls


def test_dataset_add_lists_and_remove(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dataset", "add", "d", "digits", "--label", "noisy", "--option", "split=train"]) == 0
    assert capsys.readouterr().out.startswith("d: 1297 samples, 10 classes")
    assert main(["dataset", "list"]) == 0
    assert capsys.readouterr().out.startswith("d\tdigits\tnoisy")
    assert main(["dataset", "remove", "d"]) == 0
    assert main(["dataset", "list"]) == 0
    assert capsys.readouterr().out == ""


def test_train_passes_preset_and_changes_on(workspace: Workspace, started: list[tuple[str, dict[str, Any]]]) -> None:
    main(["dataset", "add", "d", "digits", "--label", "noisy"])
    code = main(["train", "--dataset", "d", "--name", "b", "--preset", "cpu", "--set", "epochs=3", "--width", "4"])
    kind, work = started[0]
    assert (code, kind) == (0, "train")
    assert (work["settings"]["epochs"], work["settings"]["schedule"]) == (3, "onecycle")
    assert (work["model"]["arch"], work["model"]["width"], work["model"]["num_classes"]) == ("cifar_resnet18", 4, 10)


def test_train_defaults_are_the_papers(workspace: Workspace, started: list[tuple[str, dict[str, Any]]]) -> None:
    main(["dataset", "add", "d", "digits", "--label", "noisy"])
    main(["train", "--dataset", "d", "--name", "b"])
    settings, model = started[0][1]["settings"], started[0][1]["model"]
    wanted = {"epochs": 100, "batch_size": 128, "lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4, "schedule": "step"}
    assert {key: settings[key] for key in wanted} == wanted and list(settings["drop_epochs"]) == [50]
    assert (model["arch"], model["width"]) == ("cifar_resnet34", 64)


def test_tune_defaults_are_the_papers(workspace: Workspace, started: list[tuple[str, dict[str, Any]]]) -> None:
    main(["tune", "--model", "b", "--validation", "v", "--name", "t"])
    settings = started[0][1]["settings"]
    wanted = {"solver": "sam", "rho": 0.05, "steps": 1000, "batch_size": 128, "lr": 0.01, "momentum": 0.9}
    assert {key: settings[key] for key in wanted} == wanted and settings["weight_decay"] == 5e-4


def test_custom_architecture_is_allowed_by_the_command_line_alone(
    workspace: Workspace, started: list[tuple[str, dict[str, Any]]], tmp_path: Path
) -> None:
    main(["model", "import", str(tmp_path / "a.pt"), "--name", "m", "--arch", "custom:net:make", "--classes", "3"])
    main(["model", "import", str(tmp_path / "a.pt"), "--name", "m"])
    assert [work["allow_custom"] for _, work in started] == [True, False]


def test_unknown_setting_exits_with_2_and_names_the_known(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["tune", "--model", "b", "--validation", "v", "--name", "t", "--set", "radius=1"])
    assert code == 2
    assert "radius" in (message := capsys.readouterr().err) and "rho" in message


def test_parse_set_reads_json_and_refuses_what_is_no_pair() -> None:
    assert parse_set(["rho=0.1", "augment=true", "solver=sgd"], TuneSettings) == {
        "rho": 0.1, "augment": True, "solver": "sgd",
    }  # fmt: skip
    with pytest.raises(SettingsError, match="must be KEY=VALUE, got 'rho'"):
        parse_set(["rho"])


def test_table_gives_sklearns_auc_and_ap_in_percent(workspace: Workspace, tmp_path: Path) -> None:
    dataset = small_dataset(n=40)
    rng = np.random.default_rng(0)
    path = workspace.scores / "digits" / "influence.parquet"
    write_score_file(path, dataset, rng.random((40, 4)))
    frame = pd.read_parquet(path)
    clean = rng.integers(0, 4, 40)
    wrong = clean != frame["label"]
    write_clean(path, clean)
    assert main(["table", "--csv", str(tmp_path / "t.csv")]) == 0
    row = pd.read_csv(tmp_path / "t.csv").iloc[0]
    assert row["auc"] == pytest.approx(100 * roc_auc_score(wrong, frame["suspicion"]), abs=1e-3)
    assert row["ap"] == pytest.approx(100 * average_precision_score(wrong, frame["suspicion"]), abs=1e-3)
    assert row["relabel_wrong"] == pytest.approx(100 * np.mean((frame["suggested"] == clean)[wrong]), abs=1e-3)


def test_table_without_score_files_says_what_to_do(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table"]) == 2
    assert "no score file with known clean labels" in capsys.readouterr().err


def write_clean(path: Path, clean: np.ndarray) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    place = table.column_names.index("clean_label")
    pq.write_table(table.set_column(place, "clean_label", pa.array(clean, pa.int32())), path)


@pytest.mark.parametrize("flag", [[], ["--allow-custom"]])
def test_custom_code_is_allowed_by_the_flag_alone(
    workspace: Workspace, started: list[tuple[str, dict[str, Any]]], flag: list[str]
) -> None:
    main(["dataset", "add", "d", "digits", "--label", "noisy"])
    main(["train", "--dataset", "d", "--name", "b", "--arch", "custom:a:b", *flag])
    main(["tune", "--model", "b", "--validation", "d", "--name", "c", *flag])
    main(["score", "--model", "c", "--dataset", "d", "--validation", "d", *flag])
    assert [work.get("allow_custom") for _, work in started] == [True if flag else None] * 3
