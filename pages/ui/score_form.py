"""What the Score page asks for, and the jobs it starts from the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from fvm_core.errors import DataError, JobError
from fvm_core.files import slug
from fvm_core.influence.methods import METHODS
from fvm_core.influence.store import default_run
from fvm_core.jobs.folder import open_folder
from fvm_core.jobs.status import list_jobs
from fvm_core.models.store import ModelRecord
from fvm_core.workspace import Workspace
from pages.ui.score_sets import ScoreFile
from pages.ui.theme import model_title

Checkpoint = tuple[str, int]
CLEAN_WORDS = ("valid", "test", "clean")


@dataclass(frozen=True)
class Planned:
    """One scoring job to start: `args` are the job's own; `replaces` score files of this run will be written anew."""

    run: str
    title: str
    args: dict[str, Any]
    replaces: int


def likely_sets(names: Sequence[str], record: ModelRecord | None) -> tuple[str, str]:
    """Return (training set, validation set) to start with: those the model was made with, else by their names.

    >>> likely_sets(["digits-validation", "digits"], None)
    ('digits', 'digits-validation')
    """
    sound = [name for name in names if any(word in name for word in CLEAN_WORDS)]
    noisy = [name for name in names if name not in sound]
    used = str(record.dataset.get("name", "")) if record else ""
    training = used if used in names else (noisy or list(names))[0]
    used = str(record.validation.get("name", "")) if record else ""
    others = [name for name in (*sound, *names) if name != training]
    return training, used if used in names else (others or [training])[0]


def run_name(model: str, dataset: str, files: Sequence[ScoreFile], checkpoint: int | None = None) -> str:
    """Return the folder of a model's scores: the model's name, with the epoch of a checkpoint, and with the dataset's
    name when that folder holds another's.

    >>> run_name("demo-fvm", "digits", []), run_name("demo-base", "digits", [], 4)
    ('demo-fvm', 'demo-base-epoch-004')
    """
    run = default_run(model, checkpoint)
    others = {item.dataset for item in files if item.run == run} - {dataset}
    return slug(f"{run}-{dataset}") if others else run


def plan(
    models: Sequence[str],
    *,
    dataset: str,
    validation: str,
    methods: Sequence[str],
    settings: Mapping[str, Any],
    files: Sequence[ScoreFile],
    checkpoints: Sequence[Checkpoint] = (),
    untraced: Sequence[str] = (),
) -> list[Planned]:
    """Return one job a model and one a checkpoint, in the order given; methods are put into the order of METHODS.

    Models in `untraced` kept nothing during a training: they get no TracIn, and no job if that was all.
    """
    planned = []
    for model, epoch in [*((model, None) for model in models), *checkpoints]:
        chosen = [key for key in METHODS if key in methods and (key != "tracin" or model not in untraced)]
        if not chosen:
            continue
        run = run_name(model, dataset, files, epoch)
        args: dict[str, Any] = {
            "model": model, "dataset": dataset, "validation": validation, "methods": chosen, "run": run,
            "settings": dict(settings),
        }  # fmt: skip
        title = f"Score {dataset} with {model}"
        if epoch is not None:
            args["checkpoint"] = epoch
            title += f", epoch {epoch}"
        replaces = sum(item.run == run and item.method in chosen for item in files)
        planned.append(Planned(run, title, args, replaces))
    return planned


def checkpoints_of(models: Mapping[str, ModelRecord]) -> list[Checkpoint]:
    """Return every (model, epoch) whose weights were kept during training."""
    return [(name, int(item["epoch"])) for name, record in models.items() for item in record.checkpoints]


def busy_runs(workspace: Workspace, kind: str) -> dict[str, str]:
    """Return {run: title of the job} of the runs that an active job of this kind (score, snapshots) writes into."""
    runs = {}
    for job in list_jobs(workspace):
        if job.active and job.kind == kind:
            try:
                runs[str(open_folder(workspace, job.id).read_spec().args.get("run", ""))] = job.title
            except (JobError, DataError):
                continue
    return runs


def role_title(record: ModelRecord) -> str:
    """Return a model as a select box shows it (plain text).

    >>> from fvm_core.models.spec import ModelSpec
    >>> role_title(ModelRecord("demo-fvm", "fvm", ModelSpec("digits_cnn", 10)))
    'demo-fvm · FVM (SAM)'
    """
    return f"{record.name} · {model_title(record.role, record.settings.get('solver'))}"


def newest_of_each_role(models: Mapping[str, ModelRecord]) -> list[str]:
    """Return the latest base, VM and FVM model (an imported one stands in for a missing base), in this order."""
    newest = {record.role: name for name, record in models.items()}
    if "base" not in newest and "imported" in newest:
        newest["base"] = newest["imported"]
    return [newest[role] for role in ("base", "vm", "fvm") if role in newest]


def methods_table() -> pd.DataFrame:
    """Return what each method is: columns Method, Likely mislabeled when, Suggests labels, What it says, Source."""
    return pd.DataFrame(
        [
            {
                "Method": method.title,
                "Likely mislabeled": "high score" if method.suspicious > 0 else "low score",
                "Suggests a label": "yes" if method.relabels else "no",
                "What the score says": method.explains[:1].upper() + method.explains[1:],
                "Source": method.source,
            }
            for method in METHODS.values()
        ]
    )
