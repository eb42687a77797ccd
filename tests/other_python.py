"""Libraries that do not fit beside ours run in a Python of their own, or are skipped: label-studio-sdk holds NumPy
back, FiftyOne plotly, and it fetches MongoDB."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
SETTING = "FVM_STUDIO_TEST_TOOLS"
TOOLS = Path(os.environ.get(SETTING) or ROOT / ".venv-tools" / "bin" / "python")
"""The Python of `tests/tools.txt`; tests/run.sh makes it."""


def run_with(library: str, script: str, *args: object) -> Any:
    """Return the JSON that tests/loaders/SCRIPT prints under a Python that has `library`; skip where none has it."""
    python = _python_with(library)
    if python is None:
        pytest.skip(f"no {library}: tests/run.sh puts tests/tools.txt into .venv-tools; {SETTING} may name a Python")
    command = [str(python), str(ROOT / "tests" / "loaders" / script), *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def _python_with(library: str) -> Path | None:
    if importlib.util.find_spec(library) is not None:
        return Path(sys.executable)
    if not TOOLS.exists():
        return None
    asked = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({library!r}) is None)"
    return TOOLS if subprocess.run([str(TOOLS), "-c", asked], check=False).returncode == 0 else None
