"""The label files that CIFAR-10N and CIFAR-100N publish: a torch archive around a pickled dict of NumPy arrays."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fvm_core.data.safe_pickle import read_pickle
from fvm_core.errors import DataError

MAX_BYTES = 64 * 2**20


def read_label_file(path: Path | str) -> dict[str, NDArray[np.int64]]:
    """Return the columns of `CIFAR-10_human.pt` or `CIFAR-100_human.pt`, each (n,) int64, without running its pickle.

    Columns that are not flat and whole-numbered are left out.

    Raises:
        DataError: missing, damaged, over 64 MiB unpacked, or its pickle asks for anything but arrays.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"`{path}` must be at most {MAX_BYTES >> 20} MiB, which is larger. Get the published file.")
        data = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"label file `{path}` cannot be read ({error.strerror or error}). Get it from the authors' repository "
            "(UCSC-REAL/cifar-10-100n, folder data) and put it there."
        ) from error
    content = read_pickle(_unzip(data, path) if zipfile.is_zipfile(io.BytesIO(data)) else data, what=str(path))
    if not isinstance(content, dict):
        raise DataError(f"`{path}` must hold a table of label columns. Get the published file.")
    columns = {}
    for key, value in content.items():
        if isinstance(value, list) and not all(isinstance(item, int) for item in value):
            continue
        array = np.asarray(value)
        if array.ndim == 1 and array.dtype.kind in "iu":
            columns[str(key)] = array.astype(np.int64)
    if not columns:
        raise DataError(f"`{path}` must hold columns of whole numbers, but has none. Get the published file.")
    return columns


def _unzip(data: bytes, path: Path) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [entry for entry in archive.infolist() if entry.filename.split("/")[-1] == "data.pkl"]
            if len(entries) != 1:
                raise DataError(f"`{path}` must hold one data.pkl, got {len(entries)}. Get the published file.")
            if entries[0].file_size > MAX_BYTES:
                raise DataError(
                    f"`{path}` must unpack to at most {MAX_BYTES >> 20} MiB, but says "
                    f"{entries[0].file_size >> 20:,} MiB (a zip bomb?). Get the published file."
                )
            return archive.read(entries[0])
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise DataError(f"`{path}` must be a whole archive, but is damaged ({error}). Copy it anew.") from error
