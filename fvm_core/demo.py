"""The built-in demo: scikit-learn's digits with planted label noise, from a click to flagged images, offline."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.registry import add_dataset, list_datasets
from fvm_core.errors import JobError
from fvm_core.files import read_json
from fvm_core.jobs.context import JobContext
from fvm_core.models.store import list_models
from fvm_core.pipeline import made_before
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

    The checkpoint's folder appears whole or not at all.

    Raises:
        JobError: the checkpoint is missing from the installation, or a name of the demo's is taken by another dataset
            or model.
    """
    register(workspace)
    shipped = read_json(BASE / "model.json", what="the demo's record") if (BASE / "model.json").exists() else {}
    found = list_models(workspace).get("digits-base")
    if found is not None:
        if not found.sha256 or found.sha256 != shipped.get("sha256"):
            _made_here(workspace)
        return
    if not (BASE / "model.safetensors").exists():
        raise JobError(f"the demo's checkpoint is missing at `{BASE}`. Run `python -m fvm_core demo --train` once.")
    workspace.models.mkdir(parents=True, exist_ok=True)
    target = workspace.models / "digits-base"
    with tempfile.TemporaryDirectory(prefix=".demo-", dir=workspace.root) as staging:
        shutil.copytree(BASE, Path(staging) / "copy")
        try:
            os.rename(Path(staging) / "copy", target)
        except OSError as error:
            if "digits-base" not in list_models(workspace):
                raise JobError(
                    f"the demo's model cannot be put at `{target}` ({error}). Delete that folder."
                ) from error


def register(workspace: Workspace) -> None:
    """Add the demo's two datasets. Raises JobError when another dataset has one of their names."""
    known = list_datasets(workspace)
    for name, spec in (("digits", TRAINING), ("digits-validation", VALIDATION)):
        if known.get(name, spec) != spec:
            raise JobError(
                f"the demo needs the name `{name}`, but another dataset is called so. Remove that dataset on the Load "
                "page and add it again under another name, or run the demo in another workspace."
            )
        add_dataset(workspace, name, spec)


def _made_here(workspace: Workspace) -> None:
    """Raise JobError unless `digits-base` is what `demo --train` makes."""
    base = base_arguments()
    made_before(
        {"name": "digits-base", "model": base["model"], "settings": base["train"], "dataset": "digits",
         "validation": "digits-validation"}, workspace,
    )  # fmt: skip


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
    from fvm_core.models.spec import BUILDS
    from fvm_core.tuning.settings import TRAIN_PRESETS

    spec = BUILDS["digits"].spec(10, [str(digit) for digit in range(10)])
    return {"model": spec.to_json(), "train": TRAIN_PRESETS["digits"].to_json()}


def run(context: JobContext, args: dict[str, Any], workspace: Workspace) -> dict[str, Any]:
    """Install the demo and run the main job on it. Job function of kind `demo`."""
    train = bool(args.get("train"))
    if train:
        register(workspace)
    else:
        install(workspace)
    return run_pipeline(context, arguments(train=train), workspace)
