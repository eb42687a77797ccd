"""The state of a review, told from its log: undone decisions fall away, the last one of each sample holds."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
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

    @classmethod
    def of(cls, states: Mapping[str, Decision], total: int) -> Counts:
        """Count the decisions that hold."""
        actions = [decision.action for decision in states.values()]
        return cls(total, *(actions.count(action) for action in ("accept", "keep", "pick", "skip")))

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
    """Folds decisions in the order of `number`; feeding it only the new ones is the same as starting over.

    Decisions that settle a disagreement (`role` "adjudicate") stand beside those of the reviewers, in `settled`. O(d)
    in the decisions, whatever the size of the dataset.
    """

    def __init__(self) -> None:
        self.last = 0
        self._effective: dict[int, Decision] = {}
        self._of_sample: dict[str, tuple[int, ...]] = {}
        self._settling: dict[str, tuple[int, ...]] = {}

    def apply(self, decisions: Iterable[Decision]) -> None:
        for decision in decisions:
            self.last = decision.number
            if decision.action != "undo":
                self._effective[decision.number] = decision
                numbers = self._numbers(decision)
                numbers[decision.sample] = (*numbers.get(decision.sample, ()), decision.number)
            elif decision.undoes in self._effective:
                undone = self._effective.pop(decision.undoes)
                numbers = self._numbers(undone)
                numbers[undone.sample] = tuple(n for n in numbers[undone.sample] if n != undone.number)

    def _numbers(self, decision: Decision) -> dict[str, tuple[int, ...]]:
        return self._settling if decision.role == "adjudicate" else self._of_sample

    def copy(self) -> Replay:
        """Return a snapshot that later decisions do not change."""
        twin = Replay()
        twin.last, twin._effective = self.last, dict(self._effective)
        twin._of_sample, twin._settling = dict(self._of_sample), dict(self._settling)
        return twin

    def state(self, sample: str) -> Decision | None:
        """Return the decision that holds for `sample`, or None while it is undecided."""
        numbers = self._of_sample.get(sample)
        return self._effective[numbers[-1]] if numbers else None

    def states(self) -> Mapping[str, Decision]:
        """Return the reviewers' decision that holds for each decided sample: the latest, whoever made it."""
        return {sample: self._effective[numbers[-1]] for sample, numbers in self._of_sample.items() if numbers}

    def opinions(self, samples: Collection[str] | None = None) -> Mapping[str, Mapping[str, Decision]]:
        """Return for each decided sample (of `samples`) the decision of each reviewer that holds, oldest first."""
        wanted = self._of_sample if samples is None else (sample for sample in samples if sample in self._of_sample)
        found = {}
        for sample in wanted:
            of = {self._effective[n].reviewer: self._effective[n] for n in self._of_sample[sample]}
            if of:
                found[sample] = of
        return found

    def settled(self) -> Mapping[str, Decision]:
        """Return the adjudicator's decision that holds for each sample that has one."""
        return {sample: self._effective[numbers[-1]] for sample, numbers in self._settling.items() if numbers}

    def seen_by(self, reviewer: str, blind: Collection[str] = ()) -> View:
        """Return the review as `reviewer` may see it: on `blind` samples nobody else's decision."""
        states = {}
        for sample, numbers in self._of_sample.items():
            if sample in blind:
                numbers = tuple(n for n in numbers if self._effective[n].reviewer == reviewer)
            if numbers:
                states[sample] = self._effective[numbers[-1]]
        own = [d for d in reversed(self._effective.values()) if d.reviewer == reviewer and d.role == "review"]
        return View(states, own)

    @property
    def reviewers(self) -> tuple[str, ...]:
        """Everyone with a decision that holds, by name."""
        return tuple(sorted({decision.reviewer for decision in self._effective.values()}))

    def history(self, most: int) -> list[Decision]:
        """Return the latest `most` decisions that hold, newest first."""
        return list(islice(reversed(self._effective.values()), most))

    def counts(self, total: int) -> Counts:
        return Counts.of(self.states(), total)


class View:
    """One reviewer's sight of a replay, with the same three questions."""

    def __init__(self, states: Mapping[str, Decision], own: list[Decision]) -> None:
        self._states, self._own = states, own

    def states(self) -> Mapping[str, Decision]:
        """Return the decision that holds for each sample, as this reviewer may see it."""
        return self._states

    def history(self, most: int) -> list[Decision]:
        """Return this reviewer's own latest decisions that hold, newest first: what undo takes back next."""
        return self._own[:most]

    def counts(self, total: int) -> Counts:
        return Counts.of(self._states, total)
