"""What a run database holds, asked while others write to it."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import select

from otel_runs.errors import StoreError
from otel_runs.store import tables
from otel_runs.store.engine import open_database
from tests.collector.spans import SPANS_A_TRACE, Traces

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
    deadline = time.monotonic() + seconds
    while lacking := _lacking(database, wanted):
        if time.monotonic() > deadline:
            pytest.fail(f"after {seconds} s {lacking}")
        time.sleep(0.1)
    assert ids_in(database) == wanted
    assert set(_steps_of_runs(database)) == {SPANS_A_TRACE - 1}


def _lacking(database: str, wanted: Ids) -> str:
    """What the tables do not hold yet, in words; empty: nothing."""
    try:
        runs, steps = (ids - found for ids, found in zip(wanted, ids_in(database), strict=True))
        rootless = _steps_of_runs(database).count(None)
    except StoreError as exc:  # the database is not made yet, or down, or locked
        return f"the database cannot be read: {exc}"
    if not (runs or steps or rootless):
        return ""
    return f"{len(runs)} runs and {len(steps)} steps are missing, and {rootless} runs lack their own span"


def _steps_of_runs(database: str) -> list[int | None]:
    """How many steps each run counts; None of a run that is known from its steps alone: its own span is missing."""
    with open_database(database) as opened, opened.read() as connection:
        return list(connection.execute(select(tables.runs.c.steps)).scalars())
