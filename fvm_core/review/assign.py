"""Splitting a queue among people, and asking for a blind second opinion on chosen images."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import ColumnElement, Connection, func, select

from fvm_core.errors import ReviewError
from fvm_core.provenance import now
from fvm_core.review.kappa import least_agreed
from fvm_core.review.log import DecisionLog, lock_session
from fvm_core.review.replay import Replay
from fvm_core.review.session import person
from fvm_core.review.tables import ASSIGNMENTS
from fvm_core.review.upsert import insert_new

WAYS = {"turns": "by turns", "blocks": "in blocks"}
CHOICES = {
    "share": "a random share",
    "kept": "those kept as they were",
    "changed": "those given another label",
    "disputed": "those with the lowest agreement",
}


@dataclass(frozen=True)
class Given:
    """One image for one reviewer. `blind`: each of its reviewers sees only their own decision on it. `withdrawn`: it
    is the reviewer's no more (with `blind`: it stays blind and is given to nobody)."""

    sample: str
    reviewer: str
    blind: bool = False
    withdrawn: bool = False


def split(
    samples: Sequence[str],
    reviewers: Sequence[str],
    *,
    way: str = "turns",
    overlap: float = 0.0,
    people: int = 2,
    seed: int = 0,
) -> list[Given]:
    """Share `samples` among `reviewers`: "turns" deals them out one by one, "blocks" keeps neighbours together.

    A share `overlap` in [0, 1] of the samples, chosen at random by `seed`, goes to `people` reviewers each, blind. In
    all everyone gets as many images as the others, but for one or two. O(n r).

    Raises:
        ReviewError: no or repeated names, an unknown way, a share outside [0, 1], more people than there are.
    """
    names = [person(name) for name in reviewers]
    if not names or len(set(names)) < len(names):
        raise ReviewError(f"`reviewers` must be at least one name and none twice, got {list(reviewers)}. Change them.")
    if way not in WAYS:
        raise ReviewError(f"`way` must be one of {tuple(WAYS)}, got {way!r}.")
    if not 0 <= overlap <= 1:
        raise ReviewError(f"`overlap` must be in [0, 1], got {overlap!r}.")
    if overlap and not 2 <= people <= len(names):
        raise ReviewError(
            f"`people` must be 2 to the number of reviewers ({len(names)}), got {people!r}. Name more reviewers."
        )
    n, r = len(samples), len(names)
    shared = sorted(np.random.default_rng(seed).permutation(n)[: round(overlap * n)].tolist())
    owners = {place: [(turn + k) % r for k in range(people)] for turn, place in enumerate(shared)}
    alone = [place for place in range(n) if place not in owners]
    load = np.bincount([k for several in owners.values() for k in several], minlength=r)
    turns = []
    for _ in alone:
        turns.append(int(np.argmin(load)))
        load[turns[-1]] += 1
    owners |= {place: [k] for place, k in zip(alone, turns if way == "turns" else sorted(turns), strict=True)}
    return [
        Given(sample, names[k], len(owners[place]) > 1) for place, sample in enumerate(samples) for k in owners[place]
    ]


def second_pass(
    replay: Replay, reviewers: Sequence[str], *, choice: str, share: float = 1.0, seed: int = 0
) -> list[Given]:
    """Choose decided samples by `choice` (a key of CHOICES) and give each to one of `reviewers` who has not decided
    it, blind. Samples that all of them have decided are left out.

    `share` in (0, 1] of the chosen ones is taken: the first for "disputed" (lowest agreement first), else at random by
    `seed`.

    Raises:
        ReviewError: an unknown choice, no names, a share outside (0, 1].
    """
    names = [person(name) for name in reviewers]
    if not names:
        raise ReviewError("`reviewers` must be at least one name, got none. Name who should look again.")
    if choice not in CHOICES:
        raise ReviewError(f"`choice` must be one of {tuple(CHOICES)}, got {choice!r}.")
    if not 0 < share <= 1:
        raise ReviewError(f"`share` must be in (0, 1], got {share!r}.")
    states = replay.states()
    if choice == "disputed":
        chosen = least_agreed(replay)
    else:
        chosen = [
            sample
            for sample, decision in states.items()
            if choice == "share"
            or (choice == "kept" and decision.action == "keep")
            or (choice == "changed" and decision.label != decision.given)
        ]
        chosen = [chosen[k] for k in np.random.default_rng(seed).permutation(len(chosen))]
    opinions = replay.opinions(chosen)
    load, found = dict.fromkeys(names, 0), []
    for sample in chosen[: round(share * len(chosen))]:
        free = [name for name in names if name not in opinions[sample]]
        if free:
            name = min(free, key=load.__getitem__)
            load[name] += 1
            found.append(Given(sample, name, True))
    return found


def take_over(log: DecisionLog, session: str, *, source: str, target: str, replay: Replay) -> list[Given]:
    """Return what hands the images that `source` has not decided yet to `target`; blind ones stay blind.

    Raises:
        ReviewError: the two are one person.
    """
    target = person(target)
    if target == source:
        raise ReviewError(f"`target` must be somebody else than {source!r}. Name who takes over.")
    decided = {sample for sample, of in replay.opinions().items() if source in of}
    given = log.assignments(session).of.get(source, {})
    left = [(sample, blind) for sample, blind in given.items() if sample not in decided]
    return [Given(sample, name, blind, name == source) for sample, blind in left for name in (source, target)]


def assign(log: DecisionLog, session: str, given: Sequence[Given], *, by: str, batch: str = "") -> int:
    """Write assignments, all or none, and return how many rows were new. The same `batch` again adds nothing.

    Raises:
        ReviewError: there is no such session. StorageError: nothing is known to be written.
    """
    told = {"session": session, "batch": batch or uuid.uuid4().hex, "assigned_by": person(by), "assigned_at": now()}
    rows = [
        told | {"sample": one.sample, "reviewer": one.reviewer, "blind": one.blind, "withdrawn": one.withdrawn}
        for one in given
    ]

    def work(connection: Connection) -> int:
        lock_session(connection, session)
        same = (ASSIGNMENTS.c.session == session) & (ASSIGNMENTS.c.batch == told["batch"])
        before = _count(connection, same)
        if rows:
            connection.execute(insert_new(connection, ASSIGNMENTS), rows)
        return _count(connection, same) - before

    return int(log.run(work, writes=True))


def _count(connection: Connection, condition: ColumnElement[bool]) -> int:
    return connection.scalar(select(func.count()).select_from(ASSIGNMENTS).where(condition)) or 0
