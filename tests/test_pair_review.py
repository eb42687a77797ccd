"""Verdicts on pairs: what is kept, what an export says, and what cannot be exported; the list of asked prompts."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from pair_score_files import invented

from fvm_core.errors import ReviewError
from fvm_core.files import file_sha256, write_json
from fvm_core.generation.answer_list import list_answers
from fvm_core.generation.pair_file import read_pair_file
from fvm_core.generation.pair_review import (
    fingerprint_of,
    kept_pairs,
    known_pairs,
    scored_pairs,
    verdict_table,
    write_pair_export,
)
from fvm_core.generation.pairs import PairSet
from fvm_core.generation.score_store import ScoreRun, answer_folder, list_score_runs, read_run
from fvm_core.review.decision import Entry
from fvm_core.review.log import DecisionLog
from fvm_core.review.session import ReviewSession, open_session
from fvm_core.workspace import Workspace


def entry(seq: int, sample: str, action: str, label: int | None) -> Entry:
    return Entry(client="c", seq=seq, sample=sample, action=action, label=label, given=0, suggested=1, run="demo-fvm")


def reviewed(workspace: Workspace, pairs: PairSet) -> tuple[DecisionLog, ReviewSession]:
    """Return a review: pair 0 is wrong, 1 right, 2 skipped, 3 was wrong and is undone, 4 was right, then wrong."""
    log = DecisionLog(workspace.review_url)
    session = open_session(log, name="first", reviewer="Ada", dataset="demo-train", fingerprint=pairs.fingerprint)
    steps = [
        (0, "accept", 1),
        (1, "keep", 0),
        (2, "skip", 0),
        (3, "accept", 1),
        (3, "undo", None),
        (4, "keep", 0),
        (4, "accept", 1),
    ]
    for seq, (row, action, label) in enumerate(steps, 1):
        log.append(session.id, [entry(seq, pairs.ids[row], action, label)], reviewer="Ada")
    return log, session


def test_the_scored_pairs_are_those_that_were_written(workspace: Workspace) -> None:
    training, _ = invented(workspace)
    assert scored_pairs(workspace, read_run(workspace, "demo-fvm")) == training


def test_only_pairs_called_wrong_are_left_out(workspace: Workspace) -> None:
    training, _ = invented(workspace)
    log, session = reviewed(workspace, training)
    kept = kept_pairs(training, log.replay(session.id).states())
    assert kept.ids == tuple(one for row, one in enumerate(training.ids) if row not in (0, 4))
    frame = verdict_table(training, log.replay(session.id).states())
    assert frame["verdict"].tolist()[:6] == ["wrong", "right", "skipped", "", "wrong", ""]
    assert frame["reviewer"].tolist()[:2] == ["Ada", "Ada"] and frame["class"].tolist() == list(training.classes or ())


def test_an_export_reads_back_and_counts_itself(workspace: Workspace) -> None:
    training, _ = invented(workspace)
    log, session = reviewed(workspace, training)
    run = read_run(workspace, "demo-fvm")
    files = write_pair_export(workspace, "My Export", training, log, session, run.provenance)
    assert (
        files.parquet.name == "my-export.parquet"
        and read_pair_file(files.parquet).ids == read_pair_file(files.jsonl).ids
    )
    assert len(read_pair_file(files.parquet)) == len(training) - 2
    about = json.loads(files.provenance.read_text())
    assert about["counts"] == {"wrong": 2, "right": 1, "skipped": 1}
    assert about["pairs"]["fingerprint"] == training.fingerprint and about["score"]["model"]["name"] == "demo-fvm"
    assert about["sha256"][files.verdicts.name] == file_sha256(files.verdicts)
    decisions = pd.read_csv(files.decisions)
    assert decisions["action"].tolist() == ["accept", "keep", "skip", "accept", "undo", "keep", "accept"]
    assert pd.read_csv(files.verdicts)["verdict"].fillna("").tolist()[:3] == ["wrong", "right", "skipped"]


def test_what_cannot_be_exported_is_told(workspace: Workspace) -> None:
    training, _ = invented(workspace)
    log, session = reviewed(workspace, training)
    states = log.replay(session.id).states()
    with pytest.raises(ReviewError, match="decisions name 1 pairs that these scores do not have"):
        kept_pairs(training.take(range(1, 18)), states)
    with pytest.raises(ReviewError, match="every pair was called wrong"):
        kept_pairs(training.take([0]), {training.ids[0]: states[training.ids[0]]})
    with pytest.raises(ReviewError, match="must name their training pairs"):
        fingerprint_of(ScoreRun("old", (), {}))


def test_the_browser_may_name_only_runs_on_the_same_pairs(workspace: Workspace) -> None:
    training, _ = invented(workspace)
    runs = list_score_runs(workspace)
    known = known_pairs({training.ids[0]: 0}, runs, training.fingerprint)
    assert {"demo-fvm/influence", "demo-lora/tracin", "demo-vm/loss"} <= set(known.runs) and known.classes == 2
    assert known.given(training.ids[0]) == 0 and known.given(training.ids[1]) is None
    assert known_pairs({}, runs, "another").runs == {}


def test_asked_prompts_come_newest_first_and_damaged_ones_not_at_all(workspace: Workspace, tmp_path: Path) -> None:
    for key, created in (("old", "2026-01-01"), ("new", "2026-02-01"), ("other", "2026-03-01")):
        folder = answer_folder(workspace, key)
        folder.mkdir(parents=True)
        value = {"key": key, "prompt": "p", "answer": "a", "model": "m", "methods": [], "created": created}
        write_json(folder / "answer.json", value | ({"key": "wrong"} if key == "other" else {}))
    damaged = answer_folder(workspace, "damaged")
    damaged.mkdir()
    (damaged / "answer.json").write_text("{")
    assert [one["key"] for one in list_answers(workspace)] == ["new", "old"]
    assert [one["key"] for one in list_answers(workspace, most=1)] == ["new"]
