"""Verdicts on training pairs in the one log of decisions: a review whose two classes are `right` and `wrong`.

Every pair is given as right and suggested as wrong: to accept is to call it wrong, to keep is to call it right. No
torch here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fvm_core.data.spreadsheet import csv_text
from fvm_core.errors import ReviewError
from fvm_core.files import atomic_write, file_sha256, slug, write_json
from fvm_core.generation.pair_file import write_pair_file
from fvm_core.generation.pairs import PairSet
from fvm_core.generation.score_store import TRAINING, ScoreRun, read_samples
from fvm_core.provenance import digest, now, version
from fvm_core.review.decision import Decision
from fvm_core.review.inbox import Known
from fvm_core.review.log import DecisionLog
from fvm_core.review.log_file import log_table, write_log
from fvm_core.review.outcome import outcome_of
from fvm_core.review.session import ReviewSession
from fvm_core.workspace import Workspace

VERDICTS = ("right", "wrong")
RIGHT, WRONG = 0, 1
WORDS = {"accept": "wrong", "keep": "right", "pick": "", "skip": "skipped"}


@dataclass(frozen=True)
class PairExport:
    """The files of one export: pairs that were kept (`jsonl`, `parquet`), what holds for each pair (`verdicts`, CSV),
    every decision and undo (`decisions`, CSV) and `provenance` (JSON)."""

    jsonl: Path
    parquet: Path
    verdicts: Path
    decisions: Path
    provenance: Path


def scored_pairs(workspace: Workspace, run: ScoreRun) -> PairSet:
    """Return the training pairs of a run as they were scored. Raises DataError when the run is damaged."""
    frame = read_samples(workspace, run.name, TRAINING)
    classes, wrong = (None if frame[name].isna().any() else tuple(frame[name].tolist()) for name in ("class", "wrong"))
    ids, prompts, targets = (tuple(frame[name].astype(str)) for name in ("id", "prompt", "target"))
    return PairSet(
        ids=ids, prompts=prompts, targets=targets, kind=run.kind, classes=classes, wrong=wrong, root=run.root
    )


def fingerprint_of(run: ScoreRun) -> str:
    """Return what ties a review to the training pairs of a run. Raises ReviewError for a run without one."""
    value = run.provenance.get("training", {}).get("fingerprint", "")
    if not isinstance(value, str) or not value:
        raise ReviewError(f"scores {run.name!r} must name their training pairs, and do not. Score these pairs again.")
    return value


def known_pairs(ids: Mapping[str, int], runs: Mapping[str, ScoreRun], fingerprint: str) -> Known:
    """Return what may be decided: pairs by their ids, as RUN/SUSPICION of every run on the same pairs."""
    told = {
        f"{run.name}/{suspicion}": digest(run.provenance)
        for run in runs.values()
        if run.provenance.get("training", {}).get("fingerprint") == fingerprint
        for suspicion in ("loss", *run.methods)
    }
    return Known(given=lambda sample: RIGHT if sample in ids else None, classes=len(VERDICTS), runs=told)


def kept_pairs(pairs: PairSet, states: Mapping[str, Decision]) -> PairSet:
    """Return the pairs without those that were called wrong; undecided and skipped ones stay.

    Raises:
        ReviewError: a decision is about a pair that is not there, or nothing is left.
    """
    missing = set(states) - set(pairs.ids)
    if missing:
        raise ReviewError(
            f"decisions name {len(missing)} pairs that these scores do not have, e.g. {min(missing)!r}. "
            "Open the scores of the pairs that were reviewed."
        )
    rows = [row for row, one in enumerate(pairs.ids) if one not in states or states[one].label != WRONG]
    if not rows:
        raise ReviewError("every pair was called wrong, so that none is left to export. Take some verdicts back.")
    return pairs.take(rows)


def verdict_table(pairs: PairSet, states: Mapping[str, Decision]) -> pd.DataFrame:
    """Return one row a pair: id, prompt, target, class, verdict ("" while undecided), reviewer, decided_at, run,
    method, score."""
    frame = pd.DataFrame({"id": pairs.ids, "prompt": pairs.prompts, "target": pairs.targets})
    frame["class"] = pairs.classes if pairs.classes is not None else ""
    held = [states.get(one) for one in pairs.ids]
    frame["verdict"] = ["" if one is None else verdict(one) for one in held]
    for name in ("reviewer", "decided_at", "run", "method", "score"):
        frame[name] = ["" if one is None else getattr(one, name) for one in held]
    return frame


def verdict(decision: Decision) -> str:
    """Return `wrong`, `right` or `skipped`."""
    if decision.action == "skip":
        return WORDS["skip"]
    return VERDICTS[WRONG if decision.label == WRONG else RIGHT]


def write_pair_export(
    workspace: Workspace, name: str, pairs: PairSet, log: DecisionLog, session: ReviewSession, about: Mapping[str, Any]
) -> PairExport:
    """Write exports/NAME.jsonl and .parquet (the pairs kept), .verdicts.csv, .decisions.csv and .provenance.json, each
    whole or not at all. `about`: the provenance of the scores.

    Raises:
        ReviewError: as `kept_pairs`. StorageError: the disk refused.
    """
    states = outcome_of(log, session.id).states
    kept, frame, history = kept_pairs(pairs, states), verdict_table(pairs, states), log_table(log, session)
    base = workspace.exports / slug(name)
    base.parent.mkdir(parents=True, exist_ok=True)
    endings = (".jsonl", ".parquet", ".verdicts.csv", ".decisions.csv", ".provenance.json")
    files = PairExport(*(base.with_name(base.name + ending) for ending in endings))
    write_pair_file(files.jsonl, kept)
    write_pair_file(files.parquet, kept)
    with atomic_write(files.verdicts, "w", encoding="utf-8", newline="") as file:
        file.write(csv_text(frame))
    write_log(files.decisions, history)
    verdicts = frame["verdict"].value_counts()
    written = (files.jsonl, files.parquet, files.verdicts, files.decisions)
    value = {
        "session": {"id": session.id, "name": session.name, "reviewer": session.reviewer, "created": session.created},
        "pairs": pairs.describe(session.dataset), "kept": kept.describe(files.parquet.stem),
        "counts": {word: int(verdicts.get(word, 0)) for word in ("wrong", "right", "skipped")},
        "score": dict(about), "created": now(), "version": version(),
        "sha256": {path.name: file_sha256(path) for path in written},
    }  # fmt: skip
    write_json(files.provenance, value)
    return files
