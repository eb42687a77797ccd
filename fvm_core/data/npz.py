"""NPZ archives: sizes come from the headers before any memory is taken; uncompressed images stay on disk."""

from __future__ import annotations

import hashlib
import math
import os
import struct
import threading
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from fvm_core.data.dataset import DatasetSpec, LabeledImages
from fvm_core.data.identity import file_identity, file_stamp
from fvm_core.data.ids import row_ids
from fvm_core.data.labels import encode_labels, parse_class_names
from fvm_core.errors import DataError

IMAGES = ("images", "x", "x_train", "data", "X", "arr_0")
LABELS = ("labels", "y", "y_train", "label", "arr_1")
MAX_BYTES = 4 * 2**30
MAX_RATIO = 200
RATIO_FROM = 16 * 2**20
DAMAGE = (
    zipfile.BadZipFile,
    OSError,
    EOFError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True)
class Header:
    """What an array's header says: shape, type, order, and where its bytes begin inside the member."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    start: int


def open_npz(spec: DatasetSpec) -> LabeledImages:
    """Open arrays of images (n, h, w), (n, h, w, c) or (n, c, h, w) and labels (n,).

    `spec.image`, `spec.label`, `spec.clean_label` name arrays; empty takes the first of IMAGES and LABELS there is.
    Options: `class_names` (else the array `class_names`), `id` (an array of ids; else "<file stem>-<row>"), `layout`
    "hwc" or "chw" (else by where 1, 3 or 4 stands), `max_bytes` (default 4 GiB unpacked for compressed images).

    Raises:
        DataError: no archive, no such array, pickled objects, shapes that do not fit, a zip bomb.
    """
    path = Path(spec.path).expanduser()
    headers = npz_headers(path)
    image = _choose(spec.image, IMAGES, headers, "image", path)
    label = _choose(spec.label, LABELS, headers, "label", path)
    shape, n = headers[image].shape, headers[image].shape[0] if headers[image].shape else 0
    layout = _layout(shape, str(spec.options.get("layout", "")), image)
    if headers[image].dtype.kind not in "buif":
        raise DataError(f"`{image}` in `{path}` must hold numbers, got {headers[image].dtype}. Choose another array.")
    columns = {}
    for name, what in ((label, "label"), (spec.clean_label, "clean_label"), (str(spec.options.get("id", "")), "id")):
        if name:
            _choose(name, (), headers, what, path)
            if headers[name].shape != (n,):
                raise DataError(
                    f"`{name}` must have shape ({n},), one an image, got {headers[name].shape}. Reshape it."
                )
            columns[what] = _text(_read_array(path, name, headers[name], MAX_BYTES // 8))
    names = parse_class_names(spec.options.get("class_names"))
    if names is None and "class_names" in headers:
        stored = _text(_read_array(path, "class_names", headers["class_names"], 2**24))
        names = parse_class_names([str(name) for name in stored.ravel()])
    encoded = encode_labels(
        columns["label"], columns.get("clean_label"), names=names, what=label, clean_what=spec.clean_label
    )
    limit = int(spec.options.get("max_bytes", MAX_BYTES))
    source = NpzSource(path, image, headers[image], layout, limit)
    ids = columns["id"].astype(np.str_) if "id" in columns else row_ids(path.stem, n)
    rows = np.arange(n, dtype=np.int64)
    return LabeledImages(spec, ids, encoded.labels, encoded.names, source, rows, encoded.clean, encoded.notes)


def npz_headers(path: Path | str) -> dict[str, Header]:
    """Return name -> header of every array, reading a few kilobytes of each and no array."""
    headers = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if entry.filename.endswith(".npy"):
                    _check_ratio(entry, path)
                    with archive.open(entry) as member:
                        headers[entry.filename[:-4]] = _header(member, entry, path)
    except DAMAGE as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"`{path}` must be a whole .npz archive, but is not ({error}). Save it anew.") from error
    return headers


class NpzSource:
    """Images of one array: mapped from the file where stored uncompressed, else unpacked once, when first read."""

    def __init__(self, path: Path, name: str, header: Header, layout: str, limit: int) -> None:
        self.path, self.name, self.header, self.layout, self.limit = path, name, header, layout, limit
        self._array: NDArray[Any] | None = None
        self._lock = threading.Lock()
        with zipfile.ZipFile(path) as archive:
            entry = archive.getinfo(f"{name}.npy")
        self._stored_at = _data_offset(path, entry) if entry.compress_type == zipfile.ZIP_STORED else -1
        if self._stored_at < 0 and entry.file_size > limit:
            raise DataError(
                f"`{name}` in `{path}` must unpack to at most {limit:,} bytes, but takes {entry.file_size:,}. "
                "Save it with np.savez (uncompressed: it is then read from disk) or raise `max_bytes`."
            )

    def read(self, row: int) -> NDArray[Any]:
        if self._array is None:
            with self._lock:
                self._array = self._open() if self._array is None else self._array
        image = np.asarray(self._array[row])
        return image.transpose(1, 2, 0) if self.layout == "chw" else image

    def identity(self) -> str:
        parts = f"{file_identity(self.path)} {self.name} {self.layout}"
        return f"npz:{hashlib.sha256(parts.encode()).hexdigest()}"

    def stamp(self) -> str:
        parts = f"{file_stamp(self.path)} {self.name} {self.layout}"
        return f"npz:{hashlib.sha256(parts.encode()).hexdigest()}"

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_array", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _array=None, _lock=threading.Lock())

    def _open(self) -> NDArray[Any]:
        header = self.header
        if self._stored_at >= 0:
            order = "F" if header.fortran else "C"
            return np.memmap(
                self.path,
                header.dtype,
                "r",
                self._stored_at + header.start,
                header.shape,
                order,  # type: ignore[call-overload]
            )
        return _read_array(self.path, self.name, header, self.limit)


def _header(member: IO[bytes], entry: zipfile.ZipInfo, path: Path | str) -> Header:
    version = np.lib.format.read_magic(member)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(member)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(member)
    else:
        raise DataError(f"`{entry.filename}` in `{path}` must be a plain array, got format {version}. Save it anew.")
    if dtype.hasobject:
        raise DataError(
            f"`{entry.filename}` in `{path}` must hold numbers or text, but holds pickled Python objects, which could "
            "run code. Nothing was run. Save it as numbers."
        )
    start = member.tell()
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != entry.file_size - start:
        raise DataError(
            f"`{entry.filename}` in `{path}` must be whole, but its header says shape {shape} of {dtype} and it has "
            f"{entry.file_size - start:,} bytes. Save it anew."
        )
    return Header(shape, dtype, fortran, start)


def _check_ratio(entry: zipfile.ZipInfo, path: Path | str) -> None:
    if entry.file_size > RATIO_FROM and entry.file_size > MAX_RATIO * max(entry.compress_size, 1):
        raise DataError(
            f"`{entry.filename}` in `{path}` must unpack to at most {MAX_RATIO} times its size, but grows from "
            f"{entry.compress_size:,} to {entry.file_size:,} bytes: a zip bomb? Nothing was unpacked."
        )
    if entry.flag_bits & 1:
        raise DataError(f"`{entry.filename}` in `{path}` must not be encrypted. Save it anew.")


def _read_array(path: Path, name: str, header: Header, limit: int) -> NDArray[Any]:
    size = math.prod(header.shape) * header.dtype.itemsize
    if size > limit:
        raise DataError(f"`{name}` in `{path}` must take at most {limit:,} bytes, but takes {size:,}. Choose another.")
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as member:
            member.read(header.start)
            flat = np.frombuffer(member.read(), header.dtype)
    except DAMAGE as error:
        raise DataError(f"`{name}` in `{path}` is damaged ({error}). Save it anew.") from error
    return flat.reshape(header.shape, order="F" if header.fortran else "C")


def _data_offset(path: Path, entry: zipfile.ZipInfo) -> int:
    """Return where a stored member's bytes begin; its local header has name and extra fields of its own length."""
    with open(path, "rb") as file:
        file.seek(entry.header_offset)
        local = file.read(30)
        if len(local) != 30 or local[:4] != b"PK\x03\x04":
            raise DataError(f"`{path}` must be a whole .npz archive, but is damaged. Save it anew.")
        name_length, extra_length = struct.unpack("<HH", local[26:30])
        offset = entry.header_offset + 30 + name_length + extra_length
        if offset + entry.file_size > os.fstat(file.fileno()).st_size:
            raise DataError(f"`{path}` must be a whole .npz archive, but is cut off. Save it anew.")
    return offset


def _layout(shape: tuple[int, ...], wanted: str, name: str) -> str:
    if wanted not in ("", "hwc", "chw"):
        raise DataError(f"`layout` must be 'hwc' or 'chw', got {wanted!r}. Choose one of them.")
    if len(shape) == 3:
        return "hw"
    if len(shape) == 4:
        found = "hwc" if shape[3] in (1, 3, 4) else "chw" if shape[1] in (1, 3, 4) else ""
        if wanted or found:
            return wanted or found
    raise DataError(f"`{name}` must have shape (n, h, w), (n, h, w, c) or (n, c, h, w), got {shape}. Reshape it.")


def _choose(name: str, usual: tuple[str, ...], headers: dict[str, Header], what: str, path: Path) -> str:
    found = [name] if name else [one for one in usual if one in headers]
    if not found or found[0] not in headers:
        raise DataError(f"`{what}` must name an array of `{path}`, got {name!r}; it has {sorted(headers)}. Choose one.")
    return found[0]


def _text(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8", "replace")
    return array.astype(array.dtype.newbyteorder("="), copy=False)
