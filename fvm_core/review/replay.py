"""The state of a review, told from its log: undone decisions fall away, the last one of each sample holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

from fvm_core.review.decision import Decision


@dataclass(frozen=True)
class Counts:
    """How far a review is. `total` samples in the dataset; a skipped sample counts as decided."""

    total: int
    accepted: int
    kept: int
    picked: int
    skipped: int

    @property
    def decided(self) -> int:
        return self.accepted + self.kept + self.picked + self.skipped

    @property
    def left(self) -> int:
        return max(self.total - self.decided, 0)

    @property
    def changed(self) -> int:
        return self.accepted + self.picked

    @property
    def accept_rate(self) -> float | None:
        """Share of suggestions accepted among the samples judged (skipped ones left out); None before the first."""
        judged = self.accepted + self.kept + self.picked
        return self.accepted / judged if judged else None


class Replay:
    """Folds decisions in the order of `number`; feeding it only the new ones is the same as starting over."""

    def __init__(self) -> None:
        self.last = 0
        self._effective: dict[int, Decision] = {}
        self._of_sample: dict[str, list[int]] = {}

    def apply(self, decisions: Iterable[Decision]) -> None:
        for decision in decisions:
            self.last = decision.number
            if decision.action != "undo":
                self._effective[decision.number] = decision
                self._of_sample.setdefault(decision.sample, []).append(decision.number)
            elif decision.undoes in self._effective:
                undone = self._effective.pop(decision.undoes)
                self._of_sample[undone.sample].remove(undone.number)

    def copy(self) -> Replay:
        """Return a snapshot that later decisions do not change."""
        twin = Replay()
        twin.last, twin._effective = self.last, dict(self._effective)
        twin._of_sample = {sample: list(numbers) for sample, numbers in self._of_sample.items()}
        return twin

    def state(self, sample: str) -> Decision | None:
        """Return the decision that holds for `sample`, or None while it is undecided."""
        numbers = self._of_sample.get(sample)
        return self._effective[numbers[-1]] if numbers else None

    def states(self) -> Mapping[str, Decision]:
        """Return the decision that holds for each decided sample."""
        return {sample: self._effective[numbers[-1]] for sample, numbers in self._of_sample.items() if numbers}

    def history(self, most: int) -> list[Decision]:
        """Return the latest `most` decisions that hold, newest first: what undo takes back next."""
        return list(islice(reversed(self._effective.values()), most))

    def counts(self, total: int) -> Counts:
        actions = [decision.action for decision in self.states().values()]
        return Counts(total, *(actions.count(action) for action in ("accept", "keep", "pick", "skip")))
