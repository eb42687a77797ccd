"""The one folder where a person's datasets, models, jobs, scores and reviews live."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Workspace:
    """Paths below one root folder. Nothing outside it is ever written by the app.

    `datasets/NAME.json` one DatasetSpec each; `models/NAME/` model.safetensors and model.json;
    `jobs/ID/` one folder a job; `scores/RUN/METHOD.parquet`; `explanations/KEY.parquet`;
    `cache/` decoded pixels and Fishers (may be deleted at any time);
    `uploads/` files from the browser under names of ours; `exports/`;
    `reviewers/` each person's keys as older versions kept them; `review.sqlite`.
    """

    root: Path

    @property
    def datasets(self) -> Path:
        return self.root / "datasets"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def jobs(self) -> Path:
        return self.root / "jobs"

    @property
    def scores(self) -> Path:
        return self.root / "scores"

    @property
    def explanations(self) -> Path:
        return self.root / "explanations"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def uploads(self) -> Path:
        return self.root / "uploads"

    @property
    def exports(self) -> Path:
        return self.root / "exports"

    @property
    def reviewers(self) -> Path:
        return self.root / "reviewers"

    @property
    def review_url(self) -> str:
        """The review database: `FVM_STUDIO_REVIEW_URL` (a team's PostgreSQL; it may hold a password, so show it
        nowhere), by default `review.sqlite` in this folder."""
        return os.environ.get("FVM_STUDIO_REVIEW_URL", "").strip() or f"sqlite:///{self.root / 'review.sqlite'}"


def current_workspace() -> Workspace:
    """Return the workspace named by `FVM_STUDIO_HOME`, or `~/.fvm-studio`; its folder is made if missing."""
    root = Path(os.environ.get("FVM_STUDIO_HOME") or Path.home() / ".fvm-studio").expanduser().resolve()
    root.mkdir(parents=True, exist_ok=True)
    return Workspace(root)
