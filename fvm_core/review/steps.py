"""Bulk steps: decisions on many images by one key press, taken back by one.

The browser writes each bulk step under a client of its own, its tab's name with a number: the log itself then tells,
in any later session, which decisions belong together.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from fvm_core.review.decision import Decision

MOST_AT_ONCE = 500
"""Most images of one bulk step; assets/gallery_select.js holds to it."""

_STEP = re.compile(r"[0-9a-f]{24}-[1-9][0-9]*")


def step_of(client: str) -> str:
    """Return the name of the bulk step that wrote under this client, "" for a single decision.

    >>> step_of("00112233445566778899aabb-2"), step_of("00112233445566778899aabb")
    ('00112233445566778899aabb-2', '')
    """
    return client if _STEP.fullmatch(client) else ""


def last_steps(newest_first: Sequence[Decision], *, most: int) -> list[Decision]:
    """Return at least the latest `most` decisions, and all of the bulk step that the last of them belongs to, so that
    an undo takes it back whole. `newest_first` has to reach MOST_AT_ONCE beyond `most`."""
    kept = list(newest_first[:most])
    step = step_of(kept[-1].client) if kept else ""
    if step:
        kept += [decision for decision in newest_first[most:] if decision.client == step]
    return kept


def recent_classes(newest_first: Sequence[Decision], *, most: int) -> list[int]:
    """Return the last `most` different classes that were picked by hand, the latest first."""
    picked = (decision.label for decision in newest_first if decision.action == "pick" and decision.label is not None)
    return list(dict.fromkeys(picked))[:most]
