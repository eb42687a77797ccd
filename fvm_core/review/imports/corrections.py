"""Whatever tool corrected the labels: one table that `apply_corrections` takes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd

from fvm_core.data.corrections import FINGERPRINT
from fvm_core.data.dataset import LabeledImages
from fvm_core.files import atomic_write
from fvm_core.review.imports.cleanlab_table import is_issue_table, read_issue_table
from fvm_core.review.imports.label_studio import read_label_studio
from fvm_core.workspace import Workspace


def corrections_file(workspace: Workspace, path: Path | str, dataset: LabeledImages) -> str:
    """Return the path of a corrections table for `dataset` made from `path`: our own CSV or Parquet as it is,
    cleanlab's issue table or Label Studio's JSON turned into one.

    The same labels give the same file, so importing twice changes nothing.

    Raises:
        DataError: the file is none of these or was made for another dataset. StorageError: the disk refused.
    """
    if Path(path).suffix.lower() == ".json":
        frame = read_label_studio(path, dataset)
    elif is_issue_table(path):
        frame = read_issue_table(path, dataset)
    else:
        return str(path)
    return str(_keep(workspace, frame, dataset))


def _keep(workspace: Workspace, frame: pd.DataFrame, dataset: LabeledImages) -> Path:
    """Write the table to uploads/ under a name made of its content."""
    frame = frame.sort_values("id").reset_index(drop=True).assign(**{FINGERPRINT: dataset.fingerprint})
    text = frame.to_csv(index=False)
    path = workspace.uploads / f"labels-{hashlib.sha256(text.encode()).hexdigest()[:24]}.parquet"
    if not path.exists():
        with atomic_write(path) as file:
            frame.to_parquet(file, index=False)
    return path
