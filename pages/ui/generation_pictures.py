"""Image targets as data URIs: small, made once, and only from below the folder of their set of pairs."""

from __future__ import annotations

import base64
import os

import streamlit as st

from fvm_core.data.images import MAX_BYTES, thumbnail_png
from fvm_core.data.paths import inside
from fvm_core.errors import DataError

SIDE = 160


def picture(root: str, name: str, *, side: int = SIDE) -> tuple[str, str]:
    """Return (data URI, "") of the image `name` below `root`, or ("", what is wrong with it)."""
    try:
        path = inside(os.path.realpath(root), name)
        state = os.stat(path)
    except (DataError, OSError, ValueError) as error:
        return "", str(error)
    if state.st_size > MAX_BYTES:
        return "", f"larger than {MAX_BYTES >> 20} MiB"
    return _picture(path, state.st_mtime_ns, side)


@st.cache_data(show_spinner=False, max_entries=2048)
def _picture(path: str, changed: int, side: int) -> tuple[str, str]:
    try:
        with open(path, "rb") as file:
            png = thumbnail_png(file.read(MAX_BYTES + 1), side=side)
    except (DataError, OSError) as error:
        return "", str(error)
    return f"data:image/png;base64,{base64.b64encode(png).decode()}", ""
