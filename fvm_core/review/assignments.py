"""Who sees which image: rows that only ever get more, folded into what holds now."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, select

from fvm_core.review.tables import ASSIGNMENTS

COLUMNS = ("number", "sample", "reviewer", "blind", "withdrawn")


@dataclass(frozen=True)
class Assignments:
    """What holds after row number `last`. `of` maps each reviewer to the samples given to them (each to whether it is
    blind); `blind` are the samples on which reviewers see only their own decisions; `assigned` all that are given."""

    last: int = 0
    of: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)
    blind: frozenset[str] = frozenset()
    assigned: frozenset[str] = frozenset()

    @property
    def reviewers(self) -> tuple[str, ...]:
        """Everyone who has at least one image, by name."""
        return tuple(sorted(name for name, samples in self.of.items() if samples))

    def extended(self, rows: Iterable[Sequence[Any]]) -> Assignments:
        """Return the assignments with newer rows (in COLUMNS) laid over them. O(all that is assigned)."""
        of = {name: dict(samples) for name, samples in self.of.items()}
        blind, last = set(self.blind), self.last
        for number, sample, reviewer, is_blind, withdrawn in rows:
            last = number
            if is_blind:
                blind.add(sample)
            if withdrawn:
                of.get(reviewer, {}).pop(sample, None)
            else:
                of.setdefault(reviewer, {})[sample] = bool(is_blind)
        return Assignments(last, of, frozenset(blind), frozenset(sample for given in of.values() for sample in given))

    def wanted(self, reviewer: str, samples: Sequence[str], *, decided: Collection[str] = ()) -> list[bool] | None:
        """Return which of `samples` are `reviewer`'s to look at; None for all of them.

        Where nothing is assigned to anybody: all. Who has images assigned sees those. Who has none sees what is
        nobody's, and what they have `decided` already.
        """
        if not self.assigned:
            return None
        mine = self.of.get(reviewer)
        if mine:
            return [sample in mine for sample in samples]
        return [sample not in self.assigned or sample in decided for sample in samples]


def read_assignments(connection: Connection, session: str, *, after: int) -> list[Sequence[Any]]:
    """Return a session's rows numbered above `after`, in COLUMNS, oldest first."""
    query = (
        select(*(ASSIGNMENTS.c[name] for name in COLUMNS))
        .where(ASSIGNMENTS.c.session == session, ASSIGNMENTS.c.number > after)
        .order_by(ASSIGNMENTS.c.number)
    )
    return [tuple(row) for row in connection.execute(query)]
