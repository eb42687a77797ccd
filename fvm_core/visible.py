"""A person's words with nothing in them that cannot be seen: no control character, nothing that turns a line around."""

from __future__ import annotations

import unicodedata

_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
_JOINERS = "\u200c\u200d"
"""Invisible too, but Persian and emoji need them."""


def visible(text: object, *, limit: int = 120) -> str:
    """Return `text` in one line in which every control, bidirectional or other invisible character is written out as
    <U+202E>; texts longer than `limit` end in an ellipsis. Not HTML and not Markdown: escape it afterwards.

    >>> visible("a\\u202egnp.exe")
    'a<U+202E>gnp.exe'
    """
    flat = " ".join(str(text)[: 8 * limit].split())
    shown = "".join(_shown(char) for char in flat[:limit])
    return shown + "…" if len(flat) > limit else shown


def _shown(char: str) -> str:
    hidden = unicodedata.category(char) in _HIDDEN and char not in _JOINERS
    return f"<U+{ord(char):04X}>" if hidden else char
