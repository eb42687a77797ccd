"""The main job in one go: train (unless the base exists), tune VM and FVM, score all three, score the snapshots.

Each part keeps its state and its result in a folder of its own, so a pipeline that was cut goes on where it stood.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fvm_core.data.registry import open_named
from fvm_core.data.validation import with_names_of
from fvm_core.errors import JobError
from fvm_core.files import read_json, write_json
from fvm_core.influence.methods import DEFAULT_METHODS
from fvm_core.jobs.context import JobContext
from fvm_core.jobs.kinds import load_kind
from fvm_core.jobs.nested import NestedContext
from fvm_core.models.spec import ModelSpec
from fvm_core.models.store import ModelRecord, list_models
from fvm_core.tuning.settings import TrainSettings, TuneSettings, effective
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
        methods = [key for key in DEFAULT_METHODS if role != "base" or key != "influence"]
        scoring = {**data, "model": name, "methods": methods, "run": name, "settings": args.get("score", {})}
        parts.append((f"score-{role}", "score", scoring))
    if args.get("snapshot_sample", 2000):
        sample = {"sample": args.get("snapshot_sample", 2000), "seed": 0, "settings": args.get("score", {})}
        parts.append(("snapshots", "snapshots", {**data, "model": f"{prefix}-fvm", "run": f"{prefix}-fvm", **sample}))
    return parts


def run(context: JobContext, args: dict[str, Any], workspace: Workspace) -> dict[str, Any]:
    """Run all parts; returns {part: its result}. Finished parts are not run twice. Job function of kind `pipeline`.

    Raises:
        JobError: a model that a part would make exists and is another one; said before the first part starts.
        FVMError: what a part raises.
    """
    parts = plan(args, workspace)
    for name, kind, arguments in parts:
        if kind in ("train", "tune") and not context.path("parts", name, "result.json").exists():
            made_before(arguments, workspace)
    scale = sum(SHARES[name] for name, _, _ in parts)
    results: dict[str, Any] = {}
    start = 0
    renamed: dict[str, str] = {}
    for name, kind, arguments in parts:
        if isinstance(arguments["model"], str):
            arguments = {**arguments, "model": renamed.get(arguments["model"], arguments["model"])}
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
        if kind in ("train", "tune"):
            renamed[arguments["name"]] = results[name].get("model", arguments["name"])
        start = end
        part.progress(1, 1, "done")
    return results


def made_before(arguments: dict[str, Any], workspace: Workspace) -> bool:
    """Say whether the model that a `train` or `tune` with these arguments would make is in the workspace already.

    Raises:
        JobError: a model of that name exists, but its architecture, settings, data or parent are others.
    """
    record = list_models(workspace).get(arguments["name"])
    if record is None:
        return False
    differs = _differences(record, arguments, workspace)
    if differs:
        raise JobError(
            f"model `{record.name}` exists already, but with another {', '.join(differs)}. Delete it (and what was "
            "made from it), or work under another prefix or in another workspace."
        )
    return True


def _differences(record: ModelRecord, arguments: dict[str, Any], workspace: Workspace) -> list[str]:
    """Return in words what of a kept model is not as the arguments want it."""
    tunes = isinstance(arguments["model"], str)
    every = (TuneSettings if tunes else TrainSettings).from_json(arguments["settings"]).to_json()
    wanted, kept = effective(every), effective(record.settings)
    kept = {key: tuple(value) if isinstance(value, list) else value for key, value in kept.items()}
    differs = [f"`{key}`" for key in every if wanted.get(key) != kept.get(key)]
    dataset = open_named(workspace, arguments["dataset"]) if arguments.get("dataset") else None
    if tunes:
        spec = record.spec
        if not _same_parent(record, list_models(workspace).get(arguments["model"])):
            differs.append(f"parent than the `{arguments['model']}` of now")
    else:
        spec = ModelSpec.from_json(arguments["model"])
        if dataset is not None:
            spec = replace(spec, class_names=spec.class_names or dataset.class_names)
        if record.parent or record.spec != spec:
            differs.append("architecture or input")
    if dataset is not None and record.dataset.get("fingerprint") != dataset.fingerprint:
        differs.append("training set")
    if arguments.get("validation"):
        validation = open_named(workspace, arguments["validation"])
        validation = with_names_of(validation, spec.class_names, num_classes=spec.num_classes)
        if record.validation.get("fingerprint") != validation.fingerprint:
            differs.append("validation set")
    return differs


def _same_parent(record: ModelRecord, parent: ModelRecord | None) -> bool:
    """Say whether `record` was tuned from these weights; records without a parent's hash go by the times."""
    if parent is None or record.parent != parent.name:
        return False
    if record.parent_sha256:
        return record.parent_sha256 == parent.sha256
    return parent.created <= record.created
