"""What a reviewer can do with a sample, and the record of it."""

from __future__ import annotations

from dataclasses import dataclass

from fvm_core.errors import ReviewError

ACTIONS = ("accept", "keep", "pick", "skip", "undo")
ROLES = ("review", "adjudicate")
STATES = {"accept": "accepted", "keep": "kept", "pick": "picked", "skip": "skipped"}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One key press as it goes into the log. (`client`, `seq`) is unique within a session.

    `label` is the label that the decision gives: the suggested one (accept), the given one (keep, skip), the chosen
    one (pick), None (undo). `given`, `suggested`, `score`, `run`, `method` are what the reviewer saw;
    `score_provenance` is the SHA-256 of the score file's provenance. `role` is "adjudicate" where the decision settles
    what reviewers disagreed on (or its undo takes such a one back), else "review".
    """

    client: str
    seq: int
    sample: str
    action: str
    label: int | None
    given: int
    suggested: int | None = None
    run: str = ""
    method: str = ""
    score: float | None = None
    score_provenance: str = ""
    role: str = "review"

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise ReviewError(f"`action` must be one of {ACTIONS}, got {self.action!r}. Reload the page.")
        if self.role not in ROLES:
            raise ReviewError(f"`role` must be one of {ROLES}, got {self.role!r}.")
        if self.seq < 1 or not self.client:
            raise ReviewError(f"`seq` must be >= 1 and `client` not empty, got {self.seq!r} of {self.client!r}.")
        if (self.label is None) != (self.action == "undo"):
            raise ReviewError(f"`label` must be given for {self.action!r} and only undo has none, got {self.label!r}.")


@dataclass(frozen=True, kw_only=True)
class Decision(Entry):
    """An entry that is on disk. `number` orders all decisions; `undoes` is the number an undo takes back (or None
    where there was nothing to take back); `decided_at` is UTC, ISO 8601 with milliseconds."""

    number: int
    undoes: int | None
    reviewer: str
    decided_at: str


@dataclass(frozen=True)
class Record:
    """An entry on its way into the log, with who and when. `takes_back` is the (client, seq) that an undo names; None:
    the latest decision of that reviewer on that sample that still holds."""

    entry: Entry
    reviewer: str
    decided_at: str
    takes_back: tuple[str, int] | None = None
