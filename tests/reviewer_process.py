"""One reviewer as a process of its own: sends batches of decisions, each batch twice now and then, as a browser does.

`python tests/reviewer_process.py URL SESSION NAME COUNT BATCH`. Started again after a kill it sends everything anew.
"""

from __future__ import annotations

import sys

from fvm_core.review.decision import Entry
from fvm_core.review.log import DecisionLog

IMAGES = 400


def entry(name: str, seq: int) -> Entry:
    """Return decision number `seq` of a reviewer: every tenth one takes back the one before it."""
    undo = seq % 10 == 0
    return Entry(
        client=f"tab-{name}",
        seq=seq,
        sample=sample(seq - 1 if undo else seq),
        action="undo" if undo else ("keep", "pick", "accept", "skip")[seq % 4],
        label=None if undo else seq % 7,
        given=3,
        score=seq / 8,
    )


def sample(seq: int) -> str:
    return f"img-{seq % IMAGES:04d}"


def main(url: str, session: str, name: str, count: int, batch: int) -> None:
    log = DecisionLog(url)
    for start in range(1, count + 1, batch):
        entries = [entry(name, seq) for seq in range(start, min(start + batch, count + 1))]
        log.append(session, entries, reviewer=name)
        if start // batch % 5 == 0:
            assert log.append(session, entries, reviewer=name) == 0, "sent again, written again"
        assert log.acked(session, [f"tab-{name}"])[f"tab-{name}"] >= entries[-1].seq
    log.close()


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:6]))
