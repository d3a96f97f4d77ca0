"""What a run database holds, asked while others write to it."""

from __future__ import annotations

from sqlalchemy import select

from otel_runs.errors import StoreError
from otel_runs.store import tables
from otel_runs.store.engine import open_database
from tests.collector.spans import SPANS_A_TRACE, Traces
from tests.waiting import wait_until

Ids = tuple[set[str], set[str]]
"""Of runs, and of model runs."""


def ids_in(database: str) -> Ids:
    """The ids of all rows."""
    with open_database(database) as opened, opened.read() as connection:
        runs = set(connection.execute(select(tables.runs.c.id)).scalars())
        return runs, set(connection.execute(select(tables.model_runs.c.id)).scalars())


def wait_for_all(database: str, traces: Traces, *, seconds: float) -> None:
    """Wait until the tables hold every span of these traces, and make sure that they hold nothing else.

    A row's key is computed from its span: every row, and no other, is every span exactly once.
    """
    wanted = traces.run_ids(), traces.step_ids()
    wait_until(lambda: _holds(database, wanted), seconds=seconds, what="the arrival of all spans")
    assert ids_in(database) == wanted
    assert set(_steps_of_runs(database)) == {SPANS_A_TRACE - 1}


def _holds(database: str, wanted: Ids) -> bool:
    try:
        found = ids_in(database)
        return found[0] >= wanted[0] and found[1] >= wanted[1] and None not in _steps_of_runs(database)
    except StoreError:  # the database is not made yet, or down, or locked
        return False


def _steps_of_runs(database: str) -> list[int | None]:
    """How many steps each run counts; None of a run that is known from its steps alone: its own span is missing."""
    with open_database(database) as opened, opened.read() as connection:
        return list(connection.execute(select(tables.runs.c.steps)).scalars())
