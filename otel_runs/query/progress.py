"""How far a run is, and how long runs like it took: what is known while it still runs.

Times of a run come from the clock of the machine it runs on, ``now`` from that of the machine that looks. They need not
agree; what is told here never lies before the run's own newest time, and says by how much the clocks differ at least.
"""

from __future__ import annotations

from datetime import timedelta
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import case, func, select

from otel_runs.query.relations import model_runs, v_runs
from otel_runs.query.runs import read_runs
from otel_runs.query.tree import ids_below
from otel_runs.records import TERMINAL_MODEL_RUN_STATUSES, TERMINAL_RUN_STATUSES

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, FromClause, Select

    from otel_runs.query.results import StoredRun
    from otel_runs.store.engine import Database

EARLIER_RUNS: Final = 20
"""On how many earlier runs an expected time rests, at most."""
EARLIER_STEPS: Final = 20
"""On how many earlier executions of a step its expected time rests, at most."""
RUNNING_SHOWN: Final = 20
"""How many of the steps that run now are named; all are counted."""
SKEW_TOLERATED: Final = timedelta(seconds=2)
"""Two clocks that differ by less are taken as agreeing; NTP keeps them much closer."""

_LOOKED_THROUGH: Final = 500
"""Rows of one name that are looked through for those that count; more would make a rare environment expensive."""
_SUCCESSFUL: Final = ("completed", "degraded")
_NS_PER_SECOND: Final = 1_000_000_000


class RunningStep(NamedTuple):
    """A model run or nested run that has started and not ended."""

    id: str
    name: str
    kind: str
    """That of the model run; ``run`` for a nested run."""
    model_id: str | None
    """None for a nested run."""
    started_at: datetime


class Progress(NamedTuple):
    """A run with what of it has ended and what runs, nested runs at any depth among it."""

    run: StoredRun
    ended: int
    """Model runs and nested runs that have ended."""
    seen: int
    """Model runs and nested runs that are known."""
    running: list[RunningStep]
    """What runs now, in order of start; the ``RUNNING_SHOWN`` that started last."""


class Expectation(NamedTuple):
    """What earlier runs of the same name and environment let expect."""

    runs: int
    """On how many successful runs (completed or degraded) it rests; 0: nothing is expected."""
    seconds: float | None
    """The median of their durations."""
    steps: int | None
    """Model runs and nested runs of the latest of them."""


class Timing(NamedTuple):
    """The times of a run that goes on."""

    elapsed: float
    """Seconds since its start, 0 or more."""
    remaining: float | None
    """Seconds left if it takes as long as expected, 0 where it has taken longer; None where nothing is expected."""
    silent: float | None
    """Seconds since its last sign of life; None where it gives none."""
    skew: float | None
    """Seconds by which the run's clock is ahead of ours, at least; None where the clocks seem to agree."""


def get_progress(database: Database, run_id: str) -> Progress | None:
    """How far a run is; None if there is no such run (any more).

    Raises:
        StoreError: the database could not be read.
    """
    with database.read() as connection:
        found = read_runs(connection, select(*v_runs.c).where(v_runs.c.id == run_id))
        if not found:
            return None
        ended, seen = _count(connection, run_id)
        running = _running_steps(connection, run_id) if seen > ended else []
    return Progress(found[0], ended, seen, running)


def expectation(database: Database, run: StoredRun) -> Expectation:
    """What the last successful runs of the same name and environment, started before this one, let expect.

    Raises:
        StoreError: the database could not be read.
    """
    with database.read() as connection:
        earlier = connection.execute(_earlier_runs(run)).all()
        if not earlier:
            return Expectation(0, None, None)
        _, steps = _count(connection, earlier[0].id)
    durations: list[int] = [row.duration_ns for row in earlier]
    return Expectation(len(durations), median(durations) / _NS_PER_SECOND, steps or None)


def expected_step_seconds(database: Database, model_ids: Collection[str], environment: str) -> dict[str, float]:
    """The median time of the last successful executions of each of these models in an environment, in seconds.

    Models that have not succeeded there lately are left out.

    Raises:
        StoreError: the database could not be read.
    """
    expected: dict[str, float] = {}
    with database.read() as connection:
        for model_id in model_ids:
            durations = [row.duration_ns for row in connection.execute(_earlier_steps(model_id, environment))]
            if durations:
                expected[model_id] = median(durations) / _NS_PER_SECOND
    return expected


