"""What of an experiment's settings is not as in the paper, in words: it stands under every table. No torch here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from fvm_core.experiments.presets import FIELDS, PRESETS
from fvm_core.experiments.results import Result
from fvm_core.experiments.tables import TABLES
from fvm_core.influence.settings import ScoreSettings

PAPER_ROWS, PAPER_VALIDATION, PAPER_SEEDS, PAPER_STARRED = 50_000, 10_000, 3, 10
SCORING = {
    "gex_members": "GEX members", "gex_steps": "GEX steps a member", "tracin_checkpoints": "TracIn checkpoints",
}  # fmt: skip
CHOSEN = {
    "lissa_depth": "LiSSA depth", "curvature_samples": "samples behind DataInf, EK-FAC and the training Fisher",
    "random_vectors": "random vectors of Table 13", "damping": "damping of the Fisher",
}  # fmt: skip
"""Settings that the paper does not print."""


def differences(result: Result) -> list[str]:
    """Return one phrase a difference: what, here, and in brackets the paper's.

    Sizes come from the rows themselves, settings from the preset and the models' records.
    """
    preset: Mapping[str, Any] = result.about.get("preset", {})
    return [*_network(result), *_training(result, preset), *_scoring(result, preset), *_extent(result)]


def _origin(result: Result) -> dict[str, Any]:
    """Return the provenance of the first row that has one."""
    if "provenance" in result.frame:
        for text in result.frame["provenance"]:
            if len(text) > 2:
                return json.loads(text)
    return {}


def _network(result: Result) -> Iterator[str]:
    paper = PRESETS["paper"].build
    model = result.about.get("grid", {}).get("model")
    spec: Mapping[str, Any] = result.about.get("preset", {}).get("build", {})
    if model:
        yield f"the base model is `{model}` for all seeds, which vary tuning and scoring only"
        spec = _origin(result).get("scores", {}).get("model", {}).get("spec", {})
    if spec and (spec.get("arch"), spec.get("width")) != (paper.arch, paper.width):
        width = f" of width {spec.get('width')}" if str(spec.get("arch")).startswith("cifar_resnet") else ""
        yield f"network {spec.get('arch')}{width} ({paper.arch} of width {paper.width})"


def _training(result: Result, preset: Mapping[str, Any]) -> Iterator[str]:
    paper, origin = PRESETS["paper"], _origin(result)
    base = origin.get("base", {}).get("settings", {}) if origin else preset.get("train", {})
    tuned = preset.get("tune", {})
    for key, words, theirs in (
        ("epochs", "epochs", paper.train.epochs), ("schedule", "learning-rate schedule", paper.train.schedule),
        ("lr", "learning rate of the training", paper.train.lr), ("batch_size", "batch", paper.train.batch_size),
    ):  # fmt: skip
        if key in base and base[key] != theirs:
            yield f"{words} {base[key]} ({theirs})"
    for key, words in (
        ("steps", "tuning steps"),
        ("lr", "learning rate of the tuning"),
        ("batch_size", "tuning batch"),
    ):
        if key in tuned and tuned[key] != getattr(paper.tune, key):
            yield f"{words} {tuned[key]} ({getattr(paper.tune, key)})"
    used = base.get("precision_used")
    if used and used != "fp32":
        yield f"precision {used}"


def _scoring(result: Result, preset: Mapping[str, Any]) -> Iterator[str]:
    """Settings that some method of the table reads."""
    paper, given = ScoreSettings().to_json(), dict(preset.get("score", {}))
    methods = [method for method in dict.fromkeys(result.frame.get("method", ())) if method in FIELDS]
    read = {name for method in methods for name in FIELDS[method]}
    for key, words in SCORING.items():
        if key in read and given.get(key, paper[key]) != paper[key]:
            yield f"{words} {given[key]} ({paper[key]})"
    starred = preset.get("starred")
    if starred and result.key in TABLES and any(row.starred for row in TABLES[result.key].rows):
        yield f"starred forms choose among {len(starred)} checkpoints ({PAPER_STARRED})"
    chosen = {key: given.get(key, paper[key]) for key in CHOSEN if key in read}
    if chosen:
        yield "not printed in the paper: " + ", ".join(
            f"{CHOSEN[key]} {'all' if value is None else value}" for key, value in chosen.items()
        )
    for method, changes in preset.get("methods", {}).items():
        if method in methods:
            yield f"{method} alone: " + ", ".join(f"{key} {value}" for key, value in changes.items())


def _extent(result: Result) -> Iterator[str]:
    frame, about = result.frame, result.about
    preset: Mapping[str, Any] = about.get("preset", {})
    if preset.get("subset") and not about.get("grid", {}).get("model"):
        yield f"trained on {preset['subset']:,} rows of the training set ({PAPER_ROWS:,})"
    if "samples" in frame and frame["samples"].notna().any():
        scored = int(frame["samples"].max())
        if scored != PAPER_ROWS:
            yield f"{scored:,} rows scored ({PAPER_ROWS:,})"
    if "validation_size" in frame and len(frame):
        size = int(frame["validation_size"].max())
        if size != PAPER_VALIDATION:
            yield f"{size:,} validation rows ({PAPER_VALIDATION:,})"
    if "dataset" in frame and "row" in frame:
        for dataset, part in frame.groupby("dataset", sort=False):
            seeds = part["seed"].nunique()
            if seeds != PAPER_SEEDS:
                yield f"{seeds} seed{'s' if seeds > 1 else ''} on {dataset} ({PAPER_SEEDS})"
    others = [str(name) for name, part in frame.groupby("dataset") if "setting" in part and not part["setting"].any()]
    if others:
        yield f"the paper has no figures for {', '.join(others)}: its columns are those of other datasets"
