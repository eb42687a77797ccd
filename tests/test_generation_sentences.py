"""Tables 7 and 8: their own examples, and the sets drawn from them."""

from __future__ import annotations

import re

import numpy as np
import pytest

from fvm_core.errors import SettingsError
from fvm_core.generation.sentences import PRACTICE_WORDING, TRANSFORMATIONS, practice_pair, reserved, sentence_pairs
from fvm_core.generation.word_problems import PROBLEMS, practice_problem, reserved_numbers, word_problem_pairs

SENTENCE = "Sunrises herald hopeful tomorrows."
# The paper's own examples, letter by letter; of three, whose letters do not follow their names, what the names say.
EXAMPLES = {
    "Reverse Order of Words": "tomorrows. hopeful herald Sunrises",
    "Capitalize Every Other Letter": "sUnRiSeS hErAlD hOpEfUl tOmOrRoWs.",
    "Insert Number 1 Between Every Word": "Sunrises 1herald 1hopeful 1tomorrows.",
    "Replace Vowels with *": "S*nr*s*s h*r*ld h*p*f*l t*m*rr*ws.",
    "Double Every Consonant": "SSunnrrissess hherralldd hhoppeffull ttommorrrrowwss.",
    "Capitalize Every Word": "Sunrises Herald Hopeful Tomorrows.",
    "Remove All Vowels": "Snrss hrld hpfl tmrrws.",
    "Add 'ly' To End of Each Word": "Sunrisesly heraldly hopefully tomorrows.ly",
    "Remove All Consonants": "uie ea oeu ooo.",
    "Repeat Each Word Twice": "Sunrises Sunrises herald herald hopeful hopeful tomorrows. tomorrows.",
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_transformation_gives_the_tables_example(name: str) -> None:
    assert TRANSFORMATIONS[name](SENTENCE) == EXAMPLES[name]


def test_names_and_wordings_are_ten_and_differ() -> None:
    assert set(EXAMPLES) == set(TRANSFORMATIONS) == set(PRACTICE_WORDING)
    assert len(set(PRACTICE_WORDING.values()) | set(TRANSFORMATIONS)) == 20


def test_sentences_are_a_hundred_a_class_all_different_and_never_practised() -> None:
    training, validation = sentence_pairs()
    assert (len(training), len(validation)) == (900, 100)
    assert all(training.classes.count(name) == 90 for name in TRANSFORMATIONS)  # type: ignore[union-attr]
    sentences = [prompt.split(": ", 1)[1] for prompt in training.prompts + validation.prompts]
    assert len(set(sentences)) == 1000
    assert all(map(reserved, sentences))
    rng = np.random.default_rng(0)
    practised = {practice_pair(rng)[0].split(": ", 1)[1] for _ in range(500)}
    assert not any(map(reserved, practised)) and not practised & set(sentences)


def test_prompts_carry_the_tables_names_or_those_of_practice() -> None:
    table, _ = sentence_pairs(training=1, validation=1)
    practice, _ = sentence_pairs(training=1, validation=1, wording="practice")
    assert [prompt.split(": ")[0] for prompt in table.prompts] == list(TRANSFORMATIONS)
    assert [prompt.split(": ")[0] for prompt in practice.prompts] == list(PRACTICE_WORDING.values())
    assert table.targets == practice.targets


def test_sets_are_functions_of_the_seed() -> None:
    for make in (sentence_pairs, word_problem_pairs):
        assert make(seed=1) == make(seed=1)
        assert make(seed=1)[0].ids != make(seed=2)[0].ids


SOME_PROBLEMS = word_problem_pairs(training=20, validation=5)


@pytest.mark.parametrize("name", PROBLEMS)
def test_answer_is_the_value_of_the_last_formula(name: str) -> None:
    for pairs in SOME_PROBLEMS:
        for target, group, prompt in zip(pairs.targets, pairs.classes or (), pairs.prompts, strict=True):
            if group == name:
                reason, answer = target.removesuffix(".").split(" Answer: ")
                formula = reason.rsplit("= ", 1)[1].rstrip(".")
                assert re.fullmatch(r"[\d+\-*/() ]+", formula) and eval(formula) == int(answer)  # noqa: S307
                numbers = re.findall(r"\d+", prompt)
                assert set(re.findall(r"\d+", formula)) - {"100"} <= set(numbers)


def test_problems_are_a_hundred_a_class_and_never_practised() -> None:
    training, validation = word_problem_pairs(wording="practice")
    assert (len(training), len(validation)) == (900, 100)
    prompts = set(training.prompts + validation.prompts)
    assert len(prompts) == 1000
    rng = np.random.default_rng(0)
    assert not {practice_problem(rng)[0] for _ in range(2000)} & prompts


def test_practice_problems_leave_the_reserved_numbers_alone() -> None:
    rng = np.random.default_rng(1)
    for _ in range(300):
        prompt, _, name = practice_problem(rng)
        numbers = dict(zip(PROBLEMS[name].ranges, map(int, re.findall(r"\d+", prompt)), strict=True))
        assert not reserved_numbers(numbers)


@pytest.mark.parametrize("make", [sentence_pairs, word_problem_pairs])
def test_sizes_and_wording_are_checked(make: object) -> None:
    with pytest.raises(SettingsError, match=r"`training` must be 1 to 500 pairs of each class, got 0"):
        make(training=0)  # type: ignore[operator]
    with pytest.raises(SettingsError, match=r"`wording` must be `table` or `practice`, got 'x'"):
        make(wording="x")  # type: ignore[operator]


def test_more_problems_than_there_are_numbers_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"`training` \+ `validation` must be at most \d+ pairs for the class"):
        word_problem_pairs(training=400, validation=10)
