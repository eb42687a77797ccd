"""Files from the browser, kept in the workspace under names of ours: the person's name for a file is never trusted."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import streamlit as st

from fvm_core.errors import DataError
from fvm_core.files import atomic_write
from fvm_core.workspace import Workspace

SUFFIXES = (".npz", ".parquet", ".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".safetensors", ".pt", ".pth")
PIECE = 1 << 22
NAMES = "upload_names"


def keep_upload(workspace: Workspace, upload: Any) -> Path:
    """Write an uploaded file to `uploads/HASH.SUFFIX` (once) and return that path.

    Raises:
        DataError: the suffix is not one of SUFFIXES.
        StorageError: the disk refused.
    """
    suffix = Path(str(upload.name)).suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(f"`upload` must be one of {', '.join(SUFFIXES)}, got {suffix or 'a file without suffix'!r}.")
    view = memoryview(upload.getbuffer())
    digest = _digest(upload, view)
    path = workspace.uploads / f"{digest[:32]}{suffix}"
    if not path.exists() or path.stat().st_size != len(view):
        with atomic_write(path) as file:
            for start in range(0, len(view), PIECE):
                file.write(view[start : start + PIECE])
    st.session_state.setdefault(NAMES, {})[str(path)] = Path(str(upload.name)).name
    return path


def uploaded_name(path: str) -> str:
    """Return the name that the browser gave for the upload kept at `path` in this session, or ""."""
    return str(st.session_state.get(NAMES, {}).get(path, ""))


def _digest(upload: Any, view: memoryview) -> str:
    """Return the SHA-256 of an upload, taken once a session: a page reruns at every click, and files may be large."""
    known: dict[str, str] = st.session_state.setdefault("upload_digests", {})
    key = str(getattr(upload, "file_id", ""))
    if key and key in known:
        return known[key]
    digest = hashlib.sha256(view).hexdigest()
    if key:
        known[key] = digest
    return digest


def keep_text(workspace: Workspace, text: str, *, prefix: str) -> Path:
    """Write a short text to `uploads/PREFIX-HASH.txt` (once) and return that path. Raises StorageError."""
    data = text.encode()
    path = workspace.uploads / f"{prefix}-{hashlib.sha256(data).hexdigest()[:24]}.txt"
    if not path.exists():
        with atomic_write(path) as file:
            file.write(data)
    return path
