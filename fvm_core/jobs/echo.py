"""Progress of a job on the terminal."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import TextIO

from fvm_core.jobs.status import JobStatus


class Echo:
    """Prints a job's status: one line that rewrites itself on a terminal, else a line every `interval` seconds.

    A closed or full stream never harms the job.
    """

    def __init__(self, stream: TextIO | None = None, *, interval: float = 10.0) -> None:
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty()
        self.interval = interval
        self._said = ("", float("-inf"))

    def __call__(self, status: JobStatus) -> None:
        with suppress(OSError):
            self._print(status, status_line(status))

    def _print(self, status: JobStatus, text: str) -> None:
        if self.live:
            end = "\n" if not status.active else ""
            self.stream.write(f"\r\x1b[2K{text}{end}")
        elif status.state != self._said[0] or time.monotonic() - self._said[1] >= self.interval:
            self._said = (status.state, time.monotonic())
            self.stream.write(text + "\n")
        self.stream.flush()


def status_line(status: JobStatus) -> str:
    """Return one line on how the job stands.

    >>> status_line(JobStatus("x", "tune", "Tune", "running", done=50, total=200, message="step 50", seconds_left=90))
    'Tune: running 25%, 2 min left, step 50'
    """
    parts = [f"{status.title}: {status.state}"]
    if status.total and status.state != "done":
        parts[0] += f" {status.percent}%"
    if status.seconds_left is not None:
        parts.append(f"{format_seconds(status.seconds_left)} left")
    if status.error or status.message:
        parts.append(status.error or status.message)
    return ", ".join(parts)


def format_seconds(seconds: float) -> str:
    """Return a duration in the two units that matter.

    >>> [format_seconds(s) for s in (0.4, 59, 90, 3700, 200000)]
    ['1 s', '59 s', '2 min', '1 h 2 min', '2 d 7 h']
    """
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"
