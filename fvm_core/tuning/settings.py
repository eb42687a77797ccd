"""Settings of training and tuning. Defaults are the paper's (B.1). No torch here: pages read it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from fvm_core.errors import SettingsError
from fvm_core.field_types import check_types

SOLVERS = ("sgd", "sam")
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
        known = {item.name: item for item in fields(cls)}
        unknown = set(value) - set(known)
        if unknown:
            raise SettingsError(f"unknown settings {sorted(unknown)}; known are {sorted(known)}.")
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
    """Tuning on the clean validation set: `sgd` gives VM, `sam` gives FVM (radius `rho`), lr with a cosine to 0.

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

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(self.solver in SOLVERS, "solver", f"one of {SOLVERS}", self.solver)
        _require(self.rho >= 0, "rho", ">= 0", self.rho)
        _require(self.steps >= 1, "steps", ">= 1", self.steps)
        _require(self.snapshots >= 2, "snapshots", ">= 2", self.snapshots)
        _require(self.probe_size >= 1, "probe_size", ">= 1", self.probe_size)
        _require(self.directions >= 1, "directions", ">= 1", self.directions)
        for name in ("eval_every", "sharpness_every", "hessian_every"):
            _require(getattr(self, name) >= 0, name, ">= 0 steps (0 switches it off)", getattr(self, name))


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
