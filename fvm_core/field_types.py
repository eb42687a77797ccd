"""Whether the values of a settings class are of the kinds that its annotations say, and within its rules. No torch
here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import fields
from types import NoneType
from typing import Any, get_args, get_type_hints

from fvm_core.errors import SettingsError

KINDS: dict[Any, tuple[str, Callable[[Any], bool]]] = {
    int: ("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    float: (
        "a finite number",
        lambda value: isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value),
    ),
    bool: ("true or false", lambda value: isinstance(value, bool)),
    str: ("text", lambda value: isinstance(value, str)),
    tuple[int, ...]: (
        "a list of whole numbers",
        lambda value: isinstance(value, tuple) and all(KINDS[int][1](item) for item in value),
    ),
    NoneType: ("none", lambda value: value is None),
}


def check_known(cls: type, value: Iterable[str]) -> None:
    """Check that every key is a field of the settings class `cls`.

    Raises:
        SettingsError: naming the unknown keys and all known ones.
    """
    known = {item.name for item in fields(cls)}
    if unknown := set(value) - known:
        raise SettingsError(f"unknown settings {sorted(unknown)}; known are {sorted(known)}.")


def check_rules(settings: Any, rules: Iterable[tuple[bool, str, str]]) -> None:
    """Check rules in order, each (holds, name of the field, the rule in words).

    Raises:
        SettingsError: the first that does not hold, by its name, rule and value.
    """
    for holds, name, rule in rules:
        if not holds:
            raise SettingsError(f"`{name}` must be {rule}, got {getattr(settings, name)!r}.")


def check_types(settings: Any) -> None:
    """Check every field of a dataclass of plain values.

    Raises:
        SettingsError: a value of another kind, or a number that is not finite.

    >>> from fvm_core.influence.settings import ScoreSettings
    >>> ScoreSettings(seed="a")
    Traceback (most recent call last):
    fvm_core.errors.SettingsError: `seed` must be a whole number, got 'a'.
    """
    hints = get_type_hints(type(settings))
    for item in fields(settings):
        value, hint = getattr(settings, item.name), hints[item.name]
        kinds = [KINDS[kind] for kind in ((hint,) if hint in KINDS else get_args(hint))]
        if not any(fits(value) for _, fits in kinds):
            rule = " or ".join(words for words, _ in kinds)
            raise SettingsError(f"`{item.name}` must be {rule}, got {value!r:.100}.")
