"""A PostgreSQL server of the tests' own: a fresh cluster in its own folder, on a Unix socket, with a password."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

SECRET = "s3cret-Passw0rd"


@dataclass(frozen=True)
class PostgresServer:
    """A running server. `folder` holds its data and its socket."""

    folder: Path
    programs: Path

    def url(self, database: str = "postgres", *, password: str = SECRET, user: str = "fvm") -> str:
        return f"postgresql+psycopg://{user}:{password}@/{database}?host={quote(str(self.folder))}"

    def new_database(self, name: str) -> str:
        """Make an empty database and return its URL."""
        self.run(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def run(self, statement: str) -> None:
        """Run one statement of the server's owner."""
        with psycopg.connect(self._plain(), autocommit=True) as connection:
            connection.execute(statement)

    def rows(self, database: str, query: str) -> list[tuple[object, ...]]:
        """Return what `query` finds, past all of our own code."""
        with psycopg.connect(self._plain(database)) as connection:
            return list(connection.execute(query).fetchall())

    def _plain(self, database: str = "postgres") -> str:
        return f"host={self.folder} user=fvm password={SECRET} dbname={database}"

    def control(self, *words: str) -> None:
        """Run pg_ctl, e.g. `control("restart", "-m", "immediate")`, and wait for it."""
        options = f"-c listen_addresses= -c unix_socket_directories={self.folder} -c max_connections=60"
        command = [self.programs / "pg_ctl", "-D", self.folder / "data", "-w", "-s", "-l", self.folder / "log"]
        start = ["-o", options] if words[0] in ("start", "restart") else []
        subprocess.run(as_other([*map(str, command), *start, *words]), check=True, cwd=self.folder, timeout=60)


def as_other(command: list[str]) -> list[str]:
    """Return a command that PostgreSQL does not refuse for being root's."""
    if os.getuid() != 0:
        return command
    return ["setpriv", f"--reuid={_user()}", f"--regid={_user()}", "--clear-groups", *command]


def _user() -> int:
    """Return the number of a user without rights, whether it has a name or not."""
    return 65534


def find_programs() -> Path | None:
    """Return the folder with initdb and pg_ctl, those of Debian's newest version first."""
    folders = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda name: int(name.split("/")[4]), reverse=True)
    on_path = shutil.which("initdb")
    for folder in [*folders, *([os.path.dirname(os.path.realpath(on_path))] if on_path else [])]:
        if all(Path(folder, name).exists() for name in ("initdb", "pg_ctl", "postgres")):
            return Path(folder)
    return None


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Start a server; it is stopped and its folder removed at the end. Skips, with the reason, where there is none."""
    programs = find_programs()
    if programs is None:
        pytest.skip("no initdb of PostgreSQL here: `apt-get install postgresql` (tests/run.sh does)")
    folder = Path(tempfile.mkdtemp(prefix="fvm-pg-", dir="/tmp"))
    server = PostgresServer(folder, programs)
    try:
        password = folder / "password"
        password.write_text(SECRET)
        if os.getuid() == 0:
            for path in (folder, password):
                os.chown(path, _user(), _user())
        initdb = [
            programs / "initdb", "-D", folder / "data", "-U", "fvm", "-A", "scram-sha-256", f"--pwfile={password}",
            "-E", "UTF8", "--locale=C", "--no-instructions",
        ]  # fmt: skip
        made = subprocess.run(
            as_other([str(word) for word in initdb]), cwd=folder, capture_output=True, text=True, check=False
        )
        assert made.returncode == 0, made.stderr
        server.control("start")
        yield server
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            server.control("stop", "-m", "immediate")
        shutil.rmtree(folder, ignore_errors=True)
