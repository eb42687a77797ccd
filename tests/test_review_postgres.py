"""A team's database: a real PostgreSQL that is restarted under eight reviewers; passwords stay out of every message."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from postgres_server import SECRET, PostgresServer, postgres_server
from review_crowd import NAMES, QUERY, check, finish, start, wait_for
from sqlalchemy import Engine, text

from fvm_core.errors import ReviewError, StorageError
from fvm_core.review.decision import Entry
from fvm_core.review.keys import DEFAULT_KEYS, read_keys, write_keys
from fvm_core.review.log import DecisionLog, lock_session
from fvm_core.review.session import ReviewSession, list_sessions, open_session
from fvm_core.review.tables import METADATA
from fvm_core.workspace import Workspace
from pages.ui.progress import find_steps


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


def opened(log: DecisionLog) -> ReviewSession:
    return open_session(log, name="first", reviewer="Ada", dataset="digits", fingerprint="f1")


def keep(seq: int, sample: str = "img-1", action: str = "keep") -> Entry:
    label = None if action == "undo" else 3
    return Entry(client="tab", seq=seq, sample=sample, action=action, label=label, given=3)


def test_eight_reviewers_and_two_restarts_lose_nothing_and_write_nothing_twice(server: PostgresServer) -> None:
    url = server.new_database("crowd")
    log = DecisionLog(url)
    session = opened(log)
    people = [start(url, session.id, name) for name in NAMES]

    def count() -> int:
        return int(str(server.rows("crowd", "SELECT count(*) FROM decisions")[0][0]))

    for wanted, how in ((1500, "immediate"), (5000, "fast")):
        before = wait_for(count, wanted, people)
        assert before < 9500, "the restart must come while they work"
        server.control("restart", "-m", how)
        assert count() >= before, "what was committed must outlive the restart"
    finish(people)
    check(server.rows("crowd", QUERY))
    assert len(log.read(session.id)) == 10_000, "a log from before the restarts goes on"
    log.close()


def test_numbers_appear_in_order_so_that_a_replay_in_steps_misses_none(server: PostgresServer) -> None:
    """A writer that has taken a number and not committed holds up the next writer, not the readers."""
    log = DecisionLog(server.new_database("order"))
    session = opened(log)
    with psycopg.connect(log.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)) as slow:
        slow.execute("SELECT id FROM sessions WHERE id = %s FOR NO KEY UPDATE", [session.id])
        other = DecisionLog(log.engine.url.render_as_string(hide_password=False), patience=0.5)
        with other.engine.connect() as connection:
            connection.execute(text("SET lock_timeout = '200ms'"))
            with pytest.raises(Exception, match="lock timeout"):
                lock_session(connection, session.id)
        assert log.read(session.id) == []
        other.close()
    assert log.append(session.id, [keep(1)], reviewer="Ada") == 1
    log.close()


def test_the_schema_is_append_only_and_sessions_are_shared(server: PostgresServer) -> None:
    url = server.new_database("shared")
    one, other = DecisionLog(url), DecisionLog(url.replace("postgresql+psycopg", "postgresql"))
    session = opened(one)
    assert opened(other) == session and list_sessions(other, fingerprint="f1") == [session]
    one.append(session.id, [keep(1)], reviewer="Ada")
    other.append(session.id, [keep(1), keep(1 << 40, "img-2"), keep(3, action="undo")], reviewer="Bob")
    assert [(d.seq, d.reviewer, d.undoes) for d in one.read(session.id)] == [
        (1, "Ada", None), (1 << 40, "Bob", None), (3, "Bob", None),
    ]  # fmt: skip
    for statement in ("UPDATE decisions SET reviewer = 'Eve'", "DELETE FROM sessions", "TRUNCATE assignments"):
        with pytest.raises(psycopg.errors.RaiseException, match="is append-only"):
            server.rows("shared", statement)
    with pytest.raises(ReviewError, match="must be a review of this database, got 'nowhere'"):
        one.append("nowhere", [keep(1)], reviewer="Ada")
    one.close()
    other.close()


def test_samples_decided_are_counted_on_the_server_and_home_says_so(
    server: PostgresServer, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.new_database("count")
    log = DecisionLog(url)
    session = opened(log)
    log.append(session.id, [keep(1), keep(2, "img-2"), keep(3), keep(4, "img-2", "undo")], reviewer="Ada")
    assert log.decided() == log.replay(session.id).counts(9).decided == 1
    log.close()
    monkeypatch.setenv("FVM_STUDIO_REVIEW_URL", url)
    assert find_steps(workspace)[-1].found == "1 decision"


def test_keys_follow_a_person_from_machine_to_machine(server: PostgresServer, tmp_path: Path) -> None:
    """A table of an older version gets the keys; a key file of one machine is taken over once, for all machines."""
    url = server.new_database("keys")
    one = DecisionLog(url)
    with one.engine.begin() as connection:
        connection.execute(text("DROP TABLE reviewer_keys"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0002'"))
    one.close()
    one, other = DecisionLog(url), DecisionLog(url)
    mine = {**DEFAULT_KEYS, "keep": "j"}
    name = f"keys-{hashlib.sha256(b'Ada').hexdigest()[:24]}.json"
    (tmp_path / name).write_text(json.dumps({"reviewer": "Ada", "keys": mine}))
    assert read_keys(one, "Ada", folder=tmp_path) == mine
    assert read_keys(other, "Ada") == mine and read_keys(other, "Bob") == dict(DEFAULT_KEYS)
    write_keys(other, "Ada", {**mine, "skip": "x"})
    assert read_keys(one, "Ada", folder=tmp_path) == {**mine, "skip": "x"}
    one.close()
    other.close()


def test_the_revisions_make_the_tables_that_queries_name(server: PostgresServer) -> None:
    log = DecisionLog(server.new_database("schema"))
    with log.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
    log.close()


def test_commits_wait_for_the_disk_even_where_the_server_would_not(server: PostgresServer) -> None:
    url = server.new_database("lazy")
    server.run("ALTER DATABASE lazy SET synchronous_commit = off")
    log = DecisionLog(url)
    assert _setting(log.engine, "synchronous_commit") == "on"
    log.close()


def _setting(engine: Engine, name: str) -> object:
    with engine.connect() as connection:
        return connection.scalar(text(f"SHOW {name}"))


def test_no_message_holds_the_password(server: PostgresServer, capfd: pytest.CaptureFixture[str]) -> None:
    known = server.url("postgres")
    wrong = server.url("postgres", password="geheim-99")
    absent = known.replace(str(server.folder.name), "no-such-folder")
    for url, message in (
        (wrong, "password authentication failed .* Check that the server of FVM_STUDIO_REVIEW_URL runs"),
        (server.url("nothere"), 'database "nothere" does not exist'),
        (absent, "PostgreSQL database `postgres` at .* could not be read"),
        (f"mysql://fvm:{SECRET}@host/x", "must read postgresql://USER:PASSWORD@HOST:PORT/DATABASE"),
        (f"postgresql://fvm:{SECRET}@host:port/x", "must read postgresql://USER"),
        (f"postgresql://fvm:{SECRET}@host", "must read postgresql://USER"),
    ):
        with pytest.raises(StorageError, match=message) as caught:
            DecisionLog(url, patience=0.2)
        chain, error = [], caught.value
        while error is not None:
            chain.append(repr(error))
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        told = " ".join(chain) + "".join(capfd.readouterr())
        assert SECRET not in told and "geheim-99" not in told


def test_the_workspace_takes_the_setting(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    assert workspace.review_url == f"sqlite:///{workspace.root / 'review.sqlite'}"
    monkeypatch.setenv("FVM_STUDIO_REVIEW_URL", " postgresql://a:b@c/d ")
    assert workspace.review_url == "postgresql://a:b@c/d" and "b@c" not in repr(workspace)
