"""What the browser sends: a cumulative, numbered log of key presses, checked here before any of it is written."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fvm_core.errors import ReviewError
from fvm_core.review.decision import ACTIONS, Entry
from fvm_core.review.log import DecisionLog

MOST_ENTRIES = 5000


@dataclass(frozen=True)
class Known:
    """What the server knows and the browser may not invent: given labels by id, number of classes, and for each
    `RUN/METHOD` the SHA-256 of its provenance."""

    given: Callable[[str], int | None]
    classes: int
    runs: Mapping[str, str]


@dataclass(frozen=True)
class Receipt:
    """`acked` maps each client to the highest number dealt with; `refused` maps `client:seq` to the reason."""

    acked: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    written: int = 0


def receive(log: DecisionLog, session: str, payload: Any, known: Known, *, reviewer: str, mark: str = "") -> Receipt:
    """Write what is new in `payload` and say up to which number everything is on disk.

    `payload` is `{"client": str, "session": str, "entries": [{"client", "seq", "id", "action", "label", "run",
    "score", "suggested"}, ...]}`. Entries for another session, or of another reviewer (`payload["reviewer"]` is not
    `mark`; none is ""), are left alone: the browser keeps them. An entry that
    cannot be right is refused with its reason and does not hold up the others; one without client and number is passed
    over.

    Raises:
        ReviewError: the payload as a whole is malformed.
        StorageError: nothing was written; nothing is acknowledged.
    """
    if payload is None:
        return Receipt()
    if not isinstance(payload, Mapping) or not isinstance(payload.get("entries"), list):
        raise ReviewError("the browser sent something that is no log of decisions. Reload the page.")
    if payload.get("session") != session or payload.get("reviewer", "") != mark:
        return Receipt()
    entries, refused, highest = [], {}, {str(payload.get("client") or "")[:64]: 0}
    for raw in payload["entries"][:MOST_ENTRIES]:
        address = _address(raw)
        if address is None:
            continue
        client, seq = address
        highest[client] = max(highest.get(client, 0), seq)
        try:
            entries.append(_entry(raw, client, seq, known))
        except (ReviewError, TypeError, ValueError, OverflowError, RecursionError) as error:
            refused[f"{client}:{seq}"] = str(error)
    written = log.append(session, entries, reviewer=reviewer)
    stored = log.acked(session, highest)
    return Receipt({client: max(stored[client], seq) for client, seq in highest.items() if client}, refused, written)


def _address(raw: Any) -> tuple[str, int] | None:
    """Return client and number of an entry, None where it has none: it can neither be written nor acknowledged."""
    client, seq = (raw.get("client"), raw.get("seq")) if isinstance(raw, Mapping) else (None, None)
    if not isinstance(client, str) or not 0 < len(client) <= 64 or not client.isascii():
        return None
    if not isinstance(seq, int) or isinstance(seq, bool) or not 0 < seq < 1 << 53:
        return None
    return client, seq


def _entry(raw: Mapping[str, Any], client: str, seq: int, known: Known) -> Entry:
    sample, action, run = raw.get("id"), raw.get("action"), raw.get("run")
    given = known.given(sample) if isinstance(sample, str) else None
    if not isinstance(sample, str) or given is None:
        raise ReviewError(f"`id` must be a sample of this dataset, got {sample!r}.")
    if action not in ACTIONS:
        raise ReviewError(f"`action` must be one of {ACTIONS}, got {action!r}.")
    if not isinstance(run, str) or run not in known.runs:
        raise ReviewError(f"`run` must be a score run of this dataset, got {run!r}. Was it deleted?")
    suggested = _label(raw, "suggested", known.classes)
    label = _label(raw, "label", known.classes)
    if action == "undo":
        label = None
    elif action in ("keep", "skip"):
        label = given
    elif label is None or (action == "accept" and label != suggested):
        raise ReviewError(f"`label` must be the suggested class to accept and a class to pick, got {label!r}.")
    score = raw.get("score")
    name, _, method = run.rpartition("/")
    return Entry(
        client=client,
        seq=seq,
        sample=sample,
        action=action,
        label=label,
        given=given,
        suggested=suggested,
        run=name,
        method=method,
        score=float(score) if isinstance(score, int | float) and math.isfinite(score) else None,
        score_provenance=known.runs[run],
    )


def _label(raw: Mapping[str, Any], name: str, classes: int) -> int | None:
    value = raw.get(name)
    if value is None or value == -1:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < classes:
        raise ReviewError(f"`{name}` must be a class in [0, {classes}), got {value!r}.")
    return value
