"""Open datasets are kept between reruns: opening reads labels, and a page reruns at every click."""

from __future__ import annotations

import json

import streamlit as st

from fvm_core.data.dataset import DatasetSpec, LabeledImages
from fvm_core.data.open import open_dataset
from fvm_core.data.registry import read_spec
from fvm_core.data.stamp import spec_stamp
from fvm_core.errors import DataError
from fvm_core.workspace import Workspace


def open_cached(workspace: Workspace, name: str) -> LabeledImages:
    """Return the dataset kept as `name`, opened anew only when its spec or a file changed (in a folder: any).

    Raises:
        DataError: there is none, or it cannot be opened.
    """
    return open_spec_cached(read_spec(workspace, name))


def open_spec_cached(spec: DatasetSpec) -> LabeledImages:
    """Return the dataset that `spec` describes, for one that need not have a name. Raises DataError like above."""
    return _open(json.dumps(spec.to_json(), sort_keys=True), spec_stamp(spec))


def open_scored(spec: DatasetSpec, *, name: str, fingerprint: str) -> LabeledImages:
    """Return the dataset that `spec` describes if it is the one that was scored under `fingerprint`.

    A dataset kept from before a change that its stamp does not show is opened anew, once.

    Raises:
        DataError: it cannot be opened, or its labels or images have changed since.
    """
    dataset = open_spec_cached(spec)
    if dataset.fingerprint != fingerprint:
        _open.clear(json.dumps(spec.to_json(), sort_keys=True), spec_stamp(spec))
        dataset = open_spec_cached(spec)
    if dataset.fingerprint != fingerprint:
        raise DataError(
            f"dataset `{name}` must be as it was when it was scored, but its labels or images have changed. "
            "Score it again, or bring back the earlier files."
        )
    return dataset


@st.cache_resource(max_entries=8, show_spinner="Opening the dataset …")
def _open(spec: str, stamp: str) -> LabeledImages:
    return open_dataset(DatasetSpec.from_json(json.loads(spec)))
