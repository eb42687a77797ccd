"""The commands that hand work to jobs: what they pass on, what they print, what they refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from data_samples import png
from score_files import small_dataset, write_score_file
from sklearn.metrics import average_precision_score, roc_auc_score

from fvm_core.cli import foreground
from fvm_core.cli.arguments import parse_set
from fvm_core.cli.main import main
from fvm_core.data.registry import open_named, read_spec
from fvm_core.errors import SettingsError
from fvm_core.models.spec import BUILDS, ModelSpec
from fvm_core.review.decision import Entry
from fvm_core.review.log import DecisionLog
from fvm_core.review.log_file import log_table, write_log
from fvm_core.review.outcome import outcome_of
from fvm_core.review.session import list_sessions, open_session
from fvm_core.tuning.settings import TRAIN_PRESETS, TuneSettings
from fvm_core.workspace import Workspace


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Jobs that the command asked for; none is run."""
    calls: list[tuple[str, dict[str, Any]]] = []

    def note(workspace: Workspace, kind: str, work: dict[str, Any], *, title: str) -> int:
        json.dumps(work)
        calls.append((kind, work))
        return 0

    for command in ("dataset", "train", "tune", "score", "model", "mainjob", "demo", "snapshots"):
        monkeypatch.setattr(f"fvm_core.cli.{command}.run_and_print", note)
    assert foreground.run_and_print is not note
    return calls


