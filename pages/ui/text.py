"""Words from a person's files, made safe to show: Streamlit reads most texts as Markdown."""

from __future__ import annotations

import re

from fvm_core.visible import visible

_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
_SHORTCODE = re.compile(r":(?=[\w+/-]+:)")
_TYPOGRAPHIC = re.compile(r"([-<=])(?=[->=])")
_JOINER = "\u2060"


def plain(text: object, *, limit: int = 300) -> str:
    r"""Return Markdown that shows `text` letter for letter: no links, colours, icons, formulas or HTML.

    Every ASCII punctuation mark is escaped; an invisible word joiner keeps `:smile:` and `->` from being replaced
    after parsing. White space (line breaks too) becomes one space; characters that cannot be seen, or that turn a line
    around, are written out (`fvm_core.visible`). Longer texts end in an ellipsis.

    >>> plain("*cat* [x](http://e)")
    '\\*cat\\* \\[x\\]\\(http\\:\\/\\/e\\)'
    """
    flat = visible(text, limit=limit - 1 if len(" ".join(str(text).split())) > limit else limit)
    flat = _SHORTCODE.sub(":" + _JOINER, flat)
    flat = _TYPOGRAPHIC.sub(r"\1" + _JOINER, flat)
    return _PUNCTUATION.sub(r"\\\1", flat)


def message(text: object, *, limit: int = 2000) -> str:
    """Return Markdown for one of our messages: parts in backticks become code, everything else stays plain.

    >>> message("`rho` must be >= 0")
    '`rho` must be \\\\>\\\\= 0'
    """
    flat = " ".join(str(text).split())[:limit]
    parts = flat.split("`")
    if len(parts) % 2 == 0:
        parts[-2:] = ["'".join(parts[-2:])]
    pieces = []
    for number, part in enumerate(parts):
        if number % 2 == 0:
            lead = " " if part.startswith(" ") else ""
            tail = " " if part.endswith(" ") and part.strip() else ""
            pieces.append(f"{lead}{plain(part, limit=limit)}{tail}")
        elif part.strip():
            pieces.append(f"`{visible(part, limit=limit)}`")
    return "".join(pieces)
