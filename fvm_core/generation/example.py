"""The shipped example: a small pretrained language model with its tuned adapters, pairs and scores. No torch here."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from fvm_core.errors import DataError
from fvm_core.generation.store import generation_folder
from fvm_core.workspace import Workspace

SHIPPED = Path(__file__).resolve().parents[2] / "assets" / "generation"
PARTS = ("models", "pairs", "scores")


def install_example(workspace: Workspace) -> list[str]:
    """Copy the shipped models, pairs and scores into the workspace; what is there under the same name stays as it is.

    Returns one line for each: its path below `generation/`, and whether it was there before.

    Raises:
        DataError: the installation has no example.
    """
    lines = []
    for part in PARTS:
        for source in sorted((SHIPPED / part).glob("*")):
            target = generation_folder(workspace, part, source.name)
            lines.append(f"{part}/{source.name}: {'was there' if target.exists() else 'new'}")
            if not target.exists():
                _put(source, target)
    if not lines:
        raise DataError(f"the example must lie in `{SHIPPED}`, but is not there. Install the project anew.")
    return lines


def _put(source: Path, target: Path) -> None:
    """Copy a file or folder beside its place, then rename it there, so that no reader sees a half one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    staged = target.with_name(f".new-{secrets.token_hex(4)}")
    if source.is_dir():
        shutil.copytree(source, staged)
    else:
        shutil.copyfile(source, staged)
    os.rename(staged, target)