def test_paths_among_the_options_become_absolute(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here" / "images").mkdir(parents=True)
    for name in ("a.png", "b.png"):
        (tmp_path / "here" / "images" / name).write_bytes(png())
    (tmp_path / "here" / "table.csv").write_text("path,label\na.png,0\nb.png,1\n")
    monkeypatch.chdir(tmp_path / "here")
    assert main(["dataset", "add", "m", "manifest", "table.csv", "--option", "root=images"]) == 0
    monkeypatch.chdir(tmp_path)
    assert read_spec(workspace, "m").options == {"root": str(tmp_path / "here" / "images")}
    assert open_named(workspace, "m").read(1) == png()


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


def test_train_builds_what_the_preset_says(workspace: Workspace, started: list[tuple[str, dict[str, Any]]]) -> None:
    main(["dataset", "add", "d", "digits", "--label", "noisy"])
    for preset, build in BUILDS.items():
        main(["train", "--dataset", "d", "--name", "b", "--preset", preset])
        assert ModelSpec.from_json(started[-1][1]["model"]) == build.spec(10, tuple("0123456789"))
    main(["train", "--dataset", "d", "--name", "b", "--preset", "digits", "--image-size", "16"])
    assert started[-1][1]["model"]["image_size"] == 16 and set(BUILDS) == set(TRAIN_PRESETS)


def test_mainjob_takes_a_prefix_for_models_and_runs(
    workspace: Workspace, started: list[tuple[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fvm_core.data.registry.add_dataset", lambda *_: "")
    monkeypatch.setattr("fvm_core.data.registry.open_named", lambda *_: small_dataset(n=20))
    main(["mainjob", "--data", "x"])
    main(["mainjob", "--data", "x", "--prefix", "Wide one", "--width", "16"])
    assert [(work["prefix"], work["dataset"], work["model"]["width"]) for _, work in started] == [
        ("cifar10n-worse", "cifar10n-worse", 8), ("wide-one", "cifar10n-worse", 16),
    ]  # fmt: skip


def test_snapshots_passes_sample_settings_and_custom_on(
    workspace: Workspace, started: list[tuple[str, dict[str, Any]]]
) -> None:
    main(["snapshots", "--model", "m", "--dataset", "d", "--validation", "v"])
    main(
        ["snapshots", "--model", "m", "--dataset", "d", "--validation", "v", "--sample", "50", "--run", "r",
         "--set", "damping=0.1", "--allow-custom"]
    )  # fmt: skip
    common = {"model": "m", "dataset": "d", "validation": "v"}
    assert started == [
        ("snapshots", {**common, "sample": 2000, "run": "m", "settings": {}}),
        ("snapshots", {**common, "sample": 50, "run": "r", "settings": {"damping": 0.1}, "allow_custom": True}),
    ]


def test_export_writes_the_labels_of_a_review(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    main(["dataset", "add", "d", "digits", "--label", "noisy"])
    dataset = open_named(workspace, "d")
    log = DecisionLog(workspace.review_url)
    session = open_session(log, name="First pass", reviewer="Ada", dataset="d", fingerprint=dataset.fingerprint)
    label = int(dataset.labels[3] + 1) % 10
    entry = Entry(
        client="tab", seq=1, sample=str(dataset.ids[3]), action="pick", label=label, given=int(dataset.labels[3]),
        suggested=None, run="", method="", score=None, score_provenance="",
    )  # fmt: skip
    log.append(session.id, [entry], reviewer="Ada")
    log.close()
    capsys.readouterr()
    assert main(["export", "--dataset", "d", "--review", "First pass"]) == 0
    files = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert files[0].name == "d-first-pass.csv"
    for frame in (pd.read_csv(files[0]), pd.read_parquet(files[1])):
        changed = frame[frame["label"] != frame["given_label"]]
        assert len(frame) == len(dataset) and changed["id"].tolist() == [dataset.ids[3]]
        assert changed["label"].tolist() == [label] and changed["reviewer"].tolist() == ["Ada"]
    assert main(["export", "--dataset", "d", "--review", "First pass", "--form", "csv", "--rows", "changed"]) == 0
    (row,) = pd.read_csv(workspace.exports / "d-first-pass-csv.csv").to_dict("records")
    assert row["id"] == dataset.ids[3] and row["label"] == label
    capsys.readouterr()
    assert main(["export", "--dataset", "d", "--review", "Second"]) == 2
    assert "`review` must be one of ['First pass'] of dataset 'd', got 'Second'" in capsys.readouterr().err

    take = ["import-decisions", str(files[0]), "--dataset", "d"]
    assert main([*take, "--review", "First pass"]) == 0
    assert capsys.readouterr().out == "0 new, 1 known already, 0 refused, as Ada\n"
    assert main([*take, "--review", "Second"]) == 2 and "Begin it with --new" in capsys.readouterr().err
    frame = pd.read_csv(files[0], dtype={"id": str}, keep_default_na=False)
    frame.loc[frame["id"] == str(dataset.ids[5]), ["action", "label"]] = ["pick", 77]
    frame.to_csv(files[0], index=False)
    for told in ("1 new, 0 known already, 1 refused", "0 new, 1 known already, 1 refused"):
        assert main([*take, "--review", "Second", "--new", "--reviewer", "Bob"]) == 0
        said = capsys.readouterr()
        assert said.out == f"{told}, as Bob\n" and f"refused {dataset.ids[5]}: `label` must be a class" in said.err
    log = DecisionLog(workspace.review_url)
    first, second = (next(one for one in list_sessions(log) if one.name == name) for name in ("First pass", "Second"))
    write_log(workspace.root / "log.csv", log_table(log, first))
    log.close()
    take[1] = str(workspace.root / "log.csv")
    for told in ("1 new, 0 known already, of Ada\n", "0 new, 1 known already, of Ada\n"):
        assert main([*take, "--review", "Second", "--blind"]) == 0 and capsys.readouterr().out == told
    log = DecisionLog(workspace.review_url)
    assert [one.reviewer for one in log.read(second.id)] == ["Bob", "Ada"]
    assert outcome_of(log, second.id).kinds == {str(dataset.ids[3]): "agreed"}
    log.close()


def test_table_of_a_run_without_wrong_labels_has_nan(workspace: Workspace, tmp_path: Path) -> None:
    for name, shift in (("clean", 0), ("noisy", 1)):
        path = workspace.scores / name / "influence.parquet"
        write_score_file(path, small_dataset(n=40), np.random.default_rng(0).random((40, 4)))
        clean = pd.read_parquet(path)["label"].to_numpy().copy()
        clean[:10] = (clean[:10] + shift) % 4
        write_clean(path, clean)
    assert main(["table", "--csv", str(tmp_path / "t.csv")]) == 0
    table = pd.read_csv(tmp_path / "t.csv").set_index("run")
    assert table.loc["clean", ["auc", "ap", "relabel_wrong"]].isna().all() and table.loc["clean", "wrong"] == 0
    assert np.isfinite(table.loc["noisy", "auc"])


def test_tune_defaults_are_the_papers(workspace: Workspace, started: list[tuple[str, dict[str, Any]]]) -> None:
    main(["tune", "--model", "b", "--validation", "v", "--name", "t"])
    settings = started[0][1]["settings"]
    wanted = {"solver": "sam", "rho": 0.05, "steps": 1000, "batch_size": 128, "lr": 0.01, "momentum": 0.9}
    assert {key: settings[key] for key in wanted} == wanted and settings["weight_decay"] == 5e-4


@pytest.mark.parametrize(
    ("solver", "options", "wanted"),
    [
        ("sgd", "--rho 0.2", {"rho": 0.2}),
        ("asam", "--asam-eta 0.1", {"rho": 0.5, "asam_eta": 0.1}),
        ("fsam", "--fsam-sigma 0.5 --fsam-lambda 0.6", {"rho": 0.1, "fsam_sigma": 0.5, "fsam_lambda": 0.6}),
        ("fsam", "--rho 0.2 --clip-norm 1", {"rho": 0.2, "clip_norm": 1.0}),
        (
            "lpf",
            "--lpf-draws 8 --lpf-gamma 0.01 --lpf-growth 16",
            {"lpf_draws": 8, "lpf_gamma": 0.01, "lpf_growth": 16.0},
        ),
        ("sam", "--set solver=asam --sharpness-rho 0.1", {"solver": "asam", "rho": 0.5, "sharpness_rho": 0.1}),
    ],
)
def test_tune_has_an_option_for_each_setting_of_a_solver(
    workspace: Workspace, started: list[tuple[str, dict[str, Any]]], solver: str, options: str, wanted: dict[str, Any]
) -> None:
    given = ["--model", "b", "--validation", "v", "--name", "t", "--solver", solver, *options.split()]
    assert main(["tune", *given]) == 0
    assert started[0][1]["settings"] == TuneSettings(**{"solver": solver, **wanted}).to_json()


def test_an_option_of_another_solver_is_refused(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--model", "b", "--validation", "v", "--name", "t", "--lpf-gamma", "0.1"]
    assert main(["tune", *given]) == 2
    assert "`lpf_gamma` must go with `--solver lpf`, got `--solver sam`" in capsys.readouterr().err
    assert main(["tune", *given, "--solver", "lpf", "--clip-norm", "nan"]) == 2
    assert "`clip_norm` must be a finite number or none, got nan" in capsys.readouterr().err


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


def test_dataset_add_fetches_missing_images_by_a_job(
    workspace: Workspace, started: list[tuple[str, dict[str, Any]]], tmp_path: Path
) -> None:
    add = ["dataset", "add", "c", "cifar10n", str(tmp_path), "--label", "clean", "--option", "download=true"]
    assert main(add) == 0
    spec = {"kind": "cifar10n", "path": str(tmp_path), "label": "clean"}
    assert started == [("download", {"name": "c", "spec": spec})]
