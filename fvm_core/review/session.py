"""Reviews by name: one person, or several at once, working through one dataset, to be taken up again later."""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass

from sqlalchemy import func, select

from fvm_core.errors import ReviewError
from fvm_core.provenance import now
from fvm_core.review.log import DecisionLog
from fvm_core.review.tables import DECISIONS, SESSIONS
from fvm_core.review.upsert import insert_new


@dataclass(frozen=True)
class ReviewSession:
    """`fingerprint` ties the review to the exact ids and labels of a dataset; `created` is UTC, ISO 8601; `reviewer`
    began it (each decision carries its own)."""

    id: str
    name: str
    reviewer: str
    dataset: str
    fingerprint: str
    created: str


def person(value: str, *, name: str = "reviewer") -> str:
    """Return a name as it is kept: one space between words.

    Raises:
        ReviewError: empty, longer than 80 characters, or with characters that nobody can see.
    """
    value = " ".join(value.split())
    if not value or len(value) > 80:
        raise ReviewError(f"`{name}` must have 1 to 80 characters, got {len(value)}. Type another.")
    if not value.isprintable():
        raise ReviewError(f"`{name}` must have visible characters only, got {value!r}. Type another.")
    return value


def open_session(log: DecisionLog, *, name: str, reviewer: str, dataset: str, fingerprint: str) -> ReviewSession:
    """Return the session called `name` on that dataset, made now if there is none; an old one keeps its reviewer.

    Raises:
        ReviewError: `name` or `reviewer` is empty or longer than 80 characters.
    """
    made = ReviewSession(uuid.uuid4().hex, person(name, name="name"), person(reviewer), dataset, fingerprint, now())
    log.run(lambda connection: connection.execute(insert_new(connection, SESSIONS), [asdict(made)]), writes=True)
    return next(session for session in list_sessions(log, fingerprint=fingerprint) if session.name == made.name)


def list_sessions(log: DecisionLog, *, fingerprint: str | None = None) -> list[ReviewSession]:
    """Return the sessions (of one dataset), the one worked on last first."""
    latest = func.coalesce(func.max(DECISIONS.c.decided_at), SESSIONS.c.created)
    query = (
        select(SESSIONS)
        .outerjoin(DECISIONS, DECISIONS.c.session == SESSIONS.c.id)
        .group_by(SESSIONS.c.id)
        .order_by(latest.desc(), SESSIONS.c.created.desc(), SESSIONS.c.name)
    )
    if fingerprint is not None:
        query = query.where(SESSIONS.c.fingerprint == fingerprint)
    rows = log.run(lambda connection: connection.execute(query).mappings().all(), writes=False)
    return [ReviewSession(**row) for row in rows]
