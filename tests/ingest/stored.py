"""Spans into a database, and what became of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Table, select

from otel_runs.ids import model_id_from_path
from otel_runs.ingest import Ingest
from otel_runs.spans.span import Span
from otel_runs.store import tables
from otel_runs.store.engine import Database
from tests.ingest.contents import empty

Row = dict[str, Any]


def save(database: Database, *batches: list[Span]) -> None:
    """Store the batches, one after another."""
    ingest = Ingest(database)
    for batch in batches:
        ingest.save(batch)


def in_every_order(database: Database, *batches: list[Span]) -> Iterator[None]:
    """Store the batches into an empty database in one order after another; the caller looks after each."""
    for order in itertools.permutations(batches):
        empty(database)
        save(database, *order)
        yield


def rows_of(database: Database, table: Table) -> list[Row]:
    """All rows of a table, in the order of its key."""
    with database.read() as connection:
        found = connection.execute(select(table).order_by(*table.primary_key.columns))
        return [dict(row) for row in found.mappings()]


def stored_runs(database: Database) -> dict[str, Row]:
    """The runs, by id."""
    return {row["id"]: row for row in rows_of(database, tables.runs)}


def stored_run(database: Database, id_: str) -> Row:
    """One run."""
    return stored_runs(database)[id_]


def stored_steps(database: Database) -> dict[str, Row]:
    """The model runs, by id."""
    return {row["id"]: row for row in rows_of(database, tables.model_runs)}


def stored_step(database: Database, id_: str) -> Row:
    """One model run."""
    return stored_steps(database)[id_]


def stored_model(database: Database, path: str) -> Row:
    """One model."""
    return {row["id"]: row for row in rows_of(database, tables.models)}[model_id_from_path(path)]
