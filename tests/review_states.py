"""Decisions on the images of `score_files.small_dataset`, one of each kind, for tests of what leaves a review."""

from __future__ import annotations

from fvm_core.review.decision import Decision


def decision(sample: str, action: str, label: int, given: int, *, method: str = "loss") -> Decision:
    return Decision(
        client="tab", seq=1, sample=sample, action=action, label=label, given=given, suggested=2, run="demo",
        method=method, score=7.5, score_provenance="ab12", number=1, undoes=None, reviewer="Ada",
        decided_at="2026-01-01T00:00:00.000+00:00",
    )  # fmt: skip


def states(method: str = "loss") -> dict[str, Decision]:
    """Return {id: decision}: an accepted, a kept, a picked and a skipped image."""
    made = (
        decision("img-0001", "accept", 2, 1, method=method),
        decision("img-0003", "keep", 3, 3, method=method),
        decision("img-0004", "pick", 3, 0, method=method),
        decision("img-0005", "skip", 1, 1, method=method),
    )
    return {one.sample: one for one in made}
