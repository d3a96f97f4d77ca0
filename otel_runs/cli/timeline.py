"""Bars that show when, in the time of a run, something ran. Arithmetic on integers; no terminal."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

    from otel_runs.cli.output import Marks

_MICROSECOND = timedelta(microseconds=1)
_NS_PER_MICROSECOND = 1000


class Interval(NamedTuple):
    """When something ran."""

    start: datetime
    end: datetime


class Bar(NamedTuple):
    """A bar in its line: ``before`` blanks, what is drawn, and blanks up to the line's width."""

    before: int
    drawn: str


def interval(start: datetime, end: datetime | None, duration_ns: int | None, now: datetime) -> Interval:
    """The time from a start to an end, to start and duration, or to now."""
    if end is None:
        end = now if duration_ns is None else start + timedelta(microseconds=duration_ns // _NS_PER_MICROSECOND)
    return Interval(start, max(start, end))


def bar(whole: Interval, part: Interval, width: int, marks: Marks) -> Bar:
    """Where ``part`` lies in ``whole``, drawn in half characters; the shortest bar is a half character.

    What lies outside, because two machines' clocks differ, is drawn at the edge.
    """
    halves = width * 2
    length = max(1, (whole.end - whole.start) // _MICROSECOND)
    start = min(halves - 1, max(0, (part.start - whole.start) // _MICROSECOND * halves // length))
    # Rounded up, by the floor of the negative.
    end = -(-((part.end - whole.start) // _MICROSECOND) * halves // length)
    end = min(halves, max(start + 1, end))
    left = marks.bar_half_left if start % 2 else ""
    right = marks.bar_half_right if end % 2 and not (left and end - start == 1) else ""
    full = (end - end % 2 - start - start % 2) // 2
    return Bar(start // 2, left + marks.bar * full + right)
