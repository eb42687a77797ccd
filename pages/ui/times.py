"""Times as a person says them."""

from __future__ import annotations

from datetime import UTC, datetime


def duration(seconds: float | None) -> str:
    """Return a length of time in at most two units.

    >>> duration(42), duration(130), duration(7320), duration(None)
    ('42 s', '2 min 10 s', '2 h 2 min', '')
    """
    if seconds is None:
        return ""
    total = max(round(seconds), 0)
    if total < 60:
        return f"{total} s"
    if total < 600:
        return f"{total // 60} min {total % 60} s"
    if total < 3600:
        return f"{total // 60} min"
    return f"{total // 3600} h {total % 3600 // 60} min"


def ago(stamp: str | float | None, *, now: datetime | None = None) -> str:
    """Return how long ago an ISO 8601 stamp (UTC if it names no zone) or a Unix time was; "" where unknown.

    >>> ago("2026-01-01T00:00:00+00:00", now=datetime(2026, 1, 1, 2, tzinfo=UTC))
    '2 h ago'
    """
    if stamp in (None, ""):
        return ""
    try:
        then = (
            datetime.fromtimestamp(stamp, UTC) if isinstance(stamp, int | float) else datetime.fromisoformat(str(stamp))
        )
    except ValueError:
        return ""
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    seconds = ((now or datetime.now(UTC)) - then).total_seconds()
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "just now"
