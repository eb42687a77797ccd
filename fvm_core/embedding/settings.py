"""Settings of a map. No torch here: pages and the command line read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fvm_core.field_types import check_known, check_rules, check_types


@dataclass(frozen=True, kw_only=True)
class MapSettings:
    """`n_neighbors` (larger: more of the whole, less detail) and `min_dist` (how tightly points may lie) are UMAP's.

    UMAP is fitted to `limit` images drawn by `seed`; the others are put into the finished map. `batch_size` images go
    through the model at once.
    """

    n_neighbors: int = 15
    min_dist: float = 0.1
    limit: int = 60_000
    seed: int = 0
    batch_size: int = 256

    def __post_init__(self) -> None:
        check_types(self)
        rules = (
            (2 <= self.n_neighbors <= 200, "n_neighbors", "from 2 to 200"),
            (0 <= self.min_dist <= 1, "min_dist", "from 0 to 1"),
            (self.limit >= 100, "limit", ">= 100"),
            (self.seed >= 0, "seed", ">= 0"),
            (self.batch_size >= 1, "batch_size", ">= 1"),
        )
        check_rules(self, rules)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> MapSettings:
        """Build from a mapping. Raises SettingsError for an unknown key or a value out of range."""
        check_known(cls, value)
        return cls(**value)
