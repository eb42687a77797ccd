"""Learn page: which base, VM and FVM belong together, and which datasets they were made with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fvm_core.data.registry import list_datasets
from fvm_core.models.store import ModelRecord, list_models
from fvm_core.workspace import Workspace


@dataclass(frozen=True)
class Family:
    """Models of one base in the order base, VM, FVM (the newest of each), and the datasets they were tuned with."""

    models: tuple[str, ...]
    dataset: str
    validation: str


def families(workspace: Workspace) -> dict[str, Family]:
    """Return the families by their base's name, those of three first; a model without relatives is a family of one.

    Left out: models whose validation set or training set is not in the workspace (any more).
    """
    models, known = list_models(workspace), list_datasets(workspace)
    found: dict[str, Family] = {}
    for name, record in models.items():
        if record.role not in ("base", "imported"):
            continue
        tuned = {
            other.role: other.name for other in models.values() if other.parent == name and other.spec == record.spec
        }
        members = (name, *(tuned[role] for role in ("vm", "fvm") if role in tuned))
        dataset, validation = (_first(models, members, part, known) for part in ("dataset", "validation"))
        if dataset and validation:
            found[name] = Family(members, dataset, validation)
    return dict(sorted(found.items(), key=lambda item: -len(item[1].models)))


def _first(models: Mapping[str, ModelRecord], members: tuple[str, ...], part: str, known: Mapping[str, object]) -> str:
    """Return the first dataset that a member's record names as its `part`, the last tuned asked first."""
    named = (str(getattr(models[name], part).get("name", "")) for name in reversed(members))
    return next((name for name in named if name in known), "")
