"""The database of a review: old ones are brought up to date without loss, newer ones refused, crashes lose nothing."""

from __future__ import annotations

import signal
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from review_crowd import NAMES, QUERY, check, finish, start, wait_for
from sqlalchemy.exc import OperationalError

from fvm_core.errors import StorageError
from fvm_core.review.decision import Entry
from fvm_core.review.log import DecisionLog
from fvm_core.review.migrate import FIRST, FOLDER, HEAD
from fvm_core.review.session import list_sessions, open_session
from fvm_core.review.tables import METADATA

# What FVM Studio wrote before it had migrations, word for word as its SQLite had it.
BEFORE = """
CREATE TABLE sessions (id VARCHAR NOT NULL, name VARCHAR NOT NULL, reviewer VARCHAR NOT NULL, dataset VARCHAR NOT NULL,
  fingerprint VARCHAR NOT NULL, created VARCHAR NOT NULL, PRIMARY KEY (id), UNIQUE (name, fingerprint));
CREATE TABLE decisions (number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, session VARCHAR NOT NULL,
  client VARCHAR NOT NULL, seq INTEGER NOT NULL, sample VARCHAR NOT NULL, action VARCHAR NOT NULL, label INTEGER,
  undoes INTEGER, given INTEGER NOT NULL, suggested INTEGER, run VARCHAR NOT NULL, method VARCHAR NOT NULL,
  score FLOAT, score_provenance VARCHAR NOT NULL, reviewer VARCHAR NOT NULL, decided_at VARCHAR NOT NULL,
  UNIQUE (session, client, seq), FOREIGN KEY(session) REFERENCES sessions (id),
  FOREIGN KEY(undoes) REFERENCES decisions (number));
CREATE INDEX decisions_of_sample ON decisions (session, sample);
CREATE TRIGGER sessions_no_update BEFORE UPDATE ON sessions BEGIN SELECT RAISE(ABORT, 'sessions is append-only'); END;
CREATE TRIGGER sessions_no_delete BEFORE DELETE ON sessions BEGIN SELECT RAISE(ABORT, 'sessions is append-only'); END;
CREATE TRIGGER decisions_no_update BEFORE UPDATE ON decisions
  BEGIN SELECT RAISE(ABORT, 'decisions is append-only'); END;
CREATE TRIGGER decisions_no_delete BEFORE DELETE ON decisions
  BEGIN SELECT RAISE(ABORT, 'decisions is append-only'); END;
INSERT INTO sessions VALUES ('s1', 'First pass', 'Ada', 'digits', 'f1', '2026-01-01T00:00:00+00:00');
INSERT INTO decisions VALUES
  (1, 's1', 'tab', 1, 'img-1', 'accept', 5, NULL, 3, 5, 'demo', 'loss', 2.5,
    'ab', 'Ada', '2026-01-01T00:00:01.000+00:00'),
  (2, 's1', 'tab', 2, 'img-2', 'keep', 3, NULL, 3, NULL, 'demo', 'loss', NULL,
    'ab', 'Ada', '2026-01-01T00:00:02.000+00:00'),
  (4, 's1', 'tab', 3, 'img-2', 'undo', NULL, 2, 3, NULL, 'demo', 'loss', NULL,
    'ab', 'Ada', '2026-01-01T00:00:03.000+00:00');
"""


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "review.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript("PRAGMA journal_mode=WAL;" + BEFORE)
    connection.close()
    return path


def test_a_database_from_before_the_migrations_keeps_every_word(old: Path) -> None:
    before = rows(old, "SELECT * FROM decisions"), rows(old, "SELECT * FROM sessions")
    log = DecisionLog(f"sqlite:///{old}")
    (session,) = list_sessions(log)
    assert (session.name, session.reviewer) == ("First pass", "Ada")
    assert rows(old, "SELECT * FROM sessions") == before[1]
    after = rows(old, "SELECT * FROM decisions")
    assert after == [(*row, "review") for row in before[0]]
    assert {sample: d.label for sample, d in log.replay("s1").states().items()} == {"img-1": 5}
    again = [Entry(client="tab", seq=seq, sample="img-9", action="keep", label=3, given=3) for seq in (3, 4)]
    assert log.append("s1", again, reviewer="Ada") == 1 and log.read("s1")[-1].number == 5
    assert rows(old, "SELECT version_num FROM alembic_version") == [(HEAD,)]
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        rows(old, "UPDATE decisions SET reviewer = 'Eve'")
    log.close()
    DecisionLog(f"sqlite:///{old}").close()
    assert len(rows(old, "SELECT * FROM decisions")) == 4


def test_an_upgrade_that_fails_changes_nothing(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> None:
        raise OperationalError("CREATE TRIGGER", {}, sqlite3.OperationalError("disk is full"))

    schema = rows(old, "SELECT name, sql FROM sqlite_master ORDER BY name")
    monkeypatch.setattr("fvm_core.review.migrations.guards.make_append_only", fail)
    with pytest.raises(StorageError, match=r"could not be written \(disk is full\); earlier decisions are untouched"):
        DecisionLog(f"sqlite:///{old}")
    assert rows(old, "SELECT name, sql FROM sqlite_master ORDER BY name") == schema
    monkeypatch.undo()
    DecisionLog(f"sqlite:///{old}").close()
    assert rows(old, "SELECT version_num FROM alembic_version") == [(HEAD,)]


def test_a_newer_database_is_an_error_that_names_the_remedy(old: Path) -> None:
    DecisionLog(f"sqlite:///{old}").close()
    connection = sqlite3.connect(old)
    connection.execute("UPDATE alembic_version SET version_num = '0099'")
    connection.commit()
    connection.close()
    with pytest.raises(StorageError, match=r"schema 0003 or older, but is of '0099': a newer FVM Studio.*git pull"):
        DecisionLog(f"sqlite:///{old}")


def test_revisions_are_in_line_and_end_at_the_head() -> None:
    script = ScriptDirectory(str(FOLDER))
    assert script.get_heads() == [HEAD] and script.get_bases() == [FIRST]
    names = [revision.revision for revision in script.walk_revisions()]
    assert names == sorted(names, reverse=True), "revisions are told apart by their order"


def test_the_revisions_make_the_tables_that_queries_name(tmp_path: Path) -> None:
    log = DecisionLog(f"sqlite:///{tmp_path / 'new.sqlite'}")
    with log.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
    log.close()


def test_eight_processes_and_some_killed_lose_nothing_and_write_nothing_twice(tmp_path: Path) -> None:
    path = tmp_path / "review.sqlite"
    url = f"sqlite:///{path}"
    log = DecisionLog(url)
    session = open_session(log, name="first", reviewer="Ada", dataset="digits", fingerprint="f1")
    people = [start(url, session.id, name) for name in NAMES]

    def count() -> int:
        return int(str(rows(path, "SELECT count(*) FROM decisions")[0][0]))

    for wanted in (1500, 5000):
        before = wait_for(count, wanted, people)
        for place in range(0, 8, 3):
            people[place].send_signal(signal.SIGKILL)
            people[place].wait()
            people[place].stderr.close()  # type: ignore[union-attr]
        assert count() >= before
        for place in range(0, 8, 3):
            people[place] = start(url, session.id, NAMES[place])
    finish(people)
    check(rows(path, QUERY))
    assert len(log.read(session.id)) == 10_000
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]
    log.close()


def test_many_may_make_the_database_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.sqlite'}"
    with ThreadPoolExecutor(8) as pool:
        logs = list(pool.map(lambda _: DecisionLog(url), range(8)))
    for log in logs:
        assert log.total() == 0
        log.close()
