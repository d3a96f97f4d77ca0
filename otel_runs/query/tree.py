"""What hangs on a run: its nested runs and model runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import case, func, select

from otel_runs.query.relations import v_model_runs, v_runs
from otel_runs.query.results import RunTree, StoredModelRun
from otel_runs.query.runs import read_runs

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Select

    from otel_runs.query.results import StoredRun
    from otel_runs.store.engine import Database


def get_run_tree(database: Database, run: StoredRun, *, limit: int | None = None) -> RunTree:
    """A run with its nested runs, at any depth, and the model runs of all of them, in order of their start.

    Args:
        database: where to read.
        run: the run, as ``get_run`` returned it.
        limit: the most model runs, and the most nested runs, to return; None for all. Where there are more, failed ones
            are kept before others and older before newer ones.

    Raises:
        StoreError: the database could not be read.
    """
    ids = ids_below(run.id)
    with database.read() as connection:
        nested = read_runs(connection, _nested_runs(ids, run.id).limit(limit))
        model_runs = [StoredModelRun._make(row) for row in connection.execute(_model_runs(ids).limit(limit))]
        # Only a full page can have left something out; counting is spared where none is.
        full = limit in (len(nested), len(model_runs))
        left_out = _left_out(connection, ids, nested, model_runs) if full else (0, 0, 0)
    return RunTree(
        run,
        sorted(nested, key=lambda run: (run.started_at, run.id)),
        sorted(model_runs, key=lambda model_run: (model_run.started_at, model_run.id)),
        *left_out,
    )


def list_model_runs(database: Database, run: StoredRun, *, limit: int | None = None) -> list[StoredModelRun]:
    """The run's own model runs, those of nested runs not among them, in order of their start.

    Raises:
        StoreError: the database could not be read.
    """
    wanted = (
        select(*v_model_runs.c)
        .where(v_model_runs.c.run_id == run.id)
        .order_by(v_model_runs.c.started_at, v_model_runs.c.id)
        .limit(limit)
    )
    with database.read() as connection:
        return [StoredModelRun._make(row) for row in connection.execute(wanted)]


def ids_below(run_id: str) -> Select[tuple[str]]:
    """The ids of the run and all runs nested in it. UNION, not UNION ALL: a circle of parents comes to an end."""
    below = select(v_runs.c.id).where(v_runs.c.id == run_id).cte("below", recursive=True)
    below = below.union(select(v_runs.c.id).where(v_runs.c.parent_run_id == below.c.id))
    return select(below.c.id)


def _nested_runs(ids: Select[tuple[str]], run_id: str) -> Select[tuple[object, ...]]:
    return (
        select(*v_runs.c)
        .where(v_runs.c.id.in_(ids), v_runs.c.id != run_id)
        .order_by(_failed_first(v_runs.c.status), v_runs.c.started_at, v_runs.c.id)
    )


def _model_runs(ids: Select[tuple[str]]) -> Select[tuple[object, ...]]:
    return (
        select(*v_model_runs.c)
        .where(v_model_runs.c.run_id.in_(ids))
        .order_by(_failed_first(v_model_runs.c.status), v_model_runs.c.started_at, v_model_runs.c.id)
    )


def _failed_first(status: ColumnElement[str]) -> ColumnElement[int]:
    return case((status == "failed", 0), else_=1)


def _left_out(
    connection: Connection, ids: Select[tuple[str]], nested: list[StoredRun], model_runs: list[StoredModelRun]
) -> tuple[int, int, int]:
    """How many nested runs, model runs and failed model runs there are besides these."""
    all_runs = connection.execute(select(func.count()).select_from(ids.subquery())).scalar_one()
    failure = case((v_model_runs.c.status == "failed", 1), else_=0)
    total, failed = connection.execute(
        select(func.count(), func.coalesce(func.sum(failure), 0))
        .select_from(v_model_runs)
        .where(v_model_runs.c.run_id.in_(ids))
    ).one()
    shown_failed = sum(model_run.status == "failed" for model_run in model_runs)
    return all_runs - 1 - len(nested), total - len(model_runs), int(failed) - shown_failed
