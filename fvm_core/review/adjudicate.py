"""The decision that settles what reviewers disagreed on: a decision in the log like any other, marked as such."""

from __future__ import annotations

import uuid

from fvm_core.errors import ReviewError
from fvm_core.review.decision import Decision, Entry
from fvm_core.review.log import DecisionLog
from fvm_core.review.outcome import outcome_of


def adjudicate(log: DecisionLog, session: str, sample: str, label: int, *, classes: int, reviewer: str) -> None:
    """Settle a disagreement with `label`, or settle it anew. What the reviewers saw (score, run) is kept beside it.

    Raises:
        ReviewError: reviewers do not disagree on `sample`, or `label` is no class. StorageError: nothing is known to
            be written.
    """
    disputes = outcome_of(log, session).disputes
    dispute = next((dispute for dispute in disputes if dispute.sample == sample), None)
    if dispute is None:
        raise ReviewError(f"`sample` must be an image that reviewers disagree on, got {sample!r}. Reload the page.")
    if not 0 <= label < classes:
        raise ReviewError(f"`label` must be a class in [0, {classes}), got {label!r}.")
    seen = max(dispute.opinions.values(), key=lambda decision: decision.number)
    _write(log, session, seen, "keep" if label == seen.given else "pick", label, reviewer)


def take_back(log: DecisionLog, session: str, sample: str, *, reviewer: str) -> None:
    """Take back `reviewer`'s own latest settlement of `sample`, so that it is open again.

    Raises:
        ReviewError: it is not settled, or by somebody else.
    """
    found = log.replay(session).settled().get(sample)
    if found is None or found.reviewer != reviewer:
        whose = "nobody" if found is None else repr(found.reviewer)
        raise ReviewError(f"{sample!r} must be settled by {reviewer!r} to be taken back, but is by {whose}.")
    _write(log, session, found, "undo", None, reviewer)


def _write(log: DecisionLog, session: str, seen: Decision, action: str, label: int | None, reviewer: str) -> None:
    entry = Entry(
        client=f"adjudication-{uuid.uuid4().hex}",
        seq=1,
        sample=seen.sample,
        action=action,
        label=label,
        given=seen.given,
        suggested=seen.suggested,
        run=seen.run,
        method=seen.method,
        score=seen.score,
        score_provenance=seen.score_provenance,
        role="adjudicate",
    )
    log.append(session, [entry], reviewer=reviewer)
