"""The corrected labels to take home: every sample of the dataset, with who decided what on which evidence."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fvm_core.data.corrections import with_corrections
from fvm_core.data.dataset import DatasetSpec, LabeledImages
from fvm_core.data.registry import add_dataset, list_datasets
from fvm_core.data.spreadsheet import csv_text
from fvm_core.errors import ReviewError
from fvm_core.files import atomic_write, file_sha256, slug, write_json
from fvm_core.provenance import digest, machine, now, version
from fvm_core.review.decision import Decision
from fvm_core.review.outcome import KINDS, Outcome
from fvm_core.review.replay import Counts
from fvm_core.review.session import ReviewSession
from fvm_core.workspace import Workspace

COLUMNS = (
    "id", "given_label", "label", "given_name", "name", "action", "reviewer", "decided_at", "method", "score",
    "suggested", "dataset_fingerprint", "score_provenance", "fvm_version", "outcome",
)  # fmt: skip


@dataclass(frozen=True)
class Exported:
    """The files of one export. `provenance` is the JSON beside the CSV (the Parquet file carries it inside)."""

    csv: Path
    parquet: Path
    provenance: Path


def corrected_labels(
    dataset: LabeledImages,
    states: Mapping[str, Decision],
    *,
    scores: pd.DataFrame | None = None,
    method: str = "",
    score_provenance: str = "",
    outcomes: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Return one row a sample with COLUMNS, in the order of the dataset.

    `label` is the decided class, and the given one where nobody decided (`action` is then empty) or kept or skipped.
    `outcome` is a key of `fvm_core.review.outcome.KINDS`, from `outcomes` (without it "decided" for each state), and
    empty where nobody decided. Disputed samples have no state: they keep the given label.
    method, score, suggested are what the reviewer saw; for undecided samples those of `scores` (columns id, score,
    suggested), if any. `suggested` is -1 for none.

    Raises:
        ReviewError: a decision is about a sample or class that the dataset does not have.
    """
    missing = set(states) - set(dataset.ids.tolist())
    if missing:
        raise ReviewError(
            f"decisions name {len(missing)} samples that the dataset does not have, e.g. {min(missing)!r}. "
            "Open the dataset that this review was made on."
        )
    frame = pd.DataFrame({"id": dataset.ids.astype(object), "given_label": dataset.labels.astype(np.int64)})
    frame["label"] = frame["given_label"]
    frame[["action", "reviewer", "decided_at"]] = ""
    frame["method"], frame["score_provenance"] = method, score_provenance
    if scores is None:
        frame["score"], frame["suggested"] = np.nan, -1
    else:
        told = scores.set_index("id").reindex(frame["id"])
        frame["score"] = told["score"].to_numpy(np.float64)
        frame["suggested"] = told["suggested"].fillna(-1).to_numpy(np.int64)
    _lay_over(frame, states, dataset.num_classes)
    names = np.asarray(dataset.class_names, dtype=object)
    frame["given_name"], frame["name"] = names[frame["given_label"]], names[frame["label"]]
    frame["dataset_fingerprint"], frame["fvm_version"] = dataset.fingerprint, version()
    kinds = dict.fromkeys(states, "decided") if outcomes is None else outcomes
    frame["outcome"] = np.array([kinds.get(sample, "") for sample in frame["id"]], dtype=object)
    return frame[list(COLUMNS)]


def _lay_over(frame: pd.DataFrame, states: Mapping[str, Decision], classes: int) -> None:
    decided = [(row, states[sample]) for row, sample in enumerate(frame["id"]) if sample in states]
    if not decided:
        return
    rows = [row for row, _ in decided]
    labels = [decision.label if decision.label is not None else decision.given for _, decision in decided]
    wrong = next((label for label in labels if not 0 <= label < classes), None)
    if wrong is not None:
        raise ReviewError(f"a decision names class {wrong}, but the dataset has {classes}.")
    columns: dict[str, list[Any]] = {
        "label": labels,
        "score": [np.nan if decision.score is None else decision.score for _, decision in decided],
        "suggested": [-1 if decision.suggested is None else decision.suggested for _, decision in decided],
    }
    for name in ("action", "reviewer", "decided_at", "method", "score_provenance"):
        columns[name] = [getattr(decision, name) for _, decision in decided]
    for name, values in columns.items():
        column = frame[name].to_numpy(copy=True)
        column[rows] = values
        frame[name] = column