def timing(progress: Progress, expected: Expectation, now: datetime, *, fresh: float | None = None) -> Timing:
    """The times of a run. Pure.

    Args:
        progress: how far the run is.
        expected: what earlier runs let expect.
        now: by the clock of the machine that looks.
        fresh: seconds since the one who looks saw the last sign of life change; a run whose clock is behind ours then
            does not look dead.
    """
    run = progress.run
    signs = [run.started_at, *filter(None, (run.heartbeat_at,)), *(step.started_at for step in progress.running)]
    newest = max(signs)
    elapsed = max(0.0, (max(now, newest) - run.started_at).total_seconds())
    if run.duration_seconds is not None:
        elapsed = run.duration_seconds
    remaining = None if expected.seconds is None else max(0.0, expected.seconds - elapsed)
    skew = (newest - now).total_seconds() if newest - now > SKEW_TOLERATED else None
    return Timing(elapsed, remaining, _silence(run, now, fresh), skew)


def _silence(run: StoredRun, now: datetime, fresh: float | None) -> float | None:
    if run.heartbeat_at is None:
        return None
    silent = max(0.0, (now - run.heartbeat_at).total_seconds())
    return silent if fresh is None else min(silent, fresh)


def _count(connection: Connection, run_id: str) -> tuple[int, int]:
    """How much of what hangs on a run has ended, and how much there is."""
    ended, seen = 0, 0
    below = ids_below(run_id)
    nested = select(v_runs.c.status).where(v_runs.c.id.in_(below), v_runs.c.id != run_id)
    steps = select(model_runs.c.status).where(model_runs.c.run_id.in_(below))
    for statuses, terminal in ((nested, TERMINAL_RUN_STATUSES), (steps, TERMINAL_MODEL_RUN_STATUSES)):
        counted = statuses.subquery()
        has_ended = case((counted.c.status.in_(sorted(terminal)), 1), else_=0)
        row = connection.execute(select(func.coalesce(func.sum(has_ended), 0), func.count()).select_from(counted)).one()
        ended += int(row[0])
        seen += int(row[1])
    return ended, seen


def _running_steps(connection: Connection, run_id: str) -> list[RunningStep]:
    below = ids_below(run_id)
    steps = _latest_open(
        model_runs, ("name", "kind", "model_id"), model_runs.c.run_id.in_(below), TERMINAL_MODEL_RUN_STATUSES
    )
    nested = _latest_open(v_runs, ("name",), v_runs.c.id.in_(below) & (v_runs.c.id != run_id), TERMINAL_RUN_STATUSES)
    found = [RunningStep(row.id, row.name, row.kind, row.model_id, row.started_at) for row in connection.execute(steps)]
    found += [RunningStep(row.id, row.name, "run", None, row.started_at) for row in connection.execute(nested)]
    return sorted(found, key=lambda step: (step.started_at, step.id))[-RUNNING_SHOWN:]


def _latest_open(
    table: FromClause, fields: tuple[str, ...], below: ColumnElement[bool], terminal: frozenset[str]
) -> Select[tuple[object, ...]]:
    columns = table.c
    return (
        select(columns.id, columns.started_at, *(columns[field] for field in fields))
        .where(below, columns.status.not_in(sorted(terminal)))
        .order_by(columns.started_at.desc(), columns.id.desc())
        .limit(RUNNING_SHOWN)
    )


def _earlier_runs(run: StoredRun) -> Select[tuple[object, ...]]:
    """The last successful runs like this one, the newest first."""
    columns = v_runs.c
    same_place = columns.parent_run_id.is_(None) if run.parent_run_id is None else columns.parent_run_id.is_not(None)
    same_name = (
        select(columns.id, columns.started_at, columns.environment, columns.status, columns.duration_ns)
        .where(columns.name == run.name, columns.started_at < run.started_at, same_place)
        .order_by(columns.started_at.desc())
        .limit(_LOOKED_THROUGH)
        .subquery()
    )
    return (
        select(*(same_name.c[field] for field in ("id", "duration_ns")))
        .where(
            same_name.c.environment == run.environment,
            same_name.c.status.in_(_SUCCESSFUL),
            same_name.c.duration_ns.is_not(None),
        )
        .order_by(same_name.c.started_at.desc())
        .limit(EARLIER_RUNS)
    )


def _earlier_steps(model_id: str, environment: str) -> Select[tuple[object, ...]]:
    """Durations of the last successful executions of a model, the newest first."""
    columns = model_runs.c
    latest = (
        select(columns.run_id, columns.started_at, columns.status, columns.duration_ns)
        .where(columns.model_id == model_id)
        .order_by(columns.started_at.desc())
        .limit(_LOOKED_THROUGH)
        .subquery()
    )
    return (
        select(latest.c.duration_ns)
        .join(v_runs, v_runs.c.id == latest.c.run_id)
        .where(v_runs.c.environment == environment, latest.c.status == "success", latest.c.duration_ns.is_not(None))
        .order_by(latest.c.started_at.desc())
        .limit(EARLIER_STEPS)
    )
