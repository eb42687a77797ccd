"""The append-only log of decisions: written before the screen says so, safe to send twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from sqlalchemy import Connection, func, select

from fvm_core.errors import ReviewError
from fvm_core.review.assignments import Assignments, read_assignments
from fvm_core.review.decision import Decision, Entry, Record
from fvm_core.review.engine import PATIENCE, connect, perform
from fvm_core.review.replay import Replay
from fvm_core.review.tables import DECISIONS, SESSIONS
from fvm_core.review.upsert import insert_new

_AT_ONCE = 500


class DecisionLog:
    """All reviews in one database. One instance may serve many threads; many processes, on PostgreSQL many machines,
    may share the database."""

    def __init__(self, url: str, *, patience: float = PATIENCE) -> None:
        """Open the database; `patience` in seconds bounds every wait. Raises StorageError when it cannot be opened."""
        self.engine = connect(url, patience=patience)
        self._patience = patience
        self._replays: dict[str, Replay] = {}
        self._assignments: dict[str, Assignments] = {}
        self._lock = Lock()

    def run(self, work: Any, *, writes: bool) -> Any:
        """Return `work(connection)` in a transaction, tried again like `perform`: the work has to be idempotent."""
        return perform(self.engine, work, writes=writes, patience=self._patience)

    def append(self, session: str, entries: Sequence[Entry], *, reviewer: str) -> int:
        """Write the entries that are not in the log yet, all or none, and return how many were new.

        They are on disk when this returns. An entry whose (client, seq) is known is ignored, so sending a log again
        changes nothing. An undo takes back the reviewer's own latest decision on its sample that still holds, never
        another person's.

        Raises:
            ReviewError: there is no such session. StorageError: nothing of this call is known to be written.
        """
        decided_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        return self.add(session, [Record(entry, reviewer, decided_at) for entry in entries])

    def add(self, session: str, records: Sequence[Record]) -> int:
        """Write records as `append` does, each with its own reviewer and time; an undo may name what it takes back."""
        if not records:
            return 0

        def work(connection: Connection) -> int:
            lock_session(connection, session)
            known = _known(connection, session, {record.entry.client for record in records})
            fresh = {address: record for record in records if (address := _address(record)) not in known}
            plain: list[dict[str, Any]] = []
            for record in fresh.values():
                row = asdict(record.entry) | {
                    "session": session, "reviewer": record.reviewer, "decided_at": record.decided_at, "undoes": None
                }  # fmt: skip
                if record.entry.action == "undo":
                    _insert(connection, plain)
                    plain = []
                    row["undoes"] = _taken_back(connection, session, record)
                plain.append(row)
            _insert(connection, plain)
            return len(fresh)

        return self.run(work, writes=True)

    def acked(self, session: str, clients: Iterable[str]) -> dict[str, int]:
        """Return the highest sequence number on disk for each client (0 where there is none)."""
        wanted = set(clients)
        query = (
            select(DECISIONS.c.client, func.max(DECISIONS.c.seq))
            .where(DECISIONS.c.session == session, DECISIONS.c.client.in_(wanted))
            .group_by(DECISIONS.c.client)
        )
        rows = self.run(lambda connection: connection.execute(query).all(), writes=False)
        found = {client: seq for client, seq in rows}
        return {client: found.get(client, 0) for client in wanted}

    def read(self, session: str, *, after: int = 0) -> list[Decision]:
        """Return the decisions of a session numbered above `after`, oldest first, undone ones and undos included."""
        query = (
            select(*(DECISIONS.c[name] for name in Decision.__dataclass_fields__))
            .where(DECISIONS.c.session == session, DECISIONS.c.number > after)
            .order_by(DECISIONS.c.number)
        )
        rows = self.run(lambda connection: connection.execute(query).mappings().all(), writes=False)
        return [Decision(**row) for row in rows]

    def replay(self, session: str) -> Replay:
        """Return a snapshot of the session's state; only decisions newer than the last call are read."""
        with self._lock:
            replay = self._replays.setdefault(session, Replay())
            replay.apply(self.read(session, after=replay.last))
            return replay.copy()

    def assignments(self, session: str) -> Assignments:
        """Return who sees what; only rows newer than the last call are read."""
        with self._lock:
            before = self._assignments.get(session, Assignments())
            rows = self.run(lambda connection: read_assignments(connection, session, after=before.last), writes=False)
            after = self._assignments[session] = before.extended(rows) if rows else before
            return after

    def total(self) -> int:
        """Return the number of rows in the log, over all sessions."""
        query = select(func.count()).select_from(DECISIONS)
        return int(self.run(lambda connection: connection.scalar(query), writes=False))

    def decided(self) -> int:
        """Return how many samples are decided, over all sessions: the sum of `Counts.decided`, without a replay."""
        undone = select(DECISIONS.c.undoes).where(DECISIONS.c.undoes.is_not(None))
        held = select(DECISIONS.c.session, DECISIONS.c.sample).where(
            DECISIONS.c.action != "undo", DECISIONS.c.role == "review", DECISIONS.c.number.not_in(undone)
        )
        query = select(func.count()).select_from(held.distinct().subquery())
        return int(self.run(lambda connection: connection.scalar(query), writes=False))

    def close(self) -> None:
        self.engine.dispose()


def lock_session(connection: Connection, session: str) -> None:
    """Let one writer at a time into a session, so that numbers appear in their order: whoever reads above a number
    has missed none below it. SQLite's write lock does the same. Raises ReviewError for an unknown session."""
    row = select(SESSIONS.c.id).where(SESSIONS.c.id == session).with_for_update(key_share=True)
    if connection.scalar(row) is None:
        raise ReviewError(f"`session` must be a review of this database, got {session!r}. Choose another review.")


def _address(record: Record) -> tuple[str, int]:
    return record.entry.client, record.entry.seq


def _insert(connection: Connection, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(insert_new(connection, DECISIONS), rows)


def _known(connection: Connection, session: str, clients: set[str]) -> set[tuple[str, int]]:
    known: set[tuple[str, int]] = set()
    for some in _parts(sorted(clients)):
        query = select(DECISIONS.c.client, DECISIONS.c.seq).where(
            DECISIONS.c.session == session, DECISIONS.c.client.in_(some)
        )
        known.update((client, seq) for client, seq in connection.execute(query))
    return known


def _parts(names: list[str]) -> Iterator[list[str]]:
    yield from (names[start : start + _AT_ONCE] for start in range(0, len(names), _AT_ONCE))


def _taken_back(connection: Connection, session: str, record: Record) -> int | None:
    mine = select(func.max(DECISIONS.c.number)).where(
        DECISIONS.c.session == session, DECISIONS.c.sample == record.entry.sample, DECISIONS.c.action != "undo"
    )
    if record.takes_back is not None:
        client, seq = record.takes_back
        return connection.scalar(mine.where(DECISIONS.c.client == client, DECISIONS.c.seq == seq))
    undone = select(DECISIONS.c.undoes).where(
        DECISIONS.c.session == session, DECISIONS.c.sample == record.entry.sample, DECISIONS.c.undoes.is_not(None)
    )
    return connection.scalar(
        mine.where(
            DECISIONS.c.reviewer == record.reviewer,
            DECISIONS.c.role == record.entry.role,
            DECISIONS.c.number.not_in(undone),
        )
    )
