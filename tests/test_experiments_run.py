"""The `reproduce` job on the digits, tiny: every table and figure, what it keeps, what fails, killed and resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from fvm_core.cli.main import main
from fvm_core.data.registry import add_dataset
from fvm_core.demo import TRAINING, VALIDATION, install
from fvm_core.errors import JobError, StorageError
from fvm_core.experiments import execute
from fvm_core.experiments.grid import Grid
from fvm_core.experiments.plan import make_plan
from fvm_core.experiments.results import read_results
from fvm_core.experiments.run import run
from fvm_core.experiments.store import experiment_folder, open_store
from fvm_core.experiments.tables import TABLES, WHAT
from fvm_core.jobs.context import JobStopped
from fvm_core.jobs.launch import ROOT
from fvm_core.jobs.lock import FileLock
from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.models.store import list_models
from fvm_core.workspace import Workspace

CHANGES: dict[str, Any] = {
    "train.epochs": 2, "train.checkpoint_epochs": [1, 2], "subset": 200, "validation": 100, "tune.steps": 4,
    "tune.snapshots": 2, "score.limit": 60, "score.lissa_depth": 2, "score.gex_members": 1, "score.gex_steps": 2,
    "score.curvature_samples": 40, "score.random_vectors": 1, "figure1_samples": 2, "figure1_probe": 50,
    "figure1_lengths": [0.1, 0.2], "figure3_sample": 40,
}  # fmt: skip
FIGURES = ("auc", "ap", "relabel_all", "relabel_wrong")


def prepared(root: Path) -> Workspace:
    root.mkdir(exist_ok=True)
    workspace = Workspace(root)
    add_dataset(workspace, "d", TRAINING)
    add_dataset(workspace, "v", VALIDATION)
    return workspace


def asked(*what: str, **changes: Any) -> dict[str, Any]:
    return Grid(
        **{"what": what, "data": ("d",), "validation": "v", "preset": "digits", "seeds": (0,), "changes": CHANGES,
           **changes}
    ).to_json()  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace in which everything was run once, uninterrupted."""
    workspace = prepared(tmp_path_factory.mktemp("experiments") / "workspace")
    threads = torch.get_num_threads()
    result = run(MemoryContext(), asked("all"), workspace)
    torch.set_num_threads(threads)
    assert result["failed"] == {}
    return workspace


def results(workspace: Workspace, name: str = "digits") -> dict[str, pd.DataFrame]:
    return {key: result.frame for key, result in read_results(experiment_folder(workspace, name)).items()}


def test_every_cell_and_figure_is_there(whole: Workspace) -> None:
    found = results(whole)
    assert list(found) == [key for key in WHAT if key != "table3"]
    for key, frame in found.items():
        if key not in TABLES:
            continue
        assert frame["row"].tolist() == [row.label for row in TABLES[key].rows]
        assert (frame["error"] == "").all() and (frame["seconds"] > 0).all() and (frame["samples"] == 60).all()
        for metric in TABLES[key].metrics:
            assert frame[metric].between(0, 100).all(), (key, metric)
    assert set(found["figure1"]["model"]) == {"base", "vm", "fvm"} and len(found["figure1"]) == 3 * 2 * 2
    assert set(found["figure2"]["series"]) == {"accuracy", "standard", "tracin"}
    assert sorted(set(found["figure3"]["step"])) == [0, 4]
    text = (experiment_folder(whole, "digits") / "tables.md").read_text()
    assert all(f"## {TABLES[key].heading}" in text for key in found if key in TABLES)
    assert list_models(whole) == {} and not whole.scores.exists(), "the person's own lists stay as they were"


def test_figures_are_those_of_the_score_files_and_the_starred_form_is_the_best(whole: Workspace) -> None:
    frame = results(whole)["table1"].set_index("row")
    store = open_store(whole)
    plan = make_plan(Grid.from_json(asked("table1")), whole)
    aps: dict[str, dict[int | None, float]] = {}
    for cell in plan.cells:
        for each in cell.candidates:
            path = store.scores / f"s-{each.part}" / f"{cell.row.method}.parquet"
            scores = pq.read_table(path).to_pandas()
            wrong = scores["label"] != scores["clean_label"]
            ap = 100 * average_precision_score(wrong, scores["suspicion"])
            aps.setdefault(cell.row.label, {})[each.epoch] = ap
            if not cell.row.starred:
                assert frame.loc[cell.row.label, "ap"] == pytest.approx(ap)
                assert frame.loc[cell.row.label, "auc"] == pytest.approx(
                    100 * roc_auc_score(wrong, scores["suspicion"])
                )
    for row in ("LiSSA*", "DataInf*"):
        best = max(aps[row], key=lambda epoch: aps[row][epoch])
        assert frame.loc[row, "epoch"] == best and frame.loc[row, "ap"] == pytest.approx(max(aps[row].values()))
    origin = json.loads(frame.loc["FVM", "provenance"])
    assert origin["tuned"]["settings"]["solver"] == "sam" and origin["tuned"]["settings"]["steps"] == 4
    assert origin["base"]["settings"]["epochs"] == 2 and origin["scores"]["dataset"]["fingerprint"]


