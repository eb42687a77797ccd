"""Decisions of several people for tests, with and without a database."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from itertools import count

from fvm_core.review.decision import Decision, Entry
from fvm_core.review.replay import Replay

GIVEN = 3
_NUMBERS = count(1)


def press(sample: str, label: int | None, *, action: str = "", given: int = GIVEN, score: float | None = 1.5) -> Entry:
    """Return one key press; `label` None is a skip, the given one a keep, another one a pick."""
    action = action or ("skip" if label is None else "keep" if label == given else "pick")
    label = None if action == "undo" else given if label is None else label
    return Entry(
        client="tab", seq=next(_NUMBERS), sample=sample, action=action, label=label, given=given, suggested=5,
        run="demo", method="loss", score=score, score_provenance="ab12",
    )  # fmt: skip


def decide(sample: str, label: int | None, reviewer: str) -> Decision:
    """Return a decision as it would stand in the log; numbers go up."""
    entry = press(sample, label)
    return Decision(
        **asdict(entry), number=entry.seq, undoes=None, reviewer=reviewer, decided_at="2026-01-01T00:00:00.000+00:00"
    )


def replay_of(decisions: Iterable[Decision]) -> Replay:
    replay = Replay()
    replay.apply(sorted(decisions, key=lambda decision: decision.number))
    return replay
