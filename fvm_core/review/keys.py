"""The keys of the review gallery, kept for each person: which key does what."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fvm_core.errors import DataError, ReviewError
from fvm_core.files import read_json, write_json
from fvm_core.review.session import person

DEFAULT_KEYS: Mapping[str, str] = {
    "accept": "a", "keep": "k", "pick": "p", "skip": "s", "undo": "u", "explain": "e", "zoom": "z", "select": " ",
    "help": "?",
}  # fmt: skip
"""Arrows, Page Up and Down, Home, End, Escape and the digits (a class each) are not bound and cannot be taken."""


def check_keys(keys: Any) -> dict[str, str]:
    """Return `keys` (action to key) if every action has a key of its own: one visible lower-case character that is no
    digit, or the space.

    Raises:
        ReviewError: an action is missing or unknown, a key is none, or two actions share one.

    >>> check_keys(dict(DEFAULT_KEYS, accept="j"))["accept"]
    'j'
    """
    if not isinstance(keys, Mapping) or set(keys) != set(DEFAULT_KEYS):
        named = sorted(str(name)[:40] for name in keys)[:20] if isinstance(keys, Mapping) else type(keys).__name__
        raise ReviewError(f"`keys` must name the actions {', '.join(DEFAULT_KEYS)}, got {named}. Reset the keys.")
    owner: dict[str, str] = {}
    for action in DEFAULT_KEYS:
        key = keys[action]
        if not isinstance(key, str) or len(key) != 1 or not key.isprintable() or key.isdigit() or key != key.lower():
            raise ReviewError(
                f"`keys[{action!r}]` must be one visible lower-case character and no digit, got {str(key)[:40]!r}. "
                "Choose another key."
            )
        if key in owner:
            raise ReviewError(f"`keys` must differ, got {key!r} for {owner[key]} and {action}. Choose another key.")
        owner[key] = action
    return {action: keys[action] for action in DEFAULT_KEYS}


def read_keys(folder: Path, reviewer: str) -> dict[str, str]:
    """Return the keys of `reviewer`, the default ones where they never changed any.

    Actions that the file does not know (it is older than they are) have their default keys.

    Raises:
        DataError, ReviewError: the file is damaged.
    """
    path = _path(folder, reviewer)
    if not path.exists():
        return dict(DEFAULT_KEYS)
    kept = read_json(path, what="The keys of a reviewer in")
    if not isinstance(kept, Mapping) or not isinstance(kept.get("keys"), Mapping):
        raise DataError(f"`{path}` must hold the keys of a reviewer, got something else. Delete it.")
    return check_keys({**DEFAULT_KEYS, **kept["keys"]})


def write_keys(folder: Path, reviewer: str, keys: Any) -> dict[str, str]:
    """Keep `keys` for `reviewer` below `folder` and return them. The file is replaced whole.

    Raises:
        ReviewError: see check_keys. StorageError: the folder cannot be written.
    """
    checked = check_keys(keys)
    write_json(_path(folder, reviewer), {"reviewer": person(reviewer), "keys": checked})
    return checked


def _path(folder: Path, reviewer: str) -> Path:
    """Return a file name of ours for a name of theirs, whatever letters it has."""
    return folder / f"keys-{hashlib.sha256(person(reviewer).encode()).hexdigest()[:24]}.json"
