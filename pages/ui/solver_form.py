"""Which solver tunes, and the settings that only it has."""

from __future__ import annotations

from typing import Any

import streamlit as st

from fvm_core.tuning.settings import TuneSettings
from fvm_core.tuning.solvers import SETTING_HELP, SOLVER_INFO, default_radius, role_of

DEFAULTS = TuneSettings()
ORDER = ("sam", "asam", "fsam", "lpf", "sgd")
LABELS = {
    "asam_eta": "Eta", "fsam_sigma": "Sigma", "fsam_lambda": "Lambda", "lpf_draws": "Draws", "lpf_growth": "Growth",
}  # fmt: skip
PAPER = {
    "sam": " Paper: 0.05 for CIFAR-10N, 0.1 for CIFAR-100N.", "asam": " Its paper: 0.5 for CIFAR-10, 1 for CIFAR-100.",
    "fsam": " Its paper: 0.05 to 0.2.",
}  # fmt: skip


def title(solver: str) -> str:
    """Return the solver with what it makes.

    >>> title("sgd"), title("fsam")
    ('VM · SGD', 'FVM · F-SAM')
    """
    return f"{role_of(solver).upper()} · {SOLVER_INFO[solver].title}"


def choose_solver() -> str:
    """Draw the choice of the solver and return its key in SOLVER_INFO."""
    help = (
        "**VM** minimises the loss alone, **FVM** looks for a flat minimum; tune both to compare them.\n\n"
        + "\n".join(f"- **{SOLVER_INFO[key].title}**: {SOLVER_INFO[key].sentence}" for key in ORDER)
    )
    short = {key: title(key) if key in ("sam", "sgd") else SOLVER_INFO[key].title for key in ORDER}
    return st.segmented_control(
        "Solver", ORDER, format_func=short.__getitem__, default="sam", required=True, key="solver", help=help,
        persist_state="session",
    )  # fmt: skip


def number(
    column: Any, label: str, key: str, *, help: str, value: Any = None, minimum: Any = None, step: Any = None,
    format: str | None = None, variant: str = "", placeholder: str | None = None,
) -> Any:  # fmt: skip
    """Draw one number field that keeps its value while the person visits other pages; `variant` names a second one."""
    value = getattr(DEFAULTS, key) if value is None else value
    return column.number_input(
        label, value=value, min_value=minimum, step=step, format=format, key=f"tune_{key}{variant}", help=help,
        placeholder=placeholder, persist_state="session",
    )  # fmt: skip


def reach_field(column: Any, solver: str, values: dict[str, Any], *, hundred_classes: bool) -> None:
    """Draw how far `solver` looks around the weights and put it into `values`; for SGD the clipping takes its place."""
    reach = SOLVER_INFO[solver].reach
    if reach == "rho":
        values["rho"] = number(
            column, "Radius", "rho", value=default_radius(solver, hundred_classes=hundred_classes), minimum=0.0,
            step=0.01, format="%.3f", variant=_variant(solver, hundred_classes),
            help=f"rho: {SETTING_HELP['rho']}{PAPER[solver]}",
        )  # fmt: skip
    elif reach == "lpf_gamma":
        values["lpf_gamma"] = number(
            column, "Noise", "lpf_gamma", minimum=0.0, step=0.001, format="%.4f",
            help=f"gamma: {SETTING_HELP['lpf_gamma']} Paper: 0.001.",
        )  # fmt: skip
    else:
        _clip_field(column, values)


def own_fields(solver: str, values: dict[str, Any]) -> None:
    """Draw what else `solver` is set by, then the clipping of the gradient, and put them into `values`."""
    if not SOLVER_INFO[solver].reach:
        return
    columns = st.columns(4)
    own = [name for name in SOLVER_INFO[solver].own if name in LABELS]
    for column, name in zip(columns, own, strict=False):
        whole = isinstance(getattr(DEFAULTS, name), int)
        values[name] = number(
            column, LABELS[name], name, help=SETTING_HELP[name], minimum=1 if whole else 0.0, step=1 if whole else 0.05
        )
    _clip_field(columns[len(own)], values)


def _clip_field(column: Any, values: dict[str, Any]) -> None:
    values["clip_norm"] = number(
        column, "Clip gradient at", "clip_norm", help=SETTING_HELP["clip_norm"], minimum=0.0, step=0.5,
        placeholder="off",
    )  # fmt: skip


def sharpness_field(column: Any, solver: str, values: dict[str, Any], *, hundred_classes: bool) -> None:
    """Draw the radius of the measured sharpness, one default for all solvers, and put it into `values`.

    Where `rho` is no part of the solver it is `rho`; where it equals what is measured at anyway, nothing is added.
    """
    radius = number(
        column, "At radius", "sharpness_rho", value=default_radius("sam", hundred_classes=hundred_classes),
        minimum=0.0, step=0.01, format="%.3f", variant="_100" if hundred_classes else "",
        help=SETTING_HELP["sharpness_rho"],
    )  # fmt: skip
    if SOLVER_INFO[solver].reach != "rho":
        values["rho"] = radius
    elif radius != (values["rho"] if solver == "sam" else SOLVER_INFO["sam"].radius):
        values["sharpness_rho"] = radius


def _variant(solver: str, hundred_classes: bool) -> str:
    return ("" if solver == "sam" else f"_{solver}") + ("_100" if hundred_classes else "")
