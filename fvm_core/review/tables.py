"""The two tables of a review and how SQLite is opened for them: durable, shared between processes, append-only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    create_engine,
    event,
)
from sqlalchemy.exc import SQLAlchemyError

from fvm_core.errors import StorageError

PATIENCE = 10.0
"""Seconds to wait for another writer."""

METADATA = MetaData()

SESSIONS = Table(
    "sessions",
    METADATA,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("reviewer", String, nullable=False),
    Column("dataset", String, nullable=False),
    Column("fingerprint", String, nullable=False),
    Column("created", String, nullable=False),
    UniqueConstraint("name", "fingerprint"),
)

DECISIONS = Table(
    "decisions",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("session", String, ForeignKey("sessions.id"), nullable=False),
    Column("client", String, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("sample", String, nullable=False),
    Column("action", String, nullable=False),
    Column("label", Integer),
    Column("undoes", Integer, ForeignKey("decisions.number")),
    Column("given", Integer, nullable=False),
    Column("suggested", Integer),
    Column("run", String, nullable=False),
    Column("method", String, nullable=False),
    Column("score", Float),
    Column("score_provenance", String, nullable=False),
    Column("reviewer", String, nullable=False),
    Column("decided_at", String, nullable=False),
    UniqueConstraint("session", "client", "seq"),
    Index("decisions_of_sample", "session", "sample"),
    sqlite_autoincrement=True,
)

_GUARDS = {
    f"{table}_no_{verb.lower()}": f"BEFORE {verb} ON {table} BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    for table in METADATA.tables
    for verb in ("UPDATE", "DELETE")
}


def connect(url: str) -> Engine:
    """Open (and make, if missing) the review database at `url`, e.g. `sqlite:////path/review.sqlite`.

    WAL with `synchronous=FULL`: a committed decision survives a power cut. Triggers refuse UPDATE and DELETE.

    Raises:
        StorageError: the file cannot be opened or is no database.
    """
    engine = create_engine(url, connect_args={"timeout": PATIENCE})
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    with transaction(engine, writes=False) as connection:
        found = set(connection.exec_driver_sql("SELECT name FROM sqlite_master").scalars())
    if not {*METADATA.tables, *_GUARDS} <= found:
        with transaction(engine, writes=True) as connection:
            METADATA.create_all(connection)
            for name, guard in _GUARDS.items():
                connection.exec_driver_sql(f"CREATE TRIGGER IF NOT EXISTS {name} {guard}")
    return engine


@contextmanager
def transaction(engine: Engine, *, writes: bool) -> Iterator[Connection]:
    """One transaction, committed on a clean exit; `writes` takes the write lock at its start (others wait up to 10 s).

    Raises:
        StorageError: the disk is full or read-only, the file is locked or damaged; nothing was written.
    """
    try:
        with engine.connect().execution_options(writes=writes) as connection, connection.begin():
            yield connection
    except SQLAlchemyError as error:
        raise StorageError(
            f"`{engine.url.database}` could not be {'written' if writes else 'read'} "
            f"({getattr(error, 'orig', None) or error}); earlier decisions are untouched. "
            "Free disk space or close other programs that hold the file, then try again."
        ) from error


def _on_connect(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _on_begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")
