"""How far a person is on the way Load, Tune, Score, Compare, Review: read from the workspace, not remembered."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from fvm_core.data.registry import list_datasets
from fvm_core.errors import StorageError
from fvm_core.jobs.status import JobStatus
from fvm_core.models.store import list_models
from fvm_core.review.log import DecisionLog
from fvm_core.workspace import Workspace

DONE, UNDER_WAY, NEXT, LATER = "done", "under way", "next", "later"
WORK = {"train": "load", "import_model": "load", "tune": "tune", "score": "score", "snapshots": "score"}
"""The step that a kind of job works on. The demo and the main job say in their message which kind they are at."""


@dataclass(frozen=True)
class Step:
    """One station of the workflow: the page behind it, what one does there, what is there, and its state."""

    page: str
    does: str
    found: str
    state: str


def count(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun.

    >>> count(1, "dataset"), count(2, "dataset")
    ('1 dataset', '2 datasets')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def steps(
    *, datasets: int, models: Mapping[str, int], scores: int, decisions: int, at_work: Collection[str] = ()
) -> list[Step]:
    """Return the five steps; those in `at_work` are under way, the first one of the others that is not done is "next".
    While scores are being made, nothing is compared for good.

    `models` counts by role; `scores` are score files; `decisions` are labels reviewed.
    """
    tuned = models.get("vm", 0) + models.get("fvm", 0)
    untuned = sum(models.values()) - tuned
    done = {
        "load": datasets > 0 and sum(models.values()) > 0,
        "tune": tuned > 0,
        "score": scores > 0,
        "compare": scores > 1 and "score" not in at_work,
        "review": decisions > 0,
    }
    texts = {
        "load": (
            "A dataset with noisy labels, a checkpoint, a small clean set",
            f"{count(datasets, 'dataset')}, {count(untuned, 'checkpoint')}",
        ),
        "tune": ("Move the checkpoint to a flat minimum of the clean loss", count(tuned, "tuned model")),
        "score": ("Ask how hard each label pulls the model away", count(scores, "score file")),
        "compare": ("Standard influence, VM, FVM and plain baselines side by side", ""),
        "review": ("Look at the flagged images, decide, export the labels", count(decisions, "decision")),
    }
    following = next((page for page in texts if not done[page] and page not in at_work), "")
    states = {
        page: UNDER_WAY if page in at_work else DONE if done[page] else NEXT if page == following else LATER
        for page in texts
    }
    return [Step(page, does, found, states[page]) for page, (does, found) in texts.items()]


def at_work(jobs: Iterable[JobStatus]) -> set[str]:
    """Return the steps that jobs are at, waiting and paused ones included.

    >>> at_work([JobStatus("x", "demo", "Demo", "running", message="tune-fvm: step 90 of 300")])
    {'tune'}
    """
    active = [status for status in jobs if status.active]
    kinds = [status.message if status.kind in ("demo", "pipeline") else status.kind for status in active]
    return {WORK[kind] for text in kinds if (kind := re.split("[-:]", text)[0]) in WORK}


def find_steps(workspace: Workspace, jobs: Iterable[JobStatus] = ()) -> list[Step]:
    """Return the steps as the workspace stands and as `jobs` work on it. Raises FVMError where a part of it cannot be
    read."""
    roles: dict[str, int] = {}
    for record in list_models(workspace).values():
        roles[record.role] = roles.get(record.role, 0) + 1
    scores = sum(1 for path in workspace.scores.glob("*/*.parquet") if path.stem != "snapshots")
    return steps(
        datasets=len(list_datasets(workspace)), models=roles, scores=scores, decisions=_decisions(workspace),
        at_work=at_work(jobs),
    )  # fmt: skip


def _decisions(workspace: Workspace) -> int:
    """Return how many samples are decided; 0 where the database does not answer soon, for this is a hint only."""
    url, file = workspace.review_url, workspace.root / "review.sqlite"
    if url == f"sqlite:///{file}" and not file.exists():
        return 0
    try:
        log = DecisionLog(url, patience=1.0)
        try:
            return log.decided()
        finally:
            log.close()
    except StorageError:
        return 0
