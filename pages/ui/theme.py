"""The colours that carry meaning in charts: Okabe-Ito, safe for colour-blind readers in light and dark."""

from __future__ import annotations

from fvm_core.tuning.solvers import SOLVER_INFO
from pages.ui.figure_look import INK_RULE

CLEAN = "#0072B2"
MISLABELED = "#D55E00"
BASE = "#56B4E9"
VM = "#E69F00"
FVM = "#009E73"
NEUTRAL = "#767676"

ROLE_COLOURS = {"base": BASE, "imported": BASE, "vm": VM, "fvm": FVM}
ROLE_TITLES = {"base": "Base", "imported": "Imported", "vm": "VM (SGD)", "fvm": "FVM (SAM)"}

SIDEBAR = 232
QUIET = f"""<style>
{INK_RULE}
[data-testid="stStatusWidget"] {{ display: none; }}
[data-testid="stSidebar"], [data-testid="stSidebar"] > div {{ max-width: {SIDEBAR}px; }}
[class*="st-key-live"] [data-stale="true"], [class*="st-key-live"][data-stale="true"] {{
  opacity: 1 !important; transition: none !important;
}}
</style>"""
"""Live parts (containers whose key begins with "live") run every second: no fading, no running figure each time. The
first page after the server's start has its sidebar before the app can tell its width."""


def model_title(role: str, solver: object = None) -> str:
    """Return what a model of this role is called, with the solver that tuned it (SAM for an FVM that names none).

    >>> model_title("fvm"), model_title("fvm", "lpf"), model_title("base")
    ('FVM (SAM)', 'FVM (LPF)', 'Base')
    """
    if role == "fvm" and isinstance(solver, str) and solver in SOLVER_INFO:
        return f"FVM ({SOLVER_INFO[solver].title})"
    return ROLE_TITLES.get(role, role)


def role_colour(role: str) -> str:
    """Return the chart colour of a model's role; neutral grey for one that is not known.

    >>> role_colour("fvm")
    '#009E73'
    """
    return ROLE_COLOURS.get(role, NEUTRAL)
