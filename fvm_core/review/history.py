"""Everything that was ever decided on one image: over all reviews of the dataset, undone or not."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from fvm_core.review.decision import Decision
from fvm_core.review.log import DecisionLog
from fvm_core.review.tables import DECISIONS, SESSIONS


@dataclass(frozen=True)
class Event:
    """One decision or undo. `review` is the name of its session; `undone` the undo that took it back, if any."""

    review: str
    decision: Decision
    undone: Decision | None = None


@dataclass(frozen=True)
class History:
    """`events` oldest first; `hidden` counts other people's decisions that would spoil a blind opinion still open."""

    events: tuple[Event, ...]
    hidden: int = 0


def image_history(log: DecisionLog, sample: str, *, fingerprint: str, viewer: str | None = None) -> History:
    """Return what was decided on `sample` in all reviews of the dataset with that fingerprint.

    With a `viewer`, other people's decisions on an image under blind review are left out until everyone it was given
    to has decided, or an adjudicator has settled it. One query by an index, whatever the number of decisions.
    """
    columns = [DECISIONS.c[name] for name in Decision.__dataclass_fields__]
    query = (
        select(SESSIONS.c.id.label("_session"), SESSIONS.c.name.label("_review"), *columns)
        .join(SESSIONS, SESSIONS.c.id == DECISIONS.c.session)
        .where(DECISIONS.c.sample == sample, SESSIONS.c.fingerprint == fingerprint)
        .order_by(DECISIONS.c.number)
    )
    rows = [dict(row) for row in log.run(lambda connection: connection.execute(query).mappings().all(), writes=False)]
    closed = {session for session in {row["_session"] for row in rows} if viewer and _closed(log, session, sample)}
    found = [(row.pop("_session"), row.pop("_review"), Decision(**row)) for row in rows]
    undone = {decision.undoes: decision for _, _, decision in found if decision.undoes is not None}
    shown = [
        Event(review, decision, undone.get(decision.number))
        for session, review, decision in found
        if session not in closed or decision.reviewer == viewer
    ]
    return History(tuple(shown), len(found) - len(shown))


def _closed(log: DecisionLog, session: str, sample: str) -> bool:
    """Return whether `sample` is under a blind review that is not over."""
    given = log.assignments(session)
    if sample not in given.blind:
        return False
    replay = log.replay(session)
    people = {name for name, samples in given.of.items() if sample in samples}
    if sample in replay.settled():
        return False
    return not people <= set(replay.opinions([sample]).get(sample, {}))
