"""The job `gen_tune`: a LoRA adapter on the training pairs, or on to the validation pairs' minimum (VM, FVM)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from fvm_core.errors import SettingsError
from fvm_core.generation.kinds import OPEN, of_kind
from fvm_core.generation.lora import save_adapter
from fvm_core.generation.lora_tuning import LoraTuning, probe
from fvm_core.generation.settings import LoraSettings
from fvm_core.generation.store import (
    GenerationRecord,
    check_free,
    lineage,
    model_path,
    publish,
    read_pairs,
    read_record,
    weights_path,
)
from fvm_core.generation.task import GenerationTask
from fvm_core.jobs.context import JobContext
from fvm_core.provenance import digest, machine, now, version
from fvm_core.tuning.loop import run_loop
from fvm_core.workspace import Workspace


def run(context: JobContext, args: Mapping[str, Any], workspace: Workspace) -> dict[str, Any]:
    """Tune an adapter and keep it as `args["name"]`. Job function of kind `gen_tune`.

    `args`: "model": for role `lora` the base, for `vm` and `fvm` the adapter to go on from; "training", "validation":
    names of sets of pairs (a `vm` or `fvm` may leave training out, a `lora` validation: then it is not watched);
    "settings": LoraSettings; "options": the kind's own (a `vm` or `fvm` takes over those of its parent).
    Metrics: train_loss, lr, noisy_loss, val_loss, sam_gap, random_sharpness; see `LoraTuning`.

    Returns {"model", "metrics"}: the final losses, and exact_match if `answers` were asked for.

    Raises:
        FVMError: model, pairs, settings or name cannot be used, memory runs out, or the loss diverged.
        JobStopped: the person asked to stop; the job can be resumed.
    """
    settings: LoraSettings = LoraSettings.from_json(dict(args["settings"]))
    name = check_free(workspace, str(args["name"]), job=context.folder.name)
    if model_path(workspace, name).exists():
        return {"model": name, "metrics": dict(read_record(workspace, name).metrics)}
    chain = lineage(workspace, str(args["model"]))
    parent, base = chain[0], chain[-1]
    check_parent(parent, settings.role)
    named = {part: str(args.get(part) or "") for part in ("training", "validation")}
    sets = {part: read_pairs(workspace, one) for part, one in named.items() if one}
    own = "training" if settings.role == "lora" else "validation"
    if own not in sets:
        raise SettingsError(f"`{own}` must name a set of pairs for the role `{settings.role}`, got none. Choose one.")
    options = dict(args.get("options") or {}) if parent.role == "base" else dict(parent.settings["options"])
    context.progress(0, 0, "loading the model")
    with torch.random.fork_rng():
        adapter = None if parent.role == "base" else weights_path(workspace, parent)
        task: GenerationTask = of_kind(OPEN, base.kind)(
            weights_path(workspace, base), adapter, sets[own], lora=settings, options=options
        )
        tasks = {part: task if part == own else task.with_pairs(pairs) for part, pairs in sets.items()}
        tuning = LoraTuning(context, task, tasks.get("training"), tasks.get("validation"), settings)
        seen = {part: pairs.fingerprint for part, pairs in sets.items()}
        run_loop(context, tuning.loop(digest([settings.to_json(), parent.identity, seen, options])))
        metrics: dict[str, Any] = tuning.losses()
        if settings.answers and "validation" in tasks:
            metrics |= answered(tasks["validation"], settings)
    staged = context.path("model", "model.json").parent
    save_adapter(task.model, staged)
    from fvm_core.generation.identity import folder_identity

    record = GenerationRecord(
        name=name,
        kind=base.kind,
        role=settings.role,
        identity=folder_identity(staged),
        base=base.name,
        base_identity=base.identity,
        parent=parent.name,
        training=sets["training"].describe(named["training"]) if "training" in sets else parent.training,
        validation=sets["validation"].describe(named["validation"]) if "validation" in sets else {},
        settings={
            **settings.to_json(), "lr": settings.rate, "total_steps": tuning.steps, "options": options,
            "task": task.describe(), "threads": torch.get_num_threads(), "machine": machine(), "version": version(),
        },
        metrics=metrics,
        job=context.folder.name,
        created=now(),
    )  # fmt: skip
    publish(workspace, staged, record)
    return {"model": name, "metrics": metrics}


def check_parent(parent: GenerationRecord, role: str) -> None:
    """Check that tuning to `role` may start from `parent`. Raises SettingsError naming both."""
    if role == "lora" and parent.role != "base":
        raise SettingsError(
            f"`model` must be a base model for the role `lora`, got the adapter {parent.name!r}. Choose its base."
        )
    if role != "lora" and parent.role != "lora":
        raise SettingsError(
            f"`model` must be an adapter tuned on training pairs for the role `{role}`, got {parent.name!r} of role "
            f"`{parent.role}`. Tune one with the role `lora` first."
        )


def answered(task: GenerationTask, settings: LoraSettings) -> dict[str, Any]:
    """Return exact_match in [0, 1] and {class: share} of the answers to `settings.answers` validation prompts; nothing
    for images."""
    from fvm_core.generation.answers import exact_match
    from fvm_core.generation.language_task import LanguageTask

    if not isinstance(task, LanguageTask):
        return {}
    rows = probe(task, settings.answers, settings.seed)
    found = exact_match(replace(task, pairs=task.pairs.take(rows)), batch_size=settings.micro_batch)
    return {"exact_match": found.overall, "exact_match_by_class": found.by_class}
