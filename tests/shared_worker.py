"""One of several workers that runs a command, with small parts, and may come to harm on the way.

`python tests/shared_worker.py COMMAND...` under torchrun, or with RANK and WORLD_SIZE set. HARM=RANK:WHAT:N lets worker
RANK, when it has written N parts or done N steps, die by SIGKILL (`kill`), get a SIGTERM (`term`) or raise (`raise`).
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fvm_core.cli.main import main
from fvm_core.errors import DataError
from fvm_core.influence import rows
from fvm_core.tuning import sam

TESTS = Path(__file__).resolve().parent
PART_ROWS = 32


def harmed(work: Callable[..., Any], what: str, after: int) -> Callable[..., Any]:
    """Return `work` with the harm that its call number `after` does, after its work."""
    calls = 0

    def call(*args: Any, **options: Any) -> Any:
        nonlocal calls
        found = work(*args, **options)
        calls += 1
        if calls == after and what == "raise":
            raise DataError("the disk of this worker is broken.")
        if calls == after:
            os.kill(os.getpid(), signal.SIGKILL if what == "kill" else signal.SIGTERM)
        return found

    return call


def environment(workspace: Path, **more: str) -> dict[str, str]:
    """Return what a worker needs in its environment: one thread, our modules, the workspace."""
    paths = {"PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}", "FVM_STUDIO_HOME": str(workspace)}
    return {**os.environ, **paths, "OMP_NUM_THREADS": "1", **more}


def start_pair(command: list[str], workspace: Path, **more: str) -> list[subprocess.Popen[str]]:
    """Start both of two workers as Slurm's `srun` would, without torchrun to look after them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", **more}
    return [
        subprocess.Popen(
            [sys.executable, *command], env=environment(workspace, RANK=str(rank), **meeting), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]  # fmt: skip


def ends_of(pair: list[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    """Return (exit code, stdout, stderr) of each worker; none may hang."""
    try:
        said = [worker.communicate(timeout=200) for worker in pair]
    finally:
        for worker in pair:
            worker.kill()
    return [(worker.returncode, out, err) for worker, (out, err) in zip(pair, said, strict=True)]


def torchrun(command: list[str], workspace: Path) -> subprocess.CompletedProcess[str]:
    """Run a command by two workers under torchrun."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--"]
    free = environment(workspace)
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        free.pop(name, None)
    return subprocess.run([*launcher, *command], env=free, text=True, capture_output=True, timeout=200)


if __name__ == "__main__":
    rows.PART_ROWS = PART_ROWS
    rank, _, rest = os.environ.get("HARM", "").partition(":")
    if rank and rank == os.environ["RANK"]:
        kind, after = rest.split(":")
        rows.write_part = harmed(rows.write_part, kind, int(after))
        sam.descend = harmed(sam.descend, kind, int(after))
    sys.exit(main(sys.argv[1:]))
