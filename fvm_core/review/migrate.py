"""Brings a review database to the schema of this version, whatever version wrote it, in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, inspect, text

from fvm_core.errors import StorageError

HEAD = "0003"
FIRST = "0001"
FOLDER = Path(__file__).parent / "migrations"
_LOCK = 7310942186
"""Key of PostgreSQL's advisory lock: one process migrates, the others wait for it."""

Perform = Callable[[Callable[[Connection], Any], bool], Any]


def migrate(perform: Perform, place: str) -> None:
    """Run the revisions that the database lacks. `perform(work, writes)` runs `work(connection)` in a transaction.

    A database of this version is only read, so that opening it waits for no writer. One from before the migrations
    (SQLite, with sessions and decisions) is taken for revision 0001.

    Raises:
        StorageError: the database was written by a newer version, or cannot be read or written.
    """
    if perform(lambda connection: _version(connection, place), False) != HEAD:
        perform(lambda connection: _upgrade(connection, place), True)


def _version(connection: Connection, place: str) -> str | None:
    """Return the revision of the database, None for an empty one. Raises StorageError for one that is not ours."""
    tables = set(inspect(connection).get_table_names())
    if "alembic_version" not in tables:
        return FIRST if {"sessions", "decisions"} <= tables else None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
    if not found:
        return None
    if len(found) > 1 or not found[0].isdigit() or found[0] > HEAD:
        raise StorageError(
            f"{place} must be of schema {HEAD} or older, but is of {', '.join(sorted(found))!r}: a newer FVM Studio "
            "wrote it. Update FVM Studio (git pull, pip install -r requirements.txt), or name another database."
        )
    return str(found[0])


def _upgrade(connection: Connection, place: str) -> None:
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    current = _version(connection, place)
    script, context = ScriptDirectory(str(FOLDER)), MigrationContext.configure(connection)
    if current is not None and not context.get_current_heads():
        context.stamp(script, current)
    with Operations.context(context):
        for revision in reversed(list(script.iterate_revisions(HEAD, current or "base"))):
            if revision.revision != current:
                revision.module.upgrade()
                context.stamp(script, revision.revision)
