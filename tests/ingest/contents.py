"""Everything that a run database holds, to compare one with another."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, Table, delete, select

from otel_runs.store.engine import Database
from otel_runs.store.tables import metadata, runs

Contents = dict[str, list[tuple[object, ...]]]


def contents_of(database: Database) -> Contents:
    """All rows of all tables, internal ones and internal columns too."""
    with database.read() as connection:
        return {table.name: _rows(connection, table) for table in metadata.sorted_tables}


def _rows(connection: Connection, table: Table) -> list[tuple[object, ...]]:
    return [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key.columns))]


_SIGNS_OF_LIFE: Final = frozenset({"heartbeat_at", "process"})


def without_signs_of_life(contents: Contents) -> Contents:
    """The rows but for when their processes were last heard of: every way here tells that at times of its own."""
    kept = [position for position, column in enumerate(runs.c) if column.name not in _SIGNS_OF_LIFE]
    return {**contents, "runs": [tuple(row[position] for position in kept) for row in contents["runs"]]}


def empty(database: Database) -> None:
    """Delete everything."""
    with database.write() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(delete(table))
