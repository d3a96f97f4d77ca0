"""The clock of the heartbeats, whatever the clock of the machine does."""

from __future__ import annotations

import time

import pytest

from otel_runs.clock import steady_time_ns

SECOND = 1_000_000_000
HOUR = 3600 * SECOND


def test_it_tells_the_time_of_day() -> None:
    before = time.time_ns()
    assert before - 60 * SECOND < steady_time_ns() < time.time_ns() + 60 * SECOND


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_it_goes_on_by_itself_when_the_clock_of_the_machine_jumps(monkeypatch: pytest.MonkeyPatch, jump: int) -> None:
    real = time.time_ns
    before = steady_time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: real() + jump)
    after = steady_time_ns()
    assert before <= after < before + HOUR // 2
