"""A map of the digits with made-up scores, without any model: for tests of what draws and selects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from score_files import write_score_file

from fvm_core.data.dataset import DatasetSpec, LabeledImages
from fvm_core.data.registry import add_dataset, open_named
from fvm_core.embedding.settings import MapSettings
from fvm_core.embedding.store import MAP_SCHEMA, NEIGHBOUR_SCHEMA, Seen, map_path, neighbours_path, write_frame
from fvm_core.influence.store import read_scores
from fvm_core.workspace import Workspace


def scored_digits(
    workspace: Workspace, *, validation: dict[str, Any] | None = None
) -> tuple[LabeledImages, dict[str, Any]]:
    """Add the digits and scores of method `posterior`, honest about the noise; return them and the provenance."""
    add_dataset(workspace, "digits", DatasetSpec("digits", label="noisy"))
    digits = open_named(workspace, "digits")
    assert digits.clean_labels is not None
    n = len(digits)
    rng = np.random.default_rng(0)
    q = rng.dirichlet(np.full(10, 0.3), n) * 0.3
    q[np.arange(n), digits.clean_labels] += 0.7
    path = workspace.scores / "digits-fvm" / "posterior.parquet"
    scores = -np.log(np.maximum(q, 1e-9))
    return digits, write_score_file(path, digits, scores, method="posterior", validation=validation)


def write_map(
    workspace: Workspace, dataset: LabeledImages, provenance: dict[str, Any], *, umap: bool = True, seed: int = 0
) -> NDArray[np.float32]:
    """Write a map with ten loose groups, by clean label, and return its UMAP positions (n, 2)."""
    rng = np.random.default_rng(seed)
    n = len(dataset)
    assert dataset.clean_labels is not None
    angle = 2 * np.pi * dataset.clean_labels / 10
    laid = np.stack([5 * np.cos(angle), 3 * np.sin(angle)], 1) + rng.normal(0, 0.7, (n, 2))
    laid = laid.astype(np.float32)
    none = np.ma.array(laid, mask=np.full(laid.shape, not umap))
    columns = {
        "id": dataset.ids.tolist(), "row": np.arange(n), "pca_x": laid[:, 1], "pca_y": laid[:, 0],
        "x": none[:, 0], "y": none[:, 1],
    }  # fmt: skip
    write_frame(map_path(workspace, Seen.behind(provenance), MapSettings()), MAP_SCHEMA, columns, provenance)
    return laid


def write_neighbours(
    workspace: Workspace, dataset: LabeledImages, provenance: dict[str, Any], near: dict[int, tuple[int, float]], *,
    path: Path | None = None,
) -> None:  # fmt: skip
    """Write neighbours in which row i has, of two, the one in `near` first: (row, pixel difference)."""
    n = len(dataset)
    places = np.stack([(np.arange(n) + 1) % n, (np.arange(n) + 2) % n], 1)
    apart = np.full((n, 2), 90, np.float32)
    for row, (other, gap) in near.items():
        places[row, 0], apart[row, 0] = other, gap
    columns = {
        "id": dataset.ids.tolist(), "row": np.arange(n), "neighbours": places,
        "similarity": np.full((n, 2), 0.5, np.float32), "pixel_rms": apart,
    }  # fmt: skip
    write_frame(path or neighbours_path(workspace, Seen.behind(provenance)), NEIGHBOUR_SCHEMA, columns, provenance)


def frame_of(workspace: Workspace) -> pd.DataFrame:
    """Return the rows of the score file."""
    return read_scores(workspace.scores / "digits-fvm" / "posterior.parquet").frame
