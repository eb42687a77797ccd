"""Eight reviewers at once, and what must be in the database afterwards, told by plain SQL and not by our own code."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from reviewer_process import entry

NAMES = tuple(f"reviewer-{k}" for k in range(8))
EACH = 1250
BATCH = 25
ROOT = Path(__file__).resolve().parents[1]
QUERY = "SELECT number, client, seq, sample, action, label, undoes, reviewer, score FROM decisions ORDER BY number"


def start(url: str, session: str, name: str) -> subprocess.Popen[str]:
    """Start one reviewer of EACH decisions."""
    command = [sys.executable, str(ROOT / "tests" / "reviewer_process.py"), url, session, name, str(EACH), str(BATCH)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)


def finish(processes: Sequence[subprocess.Popen[str]]) -> None:
    """Wait for all of them; each must have ended well."""
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), "\n".join(errors)[-3000:]


def wait_for(count: Callable[[], int], wanted: int, processes: Sequence[subprocess.Popen[str]]) -> int:
    """Wait until `wanted` decisions are there; fail if everybody has gone before."""
    while (found := count()) < wanted:
        if all(process.poll() is not None for process in processes):
            finish(processes)
            raise AssertionError(f"all ended at {found} of {wanted}")
    return found


def check(rows: Sequence[Sequence[object]]) -> None:
    """Nothing lost, nothing twice, nothing changed; every undo took back its own reviewer's decision before it."""
    assert len(rows) == len(NAMES) * EACH
    by_number = {row[0]: row for row in rows}
    found = {(row[1], row[2]): row for row in rows}
    assert len(by_number) == len(found) == len(rows)
    for name in NAMES:
        for seq in range(1, EACH + 1):
            wanted = entry(name, seq)
            row = found[(wanted.client, seq)]
            assert row[3:6] == (wanted.sample, wanted.action, wanted.label) and row[7:] == (name, wanted.score)
            if wanted.action == "undo":
                assert by_number[row[6]][1:3] == (wanted.client, seq - 1)
            else:
                assert row[6] is None
