"""A number out of range never reaches the server, which keeps the one before: the field says so, on every page."""

from __future__ import annotations

REFUSED = """<style>
[data-testid="stNumberInput"]:has(input[aria-invalid="true"])::after {
  content: "Out of range, so not used: the value before holds."; display: block;
  margin-top: 0.25rem; font-size: 0.85rem; color: color-mix(in srgb, #D55E00 62%, currentColor);
}
</style>"""
