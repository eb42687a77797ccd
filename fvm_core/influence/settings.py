"""Settings of scoring. No torch here: pages and the command line read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fvm_core.field_types import check_known, check_rules, check_types

RELABEL_MODES = ("all", "shortlist", "none")
PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True, kw_only=True)
class ScoreSettings:
    """`damping`: d in s = sum g^2 / (F + d) (Eq. 21, 25). `relabel`: all classes exactly; only those that can win
    (`shortlist`, the same suggestion); or none. `precision`: that of what convolutions multiply, in the passes and in
    their squared gradients; sums, all else and curvature by LiSSA, DataInf or EK-FAC stay fp32. `limit`: score a random
    sample of so many rows, drawn by `seed`.

    LiSSA (Eq. 6): `lissa_depth` steps r <- v + (1 - lissa_damping) r - H r / lissa_scale, averaged over
    `lissa_repeats`; the inverse is that of H + lissa_damping * lissa_scale. `lissa_scale` None: from the Hessian's top
    eigenvalue, and doubled when the recursion grows.

    `curvature_samples`: so many training samples, drawn by `seed`, in the sums over the training set (DataInf, EK-FAC,
    the training Fisher); None: all. `datainf_damping`: share of a layer's mean squared gradient; `ekfac_damping`: share
    of its mean eigenvalue. `random_vectors`: draws V of C.4 for s by LiSSA and DataInf.

    TracIn: `tracin_checkpoints` of those that training kept, evenly spaced, the last among them. GEX: `gex_members`
    models, each tuned from the scored one on the validation set for `gex_steps` at `gex_lr` (B.1).
    """

    damping: float = 1e-8
    batch_size: int = 64
    relabel: str = "shortlist"
    precision: str = "fp32"
    seed: int = 0
    limit: int | None = None
    lissa_depth: int = 200
    lissa_scale: float | None = None
    lissa_damping: float = 0.01
    lissa_repeats: int = 1
    curvature_samples: int | None = None
    datainf_damping: float = 0.1
    ekfac_damping: float = 0.1
    random_vectors: int = 5
    tracin_checkpoints: int = 5
    gex_members: int = 32
    gex_steps: int = 1000
    gex_lr: float = 0.01

    def __post_init__(self) -> None:
        check_types(self)
        rules = (
            (self.damping >= 0, "damping", ">= 0"),
            (self.batch_size >= 1, "batch_size", ">= 1"),
            (self.relabel in RELABEL_MODES, "relabel", f"one of {RELABEL_MODES}"),
            (self.precision in PRECISIONS, "precision", f"one of {PRECISIONS}"),
            (self.seed >= 0, "seed", ">= 0"),
            (self.limit is None or self.limit >= 1, "limit", ">= 1, or none for all"),
            (self.lissa_depth >= 1, "lissa_depth", ">= 1"),
            (self.lissa_scale is None or self.lissa_scale > 0, "lissa_scale", "> 0, or none for automatic"),
            (0 <= self.lissa_damping < 1, "lissa_damping", "in [0, 1)"),
            (self.lissa_repeats >= 1, "lissa_repeats", ">= 1"),
            (
                self.curvature_samples is None or self.curvature_samples >= 1,
                "curvature_samples",
                ">= 1, or none for all",
            ),
            (self.datainf_damping > 0, "datainf_damping", "> 0"),
            (self.ekfac_damping > 0, "ekfac_damping", "> 0"),
            (self.random_vectors >= 1, "random_vectors", ">= 1"),
            (self.tracin_checkpoints >= 1, "tracin_checkpoints", ">= 1"),
            (self.gex_members >= 1, "gex_members", ">= 1"),
            (self.gex_steps >= 1, "gex_steps", ">= 1"),
            (self.gex_lr > 0, "gex_lr", "> 0"),
        )
        check_rules(self, rules)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ScoreSettings:
        """Build from a mapping. Raises SettingsError for an unknown key or a value out of range.

        >>> ScoreSettings.from_json({"relabel": "all"}).relabel
        'all'
        """
        check_known(cls, value)
        return cls(**value)
