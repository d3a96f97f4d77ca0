"""The runs that are said to live: running, and heard of at least once since they started."""

from __future__ import annotations

from typing import Final, NamedTuple

from sqlalchemy import Connection

from otel_runs.store.rows import ns_from_value

LIVING_RUNS: Final = (
    "SELECT id, trace_id, name, heartbeat_at, process, run_key IS NOT NULL FROM runs "
    "WHERE status = 'running' AND heartbeat_at IS NOT NULL ORDER BY heartbeat_at, id"
)
"""As tables.py writes the condition of the index, or the database would read all runs."""


class LivingRun(NamedTuple):
    """What there is to know of a run, to judge whether it lives."""

    id: str
    trace_id: str
    name: str
    heartbeat_at: int
    """Nanoseconds since the Unix epoch, by the clock of the run's machine."""
    process: str | None
    """Where the latest heartbeat came from (see process.py)."""
    has_parts: bool
    """A run with a key, which may have more processes than that one."""


def list_living_runs(connection: Connection) -> list[LivingRun]:
    """The runs that are said to live, those first that were not heard of for the longest time."""
    return [
        LivingRun(row[0], row[1], row[2], ns_from_value(row[3]) or 0, row[4], bool(row[5]))
        for row in connection.exec_driver_sql(LIVING_RUNS)
    ]
