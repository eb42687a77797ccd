"""Settings of the jobs behind the Learn page. No torch here: pages and the command line read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fvm_core.field_types import check_known, check_rules, check_types


@dataclass(frozen=True, kw_only=True)
class LandscapeSettings:
    """`side` points along each axis. Random planes reach from -`extent` to `extent`, where 1 is each filter's norm; the
    plane through three models reaches `margin` of its size beyond them. `samples` of each set, drawn by `seed`,
    which also draws the directions.

    Raises:
        SettingsError: a number out of its range.
    """

    side: int = 21
    extent: float = 1.0
    margin: float = 0.4
    samples: int = 256
    batch_size: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        rules = (
            (3 <= self.side <= 201 and self.side % 2 == 1, "side", "odd, from 3 to 201, so that the centre is a point"),
            (self.extent > 0, "extent", "> 0"),
            (self.margin >= 0, "margin", ">= 0"),
            (self.samples >= 1, "samples", ">= 1"),
            (self.batch_size >= 1, "batch_size", ">= 1"),
            (self.seed >= 0, "seed", ">= 0"),
        )
        check_rules(self, rules)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LandscapeSettings:
        """Build from a mapping. Raises SettingsError for an unknown key or a value out of range."""
        check_known(cls, value)
        return cls(**value)


@dataclass(frozen=True, kw_only=True)
class FlagSettings:
    """`damping`: d in g^2 / (F + d), as the image was scored with; `top`: terms listed of each parameter and label.

    Raises:
        SettingsError: a number out of its range.
    """

    damping: float = 1e-8
    top: int = 5
    batch_size: int = 64

    def __post_init__(self) -> None:
        check_types(self)
        rules = (
            (self.damping >= 0, "damping", ">= 0"), (self.top >= 1, "top", ">= 1"),
            (self.batch_size >= 1, "batch_size", ">= 1"),
        )  # fmt: skip
        check_rules(self, rules)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> FlagSettings:
        """Build from a mapping. Raises SettingsError for an unknown key or a value out of range."""
        check_known(cls, value)
        return cls(**value)
