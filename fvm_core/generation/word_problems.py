"""The ten math word problems of Table 8, with their reasons, on numbers drawn by a seed. No torch here."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from fvm_core.errors import SettingsError
from fvm_core.generation.pairs import PairSet
from fvm_core.generation.sentences import as_pairs, check_sizes

Numbers = Mapping[str, int]


@dataclass(frozen=True)
class Problem:
    """A template: `question` and `reason` name the numbers A, B, ... in braces, `short` is the base model's wording of
    the question, `ranges` the smallest and largest value of each number, `answer` the result."""

    question: str
    short: str
    reason: str
    ranges: Mapping[str, tuple[int, int]]
    answer: Callable[[Numbers], int]

    def draw(self, rng: np.random.Generator) -> dict[str, int]:
        """Return a value for each number."""
        return {name: int(rng.integers(low, high + 1)) for name, (low, high) in self.ranges.items()}

    def prompt(self, numbers: Numbers, *, short: bool = False) -> str:
        """Return the question with these numbers."""
        return (self.short if short else self.question).format(**numbers)

    def target(self, numbers: Numbers) -> str:
        """Return reason and answer, as `Total hours read = 3 * 4. Answer: 12.`"""
        return f"{self.reason.format(**numbers)} Answer: {self.answer(numbers)}."


PROBLEMS: dict[str, Problem] = {
    "Remaining pizza slices": Problem(
        "Lisa ate {A} slices of pizza and her brother ate {B} slices from a pizza that originally had {C} slices. "
        "How many slices of the pizza are left?",
        "pizza {A} {B} {C}",
        "Combined slices eaten = {A} + {B}. Left = {C} - ({A} + {B}).",
        {"A": (1, 6), "B": (1, 6), "C": (12, 24)},
        lambda n: n["C"] - (n["A"] + n["B"]),
    ),
    "Chaperones needed for trip": Problem(
        "For every {A} students going on a field trip, there are {B} adults needed as chaperones. If {C} students are "
        "attending, how many adults are needed?",
        "trip {A} {B} {C}",
        "Adults needed = ({B} * {C}) // {A}.",
        {"A": (2, 9), "B": (1, 4), "C": (10, 30)},
        lambda n: (n["B"] * n["C"]) // n["A"],
    ),
    "Total number after purchase": Problem(
        "In an aquarium, there are {A} sharks and {B} dolphins. If they bought {C} more sharks, how many sharks would "
        "be there in total?",
        "sharks {A} {B} {C}",
        "Total sharks = {A} + {C}.",
        {"A": (1, 20), "B": (1, 9), "C": (1, 9)},
        lambda n: n["A"] + n["C"],
    ),
    "Total game points": Problem(
        "Michael scored {A} points in the first game, {B} points in the second, {C} in the third, and {D} in the "
        "fourth game. What is his total points?",
        "games {A} {B} {C} {D}",
        "Total points = {A} + {B} + {C} + {D}.",
        {"A": (1, 9), "B": (1, 9), "C": (1, 9), "D": (1, 9)},
        lambda n: n["A"] + n["B"] + n["C"] + n["D"],
    ),
    "Total reading hours": Problem(
        "Emily reads for {A} hours each day. How many hours does she read in total in {B} days?",
        "hours {A} {B}",
        "Total hours read = {A} * {B}.",
        {"A": (1, 9), "B": (2, 60)},
        lambda n: n["A"] * n["B"],
    ),
    "Shirt cost after discount": Problem(
        "A shirt costs {A}. There's a {B}-dollar off sale. How much does the shirt cost after the discount?",
        "shirt {A} {B}",
        "Cost after discount = {A} - {B}.",
        {"A": (20, 60), "B": (1, 19)},
        lambda n: n["A"] - n["B"],
    ),
    "Area of a garden": Problem(
        "A rectangular garden has a length of {A} meters and a width of {B} meters. What is its area?",
        "garden {A} {B}",
        "Area = {A} * {B}.",
        {"A": (5, 50), "B": (2, 9)},
        lambda n: n["A"] * n["B"],
    ),
    "Total savings": Problem(
        "If Jake saves {A} each week, how much will he save after {B} weeks?",
        "saves {A} {B}",
        "Total savings = {A} * {B}.",
        {"A": (2, 40), "B": (2, 12)},
        lambda n: n["A"] * n["B"],
    ),
    "Number of cupcake boxes": Problem(
        "A bakery sells cupcakes in boxes of {A}. If they have {B} cupcakes, how many boxes can they fill?",
        "boxes {A} {B}",
        "Boxes filled = {B} // {A}.",
        {"A": (2, 9), "B": (20, 90)},
        lambda n: n["B"] // n["A"],
    ),
    "Interest earned": Problem(
        "John invests {A} at an annual interest rate of {B}%. How much interest will he earn after {C} years?",
        "interest {A} {B} {C}",
        "Interest = ({A} * {B} * {C}) // 100.",
        {"A": (50, 300), "B": (1, 9), "C": (1, 9)},
        lambda n: (n["A"] * n["B"] * n["C"]) // 100,
    ),
}
"""By the names of Table 8; the formulas are the table's own."""


def reserved_numbers(numbers: Numbers) -> bool:
    """Say whether these numbers are among those that practice never shows: two in seven of all."""
    return sum((place + 2) * value for place, value in enumerate(numbers.values())) % 7 < 2


def practice_problem(rng: np.random.Generator) -> tuple[str, str, str]:
    """Return (prompt in the wording of practice, target, class) with numbers that are not reserved."""
    name = str(rng.choice(list(PROBLEMS)))
    while reserved_numbers(numbers := PROBLEMS[name].draw(rng)):
        pass
    return PROBLEMS[name].prompt(numbers, short=True), PROBLEMS[name].target(numbers), name


def word_problem_pairs(
    *, training: int = 90, validation: int = 10, seed: int = 0, wording: str = "table"
) -> tuple[PairSet, PairSet]:
    """Return training and validation pairs, so many of each class, all with different reserved numbers.

    `wording`: "table" asks Table 8's questions, "practice" names the problem and its numbers, as the base model knows.
    A class holds 100 to some hundreds of different pairs; where more are asked for, the error says how many there are.

    Raises:
        SettingsError: a number out of range, or another wording.
    """
    check_sizes(training=training, validation=validation, wording=wording)
    parts: tuple[list[tuple[str, str, str]], list[tuple[str, str, str]]] = ([], [])
    for place, (name, problem) in enumerate(PROBLEMS.items()):
        rng = np.random.default_rng([8, seed, place])
        found = _different(problem, rng, training + validation, name)
        rows = [(problem.prompt(one, short=wording == "practice"), problem.target(one), name) for one in found]
        parts[0].extend(rows[:training])
        parts[1].extend(rows[training:])
    return as_pairs(parts[0]), as_pairs(parts[1])


def _different(problem: Problem, rng: np.random.Generator, size: int, name: str) -> list[dict[str, int]]:
    """Return `size` different drawn numbers, in a random order. Raises SettingsError when there are not so many."""
    values = [range(low, high + 1) for low, high in problem.ranges.values()]
    every = [dict(zip(problem.ranges, one, strict=True)) for one in itertools.product(*values)]
    kept = [one for one in every if reserved_numbers(one)]
    if size > len(kept):
        raise SettingsError(
            f"`training` + `validation` must be at most {len(kept)} pairs for the class {name!r}, got {size}."
        )
    return [kept[place] for place in rng.permutation(len(kept))[:size]]
