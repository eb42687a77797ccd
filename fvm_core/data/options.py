"""The options that each kind of dataset knows, checked before anything is opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fvm_core.data.dataset import DatasetSpec
from fvm_core.errors import DataError

COMMON = ("corrections_before", "corrections_check")
OPTIONS: dict[str, tuple[str, ...]] = {
    "digits": ("split", "rate", "seed"),
    "cifar10n": ("split", "label_file", "download"),
    "cifar100n": ("split", "label_file", "download"),
    "parquet": ("class_names", "id"),
    "folder": ("class_names",),
    "manifest": ("class_names", "id", "root"),
    "npz": ("class_names", "id", "layout", "max_bytes"),
    "joined": ("parts",),
}
PATHS = ("root", "label_file")
"""Options that name a file or folder."""


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


def _tables(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, Mapping) for item in value)


def _names(value: Any) -> bool:
    plain = isinstance(value, list | tuple) and all(
        isinstance(item, str | int) and not isinstance(item, bool) for item in value
    )
    return plain or isinstance(value, str) or value is None


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "split": ("text", _text),
    "rate": ("a number", _number),
    "seed": ("a number", _number),
    "label_file": ("the path of a file", _text),
    "download": ("true or false", lambda value: isinstance(value, bool)),
    "class_names": ("a list of names, or names separated by commas", _names),
    "id": ("the name of a column", _text),
    "root": ("the path of a folder", _text),
    "layout": ("text", _text),
    "max_bytes": ("a whole number > 0", _count),
    "parts": ("a list of datasets", _tables),
    "corrections_before": ("a list of paths", _texts),
    "corrections_check": ("text", _text),
}


def check_options(spec: DatasetSpec) -> None:
    """Check names and types of `spec.options`.

    Raises:
        DataError: a key that the kind does not know, or a value of another type.
    """
    if not isinstance(spec.options, Mapping):
        raise DataError(f"`options` must be a table of names and values, got {spec.options!r:.100}. Correct it.")
    known = (*OPTIONS[spec.kind], *COMMON)
    for key, value in spec.options.items():
        if key not in known:
            raise DataError(
                f"options of a {spec.kind} dataset must be among {list(known)}, got {key!r:.100}. Correct or drop it."
            )
        rule, fits = RULES[key]
        if not fits(value):
            raise DataError(f"`{key}` must be {rule}, got {value!r:.100}. Correct it.")
