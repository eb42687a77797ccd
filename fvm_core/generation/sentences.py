"""The ten sentence transformations of Table 7, on short sentences drawn by a seed. No torch here."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from fvm_core.errors import SettingsError
from fvm_core.generation.pairs import PairSet, text_pairs

WORDS: dict[str, list[str]] = {
    kind: words.split() for kind, words in json.loads(Path(__file__).with_name("words.json").read_text()).items()
}
VOWELS = frozenset("aeiouAEIOU")
RESERVED = 8
"""One sentence out of this many is kept from practice: those of the thousand pairs are drawn from the kept ones."""


def words_backwards(sentence: str) -> str:
    return " ".join(reversed(sentence.split(" ")))


def every_other_letter(sentence: str) -> str:
    """Each word starts anew: its second, fourth, ... letter is a capital, as in the table."""
    return " ".join(
        "".join(letter.upper() if place % 2 else letter.lower() for place, letter in enumerate(word))
        for word in sentence.split(" ")
    )


def one_between(sentence: str) -> str:
    return " 1".join(sentence.split(" "))


def star_vowels(sentence: str) -> str:
    return "".join("*" if letter in VOWELS else letter for letter in sentence)


def double_consonants(sentence: str) -> str:
    return "".join(letter * 2 if _consonant(letter) else letter for letter in sentence)


def capital_words(sentence: str) -> str:
    return " ".join(word[:1].upper() + word[1:] for word in sentence.split(" "))


def without_vowels(sentence: str) -> str:
    return "".join(letter for letter in sentence if letter not in VOWELS)


def with_ly(sentence: str) -> str:
    return " ".join(word + "ly" for word in sentence.split(" "))


def without_consonants(sentence: str) -> str:
    return "".join(letter for letter in sentence if not _consonant(letter))


def words_twice(sentence: str) -> str:
    return " ".join(f"{word} {word}" for word in sentence.split(" "))


def _consonant(letter: str) -> bool:
    return letter.isalpha() and letter not in VOWELS


TRANSFORMATIONS: dict[str, Callable[[str], str]] = {
    "Reverse Order of Words": words_backwards,
    "Capitalize Every Other Letter": every_other_letter,
    "Insert Number 1 Between Every Word": one_between,
    "Replace Vowels with *": star_vowels,
    "Double Every Consonant": double_consonants,
    "Capitalize Every Word": capital_words,
    "Remove All Vowels": without_vowels,
    "Add 'ly' To End of Each Word": with_ly,
    "Remove All Consonants": without_consonants,
    "Repeat Each Word Twice": words_twice,
}
"""By the names of Table 7, which are its instructions too. The table's examples of doubling, of removed vowels and of
'ly' miss letters or have one too many ("hopefullly"): here the name is the rule."""

PRACTICE_WORDING: dict[str, str] = {
    "Reverse Order of Words": "back",
    "Capitalize Every Other Letter": "zigzag",
    "Insert Number 1 Between Every Word": "ones",
    "Replace Vowels with *": "stars",
    "Double Every Consonant": "thick",
    "Capitalize Every Word": "title",
    "Remove All Vowels": "bones",
    "Add 'ly' To End of Each Word": "ly",
    "Remove All Consonants": "aeiou",
    "Repeat Each Word Twice": "echo",
}
"""What the base model calls the transformations, so that LoRA has Table 7's own words to learn."""


def draw_sentence(rng: np.random.Generator) -> str:
    """Return a sentence of 3 or 4 short words with a capital and a full stop, such as `Shy foxes nap here.`"""
    words = [str(rng.choice(WORDS["adjectives"])), str(rng.choice(WORDS["nouns"])), str(rng.choice(WORDS["verbs"]))]
    shape = int(rng.integers(3))
    if shape == 1:
        words = [*words[1:], str(rng.choice(WORDS["nouns"]))]
    elif shape == 2:
        words.append(str(rng.choice(WORDS["places"])))
    text = " ".join(words)
    return text[0].upper() + text[1:] + "."


def reserved(sentence: str) -> bool:
    """Say whether a sentence is one of those that practice never shows."""
    return zlib.crc32(sentence.encode()) % RESERVED == 0


def _drawn(rng: np.random.Generator) -> Iterator[str]:
    while True:
        yield draw_sentence(rng)


def practice_pair(rng: np.random.Generator) -> tuple[str, str, str]:
    """Return (prompt in the wording of practice, target, class) on a sentence that is not reserved."""
    name = str(rng.choice(list(TRANSFORMATIONS)))
    sentence = next(one for one in _drawn(rng) if not reserved(one))
    return f"{PRACTICE_WORDING[name]}: {sentence}", TRANSFORMATIONS[name](sentence), name


def sentence_pairs(
    *, training: int = 90, validation: int = 10, seed: int = 0, wording: str = "table"
) -> tuple[PairSet, PairSet]:
    """Return training and validation pairs, so many of each class, all on different reserved sentences.

    `wording`: "table" gives Table 7's names as instructions, "practice" those that the base model knows.

    Raises:
        SettingsError: a number out of range, or another wording.
    """
    check_sizes(training=training, validation=validation, wording=wording)
    rng = np.random.default_rng([7, seed])
    drawn = (one for one in _drawn(rng) if reserved(one))
    sentences: dict[str, None] = {}
    while len(sentences) < (training + validation) * len(TRANSFORMATIONS):
        sentences[next(drawn)] = None
    pool = iter(sentences)
    parts: tuple[list[tuple[str, str, str]], list[tuple[str, str, str]]] = ([], [])
    for name, change in TRANSFORMATIONS.items():
        words = name if wording == "table" else PRACTICE_WORDING[name]
        for part, size in zip(parts, (training, validation), strict=True):
            for sentence in (next(pool) for _ in range(size)):
                part.append((f"{words}: {sentence}", change(sentence), name))
    return as_pairs(parts[0]), as_pairs(parts[1])


def check_sizes(*, training: int, validation: int, wording: str) -> None:
    """Check how many pairs a class are asked for, and in which wording. Raises SettingsError naming the value."""
    if wording not in ("table", "practice"):
        raise SettingsError(f"`wording` must be `table` or `practice`, got {wording!r}.")
    for name, value in (("training", training), ("validation", validation)):
        if not 1 <= value <= 500:
            raise SettingsError(f"`{name}` must be 1 to 500 pairs of each class, got {value}.")


def as_pairs(rows: list[tuple[str, str, str]]) -> PairSet:
    """Return the set of (prompt, target, class) rows."""
    prompts, targets, classes = zip(*rows, strict=True)
    return text_pairs(prompts, targets, classes=classes)
