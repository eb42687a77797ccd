"""Expected seconds of each part, from sizes and the preset's rates: an estimate for a person, not a measurement.

A pass is a forward and backward pass of one sample in a batch (`rate` a second); per-sample gradients are slower
(`score_rate` a second). What the rest costs was measured on a ResNet-18 of width 8, one thread: a forward pass 0.34
passes, the directional derivative that scores all labels of a sample 1.65, a Hessian-vector product 4.1, the automatic
scale of LiSSA 124 a sample of its batch; a sample in DataInf 2.3 and in EK-FAC 4.6 per-sample gradients. No torch here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fvm_core.experiments.presets import Preset
from fvm_core.influence.settings import ScoreSettings
from fvm_core.tuning.settings import TrainSettings, TuneSettings
from fvm_core.tuning.solvers import SOLVER_INFO

FORWARD = 0.34
DERIVATIVE = 1.65
PRODUCT = 4.1
EIGENVALUE = 124.0
DATAINF, EKFAC = 2.3, 4.6
START = 1.0
"""Seconds to load a model and open two datasets."""

LIVE = 2512


def train_seconds(preset: Preset, settings: TrainSettings, *, n: int, v: int) -> float:
    """Return the expected seconds of a base training on `n` rows, `v` validation rows."""
    return START + (settings.epochs * (n + FORWARD * min(LIVE, v + 512)) + FORWARD * v) / preset.rate


def tune_seconds(preset: Preset, settings: TuneSettings, *, v: int) -> float:
    """Return the expected seconds of a tuning on `v` rows."""
    passes = SOLVER_INFO[settings.solver].passes
    return START + (passes * settings.steps * min(settings.batch_size, v) + FORWARD * v) / preset.rate


def score_seconds(preset: Preset, method: str, given: Mapping[str, Any], *, n: int, v: int, classes: int) -> float:
    """Return the expected seconds of one method on one model; `n` rows of the training set, `limit` of them scored."""
    settings = {**ScoreSettings().to_json(), **given}
    rows = min(settings["limit"] or n, n)
    curved = min(settings.get("curvature_samples") or n, n)
    batch = min(settings["batch_size"], n)
    step = PRODUCT * settings["lissa_depth"] * settings["lissa_repeats"] * batch
    start = 0.0 if settings["lissa_scale"] else EIGENVALUE * batch
    draws = settings.get("random_vectors", 5)
    labels = {"none": 1.0, "shortlist": 1 + 0.47 * min(classes, 20), "all": 0.3 + 0.7 * classes}[settings["relabel"]]
    derived = DERIVATIVE * rows
    members = settings.get("gex_members", 32) * (settings.get("gex_steps", 1000) * min(128, v) + FORWARD * (v + rows))
    checkpoints = settings.get("tracin_checkpoints", 5)
    plain, single = {
        "influence": (0.0, v + labels * rows), "standard": (v + start + step + derived, 0.0),
        "tracin": (checkpoints * (v + derived), 0.0), "gex": (FORWARD * rows + members, 0.0),
        "datainf": (v + derived, DATAINF * curved), "ekfac": (v + derived, EKFAC * curved),
        "influence_lissa": (start + draws * step + 2 * draws * derived, 0.0),
        "influence_datainf": (2 * draws * derived, DATAINF * v),
        "influence_ekfac": (0.0, EKFAC * v + 1.5 * labels * rows),
        "first_train": (v + derived, curved), "first_val": (v + derived, v), "second_train": (0.0, v + curved + rows),
        "posterior": (FORWARD * (min(20_000, n) + rows), 0.0),
        "error_influence": (FORWARD * (min(20_000, n) + rows), v + rows),
        "typical_influence": (FORWARD * (min(20_000, n) + rows), v + 256 * classes),
    }.get(method, (FORWARD * rows, 0.0))  # fmt: skip
    return START + plain / preset.rate + single / preset.score_rate
