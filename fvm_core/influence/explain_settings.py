"""Settings of an explanation. No torch here: pages and the command line read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fvm_core.field_types import check_known, check_rules, check_types

SETS = ("validation", "training")
SECOND = ("top", "all", "gauss-newton", "none")


@dataclass(frozen=True, kw_only=True)
class ExplainSettings:
    """`damping`: d in P = (F + d)^-1, `epsilon`: the weight in Eq. 20 (B.2: 0.01). `limit`: look at a random sample of
    so many training images, and of as many validation images, drawn by `seed`; None: at all.

    `second` says for which images the second-order term is computed: exactly for the `top` of each set with the largest
    |first-order term|, exactly for `all`, for all by the `gauss-newton` matrix (never negative, without the curvature
    of the logits; one more pass a class at most), or for `none`.
    """

    damping: float = 1e-8
    epsilon: float = 0.01
    limit: int | None = 5000
    batch_size: int = 64
    seed: int = 0
    second: str = "top"
    top: int = 200

    def __post_init__(self) -> None:
        check_types(self)
        rules = (
            (self.damping >= 0, "damping", ">= 0"),
            (self.epsilon > 0, "epsilon", "> 0"),
            (self.limit is None or self.limit >= 1, "limit", ">= 1, or none for all"),
            (self.batch_size >= 1, "batch_size", ">= 1"),
            (self.seed >= 0, "seed", ">= 0"),
            (self.second in SECOND, "second", f"one of {SECOND}"),
            (self.top >= 1, "top", ">= 1"),
        )
        check_rules(self, rules)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ExplainSettings:
        """Build from a mapping. Raises SettingsError for an unknown key or a value out of range."""
        check_known(cls, value)
        return cls(**value)
