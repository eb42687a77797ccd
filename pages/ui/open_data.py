"""Open datasets are kept between reruns: opening reads labels, and a page reruns at every click."""

from __future__ import annotations

import json
from pathlib import Path

import streamlit as st

from fvm_core.data.dataset import DatasetSpec, LabeledImages
from fvm_core.data.open import open_dataset
from fvm_core.data.registry import read_spec
from fvm_core.workspace import Workspace


def open_cached(workspace: Workspace, name: str) -> LabeledImages:
    """Return the dataset kept as `name`, opened anew only when its spec or one of its files changed.

    Raises:
        DataError: there is none, or it cannot be opened.
    """
    return open_spec_cached(read_spec(workspace, name))


def open_spec_cached(spec: DatasetSpec) -> LabeledImages:
    """Return the dataset that `spec` describes, for one that need not have a name. Raises DataError like above."""
    return _open(json.dumps(spec.to_json(), sort_keys=True), stamp(spec))


def stamp(spec: DatasetSpec) -> str:
    """Return size and time of every file that `spec` names, as text; a missing file counts as such."""
    parts = []
    for path in (spec.path, spec.corrections, spec.include, spec.exclude):
        try:
            state = Path(path).expanduser().stat() if path else None
        except OSError:
            state = None
        parts.append(f"{state.st_size}.{state.st_mtime_ns}" if state else "-")
    return " ".join(parts)


@st.cache_resource(max_entries=8, show_spinner="Opening the dataset …")
def _open(spec: str, stamp: str) -> LabeledImages:
    return open_dataset(DatasetSpec.from_json(json.loads(spec)))
