"""Conversions of time. Times are integer nanoseconds since the Unix epoch, UTC, until they pass here.

No conversion goes through a float: 2026 in nanoseconds needs 61 bits, a float keeps 53.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def time_from_ns(ns: int) -> datetime:
    """An aware UTC time from nanoseconds since the epoch; what is below a microsecond is cut off."""
    seconds, rest = divmod(ns, 1_000_000_000)
    return _EPOCH + timedelta(seconds=seconds, microseconds=rest // 1000)


def ns_from_time(time: datetime) -> int:
    """Nanoseconds since the epoch from an aware time.

    Raises:
        ValueError: the time has no time zone.
    """
    if time.tzinfo is None:
        msg = f"time {time!r} has no time zone; expected an aware datetime"
        raise ValueError(msg)
    return (time - _EPOCH) // _MICROSECOND * 1000


def ms_from_ns(ns: int) -> int:
    """Whole milliseconds, rounded half up, from a duration in nanoseconds."""
    return (ns + 500_000) // 1_000_000
