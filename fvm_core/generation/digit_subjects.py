"""The image side's other demo: single handwritten digits as subjects, a few views of each (paper B.3, subjects)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fvm_core.errors import SettingsError
from fvm_core.files import atomic_write
from fvm_core.generation.digit_styles import WORDS, draw, load_inks, write_png

STYLE = "stroke"
TURN = 15.0
"""A view is turned by up to so many degrees to either side, and moved by up to one pixel."""
LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def subject_caption(token: str, digit: int) -> str:
    """Return the prompt of one subject: its own random string, and what it is, as in B.3.

    >>> subject_caption("i0VpE", 3)
    'a i0VpE digit three'
    """
    return f"a {token} digit {WORDS[digit]}"


def view(ink: NDArray[np.uint8], *, side: int, turn: float = 0.0, shift: tuple[int, int] = (0, 0)) -> NDArray[np.uint8]:
    """Return (side, side) uint8 grey pixels of one (8, 8) uint8 digit as a brush stroke, turned by `turn` degrees
    anticlockwise about its middle and moved down and right by `shift` pixels. A pure function."""
    drawn = draw(ink, STYLE, side=side).astype(np.float64)
    turned = ndimage.rotate(drawn, turn, reshape=False, order=1, cval=0.0)
    moved: NDArray[np.uint8] = np.rint(ndimage.shift(turned, shift, order=0, cval=0.0)).astype(np.uint8)
    return moved


def write_digit_subjects(
    folder: Path | str,
    *,
    training: int = 3,
    validation: int = 2,
    subjects: int = 3,
    side: int = 16,
    wrong: float = 0.0,
    seed: int = 0,
) -> dict[str, int]:
    """Draw the demo into `folder`/train and /validation: PNG files and a metadata.jsonl each, with the columns
    file_name, text, class (the subject's random string), digit and wrong. Returns the number of pairs of each.

    `subjects` handwritten digits of each of 0 to 9 are the subjects (30, as in the paper), `training` and `validation`
    views of each (paper: 3, and 1 to 3). They are the first of each digit in the order in which `write_digit_styles`
    draws with the same seed: with the numbers that it has by default, its practice shows none of them. A share `wrong`
    of the training pairs shows another subject than the text says. A pure function of the settings, bit for bit.

    Raises:
        SettingsError: a number out of range, or a share that cannot be planted.
        StorageError: the folder cannot be written.
    """
    if min(training, validation, subjects) < 1:
        raise SettingsError(
            f"`training`, `validation` and `subjects` must be >= 1, got {training}, {validation} and {subjects}."
        )
    if subjects * max(training, validation) > 100:
        raise SettingsError(
            f"`subjects` x `training` and x `validation` must be at most 100 views of each digit, got "
            f"{subjects * max(training, validation)}. Lower them."
        )
    if not 0 <= wrong < 1:
        raise SettingsError(f"`wrong` must be in [0, 1), got {wrong}. Choose another share.")
    images, truth = load_inks()
    order = np.random.default_rng([91, seed]).permutation(len(images))
    rows = [int(row) for digit in range(10) for row in order[truth[order] == digit][:subjects]]
    generator = np.random.default_rng([92, seed])
    tokens = _tokens(generator, len(rows))
    planted = set(generator.permutation(len(rows) * training)[: round(wrong * len(rows) * training)].tolist())
    made = {}
    for split, views in (("train", training), ("validation", validation)):
        lines = []
        for place, one in enumerate(one for one in range(len(rows)) for _ in range(views)):
            strange = split == "train" and place in planted
            other = (one + 1 + int(generator.integers(len(rows) - 1))) % len(rows)
            turn = float(generator.uniform(-TURN, TURN))
            down, right = (int(step) for step in generator.integers(-1, 2, 2))
            pixels = view(images[rows[other if strange else one]], side=side, turn=turn, shift=(down, right))
            name, digit = f"{tokens[one]}/{rows[one]:04d}-{place % views}.png", int(truth[rows[one]])
            write_png(Path(folder) / split / name, pixels)
            about = {"class": tokens[one], "digit": WORDS[digit], "wrong": strange}
            lines.append({"file_name": name, "text": subject_caption(tokens[one], digit), **about})
        with atomic_write(Path(folder) / split / "metadata.jsonl", "w", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
        made[split] = len(lines)
    return made


def _tokens(generator: np.random.Generator, count: int) -> list[str]:
    """Return `count` different strings of five letters and digits; also as names of folders that ignore case."""
    found: dict[str, str] = {}
    while len(found) < count:
        token = "".join(LETTERS[place] for place in generator.integers(len(LETTERS), size=5))
        found.setdefault(token.lower(), token)
    return list(found.values())
