"""Time left from a smoothed rate; pauses do not count."""

from __future__ import annotations

import pytest

from fvm_core.jobs.rate import RateMeter


def test_unknown_until_work_was_seen_to_move() -> None:
    meter = RateMeter()
    for now in (0.0, 5.0, 10.0):
        meter.update(40, now=now)
        assert meter.seconds_left(40, 100) is None
    meter.update(50, now=20.0)
    assert meter.seconds_left(50, 100) == pytest.approx(100.0)
    assert meter.seconds_left(50, 0) is None
    assert meter.seconds_left(120, 100) == 0.0


def test_work_done_before_a_resume_does_not_count() -> None:
    meter = RateMeter()
    meter.update(900, now=0.0)
    meter.update(901, now=10.0)
    assert meter.seconds_left(901, 1000) == pytest.approx(990.0)


def test_pause_is_left_out() -> None:
    meter = RateMeter()
    meter.update(0, now=0.0)
    meter.update(10, now=10.0)
    meter.pause()
    meter.update(10, now=5000.0)
    meter.update(20, now=5010.0)
    assert meter.seconds_left(20, 30) == pytest.approx(10.0)


def test_rate_follows_a_change_of_speed_smoothly() -> None:
    meter = RateMeter(smoothing=30.0)
    for second in range(101):
        meter.update(second, now=float(second))
    assert meter.seconds_left(100, 200) == pytest.approx(100.0)
    left = []
    for second in range(1, 301):
        meter.update(100 + 10 * second, now=100.0 + second)
        left.append(meter.seconds_left(0, 100) or 0.0)
    assert left == sorted(left, reverse=True)
    assert left[0] > 70 and left[-1] == pytest.approx(10.0, rel=0.01)


def test_work_that_starts_over_does_not_turn_the_rate_negative() -> None:
    meter = RateMeter()
    for done, now in ((0, 0.0), (10, 10.0), (2, 20.0), (12, 30.0)):
        meter.update(done, now=now)
    assert meter.seconds_left(12, 22) == pytest.approx(10.0)
