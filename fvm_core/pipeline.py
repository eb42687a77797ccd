"""The main job in one go: train (unless the base exists), tune VM and FVM, score all three, score the snapshots.

Each part keeps its state and its result in a folder of its own, so a pipeline that was cut goes on where it stood.
"""

from __future__ import annotations

from typing import Any

from fvm_core.errors import JobError
from fvm_core.files import read_json, write_json
from fvm_core.influence.methods import METHODS
from fvm_core.jobs.context import JobContext
from fvm_core.jobs.kinds import load_kind
from fvm_core.jobs.nested import NestedContext
from fvm_core.models.store import list_models
from fvm_core.workspace import Workspace

SHARES = {"train": 40, "tune-vm": 10, "tune-fvm": 20, "score-base": 14, "score-vm": 14, "score-fvm": 14, "snapshots": 8}


def plan(args: dict[str, Any], workspace: Workspace) -> list[tuple[str, str, dict[str, Any]]]:
    """Return the parts as (name, kind, arguments) in order.

    `args` holds `prefix`, `dataset`, `validation` (names in the workspace); `model` and `train` (settings) unless a
    model named `PREFIX-base` exists; `tune` and `score` (settings shared by both solvers and all three models) and
    optionally `rho` and `snapshot_sample` (0 leaves the snapshots out). The base model is scored by every method but
    ours, which is made for tuned ones.

    Raises:
        JobError: neither a base model nor a description of one to train.
    """
    prefix, dataset, validation = args["prefix"], args["dataset"], args["validation"]
    parts: list[tuple[str, str, dict[str, Any]]] = []
    data = {"dataset": dataset, "validation": validation}
    base = f"{prefix}-base"
    if "model" in args:
        parts.append(("train", "train", {**data, "model": args["model"], "settings": args["train"], "name": base}))
    elif base not in list_models(workspace):
        raise JobError(f"model `{base}` is not in the workspace and no `model` to train was given.")
    for role, solver in (("vm", "sgd"), ("fvm", "sam")):
        settings = {**args.get("tune", {}), "solver": solver, "rho": args.get("rho", 0.05)}
        parts.append(
            (f"tune-{role}", "tune", {**data, "model": base, "settings": settings, "name": f"{prefix}-{role}"})
        )
    for role in ("base", "vm", "fvm"):
        name = f"{prefix}-{role}"
        methods = [key for key in METHODS if role != "base" or key != "influence"]
        scoring = {**data, "model": name, "methods": methods, "run": name, "settings": args.get("score", {})}
        parts.append((f"score-{role}", "score", scoring))
    if args.get("snapshot_sample", 2000):
        sample = {"sample": args.get("snapshot_sample", 2000), "seed": 0, "settings": args.get("score", {})}
        parts.append(("snapshots", "snapshots", {**data, "model": f"{prefix}-fvm", "run": f"{prefix}-fvm", **sample}))
    return parts


def run(context: JobContext, args: dict[str, Any], workspace: Workspace) -> dict[str, Any]:
    """Run all parts; returns {part: its result}. Finished parts are not run twice. Job function of kind `pipeline`."""
    parts = plan(args, workspace)
    scale = sum(SHARES[name] for name, _, _ in parts)
    results: dict[str, Any] = {}
    start = 0
    for name, kind, arguments in parts:
        end = start + SHARES[name]
        part = NestedContext(context, name=name, start=start, end=end, scale=scale)
        finished = part.path("result.json")
        if finished.exists():
            results[name] = read_json(finished, what="finished part")
        elif kind in ("train", "tune") and made_before(arguments, workspace):
            results[name] = {"model": arguments["name"], "notes": ["made before with the same settings: kept"]}
        else:
            try:
                results[name] = load_kind(kind)(part, arguments, workspace)
            finally:
                part.close()
            write_json(finished, results[name])
        start = end
        part.progress(1, 1, "done")
    return results


def made_before(arguments: dict[str, Any], workspace: Workspace) -> bool:
    """Say whether a model of this name, from the same parent and settings, is in the workspace already."""
    record = list_models(workspace).get(arguments["name"])
    if record is None or record.parent != (arguments["model"] if isinstance(arguments["model"], str) else ""):
        return False
    kept = {key: list(value) if isinstance(value, tuple) else value for key, value in record.settings.items()}
    wanted = {k: list(v) if isinstance(v, tuple) else v for k, v in arguments["settings"].items()}
    return all(kept.get(key) == value for key, value in wanted.items())
