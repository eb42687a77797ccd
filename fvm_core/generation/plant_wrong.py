"""Wrong targets planted on purpose, so that finding them can be measured. No torch here."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fvm_core.errors import DataError, SettingsError
from fvm_core.generation.pairs import PairSet, text_id


def plant_wrong(pairs: PairSet, *, rate: float, seed: int = 0) -> PairSet:
    """Return the pairs with a share `rate` of their targets handed round among the chosen pairs, `wrong` telling which.

    Each chosen pair gets the target of another chosen one, of another class where there are classes. Prompts, classes
    and the order stay; a text pair's id follows its content. A pure function of the seed.

    Raises:
        SettingsError: `rate` is not in (0, 1), or too small for two pairs.
        DataError: images (their ids are of the files' content), or no exchange that changes every target.
    """
    if pairs.kind != "text":
        raise DataError("`wrong` targets can be planted into pairs of text only. Swap the files of images yourself.")
    if not 0 < rate < 1 or round(rate * len(pairs)) < 2:
        raise SettingsError(f"`wrong` must be in (0, 1) and reach 2 of the {len(pairs)} pairs, got {rate!r}.")
    rng = np.random.default_rng([11, seed])
    groups = pairs.classes or pairs.ids
    chosen = np.sort(rng.choice(len(pairs), size=round(rate * len(pairs)), replace=False))
    givers = _exchange(rng, [str(groups[row]) for row in chosen], [pairs.targets[row] for row in chosen])
    targets = list(pairs.targets)
    for row, giver in zip(chosen, givers, strict=True):
        targets[row] = pairs.targets[int(chosen[giver])]
    wrong = np.zeros(len(pairs), dtype=bool)
    wrong[chosen] = True
    ids = tuple(text_id(prompt, target) for prompt, target in zip(pairs.prompts, targets, strict=True))
    return replace(pairs, ids=ids, targets=tuple(targets), wrong=tuple(bool(one) for one in wrong))


def _exchange(rng: np.random.Generator, groups: list[str], targets: list[str]) -> list[int]:
    """Return whose target each one gets: a permutation that leaves nobody in his group or with his own target.

    Sorted by group and shifted by the largest group's size, everybody meets another group, if no group is over half.
    """
    order = sorted(rng.permutation(len(groups)).tolist(), key=lambda place: groups[place])
    largest = max(groups.count(name) for name in set(groups))
    givers = [0] * len(groups)
    for place, one in enumerate(order):
        givers[one] = order[(place + largest) % len(order)]
    same = [one for one, giver in enumerate(givers) if groups[one] == groups[giver] or targets[one] == targets[giver]]
    if same:
        raise DataError(
            f"the targets of {len(groups)} pairs cannot be exchanged between classes: one class holds {largest} of "
            "them, or targets are alike. Choose another `seed` or a higher rate."
        )
    return givers
