"""The parts of an experiment: what each makes, from what, and the key under which tables share it. No torch here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fvm_core.experiments.cost import FORWARD, START, score_seconds, train_seconds, tune_seconds
from fvm_core.experiments.presets import Preset
from fvm_core.experiments.sources import Rows
from fvm_core.experiments.store import Store
from fvm_core.experiments.tables import BASELINES
from fvm_core.models.store import WEIGHTS_FILE, ModelRecord
from fvm_core.provenance import digest, version
from fvm_core.tuning.settings import effective

KEY = 20
ADOPT_SECONDS = 1.0


@dataclass(frozen=True)
class Part:
    """One piece of work. `key`: a digest of everything that decides its result. `kind`: of a job, or one of
    `execute.OWN`. `args` of it. `needs`: keys of the parts before it. `outputs`: files below the store that exist
    when it is done. `seconds`: expected."""

    key: str
    kind: str
    title: str
    args: Mapping[str, Any]
    needs: tuple[str, ...]
    outputs: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Model:
    """A model of the grid before it exists: its name in the store, the parts that make it, and, of a base model, the
    epochs whose weights are kept and the last epoch (whose weights are the final ones)."""

    name: str
    title: str
    parts: tuple[str, ...]
    epochs: tuple[int, ...] = ()
    last: int | None = None

    @property
    def key(self) -> str:
        return self.parts[-1]


class Parts:
    """Makes parts and keeps each once. `all` maps keys to parts, every part after those it needs."""

    def __init__(self, preset: Preset, *, allow_custom: bool = False) -> None:
        self.preset, self.custom = preset, {"allow_custom": True} if allow_custom else {}
        self.all: dict[str, Part] = {}

    def closure(self, key: str) -> list[str]:
        """Return the keys of a part and of all before it, in the order of work."""
        found: list[str] = []
        for need in self.all[key].needs:
            found += [item for item in self.closure(need) if item not in found]
        return [*found, key]

    def adopt(self, record: ModelRecord) -> Model:
        """Return a model of the person's, which is copied into the store."""
        key = self._add(
            "adopt", f"Copy {record.name}", [record.name, record.sha256], {"model": record.name}, ADOPT_SECONDS
        )
        epochs = tuple(sorted(int(item["epoch"]) for item in record.checkpoints))
        return Model(f"m-{key}", record.name, (key,), epochs, record.settings.get("epochs"))

    def train(self, training: Rows, validation: Rows, *, seed: int) -> Model:
        """Return the base model of one dataset and seed."""
        settings = replace(self.preset.train, seed=seed)
        spec = self.preset.build.spec(training.dataset.num_classes, training.dataset.class_names)
        identity = [spec.to_json(), settings.to_json(), training.fingerprint, validation.fingerprint]
        args = {
            "dataset": training.kept_as, "validation": validation.kept_as, "model": spec.to_json(),
            "settings": settings.to_json(), **self.custom,
        }  # fmt: skip
        title = f"{training.name}, seed {seed}: train the base model"
        seconds = train_seconds(self.preset, settings, n=len(training), v=len(validation))
        key = self._add("train", title, identity, args, seconds)
        epochs = tuple(epoch for epoch in sorted(set(settings.checkpoint_epochs)) if 1 <= epoch <= settings.epochs)
        return Model(f"m-{key}", "base", (key,), epochs, settings.epochs)

    def tune(self, base: Model, validation: Rows, *, solver: str, seed: int, classes: int, what: str) -> Model:
        """Return the model tuned from `base` on `validation` by one solver."""
        settings = self.preset.tuning(solver, seed=seed, classes=classes)
        args = {
            "model": base.name, "dataset": None, "validation": validation.kept_as, "settings": settings.to_json(),
            **self.custom,
        }  # fmt: skip
        title = f"{what}, seed {seed}: tune by {solver} on {len(validation):,}"
        seconds = tune_seconds(self.preset, settings, v=len(validation))
        identity = [base.key, effective(settings.to_json()), validation.fingerprint]
        key = self._add("tune", title, identity, args, seconds, needs=base.parts)
        return Model(f"m-{key}", solver, (*base.parts, key))

    def score(
        self, model: Model, method: str, training: Rows, validation: Rows, *, seed: int, relabel: bool,
        epoch: int | None = None,
    ) -> Part:  # fmt: skip
        """Return the scores of one method (of all plain baselines together) under a model or one of its checkpoints."""
        epoch = None if epoch == model.last else epoch
        methods = list(BASELINES) if method in BASELINES else [method]
        settings = self.preset.scoring(method, seed=seed, relabel=relabel)
        args = {
            "model": model.name, "dataset": training.kept_as, "validation": validation.kept_as, "methods": methods,
            "settings": settings, **({} if epoch is None else {"checkpoint": epoch}), **self.custom,
        }  # fmt: skip
        at = "" if epoch is None else f" after epoch {epoch}"
        title = f"{training.name}, seed {seed}: {'baselines' if method in BASELINES else method}, {model.title}{at}"
        seconds = score_seconds(
            self.preset, method, settings, n=len(training), v=len(validation), classes=training.dataset.num_classes
        )
        identity = [model.key, epoch, methods, settings, training.fingerprint, validation.fingerprint]
        return self.all[self._add("score", title, identity, args, seconds, needs=model.parts, names=methods)]

    def snapshots(self, model: Model, training: Rows, validation: Rows, *, seed: int) -> Part:
        """Return the scores of a sample under every snapshot of a tuned model (Fig. 3)."""
        settings = self.preset.scoring("snapshots", seed=seed, relabel=False)
        sample = self.preset.figure3_sample
        args = {
            "model": model.name, "dataset": training.kept_as, "validation": validation.kept_as, "settings": settings,
            "sample": sample, "seed": seed, **self.custom,
        }  # fmt: skip
        one = [
            score_seconds(
                self.preset, method, {**settings, "limit": sample, "relabel": "none"}, n=len(training),
                v=len(validation), classes=training.dataset.num_classes,
            )
            for method in ("standard", "influence")
        ]  # fmt: skip
        identity = [model.key, settings, sample, training.fingerprint, validation.fingerprint]
        title = f"{training.name}, seed {seed}: snapshots of {model.title}"
        seconds = sum(one) * self.preset.tune.snapshots
        return self.all[self._add("snapshots", title, identity, args, seconds, needs=model.parts, names=["snapshots"])]

    def accuracy(self, model: Model, validation: Rows, *, what: str, seed: int) -> Part:
        """Return the validation accuracy of a base model after each kept epoch (Fig. 2)."""
        args = {"model": model.name, "validation": validation.kept_as, "epochs": list(model.epochs), **self.custom}
        identity = [model.key, list(model.epochs), validation.fingerprint]
        seconds = START + FORWARD * len(validation) * len(model.epochs) / self.preset.rate
        title = f"{what}, seed {seed}: accuracy along the training"
        return self.all[self._add("accuracy", title, identity, args, seconds, needs=model.parts, table=True)]

    def steps(self, models: Mapping[str, Model], training: Rows, validation: Rows, *, seed: int) -> Part:
        """Return the risk along Newton steps of base, VM and FVM model (Fig. 1)."""
        preset = self.preset
        args = {
            "models": {role: model.name for role, model in models.items()}, "dataset": training.kept_as,
            "validation": validation.kept_as, "samples": preset.figure1_samples, "probe": preset.figure1_probe,
            "lengths": list(preset.figure1_lengths), "damping": preset.figure1_damping, "seed": seed, **self.custom,
        }  # fmt: skip
        needs = tuple(key for model in models.values() for key in model.parts)
        identity = [
            [model.key for model in models.values()], training.fingerprint, validation.fingerprint, seed,
            {name: args[name] for name in ("samples", "probe", "lengths", "damping")},
        ]  # fmt: skip
        probe = min(preset.figure1_probe, len(validation))
        along = preset.figure1_samples * probe * (4.0 + FORWARD * len(preset.figure1_lengths)) / preset.rate
        seconds = START + len(models) * (along + len(validation) / preset.score_rate)
        title = f"{training.name}, seed {seed}: risk along Newton steps"
        return self.all[self._add("steps", title, identity, args, seconds, needs=needs, table=True)]

    def _add(
        self, kind: str, title: str, identity: Any, args: Mapping[str, Any], seconds: float, *,
        needs: Sequence[str] = (), names: Sequence[str] = (), table: bool = False,
    ) -> str:  # fmt: skip
        key = digest([kind, identity, version()])[:KEY]
        if key not in self.all:
            if names:
                outputs = tuple(f"scores/s-{key}/{name}.parquet" for name in names)
            else:
                outputs = (f"parts/{key}/result.parquet",) if table else (f"models/m-{key}/{WEIGHTS_FILE}",)
            needed = tuple(dict.fromkeys(needs))
            self.all[key] = Part(key, kind, title, dict(args), needed, outputs, seconds)
        return key


def done(part: Part, store: Store) -> bool:
    """Say whether everything that a part makes is there."""
    return all((store.root / path).exists() for path in part.outputs)


def scores_file(part: Part, method: str) -> str:
    """Return the path below the store of one method's scores, which a part of kind `score` writes."""
    return next(path for path in part.outputs if path.endswith(f"/{method}.parquet"))
