"""The built-in demo: scikit-learn's 8 x 8 handwritten digits with planted, class-dependent label noise. Offline."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fvm_core.data.dataset import DatasetSpec, LabeledImages
from fvm_core.errors import DataError

CONFUSIONS = {0: 6, 1: 7, 2: 7, 3: 8, 4: 9, 5: 6, 6: 5, 7: 1, 8: 3, 9: 4}
"""Whom each digit is mistaken for: 80 % of its planted errors; the rest falls evenly on the other digits."""

DIFFICULTY = {0: 0.4, 1: 1.2, 2: 0.6, 3: 1.4, 4: 1.2, 5: 0.8, 6: 0.8, 7: 1.0, 8: 1.6, 9: 1.0}
"""How often each digit is mislabeled, as a multiple of the mean rate."""

VALIDATION = 500
MAX_RATE = 0.5


def open_digits(spec: DatasetSpec) -> LabeledImages:
    """Open one split of the demo: "train" (1,297 images) or "validation" (500 other images, every digit among them).

    `spec.label` is "noisy" or "clean"; empty means noisy for train and clean for validation. Options: `split`,
    `rate` (mean share of wrong labels, 0 to 0.5, default 0.3), `seed` (of the noise, default 0; the split is fixed).

    Raises:
        DataError: an unknown split or label, or a rate outside its range.
    """
    split = str(spec.options.get("split", "train"))
    label = spec.label or ("noisy" if split == "train" else "clean")
    if split not in ("train", "validation"):
        raise DataError(f"`split` must be 'train' or 'validation', got {split!r}. Choose one of them.")
    if label not in ("noisy", "clean"):
        raise DataError(f"`label` must be 'noisy' or 'clean' for the digits, got {label!r}. Choose one of them.")
    try:
        rate, seed = float(spec.options.get("rate", 0.3)), int(spec.options.get("seed", 0))
    except (TypeError, ValueError) as error:
        raise DataError(f"`rate` and `seed` of the digits must be numbers ({error}). Correct them.") from error
    if not 0 <= rate <= MAX_RATE:
        raise DataError(f"`rate` must be between 0 and {MAX_RATE}, got {rate}. Choose a smaller share of wrong labels.")
    if seed < 0:
        raise DataError(f"`seed` must be >= 0, got {seed}. Choose another number.")
    images, truth = _load()
    order = np.random.default_rng(20_240).permutation(len(truth))
    rows = np.sort(order[VALIDATION:] if split == "train" else order[:VALIDATION]).astype(np.int64)
    clean = truth[rows]
    labels = plant_noise(clean, rate=rate, seed=seed) if label == "noisy" else clean.copy()
    ids = np.array([f"digits-{row:04d}" for row in rows])
    return LabeledImages(spec, ids, labels, tuple("0123456789"), DigitsSource(images), rows, clean)


def plant_noise(clean: NDArray[np.int64], *, rate: float, seed: int) -> NDArray[np.int64]:
    """Return (n,) digit labels of which about `rate` are wrong, by CONFUSIONS and DIFFICULTY. A pure function."""
    generator = np.random.default_rng(seed)
    labels = clean.copy()
    for digit in range(10):
        members = np.flatnonzero(clean == digit)
        count = min(round(rate * DIFFICULTY[digit] * len(members)), len(members))
        wrong = generator.choice(members, count, replace=False)
        others = np.array([other for other in range(10) if other not in (digit, CONFUSIONS[digit])])
        labels[wrong] = np.where(generator.random(count) < 0.8, CONFUSIONS[digit], generator.choice(others, count))
    return labels


class DigitsSource:
    """(8, 8) uint8 arrays in memory, 112 kB."""

    def __init__(self, images: NDArray[np.uint8]) -> None:
        self._images = images

    def read(self, row: int) -> NDArray[Any]:
        return self._images[row]

    def identity(self) -> str:
        return f"digits:{hashlib.sha256(self._images.tobytes()).hexdigest()}"


@lru_cache(maxsize=1)
def _load() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    from sklearn.datasets import load_digits  # a second of import time that only the demo pays

    pixels, truth = load_digits(return_X_y=True)
    return np.rint(pixels.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8), truth.astype(np.int64)
