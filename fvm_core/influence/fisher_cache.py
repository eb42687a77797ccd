"""The Fisher of a validation set under a model, kept between jobs: an explanation is asked for image after image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import safetensors.torch
from torch import Tensor

from fvm_core.errors import CheckpointError
from fvm_core.files import atomic_write
from fvm_core.influence.fisher import fisher_diagonal
from fvm_core.influence.task import Task
from fvm_core.models.safetensors_file import read_safetensors
from fvm_core.provenance import digest, version
from fvm_core.workspace import Workspace

KEPT = 8
"""Files, the newest ones: each is twice as large as its model's weights."""


def fisher_path(task: Task, workspace: Workspace) -> Path:
    """Return cache/fisher/KEY.safetensors; KEY names the weights, the validation samples and this version."""
    names = [task.described["model"]["sha256"], task.described["model"]["spec"]]
    samples = [task.described["validation"]["fingerprint"], task.validation.usable.tolist()]
    return workspace.cache / "fisher" / f"{digest([names, samples, version()])[:32]}.safetensors"


def cached_fisher(
    task: Task, workspace: Workspace, *, progress: Callable[[int], None] | None = None
) -> dict[str, Tensor]:
    """Return {parameter: float64 Fisher (Eq. 24)} on the model's device, from the cache or made and put there.

    `progress` is told the validation samples done so far while it is made. A damaged file is made anew.
    """
    path = fisher_path(task, workspace)
    shapes = {name: value.shape for name, value in task.model.named_parameters()}
    try:
        found = read_safetensors(path)
        whole = {name: value.shape for name, value in found.items()} == shapes
    except (OSError, CheckpointError):
        whole = False
    if whole:
        path.touch()
    else:
        made = fisher_diagonal(task.model, task.validation_batches(), progress=progress)
        found = {name: value.cpu().contiguous() for name, value in made.items()}
        with atomic_write(path) as file:
            file.write(safetensors.torch.save(found))
        for old in sorted(path.parent.glob("*.safetensors"), key=_modified, reverse=True)[KEPT:]:
            old.unlink(missing_ok=True)
    device = next(task.model.parameters()).device
    return {name: found[name].to(device) for name in shapes}


def _modified(path: Path) -> int:
    """Return when a file was last used, in ns; 0 when another job has removed it."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
