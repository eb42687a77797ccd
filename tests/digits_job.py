"""A workspace in which a scoring job can run at once: the digits, 40 clean ones, and a model of random weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from fvm_core.data.registry import add_dataset, open_named
from fvm_core.demo import TRAINING, VALIDATION
from fvm_core.influence.methods import DEFAULT_METHODS
from fvm_core.influence.store import list_runs, read_scores
from fvm_core.models.build import build_model
from fvm_core.models.checkpoint import save_model
from fvm_core.models.spec import ModelSpec
from fvm_core.models.store import ModelRecord
from fvm_core.workspace import Workspace

ROWS = 90
SPEC = ModelSpec("digits_cnn", 10, width=8, in_channels=1, image_size=8)
SETTINGS = {"relabel": "all", "batch_size": 16, "limit": ROWS, "lissa_depth": 3, "lissa_scale": 500.0, "damping": 1e-6}


def fill(workspace: Workspace, folder: Path) -> Workspace:
    """Add the datasets `digits` and `clean` and the model `m`; a list of ids goes into `folder`."""
    add_dataset(workspace, "digits", TRAINING)
    clean = add_dataset(workspace, "all-clean", VALIDATION)
    ids = open_named(workspace, clean).ids[:40]
    (folder / "ids.txt").write_text("\n".join(ids))
    add_dataset(workspace, "clean", replace(VALIDATION, include=str(folder / "ids.txt")))
    torch.manual_seed(0)
    save_model(workspace.models / "m", build_model(SPEC), ModelRecord("m", "fvm", SPEC))
    return workspace


def arguments(**changes: Any) -> dict[str, Any]:
    """Return the arguments of a scoring job; `settings` in `changes` are put on top of SETTINGS."""
    settings = {**SETTINGS, **changes.pop("settings", {})}
    args = {"model": "m", "dataset": "digits", "validation": "clean", "run": "Run 1", "methods": list(DEFAULT_METHODS)}
    return {**args, "settings": settings, **changes}


def frames(workspace: Workspace, run: str) -> dict[str, pd.DataFrame]:
    """Return {method: its score file's rows} of a run."""
    return {item.method: read_scores(item.path).frame for item in list_runs(workspace) if item.run == run}
