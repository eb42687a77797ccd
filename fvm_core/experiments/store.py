"""Where experiments live: tables by name, and below `.store` the models and scores that all of them share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fvm_core.files import slug
from fvm_core.workspace import Workspace

FOLDER = "experiments"


@dataclass(frozen=True)
class Store(Workspace):
    """A workspace of its own inside a person's, so that hundreds of models and score files of a grid do not crowd their
    lists. Everything in it is kept under a digest of what it was made from. Decoded pixels are the person's."""

    @property
    def cache(self) -> Path:
        return self.root.parent.parent / "cache"

    @property
    def parts(self) -> Path:
        return self.root / "parts"

    @property
    def ids(self) -> Path:
        return self.root / "ids"


def open_store(workspace: Workspace) -> Store:
    """Return the store of a workspace; it may be deleted when no experiment runs, and is then made anew."""
    return Store(workspace.root / FOLDER / ".store")


def experiment_folder(workspace: Workspace, name: str) -> Path:
    """Return experiments/NAME, the folder of an experiment's tables. Raises DataError for a name without a letter."""
    return workspace.root / FOLDER / slug(name)
