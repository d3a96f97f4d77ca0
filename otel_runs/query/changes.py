"""What has changed since somebody looked: states of runs, asked for again and again at the cost of a few indexes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import Select, select
from sqlalchemy.sql.util import ClauseAdapter

from otel_runs.query.filters import RunFilters, conditions
from otel_runs.query.relations import v_runs
from otel_runs.query.runs import read_runs
from otel_runs.records import RUN_STATUSES, TERMINAL_RUN_STATUSES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from datetime import datetime

    from sqlalchemy import Connection

    from otel_runs.query.results import StoredRun
    from otel_runs.store.engine import Database

FOLLOWED: Final = 500
"""How many of the newest runs, and of the runs that have not ended, are looked at again."""

OPEN_STATUSES: Final = tuple(status for status in RUN_STATUSES if status not in TERMINAL_RUN_STATUSES)


class RunState(NamedTuple):
    """What of a run, when it changes, is worth telling."""

    id: str
    started_at: datetime
    name: str
    status: str
    stop_reason: str | None


_ALL: Final = RunFilters()
# Only what states and filters need: of the view, the totals so far of open runs are then not computed. Taken first and
# filtered then: with a filter inside, or with IN, PostgreSQL may read the whole table.
_LOOKED_AT: Final[Select[tuple[object, ...]]] = select(
    *(v_runs.c[field] for field in (*RunState._fields, "environment", "parent_run_id"))
)
_NEWEST: Final = _LOOKED_AT.order_by(v_runs.c.started_at.desc(), v_runs.c.id.desc())
_OPEN: Final = _LOOKED_AT.where(v_runs.c.status.in_(OPEN_STATUSES)).order_by(v_runs.c.started_at.desc())
_IDS_AT_ONCE: Final = 500


def list_states(database: Database, filters: RunFilters = _ALL, *, also: Collection[str] = ()) -> list[RunState]:
    """The states of the newest runs and of those that have not ended, the oldest first.

    Filters choose among the ``FOLLOWED`` newest of all runs, so that a filter which nothing passes does not make the
    database read all its runs.

    Args:
        database: where to read.
        filters: which runs.
        also: ids of runs to tell of besides, if they pass the filters; those of runs that were open a moment ago.

    Raises:
        StoreError: the database could not be read.
    """
    found: dict[str, RunState] = {}
    with database.read() as connection:
        for looked_at in (_NEWEST, _OPEN):
            found |= _states(connection, looked_at.limit(FOLLOWED), filters)
        for some in _chunks([id_ for id_ in also if id_ not in found]):
            found |= _states(connection, _LOOKED_AT.where(v_runs.c.id.in_(some)), filters)
    return sorted(found.values(), key=lambda state: (state.started_at, state.id))


def list_runs_by_id(database: Database, ids: Collection[str]) -> list[StoredRun]:
    """The runs of these ids that there are, the oldest first.

    Raises:
        StoreError: the database could not be read.
    """
    found: list[StoredRun] = []
    with database.read() as connection:
        for some in _chunks(ids):
            found += read_runs(connection, select(*v_runs.c).where(v_runs.c.id.in_(some)))
    return sorted(found, key=lambda run: (run.started_at, run.id))


def _states(connection: Connection, looked_at: Select[tuple[object, ...]], filters: RunFilters) -> dict[str, RunState]:
    """Those of the runs that pass the filters, by id."""
    runs = looked_at.subquery()
    wanted = select(*(runs.c[field] for field in RunState._fields))
    # Filters are about the view; here they are asked of the rows that were taken from it.
    to_runs = ClauseAdapter(runs)
    for condition in conditions(filters):
        wanted = wanted.where(to_runs.traverse(condition))
    return {row.id: RunState._make(row) for row in connection.execute(wanted)}


def _chunks(ids: Collection[str]) -> Iterator[list[str]]:
    """Databases take a bounded number of values at once."""
    listed = list(ids)
    for start in range(0, len(listed), _IDS_AT_ONCE):
        yield listed[start : start + _IDS_AT_ONCE]
