"""The job `gen_score`: every training pair's influence on every validation pair, and which training pairs are wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from fvm_core.errors import SettingsError
from fvm_core.files import slug
from fvm_core.generation.kinds import OPEN, of_kind
from fvm_core.generation.lora_gradients import layout_of
from fvm_core.generation.pair_gradients import PairGradients, Tell, nothing
from fvm_core.generation.pair_scores import (
    datainf_directions,
    fisher_weights,
    pair_influence,
    self_scores,
    tracin,
)
from fvm_core.generation.pairs import PairSet
from fvm_core.generation.score_store import write_run
from fvm_core.generation.settings import LoraSettings, PairScoreSettings
from fvm_core.generation.store import GenerationRecord, lineage, read_pairs, weights_path
from fvm_core.generation.table import summary_of
from fvm_core.generation.task import GenerationTask
from fvm_core.jobs.context import JobContext, JobStopped
from fvm_core.provenance import machine, now, version
from fvm_core.workspace import Workspace


def run(context: JobContext, args: Mapping[str, Any], workspace: Workspace) -> dict[str, Any]:
    """Score `args["training"]` against `args["validation"]` (names of sets of pairs; by default those that the model
    was tuned with) at the adapter `args["model"]`, under `args["settings"]` (PairScoreSettings), into run
    `args["run"]` (by default the model's name).

    Returns {"run", "methods", "table": {method: AUC and recall in percent, mean and std over validation pairs}}; the
    table is empty where the pairs have no classes.

    Memory: 4 v p bytes of validation gradients for each term of their losses (a text has one, an image one a draw), as
    much again for their mean and for DataInf, and the training gradients of one batch, or all of them if they take at
    most `keep_bytes`. Cost: a forward and backward pass a pair, three for DataInf where they are not kept.

    Raises:
        FVMError: model or pairs cannot be used, or memory runs out.
        JobStopped: the person asked to stop; a resumed job starts anew.
    """
    settings: PairScoreSettings = PairScoreSettings.from_json(dict(args.get("settings") or {}))
    chain = lineage(workspace, str(args["model"]))
    record = chain[0]
    if record.role == "base":
        raise SettingsError(f"`model` must be a tuned adapter, got the base {record.name!r}. Tune one first.")
    name = slug(str(args.get("run") or record.name))
    names = {part: set_name(args, record, part) for part in ("training", "validation")}
    training, validation = (read_pairs(workspace, one) for one in names.values())
    methods = settings.method_names or default_methods(record.role)
    context.progress(0, len(training), "loading the model")
    task = open_tuned(workspace, chain, training)
    found = Scoring(context, task, validation, settings, methods).run()
    frames = samples(training, found.training_losses), samples(validation, found.validation_losses)
    for key, values in found.suspicions.items():
        frames[0][f"suspicion_{key}"] = values
    provenance = {
        "kind": record.kind, "root": training.root, "validation_root": validation.root, "methods": list(methods),
        "model": {key: getattr(record, key) for key in ("name", "role", "base", "parent", "identity")},
        "training": training.describe(names["training"]), "validation": validation.describe(names["validation"]),
        "settings": settings.to_json(), "task": task.describe(), "parameters": found.parameters,
        "damping_used": found.damping, "job": context.folder.name, "created": now(), "machine": machine(),
        "version": version(),
    }  # fmt: skip
    write_run(workspace, name, *frames, found.matrices, provenance)
    table = {key: summary_of(matrix, training, validation) for key, matrix in found.matrices.items()}
    return {"run": name, "methods": list(methods), "table": {key: value for key, value in table.items() if value}}


class Scoring:
    """The passes of one scoring; `run` fills in the results and returns itself.

    `matrices` {method: (n, v)}, `suspicions` {method, and `loss`: (n,), large = likely wrong}.
    """

    def __init__(
        self, context: JobContext, task: GenerationTask, validation: PairSet, settings: PairScoreSettings,
        methods: tuple[str, ...],
    ) -> None:  # fmt: skip
        self.context, self.settings, self.methods = context, settings, methods
        self.layout = layout_of(task.model)
        sizes: dict[str, Any] = {"batch_size": settings.batch_size, "keep_bytes": settings.keep_bytes}
        self.training = PairGradients(task, self.layout, **sizes, tell=self._teller("training pairs"))
        self.terms = self.terms_of(validation, tell=self._teller("validation pairs"))
        self._parts: list[Tensor] = []
        self.matrices: dict[str, np.ndarray] = {}
        self.suspicions: dict[str, np.ndarray] = {}
        self.damping = 0.0

    def run(self) -> Scoring:
        settings = self.settings
        val = self.validation_gradients()
        self.validation_losses = np.mean([one.losses for one in self.terms], axis=0).tolist()
        weights, self.damping = fisher_weights(val, damping=settings.damping)
        directions: dict[str, Tensor] = {}
        if "datainf" in self.methods:
            directions["datainf"] = datainf_directions(
                lambda: self.training, val, self.layout.slices, damping=settings.datainf_damping
            )
        found: dict[str, list[Tensor]] = {key: [] for key in (*self.methods, "self")}
        for grads in self.training:
            found["self"].append(self_scores(grads, weights).cpu())
            for method in self.methods:
                found[method].append(self.scores(method, grads, self._parts, val, weights, directions).cpu())
        self.training_losses, self.parameters = list(self.training.losses), self.layout.size
        self.suspicions["loss"] = np.array(self.training_losses)
        self.suspicions["influence"] = torch.cat(found.pop("self")).double().numpy()
        for method, pieces in found.items():
            self.matrices[method] = torch.cat(pieces).numpy()
            if method != "influence":
                self.suspicions[method] = -self.matrices[method].mean(1, dtype=np.float64)
        return self

    def validation_gradients(self) -> Tensor:
        """Return (v, p): the mean over the terms of the validation pairs' losses."""
        self._parts = [one.all() for one in self.terms]
        return self._parts[0] if len(self._parts) == 1 else torch.stack(self._parts).mean(0)

    def terms_of(self, pairs: PairSet, *, tell: Tell = nothing) -> list[PairGradients]:
        """Return the gradients of each term that the loss of `pairs` is a mean of: one, or one for each noise draw of a
        diffusion model."""
        over = self.training.task.with_pairs(pairs)
        single = getattr(over, "single_draws", None)
        return [
            PairGradients(one, self.layout, self.settings.batch_size, 0, tell=tell)
            for one in (single() if single else [over])
        ]

    def scores(
        self, method: str, grads: Tensor, parts: list[Tensor], val: Tensor, weights: Tensor,
        directions: Mapping[str, Tensor],
    ) -> Tensor:  # fmt: skip
        """Return (n, v) of one method for training gradients (n, p); `parts` are the terms' gradients (v, p), `val`
        their mean."""
        if method == "influence":
            return pair_influence(grads, parts, weights, epsilon=self.settings.epsilon)
        return tracin(grads, directions.get(method, val))

    def _teller(self, what: str) -> Any:
        def tell(done: int, total: int) -> None:
            self.context.progress(done, total, f"{what}: {done:,} of {total:,}")
            if self.context.checkpoint():
                raise JobStopped

        return tell


def default_methods(role: str) -> tuple[str, ...]:
    """Return the paper's methods for a role: TracIn and DataInf after LoRA tuning, Eq. 20 at a validation minimum."""
    return ("tracin", "datainf") if role == "lora" else ("influence",)


def set_name(args: Mapping[str, Any], record: GenerationRecord, part: str) -> str:
    """Return the name of the set of pairs that was asked for, or that the model was tuned with."""
    name = str(args.get(part) or getattr(record, part).get("name", ""))
    if not name:
        raise SettingsError(f"`{part}` must name a set of pairs: model {record.name!r} knows of none. Give one.")
    return name


def open_tuned(workspace: Workspace, chain: list[GenerationRecord], pairs: PairSet) -> GenerationTask:
    """Return the adapter chain[0] on its base chain[-1] as a task over `pairs`."""
    record, base = chain[0], chain[-1]
    return of_kind(OPEN, base.kind)(
        weights_path(workspace, base), weights_path(workspace, record), pairs, lora=LoraSettings(),
        options=dict(record.settings.get("options") or {}),
    )  # fmt: skip


def samples(pairs: PairSet, losses: list[float]) -> pd.DataFrame:
    """Return the pairs as the columns that `score_store` keeps."""
    empty = [None] * len(pairs)
    return pd.DataFrame(
        {
            "id": pairs.ids,
            "prompt": pairs.prompts,
            "target": pairs.targets,
            "class": pd.Series(pairs.classes or empty, dtype="object"),
            "wrong": pd.Series(pairs.wrong or empty, dtype="object"),
            "loss": losses,
        }
    )
