"""What an experiment is asked to do: tables and figures, datasets, base model, preset and seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

from fvm_core.data.registry import read_spec
from fvm_core.errors import SettingsError
from fvm_core.experiments.presets import PRESETS, Preset
from fvm_core.experiments.tables import chosen_what, primary, setting_of
from fvm_core.files import slug
from fvm_core.provenance import digest
from fvm_core.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The arguments of a job of kind `reproduce`.

    `what`: keys of tables and figures, or `all`. `data`: names of noisy training sets; `validation`: a clean set.
    `model`: an existing base model, seeds then vary tuning and scoring only; None: the preset's network is trained for
    each dataset and seed. `changes` of the preset by dotted names. `seeds_elsewhere`: how many of the seeds the
    datasets beside the primary one get; None: as the preset says. `name` of the folder that the tables go to.
    """

    what: tuple[str, ...]
    data: tuple[str, ...]
    validation: str
    model: str | None = None
    preset: str = "cpu"
    changes: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0, 1, 2)
    seeds_elsewhere: int | None = None
    name: str = ""
    allow_custom: bool = False

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise SettingsError(f"`preset` must be one of {list(PRESETS)}, got {self.preset!r}.")
        if not self.data or len(set(self.data)) < len(self.data):
            raise SettingsError(f"`data` must be names of datasets, each once, got {list(self.data)}.")
        whole = all(isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 for seed in self.seeds)
        if not self.seeds or not whole or len(set(self.seeds)) < len(self.seeds):
            raise SettingsError(f"`seeds` must be whole numbers >= 0, each once, got {list(self.seeds)}.")
        if self.seeds_elsewhere is not None and self.seeds_elsewhere < 1:
            raise SettingsError(
                f"`seeds_elsewhere` must be >= 1, or none for the preset's, got {self.seeds_elsewhere}."
            )

    @property
    def title(self) -> str:
        """Return the name of the experiment's folder: the one given, else preset and base model."""
        return slug(self.name or "-".join(filter(None, (self.preset, self.model))))

    @cached_property
    def recipe(self) -> Preset:
        """Return the preset with its changes. Raises SettingsError for an unknown one or a value out of range."""
        return PRESETS[self.preset].with_changes(self.changes)

    def settings(self, workspace: Workspace) -> list[str]:
        """Return which of the paper's label settings each dataset is. Raises DataError for an unknown name."""
        return [setting_of(read_spec(workspace, name)) for name in self.data]

    def wanted(self, workspace: Workspace) -> tuple[str, ...]:
        """Return tables and figures in their order, `all` spelt out. Raises SettingsError for an unknown one."""
        return chosen_what(self.what, self.settings(workspace))

    def seeds_of(self, place: int, settings: list[str]) -> tuple[int, ...]:
        """Return the seeds of the dataset number `place`: all for the primary one, a few for others."""
        few = self.seeds_elsewhere if self.seeds_elsewhere is not None else self.recipe.seeds_elsewhere
        return self.seeds if place == primary(settings) or few is None else self.seeds[:few]

    def to_json(self) -> dict[str, Any]:
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
        return {**plain, "changes": dict(self.changes)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Grid:
        """Build from a mapping. Raises SettingsError for a missing or unknown key or a value out of range."""
        if {"what", "data", "validation"} - set(value) or set(value) - set(cls.__dataclass_fields__):
            raise SettingsError(
                f"an experiment must have `what`, `data`, `validation` and only keys among "
                f"{list(cls.__dataclass_fields__)}, got {sorted(value)}."
            )
        items: dict[str, Any] = {key: tuple(item) if isinstance(item, list) else item for key, item in value.items()}
        return cls(**items)


def recipe_mark(preset: Preset, *, validation: str, model: str) -> str:
    """Return a digest of what all rows of a table must share: the preset's values that decide a score, the validation
    set's fingerprint and the base model's hash ("" where one is trained for each seed)."""
    aside = ("rate", "score_rate", "seeds_elsewhere", "name")
    value = {key: item for key, item in preset.to_json().items() if key not in aside and not key.startswith("figure")}
    return digest([value, validation, model])[:20]