def test_what_is_there_is_never_made_again(whole: Workspace) -> None:
    context = MemoryContext()
    assert run(context, asked("table6", "figure1", "figure3"), whole)["parts"] == 0
    units = [done for done, _, _ in context.messages]
    assert units == sorted(units) and units[-1] == context.messages[-1][1], "the bar never goes back"
    assert run(MemoryContext(), asked("table2", "table10", name="other"), whole)["parts"] == 0
    pd.testing.assert_frame_equal(results(whole)["table2"], results(whole, "other")["table2"])


def test_working_state_of_finished_parts_is_gone(whole: Workspace) -> None:
    left = {path.name for path in open_store(whole).parts.glob("*/*")}
    assert left <= set(execute.KEPT)


def test_smaller_shares_are_tuned_and_scored_on_those_rows(whole: Workspace) -> None:
    frame = results(whole)["table11"]
    assert sorted(frame[frame["row"] == "VM"]["validation_size"]) == [10, 20, 50, 100]
    for text in frame["provenance"]:
        assert json.loads(text)["scores"]["validation"]["spec"]["include"].endswith(".txt")


def test_killed_and_run_again_it_ends_with_the_same_figures(whole: Workspace, tmp_path: Path) -> None:
    workspace = prepared(tmp_path / "cut")
    command = [sys.executable, "-m", "fvm_core", "reproduce", "table10", "--data", "d", "--validation", "v", "--preset",
               "digits", "--seeds", "0"]  # fmt: skip
    command += [word for key, value in CHANGES.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    environment = {**os.environ, "FVM_STUDIO_HOME": str(workspace.root), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    scores = open_store(workspace).scores
    until = time.monotonic() + 600
    while not list(scores.glob("*/*.parquet")) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, (process.stderr.read() if process.stderr else b"").decode()[-2000:]
    kept = {
        path: path.stat().st_mtime_ns
        for path in [*scores.glob("*/*.parquet"), *open_store(workspace).models.glob("m-*/*")]
    }
    result = run(MemoryContext(), asked("table1"), workspace)
    assert len(kept) >= 3 and all(path.stat().st_mtime_ns == changed for path, changed in kept.items())
    assert 0 < result["parts"] < len(make_plan(Grid.from_json(asked("table1")), workspace).work())
    one, two = results(whole)["table1"], results(workspace)["table1"]
    np.testing.assert_allclose(one[list(FIGURES)], two[list(FIGURES)], rtol=1e-6)
    assert one["fingerprint"].tolist() == two["fingerprint"].tolist()


def test_a_stopped_job_goes_on_where_it_was(whole: Workspace, tmp_path: Path) -> None:
    workspace = prepared(tmp_path / "stopped")
    context = MemoryContext(stop_at=40)
    with pytest.raises(JobStopped):
        run(context, asked("table6"), workspace)
    context.stop_at = None
    run(context, asked("table6"), workspace)
    one, two = results(whole)["table6"], results(workspace)["table6"]
    np.testing.assert_allclose(one[["auc", "ap"]], two[["auc", "ap"]], rtol=1e-6)


def test_a_part_that_fails_takes_only_its_cells_along(whole: Workspace) -> None:
    changes = {**CHANGES, "score.gex_lr": 1e12, "score.gex_steps": 20}
    result = run(MemoryContext(), asked("table1", changes=changes, name="broken"), whole)
    (message,) = result["failed"]
    assert result["failed"][message] == 1 and "gex, base: the loss became" in message
    frame = results(whole, "broken")["table1"].set_index("row")
    assert frame.loc["GEX", "error"] == message and np.isnan(frame.loc["GEX", "auc"])
    assert (frame.drop("GEX")["error"] == "").all() and frame.drop("GEX")["auc"].notna().all()
    text = (experiment_folder(whole, "broken") / "tables.md").read_text()
    assert "| GEX | failed |" in text and "the loss became" in text


def test_a_defect_is_told_as_one_and_a_full_disk_ends_the_job(
    whole: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute, "_work", lambda kind: broken)
    errors: list[Exception] = [RuntimeError("planted"), StorageError("no space")]

    def broken(*_: Any) -> None:
        raise errors[0]

    changes = {**CHANGES, "tune.steps": 5}
    result = run(MemoryContext(), asked("table12", changes=changes, name="defect"), whole)
    assert len(result["failed"]) == 3 and all("RuntimeError: planted (a defect" in words for words in result["failed"])
    errors.pop(0)
    with pytest.raises(StorageError, match="no space"):
        run(MemoryContext(), asked("table12", changes=changes, name="defect"), whole)


def test_a_part_that_another_job_makes_is_waited_for(whole: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "POLL", 0.01)
    plan = make_plan(Grid.from_json(asked("table6", seeds=(7,))), whole)
    first = plan.work()[0]
    folder = open_store(whole).parts / first.key
    folder.mkdir(parents=True)
    lock = FileLock.acquire(folder / "lock")
    assert lock is not None
    context = MemoryContext(stop_at=5)
    with pytest.raises(JobStopped):
        run(context, asked("table6", seeds=(7,)), whole)
    lock.release()
    assert any("another job is at it" in message for _, _, message in context.messages)


def test_an_existing_base_model_is_tuned_and_scored_but_not_trained(workspace: Workspace) -> None:
    install(workspace)
    before = sorted(list_models(workspace))
    args = asked(
        "table6", "figure2", data=("digits",), validation="digits-validation", model="digits-base", seeds=(0, 1)
    )
    result = run(MemoryContext(), args, workspace)
    assert result["failed"] == {} and result["name"] == "digits-digits-base"
    found = results(workspace, "digits-digits-base")
    origin = json.loads(found["table6"].iloc[0]["provenance"])
    assert origin["base"]["settings"]["epochs"] == 30 and sorted(list_models(workspace)) == before
    assert found["table6"].groupby("row")["auc"].nunique().min() == 2, "seeds vary the tuning"
    assert sorted(found["figure2"]["epoch"].unique()) == [6, 12, 18, 24, 30]


def test_command_line_says_plans_draws_and_refuses(
    whole: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("FVM_STUDIO_HOME", str(whole.root))
    sets = [word for key, value in CHANGES.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    common = ["--data", "d", "--validation", "v", "--preset", "digits", "--seeds", "0", *sets]
    assert main(["reproduce", "table1", "table6", *common, "--plan"]) == 0
    out = capsys.readouterr().out
    assert f"table1   {len(TABLES['table1'].rows):4} cells     0 parts to do      0.0 min" in out
    assert main(["reproduce", "table6", *common, "--draw"]) == 0
    out = capsys.readouterr().out
    assert "| ours / ours | " in out and "Table 1" not in out and "tables.csv" in out
    assert main(["reproduce", "table6", *common]) == 0
    assert "| ours / ours | " in capsys.readouterr().out
    assert main(["reproduce", "table6", "--data", "d"]) == 2
    assert "`--validation` must name a clean dataset" in capsys.readouterr().err
    assert main(["reproduce", "table5", *common]) == 2
    assert "`what` must be some of" in capsys.readouterr().err
    assert main(["reproduce", "table6", *common, "--draw", "--name", "none"]) == 2
    assert "there is no result of table6" in capsys.readouterr().err


def test_command_line_registers_the_folder_of_cifar10n(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import pyarrow as pa
    from data_samples import png

    labels = {name: [0, 1, 2, 0] for name in ("aggre_label", "random_label1", "worse_label")}
    for name, columns in (("train", {**labels, "clean_label": [0, 1, 2, 1]}), ("test", {"clean_label": [0, 1, 2, 1]})):
        pq.write_table(pa.table({"image": [png()] * 4, **columns}), tmp_path / f"{name}.parquet")
    asked_for: list[dict[str, Any]] = []

    def note(_: Workspace, kind: str, work: dict[str, Any], **__: Any) -> None:
        asked_for.append(work)
        raise JobError("enough")

    monkeypatch.setattr("fvm_core.jobs.launch.run_job", note)
    assert main(["reproduce", "all", "--data", str(tmp_path), "--noise", "worse", "aggre"]) == 2
    (work,) = asked_for
    assert work["data"] == ["cifar10n-worse", "cifar10n-aggre"] and work["validation"] == "cifar10-test"
    assert Grid.from_json(work).settings(workspace) == ["worse", "aggre"]
    other = replace(TRAINING)
    assert add_dataset(workspace, "cifar10n-worse-2", other) == "cifar10n-worse-2"
