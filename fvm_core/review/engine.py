"""How the review database is opened and written: SQLite on one machine, PostgreSQL for a team, neither loses a word."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from fvm_core.errors import StorageError
from fvm_core.review.migrate import migrate

PATIENCE = 20.0
"""Seconds to wait for another writer, or for a server that restarts."""

SETTING = "FVM_STUDIO_REVIEW_URL"
_DRIVERS = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg"}
_HOPELESS = ("authentication failed", "does not exist", "pg_hba.conf", "could not translate host name")
_RESTARTING = ("08", "57P", "40001", "40P01", "53300")
_KINDS = ("sqlite", "postgresql+psycopg")
_T = TypeVar("_T")


class _TryAgain(StorageError):
    """Nothing was written, or it is not known whether it was; the same work may succeed a moment later."""


def connect(url: str, *, patience: float = PATIENCE) -> Engine:
    """Open the review database at `url` (`sqlite:////path/review.sqlite`, `postgresql://user:password@host/name`).

    It is made if missing and brought to the schema of this version. SQLite: WAL with `synchronous=FULL`, so that a
    committed decision survives a power cut. PostgreSQL: commits wait for the server's disk, whatever its default.
    Triggers refuse UPDATE and DELETE. No password stands in any message.

    Raises:
        StorageError: the address is wrong, the database cannot be opened, is none, or is of a newer version.
    """
    address = _address(url)
    if address.get_backend_name() == "sqlite":
        engine = create_engine(address, connect_args={"timeout": min(PATIENCE, patience) / 2})
        event.listen(engine, "connect", _on_sqlite_connect)
        event.listen(engine, "begin", _on_sqlite_begin)
    else:
        waits = {"connect_timeout": max(2, int(patience / 4))}
        engine = create_engine(address, pool_pre_ping=True, hide_parameters=True, connect_args=waits)
        event.listen(engine, "connect", _on_postgresql_connect)
    migrate(lambda work, writes: perform(engine, work, writes=writes, patience=patience), place(address))
    return engine


def perform(engine: Engine, work: Callable[[Connection], _T], *, writes: bool, patience: float = PATIENCE) -> _T:
    """Return `work(connection)` done in one transaction; try again while the database is busy or restarting.

    A commit whose answer got lost is done again, so `work` has to be idempotent. `writes` takes SQLite's write lock at
    the start: two writers never meet half-way.

    Raises:
        StorageError: not within `patience` seconds, or for a reason that waiting does not mend; nothing was written
            (or, where the connection broke, possibly all of it).
    """
    end, pause = time.monotonic() + patience, 0.02
    while True:
        try:
            with transaction(engine, writes=writes) as connection:
                return work(connection)
        except _TryAgain as error:
            if time.monotonic() + pause > end:
                raise StorageError(str(error)) from error
        time.sleep(pause * random.uniform(0.5, 1.0))
        pause = min(2 * pause, 0.5)


@contextmanager
def transaction(engine: Engine, *, writes: bool) -> Iterator[Connection]:
    """One transaction, committed on a clean exit.

    Raises:
        StorageError: the disk is full or read-only, the file is locked or damaged, the server is away.
    """
    try:
        with engine.connect().execution_options(writes=writes) as connection, connection.begin():
            yield connection
    except SQLAlchemyError as error:
        kind = _TryAgain if _passes(error) else StorageError
        remedy = (
            "Free disk space or close other programs that hold the file, then try again."
            if engine.dialect.name == "sqlite"
            else f"Check that the server of {SETTING} runs and lets this user in, then try again."
        )
        raise kind(
            f"{place(engine.url)} could not be {'written' if writes else 'read'} "
            f"({_reason(error, engine.url)}); earlier decisions are untouched. {remedy}"
        ) from (None if _secrets(engine.url) else error)


def place(url: URL) -> str:
    """Return where a database is, in words without user and password."""
    if url.get_backend_name() == "sqlite":
        return f"`{url.database}`"
    return f"the PostgreSQL database `{url.database}` at `{url.host or url.query.get('host') or 'localhost'}`"


def _address(url: str) -> URL:
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        address = None
    if address is not None:
        address = address.set(drivername=_DRIVERS.get(address.drivername, address.drivername))
    if address is None or address.drivername not in _KINDS or not address.database:
        raise StorageError(
            f"`{SETTING}` must read postgresql://USER:PASSWORD@HOST:PORT/DATABASE (special characters of the password "
            "as %XX) or sqlite:////PATH, but what it holds is neither. It is not shown here because it may hold a "
            "password. Correct it, or unset it to review into the workspace's own file."
        ) from None
    return address


def _reason(error: SQLAlchemyError, url: URL) -> str:
    words = " ".join(str(getattr(error, "orig", None) or error).split())
    for secret in _secrets(url):
        words = words.replace(secret, "***")
    return words


def _secrets(url: URL) -> list[str]:
    found = [url.password, *(url.query.get(name) for name in ("password", "sslpassword", "passfile"))]
    return [word for word in found if isinstance(word, str) and word]


def _passes(error: SQLAlchemyError) -> bool:
    """Return whether waiting can mend it: a lock, a lost connection, a server that starts or stops."""
    if not isinstance(error, DBAPIError):
        return False
    cause: Any = error.orig
    code = getattr(cause, "sqlite_errorname", None)
    if code is not None:
        return str(code).startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
    state = getattr(cause, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_RESTARTING)
    lost = type(cause).__name__ in ("OperationalError", "ConnectionTimeout", "InterfaceError")
    return error.connection_invalidated or (
        lost and type(cause).__module__.startswith("psycopg") and not any(word in str(cause) for word in _HOPELESS)
    )


def _on_sqlite_connect(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        connection.execute("PRAGMA journal_mode=WAL")
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _on_sqlite_begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")


def _on_postgresql_connect(connection: Any, _record: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
        )
    connection.commit()
