"""Scripts and styles of our own components."""

from __future__ import annotations

from pages.ui.links import ROOT


def asset(*names: str) -> str:
    """Return the text of files in assets/, one after the other."""
    return "\n".join((ROOT / "assets" / name).read_text(encoding="utf-8") for name in names)
