"""Image-text folders: images with a metadata.jsonl, or with a text file of the same name beside each."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from fvm_core.data.images import decode_image
from fvm_core.data.paths import SUFFIXES, FileSource, check_paths
from fvm_core.errors import DataError
from fvm_core.generation.pairs import MAX_PAIRS, PairSet

METADATA = "metadata.jsonl"
TEXT_COLUMNS = ("text", "caption", "prompt")
CLASS_COLUMNS = ("class", "style", "subject", "label")
MAX_METADATA_BYTES = 256 * 2**20
MAX_TEXT_BYTES = 64 * 2**10


def open_image_pairs(folder: Path | str, *, text: str = "", classes: str = "") -> PairSet:
    """Return the pairs of `folder`, in the order of its metadata.jsonl, else in the order of the image paths.

    metadata.jsonl holds an object a line: "file_name" (below the folder) and the prompt in column `text` (empty: the
    first of TEXT_COLUMNS). Without that file every image anywhere below the folder needs its prompt in NAME.txt beside
    it. `classes` names the samples' classes for Eq. 23: a column, "folder" (the first folder of the path) or "none";
    empty takes the first of CLASS_COLUMNS, else the folders if every image is in one, else none. A column "wrong" of
    true and false says which pairs were made wrong on purpose.

    Each image is read once, for its id and to see that it can be decoded: about 5 ms for one of 512 x 512.

    Raises:
        DataError: no folder, no images, a line that is no such object, a missing or empty prompt, a column that is not
            there, a path that leaves the folder, an image that cannot be read, or a pair that is there twice.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise DataError(f"`path` must be a folder of images and texts, got `{folder}`. Check the path.")
    base = os.path.realpath(root)
    if (root / METADATA).is_file():
        rows = _metadata(root / METADATA, text)
    else:
        rows = _beside(base)
    if not rows:
        raise DataError(
            f"`{root}` must hold images ({', '.join(SUFFIXES)}), but none was found. Choose another folder."
        )
    if len(rows) > MAX_PAIRS:
        raise DataError(f"`{root}` must hold at most {MAX_PAIRS:,} pairs, got {len(rows):,}. Split it.")
    names = check_paths(base, pa.array([row["file_name"] for row in rows], pa.string()), what="file_name")
    source = FileSource(base, names)
    ids = tuple(_pair_id(source, place, row["text"]) for place, row in enumerate(rows))
    wrong = tuple(_flag(row, place) for place, row in enumerate(rows)) if any("wrong" in row for row in rows) else None
    return PairSet(
        ids=ids,
        prompts=tuple(row["text"] for row in rows),
        targets=tuple(names.to_pylist()),
        kind="image",
        classes=_classes(rows, names.to_pylist(), classes),
        wrong=wrong,
        root=base,
    )


def _metadata(path: Path, text: str) -> list[dict[str, Any]]:
    """Return the lines as objects whose prompt is under "text"."""
    if path.stat().st_size > MAX_METADATA_BYTES:
        raise DataError(f"`{path}` must be at most {MAX_METADATA_BYTES >> 20} MiB. Split the folder.")
    rows: list[dict[str, Any]] = []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"`{path}` cannot be read ({error}). It must be text in UTF-8.") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"line {number} of `{path}` must be a JSON object ({error}). Correct it.") from error
        if not isinstance(row, dict) or not isinstance(row.get("file_name"), str):
            raise DataError(f"line {number} of `{path}` must be an object with the text `file_name`. Correct it.")
        column = text or next((name for name in TEXT_COLUMNS if name in row), TEXT_COLUMNS[0])
        if not isinstance(row.get(column), str) or not row[column].strip():
            raise DataError(
                f"line {number} of `{path}` must hold its prompt in `{column}`, got {row.get(column)!r:.60}. "
                "Fill it in or name another column."
            )
        rows.append({**row, "text": row[column].strip()})
    return rows


def _beside(base: str) -> list[dict[str, Any]]:
    """Return file_name and text of every image below `base`, by path; hidden files and linked folders are left out."""
    names = sorted(name for name in _walk(base) if name.lower().endswith(SUFFIXES))
    texts = [f"{os.path.splitext(name)[0]}.txt" for name in names]
    source = FileSource(base, pa.array(texts, pa.string()))
    rows: list[dict[str, Any]] = []
    for place, (name, beside) in enumerate(zip(names, texts, strict=True)):
        if not os.path.isfile(os.path.join(base, beside)):
            raise DataError(
                f"image `{name}` must have its prompt in `{beside}`, which is not there. Write it, or a {METADATA} "
                "with `file_name` and `text` for all images."
            )
        if os.path.getsize(os.path.join(base, beside)) > MAX_TEXT_BYTES:
            raise DataError(f"`{beside}` must be a prompt of at most {MAX_TEXT_BYTES >> 10} KiB. Shorten it.")
        try:
            prompt = source.read(place).decode("utf-8-sig").strip()
        except UnicodeDecodeError as error:
            raise DataError(f"`{beside}` cannot be read ({error}). It must be text in UTF-8.") from error
        if not prompt:
            raise DataError(f"`{beside}` must hold a prompt, but is empty. Fill it in or remove the image.")
        rows.append({"file_name": name, "text": prompt})
    return rows


def _walk(base: str) -> Iterator[str]:
    for folder, deeper, files in os.walk(base):
        deeper[:] = sorted(name for name in deeper if not name.startswith("."))
        for name in files:
            if not name.startswith("."):
                yield os.path.relpath(os.path.join(folder, name), base).replace(os.sep, "/")


def _pair_id(source: FileSource, place: int, prompt: str) -> str:
    name = source.names[place].as_py()
    data = source.read(place)
    try:
        decode_image(data, channels=3)
    except DataError as error:
        raise DataError(f"image `{name}` cannot be used: {error}") from error
    head = f"{len(prompt)} {prompt}".encode(errors="surrogatepass")
    return hashlib.blake2b(head + data, digest_size=8).hexdigest()


def _classes(rows: list[dict[str, Any]], names: list[str], classes: str) -> tuple[str, ...] | None:
    if classes == "none":
        return None
    column = classes or next((name for name in CLASS_COLUMNS if name in rows[0]), "")
    if column in ("", "folder"):
        folders = tuple(name.split("/")[0] for name in names)
        outside = [name for name in names if "/" not in name]
        if outside and column == "folder":
            raise DataError(f"`{outside[0]}` must be in a folder named after its class. Move it, or name a column.")
        return None if outside else folders
    for place, row in enumerate(rows):
        if not isinstance(row.get(column), str | int) or not str(row[column]).strip():
            raise DataError(
                f"`{column}` must name the class of every pair, got {row.get(column)!r:.60} for pair {place} (counted "
                'from 0). Fill it in, or choose "folder" or "none".'
            )
    return tuple(str(row[column]) for row in rows)


def _flag(row: Mapping[str, Any], place: int) -> bool:
    if not isinstance(row.get("wrong"), bool):
        raise DataError(f"`wrong` must be true or false for every pair, got {row.get('wrong')!r:.40} for pair {place}.")
    return bool(row["wrong"])
