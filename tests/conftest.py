"""Every test gets a workspace of its own and two threads at most."""

from __future__ import annotations

from pathlib import Path

import pytest

from fvm_core.workspace import Workspace

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A fresh workspace, also the one that `current_workspace()` returns in this test."""
    root = tmp_path / "workspace"
    root.mkdir()
    monkeypatch.setenv("FVM_STUDIO_HOME", str(root))
    return Workspace(root)


@pytest.fixture(scope="session")
def cifar10n() -> Path:
    """The folder with CIFAR-10N's parquet files, or a skip with the reason."""
    folder = SHARED_DATA / "cifar10n"
    if not (folder / "train.parquet").exists():
        pytest.skip(f"CIFAR-10N is not at {folder}: this test runs on real data only")
    return folder
