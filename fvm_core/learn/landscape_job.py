"""The landscape job: loss around one to three networks along random directions, and on the plane through three."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from fvm_core.errors import DataError
from fvm_core.influence.task import Task, open_task
from fvm_core.jobs.context import JobContext, JobStopped
from fvm_core.learn.landscape import BATCHNORM, Plane, filter_normalised, move, plane_through
from fvm_core.learn.settings import LandscapeSettings
from fvm_core.learn.store import LANDSCAPE, landscape_key, learn_path, write_table
from fvm_core.models.checkpoint import load_model
from fvm_core.provenance import machine, now, version
from fvm_core.tuning.batches import fixed_sample
from fvm_core.tuning.evaluate import evaluate
from fvm_core.tuning.feed import Feed
from fvm_core.workspace import Workspace

MOST = 3


@dataclass(frozen=True)
class Row:
    """Points that are computed at one go: `put(x, y)` moves the model to one of them."""

    panel: str
    model: str
    points: tuple[tuple[float, float], ...]
    put: Callable[[float, float], None]


def run(context: JobContext, args: dict[str, Any], workspace: Workspace) -> dict[str, Any]:
    """Write learn/landscape-KEY.parquet. Job function of kind `landscape`.

    `args`: models (one to three names of one architecture; with three, the plane through them is computed too), dataset
    (noisy training set), validation, settings (LandscapeSettings). A landscape that is there is not computed again; a
    job that was killed keeps its finished rows. Returns {"key", "file", "points"}.

    Raises:
        DataError: no or too many models, other architectures, or three models on one line.
        FVMError: see `open_task`.
        JobStopped: the person asked to stop.
    """
    settings = LandscapeSettings.from_json(args.get("settings") or {})
    names = [str(name) for name in args.get("models") or ()]
    if not 1 <= len(names) <= MOST or len(set(names)) < len(names):
        raise DataError(f"`models` must be one to {MOST} different models, got {names}. Choose them by name.")
    opening = {**args, "model": names[0], "methods": ["loss"], "settings": {"batch_size": settings.batch_size}}
    task = open_task(context, opening, workspace)
    custom = bool(args.get("allow_custom"))
    loaded = [load_model(workspace, name, allow_custom=custom) for name in names]
    for _, record in loaded:
        if (record.spec.arch, record.spec.width) != (task.record.spec.arch, task.record.spec.width):
            raise DataError(
                f"`models` must have one architecture, but {record.name!r} is another network than {names[0]!r}. "
                "Choose models that were tuned from one checkpoint."
            )
    hashes = [record.sha256 for _, record in loaded]
    prints = [task.described[part]["fingerprint"] for part in ("dataset", "validation")]
    key = landscape_key(hashes, prints[0], prints[1], settings)
    path = learn_path(workspace, "landscape", key)
    rows = list(_rows(task.model, dict(zip(names, [model for model, _ in loaded], strict=True)), settings))
    if not path.exists():
        losses = _losses(context, task, rows, settings, key)
        frame = pd.DataFrame(
            [(row.panel, row.model, x, y) for row in rows for x, y in row.points], columns=["panel", "model", "x", "y"]
        ).assign(validation_loss=losses[:, 0], training_loss=losses[:, 1])
        made = {"models": dict(zip(names, hashes, strict=True)), "settings": settings.to_json(), "notes": [BATCHNORM]}
        origin = {"dataset": task.described["dataset"], "validation": task.described["validation"]}
        write_table(
            path, frame, LANDSCAPE,
            {**made, **origin, "version": version(), "created": now(), "machine": machine()},
        )  # fmt: skip
    return {"key": key, "file": str(path), "points": sum(len(row.points) for row in rows)}


def _rows(work: nn.Module, models: dict[str, nn.Module], settings: LandscapeSettings) -> Iterator[Row]:
    device = next(work.parameters()).device
    states = {
        name: {key: value.to(device) for key, value in model.state_dict().items()} for name, model in models.items()
    }
    if len(models) == MOST:
        plane = plane_through(work, tuple(states.values()))  # type: ignore[arg-type]
        for name, point in zip(models, plane.points, strict=True):
            yield Row("point", name, (point,), _on(plane, work))
        ends = [(min(p[i] for p in plane.points), max(p[i] for p in plane.points)) for i in (0, 1)]
        room = settings.margin * max(high - low for low, high in ends)
        xs, ys = (np.linspace(low - room, high + room, settings.side).tolist() for low, high in ends)
        for y in ys:
            yield Row("plane", "", tuple((x, y) for x in xs), _on(plane, work))
    steps = np.linspace(-settings.extent, settings.extent, settings.side)
    steps[settings.side // 2] = 0.0
    for name, model in models.items():
        moved = [filter_normalised(model.to(device), seed=settings.seed, number=number) for number in (0, 1)]

        def put(x: float, y: float, name: str = name, moved: list[Any] = moved) -> None:
            work.load_state_dict(states[name])
            move(work, states[name], (moved[0], moved[1]), x, y)

        for y in steps.tolist():
            yield Row("random", name, tuple((x, y) for x in steps.tolist()), put)


def _on(plane: Plane, model: nn.Module) -> Callable[[float, float], None]:
    return lambda x, y: plane.put(model, x, y)


def _losses(context: JobContext, task: Task, rows: list[Row], settings: LandscapeSettings, key: str) -> np.ndarray:
    """Return (points, 2) validation and training loss; finished rows are in the job's state."""
    state = context.load_state() or {}
    kept: list[list[list[float]]] = state["losses"] if state.get("plan") == key else []
    total = sum(len(row.points) for row in rows)
    sets = [_sample(feed, settings) for feed in (task.validation, task.train)]
    done = sum(len(part) for part in kept)
    for row in rows[len(kept) :]:
        part = []
        for x, y in row.points:
            row.put(x, y)
            part.append(
                [evaluate(task.model, fetch, where, batch_size=settings.batch_size)[0] for fetch, where in sets]
            )
        kept.append(part)
        done += len(part)
        context.save_state({"plan": key, "losses": kept})
        place = {"plane": "The plane through the models", "point": "The models themselves"}.get(row.panel)
        context.progress(done, total, place or f"Around {row.model}")
        if context.checkpoint() and done < total:
            raise JobStopped
    return np.array([pair for part in kept for pair in part])


def _sample(feed: Feed, settings: LandscapeSettings) -> tuple[Callable[[Any], Any], np.ndarray]:
    """Return a fixed sample of a feed, read once, as `evaluate` takes it."""
    x, y = feed.batch(fixed_sample(len(feed), settings.samples, seed=settings.seed))
    return lambda places: (
        x[torch.from_numpy(places).to(x.device)],
        y[torch.from_numpy(places).to(y.device)],
    ), np.arange(len(y))
