"""Words and files that a hostile dataset would hold."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from fvm_core.data.dataset import DatasetSpec

SCRIPT = "<script>window.hacked=1</script>"
NAMES = (
    SCRIPT,
    '"><img src=x onerror="window.hacked=1">',
    "</script><svg/onload=window.hacked=1>",
    "../../../etc/passwd",
    '=HYPERLINK("http://evil.example","x")',
    "a\u202egnp.exe\x1b[31m\x00",
    "x" * 5000,
    "[click](javascript:alert(1)) $$x$$ :smile:",
)
"""Class names and ids: markup, a closed script, a path, a formula, bidirectional and control characters, length."""


def dataset(folder: Path, *, n: int = 24) -> DatasetSpec:
    """Write an NPZ whose class names and ids are NAMES, and return its spec."""
    rng = np.random.default_rng(0)
    ids = np.array([f"{k} {NAMES[k % len(NAMES)]}" for k in range(n)])
    np.savez(
        path := folder / "hostile.npz", images=rng.integers(0, 256, (n, 8, 8), dtype=np.uint8), ids=ids,
        labels=np.arange(n) % len(NAMES),
    )  # fmt: skip
    return DatasetSpec("npz", path=str(path), options={"class_names": [*NAMES], "id": "ids"})


def png(width: int = 4, height: int = 4) -> bytes:
    """Return an honest PNG of random pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out := io.BytesIO(), "PNG")
    return out.getvalue()


def bomb(side: int = 60_000) -> bytes:
    """Return a PNG of a few bytes that says it is `side` x `side` pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def html_in_png() -> bytes:
    """Return a PNG with a page of HTML in a text chunk and after its end."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Comment", SCRIPT)
    Image.new("RGB", (4, 4), "red").save(out := io.BytesIO(), "PNG", pnginfo=info)
    return out.getvalue() + f"<html>{SCRIPT}</html>".encode()


def zip_in_png() -> bytes:
    """Return a PNG that is a readable zip archive too."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("../../escaped.txt", "no")
    return png() + packed.getvalue()


SVG = f'<svg xmlns="http://www.w3.org/2000/svg" onload="window.hacked=1">{SCRIPT}</svg>'.encode()
