"""The settings of scoring on the Score page: those of the chosen methods, with the command line's defaults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from fvm_core.influence.methods import METHODS
from fvm_core.influence.settings import PRECISIONS, ScoreSettings

RELABEL: dict[str, str] = {
    "all": "All classes, exact scores",
    "shortlist": "Only classes that can win (fast)",
    "none": "None",
}
LISSA: dict[str, tuple[str, str]] = {
    "lissa_depth": ("Depth (steps)", "How many steps the recursion takes"),
    "lissa_scale": ("Scale", "Divides the Hessian; left empty it comes from the Hessian's top eigenvalue"),
    "lissa_damping": ("Damping", "Added to the Hessian's eigenvalues, as a share of the scale: in [0, 1)"),
    "lissa_repeats": ("Repeats", "Independent estimates that are averaged"),
}
CURVATURE: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "curvature_samples": (
        "Training samples", "How many of them the sums over the training set take in; leave it empty for all",
        ("datainf", "ekfac", "first_train", "second_train"),
    ),
    "datainf_damping": (
        "DataInf's damping", "As a share of each layer's mean squared gradient", ("datainf", "influence_datainf"),
    ),
    "ekfac_damping": ("EK-FAC's damping", "As a share of each layer's mean eigenvalue", ("ekfac", "influence_ekfac")),
    "random_vectors": (
        "Random vectors", "s by LiSSA or DataInf is a mean over so many draws: more are steadier and slower (C.4)",
        ("influence_lissa", "influence_datainf"),
    ),
}  # fmt: skip
ENSEMBLES: dict[str, dict[str, tuple[str, str]]] = {
    "tracin": {
        "tracin_checkpoints": (
            "Checkpoints",
            "How many of those that training kept, evenly spaced, the last among them",
        )
    },
    "gex": {
        "gex_members": (
            "Members",
            "Models that are tuned on the validation set, one after the other; the paper has 32",
        ),
        "gex_steps": ("Steps", "Steps of SGD for each member"),
        "gex_lr": ("Learning rate", "At the start; it falls to 0 along a cosine"),
    },
}
"""Settings of one method each."""
DEFAULTS = ScoreSettings()


def choose_settings(methods: Sequence[str]) -> ScoreSettings:
    """Draw the settings and return them; the defaults are those of the command line.

    Raises:
        SettingsError: a value is out of range.
    """
    one, two, three, four, five = st.columns([1, 1, 2, 1, 1])
    typed: dict[str, Any] = {
        "damping": one.number_input(
            "Damping", min_value=0.0, value=DEFAULTS.damping, step=1e-8, format="%.1e", key="score_damping",
            help="Added to every entry of the Fisher diagonal (Eq. 21)",
        ),
        "batch_size": two.number_input(
            "Batch size", min_value=1, max_value=4096, value=DEFAULTS.batch_size, step=16, key="score_batch"
        ),
        "relabel": three.selectbox(
            "Suggested labels", list(RELABEL), index=list(RELABEL).index(DEFAULTS.relabel), key="score_relabel",
            format_func=RELABEL.__getitem__,
            help="The suggestion is the class whose own score is least suspicious (Eq. 22). Skipping classes that "
            "cannot win gives the same suggestion; their bars in the review are lower bounds then.",
        ),
        "limit": four.number_input(
            "Limit", min_value=1, value=None, step=100, key="score_limit", placeholder="all",
            help="Score only a random sample of so many; leave it empty to score all",
        ),
        "precision": five.selectbox(
            "Precision", PRECISIONS, index=PRECISIONS.index(DEFAULTS.precision), key="score_precision",
            help="Of what convolutions multiply. bf16 ranks nearly as fp32 does (correlation above 0.9999 on 2,000 "
            "images of CIFAR-10N); it saves time for wide models where the hardware has bf16.",
        ),
    }  # fmt: skip
    if {"standard", "influence_lissa"} & set(methods):
        with st.expander("Settings of LiSSA", icon=":material/settings:"):
            for column, (key, (label, help_text)) in zip(st.columns(len(LISSA)), LISSA.items(), strict=True):
                whole = key in ("lissa_depth", "lissa_repeats")
                typed[key] = column.number_input(
                    label, min_value=1 if whole else 0.0, value=getattr(DEFAULTS, key), key=f"score_{key}",
                    step=1 if whole else None, help=help_text, placeholder="automatic",
                    format=None if whole else "%.4g",
                )  # fmt: skip
    wanted = [key for key, (_, _, users) in CURVATURE.items() if set(users) & set(methods)]
    if wanted:
        with st.expander("Settings of DataInf, EK-FAC and other curvature", icon=":material/settings:"):
            for column, key in zip(st.columns(len(CURVATURE)), wanted, strict=False):
                label, help_text, _ = CURVATURE[key]
                whole = key in ("curvature_samples", "random_vectors")
                typed[key] = column.number_input(
                    label, min_value=1 if whole else 0.0, value=getattr(DEFAULTS, key), key=f"score_{key}",
                    step=1 if whole else None, help=help_text, placeholder="all", format=None if whole else "%.4g",
                )  # fmt: skip
    for method in (key for key in ENSEMBLES if key in methods):
        with st.expander(f"Settings of {METHODS[method].title}", icon=":material/settings:"):
            for column, (key, (label, help_text)) in zip(st.columns(3), ENSEMBLES[method].items(), strict=False):
                default = getattr(DEFAULTS, key)
                typed[key] = column.number_input(
                    label, min_value=1 if isinstance(default, int) else 0.0, value=default, key=f"score_{key}",
                    help=help_text, format=None if isinstance(default, int) else "%.4g",
                )  # fmt: skip
    return ScoreSettings(**typed)
