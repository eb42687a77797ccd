"""The built-in demo: scikit-learn's digits with planted label noise, from a click to flagged images, offline."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.registry import add_dataset
from fvm_core.errors import JobError
from fvm_core.jobs.context import JobContext
from fvm_core.models.store import list_models
from fvm_core.pipeline import run as run_pipeline
from fvm_core.tuning.settings import TuneSettings
from fvm_core.workspace import Workspace

BASE = Path(__file__).resolve().parents[1] / "assets" / "demo" / "digits-base"
TUNE = TuneSettings(
    steps=300, batch_size=64, lr=0.02, eval_every=10, sharpness_every=20, hessian_every=60, save_every=100,
    probe_size=256, snapshots=6,
)  # fmt: skip
TRAINING = DatasetSpec(kind="digits", label="noisy", options={"split": "train"})
VALIDATION = DatasetSpec(kind="digits", label="clean", options={"split": "validation"})


def install(workspace: Workspace) -> None:
    """Register the demo's two datasets and put its base checkpoint (trained by `demo --train`) into the workspace.

    Raises:
        JobError: the checkpoint is missing from the installation.
    """
    add_dataset(workspace, "digits", TRAINING)
    add_dataset(workspace, "digits-validation", VALIDATION)
    if "digits-base" in list_models(workspace):
        return
    if not (BASE / "model.safetensors").exists():
        raise JobError(f"the demo's checkpoint is missing at `{BASE}`. Run `python -m fvm_core demo --train` once.")
    shutil.copytree(BASE, workspace.models / "digits-base", dirs_exist_ok=True)


def arguments(*, train: bool = False) -> dict[str, Any]:
    """Return the pipeline's arguments; `train` makes the base checkpoint anew instead of using the shipped one."""
    given: dict[str, Any] = {
        "prefix": "digits",
        "dataset": "digits",
        "validation": "digits-validation",
        "tune": {key: value for key, value in TUNE.to_json().items() if key not in ("solver", "rho")},
        "score": {"relabel": "all", "lissa_depth": 60},
        "snapshot_sample": 400,
    }
    return given if not train else {**given, **base_arguments()}


def base_arguments() -> dict[str, Any]:
    """Return what the demo's base model is and how it is trained."""
    from fvm_core.models.spec import ModelSpec
    from fvm_core.tuning.settings import TRAIN_PRESETS

    names = tuple(str(digit) for digit in range(10))
    spec = ModelSpec("digits_cnn", 10, width=16, in_channels=1, image_size=8, class_names=names)
    return {"model": spec.to_json(), "train": TRAIN_PRESETS["digits"].to_json()}


def run(context: JobContext, args: dict[str, Any], workspace: Workspace) -> dict[str, Any]:
    """Install the demo and run the main job on it. Job function of kind `demo`."""
    train = bool(args.get("train"))
    if train:
        add_dataset(workspace, "digits", TRAINING)
        add_dataset(workspace, "digits-validation", VALIDATION)
    else:
        install(workspace)
    return run_pipeline(context, arguments(train=train), workspace)
