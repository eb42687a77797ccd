"""Settings of training and tuning. Defaults are the paper's (B.1). No torch here: pages read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fvm_core.errors import SettingsError
from fvm_core.field_types import check_known, check_types
from fvm_core.tuning.solvers import SOLVER_INFO

SOLVERS = tuple(SOLVER_INFO)
PRECISIONS = ("fp32", "bf16")


def _require(condition: bool, name: str, rule: str, value: object) -> None:
    if not condition:
        raise SettingsError(f"`{name}` must be {rule}, got {value!r}.")


@dataclass(frozen=True, kw_only=True)
class _Shared:
    """Optimiser settings that training and tuning have in common (SGD with momentum)."""

    batch_size: int = 128
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    precision: str = "fp32"
    seed: int = 0
    save_every: int = 100

    def __post_init__(self) -> None:
        check_types(self)
        _require(self.batch_size >= 1, "batch_size", ">= 1", self.batch_size)
        _require(self.lr > 0, "lr", "> 0", self.lr)
        _require(0 <= self.momentum < 1, "momentum", "in [0, 1)", self.momentum)
        _require(self.weight_decay >= 0, "weight_decay", ">= 0", self.weight_decay)
        _require(self.precision in PRECISIONS, "precision", f"one of {PRECISIONS}", self.precision)
        _require(self.seed >= 0, "seed", ">= 0", self.seed)
        _require(self.save_every >= 1, "save_every", ">= 1 step", self.save_every)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Any:
        check_known(cls, value)
        items: dict[str, Any] = {key: tuple(item) if isinstance(item, list) else item for key, item in value.items()}
        return cls(**items)


@dataclass(frozen=True, kw_only=True)
class TrainSettings(_Shared):
    """Base training on noisy labels: epochs, schedule (`step`: x0.1 at each of `drop_epochs`; `onecycle`), crop + flip.

    `checkpoint_epochs`: epochs (1-based) after which the weights are kept for TracIn, LiSSA*, EK-FAC*.
    """

    epochs: int = 100
    schedule: str = "step"
    drop_epochs: tuple[int, ...] = (50,)
    augment: bool = True
    checkpoint_epochs: tuple[int, ...] = (10, 20, 30, 40, 50, 60, 70, 80, 90, 100)

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(self.epochs >= 1, "epochs", ">= 1", self.epochs)
        _require(self.schedule in ("step", "onecycle"), "schedule", "`step` or `onecycle`", self.schedule)


@dataclass(frozen=True, kw_only=True)
class TuneSettings(_Shared):
    """Tuning on the clean validation set: `sgd` gives VM, the other solvers FVM; lr with a cosine to 0.

    `rho` is the radius of sam, asam and fsam; `asam_*`, `fsam_*` and `lpf_*` belong to one solver each and do nothing
    under the others. `clip_norm` bounds the norm of the gradient that the optimizer steps with (None: off).
    `sharpness_rho` is the radius of the measured sharpness: see `measured_rho`.

    `*_every` are in steps, 0 switches a measurement off. `snapshots` kept weights: evenly spaced, first and last among
    them. `probe_size`: validation samples used for the sharpness and Hessian measurements (the latter
    takes at most 128 of them).
    """

    solver: str = "sam"
    rho: float = 0.05
    steps: int = 1000
    lr: float = 0.01
    augment: bool = False
    eval_every: int = 50
    sharpness_every: int = 100
    hessian_every: int = 200
    directions: int = 3
    probe_size: int = 512
    snapshots: int = 6
    asam_eta: float = 0.01
    fsam_sigma: float = 1.0
    fsam_lambda: float = 0.9
    lpf_gamma: float = 0.001
    lpf_draws: int = 1
    lpf_growth: float = 1.0
    clip_norm: float | None = None
    sharpness_rho: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(self.solver in SOLVERS, "solver", f"one of {SOLVERS}", self.solver)
        for name in ("rho", "asam_eta", "fsam_sigma", "lpf_gamma"):
            _require(getattr(self, name) >= 0, name, ">= 0", getattr(self, name))
        _require(0 <= self.fsam_lambda < 1, "fsam_lambda", "in [0, 1)", self.fsam_lambda)
        _require(self.lpf_draws >= 1, "lpf_draws", ">= 1", self.lpf_draws)
        _require(self.lpf_growth >= 1, "lpf_growth", ">= 1 (1 keeps the noise as it is)", self.lpf_growth)
        _require(self.clip_norm is None or self.clip_norm > 0, "clip_norm", "> 0 or none", self.clip_norm)
        _require(self.sharpness_rho is None or self.sharpness_rho >= 0, "sharpness_rho", ">= 0", self.sharpness_rho)
        _require(self.steps >= 1, "steps", ">= 1", self.steps)
        _require(self.snapshots >= 2, "snapshots", ">= 2", self.snapshots)
        _require(self.probe_size >= 1, "probe_size", ">= 1", self.probe_size)
        _require(self.directions >= 1, "directions", ">= 1", self.directions)
        for name in ("eval_every", "sharpness_every", "hessian_every"):
            _require(getattr(self, name) >= 0, name, ">= 0 steps (0 switches it off)", getattr(self, name))

    @property
    def measured_rho(self) -> float:
        """The radius at which the sharpness is measured: `sharpness_rho`, or without it `rho`.

        But 0.05 for asam and fsam, whose own radii are measured otherwise or longer: curves of one default are to be
        comparable.
        """
        if self.sharpness_rho is not None:
            return self.sharpness_rho
        return SOLVER_INFO["sam"].radius if self.solver in ("asam", "fsam") else self.rho


def effective(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings (as JSON) without those that do nothing: other solvers' own, and what is switched off by None.

    Two tunings are the same if these are. Records and jobs made before a setting existed lack it and compare as equal
    to those that leave it alone.

    >>> ["asam_eta" in effective(TuneSettings(solver=solver).to_json()) for solver in ("sam", "asam")]
    [False, True]
    """
    own = {name: solver for solver, info in SOLVER_INFO.items() for name in info.own}
    return {
        name: value
        for name, value in settings.items()
        if own.get(name) in (None, settings.get("solver"))
        and not (name in ("clip_norm", "sharpness_rho") and value is None)
    }


TRAIN_PRESETS: dict[str, TrainSettings] = {
    "paper": TrainSettings(),
    "cpu": TrainSettings(
        epochs=8, schedule="onecycle", drop_epochs=(), lr=0.2, precision="bf16", checkpoint_epochs=(2, 4, 6, 8)
    ),
    "digits": TrainSettings(
        epochs=30,
        schedule="onecycle",
        drop_epochs=(),
        lr=0.1,
        batch_size=64,
        augment=False,
        checkpoint_epochs=(6, 12, 18, 24, 30),
        save_every=50,
    ),
}
