"""The images of an export as PNG files under names of ours."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from PIL import Image

from fvm_core.data.images import decode_image
from fvm_core.errors import FVMError
from fvm_core.review.exports.bundle import Bundle

EVERY = 64
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png(image: bytes | NDArray[Any]) -> bytes:
    """Return the image as a PNG of the same size: decoded and written anew, so nothing but pixels is left.

    No metadata, no second file hidden behind the first, no script. Raises DataError like `decode_image`.
    """
    grey = not isinstance(image, bytes) and (image.ndim == 2 or image.shape[2] == 1)
    pixels = decode_image(image, channels=1 if grey else 3)
    out = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if grey else pixels).save(out, "PNG")
    return out.getvalue()


def file_name(index: int) -> str:
    """Return the name of a sample's file: its place in the dataset. A person's own ids never become paths.

    >>> file_name(17)
    '00000017.png'
    """
    return f"{index:08d}.png"


def write_images(
    bundle: Bundle, folder: Path, place: Callable[[int], str], tell: Callable[[int, int], None]
) -> dict[int, str]:
    """Write row k of the bundle to `folder`/`place(k)`; return row -> reason for those that cannot be read.

    A file that is there from an earlier call is not made again. Each file is whole or not there.
    """
    broken: dict[int, str] = {}
    for row, index in enumerate(bundle.indices.tolist()):
        if row % EVERY == 0:
            tell(row, len(bundle))
        path = folder / place(row)
        if path.exists():
            continue
        data = read_png(bundle, index)
        if isinstance(data, str):
            broken[row] = data
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_bytes(data)
        os.replace(part, path)
    tell(len(bundle), len(bundle))
    return broken


def read_png(bundle: Bundle, index: int) -> bytes | str:
    """Return sample `index` of the dataset as PNG, or in words why it cannot be read."""
    try:
        return png(bundle.dataset.read(index))
    except (FVMError, OSError) as error:
        return str(error)


def outcome(bundle: Bundle, broken: dict[int, str]) -> dict[str, Any]:
    """Return what a writer has to say: how many samples are in, and id -> reason of those that are not."""
    ids = bundle.frame["id"].to_numpy()
    return {
        "samples": len(bundle) - len(broken),
        "unreadable": {str(ids[row]): reason for row, reason in sorted(broken.items())},
    }


def readable(bundle: Bundle, broken: dict[int, str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (row, the row's columns as plain Python values) of all samples that could be read."""
    columns = {name: bundle.frame[name].tolist() for name in bundle.frame.columns}
    for row in range(len(bundle)):
        if row not in broken:
            yield row, {name: values[row] for name, values in columns.items()}
