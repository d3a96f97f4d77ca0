"""Records to rows and back. A row is a tuple in the order of the table's columns.

Times are text on the way in, on every database: ``YYYY-MM-DD HH:MM:SS.ffffff`` is what SQLite keeps, and with ``+00``
behind it PostgreSQL's COPY reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import orjson

from otel_runs.errors import StoreValueError
from otel_runs.mapping.losses import unlost_step
from otel_runs.mapping.runs import RunState
from otel_runs.records import ModelRun, Run
from otel_runs.units import ms_from_ns, ns_from_time

Row = tuple[Any, ...]

_NS: Final = 1_000_000_000
"""Of a second."""
_DIGITS: Final = 6
"""Behind the point of a second."""
_WIDEST: Final = 64
"""Bits of an integer, with its sign, that orjson writes."""


@lru_cache(maxsize=4096)  # spans of one moment share their second; formatting it again is half the cost of a row
def _second(seconds: str) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%d %H:%M:%S")


class Rows:
    """Turns records into rows of one database, and back.

    Args:
        time_suffix: what stands behind a time's digits.
    """

    def __init__(self, time_suffix: str) -> None:
        self._suffix = time_suffix

    def time(self, ns: int | None) -> str | None:
        """The text of a time."""
        if ns is None:
            return None
        # The digits are cut, not divided: twice as fast.
        digits = f"{ns}" if ns >= _NS else f"{ns:010d}"  # to ask for a width takes twice the time
        return f"{_second(digits[:-9])}.{digits[-9:-3]}{self._suffix}"

    def run(self, state: RunState) -> Row:
        """A row of ``runs``."""
        run = state.run
        time = self.time
        return (
            *run[:12],
            time(run.started_at),
            time(run.completed_at),
            run.duration_ns,
            None if run.duration_ns is None else run.duration_ns / 1e9,
            time(run.heartbeat_at),
            *run[16:34],
            json_text(run.metadata),
            time(run.deleted_at),
            run.run_key,
            " ".join(name if value is None else f"{name}={value}" for name, value in sorted(state.derived.items())),
            state.loose,
            run.process,
            time(run.lost_at),
            run.marked,
        )

    def model_run(self, record: ModelRun) -> Row:
        """A row of ``model_runs``."""
        duration = record.duration_ns
        return (
            *record[:13],
            self.time(record.started_at),
            self.time(record.completed_at),
            None if duration is None else ms_from_ns(duration),
            *record[15:25],
            json_text(record.metadata),
        )


def run_from_row(row: Sequence[Any]) -> RunState:
    """A run from all columns of its row."""
    values = (
        *row[:12],
        ns_from_value(row[12]),
        ns_from_value(row[13]),
        row[14],
        ns_from_value(row[16]),
        *row[17:34],
        None if row[34] is None else bool(row[34]),
        _loaded(row[35]),
        ns_from_value(row[36]),
        row[37],
        row[40],
        ns_from_value(row[41]),
        None if row[42] is None else bool(row[42]),
    )
    run = Run._make(values)
    return RunState(
        run, {name: int(value) if value else None for name, value in map(_pair, row[38].split())}, bool(row[39])
    )


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def model_run_from_row(row: Sequence[Any]) -> ModelRun:
    """A model run from all columns of its row, less what the loss of its run made of it."""
    return unlost_step(
        ModelRun._make((*row[:13], ns_from_value(row[13]), ns_from_value(row[14]), *row[16:26], _loaded(row[26])))
    )


def ns_from_value(value: str | datetime | None) -> int | None:
    """Nanoseconds from a time as a driver returns it: text from SQLite, an aware time from PostgreSQL.

    Raises:
        StoreValueError: somebody wrote a text that is no time, which SQLite takes.
    """
    if value is None:
        return None
    if isinstance(value, str):
        second, point, digits = value.partition(".")
        if point and len(digits) == _DIGITS and digits.isdecimal():  # as we write it: 0.5 us instead of 2
            return _ns_of_second(second) + int(digits) * 1000
        value = _read_time(value)
    return ns_from_time(value)


@lru_cache(maxsize=4096)
def _ns_of_second(text: str) -> int:
    return ns_from_time(_read_time(text))


def _read_time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        msg = f"a time of a stored row is {text!r}, which is no time; expected YYYY-MM-DD HH:MM:SS.ffffff"
        raise StoreValueError(msg) from None


def json_text(value: object) -> str | None:
    """JSON text of a value, with sorted keys: the same value is the same text."""
    return None if value is None else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _loaded(value: object) -> Any:
    """A JSON value: text from SQLite, already read from PostgreSQL.

    Text that is no JSON was written by hand. It is kept as it is shown (query/relations.py), and costs no span its row.
    """
    if not isinstance(value, str):
        return _as_written(value)
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return {"metadata": value}


def _as_written(value: Any) -> Any:
    # PostgreSQL writes the float 1e23 out as an integer, which orjson would not write again.
    if isinstance(value, int) and value.bit_length() >= _WIDEST:
        return float(value)
    if isinstance(value, list):
        return [_as_written(item) for item in value]
    if isinstance(value, dict):
        return {name: _as_written(item) for name, item in value.items()}
    return value
