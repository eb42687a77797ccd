"""The image side's demo: scikit-learn's digits drawn in three styles, as image-text pairs (paper B.3, Table 9)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.digits import open_digits
from fvm_core.errors import SettingsError, StorageError
from fvm_core.files import atomic_write

STYLES = {"stroke": "brush stroke", "pixelart": "pixelart", "sketch": "black and white line sketch"}
"""Name of a style's folder and class, and its words in the prompt."""

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
FINE = 4
"""The outline is found on a grid this much finer than the image."""


def caption(style: str, digit: int) -> str:
    """Return the prompt of a digit in a style, in the paper's words.

    >>> caption("pixelart", 7)
    'Generate an image in a specific pixelart style. digit seven'
    """
    return f"Generate an image in a specific {STYLES[style]} style. digit {WORDS[digit]}"


def draw(ink: NDArray[np.uint8], style: str, *, side: int, shift: tuple[int, int] = (0, 0)) -> NDArray[np.uint8]:
    """Return (side, side) uint8 grey pixels of one (8, 8) uint8 digit (255 = ink) in `style`. A pure function.

    "stroke": soft white ink on black. "pixelart": dark blocks of four shades on white. "sketch": a dark outline on
    white. `shift` moves the drawing down and right by so many pixels; what leaves the image is lost.

    Raises:
        SettingsError: an unknown style, or a side that is no multiple of 8.
    """
    if style not in STYLES:
        raise SettingsError(f"`style` must be one of {', '.join(STYLES)}, got {style!r}. Choose one of them.")
    if side < 8 or side % 8:
        raise SettingsError(f"`side` must be a multiple of 8 from 8 on, got {side}. Choose 16 or 32.")
    if style == "pixelart":
        shades = np.rint(ink / 85.0) * 85.0
        covered = np.kron(shades, np.ones((side // 8, side // 8)))
    elif style == "stroke":
        covered = np.clip((_enlarged(ink, side) - 64.0) * 2.0, 0.0, 255.0)
    else:
        solid = _enlarged(ink, side * FINE) > 100.0
        edge = solid & ~ndimage.binary_erosion(solid, iterations=FINE)
        covered = 255.0 * edge.reshape(side, FINE, side, FINE).mean((1, 3))
    moved = ndimage.shift(covered, shift, order=0, cval=0.0)
    return np.rint(moved if style == "stroke" else 255.0 - moved).astype(np.uint8)


def write_digit_styles(
    folder: Path | str,
    *,
    styles: Sequence[str] = tuple(STYLES),
    training: int = 200,
    validation: int = 50,
    practice: int | None = None,
    side: int = 16,
    wrong: float = 0.0,
    seed: int = 0,
) -> dict[str, int]:
    """Draw the demo into `folder`/train, /validation and /pretrain: PNG files and a metadata.jsonl each, with the
    columns file_name, text, class (the style of the text), digit and wrong. Returns the number of pairs of each.

    Each style gets `training` and `validation` pairs (paper: 200 and 50), each of a digit that no other pair shows.
    The digits that are left (at most `practice` of them), drawn in every style, are for training the small model from
    scratch, so that it has seen none of the others. A share `wrong` of the training pairs is drawn in another style
    than the text says. A pure function of the settings, bit for bit.

    Raises:
        SettingsError: no or unknown styles, more pairs than there are digits, or a share that cannot be planted.
        StorageError: the folder cannot be written.
    """
    images, truth = load_inks()
    unknown = [style for style in styles if style not in STYLES]
    if not styles or unknown or len(set(styles)) < len(styles):
        raise SettingsError(
            f"`styles` must be some of {', '.join(STYLES)}, once each, got {list(styles)}. Choose some."
        )
    if min(training, validation) < 1 or (practice is not None and practice < 1):
        raise SettingsError(
            f"`training`, `validation` and `practice` must be >= 1, got {training}, {validation} and {practice}."
        )
    if not 0 <= wrong < 1 or (wrong and len(styles) < 2):
        raise SettingsError(f"`wrong` must be in [0, 1), and 0 with one style, got {wrong}. Choose another share.")
    needed = len(styles) * (training + validation)
    if needed > len(images):
        raise SettingsError(
            f"`training` and `validation` must need at most {len(images):,} digits, got {needed:,} for {len(styles)} "
            "styles. Lower them."
        )
    generator = np.random.default_rng([91, seed])
    order = generator.permutation(len(images))
    chosen: dict[str, list[tuple[str, int]]] = {"train": [], "validation": [], "pretrain": []}
    place = 0
    for style in styles:
        for split, count in (("train", training), ("validation", validation)):
            chosen[split] += [(style, int(row)) for row in order[place : place + count]]
            place += count
    chosen["pretrain"] = [(style, int(row)) for row in order[place:][:practice] for style in styles]
    planted = set(generator.permutation(len(chosen["train"]))[: round(wrong * len(chosen["train"]))].tolist())
    for split, pairs in chosen.items():
        lines = []
        for place, (style, row) in enumerate(pairs):
            strange = split == "train" and place in planted
            others = [other for other in styles if other != style]
            drawn = others[int(generator.integers(len(others)))] if strange else style
            down, right = (int(step) for step in generator.integers(-1, 2, 2))
            name = f"{style}/{row:04d}.png"
            write_png(Path(folder) / split / name, draw(images[row], drawn, side=side, shift=(down, right)))
            digit = int(truth[row])
            about = {"class": style, "digit": WORDS[digit], "wrong": strange}
            lines.append({"file_name": name, "text": caption(style, digit), **about})
        with atomic_write(Path(folder) / split / "metadata.jsonl", "w", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
    return {split: len(pairs) for split, pairs in chosen.items()}


def write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write (h, w) grey pixels to `path`, whose folder is made. Raises StorageError when the disk refuses."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, "PNG")
    except OSError as error:
        raise StorageError(f"`{path}` could not be written ({error.strerror or error}). Free disk space.") from error


def load_inks() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return all (1797, 8, 8) uint8 digits (255 = ink) and their (1797,) true labels."""
    parts = [open_digits(DatasetSpec("digits", label="clean", options={"split": s})) for s in ("train", "validation")]
    images = np.stack([part.source.read(int(row)) for part in parts for row in part.rows])
    return images, np.concatenate([part.labels for part in parts])


def _enlarged(ink: NDArray[np.uint8], side: int) -> NDArray[np.float64]:
    return np.asarray(Image.fromarray(ink).resize((side, side), Image.Resampling.BICUBIC), dtype=np.float64)
