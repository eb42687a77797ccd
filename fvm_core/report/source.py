"""What a report is about: one score file, its dataset and model, and the review that was made with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fvm_core.data.dataset import UNKNOWN, DatasetSpec, LabeledImages
from fvm_core.data.open import open_dataset
from fvm_core.errors import CheckpointError, DataError
from fvm_core.influence.metrics import Curves, ranked
from fvm_core.influence.store import RunInfo, display_name, list_runs, read_scores
from fvm_core.models.store import ModelRecord, model_folder, read_record
from fvm_core.review.decision import Decision
from fvm_core.review.log import DecisionLog
from fvm_core.review.outcome import outcome_of
from fvm_core.review.session import ReviewSession, list_sessions
from fvm_core.workspace import Workspace

COLUMNS = ["id", "row", "label", "clean_label", "score", "suspicion", "suggested"]


@dataclass(frozen=True)
class Source:
    """`scores` has COLUMNS, most suspicious first; `states` the decision that holds for each decided id. `model` is
    None where it was deleted since."""

    dataset: LabeledImages
    scores: pd.DataFrame
    provenance: Mapping[str, Any]
    info: RunInfo
    session: ReviewSession | None
    states: Mapping[str, Decision]
    model: ModelRecord | None

    def wrong(self) -> NDArray[np.bool_] | None:
        """Return (n,) True for wrong labels where every truth is known and both kinds are there, else None."""
        clean = self.scores["clean_label"].to_numpy()
        wrong = clean != self.scores["label"].to_numpy()
        return wrong if (clean != UNKNOWN).all() and wrong.any() and not wrong.all() else None


def open_source(workspace: Workspace, scores: str, session: str) -> Source:
    """Open what `scores` ("RUN/METHOD") and `session` (an id, or "" for none) name.

    Raises:
        DataError: no such scores or session, or the dataset is not the one that was scored any more.
    """
    files = {f"{info.run}/{info.method}": info for info in list_runs(workspace)}
    if scores not in files:
        raise DataError(f"`scores` must be one of {sorted(files)}, got {scores!r}. Score the dataset first.")
    table = read_scores(files[scores].path, columns=COLUMNS)
    about = table.provenance["dataset"]
    dataset = open_dataset(DatasetSpec.from_json(about["spec"]))
    if dataset.fingerprint != about["fingerprint"]:
        raise DataError("the dataset must be as it was when it was scored, but has changed. Score it again.")
    found, states = None, {}
    if session:
        log = DecisionLog(workspace.review_url)
        try:
            sessions = {one.id: one for one in list_sessions(log, fingerprint=dataset.fingerprint)}
            if session not in sessions:
                raise DataError(f"`session` must be a review of this dataset, got {session!r}. Choose another.")
            found, states = sessions[session], dict(outcome_of(log, session).states)
        finally:
            log.close()
    try:
        record = read_record(workspace, str(table.provenance["model"]["name"]))
        model = record if record.sha256 == table.provenance["model"].get("sha256") else None
    except CheckpointError:
        model = None
    frame = table.frame.sort_values("suspicion", ascending=False, kind="stable").reset_index(drop=True)
    return Source(dataset, frame, table.provenance, files[scores], found, states, model)


def detection_of(workspace: Workspace, source: Source) -> dict[str, tuple[Curves, float, float]]:
    """Return name -> (curves, AUC, AP in [0, 1]) of every score file of this dataset that covers the same samples."""
    found = {}
    ids = set(source.scores["id"])
    for info in list_runs(workspace):
        about = info.provenance.get("dataset", {})
        if info.method == "snapshots" or about.get("fingerprint") != source.dataset.fingerprint:
            continue
        frame = read_scores(info.path, columns=["id", "label", "clean_label", "suspicion"]).frame
        if len(frame) != len(ids) or not ids.issuperset(frame["id"]):
            continue
        wrong = (frame["clean_label"] != frame["label"]).to_numpy()
        suspicion = frame["suspicion"].to_numpy()
        name = display_name(info.provenance)
        one = ranked(suspicion, wrong, points=300)
        found[name if name not in found else f"{name} ({info.run})"] = (one.curves, one.auc, one.ap)
    return dict(sorted(found.items(), key=lambda pair: -pair[1][1]))


def tuning_curves(workspace: Workspace, model: ModelRecord) -> dict[int, dict[str, float]]:
    """Return step -> losses out of the model's metrics; nothing where they were not kept."""
    path = model_folder(workspace, model.name) / "metrics.jsonl"
    rows: dict[int, dict[str, float]] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        kept = {key: value for key, value in row.items() if key.endswith("_loss") and isinstance(value, int | float)}
        if kept:
            rows.setdefault(int(row["step"]), {}).update(kept)
    return dict(sorted(rows.items()))
