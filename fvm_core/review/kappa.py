"""Agreement between people beyond chance: Cohen's kappa for two, Fleiss' for as many as looked at each image."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from fvm_core.errors import ReviewError
from fvm_core.review.decision import Decision
from fvm_core.review.outcome import judged
from fvm_core.review.replay import Replay

QUESTIONS = {"wrong": "Is the given label wrong?", "class": "Which class is it?"}


@dataclass(frozen=True)
class Agreement:
    """One figure. `who` are two names (Cohen) or how many people looked (Fleiss, e.g. "3 people"); `items` the images
    behind it; `same` the share of pairs of answers that are equal, NaN without items; `kappa` in [-1, 1], NaN where it
    is not defined, and then `why` says so."""

    question: str
    who: tuple[str, ...]
    items: int
    same: float
    kappa: float
    why: str = ""


def cohen(one: ArrayLike, other: ArrayLike) -> float:
    """Return Cohen's kappa of two equally long lists of answers, NaN where it is not defined (one answer only).

    (p_o - p_e) / (1 - p_e) with p_e from each person's own frequencies; by scikit-learn. Source: Cohen, *A coefficient
    of agreement for nominal scales*, 1960.

    >>> round(cohen([1] * 25 + [0] * 25, [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15), 3)
    0.4
    """
    from sklearn.metrics import cohen_kappa_score

    first, second = np.asarray(one), np.asarray(other)
    if first.shape != second.shape or first.ndim != 1:
        raise ReviewError(f"answers must be two lists of one length, got shapes {first.shape} and {second.shape}.")
    if len(first) == 0 or len(np.unique(np.concatenate([first, second]))) < 2:
        return math.nan
    return float(cohen_kappa_score(first, second))


def fleiss(table: ArrayLike) -> float:
    """Return Fleiss' kappa of a table (items, answers) of counts; NaN where it is not defined (one answer only).

    Each row adds up to the same number of people, at least two. (P - P_e) / (1 - P_e), P the mean share of agreeing
    pairs, P_e the sum of squares of the answers' overall shares. Source: Fleiss, *Measuring nominal scale agreement
    among many raters*, 1971.

    Raises:
        ReviewError: rows that add up to different numbers, or to less than two.
    """
    counts = np.asarray(table, dtype=np.float64)
    if counts.ndim != 2 or len(counts) == 0:
        return math.nan
    people = counts.sum(axis=1)
    if (people != people[0]).any() or people[0] < 2:
        raise ReviewError(
            f"each row of `table` must add up to the same number of people, at least 2, got {sorted(set(people))}."
        )
    pairs = (counts * (counts - 1)).sum(axis=1) / (people * (people - 1))
    chance = float(((counts.sum(axis=0) / counts.sum()) ** 2).sum())
    return float((pairs.mean() - chance) / (1 - chance)) if chance < 1 else math.nan


def agreements(replay: Replay, blind: Collection[str]) -> list[Agreement]:
    """Return the figures of both QUESTIONS: Cohen's for each pair of people, Fleiss' for each number of people.

    Only `blind` images count, for elsewhere the second person saw what the first had decided; skips are no answer.
    Fleiss' takes the images that exactly so many people answered. O(answers), and pairs of people.
    """
    opinions = [given for found in replay.opinions(blind).values() if len(given := judged(found)) > 1]
    people = sorted({reviewer for given in opinions for reviewer in given})
    found = []
    for question in QUESTIONS:
        answers = [{who: _answer(question, decision) for who, decision in given.items()} for given in opinions]
        for pair in combinations(people, 2):
            both = [(each[pair[0]], each[pair[1]]) for each in answers if pair[0] in each and pair[1] in each]
            if both:
                same = sum(a == b for a, b in both) / len(both)
                found.append(_figure(question, pair, len(both), same, cohen(*zip(*both, strict=True))))
        for count in sorted({len(each) for each in answers}):
            table = _table([list(each.values()) for each in answers if len(each) == count])
            same = float((table * (table - 1)).sum() / (len(table) * count * (count - 1)))
            found.append(_figure(question, (f"{count} people",), len(table), same, fleiss(table)))
    return found


def _answer(question: str, decision: Decision) -> int:
    label = decision.given if decision.label is None else decision.label
    return int(label != decision.given) if question == "wrong" else label


def _figure(question: str, who: tuple[str, ...], items: int, same: float, kappa: float) -> Agreement:
    why = "" if math.isfinite(kappa) else "not defined: all gave one and the same answer, so chance agrees as well"
    return Agreement(question, who, items, same, kappa, why)


def _table(rows: list[list[int]]) -> np.ndarray:
    """Return (items, answers) of counts."""
    columns = {answer: place for place, answer in enumerate(sorted({answer for row in rows for answer in row}))}
    table = np.zeros((len(rows), len(columns)))
    for number, row in enumerate(rows):
        for answer, count in Counter(row).items():
            table[number, columns[answer]] = count
    return table


def least_agreed(replay: Replay, samples: Collection[str] | None = None) -> list[str]:
    """Return the samples on whose label people differ, those with the smallest share of agreeing pairs first."""
    shares: dict[str, float] = {}
    for sample, opinions in replay.opinions(samples).items():
        counts = Counter(decision.label for decision in judged(opinions).values())
        people = counts.total()
        if len(counts) > 1:
            shares[sample] = sum(n * (n - 1) for n in counts.values()) / (people * (people - 1))
    return sorted(shares, key=lambda sample: (shares[sample], sample))
