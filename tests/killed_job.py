"""A training or tuning job that kills itself: `python tests/killed_job.py KIND ARGS.json FOLDER CALL`.

The process ends by SIGKILL in the CALL-th call that the work makes to its context once it has asked for its state,
whatever that call is. Calls before that are those of decoding, which a second run of the same data does not make.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.jobs.state import read_state, write_state
from fvm_core.tuning.train import run as train
from fvm_core.tuning.tune import run as tune
from fvm_core.workspace import Workspace, current_workspace

KINDS = {"train": train, "tune": tune}


class CountingContext(MemoryContext):
    """Keeps its state on disk and counts its calls from the load of the state on; kills its process in call `fatal`,
    before the call does a thing."""

    fatal: int = 0

    def __init__(self, folder: Path) -> None:
        super().__init__(folder=folder)
        self.count = 0
        self.counting = False

    def _count(self) -> None:
        self.count += self.counting
        if self.counting and self.count == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def metric(self, step: int, **values: float) -> None:
        self._count()

    def progress(self, done: int, total: int, message: str = "") -> None:
        self._count()

    def checkpoint(self) -> bool:
        self._count()
        return False

    def save_state(self, state: dict[str, Any]) -> None:
        self._count()
        write_state(self.folder / "state.pt", state)

    def load_state(self) -> dict[str, Any] | None:
        self.counting = True
        return read_state(self.folder / "state.pt")

    def path(self, *parts: str) -> Path:
        self._count()
        return super().path(*parts)


def assert_killed_job_resumes(kind: str, args: dict[str, Any], workspace: Workspace, folder: Path) -> int:
    """Make the models `whole` (in one go) and `cut` (killed in a process of its own, then resumed here).

    Returns the call, a random one, in which the other process was killed.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        (folder / "whole").mkdir()
        whole = CountingContext(folder / "whole")
        KINDS[kind](whole, args | {"name": "whole"}, workspace)
        call = random.Random().randint(whole.count // 4, whole.count - 1)
        args = args | {"name": "cut"}
        (folder / "args.json").write_text(json.dumps(args))
        (folder / "cut").mkdir()
        done = subprocess.run(
            [sys.executable, __file__, kind, str(folder / "args.json"), str(folder / "cut"), str(call)],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])},
            capture_output=True,
            text=True,
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        KINDS[kind](CountingContext(folder / "cut"), args, workspace)
        return call
    finally:
        torch.set_num_threads(threads)


def weights(workspace: Workspace, name: str, file: str = "model.safetensors") -> dict[str, torch.Tensor]:
    return load_file(workspace.models / name / file)


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    """Whether both states hold the same keys with bitwise the same tensors."""
    return one.keys() == two.keys() and all(torch.equal(value, two[key]) for key, value in one.items())


if __name__ == "__main__":
    kind, path, folder, call = sys.argv[1:]
    torch.set_num_threads(1)
    context = CountingContext(Path(folder))
    context.fatal = int(call)
    KINDS[kind](context, json.loads(Path(path).read_text()), current_workspace())
