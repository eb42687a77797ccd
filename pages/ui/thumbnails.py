"""Thumbnails as data URIs, made once and kept between reruns."""

from __future__ import annotations

import base64
import io

import numpy as np
import streamlit as st
from PIL import Image

from fvm_core.data.dataset import LabeledImages
from fvm_core.data.images import FORMATS, MAX_BYTES, thumbnail_png
from fvm_core.errors import FVMError

SIDE = 240
LARGE = 1024


def thumbnail(dataset: LabeledImages, index: int) -> tuple[str, str]:
    """Return (data URI, "") or ("", what is wrong with the image). Small images keep their own pixels: the browser
    enlarges them crisply; large ones are reduced to 240 pixels."""
    return _thumbnail(dataset, dataset.fingerprint, index)


@st.cache_data(show_spinner=False, max_entries=32)
def enlarged(_dataset: LabeledImages, fingerprint: str, index: int) -> tuple[str, str]:
    """Return what `thumbnail` does, with a longer side of 1024 pixels at most."""
    return _encoded(_dataset, index, LARGE)


@st.cache_data(show_spinner=False, max_entries=4096)
def _thumbnail(_dataset: LabeledImages, fingerprint: str, index: int) -> tuple[str, str]:
    return _encoded(_dataset, index, SIDE)


def _encoded(dataset: LabeledImages, index: int, most: int) -> tuple[str, str]:
    try:
        image = dataset.read(index)
        png = thumbnail_png(image, side=min(most, _longer_side(image, most)))
    except (FVMError, OSError) as error:
        return "", str(error)
    return f"data:image/png;base64,{base64.b64encode(png).decode()}", ""


def _longer_side(image: bytes | np.ndarray, most: int) -> int:
    if isinstance(image, np.ndarray):
        return max(image.shape[:2])
    if len(image) > MAX_BYTES:
        return most
    try:
        with Image.open(io.BytesIO(image), formats=FORMATS) as header:
            return max(header.size)
    except Exception:  # a hostile header makes Pillow raise nearly anything; the decoder then names what is wrong
        return most
