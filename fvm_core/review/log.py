"""The append-only log of decisions: written before the screen says so, safe to send twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.sqlite import insert

from fvm_core.review.decision import Decision, Entry
from fvm_core.review.replay import Replay
from fvm_core.review.tables import DECISIONS, connect, transaction


class DecisionLog:
    """All reviews of one workspace. One instance may serve many threads; many processes may share the file."""

    def __init__(self, url: str) -> None:
        """Open the database. Raises StorageError when it cannot be opened."""
        self.engine = connect(url)
        self._replays: dict[str, Replay] = {}
        self._lock = Lock()

    def append(self, session: str, entries: Sequence[Entry], *, reviewer: str) -> int:
        """Write the entries that are not in the log yet, all or none, and return how many were new.

        They are on disk when this returns. An entry whose (client, seq) is known is ignored, so sending a log again
        changes nothing. An undo takes back the latest decision on its sample that still holds.

        Raises:
            StorageError: nothing of this call was written.
        """
        if not entries:
            return 0
        decided_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        with transaction(self.engine, writes=True) as connection:
            known = _known(connection, session, {entry.client for entry in entries})
            fresh = [entry for entry in entries if (entry.client, entry.seq) not in known]
            for entry in fresh:
                row = asdict(entry) | {"session": session, "reviewer": reviewer, "decided_at": decided_at}
                row["undoes"] = _holding(connection, session, entry.sample) if entry.action == "undo" else None
                connection.execute(insert(DECISIONS).values(row).on_conflict_do_nothing())
        return len(fresh)

    def acked(self, session: str, clients: Iterable[str]) -> dict[str, int]:
        """Return the highest sequence number on disk for each client (0 where there is none)."""
        wanted = set(clients)
        query = (
            select(DECISIONS.c.client, func.max(DECISIONS.c.seq))
            .where(DECISIONS.c.session == session, DECISIONS.c.client.in_(wanted))
            .group_by(DECISIONS.c.client)
        )
        with transaction(self.engine, writes=False) as connection:
            found = {client: seq for client, seq in connection.execute(query)}
        return {client: found.get(client, 0) for client in wanted}

    def read(self, session: str, *, after: int = 0) -> list[Decision]:
        """Return the decisions of a session numbered above `after`, oldest first, undone ones and undos included."""
        query = (
            select(*(DECISIONS.c[name] for name in Decision.__dataclass_fields__))
            .where(DECISIONS.c.session == session, DECISIONS.c.number > after)
            .order_by(DECISIONS.c.number)
        )
        with transaction(self.engine, writes=False) as connection:
            return [Decision(**row) for row in connection.execute(query).mappings()]

    def replay(self, session: str) -> Replay:
        """Return a snapshot of the session's state; only decisions newer than the last call are read."""
        with self._lock:
            replay = self._replays.setdefault(session, Replay())
            replay.apply(self.read(session, after=replay.last))
            return replay.copy()

    def close(self) -> None:
        self.engine.dispose()


def _known(connection: Connection, session: str, clients: set[str]) -> set[tuple[str, int]]:
    query = select(DECISIONS.c.client, DECISIONS.c.seq).where(
        DECISIONS.c.session == session, DECISIONS.c.client.in_(clients)
    )
    return {(client, seq) for client, seq in connection.execute(query)}


def _holding(connection: Connection, session: str, sample: str) -> Any:
    undone = select(DECISIONS.c.undoes).where(DECISIONS.c.session == session, DECISIONS.c.undoes.is_not(None))
    return connection.scalar(
        select(func.max(DECISIONS.c.number)).where(
            DECISIONS.c.session == session,
            DECISIONS.c.sample == sample,
            DECISIONS.c.action != "undo",
            DECISIONS.c.number.not_in(undone),
        )
    )
