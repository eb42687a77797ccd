"""Read-only links: a long random token in the address opens one report, and nothing else."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from fvm_core.errors import DataError
from fvm_core.files import read_json, write_json
from fvm_core.provenance import now
from fvm_core.workspace import Workspace

_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True)
class SharedLink:
    """`key` is the SHA-256 of the token, which is kept nowhere; `report` a file name in exports/; `made` a UTC time."""

    key: str
    report: str
    made: str


def make_link(workspace: Workspace, report: Path | str) -> str:
    """Return a new token (256 random bits) for a report in the workspace's exports. It cannot be shown again.

    Raises:
        DataError: no such report there. StorageError: the disk refused.
    """
    name = Path(report).name
    if not name.endswith(".html") or not (workspace.exports / name).is_file():
        raise DataError(
            f"`report` must be an HTML report in `{workspace.exports}`, got {str(report)!r:.200}. Write one."
        )
    token = secrets.token_urlsafe(32)
    link = SharedLink(_key(token), name, now())
    write_json(_folder(workspace) / f"{link.key}.json", asdict(link))
    return token


def list_links(workspace: Workspace) -> list[SharedLink]:
    """Return the links that hold, the newest first; a damaged file opens nothing and is left out."""
    found = []
    for path in _folder(workspace).glob("*.json"):
        try:
            found.append(SharedLink(**read_json(path, what="link")))
        except (DataError, TypeError):
            continue
    return sorted(found, key=lambda link: link.made, reverse=True)


def revoke_link(workspace: Workspace, key: str) -> None:
    """Take a link back; it opens nothing any more."""
    for link in list_links(workspace):
        if link.key == key:
            (_folder(workspace) / f"{key}.json").unlink(missing_ok=True)


def open_link(workspace: Workspace, token: str) -> Path | None:
    """Return the report that a token opens, None for a token that is wrong or taken back, or a report that is gone.

    The token is looked up by its hash: the time that takes tells nothing about other tokens.
    """
    if not _TOKEN.fullmatch(token):
        return None
    try:
        link = SharedLink(**read_json(_folder(workspace) / f"{_key(token)}.json", what="link"))
    except (DataError, TypeError):
        return None
    path = workspace.exports / Path(link.report).name
    return path if link.key == _key(token) and path.suffix == ".html" and path.is_file() else None


def _key(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _folder(workspace: Workspace) -> Path:
    return workspace.root / "links"
