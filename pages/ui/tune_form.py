"""Settings of a tuning, with the paper's values as defaults."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import streamlit as st

from fvm_core.errors import SettingsError
from fvm_core.files import slug
from fvm_core.jobs.names import promised_names
from fvm_core.tuning.settings import PRECISIONS
from fvm_core.tuning.solvers import SOLVER_INFO, role_of
from fvm_core.workspace import Workspace
from pages.ui.solver_form import DEFAULTS, number, own_fields, reach_field, sharpness_field, title


def free_name(wanted: str, taken: Collection[str]) -> str:
    """Return the slug of `wanted`, with a number at its end if it is taken.

    >>> free_name("digits-fvm", {"digits-fvm"})
    'digits-fvm-2'
    """
    base = name = slug(wanted)
    number = 2
    while name in taken:
        name = f"{base[:60]}-{number}"
        number += 1
    return name


def settings_form(solver: str, *, hundred_classes: bool = False) -> dict[str, Any]:
    """Draw all settings of `solver` and return them by name, unchecked (TuneSettings checks)."""
    values: dict[str, Any] = {"solver": solver}
    st.caption(
        f"{title(solver)}. {SOLVER_INFO[solver].sentence} The other defaults are the paper's (B.1): 1,000 steps of "
        "batch 128, learning rate 0.01 with a cosine to 0."
    )
    a, b, c, d = st.columns(4)
    values["steps"] = number(a, "Steps", "steps", help="Steps of tuning. Paper: 1,000.", minimum=1, step=100)
    values["batch_size"] = number(b, "Batch size", "batch_size", help="Paper: 128.", minimum=1, step=16)
    values["lr"] = number(
        c, "Learning rate", "lr", help="Falls to 0 along a cosine. Paper: 0.01.", minimum=0.0, step=0.001, format="%.4f"
    )
    reach_field(d, solver, values, hundred_classes=hundred_classes)
    a, b, c, d = st.columns(4)
    values["momentum"] = number(a, "Momentum", "momentum", help="Paper: 0.9.", minimum=0.0, step=0.05)
    values["weight_decay"] = number(
        b, "Weight decay", "weight_decay", help="Paper: 0.0005.", minimum=0.0, step=0.0001, format="%.5f"
    )
    values["seed"] = number(c, "Seed", "seed", help="Order of the batches and all other chance.", minimum=0, step=1)
    values["precision"] = d.selectbox(
        "Precision", PRECISIONS, key="tune_precision", persist_state="session",
        help="fp32 is exact and safe. bf16 is faster where the processor has it; weights stay in fp32.",
    )  # fmt: skip
    own_fields(solver, values)
    values["augment"] = st.checkbox(
        "Random crop and flip", value=DEFAULTS.augment, key="tune_augment", persist_state="session",
        help="Off in the paper's tuning. Never for digits or other images with a handedness.",
    )  # fmt: skip
    st.caption("What is measured while it tunes; 0 switches a measurement off.")
    a, b, c, d, e, f = st.columns([1, 1.2, 1, 1, 1, 1])
    values["eval_every"] = number(a, "Losses every", "eval_every", help="In steps.", minimum=0, step=10)
    values["sharpness_every"] = number(
        b, "Sharpness every", "sharpness_every", minimum=0, step=10,
        help="SAM's gap L(w+e) − L(w), and the mean rise of the loss along random directions of the same length.",
    )  # fmt: skip
    sharpness_field(c, solver, values, hundred_classes=hundred_classes)
    values["hessian_every"] = number(
        d, "Hessian every", "hessian_every", minimum=0, step=50,
        help="Largest eigenvalue of the Hessian by power iteration: the costliest of the measurements.",
    )  # fmt: skip
    values["probe_size"] = number(
        e,
        "Probe size",
        "probe_size",
        help="Validation samples behind the sharpness and the Hessian.",
        minimum=1,
        step=64,
    )
    values["snapshots"] = number(
        f, "Snapshots", "snapshots", minimum=2, step=1,
        help="Weights kept on the way, first and last among them; Compare draws box plots over them (Fig. 3).",
    )  # fmt: skip
    return values


def taken_names(workspace: Workspace, models: Collection[str]) -> dict[str, str]:
    """Return the names that no new model may have, each with who has it: `models`, and what unfinished jobs make."""
    promised = {
        name: f'the unfinished job "{title}" is to make a model `{name}`'
        for name, title in promised_names(workspace).items()
    }
    return promised | {name: f"a model `{name}` exists already" for name in models}


def checked_name(name: str, taken: Mapping[str, str]) -> str:
    """Return the slug of `name`.

    Raises:
        DataError: it has no letter or digit.
        SettingsError: it is one of `taken`.
    """
    chosen = slug(name)
    if chosen in taken:
        raise SettingsError(f"`name` must be new: {taken[chosen]}. Choose another name.")
    return chosen


def tuned_name(model: str, solver: str) -> str:
    """Return the usual name of `model` tuned by `solver`; a tuned model's own ending goes first.

    >>> tuned_name("cats-base", "sam"), tuned_name("cats-fvm", "lpf"), tuned_name("cats-fvm-asam", "sgd")
    ('cats-fvm', 'cats-fvm-lpf', 'cats-vm')
    """
    endings = ["-base", *(_ending(known) for known in reversed(SOLVER_INFO))]
    root = next((model.removesuffix(ending) for ending in endings if model.endswith(ending)), model)
    return f"{root}{_ending(solver)}"


def _ending(solver: str) -> str:
    return f"-{role_of(solver)}" + ("" if solver in ("sgd", "sam") else f"-{solver}")


def choose_name(model: str, solver: str, taken: Collection[str]) -> str:
    """Draw the field for the new model's name; it starts at MODEL-vm, MODEL-fvm or MODEL-fvm-SOLVER, made unique."""
    wanted = free_name(tuned_name(model, solver), taken)
    return st.text_input(
        "Name of the tuned model", value=wanted, key=f"tune_name_{model}_{solver}_{len(taken)}", max_chars=64,
        help="Letters, digits, - and _. It must be new: no model and no unfinished job may have it.",
    )  # fmt: skip
