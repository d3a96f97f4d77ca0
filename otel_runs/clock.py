"""A clock for signs of life: it tells the time of day, and never goes back or ahead of itself."""

from __future__ import annotations

import time
from typing import Final

_ID: Final = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
"""Linux's CLOCK_BOOTTIME goes on while the machine sleeps, and so does the CLOCK_MONOTONIC of macOS."""


def _elapsed_ns() -> int:
    return time.monotonic_ns() if _ID is None else time.clock_gettime_ns(_ID)


_OFFSET: Final = time.time_ns() - _elapsed_ns()


def steady_time_ns() -> int:
    """Nanoseconds since the Unix epoch by the time of day at which this process began, and what has passed since.

    Of two heartbeats of a process the later one must be the larger: after a heartbeat from an hour that a jumping clock
    took back, those that follow would say nothing for an hour, and their run would count as lost.
    """
    return _OFFSET + _elapsed_ns()
