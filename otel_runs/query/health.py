"""Rows that should not be as they are. Each question looks at the newest runs, or at those that have not ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import Select, or_, select

from otel_runs.query.changes import OPEN_STATUSES
from otel_runs.query.relations import model_runs, v_runs

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from otel_runs.store.engine import Database

NEWEST: Final = 1_000
"""How many of the newest runs are looked at."""
NEWEST_WITH_STEPS: Final = 200
"""How many of the newest runs have their steps looked at."""
FOUND: Final = 1_000
"""The most rows that a question returns."""


class RunHealth(NamedTuple):
    """What of a run shows whether all is well with it."""

    id: str
    name: str
    status: str
    environment: str
    service_name: str | None
    parent_run_id: str | None
    root_span_id: str | None
    run_key: str | None
    started_at: datetime
    completed_at: datetime | None
    heartbeat_at: datetime | None
    steps_missing: int | None


class EarlyStep(NamedTuple):
    """A model run that started before what it is in."""

    run_id: str
    name: str
    started_at: datetime
    above: str
    """The name of the run or model run that it is in."""
    above_started_at: datetime


_RUNS: Final[Select[tuple[object, ...]]] = select(*(v_runs.c[field] for field in RunHealth._fields))


def newest_runs(database: Database) -> list[RunHealth]:
    """The newest runs, the newest first.

    Raises:
        StoreError: the database could not be read.
    """
    return _runs(database, _RUNS.order_by(v_runs.c.started_at.desc(), v_runs.c.id.desc()).limit(NEWEST))


def open_runs(database: Database) -> list[RunHealth]:
    """Runs that have not ended, the oldest first.

    Raises:
        StoreError: the database could not be read.
    """
    return _runs(database, _RUNS.where(v_runs.c.status.in_(OPEN_STATUSES)).order_by(v_runs.c.started_at).limit(FOUND))


def early_steps(database: Database, run_ids: Iterable[str]) -> list[EarlyStep]:
    """Model runs of these runs that started before the run, or before the model run, they are in.

    Raises:
        StoreError: the database could not be read.
    """
    above = model_runs.alias("above")
    steps = model_runs.c
    wanted = (
        select(
            steps.run_id,
            steps.name,
            steps.started_at,
            v_runs.c.name.label("run_name"),
            v_runs.c.started_at.label("run_started_at"),
            above.c.name.label("above_name"),
            above.c.started_at.label("above_started_at"),
        )
        .select_from(
            model_runs.join(v_runs, v_runs.c.id == steps.run_id).outerjoin(above, above.c.id == steps.parent_id)
        )
        .where(
            steps.run_id.in_(list(run_ids)),
            or_(steps.started_at < v_runs.c.started_at, steps.started_at < above.c.started_at),
        )
        .limit(FOUND)
    )
    with database.read() as connection:
        return [
            EarlyStep(row.run_id, row.name, row.started_at, row.above_name, row.above_started_at)
            if row.above_started_at is not None and row.above_started_at > row.run_started_at
            else EarlyStep(row.run_id, row.name, row.started_at, row.run_name, row.run_started_at)
            for row in connection.execute(wanted)
        ]


def _runs(database: Database, wanted: Select[tuple[object, ...]]) -> list[RunHealth]:
    with database.read() as connection:
        return [RunHealth._make(row) for row in connection.execute(wanted)]
