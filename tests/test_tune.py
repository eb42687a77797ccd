"""The tune job on the digits: VM and FVM, what is measured, and that neither measuring nor a kill leaves a trace."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from killed_job import assert_killed_job_resumes, same, weights

from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.registry import add_dataset, open_named
from fvm_core.errors import CheckpointError, DataError, SettingsError
from fvm_core.jobs.context import JobStopped
from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.models.build import build_model
from fvm_core.models.checkpoint import load_model, save_model
from fvm_core.models.spec import ModelSpec
from fvm_core.models.store import ModelRecord
from fvm_core.provenance import digest
from fvm_core.tuning.batches import Batches
from fvm_core.tuning.settings import SOLVERS, TuneSettings
from fvm_core.tuning.tune import run, snapshot_steps
from fvm_core.workspace import Workspace

QUIET = TuneSettings(
    steps=12, batch_size=100, eval_every=0, sharpness_every=0, hessian_every=0, snapshots=3, save_every=4, probe_size=40
)
LOUD = replace(QUIET, eval_every=3, sharpness_every=4, hessian_every=6, directions=2)
SETTINGS_OF_OLD = (
    "batch_size", "lr", "momentum", "weight_decay", "precision", "seed", "save_every", "solver", "rho", "steps",
    "augment", "eval_every", "sharpness_every", "hessian_every", "directions", "probe_size", "snapshots",
)  # fmt: skip
"""The settings of a tuning as the first version wrote them into jobs, states and model records."""
SPEC = ModelSpec("digits_cnn", 10, in_channels=1, image_size=8, mean=(0.5,), std=(0.5,))


@pytest.fixture
def digits(workspace: Workspace) -> Workspace:
    add_dataset(workspace, "digits", DatasetSpec("digits", label="noisy"))
    add_dataset(workspace, "clean", DatasetSpec("digits", label="clean", options={"split": "validation"}))
    torch.manual_seed(0)
    save_model(workspace.models / "base", build_model(SPEC), ModelRecord("base", "base", SPEC))
    return workspace


def arguments(chosen: TuneSettings = QUIET, **changes: Any) -> dict[str, Any]:
    return {
        "model": "base", "validation": "clean", "dataset": "digits", "settings": chosen.to_json(), "name": "tuned",
    } | changes  # fmt: skip


@pytest.mark.parametrize(
    ("solver", "role"), [("sgd", "vm"), ("sam", "fvm"), ("asam", "fvm"), ("fsam", "fvm"), ("lpf", "fvm")]
)
def test_run_keeps_a_model_with_snapshots(digits: Workspace, solver: str, role: str) -> None:
    context = MemoryContext()
    result = run(context, arguments(replace(LOUD, solver=solver)), digits)
    _, record = load_model(digits, "tuned")
    assert (record.role, record.parent, record.validation["name"], record.dataset["name"]) == (
        role, "base", "clean", "digits",
    )  # fmt: skip
    assert record.settings["rho"] == 0.05 and record.settings["solver"] == solver
    assert [item["step"] for item in record.snapshots] == [0, 6, 12]
    assert same(weights(digits, "tuned", record.snapshots[0]["file"]), weights(digits, "base"))
    assert same(weights(digits, "tuned", record.snapshots[-1]["file"]), weights(digits, "tuned"))
    steps = {key: [row["step"] for row in context.metrics if key in row] for key in (
        "train_loss", "lr", "val_loss", "val_accuracy", "noisy_loss", "sam_gap", "random_sharpness", "top_eigenvalue",
    )}  # fmt: skip
    assert steps["train_loss"] == steps["lr"] == list(range(1, 13))
    assert steps["val_loss"] == steps["val_accuracy"] == steps["noisy_loss"] == [0, 3, 6, 9, 12]
    assert steps["sam_gap"] == steps["random_sharpness"] == [0, 4, 8, 12]
    assert steps["top_eigenvalue"] == [0, 6, 12]
    rows = {row["step"]: row for row in context.metrics}
    assert rows[12]["val_loss"] < rows[0]["val_loss"]
    assert rows[1]["lr"] == 0.01
    assert all(row["sam_gap"] > 0 for row in context.metrics if "sam_gap" in row)
    assert result["metrics"]["val_accuracy"] == pytest.approx(rows[12]["val_accuracy"])


@pytest.mark.parametrize("solver", ["sgd", "sam"])
def test_tuning_equals_a_plain_loop_written_by_hand(digits: Workspace, solver: str) -> None:
    """SGD (or SAM, written out) with torch's optimizer and CosineAnnealingLR; BatchNorm in train mode."""
    run(MemoryContext(), arguments(replace(QUIET, solver=solver, rho=0.1, steps=5)), digits)
    dataset = open_named(digits, "clean")
    pixels = torch.stack([torch.as_tensor(dataset.read(row)) for row in range(len(dataset))])
    x, y = (pixels[:, None].float() / 255 - 0.5) / 0.5, torch.as_tensor(dataset.labels)
    x = x.to(memory_format=torch.channels_last)
    model = load_model(digits, "base")[0].train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=5)
    for step in range(5):
        rows = Batches(len(y), 100, 0).at(step)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        if solver == "sam":
            old = {key: value.clone() for key, value in model.state_dict().items()}
            norm = sum(float(parameter.grad.square().sum()) for parameter in model.parameters()) ** 0.5
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter += 0.1 * parameter.grad / norm
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            model.load_state_dict(old)
        optimizer.step()
        scheduler.step()
    for key, value in weights(digits, "tuned").items():
        torch.testing.assert_close(value, model.state_dict()[key], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("solver", SOLVERS)
def test_measuring_does_not_change_the_weights(digits: Workspace, solver: str) -> None:
    run(MemoryContext(), arguments(replace(QUIET, solver=solver), name="quiet"), digits)
    often = replace(LOUD, solver=solver, eval_every=1, sharpness_every=1, hessian_every=4)
    run(MemoryContext(), arguments(often, name="loud"), digits)
    assert same(weights(digits, "quiet"), weights(digits, "loud"))


@pytest.mark.parametrize("stop_at", [3, 7, 13])
def test_stopped_and_resumed_ends_bitwise_the_same(digits: Workspace, stop_at: int) -> None:
    whole = MemoryContext()
    run(whole, arguments(LOUD, name="whole"), digits)
    context = MemoryContext(stop_at=stop_at)
    with pytest.raises(JobStopped):
        run(context, arguments(LOUD), digits)
    context.stop_at = None
    run(context, arguments(LOUD), digits)
    assert same(weights(digits, "tuned"), weights(digits, "whole"))
    assert same(*(weights(digits, name, "snapshots/step_000006.safetensors") for name in ("tuned", "whole")))
    assert {row["step"]: row for row in context.metrics} == {row["step"]: row for row in whole.metrics}


@pytest.mark.parametrize("solver", SOLVERS)
def test_kill_9_at_a_random_moment_leaves_no_trace(digits: Workspace, tmp_path: Path, solver: str) -> None:
    chosen = replace(LOUD, solver=solver, augment=True, lpf_draws=2, lpf_gamma=0.01, clip_norm=1.0)
    call = assert_killed_job_resumes("tune", arguments(chosen), digits, tmp_path)
    assert same(weights(digits, "cut"), weights(digits, "whole")), call
    assert same(*(weights(digits, name, "snapshots/step_000006.safetensors") for name in ("cut", "whole"))), call


def test_solvers_end_apart_and_a_reach_of_zero_joins_them(digits: Workspace) -> None:
    for solver in SOLVERS:
        near = replace(QUIET, solver=solver, steps=4, rho=0.1, lpf_gamma=0.01)
        run(MemoryContext(), arguments(near, name=solver), digits)
        run(MemoryContext(), arguments(replace(near, rho=0.0, lpf_gamma=0.0), name=f"{solver}-zero"), digits)
    plain = weights(digits, "sgd")
    assert all(same(weights(digits, f"{solver}-zero"), plain) for solver in SOLVERS)
    ends = [weights(digits, solver) for solver in SOLVERS]
    assert not any(same(one, other) for i, one in enumerate(ends) for other in ends[:i])


@pytest.mark.parametrize("solver", SOLVERS)
def test_bf16_tunes_with_every_solver(digits: Workspace, monkeypatch: pytest.MonkeyPatch, solver: str) -> None:
    monkeypatch.setattr("fvm_core.tuning.precision.has_bf16", lambda device: True)
    chosen = replace(QUIET, solver=solver, precision="bf16", lpf_draws=2)
    context = MemoryContext()
    run(context, arguments(chosen), digits)
    run(MemoryContext(), arguments(replace(chosen, precision="fp32"), name="exact"), digits)
    _, record = load_model(digits, "tuned")
    assert record.settings["precision_used"] == "bf16"
    rows = {row["step"]: row["train_loss"] for row in context.metrics if "train_loss" in row}
    assert rows[12] < rows[1]
    tuned, exact = weights(digits, "tuned"), weights(digits, "exact")
    assert not same(tuned, exact)
    for key, value in tuned.items():
        assert value.dtype == exact[key].dtype
        torch.testing.assert_close(value, exact[key], rtol=0.1, atol=0.03)


def test_lpf_draws_must_leave_samples_for_batchnorm(digits: Workspace) -> None:
    with pytest.raises(
        SettingsError, match="`lpf_draws` must leave each draw >= 2 samples for BatchNorm, got 51 draws"
    ):
        run(MemoryContext(), arguments(replace(QUIET, solver="lpf", lpf_draws=51)), digits)
    run(MemoryContext(), arguments(replace(QUIET, solver="sgd", lpf_draws=51, steps=2)), digits)


def test_a_tuning_of_the_first_version_is_resumed(digits: Workspace) -> None:
    """Its settings lack what came later, in the job's arguments and in the identity of the state that it kept."""
    run(MemoryContext(), arguments(name="whole"), digits)
    old = {key: QUIET.to_json()[key] for key in SETTINGS_OF_OLD}
    context = MemoryContext(stop_at=7)
    with pytest.raises(JobStopped):
        run(context, arguments() | {"settings": old}, digits)
    state = context.load_state()
    state["identity"] = digest(
        [old, load_model(digits, "base")[1].sha256, open_named(digits, "clean").fingerprint, "fp32"]
    )
    context.save_state({key: value for key, value in state.items() if key != "solver"})
    context.stop_at = None
    run(context, arguments() | {"settings": old}, digits)
    assert same(weights(digits, "tuned"), weights(digits, "whole"))


def test_sharpness_is_measured_at_one_radius_for_all_solvers(digits: Workspace) -> None:
    """All start from the same weights, so the first gap is the same; 0.05 is not the radius that ASAM tunes with."""
    gaps = {}
    for solver in SOLVERS:
        context, chosen = MemoryContext(), replace(LOUD, solver=solver, steps=1, eval_every=0, hessian_every=0)
        chosen = replace(chosen, rho=0.05 if solver in ("sgd", "sam", "lpf") else 0.7)
        run(context, arguments(chosen, name=solver), digits)
        gaps[solver] = context.metrics[0]["sam_gap"]
    assert len(set(gaps.values())) == 1
    context = MemoryContext()
    run(context, arguments(replace(chosen, sharpness_rho=0.7), name="wide"), digits)
    assert context.metrics[0]["sam_gap"] > 2 * gaps["sam"]


def test_snapshot_steps_hold_the_first_and_the_last() -> None:
    assert snapshot_steps(TuneSettings(steps=10, snapshots=4)) == [0, 3, 7, 10]
    assert snapshot_steps(TuneSettings(steps=2, snapshots=9)) == [0, 1, 2]


def test_tuning_without_a_noisy_set_measures_no_noisy_loss(digits: Workspace) -> None:
    context = MemoryContext()
    run(context, arguments(LOUD, dataset=None), digits)
    assert all("noisy_loss" not in row for row in context.metrics)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (replace(QUIET, lr=1e30, solver="sgd"), r"diverged. Try a lower `lr` than 1e\+30\."),
        (replace(QUIET, lr=1e30), r"diverged. Try a lower `lr` than 1e\+30 or a smaller `rho` than 0.05"),
        (replace(QUIET, lr=1e30, solver="lpf"), r"diverged. Try .* or a smaller `lpf_gamma` than 0.001"),
        (replace(QUIET, batch_size=1), r"`batch_size` must be >= 2 .* 500 samples of the validation set"),
    ],
)
def test_what_cannot_be_tuned_is_named(digits: Workspace, settings: TuneSettings, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        run(MemoryContext(), arguments(settings), digits)
    assert not (digits.models / "tuned").exists()


def test_a_validation_set_of_one_class_is_refused(digits: Workspace, tmp_path: Path) -> None:
    dataset = open_named(digits, "clean")
    ids = [str(dataset.ids[row]) for row in range(len(dataset)) if dataset.labels[row] == 3]
    (tmp_path / "threes.txt").write_text("\n".join(ids))
    spec = replace(dataset.spec, include=str(tmp_path / "threes.txt"))
    add_dataset(digits, "threes", spec)
    with pytest.raises(DataError, match="validation set must have at least two classes"):
        run(MemoryContext(), arguments(validation="threes"), digits)


def test_a_missing_model_is_named(digits: Workspace) -> None:
    with pytest.raises(CheckpointError, match="there is no model named 'nothing'"):
        run(MemoryContext(), arguments(model="nothing"), digits)
