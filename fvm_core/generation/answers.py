"""How often a language model's own answer is the target, letter by letter: by class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fvm_core.generation.language_task import LanguageTask


@dataclass(frozen=True)
class ExactMatch:
    """`overall`, `by_class`: shares in [0, 1] of answers that equal their targets. `answers`: in the pairs' order."""

    overall: float
    by_class: dict[str, float]
    answers: tuple[str, ...]


def exact_match(
    task: LanguageTask, *, batch_size: int = 64, longest: int = 128, progress: Callable[[int], None] | None = None
) -> ExactMatch:
    """Answer every prompt of the task's pairs greedily and compare with the targets. Cost: one pass a token."""
    pairs, answers = task.pairs, list[str]()
    for start in range(0, len(pairs), batch_size):
        answers += task.generate_all(pairs.prompts[start : start + batch_size], longest=longest)
        if progress:
            progress(len(answers))
    right = [answer == target for answer, target in zip(answers, pairs.targets, strict=True)]
    groups: dict[str, list[bool]] = {}
    for name, one in zip(pairs.classes or ("all",) * len(pairs), right, strict=True):
        groups.setdefault(name, []).append(one)
    shares = {name: sum(ones) / len(ones) for name, ones in groups.items()}
    return ExactMatch(sum(right) / len(right), shares, tuple(answers))
