"""The train job on the digits: what it keeps, what it says, and that a kill leaves no trace."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from killed_job import assert_killed_job_resumes, same, weights

from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.registry import add_dataset
from fvm_core.errors import CheckpointError, DataError, SettingsError
from fvm_core.jobs.context import JobStopped
from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.models.checkpoint import load_model
from fvm_core.models.store import read_record
from fvm_core.tuning.precision import Precision, has_bf16, resolve_precision
from fvm_core.tuning.settings import TRAIN_PRESETS, TrainSettings, TuneSettings
from fvm_core.tuning.train import Training, run
from fvm_core.workspace import Workspace

SETTINGS = TrainSettings(epochs=2, batch_size=256, schedule="onecycle", checkpoint_epochs=(1, 2, 9), save_every=4)


@pytest.fixture
def digits(workspace: Workspace) -> Workspace:
    add_dataset(workspace, "digits", DatasetSpec("digits", label="noisy"))
    add_dataset(workspace, "clean", DatasetSpec("digits", label="clean", options={"split": "validation"}))
    return workspace


def arguments(chosen: TrainSettings = SETTINGS, **changes: Any) -> dict[str, Any]:
    model = {"arch": "digits_cnn", "num_classes": 10, "in_channels": 1, "image_size": 8, "mean": [0.5], "std": [0.5]}
    return {
        "dataset": "digits", "validation": "clean", "model": model, "settings": chosen.to_json(), "name": "Base one",
    } | changes  # fmt: skip


def test_run_keeps_a_model_with_checkpoints_and_their_rates(digits: Workspace) -> None:
    context = MemoryContext()
    result = run(context, arguments(), digits)
    model, record = load_model(digits, "base-one")
    assert result["model"] == record.name == "base-one" and record.role == "base"
    assert record.spec.class_names == tuple("0123456789")
    assert record.dataset["name"] == "digits" and len(record.dataset["fingerprint"]) == 64
    assert record.settings["precision_used"] == "fp32" and record.settings["epochs"] == 2
    assert [item["epoch"] for item in record.checkpoints] == [1, 2]
    rates = {row["step"]: row["lr"] for row in context.metrics if "lr" in row}
    assert [item["lr"] for item in record.checkpoints] == [rates[6], rates[12]]
    assert same(weights(digits, "base-one", record.checkpoints[1]["file"]), weights(digits, "base-one"))
    assert not same(weights(digits, "base-one", record.checkpoints[0]["file"]), weights(digits, "base-one"))
    measured = [row for row in context.metrics if "val_accuracy" in row]
    assert [row["step"] for row in measured] == [0, 6, 12]
    assert measured[2]["noisy_loss"] < measured[0]["noisy_loss"]
    assert result["metrics"]["val_loss"] == pytest.approx(measured[2]["val_loss"])
    assert context.messages[-1][:2] == (12, 12)
    assert not model.training


def test_sgd_with_augmentation_off_equals_a_plain_torch_loop(digits: Workspace) -> None:
    """The job's trajectory, written again with nothing of the loop's: torch's SGD and MultiStepLR, by hand."""
    from fvm_core.data.registry import open_named
    from fvm_core.models.build import build_model
    from fvm_core.models.spec import ModelSpec
    from fvm_core.tuning.batches import Batches

    settings = replace(SETTINGS, schedule="step", drop_epochs=(1,), augment=False, lr=0.05)
    run(MemoryContext(), arguments(settings), digits)
    dataset = open_named(digits, "digits")
    pixels = torch.stack([torch.as_tensor(dataset.read(row)) for row in range(len(dataset))])
    x, y = (pixels[:, None].float() / 255 - 0.5) / 0.5, torch.as_tensor(dataset.labels)
    torch.manual_seed(0)
    model = build_model(ModelSpec.from_json(arguments()["model"])).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [6])
    batches = Batches(len(y), 256, 0)
    for step in range(12):
        rows = batches.at(step)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x[rows].to(memory_format=torch.channels_last)), y[rows]).backward()
        optimizer.step()
        scheduler.step()
    for key, value in weights(digits, "base-one").items():
        torch.testing.assert_close(value, model.state_dict()[key], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("stop_at", [4, 9, 14])
def test_stopped_and_resumed_ends_bitwise_the_same(digits: Workspace, stop_at: int) -> None:
    run(MemoryContext(), arguments(name="whole"), digits)
    context = MemoryContext(stop_at=stop_at)
    with pytest.raises(JobStopped):
        run(context, arguments(), digits)
    assert not (digits.models / "base-one").exists()
    context.stop_at = None
    run(context, arguments(), digits)
    assert same(weights(digits, "base-one"), weights(digits, "whole"))
    for file in ("checkpoints/epoch_001.safetensors", "checkpoints/epoch_002.safetensors"):
        assert same(weights(digits, "base-one", file), weights(digits, "whole", file))


def test_kill_9_at_a_random_moment_leaves_no_trace(digits: Workspace, tmp_path: Path) -> None:
    call = assert_killed_job_resumes("train", arguments(), digits, tmp_path)
    checkpoint = "checkpoints/epoch_001.safetensors"
    assert same(weights(digits, "cut"), weights(digits, "whole")), call
    assert same(weights(digits, "cut", checkpoint), weights(digits, "whole", checkpoint)), call


def test_a_job_killed_after_its_last_write_gives_its_result_again(digits: Workspace) -> None:
    context = MemoryContext()
    first = run(context, arguments(), digits)
    context.state = None
    assert run(context, arguments(), digits)["metrics"] == first["metrics"]


def test_the_caller_s_random_state_is_not_touched(digits: Workspace) -> None:
    before = torch.get_rng_state()
    run(MemoryContext(), arguments(replace(SETTINGS, epochs=1)), digits)
    assert torch.equal(torch.get_rng_state(), before)


def test_bf16_without_hardware_is_recorded_as_fp32(digits: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fvm_core.tuning.precision.has_bf16", lambda device: False)
    result = run(MemoryContext(), arguments(replace(SETTINGS, epochs=1, precision="bf16")), digits)
    assert "no bf16 hardware: fp32 is used" in result["notes"][0]
    settings = read_record(digits, "base-one").settings
    assert (settings["precision"], settings["precision_used"]) == ("bf16", "fp32")


def test_bf16_trains_where_it_exists(digits: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fvm_core.tuning.precision.has_bf16", lambda device: True)
    result = run(MemoryContext(), arguments(replace(SETTINGS, epochs=1, precision="bf16")), digits)
    assert result["notes"] == [] and read_record(digits, "base-one").settings["precision_used"] == "bf16"
    assert all(value.dtype in (torch.float32, torch.int64) for value in weights(digits, "base-one").values())


def test_resolve_precision_keeps_fp32_and_asks_the_hardware() -> None:
    cpu = torch.device("cpu")
    assert resolve_precision("fp32", cpu) == Precision("fp32", cpu)
    assert (resolve_precision("bf16", cpu).used == "bf16") == has_bf16(cpu)


def test_an_image_that_cannot_be_read_is_left_out(workspace: Workspace, tmp_path: Path) -> None:
    import numpy as np
    from PIL import Image

    generator = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for index in range(6):
            pixels = generator.integers(0, 255, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / label / f"{index}.png")
    (tmp_path / "images" / "dog" / "0.png").write_bytes(b"not an image")
    add_dataset(workspace, "folder", DatasetSpec("folder", path=str(tmp_path / "images")))
    model = {**arguments()["model"], "num_classes": 2}
    context = MemoryContext()
    args = arguments(replace(SETTINGS, epochs=1, batch_size=5), dataset="folder", validation=None, model=model)
    run(context, args, workspace)
    assert context.messages[-1][:2] == (3, 3), "11 readable images in batches of at most 5 are 3 steps"


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"model": {**arguments()["model"], "num_classes": 7}},
            CheckpointError,
            r"head has 7 classes, the dataset has 10",
        ),
        (
            {"settings": {**SETTINGS.to_json(), "batch_size": 1}},
            SettingsError,
            r"`batch_size` must be >= 2 .* BatchNorm",
        ),
        ({"settings": {**SETTINGS.to_json(), "lr": 1e30}}, SettingsError, r"diverged. Try a lower `lr` than 1e\+30"),
        ({"settings": {**SETTINGS.to_json(), "seed": -1}}, SettingsError, r"`seed` must be >= 0, got -1"),
        ({"settings": {"speed": 3}}, SettingsError, r"unknown settings \['speed'\]"),
        ({"dataset": "nothing"}, DataError, r"`dataset` must be one of .*got 'nothing'"),
    ],
)
def test_what_cannot_be_trained_is_named(
    digits: Workspace, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(MemoryContext(), arguments(**changes), digits)
    assert not digits.models.exists() or not list(digits.models.iterdir())


def test_a_taken_name_is_refused_and_kept(digits: Workspace) -> None:
    run(MemoryContext(), arguments(replace(SETTINGS, epochs=1)), digits)
    before = weights(digits, "base-one")
    with pytest.raises(SettingsError, match=r"`name` must be new: a model `base-one` exists already"):
        run(MemoryContext(), arguments(replace(SETTINGS, epochs=1, seed=1)), digits)
    assert same(before, weights(digits, "base-one"))


def test_a_name_taken_while_the_job_worked_costs_no_work(digits: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = arguments(replace(SETTINGS, epochs=1))
    final = Training.final_metrics

    def slow(training: Training) -> dict[str, float]:
        monkeypatch.setattr(Training, "final_metrics", final)
        run(MemoryContext(), arguments(replace(SETTINGS, epochs=1, seed=1)), digits)
        return final(training)

    monkeypatch.setattr(Training, "final_metrics", slow)
    context = MemoryContext()
    result = run(context, wanted, digits)
    assert result["model"] == "base-one-2"
    assert "`base-one` was taken while the job worked: the model is kept as `base-one-2`" in result["notes"][-1]
    assert load_model(digits, "base-one-2")[1].name == "base-one-2"
    assert read_record(digits, "base-one").settings["seed"] == 1
    again = run(context, wanted, digits)
    assert (again["model"], again["notes"]) == ("base-one-2", result["notes"][-1:])
    assert sorted(path.name for path in digits.models.iterdir()) == ["base-one", "base-one-2"]


def test_defaults_are_the_paper_s() -> None:
    train, tune = TrainSettings(), TuneSettings()
    assert (train.batch_size, train.lr, train.momentum, train.weight_decay, train.epochs) == (128, 0.1, 0.9, 5e-4, 100)
    assert (train.schedule, train.drop_epochs, train.augment) == ("step", (50,), True)
    assert (tune.batch_size, tune.lr, tune.momentum, tune.weight_decay, tune.steps) == (128, 0.01, 0.9, 5e-4, 1000)
    assert (tune.solver, tune.rho) == ("sam", 0.05)
    assert {1, 20, 40, 60, 80, 100} - set(train.checkpoint_epochs) == {1}
    assert all(preset.epochs in preset.checkpoint_epochs for preset in TRAIN_PRESETS.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rho": -0.1}, r"`rho` must be >= 0, got -0.1"),
        ({"solver": "adam"}, r"`solver` must be one of .*'sgd', 'sam', 'asam', 'fsam', 'lpf'.*, got 'adam'"),
        ({"asam_eta": -0.01}, r"`asam_eta` must be >= 0, got -0.01"),
        ({"asam_eta": float("nan")}, r"`asam_eta` must be a finite number, got nan"),
        ({"fsam_sigma": -1.0}, r"`fsam_sigma` must be >= 0, got -1.0"),
        ({"fsam_lambda": 1.0}, r"`fsam_lambda` must be in \[0, 1\), got 1.0"),
        ({"fsam_lambda": float("nan")}, r"`fsam_lambda` must be a finite number, got nan"),
        ({"lpf_gamma": -0.001}, r"`lpf_gamma` must be >= 0, got -0.001"),
        ({"lpf_gamma": float("inf")}, r"`lpf_gamma` must be a finite number, got inf"),
        ({"lpf_draws": 0}, r"`lpf_draws` must be >= 1, got 0"),
        ({"lpf_growth": 0.5}, r"`lpf_growth` must be >= 1 .*, got 0.5"),
        ({"clip_norm": 0.0}, r"`clip_norm` must be > 0 or none, got 0.0"),
        ({"clip_norm": float("nan")}, r"`clip_norm` must be a finite number or none, got nan"),
        ({"sharpness_rho": -0.1}, r"`sharpness_rho` must be >= 0, got -0.1"),
        ({"lr": 0.0}, r"`lr` must be > 0, got 0.0"),
        ({"lr": float("nan")}, r"`lr` must be a finite number, got nan"),
        ({"eval_every": -1}, r"`eval_every` must be >= 0 steps"),
        ({"directions": 0}, r"`directions` must be >= 1, got 0"),
        ({"snapshots": 1}, r"`snapshots` must be >= 2, got 1"),
        ({"momentum": 1.0}, r"`momentum` must be in \[0, 1\), got 1.0"),
        ({"precision": "fp8"}, r"`precision` must be one of"),
    ],
)
def test_settings_out_of_range_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        TuneSettings(**change)
