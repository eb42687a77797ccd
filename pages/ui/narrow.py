"""Half a screen or a tablet, 641 to 1200 px: columns wrap before what they hold is cut. Below, Streamlit stacks all."""

from __future__ import annotations

NARROW = """<style>
@media (641px <= width <= 1200px) {
  [data-testid="stMainBlockContainer"] { padding-left: 2rem; padding-right: 2rem; }
  [data-testid="stColumn"]:has(h1, input, textarea, [data-testid="stMetric"], [data-testid="stButton"],
    [data-testid="stFormSubmitButton"], [data-testid="stPopover"]) { min-width: min(100%, 10rem); }
  [data-testid="stColumn"]:has([data-testid="stVegaLiteChart"], .js-plotly-plot) { min-width: min(100%, 16rem); }
  [data-testid="stColumn"]:has([data-testid="stColumn"], [data-testid="stButtonGroup"]) { min-width: min(100%, 28rem); }
  [class*="st-key-table"] [data-testid="stHorizontalBlock"] { flex-wrap: nowrap; }
  [class*="st-key-table"] [data-testid="stColumn"] { min-width: 0; }
  [class*="st-key-table"] [data-testid="stColumn"]:last-child { min-width: 8.5rem; }
}
</style>"""
"""Rows in a container whose key begins with "table" stay rows; their last column is wide enough for a button."""