def export_provenance(
    session: ReviewSession,
    dataset: LabeledImages,
    counts: Counts,
    score: Mapping[str, Any] | None,
    *,
    outcome: Outcome | None = None,
) -> dict[str, Any]:
    """Return what an export says about itself: review, dataset, counts, the score run's own provenance, and of an
    `outcome` what became of images that several people decided, with the ids that are still disputed (at most 1,000).
    """
    return {
        "people": _people(outcome) if outcome else None,
        "session": {"id": session.id, "name": session.name, "reviewer": session.reviewer, "created": session.created},
        "dataset": {
            "name": session.dataset,
            "fingerprint": dataset.fingerprint,
            "spec": dataset.spec.to_json(),
            "class_names": list(dataset.class_names),
        },
        "counts": {
            "samples": counts.total,
            "accepted": counts.accepted,
            "kept": counts.kept,
            "picked": counts.picked,
            "skipped": counts.skipped,
            "accept_rate": counts.accept_rate,
        },
        "score": dict(score) if score else None,
        "score_provenance": digest(dict(score)) if score else "",
        "created": now(),
        "version": version(),
        "machine": machine(),
    }


def _people(outcome: Outcome) -> dict[str, Any]:
    return {
        "reviewers": sorted(
            {decision.reviewer for decision in outcome.states.values()}
            | {name for dispute in outcome.disputes for name in dispute.opinions}
        ),
        "outcomes": {kind: outcome.how_many(kind) for kind in KINDS},
        "meaning": dict(KINDS),
        "disputed": [dispute.sample for dispute in outcome.open[:1000]],
    }


def write_export(workspace: Workspace, name: str, frame: pd.DataFrame, provenance: Mapping[str, Any]) -> Exported:
    """Write `exports/NAME.csv`, `.parquet` and `.provenance.json` (each whole or not at all) and return their paths.

    In the CSV, texts that a spreadsheet would compute are marked; loading it as corrections takes the marks away.

    Raises:
        StorageError: the disk refused; earlier exports of that name are untouched as far as they were not replaced.
    """
    base = workspace.exports / slug(name)
    files = Exported(*(base.with_name(base.name + suffix) for suffix in (".csv", ".parquet", ".provenance.json")))
    table = pa.Table.from_pandas(frame, preserve_index=False)
    text = json.dumps(dict(provenance), sort_keys=True)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), b"fvm_provenance": text.encode()})
    with atomic_write(files.parquet) as file:
        pq.write_table(table, file)
    with atomic_write(files.csv, "w", encoding="utf-8", newline="") as file:
        file.write(csv_text(frame))
    sums = {path.name: file_sha256(path) for path in (files.csv, files.parquet)}
    write_json(files.provenance, {**provenance, "sha256": sums})
    return files


def use_as_dataset(workspace: Workspace, name: str, spec: DatasetSpec, write: Callable[[str], Exported]) -> str:
    """Register `spec` with the corrected labels laid over it under a new name and return that name.

    `write(name)` makes the export; the dataset gets files of its own, so that later exports do not change it.

    Raises:
        ReviewError: the name is taken by a dataset. DataError: the corrections do not fit the dataset.
    """
    key = slug(name)
    if key in list_datasets(workspace):
        raise ReviewError(f"`name` must be new, but a dataset {key!r} exists. Type another name.")
    files = write(f"dataset-{key}")
    return add_dataset(workspace, key, with_corrections(spec, str(files.parquet)))
