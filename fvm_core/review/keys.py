"""The keys of the review gallery, kept for each person in the review database: which key does what."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, select

from fvm_core.errors import DataError, ReviewError
from fvm_core.files import read_json
from fvm_core.provenance import now
from fvm_core.review.log import DecisionLog
from fvm_core.review.session import person
from fvm_core.review.tables import REVIEWER_KEYS
from fvm_core.review.upsert import insert_new, insert_or_replace

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


def read_keys(log: DecisionLog, reviewer: str, *, folder: Path | None = None) -> dict[str, str]:
    """Return the keys of `reviewer` as the review database has them, the default ones where they never changed any.

    Actions that the kept keys do not know (they are older) have their default keys. Keys were kept in files below
    `folder` once: such a file is taken over into the database where that has none of this person, and never read again.

    Raises:
        DataError, ReviewError: what is kept is damaged. StorageError: the database cannot be read.
    """
    name = person(reviewer)
    found = _kept(log, name)
    path = None if folder is None else folder / f"keys-{hashlib.sha256(name.encode()).hexdigest()[:24]}.json"
    if found is None and path is not None and path.exists():
        old = read_json(path, what="The keys of a reviewer in")
        if not isinstance(old, Mapping) or not isinstance(old.get("keys"), Mapping):
            raise DataError(f"`{path}` must hold the keys of a reviewer, got something else. Delete it.")
        _write(log, name, check_keys({**DEFAULT_KEYS, **old["keys"]}), insert_new)
        found = _kept(log, name)
    return dict(DEFAULT_KEYS) if found is None else check_keys({**DEFAULT_KEYS, **found})


def write_keys(log: DecisionLog, reviewer: str, keys: Any) -> dict[str, str]:
    """Keep `keys` for `reviewer` in the review database, whatever was kept before, and return them.

    Raises:
        ReviewError: see check_keys. StorageError: the database cannot be written.
    """
    checked = check_keys(keys)
    _write(log, person(reviewer), checked, insert_or_replace)
    return checked


def _kept(log: DecisionLog, name: str) -> Mapping[str, Any] | None:
    query = select(REVIEWER_KEYS.c.bindings).where(REVIEWER_KEYS.c.reviewer == name)
    text = log.run(lambda connection: connection.scalar(query), writes=False)
    if text is None:
        return None
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, Mapping):
        raise DataError(f"the keys of {name!r} in the review database must be a JSON object. Reset the keys.")
    return found


def _write(log: DecisionLog, name: str, keys: Mapping[str, str], insert: Callable[[Connection, Table], Any]) -> None:
    row = {"reviewer": name, "bindings": json.dumps(dict(keys)), "changed_at": now()}
    log.run(lambda connection: connection.execute(insert(connection, REVIEWER_KEYS), [row]), writes=True)
