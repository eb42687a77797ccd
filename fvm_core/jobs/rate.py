"""How fast a job goes and how long it will still take."""

from __future__ import annotations

import math


class RateMeter:
    """Smoothed units per second since the (re)start of the work; time between `pause()` and the next word is left out.

    Both the work done and the time taken fade with the time constant `smoothing` (seconds): early on the rate is the
    plain mean, later it follows changes of speed.

    >>> meter = RateMeter()
    >>> meter.update(100, now=0.0), meter.seconds_left(100, 500)
    (None, None)
    >>> meter.update(120, now=10.0), meter.seconds_left(120, 500)
    (None, 190.0)
    """

    def __init__(self, *, smoothing: float = 30.0, shortest: float = 0.5) -> None:
        self.smoothing = smoothing
        self.shortest = shortest
        self._mark: tuple[float, int] | None = None
        self._moved = 0.0
        self._elapsed = 0.0

    def update(self, done: int, *, now: float) -> None:
        """Take note that `done` units are done at `now` (monotonic seconds). The first call only sets the start."""
        if self._mark is None or done < self._mark[1]:
            self._mark = (now, done)
            return
        elapsed, moved = now - self._mark[0], done - self._mark[1]
        if moved == 0 or elapsed < self.shortest:
            return
        fade = math.exp(-elapsed / self.smoothing) if self._elapsed else 0.0
        self._moved = fade * self._moved + moved
        self._elapsed = fade * self._elapsed + elapsed
        self._mark = (now, done)

    def pause(self) -> None:
        """Leave out the time until the next `update`."""
        self._mark = None

    def seconds_left(self, done: int, total: int) -> float | None:
        """Return the seconds that the rest will take at this rate, or None while the rate is not known."""
        if not self._elapsed or total <= 0:
            return None
        return max(0, total - done) * self._elapsed / self._moved
