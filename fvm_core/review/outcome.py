"""What a review by several people comes to: agreed, settled by an adjudicator, or open."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from fvm_core.review.decision import Decision
from fvm_core.review.log import DecisionLog
from fvm_core.review.replay import Counts, Replay

KINDS = {
    "decided": "one person's decision, or the latest where several worked in the open",
    "agreed": "two or more people decided blind, and gave the same label",
    "adjudicated": "people disagreed, and an adjudicator settled it",
    "disputed": "people disagree and nobody has settled it: the given label is kept",
}


@dataclass(frozen=True)
class Dispute:
    """One image whose reviewers gave different labels. `opinions` maps each reviewer to the decision that holds (skips
    are no opinion); `settled` is the adjudicator's, None while it is open."""

    sample: str
    opinions: Mapping[str, Decision]
    settled: Decision | None = None


@dataclass(frozen=True)
class Outcome:
    """`states` is the decision to go by for each sample (none for disputed ones), `kinds` the key of KINDS for each
    sample that anyone decided, `disputes` all images that people disagreed on, open ones first."""

    states: Mapping[str, Decision]
    kinds: Mapping[str, str]
    disputes: tuple[Dispute, ...]

    @property
    def open(self) -> tuple[Dispute, ...]:
        return tuple(dispute for dispute in self.disputes if dispute.settled is None)

    def counts(self, total: int) -> Counts:
        return Counts.of(self.states, total)

    def how_many(self, kind: str) -> int:
        return sum(found == kind for found in self.kinds.values())


def outcome_of(log: DecisionLog, session: str) -> Outcome:
    """Return what a review comes to as it stands in the log. Raises StorageError."""
    return settle(log.replay(session), log.assignments(session).blind)


def settle(replay: Replay, blind: Collection[str]) -> Outcome:
    """Return what holds for each sample.

    On `blind` samples people decided without knowing of each other: where all labels given are the same the latest
    holds, where they differ the adjudicator's, else none. A skip is no opinion as long as anybody has one. Elsewhere
    people saw what stood there before, so the latest decision holds. An adjudicator's decision holds wherever it is.
    """
    states = dict(replay.states())
    kinds = dict.fromkeys(states, "decided")
    settled, disputes = replay.settled(), []
    for sample, opinions in replay.opinions(blind).items():
        given = judged(opinions)
        if not given:
            continue
        states[sample] = max(given.values(), key=lambda decision: decision.number)
        if len({decision.label for decision in given.values()}) > 1:
            disputes.append(Dispute(sample, given, settled.get(sample)))
            if sample not in settled:
                del states[sample]
                kinds[sample] = "disputed"
        elif len(given) > 1:
            kinds[sample] = "agreed"
    for sample, decision in settled.items():
        states[sample], kinds[sample] = decision, "adjudicated"
    disputes.sort(key=lambda dispute: (dispute.settled is not None, dispute.sample))
    return Outcome(states, kinds, tuple(disputes))


def judged(opinions: Mapping[str, Decision]) -> Mapping[str, Decision]:
    """Return the opinions that are one: all but skips."""
    return {reviewer: decision for reviewer, decision in opinions.items() if decision.action != "skip"}
