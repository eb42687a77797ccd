"""Image files below one folder, and nothing outside it."""

from __future__ import annotations

import hashlib
import os
import stat
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fvm_core.data.images import MAX_BYTES
from fvm_core.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
LOOK_AT = 20_000


class FileSource:
    """Reads files by their path relative to `root`. A path is resolved, links included, right before it is read.

    `names` (n,) is an arrow string array: a million paths take about as much memory as their letters.
    """

    def __init__(self, root: Path | str, names: pa.Array) -> None:
        self.root = os.path.realpath(Path(root).expanduser())
        self.names = names

    def read(self, row: int) -> bytes:
        """Return the bytes of file `row`. Raises DataError: missing, not a plain file, too large, outside `root`."""
        name = self.names[row].as_py()
        try:
            path = inside(self.root, name)
            state = os.stat(path)
            if not stat.S_ISREG(state.st_mode) or state.st_size > MAX_BYTES:
                raise DataError(f"image `{name}` must be a plain file of at most {MAX_BYTES >> 20} MiB. Replace it.")
            return Path(path).read_bytes()
        except (OSError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            reason = getattr(error, "strerror", None) or error
            raise DataError(f"image `{name}` cannot be read ({reason}). Restore the file.") from error

    def identity(self) -> str:
        """Return a hash of all names and of file sizes: the same for a copy of the folder elsewhere.

        Looks at every file up to LOOK_AT files, at LOOK_AT of them spread evenly in larger sets.
        """
        return self._hashes[0]

    def stamp(self) -> str:
        """Return a hash of names, sizes and modification times: what a pixel cache must follow."""
        return self._hashes[1]

    @cached_property
    def _hashes(self) -> tuple[str, str]:
        n = len(self.names)
        digest = hashlib.sha256()
        for start in range(0, n, 65_536):
            digest.update("\0".join(self.names.slice(start, 65_536).to_pylist()).encode())
        rows = np.unique(np.linspace(0, n - 1, min(n, LOOK_AT)).astype(np.int64))
        sizes, times = np.full(len(rows), -1, np.int64), np.zeros(len(rows), np.int64)
        for place, row in enumerate(rows):
            try:
                state = os.stat(os.path.join(self.root, self.names[int(row)].as_py()))
            except (OSError, ValueError):
                continue
            sizes[place], times[place] = state.st_size, state.st_mtime_ns
        digest.update(sizes.tobytes())
        dated = digest.copy()
        dated.update(times.tobytes())
        return f"files:{digest.hexdigest()}", f"files:{dated.hexdigest()}"


def inside(root: str, name: str) -> str:
    """Return the real path of `name` below the real path `root`. Raises DataError when it leads outside."""
    path = os.path.realpath(os.path.join(root, name))
    if path != root and not path.startswith(root.rstrip(os.sep) + os.sep):
        raise DataError(f"path {name!r} must stay inside `{root}`, links included. Move the file or set another root.")
    return path


def check_paths(root: str, names: pa.Array, *, what: str) -> pa.Array:
    """Return the paths relative to `root`, with those that need a look normalised. Touches no file.

    Raises:
        DataError: a path that is empty, holds NUL, or leaves `root`, named with its row.
    """
    odd = pc.match_substring_regex(names, r"^\s*$|\x00|^[/\\~]|^[A-Za-z]:|\\|(^|/)\.{1,2}(/|$)|//").fill_null(True)
    rows = np.flatnonzero(odd.to_numpy(zero_copy_only=False))
    if len(rows) == 0:
        return names
    prefix = root.rstrip(os.sep) + os.sep
    fixed = []
    for row in rows:
        name = names[int(row)].as_py()
        if not name or not name.strip() or "\0" in name:
            raise DataError(f"`{what}` must be a path in every row, but is missing in row {row}. Fill or drop the row.")
        path = os.path.normpath(os.path.join(root, name))
        if not path.startswith(prefix) or "\\" in name or name.startswith("~") or name[1:3] in (":\\", ":/"):
            raise DataError(
                f"`{what}` must stay inside the dataset's folder `{root}` and use '/', got {name!r} in row {row}. "
                "Move the file there or set `root` to the folder that holds all images."
            )
        fixed.append(path[len(prefix) :])
    mask = np.zeros(len(names), np.bool_)
    mask[rows] = True
    return pc.replace_with_mask(names, pa.array(mask), pa.array(fixed, pa.string()))
