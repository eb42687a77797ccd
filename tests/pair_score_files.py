"""Invented scores of pairs, written as `gen_score` writes them: `from pair_score_files import invented`."""

from __future__ import annotations

import numpy as np
import pandas as pd

from fvm_core.generation.pairs import PairSet, text_pairs
from fvm_core.generation.score_store import write_run
from fvm_core.generation.store import write_pairs
from fvm_core.workspace import Workspace

CLASSES = ("Reverse", "Shout", "Repeat")
HOSTILE = '<img src=x onerror="document.title=1"> **bold** [link](http://example.org)'
WRONG = (2, 9)


def pairs_of(size: int, *, salt: str, wrong: tuple[int, ...] = ()) -> PairSet:
    """Return `size` pairs of each of CLASSES; the first prompt is hostile, targets at `wrong` are marked as such."""
    rows = [(f"{name}: {salt} {place}", f"{salt}-{name}-{place}", name) for name in CLASSES for place in range(size)]
    rows[0] = (HOSTILE, f"<b>{salt}</b>", CLASSES[0])
    prompts, targets, classes = zip(*rows, strict=True)
    return text_pairs(prompts, targets, classes=classes, wrong=[place in wrong for place in range(len(rows))])


def invented(workspace: Workspace) -> tuple[PairSet, PairSet]:
    """Put pairs demo-train and demo-val into the workspace, and scores after LoRA, and at an FVM and a VM of it."""
    training, validation = pairs_of(6, salt="t", wrong=WRONG), pairs_of(2, salt="v")
    for name, pairs in (("demo-train", training), ("demo-val", validation)):
        write_pairs(workspace, name, pairs)
    generator = np.random.default_rng(0)
    same = np.equal.outer(np.array(training.classes, object), np.array(validation.classes, object))
    for role, methods, pull in (
        ("lora", ("tracin", "datainf"), 0.8),
        ("vm", ("influence",), 2.0),
        ("fvm", ("influence",), 2.5),
    ):
        matrices = {method: (generator.normal(size=same.shape) + pull * same).astype(np.float32) for method in methods}
        frames = [_frame(training, generator), _frame(validation, generator)]
        for key in ("influence", "loss"):
            frames[0][f"suspicion_{key}"] = generator.permutation(len(training)) + 100.0 * np.array(training.wrong)
        about = {
            "kind": "text", "root": "", "validation_root": "", "methods": list(methods),
            "model": {"name": f"demo-{role}", "role": role, "base": "demo"},
            "training": training.describe("demo-train"), "validation": validation.describe("demo-val"),
        }  # fmt: skip
        write_run(workspace, f"demo-{role}", *frames, matrices, about)
    return training, validation


def _frame(pairs: PairSet, generator: np.random.Generator) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": pairs.ids, "prompt": pairs.prompts, "target": pairs.targets, "class": pairs.classes,
            "wrong": pd.Series(pairs.wrong, dtype="object"), "loss": generator.uniform(0.1, 3, len(pairs)),
        }
    )  # fmt: skip
