"""Options that several commands share, and settings given as `--set key=value`."""

from __future__ import annotations

import argparse
import json
from dataclasses import fields
from typing import Any

from fvm_core.errors import SettingsError


def add_set(parser: argparse.ArgumentParser, what: str) -> None:
    """Add `--set key=value` (repeatable) for the fields of a settings class."""
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=f"a setting of {what}")


def add_custom(parser: argparse.ArgumentParser) -> None:
    """Add `--allow-custom`, without which the code behind custom:module:callable never runs."""
    parser.add_argument("--allow-custom", action="store_true", help="run the module of a custom:MODULE:CALLABLE model")


def custom(args: argparse.Namespace) -> dict[str, bool]:
    """Return what a job has to be told about `--allow-custom`: nothing when it was not given."""
    return {"allow_custom": True} if args.allow_custom else {}


def parse_set(pairs: list[str], known: type | None = None) -> dict[str, Any]:
    """Turn `["lr=0.05", "drop_epochs=[30]"]` into a dict; values are JSON, else text.

    Raises:
        SettingsError: no `=`, or a key that `known` (a dataclass) does not have.

    >>> parse_set(["lr=0.05", "solver=sam"])
    {'lr': 0.05, 'solver': 'sam'}
    """
    result: dict[str, Any] = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator:
            raise SettingsError(f"`--set` must be KEY=VALUE, got {pair!r}.")
        try:
            result[key] = json.loads(text)
        except ValueError:
            result[key] = text
    if known is not None:
        names = {item.name for item in fields(known)}
        if set(result) - names:
            raise SettingsError(f"`--set` knows {sorted(names)}, got {sorted(set(result) - names)}.")
    return result
