"""The job `gen_ask`: what a tuned model makes of a prompt, and which training pairs speak for and against that."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from fvm_core.errors import DataError, SettingsError
from fvm_core.files import atomic_write, write_json
from fvm_core.generation.pair_scores import datainf_directions, fisher_weights
from fvm_core.generation.pairs import PairSet, text_id, text_pairs
from fvm_core.generation.score_job import Scoring, default_methods, open_tuned, set_name
from fvm_core.generation.score_store import answer_folder, write_table
from fvm_core.generation.settings import PairScoreSettings
from fvm_core.generation.store import lineage, read_pairs
from fvm_core.generation.task import GenerationTask
from fvm_core.jobs.context import JobContext
from fvm_core.provenance import digest, now, version
from fvm_core.workspace import Workspace


def run(context: JobContext, args: Mapping[str, Any], workspace: Workspace) -> dict[str, Any]:
    """Answer `args["prompt"]` by the adapter `args["model"]` and score all training pairs for that answer.

    `args` may give "target" (score this text instead of the model's own answer), "seed" (of a generated image),
    "training", "validation" and "settings" as in `gen_score`. The result is kept in generation/answers/KEY: see
    `score_store.read_answer`; an image lies beside it as answer.png.

    Returns {"key", "answer": the text or the image's path, "loss": of the answer, "methods"}.

    Raises:
        FVMError: as `gen_score`; the prompt is empty or too long, or the answer is empty.
        JobStopped: the person asked to stop.
    """
    settings: PairScoreSettings = PairScoreSettings.from_json(dict(args.get("settings") or {}))
    chain = lineage(workspace, str(args["model"]))
    record, prompt, seed = chain[0], str(args["prompt"]), int(args.get("seed") or 0)
    if record.role == "base":
        raise SettingsError(f"`model` must be a tuned adapter, got the base {record.name!r}. Tune one first.")
    names = {part: set_name(args, record, part) for part in ("training", "validation")}
    training, validation = (read_pairs(workspace, one) for one in names.values())
    methods = settings.method_names or default_methods(record.role)
    context.progress(0, len(training), "loading the model")
    task = open_tuned(workspace, chain, training)
    asked = {"model": record.identity, "prompt": prompt, "target": str(args.get("target") or ""), "seed": seed}
    key = digest([asked, training.fingerprint, validation.fingerprint, settings.to_json(), methods])[:16]
    folder = answer_folder(workspace, key)
    context.progress(0, len(training), "answering the prompt")
    pair = answered(task, prompt, str(args.get("target") or ""), seed=seed, folder=folder)
    scoring = Scoring(context, task, validation, settings, methods)
    scores, loss = scores_for(scoring, pair)
    about = {
        "key": key, "kind": record.kind, "prompt": prompt, "answer": pair.targets[0], "loss": loss, "seed": seed,
        "given": bool(args.get("target")), "model": record.name, "role": record.role, "methods": list(methods),
        "training": training.describe(names["training"]), "validation": validation.describe(names["validation"]),
        "settings": settings.to_json(), "root": training.root, "created": now(), "version": version(),
    }  # fmt: skip
    columns = {"id": training.ids, "prompt": training.prompts, "target": training.targets}
    table = pa.table({**columns, "class": pa.array(training.classes or [None] * len(training), pa.string()), **scores})
    write_table(folder / "scores.parquet", table, about)
    write_json(folder / "answer.json", about)
    return {"key": key, "answer": pair.targets[0], "loss": loss, "methods": list(methods)}


def answered(task: GenerationTask, prompt: str, target: str, *, seed: int, folder: Path) -> PairSet:
    """Return the prompt with the given target, or with what the model makes of it; an image goes into `folder`.

    Raises:
        DataError: the prompt is empty or too long, or the model's answer is empty.
    """
    if task.pairs.kind == "text":
        answer = target or str(task.generate(prompt, seed=seed))
        if not answer.strip():
            raise DataError("the model's answer to this prompt is empty: nothing can speak for it. Ask another.")
        return text_pairs([prompt], [answer])
    if target:
        raise SettingsError("`target` must be left out for a model of images: the image is drawn anew.")
    image: Any = task.generate(prompt, seed=seed)
    with atomic_write(folder / "answer.png") as file:
        image.save(file, "PNG")
    one = text_id(prompt, f"{folder.name} {seed}")
    return PairSet(ids=(one,), prompts=(prompt,), targets=("answer.png",), kind="image", root=str(folder))


def scores_for(scoring: Scoring, pair: PairSet) -> tuple[dict[str, np.ndarray], float]:
    """Return {method: (n,) score of each training pair} for one pair, and the pair's loss."""
    settings, layout = scoring.settings, scoring.layout
    terms = scoring.terms_of(pair)
    parts = [term.all() for term in terms]
    wanted = torch.stack(parts).mean(0)
    weights, directions = Tensor(), dict[str, Tensor]()
    if "influence" in scoring.methods:
        weights, _ = fisher_weights(scoring.validation_gradients(), damping=settings.damping)
    if "datainf" in scoring.methods:
        directions["datainf"] = datainf_directions(
            lambda: scoring.training, wanted, layout.slices, damping=settings.datainf_damping
        )
    found: dict[str, list[Tensor]] = {method: [] for method in scoring.methods}
    for grads in scoring.training:
        for method in scoring.methods:
            values = scoring.scores(method, grads, parts, wanted, weights, directions)
            found[method].append(values[:, 0].cpu())
    return {method: torch.cat(pieces).numpy() for method, pieces in found.items()}, float(
        np.mean([term.losses[0] for term in terms])
    )
